"""A run in several processes: the first one does everything, the others take part in its trainings.

    torchrun --no-python --nproc-per-node 2 preceptor run recipes/pubmedqa.toml
    accelerate launch --multi_gpu --num_processes 2 --no_python preceptor run recipes/pubmedqa.toml

Both launchers tell each process its number by environment variables; without them there is one process.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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


@contextmanager
def ending_at_once() -> Iterator[None]:
    """Around a command: a process that fails amid a training with others ends there and then.

    An interpreter that ends in order waits for messages that are still under way to others, and they for its own. Its
    launcher sees the end and ends the others.
    """
    try:
        yield
    except BaseException as error:
        if not _amid_others():
            raise
        status = error.code if isinstance(error, SystemExit) else 1
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status if isinstance(status, int) else 1)


def _amid_others() -> bool:
    parallel = sys.modules.get("preceptor.train.parallel")  # not loaded, nobody was met
    return parallel is not None and parallel.team().size > 1


def driving() -> AbstractContextManager[None]:
    """Around a run, in the first process: the others are let go when it ends. Alone, nothing happens."""
    if not _several():
        return nullcontext()
    from preceptor.train.parallel import driving as among_several

    return among_several()
