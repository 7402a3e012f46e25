"""What workers of the tests do: functions of a module, so that a process that is started afresh finds them."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from preceptor.errors import ModelError, PartFinished


def write(path: Path, words: str = "") -> None:
    """Add a line with the number of threads that this process may use."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{words} {os.environ['OMP_NUM_THREADS']} {os.environ['MKL_NUM_THREADS']}\n")


def fail(_path: Path) -> None:
    """As a training does whose loss is no number."""
    raise ModelError("The loss is no number.", "Lower the rate.")


def full(path: Path) -> None:
    """As a full disk."""
    raise OSError(28, "No space left on device", str(path))


def err(_path: Path) -> None:
    """As an error of the program."""
    raise ValueError("nobody foresaw this")


def die(_path: Path) -> None:
    """As the system does where memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def stop(path: Path) -> None:
    """As a training that the end of the time finds under way."""
    time.sleep(0.1)
    raise PartFinished(f"{path} is not done.")


def wait(path: Path) -> None:
    """Say who works, begin to write, and take long; what was begun is taken away when told to end."""
    begun = path.with_suffix(".begun")
    begun.write_text("")
    try:
        path.write_text(str(os.getpid()))
        time.sleep(60)
    finally:
        begun.unlink()
