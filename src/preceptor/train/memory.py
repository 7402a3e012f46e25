"""What to do where memory runs out: fewer items go through the model at once, and a step keeps all of them.

Validation and the optimiser need what they need: there it is said in one sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch.distributed.fsdp import FSDPModule

from preceptor.errors import ModelError
from preceptor.train.batches import TrainingItem

if TYPE_CHECKING:
    from preceptor.train.parallel import Team

Item = TypeVar("Item")
Value = TypeVar("Value")

FEWER_WEIGHTS = (
    'Train fewer weights (train.method = "lora", a lower train.rank, train.last_layers), or choose a smaller model.'
)
"""What helps where the optimiser or the best state so far do not fit."""

LESS_AT_ONCE = (
    "Lower train.batch_size or the length of an item (train.max_length, adapt.length), or choose a smaller model."
)
"""What helps where it is not known what ran out."""

CPU_TOKENS = 1536
"""Tokens of a portion on a CPU: enough to keep its matrix products busy. More would mostly take more memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, on an accelerator or on the processor."""
    # The processor's allocator raises a plain RuntimeError that only its words tell from others.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "DefaultCPUAllocator" in str(error)


def divided(batches: Sequence[Sequence[Item]], most: int | None) -> list[Sequence[Item]]:
    """The batches, each cut into as few even parts of at most `most` items as it takes; None: as they are."""
    if most is None:
        return list(batches)
    parts: list[Sequence[Item]] = []
    for batch in batches:
        count = -(-len(batch) // most)
        parts += [batch[len(batch) * k // count : len(batch) * (k + 1) // count] for k in range(count)]
    return parts


def portions(batches: Sequence[Sequence[TrainingItem]], tokens: int = CPU_TOKENS) -> list[Sequence[TrainingItem]]:
    """The batches, each cut into as few even parts of at most `tokens` tokens, padding included, as it takes."""
    parts: list[Sequence[TrainingItem]] = []
    for batch in batches:
        longest = max((item.length for item in batch), default=1)
        parts += divided([batch], max(1, tokens // longest))
    return parts


def within_memory(work: Callable[[], Value], where: str, hint: str, group: Team) -> Value:
    """What `work` gives. Raises `ModelError` where memory runs out in this process, or in another of `group`.

    Sharded weights are the exception: there a process that ran out leaves the others amid a pass and ends alone, as
    from a step (parallel.py), so its error stays as it is.
    """
    found, cause = None, None
    try:
        found = work()
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or isinstance(group.model, FSDPModule):
            raise
        cause = error
    ran_out = group.anywhere([cause is not None and rank == group.rank for rank in range(group.size)])
    if any(ran_out):
        raise group.in_order(ModelError(f"Memory ran out{group.named(ran_out.index(True))} {where}.", hint)) from cause
    return cast("Value", found)
