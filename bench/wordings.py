"""Made-up documents and instructions from a seeded generator, for benches and long tests: no data is needed.

They are hard in the way real text is: words follow a Zipf law, sentences share long phrases, and many documents
differ only in what fills the gaps of the same sentences.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
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
        self.rng = random.Random(seed)
        words: dict[str, None] = {}
        while len(words) < KINDS:
            words["".join(self.rng.choices(SYLLABLES, k=self.rng.choice((1, 2, 2, 3, 3, 4))))] = None
        self._words = list(words)
        self._weights = [0.0]
        for rank in range(1, KINDS + 1):
            self._weights.append(self._weights[-1] + 1 / rank)
        del self._weights[0]

    def fillers(self, count: int) -> list[str]:
        """Words, frequent ones frequently."""
        return self.rng.choices(self._words, cum_weights=self._weights, k=count)

    def document(self, least: int = 20, most: int = 60) -> str:
        """Sentences of `least` to `most` words in all."""
        length = self.rng.randint(least, most)
        words: list[str] = []
        while len(words) < length:
            phrase = self.rng.choice(PHRASES)
            words += f"{phrase.format(*self.fillers(phrase.count('{}')))}.".split()
        return " ".join(words[:length])

    def changed(self, text: str, edits: int) -> str:
        """The text after so many edits of single letters, blanks left alone."""
        letters = list(text)
        for _ in range(edits):
            place = self.rng.choice([i for i, letter in enumerate(letters) if letter.isalpha()])
            letter = self.rng.choice("abcdefghijklmnoprstuvw")
            match self.rng.randrange(3):
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
            if texts and self.rng.random() < share:
                earlier = self.rng.randrange(len(texts))
                original = source.get(earlier, earlier)
                allowed = int((1 - similarity) * (len(texts[original]) - 12))
                source[len(texts)] = original
                texts.append(self.changed(texts[original], self.rng.choice((1, max(allowed, 1)))))
            else:
                texts.append(self.document())
        return Documents(texts, source)

    def plant(self, texts: Sequence[str], similarity: float = 0.95) -> tuple[list[str], dict[int, int]]:
        """The texts, and after them every tenth once more with nearly as many edits as the similarity allows."""
        changed = [self.changed(text, max(int((1 - similarity) * (len(text) - 30)), 1)) for text in texts[::10]]
        return [*texts, *changed], {len(texts) + n: 10 * n for n in range(len(changed))}


ASKS = (
    "write a short note about {} for people who have never heard of {}",
    "explain in two sentences why {} matters when somebody plans {}",
    "list five things that {} and {} have in common",
    "given a paragraph about {}, find every mention of {} and say what it means",
    "translate the following lines about {} into plain words",
    "sort these names of {} by how often they occur together with {}",
    "is it wise to choose {} over {} on a rainy day? answer yes or no",
    "suggest a name for a shop that sells {}",
    "turn the notes below into a letter to a neighbour who keeps asking about {}",
    "which of the two plans takes less {} and which one takes less {}",
    "correct the mistakes in this recipe for {} and leave everything else as it is",
    "make a table with one row for each {} and a column for its {}",
    "describe the smell of {} without using the word {}",
    "compare how {} is done in the mountains with how {} is done at the coast",
)
TAILS = (
    "keep it below {} words",
    "give one example with {}",
    "do not mention {}",
    "end with a question about {}",
    "use the tone of a {}",
    "number the steps and mark those that need {}",
    "assume that the reader owns no {}",
)


def instructions(writer: Writer, count: int) -> list[str]:
    """Instructions as a teacher writes them one after another: many are earlier ones with a few words changed."""
    rng, made = writer.rng, list[str]()
    while len(made) < count:
        if made and rng.random() < 0.4:
            words = rng.choice(made).split()
            rate = rng.choice((0.1, 0.2, 0.4, 0.6))
            made.append(" ".join(writer.fillers(1)[0] if rng.random() < rate else word for word in words))
        else:
            frames = [rng.choice(ASKS), *rng.sample(TAILS, rng.choice((0, 0, 0, 1, 1, 3)))]
            made.append(". ".join(frame.format(*_gaps(writer, frame.count("{}"))) for frame in frames))
    return made


def with_close_ones(texts: Sequence[str], count: int) -> list[str]:
    """So many of the texts, every third being the one before with two to five words left out.

    Real questions are seldom near each other; without these a bound would decide nothing.
    """
    rng, made = random.Random(0), list[str]()
    for text in rng.sample(texts, count):
        if len(made) % 3 == 2:
            words = made[-1].split()
            out = set(rng.sample(range(len(words)), min(rng.randint(2, 5), len(words) - 1)))
            made.append(" ".join(word for n, word in enumerate(words) if n not in out))
        else:
            made.append(text)
    return made


def _gaps(writer: Writer, count: int) -> list[str]:
    return [" ".join(writer.fillers(writer.rng.randint(2, 6))) for _ in range(count)]
