"""`[[published]]`: figures that a paper printed, shown beside ours and never mixed with them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import Field, field_validator, model_validator

from preceptor.config.arms import meet
from preceptor.config.base import Section
from preceptor.config.sweep import points_of
from preceptor.errors import RecipeError

if TYPE_CHECKING:
    from preceptor.config.recipe import Recipe
    from preceptor.config.train import StudentSettings

Words = Annotated[str, Field(min_length=1)]
REFERENCES = ("floor", "human")
"""Rows that no student answered. A person stands in the results of a task that knows one."""
SHOWN = 12
"""So many rows are listed where a figure stands beside none of them."""


class PublishedSettings(Section):
    """One entry of `[[published]]`."""

    name: Words
    """What was measured: model, method, data."""
    beside: tuple[str, ...] = ()
    """The row of ours that it stands beside, as student/arm, `floor` or `human`, or several of them: those that are not
    part of this scale of the recipe are left out. Empty: none of ours is like it."""
    split: Words
    """Whose test items they are, in a word: `paper`, `official`."""
    setting: str = ""
    """What was read, as `data.settings` names it; empty: not stated."""
    items: int | None = Field(None, ge=1)
    """Test items. None: not stated, and then no interval is computed."""
    accuracy: float | None = Field(None, ge=0, le=1)
    macro_f1: float | None = Field(None, ge=0, le=1)
    source: Words
    """Where it is printed."""
    note: str = ""
    """What must be known to read it, e.g. by which items it was chosen."""

    @field_validator("beside", mode="before")
    @classmethod
    def _one_or_several(cls, given: Any) -> Any:
        return (given,) if isinstance(given, str) else given

    @model_validator(mode="after")
    def _some_figure(self) -> Self:
        if self.accuracy is None and self.macro_f1 is None:
            raise ValueError(f"published {self.name!r}: give accuracy, macro_f1 or both, as shares between 0 and 1")
        return self


def row_names(recipe: Recipe) -> tuple[str, ...]:
    """Rows of the results that figures can stand beside: student/arm, of a sweep student/arm/point, references."""
    names = [
        f"{student.name}/{arm}"
        for student in recipe.students
        for arm in (*(("untrained",) if student.untrained else ()), *_arms_of(recipe, student))
    ]
    names += [f"{baseline.name}/{count}-shot" for baseline in recipe.baselines for count in baseline.shots]
    names += [f"{p.base.name}/{arm}/{p.short}" for p in points_of(recipe) for arm in _arms_of(recipe, p.base)]
    return tuple(dict.fromkeys([*names, *REFERENCES]))


def _arms_of(recipe: Recipe, student: StudentSettings) -> list[str]:
    """The arms that are trained in some setting of a student."""
    return [name for name, arm in recipe.arms.items() if meet(arm.settings, student.settings)]


def settled_figures(recipe: Recipe, known: Collection[str], where: str) -> Recipe:
    """The recipe with its figures checked and beside rows of its own alone.

    `known` are the rows of the recipe as written and of its scales: they may be named, and are left out of a recipe
    that lacks them. Raises `RecipeError` for any other name, and for notes without figures.
    """
    if not recipe.published:
        if recipe.published_notes:
            raise RecipeError(f"{where}: published_notes: there is no entry of [[published]] that they could speak of.")
        return recipe
    own = row_names(recipe)
    for figure in recipe.published:
        for name in figure.beside:
            if name not in own and name not in known:
                more = f" and {len(own) - SHOWN} more" if len(own) > SHOWN else ""
                raise RecipeError(
                    f"{where}: published {figure.name!r}: beside = {name!r} names no row of this recipe.",
                    f"There are {', '.join(own[:SHOWN])}{more}.",
                )
    kept = [
        figure.model_copy(update={"beside": tuple(name for name in figure.beside if name in own)})
        for figure in recipe.published
    ]
    return recipe.model_copy(update={"published": tuple(kept)})
