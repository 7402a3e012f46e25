"""What the runners of the evaluation bench share: the job and the result. Standard library alone.

A runner is a process of its own: it reads the job's file, scores these items, and writes one JSON file with seconds,
peak memory, and the log-probability of every choice by item. Seconds are those of tokenising and scoring: no loading.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runners.apart import work_off


@dataclass(frozen=True)
class EvalJob:
    """What to score, and how."""

    model: str
    """A folder that stock transformers loads."""
    folder: str
    """The exported task's folder."""
    task: str
    shots: int = 0
    batch_size: str = "1"
    """Of the harness: a number, or `auto`."""
    dtype: str = "bfloat16"
    threads: int = 0
    """0: as the library chooses."""


def rows_of(job: EvalJob, part: str) -> list[dict[str, Any]]:
    """The task's items, `test` or `fewshot`."""
    lines = (Path(job.folder) / f"{job.task}.{part}.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in lines if line]


def labels_of(job: EvalJob) -> list[str] | None:
    """The choices that all items have; None where each has its own."""
    for line in (Path(job.folder) / f"{job.task}.yaml").read_text(encoding="utf-8").split("\n"):
        key, _, value = line.partition(": ")
        if key == "doc_to_choice":
            return None if value == "choices" else list(json.loads(value))
    raise ValueError(f"{job.task}.yaml has no doc_to_choice")


def main(score: Callable[[EvalJob], dict[str, Any]], packages: list[str]) -> None:
    """Work a job off with `score`; `packages` are those whose versions are told."""
    work_off(EvalJob, score, packages)
