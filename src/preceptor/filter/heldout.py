"""The texts of validation and test items, indexed so that a candidate's text is compared with all of them at once."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from preceptor.filter.base import FilterContext
from preceptor.filter.overlap import Floats, Overlap, Rarity, plain
from preceptor.filter.text import Run, runs

SHORTEST = 4
"""A held-out text shorter than the n-gram counts as a whole; with fewer words it says nothing ("yes")."""

# A number or code that hardly stands in a text by chance: "31415926", "PMC28991". Line numbers are too short.
_DOCUMENT = re.compile(r"\b(?=[^\W_]*\d)[^\W_]{6,}\b")


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """One field of a held-out item."""

    item: str
    """The item's id."""
    field: str
    text: str
    tokens: tuple[str, ...]
    """Its words, numbers in digits."""


@dataclass(frozen=True, slots=True)
class Shared:
    """What a candidate's text and one held-out text have word for word in common."""

    text: HeldOutText
    place: int
    """Index of the text in `HeldOut.texts`."""
    weight: float
    """Sum of the rarities of the different words in the shared runs."""
    example: str
    """The first shared run."""


class HeldOut:
    """All held-out texts against what the training items have anyway, which is no leak."""

    def __init__(self, context: FilterContext, ngram: int) -> None:
        self._ngram = ngram
        held = [
            [HeldOutText(item.id, name, text, plain(text)) for name, text in item.fields.items()]
            for item in context.held_out
        ]
        known = [[plain(text) for text in item.fields.values()] for item in context.parents.values()]
        self.texts = [text for texts in held for text in texts]
        self.rarity = Rarity([*([text.tokens for text in texts] for texts in held), *known])
        self.known = frozenset(tokens for texts in known for tokens in texts)
        """The training items' texts, as tokens."""
        self._documents = _documents(item.id for item in context.held_out) - _documents(
            part for item in context.parents.values() for part in (item.id, *item.fields.values())
        )
        self._runs = self._index()

    def document(self, text: str) -> str:
        """The id of a held-out item that stands in a text or id; empty if there is none, or it says too little."""
        return min(_documents([text]) & self._documents, default="")

    def same(self, tokens: tuple[str, ...]) -> HeldOutText | None:
        """The held-out text with exactly these words."""
        return self._whole.get(tokens)

    def shared(self, tokens: Sequence[str]) -> list[Shared]:
        """The held-out texts with which these words share runs, the most shared first.

        A run is as long as the n-gram, or a whole held-out text that is shorter.
        """
        words: dict[int, set[str]] = defaultdict(set)
        first: dict[int, Run] = {}
        for size in self._sizes:
            for run in runs(tokens, size):
                for place in self._runs.get(run, ()):
                    words[place].update(run)
                    first.setdefault(place, run)
        found = [Shared(self.texts[p], p, self.rarity.total(words[p]), " ".join(first[p])) for p in words]
        return sorted(found, key=lambda one: (-one.weight, one.place))

    @cached_property
    def weights(self) -> list[float]:
        """For each text, the sum of the rarities of its different words."""
        return [self.rarity.total(text.tokens) for text in self.texts]

    def overlaps(self, tokens: Sequence[str]) -> Floats:
        """[texts] how much of what is rare in them these words have (`Overlap.shares`)."""
        return self._overlap.shares(tokens)

    @cached_property
    def _overlap(self) -> Overlap:
        return Overlap([text.tokens for text in self.texts], self.rarity)

    @cached_property
    def _whole(self) -> dict[tuple[str, ...], HeldOutText]:
        long = (text for text in self.texts if len(text.tokens) >= SHORTEST and text.tokens not in self.known)
        return {text.tokens: text for text in long}

    def _index(self) -> dict[Run, list[int]]:
        """Places of the texts that have a run, for the runs that no training item has."""
        found: dict[Run, list[int]] = defaultdict(list)
        for place, text in enumerate(self.texts):
            size = min(self._ngram, len(text.tokens))
            if size >= min(SHORTEST, self._ngram):
                for run in dict.fromkeys(runs(text.tokens, size)):
                    found[run].append(place)
        self._sizes = sorted({len(run) for run in found}, reverse=True)
        for tokens in self.known:
            for size in self._sizes:
                for run in runs(tokens, size):
                    found.pop(run, None)
        return dict(found)


def _documents(texts: Iterable[str]) -> set[str]:
    return {found for text in texts for found in _DOCUMENT.findall(text)}
