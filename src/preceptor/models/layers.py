"""Where a model's layers are, by architecture-independent means, and which attention they compute for a while."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import nn
from transformers.pytorch_utils import Conv1D

from preceptor.errors import RecipeError


@contextlib.contextmanager
def using_attention(base: Any, name: str, *, where: bool = True) -> Iterator[None]:
    """Let a model compute attention as transformers knows it by `name`, for as long as the context lasts."""
    usual = base.config._attn_implementation
    if where:
        base.set_attn_implementation(name)
    try:
        yield
    finally:
        if where:
            base.set_attn_implementation(usual)


def layers_of(model: Any) -> tuple[str, nn.ModuleList]:
    """The stack of a transformers model's layers and its name in the model: the longest list of equal modules.

    Raises `RecipeError` for a model without one.
    """
    lists = [(name, part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part)]
    stacks = [(name, part) for name, part in lists if len({type(layer) for layer in part}) == 1]
    if not stacks:
        raise RecipeError(
            f"train.last_layers: no stack of layers is known in a {type(model).__name__}.",
            "Leave train.last_layers out.",
        )
    # Experts and heads are lists too, but they stand inside layers; of equals the outermost counts.
    return max(stacks, key=lambda found: (len(found[1]), -found[0].count(".")))


def modules_of_last(model: Any, count: int) -> list[str]:
    """Full names of the linear modules in the last `count` layers, for LoRA's targets.

    Raises `RecipeError` when the model has fewer layers.
    """
    name, layers = layers_of(model)
    check_count(model, count)
    last = range(len(layers) - count, len(layers))
    return [
        f"{name}.{index}.{inner}"
        for index in last
        for inner, part in layers[index].named_modules()
        if isinstance(part, nn.Linear | Conv1D)
    ]


def check_count(model: Any, count: int) -> None:
    """Raise `RecipeError` when there are fewer than `count` layers."""
    _, layers = layers_of(model)
    if count > len(layers):
        raise RecipeError(
            f"train.last_layers = {count}, but the model has {len(layers)} layers.", "Lower train.last_layers."
        )
