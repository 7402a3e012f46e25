"""Cutting items into training, validation and test, always from seeds of its own and never by prefix.

Every draw here is label-stratified and uses a local generator, so nothing depends on the global random state.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from fractions import Fraction

from preceptor.data.base import Task
from preceptor.errors import DataError, SplitError
from preceptor.records import Example, content_hash

Parts = Mapping[str, Sequence[Example]]
"""The items by part: `train`, `validation` and `test`."""


def published_parts(
    labels: Mapping[str, str], order: Sequence[str], count: int, generator: random.Random
) -> list[list[str]]:
    """Cut ids into `count` label-stratified parts as the authors of PubMedQA did (repository
    pubmedqa/pubmedqa).

    `labels` is id -> label in the file's order, `order` the order in which the labels are dealt with. Each
    label's ids are shuffled and cut into slices of equal size, rounded up, so that the last part may come out
    short; then one random item of every other part moves over to it. `generator` is used up in exactly that
    sequence, since a second cut has to go on with the state that the first one left.
    """
    parts: list[list[str]] = [[] for _ in range(count)]
    for label in order:
        ids = [item for item, given in labels.items() if given == label]
        generator.shuffle(ids)
        size = math.ceil(len(ids) / count)
        for number, part in enumerate(parts):
            part.extend(ids[number * size : (number + 1) * size])
    if len(parts[-1]) < len(parts[0]):
        for part in parts[:-1]:
            if len(part) > 1:  # always so for the published items; a handful must not leave a part empty
                moved = generator.choice(part)
                part.remove(moved)
                parts[-1].append(moved)
    return parts


def apportion(weights: Mapping[str, int | float], total: int) -> dict[str, int]:
    """Share out `total` in proportion to `weights`, in whole numbers (largest remainder)."""
    exact = {name: Fraction(weight) for name, weight in weights.items()}
    whole = sum(exact.values())
    quota = {name: weight * total / whole if whole else Fraction(0) for name, weight in exact.items()}
    given = {name: math.floor(share) for name, share in quota.items()}
    missing = total - sum(given.values()) if whole else 0
    for name in sorted(quota, key=lambda name: given[name] - quota[name])[:missing]:
        given[name] += 1
    return given


def draw(
    items: Sequence[Example], count: int, seed: int, purpose: str
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Draw `count` items at random, each label in proportion; returns (drawn, rest), both in the given order.

    The draw depends on `seed` and `purpose` alone, so that e.g. the training subset does not follow the test
    subset.
    """
    by_label: dict[str, list[int]] = {}
    for position, item in enumerate(items):
        by_label.setdefault(item.label, []).append(position)
    sizes = apportion({label: len(by_label[label]) for label in sorted(by_label)}, min(count, len(items)))
    generator = random.Random(f"{purpose}-{seed}")
    chosen: set[int] = set()
    for label in sorted(by_label):
        generator.shuffle(by_label[label])
        chosen.update(by_label[label][: sizes[label]])
    drawn = tuple(item for position, item in enumerate(items) if position in chosen)
    rest = tuple(item for position, item in enumerate(items) if position not in chosen)
    return drawn, rest


def seeded_parts(
    items: Sequence[Example], validation_share: float, test_share: float, seed: int, where: str
) -> dict[str, tuple[Example, ...]]:
    """Cut items into `train`, `validation` and `test` by shares of the whole, label-stratified.

    Raises `DataError` naming `where` when a part would be empty.
    """
    if validation_share + test_share >= 1:
        raise DataError(
            f"{where}: the shares {validation_share} and {test_share} leave nothing for training.",
            "Choose data.validation_share and data.test_share that add up to less than 1.",
        )
    test, rest = draw(items, round(len(items) * test_share), seed, "test")
    validation, train = draw(rest, round(len(items) * validation_share), seed, "validation")
    parts = {"train": train, "validation": validation, "test": test}
    empty = [name for name, part in parts.items() if not part]
    if empty:
        raise DataError(
            f"{where}: {len(items)} items are too few to split: the {empty[0]} part would be empty.",
            "Add items, or choose larger shares.",
        )
    return parts


def folded(items: Sequence[Example], labels: Sequence[str], count: int, seed: int) -> list[frozenset[str]]:
    """The ids of `count` label-stratified folds, as `published_parts` cuts them.

    Raises `DataError` when a fold would be empty.
    """
    given = {item.id: item.label for item in items}
    folds = published_parts(given, labels, count, random.Random(f"folds-{seed}"))
    if not all(folds):
        raise DataError(
            f"{len(items)} training and validation items are too few for {count} folds.", "Set sweep.folds lower."
        )
    return [frozenset(fold) for fold in folds]


def limited(parts: Parts, max_train: int | None, max_test: int | None, seed: int) -> dict[str, tuple[Example, ...]]:
    """The parts with at most so many training and test items, drawn with `seed`; the order is kept."""
    result = {name: tuple(part) for name, part in parts.items()}
    for name, most in (("train", max_train), ("test", max_test)):
        if most is not None and most < len(result[name]):
            result[name], _ = draw(result[name], most, seed, f"max_{name}")
    return result


def limit_notes(before: Parts, after: Parts, seed: int) -> tuple[str, ...]:
    """A sentence for each part of which only some items are used."""
    return tuple(
        f"Only {len(after[name])} of {len(before[name])} {words} items are used, drawn with seed {seed}."
        for name, words in (("train", "training"), ("test", "test"))
        if len(after[name]) < len(before[name])
    )


def refuse_shared(
    train: Iterable[str], validation: Iterable[str], test: Iterable[str], train_split: str, split: str
) -> None:
    """Raise `SplitError` with the counts when one split trains or selects on test ids of another."""
    scored = set(test)
    shared = {
        "training": len(scored.intersection(train)),
        "validation": len(scored.intersection(validation)),
    }
    if any(shared.values()):
        raise SplitError(
            f"{shared['training']} training items and {shared['validation']} validation items of the split "
            f"{train_split!r} are test items of the split {split!r}; a score would be worthless.",
            "Set data.train_split and data.split to the same split, or leave data.train_split out.",
        )


def shared_texts(task: Task, parts: Parts) -> tuple[str, ...]:
    """A sentence when test items show the model exactly what a training or validation item shows."""
    seen = {_shown(task, item) for name in ("train", "validation") for item in parts[name]}
    same = sum(_shown(task, item) in seen for item in parts["test"])
    if not same:
        return ()
    return (f"{same} of {len(parts['test'])} test items have the same text as a training or validation item.",)


def missing_labels(task: Task, parts: Parts) -> tuple[str, ...]:
    """A sentence for each label without a training item: no student can learn it."""
    counts = Counter(item.label for item in parts["train"])
    return tuple(f"No training item has the label {label!r}." for label in task.labels if not counts[label])


def _shown(task: Task, item: Example) -> tuple[str, ...]:
    return tuple(" ".join(item.fields[name].split()).casefold() for name in task.inputs)


def identity(task: Task, split: str, parts: Parts) -> str:
    """Hash over the task and all items in order: it changes when a file or a choice changes an item."""
    return content_hash(
        {
            "task": asdict(task),
            "split": split,
            "parts": {
                name: [[item.id, dict(item.fields), item.label, item.human] for item in part]
                for name, part in parts.items()
            },
        }
    )
