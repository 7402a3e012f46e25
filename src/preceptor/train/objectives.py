"""What a student of a task with labels learns from: the loss of a batch, and what validation says."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from preceptor.config import TrainSettings
from preceptor.models.score import logits_at, pad
from preceptor.models.student import Student
from preceptor.train.batches import TrainingItem, evened, stream
from preceptor.train.loop import Batch, Check, Fitted, Objective, OnStep, accumulate, check_points, descend
from preceptor.train.upkeep import Upkeep


def fit(
    student: Student,
    items: Sequence[TrainingItem],
    validation: Sequence[TrainingItem],
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    on_step: OnStep | None = None,
    upkeep: Upkeep | None = None,
) -> Fitted:
    """Train for exactly `steps` optimiser steps and leave the selected weights in the student.

    The loss is the mean over items, weighted by their weights, which are first scaled to a mean of 1.
    Deterministic given `seed` on one machine. Raises `ModelError` when the loss is no longer a number.
    """
    objective = Objective(
        lambda batches, fitted: _one_step(student, batches, fitted),
        lambda step: check(student, validation, step),
        check_points(steps, settings),
    )
    batches = stream(evened(items), settings, seed)
    return descend(student, batches, objective, settings, steps=steps, seed=seed, on_step=on_step, upkeep=upkeep)


def _one_step(student: Student, batches: Sequence[Batch], fitted: Fitted) -> float:
    """Gradients of the mean loss over all items of the step, however they are cut into batches."""
    return accumulate(batches, sum(len(batch) for batch in batches), lambda batch: batch_loss(student, batch), fitted)


def batch_loss(student: Student, batch: Batch) -> torch.Tensor:
    """Sum over the batch's items of the negative log-likelihood of the answer, times the weight: float32 scalar."""
    loaded = student.loaded
    rows = [[*item.prompt, *item.target[:-1]] for item in batch]
    padded = pad(rows, loaded.tokenizer.pad_token_id, loaded.device)
    if student.head == "encoder":
        logits = student.model(input_ids=padded.ids, attention_mask=padded.mask).logits.float()
        labels = torch.tensor([item.label for item in batch], device=loaded.device)
        return _weighted_sum(logits, labels, batch)
    longest = max(len(item.target) for item in batch)
    # A shorter answer repeats its last position; the repeated ones are ignored by index -100.
    positions = torch.tensor(
        [[len(i.prompt) - 1 + min(k, len(i.target) - 1) for k in range(longest)] for i in batch],
        device=loaded.device,
    )
    wanted = torch.tensor(
        [[i.target[k] if k < len(i.target) else -100 for k in range(longest)] for i in batch],
        device=loaded.device,
    )
    logits = logits_at(student.model, padded, positions)
    return _weighted_sum(logits.flatten(0, 1), wanted.flatten(), batch)


def _weighted_sum(logits: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted sum of the cross-entropy of rows, an equal number of neighbouring ones for each item."""
    if all(item.weight == 1.0 for item in batch):
        return functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum")
    losses = functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="none")
    weights = torch.tensor([item.weight for item in batch], device=losses.device)
    return (losses.view(len(batch), -1).sum(dim=1) * weights).sum()


def check(student: Student, validation: Sequence[TrainingItem], step: int = 0) -> Check:
    """Loss, accuracy and macro-F1 on validation items."""
    logprobs = student.logprobs([item.prompt for item in validation])
    gold = np.array([item.label for item in validation])
    said = logprobs.argmax(axis=1)
    return Check(
        step,
        loss=float(-logprobs[np.arange(len(gold)), gold].mean()),
        accuracy=float((said == gold).mean()),
        macro_f1=_macro_f1(gold, said, logprobs.shape[1]),
    )


def _macro_f1(gold: np.ndarray, said: np.ndarray, labels: int) -> float:
    # Evaluation has its own, tested one; a stage may not import another, and three lines do not earn a module.
    hits = np.array([((gold == k) & (said == k)).sum() for k in range(labels)])
    sizes = np.array([(gold == k).sum() + (said == k).sum() for k in range(labels)])
    return float(np.where(sizes > 0, 2 * hits / np.maximum(sizes, 1), 0.0).mean())
