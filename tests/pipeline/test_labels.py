"""The whole job, offline: every stage, done once; then killed, changed, and fed with bad input."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from sklearn.metrics import accuracy_score, f1_score

import killed_runs
from preceptor import cli
from preceptor.config import Recipe, check_recipe, load_recipe
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.compare import compare_runs
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.stages import MARK, read_json
from preceptor.store.tables import read_dropped, read_examples, read_predictions
from preceptor.teachers.scripted import ScriptedTeacher

REPOSITORY = Path(__file__).resolve().parent.parent.parent
ARMS = {"none": [], "rewrite": ["rewrite"], "combined": ["rewrite", "new"]}
KEY = "sk-never-to-be-seen-0123456789"


def recipe(models: dict[str, Path], **changes: Any) -> dict[str, Any]:
    """A recipe with every stage in it that takes seconds."""
    return {
        "name": "job",
        "title": "The whole job",
        "seeds": [1, 2],
        "data": {"task": "demo", "max_train": 12, "max_test": 20},
        "teacher": {"kind": "scripted"},
        "arms": ARMS,
        "train": {
            "rank": 4,
            "learning_rate": 1e-2,
            "epochs": 2,
            "batch_size": 6,
            "max_length": 300,
            "dtype": "float32",
        },
        "students": [{"name": name, "model": str(folder)} for name, folder in models.items()],
        "evaluate": {"resamples": 100},
        **changes,
    }


def go(checked: Recipe, folder: Path) -> RunSummary:
    return pipeline.run(checked, folder=folder, base=folder, command="preceptor run", progress=Progress(quiet=True))


def marks(folder: Path) -> dict[str, int]:
    """When each finished stage's mark was written, by stage."""
    whole = [p for p in folder.rglob(MARK) if not p.parent.name.startswith(".")]
    return {str(p.parent.relative_to(folder)): p.stat().st_mtime_ns for p in whole}


def forbid_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(self: ScriptedTeacher, request: Any) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(ScriptedTeacher, "_answer", asked)


class Job:
    """One finished run that several tests look at."""

    def __init__(self, folder: Path, models: dict[str, Path]) -> None:
        self.folder = folder
        self.raw = recipe(models)
        self.summary = go(check_recipe(self.raw, "test"), folder)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, demo_models: dict[str, Path]) -> Job:
    return Job(tmp_path_factory.mktemp("job") / "run", demo_models)


# --- what a run leaves ---------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_that_was_promised(job: Job) -> None:
    names = {p.name for p in job.folder.iterdir()} - {".lock"}
    stages = {"data", "augment", "filter", "train", "evaluate"}
    assert names - {n for n in names if n.startswith("ledger.sqlite")} == stages | {
        "recipe.toml",
        "provenance.json",
        "results.json",
        "results.txt",
        "report.html",
        "looks.jsonl",
    }
    assert load_recipe(job.folder / "recipe.toml") == check_recipe(job.raw, "test")
    cells = {
        f"{s}/default/{m}/{a}/seed-{n}"
        for s in ("train", "evaluate")
        for m in ("bert", "llama")
        for a in ARMS
        for n in (1, 2)
    }
    expected = cells | {f"{s}/default/{n}" for s in ("augment", "filter") for n in ("rewrite", "new")}
    expected.add("augment/default/zero-shot")
    assert set(marks(job.folder)) == expected | {"data/default", "evaluate/default/llama/untrained/seed-1"}
    assert not [p for p in job.folder.rglob(".*") if p.name != ".lock"]


def test_every_candidate_is_kept_or_dropped_with_a_reason(job: Job) -> None:
    assert {f.strategy for f in job.summary.funnels} == {"rewrite", "new"}
    for funnel in job.summary.funnels:
        place = job.folder / "filter" / "default" / funnel.strategy
        kept, dropped = read_examples(place / "kept.parquet"), read_dropped(place / "dropped.parquet")
        candidates = read_examples(job.folder / "augment" / "default" / funnel.strategy / "candidates.parquet")
        assert funnel.asked == 12
        assert Counter(e.id for e in candidates) == Counter([e.id for e in kept] + [e.id for e, _, _ in dropped])
        assert (len(kept), len(candidates)) == (funnel.kept, funnel.candidates)
        assert sum(sum(reasons.values()) for reasons in funnel.dropped.values()) == len(dropped)
        assert all(filter_name and not verdict.kept and verdict.reason for _, filter_name, verdict in dropped)
        assert funnel.kept  # else the arms would be the same and the rest would prove little


def test_generated_items_come_from_training_items_and_know_their_call(job: Job) -> None:
    train = {e.id for e in read_examples(job.folder / "data" / "default" / "train.parquet")}
    assert len(train) == 12
    for name in ("rewrite", "new"):
        for example in read_examples(job.folder / "filter" / "default" / name / "kept.parquet"):
            assert set(example.parents) <= train
            assert example.source is not None
            assert example.source.teacher == "scripted"
            assert len(example.source.call) == 64


def test_all_arms_take_the_same_steps_and_read_what_they_should(job: Job) -> None:
    arms = {(r.student, r.arm): r for r in job.summary.rows if r.kind == "arm"}
    assert set(arms) == {(student, arm) for student in ("bert", "llama") for arm in ARMS}
    assert {row.steps for row in arms.values()} == {4}  # 12 items in batches of 6, twice
    kept = {f.strategy: f.kept for f in job.summary.funnels}
    for (_, arm), row in arms.items():
        assert row.generated_items == sum(kept[name] for name in ARMS[arm])
        assert row.real_items == 12
        assert row.seeds == (1, 2)


def test_the_scores_are_those_of_the_predictions_on_disk(job: Job) -> None:
    for row in job.summary.rows:
        if row.kind != "arm":
            continue
        place = job.folder / "evaluate" / "default" / row.student / row.arm
        runs = [read_predictions(place / f"seed-{seed}" / "predictions.parquet") for seed in row.seeds]
        gold, said = [[p.gold for p in run] for run in runs], [[p.label for p in run] for run in runs]
        assert row.n == len(gold[0]) == 20
        assert row.accuracy is not None
        assert row.macro_f1 is not None
        assert row.accuracy.value == pytest.approx(
            np.mean([accuracy_score(g, s) for g, s in zip(gold, said, strict=True)])
        )
        f1 = [f1_score(g, s, labels=["yes", "no", "maybe"], average="macro") for g, s in zip(gold, said, strict=True)]
        assert row.macro_f1.value == pytest.approx(np.mean(f1))


def test_students_seeds_and_arms_are_different_models(job: Job) -> None:
    texts = [
        str([p.probabilities for p in read_predictions(path)])
        for path in (job.folder / "evaluate").rglob("predictions.parquet")
    ]
    assert len(texts) == 13
    assert len(set(texts)) == 13


def test_the_untrained_student_is_scored_and_the_floor_is_there(job: Job) -> None:
    kinds = Counter((r.kind, r.student) for r in job.summary.rows)
    assert kinds[("floor", "")] == 1
    assert kinds[("untrained", "llama")] == 1
    assert ("untrained", "bert") not in kinds  # an encoder's head is drawn at random


def test_results_and_report_tell_the_same(job: Job) -> None:
    results = read_json(job.folder / "results.json")
    assert results["name"] == "job"
    assert [row["arm"] for row in results["rows"]] == [row.arm for row in job.summary.rows]
    assert results["spend"]["scripted"]["calls"] == 24 + sum(results["counts"]["validation"].values())
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert "The whole job" in page
    assert "made up" in page  # what the demo data says of itself
    assert all(arm in page for arm in ARMS)


# --- done once -----------------------------------------------------------------------------------------------------


def test_a_second_run_does_nothing_and_says_the_same(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = marks(job.folder)
    forbid_teacher(monkeypatch)
    again = go(check_recipe(job.raw, "test"), job.folder)
    assert marks(job.folder) == before
    assert again.rows == job.summary.rows
    assert again.funnels == job.summary.funnels
    assert again.samples == job.summary.samples
    assert again.spend == job.summary.spend


def test_a_book_of_results_takes_the_place_of_the_folders(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = check_recipe(recipe(demo_models, arms={"none": []}, seeds=[1], results="book"), "book.toml")
    run_in = {"base": tmp_path, "command": "preceptor run", "progress": Progress(quiet=True)}
    first = pipeline.run(checked, folder=tmp_path / "first", **run_in)
    monkeypatch.setattr("preceptor.train.cell.train_cell", None)  # nothing is left to train or to predict
    monkeypatch.setattr("preceptor.evaluate.predict.predict", None)
    again = pipeline.run(checked, folder=tmp_path / "again", **run_in)
    assert [(r.student, r.arm, r.accuracy, r.macro_f1, r.seconds) for r in again.rows] == [
        (r.student, r.arm, r.accuracy, r.macro_f1, r.seconds) for r in first.rows
    ]
    for one, other in zip(again.rows, first.rows, strict=True):  # probabilities are kept with five decimals
        assert (one.calibration is None) == (other.calibration is None)
        if one.calibration is not None and other.calibration is not None:
            assert one.calibration.brier.value == pytest.approx(other.calibration.brier.value, abs=1e-4)
            assert one.calibration.corrected is not None
    found = compare_runs([tmp_path / "first", tmp_path / "book"], resamples=100)
    assert {(c.gain_accuracy.value, c.p, c.setting) for c in found.comparisons} == {(0.0, 1.0, "default")}
    assert len(found.comparisons) == 3  # both students, and the untrained one
    texts = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "book").iterdir())
    data = tmp_path / "first" / "data" / "default"
    items = [e for part in ("train", "test") for e in read_examples(data / f"{part}.parquet")]
    assert not any(text in texts for item in items for text in item.fields.values())


def test_answers_to_validation_items_correct_the_label_prior_and_old_folders_stay_valid(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [row for row in job.summary.rows if row.kind in ("arm", "untrained")]
    assert rows
    for row in rows:
        assert row.calibration is not None
        assert row.calibration.corrected is not None
        assert row.calibration.corrected.n == sum(job.summary.counts["validation"].values())
        assert (row.agreement is not None) == (row.kind == "arm")
        assert set(row.recall_intervals) == set(row.recall)
    copy = tmp_path / "run"
    shutil.copytree(job.folder, copy)
    for folder in copy.glob("evaluate/*/*/*/seed-*"):  # as an older version left it
        (folder / "validation.parquet").unlink()
        (folder / "evaluated.json").write_text(json.dumps({"cut_prompts": 0}))
    forbid_teacher(monkeypatch)
    before = marks(copy)
    summary = go(check_recipe(job.raw, "test"), copy)
    assert marks(copy) == before
    for old, new in zip(summary.rows, job.summary.rows, strict=True):
        calibration = new.calibration and dataclasses.replace(new.calibration, corrected=None)
        assert old == dataclasses.replace(new, calibration=calibration)


def test_arms_of_a_finished_run_are_compared_and_agree_with_its_report(job: Job, preceptor: Any) -> None:
    said = preceptor("compare", str(job.folder), "--json", "--resamples", "100")
    assert said.status == 0
    found = {(c["baseline"], c["arm"]): c for c in json.loads(said.out)["comparisons"]}
    assert set(found) == {(f"{m}, none", f"{m}, {a}") for m in ("bert", "llama") for a in ("rewrite", "combined")}
    for row in job.summary.rows:
        if row.kind == "arm" and row.arm != "none":
            one = found[f"{row.student}, none", f"{row.student}, {row.arm}"]
            assert row.gain_accuracy is not None
            assert one["gain_accuracy"]["value"] == row.gain_accuracy.value
            assert one["gain_accuracy"]["interval"]["low"] == row.gain_accuracy.interval.low  # type: ignore[union-attr]
            assert len(one["pairs"]) == 2


def test_a_book_of_other_inputs_is_not_believed(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    one = {"bert": demo_models["bert"]}
    run_in = {"base": tmp_path, "command": "preceptor run", "progress": Progress(quiet=True)}
    for rate in (1e-2, 3e-2):
        raw = recipe(one, arms={"none": []}, seeds=[1], results="book")
        raw["train"]["learning_rate"] = rate
        pipeline.run(check_recipe(raw, "book.toml"), folder=tmp_path / f"rate-{rate}", **run_in)
        assert list((tmp_path / f"rate-{rate}").rglob("predictions.parquet"))


@pytest.mark.parametrize(
    ("section", "change", "redone"),
    [
        ("train", {"weight_decay": 0.1}, {"train", "evaluate"}),
        ("filter", {"duplicates": {"max_similarity": 0.96}}, {"filter"}),  # which keeps the same examples
        ("evaluate", {"resamples": 200, "batch_size": 3}, set()),
        ("teacher", {"batch_size": 2, "concurrency": 3}, set()),
    ],
)
def test_a_changed_setting_redoes_what_depends_on_it_and_nothing_else(
    section: str,
    change: dict[str, Any],
    redone: set[str],
    job: Job,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(job.folder, tmp_path / "run"))
    before = marks(folder)
    forbid_teacher(monkeypatch)
    changed = {**job.raw, section: {**job.raw.get(section, {}), **change}}
    if redone == {"train", "evaluate"}:
        changed["arms"] = {"none": [], "rewrite": ["rewrite"]}
        changed["students"] = [entry for entry in job.raw["students"] if entry["name"] == "llama"]
    go(check_recipe(changed, "test"), folder)
    now = marks(folder)
    assert set(now) == set(before)
    touched = {stage for stage in now if now[stage] != before[stage]}
    assert {stage.partition("/")[0] for stage in touched} == redone
    if "train" in redone:
        assert len(touched) == 8  # the two arms and two seeds that are left, in two stages; not the untrained student


# --- killed --------------------------------------------------------------------------------------------------------


def predictions(folder: Path) -> dict[str, Any]:
    return {str(p.relative_to(folder)): read_predictions(p) for p in folder.rglob("predictions.parquet")}


def test_a_run_killed_at_any_moment_goes_on_to_the_same_result(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    raw = recipe(
        {"bert": demo_models["bert"]},
        arms={"none": [], "rewrite": ["rewrite"]},
        filter={"chain": ["wellformed", "duplicates"]},  # without loading the embedder nine times
    )
    raw["train"]["checkpoint_every"] = 1
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(raw))
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    finished: dict[str, int] = {}
    for moment in killed_runs.MOMENTS:
        assert killed_runs.start(path, killed, moment) == -signal.SIGKILL, moment
        assert not (killed / "report.html").exists()
        if moment == "at the third step of training":
            assert len(list(killed.rglob(".checkpoints-seed-1/step-00000002"))) == 1
        now = marks(killed)
        assert {stage: now[stage] for stage in finished} == finished, moment  # what was finished stays as it was
        finished = now
    assert killed_runs.start(path, killed) == 0
    assert killed_runs.start(path, whole) == 0
    assert {stage: time for stage, time in marks(killed).items() if stage in finished} == finished
    assert len(predictions(whole)) == 4
    assert predictions(killed) == predictions(whole)
    for weights in whole.rglob("adapter_model.safetensors"):
        assert (killed / weights.relative_to(whole)).read_bytes() == weights.read_bytes()
    asked = [p.with_suffix(".asked").read_text().splitlines() for p in (killed, whole)]
    assert sorted(asked[0]) == sorted(asked[1])
    assert len(set(asked[0])) == len(asked[0])  # nothing was asked twice
    assert len([line for line in asked[0] if line.startswith("rewrite/")]) == 12
    first, second = (read_json(p / "results.json") for p in (killed, whole))
    for row in (*first["rows"], *second["rows"]):
        row["seconds"] = 0
    assert first["rows"] == second["rows"]
    assert first["funnels"] == second["funnels"]
    assert first["samples"] == second["samples"]
    assert not [p for p in killed.rglob(".*") if p.name != ".lock"]  # nothing half made is left


# --- bad input -----------------------------------------------------------------------------------------------------


class Said:
    """How the command ended and what it wrote."""

    def __init__(self, status: object, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err


@pytest.fixture
def preceptor(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The command, in this process."""

    def command(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["preceptor", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            cli.main()
        return Said(end.value.code, *capsys.readouterr())

    return command


@pytest.fixture
def file(tmp_path: Path, demo_models: dict[str, Path]) -> Path:
    """A good recipe for one student, to be spoilt by the tests."""
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe({"bert": demo_models["bert"]}, seeds=[1])))
    return path


def one_sentence(said: Said, *words: str) -> None:
    """One line that names the fault, perhaps one with a hint, status 1, and nothing else."""
    assert said.status == 1
    lines = [line for line in said.err.splitlines() if not line.startswith(("data:", "augment:", "filter:"))]
    assert lines[0].startswith("Error: ")
    assert len(lines) <= 2
    assert "Traceback" not in said.err + said.out
    assert said.out == ""
    assert all(word in said.err for word in words), said.err


def test_faults_of_a_recipe(preceptor: Any, file: Path, tmp_path: Path) -> None:
    one_sentence(preceptor("run", tmp_path / "none.toml"), "There is no recipe", "none.toml")
    one_sentence(preceptor("run", "no-such-name"), "There is no recipe no-such-name", "demo")
    one_sentence(preceptor("run", file, "--set", "train.rnak=4"), "unknown key 'train.rnak'", "rank")
    file.write_text("name = unquoted")
    one_sentence(preceptor("run", file), "is not valid TOML", "line 1")
    assert list(tmp_path.iterdir()) == [file]  # no run was begun


def test_a_folder_that_cannot_be_written(preceptor: Any, file: Path) -> None:
    one_sentence(preceptor("run", file, "--out", file / "run"), "Cannot write", str(file), "--out")


def test_a_student_that_cannot_be_loaded_is_noticed_before_the_teacher_is_asked(
    preceptor: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forbid_teacher(monkeypatch)
    said = preceptor("run", file, "--out", tmp_path / "run", "--set", "students.bert.model=/no/such/model")
    one_sentence(said, "There is no model folder /no/such/model")
    said = preceptor("run", file, "--out", tmp_path / "run", "--set", "students.bert.model=nobody/nothing")
    one_sentence(said, "The model nobody/nothing cannot be loaded")


def test_data_of_ones_own_that_is_malformed(preceptor: Any, tmp_path: Path, demo_models: dict[str, Path]) -> None:
    own = {
        "labels": ["yes", "no"],
        "prompt": "{{ question }}",
        "inputs": ["question"],
        "fields": {"question": "question"},
        "label": "label",
    }
    raw = recipe(
        {"bert": demo_models["bert"]}, data={"task": "jsonl", "path": "my.jsonl", "split": "seeded", "own": own}
    )
    (tmp_path / "recipe.toml").write_text(tomli_w.dumps(raw))
    one_sentence(preceptor("run", tmp_path / "recipe.toml", "--out", tmp_path / "run"), "my.jsonl")
    rows = [{"question": f"Number {n}?", "label": "yes" if n % 2 else "no"} for n in range(20)]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "my.jsonl").write_text("\n".join([*lines, '{"question": "cut']))
    one_sentence(preceptor("run", tmp_path / "recipe.toml", "--out", tmp_path / "run"), "my.jsonl", "line 21")
    (tmp_path / "my.jsonl").write_text("\n".join([*lines, '{"question": "A?", "label": "perhaps"}']))
    said = preceptor("run", tmp_path / "recipe.toml", "--out", tmp_path / "run")
    one_sentence(said, "my.jsonl", "line 21", "'perhaps'", "yes")


@pytest.fixture
def refusing_endpoint() -> Iterator[str]:
    """An endpoint that takes no key, and repeats the one that it was sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            body = json.dumps({"error": {"message": f"Bad key: {self.headers['Authorization']}"}}).encode()
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            """The teacher hangs up on the other requests at the first refusal."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def endpoint(address: str, *more: str) -> list[str]:
    settings = ["teacher.kind=openai", "teacher.model=some-model", f"teacher.base_url={address}", *more]
    return [word for setting in settings for word in ("--set", setting)]


def test_a_wrong_key_a_missing_one_and_a_silent_endpoint(
    preceptor: Any, file: Path, tmp_path: Path, refusing_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    said = preceptor("run", file, "--out", out, *endpoint(refusing_endpoint, "teacher.key_env=MY_API_KEY"))
    one_sentence(said, "MY_API_KEY")
    monkeypatch.setenv("MY_API_KEY", KEY)
    said = preceptor("run", file, "--out", out, *endpoint(refusing_endpoint, "teacher.key_env=MY_API_KEY"))
    one_sentence(said, "MY_API_KEY", "refused")
    assert KEY not in said.err
    silent = endpoint("http://127.0.0.1:9/v1", "teacher.key_env=MY_API_KEY", "teacher.retries=0")
    said = preceptor("run", file, "--out", out, *silent)
    one_sentence(said, "127.0.0.1:9")
    assert KEY not in said.err
    found = [p for p in out.rglob("*") if p.is_file() and KEY.encode() in p.read_bytes()]
    assert not found
    assert (out / "data" / "default" / MARK).is_file()  # what was finished is kept


def test_training_on_the_papers_split_and_scoring_on_the_official_test_is_refused(
    preceptor: Any, data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    said = preceptor(
        "run", REPOSITORY / "recipes" / "pubmedqa.toml", "--out", tmp_path / "run", "--set", "data.train_split=paper"
    )
    one_sentence(said, "218 training items", "'paper'", "'official'")


def test_an_interrupt_and_an_unforeseen_full_disk_are_said_in_words(
    preceptor: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*arguments: object, **keywords: object) -> None:
        raise KeyboardInterrupt

    def full(*arguments: object, **keywords: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere/report.html")

    monkeypatch.setattr(pipeline, "run", stop)
    said = preceptor("run", file, "--out", tmp_path / "run")
    assert said.status == 130
    assert f"go on with:\npreceptor run {file} --out {tmp_path / 'run'}" in said.err
    monkeypatch.setattr(pipeline, "run", full)
    one_sentence(preceptor("run", file, "--out", tmp_path / "run"), "/somewhere/report.html: no space left on device")


def test_the_installed_command_ends_the_same_way(file: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "preceptor", "run", file, "--set", "x=1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    one_sentence(Said(done.returncode, done.stdout, done.stderr), "unknown key 'x'")


def test_a_whole_run_from_the_command_ends_with_the_report(
    preceptor: Any,
    job: Job,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(job.folder, tmp_path / "run"))
    file.write_text(tomli_w.dumps(job.raw))
    monkeypatch.setattr(sys, "argv", ["preceptor", "run", str(file), "--out", str(folder), "--quiet"])
    forbid_teacher(monkeypatch)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert not end.value.code
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    assert 4 <= len(lines) <= 6  # the result in a few lines, and where the report is
    assert lines[-1] == f"Report: {(folder / 'report.html').resolve()}"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ('evaluate.read="generation"', "needs language models"),
        ('train.method="prefix"', "needs a language model"),
        ('train.targets=["nope"]', "cannot take method 'lora'"),
        ("seeds=[-1]", "seeds.0 = -1"),
    ],
)
def test_what_cannot_work_is_refused_before_the_teacher_is_asked(
    preceptor: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, override: str, said: str
) -> None:
    forbid_teacher(monkeypatch)
    overrides = ("--set", override, "--set", "train.max_length=24", "--set", "train.virtual_tokens=4")
    one_sentence(preceptor("run", file, "--out", tmp_path / "run", *overrides), said)


def test_a_folder_that_holds_something_else_is_left_alone(preceptor: Any, file: Path, tmp_path: Path) -> None:
    other = tmp_path / "photos"
    (other / "data").mkdir(parents=True)
    (other / "data" / "cat.jpg").write_text("meow")
    one_sentence(preceptor("run", file, "--out", other), "is not empty and holds no run")
    assert (other / "data" / "cat.jpg").read_text() == "meow"
