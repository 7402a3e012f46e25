"""From predictions to the rows of the result table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from preceptor.config import EvaluateSettings
from preceptor.evaluate.calibration import calibrate, estimates_of, seed_agreement
from preceptor.evaluate.metrics import floor_predictions, human_predictions, score
from preceptor.evaluate.statistics import index_predictions, paired_gain
from preceptor.records import Estimate, Example, Prediction, Row

BASELINE = "none"
"""The arm that the others are compared with."""


@dataclass(frozen=True)
class Measured:
    """All predictions of one student in one arm (or untrained) under one setting."""

    setting: str
    student: str
    arm: str
    """Empty for the untrained student."""
    method: str
    runs: Mapping[int, Sequence[Prediction]]
    """By seed."""
    fits: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    """`fit.json` of each seed; none for the untrained student."""
    cut_prompts: int = 0
    validation: Mapping[int, Sequence[Prediction]] = field(default_factory=dict)
    """The same students' answers to validation items, by seed, where they are known."""
    shots: int | None = None
    """A baseline: solved examples before each item; its arm is then their number, and its seed the one they are drawn
    with."""

    @property
    def kind(self) -> str:
        """Of its row."""
        return "baseline" if self.shots is not None else "arm" if self.arm else "untrained"


def reference_rows(
    setting: str,
    test: Sequence[Example],
    labels: Sequence[str],
    settings: EvaluateSettings,
    clusters: Sequence[int] | None = None,
) -> list[Row]:
    """The majority floor and, where the data records it, the human ceiling: recomputed from the items.

    `clusters`: the number of each item's context, where items share some (`contexts.clusters_of`).
    """
    rows = [_row("floor", setting, {0: floor_predictions(test, labels)}, labels, settings, clusters)]
    human = human_predictions(test)
    if human is not None:
        rows.append(_row("human", setting, {0: human}, labels, settings, clusters))
    return [replace(row, seeds=(), seed_scores=()) for row in rows]


def submission_row(predictions: Sequence[Prediction], labels: Sequence[str], settings: EvaluateSettings) -> Row:
    """The row of predictions that somebody handed in."""
    return replace(_row("submission", "", {0: predictions}, labels, settings), seeds=(), seed_scores=())


def result_rows(
    measured: Sequence[Measured],
    floor: Row,
    labels: Sequence[str],
    settings: EvaluateSettings,
    clusters: Sequence[int] | None = None,
) -> list[Row]:
    """One row per student and arm of one setting, with its gain over the arm `none` of the same student.

    `clusters` as in `reference_rows`, in the order of the predictions.
    """
    rows = []
    for entry in measured:
        row = _row(entry.kind, entry.setting, entry.runs, labels, settings, clusters)
        baseline = next((m for m in measured if m.student == entry.student and m.arm == BASELINE), None)
        if baseline is not None and entry.kind == "arm" and entry.arm != BASELINE:
            gain = _gain(entry, baseline, labels, settings, clusters)
            row = replace(row, gain_accuracy=gain[0], gain_macro_f1=gain[1])
        rows.append(
            replace(
                row,
                student=entry.student,
                arm=entry.arm,
                method=entry.method,
                seeds=tuple(entry.runs) if entry.kind == "arm" else (),
                clears_floor=_clears(row, floor),
                real_items=_first(entry.fits, "real"),
                generated_items=_first(entry.fits, "generated"),
                steps=_first(entry.fits, "steps"),
                cut_prompts=entry.cut_prompts,
                shots=entry.shots,
                seconds=sum(f["seconds"] for f in entry.fits) / len(entry.fits) if entry.fits else 0.0,
                calibration=calibrate(
                    entry.runs,
                    labels,
                    settings.resamples,
                    settings.interval_seed,
                    validation=entry.validation,
                    clusters=clusters,
                ),
                agreement=seed_agreement(
                    entry.runs, labels, settings.resamples, settings.interval_seed, clusters=clusters
                ),
            )
        )
    return rows


def _first(fits: Sequence[Mapping[str, Any]], key: str) -> int:
    return int(fits[0][key]) if fits else 0


def _clears(row: Row, floor: Row) -> bool | None:
    """Whether the accuracy lies above the upper end of the floor's own interval."""
    if row.accuracy is None or floor.accuracy is None or floor.accuracy.interval is None:
        return None
    return row.accuracy.value > floor.accuracy.interval.high


def _row(
    kind: str,
    setting: str,
    runs: Mapping[int, Sequence[Prediction]],
    labels: Sequence[str],
    settings: EvaluateSettings,
    clusters: Sequence[int] | None = None,
) -> Row:
    scores = {seed: score(predictions, labels) for seed, predictions in runs.items()}
    estimates = estimates_of(list(runs.values()), labels, settings.resamples, settings.interval_seed, clusters)
    recalls = zip(labels, estimates.recall, strict=True)
    some = next(iter(scores.values()))
    return Row(
        kind=kind,
        setting=setting,
        seeds=tuple(runs),
        n=some.n,
        accuracy=estimates.accuracy,
        macro_f1=estimates.macro_f1,
        recall={label: _mean([s.recall[label] for s in scores.values()]) for label in some.recall},
        recall_intervals={label: one.interval for label, one in recalls if one is not None},
        confusion=_added([s.confusion for s in scores.values()]),
        outcomes=dict(sum((Counter(s.outcomes) for s in scores.values()), Counter())),
        seed_scores=tuple((seed, s.accuracy, s.macro_f1) for seed, s in scores.items()),
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _added(tables: Sequence[Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    return {gold: {said: sum(table[gold][said] for table in tables) for said in tables[0][gold]} for gold in tables[0]}


def _gain(
    entry: Measured,
    baseline: Measured,
    labels: Sequence[str],
    settings: EvaluateSettings,
    clusters: Sequence[int] | None,
) -> tuple[Estimate, Estimate]:
    ours = index_predictions(list(entry.runs.values()), labels)
    theirs = index_predictions(list(baseline.runs.values()), labels)
    gain = paired_gain(
        ours.gold_I,
        ours.predicted_RI,
        theirs.predicted_RI,
        len(labels),
        settings.resamples,
        settings.interval_seed,
        clusters_I=clusters,
    )
    return gain.accuracy, gain.macro_f1
