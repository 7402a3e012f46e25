"""Results of other recipes are taken over where the inputs are the same, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preceptor.config import Recipe, check_recipe
from preceptor.data.load import load_datasets
from preceptor.errors import DataError, RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.label_cells import evaluate_stage, finished, found
from preceptor.pipeline.label_run import Cell, Run
from preceptor.pipeline.reuse import take_over
from preceptor.progress import Progress
from preceptor.records import Prediction, RunSummary
from preceptor.store.results import ResultsBook
from preceptor.store.seal import Look, read_looks, record


def recipe(model: Path, name: str, student: str, **changes: Any) -> Recipe:
    raw = {
        "name": name,
        "title": "Is it computed once?",
        "seeds": [1, 2],
        "results": f"results/{name}",
        "data": {"task": "demo", "max_train": 8, "max_test": 6},
        "arms": {"none": []},
        "train": {"rank": 2, "learning_rate": 1e-2, "steps": 2, "batch_size": 4, "max_length": 300, "dtype": "float32"},
        "students": [{"name": student, "model": str(model), "untrained": False}],
        "evaluate": {"resamples": 100},
        **changes,
    }
    return check_recipe(raw, "test")


def go(checked: Recipe, base: Path, capsys: pytest.CaptureFixture[str] | None = None) -> tuple[RunSummary, str]:
    summary = pipeline.run(
        checked, folder=base / "runs" / checked.name, base=base, command="preceptor run", progress=Progress()
    )
    return summary, "" if capsys is None else capsys.readouterr().err


def trained(base: Path, name: str) -> list[str]:
    return sorted(path.parent.name for path in (base / "runs" / name).rglob("fit.json"))


def test_what_another_recipe_has_computed_from_the_same_inputs_is_taken_over(
    tmp_path: Path, demo_models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    first, _ = go(recipe(demo_models["bert"], "first", "one"), tmp_path)
    asked = recipe(demo_models["bert"], "second", "other", seeds=[1, 2, 3], reuse=["results/none", "results/first"])
    second, said = go(asked, tmp_path, capsys)
    assert trained(tmp_path, "second") == ["seed-3"]
    assert f"there are no results in {tmp_path}/results/none (reuse)" in said
    assert f"cells: 2 of 3 taken from {tmp_path}/results/first" in said
    scores = [{seed: accuracy for seed, accuracy, _ in run.rows[-1].seed_scores} for run in (first, second)]
    assert scores[0].items() <= scores[1].items()
    files = [tmp_path / "results" / f"{name}-default-none-seed-1.json" for name in ("first/one", "second/other")]
    there, here = (json.loads(path.read_text()) for path in files)
    assert (there["predictions"]["extra"]["cell"]["student"], here["predictions"]["extra"]["cell"]["student"]) == (
        "one",
        "other",
    )
    for entry in (there, here):
        del entry["predictions"]["extra"]["cell"]["student"]
    assert there == here
    looks = read_looks(tmp_path / "results" / "second")
    assert sorted((look.recipe, look.cell) for look in looks) == [
        ("first", "other-default-none-seed-1"),
        ("first", "other-default-none-seed-2"),
        ("second", "other-default-none-seed-3"),
    ]
    _, said = go(asked, tmp_path, capsys)
    assert " taken from /" not in said
    assert read_looks(tmp_path / "results" / "second") == looks


def test_other_inputs_are_computed(
    tmp_path: Path, demo_models: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    go(recipe(demo_models["bert"], "first", "one", seeds=[1]), tmp_path)
    changes = {"rank": 3, "learning_rate": 1e-2, "steps": 2, "batch_size": 4, "max_length": 300, "dtype": "float32"}
    other = recipe(demo_models["bert"], "second", "one", seeds=[1], train=changes, reuse=["results/first"])
    _, said = go(other, tmp_path, capsys)
    assert " taken from /" not in said
    assert trained(tmp_path, "second") == ["seed-1"]


def test_reuse_is_refused_without_results_and_a_broken_file_is_named(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    with pytest.raises(RecipeError, match="reuse: what is taken over goes into results: name a folder there, too"):
        recipe(demo_models["bert"], "x", "one", results=None, reuse=["results/first"])
    folder = tmp_path / "results" / "first"
    folder.mkdir(parents=True)
    (folder / "notes.json").write_text('["no results"]')
    asked = recipe(demo_models["bert"], "second", "one", seeds=[1], reuse=["results/first"])
    go(asked, tmp_path)
    (folder / "broken.json").write_text("{")
    with pytest.raises(DataError, match=r"broken\.json"):
        go(asked.model_copy(update={"seeds": (1, 2)}), tmp_path)


# --- without a run: what lies in the folder of results ------------------------------------------------------------


def untrained(base: Path, *students: str, **changes: Any) -> tuple[Run, list[Cell]]:
    """A run of students who are one model, and its cells of them as they came."""
    checked = recipe(Path("a-model"), "second", students[0], reuse=["results/first"], **changes)
    run = Run(checked, base / "run", base, Progress(), "preceptor run", load_datasets(checked.data, base))
    named = [checked.students[0].model_copy(update={"name": name}) for name in students]
    return run, [Cell(one, checked.training_of(one), "default", "", 1) for one in named]


def answered(run: Run, cell: Cell, folder: Path) -> Path:
    """The file of results, beside the look that it cost, in which another recipe's student answered as this cell."""
    identity = evaluate_stage(run, cell).identity
    said = [Prediction(item.id, item.label, item.label) for item in run.datasets["default"].test]
    ResultsBook(folder).add_predictions("theirs-default-untrained", identity, said, None, {"cut_prompts": 0})
    record(
        [folder], Look("first", "h", "theirs-default-untrained", identity, "t", "a-model", "s", {}, "nothing chosen")
    )
    return folder / "theirs-default-untrained.json"


def test_one_result_is_taken_over_for_every_student_that_is_the_same(tmp_path: Path) -> None:
    run, cells = untrained(tmp_path, "a", "b")
    answered(run, cells[0], tmp_path / "results/first")
    take_over(run, cells)
    assert [finished(run, cell) for cell in cells] == [True, True]
    assert [look.cell for look in read_looks(tmp_path / "results/second")] == ["a-default-untrained"]


def test_looks_of_the_recipes_own_results_are_not_counted_twice(tmp_path: Path) -> None:
    run, cells = untrained(tmp_path, "a", results="results/first")
    answered(run, cells[0], tmp_path / "results/first")
    take_over(run, cells)
    assert finished(run, cells[0])
    assert len(read_looks(tmp_path / "results/first")) == 1
    assert read_looks(tmp_path / "run") == []


@pytest.mark.parametrize("gone", ["ids", "outcomes", "extra", "fit"])
def test_a_result_that_lacks_something_is_named(gone: str, tmp_path: Path) -> None:
    run, cells = untrained(tmp_path, "a")
    file = answered(run, cells[0], tmp_path / "results/first")
    value = json.loads(file.read_text())
    del value["predictions"][gone]
    file.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"theirs-default-untrained\.json: is not a file of results"):
        take_over(run, cells)


def test_a_cells_own_broken_file_is_named(tmp_path: Path) -> None:
    run, cells = untrained(tmp_path, "a")
    answered(run, cells[0], tmp_path / "results/first")
    take_over(run, cells)
    file = tmp_path / "results/second/a-default-untrained.json"
    whole = json.loads(file.read_text())
    for part, value in (("extra", {}), ("outcomes", ["none"] * 6), ("ids", ["x"] * 6)):
        file.write_text(json.dumps({"predictions": {**whole["predictions"], part: value}}))
        with pytest.raises(DataError, match=r"a-default-untrained\.json: is not a file of results"):
            found(run, cells[0])
    file.write_text('{"predictions": []}')
    with pytest.raises(DataError, match=r"a-default-untrained\.json: is not a file of results"):
        finished(run, cells[0])
    file.write_bytes(b'{"predictions": "\xff"}')
    with pytest.raises(DataError, match="byte 17 is not UTF-8"):
        finished(run, cells[0])


def test_paths_of_results_are_read_as_those_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run, cells = untrained(tmp_path, "a", results="~/mine")
    assert run.book == ResultsBook(tmp_path / "home/mine")
    run.recipe = run.recipe.model_copy(update={"reuse": ("~nobody-of-this-name/results",)})
    take_over(run, cells)
    assert "there are no results in" in capsys.readouterr().err


def test_a_file_in_the_place_of_results_is_refused_before_all_else(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(RecipeError, match=r"results = 'taken': .*taken is a file"):
        go(recipe(Path("a-model"), "x", "one", results="taken"), tmp_path)
    assert not (tmp_path / "runs").exists()
