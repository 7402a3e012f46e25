"""Invented figures of an invented paper, for the tests of the report."""

from __future__ import annotations

import dataclasses

from preceptor.records import BesideRow, Interval, PublishedFigure, RunSummary

NOTES = ("The figures of the paper are invented.", "They were chosen by its test items.")


def figure(name: str, **more: object) -> PublishedFigure:
    made = PublishedFigure(
        name=name,
        split="paper",
        setting="reasoning-required",
        items=500,
        accuracy=0.638,
        macro_f1=0.391,
        interval=Interval(0.595, 0.679, method="wilson"),
        source="An invented paper, Table 2",
        note="the best of six values, chosen by the test items; one seed",
        ours=(),
    )
    return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def with_published(summary: RunSummary, words: str = "") -> RunSummary:
    """`summary` with figures for two splits, beside a row of its own, rows of two settings, and none."""
    ours = [
        BesideRow(f"{row.student}/{row.arm}", row.setting, row.n, len(row.seeds), row.accuracy, row.macro_f1)
        for row in summary.rows
        if row.kind == "arm" and row.accuracy is not None
    ]
    figures = (
        figure(f"Large student, no augmentation{words}", ours=tuple(ours[:1]), note=words or "one seed"),
        figure("Large student, rewritten", ours=tuple(ours[-2:]), source=f"Table 3{words}"),
        figure("Another student", accuracy=0.6, interval=None, items=None, macro_f1=None, note=""),
        figure("A teacher, zero-shot", split="official", setting="", accuracy=0.752, macro_f1=None),
        figure("A teacher, by macro-F1", split="official", accuracy=None, interval=None),
    )
    return dataclasses.replace(summary, published=figures, published_notes=(*NOTES, *([words] if words else [])))
