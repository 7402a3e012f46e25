"""One cell of the experiment: one student, setting, arm and seed, from untrained model to saved weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from preceptor.config import StudentSettings, TrainSettings
from preceptor.data.base import Task, marked
from preceptor.models.load import head_of
from preceptor.models.student import Probe, Student, open_student, save
from preceptor.models.trunk import Trunk
from preceptor.records import Example
from preceptor.store.stages import write_json
from preceptor.train.batches import MadeItems, count_steps, fitted_items, make_items
from preceptor.train.loop import OnStep
from preceptor.train.methods import attach, reserved, with_tokens
from preceptor.train.objectives import equipped, fit
from preceptor.train.parallel import team, together
from preceptor.train.rationale import without_room
from preceptor.train.teaching import cut_for_teacher
from preceptor.train.upkeep import Upkeep

PROBES = 4
"""Validation items whose answers prove later that the saved weights were loaded."""
FIT = "fit.json"
"""What training did: steps, selected step, losses, validation checks, seconds, tokens, trainable weights, items cut."""


OnStart = Callable[[int, int], None]
"""Called before the first step with the number of real items and of optimiser steps."""


def open_for(
    student: StudentSettings, settings: TrainSettings, task: Task, seed: int, *, trained: bool = True
) -> Student:
    """The student for a task before its training. Not `trained`: as it came, without tokens that mean nothing to it.

    Raises `RecipeError` where the method needs what student or task do not have.
    """
    opened = open_student(
        student.model,
        head_of(student.model, student.head),
        task.labels,
        [task.target(label) for label in task.labels],
        max_length=settings.max_length,
        reserve=reserved(settings),
        dtype=settings.dtype,
        seed=seed,
    )
    if trained:
        opened = with_tokens(opened, settings)
        marked(task, opened.virtual)
    return opened


@together
def train_cell(
    folder: Path,
    student: StudentSettings,
    settings: TrainSettings,
    task: Task,
    *,
    real: Sequence[Example],
    generated: Sequence[Example],
    validation: Sequence[Example],
    seed: int,
    with_real: bool = True,
    on_step: OnStep | None = None,
    on_start: OnStart | None = None,
    upkeep: Upkeep | None = None,
    taught: Sequence[Path] = (),
    trunk: Path | None = None,
) -> None:
    """Train and write weights, probe and `fit.json` into `folder`.

    The number of optimiser steps follows from the real items alone, so every arm gets the same number; not `with_real`,
    that is all that they are there for. `taught` are the folders with what a teacher thinks of the items that are
    trained on, the real ones first, where the student learns from one.
    Below `trunk` is kept what enters the trained layers, where only the last ones are trained.
    """
    untrained = open_for(student, settings, task, seed)
    task = marked(task, untrained.virtual)
    held_out = make_items(untrained, task, validation)
    prompts = [list(item.prompt) for item in held_out[:PROBES]]
    before = untrained.logprobs(prompts)
    torch.manual_seed(seed)
    trained = attach(untrained, settings)
    own, written = fitted_items(trained, task, real), fitted_items(trained, task, generated)
    steps = count_steps(own.items, settings)
    if on_start is not None:
        on_start(len(own.items), steps)
    if not with_real:
        real, own = (), MadeItems([], 0)
    examples = [*real, *generated]
    items = equipped(trained, task, examples, own.items + written.items, settings, taught)
    with _kept_trunk(trained, settings, trunk):
        fitted = fit(
            trained,
            items,
            held_out,
            settings,
            steps=steps,
            seed=seed,
            on_step=on_step,
            upkeep=upkeep,
        )
    after = trained.logprobs(prompts)
    save(trained, folder, Probe(prompts, before.tolist(), after.tolist(), labels=list(task.labels)))
    record = {"real": len(real), "generated": len(generated), "cut": own.cut + written.cut}
    if settings.objectives.rationale:
        record["rationales_left_out"] = without_room(task, examples, items)
    if taught:
        record["cut_for_teacher"] = cut_for_teacher(taught)
    write_json(folder / FIT, {**asdict(fitted), **record})


@contextlib.contextmanager
def _kept_trunk(student: Student, settings: TrainSettings, folder: Path | None) -> Iterator[None]:
    """Start at the first trained layer, where the layers below it are frozen and one process trains."""
    if settings.last_layers is None or folder is None or team().size > 1:
        yield
        return
    kept = Trunk(student.loaded, settings.last_layers, folder)
    try:
        yield
    finally:
        kept.remove()
