"""Recipes at another scale, and models that are named with the command."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from preceptor import cli
from preceptor.config import AdaptRecipe, InstructRecipe, Recipe, read_recipe
from preceptor.errors import RecipeError
from preceptor.pipeline.resolve import resolved

LABELS = """
name = "x"
title = "A title?"
seeds = [1, 2, 3, 4, 5]
results = "big"
[data]
task = "demo"
max_train = 40
[arms]
none = []
rewrite = ["rewrite"]
[teacher]
kind = "openai"
model = "large"
endpoint = "vllm"
base_url = "http://127.0.0.1:8000/v1"
key_env = "MY_KEY"
temperature = 0.7
max_tokens = 99
frequency_penalty = 0.5
mode = "batch"
[teacher.phi]
mode = "mask"
[train]
rank = 4
alpha = 64
[[students]]
name = "first"
model = "big/one"
train = { rank = 2 }
[[students]]
name = "second"
model = "big/two"
[scale.small]
seeds = [1]
results = "small"
[scale.small.data]
max_test = 20
[scale.small.teacher]
kind = "local"
model = "builtin:smollm2-135m-instruct"
[scale.small.arms]
new = ["new"]
[scale.small.train]
alpha = 8
[[scale.small.students]]
name = "tiny"
model = "builtin:minilm-l6"
[scale.one-arm.arms]
whole = true
none = []
[scale.one-arm.teacher]
temperature = 0.2
[scale.one-arm.teacher.phi]
names = false
"""
INSTRUCT = """
name = "i"
title = "Instructions?"
[[benchmarks]]
name = "p"
kind = "pubmedqa"
path = "x"
category = "question_answering"
[scale.small]
seeds = [7]
"""
ADAPT = """
name = "a"
title = "Text?"
[adapt]
model = "big/one"
[[sources]]
path = "texts"
[scale.small.adapt]
length = 64
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def labels(path: Path, *overrides: str, **more: Any) -> Recipe:
    recipe = read_recipe(path, overrides, **more)
    assert isinstance(recipe, Recipe)
    return recipe


def test_a_scale_takes_the_place_of_the_recipes_keys(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS)
    usual, small = labels(path), labels(path, scale="small")
    assert (usual.seeds, usual.results, [s.name for s in usual.students]) == (
        (1, 2, 3, 4, 5),
        "big",
        ["first", "second"],
    )
    assert (small.name, small.seeds, small.results) == ("x", (1,), "small")
    assert (small.data.max_train, small.data.max_test) == (40, 20)  # tables are merged
    assert list(small.arms) == ["none", "rewrite", "new"]
    assert (small.train.rank, small.train.alpha) == (4, 8)
    assert [(s.name, s.model, s.train) for s in small.students] == [("tiny", "builtin:minilm-l6", {})]  # lists are not


def test_a_table_with_a_kind_or_with_whole_replaces_all_of_the_recipes(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS)
    assert labels(path, scale="small").teacher.model_dump(exclude_unset=True) == {
        "kind": "local",
        "model": "builtin:smollm2-135m-instruct",
    }
    one = labels(path, scale="one-arm")
    assert list(one.arms) == ["none"]
    assert (one.teacher.kind, one.teacher.endpoint, one.teacher.temperature) == ("openai", "vllm", 0.2)
    assert (one.teacher.phi.mode, one.teacher.phi.names) == ("mask", False)
    swept = LABELS.replace("[arms]\n", '[sweep.axes]\n"train.alpha" = [8, 16]\n[arms]\n', 1)
    unswept = written(tmp_path, swept + "[scale.fixed.sweep]\nwhole = true\n[scale.fixed.teacher.phi]\nwhole = true\n")
    assert labels(unswept).sweep is not None
    assert labels(unswept, scale="fixed").sweep is None
    named = written(tmp_path, LABELS.replace("whole = true", 'whole = ["rewrite"]'))
    assert list(labels(named, scale="one-arm").arms) == ["none", "rewrite", "whole"]  # an arm of that name
    kept = written(tmp_path, LABELS.replace('kind = "local"\n', 'kind = "local"\nwhole = false\n'))
    with pytest.raises(RecipeError, match=r"scale\.small: teacher\.mode"):  # merged, so batch is left
        labels(kept)


def test_the_resolved_recipe_has_the_scale_applied_and_none_left(tmp_path: Path) -> None:
    small = labels(written(tmp_path, LABELS), scale="small")
    again = tomllib.loads(resolved(small))
    assert "scale" not in again
    assert labels(written(tmp_path, resolved(small))) == small


def test_recipes_of_every_kind_have_scales(tmp_path: Path) -> None:
    instructions = read_recipe(written(tmp_path, INSTRUCT), scale="small")
    assert isinstance(instructions, InstructRecipe)
    assert instructions.seeds == (7,)
    adapted = read_recipe(written(tmp_path, ADAPT), scale="small")
    assert isinstance(adapted, AdaptRecipe)
    assert (adapted.adapt.model, adapted.adapt.length) == ("big/one", 64)


def test_what_is_named_with_the_command_comes_after_the_scale(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS)
    recipe = labels(path, "train.alpha=3", "students.mine.train.rank=5", student="/models/mine", scale="small")
    assert (recipe.train.alpha, recipe.train.rank) == (3, 4)
    assert [(s.name, s.model, s.train) for s in recipe.students] == [("mine", "/models/mine", {"rank": 5})]
    assert labels(path, student="/models/mine").students[0].train == {"rank": 2}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[scale.small.train]\nalpha", "[scale.small.train]\nalhpa"), "scale.small: unknown key 'train.alhpa'"),
        (("[scale.small]\nseeds = [1]", "[scale.small]\nseeds = [1, 1]"), "scale.small: seeds: give at least one seed"),
        (("[scale.small.data]\nmax_test = 20", "[scale.small.data]\nmax_test = 0"), "scale.small: data.max_test = 0"),
        (("[scale.small]\n", "[scale.small]\nwhole = true\n"), "scale.small: unknown key 'whole'"),
        (("[scale.small]\n", "[scale.small]\nscale = 3\n"), "scale.small: unknown key 'scale'"),
        (("scale.one-arm", 'scale."../up"'), "'../up'"),
        (('results = "big"', 'results = "big"\nscale = 3'), ""),
    ],
)
def test_nonsense_in_a_scale_is_found_without_asking_for_it(change: tuple[str, str], said: str, tmp_path: Path) -> None:
    path = written(tmp_path, LABELS.replace(*change))
    assert path.read_text() != LABELS
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert "\n" not in str(caught.value)


def test_a_scale_that_is_no_table_is_one_sentence(tmp_path: Path) -> None:
    text = LABELS.partition("[scale.small]")[0]
    for given, said in (("scale = 3", "scale = 3"), ("scale = { small = 3 }", "scale.small = 3")):
        with pytest.raises(RecipeError, match=f"recipe.toml: {said}: input should be a table") as caught:
            read_recipe(written(tmp_path, f"{given}\n{text}"))
        assert "[scale.small]" in caught.value.hint


def test_a_fault_of_the_recipe_itself_is_not_laid_to_a_scale(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS.replace("max_train = 40", "max_train = 0"))
    with pytest.raises(RecipeError) as caught:
        read_recipe(path, scale="small")
    assert caught.value.message.startswith(f"{path}: data.max_train = 0")


def test_an_unknown_scale_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="there is no scale 'large', only small, one-arm\\."):
        read_recipe(written(tmp_path, LABELS), scale="large")
    with pytest.raises(RecipeError, match="there is no scale 'small': this recipe has none\\."):
        read_recipe(written(tmp_path, LABELS.partition("[scale.small]")[0]), scale="small")


def test_another_teacher_writes_as_the_recipes_and_keeps_nothing_of_an_endpoint(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS)
    assert labels(path, teachers=["/models/mine"]).teacher.model_dump(exclude_unset=True) == {
        "kind": "local",
        "model": "/models/mine",
        "temperature": 0.7,
        "max_tokens": 99,
    }
    own = path.read_text().replace('kind = "openai"\nmodel = "large"\n', 'kind = "local"\nmodel = "large"\n')
    own = own.replace('mode = "batch"\n', "")
    kept = labels(written(tmp_path, own), "teacher.max_tokens=5", teachers=["builtin:smollm2-135m-instruct"]).teacher
    assert (kept.model, kept.phi.mode, kept.temperature, kept.max_tokens) == (
        "builtin:smollm2-135m-instruct",
        "mask",
        0.7,
        5,
    )
    assert labels(path, teachers=["some/hub-name"], scale="small").teacher.temperature is None
    instructions = read_recipe(written(tmp_path, INSTRUCT), teachers=["some/hub-name"])
    assert isinstance(instructions, InstructRecipe)
    assert instructions.teacher.model == "some/hub-name"


@pytest.mark.parametrize("model", ["https://api.example.org/v1", "openai:gpt-4o-mini", " "])
def test_a_teacher_that_is_no_model_here_is_refused_with_the_way_to_name_it(model: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="is no model on this machine") as caught:
        read_recipe(written(tmp_path, LABELS), teachers=[model])
    assert "--set teacher.model=NAME" in caught.value.hint
    with pytest.raises(RecipeError, match="no teacher is asked"):
        read_recipe(written(tmp_path, ADAPT), teachers=["some/hub-name"])


def test_the_command_names_the_folder_by_the_scale_and_repeats_what_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = written(tmp_path, LABELS)
    seen: dict[str, object] = {}

    def stopped(recipe: Recipe, **more: object) -> None:
        seen.update(more, recipe=recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr("preceptor.pipeline.labels.run", stopped)
    monkeypatch.setattr(sys, "argv", ["preceptor", "run", str(path), "--scale", "small", "--teacher", "a/b"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    assert seen["folder"] == Path("runs/x-small")
    assert seen["command"] == f"preceptor run {path} --out runs/x-small --teacher a/b --scale small"
    recipe = seen["recipe"]
    assert isinstance(recipe, Recipe)
    assert (recipe.teacher.model, recipe.seeds) == ("a/b", (1,))
    assert str(seen["command"]) in capsys.readouterr().err


def test_estimate_takes_scale_and_teacher(tmp_path: Path) -> None:
    path = written(tmp_path, LABELS)
    options = ["--scale", "small", "--set", 'teacher.kind="scripted"']
    program = "from preceptor.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "estimate", str(path), *options, "--teacher", "builtin:smollm2-135m-instruct"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=dict(os.environ),
    )
    assert not done.returncode, done.stderr
    assert "Requests to send: 125" in done.stdout  # 40 items, rewritten and asked anew, and 45 validation items
    assert not (tmp_path / "runs").exists()
