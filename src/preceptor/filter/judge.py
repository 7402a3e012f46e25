"""A second opinion by a rubric: a teacher compares each candidate with its parent, in both orders.

Reasons: parent_unknown, judge_inconsistent (the order changed a score by more than the tolerance), unfaithful,
unanswerable, badly_written, and for an answer without scores unparsed, refused, cut_off, no_answer.

What it cannot see: whether the judge is right. A judge likes its own words and long ones; the report shows how often
the order alone changed its mind, and how it scored the parents, which people wrote.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from statistics import fmean
from typing import Any

from preceptor.config import JudgeSettings
from preceptor.filter.base import FilterContext
from preceptor.filter.rubric import CRITERIA, Rating
from preceptor.records import KEEP, Example, Outcome, Verdict, drop

REASONS = dict(zip(CRITERIA, ("unfaithful", "unanswerable", "badly_written"), strict=True))
Both = tuple[Rating, Rating]
"""A pair's ratings in the two orders."""


class Judge:
    """Drops candidates with a low score, and pairs of which the judge says one thing or another by their order."""

    name = "judge"

    def __init__(self, settings: JudgeSettings) -> None:
        self._settings = settings

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        if not candidates:
            return []
        if context.compare is None:
            raise ValueError("the filter judge needs a judge in its context")
        parents = [context.parent_of(candidate) for candidate in candidates]
        pairs = [(c, parent) for c, parent in zip(candidates, parents, strict=True) if parent is not None]
        ratings: Iterator[Both] = iter(context.compare(pairs))
        return [
            drop("parent_unknown", f"no item {', '.join(candidate.parents) or '(none named)'}")
            if parent is None
            else self._one(next(ratings))
            for candidate, parent in zip(candidates, parents, strict=True)
        ]

    def _one(self, both: Both) -> Verdict:
        unread = [rating.outcome for rating in both if rating.outcome != Outcome.ANSWERED]
        if unread:
            return self._either(self._settings.unread, unread[0], f"{len(unread)} of 2 orders without scores")
        if (turned := shifts(both, self._settings.tolerance)) is not None:
            return self._either(self._settings.inconsistent, "judge_inconsistent", turned)
        for name in CRITERIA:
            scores = [rating.candidate[name] for rating in both]
            if fmean(scores) < self._settings.min_score:
                return drop(REASONS[name], f"{name} {scores[0]:g} and {scores[1]:g} of 5 in the two orders")
        return KEEP

    def _either(self, setting: str, reason: str, detail: str) -> Verdict:
        return Verdict(kept=True, detail=f"{reason}: {detail}") if setting == "keep" else drop(reason, detail)


def shifts(both: Both, tolerance: float) -> str | None:
    """The first score of the candidate that differs by more than `tolerance` between the orders, in words."""
    for name in CRITERIA:
        one, other = (rating.candidate[name] for rating in both)
        if abs(one - other) > tolerance:
            return f"{name} {one:g} in one order, {other:g} in the other"
    return None


def counts(ratings: Sequence[Both], settings: JudgeSettings) -> dict[str, Any]:
    """What a judge said, in numbers: how far the order decided, and the mean scores."""
    read = [both for both in ratings if all(rating.outcome == Outcome.ANSWERED for rating in both)]
    decided = [both for both in read if all(rating.lead for rating in both)]
    said = [rating for both in read for rating in both]
    return {
        "pairs": len(ratings),
        "read": len(read),
        "inconsistent": sum(shifts(both, settings.tolerance) is not None for both in read),
        "decided": len(decided),
        "flips": sum(both[0].lead * both[1].lead < 0 for both in decided),
        "first": sum((rating.lead > 0) == rating.candidate_first for both in decided for rating in both),
        "candidate_scores": {name: fmean(r.candidate[name] for r in said) for name in CRITERIA if said},
        "parent_scores": {name: fmean(r.parent[name] for r in said) for name in CRITERIA if said},
        "outcomes": dict(Counter(rating.outcome for both in ratings for rating in both)),
    }
