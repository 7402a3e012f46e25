"""Finding and reading recipes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from preceptor.config.adapt import AdaptRecipe
from preceptor.config.instruct_recipe import InstructRecipe
from preceptor.config.published import row_names, settled_figures
from preceptor.config.recipe import Recipe
from preceptor.config.scale import at_scale, take_scales
from preceptor.config.sentences import allowed_keys, sentence_of
from preceptor.config.stand_ins import put_student, put_teacher
from preceptor.errors import RecipeError

AnyRecipe = Recipe | InstructRecipe | AdaptRecipe


def read_recipe(
    path: Path,
    overrides: Sequence[str] = (),
    student: str | None = None,
    *,
    teachers: Sequence[str] = (),
    scale: str | None = None,
) -> AnyRecipe:
    """Read and check a recipe of any kind: one with `[data]`, with `[instruct]` or `[[benchmarks]]`, or with `[adapt]`.

    `scale` names a table `[scale.NAME]` whose keys take the place of the recipe's own; all scales are checked.
    `student` names a model that takes the place of all students: it is trained as the first of them is.
    Where the first one's model is there several times, trained in several ways, it takes the place of all of these.
    `teachers` name models on this machine: `MODEL` takes the place of `[teacher]` and writes as it does, `NAME=MODEL`
    that of `[teachers.NAME]`.
    `overrides` are `key=value` with dotted keys and TOML values, e.g. `train.alpha=64`, `students.0.train.rank=4`.
    Raises `RecipeError` naming the file, the key, the value and what is allowed.
    """
    where = str(path)
    written = _parsed(path)
    scales = take_scales(written, where)
    rows = _rows_at_every_scale(written, scales, where)
    raw = written if scale is None else at_scale(written, scales, scale, where)
    if student is not None:
        put_student(raw, student)
    for teacher in teachers:
        put_teacher(raw, teacher, where)
    for override in overrides:
        apply_override(raw, override)
    recipe = _check(raw, where)
    return settled_figures(recipe, rows, where) if isinstance(recipe, Recipe) else recipe


def _check(raw: dict[str, Any], where: str) -> AnyRecipe:
    if "adapt" in raw:
        return check_adapt_recipe(raw, where)
    if "data" not in raw and ("instruct" in raw or "benchmarks" in raw):
        return check_instruct_recipe(raw, where)
    return check_recipe(raw, where)


def _rows_at_every_scale(written: dict[str, Any], scales: Mapping[str, dict[str, Any]], where: str) -> frozenset[str]:
    """Rows that published figures may stand beside, of the recipe as written and of its scales, all of them checked."""
    if not scales and "published" not in written:
        return frozenset()
    found = {where: _check(written, where)}
    for name in scales:
        place = f"{where}: scale.{name}"
        found[place] = _check(at_scale(written, scales, name, where), place)
    recipes = {place: recipe for place, recipe in found.items() if isinstance(recipe, Recipe)}
    rows = frozenset(row for recipe in recipes.values() for row in row_names(recipe))
    for place, recipe in recipes.items():
        settled_figures(recipe, rows, place)
    return rows


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """As `read_recipe`, for what works with labels alone."""
    recipe = read_recipe(path, overrides)
    if isinstance(recipe, InstructRecipe):
        raise RecipeError(f"{path} is a recipe of instructions; this needs one with [data].", "Use preceptor run.")
    if isinstance(recipe, AdaptRecipe):
        raise RecipeError(f"{path} is a recipe with [adapt]; this needs one with [data].", "Use preceptor run.")
    return recipe


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"There is no recipe {path}.", "See the folder recipes/ for examples.") from error
    except RecursionError as error:
        raise RecipeError(f"{path} is nested too deeply to be a recipe.") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path} cannot be read as a recipe: byte {error.start} is not UTF-8.") from error
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise RecipeError(f"{path} cannot be read as a recipe: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path} is not valid TOML: {error}.", "Strings need quotes in TOML.") from error


def find_recipe(given: Path) -> Path:
    """The recipe's path: as given, or one that ships with the package when only its name is given."""
    if given.is_file() or given.suffix == ".toml":
        return given
    # In a checkout a link to its folder of recipes, in a wheel a copy of that folder.
    shipped = (Path(__file__).parent.parent / "recipes").resolve()
    named = shipped / f"{given}.toml"
    if named.is_file():
        return named
    names = sorted(p.relative_to(shipped).with_suffix("").as_posix() for p in shipped.rglob("*.toml"))
    raise RecipeError(f"There is no recipe {given}.", f"Give a file, or one of: {', '.join(names)}.")


def check_recipe(raw: dict[str, Any], where: str) -> Recipe:
    """Turn parsed TOML into a `Recipe`, or raise `RecipeError` with one sentence."""
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence_of(error)}.", allowed_keys(error, Recipe)) from error


def check_instruct_recipe(raw: dict[str, Any], where: str) -> InstructRecipe:
    """As `check_recipe`, for recipes of instructions."""
    try:
        return InstructRecipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence_of(error)}.", allowed_keys(error, InstructRecipe)) from error


def check_adapt_recipe(raw: dict[str, Any], where: str) -> AdaptRecipe:
    """As `check_recipe`, for recipes with `[adapt]`."""
    try:
        return AdaptRecipe.model_validate(raw)
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence_of(error)}.", allowed_keys(error, AdaptRecipe)) from error


def apply_override(raw: dict[str, Any], override: str) -> None:
    """Set one key of parsed TOML from `key=value`; raises `RecipeError` when the key leads nowhere."""
    key, found, text = override.partition("=")
    if not found or not key.strip():
        raise RecipeError(f"--set {override!r} is not of the form key=value.", "Example: --set train.alpha=64")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text  # an unquoted word is meant as a string
    target: Any = raw
    *path, last = key.strip().split(".")
    for part in path:
        target = _entry(target, part, override) if isinstance(target, list) else target.setdefault(part, {})
        if not isinstance(target, dict | list):
            raise RecipeError(f"--set {override!r}: {part!r} is a value, not a table.")
    if isinstance(target, list):
        raise RecipeError(f"--set {override!r}: name a key inside the list's entry, e.g. students.0.model.")
    target[last] = value


def _entry(entries: list[Any], part: str, override: str) -> Any:
    named = [entry for entry in entries if isinstance(entry, dict) and entry.get("name") == part]
    if len(named) > 1:
        raise RecipeError(f"--set {override!r}: {len(named)} entries are called {part!r}.", "Use its number, from 0.")
    if named:
        return named[0]
    if part.isdecimal() and int(part) < len(entries):
        return entries[int(part)]
    raise RecipeError(
        f"--set {override!r}: there is no entry {part!r}.",
        f"Use 0 to {len(entries) - 1}, or an entry's name.",
    )
