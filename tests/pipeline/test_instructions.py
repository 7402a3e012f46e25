"""Experiments on instructions, whole and offline: a scripted teacher, tiny students, benchmarks written here."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from preceptor import cli
from preceptor.config import InstructRecipe, check_instruct_recipe
from preceptor.errors import PartFinished, RecipeError, SplitError
from preceptor.pipeline import instructions
from preceptor.pipeline.instructions import run_instructions
from preceptor.progress import Progress
from preceptor.records import InstructSummary
from preceptor.store.seal import LOOKS, NOTHING, read_looks
from preceptor.store.stages import read_json
from preceptor.store.tables import read_dropped, read_examples

DISEASES = ("night fever", "red spots", "dry cough", "knee pain")
ARMS = {
    "qa": {"generated:question_answering": 1.0},
    "all": {"generated": 1.0},
    "human": {"verdicts": 2.0, "mentions": 1.0},
    "few": {"generated:other": 1.0},
}


def benchmarks(folder: Path) -> list[dict[str, Any]]:
    """Files of three small benchmarks, and their sections of a recipe."""
    for part, count in (("train", 12), ("validation", 4), ("test", 8)):
        rows = [
            {
                "id": f"{part}-{i}",
                "question": f"does the drug of {part} number {i} help ?",
                "label": ("yes", "no")[i % 2],
            }
            for i in range(count)
        ]
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        sentences = []
        for i in range(count):
            words = DISEASES[i % 4].split()
            lines = [f"{part}\tO", f"{i}\tO", "had\tO", f"{words[0]}\tB-Disease", f"{words[1]}\tI-Disease", ".\tO"]
            sentences.append("\n".join(lines))
        (folder / f"{part}.tsv").write_text("\n\n".join(sentences) + "\n", encoding="utf-8")
        with (folder / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["ID", "section_header", "section_text", "dialogue"])
            writer.writerows(
                [i, "CC", f"{DISEASES[i % 4]} for {i} days .", f"Doctor: {part} {i} ? Patient: {DISEASES[i % 4]} ."]
                for i in range(count)
            )

    def paths(ending: str) -> dict[str, str]:
        return {f"{part}_path": f"{part}.{ending}" for part in ("train", "validation", "test")}

    own = {"labels": ["yes", "no"], "prompt": "{{ question }}", "inputs": ["question"], "label": "label", "id": "id"}
    return [
        {
            "name": "verdicts",
            "kind": "labels",
            "category": "question_answering",
            "split": "files",
            "own": {**own, "fields": {"question": "question"}},
            **paths("jsonl"),
        },
        {"name": "mentions", "kind": "iob", "category": "information_extraction", "max_tokens": 8, **paths("tsv")},
        {"name": "notes", "kind": "dialogue-note", "category": "generation", "max_tokens": 8, **paths("csv")},
    ]


def recipe(folder: Path, model: Path, **changes: Any) -> dict[str, Any]:
    """A recipe with every stage that takes seconds."""
    return {
        "name": "small",
        "title": "Small",
        "seeds": [1, 2],
        "min_tasks": 5,
        "instruct": {"seeds": "biomedicine", "target": 40, "round_size": 32},
        "teacher": {"kind": "scripted"},
        "benchmarks": benchmarks(folder),
        "arms": ARMS,
        "train": {"steps": 2, "batch_size": 4, "max_length": 300, "select": "last", "learning_rate": 0.01},
        "students": [{"name": "tiny", "model": str(model), "form": "alpaca"}],
        "evaluate": {"resamples": 100},
        **changes,
    }


@pytest.fixture
def whole(tmp_path: Path, demo_models: dict[str, Path]) -> InstructRecipe:
    return check_instruct_recipe(recipe(tmp_path, demo_models["llama"]), "here")


def go(checked: InstructRecipe, base: Path, out: str = "run", minutes: float | None = None) -> InstructSummary:
    return run_instructions(
        checked,
        folder=base / out,
        base=base,
        command="preceptor run small.toml",
        progress=Progress(quiet=True),
        minutes=minutes,
    )


def forbid_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a cell was run again")

    monkeypatch.setattr(instructions, "run_cell", refuse)


def test_from_seeds_to_the_matrix_and_never_twice(
    whole: InstructRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = go(whole, tmp_path)
    run = tmp_path / "run"

    kept = read_examples(run / "instruct" / "kept.parquet")
    assert summary.funnel is not None
    assert len(kept) == summary.funnel.kept == 40
    assert sum(summary.funnel.kept_by_category.values()) == 40
    assert len((run / "publish" / "tasks.jsonl").read_text(encoding="utf-8").splitlines()) == 40
    assert "40" in (run / "publish" / "README.md").read_text(encoding="utf-8")

    cells = {(e.arm, e.benchmark, e.metric): e for e in summary.entries}
    assert {arm for arm, _, _ in cells} == {"none", *ARMS}
    for benchmark, metric in (("verdicts", "accuracy"), ("mentions", "strict_f1"), ("notes", "rougeL")):
        untuned, tuned = cells["none", benchmark, metric], cells["human", benchmark, metric]
        assert untuned.gain is None
        assert tuned.seeds == (1, 2)
        assert tuned.gain is not None
        assert untuned.estimate is not None
        assert tuned.estimate is not None
        assert tuned.gain.value == pytest.approx(tuned.estimate.value - untuned.estimate.value)
        assert tuned.p_holm is not None
    few = summary.funnel.kept_by_category.get("other", 0)
    reasons = {cells["few", name, metric].note for name, metric in (("verdicts", "accuracy"), ("notes", "rougeL"))}
    assert reasons == (
        {f"{few} tasks of generated:other, fewer than 5"} if few else {"generated:other has no training items"}
    )
    assert summary.training["tiny/human"]["steps"] == 2
    assert "<html" in (run / "report.html").read_text(encoding="utf-8")
    assert "verdicts" in (run / "results.txt").read_text(encoding="utf-8")

    forbid_training(monkeypatch)
    again = go(whole, tmp_path)
    assert again.entries == summary.entries


@pytest.mark.long
def test_a_run_in_parts_comes_to_the_same_and_says_how_to_go_on(
    whole: InstructRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PartFinished, match="Requests to scripted left: ") as caught:
        go(whole, tmp_path, "parts", minutes=0)
    assert caught.value.exit_status == 75
    assert "preceptor run small.toml" in caught.value.hint

    ran: list[str] = []
    original = instructions.run_cell

    def first_two(state: Any, cell: Any) -> None:
        if len(ran) == 2:
            raise KeyboardInterrupt
        ran.append(cell.name)
        original(state, cell)

    with monkeypatch.context() as patched:
        patched.setattr(instructions, "run_cell", first_two)
        with pytest.raises(KeyboardInterrupt):
            go(whole, tmp_path, "parts")
    assert ran == ["tiny-none", "tiny-qa-seed-1"]
    assert go(whole, tmp_path, "parts").entries == go(whole, tmp_path, "at-once").entries


def test_results_that_lie_elsewhere_are_taken_for_the_same_inputs_only(
    whole: InstructRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = whole.model_copy(update={"results": "results", "arms": {"human": ARMS["human"]}, "instruct": None})
    first = go(shared, tmp_path, "one")
    assert {p.name for p in (tmp_path / "results").iterdir()} == {
        "tiny-none.json",
        LOOKS,
        "tiny-human-seed-1.json",
        "tiny-human-seed-2.json",
    }
    for text in (p.read_text(encoding="utf-8") for p in (tmp_path / "results").iterdir()):
        assert "does the drug" not in text
        assert "night fever" not in text
    forbid_training(monkeypatch)
    assert go(shared, tmp_path, "two").entries == first.entries
    other = shared.model_copy(update={"arms": {"human": {"verdicts": 1.0}}})
    with pytest.raises(AssertionError, match="run again"):
        go(other, tmp_path, "three")


def test_tasks_that_carry_test_items_are_dropped_before_anything_is_trained(
    whole: InstructRecipe, tmp_path: Path
) -> None:
    long = " ".join(f"finding{i} rose" for i in range(12))
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text(encoding="utf-8").splitlines()]
    rows[0]["question"] = f"does the drug help when {long} ?"
    (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    tasks = [
        {"id": f"t{i}", "instruction": f"Say what number {i} means.", "input": "", "output": f"It is {i} days.",
         "category": "question_answering"} for i in range(8)
    ]  # fmt: skip
    tasks[3]["input"] = rows[0]["question"]
    (tmp_path / "tasks.jsonl").write_text("".join(json.dumps(row) + "\n" for row in tasks), encoding="utf-8")
    settings = whole.instruct.model_copy(update={"source": "tasks.jsonl"})  # type: ignore[union-attr]
    given = whole.model_copy(update={"instruct": settings, "arms": {"all": ARMS["all"]}, "seeds": (1,)})
    summary = go(given, tmp_path)
    assert summary.sources == {"generated": 7}
    assert [(reason, task.id) for reason, task in summary.dropped] == [("leakage", "t3")]
    assert [e.id for e, _, _ in read_dropped(tmp_path / "run" / "leakage" / "dropped.parquet")] == ["t3"]


def test_training_on_what_is_scored_is_refused(whole: InstructRecipe, tmp_path: Path) -> None:
    turned = whole.benchmarks[0].model_copy(
        update={"name": "turned", "train_path": "test.jsonl", "test_path": "train.jsonl", "scored": False}
    )
    wrong = whole.model_copy(
        update={"benchmarks": (*whole.benchmarks, turned), "arms": {"turned": {"turned": 1.0}}, "instruct": None}
    )
    with pytest.raises(SplitError, match="8 training items"):
        go(wrong, tmp_path)


def test_results_must_be_a_folder(whole: InstructRecipe, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"test\.jsonl is a file"):
        go(whole.model_copy(update={"results": "test.jsonl"}), tmp_path)
    assert not (tmp_path / "run").exists()


def test_writing_tasks_needs_no_student_and_no_benchmark(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    only = recipe(tmp_path, demo_models["llama"], benchmarks=[], arms={}, students=[])
    only["instruct"]["seeds"] = "contracts"
    summary = go(check_instruct_recipe(only, "here"), tmp_path)
    assert summary.entries == ()
    assert summary.funnel is not None
    assert summary.funnel.seeds == 24
    assert read_json(tmp_path / "run" / "results.json")["funnel"]["kept"] == 40


def test_the_command_runs_and_estimates_such_recipes(
    tmp_path: Path, demo_models: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = recipe(tmp_path, demo_models["bert"], arms={"human": ARMS["human"]}, seeds=[1])
    (tmp_path / "small.toml").write_text(tomli_w.dumps(raw), encoding="utf-8")
    run = ["preceptor", "run", str(tmp_path / "small.toml"), "--out", str(tmp_path / "run"), "--quiet"]
    monkeypatch.setattr("sys.argv", ["preceptor", "estimate", str(tmp_path / "small.toml")])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "40 from 80 seeds" in capsys.readouterr().out

    monkeypatch.setattr("sys.argv", run)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert "encoder" in capsys.readouterr().err

    monkeypatch.setattr("sys.argv", [*run, "--student", str(demo_models["llama"]), "--minutes", "0"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 75
    said = capsys.readouterr()
    assert "Requests to scripted left: " in said.err
    assert f"--student {demo_models['llama']}" in said.err

    monkeypatch.setattr("sys.argv", [*run, "--student", str(demo_models["llama"])])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert "Report:" in capsys.readouterr().out


def test_every_look_at_a_benchmark_is_on_record_once(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = recipe(tmp_path, demo_models["llama"], arms={"human": ARMS["human"]}, results="shared", seeds=[1])
    del raw["instruct"], raw["teacher"]
    summary = go(check_instruct_recipe(raw, "here"), tmp_path)
    looks = read_looks(tmp_path / "run")
    names = ("verdicts", "mentions", "notes")
    assert [look.cell for look in looks] == [
        f"tiny-{cell}-{name}" for cell in ("none", "human-seed-1") for name in names
    ]
    assert len({look.test for look in looks}) == 3
    assert {(look.student, str(look.chosen), look.by) for look in looks} == {(str(demo_models["llama"]), "{}", NOTHING)}
    assert read_looks(tmp_path / "shared") == looks
    assert [(one.setting, one.items, one.times, one.unrecorded) for one in summary.looks] == [
        (n, 8, 2, 0) for n in names
    ]
    for file in ("results.txt", "report.html"):
        said = (tmp_path / "run" / file).read_text(encoding="utf-8")
        assert "The 8 test items of notes were answered 2 times on record, by 1 student in 2 combinations" in said

    forbid_training(monkeypatch)
    assert go(check_instruct_recipe(raw, "here"), tmp_path).looks == summary.looks
    found_again = go(check_instruct_recipe(raw, "here"), tmp_path, out="elsewhere")
    assert found_again.looks == summary.looks
    assert read_looks(tmp_path / "elsewhere") == []
    assert read_looks(tmp_path / "shared") == looks

    (tmp_path / "shared" / LOOKS).unlink()
    assert [one.unrecorded for one in go(check_instruct_recipe(raw, "here"), tmp_path, out="third").looks] == [2, 2, 2]
