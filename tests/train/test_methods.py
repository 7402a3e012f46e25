"""Every method on every architecture: attach, train two steps, save, restore, and the answers have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import ModelError, RecipeError
from preceptor.models.student import Probe, Student, restore, save
from preceptor.train.batches import make_items
from preceptor.train.methods import attach, describe, reserved
from preceptor.train.objectives import fit

PREFIX = {"method": "prefix", "virtual_tokens": 5, "learning_rate": 1e-2}
METHODS = {
    "lora": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
    "prefix-random": {**PREFIX, "initialisation": "random"},
    "prefix-zero": {**PREFIX, "initialisation": "zero"},
    "prefix-text": {**PREFIX, "initialisation": "text", "initial_text": "answer the question with yes or no"},
    "full": {"method": "full", "learning_rate": 1e-3},
}


def settings(**keys: Any) -> TrainSettings:
    return TrainSettings.model_validate({"batch_size": 4, "max_length": 48, "select": "last", **keys})


def opened(folder: Path, chosen: TrainSettings, dtype: str) -> Student:
    return tiny.open_tiny(folder, max_length=chosen.max_length, reserve=reserved(chosen), dtype=dtype)


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trained_saved_and_restored(
    kind: str, method: str, dtype: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    chosen = settings(**METHODS[method])
    student = opened(tiny_models[kind], chosen, dtype)
    prompts = student.encode(["context: pain fell question: does the drug improve pain ? answer:", "pain rose answer:"])
    before = student.logprobs(prompts)
    base = {name: value.clone() for name, value in student.model.state_dict().items()}
    torch.manual_seed(1)
    if (kind, method) == ("bert", "prefix-text"):
        with pytest.raises(RecipeError, match="needs a language model"):
            attach(student, chosen)
        return
    trained = attach(student, chosen)
    items = make_items(trained, tiny.TASK, tiny.examples(12))
    fitted = fit(trained, items, items[:3], chosen, steps=2, seed=1)
    after = trained.logprobs(prompts)
    save(trained, tmp_path, Probe(prompts, before.tolist(), after.tolist()))
    restored = restore(opened(tiny_models[kind], chosen, dtype), tmp_path)
    np.testing.assert_array_equal(restored.logprobs(prompts), after)
    assert np.abs(after - before).max() > 1e-3
    if method != "full":
        total = sum(value.numel() for value in base.values())
        assert fitted.trainable < 0.3 * total
        assert_frozen(trained, base)


def assert_frozen(trained: Student, base: dict[str, torch.Tensor]) -> None:
    """The base model's own weights are as they were; an encoder's head is trained in a copy of its own."""
    now = {name.replace("base_layer.", ""): value for name, value in trained.loaded.model.state_dict().items()}
    for name, value in base.items():
        found = now.get(name, now.get(name.replace("classifier.", "classifier.original_module.")))
        assert found is not None, name
        assert torch.equal(found, value), name


@pytest.mark.parametrize("method", ["lora", "prefix-text", "full"])
def test_only_safetensors_are_written(method: str, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    trained = attach(opened(tiny_models["llama"], settings(**METHODS[method]), "float32"), settings(**METHODS[method]))
    save(trained, tmp_path, Probe([], [], []))
    assert {p.suffix for p in tmp_path.iterdir()} == {".json", ".safetensors"}


def test_attaching_draws_from_the_seed(tiny_models: dict[str, Path]) -> None:
    drawn = []
    for seed in (1, 1, 2):
        student = opened(tiny_models["llama"], settings(), "float32")
        torch.manual_seed(seed)
        attach(student, settings())
        drawn.append(next(p for name, p in student.model.named_parameters() if "lora_A" in name))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_rank_alpha_and_targets_reach_the_adapter(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(rank=3, alpha=12, targets=("q_proj", "v_proj"))
    trained = attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
    save(trained, tmp_path, Probe([], [], []))
    shapes = {name: tuple(value.shape) for name, value in load_file(tmp_path / "adapter_model.safetensors").items()}
    assert len(shapes) == 2 * 2 * 2  # A and B of two modules in two layers
    assert all("q_proj" in name or "v_proj" in name for name in shapes)
    assert {shape[0] for name, shape in shapes.items() if "lora_A" in name} == {3}
    scaling = {m.scaling["default"] for m in trained.model.modules() if hasattr(m, "lora_A")}
    assert scaling == {4.0}


def test_all_linear_reaches_every_linear_layer_but_the_last(tiny_models: dict[str, Path]) -> None:
    chosen = settings()
    trained = attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
    adapted = {name.split(".")[-1] for name, module in trained.model.named_modules() if hasattr(module, "lora_A")}
    assert adapted == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.parametrize("targets", [("nothing",), "nothing"])
def test_unknown_targets_are_one_sentence(targets: Any, tiny_models: dict[str, Path]) -> None:
    chosen = settings(targets=targets)
    with pytest.raises(RecipeError, match=r"cannot take method 'lora': .*nothing") as caught:
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
    assert "\n" not in caught.value.message
    assert "train.targets" in caught.value.hint


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_a_prefix_that_does_not_fit_beside_the_text_is_refused(kind: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "virtual_tokens": 20, "initialisation": "zero"})
    with pytest.raises(RecipeError) as caught:
        opened(tiny_models[kind], chosen, "float32")
    assert "20 virtual tokens" in caught.value.message
    assert "train.max_length = 48" in caught.value.message
    assert str(tiny.WINDOW) in caught.value.message
    assert "Lower train.max_length to 44" in caught.value.hint


def test_the_longest_prompt_beside_the_longest_prefix_fits(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "virtual_tokens": 16, "initialisation": "zero"})
    for kind in tiny.ARCHITECTURES:
        student = attach(opened(tiny_models[kind], chosen, "float32"), chosen)
        prompt = " ".join(["pain"] * 200)
        ids = [student.encode([prompt])[0][: student.limit]]
        assert np.isfinite(student.logprobs(ids)).all()


def test_a_prefix_from_text_is_the_cache_of_that_text(tiny_models: dict[str, Path]) -> None:
    """The untrained prefix answers as if the text stood before the prompt."""
    text = "answer the question"
    chosen = settings(**{**PREFIX, "virtual_tokens": 4, "initialisation": "text", "initial_text": text})
    student = opened(tiny_models["gpt2"], chosen, "float32")
    words = student.loaded.tokenizer
    prefix = words(" ".join([text, text]))["input_ids"][:4]
    prompt = student.encode(["pain fell answer:"])[0]
    expected = student.logprobs([[*prefix, *prompt]])
    found = attach(student, chosen).logprobs([prompt])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_description_names_what_scales_the_steps() -> None:
    assert describe(settings(rank=4, alpha=16)) == "LoRA r 4, alpha 16 (alpha/r 4), lr 0.0003"
    assert describe(settings(**METHODS["prefix-zero"])) == "prefix 5, from zero, lr 0.01"
    assert describe(settings(method="full")) == "all weights, lr 0.0003"


def test_an_initial_text_of_nothing_is_one_sentence(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "initialisation": "text", "initial_text": "  "})
    with pytest.raises(ModelError, match="cannot start from text") as caught:
        attach(opened(tiny_models["gpt2"], chosen, "float32"), chosen)
    assert "zero" in caught.value.hint


def test_a_short_initial_text_is_repeated_until_it_fills_the_prefix(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "virtual_tokens": 15, "initialisation": "text", "initial_text": "yes"})
    student = opened(tiny_models["llama"], chosen, "float32")
    prompt = student.encode(["pain fell answer:"])[0]
    expected = student.logprobs([[*student.encode(["yes"])[0], *student.targets[0] * 13, *prompt]])
    np.testing.assert_allclose(attach(student, chosen).logprobs([prompt]), expected, atol=1e-4)


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_only_the_last_layers_are_trained(tiny_models: dict[str, Path], kind: str, method: str) -> None:
    chosen = settings(method=method, last_layers=1)
    student = attach(opened(tiny_models[kind], chosen, "float32"), chosen)
    trained = [name for name, weight in student.model.named_parameters() if weight.requires_grad]
    body = [name for name in trained if ".0." in name or ".1." in name]
    assert body
    assert all(".1." in name for name in body)
    assert not any("embed" in name or "wte" in name or "norm.weight" in name for name in trained if method == "lora")


def test_more_layers_than_the_student_has_are_one_sentence(tiny_models: dict[str, Path]) -> None:
    for method in ("lora", "full"):
        chosen = settings(method=method, last_layers=3)
        with pytest.raises(RecipeError, match="last_layers = 3, but the model has 2 layers"):
            attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
