"""Presets and held rates: worked out once, for every student, shown in the resolved recipe, and overruled by keys."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import torch

from preceptor.config import LORA, FollowerSettings, InstructRecipe, Recipe, TrainSettings, check_recipe, load_recipe
from preceptor.config.presets import LARGE_CAUSAL, PAPER, SMALL_CAUSAL, SMALL_ENCODER, tuned
from preceptor.errors import RecipeError
from preceptor.models import load
from preceptor.models.load import count_weights
from preceptor.pipeline.accompany import updates
from preceptor.pipeline.presets import settled
from preceptor.pipeline.resolve import resolved

RECIPES = Path(__file__).resolve().parent.parent.parent / "recipes"


def recipe(train: dict[str, Any], *own: dict[str, Any], model: str = "builtin:minilm-l6") -> Recipe:
    students = [{"name": f"s{i}", "model": model, "train": keys} for i, keys in enumerate(own or ({},))]
    raw = {"name": "r", "title": "t", "data": {"task": "demo"}, "train": train, "students": students}
    return check_recipe(raw, "here")


def effective(found: Recipe) -> list[dict[str, Any]]:
    worked_out = settled(found)
    return [worked_out.training_of(student).model_dump() for student in worked_out.students]


def test_a_recipe_without_presets_comes_back_as_it_is() -> None:
    plain = recipe({"rank": 4}, {"alpha": 32})
    assert settled(plain) is plain


def test_the_papers_values_fill_what_is_not_given() -> None:
    (found,) = effective(recipe({"preset": "paper", "alpha": 256}))
    assert {key: found[key] for key in PAPER} == PAPER
    assert (found["rank"], found["learning_rate"], found["accumulation"], found["batch_tokens"]) == (4, 5e-5, 32, 1024)
    assert (found["alpha"], found["preset"]) == (256, None)


def test_keys_that_are_named_win_wherever_they_stand() -> None:
    first, second, third = effective(
        recipe({"preset": "paper", "rank": 8}, {"learning_rate": 1e-3}, {"rank": 16}, {"preset": "tuned"})
    )
    assert (first["rank"], first["learning_rate"], first["accumulation"]) == (8, 1e-3, 32)
    assert (second["rank"], second["learning_rate"]) == (16, 5e-5)
    # Its own preset takes the place of the other one, and the key that was named stays.
    assert (third["rank"], third["method"], third["accumulation"], third["epochs"]) == (8, "full", 1, 5)


def test_a_default_that_is_named_is_a_key_that_is_named() -> None:
    assert effective(recipe({"preset": "paper", "rank": 8, "accumulation": 1}))[0]["rank"] == 8


def test_the_resolved_recipe_shows_what_is_trained_with_and_gives_it_again() -> None:
    once = settled(recipe({"preset": "paper", "reference_scale": 2, "alpha": 64}, {}, {"rank": 8}))
    raw = tomllib.loads(resolved(once))
    for keys in (raw["train"], *(student["train"] for student in raw["students"])):
        assert not {"preset", "reference_scale"} & set(keys)
    assert [student["train"]["rank"] for student in raw["students"]] == [4, 8]
    again = settled(check_recipe(raw, "there"))
    for student in once.students:
        assert again.training_of(student) == once.training_of(student)


def test_a_settled_preset_has_the_identity_of_its_keys() -> None:
    preset = settled(recipe({"preset": "paper", "alpha": 64}))
    named = recipe({**PAPER, "alpha": 64})
    assert preset.training_of(preset.students[0]).deciding() == named.training_of(named.students[0]).deciding()


@pytest.mark.parametrize(
    ("head", "weights", "rate", "epochs"),
    [
        ("encoder", 22_713_216, 1e-4, 5),
        ("encoder", SMALL_ENCODER + 1, 3e-5, 4),
        ("causal", 134_515_008, 3e-4, 4),
        ("causal", SMALL_CAUSAL + 1, 2e-4, 3),
        ("causal", LARGE_CAUSAL, 1e-4, 3),
    ],
)
def test_tuned_values_by_head_and_size(head: str, weights: int, rate: float, epochs: int) -> None:
    found = tuned(head, weights)
    assert (found["learning_rate"], found["epochs"]) == (rate, epochs)
    assert found["method"] == ("full" if head == "encoder" else "lora")
    assert found["batch_size"] == 8


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("head", ["causal", "encoder"])
def test_tuned_values_follow_the_method_that_is_named(head: str, size: str) -> None:
    for method in get_args(TrainSettings.model_fields["method"].annotation):
        found = tuned(head, 1_000_000 if size == "small" else 10**10, method)
        assert found["method"] == method
        assert ("alpha" in found) == (method in LORA)
        TrainSettings.model_validate(found)


@pytest.mark.parametrize(
    ("model", "head", "weights"),
    [("builtin:minilm-l6", "encoder", 22_713_216), ("builtin:smollm2-135m-instruct", "causal", 134_515_008)],
)
def test_tuned_values_are_the_rates_of_the_recipe_with_all_methods(model: str, head: str, weights: int) -> None:
    checked = load_recipe(RECIPES / "methods.toml")
    students = [student for student in checked.students if student.model == model and "last" not in student.name]
    assert len(students) >= 8
    for student in students:
        method = student.train["method"]
        learnt = not (head == "encoder" and method in ("prefix", "prompt", "p-tuning"))
        expected = student.train["learning_rate"] if learnt else None
        assert tuned(head, weights, method).get("learning_rate") == expected, method


def test_a_method_at_which_an_encoder_learnt_nothing_needs_a_rate(tiny_models: dict[str, Path]) -> None:
    model = str(tiny_models["bert"])
    with pytest.raises(RecipeError, match=r"knows no learning rate at which an encoder such as .* learns by prefix"):
        effective(recipe({"preset": "tuned"}, {"method": "prefix"}, model=model))
    named = recipe({"preset": "tuned"}, {"method": "prefix", "learning_rate": 1e-3}, model=model)
    assert effective(named)[0]["learning_rate"] == 1e-3


def test_the_method_that_a_recipe_names_reaches_the_preset() -> None:
    first, second = effective(recipe({"preset": "tuned"}, {"method": "lora"}, {"method": "ia3", "learning_rate": 1e-3}))
    assert (first["method"], first["learning_rate"], first["epochs"]) == ("lora", 1e-3, 5)
    assert (second["method"], second["learning_rate"]) == ("ia3", 1e-3)


def test_a_model_is_unpacked_on_a_real_device(tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its weights are counted on none; a built-in model that is asked for the first time is unpacked before that."""

    def unpacked(name: str) -> Path:
        assert torch.empty(0).device.type == "cpu"
        return tiny_models["llama"]

    monkeypatch.setattr(load, "source_of", unpacked)
    assert count_weights("builtin:smollm2-135m-instruct") > 0


def test_a_student_is_measured_by_its_config(tiny_models: dict[str, Path]) -> None:
    assert count_weights("builtin:minilm-l6") == 22_713_216
    llama = 2 * (2 * 32 * 32 + 2 * 32 * 16 + 3 * 32 * 64 + 2 * 32) + 32
    vocabulary = count_weights(str(tiny_models["llama"])) - llama
    assert vocabulary % 32 == 0
    assert vocabulary > 0
    bert, causal = (effective(recipe({"preset": "tuned"}, model=str(tiny_models[k])))[0] for k in ("bert", "llama"))
    assert (bert["method"], bert["learning_rate"]) == ("full", 1e-4)
    assert (causal["method"], causal["rank"], causal["learning_rate"], causal["epochs"]) == ("lora", 8, 3e-4, 4)


def test_followers_get_presets_too(tiny_models: dict[str, Path]) -> None:
    student = FollowerSettings(name="s", model=str(tiny_models["llama"]))
    entry = {"name": "b", "kind": "labels", "path": "x", "category": "question answering"}
    train = InstructRecipe.model_fields["train"].default.model_copy(update={"preset": "tuned"})
    found = InstructRecipe.model_construct(name="r", title="t", train=train, students=(student,), benchmarks=(entry,))
    keys = settled(found).students[0].train
    assert (keys["steps"], keys["learning_rate"]) == (100, 3e-4)


def test_a_model_that_is_not_there_is_one_sentence() -> None:
    with pytest.raises(Exception, match="There is no model folder") as caught:
        settled(recipe({"preset": "tuned"}, model="./nowhere"))
    assert "\n" not in str(caught.value)


def test_a_preset_that_nobody_knows_is_one_sentence() -> None:
    with pytest.raises(RecipeError, match=r"train\.preset = 'best': input should be 'paper' or 'tuned'"):
        recipe({"preset": "best"})


# --- the held rate ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "rate"), [(16, 3e-4), (32, 1.5e-4), (512, 3e-4 / 32)])
def test_a_held_rate_is_the_same_product_for_every_alpha(alpha: float, rate: float) -> None:
    (found,) = effective(recipe({"alpha": alpha, "rank": 8, "reference_scale": 2, "learning_rate": 3e-4}))
    assert found["learning_rate"] == pytest.approx(rate, rel=1e-12)
    assert found["learning_rate"] * alpha / 8 == pytest.approx(3e-4 * 2, rel=1e-12)


def test_rank_stabilised_scales_are_held_by_their_own_measure() -> None:
    (found,) = effective(recipe({"method": "rslora", "alpha": 16, "rank": 4, "reference_scale": 2}))
    assert found["learning_rate"] == pytest.approx(3e-4 * 2 / 8)


def test_methods_without_alpha_keep_their_rate() -> None:
    lora, full = effective(recipe({"reference_scale": 1, "alpha": 32, "rank": 8}, {}, {"method": "full"}))
    assert lora["learning_rate"] == pytest.approx(3e-4 / 4)
    assert full["learning_rate"] == 3e-4


def test_a_scale_of_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"train\.reference_scale = 0: input should be greater than 0"):
        recipe({"reference_scale": 0})


# --- how many updates ---------------------------------------------------------------------------------------------


def test_few_updates_are_warned_of() -> None:
    assert updates(450, 5).startswith("450 items make 5 updates. Warning: fewer than 20 hardly move a student")
    assert updates(450, 1).startswith("450 items make 1 update. Warning")
    assert updates(450, 20) == "450 items make 20 updates"
