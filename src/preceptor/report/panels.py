"""The picture of a matrix: gains over the student before tuning, a panel for each category."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from preceptor.records import MatrixEntry
from preceptor.report import draw
from preceptor.report.matrix import Block, StudentView, metric_name, title_of
from preceptor.report.page import Line, shown


@dataclass(frozen=True, slots=True)
class Group:
    """One benchmark of a panel, with a line for each arm."""

    benchmark: str
    metric: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True)
class Panel:
    """One category."""

    title: str
    groups: tuple[Group, ...]
    scale: Markup


def axes(students: Sequence[StudentView]) -> dict[str, draw.Axis]:
    """Category -> its axis, the same for all students and blocks, so that their pictures can be compared."""
    gains: dict[str, list[MatrixEntry]] = {}
    for view in students:
        for column in view.columns:
            cells = (e for e in view.entries if (e.benchmark, e.metric) == (column.benchmark, column.metrics[0]))
            gains.setdefault(column.category, []).extend(cells)
    whole = {category: draw.difference_axis(e.gain for e in entries) for category, entries in gains.items()}
    # A panel is narrow: the ticks between would stand on each other.
    return {category: draw.Axis(axis.low, axis.high, (axis.low, 0.0, axis.high)) for category, axis in whole.items()}


def panels(view: StudentView, block: Block, axis_of: Mapping[str, draw.Axis]) -> tuple[Panel, ...]:
    """The panels of one block of a student; none where no arm has a gain."""
    found: dict[str, list[Group]] = {}
    for number, column in enumerate(view.columns):
        axis = axis_of[column.category]
        lines = []
        for row in block.rows:
            cell = row.cells[number]
            gain = cell.main.entry.gain if cell.main.entry is not None else None
            if draw.has_result(gain):
                picture = draw.strip(gain, axis, kind="arm" if cell.own else "base", zero=True)
                sure = cell.main.mark is not None and cell.main.mark.holds
                lines.append(Line(row.arm, shown(gain, sign=True) + (" *" if sure else ""), picture))
        if lines:
            group = Group(column.benchmark, metric_name(column.metrics[0]), tuple(lines))
            found.setdefault(column.category, []).append(group)
    return tuple(
        Panel(title_of(category), tuple(groups), draw.scale(axis_of[category], sign=True))
        for category, groups in found.items()
    )
