"""The recipes of the first paper's tables and figure are valid at every scale, and print the paper's own figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from preceptor.config import Recipe, points_of, read_recipe

FOLDER = Path(__file__).resolve().parent.parent / "recipes" / "dr_llama"
SETTINGS = [16, 32, 64, 128, 256, 512]


def read(name: str, scale: str | None = None) -> Recipe:
    recipe = read_recipe(FOLDER / f"{name}.toml", scale=scale)
    assert isinstance(recipe, Recipe)
    return recipe


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_as_written_it_names_the_papers_models_and_its_rank(path: Path) -> None:
    recipe = read(path.stem)
    assert all("/" in student.model for student in recipe.students)
    assert recipe.train.preset == "paper"
    assert recipe.published
    assert recipe.published_notes
    assert all("2305.07804" in figure.source for figure in recipe.published)


def test_the_figure_has_all_settings_of_both_methods() -> None:
    for scale, names in ((None, ("lora", "prefix")), ("small", ("smollm2-lora", "smollm2-prefix"))):
        recipe = read("figure1", scale)
        values: dict[str, list[float]] = {}
        for point in points_of(recipe):
            values.setdefault(point.base.name, []).extend(point.values.values())
        assert [values[name] for name in names] == [SETTINGS, SETTINGS]
        assert recipe.sweep is not None
        assert recipe.sweep.score == "all"
        assert all(figure.beside for figure in recipe.published)  # a point of ours beside each of theirs
    assert values["minilm-prefix"] == [16, 32, 64]
    best = max(recipe.published, key=lambda figure: figure.accuracy or 0)
    assert (best.name, best.accuracy, best.macro_f1) == ("BioGPT-Large, LoRA, alpha 256", 0.638, 0.391)


def test_the_third_table_has_every_way_of_writing_by_both_teachers() -> None:
    ways = {"none"} | {f"{way}-{teacher}" for way in ("rewrite", "new", "combined") for teacher in "ab"}
    for scale in (None, "small"):
        recipe = read("table3", scale)
        assert set(recipe.arms) == ways
        assert all((arm.teacher is None) == (not name.endswith("-b")) for name, arm in recipe.arms.items())
        assert {name for figure in recipe.published for name in figure.beside} == {
            f"{student.name}/{way}" for student in recipe.students for way in ways
        }


def test_the_third_table_at_the_small_scale_reads_abstracts_with_the_arms_that_hold_all() -> None:
    recipe = read("table3", "small")
    assert recipe.data.settings == ("reasoning-free", "reasoning-required")
    assert recipe.arms_in("reasoning-free") == tuple(recipe.arms)
    assert recipe.arms_in("reasoning-required") == ("none", "combined-a", "combined-b")
    assert recipe.strategies_in("reasoning-required") == ("rewrite", "rewrite@adapted", "new", "new@adapted")


@pytest.mark.parametrize("name", ["table1", "table2", "figure1"])
def test_the_small_scale_is_offline_and_keeps_its_results(name: str) -> None:
    recipe = read(name, "small")
    assert all(student.model.startswith(("builtin:", "runs/")) for student in recipe.students)
    assert all(str(baseline.model).startswith("builtin:") for baseline in recipe.baselines)
    assert not recipe.asking
    assert recipe.results
    assert recipe.seeds == (1, 2, 3)
    assert (recipe.data.split, recipe.data.settings) == ("official", ("reasoning-free",))


def test_settings_are_chosen_on_validation_items_except_for_the_picture() -> None:
    for name in ("table1", "table2", "table3"):
        sweep = read(name).sweep
        assert sweep is not None
        assert (sweep.select, sweep.score) == ("validation", "selected")
