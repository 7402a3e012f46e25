"""What scores are made of: rows in batches, logits where they are needed, an encoder's head, probabilities of labels.

Training, evaluation and export share it. The likelihoods of labels and answers themselves are in `answers.py`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from preceptor.models.load import Loaded

BATCH_TOKENS = 4096
"""Tokens per forward pass when scoring, padding included: large enough to keep two cores busy, small in memory."""


CPU_TOKENS = 1024
"""The same where answers are scored on a CPU: the states of so few tokens stay in its caches, and memory is reused
instead of mapped anew. SmolLM2-135M in bfloat16: a quarter to a third less time than with 4096."""


def batch_tokens(place: torch.device) -> int:
    """Tokens per forward pass when answers are scored, padding included."""
    return CPU_TOKENS if place.type == "cpu" else BATCH_TOKENS


@dataclass(frozen=True, slots=True)
class Padded:
    """Rows of token ids, padded on the right: under causal attention padding there cannot change a real position."""

    ids: torch.Tensor
    """[rows, tokens] int64."""
    mask: torch.Tensor
    """[rows, tokens] int64, 1 at real tokens."""


def encode(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of prompts, with the special tokens that the model expects around them."""
    return [list(ids) for ids in tokenizer(list(texts), add_special_tokens=True)["input_ids"]] if texts else []


def encode_target(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of what follows a prompt: no special tokens."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def pad(rows: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Padded:
    """Pad rows on the right to the longest."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return Padded(ids.to(device), mask.to(device))


def by_length(lengths: Sequence[int], batch_tokens: int) -> Iterator[list[int]]:
    """Indices in batches of similar length, each at most `batch_tokens` tokens with padding (or a single row)."""
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        # The first index of a batch is its longest row.
        if batch and (len(batch) + 1) * lengths[batch[0]] > batch_tokens:
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def logits_at(model: Any, padded: Padded, positions: torch.Tensor) -> torch.Tensor:
    """Next-token logits at chosen positions only.

    `positions` [rows, k] are indices into the tokens; returns float32 [rows, k, vocabulary]. Where the model can, the
    output matrix is applied at these positions alone, which for a large vocabulary saves most of its cost.
    """
    inputs: dict[str, Any] = {"input_ids": padded.ids, "attention_mask": padded.mask, "use_cache": False}
    positions = positions + embeddings_before(model)
    if _keeps_logits(model):
        kept, where = torch.unique(positions, return_inverse=True)
        logits = model(**inputs, logits_to_keep=kept).logits
        positions = where
    else:
        logits = model(**inputs).logits
    rows = torch.arange(positions.shape[0], device=positions.device).unsqueeze(1)
    return logits[rows, positions].float()


def logits_of(
    model: Any, inputs: Mapping[str, Any], shape: Sequence[int], rows: torch.Tensor, positions: torch.Tensor
) -> torch.Tensor:
    """Next-token logits at single positions: `rows` and `positions` [n] -> float32 [n, vocabulary].

    `shape` is that of the hidden states, [rows, positions]. They are picked just before the output layer, whatever is
    wrapped around the model. Where that layer is called in another way than on [rows, positions, width], all logits
    are computed and picked afterwards.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base.get_output_embeddings()
    picked = False

    def pick(_layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal picked
        picked = bool(args) and args[0].shape[:2] == tuple(shape) and not picked
        return (args[0][rows, positions].unsqueeze(0), *args[1:]) if picked else None

    hook = head.register_forward_pre_hook(pick) if head is not None else None
    try:
        logits = model(**inputs).logits
    finally:
        if hook is not None:
            hook.remove()
    return (logits[0] if picked else logits[rows, positions]).float()


def embeddings_before(model: Any) -> int:
    """Positions that peft puts before the text, and of which it returns logits: prompt tuning and p-tuning.

    A prefix takes none, because it lies in the cache; tokens that were added to the vocabulary are part of the text.
    """
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning or config.peft_type == "PREFIX_TUNING":
        return 0
    return int(config.num_virtual_tokens)


def _keeps_logits(model: Any) -> bool:
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return "logits_to_keep" in inspect.signature(type(base).forward).parameters


def stems(targets: Sequence[Sequence[int]]) -> dict[tuple[int, ...], list[int]]:
    """Labels grouped by the row that scores them: the label's tokens but the last.

    A label whose stem begins another label's stem needs no row of its own. Labels of one token share the empty stem.
    """
    stems = {tuple(target[:-1]) for target in targets}
    longest = [s for s in sorted(stems) if not any(o != s and o[: len(s)] == s for o in stems)]
    groups: dict[tuple[int, ...], list[int]] = {stem: [] for stem in longest}
    for label, target in enumerate(targets):
        own = tuple(target[:-1])
        groups[next(stem for stem in longest if stem[: len(own)] == own)].append(label)
    return groups


@torch.inference_mode()
def head_logprobs(model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]]) -> np.ndarray:
    """Log-softmax of an encoder's classification head: float64 [prompts, labels]."""
    parts: dict[int, np.ndarray] = {}
    for batch in by_length([len(row) for row in prompts], BATCH_TOKENS):
        padded = pad([prompts[i] for i in batch], loaded.tokenizer.pad_token_id, loaded.device)
        logits = model(input_ids=padded.ids, attention_mask=padded.mask).logits
        values = torch.log_softmax(logits.float(), dim=-1).double().cpu().numpy()
        parts.update(zip(batch, values, strict=True))
    return np.stack([parts[i] for i in range(len(prompts))])


def normalised(logprobs: np.ndarray) -> np.ndarray:
    """Probabilities over the labels alone: rows of `exp` that sum to 1."""
    shifted = np.exp(logprobs - logprobs.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)
