"""What the loop that writes tasks is given, says on its way, and returns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from preceptor.config import BudgetSettings
from preceptor.records import Example, Sampling, Spend, TasksFunnel, Verdict
from preceptor.store.ledger import Ledger
from preceptor.teachers.base import Teacher, Until
from preceptor.teachers.phi import PhiGate
from preceptor.teachers.prices import Price


@dataclass(frozen=True)
class Asking:
    """Who is asked, and on what terms."""

    teacher: Teacher
    sampling: Sampling
    ledger: Ledger
    price: Price | None = None
    limits: BudgetSettings | None = None
    gate: PhiGate | None = None
    until: Until | None = None
    """When nothing more is sent."""


@dataclass(frozen=True)
class Standing:
    """How far the loop is."""

    kept: int
    target: int
    asked: int
    """Requests for tasks of finished rounds."""
    candidates: int
    dropped: Mapping[str, int]
    unreadable: Mapping[str, int]
    asking: str = ""
    """How far the round is that is being asked, in words."""

    @property
    def words(self) -> str:
        """For people."""
        parts = [f"{self.kept:,} of {self.target:,} kept", f"{self.asked:,} asked"]
        if self.candidates:
            parts.append(f"{self.kept / self.candidates:.0%} of {self.candidates:,} tasks kept")
        gone = [f"{n:,} {reason}" for reason, n in Counter(self.dropped).most_common(3)]
        lost = sum(self.unreadable.values())
        parts += gone + ([f"{lost:,} unreadable"] if lost else []) + ([self.asking] if self.asking else [])
        return ", ".join(parts)


@dataclass(frozen=True)
class Written:
    """What the loop wrote."""

    kept: list[Example]
    dropped: list[tuple[Example, Verdict]]
    """In the order in which they were written."""
    funnel: TasksFunnel
    spend: Spend
    """Of all requests: for tasks, outputs and categories."""
    calls: dict[str, list[int]]
    """Call in the ledger -> tokens read, written, and of those read the cached ones."""
    again: bool = False
    """Whether the teacher fell silent, so that the same call may well come further later."""


class EvenSample:
    """Every n-th of a row of unknown length, n being doubled whenever there are twice as many as wanted."""

    def __init__(self, size: int) -> None:
        self._size, self._stride = size, 1
        self._found: dict[int, float] = {}

    @property
    def values(self) -> list[float]:
        """In the order of their places."""
        return list(self._found.values())

    def wants(self, place: int) -> bool:
        """Whether the value at this place will be taken."""
        return place % self._stride == 0

    def add(self, place: int, value: float) -> None:
        """Take a value; what is no longer wanted goes."""
        if self.wants(place):
            self._found[place] = value
        if len(self._found) >= 2 * self._size:
            self._stride *= 2
            self._found = {at: kept for at, kept in self._found.items() if self.wants(at)}
