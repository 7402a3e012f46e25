"""The plain table names every row and shows no result as no result."""

from __future__ import annotations

import pytest

from preceptor.records import Estimate, Interval, PointResult, Row, SweepResult
from preceptor.report import draw
from preceptor.report.table import as_table, sweep_table


def test_table_is_aligned_and_complete() -> None:
    floor, recall = Estimate(0.55, Interval(0.5, 0.6)), {"yes": 1.0, "no": 0.25}
    ends = {"yes": Interval(0.9, 1), "no": Interval(0.1, 0.4)}
    rows = [
        Row("arm", "s", "mini", "rewrite", seeds=(1, 2), accuracy=Estimate(0.5, Interval(0.4, 0.6)), recall=recall),
        Row(
            "floor", "s", accuracy=floor, macro_f1=floor, recall=recall, recall_intervals=ends, outcomes={"answered": 3}
        ),
    ]
    head, first, second, *recalls = as_table(rows).splitlines()
    assert first.startswith("s: mini, rewrite (2 seeds)  0.500 [0.400, 0.600]  no result")
    assert second.startswith("s: most frequent label")
    assert second.endswith("3 answered")
    assert head.index("accuracy") == first.index("0.500") == second.index("0.550")
    between, labels, without, known = recalls
    assert between == ""
    assert labels.split() == ["recall", "yes", "no"]
    assert known.split("  ")[-2:] == ["1.000 [0.900, 1.000]", "0.250 [0.100, 0.400]"]
    assert without.count("no result") == 2
    assert labels.index("yes") == known.index("1.000") == without.index("no result") == head.index("accuracy")


def test_rows_without_recall_have_none_and_labels_that_one_row_lacks_are_blank() -> None:
    ends = {"no": Interval(0, 0.5)}
    rows = [Row("arm", "s", "m", "a", missing="not run"), Row("floor", "s", recall={"no": 0.0}, recall_intervals=ends)]
    rows.append(Row("human", "s", recall={"yes": 1.0}, recall_intervals={"yes": Interval(0.5, 1)}))
    *_, labels, floor, human = as_table(rows).splitlines()
    assert labels.split() == ["recall", "no", "yes"]
    assert floor.split("  ")[-1] == "0.000 [0.000, 0.500]"
    assert human.index("1.000") == labels.index("yes")
    assert "recall" not in as_table(rows[:1])


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
