"""Ctrl-C on the real command: once lets what is in flight end, twice stops at once; no answer is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import tomli_w
from chaos_server import ChaosServer

from preceptor.store.ledger import Ledger

COMMAND = [sys.executable, "-c", "from preceptor.cli import main; main()"]
CONCURRENCY = 4


def recipe(base_url: str, folder: Path, **more: object) -> Path:
    """A recipe whose teacher takes minutes."""
    path = folder / "slow.toml"
    values = {
        "name": "slow",
        "title": "Slow",
        "seeds": [1],
        "data": {"task": "demo"},
        "teacher": {
            "kind": "openai",
            "model": "m",
            "base_url": base_url,
            "key_required": False,
            "concurrency": CONCURRENCY,
            "phi": {"mode": "off"},  # presidio, where it is installed, takes seconds to import
            "usd_per_million_input": 1.5,
            "usd_per_million_output": 6,
        },
        "students": [{"name": "minilm", "model": "builtin:minilm-l6"}],
        "train": {"learning_rate": 1e-3},
        **more,
    }
    path.write_text(tomli_w.dumps(values))
    return path


def started(path: Path, out: Path, server: ChaosServer, asked: int) -> subprocess.Popen[str]:
    """The command, once the server has had so many requests."""
    process = subprocess.Popen(
        [*COMMAND, "run", str(path), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background of a script inherit an ignored Ctrl-C, and would hand it on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    ends = time.monotonic() + 120
    while sum(server.books()["asked"].values()) < asked and time.monotonic() < ends and process.poll() is None:
        time.sleep(0.02)
    return process


def test_once_finishes_what_is_in_flight_and_says_how_to_go_on(tmp_path: Path) -> None:
    with ChaosServer(latency_s=0.5) as server:
        path, out = recipe(server.base_url, tmp_path), tmp_path / "run"
        process = started(path, out, server, 10)
        process.send_signal(signal.SIGINT)
        printed, err = process.communicate(timeout=60)
        books = server.books()
    assert process.returncode == 130, err
    assert "Ctrl-C again stops at once" in err
    assert f"preceptor run {path} --out {out}" in err
    assert "Traceback" not in err
    assert printed == ""
    answered = sum(books["answered"].values())
    assert answered == sum(books["asked"].values()) < 40  # nothing new was sent, what was sent was heard out
    with Ledger(out / "ledger.sqlite") as ledger:
        assert ledger.count() == answered


def test_twice_stops_at_once_and_keeps_what_was_answered(tmp_path: Path) -> None:
    with ChaosServer(latency_s=0.2, faults=0.3, kinds=("hang",), seed=2) as server:
        path, out = recipe(server.base_url, tmp_path), tmp_path / "run"
        process = started(path, out, server, 10)
        process.send_signal(signal.SIGINT)
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        assert time.monotonic() - began < 10  # a hanging request would take two minutes
        answered = sum(server.books()["answered"].values())
    assert process.returncode == 130, err
    assert "Traceback" not in err
    with Ledger(out / "ledger.sqlite") as ledger:
        assert 0 <= answered - ledger.count() <= CONCURRENCY


def test_a_used_up_budget_is_one_sentence_and_estimate_saw_it_coming(tmp_path: Path) -> None:
    with ChaosServer() as server:
        path, out = recipe(server.base_url, tmp_path, budget={"max_usd": 0.02}), tmp_path / "run"
        made = subprocess.run(
            [*COMMAND, "estimate", str(path)], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        assert "Budget: $0.02, which" in made.stdout
        assert server.books()["asked"] == {}
        assert not (tmp_path / "runs").exists()
        process = started(path, out, server, 1000)
        _, err = process.communicate(timeout=60)
        books = server.books()
    assert process.returncode == 1
    error = err[err.index("Error:") :].splitlines()
    assert error[0].startswith("Error: The budget is used up: $0.0")
    assert len(error) == 2
    assert "Raise [budget]" in error[1]
    assert 1.5 * books["charged_input"] + 6 * books["charged_output"] <= 0.02 * 1e6
    with Ledger(out / "ledger.sqlite") as ledger:
        assert 0 < ledger.count() < 160
