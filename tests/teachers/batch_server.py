"""Both providers' batch interfaces on loopback: they behave as documented, fail as told, and count the bill.

What a test chooses: how many looks a batch takes, what becomes of each request at which try, which call goes wrong and
whether before or after its work is done. `paid` counts every request that was answered, as the providers charge it.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from batch_server_anthropic import AnthropicSide
from batch_server_openai import OpenAISide


@dataclass(frozen=True)
class Fate:
    """What becomes of one request in one batch."""

    kind: str = "succeed"
    """`succeed`, `error`, `expire`, `cancel`, or `vanish` (no line at all)."""
    text: str | None = None
    finish: str = ""
    """The provider's own word; empty: a normal end."""
    status: int = 500
    error: str = ""
    """The provider's own code or type of an `error`."""


@dataclass(frozen=True)
class Trouble:
    """A call that goes wrong."""

    status: int = 500
    after: bool = False
    """After the work is done: the reply is lost, the batch exists."""
    hang_up: bool = False
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call that the server has seen."""

    method: str
    path: str
    nth: int
    """How many calls of this method to this path came before."""
    headers: dict[str, str]


class BatchServer:
    """Serves /v1/files, /v1/batches, /v1/messages and /v1/messages/batches in a thread."""

    def __init__(
        self,
        *,
        key: str | None = "sk-a-key-for-tests",
        models: tuple[str, ...] = ("m",),
        polls: int = 1,
        fate: Callable[[str, int], Fate] = lambda _text, _tries: Fate(),
        trouble: Callable[[Call], Trouble | None] = lambda _call: None,
        refusal: dict[str, Any] | None = None,
        queue: int | None = None,
    ) -> None:
        self.key = key
        """None: a server that takes no key, and refuses whoever sends one."""
        self.models = models
        self.polls = polls
        """Looks at a batch until it has ended."""
        self.fate = fate
        """From the last message's text and the number of earlier tries."""
        self.trouble = trouble
        self.refusal = refusal
        """The fault that OpenAI's validation finds in every file."""
        self.queue = queue
        """Requests that OpenAI's queue takes at a time."""
        self.listing_ages = False
        """Whether a look at Anthropic's list counts as a look at each batch in it: time passes for all of them."""
        self.calls: list[Call] = []
        self.tries: Counter[str] = Counter()
        self.paid: Counter[str] = Counter()
        self.order = random.Random(5)
        self.openai = OpenAISide(self)
        self.anthropic = AnthropicSide(self)
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),), daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def created(self) -> int:
        """Batches of both providers, those included that were refused after their creation."""
        return len(self.openai.batches) + len(self.anthropic.batches)

    def decide(self, text: str) -> Fate:
        """Work on one request: its fate, and the bill."""
        fate = self.fate(text, self.tries[text])
        self.tries[text] += 1
        if fate.kind == "succeed":
            self.paid[text] += 1
        return fate

    def shuffled(self, lines: list[dict[str, Any]]) -> str:
        """JSON Lines in an order of their own, not escaped, as the providers send them."""
        self.order.shuffle(lines)
        return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._stopping is not None
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        await web.SockSite(runner, listening).start()
        self._ready.set()
        await self._stopping.wait()
        # asyncio leaks a connection that is being accepted while its server closes: stop accepting first.
        asyncio.get_running_loop().remove_reader(listening)
        await asyncio.sleep(0.02)
        await runner.cleanup()
        await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        nth = sum((c.method, c.path) == (request.method, request.path) for c in self.calls)
        call = Call(request.method, request.path, nth, dict(request.headers))
        self.calls.append(call)
        trouble = self.trouble(call)
        side = self.anthropic if request.path.startswith("/v1/messages") else self.openai
        if trouble is None or trouble.after:
            answer = await side.handle(request)
        if trouble is None:
            return answer
        if trouble.hang_up and request.transport is not None:
            request.transport.abort()
        return web.json_response(
            trouble.body or {"error": {"message": "trouble"}}, status=trouble.status, headers=trouble.headers
        )
