"""The lean HTTP client against replies of every shape that HTTP/1.1 allows, and some that it does not."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from preceptor.teachers import http
from preceptor.teachers.http import BrokenError, Client, ConnectError, Reply

OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers each request of a connection with the next of `replies`; None closes the connection."""

    def __init__(self, *replies: bytes | None, context: ssl.SSLContext | None = None) -> None:
        self.replies = list(replies)
        self.context = context
        self.requests: list[bytes] = []
        self.connections = 0

    async def __aenter__(self) -> Server:
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, ssl=self.context)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.02)  # both ends hear that the connection is closed
        self.server.close()
        await self.server.wait_closed()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
                self.requests.append(head + await reader.readexactly(length))
                reply = self.replies.pop(0)
                if reply is None:
                    break
                for start in range(0, len(reply), 7):  # in small pieces
                    writer.write(reply[start : start + 7])
                    await writer.drain()
                if (b"Content-Length" not in reply and b"chunked" not in reply) or reply.endswith(b"hel"):
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def run(scene: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scene())


def post(*replies: bytes | None, times: int = 1, timeout_s: float = 2.0) -> tuple[list[Reply], Server]:
    server, got = Server(*replies), []

    async def scene() -> None:
        async with server:
            client = Client(f"http://127.0.0.1:{server.port}/v1/chat", connect_s=2, timeout_s=timeout_s)
            try:
                headers = {"Content-Type": "application/json", "X-A": "b"}
                got.extend([await client.post(b'{"x": 1}', headers) for _ in range(times)])
            finally:
                await client.aclose()

    run(scene)
    return got, server


def test_what_is_sent_is_a_whole_request() -> None:
    _, server = post(OK + b"Content-Length: 2\r\n\r\n{}")
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat HTTP/1.1"
    assert {f"Host: 127.0.0.1:{server.port}", "X-A: b", "Content-Length: 8"} <= set(lines)
    assert body == b'{"x": 1}'


@pytest.mark.parametrize(
    "reply",
    [
        OK + b"Content-Length: 5\r\nX-Rate: 7\r\n\r\nhello",
        OK + b"Transfer-Encoding: chunked\r\nX-Rate: 7\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
        OK + b"X-Rate: 7\r\n\r\nhello",  # ends with the connection
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 5\r\nx-rate: 7\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\nX-Rate: 7\r\n\r\nhello",
    ],
)
def test_replies_of_every_shape(reply: bytes) -> None:
    (got,), _ = post(reply)
    assert (got.status, got.content) == (200, b"hello")
    assert got.headers.get("X-RATE") == "7"
    assert got.headers.get("absent", "none") == "none"


def test_a_connection_is_kept_unless_a_reply_ends_it() -> None:
    kept, closed = OK + b"Content-Length: 1\r\n\r\na", OK + b"Connection: close\r\nContent-Length: 1\r\n\r\nb"
    got, server = post(kept, kept, closed, kept, times=4)
    assert b"".join(reply.content for reply in got) == b"aaba"
    assert server.connections == 2


@pytest.mark.parametrize(
    "reply",
    [None, OK + b"Content-Length: 50\r\n\r\nhel", b"SSH-2.0-OpenSSH\r\n\r\n", OK[:9], b"HTTP/1.1 999999 X\r\n\r\n"],
)
def test_what_breaks_off_or_is_no_http_is_broken(reply: bytes | None) -> None:
    with pytest.raises(BrokenError):
        post(reply)


def test_a_reply_that_does_not_end_in_time_is_given_up() -> None:
    with pytest.raises(TimeoutError):
        post(OK + b"Content-Length: 500\r\n\r\nhel" + b"chunked", timeout_s=0.2)


def test_a_reply_that_is_too_long_comes_back_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_REPLY", 100)
    (got,), _ = post(OK + b"Content-Length: 5000\r\n\r\n" + b"x" * 5000)
    assert got.content == b""


@pytest.mark.parametrize(
    ("url", "words"), [("http://127.0.0.1:9/", "refused"), ("http://no-such-host.invalid/", "name|known|resolution")]
)
def test_nobody_there_is_a_connect_error_in_words(url: str, words: str) -> None:
    async def scene() -> None:
        with pytest.raises(ConnectError, match=f"(?i){words}"):
            await Client(url, connect_s=2, timeout_s=2).post(b"", {})

    run(scene)


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has signed, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not installed")
    key, made = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", str(key)]
    subprocess.run([*command, "-out", str(made), *subject], check=True, capture_output=True)
    return made, key


def test_tls_is_checked(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made, key)

    async def scene() -> None:
        async with Server(OK + b"Content-Length: 2\r\n\r\nhi", context=context) as server:
            url = f"https://127.0.0.1:{server.port}/v1"
            with pytest.raises(ConnectError, match="self-signed certificate"):
                await Client(url, connect_s=2, timeout_s=2).post(b"{}", {})
            monkeypatch.setenv("SSL_CERT_FILE", str(made))
            client = Client(url, connect_s=2, timeout_s=2)
            assert (await client.post(b"{}", {})).content == b"hi"
            await client.aclose()

    run(scene)
