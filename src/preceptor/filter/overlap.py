"""How much of what is rare in one text another text has: what light edits and translations leave of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import log

import numpy as np
import numpy.typing as npt

from preceptor.filter.numbers import in_digits
from preceptor.filter.text import words

PRIOR = 15.0
"""Added to a text's weight, in rare features, so that a short text must be shared in larger part than a long one.

Without it short dialogues ("Do you smoke?" "No.") are as good as equal to one another. Fixed with `SHARE` in
leakage.py on the development half named there; 10 and 20 do the same within two points.
"""

COMMON = 0.1
"""Features rarer than this count; the others cost time and weigh next to nothing."""

STEM = 6
"""Letters of a word that count, so that "compared" and "compare" are one: endings are what translators change."""

Feature = str | tuple[str, str]

Shares = npt.NDArray[np.float64]


def features(text: str) -> set[Feature]:
    """The beginnings of the words of a text, numbers in digits, and the pairs of neighbours."""
    stems = [word[:STEM] for word in words(in_digits(text))]
    return {*stems, *pairwise(stems)}


class Overlap:
    """Compares texts with a fixed list of known texts.

    A feature weighs 1 when one item or none has it and falls with the logarithm of the number of items to 0 when
    all have it (inverse document frequency, Spärck Jones 1972, scaled by its largest value).
    """

    def __init__(self, known: Sequence[str], items: Iterable[Iterable[str]]) -> None:
        """`known` are the texts to compare with; `items` are the texts of each item among which rarity is counted."""
        counts: Counter[Feature] = Counter()
        total = 0
        for texts in items:
            counts.update(set[Feature]().union(*(features(text) for text in texts)))
            total += 1
        self._counts, self._total = counts, total
        self._places: dict[Feature, list[int]] = {}
        self._weights = np.zeros(len(known))
        for place, text in enumerate(known):
            for feature in features(text):
                if (rarity := self.rarity(feature)) > COMMON:
                    self._places.setdefault(feature, []).append(place)
                    self._weights[place] += rarity

    def rarity(self, feature: Feature) -> float:
        """0 (all items have it) to 1 (at most one has it)."""
        count = self._counts[feature]
        return 1.0 if count <= 1 else log((self._total + 1) / (count + 1)) / log((self._total + 1) / 2)

    def shares(self, text: str) -> Shares:
        """[known] shared weight over the geometric mean of both texts' weights plus `PRIOR`; 0 to below 1."""
        weight, places, rarities = 0.0, [], []
        for feature in features(text):
            rarity = self.rarity(feature)
            if rarity > COMMON:
                weight += rarity
                if (found := self._places.get(feature)) is not None:
                    places += found
                    rarities += [rarity] * len(found)
        shared = np.bincount(np.array(places, dtype=np.int64), weights=rarities, minlength=len(self._weights))
        return shared / (np.sqrt(weight * self._weights) + PRIOR)
