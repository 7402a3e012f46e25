"""The engine that asks teachers: what the ledger knows is not asked again, and every answer is stored before it counts.

`gather` takes requests from any iterable and holds only what is in flight: the answers go into the ledger, and
`answers_of` reads them from there. `ask` is both for a list.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from types import FrameType

from preceptor.config import BudgetSettings
from preceptor.errors import BudgetError, TeacherError
from preceptor.progress import notice
from preceptor.records import Request, Spend
from preceptor.store.ledger import Entry, Failed, Ledger
from preceptor.teachers.base import Answer, Control, Teacher, Until, refuse_unsupported
from preceptor.teachers.budget import Budget
from preceptor.teachers.phi import PhiGate, Screened, census_of
from preceptor.teachers.prices import Price, dollars
from preceptor.teachers.tally import Tally

Progress = Callable[[Tally], None]
"""Called after every group that was stored."""

CHUNK = 256
"""Requests that are looked up in the ledger at a time."""


@dataclass(frozen=True)
class Gathered:
    """What came of requests whose answers are in the ledger."""

    spend: Spend
    """Counts of different requests. Tokens and money are those of all answers, the ones paid earlier included."""
    stopped: str = ""
    """Why not all were asked: `budget`, `interrupt`, `time`, or empty."""
    budget: str = ""
    """What is used of the budget, for people."""


@dataclass(frozen=True)
class Asked:
    """What came of a list of requests."""

    answers: list[Answer]
    """One per request, in the order of the requests; where `stopped`, without those that were not sent."""
    spend: Spend
    """See `Gathered.spend`."""
    stopped: str = ""
    """What is used of the budget, in words, where it ended the asking and `partly` allowed that; else empty."""


def ask(
    teacher: Teacher,
    requests: Sequence[Request],
    ledger: Ledger,
    *,
    price: Price | None = None,
    limits: BudgetSettings | None = None,
    gate: PhiGate | None = None,
    on_progress: Progress | None = None,
    partly: bool = False,
    until: Until | None = None,
) -> Asked:
    """Answer all `requests`, asking the teacher only for what the ledger does not hold.

    Every group of answers is in the ledger before it counts, so a run that is killed asks nothing twice. Equal
    requests are asked once. A request that fails is an `Answer` with an error; a later run asks it again.

    `gate` checks every request before the first one is sent. What it masks never leaves the program, and never enters
    the ledger; the answers come back with the values in place.

    Raises `PrivacyError` where the gate blocks and `UnsupportedSettingError`, both before anything is sent;
    `BudgetError` when the budget is used up (with `partly`, `Asked.stopped` says so instead), other `TeacherError`s
    when the teacher cannot answer anything, `StorageError` when the ledger cannot be written, `KeyboardInterrupt` after
    Ctrl-C, and `PartFinished` when the time `until` is over: nothing is sent after it, and what is in flight is heard
    out. Whatever it raises, all answers until then are in the ledger.
    """
    refuse_unsupported(teacher, requests)
    screened = _screened(gate, requests)
    sent = [s.request for s in screened] if screened else requests
    gathering = _Gathering(teacher, ledger, price, limits, on_progress or _silent, len(requests), keys=[], until=until)
    gathered = _outside_any_loop(gathering, sent)
    used_up = gathered.stopped == "budget"
    if used_up and not partly:
        done, wanted = gathered.spend.calls, len(requests)
        raise BudgetError(
            f"The budget is used up: {gathered.budget}; {done} of {wanted} requests to {teacher.name} are answered.",
            "Raise [budget] and run the same command again: what was answered is kept.",
        )
    if gathered.stopped == "interrupt":
        raise KeyboardInterrupt
    keys = [teacher.key(request) for request in sent] if gathered.stopped else gathering.keys or []
    if until is not None and gathered.stopped == "time":
        wanted_keys = set(keys)
        left = len(wanted_keys) - len(ledger.get(list(wanted_keys))) - gathered.spend.failed
        until.check(left, f"Requests to {teacher.name}")  # of none left the answers are whole
    answers = list(_stored(sent, keys, ledger))
    if screened:
        answers = [_restored(one, answer) for one, answer in zip(screened, answers, strict=True)]
    if used_up:
        answers = [answer for answer in answers if answer.error is None or answer.error.message != _UNSENT.reason]
    return Asked(answers, gathered.spend, gathered.budget if used_up else "")


def _screened(gate: PhiGate | None, requests: Sequence[Request]) -> list[Screened]:
    """What may be sent in place of the requests; empty when they may be sent as they are."""
    if gate is None:
        return []
    if gate.mode == "block":
        gate.admit(requests)  # raises, or nothing was found
        return []
    screened = [gate.screen(request) for request in requests]
    found = census_of(screened)
    if found.flagged:
        notice(f"{found.sentence}. {'Placeholders are sent instead.' if gate.mode == 'mask' else 'They are sent.'}")
    return screened


def _restored(screened: Screened, answer: Answer) -> Answer:
    """The answer to the request as it was meant; one with placeholders that nobody gave is an error."""
    if answer.completion is None:
        return replace(answer, request=screened.original)
    text = screened.restore(answer.completion.text)
    if screened.unknown(text):
        error = TeacherError("The answer holds a placeholder that stands for nothing.", "It is not used.")
        return Answer(screened.original, error=error)
    return Answer(screened.original, completion=replace(answer.completion, text=text))


def gather(
    teacher: Teacher,
    requests: Iterable[Request],
    ledger: Ledger,
    *,
    price: Price | None = None,
    limits: BudgetSettings | None = None,
    on_progress: Progress | None = None,
    total: int | None = None,
) -> Gathered:
    """Bring the answers to all `requests` into the ledger; memory does not grow with their number.

    Ctrl-C once lets what is in flight end and stores it, twice stops at once; the ledger stays whole either way.
    Raises what `ask` does, except that a used-up budget and a first Ctrl-C are told by `Gathered.stopped`.
    """
    return _outside_any_loop(_Gathering(teacher, ledger, price, limits, on_progress or _silent, total), requests)


def answers_of(teacher: Teacher, requests: Iterable[Request], ledger: Ledger) -> Iterator[Answer]:
    """What the ledger holds for each request, in order: its answer, or an error that says why there is none."""
    for part in _chunks(requests, CHUNK):
        yield from _stored(part, [teacher.key(request) for request in part], ledger)


_UNSENT = Failed("The request was not sent.", "")


def _stored(requests: Sequence[Request], keys: Sequence[str], ledger: Ledger) -> Iterator[Answer]:
    """The ends of these calls."""
    found = ledger.get(keys)
    failed = ledger.failed([key for key in keys if key not in found])
    for key, request in zip(keys, requests, strict=True):
        if key in found:
            yield Answer(request, completion=found[key])
        else:
            reason, hint = failed.get(key, _UNSENT)
            yield Answer(request, error=TeacherError(reason, hint))


def _outside_any_loop(gathering: _Gathering, requests: Iterable[Request]) -> Gathered:
    """Run here, or in a thread where an event loop is running (a notebook): the teacher's own loop needs one."""
    if not _loop_is_running():
        return gathering.run(requests)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(gathering.run, requests).result()


@dataclass
class _Gathering:
    """One call of `gather`."""

    teacher: Teacher
    ledger: Ledger
    price: Price | None
    limits: BudgetSettings | None
    report: Progress
    total: int | None
    open: dict[int, tuple[str, Request]] = field(default_factory=dict)
    """Given to the teacher and not yet stored: key and request, by the object's identity, which costs no hashing."""
    failures: Counter[str] = field(default_factory=Counter)
    keys: list[str] | None = None
    """Of all requests, in order, for who wants them; computed anyway."""
    until: Until | None = None

    def run(self, requests: Iterable[Request]) -> Gathered:
        self.control = Control(Budget(self.ledger, self.price, self.limits), until=self.until)
        self.tally = Tally(self.total, self.price, self.control)
        self.ledger.forget_seen()
        feed = self._feed(requests)
        first = next(feed, None)
        self.report(self.tally)
        if first is not None:
            self._heed_time()
            self._ask(chain((first,), feed))
        if self.control.stopped == "time":
            deque(feed, maxlen=0)  # counts what the ledger knows, up to the first request that is left
        left = 0 if self.control.stopped else len(self.open) + sum(1 for _ in feed)
        if left:
            raise RuntimeError(f"teacher {self.teacher.name} left {left} requests without an answer or an error")
        return Gathered(self._spend(), self.control.stopped, self.control.budget.sentence())

    def _heed_time(self) -> None:
        if self.control.late:
            self.control.stopped = self.control.stopped or "time"

    def _ask(self, requests: Iterator[Request]) -> None:
        if self.control.stopped:
            return
        # Closed at once when storing fails, so that nothing more is sent or paid.
        with _interrupts(self.control), closing(self.teacher.answer(requests, self.control)) as groups:  # type: ignore[type-var]
            for group in groups:
                self._store(group)
                self.report(self.tally)
                self._heed_time()

    def _feed(self, requests: Iterable[Request]) -> Iterator[Request]:
        """The requests that the ledger cannot answer, each once."""
        for part in _chunks(requests, CHUNK):
            refuse_unsupported(self.teacher, part)
            keys = [self.teacher.key(request) for request in part]
            if self.keys is not None:
                self.keys += keys
            wanted = dict(zip(keys, part, strict=True))
            fresh = self.ledger.first_seen(list(wanted))
            known = self.ledger.get(fresh)
            for completion in known.values():
                self.tally.add(completion, cached=True)
            for key in fresh:
                if key not in known:
                    if self.control.stopped:
                        return
                    request = wanted[key]
                    self.open[id(request)] = (key, request)
                    yield request

    def _store(self, group: Sequence[Answer]) -> None:
        entries = []
        for answer in group:
            key, _ = self.open.pop(id(answer.request), ("", None))
            key = key or self.teacher.key(answer.request)
            if answer.completion is not None:
                cost = self.control.budget.cost(answer.completion)
                ticket = answer.ticket if answer.completion.metered else None
                settles = answer.settles if answer.completion.metered else ""
                entries.append(Entry(key, answer.request, answer.completion, None, cost, ticket, settles))
                self.tally.add(answer.completion)
            elif answer.error is not None:
                failed = Failed(answer.error.message, answer.error.hint)
                entries.append(Entry(key, answer.request, failed=failed))
                self.failures[failed.reason] += 1
                self.tally.failed += 1
        self.ledger.put(self.teacher.name, entries)

    def _spend(self) -> Spend:
        tally, budget = self.tally, self.control.budget
        return Spend(
            calls=tally.answered,
            from_ledger=tally.cached,
            input_tokens=tally.read,
            output_tokens=tally.written,
            usd=tally.usd,
            failed=tally.failed,
            failures=dict(self.failures.most_common()),
            unknown=self.control.lost,
            unknown_usd=dollars(budget.lost_picodollars) if budget.limited else None,
        )


def _silent(_tally: Tally) -> None:
    """The progress report of whoever wants none."""


def _chunks(requests: Iterable[Request], size: int) -> Iterator[list[Request]]:
    rest = iter(requests)
    while part := list(islice(rest, size)):
        yield part


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


@contextmanager
def _interrupts(control: Control) -> Iterator[None]:
    """The first Ctrl-C sends nothing new and lets what is in flight end; the second one interrupts."""
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def first(_number: int, _frame: FrameType | None) -> None:
        control.stopped = "interrupt"
        signal.signal(signal.SIGINT, signal.default_int_handler)
        notice("Finishing what is in flight; Ctrl-C again stops at once. Nothing that was answered is lost.")

    signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
