"""The section "Beside the paper's figures": what was printed elsewhere next to ours.

Neither splits nor settings of ours are mixed in one table: arms that were run in different settings would look like a
comparison of arms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preceptor.records import BesideRow, Estimate, PublishedFigure, RunSummary
from preceptor.report import draw

NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class PublishedLine:
    """One line: a printed figure and a row of ours; None where none was run."""

    figure: PublishedFigure
    accuracy: Estimate | None
    """The printed one with our interval; None where none was printed."""
    ours: BesideRow | None


@dataclass(frozen=True, slots=True)
class PublishedView:
    """The figures of one split of the paper's beside rows of one setting of ours."""

    split: str
    ours: str
    """The split of ours, and the setting where it has a name."""
    lines: tuple[PublishedLine, ...]
    warning: str
    """Why its columns cannot be compared as numbers of one test set; may be empty."""


def published_views(summary: RunSummary) -> list[PublishedView]:
    """A table for each split that figures were printed for and each setting of ours, in the order of the recipe."""
    views = []
    for split in dict.fromkeys(figure.split for figure in summary.published):
        figures = [figure for figure in summary.published if figure.split == split]
        settings = dict.fromkeys(row.setting for figure in figures for row in figure.ours)
        views += [_view(summary, split, setting, figures) for setting in settings or ("",)]
    return views


def published_text(summary: RunSummary) -> str:
    """The same as plain text tables with aligned columns, warnings and notes; empty without figures."""
    views = published_views(summary)
    if not views:
        return ""
    parts = ["Beside the paper's figures"]
    for view in views:
        parts.append(_table(view))
        parts += [view.warning] if view.warning else []
    return "\n\n".join([*parts, *summary.published_notes])


def _view(summary: RunSummary, split: str, setting: str, figures: Sequence[PublishedFigure]) -> PublishedView:
    lines = [
        PublishedLine(figure, None if figure.accuracy is None else Estimate(figure.accuracy, figure.interval), ours)
        for figure in figures
        for ours in ([row for row in figure.ours if row.setting == setting] or (None,))
    ]
    ours = summary.split if setting in ("", "default") else f"{summary.split}, {setting}"
    return PublishedView(split, ours, tuple(lines), _warning(summary.split, split, lines))


def _warning(ours: str, theirs: str, lines: Sequence[PublishedLine]) -> str:
    reasons = []
    beside = [(line.figure, line.ours) for line in lines if line.ours is not None]
    if beside and ours != theirs:
        reasons.append(f"ours are scored on the split {ours}, the paper's on the split {theirs}")
    settings = [(row.setting, figure.setting) for figure, row in beside if figure.setting not in ("", row.setting)]
    for mine, other in dict.fromkeys(settings):
        reasons.append(f"ours are read in the setting {mine}, the paper's in {other}")
    sizes = [(row.n, figure.items) for figure, row in beside if figure.items not in (None, row.n)]
    for count, items in dict.fromkeys(sizes):
        reasons.append(f"some of ours have {count:,} test items, the paper's beside them {items:,}")
    if not reasons:
        return ""
    return f"The columns cannot be compared as numbers of one test set: {'; '.join(reasons)}."


def _table(view: PublishedView) -> str:
    ours, theirs = f"ours, split {view.ours}:", f"paper's, split {view.split}:"
    head = ["", f"{ours} row", "accuracy", "macro-F1", "items", "seeds", f"{theirs} accuracy", "macro-F1", "items"]
    head += ["source"]
    lines = [head, *(list(_cells(line)) for line in view.lines)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    notes = dict.fromkeys(f"{line.figure.name}: {line.figure.note}" for line in view.lines if line.figure.note)
    return "\n".join([*rows, *notes])


def _cells(line: PublishedLine) -> Iterator[str]:
    figure, row = line.figure, line.ours
    yield _with(figure.name, figure.setting)
    if row is None:
        yield from (NOT_RUN, "", "", "", "")
    else:
        yield from (row.name, _ours(row.accuracy), _ours(row.macro_f1))
        yield from (str(row.n), str(row.seeds or ""))
    yield from (_printed(line.accuracy), "" if figure.macro_f1 is None else f"{figure.macro_f1:.3f}")
    yield from (str(figure.items or ""), figure.source)


def _with(name: str, setting: str) -> str:
    return f"{name} ({setting})" if setting else name


def _ours(estimate: Estimate | None) -> str:
    return "" if estimate is None else draw.in_text(estimate)


def _printed(estimate: Estimate | None) -> str:
    """A figure of the paper's, which is one also where nothing is known of its items."""
    if estimate is None:
        return ""
    ends = draw.known_interval(estimate)
    return f"{estimate.value:.3f}" + (f" [{ends.low:.3f}, {ends.high:.3f}]" if ends else "")
