"""Arms and controls through a whole run: equal steps for all, and each trained on what it says and nothing else."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from preceptor.config import check_recipe
from preceptor.errors import RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.zero_shot import GENERATION, LIKELIHOOD
from preceptor.progress import Progress
from preceptor.records import Example, RunSummary
from preceptor.store.stages import MARK, read_json
from preceptor.store.tables import read_dropped, read_examples
from preceptor.teachers.scripted import ScriptedTeacher
from preceptor.train import cell as cell_module
from preceptor.train.batches import stream

ARMS: dict[str, Any] = {
    "none": [],
    "rewrite": ["rewrite"],
    "new": ["new"],
    "combined": ["rewrite", "new"],
    "edit": ["edit"],
    "synthetic-only": {"use": ["rewrite"], "real": False},
    "shuffled": {"use": ["rewrite"], "labels": "shuffled", "seed": 5},
}
TRAIN = {"rank": 4, "learning_rate": 1e-2, "epochs": 2, "batch_size": 6, "max_length": 300, "dtype": "float32"}


def recipe(model: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "arms",
        "title": "Arms and controls",
        "seeds": [1],
        "data": {"task": "demo", "max_train": 24, "max_test": 12},
        "teacher": {"kind": "scripted"},
        "arms": ARMS,
        "train": TRAIN,
        "students": [{"name": "small", "model": str(model)}],
        "evaluate": {"resamples": 100},
        **changes,
    }


def go(raw: dict[str, Any], folder: Path) -> RunSummary:
    checked = check_recipe(raw, "test")
    return pipeline.run(checked, folder=folder, base=folder.parent, command="", progress=Progress(quiet=True))


def kept(folder: Path, strategy: str) -> list[Example]:
    return list(read_examples(folder / "filter" / "default" / strategy / "kept.parquet"))


class Seen:
    """What the training of every cell was given, and what its first batches held."""

    def __init__(self) -> None:
        self.examples: dict[str, list[Example]] = {}
        self.batches: dict[str, list[Any]] = {}
        self.steps: dict[str, int] = {}


@pytest.fixture(scope="module")
def seen_and_run(
    tmp_path_factory: pytest.TempPathFactory, demo_models: dict[str, Path]
) -> tuple[Seen, RunSummary, Path]:
    seen, folder = Seen(), tmp_path_factory.mktemp("arms") / "run"
    equipped, fit = cell_module.equipped, cell_module.fit
    arm = itertools.chain(ARMS)

    def noting(student: Any, task: Any, examples: Any, items: Any, *more: Any) -> Any:
        name = next(arm)
        found = equipped(student, task, examples, items, *more)
        seen.examples[name] = list(examples)
        assert len(found) == len(examples)
        return found

    def fitting(student: Any, items: Any, held_out: Any, settings: Any, *, steps: int, seed: int, **more: Any) -> Any:
        name = list(seen.examples)[-1]
        seen.steps[name] = steps
        whole = -(-len(items) // settings.batch_size)
        seen.batches[name] = list(itertools.islice(stream(items, settings, seed), whole))
        return fit(student, items, held_out, settings, steps=steps, seed=seed, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_module, "equipped", noting)
        patch.setattr(cell_module, "fit", fitting)
        summary = go(recipe(demo_models["bert"]), folder)
    return seen, summary, folder


def test_every_arm_takes_the_same_number_of_steps(seen_and_run: tuple[Seen, RunSummary, Path]) -> None:
    seen, summary, folder = seen_and_run
    assert list(seen.steps) == list(ARMS)
    assert set(seen.steps.values()) == {8}  # 24 real items in batches of 6, twice, also where none is trained on
    rows = {row.arm: row for row in summary.rows if row.kind == "arm"}
    assert {row.steps for row in rows.values()} == {8}
    for name in ARMS:
        record = read_json(folder / "train" / "default" / "small" / name / "seed-1" / "fit.json")
        assert len(record["losses"]) == record["steps"] == 8


def test_batches_hold_what_the_arm_says_and_nothing_else(seen_and_run: tuple[Seen, RunSummary, Path]) -> None:
    seen, summary, folder = seen_and_run
    real = Counter(e.id for e in read_examples(folder / "data" / "default" / "train.parquet"))
    made = {name: kept(folder, name) for name in ("rewrite", "new", "edit")}
    assert all(made.values())
    for name, given in ARMS.items():
        arm = given if isinstance(given, dict) else {"use": given}
        ids = Counter(e.id for e in seen.examples[name])
        assert ids == (real if arm.get("real", True) else Counter()) + Counter(
            e.id for strategy in arm["use"] for e in made[strategy]
        )
        # One pass of the batches holds each of them once: its text as tokens, with its label.
        assert sum(len(batch) for batch in seen.batches[name]) == len(seen.examples[name])
        families = Counter(item.family for batch in seen.batches[name] for item in batch)
        assert set(families) <= {e.id for e in seen.examples[name]} | {p for e in made["rewrite"] for p in e.parents}
    row = {row.arm: (row.real_items, row.generated_items) for row in summary.rows if row.kind == "arm"}
    assert row["synthetic-only"] == (0, len(made["rewrite"]))
    assert row["none"] == (24, 0)


def test_synthetic_only_never_sees_a_real_item(seen_and_run: tuple[Seen, RunSummary, Path]) -> None:
    seen, _, _ = seen_and_run
    assert {e.origin for e in seen.examples["synthetic-only"]} == {"rewrite"}
    real = {item.prompt for batch in seen.batches["none"] for item in batch}
    assert real
    assert not real & {item.prompt for batch in seen.batches["synthetic-only"] for item in batch}
    assert real <= {item.prompt for batch in seen.batches["rewrite"] for item in batch}


def test_shuffled_labels_are_a_permutation_within_the_generated_part(
    seen_and_run: tuple[Seen, RunSummary, Path],
) -> None:
    seen, summary, _ = seen_and_run
    plain, mixed = seen.examples["rewrite"], seen.examples["shuffled"]
    assert [(e.id, e.fields) for e in plain] == [(e.id, e.fields) for e in mixed]
    assert [e.label for e in plain[:24]] == [e.label for e in mixed[:24]]  # the real part
    assert Counter(e.label for e in plain) == Counter(e.label for e in mixed)
    changed = sum(a.label != b.label for a, b in zip(plain, mixed, strict=True))
    assert changed
    prompts = {arm: sorted(i.prompt for b in seen.batches[arm] for i in b) for arm in ("rewrite", "shuffled")}
    assert prompts["rewrite"] == prompts["shuffled"]
    of_labels = {arm: Counter(i.label for b in seen.batches[arm] for i in b) for arm in ("rewrite", "shuffled")}
    assert of_labels["rewrite"] == of_labels["shuffled"]
    (row,) = [row for row in summary.rows if row.arm == "shuffled"]
    generated = len(plain) - 24
    assert row.remark.startswith(f"labels permuted with seed 5; another label than before: {changed} of {generated}")
    # A text whose label changed no longer counts as one that says what its parent says.
    families = Counter(item.family for batch in seen.batches["shuffled"] for item in batch)
    assert sum(name.endswith("-rewrite-0") for name in families) == changed


def test_edits_ask_nobody_and_go_through_the_filters_that_mean_something_for_them(
    seen_and_run: tuple[Seen, RunSummary, Path],
) -> None:
    _, summary, folder = seen_and_run
    funnels = {f.strategy: f for f in summary.funnels}
    assert list(funnels["edit"].dropped) == ["duplicates", "leakage"]
    assert list(funnels["rewrite"].dropped) == ["wellformed", "drift", "duplicates", "leakage"]
    assert funnels["edit"].asked == funnels["edit"].candidates == 24
    gone = read_dropped(folder / "filter" / "default" / "edit" / "dropped.parquet")
    assert funnels["edit"].kept + len(gone) == 24
    assert set(summary.spend) == {"scripted"}
    validation = sum(summary.counts["validation"].values())
    assert summary.spend["scripted"].calls == 24 + 24 + validation  # rewrite, new, and what it knows itself


def test_the_report_says_what_the_controls_tell(seen_and_run: tuple[Seen, RunSummary, Path]) -> None:
    _, _, folder = seen_and_run
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "if shuffled does as well as rewrite, the labels of the generated part carried nothing" in page
    table = (folder / "results.txt").read_text(encoding="utf-8")
    assert "small, edit (control, 1 seed)" in table
    assert "small, combined (1 seed)" in table
    assert read_json(folder / "results.json")["arms"]["shuffled"] == {
        "use": ["rewrite"], "real": True, "shuffled": True, "teacher": "", "settings": [],
    }  # fmt: skip


def test_what_the_teacher_says_itself_is_asked_once_on_validation_items_only(
    seen_and_run: tuple[Seen, RunSummary, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, summary, folder = seen_and_run
    validation = read_examples(folder / "data" / "default" / "validation.parquet")
    said = read_json(folder / "augment" / "default" / "zero-shot" / "said.json")
    assert said["reading"] == GENERATION
    rows = {row.arm: row for row in summary.rows if row.kind == "arm"}
    score = rows["rewrite"].teacher
    assert score is not None
    assert (score.n, score.teacher) == (len(validation), "scripted")
    assert score.accuracy.value == said["right"] / len(validation)
    assert score.accuracy.interval is not None
    assert score.accuracy.interval.method == "wilson"
    assert sum(score.outcomes.values()) == len(validation)
    assert {name for name, row in rows.items() if row.teacher} == set(ARMS) - {"none", "edit"}

    def asked(self: ScriptedTeacher, request: Any) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr(ScriptedTeacher, "_answer", asked)
    raw = read_recipe_of(folder)
    again = go(raw, folder)
    assert again.rows == summary.rows
    assert again.spend == summary.spend
    marks = {p: p.stat().st_mtime_ns for p in (folder / "evaluate").rglob(MARK)}
    off = go({**raw, "evaluate": {**raw["evaluate"], "teacher": False}}, folder)
    assert not any(row.teacher for row in off.rows)
    assert {p: p.stat().st_mtime_ns for p in (folder / "evaluate").rglob(MARK)} == marks  # no cell depends on it


def read_recipe_of(folder: Path) -> dict[str, Any]:
    import tomllib

    return tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))


def test_a_teacher_on_this_machine_is_read_by_likelihood_as_an_untrained_student_is(
    tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    from preceptor.config import EvaluateSettings
    from preceptor.evaluate.predict import predict
    from preceptor.models.student import open_student
    from preceptor.pipeline.label_run import Run
    from preceptor.pipeline.label_teachers import make_writers
    from preceptor.pipeline.zero_shot import read_score, zero_shot
    from preceptor.store.ledger import Ledger

    teacher = {"kind": "local", "model": str(demo_models["llama"])}
    checked = check_recipe(recipe(demo_models["bert"], teacher=teacher), "test")
    state = Run(checked, tmp_path, tmp_path, Progress(quiet=True), "")
    pipeline.load_data(state)
    with Ledger(":memory:") as ledger:
        writer = make_writers(checked, tmp_path)[""]
        folder = zero_shot(state, "default", writer, ledger)
    score, asked = read_score(folder, checked, state.datasets["default"])
    task, items = state.datasets["default"].task, state.datasets["default"].validation
    targets = [task.target(label) for label in task.labels]
    student = open_student(
        teacher["model"], "causal", task.labels, targets, max_length=320, reserve=0, dtype="auto", seed=0
    )
    expected = predict(student, task, items, EvaluateSettings()).predictions
    assert score.reading == LIKELIHOOD
    assert score.accuracy.value == sum(p.label == p.gold for p in expected) / len(items)
    assert score.outcomes == {"answered": len(items)}
    shared = [replace(item, fields={**item.fields, "group": str(i // 4)}) for i, item in enumerate(items)]
    dataset = replace(state.datasets["default"], validation=tuple(shared))
    grouped, _ = read_score(folder, checked, dataset)
    for one, before in ((grouped.accuracy, score.accuracy), (grouped.floor, score.floor)):
        assert one.value == before.value
        assert before.interval is not None
        assert one.interval is not None
        assert (before.interval.method, one.interval.method) == ("wilson", "bootstrap of whole contexts")
    assert asked["spend"]["calls"] == 0


def test_an_arm_of_which_nothing_was_kept_is_not_run(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    arms = {
        "none": [], "rewrite": ["rewrite"], "both": ["rewrite", "edit"],
        "mixed": {"use": ["rewrite"], "labels": "shuffled"},
    }  # fmt: skip
    raw = recipe(demo_models["bert"], arms=arms, filter={"wellformed": {"min_words": 500}})
    summary = go(raw, tmp_path / "run")
    rows = {row.arm: row for row in summary.rows if row.kind == "arm"}
    assert list(rows) == list(arms)  # in the order of the recipe
    for name in ("rewrite", "mixed"):
        assert rows[name].missing == "not run: nothing was kept"
        assert rows[name].accuracy is rows[name].gain_accuracy is None
        assert not (tmp_path / "run" / "train" / "default" / "small" / name).exists()
    assert rows["both"].generated_items > 0
    assert rows["both"].remark == "nothing was kept of rewrite"
    assert "not run: nothing was kept" in (tmp_path / "run" / "results.txt").read_text(encoding="utf-8")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "The arm rewrite was not run: nothing was kept; the arm mixed was not run: nothing was kept." in page


def test_labels_that_hardly_differ_are_said_to_prove_little(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    own = {
        "labels": ["yes", "no"],
        "prompt": "question: {{ question }} answer:",
        "inputs": ["question"],
        "fields": {"question": "question"},
        "label": "label",
    }
    lines = [
        {"question": f"Does the drug number {n} improve pain in the group of {n + 3} patients?", "label": label}
        for n in range(40)
        for label in ["no" if n in (1, 12, 23) else "yes"]
    ]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, lines)))
    arms = {"none": [], "mixed": {"use": ["edit"], "labels": "shuffled"}}
    data = {"task": "jsonl", "path": "my.jsonl", "split": "seeded", "own": own}
    loose = {"duplicates": {"max_similarity": 1.0}, "leakage": {"max_similarity": 1.0}, "chain": ["duplicates"]}
    summary = go(recipe(demo_models["bert"], arms=arms, data=data, filter=loose, teacher={}), tmp_path / "run")
    (row,) = [row for row in summary.rows if row.arm == "mixed"]
    assert row.generated_items > 10
    assert row.remark.endswith("so few differ in label that this says little")
    assert summary.spend == {}  # no teacher was even made


def test_published_items_join_by_their_parents(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    own = {
        "labels": ["yes", "no"],
        "prompt": "question: {{ question }} answer:",
        "inputs": ["question"],
        "fields": {"question": "q", "why": "why"},
        "label": "label",
        "id": "key",
        "rationale": "why",
    }
    names = "aspirin zinc iron tea milk honey sleep walking music light rest salt bread rice fish soup".split()  # noqa: SIM905
    lines = [
        {
            "key": f"k{n}",
            "q": f"Does taking {name} make {n + 2} of the patients better in a week?",
            "why": "So.",
            "label": "yes" if n % 2 else "no",
        }
        for n, name in enumerate(names)
    ]
    published = [
        *({"of": line["key"], "q": f"Is it so that {line['q'][11:-1]}?", "label": line["label"]} for line in lines),
        {"of": "k0", "q": lines[0]["q"], "label": "no"},  # the original itself
        {"of": "k99", "q": "Does a parent that nobody knows help anybody at all?", "label": "no"},
    ]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (tmp_path / "back.jsonl").write_text("\n".join(map(json.dumps, published)))
    raw = recipe(
        demo_models["bert"],
        arms={"none": [], "published": ["published"]},
        data={"task": "jsonl", "path": "my.jsonl", "split": "seeded", "own": own},
        augment={"published": "back.jsonl", "published_parent": "of"},
    )
    summary = go(raw, tmp_path / "run")
    train = {e.id for e in read_examples(tmp_path / "run" / "data" / "default" / "train.parquet")}
    made = kept(tmp_path / "run", "published")
    assert made
    assert {p for e in made for p in e.parents} <= train
    assert all(e.fields["why"] == "So." and e.origin == "published" for e in made)
    gone = read_dropped(tmp_path / "run" / "filter" / "default" / "published" / "dropped.parquet")
    reasons = Counter(verdict.reason for _, _, verdict in gone)
    assert reasons["parent_unknown"] == 1
    assert reasons["parent_held_out"] == sum(item["of"] not in train for item in published) - 1
    assert summary.spend == {}
    (row,) = [row for row in summary.rows if row.arm == "published"]
    assert row.generated_items == len(made)
    (tmp_path / "back.jsonl").write_text('{"q": "Does it help anybody?", "label": "yes"}')
    with pytest.raises(Exception, match=r"back\.jsonl.*line 1.*'of' is missing"):
        go(raw, tmp_path / "other")


def test_only_edits_of_a_context_that_there_is(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    own = {"labels": ["yes", "no"], "prompt": "{{ q }}", "inputs": ["q"], "fields": {"q": "q"}, "label": "l"}
    lines = [{"q": f"Number {n}?", "l": "yes" if n % 2 else "no"} for n in range(20)]
    (tmp_path / "my.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = {"task": "jsonl", "path": "my.jsonl", "split": "seeded", "own": own}
    raw = recipe(demo_models["bert"], arms={"edit": ["edit"]}, data=data, augment={"edit": "context"})
    with pytest.raises(RecipeError, match=r"augment\.edit"):
        go(raw, tmp_path / "run")
