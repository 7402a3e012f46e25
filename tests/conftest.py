"""Fixtures for all tests: real data where it is present, no network, a clean environment."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from shared_folders import shared_folder

# Before torch is imported anywhere: progress bars of libraries are noise in tests, and no test may reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with the real data sets: $PRECEPTOR_DATA, else the sibling folder of the checkout."""
    root = Path(os.environ.get("PRECEPTOR_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (root / "pubmedqa" / "ori_pqal.json").is_file():
        pytest.skip(f"no real data at {root}: set PRECEPTOR_DATA to the folder that holds pubmedqa/")
    return root


@pytest.fixture(scope="session")
def model_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Converted models, made once for all tests and never in the user's own cache."""
    return shared_folder(tmp_path_factory, "model-cache")


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny random models by architecture: `llama`, `gpt2`, `bert`."""
    import tiny

    root = tmp_path_factory.mktemp("tiny-models")
    return {kind: tiny.save_model(root / kind, kind) for kind in tiny.ARCHITECTURES}


@pytest.fixture(scope="session")
def demo_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models that know the words of the demo data: `llama` and `bert`, 320 positions."""
    import tiny

    root, words = tmp_path_factory.mktemp("demo-models"), tiny.demo_words()
    return {kind: tiny.save_model(root / kind, kind, words, window=320) for kind in ("llama", "bert")}


@contextlib.contextmanager
def _little_space() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def little_space() -> Callable[[], AbstractContextManager[None]]:
    """`with little_space():` no file of this process may grow beyond 10,000 bytes, which looks like a full disk.

    Only around the writing itself: the limit also holds for the log into which the tests' own output may go.
    """
    return _little_space


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, model_cache: Path) -> None:
    for name in list(os.environ):
        if name.endswith("_API_KEY"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("PRECEPTOR_CACHE", str(model_cache))


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection to anything but this machine is an error of the test."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        host = address[0] if isinstance(address, tuple) else ""
        if self.family in (socket.AF_INET, socket.AF_INET6) and host not in ("127.0.0.1", "::1", "localhost"):
            raise AssertionError(f"a test tried to reach {host}")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", guarded)
