"""Made-up documents and instructions from a seeded generator, for benches and long tests: no data is needed.

They are hard in the way real text is: words follow a Zipf law, sentences share long phrases, and many documents
differ only in what fills the gaps of the same sentences.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

PHRASES = (
    "the ward kept a list of {} and {} over {} weeks",
    "after {} visits the {} of each {} was written down by hand",
    "we asked whether {} helps people who live with {}",
    "there was no clear difference between {} and {} at the end of the season",
    "{} and {} were compared in {} villages along the river",
    "a nurse measured {} twice a day with a {} made of {}",
    "most of them said that {} came before {}",
    "the aim was to find out how often {} follows {} in older {}",
    "half of the group received {} while the others waited for {}",
    "it is not known why {} should change the {} of a {}",
    "records of {} patients were read by two people who did not know about {}",
    "in the second year {} rose from {} to {} per hundred",
    "those with {} more often had {} than those with {} and without {}",
    "the results speak for {} as a first step before {} is tried",
    "{} {} {} were left out because their {} could not be read",
    "by {} all but a few {} had returned to {} without further {}",
)
"""Sentences with gaps."""

SYLLABLES = re.findall("..", "babebodadefafegigohahijokakelalomaminopapequirarisasetatou")
KINDS = 20_000
"""Different words that fill gaps."""


@dataclass(frozen=True)
class Documents:
    """Texts, and which of them were made from which."""

    texts: list[str]
    source: dict[int, int]
    """Number of a planted duplicate -> number of the text it was made from, which comes earlier."""


class Writer:
    """Writes documents; the same seed writes the same ones."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < KINDS:
            words["".join(self._rng.choices(SYLLABLES, k=self._rng.choice((1, 2, 2, 3, 3, 4))))] = None
        self._words = list(words)
        self._weights = [0.0]
        for rank in range(1, KINDS + 1):
            self._weights.append(self._weights[-1] + 1 / rank)
        del self._weights[0]

    def fillers(self, count: int) -> list[str]:
        """Words, frequent ones frequently."""
        return self._rng.choices(self._words, cum_weights=self._weights, k=count)

    def document(self, least: int = 20, most: int = 60) -> str:
        """Sentences of `least` to `most` words in all."""
        length = self._rng.randint(least, most)
        words: list[str] = []
        while len(words) < length:
            phrase = self._rng.choice(PHRASES)
            words += f"{phrase.format(*self.fillers(phrase.count('{}')))}.".split()
        return " ".join(words[:length])

    def changed(self, text: str, edits: int) -> str:
        """The text after so many edits of single letters, blanks left alone."""
        letters = list(text)
        for _ in range(edits):
            place = self._rng.choice([i for i, letter in enumerate(letters) if letter.isalpha()])
            letter = self._rng.choice("abcdefghijklmnoprstuvw")
            match self._rng.randrange(3):
                case 0:
                    letters[place] = letter
                case 1:
                    letters.insert(place, letter)
                case _:
                    del letters[place]
        return "".join(letters)

    def documents(self, count: int, share: float = 0.1, similarity: float = 0.95) -> Documents:
        """`count` documents, of which `share` were planted: earlier ones with as many edits as keep `similarity`.

        Edits are made in letters only, so that the normal form keeps them; half of the planted ones have one edit,
        half as many as the similarity allows.
        """
        texts: list[str] = []
        source: dict[int, int] = {}
        while len(texts) < count:
            if texts and self._rng.random() < share:
                earlier = self._rng.randrange(len(texts))
                original = source.get(earlier, earlier)
                allowed = int((1 - similarity) * (len(texts[original]) - 12))
                source[len(texts)] = original
                texts.append(self.changed(texts[original], self._rng.choice((1, max(allowed, 1)))))
            else:
                texts.append(self.document())
        return Documents(texts, source)
