"""AdamW with linear warm-up and decay, and its whole state in plain tensors."""

from __future__ import annotations

import math
from typing import Any

import torch

from preceptor.config import TrainSettings
from preceptor.errors import ModelError
from preceptor.models.student import Trainable
from preceptor.train.parallel import entire, like
from preceptor.train.rows import Rows, sparse_weights

MAX_GRADIENT_NORM = 1.0


class Optimiser:
    """AdamW on float32 copies of the trained weights, whatever their own dtype.

    A bfloat16 weight cannot take a small step (8 bits of mantissa), a float32 copy can.
    """

    def __init__(self, student: Trainable, settings: TrainSettings, steps: int) -> None:
        named = [(name, p) for name, p in student.model.named_parameters() if p.requires_grad]
        self.names = [name.removeprefix("module.") for name, _ in named]  # "module." where processes hold copies
        self.weights = [p for _, p in named]
        if not self.weights:
            raise ModelError("The method leaves nothing to train.", "Check train.method and train.targets.")
        sparse = sparse_weights(student.model)
        self.rows = {name: Rows(p) for name, p in zip(self.names, self.weights, strict=True) if p in sparse}
        whole = {name: p for name, p in zip(self.names, self.weights, strict=True) if name not in self.rows}
        self._whole = {
            name: (p, p if p.dtype == torch.float32 else p.detach().float().requires_grad_())
            for name, p in whole.items()
        }
        self.adamw = torch.optim.AdamW(
            list(self.copies.values()), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        warm = max(1, round(settings.warmup * steps))
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.adamw, lambda step: min((step + 1) / warm, max(0.0, (steps - step) / max(1, steps - warm)))
        )

    @property
    def copies(self) -> dict[str, torch.Tensor]:
        """What AdamW changes, by the weights' names; of an embedding trained by rows, the rows used so far."""
        return {
            **{name: copy for name, (_, copy) in self._whole.items()},
            **{name: rows.copy for name, rows in self.rows.items()},
        }

    def step(self) -> float:
        """Apply the gradients that have gathered in the weights, and clear them; returns their norm.

        Where the norm is no finite number nothing is applied.
        """
        for weight, copy in self._whole.values():
            if copy is not weight:
                copy.grad = None if weight.grad is None else weight.grad.float()
                weight.grad = None
        for rows in self.rows.values():
            rows.gather(self.adamw)
        norm = self._clipped()
        if math.isfinite(norm):
            self.adamw.step()
            self.schedule.step()
        self.adamw.zero_grad(set_to_none=True)
        self._hand_over()
        return norm

    def _clipped(self) -> float:
        """The gradients' norm before they were made no longer than `MAX_GRADIENT_NORM`."""
        gradients = [copy.grad for copy in self.copies.values() if copy.grad is not None]
        total = torch.nn.utils.get_total_norm(gradients)
        norm: float = entire(total).item()
        if norm > MAX_GRADIENT_NORM:  # torch's own multiplies by one where there is nothing to do
            torch.nn.utils.clip_grads_with_norm_(self.copies.values(), MAX_GRADIENT_NORM, total)
        return norm

    def clear(self) -> None:
        """Forget gradients of a step that was broken off."""
        for weight in self.weights:
            weight.grad = None

    def _hand_over(self) -> None:
        with torch.no_grad():
            for weight, copy in self._whole.values():
                if copy is not weight:
                    weight.copy_(copy)
            for rows in self.rows.values():
                rows.hand_over()

    @property
    def learning_rate(self) -> float:
        """Of the next step."""
        return float(self.adamw.param_groups[0]["lr"])

    def state(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """Weights and moments as whole tensors by name, and the schedule: a copy that further steps leave alone."""
        tensors = {f"weight/{name}": entire(copy) for name, copy in self.copies.items()}
        tensors |= {f"rows/{name}": rows.ids.clone() for name, rows in self.rows.items()}
        for name, copy in self.copies.items():
            tensors |= {f"{key}/{name}": entire(value) for key, value in self.adamw.state.get(copy, {}).items()}
        return tensors, {"learning_rate": self.learning_rate, "schedule": self.schedule.state_dict()}

    def restore(self, tensors: dict[str, torch.Tensor], record: dict[str, Any]) -> None:
        """Go back to what `state` gave."""
        for name, rows in self.rows.items():
            rows.hold(tensors[f"rows/{name}"], self.adamw)
        with torch.no_grad():
            for name, copy in self.copies.items():
                copy.copy_(like(tensors[f"weight/{name}"], copy))
                if f"exp_avg/{name}" in tensors:
                    moments = {key: like(tensors[f"{key}/{name}"], copy) for key in ("exp_avg", "exp_avg_sq")}
                    # The count of steps is one number, in parts of nothing.
                    self.adamw.state[copy] = {"step": tensors[f"step/{name}"].to(copy.device), **moments}
        self.adamw.param_groups[0]["lr"] = record["learning_rate"]
        self.schedule.load_state_dict(record["schedule"])
        self._hand_over()
