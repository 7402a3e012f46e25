"""What every teacher offers, and what the engine tells it while it works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from preceptor.errors import TeacherError, UnsupportedSettingError
from preceptor.records import Completion, Request
from preceptor.teachers.budget import Budget


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's end: exactly one of `completion` and `error` is set."""

    request: Request
    completion: Completion | None = None
    error: TeacherError | None = None
    ticket: int | None = None
    """The budget's reservation that this answer settles, if the endpoint said what it counted."""
    settles: str = ""
    """Instead of a ticket, the name of a reservation that outlives the call that made it (batches)."""


class Until(Protocol):
    """The end of the time that a run is given."""

    @property
    def over(self) -> bool:
        """Whether the time is over."""

    def check(self, left: int, what: str) -> None:
        """Raise `PartFinished` when it is over and `left` of `what` are not done."""


@dataclass
class Control:
    """The engine's hand on a teacher that is working."""

    budget: Budget = field(default_factory=Budget)
    """Room for every request is taken here before it is sent."""
    stopped: str = ""
    """Why nothing new may be sent (`interrupt`, `budget`, `time`); empty: go on. What is in flight is finished all the
    same."""
    paused_until: float = 0.0
    """Time (`time.monotonic`) until which the endpoint asked to send nothing, for people to see."""
    lost: int = 0
    """Requests so far whose end nobody knows."""
    until: Until | None = None
    """The engine looks at it after every group; a teacher that only waits looks at `late` itself."""

    @property
    def late(self) -> bool:
        """Whether the time that the run was given is over."""
        return self.until is not None and self.until.over


class Teacher(Protocol):
    """A model that answers requests.

    A fault of one request is an `Answer` with an error; a fault that all requests share (wrong key, unknown model) is
    raised, after the answers that came before it.
    """

    @property
    def name(self) -> str:
        """Identity in ledgers, provenance and reports: model and, for an endpoint, its address. Never the key."""

    @property
    def accepts(self) -> frozenset[str]:
        """Names of the `Sampling` settings it can take."""

    def key(self, request: Request) -> str:
        """Identity of the call in the ledger: the hash of all that decides the answer, in hexadecimal."""

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        """Answer requests, in any order and in groups: a group is stored in the ledger as a whole.

        The requests may come from a generator; a teacher that sends them one by one draws them one by one. After
        `control.stopped` is set, requests that were not sent yet get no answer at all.
        """


def refuse_unsupported(teacher: Teacher, requests: Sequence[Request]) -> None:
    """Raise `UnsupportedSettingError` before anything is sent if a request has a setting the teacher cannot take."""
    for sampling in {request.sampling for request in requests}:
        unknown = sorted(set(sampling.asked()) - teacher.accepts)
        if unknown:
            raise UnsupportedSettingError(
                f"The teacher {teacher.name} cannot take the setting {unknown[0]!r}; nothing was sent.",
                f"Remove it from [teacher], or name it in teacher.accepts if the endpoint does take it. It takes: "
                f"{', '.join(sorted(teacher.accepts))}.",
            )
