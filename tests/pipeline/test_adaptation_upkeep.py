"""An adaptation that is broken off amid its training, that trackers are told of, with presets, in two processes."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import pytest
import test_adaptation
from test_accompany import hidden, over_at, torchrun
from test_adaptation import go, raw, recipe, text, write_texts

import tiny
from preceptor.config import AdaptRecipe, read_recipe
from preceptor.config.presets import PAPER
from preceptor.errors import MissingPackageError, PartFinished
from preceptor.pipeline import adaptation, documents
from preceptor.pipeline.presets import settled_adaptation
from preceptor.progress import Progress
from preceptor.records import AdaptSummary
from preceptor.store.stages import read_json
from preceptor.train import trackers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("read") / "llama", "llama", test_adaptation.VOCABULARY, window=64)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    write_texts(tmp_path / "texts" / "a.jsonl", [text(i) for i in range(40)])
    return tmp_path


def start(checked: AdaptRecipe, base: Path, name: str, progress: Progress | None = None) -> AdaptSummary:
    given: dict[str, Any] = {"folder": base / name, "base": base, "command": "preceptor run adaptation.toml"}
    return adaptation.run_adaptation(checked, **given, progress=progress or Progress(quiet=True))


def trained(model: Path, **keys: Any) -> AdaptRecipe:
    return recipe(model, train={**raw(model)["train"], **keys})


# --- in parts -----------------------------------------------------------------------------------------------------


def test_when_the_time_is_over_amid_its_training_the_next_call_goes_on_there(
    base: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        over_at(7, patched)  # before each of the first two stages, then after each step
        with pytest.raises(PartFinished, match="over at step 5 of 12 of a training; its checkpoint is kept") as caught:
            start(recipe(model), base, "run")
    assert caught.value.hint == "Go on with: preceptor run adaptation.toml"
    assert hidden(base / "run") == [".checkpoints-train"]
    parts = start(recipe(model), base, "run", Progress())
    said = capsys.readouterr().err
    assert "adapt-seed-1: Training goes on from its checkpoint at step 5 of 12." in said
    assert "windows make 12 updates. Warning: fewer than 20" in said
    assert "step 12/12 loss " in said
    assert " tokens/s, validation " in said
    assert hidden(base / "run") == []
    whole = start(recipe(model), base, "whole")
    files = [path.relative_to(base / "whole") for path in (base / "whole" / "model").glob("*") if path.suffix != ".py"]
    assert Path("model/model.safetensors") in files
    for file in (*files, Path("train/model.safetensors"), Path("evaluate/after/documents.parquet")):
        assert (base / "run" / file).read_bytes() == (base / "whole" / file).read_bytes(), file
    assert {**parts.fit, "seconds": 0} == {**whole.fit, "seconds": 0}
    assert parts.change == whole.change


def test_checkpoints_are_as_far_apart_as_the_recipe_says(
    base: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        over_at(10, patched)
        with pytest.raises(PartFinished):
            start(trained(model, checkpoint_every=3), base, "run")
    kept = sorted(path.name for path in (base / "run" / ".checkpoints-train").iterdir())
    assert kept == ["step-00000006", "step-00000008"]


# --- trackers -----------------------------------------------------------------------------------------------------


def test_trackers_are_told_of_it_and_what_accompanies_it_decides_nothing(
    base: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def opened(place: trackers.Place) -> Any:
        told.append((place.folder, place.project, place.run, place.settings["method"]))
        return types.SimpleNamespace(log=lambda values, step: told.append((step, *values)), close=lambda: None)

    monkeypatch.setitem(trackers.KINDS, "tensorboard", ("json", opened))
    start(trained(model, track=["tensorboard"]), base, "run")
    assert told[0] == (base / "run" / "tracking", "adaptation", "adapt-seed-1", "full")
    assert [step for step, *_ in told[1:]] == list(range(1, 13))
    assert told[-1][1:] == ("train/loss", "train/learning_rate", "train/tokens_per_s", "validation/loss")
    before = (base / "run" / "train" / "stage.json").stat().st_mtime_ns
    (base / "run" / ".checkpoints-train").mkdir()  # as if the run had been killed just after its training was done
    start(trained(model, checkpoint_seconds=1, checkpoint_every=2, processes="fsdp"), base, "run")
    assert (base / "run" / "train" / "stage.json").stat().st_mtime_ns == before
    assert len(told) == 13
    assert hidden(base / "run") == []


def test_a_tracker_that_is_not_installed_is_told_before_documents_are_compared(
    base: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.KINDS, "wandb", ("not_a_package_of_anyone", pytest.fail))
    monkeypatch.setattr(documents, "without_copies", pytest.fail)
    with pytest.raises(MissingPackageError, match="not_a_package_of_anyone"):
        start(trained(model, track=["wandb"]), base, "run")


# --- presets ------------------------------------------------------------------------------------------------------


def test_presets_and_held_rates_are_worked_out(model: Path) -> None:
    plain = recipe(model)
    assert settled_adaptation(plain) is plain
    paper = settled_adaptation(recipe(model, train={"preset": "paper", "rank": 8})).train
    assert {key: getattr(paper, key) for key in PAPER} == {**PAPER, "rank": 8}
    assert (paper.preset, paper.steps) == (None, None)
    usual = settled_adaptation(recipe(model, train={"preset": "tuned"})).train
    assert (usual.method, usual.learning_rate, usual.epochs, usual.rank) == ("lora", 3e-4, 4, 8)
    whole = settled_adaptation(recipe(model, train={"preset": "tuned", "method": "full", "steps": 7})).train
    assert (whole.method, whole.learning_rate, whole.steps) == ("full", 3e-5, 7)
    held = settled_adaptation(recipe(model, train={"reference_scale": 2, "alpha": 64, "rank": 8})).train
    assert (held.learning_rate, held.reference_scale) == (pytest.approx(3e-4 / 4), None)


def test_the_resolved_recipe_shows_what_a_preset_trained_with_and_gives_it_again(
    base: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    keys = {"preset": "paper", "learning_rate": 1e-2, "epochs": 1, "accumulation": 2, "batch_size": 4}
    checked = recipe(model, train={**keys, "dtype": "float32"})
    summary = start(checked, base, "run", Progress())
    shown = read_recipe(base / "run" / "recipe.toml")
    assert isinstance(shown, AdaptRecipe)
    assert shown == settled_adaptation(checked)
    assert (shown.train.rank, shown.train.batch_tokens, shown.train.accumulation) == (4, 1024, 2)
    # A pass over the windows, four at once, every second time a step; but for the last, all of 32 tokens.
    windows = summary.fit["windows"]
    assert summary.fit["steps"] == round(-(-windows // 4) / 2)
    assert f"{windows} windows make {summary.fit['steps']} updates. Warning" in capsys.readouterr().err
    before = (base / "run" / "train" / "stage.json").stat().st_mtime_ns
    start(shown, base, "run")
    assert (base / "run" / "train" / "stage.json").stat().st_mtime_ns == before


# --- several processes --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_in_two_processes_is_that_of_one_within_rounding(base: Path, model: Path) -> None:
    given = {**raw(model)["train"], "method": "lora", "processes": "fsdp"}
    done = torchrun(base, raw(model, train=given), "--quiet")
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.count("Report: ") == 1  # the first process alone speaks
    go(recipe(model, train=given), base)
    two, one = (read_json(base / name / "train" / "fit.json") for name in ("two", "run"))
    assert (two["processes"], one["processes"]) == (2, 1)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
    assert (two["tokens"], two["selected"]) == (one["tokens"], one["selected"])
    results = [read_json(base / name / "results.json")["change"]["after"]["value"] for name in ("two", "run")]
    assert results[0] == pytest.approx(results[1], rel=1e-3)
    assert hidden(base / "two") == []
