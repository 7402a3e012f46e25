"""What the cells of bench/objectives.py say beside each other: paired differences, their intervals, tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import stats

Figures = dict[str, Any]

PROMISES = {
    "distillation": ("kl", -1),
    "tokens": ("kl", -1),
    "contrastive": ("knn", 1),
    "rationale": ("accuracy", 1),
    "weights": ("accuracy", 1),
}
"""The figure that an objective is about, and the direction in which it should move."""
BESIDE = {"weights": "corrupted"}
"""What an objective is compared with, where it is not the label alone."""


def beside(objective: str) -> str:
    """What an objective is compared with."""
    return BESIDE.get(objective, "label")


def against(cells: Sequence[Figures], others: Sequence[Figures]) -> Figures:
    """Paired differences from what stands beside them, over seeds: mean and interval of every figure, by part."""
    return {
        part: {
            name: interval([a[part][name] - b[part][name] for a, b in zip(cells, others, strict=True)])
            for name in cells[0][part]
            if name != "teacher_accuracy"
        }
        for part in ("validation", "test")
    }


def interval(values: Sequence[float]) -> Figures:
    """Mean and 95 % interval by Student's t; one value has none."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return {"mean": round(mean, 4), "low": None, "high": None, "n": len(values)}
    half = float(stats.t.ppf(0.975, len(values) - 1) * stats.sem(values))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4), "n": len(values)}


def kept(name: str, difference: Figures) -> bool | None:
    """Whether the interval lies on the promised side of 0; None where there is no interval."""
    if difference["low"] is None:
        return None
    return bool(difference["low"] > 0) if PROMISES[name][1] > 0 else bool(difference["high"] < 0)


def print_table(found: dict[tuple[str, str], list[Figures]], compared: dict[str, Figures]) -> None:
    """Means over seeds of every figure, then the differences."""
    for part in ("validation", "test"):
        print(f"\n{part:<34} accuracy  macro-F1  kNN     KL")
        for (setting, objective), cells in found.items():
            columns = [
                np.mean([one[part].get(name, np.nan) for one in cells])
                for name in ("accuracy", "macro_f1", "knn", "kl")
            ]
            print(f"{setting + ' ' + objective:<34} " + "  ".join(f"{value:<8.4f}" for value in columns))
        for name, differences in compared.items():
            figure = PROMISES[name][0]
            found_here = differences[part][figure]
            print(f"{name} - {beside(name)}, {figure}: {found_here}, as promised: {kept(name, found_here)}")
