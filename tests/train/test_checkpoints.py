"""A training that is killed goes on to the same bits; checkpoints that are broken or foreign are passed over."""

from __future__ import annotations

import json
import random
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import killed_trainings
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import ModelError, PartFinished
from preceptor.models.student import Student
from preceptor.store.stages import Stage, read_json
from preceptor.train import checkpoints, loop
from preceptor.train.batches import make_items
from preceptor.train.checkpoints import Checkpoints, Snapshot, random_record, random_tensors, restore_random
from preceptor.train.course import Moment
from preceptor.train.methods import attach
from preceptor.train.objectives import fit
from preceptor.train.upkeep import Upkeep


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model for each kind of cell."""
    root = tmp_path_factory.mktemp("models")
    return {
        "labels": tiny.save_model(root / "bert", "bert"),
        "tasks": tiny.save_follower(root / "follower" / "llama", "llama"),
        **dict.fromkeys(("documents", "documents, all weights"), tiny.save_model(root / "llama", "llama")),
    }


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "fit.json"}


@pytest.mark.parametrize("kind", [pytest.param("labels", marks=pytest.mark.long), "tasks"])
def test_a_training_killed_at_any_moment_goes_on_to_the_same_bits(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """With dropout of the adapter, accumulation, and several sources drawn by weight; killed again and again."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert killed_trainings.start(kind, models[kind], whole) == 0
    assert len(load_file(whole / "adapter_model.safetensors")) > 4
    for moment, where in killed_trainings.MOMENTS.items():
        assert killed_trainings.start(kind, models[kind], killed, where) == -signal.SIGKILL, moment
        assert not (killed / "fit.json").exists()
    assert killed_trainings.start(kind, models[kind], killed) == 0
    assert written(killed) == written(whole)
    found, expected = read_json(killed / "fit.json"), read_json(whole / "fit.json")
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}
    assert len(expected["losses"]) == 9


DRAWN = random.Random(5).sample(range(1, 10), 3)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        ("tasks", DRAWN[0]),
        *(pytest.param("tasks", step, marks=pytest.mark.long) for step in DRAWN[1:]),
        ("documents", DRAWN[1]),
        ("documents, all weights", DRAWN[2]),
    ],
)
def test_it_does_so_from_one_kill_at_a_drawn_step(
    kind: str, step: int, models: dict[str, Path], tmp_path: Path
) -> None:
    where = ("preceptor.train.loop:Optimiser", "step", step)
    assert killed_trainings.start(kind, models[kind], tmp_path / "whole") == 0
    assert killed_trainings.start(kind, models[kind], tmp_path / "killed", where) == -signal.SIGKILL
    kept = sorted(path.name for path in (tmp_path / ".checkpoints-killed").glob("step-*"))
    assert kept == [f"step-{k:08d}" for k in range(1, step)][-2:]
    assert killed_trainings.start(kind, models[kind], tmp_path / "killed") == 0
    assert written(tmp_path / "killed") == written(tmp_path / "whole")
    found, expected = (read_json(tmp_path / name / "fit.json") for name in ("killed", "whole"))
    assert {**found, "seconds": 0} == {**expected, "seconds": 0}


# --- in one process -----------------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "method": "lora",
    "rank": 2,
    "dropout": 0.3,
    "batch_size": 6,
    "dtype": "float32",
    "learning_rate": 1e-2,
    "steps": 8,
}


class Stopped(Exception):
    """Raised amid a training."""


class Training:
    """One training on the tiny BERT that can be stopped after a step and begun again."""

    def __init__(self, model: Path, folder: Path) -> None:
        self.model, self.folder, self.said = model, folder, []
        self.said: list[str] = []

    def keep(self, identity: str = "this", every: int | None = 1, seconds: float = 0.0) -> Checkpoints:
        return Checkpoints(self.folder, identity, seconds=seconds, every=every, say=self.said.append)

    def run(self, upkeep: Upkeep | None = None, stop: int | None = None, **keys: Any) -> tuple[Student, Any]:
        settings = TrainSettings.model_validate({**SETTINGS, **keys})
        student = tiny.open_tiny(self.model)
        torch.manual_seed(1)
        student = attach(student, settings)
        made = make_items(student, tiny.TASK, tiny.examples(30))

        def on_step(step: int, steps: int, loss: float) -> None:
            if step == stop:
                raise Stopped

        fitted = fit(student, made[:24], made[24:], settings, steps=8, seed=1, on_step=on_step, upkeep=upkeep)
        return student, fitted

    def weights(self, student: Student) -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in student.model.named_parameters() if p.requires_grad}

    def same(self, one: Student, other: Student) -> bool:
        mine, theirs = self.weights(one), self.weights(other)
        return all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.fixture
def training(tiny_models: dict[str, Path], tmp_path: Path) -> Training:
    return Training(tiny_models["bert"], tmp_path / "kept")


def stopped(training: Training, at: int, **keys: Any) -> None:
    with pytest.raises(Stopped):
        training.run(Upkeep(training.keep(), say=training.said.append), stop=at, **keys)


@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"dtype": "bfloat16"},
        {"method": "full", "dropout": 0.0, "learning_rate": 1e-3},
        {"select": "last", "accumulation": 3},
    ],
    ids=str,
)
def test_what_is_stopped_goes_on_to_the_same_bits(training: Training, keys: dict[str, Any]) -> None:
    whole, expected = training.run(**keys)
    stopped(training, 6, **keys)
    upkeep = Upkeep(training.keep(), say=training.said.append)
    resumed, fitted = training.run(upkeep, **keys)
    assert training.said == ["Training goes on from its checkpoint at step 5 of 8."]
    assert training.same(whole, resumed)
    assert (fitted.losses, fitted.checks) == (expected.losses, expected.checks)
    assert (fitted.selected, fitted.tokens) == (expected.selected, expected.tokens)


@pytest.mark.parametrize("part", ["random/cpu", "exp_avg", "best", "schedule"])
def test_the_bits_differ_where_a_part_of_the_state_is_lost(
    training: Training, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So all of them are needed: what the other tests find equal is not equal by itself."""
    keys = {"learning_rate": 1e-1} if part == "best" else {}  # so high that a state before the stop stays the best
    whole, expected = training.run(**keys)
    assert part != "best" or expected.selected < 6
    stopped(training, 6, **keys)
    real = Checkpoints.newest

    def poorer(self: Checkpoints) -> Snapshot | None:
        found = real(self)
        assert found is not None
        if part == "random/cpu":
            found.tensors[part] = torch.get_rng_state()
        elif part == "schedule":
            found.record[part]["last_epoch"] = 0
        elif part == "best":
            found.record["fitted"]["rank"] = None
        else:
            for name in [name for name in found.tensors if name.startswith(part)]:
                found.tensors[name].zero_()
        return found

    monkeypatch.setattr(Checkpoints, "newest", poorer)
    resumed, _ = training.run(Upkeep(training.keep(), say=training.said.append), **keys)
    assert not training.same(whole, resumed)


def damage(place: Path, how: str) -> None:
    file = place / (checkpoints.STATE if how == "no JSON" else checkpoints.TENSORS)
    data = bytearray(file.read_bytes())
    if how == "a flipped bit":
        data[-100] ^= 1
    file.write_bytes(data if how == "a flipped bit" else data[: len(data) // 2])
    if how == "missing":
        file.unlink()


@pytest.mark.parametrize("how", ["a flipped bit", "cut short", "no JSON", "missing"])
def test_a_broken_checkpoint_is_passed_over_for_the_one_before(training: Training, how: str) -> None:
    whole, _ = training.run()
    stopped(training, 6)
    damage(training.folder / "step-00000005", how)
    resumed, _ = training.run(Upkeep(training.keep(), say=training.said.append))
    assert training.said[0].startswith(f"The checkpoint {training.folder / 'step-00000005'} is broken (")
    assert training.said[1:] == ["Training goes on from its checkpoint at step 4 of 8."]
    assert training.same(whole, resumed)


def test_with_all_of_them_broken_it_begins_anew(training: Training) -> None:
    whole, _ = training.run()
    stopped(training, 6)
    for place in training.folder.glob("step-*"):
        damage(place, "cut short")
    resumed, _ = training.run(Upkeep(training.keep(), say=training.said.append))
    assert [sentence.partition(" is ")[0].rpartition("/")[2] for sentence in training.said] == [
        "step-00000005",
        "step-00000004",
    ]
    assert training.same(whole, resumed)


def test_checkpoints_of_another_training_are_discarded(training: Training) -> None:
    stopped(training, 6)
    assert training.keep("another").newest() is None
    assert not list(training.folder.glob("step-*"))
    assert training.said == []


def test_no_checkpoint_runs_code(training: Training) -> None:
    stopped(training, 3)
    for place in training.folder.glob("step-*"):
        assert sorted(path.name for path in place.iterdir()) == [checkpoints.STATE, checkpoints.TENSORS]
        assert json.loads((place / checkpoints.STATE).read_text())["step"] in (1, 2)
        load_file(place / checkpoints.TENSORS)


def test_only_the_trained_weights_and_their_state_are_saved(training: Training) -> None:
    stopped(training, 3)
    tensors = load_file(training.folder / "step-00000002" / checkpoints.TENSORS)
    kinds = {name.partition("/")[0] for name in tensors}
    assert kinds == {"weight", "exp_avg", "exp_avg_sq", "step", "best", "random"}
    settings = TrainSettings.model_validate(SETTINGS)
    student = attach(tiny.open_tiny(training.model), settings)
    trained = {name for name, p in student.model.named_parameters() if p.requires_grad}
    assert {name.partition("/")[2] for name in tensors if name.startswith("weight/")} == trained


def test_random_states_come_back_exactly(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path / "kept", "this", seconds=0, every=1, say=pytest.fail)
    random.gauss(0, 1)
    np.random.normal()
    assert kept.save(Snapshot(1, random_tensors(), {"random": random_record()}))
    draws = [(torch.rand(3).tolist(), np.random.normal(size=3).tolist(), random.gauss(0, 1)) for _ in range(2)]
    found = kept.newest()
    assert found is not None
    restore_random(found)
    assert draws == [(torch.rand(3).tolist(), np.random.normal(size=3).tolist(), random.gauss(0, 1)) for _ in range(2)]


def test_checkpoints_are_due_by_time_and_take_a_small_share_of_it(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now[0])
    kept = training.keep(every=None, seconds=60)
    assert not kept.due(1)
    now[0] += 60
    assert kept.due(2)

    def slow(snapshot: Snapshot) -> None:
        now[0] += 10.0

    monkeypatch.setattr(kept, "_write", slow)
    kept.save(Snapshot(2, {}, {}))
    now[0] += 10.0 / checkpoints.SHARE - 1
    assert not kept.due(3)
    now[0] += 1
    assert kept.due(4)


def test_a_full_disk_costs_the_checkpoints_and_not_the_training(
    training: Training, little_space: Callable[[], AbstractContextManager[None]]
) -> None:
    whole, _ = training.run()
    kept = training.keep()
    real = kept._write

    def crowded(snapshot: Snapshot) -> None:
        with little_space():
            real(snapshot)

    kept._write = crowded  # type: ignore[method-assign]
    trained, _ = training.run(Upkeep(kept, say=training.said.append))
    assert len(training.said) == 1
    assert training.said[0].startswith(f"No checkpoint can be written to {training.folder} (")
    assert training.same(whole, trained)
    assert training.keep().newest() is None


# --- ends before the end ------------------------------------------------------------------------------------------


def test_when_the_time_is_over_a_training_ends_with_a_checkpoint_and_goes_on_from_it(training: Training) -> None:
    whole, _ = training.run()
    seen: list[Moment] = []
    upkeep = Upkeep(
        training.keep(every=100), seen.append, over=lambda: len(seen) == 3, command="preceptor run x", say=pytest.fail
    )
    with pytest.raises(PartFinished, match="at step 3 of 8 of a training; its checkpoint is kept") as caught:
        training.run(upkeep)
    assert "preceptor run x" in caught.value.hint
    seen.clear()
    resumed, fitted = training.run(Upkeep(training.keep(every=100), seen.append, say=training.said.append))
    assert [moment.step for moment in seen] == [4, 5, 6, 7, 8]
    assert training.same(whole, resumed)
    assert len(fitted.losses) == 8


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_a_loss_that_is_no_number_names_the_last_good_checkpoint_and_keeps_it(
    what: str, training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = loop.accumulate, iter(range(1, 100))

    def diverging(*given: Any) -> float:
        loss = real(*given)
        if next(steps) == 5:
            if what == "loss":
                return float("nan")
            weight = next(p for p in given[2].__closure__[0].cell_contents.model.parameters() if p.grad is not None)
            weight.grad[0] = float("inf")
        return loss

    monkeypatch.setattr("preceptor.train.objectives.accumulate", diverging)
    with pytest.raises(ModelError, match=r"The (training loss|gradient) became (nan|inf) at step 5") as caught:
        training.run(Upkeep(training.keep(every=2), say=pytest.fail))
    place = training.folder / "step-00000004"
    assert f"the state after step 4 is kept in {place}." in caught.value.message
    assert "train.learning_rate" in caught.value.hint
    found = training.keep(every=2).newest()
    assert found is not None
    assert found.step == 4
    assert all(value.isfinite().all() for name, value in found.tensors.items() if not name.startswith("random"))


def test_weights_that_are_no_numbers_never_replace_a_good_checkpoint(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, steps = loop.Optimiser.step, iter(range(1, 100))

    def poisoned(self: loop.Optimiser) -> float:
        norm = real(self)
        if next(steps) == 4:
            with torch.no_grad():
                self.weights[0][0] = float("nan")
        return norm

    monkeypatch.setattr(loop.Optimiser, "step", poisoned)
    with pytest.raises(ModelError, match="became nan at step 5; the state after step 3 is kept"):
        training.run(Upkeep(training.keep(), say=pytest.fail))


# --- where they live ----------------------------------------------------------------------------------------------


def test_a_stage_keeps_them_beside_its_place_until_it_is_done(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "seed-1", "this")

    def broken_off() -> None:
        with stage.build():
            stage.checkpoints.mkdir()
            raise Stopped

    with pytest.raises(Stopped):
        broken_off()
    assert stage.checkpoints.is_dir()
    with stage.build() as folder:
        assert stage.checkpoints.is_dir()
        (folder / "weights").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["seed-1"]
