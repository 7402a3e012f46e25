"""Progress that people can watch: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import ClassVar, Protocol

LINE_EVERY_S = 20.0
"""Seconds between lines when the output is not a terminal (a log file, CI)."""


def notice(text: str) -> None:
    """One line for people that must be seen, also by those who want no progress."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - this module is where the program speaks


class Advance(Protocol):
    """Report that `done` of the total are finished, with a few words that say it better, such as step and loss."""

    def __call__(self, done: int, words: str = "", left: float | None = None) -> None:
        """Show that `done` units are finished; `left` are the seconds that the rest takes, where that is known."""


class Progress:
    """Shows one task at a time on stderr; silent when `quiet`."""

    bars: ClassVar[bool] = True
    """Whether a terminal shows bars. Processes that share one speak in lines."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet

    def say(self, text: str) -> None:
        """One line for people."""
        if not self.quiet:
            notice(text)

    @contextlib.contextmanager
    def task(self, label: str, total: int) -> Iterator[Advance]:
        """A task of `total` units. Yields a function that takes how many are done."""
        if self.quiet:
            yield _silent
        elif sys.stderr.isatty() and self.bars:
            with _bar(label, total) as advance:
                yield advance
        else:
            yield _lines(self, label, total)


def _silent(done: int, words: str = "", left: float | None = None) -> None:
    pass


@contextlib.contextmanager
def _bar(label: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(label, total=total, words="")

        def advance(done: int, words: str = "", left: float | None = None) -> None:
            bars.update(task, completed=done, words=words)

        yield advance


def _lines(progress: Progress, label: str, total: int) -> Advance:
    started = last = time.monotonic()

    def advance(done: int, words: str = "", left: float | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= LINE_EVERY_S:
            last = now
            if left is None:
                left = (now - started) / max(done, 1) * (total - done)
            rest = f", about {left:.0f} s left" if done < total else f", {now - started:.0f} s"
            progress.say(f"{label}: {words or f'{done}/{total}'}{rest}")

    return advance
