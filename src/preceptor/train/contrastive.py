"""Supervised contrastive learning (Khosla et al. 2020, arXiv 2004.11362) on the student's pooled states.

An encoder's pooled state is the mean over its tokens (or its first token's state), a language model's is the last
layer's state at the prompt's last token, from which the answer is read. Batches are composed for it by
`batches.mixed_pass`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from preceptor.config import ContrastiveSettings
from preceptor.errors import DataError, RecipeError
from preceptor.models.score import BATCH_TOKENS, by_length, logits_at, pad
from preceptor.models.student import Student
from preceptor.records import Example
from preceptor.train.batches import TrainingItem


def check_contrastive(real: Sequence[Example], processes: int = 1) -> None:
    """Raise `DataError` when no training item could ever be another's negative, `RecipeError` in several processes."""
    if processes > 1:
        raise RecipeError(
            "train.objectives.contrastive compares the items of a batch, which several processes would divide.",
            "Start the run in one process, or leave it at 0.",
        )
    labels = {example.label for example in real}
    if len(labels) < 2:
        raise DataError(
            f"All {len(real)} training items have the label {next(iter(labels), '')!r}, so the contrastive objective "
            "has nothing to tell apart.",
            "Use items of several labels, or leave train.objectives.contrastive at 0.",
        )


@dataclass
class Seen:
    """What a forward pass left to look at."""

    states: torch.Tensor | None = None
    """The last layer's states after its final norm: [rows, virtual tokens and tokens, width]."""


@contextmanager
def watched(model: Any) -> Iterator[Seen]:
    """Keep the states of the last forward pass that `model` makes inside of the block, with their gradients."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    seen = Seen()

    def keep(_module: Any, _inputs: Any, output: Any) -> None:
        seen.states = output[0]

    # `base_model` is the body below the output layer or the classification head, in every model of transformers.
    hook = base.base_model.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def pooled(head: str, states: torch.Tensor, lengths: Sequence[int], pooling: str) -> torch.Tensor:
    """One float32 row per prompt [rows, width]: the state at the last of its `lengths` tokens for a language model,
    the mean over them or the first for an encoder. What stands after the prompt does not count.
    """
    count = torch.tensor(lengths, device=states.device)
    if head == "causal":
        return states[torch.arange(len(lengths), device=states.device), count - 1].float()
    if pooling == "first":
        return states[:, 0].float()
    inside = torch.arange(states.shape[1], device=states.device).unsqueeze(0) < count.unsqueeze(1)
    return (states.float() * inside.unsqueeze(2)).sum(1) / count.unsqueeze(1)


def own_states(seen: Seen, tokens: int) -> torch.Tensor:
    """The states of the `tokens` real positions: some methods put virtual tokens with states of their own before."""
    assert seen.states is not None
    return seen.states[:, seen.states.shape[1] - tokens :]


def positives(batch: Sequence[TrainingItem], settings: ContrastiveSettings) -> torch.Tensor:
    """Which items of a batch belong together: bool [items, items], false on the diagonal."""
    found = torch.zeros(len(batch), len(batch), dtype=torch.bool)
    if "label" in settings.positives:
        labels = torch.tensor([item.label for item in batch])
        found |= labels.unsqueeze(0) == labels.unsqueeze(1)
    if "rewrite" in settings.positives:
        for i, item in enumerate(batch):
            for j in range(i):
                if item.family and item.family == batch[j].family:
                    found[i, j] = found[j, i] = True
    return found.fill_diagonal_(False)


def anchors(batch: Sequence[TrainingItem], settings: ContrastiveSettings) -> int:
    """How many items of a batch have a positive in it."""
    return int(positives(batch, settings).any(dim=1).sum())


def supervised_contrastive(
    states: torch.Tensor, together: torch.Tensor, weights: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Weighted sum over the anchors of equation 2 (L_out) of Khosla et al.: float32 scalar.

    `states` [n, width] are brought to length 1, `together` [n, n] names the positives. An anchor without a positive
    counts nothing.
    """
    if not together.any():
        return states.float().sum() * 0.0
    rows = functional.normalize(states.float(), dim=1)
    itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logs = torch.log_softmax((rows @ rows.T / temperature).masked_fill(itself, -torch.inf), dim=1)
    kept = torch.where(together, logs, 0.0).sum(1) / together.sum(1).clamp(min=1)
    return -(kept * weights).sum()


def contrastive_loss(
    student: Student, batch: Sequence[TrainingItem], states: torch.Tensor, settings: ContrastiveSettings
) -> torch.Tensor:
    """Sum over the batch's anchors, each times its weight; `states` [items, tokens, width] are the forward pass's."""
    rows = pooled(student.head, states, [len(item.prompt) for item in batch], settings.pooling)
    weights = torch.tensor([item.weight for item in batch], device=rows.device)
    return supervised_contrastive(rows, positives(batch, settings).to(rows.device), weights, settings.temperature)


@torch.inference_mode()
def pooled_states(student: Student, prompts: Sequence[Sequence[int]], pooling: str = "mean") -> np.ndarray:
    """The pooled state of each prompt, brought to length 1: float32 [prompts, width]."""
    parts: dict[int, np.ndarray] = {}
    for batch in by_length([len(prompt) for prompt in prompts], BATCH_TOKENS):
        padded = pad([prompts[i] for i in batch], student.loaded.tokenizer.pad_token_id, student.loaded.device)
        with watched(student.model) as seen:
            if student.head == "causal":  # logits at one position only: a vocabulary is wide
                logits_at(student.model, padded, torch.zeros(len(batch), 1, dtype=torch.long, device=padded.ids.device))
            else:
                student.model(input_ids=padded.ids, attention_mask=padded.mask)
        states = own_states(seen, padded.ids.shape[1])
        rows = pooled(student.head, states, [len(prompts[i]) for i in batch], pooling)
        parts.update(zip(batch, functional.normalize(rows, dim=1).cpu().numpy(), strict=True))
    return np.stack([parts[i] for i in range(len(prompts))])
