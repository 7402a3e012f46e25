"""What a sweep over settings found, and how often the test items were looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from preceptor.records.scores import Estimate


@dataclass(frozen=True)
class PointResult:
    """One combination of values: what it scored on the items that choose and, where it was asked, on the test."""

    name: str
    values: Mapping[str, Any]
    """Key of the recipe -> value."""
    scale: float | None = None
    """What every step of LoRA is multiplied by: alpha/r, rslora alpha/sqrt(r); None for other methods."""
    learning_rate: float | None = None
    choosing: Estimate | None = None
    """The score that chooses, mean over seeds; `sd` between seeds, no interval. None where the point failed."""
    choosing_seeds: tuple[tuple[int, float], ...] = ()
    """(seed, the same score) of every trained student."""
    accuracy: Estimate | None = None
    """On the test items, with interval; None where the point did not answer them."""
    macro_f1: Estimate | None = None
    chosen: bool = False
    failed: str = ""
    """Why it has no result, in a sentence; it is tried again on the next run."""


@dataclass(frozen=True)
class SettingSpread:
    """How far the test scores of one student's points lie apart, each point's score a mean over seeds."""

    points: int
    range: Estimate
    """Highest less lowest; with noise, and growing with the number of points."""
    sd: Estimate
    """Standard deviation over the points; with noise."""
    beyond_noise: Estimate | None = None
    """Standard deviation that noise of seeds and items does not explain.

    None with one seed, without interval with two."""


@dataclass(frozen=True)
class SweepResult:
    """All points of one student under one setting and arm."""

    setting: str
    student: str
    arm: str
    keys: tuple[str, ...]
    select: str
    """`validation` or `folds`."""
    by: str
    """`accuracy` or `macro_f1`."""
    points: tuple[PointResult, ...]
    items: int = 0
    """Items that chose."""
    floor: Mapping[str, float] = field(default_factory=dict)
    """Metric -> what always saying the most frequent label scores on the test items."""
    spread: Mapping[str, SettingSpread] = field(default_factory=dict)
    """Metric -> spread over points, where at least two answered the test items."""
    model: str = ""
    """What the student is trained from, as the recipe says it."""


@dataclass(frozen=True)
class SpreadDifference:
    """Whether one student depends more on its swept settings than another: first less second, on the same items."""

    setting: str
    arm: str
    first: str
    second: str
    metric: str
    range: Estimate
    sd: Estimate
    beyond_noise: Estimate | None = None
    """Difference of the standard deviations that noise does not explain; None with one seed."""
    p: float | None = None
    """Two-sided, that these two do not differ; None with fewer than three seeds."""
    p_holm: float | None = None
    """After Holm's correction over all pairs that the report compares by this metric; None where it does not."""


@dataclass(frozen=True)
class Looks:
    """How often the test items of a setting or benchmark were looked at, by the record that is kept of it."""

    setting: str
    """Or the benchmark; several, with commas between, where they have the same items."""
    items: int
    """Test items."""
    times: int
    """Times that a trained or untrained student answered them."""
    students: int
    """Different students."""
    settings: int
    """Different students, arms and settings of their training taken together; seeds are not counted."""
    chosen: int
    """Of `times`, after a choice by other items than these."""
    unrecorded: int
    """Students and seeds of this report whose answers are older than the record."""
