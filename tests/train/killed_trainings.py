"""Trainings in processes of their own, which kill themselves, without a chance to clean up, at a chosen moment."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import killed_runs

MOMENTS = {
    "at the first step, before any checkpoint": ("preceptor.train.loop:Optimiser", "step", 1),
    "amid the gradients of a step": ("torch:Tensor", "backward", 6),
    "at a later step": ("preceptor.train.loop:Optimiser", "step", 3),
    "with a checkpoint's tensors half written": ("preceptor.train.checkpoints", "_hash", 3),
    "with a checkpoint written and not renamed": ("pathlib:Path", "rename", 2),
    "with three checkpoints where two are kept": ("preceptor.train.checkpoints:Checkpoints", "_steps", 3),
}
"""When -> module (and class), function, and at which call of it the process dies."""

LABELS: dict[str, Any] = {
    "method": "lora",
    "rank": 2,
    "dropout": 0.3,
    "batch_size": 4,
    "accumulation": 2,
    "epochs": 6,
    "max_length": 48,
    "dtype": "float32",
    "learning_rate": 1e-2,
    "checkpoint_every": 1,
}
TASKS: dict[str, Any] = {**LABELS, "max_length": 120, "steps": 9}
DOCUMENTS: dict[str, Any] = {key: value for key, value in {**LABELS, "steps": 9}.items() if key != "max_length"}
SETTINGS = {
    "labels": LABELS,
    "tasks": TASKS,
    "documents": DOCUMENTS,
    "documents, all weights": {**DOCUMENTS, "method": "full", "learning_rate": 1e-3},
}
"""Kind of training -> keys of `[train]`."""


def cell(kind: str, model: str, folder: str) -> None:
    """Train one cell into `folder`, with checkpoints beside it."""
    import tiny
    from preceptor.config import FollowerSettings, StudentSettings, TrainSettings
    from preceptor.progress import notice
    from preceptor.train.adapt import adapt
    from preceptor.train.cell import train_cell
    from preceptor.train.checkpoints import Checkpoints
    from preceptor.train.tune import tune_cell
    from preceptor.train.upkeep import Upkeep

    target = Path(folder)
    settings = TrainSettings.model_validate(SETTINGS[kind])
    kept = Checkpoints(
        target.with_name(f".checkpoints-{target.name}"),
        "the same training",
        seconds=settings.checkpoint_seconds,
        every=settings.checkpoint_every,
        say=notice,
    )
    target.mkdir(exist_ok=True)
    if kind == "labels":
        train_cell(
            target,
            StudentSettings(name="tiny", model=model),
            settings,
            tiny.TASK,
            real=tiny.examples(12),
            generated=tiny.examples(9, "written"),
            validation=tiny.examples(6, "held-out"),
            seed=1,
            upkeep=Upkeep(kept),
        )
    elif kind.startswith("documents"):
        texts = [" ".join(tiny.WORDS[(7 * i + k) % 40] for k in range(6 + i % 9)) for i in range(40)]
        adapt(target, model, settings, texts[8:], texts[:8], length=16, seed=1, upkeep=Upkeep(kept))
    else:
        sources = {"generated": tiny.tasks(40, "g"), "benchmark": tiny.tasks(50, "b")[40:]}
        weights = {"generated": 3.0, "benchmark": 1.0}
        tune_cell(
            target,
            FollowerSettings(name="tiny", model=model),
            settings,
            sources,
            weights,
            seed=1,
            upkeep=Upkeep(kept),
        )


def work(kind: str, model: str, folder: str, moment: tuple[str, str, int] | None) -> None:
    """What the process does, in one thread so that all trainings compute alike."""
    import torch

    torch.set_num_threads(1)
    if moment is not None:
        killed_runs.die_at(*moment)
    cell(kind, model, folder)


def start(kind: str, model: Path, folder: Path, moment: tuple[str, str, int] | None = None) -> int:
    """Train in a fresh process and return its exit status; minus the signal's number when it was killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*killed_runs.PRELOADED, "preceptor.train.tune"])
    process = context.Process(target=work, args=(kind, str(model), str(folder), moment))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode
