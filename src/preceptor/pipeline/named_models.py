"""The models on this machine that a recipe names: folders that are not there are refused before anything is done.

A teacher's model is loaded when it is first asked, which may be hours after another teacher began to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from preceptor.config import AdaptRecipe, InstructRecipe, Recipe, StudentSettings, TeacherSettings, TrainSettings
from preceptor.errors import ModelError
from preceptor.models.folders import folder_of
from preceptor.pipeline.baselines import baseline_cells, finished, terms_of
from preceptor.pipeline.label_run import Run

Named = Iterator[tuple[str, str]]
"""The key of a recipe, in words, and the model that it names."""


def refuse_absent(named: Iterable[tuple[str, str]]) -> None:
    """Raise `ModelError`, with the key that names it, for the first folder that is not there or holds no model."""
    for key, model in named:
        try:
            folder_of(model)
        except ModelError as error:
            raise ModelError(f"{key}: {error.message}", error.hint) from error


def refuse_absent_models(recipe: Recipe, base: Path) -> None:
    """`refuse_absent` for the students of an experiment on labels, and for whoever writes, reads or teaches.

    Not for baselines, of which some may be known, nor for what a point of a sweep alone names.
    """
    refuse_absent((f"students.{student.name}.model", student.model) for student in recipe.students)
    swept = [] if recipe.sweep is None else [s.name for s in recipe.students if recipe.sweep.axes_of(s.name)]
    refuse_absent_teachers(recipe, [s for s in recipe.students if s.name not in swept], base)


def refuse_absent_teachers(recipe: Recipe, students: Sequence[StudentSettings], base: Path) -> None:
    """`refuse_absent` for the recipe's teachers that write and read, and for those whose distribution students learn.

    `base` is the folder of the recipe.
    """
    refuse_absent(_of_teachers(recipe))
    for student in students:
        _refuse_absent_taught(f"students.{student.name}", recipe.training_of(student), base)


def refuse_absent_baselines(state: Run) -> None:
    """`refuse_absent` for the baselines whose answers are not known, in a run whose items are loaded."""
    for cell in baseline_cells(state):
        where = f"baselines.{cell.settings.name}"
        if not finished(state, cell):
            model = cell.settings.model
            refuse_absent(_local(where, terms_of(state, cell)) if model is None else [(f"{where}.model", model)])


def refuse_absent_of_instructions(recipe: InstructRecipe) -> None:
    """`refuse_absent` for an experiment on instructions."""
    refuse_absent((f"students.{student.name}.model", student.model) for student in recipe.students)
    if recipe.instruct is not None and recipe.instruct.source is None:
        refuse_absent(_local("teacher", recipe.teacher))
    if recipe.evaluate.judge is not None:
        refuse_absent(_local("evaluate.judge.teacher", recipe.evaluate.judge.teacher))


def refuse_absent_of_adaptation(recipe: AdaptRecipe) -> None:
    """`refuse_absent` for the model of an adaptation."""
    refuse_absent([("adapt.model", recipe.adapt.model)])


def _of_teachers(recipe: Recipe) -> Named:
    for name, settings in recipe.writers.items():
        yield from _local(f"teachers.{name}" if name else "teacher", settings)
    own = {"agreement": recipe.filter.agreement.teacher, "judge": recipe.filter.judge.teacher}
    for name, teacher in own.items():
        # Filters ask teachers only where some arm's teacher writes.
        if recipe.writers and name in recipe.filter.chain:
            if teacher is not None:
                yield from _local(f"filter.{name}.teacher", teacher)
            elif not (name == "agreement" and recipe.filter.labelling_student):
                yield from _local("teacher", recipe.teacher)


def _local(where: str, settings: TeacherSettings) -> Named:
    if settings.kind == "local":
        yield f"{where}.model", settings.model


def _refuse_absent_taught(where: str, settings: TrainSettings, base: Path) -> None:
    from preceptor.train.teaching import trained_folder

    if not settings.objectives.distillation or settings.distillation.teacher is None:
        return
    refuse_absent([(f"{where}, train.distillation.teacher", settings.distillation.teacher)])
    try:
        trained_folder(settings.distillation, base)
    except ModelError as error:
        raise ModelError(f"{where}: {error.message}", error.hint) from error
