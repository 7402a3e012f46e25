"""ROUGE-L between whole texts: the F-measure of the package `rouge_score`, many times faster.

The figures are the same to the last bit, because words, longest common subsequence and the order of the
floating-point operations are the same; only the subsequence is found 64 words at a time (rapidfuzz) instead of by
a table in Python. `bench/filters.py` measures both.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from preceptor.errors import DataError

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.integer]
Stem = Callable[[str], str]
"""From a word to its stem, e.g. the method `stem` of `nltk.stem.porter.PorterStemmer()`."""

_WORD = re.compile("[a-z0-9]+")
_LONGEST_UNSTEMMED = 3
_ROWS = 128


def rouge_words(text: str, stem: Stem | None = None) -> list[str]:
    """The words that ROUGE counts: runs of a-z and 0-9 in lower case; any other letter separates.

    With `stem`, words of more than three characters are replaced by their stems, as `use_stemmer=True` does in
    `rouge_score` with nltk's Porter stemmer. Without it, which is the default in both, words stay as they are.
    """
    found = _WORD.findall(text.lower())
    if stem is None:
        return found
    return [s for w in found if (s := stem(w) if len(w) > _LONGEST_UNSTEMMED else w)]


class Alphabet:
    """Gives each word a character of its own, so that a text becomes a string with one character per word."""

    def __init__(self) -> None:
        self._characters: dict[str, str] = {}

    def spell(self, words: Iterable[str]) -> str:
        """The words as characters; new words get new ones.

        Raises DataError when there are more different words than characters, which are 1,114,111.
        """
        known = self._characters
        letters = []
        for word in words:
            letter = known.get(word)
            if letter is None:
                if len(known) >= sys.maxunicode:
                    raise DataError(f"ROUGE-L: more than {sys.maxunicode:,} different words in the texts compared.")
                letter = known[word] = chr(len(known) + 1)
            letters.append(letter)
        return "".join(letters)

    def spell_known(self, words: Iterable[str]) -> str:
        """As `spell`, but nothing is added: unknown words all get the character 0, which no spelled text has."""
        return "".join(self._characters.get(word, "\0") for word in words)


def f_measure(common: Integers, words: Integers | int, others: Integers | int) -> Floats:
    """F from the length of the common subsequence and the lengths of both texts, in words; 0 where nothing is common.

    Lin 2004, "ROUGE: a package for automatic evaluation of summaries", equation 4 with beta 1: the harmonic mean of
    common/words and common/others. Computed in this order and not as 2 * common / (words + others), whose last bit
    differs from `rouge_score`'s. Shapes broadcast.
    """
    # An empty text has nothing in common with any, so dividing by 1 instead of 0 changes no result.
    precision, recall = common / np.maximum(words, 1), common / np.maximum(others, 1)
    both = np.maximum(precision + recall, np.finfo(np.float64).tiny)
    result: Floats = 2 * precision * recall / both
    return result


def common_words(texts: Sequence[str], others: Sequence[str], workers: int = 1) -> npt.NDArray[np.int32]:
    """[texts, others] lengths of the longest common subsequences of spelled texts."""
    return process.cdist(texts, others, scorer=LCSseq.similarity, dtype=np.int32, workers=workers)


def rouge_l(texts: Sequence[str], others: Sequence[str], stem: Stem | None = None, workers: int = 1) -> Floats:
    """[texts, others] ROUGE-L F-measures of all pairs, with `workers` threads (-1: one per core).

    A text without words has F 0 to everything, also to another such text.
    """
    alphabet = Alphabet()
    rows = [alphabet.spell(rouge_words(text, stem)) for text in texts]
    columns = rows if texts is others else [alphabet.spell(rouge_words(text, stem)) for text in others]
    result = np.zeros((len(rows), len(columns)))
    lengths = np.array([len(c) for c in columns], dtype=np.int64)
    for top in range(0, len(rows), _ROWS):  # small enough that the arrays of a part stay in the cache
        part = rows[top : top + _ROWS]
        own = np.array([[len(r)] for r in part], dtype=np.int64)
        result[top : top + _ROWS] = f_measure(common_words(part, columns, workers), own, lengths)
    return result
