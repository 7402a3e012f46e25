"""A teacher behind a provider's batch interface: half the price, up to a day, and nothing is ever handed in twice.

The first call hands the requests in and, unless it is told to wait, raises `BatchPending`; the same call later, from
another process, collects what has ended, hands in again only what failed for a passing reason, and yields the answers.
What is under way stands in a `BatchBook` beside the run's ledger.

- Answers are handed over as soon as their batch has ended. Failures are held back until nothing is under way, so that a
  request is not asked anew while others wait.
- A batch counts as collected when whoever asked has come back for the next group, so has stored the last one. Killed
  before that, it is downloaded again, which is free.
- A call that may have created a batch without our knowing (a broken connection, a kill between the call and the note of
  its id) is resolved first: the batch is searched for by its tag. Its requests are handed in again only when the
  provider lists no such batch and `SETTLE_S` have passed since the call.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from preceptor.errors import BatchPending, TeacherError, UnreachableError
from preceptor.records import Completion, Request
from preceptor.store.batches import BatchBook, End, Entry
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.batches_provider import Found, Line, Look, NotCreatedError, Phase, Provider, UnsureError
from preceptor.teachers.endpoint import TEMPLATE_TOKENS, payload_key
from preceptor.teachers.replies import Endpoint, Kind

DISCOUNT = 0.5
"""What a batch costs, as a share of the price of the same requests one by one. So at both providers."""

SETTLE_S = 900.0
"""So long after a call nothing that it created can still be missing from the provider's list. The call itself is given
up after 600 s."""

PATIENCE = 10
"""So many looks in a row may fail while waiting."""

GROUP = 256
"""Answers in one group, at most."""

TAG_BYTES = 5
KEY_DIGITS = 40
"""Of the request's key in a custom id: with the tag 51 of the 64 characters that are allowed."""

SAME_FAILURES = 8
"""If so many requests, all of a batch, fail for the same lasting reason, the next batch would too."""

AGAIN = frozenset({Kind.BUSY, Kind.OVERLOADED, Kind.LIMITED, Kind.BROKEN, Kind.TIMEOUT, Kind.UNCONNECTED})
"""Failures that are worth another batch. Providers charge for none of them."""

FULL = "full"
"""Note on a batch that was refused because the account's queue was full."""


class BatchTeacher:
    """Asks through `provider`, which is made when it is needed.

    `book` is the file in which open batches are written down; one for all teachers of a run. `say` is told, in words,
    how far the batches are while it waits.
    """

    discount = DISCOUNT

    def __init__(
        self,
        endpoint: Endpoint,
        provider: Callable[[], Provider],
        book: Path,
        *,
        wait: bool = False,
        poll_s: float = 60.0,
        rounds: int = 3,
        say: Callable[[str], None] | None = None,
        settle_s: float = SETTLE_S,
    ) -> None:
        self.endpoint = endpoint
        self.provider = provider
        self.book = book
        self.wait = wait
        self.poll_s = poll_s
        self.rounds = rounds
        self.say = say
        self.settle_s = settle_s

    @property
    def name(self) -> str:
        """As that of a teacher that asks the same model at once: answers are the same wherever they come from."""
        return f"{self.endpoint.model} at {self.endpoint.base_url}"

    @property
    def accepts(self) -> frozenset[str]:
        """The provider's settings, and those that the recipe says this endpoint takes."""
        return self.endpoint.accepts

    def key(self, request: Request) -> str:
        """As that of the teacher that asks at once: what one of them was answered, the other does not ask again."""
        return payload_key(self.endpoint, request)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        """Collect what has ended, hand in what is missing, and yield the answers in groups.

        Raises `BatchPending` when batches are under way, and `CredentialsError`, `UnreachableError` or `TeacherError`
        for what all requests share; in each case after everything that was answered until then has been handed over.
        """
        wanted = {self.key(request): request for request in requests}
        if not wanted:
            return
        provider = self.provider()
        try:
            with BatchBook(self.book, self.name) as book:
                yield from _Call(self, provider, book, wanted, control or Control()).groups()
        finally:
            provider.close()


class _Call:
    """One call of `answer`."""

    def __init__(
        self,
        teacher: BatchTeacher,
        provider: Provider,
        book: BatchBook,
        wanted: Mapping[str, Request],
        control: Control,
    ) -> None:
        self._teacher = teacher
        self._provider = provider
        self._book = book
        self._wanted = wanted
        self._control = control
        self._done: dict[str, int] = {}  # by tag: finished requests of batches that are under way
        self._held: TeacherError | None = None  # why something was not handed in, though it may be later

    def groups(self) -> Iterator[list[Answer]]:
        """Groups of answers, then groups of failures."""
        self._book.want(list(self._wanted))
        failed = 0
        while True:
            self._held = None
            error: TeacherError | None = None
            try:
                yield from self._round()
            except UnreachableError as unreachable:
                error = unreachable
            except KeyboardInterrupt:
                if not self._teacher.wait or not self._waiting():
                    raise
                raise self._pending() from None
            if not self._waiting():
                error = error or self._held
                if error is None:
                    break
            failed = failed + 1 if error is not None else 0
            if error is not None and (not self._teacher.wait or failed >= PATIENCE):
                raise error
            if not self._teacher.wait or self._control.late:
                raise self._pending()
            self._pause()
        yield from self._failures()

    def _waiting(self) -> list[Entry]:
        return [*self._book.waiting(), *self._book.unresolved()]

    def _round(self) -> Iterator[list[Answer]]:
        """Resolve, collect and hand in, each as far as it goes."""
        self._resolve()
        shared: TeacherError | None = None
        for entry in self._book.waiting():
            look = self._provider.look(entry.batch)
            self._done[entry.tag] = look.done
            if look.phase is Phase.ENDED:
                error = yield from self._collect(entry, look)
                shared = shared or error
            elif look.phase is not Phase.RUNNING:
                self._book.void(entry.tag, FULL if look.phase is Phase.FULL else "refused")
                if look.phase is Phase.FULL:
                    self._held = look.refusal
                shared = shared or (look.refusal if look.phase is Phase.REFUSED else None)
        if shared is not None:
            raise shared
        self._hand_in()

    # --- handing in -----------------------------------------------------------------------------------------------

    def _resolve(self) -> None:
        """Find out what became of intentions whose process died, or whose call failed half-way."""
        for entry in self._book.unresolved():
            if entry.state == "intended":
                self._book.void(entry.tag)  # the provider was not called yet
                continue
            # The time before the search: a batch that appears after it is younger.
            settled = time.time() - entry.sent > self._teacher.settle_s
            found = self._provider.find(entry, frozenset(self._book.known()))
            if not isinstance(found, Found):
                self._book.submitted(entry.tag, found)
            elif found is Found.ABSENT and settled:
                self._book.void(entry.tag)

    def _hand_in(self) -> None:
        free = self._book.free(self._teacher.rounds)
        keys = self._affordable([key for key in self._wanted if key in free])
        # While it is not known what became of a call, nothing more is handed in.
        if not keys or self._book.unresolved():
            return
        full = self._book.smallest(FULL)
        if full is not None and self._book.waiting():
            return  # the queue was full before: one batch at a time
        for tag, items in self._parts(keys, max(1, full // 2) if full else self._provider.max_requests):
            try:
                self._send(tag, items)
            except NotCreatedError as error:
                self._held = error
                return
            except UnsureError as error:
                self._resolve()  # often the batch is there
                if self._book.unresolved():
                    self._held = error
                    return
            if full is not None:
                return

    def _affordable(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that the budget has room for; it is reserved until their answers are in the ledger."""
        for position, key in enumerate(keys):
            request = self._wanted[key]
            bound = len(self._teacher.endpoint.body(request)) + TEMPLATE_TOKENS
            if self._control.stopped or not self._control.budget.reserve_once(
                _room(key), bound, request.sampling.max_tokens
            ):
                self._control.stopped = self._control.stopped or "budget"
                return list(keys[:position])
        return list(keys)

    def _parts(self, keys: Sequence[str], most: int) -> Iterator[tuple[str, dict[str, bytes]]]:
        """Batches within the provider's limits: tag and items by key."""
        tag, items, size = secrets.token_hex(TAG_BYTES), dict[str, bytes](), 0
        for key in keys:
            item = self._provider.item(_custom_id(tag, key), self._wanted[key])
            if items and (len(items) == most or size + len(item) + 2 > self._provider.max_bytes):
                yield tag, items
                tag, items, size = secrets.token_hex(TAG_BYTES), {}, 0
                item = self._provider.item(_custom_id(tag, key), self._wanted[key])
            items[key] = item
            size += len(item) + 2  # with what stands between two items
        yield tag, items

    def _send(self, tag: str, items: Mapping[str, bytes]) -> None:
        self._book.intend(tag, list(items))
        try:
            prepared = self._provider.prepare(tag, list(items.values()))
            self._book.sending(tag)
            batch = self._provider.create(tag, prepared)
        except UnsureError:
            self._book.sending(tag)  # the time that must pass begins now
            raise
        except TeacherError:
            self._book.void(tag)
            raise
        self._book.submitted(tag, batch)

    # --- collecting -----------------------------------------------------------------------------------------------

    def _collect(self, entry: Entry, look: Look) -> Generator[list[Answer], None, TeacherError | None]:
        """Hand over the answers of a batch. Returns the error, if any, that every other request would meet too."""
        keys = {_custom_id(entry.tag, key): key for key in self._book.open_keys(entry.tag)}
        ends: dict[str, End] = {}
        shared: list[TeacherError] = []
        group: list[Answer] = []
        try:
            for line in self._provider.results(entry.batch, look):
                key = keys.pop(line.custom_id, None)
                if key is None or key not in self._wanted:
                    continue  # what nobody wants now stays open: it may be wanted by a later call
                ends[key], completion = self._end(line, self._wanted[key], shared)
                if completion is not None:
                    group.append(Answer(self._wanted[key], completion=completion, settles=_room(key)))
                if len(group) == GROUP:
                    yield group
                    group = []
        except TeacherError:  # the download broke off: what there is of it is handed over
            if group:
                yield group
            raise
        if group:
            yield group
        # From here on whoever asked has stored all of them.
        missing = End("again", "The batch ended without a result for the request.")
        ends.update((key, missing) for key in keys.values() if key in self._wanted)
        error = shared[0] if shared else self._same_failure(entry, ends)
        self._book.collected(entry.tag, ends)
        return error

    def _end(self, line: Line, request: Request, shared: list[TeacherError]) -> tuple[End, Completion | None]:
        """What became of a request; an error that others would meet too is added to `shared`."""
        try:
            read = self._provider.read(line, request)
        except TeacherError as error:
            shared.append(error)
            return End("void", error.message, error.hint), None
        if isinstance(read, Completion):
            return End("answered"), read
        return End("again" if read.kind in AGAIN else "final", read.reason, read.said), None

    def _same_failure(self, entry: Entry, ends: dict[str, End]) -> TeacherError | None:
        """The error of a batch in which everything failed for one lasting reason; its requests are free again."""
        reasons = {(end.state, end.reason) for end in ends.values()}
        if len(ends) < max(SAME_FAILURES, entry.requests) or len(reasons) > 1:
            return None
        end = next(iter(ends.values()))
        if end.state != "final":
            return None
        ends.update((key, End("void", end.reason, end.said)) for key in ends)
        return TeacherError(f"All {len(ends)} requests of the batch {entry.batch} failed: {end.reason}", end.said)

    def _failures(self) -> Iterator[list[Answer]]:
        """The requests that failed for good; nothing is under way any more."""
        failures = [
            Answer(self._wanted[key], error=TeacherError(end.reason, _tries(end, tries)))
            for key, (end, tries) in self._book.failures().items()
        ]
        for start in range(0, len(failures), GROUP):
            yield failures[start : start + GROUP]
        self._book.told()

    # --- waiting --------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if self._teacher.say is not None:
            self._teacher.say(self._words(self._waiting()))
        try:
            time.sleep(self._teacher.poll_s)
        except KeyboardInterrupt:
            raise self._pending() from None

    def _words(self, waiting: Sequence[Entry]) -> str:
        requests, done = sum(entry.requests for entry in waiting), sum(self._done.get(e.tag, 0) for e in waiting)
        batches = f"{len(waiting)} batch{'' if len(waiting) == 1 else 'es'}"
        unsure = sum(entry.state == "sending" for entry in waiting)
        some = f" (whether {unsure} arrived is not known yet)" if unsure else ""
        return f"{requests:,} requests in {batches} at {self._teacher.endpoint.base_url}{some}, {done:,} of them done"

    def _pending(self) -> BatchPending:
        held = f" Not everything could be handed in: {self._held}" if self._held is not None else ""
        return BatchPending(
            f"{self._words(self._waiting())}; the same command comes back for them.",
            f"Batches take up to 24 hours, most of them less. With teacher.wait = true the run waits.{held}",
        )


def _room(key: str) -> str:
    """The name under which room for a request is reserved, over several calls."""
    return f"batch/{key}"


def _custom_id(tag: str, key: str) -> str:
    """Tag and request in one: unique, and within what both providers allow (`^[a-zA-Z0-9_-]{1,64}$`)."""
    return f"{tag}-{key[:KEY_DIGITS]}"


def _tries(end: End, tries: int) -> str:
    said = f"({end.said})" if end.said else ""
    return f"{said} (in {tries} batches)".strip() if tries > 1 else said
