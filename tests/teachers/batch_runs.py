"""Runs of a batch teacher: a small durable store for its answers, and processes that kill themselves at a moment."""

from __future__ import annotations

import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from preceptor.config import TeacherSettings
from preceptor.errors import BatchPending
from preceptor.records import Message, Request, Sampling
from preceptor.teachers import batches
from preceptor.teachers.base import Answer
from preceptor.teachers.batches import BatchTeacher
from preceptor.teachers.batches_make import make_batch_teacher

KEY_ENV = "TEST_BATCH_KEY"
PROVIDERS = {
    "openai": "preceptor.teachers.batches_openai:OpenAIBatches",
    "anthropic": "preceptor.teachers.batches_anthropic:AnthropicBatches",
}
BOOK = "preceptor.store.batches:BatchBook"
STORE = "batch_runs:Store"

WHILE_HANDING_IN: dict[str, tuple[str, str, int]] = {
    "before the intention": (BOOK, "intend", 1),
    "after the intention, before anything is sent": ("PROVIDER", "prepare", 1),
    "with the file uploaded": (BOOK, "sending", 1),
    "just before the call": ("PROVIDER", "create", 1),
    "after the call, before its id is written": (BOOK, "submitted", 1),
    "after the second call, before its id is written": (BOOK, "submitted", 2),
}
"""Moment -> class, method and at which call of it the process dies instead."""

WHILE_COLLECTING: dict[str, tuple[str, str, int]] = {
    "before the first answers are stored": (STORE, "put", 1),
    "with some answers of a batch stored": (STORE, "put", 2),
    "with all answers of a batch stored, and the batch still open": (BOOK, "collected", 1),
    "with one batch collected, in the middle of the next": (STORE, "put", 4),
    "before what failed is intended again": (BOOK, "intend", 1),
    "with what failed handed in again, before the id is written": (BOOK, "submitted", 1),
}


class Store:
    """Answers by the request's item, one line each in a file that outlives the process."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "answers.jsonl"
        self.texts: dict[str, str] = {}
        if self._file.exists():
            for line in self._file.read_text(encoding="utf-8").splitlines():
                self.texts |= json.loads(line)
        self.errors: dict[str, str] = {}

    def put(self, group: Sequence[Answer]) -> None:
        """Store a group, whole or not at all."""
        fresh = {a.request.item: a.completion.text for a in group if a.completion is not None}
        assert not set(fresh) & set(self.texts), "an answer came twice"
        self.texts |= fresh
        self.errors |= {a.request.item: str(a.error) for a in group if a.error is not None}
        with self._file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fresh) + "\n")
            file.flush()
            os.fsync(file.fileno())


def request(text: str, **sampling: Any) -> Request:
    return Request((Message("system", "Be brief."), Message("user", text)), Sampling(**sampling), item=text)


def requests(count: int) -> list[Request]:
    return [request(f"q{n}") for n in range(count)]


def make(kind: str, base_url: str, folder: Path, *, settle_s: float = 0.3, **settings: Any) -> BatchTeacher:
    """A teacher as a recipe describes it, whose lost calls are settled within a test's patience."""
    values = {"kind": kind, "mode": "batch", "model": "m", "base_url": base_url, "key_env": KEY_ENV, "poll_s": 0.01}
    teacher = make_batch_teacher(TeacherSettings.model_validate({**values, **settings}), folder / "batches.sqlite")
    teacher.settle_s = settle_s
    return teacher


def run(teacher: BatchTeacher, asked: Sequence[Request], folder: Path) -> Store:
    """What a run does: ask for what is not stored, and store every group before the next one."""
    store = Store(folder)
    for group in teacher.answer([r for r in asked if r.item not in store.texts]):
        store.put(group)
    return store


def come_back(teacher: BatchTeacher, asked: Sequence[Request], folder: Path) -> Store | None:
    """Run once; None when batches are under way."""
    try:
        return run(teacher, asked, folder)
    except BatchPending:
        return None


def find(place: str) -> Any:
    """The class that `module:Class` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def small_batches(kind: str) -> None:
    """Five requests in a batch and two answers in a group, so that few requests show all that many would."""
    find(PROVIDERS[kind]).max_requests = 5
    batches.GROUP = 2


def work(kind: str, base_url: str, folder: str, moment: tuple[str, str, int]) -> None:
    """What a killed process does: one run that dies at the moment."""
    small_batches(kind)
    place, name, count = moment
    owner = find(PROVIDERS[kind] if place == "PROVIDER" else place)
    real, calls = getattr(owner, name), itertools.count(1)

    def dying(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)

    setattr(owner, name, dying)
    come_back(make(kind, base_url, Path(folder)), requests(12), Path(folder))


def serve() -> None:
    """Fork a process for every line of stdin that describes one, and write to stdout how it ended."""
    for kind in PROVIDERS:
        importlib.import_module(kind)  # once: the clients take a second to import
    for line in sys.stdin:
        kind, base_url, folder, moment = json.loads(line)
        child = os.fork()
        if child == 0:
            work(kind, base_url, folder, moment)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


class Forker:
    """Starts processes that die at a moment; a process of its own, because this one has threads."""

    def __enter__(self) -> Self:
        code = "import sys; sys.path.insert(0, sys.argv[1]); import batch_runs; batch_runs.serve()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate(timeout=10)

    def run(self, kind: str, base_url: str, folder: Path, moment: tuple[str, str, int]) -> int:
        """The process's exit status; minus the signal's number when it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([kind, base_url, str(folder), moment]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())
