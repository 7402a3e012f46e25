"""Continued training that the processes which `torchrun` starts share: the first drives, as a run does.

torchrun --nproc-per-node 2 two_readers.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

import tiny
from preceptor.config import TrainSettings
from preceptor.train.adapt import adapt
from preceptor.train.parallel import driving, take_part

SETTINGS: dict[str, Any] = {"dtype": "float32", "batch_size": 4, "accumulation": 2, "learning_rate": 1e-2, "steps": 5}
CASES: dict[str, dict[str, Any]] = {
    "llama-lora": {"rank": 2},
    "llama-full": {"method": "full", "learning_rate": 1e-3},
    "gpt2-one-by-one": {"rank": 2, "batch_size": 1, "accumulation": 1},
}
"""Name (the architecture first) -> keys of `[train]`. With one window a step, one of two processes has none."""
TEXTS = [" ".join(tiny.WORDS[(7 * i + k) % 40] for k in range(6 + i % 9)) for i in range(33)]


def train(root: Path, folder: Path, case: str, processes: str) -> None:
    """One training into `folder`."""
    settings = TrainSettings.model_validate({**SETTINGS, **CASES[case], "processes": processes})
    folder.mkdir(parents=True)
    adapt(folder, str(root / case.partition("-")[0]), settings, TEXTS[7:], TEXTS[:7], length=16, seed=1)


def main(root: Path) -> None:
    """Every case in both ways."""
    torch.set_num_threads(1)
    if os.environ["RANK"] != "0":
        take_part()
        return
    with driving():
        for processes in ("ddp", "fsdp"):
            for case in CASES:
                train(root, root / processes / case, case, processes)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
