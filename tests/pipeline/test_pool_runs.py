"""Whole runs with two workers: the same answers, failures and deaths that stop nobody, and nothing done twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_instructions import recipe as instruct_recipe
from test_labels import recipe as labels_recipe
from test_sweeping import Watch, recipe

from preceptor import cli
from preceptor.config import check_instruct_recipe, check_recipe
from preceptor.errors import RecipeError
from preceptor.models import load
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.instructions import run_instructions
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.seal import read_looks
from preceptor.store.tables import read_predictions

GOOD, ENDLESS, KILLED = 1e-2, 1e30, 2e-2
POINTS = {GOOD: "llama-learning_rate-0.01", ENDLESS: "llama-learning_rate-1e30", KILLED: "llama-learning_rate-0.02"}


class Killer(Progress):
    """Keeps the lines, and kills the process that begins with a cell whose name holds `victim`, once."""

    def __init__(self, victim: str = "") -> None:
        super().__init__()
        self.lines: list[str] = []
        self.victim = victim

    def say(self, text: str) -> None:
        self.lines.append(text)
        if self.victim and self.victim in text and "begun in process" in text:
            self.victim = ""
            os.kill(int(text.split("process ")[1].split(":")[0]), signal.SIGKILL)

    @property
    def begun(self) -> list[str]:
        return sorted(line.split(": ")[-1] for line in self.lines if "begun in process" in line)


def go(raw: dict[str, Any], folder: Path, workers: int, progress: Progress) -> RunSummary:
    return pipeline.run(
        check_recipe(raw, "test"),
        folder=folder,
        base=folder.parent,
        command="preceptor run",
        progress=progress,
        workers=workers,
    )


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """So that this process computes as its workers do, bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Swept:
    folder: Path
    first: RunSummary
    failed: list[dict[str, str]]
    begun: list[str]
    again: RunSummary
    trained_again: list[str]


def raw_sweep(model: Path, *rates: float) -> dict[str, Any]:
    raw = recipe(model, seeds=[1], sweep={"axes": {"train.learning_rate": list(rates)}, "score": "all"}, results="book")
    raw["train"]["warmup"] = 0.0
    return raw


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory, demo_models: dict[str, Path], one_thread: None) -> Swept:
    """A sweep of which one point fails and one is killed, and the same again in one process."""
    folder = tmp_path_factory.mktemp("swept") / "run"
    raw = raw_sweep(demo_models["llama"], GOOD, ENDLESS, KILLED)
    killer = Killer(f"{POINTS[KILLED]}, default, none, seed 1")
    first = go(raw, folder, 2, killer)
    failed = json.loads((folder / "sweep" / "failed.json").read_text())
    with pytest.MonkeyPatch.context() as patch:
        watch = Watch(patch)
        again = go(raw, folder, 1, Progress(quiet=True))
    return Swept(folder, first, failed, killer.begun, again, watch.trained)


def test_a_point_that_fails_and_one_that_is_killed_stop_nobody(swept: Swept) -> None:
    why = {one["point"]: one["why"] for one in swept.failed}
    assert set(why) == {POINTS[ENDLESS], POINTS[KILLED]}
    assert "nan" in why[POINTS[ENDLESS]] or "inf" in why[POINTS[ENDLESS]]
    assert why[POINTS[KILLED]].startswith("seed 1: The process was killed; likely memory ran out.")
    points = swept.first.sweeps[0].points
    assert [(p.chosen, bool(p.failed)) for p in points] == [(True, False), (False, True), (False, True)]
    assert not [p for p in swept.folder.rglob(".*") if p.name != ".lock"]


def test_what_is_done_is_not_done_again(swept: Swept) -> None:
    assert [name for name in swept.begun if POINTS[GOOD] in name] == [
        f"{POINTS[GOOD]}, default, none, seed 1",  # asked the items that choose
        f"{POINTS[GOOD]}, default, none, seed 1",  # asked the test items
    ]
    assert swept.trained_again == [POINTS[ENDLESS], POINTS[KILLED]]
    assert [bool(point.failed) for point in swept.again.sweeps[0].points] == [False, True, False]


def test_each_look_at_the_test_items_is_recorded_once(swept: Swept) -> None:
    cells = [f"{POINTS[rate]}-default-none-seed-1" for rate in (GOOD, KILLED)]
    assert sorted(look.cell for look in read_looks(swept.folder)) == sorted(cells)
    assert read_looks(swept.folder) == read_looks(swept.folder.parent / "book")
    (seen,) = swept.again.looks
    assert (seen.times, seen.unrecorded) == (2, 0)


def test_two_workers_give_the_answers_of_none(
    swept: Swept, tmp_path: Path, demo_models: dict[str, Path], one_thread: None
) -> None:
    alone = tmp_path / "run"
    go(raw_sweep(demo_models["llama"], GOOD, KILLED), alone, 1, Progress(quiet=True))
    found = sorted(path.relative_to(alone) for path in alone.rglob("*.parquet") if "data" not in path.parts)
    assert len(found) == 6  # by 2 cells: answers to items that choose, to the test's, and to validation beside them
    for path in found:
        assert read_predictions(swept.folder / path) == read_predictions(alone / path)


@pytest.mark.long
def test_an_ordinary_run_with_generated_items_too(
    tmp_path: Path, demo_models: dict[str, Path], one_thread: None
) -> None:
    raw = labels_recipe(demo_models)
    raw["train"]["objectives"] = {"label": 1, "distillation": 1}
    raw["train"]["distillation"] = {"teacher": str(demo_models["llama"])}
    said = Killer()
    two = go(raw, tmp_path / "two", 2, said)
    one = go(raw, tmp_path / "one", 1, Progress(quiet=True))
    assert said.begun
    assert [replace(row, seconds=0.0) for row in two.rows] == [replace(row, seconds=0.0) for row in one.rows]
    assert len(list((tmp_path / "two" / "train").rglob("distillation/*"))) == len(
        list((tmp_path / "one" / "train").rglob("distillation/*"))
    )
    go(raw, tmp_path / "two", 2, again := Killer())
    assert again.begun == []


@pytest.mark.long
def test_an_experiment_on_instructions_too(tmp_path: Path, demo_models: dict[str, Path], one_thread: None) -> None:
    said = Killer()
    given: dict[str, Any] = {"base": tmp_path, "command": "preceptor run"}
    checked = check_instruct_recipe(instruct_recipe(tmp_path, demo_models["llama"], results=None), "here")
    two = run_instructions(checked, folder=tmp_path / "two", progress=said, workers=2, **given)
    one = run_instructions(checked, folder=tmp_path / "one", progress=Progress(quiet=True), **given)
    assert said.begun
    assert two.entries == one.entries


def test_where_cells_cannot_be_shared_that_is_said(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = recipe(demo_models["llama"])
    with monkeypatch.context() as patch:
        patch.setattr(load, "device", lambda: torch.device("cuda"))
        with pytest.raises(RecipeError, match=r"--workers 2: this machine computes on a CUDA device"):
            go(raw, tmp_path / "run", 2, Progress(quiet=True))
    assert not (tmp_path / "run").exists()
    for given, more, words in (
        ("0", {}, "Error: Invalid value for '--workers'"),
        ("x", {}, "Error: Invalid value for '--workers'"),
        ("2", {"WORLD_SIZE": "2"}, "--workers 2: a launcher has started several processes already"),
    ):
        with monkeypatch.context() as patch:
            for name, value in more.items():
                patch.setenv(name, value)
            patch.setattr("sys.argv", ["preceptor", "run", "recipe.toml", "--workers", given])
            with pytest.raises(SystemExit) as end:
                cli.main()
        assert end.value.code in (1, 2)
        assert words in " ".join(capsys.readouterr().err.split())
