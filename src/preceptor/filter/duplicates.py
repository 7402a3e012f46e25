"""Drops what the student would read twice.

Reasons: exact, near. Compared is all that the student reads, field by field: the same question about another
context is another item, and a reworded answer that the student never reads does not make a new one.

Which pairs are near is computed, for the pairs that `pieces` finds: all that can be near, and few others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from operator import itemgetter

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein

from preceptor.config import DuplicateSettings
from preceptor.filter.base import FilterContext
from preceptor.filter.pieces import ROUNDING, Columns, Pairs, blocks, make_index
from preceptor.filter.text import normalised
from preceptor.records import KEEP, Example, Verdict, drop

Texts = tuple[str, ...]
"""An item's input fields in normal form."""


class Duplicates:
    """The first of several stays.

    `exact`: in normal form, all input fields equal those of a training item or of an earlier candidate that
    stayed. `near`: each of them has at least the normalised edit similarity `max_similarity` to theirs.

    The own parent is a training item like any other: a rewrite must differ from it by more than this filter's
    bound as well as by drift's.
    """

    name = "duplicates"

    def __init__(self, settings: DuplicateSettings) -> None:
        self._bound = settings.max_similarity

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        pool = [*context.parents.values(), *candidates]
        texts = [tuple(normalised(item.fields.get(name, "")) for name in context.task.inputs) for item in pool]
        real = len(context.parents)
        # From here on equal texts are one; `first` has the first item of each.
        first: dict[Texts, int] = {}
        for index, text in enumerate(texts):
            first.setdefault(text, index)
        numbers = {text: number for number, text in enumerate(first)}
        places = list(first.values())
        near = near_earlier(list(first), self._bound, sum(place < real for place in places))
        verdicts = []
        for index, candidate in enumerate(candidates, start=real):
            text = texts[index]
            hit = near.get(numbers[text])
            if hit:
                called = _called(pool, places[hit[0]], real, candidate)
                verdicts.append(drop("near", f"edit similarity {hit[1]:.4f} to {called}"))
            elif first[text] < index:
                verdicts.append(drop("exact", f"same input as {_called(pool, first[text], real, candidate)}"))
            else:
                verdicts.append(KEEP)
        return verdicts


def near_earlier(texts: Sequence[Texts], bound: float, start: int = 0) -> dict[int, tuple[int, float]]:
    """Which of different items to drop because an earlier one that stays is near.

    Returns number -> number of the first item that stays and is near, and the lowest similarity over the fields.
    The items before `start` stay in any case. Near: normalised edit similarity of `bound` or more in every field.
    """
    # The shortest field first: most pairs end there, and the long ones are compared for the rest only.
    columns = sorted(([*column] for column in zip(*texts, strict=True)), key=lambda column: sum(map(len, column)))
    if len(texts) == start:
        return {}
    make = make_index(columns, bound)
    stored, dropped = make(), dict[int, tuple[int, float]]()
    stored.store(np.arange(start))
    for block in blocks(columns, start):
        # Against what stays, then the rest of the block among themselves: of very many near ones, few are compared.
        for found, asked, share in _near(stored.ask(block), columns, bound):
            dropped[asked] = min(dropped.get(asked, (found, share)), (found, share))
        rest = np.array([item for item in block.tolist() if item not in dropped], dtype=np.int64)
        own = make()
        own.store(rest)
        earlier = (Pairs(*(side[pairs.found < pairs.asked] for side in pairs)) for pairs in own.ask(rest))
        for found, asked, share in sorted(_near(earlier, columns, bound), key=itemgetter(1, 0)):
            if asked not in dropped and found not in dropped:
                dropped[asked] = (found, share)
        stored.take(own, np.array([item for item in rest.tolist() if item not in dropped], dtype=np.int64))
    return dropped


def _near(pairs: Iterable[Pairs], columns: Columns, bound: float) -> Iterator[tuple[int, int, float]]:
    """Those of the pairs that are near in every field, each with its lowest similarity."""
    for found, asked in pairs:
        lowest = np.ones(len(found))
        for column in columns:
            shares = process.cpdist(
                [column[i] for i in found.tolist()],
                [column[i] for i in asked.tolist()],
                scorer=Levenshtein.normalized_similarity,
                score_cutoff=bound - ROUNDING,
                dtype=np.float64,
            )
            stay = shares >= bound
            found, asked, lowest = found[stay], asked[stay], np.minimum(lowest, shares)[stay]
        yield from zip(found.tolist(), asked.tolist(), lowest.tolist(), strict=True)


def _called(pool: Sequence[Example], index: int, real: int, candidate: Example) -> str:
    other = pool[index]
    label = "" if candidate.label == other.label else f", which is labelled {other.label}"
    return f"{'training item' if index < real else 'candidate'} {other.id}{label}"
