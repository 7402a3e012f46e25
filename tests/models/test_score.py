"""Label likelihoods against the plainest way to compute them: one sequence at a time, every logit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from preceptor.models import score
from preceptor.models.student import Student

SINGLE = ("yes", "no", "maybe")
BEGINNING = ("maybe", "maybe not", "maybe not sure", "no", "no pain", "sure")
"""Some labels' tokens begin another's."""
LONG = ("the drug is better", "the drug is worse", "the diet", "no")
PROMPTS = [
    "context: a b c question: does the drug improve pain ? answer:",
    "answer:",
    "one two three four five six seven eight nine ten pain rose answer:",
    "context: pain fell answer:",
    "question: does the diet change sleep ? answer:",
]


def reference(student: Student, prompts: list[list[int]]) -> np.ndarray:
    rows = []
    for prompt in prompts:
        row = []
        for target in student.targets:
            with torch.no_grad():
                logits = student.model(input_ids=torch.tensor([prompt + target])).logits[0].double()
            logs = torch.log_softmax(logits, dim=-1)
            row.append(sum(float(logs[len(prompt) - 1 + k, token]) for k, token in enumerate(target)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("labels", [SINGLE, BEGINNING, LONG], ids=["single", "beginning", "long"])
def test_label_logprobs_equal_each_sequence_alone(
    kind: str, labels: tuple[str, ...], tiny_models: dict[str, Path]
) -> None:
    student = tiny.open_tiny(tiny_models[kind], labels)
    prompts = student.encode(PROMPTS)
    found = student.logprobs(prompts)
    assert found.shape == (len(PROMPTS), len(labels))
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, reference(student, prompts), atol=2e-5)
    assert found.std() > 0.3  # the models' answers differ, or the comparison would say little


def test_one_forward_pass_serves_all_labels_of_one_token(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"], SINGLE)
    shapes = []
    student.model.get_output_embeddings().register_forward_hook(lambda _m, args, _o: shapes.append(args[0].shape))
    student.logprobs(student.encode(PROMPTS))
    assert [tuple(shape[:2]) for shape in shapes] == [(1, len(PROMPTS))]  # each prompt's last position


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_batches_and_padding_do_not_matter(
    kind: str, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    student = tiny.open_tiny(tiny_models[kind], BEGINNING)
    prompts = student.encode(PROMPTS)
    together = student.logprobs(prompts)
    alone = np.concatenate([student.logprobs([prompt]) for prompt in prompts])
    np.testing.assert_allclose(together, alone, atol=2e-5)
    order = [3, 0, 4, 2, 1]
    monkeypatch.setattr(score, "CPU_TOKENS", 40)
    monkeypatch.setattr(score, "BATCH_TOKENS", 40)
    np.testing.assert_allclose(student.logprobs([prompts[i] for i in order]), together[order], atol=2e-5)


def test_head_logprobs_are_the_log_softmax_of_the_head(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    prompts = student.encode(PROMPTS)
    found = student.logprobs(prompts)
    for row, prompt in zip(found, prompts, strict=True):
        with torch.no_grad():
            logits = student.model(input_ids=torch.tensor([prompt])).logits[0].double()
        np.testing.assert_allclose(row, torch.log_softmax(logits, -1).numpy(), atol=1e-5)
    np.testing.assert_allclose(np.exp(found).sum(axis=1), 1.0, atol=1e-6)


def test_prompts_carry_the_tokens_that_the_model_expects_and_targets_none(tiny_models: dict[str, Path]) -> None:
    llama, bert = tiny.open_tiny(tiny_models["llama"]), tiny.open_tiny(tiny_models["bert"])
    assert llama.loaded.tokenizer.convert_ids_to_tokens(llama.encode(["no pain"])[0]) == ["<s>", "no", "pain"]
    assert bert.loaded.tokenizer.convert_ids_to_tokens(bert.encode(["no pain"])[0]) == ["<cls>", "no", "pain", "<sep>"]
    assert llama.loaded.tokenizer.convert_ids_to_tokens(llama.targets[2]) == ["maybe"]
    assert llama.length("no pain") == 3
    assert llama.encode([]) == []


def test_by_length_holds_the_budget_and_every_index_once() -> None:
    lengths = [5, 30, 7, 7, 100, 1, 30]
    batches = list(score.by_length(lengths, 60))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 60 for batch in batches)
    assert len(batches) == 3  # [100], [30, 30], the rest
    assert list(score.by_length([], 60)) == []


def test_normalised_sums_to_one_and_bears_very_small_likelihoods() -> None:
    rows = np.array([[-1000.0, -1001.0, -1002.0], [-0.1, -3.0, -9.0]])
    found = score.normalised(rows)
    weights = np.exp([0.0, -1.0, -2.0])
    np.testing.assert_allclose(found[0], weights / weights.sum(), atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
