"""One cell of an experiment on instructions: one student, arm and seed, from untuned model to saved weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from preceptor.config import FollowerSettings, ObjectiveSettings, TrainSettings
from preceptor.errors import DataError, RecipeError
from preceptor.models.answers import answer_logprobs, token_losses
from preceptor.models.follower import Follower, open_follower
from preceptor.models.load import head_of
from preceptor.models.student import Probe, save
from preceptor.records import Instruction
from preceptor.store.stages import write_json
from preceptor.train.batches import TrainingItem
from preceptor.train.cell import FIT, PROBES
from preceptor.train.course import Check, Fitted
from preceptor.train.loop import Batch, Objective, OnStep, accumulate, check_points, descend
from preceptor.train.methods import attach, reserved
from preceptor.train.mixture import hold_out, mixture
from preceptor.train.parallel import team, together
from preceptor.train.upkeep import Upkeep


@dataclass(frozen=True, slots=True)
class Prepared:
    """Tasks as token ids, and what became of those that are too long."""

    items: list[TrainingItem]
    cut: int
    """Tasks whose input lost words."""
    too_long: int
    """Tasks left out: answers are not cut, and instruction and answer alone do not fit."""


def open_for(student: FollowerSettings, settings: TrainSettings, seed: int) -> Follower:
    """The untuned student. Raises `RecipeError` for an encoder, which has no words to answer with."""
    if head_of(student.model, student.head) != "causal":
        raise RecipeError(
            f"The student {student.name} is an encoder; following instructions needs a causal language model.",
            "Name another model for this student.",
        )
    return open_follower(
        student.model,
        student.form,
        max_length=settings.max_length,
        reserve=reserved(settings),
        dtype=settings.dtype,
        seed=seed,
    )


def prepare(follower: Follower, tasks: Sequence[Instruction], source: str = "") -> Prepared:
    """Render and tokenise tasks for training, by the same form as evaluation."""
    prompts = follower.form.prompt_ids(tasks)
    said = follower.form.answer_ids(tasks, prompts, [task.output for task in tasks])
    items, cut, too_long = [], 0, 0
    for task, prompt, answer in zip(tasks, prompts, said, strict=True):
        shown = follower.shorten(task, prompt, len(answer.target))
        if shown is None:
            too_long += 1
            continue
        target = follower.said([shown], [task.output])[0].target if shown.cut else answer.target
        items.append(TrainingItem(shown.prompt, target, source=source))
        cut += shown.cut
    return Prepared(items, cut, too_long)


@together
def tune_cell(
    folder: Path,
    student: FollowerSettings,
    settings: TrainSettings,
    sources: Mapping[str, Sequence[Instruction]],
    weights: Mapping[str, float],
    *,
    seed: int,
    on_step: OnStep | None = None,
    upkeep: Upkeep | None = None,
) -> None:
    """Tune on a mixture of sources and write weights, probe and `fit.json` into `folder`.

    `settings.steps` optimiser steps; validation is held out of the sources. Raises `RecipeError` for a selection that
    needs labels, and `DataError` for a source of which no task fits the student.
    """
    steps = _check_settings(settings)
    untuned = open_for(student, settings, seed)
    kept, held_out = hold_out(sources, weights, seed)
    prepared = {name: prepare(untuned, tasks, name) for name, tasks in kept.items()}
    validation = prepare(untuned, held_out).items
    for name, items in [*((name, part.items) for name, part in prepared.items()), ("validation", validation)]:
        _check_not_empty(name, items, untuned)
    prompts = [list(item.prompt) for item in validation[:PROBES]]
    targets = [list(item.target) for item in validation[:PROBES]]
    before = untuned.logprobs(prompts, targets)
    torch.manual_seed(seed)
    tuned = attach(untuned, settings)
    seen: Counter[str] = Counter()
    batches = mixture({name: part.items for name, part in prepared.items()}, weights, settings, seed)
    fitted = descend(
        tuned,
        _counted(batches, seen),
        objective(tuned, validation, settings, steps),
        settings,
        steps=steps,
        seed=seed,
        on_step=on_step,
        upkeep=upkeep,
    )
    save(tuned, folder, Probe(prompts, before.tolist(), tuned.logprobs(prompts, targets).tolist(), targets))
    record = {
        "items": {name: len(part.items) for name, part in prepared.items()},
        "seen": {name: seen[name] for name in prepared},
        "validation": len(validation),
        "cut": sum(part.cut for part in prepared.values()),
        "too_long": sum(part.too_long for part in prepared.values()),
        "form": tuned.form.name,
    }
    write_json(folder / FIT, {**asdict(fitted), **record})


def _check_settings(settings: TrainSettings) -> int:
    """The number of steps; refuses what only labels have."""
    if settings.select not in ("loss", "last"):
        raise RecipeError(
            f"train.select = {settings.select!r} needs labels, which instructions do not have.", 'Use "loss" or "last".'
        )
    if settings.objectives != ObjectiveSettings():
        raise RecipeError(
            "train.objectives is for tasks with labels; tuning on instructions learns the answers alone.",
            "Leave the table out.",
        )
    if settings.steps is None:
        raise RecipeError("Tuning on instructions needs train.steps.", "Arms of different sizes are compared at it.")
    return settings.steps


def objective(follower: Follower, validation: Sequence[TrainingItem], settings: TrainSettings, steps: int) -> Objective:
    """Mean negative log-likelihood of a token of the answers, in training and on validation.

    The mean is over the tokens of a whole step, as stock fine-tuning on instructions has it: a long answer counts by
    its length. (Labels count once per item: loop.py.) With `select = "last"` validation is looked at only at the end.
    """
    return Objective(
        partial(_gradients, follower),
        partial(_check, follower, validation),
        check_points(steps, settings) if settings.select == "loss" else frozenset({steps}),
    )


def _gradients(follower: Follower, batches: Sequence[Batch], fitted: Fitted) -> float:
    count = sum(len(item.target) for batch in batches for item in batch)
    return accumulate(batches, team().divisor(count), partial(answer_loss, follower), fitted)


def answer_loss(follower: Follower, batch: Batch) -> torch.Tensor:
    """Sum over all tokens of the batch's answers of their negative log-likelihood, times the item's weight: float32
    scalar.
    """
    prompts, targets = [item.prompt for item in batch], [item.target for item in batch]
    losses = token_losses(follower.model, follower.loaded, prompts, targets)
    if all(item.weight == 1.0 for item in batch):
        return losses.sum()
    weights = torch.tensor([item.weight for item in batch for _ in item.target], device=losses.device)
    return (losses * weights).sum()


def _check(follower: Follower, validation: Sequence[TrainingItem], step: int) -> Check:
    prompts, targets = [item.prompt for item in validation], [item.target for item in validation]
    sums = answer_logprobs(follower.model, follower.loaded, prompts, targets)
    return Check(step, loss=float(-sums.sum() / sum(map(len, targets))))


def _counted(batches: Iterator[list[TrainingItem]], seen: Counter[str]) -> Iterator[list[TrainingItem]]:
    for batch in batches:
        seen.update(item.source for item in batch)
        yield batch


def _check_not_empty(name: str, items: Sequence[TrainingItem], follower: Follower) -> None:
    if not items:
        raise DataError(
            f"No task of {name!r} fits into {follower.limit} tokens with its answer.",
            "Raise train.max_length, or choose a student with a longer window.",
        )
