"""Preceptor's own training by its public parts: methods, batches, objectives and the loop.

`settings`: keys of `[train]`; and for a sweep of LoRA on the last layers {"sweep": [alphas], "trunk": folder or null}.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from runners import train_work as work

from preceptor.config import TrainSettings
from preceptor.models.student import Student, open_student
from preceptor.train.batches import TrainingItem
from preceptor.train.methods import attach
from preceptor.train.objectives import fit

MATRICES = (2048, 4096)
"""Sides of the square products by which the machine's rate is measured."""


def rate_of_products(dtype: torch.dtype, device: torch.device) -> float:
    """The best of two sizes, in floating point operations a second."""
    best = 0.0
    for side in MATRICES:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        for _ in range(2):
            started, count = time.monotonic(), 0
            while time.monotonic() - started < 1.0:
                a @ b
                if device.type == "cuda":
                    torch.cuda.synchronize()
                count += 1
            best = max(best, 2 * side**3 * count / (time.monotonic() - started))
    return best


def opened(job: work.Job, settings: TrainSettings) -> Student:
    """The untrained student."""
    targets = [f" {label}" for label in job.labels]
    head = "causal" if "completion" in job.items[0] else "encoder"
    return open_student(
        job.model, head, job.labels, targets, max_length=settings.max_length, reserve=0, dtype=settings.dtype, seed=1
    )


def items_of(job: work.Job, student: Student) -> list[TrainingItem]:
    """The job's items as token ids."""
    prompts = student.encode([item["prompt"] for item in job.items])
    end = [student.loaded.tokenizer.eos_token_id]
    return [
        TrainingItem(
            tuple(prompt),
            () if student.head == "encoder" else (*student.targets[item["label"]], *end),
            item["label"],
        )
        for prompt, item in zip(prompts, job.items, strict=True)
    ]


def train(job: work.Job) -> dict[str, Any]:
    """One training, or one for each point of a sweep."""
    given = dict(job.settings or {})
    sweep, trunk = given.pop("sweep", None), given.pop("trunk", None)
    base = {"rank": job.rank, "alpha": job.alpha, "learning_rate": job.learning_rate, "dtype": job.dtype}
    limits = {"batch_size": job.batch_size, "epochs": job.epochs, "max_length": 2048, "select": "last"}
    settings = TrainSettings.model_validate({**base, **limits, **given})
    found: dict[str, Any] = {"tokens": 0, "seconds": 0.0, "losses": []}
    for alpha in sweep or [settings.alpha]:
        one = settings.model_copy(update={"alpha": alpha})
        student = opened(job, one)
        items = items_of(job, student)
        torch.manual_seed(1)
        started = time.monotonic()
        fitted = _trained(attach(student, one), items, one, trunk)
        found["seconds"] += time.monotonic() - started if sweep else fitted.seconds
        found["tokens"] += fitted.tokens
        found["losses"].append([round(loss, 6) for loss in fitted.losses])
        found["steps"] = fitted.steps
    weights = list(student.loaded.model.base_model.named_parameters())
    found["body_weights"] = sum(p.numel() for n, p in weights if "lora" not in n and "embed" not in n)
    found["products_per_s"] = rate_of_products(student.loaded.dtype, student.loaded.device)
    return found


def _trained(student: Student, items: list[TrainingItem], settings: TrainSettings, trunk: str | None) -> Any:
    steps = settings.steps or len(items) // settings.batch_size * int(settings.epochs)
    kept = None
    if trunk is not None:
        from preceptor.models.trunk import Trunk

        assert settings.last_layers is not None
        kept = Trunk(student.loaded, settings.last_layers, Path(trunk))
    try:
        return fit(student, items, items[:2], settings, steps=steps, seed=1)
    finally:
        if kept is not None:
            kept.remove()


if __name__ == "__main__":
    work.main(train, ["torch", "transformers", "peft"])
