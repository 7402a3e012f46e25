"""`[[published]]`: what a recipe says of figures that were printed elsewhere."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from preceptor.config import Recipe, check_recipe, load_recipe, read_recipe
from preceptor.errors import RecipeError
from preceptor.pipeline.resolve import resolved

RECIPE = """
name = "x"
title = "A title?"
published_notes = ["Chosen by the test items."]
[data]
task = "demo"
[arms]
none = []
rewrite = ["rewrite"]
[[students]]
name = "small"
model = "builtin:smollm2-135m-instruct"
[[students]]
name = "encoder"
model = "builtin:minilm-l6"
untrained = false
[[published]]
name = "Theirs"
beside = "small/none"
split = "paper"
setting = "reading"
items = 500
accuracy = 0.638
macro_f1 = 0.391
source = "A paper, Table 2"
note = "one seed"
"""
LARGE = """
[[scale.large.students]]
name = "large"
model = "a/large"
"""


def read(folder: Path, text: str, **more: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text, encoding="utf-8")
    recipe = read_recipe(path, **more)
    assert isinstance(recipe, Recipe)
    return recipe


def test_figures_are_read_and_stand_in_the_resolved_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, RECIPE)
    (figure,) = recipe.published
    assert (figure.beside, figure.items, figure.accuracy, figure.macro_f1) == (("small/none",), 500, 0.638, 0.391)
    assert check_recipe(tomllib.loads(resolved(recipe)), "resolved") == recipe
    assert read(tmp_path, resolved(recipe)) == recipe
    bare = read(tmp_path, RECIPE.replace("items = 500\n", "").replace('beside = "small/none"\n', ""))
    assert (bare.published[0].beside, bare.published[0].items) == ((), None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("accuracy = 0.638", "accuracy = 63.8", "published.0.accuracy = 63.8: input should be less than or equal to 1"),
        ("accuracy = 0.638", "accuracy = -0.1", "published.0.accuracy = -0.1"),
        ("macro_f1 = 0.391", "macro_f1 = nan", "published.0.macro_f1 = nan"),
        ("accuracy = 0.638\nmacro_f1 = 0.391", "", "published 'Theirs': give accuracy, macro_f1 or both"),
        ("items = 500", "items = 0", "published.0.items = 0"),
        ('split = "paper"', "", "'published.0.split' is missing"),
        ('source = "A paper, Table 2"', 'source = ""', "published.0.source = ''"),
        ('note = "one seed"', 'remark = "x"', "unknown key 'published.0.remark'"),
        ("small/none", "small/nothing", "published 'Theirs': beside = 'small/nothing' names no row of this recipe"),
        ('"small/none"', '["small/none", "small"]', "beside = 'small' names no row of this recipe"),
        ("small/none", "encoder/untrained", "beside = 'encoder/untrained' names no row of this recipe"),
    ],
)
def test_what_is_wrong_with_a_figure_is_one_sentence(old: str, new: str, said: str, tmp_path: Path) -> None:
    assert old in RECIPE
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, RECIPE.replace(old, new))
    assert said in caught.value.message
    assert "recipe.toml: " in caught.value.message
    assert "\n" not in str(caught.value)


def test_the_rows_there_are_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        read(tmp_path, RECIPE.replace("small/none", "smal/none"))
    assert caught.value.hint == (
        "There are small/untrained, small/none, small/rewrite, encoder/none, encoder/rewrite, floor, human."
    )


def test_notes_without_figures_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="published_notes: there is no entry"):
        read(tmp_path, RECIPE.partition("[[published]]")[0])


def test_rows_of_other_scales_may_be_named_and_are_left_out_where_they_are_not_run(tmp_path: Path) -> None:
    text = RECIPE.replace('"small/none"', '["large/none", "small/none"]') + LARGE
    assert read(tmp_path, text).published[0].beside == ("small/none",)
    large = read(tmp_path, text, scale="large")
    assert large.published[0].beside == ("large/none",)
    assert read(tmp_path, resolved(large)) == large  # without the scales, too
    assert read(tmp_path, text, student="a/third").published[0].beside == ("third/none",)


def test_a_figure_of_a_scale_stands_beside_a_row_that_there_is(tmp_path: Path) -> None:
    figure = '[[scale.large.published]]\nname = "N"\nbeside = "huge/none"\nsplit = "p"\naccuracy = 0.5\nsource = "s"\n'
    with pytest.raises(RecipeError, match=r"scale\.large: published 'N': beside = 'huge/none' names no row"):
        read(tmp_path, RECIPE + LARGE + figure)


def test_what_is_set_with_the_command_is_checked_too(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE, encoding="utf-8")
    with pytest.raises(RecipeError, match="beside = 'no/row' names no row"):
        load_recipe(tmp_path / "recipe.toml", ["published.Theirs.beside='no/row'"])


def test_a_figure_may_stand_beside_a_point_of_a_sweep(tmp_path: Path) -> None:
    swept = RECIPE + '[sweep.axes]\n"train.alpha" = [16, 32]\n'
    assert read(tmp_path, swept.replace("small/none", "small/none/alpha-32")).published[0].beside == (
        "small/none/alpha-32",
    )
    with pytest.raises(RecipeError, match="beside = 'small/none/alpha-64' names no row"):
        read(tmp_path, swept.replace("small/none", "small/none/alpha-64"))
