"""The training loop: AdamW, linear warm-up and decay, accumulation, selection on validation.

It is written out because three things that stock trainers do cost a laptop most of its time: logits at every position
(here only where the answer is), dropout inside the frozen model (off here; on CPU it alone costs a factor of three),
and float32 adapters in a bfloat16 model (here float32 copies live in the optimiser only).
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import torch

from preceptor.config import LORA, TrainSettings
from preceptor.errors import ModelError, PartFinished, RecipeError
from preceptor.models.lean import lean_training
from preceptor.models.student import Trainable
from preceptor.train.batches import TrainingItem
from preceptor.train.checkpoints import Snapshot, random_record, random_tensors, restore_random
from preceptor.train.course import Check, Fitted, Moment
from preceptor.train.memory import FEWER_WEIGHTS, divided, is_out_of_memory, portions, within_memory
from preceptor.train.methods.projection import fold_projection
from preceptor.train.optimiser import Optimiser
from preceptor.train.parallel import Team, entire, like, shared, team
from preceptor.train.rows import by_rows
from preceptor.train.upkeep import Upkeep

OnStep = Callable[[int, int, float], None]
"""Called after each optimiser step with step, steps and loss."""
Batch = Sequence[TrainingItem]


@dataclass(frozen=True, slots=True)
class Objective:
    """What the loop brings down, and what decides which state is kept."""

    gradients: Callable[[Sequence[Batch], Fitted], float]
    """Puts the gradients of one step over these batches into the weights; returns its loss, counts tokens."""
    check: Callable[[int], Check]
    """Looks at validation after a step."""
    check_at: frozenset[int]
    """Steps after which it looks."""
    divisible: bool = True
    """Whether a step's gradient is the same however its items are cut into batches. Where it is not, such as where
    items of a batch are compared with each other, batches stay whole: memory that runs out ends the training, and
    several processes cannot share it."""
    bound: str = "train.max_length"
    """The recipe's key that bounds how long an item is: what to lower where memory runs out."""


def descend(
    student: Trainable,
    batches: Iterator[Batch],
    objective: Objective,
    settings: TrainSettings,
    *,
    steps: int,
    seed: int,
    on_step: OnStep | None = None,
    upkeep: Upkeep | None = None,
) -> Fitted:
    """The loop itself: exactly `steps` optimiser steps over `batches`, then the selected weights.

    `batches` must be the same for every call with the same arguments: a training that goes on from a checkpoint of
    `upkeep` passes over those it has had, and ends with the bits of one that was never broken off.
    Raises `ModelError` when the loss is no longer a number or memory runs out for a single item, at validation or in
    the optimiser, and `PartFinished` when the time is over.
    """
    torch.manual_seed(seed)
    with contextlib.ExitStack() as stack:
        group = stack.enter_context(shared(student, settings))
        if group.size == 1:  # what wraps the layers of several processes expects the stock ones
            stack.enter_context(lean_training(student.model, student.loaded.model))
            if settings.weight_decay == 0:
                stack.enter_context(by_rows(student.model))
        course = _Course(student, objective, settings, steps, upkeep or Upkeep(), group)
        _set_dropout(student, settings)
        try:
            for step in range(course.take_up(batches, seed) + 1, steps + 1):
                loss = course.step(step, list(islice(batches, settings.accumulation)))
                if on_step is not None:
                    on_step(step, steps, loss)
                course.after(step)
        finally:
            course.close()
        course.select()
    fold_projection(student.model)
    student.model.eval()
    return course.fitted


class _Course:
    """A training under way: all that changes from step to step."""

    def __init__(
        self,
        student: Trainable,
        objective: Objective,
        settings: TrainSettings,
        steps: int,
        upkeep: Upkeep,
        group: Team,
    ) -> None:
        self.student, self.objective, self.settings = student, objective, settings
        self.steps, self.upkeep, self.team = steps, upkeep, group
        if group.size > 1 and not objective.divisible:
            raise group.in_order(
                ModelError("This objective cannot be shared by several processes.", "Start the run in one process.")
            )
        self.optimiser = within_memory(
            lambda: Optimiser(student, settings, steps), "before the first step, in the optimiser", FEWER_WEIGHTS, group
        )
        self.fitted = Fitted(
            steps, steps, trainable=sum(p.numel() for p in self.optimiser.weights), processes=group.size
        )
        self.best: tuple[float, list[torch.Tensor]] | None = None
        self.started = time.monotonic()
        self.before = (0, 0, 0.0)
        """Steps, tokens and seconds of earlier processes."""

    def step(self, number: int, batches: list[Batch]) -> float:
        """One optimiser step; returns its loss."""
        loss = self.team.mean(self._gradients(number, batches))
        if not math.isfinite(loss):
            raise self._diverged(f"The training loss became {loss} at step {number}")
        norm = within_memory(self.optimiser.step, f"at step {number}, in the optimiser", FEWER_WEIGHTS, self.team)
        if not math.isfinite(norm):
            raise self._diverged(f"The gradient became {norm} at step {number}, at a loss of {loss:.3g}")
        self.fitted.losses.append(loss)
        return loss

    def _gradients(self, number: int, batches: list[Batch]) -> float:
        """The gradients of a step, by fewer items at once where memory runs out: the sum over them stays the same."""
        tokens, ran_out = self.fitted.tokens, False
        while True:
            pieces = self.team.share(self._portions(divided(batches, self.fitted.micro_batch)), self.settings)
            try:
                loss = self.objective.gradients(pieces, self.fitted)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                largest = max(map(len, pieces))
                if largest == 1 or not self.objective.divisible or self.team.size > 1:
                    raise _no_memory(number, largest, self.objective.bound, self.team) from error
            else:
                if ran_out:
                    self.upkeep.say(
                        f"Memory ran out at step {number}; from here on {self.fitted.micro_batch} items go through the "
                        "model at once, and a step still has as many as before."
                    )
                return loss
            # Outside of the handler, so that nothing holds on to the tensors of what failed.
            self.fitted.micro_batch, self.fitted.tokens, ran_out = largest // 2, tokens, True
            self.optimiser.clear()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _portions(self, batches: list[Batch]) -> list[Batch]:
        """On a CPU, batches of as many tokens as it takes to keep it busy: more would only fill memory."""
        alone = self.team.size == 1 and self.student.loaded.device.type == "cpu"
        return portions(batches) if alone and self.objective.divisible else batches

    def _diverged(self, what: str) -> ModelError:
        kept = self.upkeep.checkpoints
        where = "; no checkpoint had been saved before it."
        if kept is not None and kept.last is not None:
            where = f"; the state after step {kept.last} is kept in {kept.place(kept.last)}."
        return self.team.in_order(
            ModelError(
                what + where,
                "Lower train.learning_rate, or try another train.dtype; a recipe with other settings begins anew.",
            )
        )

    def after(self, step: int) -> None:
        """What follows a step: a look at validation, those who watch, a checkpoint, the end of the time."""
        keep = self.upkeep
        if step in self.objective.check_at:
            self._look(step)
        if keep.watch is not None or keep.trackers is not None:
            self._tell(step)
        if step == self.steps:
            return
        over = keep.over is not None and keep.over()
        due = keep.checkpoints is not None and (over or keep.checkpoints.due(step))
        over, due = self.team.first_says((over, due))
        if due:
            self._save(step)
        if over:
            kept = "; its checkpoint is kept." if due else ", which begins anew."
            said = f"The given time is over at step {step} of {self.steps} of a training{kept}"
            raise self.team.in_order(PartFinished(said, f"Go on with: {keep.command}"))

    def _look(self, step: int) -> None:
        """A look at validation; the best weights so far are kept."""
        shorter = f"Lower {self.objective.bound}, or choose a smaller model."
        found = within_memory(
            lambda: self.objective.check(step), f"at validation, after step {step}", shorter, self.team
        )
        self.fitted.checks.append(self.team.first_says(found))
        rank = _rank(self.fitted.checks[-1], self.settings)
        if self.best is None or rank > self.best[0]:
            kept = within_memory(
                lambda: [w.detach().clone() for w in self.optimiser.weights],
                f"after step {step}, for a copy of the best weights",
                FEWER_WEIGHTS,
                self.team,
            )
            self.best, self.fitted.selected = (rank, kept), step

    def _tell(self, step: int) -> None:
        fitted, (steps, tokens, _) = self.fitted, self.before
        seconds = max(time.monotonic() - self.started, 1e-9)
        here = step - steps
        moment = Moment(
            step=step,
            steps=self.steps,
            loss=fitted.losses[-1],
            learning_rate=self.optimiser.learning_rate,
            tokens_per_s=self.team.size * (fitted.tokens - tokens) / seconds,
            seconds_left=seconds / here * (self.steps - step) if here else None,
            check=fitted.checks[-1] if fitted.checks else None,
        )
        if self.upkeep.watch is not None:
            self.upkeep.watch(moment)
        if self.upkeep.trackers is not None:
            self.upkeep.trackers.log(moment)

    def close(self) -> None:
        """Let those who watch go, however the training ended."""
        if self.upkeep.trackers is not None:
            self.upkeep.trackers.close()

    def _save(self, step: int) -> None:
        """Save the state after a step. Weights that are no numbers are not saved: the checkpoint before is better."""
        tensors, record = self.optimiser.state()
        if self.best is not None:
            named = zip(self.optimiser.names, self.best[1], strict=True)
            tensors |= {f"best/{name}": entire(value) for name, value in named}
        tokens = self.team.sum(self.fitted.tokens)
        keep = self.upkeep.checkpoints
        if keep is None or not all(bool(value.isfinite().all()) for value in tensors.values()):
            return
        rank = None if self.best is None else self.best[0]
        told = {**asdict(self.fitted), "tokens": tokens, "seconds": self._seconds(), "rank": rank}
        keep.save(
            Snapshot(step, {**tensors, **random_tensors()}, {**record, "fitted": told, "random": random_record()})
        )

    def take_up(self, batches: Iterator[Batch], seed: int) -> int:
        """Go on from the newest checkpoint, if there is one; returns the steps that are done."""
        keep = self.upkeep.checkpoints
        found = self.team.first_says(keep.newest() if keep is not None else None)
        if self.team.size > 1:
            # Dropout differs between processes. What it draws is not gone on with exactly, as it is in one process.
            torch.manual_seed(seed + 1000 * self.team.rank + (0 if found is None else found.step))
        if found is None:
            return 0
        told = dict(found.record["fitted"])
        rank, checks = told.pop("rank"), [Check(**check) for check in told.pop("checks")]
        # Tokens are counted by each process and added up at the end: the first one's are those of all so far.
        tokens = told["tokens"] if self.team.first else 0
        self.fitted = Fitted(**{**told, "checks": checks, "tokens": tokens, "processes": self.team.size})
        self.optimiser.restore(found.tensors, found.record)
        if rank is not None:
            named = zip(self.optimiser.names, self.optimiser.weights, strict=True)
            self.best = (rank, [like(found.tensors[f"best/{name}"], weight) for name, weight in named])
        self.before = (found.step, self.fitted.tokens, self.fitted.seconds)
        self.started = time.monotonic()
        for _ in islice(batches, found.step * self.settings.accumulation):
            pass
        if self.team.size == 1:
            restore_random(found)
        self.upkeep.say(f"Training goes on from its checkpoint at step {found.step} of {self.steps}.")
        return found.step

    def _seconds(self) -> float:
        return self.before[2] + time.monotonic() - self.started

    def select(self) -> None:
        """Put the best weights in place, at the end."""
        if self.best is not None:
            with torch.no_grad():
                for weight, kept in zip(self.optimiser.weights, self.best[1], strict=True):
                    weight.copy_(kept)
        self.fitted.seconds = self._seconds()
        self.fitted.tokens = self.team.sum(self.fitted.tokens)


def _no_memory(step: int, largest: int, bound: str, group: Team) -> ModelError:
    many = "a single item" if largest == 1 else f"{largest} items at once"
    return ModelError(
        f"Memory ran out{group.here} at step {step} with {many}.",
        f"Lower {bound}" + ("" if largest == 1 else " or train.batch_size") + ", or choose a smaller model.",
    )


def accumulate(
    batches: Sequence[Batch], divisor: float, loss_of: Callable[[Batch], torch.Tensor], fitted: Fitted
) -> float:
    """Gradients of the batches' summed losses over `divisor`; returns that quotient.

    A mean has the `Team.divisor` of its count; with several processes the gradients and figures are then those of all
    once they are averaged.
    """
    group, total = team(), 0.0
    for number, batch in enumerate(batches, start=1):
        with group.syncing(number == len(batches)):
            loss = loss_of(batch) / divisor
            loss.backward()
        total += loss.item()
        if not group.idle:
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
                module.training = bool(module.lora_variant)  # DoRA asks the layer itself whether it is trained
                module.lora_dropout.train()
