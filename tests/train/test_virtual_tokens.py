"""Trained tokens before and inside the prompt: where they begin, what is saved, and what they may not do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from method_settings import METHODS, PREFIX, opened, settings
from safetensors.torch import load_file

import tiny
from preceptor.config import StudentSettings
from preceptor.data.base import marked
from preceptor.errors import ModelError, RecipeError
from preceptor.models.follower import open_follower
from preceptor.models.generate import decode, write
from preceptor.models.student import Probe, save
from preceptor.train.batches import make_items
from preceptor.train.cell import open_for
from preceptor.train.methods import attach, with_tokens


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
