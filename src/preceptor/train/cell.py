"""One cell of the experiment: one student, setting, arm and seed, from untrained model to saved weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from preceptor.config import StudentSettings, TrainSettings
from preceptor.data.base import Task
from preceptor.models.load import head_of
from preceptor.models.student import Probe, Student, open_student, save
from preceptor.records import Example
from preceptor.store.stages import write_json
from preceptor.train.batches import count_steps, make_items
from preceptor.train.loop import OnStep
from preceptor.train.methods import attach, reserved
from preceptor.train.objectives import equipped, fit

PROBES = 4
"""Validation items whose answers prove later that the saved weights were loaded."""
FIT = "fit.json"
"""What training did: steps, selected step, losses, validation checks, seconds, tokens, trainable weights."""


def open_for(student: StudentSettings, settings: TrainSettings, task: Task, seed: int) -> Student:
    """The untrained student for a task."""
    return open_student(
        student.model,
        head_of(student.model, student.head),
        task.labels,
        [task.target(label) for label in task.labels],
        max_length=settings.max_length,
        reserve=reserved(settings),
        dtype=settings.dtype,
        seed=seed,
    )


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
    on_step: OnStep | None = None,
    taught: Sequence[Path] = (),
) -> None:
    """Train and write weights, probe and `fit.json` into `folder`.

    The number of optimiser steps follows from the real items alone, so every arm gets the same number. `taught` are the
    folders with what a teacher thinks of the real and then of the generated items, where the student learns from one.
    """
    untrained = open_for(student, settings, task, seed)
    held_out = make_items(untrained, task, validation)
    prompts = [list(item.prompt) for item in held_out[:PROBES]]
    before = untrained.logprobs(prompts)
    torch.manual_seed(seed)
    trained = attach(untrained, settings)
    real_items = make_items(trained, task, real)
    items = real_items + make_items(trained, task, generated)
    fitted = fit(
        trained,
        equipped(trained, task, [*real, *generated], items, settings, taught),
        held_out,
        settings,
        steps=count_steps(real_items, settings),
        seed=seed,
        on_step=on_step,
    )
    save(trained, folder, Probe(prompts, before.tolist(), trained.logprobs(prompts).tolist()))
    write_json(folder / FIT, {**asdict(fitted), "real": len(real), "generated": len(generated)})
