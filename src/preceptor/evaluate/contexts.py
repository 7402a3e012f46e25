"""Which items share a context, and so are no independent evidence.

Two questions about one abstract, one clause or one dialogue are easy or hard together. An interval that takes them for
two independent items is too narrow, so `statistics.bootstrap` draws whole contexts where items share one.

The context of an item is its field `group`, where it has one (for `task = "jsonl"`: a key under `[data.own.fields]`,
that need not be an input); else the input that is shortened when a prompt is too long; else the longest input, on
average. Items whose context is the same text, whatever its white space, share it. A context that all items have, such
as one instruction for all, is not counted: it tells nothing apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from preceptor.data.base import Task
from preceptor.records import Example

GROUP = "group"
"""Field that names an item's context."""


def shared_contexts(examples: Sequence[Example], task: Task) -> dict[str, int]:
    """The items that share their context with another item: id -> number of the context. Mostly empty."""
    if not examples:
        return {}
    name = _context_field(examples, task)
    keys = {example.id: " ".join(example.fields.get(name, "").split()) for example in examples}
    counts = Counter(keys.values())
    if len(counts) == 1:
        return {}
    numbers = {key: number for number, key in enumerate(key for key, n in counts.items() if n > 1 and key)}
    return {item: numbers[key] for item, key in keys.items() if key in numbers}


def clusters_of(ids: Sequence[str], shared: Mapping[str, int]) -> list[int] | None:
    """The cluster number of each item, those that share no context having one of their own; None when none does."""
    if not any(item in shared for item in ids):
        return None
    first_own = max(shared.values()) + 1
    return [shared.get(item, first_own + number) for number, item in enumerate(ids)]


def _context_field(examples: Sequence[Example], task: Task) -> str:
    if all(example.fields.get(GROUP, "").strip() for example in examples):
        return GROUP
    if task.shorten is not None:
        return task.shorten
    lengths = {name: fmean(len(example.fields.get(name, "")) for example in examples) for name in task.inputs}
    return max(task.inputs, key=lambda name: lengths[name])
