"""A point of a sweep whose items, model or generated items are not to be had: it fails alone, and is tried again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_sweeping import go, recipe

from preceptor.errors import BudgetError, ModelError, TeacherError
from preceptor.records import RunSummary
from preceptor.store.stages import read_json
from preceptor.teachers.scripted import ScriptedTeacher

OWN = {
    "labels": ["yes", "no"],
    "prompt": "{{ question }}",
    "inputs": ["question"],
    "fields": {"question": "question"},
    "label": "label",
    "id": "id",
}


def written(model: Path, axes: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A sweep whose points are trained on what the scripted teacher writes for them."""
    usual: dict[str, Any] = {
        "seeds": [1],
        "teacher": {"kind": "scripted", "temperature": 0.5},
        "arms": {"rewrite": ["rewrite"]},
        "sweep": {"axes": axes, "score": "all"},
        "evaluate": {"resamples": 100, "teacher": False},
    }
    return recipe(model, **usual | changes)


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Whoever asks the scripted teacher at temperature 0.9 meets this error."""
    answer = ScriptedTeacher._answer

    def refusing(self: ScriptedTeacher, request: Any) -> Any:
        if request.sampling.temperature == 0.9:
            raise error
        return answer(self, request)

    monkeypatch.setattr(ScriptedTeacher, "_answer", refusing)


def one_failed(summary: RunSummary, folder: Path, why: str) -> None:
    bad, good = summary.sweeps[0].points
    assert why in bad.failed
    assert (bad.choosing, bad.accuracy) == (None, None)
    assert good.chosen
    assert good.accuracy is not None
    (failed,) = read_json(folder / "sweep" / "failed.json")
    assert failed["why"] == bad.failed
    assert why in (folder / "results.txt").read_text()


def jsonl(path: Path, count: int, name: str) -> None:
    rows = [{"id": f"{name}-{i}", "question": f"{name} {i} ?", "label": ("yes", "no")[i % 2]} for i in range(count)]
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")


@pytest.mark.parametrize("select", ["validation", "folds"])
def test_a_point_whose_items_cannot_be_loaded_fails_alone_and_is_tried_again(
    select: str, tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    for name in ("train", "validation", "test"):
        jsonl(tmp_path / f"{name}.jsonl", 8, name)
    data = {"task": "jsonl", "split": "files", "path": "train.jsonl", "own": OWN}
    data |= {"validation_path": "validation.jsonl", "test_path": "test.jsonl"}
    axes = {"data.path": ["absent.jsonl", "train.jsonl"]}
    sweep = {"axes": axes, "score": "all", "select": select, "folds": 2}
    raw = recipe(demo_models["llama"], seeds=[1], data=data, sweep=sweep)
    one_failed(go(raw, tmp_path / "run"), tmp_path / "run", "absent.jsonl")
    shutil.copy(tmp_path / "train.jsonl", tmp_path / "absent.jsonl")
    again = go(raw, tmp_path / "run")
    assert not any(point.failed for point in again.sweeps[0].points)
    assert not (tmp_path / "run" / "sweep" / "failed.json").exists()


def test_a_point_whose_teacher_fails_does_so_alone(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = written(demo_models["llama"], {"teacher.temperature": [0.9, 0.5]})
    with monkeypatch.context() as patch:
        failing(patch, TeacherError("The teacher has lost its voice.", "Wait."))
        one_failed(go(raw, tmp_path / "run"), tmp_path / "run", "The teacher has lost its voice. Wait.")
    again = go(raw, tmp_path / "run")
    assert [point.failed for point in again.sweeps[0].points] == ["", ""]


def test_a_point_that_names_a_folder_which_is_not_there_fails_alone_and_before_others_are_asked(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = str(demo_models["llama"])
    train = {"objectives": {"label": 1, "distillation": 1}, "distillation": {"teacher": model}}
    raw = recipe(demo_models["llama"], seeds=[1])
    raw["train"] |= train
    raw["sweep"] = {"axes": {"train.distillation.teacher": ["runs/absent", model]}, "score": "all"}
    one_failed(go(raw, tmp_path / "run"), tmp_path / "run", "There is no model folder runs/absent")


def test_a_sweep_of_which_no_point_has_a_teacher_says_so(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, TeacherError("The teacher has lost its voice."))
    raw = written(demo_models["llama"], {"teacher.temperature": [0.9], "augment.draws": [1, 2]})
    with pytest.raises(ModelError, match=r"^Every point of the sweep failed; the first, .*has lost its voice"):
        go(raw, tmp_path / "run")


@pytest.mark.parametrize(
    "error", [BudgetError("The budget is used up."), KeyboardInterrupt(), ValueError("a slip of the program")]
)
def test_the_end_of_the_budget_an_interrupt_and_a_fault_of_the_program_end_the_run(
    error: BaseException, tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(type(error)):
        go(written(demo_models["llama"], {"teacher.temperature": [0.9, 0.5]}), tmp_path / "run")
    assert not (tmp_path / "run" / "train").exists()
