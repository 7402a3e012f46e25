"""A paper's figures beside the rows of a run: found by name, with Wilson's interval, in every file of results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.proportion import proportion_confint

from preceptor.config import Recipe, check_recipe
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.published import published_figures
from preceptor.progress import Progress
from preceptor.records import Estimate, Interval, PointResult, Row, SweepResult

FIGURE = {"name": "Theirs", "split": "paper", "items": 500, "accuracy": 0.638, "macro_f1": 0.391, "source": "Table 2"}
ESTIMATE = Estimate(0.5, Interval(0.4, 0.6))


def recipe(*figures: dict[str, Any], **changes: Any) -> Recipe:
    raw = {
        "name": "job",
        "title": "Beside a paper?",
        "data": {"task": "demo"},
        "students": [{"name": "s", "model": "m"}],
        "published": [{**FIGURE, **figure} for figure in figures],
    }
    return check_recipe({**raw, **changes}, "test")


def row(setting: str, arm: str = "none", kind: str = "arm", **more: Any) -> Row:
    seeds = (1, 2) if kind == "arm" else ()
    return Row(kind, setting, "s", arm, n=20, seeds=seeds, accuracy=ESTIMATE, macro_f1=ESTIMATE, **more)


@pytest.mark.parametrize(("accuracy", "items"), [(0.754, 500), (0.0, 50), (1.0, 50), (0.683, 500)])
def test_the_interval_is_wilsons_of_accuracy_and_items(accuracy: float, items: int) -> None:
    (figure,) = published_figures(recipe({"accuracy": accuracy, "items": items}), [])
    low, high = proportion_confint(round(accuracy * items), items, method="wilson")
    assert figure.interval is not None
    assert (figure.interval.low, figure.interval.high) == pytest.approx((low, high))
    assert figure.accuracy == accuracy  # as printed


def test_without_items_or_accuracy_there_is_no_interval() -> None:
    figures = published_figures(recipe({"items": None}, {"accuracy": None}), [])
    assert [figure.interval for figure in figures] == [None, None]


def test_rows_are_found_by_name_in_every_setting_and_references_by_theirs() -> None:
    rows = [row("free"), row("required"), row("free", "", "untrained"), Row("floor", "free", accuracy=ESTIMATE)]
    asked = recipe(
        {"beside": "s/none", "setting": "required"},
        {"beside": "s/none", "setting": "other"},
        {"beside": ["s/untrained", "s/none"], "setting": "free"},
        {"beside": "s/rewrite"},
        {},
        {"beside": ["floor", "human"]},
    )
    found = [[(one.name, one.setting, one.seeds) for one in figure.ours] for figure in published_figures(asked, rows)]
    assert found == [
        [("s/none", "free", 2), ("s/none", "required", 2)],
        [("s/none", "free", 2), ("s/none", "required", 2)],
        [("s/untrained", "free", 0), ("s/none", "free", 2), ("s/none", "required", 2)],
        [],
        [],
        [("floor", "free", 0)],
    ]


def test_a_run_writes_them_into_every_file_of_results(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    note = "The paper's were chosen by its test items."
    checked = recipe(
        {"beside": "s/none", "setting": "default"},
        {"name": "Not ours", "split": "official", "accuracy": 0.752},
        students=[{"name": "s", "model": str(demo_models["bert"])}],
        published_notes=[note],
        arms={"none": []},
        seeds=[1, 2],
        data={"task": "demo", "max_train": 12, "max_test": 20},
        train={"rank": 2, "steps": 1, "batch_size": 4, "max_length": 200, "dtype": "float32"},
        evaluate={"resamples": 100},
    )
    summary = pipeline.run(
        checked, folder=tmp_path, base=tmp_path, command="preceptor run", progress=Progress(quiet=True)
    )
    ours = next(row for row in summary.rows if row.arm == "none")
    theirs, other = json.loads((tmp_path / "results.json").read_text())["published"]
    assert theirs["ours"][0]["accuracy"]["value"] == ours.accuracy.value if ours.accuracy else False
    assert (theirs["ours"][0]["n"], theirs["ours"][0]["seeds"], theirs["accuracy"]) == (20, 2, 0.638)
    assert other["ours"] == []
    text, page = ((tmp_path / name).read_text() for name in ("results.txt", "report.html"))
    for words in ("0.638 [0.595, 0.679]", "not run", note, "some of ours have 20 test items"):
        assert words in text
    assert "Beside the paper" in page
    assert "[0.595, 0.679]" in page
    assert "published" in (tmp_path / "recipe.toml").read_text()


def test_a_point_that_answered_the_test_is_found_by_its_name() -> None:
    points = (
        PointResult("s-alpha-16", {"train.alpha": 16}, accuracy=ESTIMATE, choosing_seeds=((1, 0.5), (2, 0.5))),
        PointResult("s-alpha-32", {"train.alpha": 32}),
    )
    sweep = SweepResult("free", "s", "none", ("train.alpha",), "validation", "accuracy", points)
    asked = recipe({"beside": "s/none/alpha-16"}, {"beside": "s/none/alpha-32"})
    first, second = published_figures(asked, [row("free")], [sweep])
    assert [(one.name, one.setting, one.n, one.seeds) for one in first.ours] == [("s/none/alpha-16", "free", 20, 2)]
    assert second.ours == ()
