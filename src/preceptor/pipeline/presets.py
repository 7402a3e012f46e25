"""From what a recipe says of training to what each student is trained with."""

from __future__ import annotations

from typing import Any, TypeVar

from preceptor.config import AdaptRecipe, InstructRecipe, Recipe, StudentSettings, TrainSettings
from preceptor.config.presets import PAPER, given_keys, tuned, without_references
from preceptor.config.train import training_of
from preceptor.errors import RecipeError

Kind = TypeVar("Kind", Recipe, InstructRecipe)


def settled(recipe: Kind) -> Kind:
    """The recipe with its presets and reference scales worked out, as keys of every student's own `train`.

    The resolved recipe then shows what was trained with, gives the same again, and has the identity of a recipe that
    names these keys itself. A recipe that uses neither comes back as it is.
    """
    if not any(_unsettled(given_keys(recipe.train, student)) for student in recipe.students):
        return recipe
    students = [student.model_copy(update={"train": _effective(recipe, student)}) for student in recipe.students]
    train = recipe.train.model_copy(update={"preset": None, "reference_scale": None})
    return recipe.model_copy(update={"train": train, "students": tuple(students)})


def settled_adaptation(recipe: AdaptRecipe) -> AdaptRecipe:
    """The same for continued training, whose one model stands in the place of a student."""
    given = recipe.train.model_dump(exclude_unset=True)
    if not _unsettled(given):
        return recipe
    keys = {**_usual(given, recipe.adapt.model, "auto"), **given}
    train = TrainSettings.model_validate(without_references(keys, TrainSettings.model_validate(keys)))
    return recipe.model_copy(update={"train": train})


def _unsettled(given: dict[str, Any]) -> bool:
    return given.get("preset") is not None or given.get("reference_scale") is not None


def _effective(recipe: Recipe | InstructRecipe, student: StudentSettings) -> dict[str, Any]:
    given = given_keys(recipe.train, student)
    keys = {**_usual(given, student.model, student.head), **given}
    try:
        settings = training_of(TrainSettings(), student.model_copy(update={"train": keys}))
    except ValueError as error:
        raise RecipeError(
            f"{error}.", f"The preset {given.get('preset')!r} sets what the recipe leaves out."
        ) from error
    return without_references(keys, settings)


def _usual(given: dict[str, Any], model: str, head: str) -> dict[str, Any]:
    """What the preset among the keys that are given sets for a model."""
    preset = given.get("preset")
    if preset == "tuned":
        from preceptor.models.load import count_weights, head_of

        found = tuned(head_of(model, head), count_weights(model), given.get("method"))
        if "learning_rate" not in {*found, *given}:
            raise RecipeError(
                f'train.preset = "tuned" knows no learning rate at which an encoder such as {model} learns by '
                f"{found['method']}.",
                "Name train.learning_rate, or take another method.",
            )
        return found
    return PAPER if preset == "paper" else {}
