"""What a student of a task with labels learns from, and what validation says.

The loss of a step is the weighted sum of the objectives of `[train.objectives]`, each a mean over those of the step's
items that it applies to, times their weights: the cross-entropy of the label; of the rationale as a second task
(rationale.py); the divergence from a teacher (distillation.py); the supervised contrastive loss of the pooled states
(contrastive.py). Label, teacher's labels and pooled states come from one forward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from preceptor.config import ObjectiveSettings, TrainSettings
from preceptor.data.base import Task
from preceptor.models.score import logits_at, pad
from preceptor.models.student import Student
from preceptor.records import Example
from preceptor.train.batches import TrainingItem, evened, stream
from preceptor.train.contrastive import anchors, check_contrastive, contrastive_loss, own_states, watched
from preceptor.train.course import Check, Fitted
from preceptor.train.distillation import labels_loss, tokens_loss
from preceptor.train.loop import Batch, Objective, OnStep, accumulate, check_points, descend
from preceptor.train.parallel import Team, team
from preceptor.train.rationale import answer_rows, check_rationale, mean_by_item, with_rationales
from preceptor.train.teaching import read_taught
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
    label_alone = settings.objectives == ObjectiveSettings()
    objective = Objective(
        lambda batches, fitted: (
            _one_step(student, batches, fitted) if label_alone else _summed_step(student, settings, batches, fitted)
        ),
        lambda step: check(student, validation, step),
        check_points(steps, settings),
        divisible=not settings.objectives.contrastive,
    )
    batches = stream(evened(items), settings, seed)
    return descend(student, batches, objective, settings, steps=steps, seed=seed, on_step=on_step, upkeep=upkeep)


def _one_step(student: Student, batches: Sequence[Batch], fitted: Fitted) -> float:
    """Gradients of the mean loss over all items of the step, however they are cut into batches."""
    divisor = team().divisor(sum(len(batch) for batch in batches))
    return accumulate(batches, divisor, lambda batch: batch_loss(student, batch), fitted)


def batch_loss(student: Student, batch: Batch) -> torch.Tensor:
    """Sum over the batch's items of the negative log-likelihood of the answer, times the weight: float32 scalar."""
    logits, wanted = _answers(student, batch)
    return _weighted_sum(logits.flatten(0, 1), wanted.flatten(), batch)


def _answers(student: Student, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """What the student says where the answers stand, float32 [items, positions, outputs], and what it should say,
    [items, positions], -100 where an item has no such position. An encoder has one position, and its outputs are the
    labels.
    """
    loaded = student.loaded
    rows = [[*item.prompt, *item.target[:-1]] for item in batch]
    padded = pad(rows, loaded.tokenizer.pad_token_id, loaded.device)
    if student.head == "encoder":
        logits = student.model(input_ids=padded.ids, attention_mask=padded.mask).logits.float()
        labels = torch.tensor([item.label for item in batch], device=loaded.device)
        return logits.unsqueeze(1), labels.unsqueeze(1)
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
    return logits_at(student.model, padded, positions), wanted


def _weighted_sum(logits: torch.Tensor, wanted: torch.Tensor, batch: Batch) -> torch.Tensor:
    """Weighted sum of the cross-entropy of rows, an equal number of neighbouring ones for each item."""
    if all(item.weight == 1.0 for item in batch):
        return functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="sum")
    losses = functional.cross_entropy(logits, wanted, ignore_index=-100, reduction="none")
    weights = torch.tensor([item.weight for item in batch], device=losses.device)
    return (losses.view(len(batch), -1).sum(dim=1) * weights).sum()


# --- the weighted sum ----------------------------------------------------------------------------------------------


def check_objectives(student: Student, settings: TrainSettings, task: Task, real: Sequence[Example]) -> None:
    """Refuse what the student, the task or its training items cannot have, with one sentence. Of distillation nothing
    is looked at: see `check_teacher`.
    """
    if settings.objectives.rationale:
        check_rationale(student.head, task, real)
    if settings.objectives.contrastive:
        check_contrastive(real, team().size)


def equipped(
    student: Student,
    task: Task,
    examples: Sequence[Example],
    items: Sequence[TrainingItem],
    settings: TrainSettings,
    taught: Sequence[Path] = (),
) -> list[TrainingItem]:
    """The items with what the objectives need beyond the label: second tasks, and what the teacher thinks.

    `taught` are the folders that `write_labels` or `write_tokens` (teaching.py) filled for these examples, in order.
    """
    found = list(items)
    if settings.objectives.rationale:
        found = with_rationales(student, task, examples, found, settings.rationale)
    if settings.objectives.distillation:
        found = read_taught(taught, found, settings.distillation)
    return found


def _summed_step(student: Student, settings: TrainSettings, batches: Sequence[Batch], fitted: Fitted) -> float:
    """Gradients of the step's weighted sum, however its items are cut into batches; the contrastive part compares the
    items of a batch only.
    """
    group = team()
    second = [item.rationale for batch in batches for item in batch if item.rationale is not None]
    if not group.idle:
        fitted.tokens += sum(item.length for item in second)
    counts = Counts(
        group.divisor(sum(len(batch) for batch in batches)),
        group.divisor(len(second)),
        sum(anchors(batch, settings.contrastive) for batch in batches) if settings.objectives.contrastive else 0,
    )
    explained = iter(_explained(settings, batches, group))
    return accumulate(batches, 1, lambda batch: summed_loss(student, settings, batch, counts, next(explained)), fitted)


def _explained(settings: TrainSettings, batches: Sequence[Batch], group: Team) -> list[bool]:
    """Which batches have a forward pass for the second task: in all processes the same, since they put weights together
    and exchange gradients in each.
    """
    found = group.anywhere([any(item.rationale is not None for item in batch) for batch in batches])
    # Where it is the only pass there is no other in which gradients are exchanged.
    return found if _from_prompts(settings) or group.size == 1 else [True] * len(batches)


def _from_prompts(settings: TrainSettings) -> bool:
    """Whether anything is learnt from the first form of the prompt."""
    weights = settings.objectives
    return bool(weights.label or weights.distillation or weights.contrastive)


@dataclass(frozen=True, slots=True)
class Counts:
    """Over what a step's means are taken: in several processes `Team.divisor` of each count."""

    items: float
    rationales: float
    anchors: int
    """Items with a positive in their batch."""


def summed_loss(
    student: Student, settings: TrainSettings, batch: Batch, counts: Counts, explained: bool
) -> torch.Tensor:
    """A batch's share of the step's weighted sum of the objectives: float32 scalar. `explained`: with a pass for the
    second task, even where no item here has one.
    """
    parts = []
    if _from_prompts(settings):
        parts.append(_from_answers(student, settings, batch, counts))
    second = [item for item in batch if item.rationale is not None]
    if second:
        parts.append(_from_rationales(student, settings, second) / counts.rationales)
    elif explained:
        parts.append(answer_rows(student, batch[:1])[0].sum() * 0.0)
    return torch.stack(parts).sum() if parts else _nothing(student)


def _from_answers(student: Student, settings: TrainSettings, batch: Batch, counts: Counts) -> torch.Tensor:
    weights, distilled = settings.objectives, settings.distillation
    with watched(student.model) if weights.contrastive else nullcontext() as seen:
        logits, wanted = _answers(student, batch)
    total = logits.new_zeros(())
    if weights.label:
        total = total + weights.label / counts.items * _weighted_sum(logits.flatten(0, 1), wanted.flatten(), batch)
    if weights.distillation and distilled.targets == "labels":
        total = total + weights.distillation / counts.items * labels_loss(student, batch, logits, distilled)
    if weights.distillation and distilled.targets == "tokens":
        real = logits.flatten(0, 1)[wanted.flatten() != -100]
        found = tokens_loss(batch, real, [item.weight for item in batch], distilled)
        total = total + weights.distillation / counts.items * found
    if seen is not None and counts.anchors:
        states = own_states(seen, max(item.length for item in batch))
        found = contrastive_loss(student, batch, states, settings.contrastive)
        total = total + weights.contrastive / counts.anchors * found
    return total


def _from_rationales(student: Student, settings: TrainSettings, batch: Batch) -> torch.Tensor:
    """The second task's parts, summed over items. Of each rationale the mean over its tokens counts, so that a long one
    does not outweigh the label.
    """
    second = [item.rationale for item in batch if item.rationale is not None]
    own = [item.weight for item in batch]
    logits, wanted, rows = answer_rows(student, second)
    losses = mean_by_item(functional.cross_entropy(logits, wanted, reduction="none"), rows, len(second))
    total = settings.objectives.rationale * (losses * torch.tensor(own, device=losses.device)).sum()
    if settings.objectives.distillation and settings.distillation.targets == "tokens":
        total = total + settings.objectives.distillation * tokens_loss(second, logits, own, settings.distillation)
    return total


def _nothing(student: Student) -> torch.Tensor:
    """A loss of 0 with gradients of 0: for a batch in which no item has the second task, where that is all there is."""
    return sum(
        ((weight * 0.0).sum().float() for weight in student.model.parameters() if weight.requires_grad), torch.zeros(())
    )


# --- validation ----------------------------------------------------------------------------------------------------


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
