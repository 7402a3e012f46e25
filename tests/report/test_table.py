"""The plain table names every row and shows no result as no result."""

from __future__ import annotations

import pytest

from preceptor.records import Estimate, Interval, PointResult, Row, SweepResult
from preceptor.report import draw
from preceptor.report.table import as_table, sweep_table


def test_table_is_aligned_and_complete() -> None:
    recall, floor = {"yes": 1.0, "no": 0.25}, Estimate(0.55, Interval(0.5, 0.6))
    rows = [
        Row("arm", "s", "mini", "rewrite", seeds=(1, 2), accuracy=Estimate(0.5, Interval(0.4, 0.6)), recall=recall),
        Row("floor", "s", accuracy=floor, macro_f1=floor, recall=recall, outcomes={"answered": 3}),
    ]
    head, first, second = as_table(rows).splitlines()
    assert first.startswith("s: mini, rewrite (2 seeds)  0.500 [0.400, 0.600]  no result")
    assert second.startswith("s: most frequent label")
    assert second.endswith("3 answered")
    assert head.index("accuracy") == first.index("0.500") == second.index("0.550")


def test_gains_have_columns_where_there_are_any() -> None:
    gain = Estimate(0.02, Interval(-0.01, 0.05))
    rows = [
        Row("arm", "s", "mini", "none", seeds=(1,), accuracy=gain),
        Row("arm", "s", "mini", "rewrite", seeds=(1,), accuracy=gain, gain_accuracy=gain, gain_macro_f1=gain),
    ]
    head, none, rewrite = as_table(rows).splitlines()
    assert "gain in accuracy" in head
    assert rewrite.count("+0.020 [-0.010, +0.050]") == 2
    assert "+" not in none
    assert "gain" not in as_table(rows[:1])


@pytest.mark.parametrize("value", [1.0, 0.0, float("nan")])
def test_a_value_without_an_interval_is_no_result(value: float) -> None:
    alone = Estimate(value)
    row = Row(
        "arm", "s", "m", "new", seeds=(1,), accuracy=alone, macro_f1=alone, gain_accuracy=alone, gain_macro_f1=alone
    )
    table = as_table([row])
    assert table.splitlines()[1].count("no result") == 4
    assert f"{value:.3f}" not in table
    assert draw.in_text(Estimate(value, Interval(0, 1))) == (
        "no result" if value != value else f"{value:.3f} [0.000, 1.000]"
    )


def test_a_score_that_chooses_has_no_interval_and_is_shown() -> None:
    point = PointResult("m-8", {"train.rank": 8}, None, None, Estimate(0.61), (), None, None, chosen=True, failed="")
    sweep = SweepResult("s", "m", "none", ("train.rank",), "validation", "accuracy", (point,))
    assert "0.610" in sweep_table(sweep)
    assert "no result" not in sweep_table(sweep)
