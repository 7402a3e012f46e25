"""Answers of a finished cell: in the run's folder and the recipe's book; every look at the test is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preceptor.data.base import Dataset
from preceptor.pipeline.label_run import Run, shared_of
from preceptor.records import Outcome, Prediction, content_hash, fingerprint
from preceptor.store.seal import Choice, Look, record
from preceptor.store.stages import Stage, read_json, write_json
from preceptor.store.tables import read_predictions, write_predictions

EVALUATED = "evaluated.json"
"""Beside the predictions: how many prompts were cut, and the hash of the validation items that were answered too."""

VALIDATION = "validation.parquet"
"""What the student said to the validation items, beside its predictions for the test items."""


@dataclass(frozen=True)
class Found:
    """What is known of a finished cell."""

    predictions: Sequence[Prediction]
    fit: Mapping[str, Any] | None
    """`fit.json` of its training; None for the untrained student."""
    cut_prompts: int
    validation: Sequence[Prediction] = ()
    """Answers to the validation items as they are now; empty where they were not stored, or are of other items."""


def write_evaluated(
    stage: Stage,
    dataset: Dataset,
    predictions: Sequence[Prediction],
    validation: Sequence[Prediction],
    more: Mapping[str, Any],
) -> None:
    """Write a finished stage of answers: to the test items, to the validation items (or none), and what goes along."""
    with stage.build() as folder:
        write_predictions(folder / "predictions.parquet", predictions)
        write_predictions(folder / VALIDATION, validation)
        write_json(folder / EVALUATED, {**more, "validation": fingerprint(dataset.validation)})


def read_evaluated(stage: Stage, dataset: Dataset) -> Found:
    """What `write_evaluated` wrote."""
    evaluated = read_json(stage.folder / EVALUATED)
    same = evaluated.get("validation") == fingerprint(dataset.validation)
    return Found(
        read_predictions(stage.folder / "predictions.parquet"),
        None,
        evaluated["cut_prompts"],
        read_predictions(stage.folder / VALIDATION) if same else (),
    )


def into_book(state: Run, name: str, identity: str, setting: str, done: Found, about: Mapping[str, Any]) -> None:
    """Write a finished cell into the book; `about` (student, arm, seed) is for whoever finds it without its run."""
    assert state.book is not None
    dataset = state.datasets[setting]
    described = {"task": dataset.task.name, "split": dataset.split, "labels": list(dataset.task.labels)}
    extra = {
        "cut_prompts": done.cut_prompts,
        "cell": {**described, "setting": setting, **about},
        "gold": [prediction.gold for prediction in done.predictions],
        "shared_contexts": shared_of(state, setting),
        "validation": _kept_validation(dataset, done.validation),
    }
    state.book.add_predictions(name, identity, done.predictions, done.fit, extra)


def _kept_validation(dataset: Dataset, validation: Sequence[Prediction]) -> dict[str, Any]:
    return {
        "items": fingerprint(dataset.validation),
        "probabilities": [[round(value, 5) for value in p.probabilities] for p in validation],
    }


def _read_validation(dataset: Dataset, kept: Mapping[str, Any]) -> list[Prediction]:
    if kept.get("items") != fingerprint(dataset.validation):
        return []  # of an older version, or of other items
    labels = dataset.task.labels
    return [
        Prediction(item.id, item.label, labels[row.index(max(row))], probabilities=tuple(row))
        for item, row in zip(dataset.validation, kept["probabilities"], strict=False)
    ]


def from_book(state: Run, name: str, identity: str, setting: str) -> Found | None:
    """What the recipe's book of results holds of a cell; None where there is no book, or nothing for these inputs.

    Raises `DataError` naming a file that holds something else than was written.
    """
    book = state.book
    kept = None if book is None else book.predictions(name, identity)
    if book is None or kept is None:
        return None
    dataset = state.datasets[setting]
    gold = {example.id: example.label for example in dataset.test}
    columns = zip(kept["ids"], kept["said"], kept["outcomes"], kept["probabilities"], strict=True)
    try:
        predictions = [
            Prediction(item, gold[item], said, Outcome(outcome), tuple(probabilities))
            for item, said, outcome, probabilities in columns
        ]
        validation = _read_validation(dataset, kept["extra"].get("validation", {}))
        return Found(predictions, kept["fit"], kept["extra"]["cut_prompts"], validation)
    except (KeyError, TypeError, ValueError) as error:
        raise book.broken(name) from error


def record_look(
    state: Run, cell: str, stage: Stage, setting: str, student: str, settings: Mapping[str, Any], choice: Choice
) -> None:
    """Write down that the test items of a setting are answered, in the run and beside the book of results.

    `settings`: all that tells this student from others. Called before anybody can read the answers: a run that is
    killed then has looked, and its next one looks again.
    """
    look = Look(
        recipe=state.recipe.name,
        recipe_hash=content_hash(state.written),
        cell=cell,
        identity=stage.identity,
        test=fingerprint(state.datasets[setting].test),
        student=student,
        settings=content_hash(settings)[:16],
        chosen=dict(choice.chosen),
        by=choice.by,
    )
    record([state.root, *([state.book.folder] if state.book is not None else [])], look)
