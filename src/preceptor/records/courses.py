"""How one training went, for the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

POINTS = 100
"""Points that the losses of a training are gathered into at most."""


@dataclass(frozen=True, slots=True)
class Course:
    """Losses and looks at validation of one student, arm and seed."""

    setting: str
    """Empty where there is one only."""
    student: str
    arm: str
    seed: int
    steps: int
    losses: tuple[tuple[float, float], ...]
    """(step, training loss): means of neighbouring steps, `POINTS` at most."""
    checks: tuple[tuple[int, float], ...]
    """(step, validation loss)."""
    selected: int
    """The step whose weights were kept."""
    cut: int = 0
    """Training items that were shortened to fit the student."""
    left_out: int = 0
    """Training items that could not be shortened enough."""
    rationales_left_out: int = 0
    """Training items whose explanation left no room for their prompt: they were learnt from by their label alone."""
    cut_for_teacher: int = 0
    """Prompts that were shortened to fit the teacher of distillation."""
    micro_batch: int | None = None
    """Items in one forward pass since memory ran out; None where it did not."""


def course_of(setting: str, student: str, arm: str, seed: int, fit: Mapping[str, Any]) -> Course:
    """The course that a `fit.json` tells, also one of an older version."""
    losses = fit["losses"]
    edges = [len(losses) * k // POINTS for k in range(POINTS + 1)] if len(losses) > POINTS else range(len(losses) + 1)
    parts = [(a, b) for a, b in zip(edges, list(edges)[1:], strict=False) if b > a]
    return Course(
        setting=setting,
        student=student,
        arm=arm,
        seed=seed,
        steps=fit["steps"],
        losses=tuple(((a + 1 + b) / 2, round(sum(losses[a:b]) / (b - a), 5)) for a, b in parts),
        checks=tuple((check["step"], round(check["loss"], 5)) for check in fit["checks"]),
        selected=fit["selected"],
        cut=fit.get("cut", 0),
        left_out=fit.get("too_long", 0),
        rationales_left_out=fit.get("rationales_left_out", 0),
        cut_for_teacher=fit.get("cut_for_teacher", 0),
        micro_batch=fit.get("micro_batch"),
    )
