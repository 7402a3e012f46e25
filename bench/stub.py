"""A chat endpoint on loopback in a process of its own: the same for every tool, and cheap, so that tools are measured.

Speaks HTTP/1.1 with `asyncio.Protocol` and the standard library alone. Every POST to /v1/chat/completions is answered
after a fixed latency with `runners.work.right_answer` of its last message. GET /stats says what has arrived since POST
/reset; what tools send on their own account (curator asks for the limits in a reply's headers) is answered and not
counted. The port is printed; the process ends when its standard input is closed.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import re
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from runners.work import OPENING, right_answer

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


@dataclass
class Seen:
    """What has arrived since the last reset."""

    requests: int = 0
    bodies: set[bytes] = field(default_factory=set)
    """SHA-1 of each different body."""
    open: int = 0
    most_open: int = 0
    """Most requests that waited for their answer at one time."""
    first: float = 0.0
    """When the first request was here, on the machine's monotonic clock; 0 before."""
    cpu_before_s: float = field(default_factory=time.process_time)

    def stats(self) -> dict[str, Any]:
        """For /stats."""
        return {
            "requests": self.requests,
            "distinct": len(self.bodies),
            "most_open": self.most_open,
            "first": self.first,
            "cpu_s": time.process_time() - self.cpu_before_s,
        }


class Stub:
    """What all connections share."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.seen = Seen()

    def note(self, body: bytes) -> None:
        """Count a chat request."""
        seen = self.seen
        seen.first = seen.first or time.monotonic()
        seen.requests += 1
        seen.bodies.add(hashlib.sha1(body, usedforsecurity=False).digest())
        seen.open += 1
        seen.most_open = max(seen.most_open, seen.open)


class Connection(asyncio.Protocol):
    """One connection, kept alive. Requests on it are answered in the order in which they came."""

    def __init__(self, stub: Stub) -> None:
        self._stub = stub
        self._loop = asyncio.get_running_loop()
        self._buffer = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        assert isinstance(transport, asyncio.WriteTransport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take every request that is complete."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            found = LENGTH.search(head)
            whole = end + 4 + (int(found[1]) if found else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            method, path, _ = head.split(b"\r\n", 1)[0].split(b" ")
            self._take(method, path, body)

    def _take(self, method: bytes, path: bytes, body: bytes) -> None:
        if (method, path) == (b"POST", b"/v1/chat/completions"):
            asked = json.loads(body)
            content = content_of(asked)
            counted = content.startswith(OPENING)
            if counted:
                self._stub.note(body)
            self._loop.call_later(
                self._stub.latency_s, self._answer, completion(body, asked["model"], content), counted
            )
        elif path == b"/stats":
            self._write(b"200 OK", json.dumps(self._stub.seen.stats()).encode())
        elif path == b"/reset":
            self._stub.seen = Seen()
            self._write(b"200 OK", b"{}")
        else:
            self._write(b"404 Not Found", b'{"error": {"message": "no such path"}}')

    def _answer(self, content: bytes, counted: bool) -> None:
        self._stub.seen.open -= counted
        self._write(b"200 OK", content)

    def _write(self, status: bytes, content: bytes) -> None:
        if not self._transport.is_closing():
            head = b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            self._transport.write(head % (status, len(content)) + content)


def content_of(asked: dict[str, Any]) -> str:
    """The last message's text, which some clients send in parts."""
    content = asked["messages"][-1]["content"] if asked["messages"] else ""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def completion(body: bytes, model: str, content: str) -> bytes:
    """The reply to a request, as OpenAI's reference describes it."""
    text = right_answer(content)
    read, written = len(content) // 4, len(text) // 4
    reply = {
        "id": "chatcmpl-" + hashlib.sha1(body, usedforsecurity=False).hexdigest()[:24],
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        "system_fingerprint": None,
    }
    return json.dumps(reply).encode()


async def serve(latency_s: float) -> None:
    """Serve on a free port of loopback until standard input is closed."""
    loop, stub, done = asyncio.get_running_loop(), Stub(latency_s), asyncio.Event()
    server = await loop.create_server(lambda: Connection(stub), "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)

    def wait_for_the_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(done.set)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    await done.wait()
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency-s", type=float, required=True)
    asyncio.run(serve(parser.parse_args().latency_s))
