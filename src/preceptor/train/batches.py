"""From items to batches: what is learnt from each item, and which items go through the model together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from preceptor.config import TrainSettings
from preceptor.data.base import Task, render_all
from preceptor.models.score import encode_target
from preceptor.models.student import Student
from preceptor.records import SAYING_THE_SAME, Example

POOL = 16
"""Batches whose items are sorted by length together: less padding, and still a different order in each pass."""


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """What a teacher thinks of one item."""

    labels: np.ndarray | None = None
    """Its log-likelihood of each label: [labels]."""
    ids: np.ndarray | None = None
    """The likeliest tokens at each position of the target: uint32 [positions, k]."""
    probabilities: np.ndarray | None = None
    """Their probabilities, and last that of all others together: float16 [positions, k + 1]."""


@dataclass(frozen=True, slots=True)
class TrainingItem:
    """One item as token ids."""

    prompt: tuple[int, ...]
    target: tuple[int, ...]
    """What the model must say after the prompt, end-of-text included; empty for an encoder."""
    label: int = -1
    """Index of the label; -1 where there are none."""
    weight: float = 1.0
    """How much its loss counts."""
    source: str = ""
    """Where a mixture has it from."""
    family: str = ""
    """The real item that it is or that it rewrites: items of one family say the same."""
    rationale: TrainingItem | None = None
    """The same item with its explanation as the target, where that is learnt too."""
    taught: Taught | None = field(default=None, compare=False)
    """Where a student learns from a teacher's distribution."""

    @property
    def length(self) -> int:
        """Tokens that go through the model: the last target token is only predicted, never read."""
        return len(self.prompt) + max(len(self.target) - 1, 0)


@dataclass(frozen=True, slots=True)
class MadeItems:
    """Examples as token ids, and how many of them were too long."""

    items: list[TrainingItem]
    cut: int
    """Examples of which the start of the field that may be shortened was left out."""


def make_items(student: Student, task: Task, examples: Sequence[Example]) -> list[TrainingItem]:
    """Render and tokenise examples for training, by the same door as evaluation."""
    return fitted_items(student, task, examples).items


def fitted_items(student: Student, task: Task, examples: Sequence[Example]) -> MadeItems:
    """The same with the number of examples that were shortened to fit."""
    rendered = render_all(task, examples, student.length, student.limit)
    prompts = student.encode(rendered.prompts)
    end = [student.loaded.tokenizer.eos_token_id] if student.head == "causal" else []
    targets = {
        label: tuple(encode_target(student.loaded.tokenizer, task.target(label)) + end) if end else ()
        for label in task.labels
    }
    items = [
        TrainingItem(
            tuple(prompt),
            targets[example.label],
            task.labels.index(example.label),
            example.weight,
            family=family_of(example),
        )
        for prompt, example in zip(prompts, examples, strict=True)
    ]
    return MadeItems(items, rendered.cut)


def family_of(example: Example) -> str:
    """The id of the real item that an example is or rewrites.

    A new question is no rewrite of the item it was made from, nor is a rewrite whose label a filter changed.
    """
    rewritten = example.origin in SAYING_THE_SAME and example.parents and example.relabelled_from is None
    return example.parents[0] if rewritten else example.id


def evened(items: Sequence[TrainingItem]) -> list[TrainingItem]:
    """The items with their weights scaled to a mean of 1, so that weights move attention between items and leave the
    size of the steps alone. Where all weights are 1 they stay exactly 1.
    """
    mean = sum(item.weight for item in items) / max(len(items), 1)
    return [replace(item, weight=item.weight / mean) for item in items]


def one_pass(
    items: Sequence[TrainingItem], settings: TrainSettings, seed: int, number: int
) -> list[list[TrainingItem]]:
    """Batches of one pass over the items, each item once, in an order fixed by `seed` and the pass's `number`."""
    generator = np.random.default_rng([seed, number])
    order = generator.permutation(len(items))
    batches: list[list[TrainingItem]] = []
    pool = POOL * settings.batch_size
    for start in range(0, len(order), pool):
        chunk = sorted((items[i] for i in order[start : start + pool]), key=lambda item: item.length)
        batches.extend(cut(chunk, settings))
    return [batches[i] for i in generator.permutation(len(batches))]


def mixed_pass(
    items: Sequence[TrainingItem], settings: TrainSettings, seed: int, number: int
) -> list[list[TrainingItem]]:
    """Batches of one pass for the contrastive objective, each item once, in an order fixed by `seed` and `number`.

    An item needs positives and several negatives in its batch. In each pool of `POOL` batches the items are paired, a
    rewrite with its parent first, then by label; pairs go one by one to the batch that has the fewest of their label.
    So every item has a positive where its pool holds one, and a batch has as many labels as can be. What this costs is
    padding: batches are not of similar length.
    """
    generator = np.random.default_rng([seed, number])
    families: dict[object, list[TrainingItem]] = defaultdict(list)
    for place, item in enumerate(items):
        families[item.family or place].append(item)
    groups = list(families.values())
    order = [item for i in generator.permutation(len(groups)) for item in groups[i]]
    batches: list[list[TrainingItem]] = []
    for pool in _in_parts(order, POOL * settings.batch_size):
        batches.extend(_mixed(pool, settings.batch_size))
    return [batches[i] for i in generator.permutation(len(batches))]


def _mixed(pool: Sequence[TrainingItem], size: int) -> list[list[TrainingItem]]:
    batches: list[list[TrainingItem]] = [[] for _ in range(-(-len(pool) // size))]
    held = [Counter[int]() for _ in batches]
    todo = sorted(_pairs(pool), key=lambda unit: (-len(unit), unit[0].label))
    while todo:
        unit = todo.pop(0)
        room = [i for i, batch in enumerate(batches) if len(batch) + len(unit) <= size]
        if not room:  # batches of odd size end with one place each
            todo += [[item] for item in unit]
            continue
        chosen = min(room, key=lambda i: (held[i][unit[0].label], len(batches[i])))
        batches[chosen] += unit
        held[chosen].update(item.label for item in unit)
    return batches


def _pairs(pool: Sequence[TrainingItem]) -> Iterator[list[TrainingItem]]:
    """Each item once: pairs of a family, then pairs of a label, then what is left alone."""
    families: dict[object, list[TrainingItem]] = defaultdict(list)
    labels: dict[int, list[TrainingItem]] = defaultdict(list)
    for place, item in enumerate(pool):
        families[item.family or place].append(item)
    for family in families.values():
        for unit in _in_parts(family, 2):
            if len(unit) == 2:
                yield unit
            else:
                labels[unit[0].label].append(unit[0])
    for alike in labels.values():
        yield from _in_parts(alike, 2)


def _in_parts(items: Sequence[TrainingItem], size: int) -> Iterator[list[TrainingItem]]:
    for start in range(0, len(items), size):
        yield list(items[start : start + size])


def cut(chunk: Sequence[TrainingItem], settings: TrainSettings) -> Iterator[list[TrainingItem]]:
    """Batches of items that are sorted by length, within the size and the tokens that the settings allow."""
    batch: list[TrainingItem] = []
    for item in chunk:  # ascending: the newest is the longest
        full = len(batch) == settings.batch_size
        heavy = settings.batch_tokens is not None and (len(batch) + 1) * item.length > settings.batch_tokens
        if batch and (full or heavy):
            yield batch
            batch = []
        batch.append(item)
    if batch:
        yield batch


def stream(items: Sequence[TrainingItem], settings: TrainSettings, seed: int) -> Iterator[list[TrainingItem]]:
    """Batches without end: pass after pass."""
    order = mixed_pass if settings.objectives.contrastive else one_pass
    number = 0
    while True:
        yield from order(items, settings, seed, number)
        number += 1


def count_steps(real: Sequence[TrainingItem], settings: TrainSettings) -> int:
    """Optimiser steps for every arm: fixed by the real items alone, so that all arms get the same number."""
    if settings.steps is not None:
        return settings.steps
    batches = len(one_pass(real, settings, seed=0, number=0))
    return max(1, round(settings.epochs * batches / settings.accumulation))
