"""What leaves Preceptor for other programs: a task for lm-evaluation-harness, a leaderboard's predictions, a model."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from preceptor.config import find_recipe, load_recipe
from preceptor.data import pubmedqa
from preceptor.data.load import load_datasets
from preceptor.errors import DataError, RecipeError
from preceptor.evaluate.compare import Contender
from preceptor.pipeline.compare_sources import read_source
from preceptor.publish.harness import write_harness
from preceptor.publish.leaderboard import write_leaderboard
from preceptor.store.stages import MARK, new_folder, read_json, write_json, write_text

CARD = """# {name}, trained further

Made by `preceptor export model {weights}`: the base model {name} with the adapter of that run merged into its weights,
in float32. What it scores, and on which items, stands in the run's report.

It is for research. It is not for medical advice, nor for any other advice or decision about people.
"""
"""The card of an exported model."""

PATHS = ("path", "validation_path", "test_path")
"""Keys of `[data]` that may be relative to the recipe's folder."""


def export_harness(given: Path, out: Path, base: Path | None = None) -> list[str]:
    """Write a task for each setting of a recipe, or of a run's recipe, into `out`; returns the tasks' names.

    `base` is where relative paths of the recipe start: by default its folder. A run does not know that folder any more.
    """
    ran = given.is_dir()
    if ran and not (given / "recipe.toml").is_file():
        raise DataError.at(given, "is no run: it has no recipe.toml.", hint="Give a recipe or a run's folder.")
    path = given / "recipe.toml" if ran else find_recipe(given)
    data = load_recipe(path).data
    if ran and base is None:
        for key in PATHS:
            value = getattr(data, key)
            if value is not None and not Path(os.path.expandvars(value)).expanduser().is_absolute():
                raise RecipeError(
                    f"The run's data.{key} = {value!r} is relative to the folder of its recipe, which the run does not "
                    "know.",
                    "Give that folder with --base, or the recipe itself.",
                )
    datasets = load_datasets(data, base or path.parent)
    return [write_harness(out, dataset) for dataset in datasets.values()]


def export_model(weights: Path, out: Path, base: str | None = None) -> str:
    """Write the plain model that a run's weights make into `out`, with a card; returns the base model's name.

    Raises `DataError` when `out` holds something, `ModelError` as `merge_adapter`. A failure leaves nothing behind.
    """
    with new_folder(out) as made:
        from preceptor.models.merge import merge_adapter

        name = merge_adapter(weights, made, base)
        # Recipes that name the folder must notice when other weights come to lie in it.
        write_json(made / MARK, {"identity": read_json(weights / MARK)["identity"]})
        write_text(made / "README.md", CARD.format(name=name, weights=weights))
    return name


def convert_model(source: str, out: Path) -> int:
    """Write a model that exists only as `pytorch_model.bin` as safetensors; returns the number of its tensors.

    Raises as `preceptor.models.convert.convert`.
    """
    from preceptor.models.convert import convert

    return convert(source, out)


def export_predictions(
    run: Path, out: Path, *, student: str, arm: str, seed: int | None = None, setting: str | None = None
) -> int:
    """Write one student's answers of a run, or of a folder of results, for PubMedQA's leaderboard; returns the seed.

    Raises `DataError` where the choice is open, the split is another one, or an answer is missing (see `leaderboard`).
    """
    found = read_source(run)
    one = _only(run, found, student, arm, setting)
    if one.task != "pubmedqa":
        raise DataError.at(run, f"its task is {one.task}.", hint="The leaderboard takes pubmedqa alone.")
    if one.split.partition(" ")[0] != "official":
        raise DataError.at(
            run,
            f"its split is {one.split}, and the leaderboard scores the official test.",
            hint='Set data.split = "official" and run again.',
        )
    if seed is None and len(one.runs) > 1:
        raise DataError.at(run, f"{student}, {arm}, has the seeds {_listed(one.runs)}.", hint="Choose one with --seed.")
    chosen = next(iter(one.runs)) if seed is None else seed
    if chosen not in one.runs:
        raise DataError.at(run, f"{student}, {arm}, has no seed {chosen}.", hint=f"Seeds: {_listed(one.runs)}.")
    write_leaderboard(out, one.runs[chosen], str(run), pubmedqa.is_official_test)
    return chosen


def _only(run: Path, found: Iterable[Contender], student: str, arm: str, setting: str | None) -> Contender:
    """The one student and arm that is meant."""
    left = list(found)
    for kind, wanted in (("student", student), ("arm", arm), ("setting", setting)):
        named = [getattr(one, kind) for one in left]
        if wanted is not None:
            left = [one for one in left if getattr(one, kind) == wanted]
        if not left:
            raise DataError.at(run, f"there is no {kind} {wanted!r}.", hint=f"There is: {_listed(named)}.")
    if len(left) > 1:
        raise DataError.at(
            run,
            f"{student}, {arm}, answered in the settings {_listed(one.setting for one in left)}.",
            hint="Choose one with --setting.",
        )
    return left[0]


def _listed(names: Iterable[object]) -> str:
    return ", ".join(str(name) for name in sorted(set(names), key=str))
