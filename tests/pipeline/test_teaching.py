"""Students that learn from a teacher, in a whole run: it is asked once, kept, shared by arms, part of the identity."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preceptor.config import Recipe, check_recipe
from preceptor.data.base import Task
from preceptor.errors import DataError, ModelError, PreceptorError, RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline import teaching
from preceptor.pipeline.label_cells import cells, train_stage
from preceptor.pipeline.label_run import Cell, Run
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.stages import MARK
from preceptor.teachers.scripted import ScriptedTeacher


def recipe(model: Path, teacher: Path, train: dict[str, Any] | None = None, **changes: Any) -> Recipe:
    raw = {
        "name": "taught",
        "title": "Does a teacher help?",
        "seeds": [1, 2],
        "data": {"task": "demo", "max_train": 8, "max_test": 6},
        "teacher": {"kind": "scripted"},
        "arms": {"none": [], "rewrite": ["rewrite"]},
        "train": {
            "rank": 2,
            "learning_rate": 1e-2,
            "steps": 2,
            "batch_size": 4,
            "max_length": 300,
            "dtype": "float32",
            "objectives": {"distillation": 0.5},
            "distillation": {"teacher": str(teacher)},
            **(train or {}),
        },
        "students": [{"name": "pupil", "model": str(model), "untrained": False}],
        "evaluate": {"resamples": 100},
        **changes,
    }
    return check_recipe(raw, "test")


def go(checked: Recipe, folder: Path, base: Path | None = None) -> RunSummary:
    run_in = {"base": base or folder, "command": "preceptor run", "progress": Progress(quiet=True)}
    return pipeline.run(checked, folder=folder, **run_in)


def kept(folder: Path) -> dict[str, int]:
    """The finished distributions and when each was written."""
    return {m.parent.name: m.stat().st_mtime_ns for m in folder.glob(f"train/*/distillation/*/{MARK}")}


def trained_at(folder: Path) -> dict[Path, int]:
    """When each student's weights were written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}


def weights(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in folder.glob("train/default/pupil/*/*/*.safetensors")}


def test_a_teacher_is_asked_once_for_all_arms_and_seeds(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    write = teaching.__dict__["_ask"]

    def counted(state: Run, cell: Cell, task: Task, missing: Any) -> None:
        asked.extend(len(items) for _, items, _ in missing)
        write(state, cell, task, missing)

    monkeypatch.setattr(teaching, "_ask", counted)
    checked = recipe(demo_models["bert"], demo_models["llama"])
    summary = go(checked, tmp_path / "run")
    rows = [row for row in summary.rows if row.kind == "arm"]
    assert asked == [8, rows[1].generated_items]
    found = kept(tmp_path / "run")
    assert len(found) == 2  # the real items, and those of the strategy
    plain = recipe(demo_models["bert"], demo_models["llama"], {"objectives": {}})
    go(plain, tmp_path / "plain")
    assert not kept(tmp_path / "plain")
    assert not weights(tmp_path / "run") & weights(tmp_path / "plain")
    monkeypatch.setattr(teaching, "_ask", None)
    assert go(checked, tmp_path / "run").rows == summary.rows
    assert kept(tmp_path / "run") == found
    go(checked.model_copy(update={"seeds": (1, 2, 3)}), tmp_path / "run")  # another cell, the same thoughts
    assert kept(tmp_path / "run") == found


def test_a_finished_student_teaches_another_one(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    first = recipe(demo_models["llama"], demo_models["llama"], {"objectives": {}}, arms={"none": []}, seeds=[1])
    go(first, tmp_path / "first")
    distillation = {"teacher": str(demo_models["llama"]), "weights": "first/train/default/pupil/none/seed-1"}
    second = recipe(demo_models["bert"], demo_models["llama"], {"distillation": distillation}, arms={"none": []})
    go(second, tmp_path / "second", base=tmp_path)
    untaught = recipe(demo_models["bert"], demo_models["llama"], arms={"none": []})
    go(untaught, tmp_path / "third")
    assert kept(tmp_path / "second").keys().isdisjoint(kept(tmp_path / "third"))
    assert weights(tmp_path / "second").isdisjoint(weights(tmp_path / "third"))

    (tmp_path / "first").rename(tmp_path / "moved")  # what the weights hold decides, and not where they lie
    distillation["weights"] = distillation["weights"].replace("first", "moved")
    moved = recipe(demo_models["bert"], demo_models["llama"], {"distillation": distillation}, arms={"none": []})
    before = trained_at(tmp_path / "second")
    go(moved, tmp_path / "second", base=tmp_path)
    assert trained_at(tmp_path / "second") == before


def test_tokens_and_rationales_are_learnt_in_a_run(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    model = demo_models["llama"]
    keys = {
        "objectives": {"distillation": 0.5, "rationale": 0.5, "contrastive": 0.1},
        "distillation": {"teacher": str(model), "targets": "tokens", "top_k": 4},
    }
    go(recipe(model, model, keys, seeds=[1]), tmp_path)
    for folder in tmp_path.glob("train/*/distillation/*"):
        assert {path.name for path in folder.iterdir()} == {
            MARK,
            *(f"{k}-{p}.npy" for k in ("answers", "rationales") for p in ("ids", "probabilities", "starts")),
        }
    assert len(kept(tmp_path)) == 2


def test_settings_and_teacher_are_part_of_a_cells_identity_only_where_they_are_used(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    def found(**train: Any) -> str:
        checked = recipe(demo_models["llama"], demo_models["llama"], train)
        state = Run(checked, tmp_path, tmp_path, Progress(quiet=True), "preceptor run")
        pipeline.load_data(state)
        state.kept["default", "rewrite"] = ()
        return train_stage(state, next(cells(state))).identity

    distilled = {"objectives": {"distillation": 0.5}}
    identities = [
        found(objectives={}, distillation={}),
        found(objectives={"contrastive": 0.5}),
        found(**distilled),
        found(**distilled, distillation={"teacher": str(demo_models["llama"]), "temperature": 2.0}),
        found(**distilled, distillation={"teacher": str(demo_models["bert"])}),
    ]
    assert len(set(identities)) == 5
    assert found(objectives={"label": 1.0}, distillation={}) == identities[0]
    idle = {"distillation": {"teacher": str(demo_models["llama"])}, "contrastive": {"temperature": 0.2}}
    assert found(objectives={}, **idle) == identities[0]
    assert found(**distilled, contrastive={"temperature": 0.2}) == found(**distilled)


def pubmedqa_recipe(models: dict[str, Path], data_root: Path, distillation: dict[str, Any], **changes: Any) -> Recipe:
    data = {"task": "pubmedqa", "path": str(data_root / "pubmedqa"), "settings": ["reasoning-required"]}
    keys = {"distillation": {"teacher": str(models["llama"]), **distillation}}
    return recipe(
        models["bert"],
        models["llama"],
        keys,
        data={**data, "max_train": 8, "max_test": 6},
        seeds=[1],
        **{"arms": {"none": []}, **changes},
    )


def test_a_teacher_may_read_what_the_student_must_do_without(
    tmp_path: Path, demo_models: dict[str, Path], data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    render = Task._filled

    def noted(task: Task, fields: Any) -> str:
        read.append(task.setting)
        return render(task, fields)

    monkeypatch.setattr(Task, "_filled", noted)
    plain = pubmedqa_recipe(demo_models, data_root, {})
    knowing = pubmedqa_recipe(demo_models, data_root, {"setting": "reasoning-free"})
    go(plain, tmp_path / "plain")
    assert set(read) == {"reasoning-required"}
    read.clear()
    go(knowing, tmp_path / "knowing")
    assert read.count("reasoning-free") == 8  # each training item once, and no other item
    rows = [np.load(next((tmp_path / run).glob("train/*/distillation/*/labels.npy"))) for run in ("plain", "knowing")]
    assert rows[0].shape == rows[1].shape == (8, 3)
    assert not np.allclose(*rows)
    files = [next((tmp_path / run).glob("train/*/pupil/none/seed-1/*.safetensors")) for run in ("plain", "knowing")]
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_setting_that_the_teacher_cannot_read_is_refused(
    tmp_path: Path, demo_models: dict[str, Path], data_root: Path
) -> None:
    with pytest.raises(RecipeError, match=r"'reasoning' is not a setting of pubmedqa\. Settings: reasoning-required"):
        go(pubmedqa_recipe(demo_models, data_root, {"setting": "reasoning"}), tmp_path)
    with pytest.raises(RecipeError, match=r'setting needs train\.distillation\.targets = "labels"'):
        pubmedqa_recipe(demo_models, data_root, {"setting": "reasoning-free", "targets": "tokens"})
    rows = json.loads((data_root / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    without = {key: {k: v for k, v in row.items() if k != "LONG_ANSWER"} for key, row in rows.items()}
    (tmp_path / "pubmedqa").mkdir()
    (tmp_path / "pubmedqa" / "ori_pqal.json").write_text(json.dumps(without), encoding="utf-8")
    given = pubmedqa_recipe(demo_models, tmp_path, {"setting": "reasoning-free"})
    with pytest.raises(DataError, match="has no text in the field 'LONG_ANSWER'"):
        go(given, tmp_path / "run")
    assert not (tmp_path / "run" / "train").exists()
    go(pubmedqa_recipe(demo_models, tmp_path, {}), tmp_path / "plain")


def test_weights_that_cannot_teach_are_refused_before_anybody_is_asked(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recipe(demo_models["llama"], demo_models["llama"], {"objectives": {}}, arms={"none": []}, seeds=[1])
    go(first, tmp_path / "first")
    monkeypatch.setattr(ScriptedTeacher, "_answer", None)
    weights = str(tmp_path / "first/train/default/pupil/none/seed-1")
    other = {"distillation": {"teacher": str(demo_models["bert"]), "weights": weights}}
    with pytest.raises(ModelError, match="cannot be loaded"):
        go(recipe(demo_models["bert"], demo_models["llama"], other), tmp_path / "second")
    assert not (tmp_path / "second" / "augment").exists()


def test_a_finished_run_needs_its_teacher_no_more(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = recipe(demo_models["bert"], demo_models["llama"], {"objectives": {}}, arms={"none": []}, seeds=[1])
    go(first, tmp_path / "first")
    folder = tmp_path / "first/train/default/pupil/none/seed-1"
    given = {"distillation": {"teacher": str(demo_models["bert"]), "weights": str(folder)}}
    book = {"results": str(tmp_path / "book"), "arms": {"none": []}, "seeds": [1]}
    second = recipe(demo_models["bert"], demo_models["llama"], given, **book)
    rows = go(second, tmp_path / "second").rows
    probe = json.loads((folder / "probe.json").read_text())
    (folder / "probe.json").write_text(json.dumps({**probe, "labels": []}))  # as an earlier version left it
    monkeypatch.setattr("preceptor.train.teaching.restore", None)
    assert go(second, tmp_path / "second").rows == rows
    assert go(second, tmp_path / "elsewhere").rows == rows  # from the book
    with pytest.raises(RecipeError, match="does not say for which labels"):
        go(second.model_copy(update={"results": None}), tmp_path / "anew")


def test_a_generated_item_that_the_teacher_cannot_read_is_named(
    tmp_path: Path, demo_models: dict[str, Path], data_root: Path
) -> None:
    given = pubmedqa_recipe(demo_models, data_root, {"setting": "reasoning-free"}, arms={"none": [], "new": ["new"]})
    with pytest.raises(DataError, match="its field 'conclusion' is empty, and the teacher of distillation reads it"):
        go(given, tmp_path / "run")


@pytest.mark.parametrize(
    ("student", "train", "data", "error", "said"),
    [
        ("bert", {"objectives": {"rationale": 1}}, {}, RecipeError, "an encoder has no words to explain with"),
        ("bert", {"distillation": {"teacher": "/no/such"}}, {}, PreceptorError, "There is no model folder /no/such"),
        ("llama", {"distillation": {"teacher": "BERT"}}, {}, RecipeError, "drawn at random"),
        ("bert", {"distillation": {"teacher": "LLAMA", "targets": "tokens"}}, {}, RecipeError, "on both sides"),
        ("bert", {"objectives": {"contrastive": 1}}, {"max_train": 1}, DataError, "training items have the label"),
    ],
)
def test_what_cannot_work_is_refused_before_anybody_is_asked(
    student: str,
    train: dict[str, Any],
    data: dict[str, Any],
    error: type[PreceptorError],
    said: str,
    tmp_path: Path,
    demo_models: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ScriptedTeacher, "_answer", None)
    named = {"BERT": str(demo_models["bert"]), "LLAMA": str(demo_models["llama"])}
    if "distillation" in train:
        given = train["distillation"]
        train = {"distillation": {**given, "teacher": named.get(given["teacher"], given["teacher"])}}
    changes = {"data": {"task": "demo", "max_train": 8, "max_test": 6, **data}}
    with pytest.raises(error, match=said):
        go(recipe(demo_models[student], demo_models["llama"], train, **changes), tmp_path / "run")
    assert not (tmp_path / "run" / "augment").exists()
