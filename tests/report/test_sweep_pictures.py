"""Tables and pictures of a sweep."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from preceptor.records import Estimate, Interval, Looks, PointResult, SettingSpread, SpreadDifference, SweepResult
from preceptor.report.looks import looks_sentence
from preceptor.report.sweeps import is_logarithmic, spread_rows, sweep_pictures, sweep_sentences, sweep_views
from preceptor.report.table import sweep_table


def estimate(value: float) -> Estimate:
    return Estimate(value, Interval(value - 0.05, value + 0.05), 0.01)


def point(chosen: bool = False, test: float | None = None, failed: str = "", **values: object) -> PointResult:
    known = None if test is None else estimate(test)
    return PointResult(
        name="p",
        values={f"train.{key}": value for key, value in values.items()},
        scale=2.0,
        learning_rate=3e-4,
        choosing=None if failed else Estimate(0.5, None, 0.02),
        choosing_seeds=((1, 0.5), (2, 0.5)),
        accuracy=known,
        macro_f1=known,
        chosen=chosen,
        failed=failed,
    )


def sweep(student: str, *points: PointResult) -> SweepResult:
    keys = tuple(points[0].values)
    return SweepResult("default", student, "none", keys, "validation", "accuracy", points, 50, {"accuracy": 0.552})


LORA = sweep(
    "lora",
    point(alpha=16, test=0.4),
    point(alpha=32, test=0.5, chosen=True),
    point(alpha=64, failed="seed 1: <nan>"),
    point(alpha=512, test=0.6),
)
PREFIX = sweep("prefix", point(virtual_tokens=16, test=0.3, chosen=True), point(virtual_tokens=256, test=0.35))


def circles(picture: str) -> list[tuple[float, float]]:
    root = ElementTree.fromstring(picture)
    dots = root.iter("circle")
    return sorted((float(d.attrib["cx"][:-1]), float(d.attrib["cy"])) for d in dots)


def test_students_of_one_key_share_a_picture_on_a_logarithmic_axis() -> None:
    accuracy, _ = sweep_pictures([LORA, PREFIX])
    assert accuracy.series == ("lora, train.alpha", "prefix, train.virtual_tokens")
    assert (accuracy.floor, accuracy.failures) == (True, True)
    places = [x for x, _ in circles(str(sweep_pictures([LORA])[0].picture))]
    assert places[1] - places[0] == pytest.approx((places[2] - places[1]) / 4)  # one doubling, then four
    assert len(circles(str(accuracy.picture))) == 5
    assert accuracy.picture.count('class="dot chosen"') == 2
    assert accuracy.picture.count('class="whisker"') == 5
    assert accuracy.picture.count('class="failed"') == 1
    heights = [y for _, y in circles(str(sweep_pictures([LORA])[0].picture))]
    assert heights == sorted(heights, reverse=True)  # higher scores stand higher


def test_without_test_scores_the_score_that_chooses_is_drawn_and_no_floor() -> None:
    bare = sweep("lora", *(replace(p, accuracy=None, macro_f1=None) for p in LORA.points))
    (only,) = sweep_pictures([bare])
    assert only.title == "Validation accuracy · none"
    assert not only.floor
    assert "whisker" not in only.picture


def test_of_several_keys_each_has_a_picture_through_the_chosen_point() -> None:
    points = [
        point(alpha=a, method=m, test=0.5, chosen=(a, m) == (32, "dora")) for a in (16, 32) for m in ("lora", "dora")
    ]
    names = [view.series for view in sweep_pictures([sweep("s", *points)])]
    assert names == [("s, train.alpha, train.method = dora",)] * 2 + [("s, train.method, train.alpha = 32",)] * 2


def test_values_that_are_powers_of_two_or_far_apart_are_logarithmic() -> None:
    assert is_logarithmic([16, 64])
    assert is_logarithmic([0.25, 2])
    assert is_logarithmic([1e-5, 1e-3])
    assert not is_logarithmic([10, 20, 30])
    assert not is_logarithmic([0, 16])


def test_the_table_says_values_scale_scores_and_failures() -> None:
    (view,) = sweep_views([LORA])
    assert view.title == "lora · none, chosen by validation accuracy on 50 items"
    assert view.head[:5] == ("train.alpha", "alpha/r", "learning rate", "validation accuracy", "sd over seeds")
    assert view.rows[1] == ("32", "2", "0.0003", "0.500", "0.020", *["0.500 [0.450, 0.550]"] * 2, "chosen")
    assert view.rows[2][-1] == "failed: seed 1: <nan>"
    text = sweep_table(LORA)
    assert text.splitlines()[0].startswith("sweep: lora")
    assert re.search(r"^64 .*failed: seed 1: <nan>$", text, re.MULTILINE)


def less(first: str, second: str, value: float, p: float | None, **where: str) -> SpreadDifference:
    place = {"setting": "default", "arm": "none", **where}
    beyond = None if p is None else estimate(value)
    return SpreadDifference(
        **place,
        first=first,
        second=second,
        metric="accuracy",
        range=estimate(0.15),
        sd=estimate(0.08),
        beyond_noise=beyond,
        p=p,
        p_holm=p,
    )


def test_spreads_stand_beside_their_difference() -> None:
    spread = {"accuracy": SettingSpread(4, estimate(0.2), estimate(0.1), estimate(0.07))}
    rows = spread_rows([replace(LORA, spread=spread)], [less("lora", "prefix", 0.06, 0.01)])
    assert rows[0][:5] == ("lora · none", "accuracy", "4", "0.200 [0.150, 0.250]", "0.100 [0.050, 0.150]")
    assert rows[0][5] == "0.070 [0.020, 0.120]"
    assert rows[1][0] == "lora less prefix · none"
    assert rows[1][3] == "+0.150 [+0.100, +0.200]"
    assert rows[1][5] == "+0.060 [+0.010, +0.110]"
    (row,) = spread_rows([], [less("lora", "prefix", 0.06, None)])
    assert row[5] == ""


def test_looks_are_told_in_a_sentence() -> None:
    said = looks_sentence(Looks("qa", 500, 12, 2, 7, 3, 1))
    assert said == (
        "The 500 test items of qa were answered 12 times on record, by 2 students in 7 combinations of settings and "
        "arm; 3 of these looks came after a choice by other items than these. 1 result shown here is not on it."
    )
    assert "no choice by a sweep went before" in looks_sentence(Looks("", 500, 1, 1, 1, 0, 0))


def test_a_sweep_is_told_in_sentences() -> None:
    assert sweep_sentences([], []) == []
    assert sweep_sentences([LORA], []) == [
        "Of 4 points train.alpha = 32 was chosen by validation accuracy, 0.500; 1 failed."
    ]
    chosen, apart = sweep_sentences([LORA, PREFIX], [less("lora", "prefix", 0.06, 0.012)])
    assert chosen.startswith("Of 6 points 2 were chosen by validation accuracy, one for each student")
    assert apart == (
        "Noise of seeds and items taken out, the standard deviation of the points' test accuracies differs between "
        "lora and prefix by +0.060 [+0.010, +0.110] (p 0.0120), which is beyond noise."
    )
    assert "cannot be told from noise" in sweep_sentences([LORA, PREFIX], [less("lora", "prefix", 0.06, 0.2)])[1]


def test_without_enough_seeds_there_is_no_verdict_whatever_the_ranges_say() -> None:
    (_, apart) = sweep_sentences([LORA, PREFIX], [less("lora", "prefix", 0, None)])
    assert apart == (
        "Whether settings matter differently to lora and prefix cannot be said: noise of seeds is known from 3 seeds "
        "on."
    )


def test_pairs_that_were_compared_are_named_where_they_differ_or_are_few() -> None:
    names = ("smollm2-lora", "smollm2-prefix", "minilm-lora", "minilm-prefix")
    sweeps = [replace(LORA, student=name, model=name.split("-")[0]) for name in names]
    across = [less(a, b, 0.1, None) for a, b in (names[::2], names[1::2])]
    within = [less(*names[:2], 0.06, 0.004), less(*names[2:], -0.01, 0.6)]
    assert sweep_sentences(sweeps, [*within, *across])[1] == (
        "Noise of seeds and items taken out, the standard deviation of the points' test accuracies was compared in 2 "
        "pairs of students that share a model, with Holm's correction. Beyond noise: smollm2-lora less "
        "smollm2-prefix, +0.060 [+0.010, +0.110] (p 0.0040). Not to be told from noise: minilm-lora and minilm-prefix."
    )


def test_many_pairs_are_counted() -> None:
    sweeps = [replace(LORA, student=name) for name in "abcd"]
    pairs = [less(a, b, 0.06, 0.01 if a == "a" else 0.5) for a, b in itertools.combinations("abcd", 2)]
    told = sweep_sentences(sweeps, pairs)[1]
    assert "in 6 pairs of students, with Holm's correction" in told
    assert told.endswith(". Not to be told from noise: b and c; b and d; c and d.")
    none = [replace(one, p_holm=0.5) for one in pairs]
    assert sweep_sentences(sweeps, none)[1].endswith("Beyond noise: none. Not to be told from noise: all.")
    assert sweep_sentences(sweeps, [pairs[0], *none[1:]])[1].endswith("Not to be told from noise: the other 5.")
    unknown = [replace(one, p_holm=None) for one in pairs]
    assert "differently to the students cannot be said" in sweep_sentences(sweeps, unknown)[1]
    places = [less("a", "b", 0.06, 0.01, arm=arm) for arm in ("none", "rewrite")]
    assert "Beyond noise: a less b (none), +0.060" in sweep_sentences(sweeps, places)[1]


def test_a_score_of_a_single_test_item_is_no_result() -> None:
    (first, *others) = LORA.points
    alone = replace(first, accuracy=Estimate(1.0, None), macro_f1=Estimate(1.0, None))
    (view,) = sweep_views([sweep("lora", alone, *others)])
    assert view.rows[0][-3:-1] == ("no result", "no result")
    assert "no result" not in view.rows[1]
