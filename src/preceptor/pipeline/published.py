"""Published figures, each with the rows of ours that the recipe names beside it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preceptor.config import PublishedSettings, Recipe
from preceptor.evaluate.statistics import wilson
from preceptor.records import BesideRow, PublishedFigure, Row, SweepResult


def published_figures(
    recipe: Recipe, rows: Sequence[Row], sweeps: Sequence[SweepResult] = ()
) -> tuple[PublishedFigure, ...]:
    """The figures of `[[published]]` in their order."""
    known: dict[str, list[BesideRow]] = {}
    for row in rows:
        if row.accuracy is not None:
            name = f"{row.student}/{row.arm or row.kind}" if row.student else row.kind
            beside = BesideRow(name, row.setting, row.n, len(row.seeds), row.accuracy, row.macro_f1)
            known.setdefault(name, []).append(beside)
    for name, beside in _points(rows, sweeps):
        known.setdefault(name, []).append(beside)
    return tuple(
        _figure(given, [row for name in given.beside for row in known.get(name, ())]) for given in recipe.published
    )


def _points(rows: Sequence[Row], sweeps: Sequence[SweepResult]) -> Iterator[tuple[str, BesideRow]]:
    """Every point that answered the test items, as student/arm/point."""
    for sweep in sweeps:
        n = max((row.n for row in rows if row.setting == sweep.setting), default=0)
        for point in sweep.points:
            if point.accuracy is not None:
                name = f"{sweep.student}/{sweep.arm}/{point.name.removeprefix(f'{sweep.student}-')}"
                seeds = len(point.choosing_seeds)
                yield name, BesideRow(name, sweep.setting, n, seeds, point.accuracy, point.macro_f1)


def _figure(given: PublishedSettings, ours: Sequence[BesideRow]) -> PublishedFigure:
    interval = None
    if given.accuracy is not None and given.items is not None:
        interval = wilson(round(given.accuracy * given.items), given.items)
    return PublishedFigure(
        name=given.name,
        split=given.split,
        setting=given.setting,
        items=given.items,
        accuracy=given.accuracy,
        macro_f1=given.macro_f1,
        interval=interval,
        source=given.source,
        note=given.note,
        ours=tuple(ours),
    )
