"""What the runners of the training bench share: the job, the clock, the result. Standard library alone.

A runner is a process of its own: it reads the job's file, trains on exactly these items for one pass or more, and
writes one JSON file with tokens, seconds and peak memory. Seconds are those of the steps: no loading, no tokenising.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runners.peak import peak_mib


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


def write_job(path: Path, job: Job) -> None:
    """Write a job's file."""
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")


def main(train: Callable[[Job], dict[str, Any]], packages: list[str]) -> None:
    """Read the job, train, write what `train` returns with the peak memory and the versions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("result", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    job = Job(**json.loads(given.job.read_text(encoding="utf-8")))
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    found = train(job)
    found["peak_mib"] = peak_mib()
    found["versions"] = {name: importlib.metadata.version(name) for name in packages}
    given.result.write_text(json.dumps(found), encoding="utf-8")
