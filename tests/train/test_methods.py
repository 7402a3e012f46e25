"""Every method on every architecture: attach, train two steps, save, restore, and the answers have changed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny
from preceptor.config import StudentSettings, TrainSettings
from preceptor.data.base import marked
from preceptor.errors import ModelError, RecipeError
from preceptor.models.follower import open_follower
from preceptor.models.generate import decode, write
from preceptor.models.student import Probe, Student, restore, save
from preceptor.train.batches import make_items
from preceptor.train.cell import open_for
from preceptor.train.methods import attach, describe, reserved, with_tokens
from preceptor.train.objectives import fit

PREFIX = {"method": "prefix", "virtual_tokens": 5, "learning_rate": 1e-2}
METHODS = {
    "lora": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
    "prefix-random": {**PREFIX, "initialisation": "random"},
    "prefix-zero": {**PREFIX, "initialisation": "zero"},
    "prefix-text": {**PREFIX, "initialisation": "text", "initial_text": "answer the question with yes or no"},
    "rslora": {"method": "rslora", "rank": 2, "learning_rate": 1e-2},
    "dora": {"method": "dora", "rank": 2, "learning_rate": 1e-2},
    "prefix-projected": {**PREFIX, "initialisation": "random", "projection": True},
    "prompt": {**PREFIX, "method": "prompt", "initial_text": "answer the question with yes or no"},
    "before-answer": {**PREFIX, "method": "prompt", "prompt_position": "before-answer"},
    "p-tuning": {**PREFIX, "method": "p-tuning"},
    "ia3": {"method": "ia3", "learning_rate": 1e-1},
    "full": {"method": "full", "learning_rate": 1e-3},
}


def settings(**keys: Any) -> TrainSettings:
    return TrainSettings.model_validate({"batch_size": 4, "max_length": 48, "select": "last", **keys})


def opened(folder: Path, chosen: TrainSettings, dtype: str) -> Student:
    plain = tiny.open_tiny(folder, max_length=chosen.max_length, reserve=reserved(chosen), dtype=dtype)
    return with_tokens(plain, chosen)


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


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_prompt_tuning_from_text_starts_as_that_text_before_the_prompt(kind: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**METHODS["prompt"], "virtual_tokens": 4, "initial_text": "answer the question"})
    student = opened(tiny_models[kind], chosen, "float32")
    text = student.loaded.tokenizer("answer the question answer", add_special_tokens=False)["input_ids"]
    prompt = student.encode(["pain fell answer:"])[0]
    expected = student.logprobs([[*text, *prompt]])
    np.testing.assert_allclose(attach(student, chosen).logprobs([prompt]), expected, atol=1e-4)


def test_prompt_tuning_at_random_starts_from_tokens_that_the_seed_draws(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**METHODS["prompt"], "initialisation": "random"})
    drawn = []
    for seed in (1, 1, 2):
        student = opened(tiny_models["llama"], chosen, "float32")
        torch.manual_seed(seed)
        rows = attach(student, chosen).model.prompt_encoder["default"].embedding.weight
        table = student.loaded.model.get_input_embeddings().weight
        assert all((table == row).all(dim=1).any() for row in rows)
        drawn.append(rows.detach())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize(("kind", "tables"), [("llama", 2), ("gpt2", 1)])  # llama's output layer is one of its own
def test_of_tokens_in_the_prompt_only_their_own_rows_are_trained_and_saved(
    kind: str, tables: int, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    chosen = settings(**METHODS["before-answer"])
    student = opened(tiny_models[kind], chosen, "float32")
    trained = attach(student, chosen)
    assert sum(p.numel() for p in trained.model.parameters() if p.requires_grad) == tables * 5 * 32
    save(trained, tmp_path, Probe([], [], []))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert {tuple(value.shape) for value in weights.values()} == {(5, 32)}
    assert len(weights) == 2  # peft writes the rows of a tied output layer too
    words = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    assert [w["content"] for w in words if "virtual" in w["content"]] == [f"<|virtual-{i}|>" for i in range(5)]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_tokens_in_the_prompt_start_as_a_text_in_their_place(kind: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**METHODS["before-answer"], "virtual_tokens": 3, "initial_text": "yes or no"})
    student = opened(tiny_models[kind], chosen, "float32")
    shown = marked(tiny.TASK, student.virtual)
    (item,) = tiny.examples(1)
    with_marks, plain = student.encode([shown.render(item)])[0], tiny.TASK.render(item)
    text = student.loaded.tokenizer(f"{plain} yes or no", add_special_tokens=True)["input_ids"]
    table = student.loaded.model.get_input_embeddings().weight
    assert torch.equal(table[with_marks], table[text])
    assert len(with_marks) == len(text)


def test_tokens_of_the_prompt_are_never_written_however_likely(tiny_models: dict[str, Path]) -> None:
    student = opened(tiny_models["llama"], settings(**METHODS["before-answer"]), "float32")
    assert student.virtual is not None
    prompt = f"context: pain fell question: does the drug improve pain ? answer:{student.virtual.text}"
    expected = decode(student.loaded, [prompt], max_tokens=3)[0]
    first = student.loaded.tokenizer(expected.text.split()[0], add_special_tokens=False)["input_ids"][0]
    with torch.no_grad():
        student.loaded.model.lm_head.weight[-5:] = 10 * student.loaded.model.lm_head.weight[first]
    for decoding in ("greedy", "beam"):
        assert decode(student.loaded, [prompt], max_tokens=3, decoding=decoding)[0].text.split()
    assert decode(student.loaded, [prompt], max_tokens=3)[0] == expected


def test_a_prompt_without_the_tokens_is_not_taken_for_one_with_them(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**METHODS["before-answer"])
    student = opened(tiny_models["llama"], chosen, "float32")
    assert student.virtual is not None
    for prompt in ("pain fell answer:", f"pain fell answer:{student.virtual.text * 2}"):
        with pytest.raises(ModelError, match="does not hold its virtual tokens exactly once"):
            student.encode([prompt])


def test_tokens_in_the_prompt_take_no_room_from_its_text(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**METHODS["before-answer"], "virtual_tokens": 16})
    student = opened(tiny_models["llama"], chosen, "float32")
    assert student.limit == tiny.open_tiny(tiny_models["llama"], max_length=48).limit + 16
    long = replace(tiny.examples(1)[0], fields={"question": "does it ?", "context": "pain " * 300})
    (item,) = make_items(student, marked(tiny.TASK, student.virtual), [long])
    assert len(item.prompt) == student.limit
    assert np.isfinite(attach(student, chosen).logprobs([item.prompt])).all()
    with pytest.raises(RecipeError, match="17 virtual tokens"):
        opened(tiny_models["llama"], settings(**{**METHODS["before-answer"], "virtual_tokens": 17}), "float32")


def test_the_untrained_student_reads_prompts_without_tokens(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**METHODS["before-answer"])
    entry = StudentSettings(name="s", model=str(tiny_models["llama"]))
    plain = open_for(entry, chosen, tiny.TASK, 1, trained=False)
    assert plain.virtual is None
    assert plain.limit == tiny.open_tiny(tiny_models["llama"], max_length=48).limit


def test_a_follower_has_no_question_to_stand_before(tmp_path: Path) -> None:
    follower = open_follower(
        str(tiny.save_follower(tmp_path, "llama")), "chat", max_length=100, reserve=5, dtype="float32", seed=0
    )
    with pytest.raises(RecipeError, match="needs a task with labels") as caught:
        attach(follower, settings(**METHODS["before-answer"]))
    assert '"start"' in caught.value.hint


def test_a_follower_writes_the_same_with_others_as_alone_when_embeddings_stand_before(tmp_path: Path) -> None:
    """peft puts them before the padding too, so rows of different lengths may not share a batch."""
    chosen = settings(**METHODS["prompt"])
    folder = tiny.save_follower(tmp_path, "llama")
    follower = open_follower(str(folder), "chat", max_length=100, reserve=5, dtype="float32", seed=0)
    tuned = attach(follower, chosen)
    loaded = replace(tuned.loaded, model=tuned.model)
    prompts = [list(ids) for ids in tuned.form.prompt_ids(tiny.tasks(4))]
    assert len({len(prompt) for prompt in prompts}) > 1
    together = write(loaded, prompts, seeds=[1, 2, 3, 4], max_tokens=5, temperature=0.8)
    for number, prompt in enumerate(prompts):
        assert write(loaded, [prompt], seeds=[number + 1], max_tokens=5, temperature=0.8)[0] == together[number]


@pytest.mark.parametrize("method", ["prompt", "p-tuning"])
def test_a_followers_answers_are_scored_behind_the_embeddings(method: str, tmp_path: Path) -> None:
    """The log-probability of an answer is that of a whole forward pass, position by position."""
    chosen = settings(**METHODS[method])
    follower = open_follower(
        str(tiny.save_follower(tmp_path, "llama")), "chat", max_length=100, reserve=5, dtype="float32", seed=0
    )
    tuned = attach(follower, chosen)
    prompt, target = list(tuned.form.prompt_ids(tiny.tasks(1))[0]), [30, 31, 32]
    with torch.no_grad():
        logits = tuned.model(input_ids=torch.tensor([[*prompt, *target[:-1]]])).logits[0, -3:]
    expected = torch.log_softmax(logits, dim=-1)[torch.arange(3), torch.tensor(target)].mean()
    np.testing.assert_allclose(tuned.logprobs([prompt], [target]), [[expected.item()]], rtol=1e-5)


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


@pytest.mark.parametrize("method", ["prompt", "before-answer"])
def test_tokens_from_a_text_of_nothing_are_refused(method: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**METHODS[method], "initial_text": "  "})
    with pytest.raises(RecipeError, match=r"train\.initial_text is empty"):
        attach(opened(tiny_models["gpt2"], chosen, "float32"), chosen)


def test_an_output_layer_with_a_bias_is_refused_for_tokens_in_the_prompt(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"], reserve=5)
    student.loaded.model.lm_head.bias = torch.nn.Parameter(torch.zeros(10))
    with pytest.raises(RecipeError, match="leave out the bias of its output layer"):
        with_tokens(student, settings(**METHODS["before-answer"]))


def test_a_projected_prefix_is_saved_as_its_values_alone(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(**METHODS["prefix-projected"])
    save(attach(opened(tiny_models["llama"], chosen, "float32"), chosen), tmp_path, Probe([], [], []))
    weights = load_file(tmp_path / "adapter_model.safetensors")
    assert {name: tuple(value.shape) for name, value in weights.items()} == {"prompt_embeddings": (5, 2 * 2 * 16)}


@pytest.mark.parametrize("keys", [{"preset": "tuned"}, {"preset": "paper"}, {"reference_scale": 2}])
def test_settings_that_were_not_worked_out_are_refused(keys: dict[str, Any], tiny_models: dict[str, Path]) -> None:
    chosen = settings(**keys)
    with pytest.raises(RecipeError, match="are worked out for a whole recipe"):
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)


def test_the_last_layers_alone_are_for_lora_and_full(tiny_models: dict[str, Path]) -> None:
    chosen = settings(**{**PREFIX, "initialisation": "zero"}, last_layers=1)
    with pytest.raises(RecipeError, match="last_layers is for LoRA and its kin and for full, not for prefix"):
        attach(opened(tiny_models["llama"], chosen, "float32"), chosen)
