"""A training in which something goes wrong in one process of two, by the doors of the command line.

torchrun --nproc-per-node 2 failing_process.py MODEL PROCESSES RANK PLACE ERROR
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

import tiny
from preceptor import cli
from preceptor.config import TrainSettings
from preceptor.errors import DataError
from preceptor.train import objectives
from preceptor.train.batches import make_items
from preceptor.train.methods import attach
from preceptor.train.parallel import driving, take_part, together

MODEL, PROCESSES, RANK, PLACE, ERROR = sys.argv[1:]
ERRORS: dict[str, type[Exception]] = {"memory": torch.OutOfMemoryError, "bug": ValueError, "sentence": DataError}
KEYS: dict[str, Any] = {"rank": 2, "dtype": "float32", "batch_size": 4, "processes": PROCESSES}


def fail(*_: object) -> None:
    """In the process that is meant."""
    if os.environ["RANK"] == RANK:
        if ERROR == "killed":
            os.kill(os.getpid(), 9)
        raise ERRORS[ERROR]("It went wrong.")


def from_step(number: int) -> None:
    """Let a step's loss fail, or its way back: amid the exchange of gradients where each process has whole weights."""
    real, seen = objectives.batch_loss, [0]

    def loss_of(student: Any, batch: Any) -> torch.Tensor:
        seen[0] += 1
        loss = real(student, batch)
        if seen[0] == number and PLACE == "forward":
            fail()
        if seen[0] == number and PLACE == "backward":
            weights = [weight for weight in student.model.parameters() if weight.requires_grad]
            (weights[len(weights) // 2] if PROCESSES == "ddp" else loss).register_hook(fail)
        return loss

    objectives.batch_loss = loss_of


@together
def train(_folder: Path) -> None:
    settings = TrainSettings.model_validate(KEYS)
    if PLACE == "before":
        fail()
    student = attach(tiny.open_tiny(Path(MODEL)), settings)
    made = make_items(student, tiny.TASK, tiny.examples(20))
    objectives.fit(student, made[:16], made[16:], settings, steps=4, seed=1)


def run() -> None:
    """What the command does in each process."""
    torch.set_num_threads(1)
    from_step(2)
    if os.environ["RANK"] == "0":
        with driving(), tempfile.TemporaryDirectory() as folder:
            train(Path(folder))
        print("done")  # noqa: T201 - the test reads it
    else:
        take_part()


if __name__ == "__main__":
    cli.app = run  # type: ignore[assignment]
    cli.main()
