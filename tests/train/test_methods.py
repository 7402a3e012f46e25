"""Every method on every architecture: attach, train two steps, save, restore, and the answers have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from method_settings import METHODS, PREFIX, opened, settings
from safetensors.torch import load_file

import tiny
from preceptor.data.base import marked
from preceptor.errors import RecipeError
from preceptor.models.student import Probe, Student, restore, save
from preceptor.train.batches import make_items
from preceptor.train.methods import attach, describe
from preceptor.train.objectives import fit


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_trained_saved_and_restored(
    kind: str, method: str, dtype: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    chosen = settings(**METHODS[method])
    if (kind, method) == ("bert", "before-answer"):
        with pytest.raises(RecipeError, match="needs a language model"):
            opened(tiny_models[kind], chosen, dtype)
        return
    student = opened(tiny_models[kind], chosen, dtype)
    end = "" if student.virtual is None else student.virtual.text
    shown = marked(tiny.TASK, student.virtual)
    texts = ["context: pain fell question: does the drug improve pain ? answer:", "pain rose answer:"]
    prompts = student.encode([text + end for text in texts])
    before = student.logprobs(prompts)
    base = {name: value.clone() for name, value in student.model.state_dict().items()}
    torch.manual_seed(1)
    if (kind, method) == ("bert", "prefix-text"):
        with pytest.raises(RecipeError, match="needs a language model"):
            attach(student, chosen)
        return
    trained = attach(student, chosen)
    items = make_items(trained, shown, tiny.examples(12))
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


@pytest.mark.parametrize(
    ("targets", "said"), [(("nothing",), "nothing"), ("nothing", "nothing"), ("(q_proj", "unterminated")]
)
def test_unknown_targets_are_one_sentence(targets: Any, said: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(targets=targets)
    with pytest.raises(RecipeError, match=f"cannot take method 'lora': .*{said}") as caught:
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
    assert "\n" not in caught.value.message
    assert "train.targets" in caught.value.hint


def test_the_description_names_what_scales_the_steps() -> None:
    assert describe(settings(rank=4, alpha=16)) == "LoRA r 4, alpha 16 (alpha/r 4), lr 0.0003"
    assert describe(settings(**METHODS["prefix-zero"])) == "prefix 5, from zero, lr 0.01"
    assert describe(settings(method="full")) == "all weights, lr 0.0003"
    mixed = {"objectives": {"distillation": 1, "contrastive": 0.5}, "distillation": {"teacher": "a"}}
    assert describe(settings(rank=4, last_layers=2, **mixed)) == (
        "LoRA r 4, alpha 16 (alpha/r 4), last 2 layers, lr 0.0003, label + distillation + 0.5 contrastive"
    )
    assert describe(settings(method="rslora", rank=4, alpha=16)) == "rsLoRA r 4, alpha 16 (alpha/sqrt(r) 8), lr 0.0003"
    assert describe(settings(method="dora", rank=4, alpha=16)) == "DoRA r 4, alpha 16 (alpha/r 4), lr 0.0003"
    assert describe(settings(**METHODS["prefix-projected"])) == "prefix 5, from random, projected, lr 0.01"
    assert describe(settings(**METHODS["prompt"])) == "prompt 5 at the start, from text, lr 0.01"
    assert describe(settings(**METHODS["before-answer"])) == "prompt 5 before the answer, from text, lr 0.01"
    claim = {"prompt_position": "before-question", "prompt_field": "claim"}
    assert describe(settings(**METHODS["prompt"], **claim)) == "prompt 5 before the claim, from text, lr 0.01"
    assert describe(settings(method="p-tuning")) == "p-tuning 32, lr 0.0003"
    assert describe(settings(method="ia3")) == "IA3, lr 0.0003"


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


# --- what single methods do ---------------------------------------------------------------------------------------


def test_a_rank_stabilised_adapter_is_scaled_by_the_root_of_the_rank(tiny_models: dict[str, Path]) -> None:
    chosen = settings(method="rslora", rank=4, alpha=12)
    trained = attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
    assert {m.scaling["default"] for m in trained.model.modules() if hasattr(m, "lora_A")} == {6.0}
    assert chosen.scale == 6.0
    assert settings(method="dora", rank=4, alpha=12).scale == 3.0
    assert settings(method="full").scale is None


@pytest.mark.parametrize("method", ["rslora", "dora"])
def test_dropout_of_loras_variants_is_on_in_training(method: str, tiny_models: dict[str, Path]) -> None:
    losses = []
    for dropout in (0.0, 0.5):
        chosen = settings(method=method, rank=2, dropout=dropout, learning_rate=1e-2)
        trained = attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
        items = make_items(trained, tiny.TASK, tiny.examples(12))
        losses.append(fit(trained, items, items[:3], chosen, steps=3, seed=1).losses)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dora_trains_magnitudes_in_the_models_own_dtype(dtype: torch.dtype, tiny_models: dict[str, Path]) -> None:
    chosen = settings(method="dora", rank=2)
    trained = attach(opened(tiny_models["llama"], chosen, str(dtype).removeprefix("torch.")), chosen)
    parts = {n: p for n, p in trained.model.named_parameters() if p.requires_grad}
    assert any("magnitude" in name for name in parts)
    assert {p.dtype for p in parts.values()} == {dtype}


def test_ia3_scales_what_its_authors_chose_or_what_is_named(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    biogpt = tiny.save_model(tmp_path / "biogpt", "biogpt")
    found = {}
    for folder, targets in ((biogpt, "all-linear"), (tiny_models["llama"], ("v_proj", "down_proj"))):
        chosen = settings(method="ia3", targets=targets)
        trained = attach(opened(folder, chosen, "float32"), chosen)
        modules = {n.split(".")[-1]: m for n, m in trained.model.named_modules() if hasattr(m, "ia3_l")}
        found[folder.name] = {name: module.is_feedforward for name, module in modules.items() if name != "default"}
    assert found["biogpt"] == {"k_proj": False, "v_proj": False, "fc2": True}
    assert found["llama"] == {"v_proj": False, "down_proj": True}


def test_ia3s_factors_are_float32_in_a_bfloat16_model_also_after_loading(
    tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    chosen = settings(method="ia3")
    trained = attach(opened(tiny_models["llama"], chosen, "bfloat16"), chosen)
    with torch.no_grad():
        for name, weight in trained.model.named_parameters():
            if "ia3" in name:
                weight.add_(0.05 * torch.randn_like(weight))
    prompts = [[2, 30, 31, 32]]
    plain = opened(tiny_models["llama"], chosen, "bfloat16").logprobs(prompts)
    save(trained, tmp_path, Probe(prompts, plain.tolist(), trained.logprobs(prompts).tolist()))
    found = restore(opened(tiny_models["llama"], chosen, "bfloat16"), tmp_path)
    for student in (trained, found):
        factors = [p for name, p in student.model.named_parameters() if "ia3" in name]
        assert {p.dtype for p in factors} == {torch.float32}
        assert all((p != p.bfloat16().float()).any() for p in factors)  # finer than bfloat16 could hold
    np.testing.assert_array_equal(found.logprobs(prompts), trained.logprobs(prompts))


def test_ia3_on_an_architecture_that_nobody_has_chosen_for_is_refused(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(method="ia3")
    student = opened(tiny_models["llama"], chosen, "float32")
    monkeypatch.setattr(student.loaded.model.config, "model_type", "newest")
    with pytest.raises(RecipeError, match="nobody has said what it scales in the architecture 'newest'") as caught:
        attach(student, chosen)
    assert "train.targets" in caught.value.hint


@pytest.mark.parametrize("keys", [{"preset": "tuned"}, {"preset": "paper"}, {"reference_scale": 2}])
def test_settings_that_were_not_worked_out_are_refused(keys: dict[str, Any], tiny_models: dict[str, Path]) -> None:
    chosen = settings(**keys)
    with pytest.raises(RecipeError, match="are worked out for a whole recipe"):
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)


def test_the_last_layers_alone_are_for_lora_and_full(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "initialisation": "zero"}, last_layers=1)
    with pytest.raises(RecipeError, match="last_layers is for LoRA and its kin and for full, not for prefix"):
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
