"""Training word embeddings by the rows that occur.

A small encoder has half of its weights in its word embeddings, and a few hundred items use a tenth of their rows. A
row that no item has used has a gradient of zero and moments of zero, so AdamW leaves it where it is, as long as it has
no weight decay: only the other rows need a copy, moments and a step. The steps are those of AdamW on the whole matrix.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

LARGE = 4096
"""Embeddings of fewer rows (positions, virtual tokens) are trained whole."""


@contextlib.contextmanager
def by_rows(model: nn.Module) -> Iterator[int]:
    """Let large trained embeddings on a CPU give the gradients of their used rows alone; yields how many do.

    Embeddings that also make the logits are left as they are: there, every row has a gradient.
    """
    shared = _shared_weights(model)
    changed = [
        module
        for module in model.modules()
        if type(module) is nn.Embedding
        and module.num_embeddings >= LARGE
        and module.weight.requires_grad
        and module.weight.device.type == "cpu"
        and module.weight not in shared
        and not (module.sparse or module.scale_grad_by_freq or module.max_norm)
    ]
    for module in changed:
        module.sparse = True
    try:
        yield len(changed)
    finally:
        for module in changed:
            module.sparse = False


def _shared_weights(model: nn.Module) -> set[torch.Tensor]:
    """Weights that stand in more than one module."""
    counts = Counter(weight for module in model.modules() for weight in module.parameters(recurse=False))
    return {weight for weight, count in counts.items() if count > 1}


def sparse_weights(model: nn.Module) -> set[torch.Tensor]:
    """Weights of the embeddings that `by_rows` changed."""
    return {module.weight for module in model.modules() if isinstance(module, nn.Embedding) and module.sparse}


class Rows:
    """The float32 copy of the rows of one embedding that have had a gradient, in the order of their coming."""

    def __init__(self, weight: nn.Parameter) -> None:
        self.weight = weight
        self.ids = torch.empty(0, dtype=torch.long)
        """[rows] which rows they are."""
        self.place = torch.full((len(weight),), -1, dtype=torch.long)
        """[all rows] where the copy has a row; -1 where it has none."""
        self.copy = nn.Parameter(torch.empty(0, weight.shape[1]))
        """[rows, width] float32."""

    def gather(self, adamw: torch.optim.Optimizer) -> None:
        """Move the gradient of the weight to the copy, which grows by rows that are new."""
        gradient, self.weight.grad = self.weight.grad, None
        if gradient is None:
            self.copy.grad = None
            return
        used = gradient._indices()[0]
        known = torch.unique(used)
        fresh = known[self.place[known] < 0]
        if len(fresh):
            self.hold(torch.cat([self.ids, fresh]), adamw)
        self.copy.grad = torch.zeros_like(self.copy).index_add_(0, self.place[used], gradient._values().float())

    def hold(self, ids: torch.Tensor, adamw: torch.optim.Optimizer) -> None:
        """Hold these rows, of which those held so far are the first; the new ones begin with moments of zero."""
        old, many = self.copy, len(ids) - len(self.ids)
        self.place[ids] = torch.arange(len(ids))
        added = self.weight.detach()[ids[len(self.ids) :]].float()
        self.copy, self.ids = nn.Parameter(torch.cat([old.detach(), added])), ids
        state: dict[str, Any] = adamw.state.pop(old, {})
        if state:
            adamw.state[self.copy] = {
                key: value if value.dim() == 0 else torch.cat([value, value.new_zeros(many, value.shape[1])])
                for key, value in state.items()
            }
        parameters = adamw.param_groups[0]["params"]
        parameters[next(i for i, p in enumerate(parameters) if p is old)] = self.copy

    def hand_over(self) -> None:
        """Write the copy into the weight."""
        self.weight.data[self.ids] = self.copy.detach().to(self.weight.dtype)
