"""Baselines: who answers untrained, scored like students; asked once, found again, refused in one sentence."""

from __future__ import annotations

import contextlib
import itertools
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from baseline_runs import checked, go, recipe

import tiny
from preceptor.config import check_recipe, load_recipe
from preceptor.data.load import load_datasets
from preceptor.data.shots import Room, Shots, draw_shots, text_prompts
from preceptor.errors import BudgetError, TeacherError
from preceptor.models.answers import label_logprobs
from preceptor.models.student import Student, open_student
from preceptor.pipeline.compare import Chosen, compare_runs
from preceptor.pipeline.label_forecast import estimate
from preceptor.records import Completion, Request
from preceptor.report.table import as_table
from preceptor.store.stages import MARK, read_json
from preceptor.store.tables import read_examples, read_predictions
from preceptor.teachers.base import Answer
from preceptor.teachers.scripted import ScriptedTeacher


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model with room for some solved examples of the demo data, and one that names a chat template."""
    return tiny.save_model(tmp_path_factory.mktemp("wide") / "llama", "llama", tiny.demo_words(), window=1200)


def marks(folder: Path) -> dict[str, int]:
    return {str(p.parent.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob(MARK)}


class Run:
    """One finished run that several tests look at: students, a model and two teachers as baselines."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.folder, self.model = folder / "run", model
        self.recipe = checked(
            {"name": "llama", "model": str(model), "shots": [0, 3]},
            {"name": "writer", "model": str(model), "shots": [0, 2], "read": "generation"},
            {"name": "teacher", "teacher": True, "shots": [0, 5]},
            {"name": "other", "teacher": {"kind": "local", "model": str(model)}, "shots": [1], "draw": "per-item"},
            students=[{"name": "llama", "model": str(model)}],
            arms={"none": []},
            results="book",
        )
        self.summary = go(self.recipe, self.folder)
        self.rows = {(row.student, row.arm): row for row in self.summary.rows}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Run:
    return Run(tmp_path_factory.mktemp("baselines"), model)


def test_every_baseline_is_a_row_with_the_statistics_of_students(done: Run) -> None:
    rows = [row for row in done.summary.rows if row.kind == "baseline"]
    assert [(row.student, row.arm, row.shots) for row in rows] == [
        *[("llama", "0-shot", 0), ("llama", "3-shot", 3), ("writer", "0-shot", 0), ("writer", "2-shot", 2)],
        *[("teacher", "0-shot", 0), ("teacher", "5-shot", 5), ("other", "1-shot", 1)],
    ]
    for row in rows:
        assert row.n == 12
        assert row.accuracy is not None
        assert row.accuracy.interval is not None
        assert sum(row.outcomes.values()) == 12
        assert set(row.recall_intervals) == set(row.recall)
        assert row.gain_accuracy is None
        assert (row.calibration is not None) == (row.student == "llama")  # who was read by likelihood
    known = done.rows["llama", "3-shot"].calibration
    assert known is not None
    assert known.corrected is not None


def test_people_read_who_answered_after_how_many_shots(done: Run) -> None:
    page = (done.folder / "report.html").read_text(encoding="utf-8")
    assert "teacher · 5 shots" in page
    assert "other · 1 shot<" in page
    assert "shots drawn for each item with seed 0" in page
    assert "llama, 3 shots" in as_table(done.summary.rows)
    scores, recall, *_ = (done.folder / "results.txt").read_text(encoding="utf-8").split("\n\n")
    assert scores.count(" shots") == recall.count(" shots") == 6
    saved = read_json(done.folder / "results.json")["rows"]
    assert [row["shots"] for row in saved if row["kind"] == "baseline"] == [0, 3, 0, 2, 0, 5, 1]
    assert load_recipe(done.folder / "recipe.toml").baselines == done.recipe.baselines


def test_no_shots_of_a_model_say_what_its_untrained_student_says(done: Run) -> None:
    place = done.folder / "evaluate" / "default" / "llama"
    untrained = read_predictions(place / "untrained" / "seed-1" / "predictions.parquet")
    assert read_predictions(place / "0-shot" / "seed-0" / "predictions.parquet") == untrained
    assert done.rows["llama", "0-shot"].accuracy == done.rows["llama", ""].accuracy
    three = read_predictions(place / "3-shot" / "seed-0" / "predictions.parquet")
    assert [p.probabilities for p in three] != [p.probabilities for p in untrained]


def test_the_probabilities_are_those_after_the_solved_examples(done: Run) -> None:
    dataset = load_datasets(done.recipe.data, done.folder)["default"]
    task = dataset.task
    student = opened(done.model, task.labels)
    shown = draw_shots(dataset.train, task.labels, 3, 0)
    text = "".join(f"{task.render(one)} {one.label}\n\n" for one in shown)
    ids = student.encode([text + task.render(item) for item in dataset.test])
    raw = label_logprobs(student.model, student.loaded, ids, student.targets)
    said = read_predictions(done.folder / "evaluate/default/llama/3-shot/seed-0/predictions.parquet")
    assert [p.label for p in said] == [task.labels[int(row.argmax())] for row in raw]
    start = student.encode([text])[0]
    assert all(row[: len(start)] == start for row in ids)  # the shots are a common beginning, token by token


def opened(folder: Path, labels: tuple[str, ...]) -> Student:
    targets = [f" {label}" for label in labels]
    return open_student(str(folder), "causal", labels, targets, max_length=300, reserve=0, dtype="float32", seed=0)


def test_shots_come_from_training_items_alone(done: Run) -> None:
    parts = {
        part: {e.id for e in read_examples(done.folder / "data" / "default" / f"{part}.parquet")}
        for part in ("train", "validation", "test")
    }
    recorded = read_json(done.folder / "evaluate/default/teacher/5-shot/seed-0/evaluated.json")["shots"]
    assert (recorded["count"], recorded["seed"], recorded["draw"]) == (5, 0, "fixed")
    assert len(set(recorded["ids"])) == 5
    assert set(recorded["ids"]) <= parts["train"]
    # And nothing that a teacher was told about an item holds the question of another held-out item.
    dataset = load_datasets(done.recipe.data, done.folder)["default"]
    held = {e.fields["question"] for e in (*dataset.validation, *dataset.test)}
    train = {e.fields["question"] for e in dataset.train}
    with contextlib.closing(sqlite3.connect(done.folder / "ledger.sqlite")) as ledger:
        asked = [json.loads(row[0]) for row in ledger.execute("SELECT request FROM calls")]
    told = [[m["content"] for m in one["messages"] if m["role"] == "user"] for one in asked]
    assert sorted({len(texts) for texts in told}) == [1, 2, 6]
    for texts in told:
        assert all(not any(question in text for question in held - train) for text in texts[:-1])


def test_a_teacher_reads_the_students_prompts_as_turns(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = load_datasets(done.recipe.data, done.folder)["default"]
    seen: list[Request] = []

    def answer(self: ScriptedTeacher, request: Request) -> Answer:
        seen.append(request)
        return Answer(request, completion=Completion("Yes, it did."))

    monkeypatch.setattr(ScriptedTeacher, "_answer", answer)
    given = checked({"name": "teacher", "teacher": True, "shots": [2], "shot_seed": 7})
    summary = go(given, done.folder.parent / "asked")
    shown = draw_shots(dataset.train, dataset.task.labels, 2, 7)
    assert len(seen) == 12
    for request, item in zip(seen, dataset.test, strict=True):
        assert [m.role for m in request.messages] == ["system", *["user", "assistant"] * 2, "user"]
        users = [m.content for m in request.messages if m.role == "user"]
        assert users == [dataset.task.render(one).strip() for one in (*shown, item)]
        assert [m.content for m in request.messages if m.role == "assistant"] == [one.label for one in shown]
        assert (request.sampling.temperature, request.sampling.max_tokens) == (0.0, 32)
        assert all(label in request.messages[0].content for label in dataset.task.labels)
    (row,) = (row for row in summary.rows if row.kind == "baseline")
    assert row.recall["yes"] == 1.0  # read by the students' parser


def test_answers_that_cannot_be_read_are_counted_and_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = iter([("yes", "stop"), ("I cannot answer that.", "stop"), ("It", "length"), ("Perhaps so.", "stop")] * 3)

    def answer(self: ScriptedTeacher, request: Request) -> Answer:
        text, finish = next(said)
        return Answer(request, completion=Completion(text, finish))

    monkeypatch.setattr(ScriptedTeacher, "_answer", answer)
    (row,) = (r for r in go(checked({"name": "t", "teacher": True}), tmp_path / "run").rows if r.kind == "baseline")
    assert row.outcomes == {"answered": 3, "unparsed": 3, "refused": 3, "cut_off": 3}
    assert row.accuracy is not None
    assert row.accuracy.value <= 3 / 12


# --- done once -----------------------------------------------------------------------------------------------------


def test_a_second_run_asks_and_computes_nothing(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    before = marks(done.folder)
    forbid(monkeypatch)
    again = go(done.recipe, done.folder)
    assert marks(done.folder) == before
    assert again.rows == done.summary.rows
    assert again.spend == done.summary.spend
    assert done.summary.spend["scripted"].calls == 24


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_args: Any, **_more: Any) -> None:
        raise AssertionError("somebody was asked again")

    monkeypatch.setattr(ScriptedTeacher, "_answer", never)
    monkeypatch.setattr("preceptor.evaluate.predict.answer", never)
    monkeypatch.setattr("preceptor.teachers.local.LocalTeacher.answer", never)


def test_the_book_of_results_takes_the_place_of_the_folder(done: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    forbid(monkeypatch)
    again = go(done.recipe, done.folder.parent / "elsewhere")
    assert [(r.student, r.arm, r.accuracy, r.outcomes) for r in again.rows] == [
        (r.student, r.arm, r.accuracy, r.outcomes) for r in done.summary.rows
    ]
    book = done.folder.parent / "book"
    assert {"teacher-default-5-shot.json", "llama-default-0-shot.json"} < {p.name for p in book.iterdir()}
    found = compare_runs([done.folder, book], resamples=100)
    compared = " ".join(one.arm for one in found.comparisons)
    assert all(words in compared for words in ("llama, 3-shot", "teacher, 5-shot", "other, 1-shot"))
    assert {one.gain_accuracy.value for one in found.comparisons} == {0.0}


@pytest.mark.parametrize(
    ("change", "redone"),
    [
        ({"shot_seed": 1}, {"1-shot"}),
        ({"temperature": 0.5}, {"0-shot", "1-shot"}),
        ({"max_tokens": 9}, {"0-shot", "1-shot"}),
        ({"teacher": {"kind": "scripted", "concurrency": 3}}, set()),
    ],
)
def test_what_decides_an_answer_is_asked_again_and_nothing_else(
    change: dict[str, Any], redone: set[str], tmp_path: Path
) -> None:
    first = {"name": "t", "teacher": {"kind": "scripted"}, "shots": [0, 1]}
    go(checked(first), tmp_path / "run")
    before = identities(tmp_path / "run")
    go(checked({**first, **change}), tmp_path / "run")
    now = identities(tmp_path / "run")
    assert {arm for arm in now if now[arm] - before.get(arm, set())} == redone


def identities(folder: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for path in (folder / "evaluate").rglob(MARK):
        found.setdefault(path.parent.parent.name, set()).add(read_json(path)["identity"])
    return found


def test_a_run_that_broke_off_asks_only_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow, asked = ScriptedTeacher._answer, [0]

    def failing(self: ScriptedTeacher, request: Request) -> Answer:
        asked[0] += 1
        if asked[0] > 7:
            return Answer(request, error=TeacherError("The line is busy.", "Try later."))
        return follow(self, request)

    given = checked({"name": "t", "teacher": True, "shots": [1]})
    monkeypatch.setattr(ScriptedTeacher, "_answer", failing)
    with pytest.raises(TeacherError, match="5 of 12 items were not answered; the first: The line is busy") as ended:
        go(given, tmp_path / "run")
    assert "the same command asks only the rest" in ended.value.hint
    assert not list((tmp_path / "run").rglob("predictions.parquet"))
    asked[0] = -100
    assert go(given, tmp_path / "run").spend["scripted"].calls == 12
    assert asked[0] == -95


def test_the_budget_holds_for_baselines(tmp_path: Path, model: Path) -> None:
    entry = {"name": "t", "teacher": {"kind": "local", "model": str(model), "batch_size": 4}}
    with pytest.raises(BudgetError, match="4 of 12 requests"):
        go(checked(entry, budget={"max_tokens": 1000}), tmp_path / "run")
    assert not list((tmp_path / "run").rglob("predictions.parquet"))
    (spend,) = go(checked(entry, budget={"max_tokens": 20_000}), tmp_path / "run").spend.values()
    assert spend.calls == 12
    assert spend.from_ledger == 4  # what was answered before the budget ended it


def test_shots_are_compared_where_they_are_named(done: Run) -> None:
    plain = compare_runs([done.folder], Chosen(baseline="0-shot", students=["teacher"]), resamples=100)
    assert [(one.baseline, one.arm) for one in plain.comparisons] == [("teacher, 0-shot", "teacher, 5-shot")]
    named = compare_runs([done.folder], Chosen(arms=["3-shot"], students=["llama"]), resamples=100)
    assert [(one.baseline, one.arm) for one in named.comparisons] == [("llama, none", "llama, 3-shot")]


def test_an_estimate_counts_what_baselines_ask(tmp_path: Path) -> None:
    given = checked(
        {"name": "t", "teacher": True, "shots": [0, 2]}, {"name": "o", "teacher": {"kind": "scripted"}, "shots": [1]}
    )
    said = estimate(given, folder=tmp_path, base=tmp_path)
    assert [line for line in said if line.startswith("Requests")] == [
        "Requests to send: 24 (0 more are answered already)",
        "Requests to send: 12 (0 more are answered already)",
    ]
    assert "Baseline o, default, 1-shot" in said


def test_a_baseline_may_be_a_further_teacher_of_the_recipe(tmp_path: Path) -> None:
    """It answers as the same settings in a table of its own do, and nothing is asked twice."""
    terms = {"kind": "scripted", "model": "more", "temperature": 0.9, "max_tokens": 99}
    given = checked({"name": "further", "teacher": "more.of", "shots": [0, 2]}, teachers={"more.of": terms})
    said = estimate(given, folder=tmp_path / "run", base=tmp_path)
    assert (said[0], said[2]) == ("Of [teachers.more.of]", "Requests to send: 24 (0 more are answered already)")
    assert sum(line.startswith("Requests") for line in said) == 1
    summary = go(given, tmp_path / "run")
    assert [row.arm for row in summary.rows if row.kind == "baseline"] == ["0-shot", "2-shot"]
    assert {name: spend.calls for name, spend in summary.spend.items()} == {"more.of (scripted)": 24}
    assert load_recipe(tmp_path / "run" / "recipe.toml") == given
    before = marks(tmp_path / "run")
    table = {"kind": "scripted", "model": "more"}
    go(checked({"name": "further", "teacher": table, "shots": [0, 2]}), tmp_path / "run")
    assert marks(tmp_path / "run") == before
    other = go(checked({"name": "further", "teacher": True, "shots": [0]}), tmp_path / "other")
    assert set(other.spend) == {"scripted"}


# --- the real model ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_built_in_model_sees_the_shots(tmp_path: Path) -> None:
    given = check_recipe(
        {
            **recipe({"name": "smollm2", "model": "builtin:smollm2-135m-instruct", "shots": [2]}),
            "data": {"task": "demo", "max_train": 12, "max_test": 2},
        },
        "test",
    )
    dataset = load_datasets(given.data, tmp_path)["default"]
    task = dataset.task
    student = open_student(
        "builtin:smollm2-135m-instruct",
        "causal",
        task.labels,
        [task.target(label) for label in task.labels],
        max_length=300,
        reserve=0,
        dtype="float32",
        seed=0,
    )
    prompts, room = {}, Room("smollm2", student.loaded.window, 2)
    for count in (0, 2):
        shots = Shots(task, dataset.train, count, 0)
        rendered = text_prompts(shots, dataset.test, student.length, student.limit, room)
        prompts[count] = student.encode(rendered.prompts)
        # All prompts begin with the same tokens, the shots' and more. (The tokens of the shots alone are others: there
        # the two line breaks at their end are one token, before more text they are two.)
        columns = zip(*prompts[count], strict=False)
        common = [column[0] for column in itertools.takewhile(lambda column: len(set(column)) == 1, columns)]
        before = shots.text(dataset.test[0], student.length, student.limit)
        assert student.loaded.tokenizer.decode(common).startswith(before.rstrip())
    zero, two = student.logprobs(prompts[0]), student.logprobs(prompts[2])
    # Two solved examples teach an instructed model the form: it puts far more on the labels' words.
    assert (two.max(axis=1) > zero.max(axis=1)).all()
