"""Drops what says again, in nearly the same words, what is there already.

Reason: rouge_l. This is the test of Self-Instruct (Wang et al. 2023, section 2.2): a new instruction stays when its
ROUGE-L with every kept one is below 0.7. `Novelty` is the pool of kept texts, for whoever writes one after another.

What it cannot see: the same request in other words, and other scripts, since ROUGE counts runs of a-z and 0-9 only.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from preceptor.config import NoveltySettings
from preceptor.filter.base import FilterContext
from preceptor.filter.rouge import Alphabet, Stem, common_words, f_measure, rouge_words
from preceptor.records import KEEP, Example, Verdict, drop

_FIRST_LOOK = 32
"""How many of the most promising texts are compared before the rest is judged by what was found."""

_ROUNDING = 1e-9
"""More than floating point can be off in a quotient of two numbers of words, less than any two of them differ by."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The text of the pool that is nearest to a given one."""

    f: float
    """ROUGE-L F-measure, in 0..1."""
    index: int
    """Its number in the pool, from 0 in the order of adding."""
    text: str
    """The text itself."""


class Novelty:
    """A growing pool of texts that is asked for the one with the highest ROUGE-L F to a new text.

        pool = Novelty(0.7)
        pool.extend(seeds)
        for text in candidates:
            if pool.too_close(text) is None:
                pool.add(text)

    Answers are exact. Few texts are compared at all: the words that two texts share, however ordered, bound their
    common subsequence, and an inverted index counts them for the whole pool at once. `stem` as in `rouge_words`;
    without it words are compared as they are, which is also the default of `rouge_score`.
    """

    def __init__(self, bound: float = 0.7, stem: Stem | None = None) -> None:
        self.bound = bound
        self._stem = stem
        self._alphabet = Alphabet()
        self._texts: list[str] = []
        self._spelled: list[str] = []
        self._lengths = array("i")
        self._withdrawn = 0
        self._having: dict[str, array[int]] = {}
        """A word's n-th occurrence in a text, see `_occurrences` -> numbers of the texts that have it."""

    def __len__(self) -> int:
        return len(self._texts) - self._withdrawn

    def add(self, text: str) -> int:
        """Put a text into the pool, whatever it is near to; returns its number."""
        number = len(self._texts)
        spelled = self._alphabet.spell(rouge_words(text, self._stem))
        self._texts.append(text)
        self._spelled.append(spelled)
        self._lengths.append(len(spelled))
        for occurrence in _occurrences(spelled):
            self._having.setdefault(occurrence, array("i")).append(number)
        return number

    def withdraw(self, number: int) -> None:
        """Take the text of this number out again, which must be in the pool; the others keep their numbers."""
        for occurrence in _occurrences(self._spelled[number]):
            self._having[occurrence].remove(number)
        self._withdrawn += 1

    def extend(self, texts: Iterable[str]) -> None:
        """Add several texts."""
        for text in texts:
            self.add(text)

    def nearest(self, text: str) -> Neighbour | None:
        """The text with the highest F, the first of several; None when the pool is empty."""
        if not self._texts:
            return None
        return self._search(text, -1.0) or Neighbour(0.0, 0, self._texts[0])

    def too_close(self, text: str) -> Neighbour | None:
        """As `nearest`, if its F is above `bound`, else None: faster, since most of the pool cannot be so near."""
        return self._search(text, self.bound)

    def _search(self, text: str, above: float) -> Neighbour | None:
        """The nearest text that shares a word, if its F is above `above`."""
        spelled = self._alphabet.spell_known(rouge_words(text, self._stem))
        having = [np.frombuffer(found, np.intc) for o in _occurrences(spelled) if (found := self._having.get(o))]
        if not having:
            return None
        shared = np.bincount(np.concatenate(having), minlength=len(self._texts))
        # F = 2 * common / (words of one + words of the other), and common <= shared.
        limits = 2 * shared / (np.frombuffer(self._lengths, np.intc) + len(spelled))
        open_ = np.flatnonzero((limits > above - _ROUNDING) & (shared > 0))
        if len(open_) > _FIRST_LOOK:
            split = np.argpartition(limits[open_], -_FIRST_LOOK)
            first, rest = open_[split[-_FIRST_LOOK:]], open_[split[:-_FIRST_LOOK]]
            best = self._best(spelled, first)
            rest = rest[limits[rest] >= max(best[0], above) - _ROUNDING]
            best = max(best, self._best(spelled, rest))
        else:
            best = self._best(spelled, open_)
        f, number = best[0], -best[1]
        return Neighbour(f, number, self._texts[number]) if f > above else None

    def _best(self, spelled: str, numbers: npt.NDArray[np.intp]) -> tuple[float, int]:
        """The highest F to the texts of these numbers, and minus the first number that has it."""
        if not len(numbers):
            return -1.0, 0
        common = common_words([spelled], [self._spelled[i] for i in numbers.tolist()])[0]
        scores = f_measure(common, len(spelled), np.frombuffer(self._lengths, np.intc)[numbers])
        highest = scores.max()
        return float(highest), -int(numbers[scores == highest].min())


class NoveltyFilter:
    """The first of several stays; a candidate that goes drops nobody.

    `rouge_l`: the F-measure to the text of a kept candidate or, with `real`, of a training item is above `max_f`.
    Compared are the fields that the recipe names, joined; without names the questions among the inputs, or all
    inputs where none is a question.
    """

    name = "novelty"

    def __init__(self, settings: NoveltySettings) -> None:
        self._settings = settings

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        inputs = context.task.inputs
        fields = self._settings.fields or tuple(name for name in inputs if name in context.questions) or inputs
        pool, called = Novelty(self._settings.max_f), []
        verdicts = []
        if self._settings.real:
            for item in context.parents.values():
                pool.add(_joined(item, fields))
                called.append(f"training item {item.id}")
        for candidate in candidates:
            text = _joined(candidate, fields)
            near = pool.too_close(text)
            if near is None:
                pool.add(text)
                called.append(f"candidate {candidate.id}")
                verdicts.append(KEEP)
            else:
                verdicts.append(drop("rouge_l", f"ROUGE-L F {near.f:.4f} to {called[near.index]}"))
        return verdicts


def _joined(item: Example, fields: Sequence[str]) -> str:
    return " ".join(item.fields.get(name, "") for name in fields)


def _occurrences(spelled: str) -> list[str]:
    """Each character, from its second occurrence on together with a count: "aba" gives "a", "b", "a" and 2.

    Two texts share as many of these as they share words, each word counted as often as both have it.
    """
    if len(set(spelled)) == len(spelled):
        return list(spelled)
    seen: dict[str, int] = {}
    found = []
    for letter in spelled:
        count = seen[letter] = seen.get(letter, 0) + 1
        found.append(letter if count == 1 else letter + chr(count))
    return found
