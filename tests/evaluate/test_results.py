"""Rows of the result table: references, arms, gains, and whether a row clears the floor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from preceptor.config import EvaluateSettings
from preceptor.evaluate.results import Measured, reference_rows, result_rows, submission_row
from preceptor.evaluate.statistics import wilson
from preceptor.records import Example, Outcome, Prediction

LABELS = ("yes", "no", "maybe")
GOLDS = ["yes"] * 60 + ["no"] * 30 + ["maybe"] * 10
SETTINGS = EvaluateSettings(resamples=300)


def items(human: bool = True) -> list[Example]:
    return [Example(str(i), {}, gold, human="yes" if human else None) for i, gold in enumerate(GOLDS)]


def said(labels: Sequence[str | None]) -> list[Prediction]:
    pairs = enumerate(zip(GOLDS, labels, strict=True))
    return [Prediction(str(i), g, s, Outcome.ANSWERED if s else Outcome.UNPARSED) for i, (g, s) in pairs]


def fit(generated: int) -> dict[str, object]:
    return {"real": 100, "generated": generated, "steps": 50, "seconds": 2.0}


def test_references_are_computed_from_the_items() -> None:
    floor, human = reference_rows("s", items(), LABELS, SETTINGS)
    assert (floor.kind, human.kind) == ("floor", "human")
    assert floor.accuracy is not None
    assert floor.accuracy.value == pytest.approx(0.6)
    assert floor.accuracy.interval is not None
    assert floor.accuracy.interval.method == "wilson"
    assert [row.kind for row in reference_rows("s", items(human=False), LABELS, SETTINGS)] == ["floor"]


def test_gain_is_against_none_of_the_same_student_on_the_same_items() -> None:
    good, bad = said(GOLDS), said(["yes"] * 100)
    measured = [
        Measured("s", "a", "none", "m", {1: bad, 2: bad}, [fit(0), fit(0)]),
        Measured("s", "a", "rewrite", "m", {1: good, 2: good}, [fit(7), fit(7)], cut_prompts=3),
        Measured("s", "b", "rewrite", "m", {1: good}, [fit(7)]),
        Measured("s", "a", "", "as it came", {1: bad}),
    ]
    floor = reference_rows("s", items(), LABELS, SETTINGS)[0]
    none, rewrite, other, untrained = result_rows(measured, floor, LABELS, SETTINGS)
    assert rewrite.gain_accuracy is not None
    assert rewrite.gain_accuracy.value == pytest.approx(0.4)
    assert rewrite.gain_accuracy.interval is not None
    assert rewrite.gain_accuracy.interval.low > 0
    assert none.gain_accuracy is None
    assert other.gain_accuracy is None  # student b has no arm `none`
    assert (rewrite.generated_items, rewrite.steps, rewrite.cut_prompts, rewrite.seconds) == (7, 50, 3, 2.0)
    assert rewrite.seed_scores == ((1, 1.0, 1.0), (2, 1.0, 1.0))
    assert (none.clears_floor, rewrite.clears_floor) == (False, True)
    assert (untrained.kind, untrained.seeds) == ("untrained", ())


def test_just_above_the_floor_is_not_above_its_interval() -> None:
    floor = reference_rows("s", items(), LABELS, SETTINGS)[0]
    slightly = said(["yes"] * 62 + ["no"] * 28 + ["yes"] * 10)  # right: 60 + 28 - and that is .88
    barely = said(["yes"] * 62 + ["no"] * 2 + ["yes"] * 36)  # right: 60 + 2
    rows = [Measured("s", n, "none", "m", {1: r}, [fit(0)]) for n, r in (("x", slightly), ("y", barely))]
    assert [row.clears_floor for row in result_rows(rows, floor, LABELS, SETTINGS)] == [True, False]


def test_answers_without_a_label_are_wrong_and_counted() -> None:
    row = submission_row(said([None] * 50 + GOLDS[50:]), LABELS, SETTINGS)
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(0.5)
    assert row.outcomes["unparsed"] == 50
    assert row.confusion["yes"]["none"] == 50


def test_rows_hold_recall_intervals_calibration_and_agreement() -> None:
    sure = [replace(p, probabilities=tuple(0.8 if x == p.label else 0.1 for x in LABELS)) for p in said(GOLDS)]
    other = [replace(p, label="yes", probabilities=(0.8, 0.1, 0.1)) for p in sure]
    validation = {1: sure[::5], 2: sure[::5]}
    entry = Measured("s", "a", "none", "m", {1: sure, 2: other}, [fit(0)], validation=validation)
    floor = reference_rows("s", items(), LABELS, SETTINGS)[0]
    row = result_rows([entry], floor, LABELS, SETTINGS)[0]
    assert row.calibration is not None
    assert row.calibration.ece.value == pytest.approx((0.2 + 0.2) / 2)  # 80 % sure, and right in all and in 60 %
    assert row.calibration.corrected is not None
    assert row.agreement is not None
    assert row.agreement.pairwise.value == pytest.approx(0.6)
    assert set(row.recall_intervals) == set(LABELS)
    alone = result_rows([replace(entry, runs={1: sure}, validation={})], floor, LABELS, SETTINGS)[0]
    assert alone.agreement is None
    assert alone.calibration is not None
    assert alone.calibration.corrected is None
    assert alone.recall_intervals["maybe"] == wilson(10, 10)
    assert (floor.calibration, floor.agreement) == (None, None)


def test_intervals_of_items_that_share_contexts_are_those_of_contexts() -> None:
    runs = {1: said(["yes"] * 100), 2: said(GOLDS[:80] + ["yes"] * 20)}
    entries = [Measured("s", "a", arm, "m", runs, [fit(0)]) for arm in ("none", "rewrite")]
    clusters = [number // 5 for number in range(100)]
    floor = reference_rows("s", items(), LABELS, SETTINGS, clusters)[0]
    assert floor.accuracy is not None
    assert floor.accuracy.interval is not None
    assert floor.accuracy.interval.method == "bootstrap of whole contexts"  # Wilson's takes items for independent
    for row in result_rows(entries, floor, LABELS, SETTINGS, clusters):
        for estimate in (row.accuracy, row.macro_f1, *([row.gain_accuracy] if row.arm == "rewrite" else [])):
            assert estimate is not None
            assert estimate.interval is not None
            assert estimate.interval.method == "bootstrap of whole contexts"


def test_a_single_item_is_no_result() -> None:
    row = submission_row(said(GOLDS)[:1], LABELS, SETTINGS)
    assert row.accuracy is not None
    assert (row.accuracy.interval, row.recall_intervals) == (None, {"yes": None})
