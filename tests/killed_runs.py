"""Runs in processes of their own that kill themselves, without a chance to clean up, at a chosen moment."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

MOMENTS: dict[str, tuple[str, str, int]] = {
    "at the teacher's eighth answer": ("preceptor.teachers.scripted:ScriptedTeacher", "_answer", 8),
    "with candidates half written": ("preceptor.augment.stage", "write_json", 1),
    "with kept written and dropped not": ("preceptor.filter.stage", "write_dropped", 1),
    "at the third step of training": ("preceptor.train.loop:Optimiser", "step", 3),
    "with weights written and their record not": ("preceptor.train.cell", "write_json", 1),
    "just before a folder is renamed into place": ("pathlib:Path", "rename", 3),
    "before the second predictions are written": ("preceptor.pipeline.label_answers", "write_predictions", 2),
    "before the report": ("preceptor.pipeline.label_report", "build", 1),
}
"""When -> module (and class), function, and at which call of it the process dies. In the order of a run."""

PRELOADED = [
    "preceptor.pipeline.labels",
    "preceptor.train.cell",
    "preceptor.evaluate.predict",
    "pyarrow.parquet",
    "peft",
]


def die_at(place: str, name: str, count: int) -> None:
    """Replace a function by one that kills the process at its `count`-th call."""
    module, _, inner = place.partition(":")
    owner: Any = importlib.import_module(module)
    owner = getattr(owner, inner) if inner else owner
    real, calls = getattr(owner, name), itertools.count(1)

    def dying(*arguments: Any, **keywords: Any) -> Any:
        if next(calls) == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*arguments, **keywords)

    setattr(owner, name, dying)


def count_answers(log: Path) -> None:
    """Write a line for every answer that the teacher gives, also across processes."""
    from preceptor.teachers.scripted import ScriptedTeacher

    real = ScriptedTeacher._answer

    def counted(self: ScriptedTeacher, request: Any) -> Any:
        answer = real(self, request)
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{request.item} {request.draw}\n")
        return answer

    ScriptedTeacher._answer = counted


def work(recipe: str, folder: str, moment: str) -> None:
    """What the process does: one run, in one thread so that all runs compute alike."""
    import torch

    from preceptor.config import load_recipe
    from preceptor.pipeline.labels import run
    from preceptor.progress import Progress

    torch.set_num_threads(1)
    count_answers(Path(folder).with_suffix(".asked"))
    if moment:
        die_at(*MOMENTS[moment])
    run(load_recipe(Path(recipe)), folder=Path(folder), base=Path(), command="", progress=Progress(quiet=True))


def start(recipe: Path, folder: Path, moment: str = "") -> int:
    """Run in a fresh process and return its exit status; minus the signal's number when it was killed."""
    # One server imports torch and peft once; every run is a fork of it, so a start costs milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=work, args=(str(recipe), str(folder), moment))
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode
