"""The training loop: AdamW, linear warm-up and decay, accumulation, selection on validation.

It is written out because three things that stock trainers do cost a laptop most of its time: logits at every position
(here only where the answer is), dropout inside the frozen model (off here; on CPU it alone costs a factor of three),
and float32 adapters in a bfloat16 model (here float32 copies live in the optimiser only).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import torch
from torch.nn import functional

from preceptor.config import TrainSettings
from preceptor.errors import ModelError, RecipeError
from preceptor.models.score import logits_at, pad
from preceptor.models.student import Student, Trainable
from preceptor.train.batches import TrainingItem, evened, stream

MAX_GRADIENT_NORM = 1.0
OnStep = Callable[[int, int, float], None]
"""Called after each optimiser step with step, steps and loss."""
Batch = Sequence[TrainingItem]


@dataclass(frozen=True, slots=True)
class Check:
    """What validation said at one point of training."""

    step: int
    loss: float
    """Mean negative log-likelihood of the true label; of a token of the answers where there are no labels."""
    accuracy: float | None = None
    macro_f1: float | None = None


@dataclass
class Fitted:
    """What training did."""

    steps: int
    selected: int
    """The step whose weights were kept."""
    losses: list[float] = field(default_factory=list)
    """Training loss at each step."""
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    tokens: int = 0
    """Real tokens (no padding) that went through the model."""
    trainable: int = 0
    """Number of trained weights."""


@dataclass(frozen=True, slots=True)
class Objective:
    """What the loop brings down, and what decides which state is kept."""

    gradients: Callable[[Sequence[Batch], Fitted], float]
    """Puts the gradients of one step over these batches into the weights; returns its loss, counts tokens."""
    check: Callable[[int], Check]
    """Looks at validation after a step."""
    check_at: frozenset[int]
    """Steps after which it looks."""


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


class Optimiser:
    """AdamW on float32 copies of the trained weights, whatever their own dtype.

    A bfloat16 weight cannot take a small step (8 bits of mantissa), a float32 copy can.
    """

    def __init__(self, student: Trainable, settings: TrainSettings, steps: int) -> None:
        self.weights = [p for p in student.model.parameters() if p.requires_grad]
        if not self.weights:
            raise ModelError("The method leaves nothing to train.", "Check train.method and train.targets.")
        self.copies = [p if p.dtype == torch.float32 else p.detach().float().requires_grad_() for p in self.weights]
        self.adamw = torch.optim.AdamW(
            self.copies, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        warm = max(1, round(settings.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))
        )

    def step(self) -> None:
        """Apply the gradients that have gathered in the weights, and clear them."""
        for weight, copy in zip(self.weights, self.copies, strict=True):
            if copy is not weight:
                copy.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None
        torch.nn.utils.clip_grad_norm_(self.copies, MAX_GRADIENT_NORM)
        self.adamw.step()
        self.schedule.step()
        self.adamw.zero_grad(set_to_none=True)
        with torch.no_grad():
            for weight, copy in zip(self.weights, self.copies, strict=True):
                if copy is not weight:
                    weight.copy_(copy)


def fit(
    student: Student,
    items: Sequence[TrainingItem],
    validation: Sequence[TrainingItem],
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    on_step: OnStep | None = None,
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
    return descend(student, batches, objective, settings, steps=steps, seed=seed, on_step=on_step)


def descend(
    student: Trainable,
    batches: Iterator[Batch],
    objective: Objective,
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    on_step: OnStep | None = None,
) -> Fitted:
    """The loop itself: exactly `steps` optimiser steps over `batches`, then the selected weights.

    Raises `ModelError` when the loss is no longer a number.
    """
    torch.manual_seed(seed)
    optimiser = Optimiser(student, settings, steps)
    _set_dropout(student, settings)
    best: tuple[float, list[torch.Tensor]] | None = None
    fitted = Fitted(steps, steps, trainable=sum(p.numel() for p in optimiser.weights))
    started = time.monotonic()
    for step in range(1, steps + 1):
        loss = objective.gradients(list(islice(batches, settings.accumulation)), fitted)
        if not math.isfinite(loss):
            raise ModelError(f"The training loss became {loss} at step {step}.", "Lower train.learning_rate.")
        optimiser.step()
        fitted.losses.append(loss)
        if on_step is not None:
            on_step(step, steps, loss)
        if step in objective.check_at:
            fitted.checks.append(objective.check(step))
            rank = _rank(fitted.checks[-1], settings)
            if best is None or rank > best[0]:
                fitted.selected = step
                best = (rank, [w.detach().clone() for w in optimiser.weights])
    if best is not None:
        with torch.no_grad():
            for weight, kept in zip(optimiser.weights, best[1], strict=True):
                weight.copy_(kept)
    student.model.eval()
    fitted.seconds = time.monotonic() - started
    return fitted


def _one_step(student: Student, batches: Sequence[Batch], fitted: Fitted) -> float:
    """Gradients of the mean loss over all items of the step, however they are cut into batches."""
    return accumulate(batches, sum(len(batch) for batch in batches), lambda batch: batch_loss(student, batch), fitted)


def accumulate(batches: Sequence[Batch], count: int, loss_of: Callable[[Batch], torch.Tensor], fitted: Fitted) -> float:
    """Gradients of the batches' summed losses over `count`; returns that mean."""
    total = 0.0
    for batch in batches:
        loss = loss_of(batch) / count
        loss.backward()
        total += loss.item()
        fitted.tokens += sum(item.length for item in batch)
    return total


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


def _rank(point: Check, settings: TrainSettings) -> float:
    if settings.select == "last":
        return float(point.step)
    value = {"loss": -point.loss, "accuracy": point.accuracy, "macro_f1": point.macro_f1}[settings.select]
    if value is None:
        raise RecipeError(f"train.select = {settings.select!r} needs labels.", 'Use "loss" or "last".')
    return value


def check_points(steps: int, settings: TrainSettings) -> frozenset[int]:
    """Steps after which validation is looked at: about once per pass over the real items, and at the end."""
    count = max(1, min(steps, round(settings.epochs) if settings.steps is None else 4))
    return frozenset(round(steps * (k + 1) / count) for k in range(count))


def _set_dropout(student: Trainable, settings: TrainSettings) -> None:
    """The frozen model's own dropout stays off; LoRA's, if asked for, goes on."""
    student.model.eval()
    if settings.method == "lora" and settings.dropout > 0:
        for name, module in student.model.named_modules():
            if "lora_dropout" in name:
                module.train()
