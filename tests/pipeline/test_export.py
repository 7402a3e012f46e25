"""`preceptor export`: what it writes is what others read, and what it refuses is said in a sentence."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import f1_score

from preceptor import cli
from preceptor.config import DataSettings, find_recipe, load_recipe
from preceptor.data import demo, pubmedqa
from preceptor.data.load import load_datasets
from preceptor.errors import DataError
from preceptor.pipeline.export import export_predictions
from preceptor.pipeline.resolve import resolved
from preceptor.pipeline.score import score_file
from preceptor.publish.harness_data import macro_f1
from preceptor.publish.leaderboard import write_leaderboard
from preceptor.records import Outcome, Prediction
from preceptor.store.results import ResultsBook
from preceptor.store.stages import write_json
from preceptor.store.tables import write_predictions

LABELS = ("yes", "no", "maybe")


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["preceptor", "export", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


# A task for the harness


def test_the_task_holds_our_prompts_and_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "lm-eval", "demo", "--out", tmp_path / "task") == 0
    name = "preceptor_demo_default"
    assert f"--include_path {tmp_path / 'task'} --tasks {name}" in capsys.readouterr().out
    dataset = demo.load(DataSettings(task="demo"), Path())["default"]
    for part, items in (("test", dataset.test), ("fewshot", dataset.train)):
        lines = (tmp_path / "task" / f"{name}.{part}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert [row["prompt"] for row in rows] == [dataset.task.render(item) for item in items]
        assert [LABELS[row["gold"]] for row in rows] == [item.label for item in items]
    task = (tmp_path / "task" / f"{name}.yaml").read_text(encoding="utf-8")
    assert 'doc_to_choice: ["yes", "no", "maybe"]' in task  # quoted: a bare yes is true in YAML
    assert {path.name for path in (tmp_path / "task").iterdir()} == {
        *(f"{name}.{ending}" for ending in ("yaml", "test.jsonl", "fewshot.jsonl")),
        "harness_data.py",
    }


def test_a_run_with_a_relative_path_asks_for_its_recipes_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    assert command(monkeypatch, "lm-eval", run, "--out", tmp_path / "task") == 1
    assert "no recipe.toml" in capsys.readouterr().err
    recipe = load_recipe(find_recipe(Path("pubmedqa")), ['data.path="items"'])
    (run / "recipe.toml").write_text(resolved(recipe), encoding="utf-8")
    assert command(monkeypatch, "lm-eval", run, "--out", tmp_path / "task") == 1
    assert "--base" in capsys.readouterr().err
    assert command(monkeypatch, "lm-eval", run, "--out", tmp_path / "task", "--base", tmp_path) == 1
    assert str(tmp_path / "items") in capsys.readouterr().err  # it was looked for there
    assert not (tmp_path / "task").exists()


def test_macro_f1_is_that_of_scikit_learn() -> None:
    pairs = [(0, 0), (0, 1), (1, 1), (2, 0), (2, 2), (1, 0), (0, 0), (1, 2)]
    for some in (pairs, pairs[:3], [(2, 0), (0, 0)]):
        golds, said = zip(*some, strict=True)
        assert macro_f1(some) == pytest.approx(f1_score(golds, said, average="macro", zero_division=0))


# Predictions for the leaderboard


def answered(ids: Sequence[str], golds: Sequence[str], shift: int = 1) -> list[Prediction]:
    """Every third answer is wrong."""
    said = [LABELS[(LABELS.index(g) + (shift if i % 3 == 0 else 0)) % 3] for i, g in enumerate(golds)]
    return [Prediction(i, g, s, probabilities=(0.5, 0.3, 0.2)) for i, g, s in zip(ids, golds, said, strict=True)]


def run_of(folder: Path, arms: dict[str, dict[int, list[Prediction]]], **about: Any) -> Path:
    """What `export predictions` reads of a finished run."""
    rows = []
    for arm, seeds in arms.items():
        rows.append(
            {"kind": "arm", "arm": arm, "student": "tiny", "setting": "reasoning-required"}
            | {"seeds": list(seeds), "seed_scores": []}
        )
        for seed, predictions in seeds.items():
            place = folder / "evaluate" / "reasoning-required" / "tiny" / arm / f"seed-{seed}"
            place.mkdir(parents=True)
            write_predictions(place / "predictions.parquet", predictions)
    results = {"labels": LABELS, "task": "pubmedqa", "split": "official", "rows": rows, **about}
    write_json(folder / "results.json", results)
    return folder


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> list[Prediction]:
    """500 answers whose ids stand for the official test's."""
    ids = [str(10_000 + i) for i in range(500)]
    monkeypatch.setattr(pubmedqa, "_PUBLISHED_TEST", pubmedqa._digest(ids))
    return answered(ids, [LABELS[i % 3] for i in range(500)])


def test_what_is_written_scores_the_same(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings(
        task="pubmedqa", path=str(data_root / "pubmedqa"), split="official", settings=("reasoning-required",)
    )
    test = load_datasets(settings, Path())["reasoning-required"].test
    predictions = answered([item.id for item in test], [item.label for item in test])
    run, out = run_of(tmp_path / "run", {"none": {1: predictions}}), tmp_path / "out.json"
    assert command(monkeypatch, "predictions", run, "--student", "tiny", "--arm", "none", "--out", out) == 0
    written = json.loads(out.read_text(encoding="utf-8"))
    assert written == {p.id: p.label for p in predictions}
    row = score_file(out, data=data_root / "pubmedqa", split="official", parser="strict")[0]
    assert row.n == 500
    assert row.accuracy is not None
    assert row.accuracy.value == pytest.approx(sum(p.label == p.gold for p in predictions) / 500)


def test_a_folder_of_results_will_do(made_up: list[Prediction], tmp_path: Path) -> None:
    about = {"task": "pubmedqa", "split": "official", "labels": list(LABELS), "setting": "reasoning-required"}
    cell = {**about, "student": "tiny", "arm": "none", "seed": 2}
    ResultsBook(tmp_path / "cells").add_predictions("c", "i", made_up, None, {"cell": cell, "gold": ["yes"] * 500})
    assert export_predictions(tmp_path / "cells", tmp_path / "out.json", student="tiny", arm="none") == 2
    assert len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))) == 500


def test_the_choice_must_be_clear(made_up: list[Prediction], tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", {"none": {1: made_up, 2: made_up}, "new": {1: made_up}})
    out = tmp_path / "out.json"
    with pytest.raises(DataError, match=r"has the seeds 1, 2.*--seed"):
        export_predictions(run, out, student="tiny", arm="none")
    with pytest.raises(DataError, match=r"no seed 3.*Seeds: 1, 2"):
        export_predictions(run, out, student="tiny", arm="none", seed=3)
    with pytest.raises(DataError, match=r"no arm 'old'.*new, none"):
        export_predictions(run, out, student="tiny", arm="old")
    with pytest.raises(DataError, match=r"no student 'big'.*tiny"):
        export_predictions(run, out, student="big", arm="none")
    with pytest.raises(DataError, match=r"no setting 'reasoning-free'"):
        export_predictions(run, out, student="tiny", arm="new", setting="reasoning-free")
    assert not out.exists()
    assert export_predictions(run, out, student="tiny", arm="none", seed=2) == 2


@pytest.mark.parametrize(
    ("about", "said"), [({"split": "paper"}, "split is paper"), ({"task": "demo"}, "task is demo")]
)
def test_another_split_or_task_is_refused(
    made_up: list[Prediction], tmp_path: Path, about: dict[str, str], said: str
) -> None:
    run = run_of(tmp_path / "run", {"none": {1: made_up}}, **about)
    with pytest.raises(DataError, match=said):
        export_predictions(run, tmp_path / "out.json", student="tiny", arm="none")


def refused(predictions: list[Prediction], tmp_path: Path) -> str:
    with pytest.raises(DataError) as error:
        write_leaderboard(tmp_path / "out.json", predictions, "run", pubmedqa.is_official_test)
    assert not (tmp_path / "out.json").exists()
    return str(error.value)


def test_every_test_id_needs_one_known_label(made_up: list[Prediction], tmp_path: Path) -> None:
    gone = refused(made_up[:470], tmp_path)
    assert "30 of the 500 test ids are missing" in gone
    assert "data.max_test" in gone
    assert "not the 500 of the official test" in refused([*made_up[:-1], Prediction("7", "yes", "yes")], tmp_path)
    assert "1 ids stand there twice" in refused([*made_up, made_up[0]], tmp_path)
    unread = [Prediction(p.id, p.gold, None, Outcome.UNPARSED) for p in made_up[:7]]
    unread += [Prediction(p.id, p.gold, None, Outcome.REFUSED) for p in made_up[7:9]]
    said = refused([*unread, *made_up[9:]], tmp_path)
    assert "9 of 500 answers hold no label (2 refused, 7 unparsed)" in said
    assert "likelihood" in said
    unknown = [Prediction(p.id, p.gold, "unsure") for p in made_up[:4]]
    assert "4 of 500 answers are none of yes, no, maybe, first 'unsure'" in refused([*unknown, *made_up[4:]], tmp_path)
