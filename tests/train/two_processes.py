"""A training that is shared by the processes that `torchrun` starts; the first writes down what all of them saw.

torchrun --nproc-per-node 2 two_processes.py FOLDER
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import test_objectives
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import PartFinished
from preceptor.models.student import Student
from preceptor.train.batches import TrainingItem, make_items
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
    "llama-rationale": {"rank": 2, "batch_size": 2, "accumulation": 4, "objectives": {"label": 0.5, "rationale": 0.7}},
    "llama-rationale-alone": {
        "rank": 2,
        "batch_size": 2,
        "accumulation": 4,
        "objectives": {"label": 0, "rationale": 1},
    },
    "llama-labels-of-a-teacher": {
        "method": "full",
        "learning_rate": 1e-3,
        "objectives": {"label": 0.5, "distillation": 0.6},
        "distillation": {"teacher": "someone"},
    },
    "gpt2-tokens-of-a-teacher": {
        "method": "full",
        "learning_rate": 1e-3,
        "objectives": {"label": 0, "rationale": 0.7, "distillation": 0.6},
        "distillation": {"teacher": "someone", "targets": "tokens", "temperature": 2.0},
    },
    "llama-tokens-one-by-one": {
        "rank": 2,
        "batch_size": 1,
        "accumulation": 1,
        "objectives": {"label": 0.5, "rationale": 0.7, "distillation": 0.6},
        "distillation": {"teacher": "someone", "targets": "tokens"},
    },
}
"""Name (the architecture first) -> keys of `[train]`. With one item a step, one of two processes has none."""
LABELS = ("yes", "maybe not sure", "no pain")
"""Of several tokens, where a teacher says what it thinks of them."""
TRAINED = 17
"""Items that are trained on; the others are for validation."""


def settings_of(case: str, processes: str = "ddp") -> TrainSettings:
    """The case's keys over the common ones."""
    return TrainSettings.model_validate({**SETTINGS, **CASES[case], "processes": processes})


def open_case(root: Path, case: str) -> Student:
    """The student before its training."""
    labels = LABELS if "labels-of" in case else tiny.TASK.labels
    return tiny.open_tiny(root / case.partition("-")[0], labels)


def items_of(student: Student, settings: TrainSettings) -> list[TrainingItem]:
    """With objectives beside the label they have weights and a teacher's thoughts, and some a rationale."""
    if settings.objectives == TrainSettings().objectives:
        return make_items(student, tiny.TASK, tiny.examples(TRAINED + 5))
    made = test_objectives.taught_items(student, settings, TRAINED + 5)
    return [dataclasses.replace(item, rationale=None) if i % 5 else item for i, item in enumerate(made)]


def train(root: Path, case: str, processes: str, upkeep: Upkeep | None = None) -> dict[str, Any]:
    """Losses, checks and trained weights of one training, and how its weights lay while it went on."""
    settings = settings_of(case, processes)
    student = open_case(root, case)
    torch.manual_seed(1)
    student = attach(student, settings)
    made = items_of(student, settings)
    parted: set[bool] = set()
    sizes: list[int] = []

    def look(step: int, steps: int, loss: float) -> None:
        weights = list(student.model.parameters())
        parted.update(isinstance(weight, DTensor) for weight in weights)
        sizes.append(sum(w.to_local().numel() if isinstance(w, DTensor) else w.numel() for w in weights))

    fitted = fit(student, made[:TRAINED], made[TRAINED:], settings, steps=STEPS, seed=1, on_step=look, upkeep=upkeep)
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
