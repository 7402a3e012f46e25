"""What the runners of the evaluation bench share: the job and the result. Standard library alone.

A runner is a process of its own: it reads the job's file, scores these items, and writes one JSON file with seconds,
peak memory, and the log-probability of every choice by item. Seconds are those of tokenising and scoring: no loading.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from runners.peak import peak_mib


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


def write_job(path: Path, job: EvalJob) -> None:
    """Write a job's file."""
    path.write_text(json.dumps(asdict(job)), encoding="utf-8")


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
    """Read the job, score, write what `score` returns with the peak memory and the versions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("result", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    job = EvalJob(**json.loads(given.job.read_text(encoding="utf-8")))
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    found = score(job)
    found["peak_mib"] = peak_mib()
    found["versions"] = {name: importlib.metadata.version(name) for name in packages}
    given.result.write_text(json.dumps(found), encoding="utf-8")
