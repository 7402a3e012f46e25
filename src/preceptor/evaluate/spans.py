"""Mentions that a student lists, found again in the text, and F1 of where they stand.

A student names mentions in words; the reference marks places. So each named mention stands for all its occurrences in
the text, and places are compared with places.

**Strict**: a predicted span counts when a gold span has exactly its start and end. **Relaxed**: precision is the
share of predicted spans that overlap some gold span, recall the share of gold spans that some predicted span overlaps,
F1 their harmonic mean; one long span may match several. That is the "inexact" criterion of the i2b2/VA challenge 2010
(Uzuner et al. 2011) and the "overlap matching" of Campos, Matos and Oliveira (2013) on the NCBI disease corpus. There
is one type of mention, so types are not compared. Both are micro averages: counts are summed over items before shares
are made.

What cannot be measured so: a student cannot say that a word is a mention here and not there. A mention that people left
unmarked at one of its places is a false positive there, for every student.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from preceptor.records import Measure

Span = tuple[int, int]
"""Start and end in characters; the end does not belong to it."""


class Located(NamedTuple):
    """What became of the mentions of one answer."""

    spans: tuple[Span, ...]
    """Where they stand, in the order of the text."""
    hallucinated: tuple[str, ...]
    """Those that the text does not hold."""


def locate(mentions: Iterable[str], text: str) -> Located:
    """Find every mention in the text: in any case, any white space like any other, and only as whole words.

    The longest mentions come first, and each claims all its occurrences but those inside the span of a longer one:
    where "breast cancer" is listed too, "cancer" is not predicted again within it. What is found only there adds no
    span and is not hallucinated. Mentions that differ in case or white space alone are one; empty ones are left out.
    """
    by_words: dict[tuple[str, ...], str] = {}
    for mention in mentions:
        if words := mention.split():
            by_words.setdefault(tuple(word.lower() for word in words), mention)
    claimed: list[Span] = []
    hallucinated = []
    for mention in sorted(by_words.values(), key=lambda mention: -len(" ".join(mention.split()))):
        found = [match.span() for match in _pattern(mention.split()).finditer(text)]
        if not found:
            hallucinated.append(mention)
        claimed += [span for span in found if not any(_inside(span, other) for other in claimed)]
    return Located(tuple(sorted(claimed)), tuple(hallucinated))


def span_measures(predicted: Sequence[Located], gold: Sequence[Sequence[Span]]) -> list[Measure]:
    """`strict_f1` and `relaxed_f1` of all items, in order.

    A hallucinated mention is a predicted span that matches nothing. An item without gold spans, for which nothing was
    predicted, adds nothing to either; where all items are such there is no result.
    """
    strict, relaxed = [], []
    for located, marked in zip(predicted, gold, strict=True):
        spans, truth = set(located.spans), set(marked)
        said = len(spans) + len(located.hallucinated)
        strict.append((2.0 * len(spans & truth), float(said + len(truth))))
        matched = sum(any(_overlap(span, other) for other in truth) for span in spans)
        found = sum(any(_overlap(span, other) for other in spans) for span in truth)
        relaxed.append((float(matched), float(said), float(found), float(len(truth))))
    return [Measure("strict_f1", "f1", tuple(strict)), Measure("relaxed_f1", "relaxed_f1", tuple(relaxed))]


def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    # Not \b: a mention may begin or end with a bracket or a sign.
    return re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)", re.IGNORECASE)


def _inside(span: Span, other: Span) -> bool:
    return other[0] <= span[0] and span[1] <= other[1]


def _overlap(span: Span, other: Span) -> bool:
    return span[0] < other[1] and other[0] < span[1]
