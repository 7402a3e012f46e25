"""Trackers are told numbers, stay on this machine, and never end a training."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import MissingPackageError
from preceptor.train import trackers
from preceptor.train.batches import make_items
from preceptor.train.course import Check, Moment
from preceptor.train.objectives import fit
from preceptor.train.trackers import Place, Trackers, check_trackers, values_of
from preceptor.train.upkeep import Upkeep

CHECK = Check(2, 0.4, 0.5, None)


ROOT = Path(__file__).resolve().parents[2]
REAL = ("wandb==0.31.0", "mlflow==3.17.2", "trackio==0.43.0")


def moment(step: int, check: Check | None = CHECK) -> Moment:
    return Moment(step, 3, 1.0 / step, 1e-3, 120.0, 5.0, check)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path / "tracking", "pubmedqa", "minilm-free-none-seed-1", {"rank": 8})


def installed(name: str, monkeypatch: pytest.MonkeyPatch, module: types.ModuleType) -> None:
    """Have `import name` give the module."""
    real = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: module if n == name else real(n, *a))


def test_they_are_told_of_validation_only_after_the_step_it_was_looked_at() -> None:
    assert values_of(moment(2)) == {
        "train/loss": 0.5,
        "train/learning_rate": 1e-3,
        "train/tokens_per_s": 120.0,
        "validation/loss": 0.4,
        "validation/accuracy": 0.5,
    }
    assert not [name for name in values_of(moment(3)) if name.startswith("validation")]
    assert values_of(moment(1, None)).keys() == values_of(moment(3)).keys()


def test_a_moment_says_rate_loss_and_the_last_validation_score() -> None:
    assert moment(3).words == "step 3/3 loss 0.333, 120 tokens/s, validation 0.400, accuracy 0.500"
    assert moment(1, None).words == "step 1/3 loss 1.000, 120 tokens/s"


@pytest.mark.parametrize("name", list(trackers.KINDS))
def test_a_missing_package_is_one_sentence(name: str, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda package: None)
    with pytest.raises(MissingPackageError, match=f"The package {name} is not installed") as caught:
        Trackers([name], place, pytest.fail)
    assert caught.value.hint == f"Install it with: pip install {name}"
    check_trackers(())


def test_wandb_writes_here_unless_its_own_variable_says_otherwise(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, Any]] = []
    logged: list[Any] = []

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            logged.append((step, values["train/loss"]))

        def finish(self) -> None:
            logged.append("finished")

    module = types.ModuleType("wandb")
    module.init = lambda **keys: given.append(keys) or Run()  # type: ignore[attr-defined]
    module.Settings = dict  # type: ignore[attr-defined]
    installed("wandb", monkeypatch, module)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    monkeypatch.delenv("WANDB_ERROR_REPORTING", raising=False)
    for _ in range(2):
        told = Trackers(["wandb"], place, pytest.fail)
        told.log(moment(1))
        told.log(moment(2))
        told.close()
        monkeypatch.setenv("WANDB_MODE", "online")
    assert [keys["mode"] for keys in given] == ["offline", None]
    assert (given[0]["project"], given[0]["name"], given[0]["config"]) == (place.project, place.run, {"rank": 8})
    assert given[0]["dir"] == str(place.folder)
    assert os.environ["WANDB_ERROR_REPORTING"] == "false"
    assert logged == [(1, 1.0), (2, 0.5), "finished"] * 2


def test_mlflow_writes_into_a_file_of_the_run_and_reports_no_use(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            told.append(tracking_uri)

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str, artifact_location: str) -> str:
            told.append(name)
            return "group"

        def create_run(self, group: str, run_name: str) -> Any:
            told.append(run_name)
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="id"))

        def log_param(self, run: str, name: str, value: Any) -> None:
            told.append((name, value))

        def log_metric(self, run: str, name: str, value: float, step: int) -> None:
            told.append((step, name, value)) if name == "train/loss" else None

        def set_terminated(self, run: str) -> None:
            told.append("over")

    module = types.ModuleType("mlflow")
    module.MlflowClient = Client  # type: ignore[attr-defined]
    installed("mlflow", monkeypatch, module)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    found = Trackers(["mlflow"], place, pytest.fail)
    found.log(moment(2))
    found.close()
    file = f"sqlite:///{place.folder.resolve() / 'mlflow.db'}"
    assert told == [file, place.project, place.run, ("rank", 8), (2, "train/loss", 0.5), "over"]
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_trackio_is_told_under_the_runs_name_and_says_nothing_on_stdout(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Any] = []
    module = types.ModuleType("trackio")

    def init(**keys: Any) -> None:
        sys.stdout.write("hello")
        told.append((keys["project"], keys["name"], keys["embed"]))

    module.init = init  # type: ignore[attr-defined]
    module.log = lambda values, step: told.append((step, values["train/loss"]))  # type: ignore[attr-defined]
    module.finish = lambda: told.append("finished")  # type: ignore[attr-defined]
    installed("trackio", monkeypatch, module)
    found = Trackers(["trackio"], place, pytest.fail)
    found.log(moment(2))
    found.close()
    assert told == [(place.project, place.run, False), (2, 0.5), "finished"]
    assert capsys.readouterr().out == ""


class Failing:
    """A tracker that fails at one of its three duties."""

    def __init__(self, place: Place, when: str) -> None:
        self.when, self.steps = when, 0
        if when == "open":
            raise OSError("no such host\nwith more lines")

    def log(self, values: dict[str, float], step: int) -> None:
        self.steps += 1
        if self.when == "log" and step == 2:
            raise ValueError("nan")

    def close(self) -> None:
        if self.when == "close":
            raise RuntimeError


@pytest.mark.parametrize("when", ["open", "log", "close"])
def test_one_that_fails_is_left_out_and_the_training_is_the_same(
    when: str, place: Place, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    class Good:
        def __init__(self, place: Place) -> None:
            pass

        def log(self, values: dict[str, float], step: int) -> None:
            steps.append(step)

        def close(self) -> None:
            steps.append(-1)

    kinds = {"bad": ("json", lambda place: Failing(place, when)), "good": ("json", Good)}
    monkeypatch.setattr(trackers, "KINDS", kinds)
    said: list[str] = []
    settings = TrainSettings(method="full", dtype="float32", steps=4)
    found = []
    for upkeep in (None, Upkeep(trackers=Trackers(["bad", "good"], place, said.append))):
        student = tiny.open_tiny(tiny_models["bert"])
        made = make_items(student, tiny.TASK, tiny.examples(16))
        fit(student, made[:12], made[12:], settings, steps=4, seed=1, upkeep=upkeep)
        found.append([p.detach().clone() for p in student.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert len(said) == 1
    assert said[0].startswith("The tracker bad failed and is left out from here on (")
    assert "more lines" not in said[0]
    assert steps == [1, 2, 3, 4, -1]


def test_they_are_closed_when_a_training_is_broken_off(
    place: Place, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    kind = types.SimpleNamespace(log=lambda values, step: None, close=lambda: closed.append("yes"))
    monkeypatch.setattr(trackers, "KINDS", {"one": ("json", lambda place: kind)})
    student = tiny.open_tiny(tiny_models["bert"])
    made = make_items(student, tiny.TASK, tiny.examples(16))

    def stop(moment: Moment) -> None:
        if moment.step == 2:
            raise KeyboardInterrupt

    upkeep = Upkeep(watch=stop, trackers=Trackers(["one"], place, pytest.fail))
    settings = TrainSettings(method="full", dtype="float32", steps=4)
    with pytest.raises(KeyboardInterrupt):
        fit(student, made[:12], made[12:], settings, steps=4, seed=1, upkeep=upkeep)
    assert closed == ["yes"]


def test_a_real_tensorboard_file_holds_the_figures(place: Place) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    told = Trackers(["tensorboard"], place, pytest.fail)
    for step in (1, 2, 3):
        told.log(moment(step))
    told.close()
    events = EventAccumulator(str(place.folder / "tensorboard" / place.run))
    events.Reload()
    losses = [(event.step, event.value) for event in events.Scalars("train/loss")]
    assert losses == [(1, 1.0), (2, 0.5), (3, pytest.approx(1 / 3))]
    assert [(event.step, event.value) for event in events.Scalars("validation/accuracy")] == [(2, 0.5)]


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_the_real_wandb_mlflow_and_trackio_hold_the_figures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Installed in an environment of their own, told without a network, and read back by their own means."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    environments = importlib.import_module("environments")
    try:
        python = environments.python_with(REAL, environments.DEFAULT)
    except SystemExit as error:
        pytest.skip(f"the trackers cannot be installed here: {str(error.code)[-300:]}")
    done = subprocess.run(
        [str(python), str(Path(__file__).parent / "real_trackers.py")],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    figures = {
        "name": "minilm-free-none-seed-1",
        "train/loss": [[1, 1.0], [2, 0.5], [3, pytest.approx(1 / 3)]],
        "validation/accuracy": [[2, 0.5]],
    }
    assert found["trackio"] == figures
    assert found["mlflow"] == found["wandb"] == {**figures, "rank": "8", "state": "FINISHED"}
    assert {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")} == {"tracking"}
