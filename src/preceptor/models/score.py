"""Label likelihoods: what training selects by, evaluation decides by and export checks compare.

One definition serves them all. For a language model the score of a label is the log-probability of its tokens after
the prompt; when every label is one token, all labels come from one forward pass. For an encoder it is the log-softmax
of its head.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from preceptor.models.load import Loaded

BATCH_TOKENS = 4096
"""Tokens per forward pass when scoring, padding included: large enough to keep two cores busy, small in memory."""


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


@torch.inference_mode()
def label_logprobs(
    model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> np.ndarray:
    """Log-probability of each label after each prompt.

    `prompts` are token ids, `targets` the token ids of each label; returns float64 [prompts, labels], the sum over a
    label's tokens, not normalised by length (as lm-evaluation-harness does for `acc`).
    """
    result = np.zeros((len(prompts), len(targets)), dtype=np.float64)
    for stem, members in stems(targets).items():
        rows = [[*prompt, *stem] for prompt in prompts]
        for batch in by_length([len(row) for row in rows], BATCH_TOKENS):
            padded = pad([rows[i] for i in batch], loaded.tokenizer.pad_token_id, loaded.device)
            starts = torch.tensor([[len(prompts[i]) - 1 + k for k in range(len(stem) + 1)] for i in batch])
            logprobs = torch.log_softmax(logits_at(model, padded, starts.to(loaded.device)), dim=-1)
            for label in members:
                tokens = targets[label]
                steps = torch.arange(len(tokens), device=loaded.device)
                picked = logprobs[:, steps, torch.tensor(tokens, device=loaded.device)]
                result[batch, label] = picked.sum(-1).double().cpu().numpy()
    return result


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
