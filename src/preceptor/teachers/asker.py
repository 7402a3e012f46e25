"""Who reads for a filter or a judge: asks one teacher through the ledger, and writes down what it cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from preceptor.config import BudgetSettings
from preceptor.errors import TeacherError
from preceptor.progress import Progress
from preceptor.records import Request, Sampling, Spend
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.base import Answer, Teacher, Until
from preceptor.teachers.phi import PhiGate
from preceptor.teachers.prices import Price

Ask = Callable[[Sequence[Request]], list[Answer]]
"""Answers requests, in their order."""


@dataclass
class Asker:
    """Asks one teacher, never twice the same, and adds up what it spent."""

    teacher: Teacher
    ledger: Ledger
    price: Price | None = None
    limits: BudgetSettings | None = None
    gate: PhiGate | None = None
    progress: Progress = field(default_factory=lambda: Progress(quiet=True))
    words: str = ""
    """What the requests are for, for people."""
    until: Until | None = None
    """When nothing more is sent."""
    spend: Spend = field(default_factory=lambda: Spend(usd=0.0))
    calls: dict[str, list[int]] = field(default_factory=dict)
    """Call in the ledger -> tokens read, written, and of those read the cached ones."""

    def __call__(self, requests: Sequence[Request]) -> list[Answer]:
        """Ask for what the ledger does not hold. Raises `TeacherError` when not one answer came, else as `ask` does."""
        if not requests:
            return []
        with self.progress.task(self.words, len(requests)) as advance:
            asked = ask(
                self.teacher,
                requests,
                self.ledger,
                price=self.price,
                limits=self.limits,
                gate=self.gate,
                on_progress=lambda tally: advance(tally.done, tally.words),
                until=self.until,
            )
        errors = [answer.error for answer in asked.answers if answer.error is not None]
        if len(errors) == len(requests):
            raise TeacherError(
                f"The teacher {self.teacher.name} answered none of {len(requests)} requests ({self.words}); the first: "
                f"{errors[0].message}",
                errors[0].hint,
            )
        self.spend = self.spend.plus(asked.spend)
        self.calls |= {
            c.call: [c.input_tokens, c.output_tokens, c.cached_tokens] for a in asked.answers if (c := a.completion)
        }
        return asked.answers

    def record(self) -> dict[str, Any]:
        """Who was asked and what it cost, for the stage's folder."""
        return {"teacher": self.teacher.name, "spend": asdict(self.spend), "calls": self.calls}


def sampling_of(teacher: Sampling, temperature: float, max_tokens: int) -> Sampling:
    """How a teacher reads: its own seed and no penalty, since one on repetition would hit the very words to choose."""
    return Sampling(max_tokens=max_tokens, temperature=temperature, seed=teacher.seed)


def draws_of(request: Request, count: int) -> list[Request]:
    """The request `count` times; teachers give every draw noise of its own."""
    return [replace(request, draw=draw) for draw in range(count)]
