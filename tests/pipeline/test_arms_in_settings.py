"""Arms that belong to some data settings alone: what is made, trained, shown and compared in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preceptor.config import check_recipe, read_recipe
from preceptor.config.published import row_names
from preceptor.errors import RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.compare import compare_runs
from preceptor.pipeline.label_forecast import estimate
from preceptor.pipeline.label_run import Run
from preceptor.pipeline.sweeping import open_sweep
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.stages import MARK

FREE, REQUIRED = "reasoning-free", "reasoning-required"
ARMS: dict[str, Any] = {
    "none": [],
    "rewrite-a": {"use": ["rewrite"], "settings": [FREE]},
    "combined-b": {"use": ["rewrite", "new"], "teacher": "other", "settings": [REQUIRED]},
}
EVERYWHERE: dict[str, Any] = {
    name: {key: value for key, value in arm.items() if key != "settings"} if isinstance(arm, dict) else arm
    for name, arm in ARMS.items()
}
TRAIN = {"rank": 4, "learning_rate": 1e-2, "steps": 2, "batch_size": 6, "max_length": 128, "dtype": "float32"}


def recipe(model: Path | str, root: Path | str = "x", **changes: Any) -> dict[str, Any]:
    return {
        "name": "places",
        "title": "Arms of one setting",
        "seeds": [1],
        "data": {
            "task": "pubmedqa",
            "path": str(root),
            "settings": [FREE, REQUIRED],
            "max_train": 8,
            "max_test": 6,
        },
        "teacher": {"kind": "scripted"},
        "teachers": {"other": {"kind": "scripted", "seed": 1}},
        "arms": ARMS,
        "filter": {"chain": ["wellformed", "duplicates"]},
        "train": TRAIN,
        "students": [{"name": "small", "model": str(model)}],
        "evaluate": {"resamples": 100, "teacher_items": 5},
        **changes,
    }


def go(raw: dict[str, Any], folder: Path) -> RunSummary:
    checked = check_recipe(raw, "test")
    return pipeline.run(checked, folder=folder, base=folder.parent, command="", progress=Progress(quiet=True))


def below(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def asked(lines: list[str]) -> list[int]:
    return [int(line.split()[3]) for line in lines if line.startswith("Requests to send")]


Done = tuple[RunSummary, Path, dict[str, Any]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, demo_models: dict[str, Path], data_root: Path) -> Done:
    folder = tmp_path_factory.mktemp("places") / "run"
    raw = recipe(demo_models["bert"], data_root / "pubmedqa")
    return go(raw, folder), folder, raw


def test_each_setting_makes_and_trains_what_its_own_arms_use(done: Done) -> None:
    summary, folder, _ = done
    assert below(folder / "augment" / FREE) == {"rewrite", "zero-shot"}
    assert below(folder / "augment" / REQUIRED) == {"rewrite@other", "new@other", "zero-shot@other"}
    assert below(folder / "filter" / FREE) == {"rewrite"}
    assert below(folder / "filter" / REQUIRED) == {"rewrite@other", "new@other"}
    for stage in ("train", "evaluate"):
        assert below(folder / stage / FREE / "small") == {"none", "rewrite-a"}
        assert below(folder / stage / REQUIRED / "small") == {"none", "combined-b"}
    assert [spend.calls for spend in summary.spend.values()] == [8 + 5, 2 * 8 + 5]


def test_an_arm_of_one_setting_is_no_gap_in_the_other(done: Done) -> None:
    summary, folder, _ = done
    rows = {(row.setting, row.arm): row for row in summary.rows if row.kind == "arm"}
    assert list(rows) == [(FREE, "none"), (FREE, "rewrite-a"), (REQUIRED, "none"), (REQUIRED, "combined-b")]
    assert not any(row.missing for row in rows.values())
    for place in ((FREE, "rewrite-a"), (REQUIRED, "combined-b")):
        assert rows[place].generated_items > 0
        assert rows[place].gain_accuracy is not None
        assert rows[place].teacher is not None
    page, table = ((folder / name).read_text(encoding="utf-8") for name in ("report.html", "results.txt"))
    assert "not run" not in page + table
    assert page.count("Trained only in") == 2
    assert f"The real items and rewritten items by the usual teacher. Trained only in {FREE}." in page
    assert {name: arm.settings for name, arm in summary.arms.items()} == {
        "none": (), "rewrite-a": (FREE,), "combined-b": (REQUIRED,),
    }  # fmt: skip
    found = compare_runs([folder], resamples=100)
    assert [one.arm for one in found.comparisons] == ["small, rewrite-a", "small, combined-b"]
    assert [one.setting for one in found.comparisons] == [FREE, REQUIRED]
    assert not found.notes


def test_an_estimate_counts_what_the_arms_of_each_setting_ask(done: Done, tmp_path: Path) -> None:
    summary, _, raw = done
    said = estimate(check_recipe(raw, "test"), folder=tmp_path, base=tmp_path)
    assert asked(said)[:2] == [spend.calls for spend in summary.spend.values()]


def test_without_the_key_every_arm_is_trained_everywhere_and_what_was_done_stays(done: Done) -> None:
    _, folder, raw = done
    marks = {path: path.stat().st_mtime_ns for path in folder.rglob(MARK)}
    summary = go({**raw, "arms": EVERYWHERE}, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob(MARK) if path in marks} == marks
    assert {(row.setting, row.arm) for row in summary.rows if row.kind == "arm"} == {
        (setting, arm) for setting in (FREE, REQUIRED) for arm in ARMS
    }
    assert "Trained only in" not in (folder / "report.html").read_text(encoding="utf-8")


def test_the_points_of_a_sweep_keep_to_the_settings_of_their_arms(
    tmp_path: Path, demo_models: dict[str, Path], data_root: Path
) -> None:
    raw = recipe(demo_models["bert"], data_root / "pubmedqa", sweep={"axes": {"train.alpha": [1, 2]}})
    state = Run(check_recipe(raw, "test"), tmp_path, tmp_path, Progress(quiet=True), "")
    pipeline.load_data(state)
    sweep = open_sweep(state, pipeline.load_data)
    assert sweep is not None
    assert [(trial.setting, trial.arm) for trial in sweep.trials] == 2 * [
        (FREE, "none"), (FREE, "rewrite-a"), (REQUIRED, "none"), (REQUIRED, "combined-b"),
    ]  # fmt: skip


def test_figures_stand_beside_rows_that_there_are() -> None:
    students = [{"name": "one", "model": "x", "settings": [FREE]}, {"name": "two", "model": "x", "untrained": False}]
    raw = recipe("x", students=students, sweep={"axes": {"train.alpha": [1]}})
    assert row_names(check_recipe(raw, "test")) == (
        "one/untrained", "one/none", "one/rewrite-a", "two/none", "two/rewrite-a", "two/combined-b",
        "one/none/alpha-1", "one/rewrite-a/alpha-1",
        "two/none/alpha-1", "two/rewrite-a/alpha-1", "two/combined-b/alpha-1",
        "floor", "human",
    )  # fmt: skip


def test_nothing_is_made_where_nobody_is_trained() -> None:
    students = [{"name": "small", "model": "x", "settings": [REQUIRED]}]
    checked = check_recipe(recipe("x", students=students, arms=EVERYWHERE), "test")
    assert checked.strategies_in(FREE) == ()
    assert checked.strategies_in(REQUIRED) == ("rewrite", "rewrite@other", "new@other")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"arms": {**ARMS, "none": {"settings": ["reasoning"]}}},
            r"arms\.none\.settings: 'reasoning' is not in data\.settings = \['reasoning-free', 'reasoning-required'\]",
        ),
        (
            {"arms": {name: ARMS[name] for name in ("combined-b",)}},
            r"arms: no arm is trained in the setting 'reasoning-free': name it in the key settings of one",
        ),
        (
            {"students": [{"name": "small", "model": "x", "settings": [REQUIRED]}]},
            r"arms\.rewrite-a\.settings = \['reasoning-free'\]: no student is trained there",
        ),
        ({"data": {"task": "demo"}}, r"arms\.rewrite-a\.settings: 'reasoning-free' is not in data\.settings = \[\]"),
        ({"arms": {**ARMS, "none": {"settings": FREE}}}, r"arms\.none\.settings = 'reasoning-free': input should be a"),
        ({"arms": {**ARMS, "none": {"setting": [FREE]}}}, r"unknown key 'arms\.none\.setting'.*settings"),
    ],
)
def test_settings_that_cannot_be_meant_are_said_in_one_sentence(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as refused:
        check_recipe(recipe("x", **changes), "test")
    assert "\n" not in str(refused.value)


def test_a_scale_may_leave_an_arm_out_of_a_setting(tmp_path: Path) -> None:
    text = f"""
name = "x"
title = "y"
[data]
task = "pubmedqa"
path = "z"
settings = ["{FREE}", "{REQUIRED}"]
[[students]]
name = "small"
model = "m"
[scale.small.arms.rewrite]
use = ["rewrite"]
settings = ["{FREE}"]
[scale.small.arms.none]
"""
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    checked = read_recipe(tmp_path / "recipe.toml", scale="small")
    assert isinstance(checked, type(check_recipe(recipe("x"), "test")))
    assert checked.arms_in(FREE) == ("rewrite", "none")
    assert checked.arms_in(REQUIRED) == ("none",)
