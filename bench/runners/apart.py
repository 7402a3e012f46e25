"""A runner is a process of its own: it reads a job's file, works, and writes one JSON file. Standard library alone.

`run_apart` is the bench's side of it, `work_off` the runner's.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

BENCH = Path(__file__).resolve().parent.parent


def run_apart(folder: Path, runner: str, job: Any, python: Path | None = None, **environment: str) -> dict[str, Any]:
    """The result of one runner with a job, a dataclass, whose files lie in `folder`. Exits with its last words."""
    number = 1 + len(list(folder.glob("*.job.json")))
    job_file, result = folder / f"{number}.job.json", folder / f"{number}.result.json"
    job_file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    command = [str(python or sys.executable), "-m", f"runners.{runner}", str(job_file), str(result)]
    paths = f"{BENCH}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": paths, **environment}
    done = subprocess.run(command, cwd=BENCH, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{runner} failed:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def work_off(kind: type[Any], work: Callable[[Any], dict[str, Any]], packages: Sequence[str]) -> None:
    """Read the job, a `kind`, work, and write what `work` returns with the peak memory and the versions."""
    parser = argparse.ArgumentParser()
    parser.add_argument("job", type=Path)
    parser.add_argument("result", type=Path)
    given = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    job = kind(**json.loads(given.job.read_text(encoding="utf-8")))
    if job.threads:
        import torch

        torch.set_num_threads(job.threads)
    found = work(job)
    found["peak_mib"] = peak_mib()
    found["device_peak_mib"] = device_peak_mib()
    found["versions"] = {name: importlib.metadata.version(name) for name in packages}
    given.result.write_text(json.dumps(found), encoding="utf-8")


def peak_mib() -> int:
    """Highest resident memory of this process. Not `ru_maxrss`: that begins with what the starting process held."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:  # no Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")) // 1024


def device_peak_mib() -> int | None:
    """Most memory that torch held on a CUDA device; None where it used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_reserved() // 2**20)
