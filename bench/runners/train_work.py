"""What the runners of the training bench share: the job, the clock, the result. Standard library alone.

A runner is a process of its own: it reads the job's file, trains on exactly these items for one pass or more, and
writes one JSON file with tokens, seconds and peak memory. Seconds are those of the steps: no loading, no tokenising.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runners.apart import work_off


@dataclass(frozen=True)
class Job:
    """What to train on, and how."""

    model: str
    """A folder that stock transformers loads."""
    items: list[dict[str, Any]]
    """`prompt`, `completion`, and for encoders `label`."""
    batch_size: int
    epochs: int = 1
    dtype: str = "bfloat16"
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 3e-4
    threads: int = 0
    """0: as the library chooses."""
    labels: tuple[str, ...] = ()
    settings: dict[str, Any] | None = None
    """What only one runner understands."""


class Clock:
    """Seconds from the first step's beginning to the last one's end. Mixed into a callback of transformers."""

    started = ended = 0.0

    def on_step_begin(self, *_args: Any, **_kwargs: Any) -> None:
        """Start once."""
        self.started = self.started or time.monotonic()

    def on_step_end(self, *_args: Any, **_kwargs: Any) -> None:
        """Remember when."""
        self.ended = time.monotonic()


def main(train: Callable[[Job], dict[str, Any]], packages: list[str]) -> None:
    """Work a job off with `train`; `packages` are those whose versions are told."""
    work_off(Job, train, packages)
