"""Tuning on instructions: only answers are learnt, what is saved is what was tuned, stock peft reads it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import tiny
from preceptor.config import FollowerSettings, TrainSettings
from preceptor.errors import DataError, InactiveAdapterError, ModelError, RecipeError
from preceptor.models.answers import token_losses
from preceptor.models.follower import restore_follower
from preceptor.records import Instruction
from preceptor.store.stages import read_json
from preceptor.train.batches import TrainingItem
from preceptor.train.cell import FIT
from preceptor.train.course import Fitted
from preceptor.train.methods import attach
from preceptor.train.tune import answer_loss, objective, open_for, prepare, tune_cell

METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", "rank": 4, "learning_rate": 1e-2},
    "prefix": {"method": "prefix", "virtual_tokens": 5, "initialisation": "text", "learning_rate": 1e-2},
    "full": {"method": "full", "learning_rate": 3e-3},
}
SOURCES = {"generated": tiny.tasks(40, "g"), "benchmark": tiny.tasks(50, "b")[40:]}
WEIGHTS = {"generated": 3.0, "benchmark": 1.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_follower(tmp_path_factory.mktemp("follower") / "llama", "llama")


def entry(folder: Path, **keys: Any) -> FollowerSettings:
    return FollowerSettings(name="tiny", model=str(folder), **keys)


def settings(method: str = "lora", **keys: Any) -> TrainSettings:
    given = {"steps": 6, "batch_size": 4, "max_length": 120, "dtype": "float32", **METHODS[method], **keys}
    return TrainSettings.model_validate(given)


def tune(target: Path, model: Path, chosen: TrainSettings, seed: int = 1, **keys: Any) -> dict[str, Any]:
    target.mkdir()
    sources = keys.pop("sources", SOURCES)
    weights = keys.pop("weights", WEIGHTS)
    tune_cell(target, entry(model, **keys), chosen, sources, weights, seed=seed)
    return read_json(target / FIT)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("form", ["chat", "alpaca"])
@pytest.mark.parametrize("method", list(METHODS))
def test_what_was_tuned_is_what_is_restored(method: str, form: str, dtype: str, folder: Path, tmp_path: Path) -> None:
    chosen = settings(method, dtype=dtype)
    tune(tmp_path / "cell", folder, chosen, form=form)
    fresh = open_for(entry(folder, form=form), chosen, seed=1)
    probe = read_json(tmp_path / "cell" / "probe.json")
    assert len(probe["prompts"]) == len(probe["targets"]) == 3  # all of this little validation
    np.testing.assert_array_equal(fresh.logprobs(probe["prompts"], probe["targets"]), probe["before"])
    restored = restore_follower(fresh, tmp_path / "cell")
    np.testing.assert_array_equal(restored.logprobs(probe["prompts"], probe["targets"]), probe["after"])
    assert np.abs(np.array(probe["after"]) - np.array(probe["before"])).max() > 1e-2
    assert not restored.model.training


def test_the_record_says_what_training_did(folder: Path, tmp_path: Path) -> None:
    long = Instruction("long", "does the drug improve pain ?", "", "pain " * 150, "other")
    wordy = Instruction("wordy", "does the drug improve pain ?", "sleep " * 150, "no", "other")
    sources = {"generated": [*SOURCES["generated"], long, wordy], "benchmark": SOURCES["benchmark"]}
    found = tune(tmp_path / "cell", folder, settings(accumulation=2), sources=sources, seed=3)
    assert (found["steps"], len(found["losses"])) == (6, 6)
    assert sum(found["seen"].values()) == 6 * 2 * 4
    assert found["seen"]["generated"] > found["seen"]["benchmark"] > 0
    assert (found["too_long"], found["cut"], found["form"]) == (1, 1, "chat")
    assert found["validation"] == 3
    # Tasks of `tiny.tasks` repeat after 60, so 40 and 10 are all different; 2 and 1 are held out.
    assert found["items"] == {"generated": 39, "benchmark": 9}
    assert [point["step"] for point in found["checks"]] == [2, 3, 4, 6]
    assert found["selected"] == min(found["checks"], key=lambda point: point["loss"])["step"]
    assert found["seconds"] > 0
    assert found["tokens"] > 6 * 2 * 4 * 10
    weights = load_file(tmp_path / "cell" / "adapter_model.safetensors")
    assert found["trainable"] == sum(value.numel() for value in weights.values())


def test_select_last_looks_at_validation_only_at_the_end(folder: Path, tmp_path: Path) -> None:
    found = tune(tmp_path / "cell", folder, settings(select="last"))
    assert [point["step"] for point in found["checks"]] == [6]
    assert found["selected"] == 6


def test_stock_peft_loads_the_adapter_and_gives_the_same_logits(folder: Path, tmp_path: Path) -> None:
    chosen = settings()
    tune(tmp_path / "cell", folder, chosen)
    restored = restore_follower(open_for(entry(folder), chosen, seed=1), tmp_path / "cell")
    base = AutoModelForCausalLM.from_pretrained(folder)
    plain = peft.PeftModel.from_pretrained(base, tmp_path / "cell").eval()
    ids = torch.tensor(restored.form.prompt_ids(tiny.tasks(1)))
    with torch.no_grad():
        torch.testing.assert_close(plain(input_ids=ids).logits, restored.model(input_ids=ids).logits, atol=1e-6, rtol=0)
    assert {p.suffix for p in (tmp_path / "cell").iterdir()} == {".json", ".safetensors"}


def test_weights_that_are_not_those_that_were_tuned_are_refused(folder: Path, tmp_path: Path) -> None:
    chosen = settings()
    tune(tmp_path / "cell", folder, chosen)
    file = tmp_path / "cell" / "adapter_model.safetensors"
    weights = load_file(file)
    save_file({name: value * 1.5 for name, value in weights.items()}, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="answer differently from the model that was trained"):
        restore_follower(open_for(entry(folder), chosen, seed=1), tmp_path / "cell")
    save_file({name: value * 0 for name, value in weights.items()}, file, metadata={"format": "pt"})
    with pytest.raises(InactiveAdapterError, match="do not change the output"):
        restore_follower(open_for(entry(folder), chosen, seed=1), tmp_path / "cell")


def test_the_seed_fixes_the_weights(folder: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        tune(tmp_path / name, folder, settings(), seed=seed)
    written = {name: (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "abc"}
    assert written["a"] == written["b"]
    assert written["a"] != written["c"]


def test_instructions_are_learnt(folder: Path, tmp_path: Path) -> None:
    found = tune(tmp_path / "cell", folder, settings("full", steps=80, batch_size=8))
    assert found["checks"][-1]["loss"] < 0.2 * found["losses"][0]


# --- the loss -----------------------------------------------------------------------------------------------------


def items_of(folder: Path) -> tuple[Any, list[TrainingItem]]:
    follower = open_for(entry(folder), settings("full"), seed=1)
    return follower, prepare(follower, tiny.tasks(6)).items


def test_the_loss_is_that_of_transformers_where_only_the_answer_is_labelled(folder: Path) -> None:
    follower, items = items_of(folder)
    total, count = 0.0, 0
    for item in items:
        ids = torch.tensor([[*item.prompt, *item.target]])
        labels = torch.tensor([[-100] * len(item.prompt) + list(item.target)])
        total += follower.model(input_ids=ids, labels=labels).loss.item() * len(item.target)
        count += len(item.target)
    assert len({len(item.target) for item in items}) > 1
    assert answer_loss(follower, items).item() == pytest.approx(total, abs=1e-4)
    look = objective(follower, items, settings("full"), 6)
    assert look.check(2).loss == pytest.approx(total / count, abs=1e-5)
    follower.model.requires_grad_(True)
    assert look.gradients([items], Fitted(1, 1)) == pytest.approx(total / count, abs=1e-5)


def test_accumulated_batches_give_the_gradient_of_one_large_batch(folder: Path) -> None:
    """The mean is over all tokens of a step: batches with short and long answers may be cut anywhere."""
    follower, items = items_of(folder)
    follower.model.requires_grad_(True)
    gradients = []
    for parts in ([items], [items[:1], items[1:]], [items[:2], items[2:3], items[3:]]):
        follower.model.zero_grad()
        objective(follower, items, settings("full"), 6).gradients(parts, Fitted(1, 1))
        gradients.append({n: p.grad.clone() for n, p in follower.model.named_parameters() if p.grad is not None})
    for other in gradients[1:]:
        for name, value in gradients[0].items():
            torch.testing.assert_close(other[name], value, atol=1e-6, rtol=1e-4, msg=name)


def test_the_weight_of_a_task_counts_and_weights_of_one_change_no_bit(folder: Path) -> None:
    follower, items = items_of(folder)
    single = [answer_loss(follower, [item]).item() for item in items]
    weights = (0.5, 1.0, 0.25, 2.0, 1.0, 3.0)
    weighted = [dataclasses.replace(item, weight=weight) for item, weight in zip(items, weights, strict=True)]
    expected = sum(weight * loss for weight, loss in zip(weights, single, strict=True))
    assert answer_loss(follower, weighted).item() == pytest.approx(expected, rel=1e-5)
    prompts, targets = [item.prompt for item in items], [item.target for item in items]
    plain = token_losses(follower.model, follower.loaded, prompts, targets).sum()
    assert torch.equal(answer_loss(follower, items), plain)


# --- what is refused ----------------------------------------------------------------------------------------------


def test_answers_are_not_cut_for_training_and_long_inputs_are(folder: Path) -> None:
    follower = open_for(entry(folder), settings(max_length=30), seed=1)
    short = tiny.tasks(1)[0]
    wordy = Instruction("wordy", short.instruction, "sleep " * 50 + short.input, short.output, "other")
    long = Instruction("long", short.instruction, short.input, "pain " * 30, "other")
    found = prepare(follower, [short, wordy, long], "here")
    assert (len(found.items), found.cut, found.too_long) == (2, 1, 1)
    assert {item.source for item in found.items} == {"here"}
    assert len(found.items[1].prompt) + len(found.items[1].target) == 30
    assert found.items[1].target == found.items[0].target


def test_a_source_of_which_nothing_fits_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    long = [Instruction(f"{i}", "pain ?", "", f"{'pain ' * 200} {i}", "other") for i in range(30)]
    with pytest.raises(DataError, match="No task of 'long' fits into 120 tokens"):
        tune(tmp_path / "cell", folder, settings(), sources={**SOURCES, "long": long}, weights={**WEIGHTS, "long": 1})


@pytest.mark.parametrize(
    "keys", [{"select": "accuracy"}, {"select": "macro_f1"}, {"steps": None}, {"objectives": {"contrastive": 1}}]
)
def test_settings_that_instructions_cannot_have_are_one_sentence(
    keys: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=r"train\.[so]"):
        tune(tmp_path / "cell", folder, settings(**keys))


def test_an_encoder_is_refused(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="The student tiny is an encoder"):
        tune(tmp_path / "cell", tiny_models["bert"], settings())


def test_a_prefix_that_does_not_fit_is_refused_before_training(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="60 virtual tokens"):
        tune(tmp_path / "cell", folder, settings("prefix", virtual_tokens=60))
    assert not list((tmp_path / "cell").iterdir())


def test_dropout_of_the_adapter_is_on_while_tuning(folder: Path, tmp_path: Path) -> None:
    plain = tune(tmp_path / "a", folder, settings())
    dropped = tune(tmp_path / "b", folder, settings(dropout=0.5))
    assert plain["losses"][1:] != dropped["losses"][1:]
    follower = attach(open_for(entry(folder), settings(), seed=1), settings())
    assert not follower.model.training
