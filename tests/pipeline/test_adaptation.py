"""An adaptation from recipe to model folder: done once, resumed, used by another recipe; leaks are caught."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from transformers import AutoModelForCausalLM

import tiny
from preceptor import cli
from preceptor.config import AdaptRecipe, check_adapt_recipe, check_recipe, read_recipe
from preceptor.errors import DataError, PartFinished, RecipeError
from preceptor.pipeline import adaptation, documents, labels
from preceptor.progress import Progress
from preceptor.records import AdaptSummary
from preceptor.store.stages import MARK, made_by, read_json
from preceptor.store.tables import read_rows

SYLLABLES = ["ba", "ke", "lo", "mi", "nu", "pra", "ste", "dri", "fon", "gal", "hem", "jor", "tik", "wup"]
VOCABULARY = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES[:4]]
"""784 words that nobody uses."""


def text(number: int, words: int = 60) -> str:
    """A made-up document: every other word or so is one of twenty frequent ones, which a model learns soon."""
    draws = random.Random(number)
    return " ".join(draws.choice(VOCABULARY[:20] if draws.random() < 0.5 else VOCABULARY) for _ in range(words)) + "."


def write_texts(path: Path, texts: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": one}) + "\n" for one in texts), encoding="utf-8")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("adapted-model") / "llama", "llama", VOCABULARY, window=64)


def raw(model: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "adaptation",
        "title": "Does it help?",
        "adapt": {"model": str(model), "length": 32, "test_documents": 8, "validation_documents": 4},
        "sources": [{"path": "texts"}],
        "train": {"method": "full", "learning_rate": 1e-2, "steps": 12, "batch_size": 4, "dtype": "float32"},
        "evaluate": {"resamples": 200},
        **changes,
    }


def recipe(model: Path, **changes: Any) -> AdaptRecipe:
    return check_adapt_recipe(raw(model, **changes), "test")


def go(checked: AdaptRecipe, base: Path, minutes: float | None = None) -> AdaptSummary:
    given: dict[str, Any] = {"folder": base / "run", "base": base, "command": "preceptor run adaptation.toml"}
    return adaptation.run_adaptation(checked, **given, progress=Progress(quiet=True), minutes=minutes)


def marks(folder: Path) -> dict[str, int]:
    return {str(p.parent.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob(MARK)}


class Job:
    """One finished run that several tests look at."""

    def __init__(self, base: Path, model: Path) -> None:
        self.base, self.folder = base, base / "run"
        write_texts(base / "texts" / "a.jsonl", [text(i) for i in range(60)])
        write_texts(base / "texts" / "b.jsonl", [text(0), "", *(text(i) for i in range(60, 80))])
        write_texts(base / "secret.jsonl", [text(5), text(70), text(999)])
        self.recipe = recipe(model, exclude={"secret": {"source": {"path": "secret.jsonl"}}})
        self.summary = go(self.recipe, base)


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Job:
    return Job(tmp_path_factory.mktemp("adaptation"), model)


# --- what a run leaves ---------------------------------------------------------------------------------------------


def test_a_run_leaves_everything_that_was_promised(job: Job) -> None:
    stages = {"data", "train", "model", "evaluate/before", "evaluate/after"}
    assert set(marks(job.folder)) == stages
    assert {"recipe.toml", "provenance.json", "results.json", "report.html"} <= {p.name for p in job.folder.iterdir()}
    assert read_recipe(job.folder / "recipe.toml") == job.recipe
    assert not [p for p in job.folder.rglob(".*") if p.name != ".lock"]
    assert read_json(job.folder / "results.json")["adapted"] == str(job.folder / "model")


def test_perplexity_falls_and_is_that_of_the_model_in_the_folder(job: Job) -> None:
    from preceptor.evaluate.perplexity import Text, perplexity, read_losses

    change = job.summary.change
    assert change is not None
    assert change.ratio.interval is not None
    assert change.ratio.interval.high < 1
    assert change.documents == 8
    test = [Text(row["id"], row["text"]) for row in read_rows(job.folder / "data" / "test.parquet")]
    for folder, shown in ((job.recipe.adapt.model, change.before), (str(job.folder / "model"), change.after)):
        again = perplexity(read_losses(folder, test, length=32, dtype="float32"), 200, 0)
        assert again is not None
        assert again.value == pytest.approx(shown.value)


def test_documents_add_up_and_every_drop_has_its_reason(job: Job) -> None:
    summary = job.summary
    assert summary.read == 82 == sum(summary.dropped.values()) + sum(summary.documents.values())
    assert summary.excluded == {"secret": 3}
    dropped = {row["id"]: row for row in read_rows(job.folder / "data" / "dropped.parquet")}
    assert dropped["b.jsonl:1"]["reason"] == "copy"
    assert dropped["b.jsonl:1"]["detail"] == "same words as a.jsonl:1"
    assert dropped["b.jsonl:2"]["reason"] == "empty"
    held_out = {r["id"] for part in ("test", "validation") for r in read_rows(job.folder / "data" / f"{part}.parquet")}
    secret = {"a.jsonl:6", "b.jsonl:13"} - held_out
    assert secret
    assert all(dropped[name]["against"] == "secret" and dropped[name]["reason"] == "exact" for name in secret)


def test_the_report_says_what_came_out_and_what_was_read(job: Job) -> None:
    page = (job.folder / "report.html").read_text(encoding="utf-8")
    assert "Perplexity of 8 held-out documents fell from" in page
    assert "through windows of 32 tokens that move on by half of that" in page
    assert "dropped: exact (secret)" in page
    assert "preceptor run adaptation.toml" in page
    assert '<polyline class="course"' in page
    assert page.count('<circle class="dot arm"') >= len(job.summary.fit["checks"]) + 1


# --- twice, in parts, changed --------------------------------------------------------------------------------------


def test_a_second_run_does_nothing(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    before = marks(job.folder)
    results = (job.folder / "results.json").read_bytes()
    for name in ("try_out", "train", "merge", "evaluate_before", "evaluate_after"):
        monkeypatch.setattr(adaptation, name, _must_not_run)
    monkeypatch.setattr(documents, "without_leaks", _must_not_run)
    go(job.recipe, job.base, minutes=0)
    assert marks(job.folder) == before
    assert (job.folder / "results.json").read_bytes() == results


def _must_not_run(*_args: object, **_keys: object) -> None:
    raise AssertionError("a finished stage was done again")


def test_a_run_in_parts_goes_on_where_it_ended(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_texts(tmp_path / "texts" / "a.jsonl", [text(i) for i in range(40)])
    checked = recipe(model)
    with pytest.raises(PartFinished, match="Stages left: 4"):
        go(checked, tmp_path, minutes=0)
    assert set(marks(tmp_path / "run")) == {"data"}

    def killed(state: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(adaptation, "merge", killed)
        with pytest.raises(KeyboardInterrupt):
            go(checked, tmp_path)
    kept = marks(tmp_path / "run")
    assert set(kept) == {"data", "evaluate/before", "train"}
    assert go(checked, tmp_path).change is not None
    now = marks(tmp_path / "run")
    assert {name: now[name] for name in kept} == kept

    # Other training leaves the documents and what the untrained model made of them.
    go(recipe(model, seed=2), tmp_path)
    other = marks(tmp_path / "run")
    assert {name for name in other if other[name] == now[name]} == {"data", "evaluate/before"}


# --- other recipes name the model ----------------------------------------------------------------------------------


def test_a_recipe_for_labels_takes_the_folder_as_a_student_and_knows_a_new_model(
    job: Job, tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    adapted = tmp_path / "model"
    made = recipe(demo_models["llama"], train={**raw(demo_models["llama"])["train"], "steps": 2})
    for seed in (1, 2):
        write_texts(tmp_path / str(seed) / "texts" / "a.jsonl", [text(i) for i in range(40)])
        go(made.model_copy(update={"seed": seed}), tmp_path / str(seed))
    checked = check_recipe(
        {
            "name": "downstream",
            "title": "Does it help?",
            "seeds": [1],
            "data": {"task": "demo", "max_train": 6, "max_test": 6},
            "arms": {"none": []},
            "train": {"steps": 1, "batch_size": 2, "max_length": 300, "dtype": "float32"},
            "students": [{"name": "adapted", "model": str(adapted), "untrained": False}],
            "evaluate": {"resamples": 100},
        },
        "test",
    )
    given: dict[str, Any] = {
        "folder": tmp_path / "down",
        "base": tmp_path,
        "command": "c",
        "progress": Progress(quiet=True),
    }
    seen = []
    for seed in (1, 2):
        if adapted.is_symlink():
            adapted.unlink()
        adapted.symlink_to(tmp_path / str(seed) / "run" / "model")
        summary = labels.run(checked, **given)
        assert any(row.student == "adapted" for row in summary.rows)
        seen.append(
            read_json(tmp_path / "down" / "train" / "default" / "adapted" / "none" / "seed-1" / MARK)["identity"]
        )
    assert seen[0] != seen[1]  # under the same name lies another model: its results are not the first one's


def test_only_a_model_that_a_run_made_says_what_made_it(job: Job, model: Path) -> None:
    assert made_by(str(job.folder / "model")) == {"made_by": read_json(job.folder / "model" / MARK)["identity"]}
    assert made_by(str(model)) == {} == made_by("builtin:smollm2-135m-instruct") == made_by("~nobody-of-this-name/x")


def test_a_local_teacher_that_was_made_anew_is_asked_anew(job: Job, model: Path) -> None:
    from preceptor.config import TeacherSettings
    from preceptor.records import Message, Request, Sampling
    from preceptor.teachers.local import LocalTeacher

    request = Request((Message("user", "Why?"),), Sampling(), "item", 0)
    plain = LocalTeacher(TeacherSettings(kind="local", model=str(model)))
    assert plain.key(request) == request.key(str(model))  # what was answered before is still found
    adapted = LocalTeacher(TeacherSettings(kind="local", model=str(job.folder / "model")))
    assert adapted.key(request) != request.key(str(job.folder / "model"))
    AutoModelForCausalLM.from_pretrained(job.folder / "model")


# --- bad input -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapt": {"length": 32}}, "the key 'adapt.model' is missing"),
        ({"adapt": {"model": "m", "lenght": 3}}, "unknown key 'adapt.lenght'"),
        ({"adapt": {"model": "m", "length": 4}}, "adapt.length = 4"),
        ({"sources": []}, "at least one [[sources]] entry is needed"),
        ({"train": {"method": "prefix"}}, "cannot become part of the model's own weights"),
        ({"train": {"select": "accuracy"}}, "needs labels"),
        ({"train": {"objectives": {"label": 1, "contrastive": 1}}}, "train.objectives is for tasks with labels"),
        ({"train": {"max_length": 100}}, "set adapt.length"),
        ({"exclude": {"x": {}}}, "needs exactly one of data and source"),
        ({"exclude": {"x": {"data": {"task": "demo"}, "parts": []}}}, "nothing would be excluded"),
    ],
)
def test_a_wrong_recipe_is_one_sentence(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(raw(Path("m"), **changes)))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert caught.value.message.startswith(f"{path}: ")
    assert words in str(caught.value)


def test_another_model_takes_the_place_of_the_recipes(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(raw(Path("m"))))
    checked = read_recipe(path, [], "other/model")
    assert isinstance(checked, AdaptRecipe)
    assert checked.adapt.model == "other/model"


@pytest.fixture
def refused(tmp_path: Path) -> Callable[[AdaptRecipe], str]:
    def said(checked: AdaptRecipe) -> str:
        with pytest.raises((DataError, RecipeError)) as caught:
            go(checked, tmp_path)
        assert not list((tmp_path / "run").rglob(MARK))
        return str(caught.value)

    write_texts(tmp_path / "texts" / "a.jsonl", [text(i) for i in range(40)])
    return said


def test_an_encoder_is_refused_before_documents_are_compared(
    refused: Callable[[AdaptRecipe], str], tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "without_copies", _must_not_run)
    assert "is an encoder" in refused(recipe(tiny_models["bert"]))


def test_a_window_that_is_too_long_and_too_few_documents_are_refused(
    refused: Callable[[AdaptRecipe], str], model: Path
) -> None:
    adapt = raw(model)["adapt"]
    assert "can see, 64 tokens" in refused(recipe(model, adapt={**adapt, "length": 65}))
    assert "There are 40 different documents; 28 are held out" in refused(
        recipe(model, adapt={**adapt, "test_documents": 24})
    )
    assert "is missing" in refused(recipe(model, sources=[{"path": "texts", "text": "body"}]))


def test_when_leaks_leave_too_little_it_is_said(refused: Callable[[AdaptRecipe], str], model: Path) -> None:
    exclude = {"all": {"source": {"path": "texts"}}}
    assert "Of 28 training documents 0 are left, fewer than the 12 that are held out" in refused(
        recipe(model, exclude=exclude)
    )


def test_a_run_does_not_train_on_the_folder_that_it_writes(job: Job) -> None:
    adapt = {**raw(job.folder / "model")["adapt"]}
    with pytest.raises(RecipeError, match="is the folder that this run writes its own model into"):
        go(recipe(job.folder / "model", adapt=adapt), job.base)


def test_the_command_line_runs_it_and_asks_no_teacher(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_texts(tmp_path / "texts" / "a.jsonl", [text(i) for i in range(40)])
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(raw(Path("m"))))
    command = [str(path), "--out", str(tmp_path / "run"), "--quiet", "--student", str(model), "--set", "train.steps=2"]
    monkeypatch.setattr("sys.argv", ["preceptor", "run", *command])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "Perplexity of 8 held-out documents" in said
    assert "report.html" in said
    monkeypatch.setattr("sys.argv", ["preceptor", "estimate", str(path)])
    with pytest.raises(SystemExit):
        cli.main()
    assert "No teacher is asked" in capsys.readouterr().out
