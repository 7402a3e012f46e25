"""`--student` and `--teacher`: another model in the place of a recipe's, and all that speaks of it follows."""

from __future__ import annotations

from pathlib import Path

import pytest

from preceptor.config import Recipe, points_of, read_recipe
from preceptor.config.published import row_names
from preceptor.errors import RecipeError

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
TABLES = [(path, scale) for path in sorted((RECIPES / "dr_llama").glob("*.toml")) for scale in (None, "small")]
MODEL = "some/Model-1.5B"

RECIPE = """
name = "x"
title = "A title?"
[data]
task = "demo"
[arms]
none = []
new = { use = ["new"], teacher = "second" }
[filter]
chain = ["agreement"]
[filter.agreement]
labeller = "student"
student = "small-prefix"
[teachers.second]
kind = "openai"
model = "large"
temperature = 0.7
[[students]]
name = "small-lora"
model = "small"
[[students]]
name = "other"
model = "another"
[[students]]
name = "small-prefix"
model = "small"
train = { method = "prefix" }
[[baselines]]
name = "small-lora"
model = "small"
shots = [0]
[sweep.students.small-lora]
"train.alpha" = [16, 32]
[sweep.students.other]
"train.alpha" = [16, 32]
[[published]]
name = "Theirs"
beside = ["small-lora/none/alpha-16", "other/none", "small-prefix/none", "small-lora/0-shot"]
split = "paper"
accuracy = 0.638
source = "A paper, Table 2"
"""


def read(path: Path, **more: object) -> Recipe:
    recipe = read_recipe(path, **more)  # type: ignore[arg-type]
    assert isinstance(recipe, Recipe)
    return recipe


def stands(row: str, students: set[str]) -> bool:
    """Whether it is a row of a student of these, not of a baseline with the same name."""
    name, _, rest = row.partition("/")
    return name in students and not rest.endswith("-shot")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    written = tmp_path / "recipe.toml"
    written.write_text(RECIPE, encoding="utf-8")
    return written


def test_a_model_that_was_trained_in_several_ways_is_replaced_in_all_of_them(path: Path) -> None:
    recipe = read(path, student=MODEL)
    assert [(s.name, s.model) for s in recipe.students] == [("Model-1.5B-lora", MODEL), ("Model-1.5B-prefix", MODEL)]
    assert recipe.training_of(recipe.students[1]).method == "prefix"
    assert recipe.filter.agreement.student == "Model-1.5B-prefix"
    assert {point.base.name for point in points_of(recipe)} == {"Model-1.5B-lora"}
    assert recipe.published[0].beside == (
        "Model-1.5B-lora/none/alpha-16",
        "Model-1.5B-prefix/none",
        "small-lora/0-shot",  # a baseline that happens to have a student's name
    )


def test_axes_of_an_unknown_student_are_refused_by_their_own_name(path: Path) -> None:
    path.write_text(RECIPE.replace("[sweep.students.other]", "[sweep.students.othre]"), encoding="utf-8")
    with pytest.raises(RecipeError, match="there is no student 'othre'"):
        read(path, student=MODEL)


@pytest.mark.parametrize(("path", "scale"), TABLES, ids=lambda value: getattr(value, "stem", value))
def test_the_papers_recipes_take_any_student_and_keep_its_rows_beside_their_figures(
    path: Path, scale: str | None
) -> None:
    usual, other = read(path, scale=scale), read(path, student=MODEL, scale=scale)
    assert {student.model for student in other.students} == {MODEL}
    assert len(other.students) == sum(student.model == usual.students[0].model for student in usual.students)
    theirs = {student.name for student in usual.students if student.model == usual.students[0].model}
    before = {figure.name for figure in usual.published if any(stands(row, theirs) for row in figure.beside)}
    named = {student.name for student in other.students}
    after = {figure.name for figure in other.published if any(stands(row, named) for row in figure.beside)}
    assert before == after != set()
    assert {row for figure in other.published for row in figure.beside} <= set(row_names(other))


def test_a_teacher_with_a_name_is_replaced_by_it(path: Path) -> None:
    recipe = read(path, teachers=["second=/models/mine", "first/one"])
    assert recipe.teachers["second"].model_dump(exclude_unset=True) == {
        "kind": "local",
        "model": "/models/mine",
        "temperature": 0.7,
    }
    assert recipe.teacher.model == "first/one"
    with pytest.raises(RecipeError, match=r"there is no \[teachers.third\]; named ones here: second\."):
        read(path, teachers=["third=/models/mine"])
    with pytest.raises(RecipeError, match="is no model on this machine") as caught:
        read(path, teachers=["second=https://api.example.org/v1"])
    assert "--set teachers.second.kind=openai" in caught.value.hint
