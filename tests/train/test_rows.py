"""Embeddings trained by the rows that occur, beside the same training of the whole matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from preceptor.config import TrainSettings
from preceptor.models.student import Student
from preceptor.train import rows
from preceptor.train.batches import make_items
from preceptor.train.checkpoints import Checkpoints
from preceptor.train.loop import Optimiser
from preceptor.train.objectives import fit
from preceptor.train.upkeep import Upkeep

WORDS = "bert.embeddings.word_embeddings.weight"


def settings(**keys: Any) -> TrainSettings:
    given = {"method": "full", "dtype": "float32", "batch_size": 4, "learning_rate": 1e-2, "select": "last"}
    return TrainSettings.model_validate({**given, **keys})


def trained(student: Student, chosen: TrainSettings, steps: int = 12, upkeep: Upkeep | None = None) -> list[float]:
    items = make_items(student, tiny.TASK, tiny.examples(24))
    return fit(student, items, items[:2], chosen, steps=steps, seed=1, upkeep=upkeep).losses


@pytest.fixture
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny models' embeddings count as large ones."""
    monkeypatch.setattr(rows, "LARGE", 8)


@pytest.mark.parametrize("batch_size", [4, 1])
@pytest.mark.usefixtures("small_is_large")
def test_the_steps_are_those_of_the_whole_matrix(
    batch_size: int, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, whole = (tiny.open_tiny(tiny_models["bert"]) for _ in range(2))
    start = dict(ours.model.named_parameters())[WORDS].detach().clone()
    chosen = settings(batch_size=batch_size, accumulation=2)
    losses = trained(ours, chosen)
    monkeypatch.setattr(rows, "LARGE", 10**9)
    assert losses == pytest.approx(trained(whole, chosen), rel=1e-4)
    for (name, found), expected in zip(ours.model.named_parameters(), whole.model.parameters(), strict=True):
        if name.endswith("key.bias"):
            continue  # attention does not depend on it: its gradient is rounding, which AdamW makes into steps
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")
    moved = (dict(ours.model.named_parameters())[WORDS] != start).any(1)
    assert 0 < moved.sum() < len(start)


@pytest.mark.usefixtures("small_is_large")
def test_only_rows_that_occur_have_copies_and_moments(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    weight = dict(student.model.named_parameters())[WORDS]
    with rows.by_rows(student.model) as changed:
        assert changed >= 1
        optimiser = Optimiser(student, settings(), 4)
        student.model(input_ids=torch.tensor([[3, 5, 5, 4]])).logits.sum().backward()
        assert weight.grad is not None
        assert weight.grad.is_sparse
        optimiser.step()
        copy = optimiser.copies[WORDS]
        assert copy.shape == (3, weight.shape[1])
        assert optimiser.adamw.state[copy]["exp_avg"].shape == copy.shape
    assert not any(getattr(module, "sparse", False) for module in student.model.modules())


@pytest.mark.usefixtures("small_is_large")
def test_a_training_goes_on_from_its_rows_with_equal_bits(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    through, broken = (tiny.open_tiny(tiny_models["bert"]) for _ in range(2))
    chosen = settings()
    trained(through, chosen)

    def checkpoints() -> Checkpoints:
        return Checkpoints(tmp_path, "same", seconds=1e9, every=5, say=print)

    class Killed(BaseException):
        pass

    def die(moment: Any) -> None:
        if moment.step == 8:
            raise Killed

    with pytest.raises(Killed):
        trained(broken, chosen, upkeep=Upkeep(checkpoints=checkpoints(), watch=die))
    again = tiny.open_tiny(tiny_models["bert"])
    trained(again, chosen, upkeep=Upkeep(checkpoints=checkpoints()))
    for found, expected in zip(again.model.parameters(), through.model.parameters(), strict=True):
        assert torch.equal(found, expected)


@pytest.mark.usefixtures("small_is_large")
def test_embeddings_that_make_the_logits_and_frozen_ones_are_left_alone(tiny_models: dict[str, Path]) -> None:
    tied = tiny.open_tiny(tiny_models["gpt2"]).model
    tied.config.tie_word_embeddings = True
    tied.tie_weights()
    names = [n for n, m in tied.named_modules() if isinstance(m, torch.nn.Embedding)]
    with rows.by_rows(tied):
        sparse = [n for n in names if tied.get_submodule(n).sparse]
    assert "transformer.wte" in names
    assert "transformer.wte" not in sparse
    frozen = tiny.open_tiny(tiny_models["bert"]).model.requires_grad_(False)
    with rows.by_rows(frozen) as changed:
        assert changed == 0


@pytest.mark.usefixtures("small_is_large")
def test_weight_decay_reaches_every_row(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    start = dict(student.model.named_parameters())[WORDS].detach().clone()
    trained(student, settings(weight_decay=0.1))
    moved = (dict(student.model.named_parameters())[WORDS] != start).any(1)
    assert moved.sum() >= len(start) - 1  # the row of padding is zero
