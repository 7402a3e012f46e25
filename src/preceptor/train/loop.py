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

import torch

from preceptor.config import LORA, TrainSettings
from preceptor.errors import ModelError, RecipeError
from preceptor.models.student import Trainable
from preceptor.train.batches import TrainingItem

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


def accumulate(batches: Sequence[Batch], count: int, loss_of: Callable[[Batch], torch.Tensor], fitted: Fitted) -> float:
    """Gradients of the batches' summed losses over `count`; returns that mean."""
    total = 0.0
    for batch in batches:
        loss = loss_of(batch) / count
        loss.backward()
        total += loss.item()
        fitted.tokens += sum(item.length for item in batch)
    return total


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
    if settings.method in LORA and settings.dropout > 0:
        for module in student.model.modules():
            if hasattr(module, "lora_dropout"):
                module.training = True  # DoRA asks the layer itself whether it is trained
                module.lora_dropout.train()
