"""Every recipe that ships runs from end to end, with few items, few steps and a scripted teacher."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preceptor.config import AdaptRecipe, load_recipe, read_recipe
from preceptor.pipeline.adaptation import run_adaptation
from preceptor.pipeline.labels import run
from preceptor.progress import Progress
from preceptor.records import Row, RunSummary

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
SMALL = ("data.max_train=12", "data.max_test=10", "teacher.kind=scripted", "seeds=[1]", "evaluate.resamples=100")


def run_small(name: str, folder: Path, *overrides: str) -> RunSummary:
    path = RECIPES / f"{name}.toml"
    raw = load_recipe(path)
    steps = [f"students.{i}.train.steps=1" for i in range(len(raw.students))]
    recipe = load_recipe(path, [*SMALL, *steps, *overrides])
    return run(recipe, folder=folder, base=path.parent, command="preceptor run", progress=Progress(quiet=True))


def rows_of(summary: RunSummary, kind: str) -> set[tuple[str, str, str]]:
    return {(row.setting, row.student, row.arm) for row in summary.rows if row.kind == kind}


def check_rows(summary: RunSummary, folder: Path) -> None:
    arms = [row for row in summary.rows if row.kind == "arm"]
    assert all(row.steps == 1 and row.seeds == (1,) and row.real_items == 12 for row in arms)
    assert all(row.generated_items > 0 for row in arms if row.arm == "rewrite")
    assert (folder / "report.html").stat().st_size > 10_000
    saved = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert len(saved["rows"]) == len(summary.rows)
    table, recalls, *looks = (folder / "results.txt").read_text(encoding="utf-8").strip().split("\n\n")
    assert len(table.splitlines()) == len(recalls.splitlines()) == 1 + len(summary.rows)
    assert len(looks) == len(summary.looks) > 0


def test_demo(tmp_path: Path) -> None:
    summary = run_small("demo", tmp_path)
    assert rows_of(summary, "arm") == {("default", "minilm", "none"), ("default", "minilm", "rewrite")}
    assert "demo" in summary.notice.lower()
    assert "say nothing about medicine" in (tmp_path / "report.html").read_text(encoding="utf-8")
    check_rows(summary, tmp_path)


@pytest.mark.long
def test_pubmedqa(
    tmp_path: Path, data_root: Path, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rows of the recipe; its language model is replaced by a tiny one, which costs seconds instead of minutes."""
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    tiny_model = (f'students.smollm2.model="{tiny_models["llama"]}"', "students.smollm2.train.max_length=60")
    summary = run_small("pubmedqa", tmp_path, *tiny_model)
    expected = {("reasoning-required", "minilm"), ("reasoning-free", "minilm"), ("reasoning-free", "smollm2")}
    assert rows_of(summary, "arm") == {(*pair, arm) for pair in expected for arm in ("none", "rewrite")}
    assert rows_of(summary, "untrained") == {("reasoning-free", "smollm2", "")}
    assert {setting for setting, _, _ in rows_of(summary, "human")} == {"reasoning-required", "reasoning-free"}
    check_rows(summary, tmp_path)


def test_pubmedqa_references_are_those_of_the_published_test(
    tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Floor .552/.237 and human .780/.722 on the official test, .824/.787 on the paper's, recomputed by a run."""
    from preceptor.config import EvaluateSettings
    from preceptor.data.load import load_datasets
    from preceptor.evaluate.results import reference_rows

    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    found: dict[str, list[Row]] = {}
    for split in ("official", "paper"):
        recipe = load_recipe(RECIPES / "pubmedqa.toml", [f"data.split={split}"])
        dataset = load_datasets(recipe.data, RECIPES)["reasoning-required"]
        found[split] = reference_rows("s", dataset.test, dataset.task.labels, EvaluateSettings(resamples=100))
    values = {
        split: [
            (round(row.accuracy.value, 3), round(row.macro_f1.value, 3))
            for row in rows
            if row.accuracy and row.macro_f1
        ]
        for split, rows in found.items()
    }
    assert values == {"official": [(0.552, 0.237), (0.78, 0.722)], "paper": [(0.554, 0.238), (0.824, 0.787)]}


@pytest.mark.long
def test_controls(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    summary = run_small("controls", tmp_path, f'results="{tmp_path / "results"}"')
    arms = ("none", "rewrite", "new", "combined", "edit", "synthetic-only", "shuffled")
    assert [row.arm for row in summary.rows if row.kind == "arm"] == list(arms)
    assert not any(row.missing for row in summary.rows)
    assert all(row.real_items == (0 if row.arm == "synthetic-only" else 12) for row in summary.rows if row.arm)
    assert {row.arm for row in summary.rows if row.teacher} == set(arms) - {"none", "edit"}


def test_strategyqa(tmp_path: Path, data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    summary = run_small("strategyqa", tmp_path)
    assert rows_of(summary, "arm") == {("default", "minilm", "none"), ("default", "minilm", "rewrite")}
    assert summary.labels == ("yes", "no")
    check_rows(summary, tmp_path)


@pytest.mark.long
def test_adapt_and_what_is_done_with_its_model(
    tmp_path: Path, data_root: Path, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few documents and steps, a tiny model; the second recipe takes the folder that the first one leaves."""
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    documents = ("adapt.max_documents=40", "adapt.test_documents=8", "adapt.validation_documents=4")
    path = RECIPES / "adapt.toml"
    recipe = read_recipe(path, [*documents, "adapt.length=32", "train.steps=2"], str(tiny_models["llama"]))
    assert isinstance(recipe, AdaptRecipe)
    folder = tmp_path / "adapt"
    adapted = run_adaptation(
        recipe, folder=folder, base=RECIPES, command="preceptor run", progress=Progress(quiet=True)
    )
    assert adapted.change is not None
    assert adapted.excluded == {"pubmedqa": 550}
    summary = run_small(
        "adapted",
        tmp_path / "adapted",
        f'results="{tmp_path / "results"}"',
        f'students.smollm2.model="{tiny_models["llama"]}"',
        f'students.smollm2-adapted.model="{adapted.adapted}"',
        "train.max_length=60",
    )
    expected = {("reasoning-free", "smollm2"), ("reasoning-free", "smollm2-adapted")}
    assert rows_of(summary, "arm") == {(*pair, "none") for pair in expected}
    assert rows_of(summary, "untrained") == {(*pair, "") for pair in expected}


@pytest.mark.long
def test_demo_as_shipped(tmp_path: Path) -> None:
    """The built-in teacher really writes, the student really learns: both arms clear the floor's interval."""
    path = RECIPES / "demo.toml"
    summary = run(
        load_recipe(path),
        folder=tmp_path,
        base=path.parent,
        command="preceptor run demo",
        progress=Progress(quiet=True),
    )
    arms = [row for row in summary.rows if row.kind == "arm"]
    assert {row.arm for row in arms} == {"none", "rewrite"}
    assert all(row.clears_floor for row in arms)
    assert 0 < summary.funnels[0].kept < summary.funnels[0].asked


@pytest.mark.long
def test_methods_and_then_objectives_with_one_of_its_students_as_teacher(
    tmp_path: Path, data_root: Path, tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))

    def tiny_ones(name: str) -> list[str]:
        students = load_recipe(RECIPES / f"{name}.toml").students
        kinds = ["bert" if student.name.startswith("minilm") else "llama" for student in students]
        models = [f'students.{i}.model="{tiny_models[kind]}"' for i, kind in enumerate(kinds)]
        shorter = [f"students.{i}.train.virtual_tokens=4" for i in range(len(students))]
        few = ["students.8.train.last_layers=1", "students.19.train.last_layers=1"] if name == "methods" else []
        return [*models, *shorter, *few, f'results="{tmp_path / "results" / name}"', "train.max_length=50"]

    summary = run_small("methods", tmp_path / "methods", *tiny_ones("methods"))
    methods = {row.student: row.method for row in summary.rows if row.kind == "arm"}
    assert len(methods) == 20
    assert len({method for student, method in methods.items() if student.startswith("smollm2")}) == 11
    assert len(list((tmp_path / "results" / "methods").glob("*.json"))) == 21  # and the student before training
    teacher = tmp_path / "methods" / "train" / "reasoning-free" / "smollm2-lora" / "none" / "seed-1"
    taught = (f'train.distillation.teacher="{tiny_models["llama"]}"', f'train.distillation.weights="{teacher}"')
    summary = run_small("objectives", tmp_path / "objectives", *tiny_ones("objectives"), *taught)
    assert len([row for row in summary.rows if row.kind == "arm"]) == 8
