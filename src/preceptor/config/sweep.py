"""`[sweep]`: keys that take several values, and how one of them is chosen without the test items."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator

from preceptor.config.arms import known_teachers
from preceptor.config.base import Name, Section
from preceptor.config.sentences import allowed_keys, sentence_of
from preceptor.config.train import LORA, VIRTUAL, StudentSettings, TrainSettings, training_of

if TYPE_CHECKING:
    from preceptor.config.recipe import Recipe

SWEPT = ("train", "data", "teacher", "teachers", "augment", "filter", "evaluate")
"""Tables whose keys may be swept. The others say who learns, how often, and what the run is called."""

_NEEDS = {"alpha": LORA, "rank": LORA, "virtual_tokens": VIRTUAL}
"""Keys of `[train]` -> methods that read them."""

MOST = 1000
"""Points of one student, at most: more are a slip of the pen."""

Axes = dict[str, tuple[Any, ...]]


class SweepSettings(Section):
    """`[sweep]`: every combination of the axes' values is trained with every arm and seed, and one of them is chosen.

    An axis is a key of the recipe and its values: `"train.alpha" = [16, 32, 64]`, and of a further teacher
    `"teachers.NAME.temperature" = [0.2, 0.8]`.
    """

    select: Literal["validation", "folds"] = "validation"
    """Which items choose: the validation items, or held-out folds of training and validation items together."""
    by: Literal["accuracy", "macro_f1"] = "accuracy"
    """The score that is the highest at the chosen point, mean over seeds; of equal ones the first point is taken."""
    score: Literal["selected", "all"] = "selected"
    """Which points answer the test items: the chosen one of each student and arm, or all, for a picture of them."""
    folds: int = Field(10, ge=2)
    """With `select = "folds"`: how many folds are held out in turn. PubMedQA's official split has its own ten."""
    axes: Axes = {}
    """Key -> values, for every student that has no axes of its own."""
    students: dict[Name, Axes] = {}
    """Student -> its own axes, which take the place of `axes`; an empty table: this student is not swept."""

    @field_validator("select", mode="before")
    @classmethod
    def _never_on_the_test(cls, value: Any) -> Any:
        if value == "test":
            raise ValueError(
                "sweep.select = 'test' is refused: a value that was chosen by the test items makes their score "
                "worthless; choose by 'validation' or by 'folds'"
            )
        return value

    @field_validator("axes", mode="before")
    @classmethod
    def _axes(cls, value: Any) -> Any:
        return _checked_axes(value, "sweep.axes")

    @field_validator("students", mode="before")
    @classmethod
    def _own_axes(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: _checked_axes(own, f"sweep.students.{name}") for name, own in value.items()}

    def axes_of(self, student: str) -> Axes:
        """The axes of one student; empty where it is not swept."""
        return self.students.get(student, self.axes)


@dataclass(frozen=True)
class Point:
    """One combination of values for one student."""

    base: StudentSettings
    """The student as the recipe names it."""
    student: StudentSettings
    """The student under the point's name, with the point's values of `[train]` among its own."""
    values: Mapping[str, Any]
    """Key -> value."""
    recipe: Recipe
    """The recipe with the point's other values, and without `[sweep]`."""

    @property
    def short(self) -> str:
        """Its name less the student's: `alpha-64`."""
        return self.student.name.removeprefix(f"{self.base.name}-")

    @property
    def apart(self) -> bool:
        """Whether it needs items, or generated items, of its own: more than training and reading differs."""
        return any(key.partition(".")[0] not in ("train", "evaluate") for key in self.values)


def points_of(recipe: Recipe) -> list[Point]:
    """Every point of every swept student, students in the recipe's order, the last axis changing first.

    Raises `ValueError` with a sentence that names the key.
    """
    if recipe.sweep is None:
        return []
    return [point for student in recipe.students for point in _points(recipe, recipe.sweep, student)]


def check_sweep(recipe: Recipe, sweep: SweepSettings) -> None:
    """Raise `ValueError` in one sentence unless every point of `[sweep]` is a possible recipe."""
    names = [student.name for student in recipe.students]
    if unknown := sorted(set(sweep.students) - set(names)):
        raise ValueError(f"sweep.students: there is no student {unknown[0]!r}, only {', '.join(names)}")
    if not any(sweep.axes_of(name) for name in names):
        raise ValueError('sweep.axes: give at least one axis, e.g. "train.alpha" = [16, 32, 64]')
    points = points_of(recipe)
    for key in dict.fromkeys(key for point in points for key in point.values):
        table, name, *_ = _path(recipe, key)
        if table == "teachers" and all(arm.teacher != name for arm in recipe.arms.values()):
            raise ValueError(f"sweep: {key!r} changes nothing that is trained on: teachers.{name} writes for no arm")
    # One name may stand for several entries of a student, with other values in other settings.
    taken = [*dict.fromkeys(names), *dict.fromkeys((point.student.name, point.base.name) for point in points)]
    plain = [one if isinstance(one, str) else one[0] for one in taken]
    if twice := sorted({name for name in plain if plain.count(name) > 1}):
        raise ValueError(f"sweep: two students or points would be called {twice[0]!r}: rename a student")
    for student in recipe.students:
        _check_use(recipe, student, [point for point in points if point.base is student])


def _checked_axes(value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        return value
    axes = dict(_flat(value, ()))
    for key, values in axes.items():
        if not isinstance(values, list | tuple):
            raise ValueError(f"{where}: {key!r} needs a list of values, e.g. [{values!r}]")
        if not values:
            raise ValueError(f"{where}: {key!r} has no values")
        if len({repr(one) for one in values}) < len(values):
            raise ValueError(f"{where}: {key!r} has a value twice: {list(values)}")
        if key.partition(".")[0] not in SWEPT or "." not in key:
            raise ValueError(f'{where}: {key!r} cannot be swept; a key of {", ".join(SWEPT)} can, e.g. "train.alpha"')
    return axes


def _flat(value: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values: in TOML, train.alpha without quotes is a table in a table."""
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            yield from _flat(inner, (*above, str(key)))
        else:
            yield ".".join((*above, str(key))), inner


def _points(recipe: Recipe, sweep: SweepSettings, student: StudentSettings) -> list[Point]:
    axes = sweep.axes_of(student.name)
    if not axes:
        return []
    count = math.prod(len(values) for values in axes.values())
    if count > MOST:
        raise ValueError(f"sweep: {student.name} would have {count:,} points; {MOST:,} are the most")
    short = _short_names(list(axes))
    found = []
    for chosen in itertools.product(*axes.values()):
        values = dict(zip(axes, chosen, strict=True))
        name = "-".join([student.name, *(f"{short[key]}-{_word(value)}" for key, value in values.items())])
        found.append(_point(recipe, student, name, values))
    return found


def _point(recipe: Recipe, student: StudentSettings, name: str, values: Mapping[str, Any]) -> Point:
    """The point, or `ValueError` naming its values and what is wrong with one of them."""
    raw = recipe.model_dump(exclude_unset=True, exclude={"sweep"})
    own: dict[str, Any] = {"train": student.model_dump()["train"]}
    for key, value in values.items():
        _put(own if key.startswith("train.") else raw, _path(recipe, key), value)
    changed = student.model_copy(update={"train": own["train"]})
    where = "sweep: " + ", ".join(f"{key} = {value!r}" for key, value in values.items())
    try:
        one = type(recipe).model_validate(raw)
        settings = training_of(one.train, changed)
    except ValidationError as error:
        hint = allowed_keys(error, type(recipe)).lower().rstrip(".")
        raise ValueError(f"{where}: {sentence_of(error)}{f' ({hint})' if hint else ''}") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    for key, value in values.items():
        read = _read(one, settings, _path(recipe, key))
        if not _alike(value, read):
            raise ValueError(f"sweep: {key} = {value!r}: this key takes a value like {read!r}, not {_kind(value)}")
    return Point(student, changed.model_copy(update={"name": name}), values, one)


def _path(recipe: Recipe, key: str) -> list[str]:
    """The parts of a dotted key. The name of a teacher may have dots itself: `teachers.gpt-3.5.temperature`.

    Raises `ValueError` where the recipe has no such teacher.
    """
    table, *path = key.split(".")
    if table != "teachers":
        return [table, *path]
    names = {name: name.split(".") for name in recipe.teachers}
    if path in names.values():
        raise ValueError(f"sweep: {key!r} cannot be swept as a whole; one of its keys can, e.g. '{key}.temperature'")
    fitting = [name for name, parts in names.items() if path[: len(parts)] == parts]
    if not fitting:
        raise ValueError(f"sweep: {key!r} is about a teacher that there is not; {known_teachers(recipe.teachers)}")
    name = max(fitting, key=len)
    return [table, name, *path[len(names[name]) :]]


def _read(recipe: Recipe, settings: TrainSettings, path: Sequence[str]) -> Any:
    """What a recipe says under the parts of a key; `settings` are those of `[train]`."""
    table, *path = path
    found: Any = settings if table == "train" else getattr(recipe, table)
    for part in path:
        found = found[part] if isinstance(found, Mapping) else getattr(found, part)
    return found


def _put(target: dict[str, Any], path: Sequence[str], value: Any) -> None:
    *above, last = path
    for part in above:
        inner = target.setdefault(part, {})
        target[part] = inner = dict(inner) if isinstance(inner, Mapping) else {}
        target = inner
    target[last] = value


def _alike(given: Any, read: Any) -> bool:
    """Whether a value was taken as it is: a text that happens to be read as a number is a slip of the pen."""
    if isinstance(given, bool) or isinstance(read, bool) or isinstance(given, str) or isinstance(read, str):
        return type(given) is type(read)
    return True


def _kind(value: Any) -> str:
    return {bool: "a truth value", str: "a text"}.get(type(value), f"a {type(value).__name__}")


def _check_use(recipe: Recipe, student: StudentSettings, points: Sequence[Point]) -> None:
    """Raise `ValueError` when an axis changes nothing, because no point's method reads it."""
    for key in dict.fromkeys(key for point in points for key in point.values):
        table, _, last = key.partition(".")
        if table != "train" or last not in _NEEDS:
            continue
        trainings: list[TrainSettings] = [training_of(point.recipe.train, point.student) for point in points]
        methods = {settings.method for settings in trainings}
        if all(settings.preset is None for settings in trainings) and not methods & _NEEDS[last]:
            raise ValueError(
                f"sweep: {key} changes nothing for the student {student.name!r}, whose method is "
                f"{', '.join(sorted(methods))}; give it axes of its own in sweep.students.{student.name}"
            )


def _short_names(keys: Sequence[str]) -> dict[str, str]:
    """Key -> its last part, or all of it where two keys have the same last part."""
    last = [key.rpartition(".")[2] for key in keys]
    return {key: short if last.count(short) == 1 else key for key, short in zip(keys, last, strict=True)}


def _word(value: Any) -> str:
    """A value as a part of a name."""
    if isinstance(value, list | tuple):
        return "-".join(_word(one) for one in value) or "none"
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if isinstance(value, float) and float(f"{value:g}") == value:
        text = f"{value:g}"
    return re.sub(r"[^a-zA-Z0-9._-]+", "-", text.replace("e+", "e")).strip("-") or "empty"
