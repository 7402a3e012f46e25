"""A teacher scores a student's text beside the reference, once in each order: which stands first must not matter.

The judge sees the task, its input and two answers, and is not told which of them is the reference. It gives each 1 to
5. The measure is what it gives the student's text, mean over both orders, of the items that it scored in both. What it
gave the reference stands beside it in `Judged`, since a judge has its own scale. A judge that cannot be read, or whose
verdict the order decides, measures nothing: the counts say how often that was so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

from preceptor.records import Completion, Instruction, Measure, Request, Sampling
from preceptor.teachers.asker import Asker
from preceptor.teachers.prompt import Prompt, read_prompt
from preceptor.teachers.ratings import LOWEST, first_object, rating

PROMPT = "judge.v1"
TOLERANCE = 1.0
"""Between the two scores of one text, one for each order; what differs more is counted as inconsistent."""


@dataclass(frozen=True, slots=True)
class Rated:
    """What the judge gave in one order, 1 to 5."""

    text: float
    reference: float
    text_first: bool

    @property
    def lead(self) -> float:
        """By how much the student's text is the better one."""
        return self.text - self.reference


Both = tuple[Rated | None, Rated | None]
"""An item's ratings, the student's text first and second; None where the answer holds no scores."""


@dataclass(frozen=True)
class Judged:
    """What a judge said about one student's texts."""

    measure: Measure
    """`judge`, mean of [score, 1]; [0, 0] for an item that was not scored in both orders."""
    counts: dict[str, int]
    """`judge_read` and `judge_unread` items; of the read ones `judge_inconsistent` (the orders differ by more than
    `TOLERANCE`), `judge_decided` (one text better in each order) and of these `judge_order_flips` (not the same one)
    and `judge_first` (orders, of two per item, in which the first text was the better); `judge_empty` items without a
    text, of which the judge was not asked."""
    reference: float | None
    """Mean score of the references of the read items; None when nothing was read."""


Judge = Callable[[Sequence[Instruction], Sequence[str]], Judged]
"""Items and a student's texts, empty where it gave none -> what a judge says. `TextJudge` is one."""


@dataclass
class TextJudge:
    """Asks a teacher about each text twice. Never asks the same twice: neither in one run nor with the same ledger."""

    ask: Asker
    sampling: Sampling

    def __call__(self, items: Sequence[Instruction], texts: Sequence[str]) -> Judged:
        """Score one text per item.

        An empty text gets the lowest score without being shown; where all are empty there is no result. Raises what
        `Asker` does.
        """
        shown = [index for index, text in enumerate(texts) if text.strip()]
        requests = [request for i in shown for request in self.requests(items[i], texts[i])]
        answers = self.ask(requests)
        pairs = zip(answers[::2], answers[1::2], strict=True)
        both = [
            (read_rating(one.completion, text_first=True), read_rating(other.completion, text_first=False))
            for one, other in pairs
        ]
        return _judged(len(items), dict(zip(shown, both, strict=True)))

    def requests(self, item: Instruction, text: str) -> tuple[Request, Request]:
        """What is asked about one text: with it first, and with it second."""
        return self._request(item, text, text_first=True), self._request(item, text, text_first=False)

    def _request(self, item: Instruction, text: str, *, text_first: bool) -> Request:
        first, second = (text, item.output) if text_first else (item.output, text)
        messages = prompt().messages(
            instruction=item.instruction, input=item.input, first=first.strip(), second=second.strip()
        )
        return Request(messages, self.sampling, item=f"judge/{item.id}", draw=0 if text_first else 1)


def prompt() -> Prompt:
    """The prompt that the judge is shown."""
    return read_prompt("evaluate", PROMPT)


def read_rating(completion: Completion | None, *, text_first: bool) -> Rated | None:
    """Scores from an answer: JSON, or plain text that scores A before B. None when one is missing or out of range."""
    if completion is None or completion.finish == "content_filter":
        return None
    found = first_object(completion.text)
    values = [found.get("A"), found.get("B")] if found is not None else _from_text(completion.text)
    first, second = (rating(value) for value in values)
    if first is None or second is None:
        return None
    return Rated(first, second, True) if text_first else Rated(second, first, False)


def _from_text(text: str) -> list[str | None]:
    """The scores of "Answer A: 4, answer B: 2/5"; nothing when a letter has two."""
    found = re.findall(r"\b([AB])\b\W{1,4}(\d(?:\.\d+)?)(?![\d-]|\.\d)", text)
    return [score for _, score in found] if [name for name, _ in found] == ["A", "B"] else [None, None]


def _judged(n: int, both: dict[int, Both]) -> Judged:
    read = {index: (one, other) for index, (one, other) in both.items() if one is not None and other is not None}
    decided = [pair for pair in read.values() if all(rated.lead for rated in pair)]
    rows = [(0.0, 0.0)] * n
    for index, pair in read.items():
        rows[index] = (fmean(rated.text for rated in pair), 1.0)
    if both:
        for index in set(range(n)) - set(both):
            rows[index] = (float(LOWEST), 1.0)
    return Judged(
        Measure("judge", "mean", tuple(rows)),
        {
            "judge_read": len(read),
            "judge_unread": len(both) - len(read),
            "judge_empty": n - len(both),
            "judge_inconsistent": sum(abs(one.text - other.text) > TOLERANCE for one, other in read.values()),
            "judge_decided": len(decided),
            "judge_order_flips": sum(one.lead * other.lead < 0 for one, other in decided),
            "judge_first": sum((rated.lead > 0) == rated.text_first for pair in decided for rated in pair),
        },
        fmean(rated.reference for pair in read.values() for rated in pair) if read else None,
    )
