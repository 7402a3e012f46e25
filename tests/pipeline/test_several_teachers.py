"""Several teachers in one recipe: who wrote for which arm, what each knows itself, and what is asked only once."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import pytest

from preceptor.config import TeacherSettings, check_recipe
from preceptor.errors import BudgetError, RecipeError, TeacherError
from preceptor.pipeline import label_teachers
from preceptor.pipeline import labels as pipeline
from preceptor.pipeline.label_forecast import estimate
from preceptor.progress import Progress
from preceptor.records import Example, Request, RunSummary
from preceptor.store.stages import MARK, read_json
from preceptor.store.tables import read_examples
from preceptor.teachers.base import Answer
from preceptor.teachers.make import make_teacher
from preceptor.teachers.scripted import ScriptedTeacher, follow_rules
from preceptor.train import cell as cell_module

ARMS: dict[str, Any] = {
    "none": [],
    "rewrite-a": ["rewrite"],
    "combined-a": ["rewrite", "new"],
    "rewrite-b": {"use": ["rewrite"], "teacher": "other"},
    "combined-b": {"use": ["rewrite", "new", "edit"], "teacher": "other"},
    "mixed-b": {"use": ["rewrite"], "labels": "shuffled", "teacher": "other"},
}
TRAIN = {"rank": 4, "learning_rate": 1e-2, "epochs": 1, "batch_size": 6, "max_length": 300, "dtype": "float32"}
OWN = {"usual": "In view of this, ", "second": "Seen that way, "}
"""What each teacher begins its questions with."""


class Named(ScriptedTeacher):
    """The scripted teacher under its model's name, with openings of its own; the second says yes to all."""

    asked: ClassVar[Counter[str]] = Counter()

    def __init__(self, settings: TeacherSettings) -> None:
        super().__init__(self.write)
        self._named = settings.model

    @property
    def name(self) -> str:
        return self._named

    def write(self, request: Request) -> str:
        Named.asked[self._named] += 1
        if self._named == "second" and "exactly one of these words" in request.messages[0].content:
            return "yes"
        said = follow_rules(request)
        for opening in ("Judging by the findings, ", "Going by the data, ", "According to the results, "):
            said = said.replace(opening, OWN[self._named])
        return said


@pytest.fixture(autouse=True)
def named_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    # By the fixture that the tests use too: a patch of another order of undoing would outlive them.
    monkeypatch.setattr(label_teachers, "make_teacher", lambda settings, folder, say=None: Named(settings))
    Named.asked.clear()


def recipe(model: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "teachers",
        "title": "Two teachers",
        "seeds": [1],
        "data": {"task": "demo", "max_train": 18, "max_test": 9},
        "teacher": {"kind": "scripted", "model": "usual"},
        "teachers": {"other": {"kind": "scripted", "model": "second"}},
        "arms": ARMS,
        "train": TRAIN,
        "students": [{"name": "small", "model": str(model)}],
        "evaluate": {"resamples": 100},
        **changes,
    }


def go(raw: dict[str, Any], folder: Path) -> RunSummary:
    checked = check_recipe(raw, "test")
    return pipeline.run(checked, folder=folder, base=folder.parent, command="", progress=Progress(quiet=True))


def kept(folder: Path, made: str) -> list[Example]:
    return list(read_examples(folder / "filter" / "default" / made / "kept.parquet"))


def words_of(example: Example) -> str:
    return " | ".join([example.id, *example.fields.values()])


Done = tuple[dict[str, list[Example]], RunSummary, Path]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, demo_models: dict[str, Path]) -> Done:
    """What every arm was trained on, the summary, and the run's folder."""
    folder, seen = tmp_path_factory.mktemp("teachers") / "run", dict[str, list[Example]]()
    equipped = cell_module.equipped
    names = iter([(student, arm) for student in ("small", "large") for arm in ARMS])

    def noting(student: Any, task: Any, examples: Any, items: Any, *more: Any) -> Any:
        name, arm = next(names)
        if name == "small":
            seen[arm] = list(examples)
        return equipped(student, task, examples, items, *more)

    students = [{"name": name, "model": str(demo_models["bert"])} for name in ("small", "large")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cell_module, "equipped", noting)
        patch.setattr(label_teachers, "make_teacher", lambda settings, folder, say=None: Named(settings))
        summary = go(recipe(demo_models["bert"], students=students), folder)
    return seen, summary, folder


def test_every_arm_holds_what_its_own_teacher_wrote(done: Done) -> None:
    seen, summary, folder = done
    augmented = {path.name for path in (folder / "augment" / "default").iterdir()}
    assert augmented == {
        "rewrite", "new", "rewrite@other", "new@other", "edit", "zero-shot", "zero-shot@other",
    }  # fmt: skip
    wrote = {"a": ("rewrite", "new"), "b": ("rewrite@other", "new@other", "edit")}
    for arm, held in seen.items():
        by = {e.source.teacher for e in held if e.source and e.source.teacher}
        assert by == (set() if arm == "none" else {"usual"} if arm.endswith("-a") else {"second"})
    for who, names in wrote.items():
        expected = [e for made in names for e in kept(folder, made)]
        held = [e for e in seen[f"combined-{who}"] if e.parents]
        assert held
        assert Counter(map(words_of, held)) == Counter(map(words_of, expected))
    texts = {made: " ".join(map(words_of, kept(folder, made))) for made in ("rewrite", "rewrite@other")}
    assert OWN["usual"] in texts["rewrite"]
    assert OWN["second"] not in texts["rewrite"]
    assert OWN["second"] in texts["rewrite@other"]
    assert OWN["usual"] not in texts["rewrite@other"]
    items = {row.arm: row.generated_items for row in summary.rows if row.student == "large"}
    assert items["rewrite-b"] == items["mixed-b"] == len(kept(folder, "rewrite@other"))


def test_each_row_shows_what_its_own_teacher_knows(done: Done) -> None:
    _, summary, folder = done
    validation = read_examples(folder / "data" / "default" / "validation.parquet")
    always = sum(item.label == "yes" for item in validation) / len(validation)
    rows = [row for row in summary.rows if row.kind == "arm"]
    assert len(rows) == 2 * len(ARMS)
    for row in rows:
        if row.arm == "none":
            assert row.teacher is None
            continue
        assert row.teacher is not None
        assert row.teacher.teacher == ("usual" if row.arm.endswith("-a") else "other (second)")
        if row.arm.endswith("-b"):
            assert row.teacher.accuracy.value == always
    usual = read_json(folder / "augment" / "default" / "zero-shot" / "said.json")
    (score,) = {row.teacher.accuracy.value for row in rows if row.teacher and row.teacher.teacher == "usual"}
    assert score == usual["right"] / len(validation) != always


def test_the_report_names_the_teachers(done: Done) -> None:
    _, summary, folder = done
    page = (folder / "report.html").read_text(encoding="utf-8")
    for made in ("rewrite by usual", "rewrite by other (second)", "new by usual", "new by other (second)"):
        assert f"<h3>{made}" in page
        assert f"<h4>{made}" in page
    assert "<h3>edit" in page
    assert "edit by" not in page
    assert "The real items and rewritten items by the teacher other." in page
    assert "The real items and rewritten items by the usual teacher." in page
    assert "if mixed-b does as well as rewrite-b" in page
    assert "The teachers themselves" in page
    assert "teacher other (second) 0." in page
    assert set(summary.spend) == {"usual", "other (second)"}
    for name in summary.spend:
        assert f'<span class="who">{name}</span>' in page
    validation = sum(summary.counts["validation"].values())
    assert all(spend.calls == 18 + 18 + validation for spend in summary.spend.values())
    table = (folder / "results.txt").read_text(encoding="utf-8")
    line = next(one for one in table.splitlines() if "large, rewrite-b" in one)
    assert "other (second): 0." in line


def test_a_second_run_asks_nothing_and_trains_nothing(done: Done, demo_models: dict[str, Path]) -> None:
    _, summary, folder = done
    marks = {path: path.stat().st_mtime_ns for path in folder.rglob(MARK)}
    raw = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))  # as it was written down
    again = go(raw, folder)
    assert not Named.asked
    assert {path: path.stat().st_mtime_ns for path in folder.rglob(MARK)} == marks
    assert again.rows == summary.rows
    assert again.spend == summary.spend


def test_a_recipe_with_one_teacher_gives_the_same_cells_and_folders(done: Done, demo_models: dict[str, Path]) -> None:
    """Taking the further teacher away leaves what the usual one did, and all that was trained on it, as it is."""
    _, _, folder = done
    marks = {path: path.stat().st_mtime_ns for path in folder.rglob(MARK)}
    arms = {name: arm for name, arm in ARMS.items() if not name.endswith("-b")}
    summary = go(recipe(demo_models["bert"], arms=arms, teachers={}), folder)
    assert not Named.asked
    assert {path: path.stat().st_mtime_ns for path in folder.rglob(MARK)} == marks
    assert {funnel.teacher for funnel in summary.funnels} == {sample.teacher for sample in summary.samples} == {""}
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "<h3>rewrite<" in page
    assert "The real items and rewritten items." in page
    assert "The teacher itself, usual," in page


def test_a_run_that_broke_off_asks_only_the_rest(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    arms = {name: ARMS[name] for name in ("rewrite-a", "rewrite-b")}
    raw = recipe(demo_models["bert"], arms=arms)
    follow = Named._answer

    def failing(self: Named, request: Request) -> Answer:
        if self.name == "second" and Named.asked["second"] == 5:
            raise KeyboardInterrupt
        return follow(self, request)

    with monkeypatch.context() as patch:
        patch.setattr(Named, "_answer", failing)
        with pytest.raises(KeyboardInterrupt):
            go(raw, tmp_path / "run")
    assert Named.asked["second"] == 5
    usual = Named.asked["usual"]
    go(raw, tmp_path / "run")
    validation = usual - 18
    assert Named.asked == {"usual": usual, "second": 18 + validation}


def test_each_teacher_has_its_own_price(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    def terms(model: str, usd: float) -> dict[str, Any]:
        prices = {"usd_per_million_input": usd, "usd_per_million_output": usd}
        return {"kind": "openai", "model": model, "phi": {"mode": "off"}, **prices}

    arms = {name: ARMS[name] for name in ("rewrite-a", "rewrite-b")}
    teachers = {"other": terms("second", 10.0)}
    raw = recipe(demo_models["bert"], arms=arms, teacher=terms("usual", 1.0), teachers=teachers)
    spend = go(raw, tmp_path / "run").spend
    tokens = {name: one.input_tokens + one.output_tokens for name, one in spend.items()}
    assert spend["usual"].usd == pytest.approx(tokens["usual"] * 1e-6)
    assert spend["other (second)"].usd == pytest.approx(tokens["other (second)"] * 1e-5)


def test_the_budget_holds_over_all_teachers(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_teachers, "make_teacher", make_teacher)
    terms = {"kind": "local", "max_tokens": 8, "batch_size": 4}
    models = {name: shutil.copytree(demo_models["llama"], tmp_path / name) for name in ("one", "two")}

    def limited(tokens: int) -> dict[str, Any]:
        arms = {name: ARMS[name] for name in ("none", "rewrite-a", "rewrite-b")}
        return recipe(
            demo_models["bert"],
            arms=arms,
            teacher={**terms, "model": str(models["one"])},
            teachers={"other": {**terms, "model": str(models["two"])}},
            budget={"max_tokens": tokens},
        )

    spend = go(limited(1_000_000), tmp_path / "run").spend
    usual, other = (one.input_tokens + one.output_tokens for one in spend.values())
    assert usual > 18
    assert other > 18
    with pytest.raises(BudgetError, match=rf"requests to {models['two']} are answered"):
        go(limited(usual + other // 2), tmp_path / "less")
    done = go(limited(1_000_000), tmp_path / "less").spend
    assert 0 < done[f"other ({models['two']})"].from_ledger < 18
    assert sum(one.input_tokens + one.output_tokens for one in done.values()) == usual + other


def test_an_estimate_counts_every_teacher_and_all_together(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    checked = check_recipe(recipe(demo_models["bert"], budget={"max_tokens": 10}), "test")
    said = estimate(checked, folder=tmp_path, base=tmp_path)
    counts = [line.partition(" (")[0] for line in said if line.startswith("Requests")]
    one = int(counts[0].rpartition(" ")[2])
    assert one > 36
    assert counts == [f"Requests to send: {one}", f"Requests to send: {one}", f"Requests to send: {2 * one}"]
    assert said.index("Of [teachers.other]") < said.index("All 2 together")
    assert said[-1] == "Budget: 10 tokens, which will end the run early."
    alone = {name: arm for name, arm in ARMS.items() if not name.endswith("-a")}
    said = estimate(check_recipe(recipe(demo_models["bert"], arms=alone), "test"), folder=tmp_path, base=tmp_path)
    assert [line.partition(" (")[0] for line in said if line.startswith("Requests")] == [f"Requests to send: {one}"]
    assert said[0] == "Of [teachers.other]"


def test_a_usual_teacher_that_no_arm_needs_is_not_made(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(settings: TeacherSettings, folder: Path, say: Any = None) -> Named:
        if settings.model != "second":
            raise TeacherError("The usual teacher was made.")
        return Named(settings)

    monkeypatch.setattr(label_teachers, "make_teacher", made)
    arms = {"none": [], "rewrite-b": ARMS["rewrite-b"]}
    summary = go(recipe(demo_models["bert"], arms=arms), tmp_path / "run")
    assert set(summary.spend) == {"other (second)"}


def test_a_sweep_over_the_usual_teacher_leaves_the_further_one(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    arms = {name: ARMS[name] for name in ("rewrite-a", "rewrite-b")}
    raw = recipe(demo_models["bert"], arms=arms, sweep={"axes": {"teacher.seed": [0, 1]}}, evaluate={"teacher": False})
    go(raw, tmp_path / "run")
    assert Named.asked == {"usual": 2 * 18, "second": 18}  # of another seed the usual one is asked again


def test_a_sweep_over_a_further_teacher_leaves_the_usual_one(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    arms = {"rewrite-a": ["rewrite"], "rewrite-b": {"use": ["rewrite"], "teacher": "other.one"}}
    raw = recipe(
        demo_models["bert"],
        arms=arms,
        teachers={"other.one": {"kind": "scripted", "model": "second", "seed": 0}},
        sweep={"axes": {"teachers.other.one.seed": [0, 1]}, "score": "all"},
        evaluate={"teacher": False, "resamples": 100},
    )
    said = estimate(check_recipe(raw, "test"), folder=tmp_path, base=tmp_path)
    assert [line for line in said if line.startswith(("Of ", "All "))] == [
        "Of [teachers.other.one]", "Of [teachers.other.one] with seed = 1", "All 3 together",
    ]  # fmt: skip
    summary = go(raw, tmp_path / "run")
    assert Named.asked == {"usual": 18, "second": 2 * 18}
    assert {sweep.arm: [point.name for point in sweep.points] for sweep in summary.sweeps} == {
        arm: ["small-seed-0", "small-seed-1"] for arm in arms
    }
    places = tmp_path / "run" / "sweep" / "points"
    assert {p.name for p in (places / "small-seed-1" / "augment" / "default").iterdir()} == {
        "rewrite", "rewrite@other.one",
    }  # fmt: skip
    again = go(tomllib.loads((tmp_path / "run" / "recipe.toml").read_text(encoding="utf-8")), tmp_path / "run")
    assert Named.asked == {"usual": 18, "second": 2 * 18}
    assert again.sweeps == summary.sweeps


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"arms": {"b": {"use": ["rewrite"], "teacher": "othr"}}},
            r"arms\.b\.teacher: there is no teacher 'othr'; there is only other",
        ),
        (
            {"teachers": {}, "arms": {"b": {"use": ["new"], "teacher": "other"}}},
            r"there is no teacher 'other'; the recipe has no table \[teachers\.NAME\]",
        ),
        (
            {"arms": {"b": {"use": ["edit"], "teacher": "other"}}},
            r"arms\.b\.teacher = 'other', but none of its strategies asks a teacher",
        ),
        ({"arms": {"a": ["rewrite"]}}, r"teachers\.other writes for no arm: name it in an arm's key teacher"),
        ({"teachers": {"other": {"kind": "nobody"}}}, r"teachers\.other\.kind = 'nobody' is not one of"),
        ({"teachers": {"other": {"modle": "x"}}}, r"unknown key 'teachers\.other\.modle'"),
        ({"teachers": {"other": {"max_tokens": 0}}}, r"teachers\.other\.max_tokens = 0"),
        ({"teachers": {"no/path": {}}}, r"teachers\.no/path"),
        ({"teachers": ["other"]}, r"teachers = \['other'\]: input should be a table"),
        (
            {"sweep": {"axes": {"teachers.othr.seed": [1]}}},
            r"sweep: 'teachers\.othr\.seed' is about a teacher that there is not; there is only other",
        ),
        (
            {"teachers": {}, "arms": {"a": ["new"]}, "sweep": {"axes": {"teachers.other.seed": [1]}}},
            r"about a teacher that there is not; the recipe has no table \[teachers\.NAME\]",
        ),
        (
            {"sweep": {"axes": {"teachers.other": [1]}}},
            r"sweep: 'teachers\.other' cannot be swept as a whole; one",
        ),
        (
            {"sweep": {"axes": {"teachers.other.sed": [1]}}},
            r"unknown key 'teachers\.other\.sed' \(keys allowed ",
        ),
        (
            {"sweep": {"axes": {"teachers.other.temperature": [5.0]}}},
            r"sweep: teachers\.other\.temperature = 5\.0: teachers\.other\.temperature = 5\.0: input should be less",
        ),
        ({"sweep": {"axes": {"teachers.other.kind": ["nobody"]}}}, r"teachers\.other\.kind = 'nobody' is not one of"),
        (
            {"sweep": {"axes": {"teachers.other.seed": ["1"]}}},
            r"sweep: teachers\.other\.seed = '1': this key takes a value like 1, not a text",
        ),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_sentence(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RecipeError, match=problem) as refused:
        check_recipe(recipe(Path("x"), **changes), "test")
    assert "\n" not in str(refused.value)
