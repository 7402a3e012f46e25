"""The cells of an experiment on a task with labels: which there are, how one is trained, and how it is evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from preceptor.pipeline.accompany import accompany, updates
from preceptor.pipeline.label_answers import Found, from_book, into_book, read_evaluated, record_look, write_evaluated
from preceptor.pipeline.label_arms import arm_of, generated_for
from preceptor.pipeline.label_run import Cell, Run
from preceptor.pipeline.teaching import taught, teacher_of
from preceptor.records import Prediction, fingerprint
from preceptor.store.seal import UNCHOSEN, Choice, with_state
from preceptor.store.stages import Stage, identity, made_by, read_json

if TYPE_CHECKING:
    from preceptor.models.student import Student

VERSIONS = {"train": 2, "evaluate": 1}
"""Raise a stage's number when its code gives other results, so that finished folders of older code are redone."""

FIT = "fit.json"
"""What training did, in a cell's folder of weights. (train/cell.py writes it, and importing that would load torch.)"""

TRUNK = "trunk"
"""Folder beside the students' own with what enters the trained layers (`train.last_layers`). It may be deleted."""

SETTINGS_OF_UNTRAINED = {"method", "virtual_tokens", "max_length", "dtype"}
"""Keys of `[train]` that change what an untrained student answers (virtual tokens take room from prompts)."""


def cells(state: Run) -> Iterator[Cell]:
    """Every cell of the experiment, in the order in which they are done."""
    from preceptor.models.load import head_of

    recipe = state.recipe
    for student in recipe.students:
        settings = recipe.training_of(student)
        swept = recipe.sweep is not None and bool(recipe.sweep.axes_of(student.name))
        causal = head_of(student.model, student.head) == "causal"
        for setting in student.settings or tuple(state.datasets):
            if student.untrained and causal:
                yield Cell(student, settings, setting, "", recipe.seeds[0])
            if swept:
                continue  # its points are trained in its place: pipeline/sweeping.py
            for seed in recipe.seeds:
                for arm in recipe.arms_in(setting):
                    yield Cell(student, settings, setting, arm, seed)


def train_stage(state: Run, cell: Cell) -> Stage:
    """Where a cell's weights lie, and what they depend on."""
    dataset, task = state.datasets[cell.setting], state.datasets[cell.setting].task
    with_real = arm_of(state, cell).real
    inputs = {
        "model": cell.student.model,
        **made_by(cell.student.model),
        "head": cell.student.head,
        # Of the untrained student only how long its prompts may be and how it computes.
        "settings": cell.settings.deciding(None if cell.arm else SETTINGS_OF_UNTRAINED),
        "task": asdict(task),
        "real": fingerprint(dataset.train if cell.arm and with_real else ()),
        "generated": fingerprint(generated_for(state, cell)),
        "validation": fingerprint(dataset.validation if cell.arm else ()),
        "seed": cell.seed,
        "arm": "trained" if cell.arm else "untrained",
        **teacher_of(state, cell),
        # Also of an arm without real items the number of steps follows from theirs.
        **({} if with_real else {"steps of": fingerprint(dataset.train)}),
    }
    return Stage(cell.place(state.folder / "train"), identity(VERSIONS["train"], inputs))


def prepare(state: Run, cell: Cell) -> None:
    """Make what a cell that is to be trained shares with others: what a teacher thinks of its items."""
    if cell.arm and not train_stage(state, cell).done:
        taught(state, cell)


def train(state: Run, cell: Cell) -> None:
    """Train one cell, unless it is done or the untrained student."""
    stage = train_stage(state, cell)
    if stage.done or not cell.arm:
        shutil.rmtree(stage.checkpoints, ignore_errors=True)  # a run was killed just after the stage was done
        return
    from preceptor.train.cell import train_cell

    dataset, names = state.datasets[cell.setting], (state.recipe.name, cell.name)
    thoughts = taught(state, cell)
    with stage.build() as folder, state.progress.task(f"train: {cell.words}", 1000) as advance:
        train_cell(
            folder,
            cell.student,
            cell.settings,
            dataset.task,
            real=dataset.train,
            generated=generated_for(state, cell),
            validation=dataset.validation,
            seed=cell.seed,
            with_real=arm_of(state, cell).real,
            on_start=lambda items, steps: state.progress.say(f"train: {cell.words}: {updates(items, steps)}"),
            upkeep=accompany(stage, cell.settings, names, state.folder, state.deadline, state.progress, advance),
            taught=thoughts,
            trunk=state.folder / "train" / TRUNK,
        )


def evaluate_stage(state: Run, cell: Cell) -> Stage:
    """Where a cell's predictions lie, and what they depend on."""
    inputs = {
        "trained": train_stage(state, cell).identity,
        "test": fingerprint(state.datasets[cell.setting].test),
        "settings": state.recipe.evaluate.deciding(),
    }
    return Stage(cell.place(state.folder / "evaluate"), identity(VERSIONS["evaluate"], inputs))


def evaluate(state: Run, cell: Cell, choice: Choice = UNCHOSEN) -> None:
    """Predict every test item with one cell's student, unless done, and write it into the recipe's book of results.

    `choice`: what was chosen before, and by what, for the record of looks at the test items.
    """
    stage = evaluate_stage(state, cell)
    if not stage.done:
        _predict(state, cell, stage, choice)
    if state.book is not None and _in_book(state, cell) is None:
        into_book(state, cell.name, stage.identity, cell.setting, _in_folders(state, cell), about(cell))


def about(cell: Cell) -> dict[str, str | int]:
    """What a book says of a cell to whoever finds its result without its run."""
    return {"student": cell.student.name, "arm": cell.arm or "untrained", "seed": cell.seed}


def train_and_evaluate(state: Run, cell: Cell, choice: Choice = UNCHOSEN) -> None:
    """All of a cell's work. Training is left out where it is done, and done again where its weights are gone."""
    train(state, cell)
    evaluate(state, cell, choice)


def reopened(state: Run, cell: Cell) -> Student:
    """The student of a cell as training left it; untrained, as it came."""
    from preceptor.models.student import restore
    from preceptor.train.cell import open_for

    task = state.datasets[cell.setting].task
    student = open_for(cell.student, cell.settings, task, cell.seed, trained=bool(cell.arm))
    return restore(student, train_stage(state, cell).folder) if cell.arm else student


def _predict(state: Run, cell: Cell, stage: Stage, choice: Choice) -> None:
    from preceptor.evaluate.predict import predict

    dataset, student = state.datasets[cell.setting], reopened(state, cell)
    with state.progress.task(f"evaluate: {cell.words}", len(dataset.test)) as advance:
        predicted = predict(
            student, dataset.task, dataset.test, state.recipe.evaluate, seed=cell.seed, on_progress=advance
        )
    if cell.arm:
        choice = with_state(choice, cell.settings.select, read_json(train_stage(state, cell).folder / FIT))
    settings = {"model": cell.student.model, "arm": cell.arm, "training": cell.settings.deciding()}
    record_look(state, cell.name, stage, cell.setting, cell.student.model, settings, choice)
    validation: list[Prediction] = []
    if state.recipe.evaluate.read == "likelihood":
        # For the label prior. No part of the stage's identity: folders without it stay valid and have no correction.
        validation = predict(
            student, dataset.task, dataset.validation, state.recipe.evaluate, seed=cell.seed
        ).predictions
    write_evaluated(stage, dataset, predicted.predictions, validation, {"cut_prompts": predicted.cut})


def finished(state: Run, cell: Cell) -> bool:
    """Whether a cell's predictions are known, here or in the recipe's book of results."""
    return _in_book(state, cell) is not None if state.book is not None else evaluate_stage(state, cell).done


def found(state: Run, cell: Cell) -> Found:
    """What is known of a finished cell: from the recipe's book of results, else from the run's folder."""
    return _in_book(state, cell) or _in_folders(state, cell)


def _in_folders(state: Run, cell: Cell) -> Found:
    done = read_evaluated(evaluate_stage(state, cell), state.datasets[cell.setting])
    return replace(done, fit=read_json(train_stage(state, cell).folder / FIT)) if cell.arm else done


def _in_book(state: Run, cell: Cell) -> Found | None:
    return from_book(state, cell.name, evaluate_stage(state, cell).identity, cell.setting)
