"""Builds the report of an adaptation: perplexity before and after, the course of the loss, what was read.

`adapt.html` holds the layout; `page.py` and `draw.py` are what it shares with the other kinds of report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from preceptor.records import AdaptSummary, Estimate
from preceptor.report import draw
from preceptor.report.page import Line, recorded, template
from preceptor.store.stages import write_text

__all__ = ["adapt_sentences", "build_adapt", "render_adapt"]

POINTS = 200
"""Points of the curve; with more steps each is the mean of several."""


def build_adapt(summary: AdaptSummary, path: Path) -> Path:
    """Write the report of `summary` to `path` and return the path. Raises `StorageError` when it cannot be written."""
    write_text(path, render_adapt(summary).encode("utf-8", errors="replace").decode("utf-8"))
    return path


def render_adapt(summary: AdaptSummary) -> str:
    """The report as HTML text."""
    change = summary.change
    axis = axis_of([change.before, change.after]) if change else None
    return template("adapt.html").render(
        summary=summary,
        change=change,
        sentences=adapt_sentences(summary),
        lines=[
            Line("before", f"{change.before.value:.2f}", draw.strip(change.before, axis, kind="base")),
            Line("after", f"{change.after.value:.2f}", draw.strip(change.after, axis, kind="arm")),
        ]
        if change and axis
        else [],
        scale=draw.scale(axis) if axis else "",
        curve=_curve(summary.fit),
        checks=summary.fit["checks"],
        exp=math.exp,
        dropped_in_all=sum(summary.dropped.values()),
        training=_training(summary.fit),
        provenance=recorded(summary.provenance),
    )


def adapt_sentences(summary: AdaptSummary) -> list[str]:
    """What came out, in plain sentences; the first says it."""
    fit, documents = summary.fit, summary.documents
    said = []
    if summary.change is None:
        said.append("The held-out documents hold no token, so nothing was measured.")
    else:
        change = summary.change
        said.append(
            f"Perplexity of {change.documents:,} held-out documents {_went(change.ratio)} from "
            f"{_shown(change.before)} to {_shown(change.after)}: {_shown(change.ratio, 3)} of what it was."
        )
        said.append(
            f"It is lower for {change.fell:,} of the {change.documents:,}; the median document went from "
            f"{change.median_before:.2f} to {change.median_after:.2f}."
        )
    passes = fit["tokens"] / fit["pass_tokens"]
    said.append(
        f"The model read {fit['tokens']:,} tokens in {fit['steps']:,} steps ({passes:.2g} passes over "
        f"{documents['train']:,} documents) in {draw.duration(fit['seconds'])}; the state after step "
        f"{fit['selected']:,} was kept."
    )
    gone = ", ".join(f"{number:,} {reason}" for reason, number in summary.dropped.items())
    lost = sum(summary.dropped.values())
    were = "was" if lost == 1 else "were"
    said.append(f"Of {summary.read:,} documents {lost:,} {were} dropped{': ' * bool(gone)}{gone}.")
    said.append(f"Any recipe can name the model as a student's or teacher's: {summary.adapted}")
    return said


def _went(ratio: Estimate) -> str:
    interval = ratio.interval
    if interval is None or interval.low <= 1 <= interval.high:
        return "did not move beyond noise"
    return "fell" if interval.high < 1 else "rose"


def _shown(estimate: Estimate, digits: int = 2) -> str:
    value = f"{estimate.value:.{digits}f}"
    interval = estimate.interval
    return f"{value} [{interval.low:.{digits}f}, {interval.high:.{digits}f}]" if interval else value


def axis_of(estimates: Sequence[Estimate]) -> draw.Axis:
    """An axis from 0 to above all values, in steps that are round numbers."""
    top = max(end for e in estimates for end in (e.value, *((e.interval.high,) if e.interval else ())))
    step = 10.0 ** math.floor(math.log10(top))
    step = next(step * share for share in (0.2, 0.5, 1, 2) if top <= 5 * step * share)
    count = math.ceil(top / step)
    return draw.Axis(0.0, count * step, tuple(step * number for number in range(count + 1)))


def _curve(fit: Mapping[str, Any]) -> Markup:
    """Training loss over steps as a line, validation loss as dots; lines keep their thickness at every width."""
    losses, checks = list(fit["losses"]), fit["checks"]
    size = math.ceil(len(losses) / POINTS)
    means = [(start + (len(part) + 1) / 2, sum(part) / len(part)) for start, part in _parts(losses, size)]
    values = [loss for _, loss in means] + [check["loss"] for check in checks]
    low, high = min(values), max(values)
    reach, steps = (high - low) or 1.0, max(len(losses), 2)

    def at(step: float, loss: float) -> tuple[float, float]:
        return 100 * (step - 1) / (steps - 1), 100 - 100 * (loss - low) / reach

    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in (at(step, loss) for step, loss in means))
    dots = Markup("").join(
        Markup('<circle class="dot arm" cx="{:.2f}%" cy="{:.2f}%" r="4.5"/>').format(*at(check["step"], check["loss"]))
        for check in checks
    )
    return Markup(
        '<svg class="curve" width="100%" height="180" aria-hidden="true" focusable="false">'
        '<svg width="100%" height="180" viewBox="0 0 100 100" preserveAspectRatio="none">'
        '<polyline class="course" points="{}" vector-effect="non-scaling-stroke"/></svg>{}'
        '<text x="0" y="-6">{:.2f}</text><text x="0" y="196">{:.2f}</text></svg>'
    ).format(line, dots, high, low)


def _parts(losses: Sequence[float], size: int) -> list[tuple[int, Sequence[float]]]:
    return [(start, losses[start : start + size]) for start in range(0, len(losses), size)]


def _training(fit: Mapping[str, Any]) -> list[tuple[str, str]]:
    speed = fit["tokens"] / fit["seconds"] if fit["seconds"] else 0.0
    return [
        ("Optimiser steps", f"{fit['steps']:,}"),
        ("Step that was kept", f"{fit['selected']:,}"),
        ("Tokens read", f"{fit['tokens']:,}"),
        ("Tokens of one pass", f"{fit['pass_tokens']:,} in {fit['windows']:,} windows"),
        ("Trained weights", f"{fit['trainable']:,}"),
        ("Time, validation included", f"{draw.duration(fit['seconds'])} ({speed:,.0f} tokens/s)"),
    ]
