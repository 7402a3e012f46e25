"""Folds of the training and validation items, for a choice by cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.data.splits import folded
from preceptor.errors import RecipeError
from preceptor.pipeline.label_run import Run
from preceptor.records import Example

OFFICIAL = 10
"""Folds of PubMedQA's official split."""


def fold_datasets(run: Run, setting: str, count: int) -> list[Dataset]:
    """The items once for each fold: that fold is validation, all other training and validation items are for training.

    PubMedQA's official split has its own ten folds, of which the first `count` are held out. Other items are cut into
    `count` parts, label by label, with the seed of the split.
    """
    return [_dataset(run, setting, number, count) for number in range(count)]


def fold_runs(run: Run, setting: str, datasets: Sequence[Dataset]) -> list[Run]:
    """The run once for each fold's items.

    Of the generated items those go along whose parents are all among the fold's training items: the others tell of
    items that are held out.
    """
    made = []
    for dataset in datasets:
        train = {item.id for item in dataset.train}
        kept = {key: _inside(items, train) for key, items in run.kept.items() if key[0] == setting}
        made.append(replace(run, datasets={setting: dataset}, kept=kept))
    return made


def _dataset(run: Run, setting: str, number: int, count: int) -> Dataset:
    usual, data = run.datasets[setting], run.recipe.data
    if data.task == "pubmedqa" and usual.split == "official":
        if count > OFFICIAL:
            raise RecipeError(
                f"sweep.folds = {count}: PubMedQA's official split has {OFFICIAL} folds.", f"At most {OFFICIAL}."
            )
        return load_datasets(data.model_copy(update={"fold": number}), run.base)[setting]
    items = sorted((*usual.train, *usual.validation), key=lambda item: item.id)
    held_out = folded(items, usual.task.labels, count, data.split_seed)[number]
    return replace(
        usual,
        train=tuple(item for item in (*usual.train, *usual.validation) if item.id not in held_out),
        validation=tuple(item for item in items if item.id in held_out),
    )


def _inside(items: tuple[Example, ...], train: set[str]) -> tuple[Example, ...]:
    return tuple(item for item in items if set(item.parents) <= train)
