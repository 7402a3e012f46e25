"""What to do where memory runs out: fewer items go through the model at once, and a step keeps all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch

from preceptor.train.batches import TrainingItem

Item = TypeVar("Item")

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
