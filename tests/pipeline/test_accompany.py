"""Runs whose trainings are broken off: they go on from checkpoints, tell trackers, and work in several processes."""

from __future__ import annotations

import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import test_instructions
import tomli_w
from test_labels import recipe

from preceptor.config import Recipe, TrainSettings, check_instruct_recipe, check_recipe
from preceptor.errors import MissingPackageError, PartFinished, RecipeError
from preceptor.pipeline import labels
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.instructions import run_instructions
from preceptor.progress import Progress
from preceptor.store.stages import read_json
from preceptor.teachers.base import Control
from preceptor.teachers.scripted import ScriptedTeacher
from preceptor.train import trackers
from preceptor.train.parallel import Team

SOURCE = Path(__file__).resolve().parent.parent.parent / "src"


def small(models: dict[str, Path], **train: Any) -> Recipe:
    """Two arms of one encoder, four steps each."""
    raw = recipe({"bert": models["bert"]}, arms={"none": [], "rewrite": ["rewrite"]}, seeds=[1])
    raw["filter"] = {"chain": ["wellformed", "duplicates"]}
    raw["train"] = {**raw["train"], **train}
    return check_recipe(raw, "here")


def go(checked: Recipe, folder: Path, progress: Progress | None = None) -> Any:
    given = {"folder": folder, "base": folder, "command": "preceptor run small.toml"}
    return labels.run(checked, **given, progress=progress or Progress(quiet=True), minutes=None)  # type: ignore[arg-type]


def over_at(call: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the time be over when cells, stages and trainings ask for the `call`-th time, not for what is before."""
    asked: list[int] = []
    usual = Deadline.check

    def over(self: Deadline) -> bool:
        asked.append(len(asked) + 1)
        return len(asked) == call

    def check(self: Deadline, left: int, what: str = "Cells") -> None:
        if what in ("Cells", "Stages"):
            usual(self, left, what)

    monkeypatch.setattr(Deadline, "over", property(over))
    monkeypatch.setattr(Deadline, "check", check)
    monkeypatch.setattr(Control, "late", False)
    return asked


def hidden(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob(".*") if path.name != ".lock")


def weights(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("adapter_model.safetensors")}


def test_a_run_on_labels_ends_amid_a_training_and_goes_on_there(
    demo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checked, run = small(demo_models), tmp_path / "run"
    with monkeypatch.context() as patched:
        over_at(3, patched)  # once before the cell, then after each step
        with pytest.raises(PartFinished, match="over at step 2 of 4 of a training; its checkpoint is kept") as caught:
            go(checked, run)
    assert caught.value.hint == "Go on with: preceptor run small.toml"
    assert hidden(run) == [".checkpoints-seed-1"]
    summary = go(checked, run, Progress())
    assert "bert-default-none-seed-1: Training goes on from its checkpoint at step 2 of 4." in capsys.readouterr().err
    assert hidden(run) == []
    whole = go(checked, tmp_path / "whole")
    assert weights(run) == weights(tmp_path / "whole")
    assert len(weights(run)) == 2
    assert summary.courses == whole.courses
    assert [(course.arm, course.seed, course.steps) for course in whole.courses] == [("none", 1, 4), ("rewrite", 1, 4)]
    assert '<div class="courses">' in (run / "report.html").read_text(encoding="utf-8")


def test_a_run_on_instructions_does_so_too(
    demo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = test_instructions.recipe(tmp_path, demo_models["llama"], seeds=[1], arms={"human": {"verdicts": 1.0}})
    del raw["instruct"]
    checked = check_instruct_recipe(raw, "here")

    def start(name: str) -> Any:
        return run_instructions(
            checked,
            folder=tmp_path / name,
            base=tmp_path,
            command="preceptor run",
            progress=Progress(quiet=True),
        )

    with monkeypatch.context() as patched:
        over_at(3, patched)  # before the untuned student, before the tuned one, after its first step
        with pytest.raises(PartFinished, match="over at step 1 of 2 of a training; its checkpoint is kept"):
            start("run")
    assert hidden(tmp_path / "run") == [".checkpoints-seed-1"]
    found, whole = start("run"), start("whole")
    assert hidden(tmp_path / "run") == []
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert found.entries == whole.entries
    assert len(whole.courses) == 1
    assert found.courses == whole.courses


def test_other_settings_begin_anew(
    demo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patched:
        over_at(3, patched)
        with pytest.raises(PartFinished):
            go(small(demo_models), tmp_path / "run")
    go(small(demo_models, learning_rate=5e-3), tmp_path / "run", Progress())
    assert "goes on from" not in capsys.readouterr().err
    assert hidden(tmp_path / "run") == []


def test_how_training_is_carried_out_is_no_part_of_a_results_identity() -> None:
    plain = TrainSettings()
    other = TrainSettings(checkpoint_seconds=1, checkpoint_every=5, track=("wandb",), processes="fsdp")
    assert plain.deciding() == other.deciding()
    assert not {"checkpoint_seconds", "checkpoint_every", "track", "processes"} & set(plain.deciding())


def test_trackers_are_told_of_every_cell_below_the_runs_folder(
    demo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Any] = []

    def opened(place: trackers.Place) -> Any:
        told.append((place.folder, place.project, place.run, place.settings["rank"]))
        return types.SimpleNamespace(log=lambda values, step: told.append(step), close=lambda: None)

    monkeypatch.setitem(trackers.KINDS, "tensorboard", ("json", opened))
    go(small(demo_models, track=["tensorboard"]), tmp_path / "run")
    expected = [(tmp_path / "run" / "tracking", "job", f"bert-default-{arm}-seed-1", 4) for arm in ("none", "rewrite")]
    assert told == [expected[0], 1, 2, 3, 4, expected[1], 1, 2, 3, 4]


def test_a_tracker_that_is_not_installed_is_told_before_a_teacher_is_asked(
    demo_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(trackers.KINDS, "wandb", ("not_a_package_of_anyone", pytest.fail))
    monkeypatch.setattr(ScriptedTeacher, "_answer", pytest.fail)
    with pytest.raises(MissingPackageError, match="not_a_package_of_anyone"):
        go(small(demo_models, track=["wandb"]), tmp_path / "run")


# --- several processes --------------------------------------------------------------------------------------------


def test_what_cannot_be_shared_is_refused_at_once(
    demo_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("preceptor.train.objectives.team", lambda: Team(0, 2))
    monkeypatch.setattr(ScriptedTeacher, "_answer", pytest.fail)
    with pytest.raises(RecipeError, match="contrastive compares the items of a batch"):
        go(small(demo_models, objectives={"contrastive": 0.5}), tmp_path / "run")


def torchrun(folder: Path, raw: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    """`preceptor run` in two processes that `torchrun` starts."""
    (folder / "small.toml").write_text(tomli_w.dumps(raw), encoding="utf-8")
    (folder / "start.py").write_text("from preceptor.cli import main\nmain()\n", encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [str(folder / "start.py"), "run", str(folder / "small.toml"), "--out", str(folder / "two"), *more]
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=220)


@pytest.mark.long
@pytest.mark.parametrize("processes", ["ddp", "fsdp"])
def test_a_run_in_two_processes_is_that_of_one_within_rounding(
    processes: str, demo_models: dict[str, Path], tmp_path: Path
) -> None:
    raw = small(demo_models, processes=processes).model_dump(mode="json", exclude_none=True)
    raw["students"] = [{"name": "bert", "model": str(demo_models["bert"])}]
    done = torchrun(tmp_path, raw, "--quiet")
    assert done.returncode == 0, done.stderr[:3000]
    assert done.stdout.count("Report: ") == 1  # the first process alone speaks
    go(small(demo_models), tmp_path / "one")
    for arm in ("none", "rewrite"):
        place = Path("train", "default", "bert", arm, "seed-1", "fit.json")
        two, one = read_json(tmp_path / "two" / place), read_json(tmp_path / "one" / place)
        assert (two["processes"], one["processes"]) == (2, 1)
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)
        assert (two["tokens"], two["selected"]) == (one["tokens"], one["selected"])
    assert hidden(tmp_path / "two") == []


def test_an_error_in_two_processes_is_one_sentence_and_no_hang(demo_models: dict[str, Path], tmp_path: Path) -> None:
    raw = small(demo_models, learning_rate=1e30, warmup=0.0).model_dump(mode="json", exclude_none=True)
    raw["students"] = [{"name": "bert", "model": str(demo_models["bert"])}]
    done = torchrun(tmp_path, raw, "--quiet")
    assert done.returncode != 0
    assert done.stderr.count("Error: The ") == 1
    assert "no checkpoint had been saved before it." in done.stderr
    assert "[rank" not in done.stderr  # so torch begins the lines of an error that nobody caught
