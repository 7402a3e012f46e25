"""What a teacher thinks of the training items, for students that learn from it: asked once per setting and kept.

    train/<setting>/distillation/<first digits of the identity>/

There is a folder for the real items and one for each strategy's, so that arms share them. A folder's identity is the
hash of the teacher, the items, and how both are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.config import TrainSettings
from preceptor.data.base import Task
from preceptor.data.load import load_datasets
from preceptor.errors import DataError, RecipeError
from preceptor.pipeline.label_arms import arm_of, groups_for
from preceptor.pipeline.label_run import Cell, Run
from preceptor.records import Example, fingerprint
from preceptor.store.stages import Stage, identity

if TYPE_CHECKING:
    from preceptor.models.student import Student

VERSION = 1
"""Raise it when the code gives other distributions."""


def teacher_of(state: Run, cell: Cell) -> dict[str, Any]:
    """What a cell's identity says of its teacher: nothing where it has none."""
    if not (cell.arm and cell.settings.objectives.distillation):
        return {}
    from preceptor.train.teaching import identity_of

    labels = state.datasets[cell.setting].task.labels
    return {"taught by": identity_of(cell.settings.distillation, state.base, labels)}


def read_task(state: Run, cell: Cell) -> Task:
    """The task as the teacher reads it: the student's own setting or `train.distillation.setting`.

    Raises `RecipeError` where the task has no such setting.
    """
    name = cell.settings.distillation.setting
    if name is None or name in state.datasets:
        return state.datasets[name or cell.setting].task
    asked = state.recipe.data.model_copy(update={"settings": (name,)})
    try:
        return load_datasets(asked, state.base)[name].task
    except RecipeError as error:
        raise RecipeError(
            f"train.distillation.setting: {name!r} is not a setting of {state.recipe.data.task}.", error.hint
        ) from error


def check_taught(state: Run, cell: Cell, student: Student) -> None:
    """Refuse, before anybody is asked, a teacher that cannot teach this student, data that cannot be read in the
    setting that it is given, and trained weights that cannot be loaded: they are opened once.

    What the teacher has said of the real items already is proof enough.
    """
    settings = cell.settings
    if not settings.objectives.distillation:
        return
    task = read_task(state, cell)
    if _stage(state, cell, task, state.datasets[cell.setting].train).done:
        return
    from preceptor.train.teaching import check_teacher, open_teacher

    check_teacher(student, settings.distillation, state.base)
    if settings.distillation.weights is None:
        return
    open_teacher(settings.distillation, task, state.base, max_length=settings.max_length, dtype=settings.dtype)


def _check_readable(settings: TrainSettings, task: Task, items: Sequence[Example]) -> None:
    if settings.distillation.setting is None:
        return  # then the student reads the same
    empty = [(item.id, field) for item in items for field in task.inputs if not item.fields.get(field, "").strip()]
    if empty:
        raise DataError(
            f"Item {empty[0][0]}: its field {empty[0][1]!r} is empty, and the teacher of distillation reads it "
            f"(train.distillation.setting = {settings.distillation.setting!r}).",
            "Fill it in, or leave train.distillation.setting out: then the teacher reads what the student reads.",
        )


def taught(state: Run, cell: Cell) -> list[Path]:
    """The folders with what the teacher thinks of a cell's items: the real ones, then each strategy's in turn.

    The teacher is loaded only when one of them is missing. Empty where the student learns from no teacher.
    """
    if not teacher_of(state, cell):
        return []
    task = read_task(state, cell)
    stages = [(name, items, _stage(state, cell, task, items)) for name, items in _groups(state, cell) if items]
    missing = [one for one in stages if not one[2].done]
    if missing:
        _ask(state, cell, task, missing)
    return [stage.folder for _, _, stage in stages]


def _groups(state: Run, cell: Cell) -> Iterator[tuple[str, Sequence[Example]]]:
    if arm_of(state, cell).real:
        yield "real", state.datasets[cell.setting].train
    yield from groups_for(state, cell).items()


def _stage(state: Run, cell: Cell, task: Task, items: Sequence[Example]) -> Stage:
    settings = cell.settings
    inputs = {
        **teacher_of(state, cell),
        "task": asdict(task),
        "items": fingerprint(items),
        "max_length": settings.max_length,
        "dtype": settings.dtype,
        "targets": settings.distillation.targets,
    }
    if settings.distillation.targets == "tokens":
        # The rows are then the student's own, and the distribution is kept at the temperature at which it is learnt.
        inputs["rows"] = {
            "student": cell.student.model,
            "settings": settings.deciding({"method", "virtual_tokens", "max_length"}),
            "rationale": settings.rationale.cue if settings.objectives.rationale else None,
            "temperature": settings.distillation.temperature,
            "top_k": settings.distillation.top_k,
        }
    found = identity(VERSION, inputs)
    return Stage(state.folder / "train" / cell.setting / "distillation" / found[:16], found)


def _ask(state: Run, cell: Cell, task: Task, missing: Sequence[tuple[str, Sequence[Example], Stage]]) -> None:
    from preceptor.train.teaching import open_teacher, write_labels, write_tokens

    settings = cell.settings
    for _, items, _ in missing:
        _check_readable(settings, task, items)
    teacher = open_teacher(
        settings.distillation, task, state.base, max_length=settings.max_length, dtype=settings.dtype
    )
    student = _student(state, cell) if settings.distillation.targets == "tokens" else None
    words = f"train: {settings.distillation.teacher} on the items of {cell.setting}"
    before = 0
    with state.progress.task(words, sum(len(items) for _, items, _ in missing)) as advance:
        for name, items, stage in missing:

            def on_progress(done: int, before: int = before, name: str = name) -> None:
                advance(before + done, f"{name} {done}")

            with stage.build() as folder:
                if student is None:
                    write_labels(folder, teacher, task, items, on_progress)
                else:
                    rows = _rows(student, cell, task, items)
                    write_tokens(folder, teacher, rows, settings.distillation, on_progress)
            before += len(items)


def _student(state: Run, cell: Cell) -> Student:
    from preceptor.train.cell import open_for

    return open_for(cell.student, cell.settings, state.datasets[cell.setting].task, cell.seed)


def _rows(student: Student, cell: Cell, task: Any, items: Sequence[Example]) -> Any:
    from preceptor.train.batches import make_items
    from preceptor.train.rationale import with_rationales

    rows = make_items(student, task, items)
    if not cell.settings.objectives.rationale:
        return rows
    return with_rationales(student, task, items, rows, cell.settings.rationale)
