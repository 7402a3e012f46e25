"""From items to batches: what is learnt from each item, and which items go through the model together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from preceptor.config import TrainSettings
from preceptor.data.base import Task, render_all
from preceptor.models.score import encode_target
from preceptor.models.student import Student
from preceptor.records import Example

POOL = 16
"""Batches whose items are sorted by length together: less padding, and still a different order in each pass."""


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
        TrainingItem(tuple(prompt), targets[example.label], task.labels.index(example.label), example.weight)
        for prompt, example in zip(prompts, examples, strict=True)
    ]
    return MadeItems(items, rendered.cut)


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
    number = 0
    while True:
        yield from one_pass(items, settings, seed, number)
        number += 1


def count_steps(real: Sequence[TrainingItem], settings: TrainSettings) -> int:
    """Optimiser steps for every arm: fixed by the real items alone, so that all arms get the same number."""
    if settings.steps is not None:
        return settings.steps
    batches = len(one_pass(real, settings, seed=0, number=0))
    return max(1, round(settings.epochs * batches / settings.accumulation))
