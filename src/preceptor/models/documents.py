"""Likelihood of whole texts: the loss of every token, without ever holding the logits of all positions at once.

The logits of SmolLM2 are 49,152 numbers for each token: for 8 windows of 512 tokens 0.8 GB in float32, and as much
again for their gradient, where all weights of the model are 0.5 GB. Here they are made for a few hundred positions at a
time; in training the gradient of these is worked out at once, so that nothing is kept and nothing is computed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional
from transformers import PreTrainedTokenizerBase

from preceptor.models.load import Loaded
from preceptor.models.score import BATCH_TOKENS, Padded, by_length, pad

LOGITS_AT_A_TIME = 1 << 24
"""Logits that are held at once: 64 MiB in float32, 341 positions of SmolLM2."""
IGNORED = -100
"""Where nothing is asked, in place of a token's id."""
PLAIN = 0.01
"""Largest difference, as a share of the largest logit, between the output layer alone and what the model makes of it.
bfloat16 rounds to one part in 256; a model that scales or caps its logits differs by more."""

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def text_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts, no special tokens added."""
    if not texts:
        return []
    # Not verbose: documents longer than the model's window are what windows are for.
    return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"]]


def opening(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The token that a text begins after: the one that the tokenizer puts at the start, where it does, else none."""
    begin = tokenizer.bos_token_id
    return [begin] if begin is not None and tokenizer("")["input_ids"][:1] == [begin] else []


def sum_of_losses(model: Any, padded: Padded, wanted: torch.Tensor) -> torch.Tensor:
    """Sum of the negative log-likelihoods of the tokens `wanted` after each position: float32 scalar with gradients.

    `wanted` [rows, tokens] holds token ids, `IGNORED` where nothing is asked.
    """
    asked = wanted != IGNORED
    hidden, head = _before_head(model, padded)
    if head is None:
        return functional.cross_entropy(hidden[asked].float(), wanted[asked], reduction="sum")
    found: torch.Tensor = _SumOfLosses.apply(hidden[asked], head.weight, head.bias, wanted[asked])
    return found


@torch.inference_mode()
def losses(model: Any, padded: Padded, wanted: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of each token `wanted`: float32 [rows, tokens], 0 where nothing is asked."""
    asked = wanted != IGNORED
    result = torch.zeros(wanted.shape, dtype=torch.float32, device=wanted.device)
    hidden, head = _before_head(model, padded)
    if head is None:
        result[asked] = functional.cross_entropy(hidden[asked].float(), wanted[asked], reduction="none")
        return result
    rows, ids = hidden[asked], wanted[asked]
    size = _positions(head.weight)
    parts = [
        functional.cross_entropy(head(rows[start : start + size]).float(), ids[start : start + size], reduction="none")
        for start in range(0, len(rows), size)
    ]
    result[asked] = torch.cat(parts) if parts else result[asked]
    return result


@dataclass(frozen=True, slots=True)
class Window:
    """A part of a text that is read at once. Tokens are numbered from 1; number 0 is what the text follows."""

    start: int
    """The first token that is read."""
    first: int
    """The first token whose loss counts here."""
    last: int
    """The last one; all before it are read."""


def windows_of(tokens: int, length: int) -> list[Window]:
    """Windows of at most `length` tokens in which every token of a text counts once.

    They move on by half of `length`, the last one by less, so that it is full: a token has at least half of `length`
    tokens before it, or all there are.
    """
    if tokens <= length:
        return [Window(0, 1, tokens)] if tokens else []
    ends = [*range(length, tokens, max(length // 2, 1)), tokens]
    return [Window(end - length, before + 1, end) for before, end in zip([0, *ends], ends, strict=False)]


def document_losses(
    model: Any,
    loaded: Loaded,
    texts: Sequence[str],
    length: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Counts, Floats]:
    """Tokens of each text, and the sum of their negative log-likelihoods: int64 and float64, both [texts].

    Every token of the text counts once, the first too: it follows the token at which texts begin, or end-of-text where
    the tokenizer has none. Long texts are read as `windows_of` says. `on_progress` takes the number of windows
    read, and of all.
    """
    begin = opening(loaded.tokenizer) or [loaded.tokenizer.eos_token_id]
    rows = [[*begin, *ids] for ids in text_ids(loaded.tokenizer, texts)]
    windows = [(text, window) for text, row in enumerate(rows) for window in windows_of(len(row) - 1, length)]
    sums, done = np.zeros(len(rows)), 0
    for batch in by_length([window.last - window.start for _, window in windows], BATCH_TOKENS):
        part = [windows[i] for i in batch]
        read = [rows[text][window.start : window.last] for text, window in part]
        padded = pad(read, loaded.tokenizer.pad_token_id, loaded.device)
        wanted = torch.full(padded.ids.shape, IGNORED)
        for row, (text, window) in enumerate(part):
            counted = torch.tensor(rows[text][window.first : window.last + 1])
            wanted[row, window.first - 1 - window.start : window.last - window.start] = counted
        found = losses(model, padded, wanted.to(loaded.device)).double().sum(dim=1).cpu().numpy()
        np.add.at(sums, [text for text, _ in part], found)
        done += len(part)
        if on_progress is not None:
            on_progress(done, len(windows))
    return np.array([len(row) - 1 for row in rows], dtype=np.int64), sums


class _SumOfLosses(torch.autograd.Function):
    """Cross-entropy of `hidden` [n, width] times the output matrix, summed; gradients are made on the way forward."""

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, wanted: torch.Tensor
    ) -> torch.Tensor:
        of_hidden, of_weight, of_bias, _ = ctx.needs_input_grad
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        slope = torch.empty_like(hidden) if of_hidden else None
        # Sums over thousands of positions: in bfloat16 they would lose what the last ones add.
        slope_of_weight = torch.zeros_like(weight, dtype=torch.float32) if of_weight else None
        slope_of_bias = torch.zeros_like(bias, dtype=torch.float32) if bias is not None and of_bias else None
        size = _positions(weight)
        for start in range(0, len(hidden), size):
            part, ids = hidden[start : start + size], wanted[start : start + size].unsqueeze(1)
            logs = torch.log_softmax(functional.linear(part, weight, bias).float(), dim=-1)
            total -= logs.gather(1, ids).sum()
            gap = logs.exp_()  # softmax - 1 at the token that came: the slope of its loss
            gap.scatter_add_(1, ids, torch.full_like(ids, -1, dtype=gap.dtype))
            if slope_of_bias is not None:
                slope_of_bias += gap.sum(dim=0)
            gap = gap.to(hidden.dtype)
            if slope is not None:
                slope[start : start + size] = gap @ weight
            if slope_of_weight is not None:
                slope_of_weight += gap.t() @ part
        ctx.slopes = (
            slope,
            None if slope_of_weight is None else slope_of_weight.to(weight.dtype),
            None if slope_of_bias is None or bias is None else slope_of_bias.to(bias.dtype),
        )
        return total

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (scale,) = outer
        return (*(None if slope is None else slope * scale.to(slope.dtype) for slope in ctx.slopes), None)


def _positions(weight: torch.Tensor) -> int:
    """Positions whose logits are held at once."""
    return max(1, LOGITS_AT_A_TIME // weight.shape[0])


def _before_head(model: Any, padded: Padded) -> tuple[torch.Tensor, torch.nn.Linear | None]:
    """What goes into the output layer [rows, tokens, width], and that layer; or all logits, and None.

    The latter where the output layer is none of the plain kind, or the model scales or caps what comes out of it: seen
    by comparing the logits of one position.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base.get_output_embeddings()
    caught: list[torch.Tensor] = []

    def catch(_layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        caught.append(args[0])
        return (args[0][:1, :1], *args[1:])

    inputs = {"input_ids": padded.ids, "attention_mask": padded.mask, "use_cache": False}
    if type(head) is torch.nn.Linear:
        hook = head.register_forward_pre_hook(catch)
        try:
            logits = model(**inputs).logits
        finally:
            hook.remove()
        if len(caught) == 1 and caught[0].shape[:2] == padded.ids.shape and _plain(head, caught[0], logits):
            return caught[0], head
    return model(**inputs).logits, None


@torch.no_grad()
def _plain(head: torch.nn.Linear, hidden: torch.Tensor, logits: torch.Tensor) -> bool:
    alone = head(hidden[:1, :1]).float()
    return bool((alone - logits.float()).abs().max() <= PLAIN * alone.abs().max())
