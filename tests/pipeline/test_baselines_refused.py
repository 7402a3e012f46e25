"""What a baseline cannot be is refused in one sentence, before anybody is trained, asked or scored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from baseline_runs import checked, go

from preceptor.errors import CredentialsError, ModelError, PreceptorError, RecipeError

# --- bad inputs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"shots": [-1]}, r"baselines\.0\.shots\.0 = -1: input should be greater than or equal to 0"),
        ({"shots": []}, r"baselines\.shots = \[\]: give at least one number, and each once"),
        ({"shots": [1, 1]}, r"baselines\.shots = \[1, 1\]: give at least one"),
        ({"draw": "all"}, r"baselines\.0\.draw = 'all'"),
        ({"shot": 1}, r"unknown key 'baselines\.0\.shot'.*shot_seed"),
        ({"model": None}, r"baselines\.it needs a model or a teacher\."),
        ({"teacher": True}, r"baselines\.it needs a model or a teacher, not both"),
        ({"temperature": 1}, r"baselines\.it\.temperature is for teachers"),
        ({"model": None, "teacher": False}, r"baselines\.0\.teacher = False: input should be True"),
        ({"model": None, "teacher": True, "read": "likelihood"}, r'read = "likelihood" needs a model'),
        ({"model": None, "teacher": True, "max_length": 99}, r"baselines\.it\.max_length is for models"),
        ({"model": None, "teacher": {"top_p": 0.5}}, r"baselines\.it\.teacher\.top_p is not used there"),
        ({"model": None, "teacher": {"modle": "x"}}, r"unknown key 'baselines\.0\.teacher\.modle'.*model"),
        (
            {"model": None, "teacher": "gpt-4"},
            r"baselines\.it\.teacher: there is no teacher 'gpt-4'; the recipe has no table \[teachers\.NAME\]",
        ),
        ({"model": None, "teacher": "no/name"}, r"baselines\.0\.teacher = 'no/name': string should match"),
        ({"model": None, "teacher": 2}, r"baselines\.0\.teacher = 2: input should be True"),
        ({"settings": ["other"]}, r"baselines\.it\.settings: 'other' is not in"),
    ],
)
def test_a_wrong_entry_is_one_sentence(entry: dict[str, Any], said: str) -> None:
    given = {"name": "it", "model": "builtin:smollm2-135m-instruct", **entry}
    with pytest.raises(RecipeError, match=said) as refused:
        checked({key: value for key, value in given.items() if value is not None})
    assert "\n" not in str(refused.value)


def test_a_further_teacher_is_one_that_the_recipe_has_and_somebody_names() -> None:
    teachers = {"gpt-4": {"kind": "scripted"}, "gpt-3.5": {"kind": "scripted"}}
    both = [{"name": name, "teacher": name} for name in teachers]
    assert [one.named for one in checked(*both, teachers=teachers).baselines] == list(teachers)
    with pytest.raises(RecipeError, match=r"there is no teacher 'gpt-5'; there are gpt-4, gpt-3\.5"):
        checked(*both, {"name": "five", "teacher": "gpt-5"}, teachers=teachers)
    with pytest.raises(
        RecipeError, match=r"teachers\.gpt-3\.5 writes for no arm: name it in an arm's key teacher or a"
    ):
        checked(both[0], teachers=teachers)
    students, sweep = [{"name": "s", "model": "x"}], {"axes": {"teachers.gpt-4.seed": [1]}}
    with pytest.raises(
        RecipeError, match=r"'teachers\.gpt-4\.seed' changes nothing that is trained on: teachers\.gpt-4"
    ):
        checked(*both, teachers=teachers, students=students, sweep=sweep)


def test_names_stand_once_and_are_no_arms() -> None:
    one = {"name": "it", "model": "x"}
    with pytest.raises(RecipeError, match=r"baselines: 'it' is given twice for the setting ''"):
        checked(one, one)
    with pytest.raises(RecipeError, match=r"arms\.5-shot: this name means a baseline"):
        checked(one, arms={"none": [], "5-shot": []})
    with pytest.raises(RecipeError, match="at least one"):
        checked()


def refused(folder: Path, *baselines: dict[str, Any], **changes: Any) -> PreceptorError:
    with pytest.raises(PreceptorError) as error:
        go(checked(*baselines, **changes), folder)
    assert not list(folder.rglob("predictions.parquet"))
    return error.value


def test_an_encoder_is_refused_before_anything_is_scored(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    first = {"name": "first", "teacher": True}
    error = refused(tmp_path / "run", first, {"name": "bert", "model": str(demo_models["bert"])})
    assert isinstance(error, RecipeError)
    assert error.message.startswith("baselines.bert: ")
    assert "is an encoder, which has no prompt to continue" in error.message


def test_more_shots_than_training_items_are_refused(tmp_path: Path) -> None:
    error = refused(tmp_path / "run", {"name": "t", "teacher": True, "shots": [0, 13]})
    assert str(error) == "baselines.t: shots = 13 are more than the 12 training items. Use fewer shots."


@pytest.mark.parametrize("kind", ["model", "teacher"])
def test_shots_beyond_the_window_are_refused(kind: str, tmp_path: Path, demo_models: dict[str, Path]) -> None:
    model = str(demo_models["llama"])
    reader = {"model": model} if kind == "model" else {"teacher": {"kind": "local", "model": model}}
    error = refused(tmp_path / "run", {"name": "first", "teacher": True}, {"name": "it", **reader, "shots": [0, 9]})
    assert isinstance(error, RecipeError)
    assert error.message.startswith("baselines.it: shots = 9 needs ")
    assert error.message.endswith(f" tokens, the window of {model} holds 320.")


def test_a_missing_model_or_key_shows_before_anything_is_scored(tmp_path: Path) -> None:
    first = {"name": "first", "teacher": True}
    missing = refused(tmp_path / "a", first, {"name": "it", "model": "./nowhere"})
    assert isinstance(missing, ModelError)
    keyless = {"kind": "openai", "model": "gpt-4o-mini"}
    assert isinstance(refused(tmp_path / "b", first, {"name": "it", "teacher": keyless}), CredentialsError)
