"""POST over HTTP/1.1 with kept connections, and nothing else: the hot path of asking an endpoint.

With 200 requests in flight their answers come in bursts, and the time that each takes here delays the others: a general
client spends about 150 us a request more than this one (`bench/generation.py`). Parsing is httptools', which wraps the
parser of Node.js; TLS is Python's own, with the system's certificates. Redirects are not followed: the key would go to
whatever host a reply names. Nothing is retried here.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httptools

LARGEST_REPLY = 16 * 2**20
"""Bytes of a reply that are read; what is longer is no chat completion, and comes back empty."""


class ConnectError(Exception):
    """No connection could be made."""


class BrokenError(Exception):
    """The connection broke, or what came over it was no HTTP, before the reply was complete."""


class Headers(dict[str, str]):
    """Headers of a reply; names are held in small letters and looked up in any."""

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        """The value of the header called `name`."""
        return super().get(name.lower(), default)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply."""

    status: int
    headers: Headers
    content: bytes


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.usable = True
        self._waiting: asyncio.Future[Reply] | None = None
        self._begin()

    def _begin(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._headers = Headers()
        self._parts: list[bytes] = []
        self._size = 0
        self._to_the_end = False  # the reply has no length: it ends with the connection

    # --- asking ---------------------------------------------------------------------------------------------------

    async def ask(self, request: bytes, timeout_s: float) -> Reply:
        loop = asyncio.get_running_loop()
        waiting: asyncio.Future[Reply] = loop.create_future()
        self._waiting = waiting
        expiry = loop.call_later(timeout_s, self._fail, TimeoutError())
        assert self.transport is not None
        self.transport.write(request)
        try:
            return await waiting
        except BaseException:
            self.close()
            raise
        finally:
            expiry.cancel()

    def close(self) -> None:
        self.usable = False
        if self.transport is not None:
            self.transport.abort()

    def _fail(self, error: Exception) -> None:
        self.usable = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def _succeed(self, reply: Reply) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(reply)

    # --- asyncio calls these --------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(BrokenError(f"what came is no HTTP ({error})"))
            self.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.usable = False
        if error is None and self._to_the_end:
            self._succeed(Reply(self._parser.get_status_code(), self._headers, b"".join(self._parts)))
        self._fail(BrokenError(str(error) if error else "closed before the reply was complete"))

    # --- the parser calls these -----------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length, coding = self._headers.get("Content-Length"), self._headers.get("Transfer-Encoding")
        self._to_the_end = not length and "chunked" not in coding.lower()

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if self._size <= LARGEST_REPLY:
            self._parts.append(part)
        else:
            self._succeed(Reply(self._parser.get_status_code(), self._headers, b""))
            self.close()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200:  # an interim reply: the real one follows
            self._headers, self._to_the_end = Headers(), False
            return
        self._to_the_end = False
        self.usable = self.usable and self._parser.should_keep_alive()
        reply = Reply(status, self._headers, b"".join(self._parts))
        self._begin()
        self._succeed(reply)


class Client:
    """Posts to one address. For one event loop."""

    def __init__(self, url: str, *, connect_s: float, timeout_s: float) -> None:
        parts = urlsplit(url)
        self._host, self._tls = parts.hostname or "", parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        path = parts.path or "/"
        self._start = f"POST {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: application/json\r\n"
        self._connect_s, self._timeout_s = connect_s, timeout_s
        self._context = ssl.create_default_context() if self._tls else None
        # A race between addresses that is called off loses the socket that has just won; one address needs no race.
        self._race_s = None if self._host == "localhost" or _is_address(self._host) else 0.25
        self._idle: list[_Connection] = []

    async def post(self, body: bytes, headers: Mapping[str, str]) -> Reply:
        """Send `body` and return the reply, whatever its status.

        Raises `ConnectError`, `BrokenError`, or `TimeoutError` when the reply is not complete in time.
        """
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{self._start}{lines}Content-Length: {len(body)}\r\n\r\n"
        connection = await self._connection()
        reply = await connection.ask(head.encode("latin-1") + body, self._timeout_s)
        if connection.usable:
            self._idle.append(connection)
        else:
            connection.close()
        return reply

    async def aclose(self) -> None:
        """Let go of all connections."""
        while self._idle:
            self._idle.pop().close()
        await asyncio.sleep(0)  # sockets are closed in the round after

    async def _connection(self) -> _Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        try:
            _, made = await asyncio.wait_for(
                asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._context, happy_eyeballs_delay=self._race_s
                ),
                self._connect_s,
            )
        except TimeoutError:
            raise ConnectError(f"no connection within {self._connect_s:g} s") from None
        except OSError as error:  # refused, unknown host, a certificate that cannot be trusted
            raise ConnectError(_words(error)) from error
        return made


def _is_address(host: str) -> bool:
    """Whether a host is given by number."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _words(error: OSError) -> str:
    """The system's words, without numbers and addresses around them."""
    with contextlib.suppress(AttributeError):
        return str(error.verify_message)  # type: ignore[attr-defined]
    if isinstance(error, socket.gaierror):
        return error.strerror or "the name is not known"
    # By number: asyncio's own text names the address instead of the reason.
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
