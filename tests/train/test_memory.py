"""Where memory runs out, fewer items go through the model at once, and the steps stay what they were."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import ModelError
from preceptor.models.student import Student
from preceptor.train import adapt, objectives
from preceptor.train.batches import make_items
from preceptor.train.course import Check
from preceptor.train.loop import Objective, descend
from preceptor.train.memory import divided, is_out_of_memory
from preceptor.train.objectives import fit
from preceptor.train.upkeep import Upkeep


def test_what_the_allocators_say_is_told_from_other_errors() -> None:
    with pytest.raises(RuntimeError) as real:
        torch.empty(10**15)
    assert is_out_of_memory(real.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"))
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as other:
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert not is_out_of_memory(other.value)


def test_batches_are_cut_evenly_and_in_order() -> None:
    batches = [[1, 2, 3, 4, 5, 6, 7], [8], [9, 10]]
    assert divided(batches, None) == batches
    assert divided(batches, 8) == batches
    assert divided(batches, 4) == [[1, 2, 3], [4, 5, 6, 7], [8], [9, 10]]
    assert divided(batches, 1) == [[k] for k in range(1, 11)]


def short_of(memory: int, monkeypatch: pytest.MonkeyPatch, error: Exception, from_pass: int = 1) -> list[int]:
    """Let a pass with more items than `memory` fail, after its gradients were half written, from a pass on."""
    real: Callable[..., torch.Tensor] = objectives.batch_loss
    sizes: list[int] = []

    def scarce(student: Student, batch: Any) -> torch.Tensor:
        sizes.append(len(batch))
        loss = real(student, batch)
        if len(sizes) >= from_pass and len(batch) > memory:
            loss.backward(retain_graph=True)
            raise error
        return loss

    monkeypatch.setattr(objectives, "batch_loss", scarce)
    return sizes


def train(model: Path, said: list[str], **keys: Any) -> tuple[Student, Any]:
    settings = TrainSettings.model_validate(
        {"method": "full", "dtype": "float32", "batch_size": 8, "learning_rate": 1e-3, "steps": 4, **keys}
    )
    student = tiny.open_tiny(model)
    made = make_items(student, tiny.TASK, tiny.examples(30))
    fitted = fit(student, made[:24], made[24:], settings, steps=4, seed=1, upkeep=Upkeep(say=said.append))
    return student, fitted


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory."),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to ..."),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_the_steps_are_the_same_within_rounding(
    kind: str, error: Exception, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    whole, expected = train(tiny_models[kind], said, accumulation=2)
    assert (said, expected.micro_batch) == ([], None)
    sizes = short_of(2, monkeypatch, error, from_pass=4)
    halved, fitted = train(tiny_models[kind], said, accumulation=2)
    assert said == [
        "Memory ran out at step 2; from here on 2 items go through the model at once, and a step still has as many "
        "as before."
    ]
    assert sizes[:3] == [8, 8, 8]
    assert set(sizes[-8:]) == {2}
    assert fitted.micro_batch == 2
    assert fitted.tokens == expected.tokens
    assert fitted.losses == pytest.approx(expected.losses, rel=1e-4)
    assert fitted.losses[0] == expected.losses[0]
    after = dict(halved.model.named_parameters())
    for name, weight in whole.model.named_parameters():
        if not name.endswith("key.bias"):  # moves no softmax: its gradient is rounding, which Adam blows up
            torch.testing.assert_close(weight, after[name], atol=5e-5, rtol=1e-3, msg=name)


def test_with_one_item_at_once_it_is_one_sentence(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = short_of(0, monkeypatch, ERRORS[0])
    with pytest.raises(ModelError, match="Memory ran out at step 1 with a single item") as caught:
        train(tiny_models["bert"], [])
    assert "train.max_length" in caught.value.hint
    assert sizes == [8, 4, 2, 1]


def test_other_errors_are_not_swallowed(tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    short_of(2, monkeypatch, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        train(tiny_models["bert"], [])


def test_batches_whose_items_belong_together_are_not_cut(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    made = make_items(student, tiny.TASK, tiny.examples(8))

    def scarce(batches: Any, fitted: Any) -> float:
        raise ERRORS[0]

    objective = Objective(scarce, pytest.fail, frozenset(), divisible=False)
    settings = TrainSettings(method="full", dtype="float32")
    with pytest.raises(ModelError, match="with 8 items at once"):
        descend(student, iter([made]), objective, settings, steps=1, seed=1)


# --- where fewer items do not help ---------------------------------------------------------------------------------


def run_out(*_given: Any, **_named: Any) -> Any:
    raise ERRORS[0]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_at_validation_it_is_one_sentence_that_names_it(
    error: Exception, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_given: Any) -> Any:
        raise error

    monkeypatch.setattr(objectives, "check", scarce)
    with pytest.raises(ModelError, match="Memory ran out at validation, after step 1") as caught:
        train(tiny_models["bert"], [])
    assert caught.value.hint == "Lower train.max_length, or choose a smaller model."
    monkeypatch.setattr(objectives, "check", lambda *_given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(tiny_models["bert"], [])


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("preceptor.train.loop.Optimiser.__init__", "before the first step, in the optimiser"),
        ("torch.optim.AdamW.step", "at step 1, in the optimiser"),
        ("torch.Tensor.clone", "after step 1, for a copy of the best weights"),
    ],
)
def test_so_it_is_where_the_weights_are_too_many(
    where: str, words: str, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    made = make_items(student, tiny.TASK, tiny.examples(8))
    objective = Objective(lambda _batches, _fitted: 1.0, lambda step: Check(step, 1.0), frozenset({1}))
    monkeypatch.setattr(where, run_out)
    with pytest.raises(ModelError, match=f"Memory ran out {words}") as caught:
        descend(student, iter([made]), objective, TrainSettings(method="full", dtype="float32"), steps=1, seed=1)
    assert 'train.method = "lora"' in caught.value.hint


def test_readers_of_documents_lower_the_length_of_windows(
    tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key that other trainings have, train.max_length, is refused in their recipes."""

    def read() -> str:
        with pytest.raises(ModelError) as caught:
            adapt.adapt(tmp_path, str(tiny_models["llama"]), settings, ["pain " * 40], ["pain"], length=16, seed=1)
        return str(caught.value)

    settings = TrainSettings(dtype="float32", steps=1)
    monkeypatch.setattr(adapt, "document_losses", run_out)
    assert read() == "Memory ran out at validation, after step 1. Lower adapt.length, or choose a smaller model."
    monkeypatch.setattr(adapt, "window_loss", run_out)
    assert read() == "Memory ran out at step 1 with a single item. Lower adapt.length, or choose a smaller model."
