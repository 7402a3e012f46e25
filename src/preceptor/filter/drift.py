"""Drops rewrites that no longer say what their parent says, or that say it in the same words.

Reasons: parent_unknown, copy, meaning, numbers, negation, direction, form.

What it cannot see: two numbers that changed places, antonyms other than those of `direction.py`, and text beyond
MiniLM's 256 tokens except for its numbers, negations and directions.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rapidfuzz.distance import Levenshtein

from preceptor.config import DriftSettings
from preceptor.data.base import Task
from preceptor.filter.base import FilterContext, changed_fields
from preceptor.filter.direction import reversal
from preceptor.filter.numbers import ONE, numbers
from preceptor.filter.text import normalised
from preceptor.records import KEEP, Example, Verdict, drop


class Drift:
    """Compares every field that a `rewrite` changed with the same field of its parent; other strategies pass.

    A rewrite is a `copy` when all of the changed fields that the student reads are; in a reworded pair of
    question and answer the answer may stay as it was. The other rules hold for each changed field.
    """

    name = "drift"

    def __init__(self, settings: DriftSettings) -> None:
        self._settings = settings

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        pairs = [_texts(c, context) if c.origin == "rewrite" else [] for c in candidates]
        cosines = iter(_cosines([(old, new) for pair in pairs if pair for _, old, new in pair], context))
        verdicts = []
        for candidate, pair in zip(candidates, pairs, strict=True):
            if candidate.origin != "rewrite":
                verdicts.append(KEEP)
            elif pair is None:
                verdicts.append(drop("parent_unknown", f"no item {', '.join(candidate.parents) or '(none named)'}"))
            else:
                verdicts.append(self._one(pair, [next(cosines) for _ in pair], context))
        return verdicts

    def _one(self, pair: list[tuple[str, str, str]], cosines: list[float], context: FilterContext) -> Verdict:
        verdict, questions = self._copy(pair, context.task), context.questions
        for (name, old, new), cosine in zip(pair, cosines, strict=True):
            if verdict.kept and cosine < self._settings.min_similarity:
                verdict = drop("meaning", f"{name}: cosine {cosine:.4f} to the parent")
            if verdict.kept:
                verdict = _numbers_verdict(name, old, new)
            if verdict.kept:
                verdict = _negation_verdict(name, old, new)
            if verdict.kept and (turn := reversal(old, new)):
                verdict = drop("direction", f"{name}: {turn}")
            if verdict.kept and name in questions and (opening := _opened_up(old, new)):
                verdict = drop("form", f"{name}: a question that a label answers became one with {opening!r}")
        return verdict

    def _copy(self, pair: list[tuple[str, str, str]], task: Task) -> Verdict:
        read = [entry for entry in pair if entry[0] in task.inputs] or pair
        shares = [Levenshtein.normalized_similarity(normalised(old), normalised(new)) for _, old, new in read]
        if all(share > self._settings.max_copy for share in shares):
            names = ", ".join(name for name, _, _ in read) or "all fields"
            return drop("copy", f"{names}: edit similarity {min(shares, default=1.0):.4f} to the parent")
        return KEEP


def _texts(candidate: Example, context: FilterContext) -> list[tuple[str, str, str]] | None:
    """(field, parent's text, candidate's text) of every changed field; None without a known parent."""
    parent = context.parent_of(candidate)
    if parent is None:
        return None
    return [(n, parent.fields.get(n, ""), candidate.fields.get(n, "")) for n in changed_fields(candidate, parent)]


def _cosines(pairs: list[tuple[str, str]], context: FilterContext) -> list[float]:
    if not pairs:
        return []
    vectors = context.embed([text for pair in pairs for text in pair])
    # Four digits: the verdict agrees with the figure that is shown, and the order of batches cannot tip it.
    return [round(float(vectors[2 * i] @ vectors[2 * i + 1]), 4) for i in range(len(pairs))]


def _numbers_verdict(name: str, old: str, new: str) -> Verdict:
    before, after = numbers(old), numbers(new)
    lost, added = before - after, after - before
    if ONE.search(new):  # the word is more often a pronoun, so it does not count but may stand for the digit
        lost.discard("1")
    if ONE.search(old):
        added.discard("1")
    if not lost and not added:
        return KEEP
    parts = [f"{word} {', '.join(sorted(values))}" for word, values in (("lost", lost), ("added", added)) if values]
    return drop("numbers", f"{name}: {'; '.join(parts)}")


def _negation_verdict(name: str, old: str, new: str) -> Verdict:
    before, after = negation(old), negation(new)
    if bool(before) == bool(after):
        return KEEP
    return drop("negation", f"{name}: {'lost' if before else 'added'} {(before or after)!r}")


_OPEN = re.compile(
    r"(?:^|[:;,.!?]\s*)\W{0,3}((?:to what|in what|what|how|why|which|who|whom|whose|when|where)\b)", re.IGNORECASE
)


def _opened_up(old: str, new: str) -> str:
    """The question word with which `new` asks for more than its parent did: "Does it work?" -> "How does it work?".

    A label that answered the first does not answer the second. Empty when there is none, or the parent has one too.
    """
    found = _OPEN.search(new)
    return found.group(1).lower() if found and not _OPEN.search(old) else ""


# Left alone on purpose: un-, in-, im- and dis- ("unstable angina" is a name, not a negation) and "-free".
# What only looks like a negation is taken out first.
_NO_NEGATION = re.compile(
    r"\bwhether or not\b|\bor not\b|\bnot only\b|\byes or no\b|\byes/no\b|\bno\. ?\d"
    r"|\bnon(?:etheless|agenarians?|et|ane)\b|\bnor-"
)
_NEGATION = re.compile(
    r"\b(?:not|cannot|no|none|nobody|nothing|nowhere|neither|nor|never|without|unable|inability|failure to"
    r"|lack(?:s|ed|ing)?|absen(?:t|ce)|fail(?:s|ed|ing)? to|den(?:y|ies|ied|ying)|non-?[a-z]{3,})\b"
    r"|\b\w+n't\b"
)


def negation(text: str) -> str:
    """The first negation in a text, or nothing: not, n't, no, none, never, neither, nor, without, cannot,
    lack, absent, unable, fail to, deny, and words that begin with non-.

    Only whether there is one is compared, so "does not smoke" may become "non-smoker". In a long text, which
    nearly always has one, the rule therefore says little. NO in capitals is nitric oxide unless all else is
    capital too.
    """
    if not text.isupper():
        text = re.sub(r"\bNO\b", " ", text)
    text = _NO_NEGATION.sub(" ", unicodedata.normalize("NFKC", text).casefold().replace("’", "'"))
    found = _NEGATION.search(text)
    return found.group() if found else ""
