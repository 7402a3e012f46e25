"""A figure that a paper printed, and what stands beside it."""

from __future__ import annotations

from dataclasses import dataclass

from preceptor.records.scores import Estimate, Interval


@dataclass(frozen=True, slots=True)
class BesideRow:
    """A row of ours beside a published figure."""

    name: str
    """student/arm."""
    setting: str
    n: int
    """Test items."""
    seeds: int
    """Trained students; 0 where none was trained."""
    accuracy: Estimate
    macro_f1: Estimate | None


@dataclass(frozen=True)
class PublishedFigure:
    """What was printed elsewhere. It is never computed with, but for `interval`."""

    name: str
    split: str
    """Whose test items they are."""
    setting: str
    """Empty: not stated."""
    items: int | None
    """Test items; None: not stated."""
    accuracy: float | None
    macro_f1: float | None
    interval: Interval | None
    """Of the accuracy, by Wilson from the right answers that accuracy and items make, rounded. Ours, not printed."""
    source: str
    note: str
    ours: tuple[BesideRow, ...]
    """Empty: none of ours that is like it was run."""
