"""A teacher scores a candidate and its parent by a rubric, once in each order: which stands first must not matter.

Criteria, each 1 to 5: faithful (a rewrite says what the other version says; another item's question and answer agree
with the source), answerable (from the source, with one of the labels), well_written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from preceptor.data.base import Task
from preceptor.data.parsers import unread
from preceptor.filter.labels import NO_ANSWER
from preceptor.records import Completion, Example, Outcome, Request, Sampling, content_hash
from preceptor.teachers.asker import Ask
from preceptor.teachers.prompt import Prompt, read_prompt
from preceptor.teachers.ratings import first_object, rating

CRITERIA = ("faithful", "answerable", "well_written")
PROMPT = "judge.v1"

Scores = Mapping[str, float]
"""Criterion -> 1 to 5."""


@dataclass(frozen=True, slots=True)
class Rating:
    """What the judge said of a pair in one order."""

    outcome: str
    """One of the four outcomes of parsing, or `no_answer`."""
    candidate_first: bool
    candidate: Scores
    """Empty unless the outcome is `answered`."""
    parent: Scores

    @property
    def lead(self) -> float:
        """By how much the candidate is the better text; what it says of the parent's meaning is left out."""
        return sum(self.candidate[name] - self.parent[name] for name in ("answerable", "well_written"))


Pair = tuple[Example, Example]
"""Candidate and parent."""
Compare = Callable[[Sequence[Pair]], list[tuple[Rating, Rating]]]
"""Each pair's ratings in both orders; the pairs' order is kept."""


@dataclass(frozen=True)
class TeacherJudge:
    """Asks a teacher about each pair twice, with the two texts changing places."""

    task: Task
    sampling: Sampling
    seed: int
    ask: Ask

    def __call__(self, pairs: Sequence[Pair]) -> list[tuple[Rating, Rating]]:
        """Two requests for each pair; the seed and the candidate's id decide which order is asked first."""
        firsts = [bool(int(content_hash([self.seed, candidate.id])[:8], 16) % 2) for candidate, _ in pairs]
        orders = [(pair, order) for pair, first in zip(pairs, firsts, strict=True) for order in (first, not first)]
        requests = [self._request(*pair, candidate_first=order) for pair, order in orders]
        ratings = [
            read_rating(answer.completion, candidate_first=order)
            for answer, (_, order) in zip(self.ask(requests), orders, strict=True)
        ]
        return list(zip(ratings[::2], ratings[1::2], strict=True))

    def _request(self, candidate: Example, parent: Example, *, candidate_first: bool) -> Request:
        both = (candidate, parent) if candidate_first else (parent, candidate)
        differing = {name for name, text in candidate.fields.items() if text != parent.fields.get(name)}
        shown = [
            {name: example.fields.get(name, "") for name in candidate.fields if name in differing}
            | {"its answer": example.label}
            for example in both
        ]
        messages = prompt().messages(
            source={name: candidate.fields[name] for name in self.task.inputs if name not in differing},
            first=shown[0],
            second=shown[1],
            same_meaning=candidate.origin == "rewrite",
            labels=self.task.labels,
        )
        return Request(messages, self.sampling, item=f"judge/{candidate.id}", draw=0 if candidate_first else 1)


def prompt() -> Prompt:
    """The prompt that the judge is shown."""
    return read_prompt("filter", PROMPT)


def read_rating(completion: Completion | None, *, candidate_first: bool) -> Rating:
    """Scores from an answer: JSON, as broken as models write it, or plain text that scores A before B."""
    if completion is None:
        return Rating(NO_ANSWER, candidate_first, {}, {})
    found = None if completion.finish == "content_filter" else _scores(completion.text)
    if found is None:
        return Rating(str(unread(completion.text, completion.finish)), candidate_first, {}, {})
    candidate, parent = found if candidate_first else found[::-1]
    return Rating(str(Outcome.ANSWERED), candidate_first, candidate, parent)


def _scores(text: str) -> tuple[Scores, Scores] | None:
    """The scores of A and of B, or None when one is missing or out of range."""
    found = first_object(text)
    if found is None:
        return _from_text(text)
    both = [_checked(found.get(name)) for name in ("A", "B")]
    return (both[0], both[1]) if both[0] is not None and both[1] is not None else None


def _checked(scores: Any) -> Scores | None:
    if not isinstance(scores, dict):
        return None
    found = {name: rating(scores.get(name)) for name in CRITERIA}
    known = {name: value for name, value in found.items() if value is not None}
    return known if len(known) == len(CRITERIA) else None


def _from_text(text: str) -> tuple[Scores, Scores] | None:
    versions = [re.search(rf"\b{name}\b", text) for name in ("A", "B")]
    if not versions[0] or not versions[1] or versions[0].start() > versions[1].start():
        return None
    first: dict[str, float] = {}
    second: dict[str, float] = {}
    for name in CRITERIA:
        found = re.findall(rf"{name.replace('_', '[ _-]?')}\W{{1,4}}([1-5])(?![\d-])", text, re.IGNORECASE)
        if len(found) != 2:
            return None
        first[name], second[name] = map(float, found)
    return first, second
