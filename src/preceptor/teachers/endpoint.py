"""The engine behind every endpoint: sends, waits, tries again, and knows when to stop. No provider's words in here.

Asking is asynchronous inside: one event loop, which runs in the caller's thread while the caller waits for the next
group, so that nothing hops between threads. `answer` is the one synchronous door.
What one request did wrong is that request's error. What all requests share - the key, the address, the model's name,
the account's credit - is raised, after everything that was answered until then has been handed over.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError, TeacherError, UnreachableError
from preceptor.records import Completion, Request
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.budget import Reservation
from preceptor.teachers.http import BrokenError, Client, ConnectError
from preceptor.teachers.limits import Limiter
from preceptor.teachers.replies import Failure, Kind, exhausted_for

FIRST_WAIT_S = 0.5
"""Wait before the first retry; it doubles with every further one, up to sixteen times."""
CONNECT_S = 5.0
SILENT_ATTEMPTS = 3
"""Attempts to connect while nobody has ever answered; then the run stops, within seconds."""
SILENT_REQUESTS = 4
"""So many requests in a row given up without any reply to any request in between: the endpoint hangs."""
SAME_FAILURES = 8
"""So many equal failures before the first answer, or shared ones in a row after it: the endpoint answers nobody."""
SHARED_FAILURES = 3
"""So many replies in a row that blame what all requests share end the run before the first answer: one alone may come
from a gateway's bad moment. After it `SAME_FAILURES` are needed: among 20,000 requests of which one in sixty was
redirected, three in a row did happen."""
GARBLED_ATTEMPTS = 3
LONGEST_PAUSE_S = 600.0
"""A longer wait asked for by the endpoint (a daily limit) ends the run instead of looking like a hang."""
GATHER_S = 0.01
"""How long answers are gathered into one group. A group is one commit of the ledger."""
BYTES_PER_TOKEN = 4
"""Of English text, about; only the pace follows it."""
TEMPLATE_TOKENS = 512
"""Beyond a token for every byte sent: what a chat template and a default system prompt may add to the input."""


class Dialect(Protocol):
    """How one kind of endpoint is spoken to. Pure functions: no network."""

    @property
    def name(self) -> str:
        """`MODEL at ADDRESS`."""

    @property
    def address(self) -> str:
        """Where the endpoint is, for people."""

    @property
    def url(self) -> str:
        """Where requests are sent."""

    def headers(self, request: Request) -> dict[str, str]:
        """HTTP headers of a request, the key among them."""

    def body(self, request: Request) -> bytes:
        """The JSON to send."""

    def read(self, request: Request, status: int, headers: Mapping[str, str], content: bytes) -> Completion | Failure:
        """The answer in a reply, or why there is none; raises a `TeacherError` for what all requests share."""

    def scrub(self, text: str) -> str:
        """The text without the key."""


class Asking:
    """One call of `answer`: its requests, and what they know of each other."""

    def __init__(
        self, dialect: Dialect, settings: TeacherSettings, requests: Iterable[Request], control: Control, wait_s: float
    ) -> None:
        self._dialect = dialect
        self._settings = settings
        self._pending = iter(requests)
        self._control = control
        self._first_wait_s = wait_s
        self._limiter = Limiter(
            settings.concurrency,
            requests_per_minute=settings.requests_per_minute,
            tokens_per_minute=settings.tokens_per_minute,
        )
        self._inbox: list[Answer] = []
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()  # set when a reservation ends
        self._replies = 0  # of any kind: somebody is there
        self._answers = 0
        self._silent = 0  # requests in a row that were given up without a reply to anybody
        self._shared: list[TeacherError] = []  # since the last answer
        self._failures: Counter[str] = Counter()  # requests given up before the first answer, by reason

    def groups(self) -> Iterator[list[Answer]]:
        """Run until everything is answered or something shared is wrong; yields what has arrived."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(self._all())
        try:
            while group := loop.run_until_complete(self._next_group(task)):
                yield group
            task.result()
        finally:
            if not task.done():
                task.cancel()
                loop.run_until_complete(asyncio.wait([task]))
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio does not complain about an error nobody saw
            loop.run_until_complete(asyncio.sleep(0))  # what was cancelled last is closed in the round after
            loop.close()

    async def _next_group(self, task: asyncio.Task[None]) -> list[Answer]:
        arrived = asyncio.ensure_future(self._arrived.wait())
        await asyncio.wait([task, arrived], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            await asyncio.wait([task], timeout=GATHER_S)
        arrived.cancel()
        self._arrived.clear()
        group, self._inbox = self._inbox, []
        return group

    async def _all(self) -> None:
        client = Client(self._dialect.url, connect_s=CONNECT_S, timeout_s=self._settings.timeout_s)
        async with aclosing(client):
            try:
                async with asyncio.TaskGroup() as workers:
                    for _ in range(self._settings.concurrency):
                        workers.create_task(self._work(client))
            except BaseExceptionGroup as group:
                raise group.exceptions[0] from None  # the first error; it stopped the other workers
        if self._answers == 0 and self._shared:
            raise self._shared[0]

    async def _work(self, client: Client) -> None:
        for request in self._pending:  # shared by all workers: each draws the next one
            if self._control.stopped or not await self._answer(client, request):
                return

    async def _answer(self, client: Client, request: Request) -> bool:
        """Put the request's answer into the inbox; False when it was never sent and is not going to be."""
        body = self._dialect.body(request)
        sent = failed = 0
        answers = self._answers
        while True:
            replies = self._replies
            await self._wait(request, sent)
            now = await self._limiter.enter(_about_tokens(body, request))
            try:
                if self._control.stopped and not sent:
                    return False
                reserved = await self._reserve(request, body)
                if reserved is None:
                    return False
                reply = await self._send(client, request, body)
            finally:
                self._limiter.leave()
            sent += 1
            if isinstance(reply, Completion):
                self._put(Answer(request, completion=reply, ticket=reserved.ticket))
                self._answers += 1
                self._shared.clear()
                self._limiter.answered()
                self._control.budget.settle(reserved, reply)
                self._room.set()
                return True
            self._unreserve(reserved, reply)
            if reply.kind in (Kind.LIMITED, Kind.OVERLOADED):
                self._limiter.complained(now)
            if reply.kind is Kind.LIMITED and self._answers > answers:
                failed, answers = 0, self._answers  # the limit lets others through: this is a queue, not a failure
            else:
                failed += 1
            if failed >= self._attempts(reply.kind):
                self._put(self._given_up(request, reply, silent=self._replies == replies))
                return True
            self._heed(reply)

    def _put(self, answer: Answer) -> None:
        self._inbox.append(answer)
        self._arrived.set()

    def _attempts(self, kind: Kind) -> int:
        full = 1 + self._settings.retries
        if kind in (Kind.REFUSED, Kind.OWN, Kind.SHARED):
            return 1
        if kind is Kind.GARBLED:
            return min(GARBLED_ATTEMPTS, full)
        if kind is Kind.UNCONNECTED and self._replies == 0:
            return min(SILENT_ATTEMPTS, full)
        return full

    async def _wait(self, request: Request, sent: int) -> None:
        """Before a retry: the request's own time, which keeps all from arriving at once."""
        if sent:
            part = random.Random(f"{request.item}/{request.draw}/{sent}").uniform(0.5, 1.0)
            await asyncio.sleep(self._first_wait_s * part * 2 ** min(sent - 1, 4))

    async def _reserve(self, request: Request, body: bytes) -> Reservation | None:
        """Room in the budget, waiting for it while requests in flight may still free some; None: it is used up."""
        budget = self._control.budget
        bound = len(body) + TEMPLATE_TOKENS
        while (room := budget.reserve(request.item, bound, request.sampling.max_tokens)) is None:
            if budget.idle or self._control.stopped:
                self._control.stopped = self._control.stopped or "budget"
                self._room.set()
                return None
            self._room.clear()
            await self._room.wait()
        return room

    def _unreserve(self, reserved: Reservation, failure: Failure) -> None:
        if failure.kind in MAY_BE_PAID:
            self._control.lost += 1
            self._control.budget.lose(reserved)
        else:
            self._control.budget.release(reserved)
        self._room.set()

    def _heed(self, failure: Failure) -> None:
        if failure.wait_s is None:
            return
        if failure.wait_s > LONGEST_PAUSE_S:
            raise TeacherError(
                f"The endpoint {self._dialect.address} asks to wait {failure.wait_s:.0f} s.",
                "Run the same command again after that time: what was answered is kept.",
            )
        self._pause(failure.wait_s)

    def _pause(self, seconds: float) -> None:
        self._limiter.pause(seconds)
        self._control.paused_until = time.monotonic() + self._limiter.paused_for()

    async def _send(self, client: Client, request: Request, body: bytes) -> Completion | Failure:
        dialect = self._dialect
        began = time.perf_counter()
        try:
            response = await client.post(body, dialect.headers(request))
        except ConnectError as error:
            return Failure(Kind.UNCONNECTED, "Nobody could be reached at the endpoint.", dialect.scrub(str(error)))
        except TimeoutError:
            return Failure(Kind.TIMEOUT, f"The endpoint did not answer within {self._settings.timeout_s:g} s.")
        except BrokenError as error:
            return Failure(Kind.BROKEN, "The endpoint broke off the connection.", dialect.scrub(str(error)))
        self._replies += 1
        self._silent = 0
        if (pause := exhausted_for(response.headers)) is not None:
            self._pause(min(pause, LONGEST_PAUSE_S))
        try:
            reply = dialect.read(request, response.status, response.headers, response.content)
        except TeacherError as error:
            return Failure(Kind.SHARED, error.message, error.hint, shared=error)
        return replace(reply, seconds=time.perf_counter() - began) if isinstance(reply, Completion) else reply

    def _given_up(self, request: Request, failure: Failure, *, silent: bool) -> Answer:
        """The request's error; raises instead when it shows that no other request would fare better."""
        error = TeacherError(failure.reason, f"({failure.said})" if failure.said else "")
        if failure.shared is not None:
            self._shared.append(failure.shared)
            refused_key = isinstance(failure.shared, CredentialsError) and self._answers == 0
            if refused_key or len(self._shared) >= (SAME_FAILURES if self._answers else SHARED_FAILURES):
                raise failure.shared
            return Answer(request, error=failure.shared)
        if silent:
            self._silent += 1
            if failure.kind is Kind.UNCONNECTED or self._silent >= SILENT_REQUESTS:
                raise UnreachableError(
                    f"Nobody answers at {self._dialect.address}: {failure.said or failure.reason}",
                    "Start the server or correct teacher.base_url. What was answered is kept.",
                )
        if self._answers == 0 and failure.kind in (Kind.REFUSED, Kind.GARBLED):
            self._failures[failure.reason] += 1
            if self._failures[failure.reason] >= SAME_FAILURES:
                raise TeacherError(
                    f"The first {SAME_FAILURES} requests to {self._dialect.address} failed: {failure.reason}",
                    error.hint,
                )
        return Answer(request, error=error)


MAY_BE_PAID = frozenset({Kind.TIMEOUT, Kind.BROKEN, Kind.GARBLED, Kind.BUSY})
"""The request arrived, or may have; the provider may have done the work. A refusal (4xx), a full queue (429, 503, 529)
and a connection that was never made cost nothing."""


class EndpointTeacher:
    """A teacher behind an endpoint. `answer` asks up to `settings.concurrency` requests at a time."""

    def __init__(
        self, dialect: Dialect, accepts: frozenset[str], settings: TeacherSettings, first_wait_s: float = FIRST_WAIT_S
    ) -> None:
        self._dialect = dialect
        self._accepts = accepts
        self._settings = settings
        self._first_wait_s = first_wait_s

    @property
    def name(self) -> str:
        """`MODEL at BASE_URL`: two endpoints that serve the same model name are two teachers."""
        return self._dialect.name

    @property
    def accepts(self) -> frozenset[str]:
        """The settings that this endpoint takes, and those that the recipe says it takes."""
        return self._accepts

    def key(self, request: Request) -> str:
        """Hash of endpoint, payload and draw: the same question about two items is one call."""
        return payload_key(self._dialect, request)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        """Answer all requests, in groups of what has just arrived.

        Raises `CredentialsError`, `UnreachableError` or `TeacherError` for what all requests share. When the consumer
        stops early, open requests are cancelled.
        """
        return Asking(self._dialect, self._settings, requests, control or Control(), self._first_wait_s).groups()


def payload_key(dialect: Dialect, request: Request) -> str:
    """SHA-256 over the endpoint's address, what is sent, and the draw; in hexadecimal. The key has no part in it."""
    import hashlib

    text = b"\n".join((dialect.url.encode(), dialect.body(request), str(request.draw).encode()))
    return hashlib.sha256(text).hexdigest()


def _about_tokens(body: bytes, request: Request) -> int:
    return len(body) // BYTES_PER_TOKEN + request.sampling.max_tokens
