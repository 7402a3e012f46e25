"""Answers against the plainest ways to score them: transformers' own loss, and one sequence at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model

from preceptor.models import answers
from preceptor.models.answers import (
    answer_logits,
    answer_logprobs,
    label_logprobs,
    option_logprobs,
    plain_logprobs,
    token_losses,
)
from preceptor.models.load import Loaded, load_causal
from preceptor.models.score import pad

PROMPTS = [[2, 7, 8, 9], [2, 30, 31, 32, 33, 34, 35, 36], [2], [2, 12, 13]]
TARGETS = [[20, 21, 3], [40, 3], [22, 23, 24, 25, 26, 3], [41, 42, 43, 3]]


@pytest.fixture(params=["llama", "gpt2"])
def loaded(request: pytest.FixtureRequest, tiny_models: dict[str, Path]) -> Loaded:
    return load_causal(str(tiny_models[request.param]), "float32")


def wrapped(loaded: Loaded, method: str) -> Any:
    torch.manual_seed(3)
    if method == "lora":
        transposed = loaded.model.config.model_type == "gpt2"
        config: Any = LoraConfig(
            r=4,
            target_modules="all-linear",
            init_lora_weights=False,
            task_type="CAUSAL_LM",
            fan_in_fan_out=transposed,
        )
    elif method == "prefix":
        config = PrefixTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM")
    else:
        return loaded.model
    return get_peft_model(loaded.model, config).eval()


@pytest.mark.parametrize("method", ["none", "lora", "prefix"])
def test_loss_and_gradient_are_those_of_transformers_with_masked_prompts(loaded: Loaded, method: str) -> None:
    model = wrapped(loaded, method)
    model.requires_grad_(True)
    longest = max(len(p) + len(t) for p, t in zip(PROMPTS, TARGETS, strict=True))
    rows = pad([[*p, *t] for p, t in zip(PROMPTS, TARGETS, strict=True)], 0, loaded.device)
    labels = torch.tensor(
        [[-100] * len(p) + t + [-100] * (longest - len(p) - len(t)) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    )
    expected = model(input_ids=rows.ids, attention_mask=rows.mask, labels=labels).loss
    expected.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    found = token_losses(model, loaded, PROMPTS, TARGETS)
    assert found.shape == (sum(map(len, TARGETS)),)
    found.mean().backward()
    assert found.mean().item() == pytest.approx(expected.item(), abs=1e-5)
    assert len(gradients) > 0
    for name, p in model.named_parameters():
        if name in gradients:
            torch.testing.assert_close(p.grad, gradients[name], atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("method", ["none", "lora", "prefix"])
def test_the_output_layer_sees_the_answers_positions_alone(loaded: Loaded, method: str) -> None:
    model = wrapped(loaded, method)
    shapes = []
    loaded.model.get_output_embeddings().register_forward_hook(lambda _m, args, _o: shapes.append(args[0].shape))
    answer_logprobs(model, loaded, PROMPTS, TARGETS)
    assert [tuple(shape[:2]) for shape in shapes] == [(1, sum(map(len, TARGETS)))]
    assert not loaded.model.get_output_embeddings()._forward_pre_hooks  # nothing stays behind


def test_a_model_whose_output_layer_is_not_found_gives_the_same_logits(
    loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    padded = pad(PROMPTS, 0, loaded.device)
    rows, positions = torch.tensor([0, 1, 1, 3]), torch.tensor([3, 0, 7, 1])
    with torch.no_grad():
        quick = answer_logits(loaded.model, padded, rows, positions)
        monkeypatch.setattr(loaded.model, "get_output_embeddings", lambda: None)
        plain = answer_logits(loaded.model, padded, rows, positions)
    torch.testing.assert_close(quick, plain, atol=1e-5, rtol=1e-5)
    assert quick.dtype == torch.float32


def reference(model: Any, prompt: list[int], target: list[int]) -> float:
    with torch.no_grad():
        logs = torch.log_softmax(model(input_ids=torch.tensor([prompt + target])).logits[0].double(), dim=-1)
    return sum(float(logs[len(prompt) - 1 + k, token]) for k, token in enumerate(target))


def test_an_answers_likelihood_is_the_sum_over_its_tokens(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "BATCH_TOKENS", 20)  # several batches
    found = answer_logprobs(loaded.model, loaded, PROMPTS, TARGETS)
    expected = [reference(loaded.model, p, t) for p, t in zip(PROMPTS, TARGETS, strict=True)]
    np.testing.assert_allclose(found, expected, atol=2e-5)


OWN = [
    [[20], [21], [22]],
    [[20, 21, 22], [20, 21, 23], [24]],
    [[30, 31], [30, 31, 32, 33], [30]],
    [[40, 41], [42, 43]],
]
"""Options of one token, with a common beginning, one beginning another, and with nothing in common."""


def test_options_of_each_item_equal_each_sequence_alone(loaded: Loaded) -> None:
    found = option_logprobs(loaded.model, loaded, PROMPTS, OWN)
    for prompt, own, values in zip(PROMPTS, OWN, found, strict=True):
        np.testing.assert_allclose(values, [reference(loaded.model, prompt, o) for o in own], atol=2e-5)


def test_whole_rows_are_shared_where_they_can(loaded: Loaded) -> None:
    rows = []
    loaded.model.get_input_embeddings().register_forward_hook(lambda _m, args, _o: rows.append(len(args[0])))
    plain_logprobs(loaded.model, loaded, PROMPTS, OWN)
    assert sum(rows) == 1 + 1 + 1 + 2  # `[24]` is scored in the row of `[20, 21]`


def test_options_that_all_items_share_are_scored_like_labels(loaded: Loaded) -> None:
    labels = [[20], [21, 22], [21, 23]]
    found = option_logprobs(loaded.model, loaded, PROMPTS, [labels] * len(PROMPTS))
    np.testing.assert_allclose(np.stack(found), label_logprobs(loaded.model, loaded, PROMPTS, labels), atol=2e-5)
