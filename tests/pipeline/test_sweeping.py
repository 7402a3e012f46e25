"""A sweep: points, choice by validation or folds, failures, what is resumed, and what the test items see of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from preceptor.config import Recipe, check_recipe, load_recipe
from preceptor.data.load import load_datasets
from preceptor.errors import ModelError, PartFinished, PreceptorError, RecipeError
from preceptor.evaluate import predict as predicting
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.compare_sources import read_source
from preceptor.pipeline.folds import fold_datasets, fold_runs
from preceptor.pipeline.generating import augment_all
from preceptor.pipeline.label_forecast import estimate
from preceptor.pipeline.label_run import Run
from preceptor.pipeline.label_teachers import make_writers
from preceptor.pipeline.sweep_report import _corrected
from preceptor.pipeline.sweeping import open_sweep
from preceptor.progress import Progress
from preceptor.records import Estimate, Example, RunSummary, SpreadDifference
from preceptor.store.ledger import Ledger
from preceptor.store.seal import LOOKS, read_looks
from preceptor.store.stages import read_json
from preceptor.store.tables import read_examples, read_predictions
from preceptor.teachers.scripted import ScriptedTeacher
from preceptor.train import cell as training

LORA = {"train.alpha": [1, 64]}


def recipe(model: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "swept",
        "title": "Which alpha?",
        "seeds": [1, 2],
        "data": {"task": "demo", "max_train": 12, "max_test": 20},
        "arms": {"none": []},
        "train": {
            "rank": 4,
            "learning_rate": 1e-2,
            "epochs": 1,
            "batch_size": 6,
            "max_length": 300,
            "dtype": "float32",
        },
        "students": [{"name": "llama", "model": str(model), "untrained": False}],
        "evaluate": {"resamples": 100},
        "sweep": {"axes": LORA},
        **changes,
    }


def go(raw: dict[str, Any] | Recipe, folder: Path) -> RunSummary:
    checked = raw if isinstance(raw, Recipe) else check_recipe(raw, "test")
    return pipeline.run(
        checked, folder=folder, base=folder.parent, command="preceptor run", progress=Progress(quiet=True)
    )


class Watch:
    """Which items are asked, and which cells are trained."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.trained: list[str] = []
        self.broken: set[float] = set()
        predict, train_cell = predicting.predict, training.train_cell

        def watched(student: Any, task: Any, examples: Sequence[Example], *more: Any, **named: Any) -> Any:
            self.asked.append(tuple(e.id for e in examples))
            return predict(student, task, examples, *more, **named)

        def counted(folder: Path, student: Any, settings: Any, *more: Any, **named: Any) -> None:
            self.trained.append(student.name)
            if settings.alpha in self.broken:
                raise ModelError("The training loss became nan at step 2.", "Lower train.learning_rate.")
            train_cell(folder, student, settings, *more, **named)

        monkeypatch.setattr(predicting, "predict", watched)
        monkeypatch.setattr(training, "train_cell", counted)

    def of(self, ids: set[str]) -> int:
        return sum(bool(ids & set(asked)) for asked in self.asked)

    def clear(self) -> None:
        self.asked.clear()
        self.trained.clear()


def ids(folder: Path, part: str) -> set[str]:
    return {e.id for e in read_examples(folder / "data" / "default" / f"{part}.parquet")}


def test_the_best_point_on_validation_is_chosen_and_alone_sees_the_test(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    summary = go(recipe(demo_models["llama"]), tmp_path / "run")
    (sweep,) = summary.sweeps
    means = {}
    for alpha in (1, 64):
        place = tmp_path / "run" / "sweep" / "choosing" / "default" / f"llama-alpha-{alpha}" / "none"
        runs = [read_predictions(place / f"seed-{seed}" / "predictions.parquet") for seed in (1, 2)]
        assert {p.id for run in runs for p in run} == ids(tmp_path / "run", "validation")
        means[alpha] = np.mean([accuracy_score([p.gold for p in r], [p.label for p in r]) for r in runs])
    best = max(means, key=lambda alpha: means[alpha])
    assert [point.choosing.value for point in sweep.points if point.choosing] == pytest.approx(list(means.values()))
    assert [point.values for point in sweep.points if point.chosen] == [{"train.alpha": best}]
    assert [point.scale for point in sweep.points] == [0.25, 16]
    assert [point.accuracy is not None for point in sweep.points] == [point.chosen for point in sweep.points]
    assert watch.of(ids(tmp_path / "run", "test")) == 2  # the chosen point's two seeds
    row = next(row for row in summary.rows if row.kind == "arm")
    assert (row.student, row.point, row.seeds) == ("llama", f"llama-alpha-{best}", (1, 2))
    assert len({p.parent.parent.parent.name for p in (tmp_path / "run" / "evaluate").rglob("predictions.parquet")}) == 1
    looks = read_looks(tmp_path / "run")
    assert [look.cell for look in looks] == [f"llama-alpha-{best}-default-none-seed-{seed}" for seed in (1, 2)]
    assert {(str(look.chosen), look.by) for look in looks} == {
        (str({"train.alpha": best}), f"validation accuracy {means[best]:.3f}")
    }
    (seen,) = summary.looks
    assert (seen.times, seen.students, seen.settings, seen.chosen, seen.unrecorded) == (2, 1, 1, 2, 0)
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "2 of these looks came after a choice" in page
    assert 'class="dot chosen"' in page
    assert load_recipe(tmp_path / "run" / "recipe.toml") == check_recipe(recipe(demo_models["llama"]), "test")
    (contender,) = read_source(tmp_path / "run")
    assert (contender.student, list(contender.runs)) == ("llama", list(row.seeds))


def test_a_failed_point_stops_nobody_and_is_tried_again(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    watch.broken = {1}
    raw = recipe(demo_models["llama"], sweep={"axes": LORA, "score": "all"}, results="book")
    summary = go(raw, tmp_path / "run")
    bad, good = summary.sweeps[0].points
    assert bad.failed == "seed 1: The training loss became nan at step 2. Lower train.learning_rate."
    assert (bad.choosing, bad.accuracy, good.failed) == (None, None, "")
    assert good.chosen
    assert watch.trained == ["llama-alpha-1", "llama-alpha-64", "llama-alpha-64"]
    failed = json.loads((tmp_path / "run" / "sweep" / "failed.json").read_text())
    assert [one["point"] for one in failed] == ["llama-alpha-1"]
    assert "failed: seed 1: The training loss became nan" in (tmp_path / "run" / "results.txt").read_text()
    assert "failed: seed 1: The training loss became nan" in (tmp_path / "run" / "report.html").read_text()

    watch.clear()
    watch.broken = set()
    again = go(raw, tmp_path / "run")
    assert watch.trained == ["llama-alpha-1"] * 2  # the finished point is not trained again
    assert not (tmp_path / "run" / "sweep" / "failed.json").exists()
    assert all(point.accuracy is not None for point in again.sweeps[0].points)
    assert sum(point.chosen for point in again.sweeps[0].points) == 1

    watch.clear()
    elsewhere = go(raw, tmp_path / "elsewhere")  # the book of results knows all of it
    assert (watch.trained, watch.asked) == ([], [])
    assert [p.accuracy for p in elsewhere.sweeps[0].points] == [p.accuracy for p in again.sweeps[0].points]
    assert elsewhere.looks == again.looks
    assert not (tmp_path / "elsewhere" / LOOKS).exists()


def test_a_sweep_of_which_nothing_works_is_an_error(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    Watch(monkeypatch).broken = {1, 64}
    with pytest.raises(ModelError, match=r"Every point of the sweep failed; the first, llama-alpha-1: seed 1: The"):
        go(recipe(demo_models["llama"]), tmp_path / "run")
    assert "failed" in (tmp_path / "run" / "results.txt").read_text()


@pytest.mark.long
def test_two_methods_over_their_own_values_share_a_picture_and_their_spread_is_compared(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    students = [
        {"name": "lora", "model": str(demo_models["llama"])},
        {"name": "prefix", "model": str(demo_models["llama"]), "train": {"method": "prefix"}, "untrained": False},
    ]
    own = {"lora": {"train": {"alpha": [1, 64]}}, "prefix": {"train.virtual_tokens": [2, 4]}}
    raw = recipe(demo_models["llama"], students=students, sweep={"score": "all", "students": own})
    summary = go(raw, tmp_path / "run")
    assert [(s.student, [p.name for p in s.points]) for s in summary.sweeps] == [
        ("lora", ["lora-alpha-1", "lora-alpha-64"]),
        ("prefix", ["prefix-virtual_tokens-2", "prefix-virtual_tokens-4"]),
    ]
    for sweep in summary.sweeps:
        values = [point.accuracy.value for point in sweep.points if point.accuracy]
        assert sweep.spread["accuracy"].range.value == pytest.approx(max(values) - min(values))
        assert sweep.spread["accuracy"].sd.value == pytest.approx(np.std(values, ddof=1))
    one, two = (sweep.spread["macro_f1"] for sweep in summary.sweeps)
    difference = next(d for d in summary.spreads if d.metric == "macro_f1")
    assert (difference.first, difference.second) == ("lora", "prefix")
    assert difference.range.value == pytest.approx(one.range.value - two.range.value)
    assert difference.sd.interval is not None
    assert (difference.beyond_noise is None) == (one.beyond_noise is None)
    assert [sweep.model for sweep in summary.sweeps] == [str(demo_models["llama"])] * 2
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert page.count('class="sweep" width="100%"') == 2  # accuracy and macro-F1, both students in each
    assert {row.student for row in summary.rows if row.kind == "untrained"} == {"lora"}
    (looks,) = summary.looks
    assert (looks.times, looks.students, looks.settings, looks.chosen) == (9, 1, 5, 4)


def test_a_held_rate_follows_every_point(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    raw = recipe(demo_models["llama"], seeds=[1], evaluate={"resamples": 100})
    raw["train"] |= {"reference_scale": 2}
    summary = go(raw, tmp_path / "run")
    rates = [point.learning_rate for point in summary.sweeps[0].points]
    assert rates == pytest.approx([1e-2 * 2 / 0.25, 1e-2 * 2 / 16])
    again = go(load_recipe(tmp_path / "run" / "recipe.toml"), tmp_path / "run")
    assert [point.learning_rate for point in again.sweeps[0].points] == rates


@pytest.mark.long
def test_folds_hold_every_item_out_once_and_the_chosen_point_learns_from_the_usual_ones(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    sweep = {"axes": LORA, "select": "folds", "folds": 3}
    summary = go(recipe(demo_models["llama"], seeds=[1], sweep=sweep), tmp_path / "run")
    place = tmp_path / "run" / "sweep" / "choosing" / "default"
    folds = [read_predictions(p) for p in sorted(place.glob("llama-alpha-64-fold-*/none/seed-1/predictions.parquet"))]
    held_out = [p.id for fold in folds for p in fold]
    usual = ids(tmp_path / "run", "train") | ids(tmp_path / "run", "validation")
    assert len(folds) == 3
    assert sorted(held_out) == sorted(usual)
    (found,) = summary.sweeps
    right = [p.gold == p.label for fold in folds for p in fold]
    assert found.points[1].choosing is not None
    assert found.points[1].choosing.value == pytest.approx(np.mean(right))
    assert found.items == len(usual)
    assert watch.of(ids(tmp_path / "run", "test")) == 1
    best = next(point.name for point in found.points if point.chosen)
    assert watch.trained.count(best) == 1
    assert next(row for row in summary.rows if row.kind == "arm").real_items == 12


def test_generated_items_do_not_tell_of_a_fold_that_is_held_out(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    checked = check_recipe(recipe(demo_models["llama"]), "test")
    run = Run(checked, tmp_path, tmp_path, Progress(quiet=True), "", load_datasets(checked.data, tmp_path))
    items = run.datasets["default"].train
    run.kept["default", "rewrite"] = tuple(Example(f"{e.id}-r", e.fields, e.label, "rewrite", (e.id,)) for e in items)
    for fold in fold_runs(run, "default", fold_datasets(run, "default", 3)):
        train = {e.id for e in fold.datasets["default"].train}
        kept = {e.parents[0] for e in fold.kept["default", "rewrite"]}
        assert kept == train & {e.id for e in items}


def test_fewer_training_items_are_a_point_and_other_test_items_are_refused(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    sweep = {"axes": {"data.max_train": [6, 12]}}
    summary = go(recipe(demo_models["llama"], seeds=[1], sweep=sweep), tmp_path / "run")
    chosen = next(point for point in summary.sweeps[0].points if point.chosen)
    row = next(row for row in summary.rows if row.kind == "arm")
    assert row.real_items == chosen.values["data.max_train"]
    (contender,) = read_source(tmp_path / "run")
    assert (contender.student, list(contender.runs)) == ("llama", list(row.seeds))
    with pytest.raises(RecipeError, match=r"data.max_test = 10 changes the test items"):
        go(recipe(demo_models["llama"], sweep={"axes": {"data.max_test": [10, 20]}}), tmp_path / "other")


def test_the_same_recipe_without_a_sweep_writes_down_its_looks(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    raw = recipe(demo_models["llama"], seeds=[1], results="book")
    raw["train"]["epochs"] = 2
    del raw["sweep"]
    summary = go(raw, tmp_path / "run")
    (look,) = read_looks(tmp_path / "run")
    fit = read_json(tmp_path / "run" / "train" / "default" / "llama" / "none" / "seed-1" / "fit.json")
    loss = next(check["loss"] for check in fit["checks"] if check["step"] == fit["selected"])
    assert look.by == f"state after step {fit['selected']} of {fit['steps']} by validation loss {loss:.3f}"
    assert summary.looks[0].chosen == len(look.chosen) == 0
    assert read_looks(tmp_path / "book") == read_looks(tmp_path / "run")
    assert summary.looks[0].times == 1
    (tmp_path / "book" / LOOKS).unlink()
    again = go(raw, tmp_path / "elsewhere")
    assert (again.looks[0].times, again.looks[0].unrecorded) == (0, 1)


def test_a_sweep_is_run_in_parts_and_goes_on_where_it_ended(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    raw = recipe(demo_models["llama"], seeds=[1])
    checked, given = check_recipe(raw, "test"), {"folder": tmp_path / "run", "base": tmp_path, "command": "again"}
    train_cell = training.train_cell

    def killed(folder: Path, student: Any, settings: Any, *more: Any, **named: Any) -> None:
        if student.name == "llama-alpha-64":
            raise KeyboardInterrupt
        train_cell(folder, student, settings, *more, **named)

    with monkeypatch.context() as patch:
        patch.setattr(training, "train_cell", killed)
        with pytest.raises(KeyboardInterrupt):
            pipeline.run(checked, **given, progress=Progress(quiet=True))
    with pytest.raises(PartFinished, match="Cells left: 1"):
        pipeline.run(checked, **given, progress=Progress(quiet=True), minutes=0)
    pipeline.run(checked, **given, progress=Progress(quiet=True))
    assert watch.trained == ["llama-alpha-1", "llama-alpha-64"]
    pipeline.run(checked, **given, progress=Progress(quiet=True), minutes=0)  # nothing is left
    assert len(read_looks(tmp_path / "run")) == 1


def test_points_with_filters_of_their_own_ask_the_teacher_once(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = recipe(
        demo_models["llama"],
        seeds=[1],
        teacher={"kind": "scripted"},
        arms={"none": [], "rewrite": ["rewrite"]},
        sweep={"axes": {"filter.duplicates.max_similarity": [0.5, 0.999]}, "score": "all"},
        evaluate={"teacher": False},
    )
    asked = []
    answer = ScriptedTeacher._answer

    def counted(self: ScriptedTeacher, request: Any) -> Any:
        asked.append(request)
        return answer(self, request)

    monkeypatch.setattr(ScriptedTeacher, "_answer", counted)
    summary = go(raw, tmp_path / "run")
    assert len(asked) == 12  # one for each training item, although the points filter apart
    assert summary.spend["scripted"].calls == 12
    assert {(s.arm, len(s.points)) for s in summary.sweeps} == {("none", 2), ("rewrite", 2)}
    kept = {
        place.name: len(read_examples(place / "filter" / "default" / "rewrite" / "kept.parquet"))
        for place in (tmp_path / "run" / "sweep" / "points").iterdir()
    }
    assert kept["llama-max_similarity-0.5"] < kept["llama-max_similarity-0.999"]
    rows = {row.arm: row for row in summary.rows if row.kind == "arm"}
    assert rows["rewrite"].gain_accuracy is not None  # against the chosen point of the arm none
    assert rows["rewrite"].generated_items == kept[rows["rewrite"].point]


def forecast(raw: dict[str, Any], folder: Path) -> tuple[list[str], int]:
    """What `preceptor estimate` says, and how many requests it counts in all its parts."""
    said = estimate(check_recipe(raw, "test"), folder=folder, base=folder)
    upto = next((n for n, line in enumerate(said) if line.startswith("All ")), len(said))
    return said, sum(int(line.split()[3]) for line in said[:upto] if line.startswith("Requests to send"))


@pytest.mark.parametrize(
    ("axes", "titles"),
    [
        (
            {"teacher.temperature": [0.1, 0.9], "train.alpha": [1, 64]},
            ["Of [teacher] with temperature = 0.1", "Of [teacher] with temperature = 0.9", "All 3 together"],
        ),
        ({"teacher.temperature": [0.5, 0.9]}, ["Of [teacher] with temperature = 0.9", "All 2 together"]),
        ({"teacher.seed": [0], "data.max_train": [6, 14]}, []),
        ({"augment.draws": [1, 3]}, []),
        ({"filter.duplicates.max_similarity": [0.5, 0.9]}, []),
        ({"teacher.retries": [1, 2]}, []),  # no other answers
    ],
    ids=["a teacher", "its usual value", "other items", "more answers", "filters", "what changes no answer"],
)
def test_an_estimate_counts_what_the_points_ask(
    axes: dict[str, Any], titles: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same requests as the run then sends, each counted once."""
    raw = recipe(
        Path("x"),
        teacher={"kind": "scripted", "temperature": 0.5},
        arms={"none": [], "rewrite": ["rewrite"]},
        sweep={"axes": axes},
        evaluate={"teacher_items": 3},
    )
    said, count = forecast(raw, tmp_path)
    assert [line for line in said if line.startswith(("Of ", "All "))] == titles
    checked = check_recipe(raw, "test")
    state = Run(checked, tmp_path / "run", tmp_path, Progress(quiet=True), "", given=checked)
    pipeline.load_data(state)
    sweep = open_sweep(state, pipeline.load_data)
    assert sweep is not None
    with Ledger(state.root / "ledger.sqlite") as ledger:
        for run in (state, *sweep.apart()):
            augment_all(run, list(make_writers(run.recipe, run.root).values()), ledger)
        assert ledger.count() == count > 12
    assert forecast(raw, tmp_path / "run")[1] == 0


def test_a_student_of_which_no_point_works_is_refused_before_anything_is_trained(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(monkeypatch)
    with pytest.raises(PreceptorError, match="nowhere"):
        go(recipe(demo_models["llama"], sweep={"axes": {"train.targets": [["nowhere"], ["nobody"]]}}), tmp_path / "run")
    assert not watch.trained


def test_the_folds_of_pubmedqa_are_its_official_ten(data_root: Path, tmp_path: Path) -> None:
    data = {"task": "pubmedqa", "path": str(data_root / "pubmedqa"), "settings": ["reasoning-free"]}
    checked = check_recipe(recipe(tmp_path, data=data), "test")
    run = Run(checked, tmp_path, tmp_path, Progress(quiet=True), "", load_datasets(checked.data, tmp_path))
    folds, usual = fold_datasets(run, "reasoning-free", 10), run.datasets["reasoning-free"]
    held_out = [item.id for fold in folds for item in fold.validation]
    assert {(len(fold.train), len(fold.validation)) for fold in folds} == {(450, 50)}
    assert sorted(held_out) == sorted(item.id for item in (*usual.train, *usual.validation))
    assert not set(held_out) & {item.id for item in usual.test}
    assert folds[0].validation == usual.validation
    with pytest.raises(RecipeError, match=r"sweep\.folds = 11: PubMedQA's official split has 10 folds"):
        fold_datasets(run, "reasoning-free", 11)


def test_students_of_one_model_are_compared_or_all_where_none_share_one() -> None:
    none = Estimate(0.0)
    pairs = [
        SpreadDifference("free", "none", a, b, metric, none, none, none, p)
        for (a, b), p in {
            ("s-lora", "s-prefix"): 0.01,
            ("s-lora", "m-lora"): 0.02,
            ("s-prefix", "m-lora"): None,
        }.items()
        for metric in ("accuracy", "macro_f1")
    ]
    found = _corrected(pairs, {"s-lora": "s", "s-prefix": "s", "m-lora": "m"})
    assert [one.p_holm for one in found] == [0.01, 0.01, None, None, None, None]
    found = _corrected(pairs, {"s-lora": "s", "s-prefix": "t", "m-lora": "m"})
    assert [one.p_holm for one in found] == [0.02, 0.02, 0.02, 0.02, None, None]
    assert [replace(one, p_holm=None) for one in found] == pairs
