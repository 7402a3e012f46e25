"""What a filter is, what it may look at, and how filters follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from preceptor.data.base import Task
from preceptor.filter.labels import Labeller
from preceptor.filter.rubric import Compare
from preceptor.models.embed import Embedding
from preceptor.records import Example, Verdict


@dataclass(frozen=True)
class FilterContext:
    """What the filters of one setting know besides the candidates."""

    task: Task
    parents: Mapping[str, Example]
    """The real training items by id."""
    held_out: Sequence[Example]
    """Validation and test items: nothing of theirs may reach the training data."""
    embed: Embedding
    """Sentence embeddings, usually an `Embedder`; called only when a filter needs one."""
    label: Labeller | None = None
    """Says what label an example should have; only `agreement` asks it."""
    compare: Compare | None = None
    """Scores examples beside their parents; only `judge` asks it."""

    @cached_property
    def held_out_by_id(self) -> dict[str, Example]:
        """The held-out items by id."""
        return {item.id: item for item in self.held_out}

    @cached_property
    def questions(self) -> frozenset[str]:
        """Fields that are questions here: at least half of the training items' texts end with "?"."""
        counts: dict[str, int] = {}
        for item in self.parents.values():
            for name, text in item.fields.items():
                counts[name] = counts.get(name, 0) + ends_as_question(text)
        return frozenset(name for name, n in counts.items() if 2 * n >= len(self.parents) and n)

    def parent_of(self, example: Example) -> Example | None:
        """The first parent that is known, in training or held out; `leakage` drops children of the latter."""
        for parent in example.parents:
            found = self.parents.get(parent) or self.held_out_by_id.get(parent)
            if found is not None:
                return found
        return None


class Filter(Protocol):
    """Judges generated examples. `name` is the word used in recipes and reports."""

    name: str

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """A candidate that a filter removed."""

    example: Example
    filter: str
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ChainResult:
    """What became of all candidates: `len(kept) + len(dropped)` is their number."""

    kept: list[Example]
    """In the order of the candidates, with the labels and weights that filters gave them."""
    dropped: list[Dropped]
    """By filter in the order of the chain, then in the order of the candidates."""
    counts: dict[str, dict[str, int]]
    """Filter -> reason -> number dropped. Every filter of the chain has an entry, if only an empty one."""
    remarked: dict[str, int]
    """Filter -> number of candidates that it kept with a remark (`Verdict.detail`), e.g. a similarity that
    the real parent already has. A later filter may still have dropped them."""


def run_chain(filters: Sequence[Filter], candidates: Sequence[Example], context: FilterContext) -> ChainResult:
    """Pass the candidates through the filters; each sees only what the earlier ones kept."""
    kept = list(candidates)
    dropped: list[Dropped] = []
    counts: dict[str, dict[str, int]] = {}
    remarked: dict[str, int] = {}
    for step in filters:
        reasons = counts.setdefault(step.name, {})
        remarked.setdefault(step.name, 0)
        staying: list[Example] = []
        for example, verdict in zip(kept, step.judge(kept, context), strict=True):
            if verdict.kept:
                staying.append(verdict.example or example)
                remarked[step.name] += bool(verdict.detail)
            else:
                dropped.append(Dropped(example, step.name, verdict))
                reasons[verdict.reason] = reasons.get(verdict.reason, 0) + 1
        kept = staying
    return ChainResult(kept, dropped, counts, remarked)


def changed_fields(example: Example, parent: Example | None) -> tuple[str, ...]:
    """Names of the fields that are not simply the parent's.

    Those that the example's source names, then any other that differs from the parent: what a generator says
    about its own work is not relied on. Without a source and a parent: all fields.
    """
    named = example.source.changed if example.source else ()
    if parent is None:
        others = () if named else tuple(example.fields)
    else:
        others = tuple(name for name, text in example.fields.items() if text != parent.fields.get(name))
    return tuple(dict.fromkeys((*named, *others)))


def ends_as_question(text: str) -> bool:
    """Whether a text ends with a question mark, closing quotes and brackets aside."""
    return text.rstrip().rstrip("\"'”’»)]").rstrip().endswith(("?", "？", "؟"))
