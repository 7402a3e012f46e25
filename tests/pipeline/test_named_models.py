"""A model folder that a recipe names and that is not there is said at once, with the key that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_labels import recipe

from preceptor.config import AdaptRecipe, InstructRecipe, check_recipe
from preceptor.errors import ModelError
from preceptor.models import load
from preceptor.pipeline import labels
from preceptor.pipeline.adaptation import run_adaptation
from preceptor.pipeline.instructions import run_instructions
from preceptor.progress import Progress
from preceptor.teachers import local, scripted

ABSENT = {"kind": "local", "model": "runs/absent"}
WRITES: dict[str, Any] = {"none": [], "rewrite": ["rewrite"]}
OTHER: dict[str, Any] = {**WRITES, "other": {"use": ["rewrite"], "teacher": "other"}}
TAUGHT = {"objectives": {"label": 1, "distillation": 1}}


@pytest.fixture(autouse=True)
def nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No model is loaded and no teacher writes, in a folder of its own."""

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("too late: a model was loaded, or a teacher asked")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(load, "source_of", refused)  # all loading goes through it, and no other module names it
    monkeypatch.setattr(local.LocalTeacher, "answer", refused)
    monkeypatch.setattr(scripted.ScriptedTeacher, "_answer", refused)


def given(tmp_path: Path) -> dict[str, Any]:
    return {"folder": tmp_path / "out", "base": tmp_path, "command": "again", "progress": Progress(quiet=True)}


def refusal(caught: pytest.ExceptionInfo[ModelError], key: str, folder: str, tmp_path: Path) -> None:
    assert caught.value.message == f"{key}: There is no model folder {folder} in {tmp_path}."
    assert "head of the recipe says which" in caught.value.hint


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("students.tuned.model", {"students": [{"name": "tuned", "model": "runs/absent"}]}),
        ("teacher.model", {"teacher": ABSENT, "arms": WRITES}),
        ("teachers.other.model", {"teachers": {"other": ABSENT}, "arms": OTHER}),
        ("baselines.tuned.model", {"baselines": [{"name": "tuned", "model": "runs/absent"}]}),
        ("baselines.it", {"baselines": [{"name": "it", "teacher": True}], "teacher": ABSENT, "arms": {"none": []}}),
        ("filter.judge.teacher.model", {"filter": {"chain": ["wellformed", "judge"], "judge": {"teacher": ABSENT}}}),
        ("train.distillation.teacher", {"train": {**TAUGHT, "distillation": {"teacher": "runs/absent"}}}),
    ],
)
def test_an_experiment_on_labels_names_the_key_before_anything_is_done(
    key: str, changes: dict[str, Any], tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    checked = check_recipe(recipe(demo_models, **changes), "here")
    with pytest.raises(ModelError) as caught:
        labels.run(checked, **given(tmp_path))
    said, _, _ = caught.value.message.partition(": There is")
    assert key in said
    refusal(caught, said, "runs/absent", tmp_path)
    assert not (tmp_path / "out" / "augment").exists()


def test_weights_of_a_distilled_teacher_that_are_not_there_are_named_with_the_student(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    distillation = {"teacher": str(demo_models["bert"]), "weights": "runs/teacher"}
    checked = check_recipe(recipe(demo_models, train={**TAUGHT, "distillation": distillation}), "here")
    with pytest.raises(ModelError, match=r"^students\.llama: There is no trained student in .*runs/teacher"):
        labels.run(checked, **given(tmp_path))


def test_what_nobody_asks_is_not_looked_for(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    checked = check_recipe(recipe(demo_models, teacher=ABSENT, arms={"none": []}), "here")
    with pytest.raises(AssertionError, match="too late"):
        labels.run(checked, **given(tmp_path))


def test_an_experiment_on_instructions_names_the_key(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    raw = {"name": "r", "title": "t?", "instruct": {}, "teacher": ABSENT}
    with pytest.raises(ModelError) as caught:
        run_instructions(InstructRecipe.model_validate(raw), **given(tmp_path))
    refusal(caught, "teacher.model", "runs/absent", tmp_path)


def test_an_adaptation_names_the_key(tmp_path: Path) -> None:
    raw = {"name": "r", "title": "t?", "adapt": {"model": "runs/absent"}, "sources": [{"path": "none"}]}
    with pytest.raises(ModelError) as caught:
        run_adaptation(AdaptRecipe.model_validate(raw), **given(tmp_path))
    refusal(caught, "adapt.model", "runs/absent", tmp_path)
