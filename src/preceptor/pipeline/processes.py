"""A run in several processes: the first one does everything, the others take part in its trainings.

    torchrun --no-python --nproc-per-node 2 preceptor run recipes/pubmedqa.toml
    accelerate launch --multi_gpu --num_processes 2 --no_python preceptor run recipes/pubmedqa.toml

Both launchers tell each process its number by environment variables; without them there is one process.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext


def _several() -> bool:
    return os.environ.get("WORLD_SIZE", "1") != "1"


def helped() -> bool:
    """Where this process is not the first of several: take part in the run until it ends, then True."""
    if not _several() or os.environ.get("RANK", "0") == "0":
        return False
    from preceptor.train.parallel import take_part

    take_part()
    return True


def driving() -> AbstractContextManager[None]:
    """Around a run, in the first process: the others are let go when it ends. Alone, nothing happens."""
    if not _several():
        return nullcontext()
    from preceptor.train.parallel import driving as among_several

    return among_several()
