"""A run in several processes: the first one does everything, the others take part in its trainings.

    torchrun --no-python --nproc-per-node 2 preceptor run recipes/pubmedqa.toml
    accelerate launch --multi_gpu --num_processes 2 --no_python preceptor run recipes/pubmedqa.toml

Both launchers tell each process its number by environment variables; without them there is one process.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext

from preceptor.errors import RecipeError


def _several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


def helped(workers: int = 1) -> bool:
    """Where this process is not the first of several: take part in the run until it ends, then True.

    Raises `RecipeError` where each of several processes would start `workers` of its own.
    """
    if not _several():
        return False
    if workers > 1:
        raise RecipeError(
            f"--workers {workers}: a launcher has started several processes already, which train each cell together.",
            "Leave --workers out, or start one process without torchrun or accelerate.",
        )
    if os.environ.get("RANK", "0") == "0":
        return False
    from preceptor.train.parallel import take_part

    take_part()
    return True


def refuse_workers(workers: int) -> None:
    """Raise `RecipeError` where more than one worker would share an accelerator's memory without knowing of it."""
    if workers == 1:
        return
    from preceptor.models.load import device

    if device().type == "cuda":
        raise RecipeError(
            f"--workers {workers}: this machine computes on a CUDA device, which does one cell at a time.",
            'Leave --workers out, or set CUDA_VISIBLE_DEVICES="" to compute on the cores.',
        )


def driving() -> AbstractContextManager[None]:
    """Around a run, in the first process: the others are let go when it ends. Alone, nothing happens."""
    if not _several():
        return nullcontext()
    from preceptor.train.parallel import driving as among_several

    return among_several()
