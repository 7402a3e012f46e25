"""The endpoint teacher against a server of others: `transformers serve` with the built-in model, on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preceptor.config import TeacherSettings
from preceptor.errors import UnsupportedSettingError
from preceptor.models.load import source_of
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.openai import OpenAITeacher

pytest.importorskip("fastapi", reason="transformers serve needs fastapi and uvicorn: pip install -e .[dev]")
pytest.importorskip("uvicorn", reason="transformers serve needs fastapi and uvicorn: pip install -e .[dev]")


@dataclass(frozen=True)
class Server:
    base_url: str
    model: str
    """The name it serves: the model's folder."""
    log: Path

    def posts(self) -> int:
        """Chat requests that arrived."""
        return self.log.read_text().count("POST /v1/chat/completions")


@pytest.fixture(scope="module")
def server(model_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRECEPTOR_CACHE", str(model_cache))
        folder = source_of("builtin:smollm2-135m-instruct")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("server")
    log = home / "log.txt"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(home)}
    serve = [sys.executable, "-m", "transformers.cli.transformers", "serve", folder, "--host", "127.0.0.1"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [*serve, "--port", str(port)],
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            wait_until_ready(f"http://127.0.0.1:{port}/health", process, log)
            yield Server(f"http://127.0.0.1:{port}/v1", folder, log)
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.2)
    raise AssertionError(f"the server did not start: {log.read_text()}")


def teacher(server: Server, **settings: object) -> OpenAITeacher:
    values = {"kind": "openai", "model": server.model, "base_url": server.base_url, "key_required": False}
    return OpenAITeacher(TeacherSettings.model_validate({**values, "timeout_s": 60.0, **settings}))


def request(text: str, **settings: object) -> Request:
    return Request((Message("user", text),), Sampling(**{"max_tokens": 8, **settings}), item=text)  # type: ignore[arg-type]


def test_a_real_server_answers_and_is_not_asked_twice(server: Server, tmp_path: Path) -> None:
    requests = [request("What is the capital of France?", temperature=0.0), request("Name a colour.", temperature=0.8)]
    with Ledger(tmp_path / "ledger") as ledger:
        asked = ask(teacher(server), requests, ledger)
        posts = server.posts()
        again = ask(teacher(server), requests, ledger)
    assert asked.spend.failures == {}
    first, second = (answer.completion for answer in asked.answers)
    assert first is not None
    assert second is not None
    assert "Paris" in first.text
    assert first.input_tokens > 5
    assert 1 <= first.output_tokens <= 8
    assert {first.finish, second.finish} <= {"stop", "length"}
    assert again.answers == asked.answers
    assert posts == 2
    assert server.posts() == posts


def test_a_setting_that_it_does_not_take_is_refused_before_anything_is_sent(server: Server, tmp_path: Path) -> None:
    before = server.posts()
    penalised = [request("Say hello.", repetition_penalty=2.0)]
    with Ledger(tmp_path / "ledger") as ledger:
        with pytest.raises(UnsupportedSettingError, match="repetition_penalty"):
            ask(teacher(server), penalised, ledger)
        assert server.posts() == before
        # And rightly so: told that the endpoint takes it, the teacher sends it, and the server refuses.
        asked = ask(teacher(server, accepts=["repetition_penalty"]), penalised, ledger)
        assert ledger.count() == 0
    error = asked.answers[0].error
    assert error is not None
    assert error.message == "The endpoint refused the request with status 422."
    assert "repetition_penalty" in error.hint
