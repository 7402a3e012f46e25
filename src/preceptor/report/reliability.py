"""The report's panel on probabilities: calibration errors, reliability pictures, the label prior, seeds that agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from preceptor.records import Calibration, ReliabilityBin, Row

_EDGE = 4.0
"""Room at all sides of a picture, in percent, so that a dot at the end is not cut."""
_SMALLEST, _LARGEST = 2.0, 6.5
"""Radius of the dot of a bin with hardly an answer, and with all of them, in pixels."""


@dataclass(frozen=True, slots=True)
class Diagram:
    """A row's reliability picture."""

    name: str
    picture: Markup
    words: str
    """What the picture shows, for those who do not see it."""


@dataclass(frozen=True, slots=True)
class Panel:
    """What a setting's rows say about probabilities."""

    rows: tuple[Row, ...]
    """Rows with a calibration or with an agreement of seeds."""
    diagrams: tuple[Diagram, ...]
    bins: int
    validation: int
    """Validation items that corrections were made from, the least of all rows; 0 where there is none."""


def panel(rows: Sequence[Row], names: Sequence[str]) -> Panel | None:
    """The panel of one setting, or None where no row has anything to show. `names` are those of the rows."""
    kept = [(row, name) for row, name in zip(rows, names, strict=True) if row.calibration or row.agreement]
    if not kept:
        return None
    known = [(row.calibration, name) for row, name in kept if row.calibration is not None]
    return Panel(
        rows=tuple(row for row, _ in kept),
        diagrams=tuple(Diagram(name, reliability(one.reliability), in_words(one)) for one, name in known),
        bins=known[0][0].bins if known else 0,
        validation=min((one.corrected.n for one, _ in known if one.corrected is not None), default=0),
    )


def reliability(bins: Sequence[ReliabilityBin]) -> Markup:
    """Confidence from left to right, share right from bottom to top; a dot for each bin, larger with more answers.

    A perfect student's dots lie on the diagonal, below it one is too sure. Whiskers are the bins' intervals.
    """
    total = sum(one.n for one in bins)
    parts = [
        Markup('<rect class="frame" x="{0}" y="{0}" width="{1}" height="{1}"/>').format(
            f"{_EDGE}%", f"{100 - 2 * _EDGE}%"
        ),
        Markup('<line class="zero" x1="{0}" y1="{1}" x2="{1}" y2="{0}"/>').format(_across(0), _across(1)),
    ]
    for one in bins:
        if one.interval is not None:
            whisker = Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>')
            parts.append(whisker.format(_across(one.confidence), _up(one.interval.low), _up(one.interval.high)))
    for one in bins:
        radius = _SMALLEST + (_LARGEST - _SMALLEST) * (one.n / total) ** 0.5
        dot = Markup('<circle class="dot" cx="{}" cy="{}" r="{}"/>')
        parts.append(dot.format(_across(one.confidence), _up(one.accuracy), f"{radius:.1f}"))
    return Markup(
        '<svg class="strip reliability" width="100%" height="150" aria-hidden="true" focusable="false">{}</svg>'
    ).format(Markup("").join(parts))


def in_words(one: Calibration) -> str:
    """Mean confidence against the share right."""
    total = sum(part.n for part in one.reliability)
    if not total:
        return "no answers"
    sure = sum(part.confidence * part.n for part in one.reliability) / total
    right = sum(part.accuracy * part.n for part in one.reliability) / total
    return f"{100 * sure:.0f}\N{NO-BREAK SPACE}% sure, {100 * right:.0f}\N{NO-BREAK SPACE}% right"


def _across(share: float) -> str:
    return f"{_EDGE + (100 - 2 * _EDGE) * share:.2f}%"


def _up(share: float) -> str:
    return _across(1 - share)
