"""A training that is shared by the processes that `torchrun` starts; the first writes down what all of them saw.

torchrun --nproc-per-node 2 two_processes.py FOLDER
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import PartFinished
from preceptor.train.batches import make_items
from preceptor.train.checkpoints import Checkpoints
from preceptor.train.course import Moment
from preceptor.train.methods import attach
from preceptor.train.objectives import fit
from preceptor.train.parallel import join, leave
from preceptor.train.upkeep import Upkeep

STEPS = 5
SETTINGS: dict[str, Any] = {
    "dtype": "float32",
    "batch_size": 4,
    "accumulation": 2,
    "learning_rate": 1e-2,
    "steps": STEPS,
}
CASES: dict[str, dict[str, Any]] = {
    "llama-lora": {"rank": 2},
    "llama-dora": {"method": "dora", "rank": 2},
    "bert-full": {"method": "full", "learning_rate": 1e-3},
    "gpt2-one-by-one": {"method": "full", "learning_rate": 1e-3, "batch_size": 1, "accumulation": 1},
    "llama-prefix": {"method": "prefix", "virtual_tokens": 4, "initialisation": "zero"},
}
"""Name (the architecture first) -> keys of `[train]`. With one item a step, one of two processes has none."""


def train(root: Path, case: str, processes: str, upkeep: Upkeep | None = None) -> dict[str, Any]:
    """Losses, checks and trained weights of one training, and how its weights lay while it went on."""
    settings = TrainSettings.model_validate({**SETTINGS, **CASES[case], "processes": processes})
    student = tiny.open_tiny(root / case.partition("-")[0])
    torch.manual_seed(1)
    student = attach(student, settings)
    made = make_items(student, tiny.TASK, tiny.examples(22))
    parted: set[bool] = set()
    sizes: list[int] = []

    def look(step: int, steps: int, loss: float) -> None:
        weights = list(student.model.parameters())
        parted.update(isinstance(weight, DTensor) for weight in weights)
        sizes.append(sum(w.to_local().numel() if isinstance(w, DTensor) else w.numel() for w in weights))

    fitted = fit(student, made[:17], made[17:], settings, steps=STEPS, seed=1, on_step=look, upkeep=upkeep)
    trained = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    assert not any(isinstance(p, DTensor) for p in trained.values())
    return {
        "losses": fitted.losses,
        "checks": [[check.step, check.loss] for check in fitted.checks],
        "selected": fitted.selected,
        "tokens": fitted.tokens,
        "processes": fitted.processes,
        "parted": sorted(parted),
        "held": sizes[-1] if sizes else 0,
        "whole": sum(p.numel() for p in student.model.parameters()),
        "weights": {name: p.detach().flatten().tolist() for name, p in trained.items()},
    }


def stopped_and_resumed(root: Path, processes: str) -> dict[str, Any]:
    """The first case, stopped after three steps, when the first process says so, and gone on with."""
    first, seen, folder = dist.get_rank() == 0, [], root / f"kept-{processes}"

    def keep() -> Checkpoints:
        return Checkpoints(folder, "this", seconds=60, every=None, say=print)

    def upkeep(over: bool) -> Upkeep:
        if not first:
            return Upkeep()
        return Upkeep(keep(), seen.append, over=lambda: over and len(seen) == 3)

    try:
        train(root, "llama-lora", processes, upkeep(over=True))
    except PartFinished:
        found = train(root, "llama-lora", processes, upkeep(over=False))
        steps: list[Moment] = seen
        return {**found, "steps": [moment.step for moment in steps]}
    raise AssertionError("it was not stopped")


def main(root: Path) -> None:
    torch.set_num_threads(1)
    group = join()
    found: dict[str, Any] = {"size": [group.size, dist.get_world_size()], "backend": dist.get_backend()}
    for processes in ("ddp", "fsdp"):
        found[processes] = {case: train(root, case, processes) for case in CASES}
        found[processes]["resumed"] = stopped_and_resumed(root, processes)
    everybody: list[Any] = [None] * group.size
    dist.all_gather_object(everybody, found)
    if group.first:
        (root / "found.json").write_text(json.dumps(everybody))
    leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
