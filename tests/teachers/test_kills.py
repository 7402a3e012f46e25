"""Killed at any moment and started again: nothing that was answered is asked again, and the data are the same bytes."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chaos_server import ChaosServer

KILL_POINTS = 50
ITEMS, CONCURRENCY = 60, 8
DRAWS = 2


def recipe(base_url: str) -> dict[str, Any]:
    return {
        "name": "killed",
        "title": "Killed",
        "data": {"task": "demo", "max_train": ITEMS},
        "teacher": {
            "kind": "openai",
            "model": "m",
            "base_url": base_url,
            "key_required": False,
            "concurrency": CONCURRENCY,
            "phi": {"mode": "off"},  # presidio, where it is installed, takes seconds to import
            "temperature": 0.8,
            "max_tokens": 32,
        },
        "budget": {"max_tokens": 10_000_000},
        "augment": {"draws": DRAWS},
        "students": [{"name": "unused", "model": "unused"}],
    }


def work(folder: str, base_url: str) -> None:
    """What the process does: the stages data and augment of one run."""
    from preceptor.config import check_recipe
    from preceptor.pipeline import labels as pipeline
    from preceptor.pipeline.generating import augment
    from preceptor.pipeline.label_teachers import Writer
    from preceptor.progress import Progress
    from preceptor.store.ledger import Ledger
    from preceptor.teachers.openai import OpenAITeacher

    checked = check_recipe(recipe(base_url), "test")
    state = pipeline.Run(checked, Path(folder), Path(), Progress(quiet=True), "")
    pipeline.load_data(state)
    (setting,) = state.datasets
    teacher = OpenAITeacher(checked.teacher, first_wait_s=0.01)
    with Ledger(state.folder / "ledger.sqlite") as ledger:
        augment(state, setting, "rewrite", Writer("", teacher, checked.teacher), ledger)


def start(folder: Path, server: ChaosServer) -> multiprocessing.process.BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["preceptor.pipeline.labels", "preceptor.teachers.openai", "aiohttp"])
    process = context.Process(target=work, args=(str(folder), server.base_url))
    process.start()
    return process


def finish(folder: Path, server: ChaosServer) -> bytes:
    process = start(folder, server)
    process.join(60)
    assert process.exitcode == 0
    return (folder / "augment" / "default" / "rewrite" / "candidates.parquet").read_bytes()


def killed_at(moment: int, folder: Path, server: ChaosServer) -> None:
    """Run, and kill the process when the server has had so many requests."""
    process = start(folder, server)
    while sum(server.books()["asked"].values()) < moment and process.is_alive():
        time.sleep(0.001)
    if process.pid is not None and process.is_alive():
        os.kill(process.pid, signal.SIGKILL)
    process.join(60)
    assert process.exitcode in (-signal.SIGKILL, 0)
    while server.books()["open"]:  # what the dead process had asked is still being answered
        time.sleep(0.002)


@pytest.fixture(scope="module")
def server() -> Iterator[ChaosServer]:
    kinds = ("429", "500", "reset", "truncated", "not json")
    with ChaosServer(seed=5, faults=0.1, kinds=kinds, latency_s=0.004, jitter_s=0.01, words=9) as running:
        yield running


@pytest.fixture(scope="module")
def uninterrupted(server: ChaosServer, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    data = finish(tmp_path_factory.mktemp("whole") / "run", server)
    assert len(data) > 10_000
    server.reset()
    return data


@pytest.mark.parametrize("point", range(KILL_POINTS))
def test_killed_and_started_again(point: int, server: ChaosServer, uninterrupted: bytes, tmp_path: Path) -> None:
    from preceptor.store.ledger import Ledger

    folder, dice = tmp_path / "run", random.Random(point)
    held: set[str] = set()
    for _ in range(dice.choice((1, 1, 2))):
        killed_at(dice.randrange(1, ITEMS * DRAWS), folder, server)
        if (folder / "ledger.sqlite").exists():
            with Ledger(folder / "ledger.sqlite") as ledger:
                held = {row[0] for row in ledger._db.execute("SELECT key FROM calls")}
    before = server.reset()
    assert finish(folder, server) == uninterrupted
    again = server.reset()
    lost = sum(before["answered"].values()) - len(held)
    assert 0 <= lost <= 2 * 3 * CONCURRENCY  # in flight at a kill, or arrived and not yet stored
    answered = sum(again["answered"].values())
    assert answered == ITEMS * DRAWS - len(held)  # exactly what the ledger did not hold
