"""Results of other recipes are taken over where the inputs are the same, and only there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from preceptor.config import Recipe, check_recipe
from preceptor.errors import DataError, RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.seal import read_looks


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
