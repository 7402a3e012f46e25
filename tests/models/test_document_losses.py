"""The loss of every token in parts is the loss of every token at once, with the same gradients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch.nn import functional
from transformers import Gemma2Config, Gemma2ForCausalLM

import tiny
from preceptor.models import documents
from preceptor.models.documents import (
    IGNORED,
    Window,
    document_losses,
    losses,
    opening,
    sum_of_losses,
    text_ids,
    windows_of,
)
from preceptor.models.load import load_causal
from preceptor.models.score import Padded, pad

ROWS = [[6, 7, 8, 9, 10, 11, 12], [13, 14, 15], [16, 17, 18, 19, 20]]


@pytest.fixture(autouse=True)
def _few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "LOGITS_AT_A_TIME", 300)  # two or three positions of a tiny vocabulary


def asked(rows: list[list[int]] = ROWS) -> tuple[Padded, torch.Tensor]:
    """Rows, and their next tokens; the second row asks for its last one only."""
    padded = pad([row[:-1] for row in rows], 0, torch.device("cpu"))
    wanted = torch.full(padded.ids.shape, IGNORED)
    for i, row in enumerate(rows):
        wanted[i, : len(row) - 1] = torch.tensor(row[1:])
    wanted[1, 0] = IGNORED
    return padded, wanted


def stock(model: Any, padded: Padded, wanted: torch.Tensor) -> torch.Tensor:
    """The same from all logits at once."""
    logits = model(input_ids=padded.ids, attention_mask=padded.mask).logits.float()
    return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=IGNORED, reduction="none")


def gradients(model: Any, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def check_gradients(model: Any) -> None:
    padded, wanted = asked()
    found, expected = sum_of_losses(model, padded, wanted), stock(model, padded, wanted).sum()
    torch.testing.assert_close(found, expected)
    # Doubled, so that the slope from outside counts too.
    ours, theirs = gradients(model, 2 * found), gradients(model, 2 * expected)
    assert ours.keys() == theirs.keys()
    assert ours
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, msg=name)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_loss_and_gradients_of_all_weights_are_those_of_all_logits_at_once(kind: str) -> None:
    check_gradients(tiny.model(kind, 60).eval())


def test_loss_and_gradients_of_an_adapter_too() -> None:
    config = peft.LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    check_gradients(peft.get_peft_model(tiny.model("llama", 60), config).eval())


def test_an_adapter_on_the_output_layer_too() -> None:
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "lm_head"], init_lora_weights=False)
    check_gradients(peft.get_peft_model(tiny.model("llama", 60), config).eval())


def test_an_output_layer_with_a_bias_too() -> None:
    model = tiny.model("llama", 60)
    model.lm_head = torch.nn.Linear(32, 60)
    check_gradients(model.eval())


def test_a_model_that_caps_its_logits_is_asked_for_all_of_them() -> None:
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=64,
            initializer_range=0.2,
            final_logit_softcapping=2.0,
            attn_implementation="eager",
        )
    ).eval()
    check_gradients(model)
    padded, wanted = asked()
    torch.testing.assert_close(losses(model, padded, wanted).flatten(), stock(model, padded, wanted))


def test_no_more_logits_are_made_at_once_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    model, made = tiny.model("llama", 60).eval(), []
    linear = functional.linear

    def counted(inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        if weight.shape[0] == 60:
            made.append(inputs.numel() // inputs.shape[-1] * 60)
        return linear(inputs, weight, bias)

    monkeypatch.setattr(functional, "linear", counted)
    padded, wanted = asked()
    sum_of_losses(model, padded, wanted).backward()
    losses(model, padded, wanted)
    assert max(made) <= 300
    assert sum(made) >= 2 * 11 * 60  # all of them, in training and in reading


def test_losses_of_single_tokens_stand_where_they_were_asked() -> None:
    model = tiny.model("llama", 60).eval()
    padded, wanted = asked()
    found = losses(model, padded, wanted)
    torch.testing.assert_close(found.flatten(), stock(model, padded, wanted))
    assert found[1, 0] == 0
    assert float(sum_of_losses(model, padded, wanted).detach()) == pytest.approx(float(found.sum()), rel=1e-5)


@pytest.mark.parametrize("length", [2, 7, 16])
@pytest.mark.parametrize("tokens", [0, 1, 15, 16, 17, 24, 25, 100])
def test_every_token_counts_once_after_at_least_half_a_window(tokens: int, length: int) -> None:
    windows = windows_of(tokens, length)
    assert [t for w in windows for t in range(w.first, w.last + 1)] == list(range(1, tokens + 1))
    for window in windows:
        assert window.last - window.start == min(length, tokens)  # full, or the whole text
        assert window.first - window.start >= min(window.first, length // 2)


def test_windows_by_hand() -> None:
    assert windows_of(5, 8) == [Window(0, 1, 5)]
    assert windows_of(13, 8) == [Window(0, 1, 8), Window(4, 9, 12), Window(5, 13, 13)]


def one_by_one(loaded: Any, text: str, length: int) -> list[float]:
    """Loss of each token of a text, from a forward pass of its own over what its window shows before it."""
    first = opening(loaded.tokenizer) or [loaded.tokenizer.eos_token_id]
    row = [*first, *text_ids(loaded.tokenizer, [text])[0]]
    found = []
    for token in range(1, len(row)):
        if token <= length:
            start = 0
        else:  # windows end at length, then every half of it, and at the end of the text
            end = length
            while end < token:
                end = min(end + length // 2, len(row) - 1)
            start = end - length
        with torch.inference_mode():
            logits = loaded.model(input_ids=torch.tensor([row[start:token]])).logits[0, -1]
        found.append(-float(torch.log_softmax(logits.double(), dim=-1)[row[token]]))
    return found


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_documents_have_the_loss_of_their_tokens_one_by_one(kind: str, tiny_models: dict[str, Path]) -> None:
    loaded = load_causal(str(tiny_models[kind]), "float32")
    texts = ["pain fell", "", " ".join(tiny.WORDS[:16]), " ".join(tiny.WORDS[5:55]), "the drug", "the"]
    seen: list[tuple[int, int]] = []
    tokens, found = document_losses(loaded.model, loaded, texts, 16, lambda done, of: seen.append((done, of)))
    expected = [one_by_one(loaded, text, 16) for text in texts]
    assert tokens.tolist() == [len(one) for one in expected]
    np.testing.assert_allclose(found, [sum(one) for one in expected], rtol=1e-5)
    windows = sum(len(windows_of(int(n), 16)) for n in tokens)
    assert seen[-1] == (windows, windows)


def test_a_text_begins_where_the_tokenizer_lets_texts_begin() -> None:
    assert opening(tiny.tokenizer("llama")) == [2]
    assert opening(tiny.tokenizer("gpt2")) == []
    assert text_ids(tiny.tokenizer("llama"), ["pain fell"]) == text_ids(tiny.tokenizer("gpt2"), ["pain fell"])
    assert text_ids(tiny.tokenizer("llama"), []) == []
