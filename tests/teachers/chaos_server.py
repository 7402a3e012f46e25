"""A chat endpoint in a process of its own that misbehaves at random, by a seed, and keeps the books.

    python chaos_server.py '{"seed": 1, "faults": 0.3, "latency_s": 0.005}'

prints its port. What happens to a request depends on the seed, its text and how often that text was asked, so an answer
is a function of the payload and a fault passes when the request is tried again. `GET /books` tells how often each text
was asked and answered, and what was charged. Raw asyncio, because a server library would not send broken replies.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import subprocess
import sys
import urllib.request
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

FAULTS = (
    "429", "429 retry-after", "500", "502", "503", "529", "reset", "hang", "drip", "truncated", "not json", "not utf-8",
    "html", "empty choices", "length", "content_filter", "wrong schema", "wrong content type", "redirect",
)  # fmt: skip
UNCHARGED = {"429", "429 retry-after", "503", "529", "redirect"}
"""As providers do: what was refused is not paid. What broke half-way may have been."""


LATER = b'{"error": {"message": "later"}}'
CANNED: dict[str, tuple[Any, ...]] = {
    **{status: (LATER, int(status)) for status in ("429", "500", "502", "503", "529")},
    "429 retry-after": (LATER, 429, "Retry-After: 0.05\r\n"),
    "not utf-8": (b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',),
    "html": (b"<html><body>Bad gateway</body></html>", 200, "", "text/html"),
    "empty choices": (b'{"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 0}}',),
    "wrong schema": (b'[{"generated_text": "of another kind of endpoint"}]',),
    "redirect": (b"", 307, "Location: http://127.0.0.1:9/v1/chat/completions\r\n"),
}
"""Arguments of `Chaos.reply` for faults that are whole replies."""


@dataclass(frozen=True)
class Manner:
    """How the server behaves."""

    seed: int = 0
    faults: float = 0.0
    """Share of requests that something happens to."""
    latency_s: float = 0.0
    jitter_s: float = 0.0
    """Uniformly added to the latency, by text and attempt."""
    kinds: tuple[str, ...] = FAULTS
    most_open: int = 0
    """Answer 429 beyond so many requests at a time; 0: no limit."""
    words: int = 5
    """Length of an answer, up to max_tokens; each word is a token."""


class Books:
    """What was asked, said and charged."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.charged_input = 0
        self.charged_output = 0
        self.open = 0
        self.peak = 0


class Chaos(asyncio.Protocol):
    """One connection; requests on it follow one another."""

    def __init__(self, manner: Manner, books: Books) -> None:
        self.manner, self.books = manner, books
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        if lines[0].startswith("GET"):
            self.reply(json.dumps(vars(self.books)).encode())
            if lines[0].startswith("GET /reset"):
                vars(self.books).update(vars(Books()))
        else:
            task = asyncio.get_running_loop().create_task(self.serve(json.loads(rest[:length]), length))
            task.add_done_callback(lambda done: done.exception())

    async def serve(self, body: dict[str, Any], size: int) -> None:
        manner, books = self.manner, self.books
        text = body["messages"][-1]["content"]
        attempt = books.asked[text]
        books.asked[text] += 1
        books.open += 1
        books.peak = max(books.peak, books.open)
        try:
            dice = random.Random(f"{manner.seed}/{attempt}/{text}")
            await asyncio.sleep(manner.latency_s + dice.random() * manner.jitter_s)
            fault = dice.choice(manner.kinds) if dice.random() < manner.faults else ""
            if manner.most_open and books.open > manner.most_open:
                fault = "429"
            answer = words_for(body, manner.words)
            if fault not in UNCHARGED:
                books.charged_input += tokens(body)
                books.charged_output += len(answer.split())
            books.faults[fault] += 1
            await self.send(fault, body, answer)
            books.answered[text] += fault in ("", "length", "content_filter", "wrong content type")
        finally:
            books.open -= 1

    async def send(self, fault: str, body: dict[str, Any], answer: str) -> None:
        good = completion(body, answer)
        if fault in CANNED:
            self.reply(*CANNED[fault])
        elif fault == "reset":
            self.transport.abort()
        elif fault == "hang":
            await asyncio.sleep(20)
        elif fault == "drip":
            raw = whole(good)
            for start in range(0, len(raw), 40):
                self.transport.write(raw[start : start + 40])
                await asyncio.sleep(0.3)
        elif fault == "truncated":
            self.transport.write(whole(good)[:-20])
            self.transport.close()
        elif fault == "not json":
            self.reply(good[:-30])
        elif fault in ("length", "content_filter"):
            self.reply(completion(body, answer if fault == "length" else "", fault))
        else:
            self.reply(good, kind="text/plain" if fault == "wrong content type" else "application/json")

    def reply(self, content: bytes, status: int = 200, more: str = "", kind: str = "application/json") -> None:
        self.transport.write(whole(content, status, more, kind))


def whole(content: bytes, status: int = 200, more: str = "", kind: str = "application/json") -> bytes:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n"
    return head.encode() + content


def tokens(body: dict[str, Any]) -> int:
    """Of the input: a token for every four characters, and some for a chat template."""
    return sum(len(m["content"]) // 4 for m in body["messages"]) + 12


def words_for(body: dict[str, Any], words: int) -> str:
    """The answer: a function of the payload alone."""
    dice = random.Random(hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest())
    count = min(words, body.get("max_tokens", words))
    return " ".join(f"w{dice.randrange(10**6)}" for _ in range(count))


def completion(body: dict[str, Any], answer: str, finish: str = "stop") -> bytes:
    usage = {"prompt_tokens": tokens(body), "completion_tokens": len(answer.split())}
    message = {"role": "assistant", "content": answer}
    return json.dumps({"choices": [{"message": message, "finish_reason": finish}], "usage": usage}).encode()


class ChaosServer:
    """The process, for tests."""

    def __init__(self, **manner: Any) -> None:
        self.command = [sys.executable, str(Path(__file__)), json.dumps(asdict(Manner(**manner)))]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.base_url = f"http://127.0.0.1:{int(self.process.stdout.readline())}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def books(self, page: str = "/books") -> dict[str, Any]:
        with urllib.request.urlopen(self.base_url.replace("/v1", page)) as reply:
            books: dict[str, Any] = json.load(reply)
        return books

    def reset(self) -> dict[str, Any]:
        """The books so far; new ones are begun."""
        return self.books("/reset")


async def main(manner: Manner) -> None:
    books = Books()
    server = await asyncio.get_running_loop().create_server(lambda: Chaos(manner, books), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(Manner(**json.loads(sys.argv[1]))))
