"""Contrastive learning: what is a positive, how batches are composed, and that alike items move together."""

from __future__ import annotations

import dataclasses
import random
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from preceptor.config import ContrastiveSettings, TrainSettings
from preceptor.errors import DataError, RecipeError
from preceptor.records import Example
from preceptor.train.batches import TrainingItem, family_of, make_items, mixed_pass, one_pass, stream
from preceptor.train.contrastive import (
    anchors,
    check_contrastive,
    pooled_states,
    positives,
    supervised_contrastive,
)
from preceptor.train.methods import attach
from preceptor.train.objectives import fit


def settings(**keys: Any) -> TrainSettings:
    given = {"batch_size": 8, "objectives": {"contrastive": 1.0}, **keys}
    return TrainSettings.model_validate(given)


def items(count: int, shares: tuple[int, ...] = (11, 7, 2)) -> list[TrainingItem]:
    """Items whose labels are as uneven as PubMedQA's; the first token of a prompt is the item's number."""
    labels = [label for label, share in enumerate(shares) for _ in range(share)]
    return [
        TrainingItem((i, *[7] * (i * 11 % 30)), (1, 2), labels[i * 7 % len(labels)], family=f"item-{i}")
        for i in range(count)
    ]


# --- positives -----------------------------------------------------------------------------------------------------


def test_a_rewrite_is_of_its_parents_family_and_a_new_question_is_not() -> None:
    real = tiny.examples(1)[0]
    rewrite = dataclasses.replace(real, id="item-0-rewrite", origin="rewrite", parents=("item-0",))
    new = dataclasses.replace(rewrite, id="item-0-new", origin="new")
    relabelled = dataclasses.replace(rewrite, label="no", relabelled_from="yes")
    assert [family_of(e) for e in (real, rewrite, new, relabelled)] == [
        "item-0",
        "item-0",
        "item-0-new",
        "item-0-rewrite",
    ]


def test_positives_are_those_of_the_label_and_of_the_family() -> None:
    batch = [TrainingItem((1,), (), label, family=family) for label, family in ((0, "a"), (1, "b"), (0, "c"), (1, "a"))]

    def pairs(*names: str) -> set[tuple[int, int]]:
        found = positives(batch, ContrastiveSettings.model_validate({"positives": names}))
        assert torch.equal(found, found.T)
        return {(i, j) for i, j in found.nonzero().tolist() if i < j}

    assert pairs("label") == {(0, 2), (1, 3)}
    assert pairs("rewrite") == {(0, 3)}
    assert pairs("label", "rewrite") == {(0, 2), (1, 3), (0, 3)}
    assert anchors(batch, ContrastiveSettings(positives=("rewrite",))) == 2
    assert anchors([dataclasses.replace(item, family="") for item in batch], ContrastiveSettings()) == 4


def test_without_positives_the_loss_is_0_and_so_are_its_gradients() -> None:
    for rows in (1, 3):
        states = torch.randn(rows, 4, requires_grad=True)
        together = torch.zeros(rows, rows, dtype=torch.bool)
        loss = supervised_contrastive(states, together, torch.ones(rows), 0.1)
        loss.backward()
        assert loss.item() == 0
        assert states.grad is not None
        assert not states.grad.any()


# --- batches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 7, 8])
@pytest.mark.parametrize("count", [5, 60, 450])
def test_every_item_once_a_pass_within_the_size(count: int, size: int) -> None:
    chosen, made = settings(batch_size=size), items(count)
    for number in range(2):
        batches = mixed_pass(made, chosen, 1, number)
        assert sorted(item.prompt[0] for batch in batches for item in batch) == list(range(count))
        assert all(0 < len(batch) <= size for batch in batches)
        assert len(batches) == len(one_pass(made, chosen, 1, number))  # so steps and passes stay what they are


def test_every_item_has_a_positive_and_several_negatives() -> None:
    made = items(448)
    for number in range(3):
        for batch in mixed_pass(made, settings(), 5, number):
            labels = [item.label for item in batch]
            alone = [item for item in batch if labels.count(item.label) < 2]
            assert len(alone) <= 1  # one that was left over of an odd number in its pool
            assert max(labels.count(label) for label in labels) <= 6
    plain = [batch for number in range(3) for batch in one_pass(made, settings(), 5, number)]
    rare = [sum(item.label == 2 for item in batch) for batch in plain]
    assert rare.count(1) > 20  # as plain batches have it, most of the rare label has no positive


def test_a_rewrite_goes_with_its_parent() -> None:
    real = items(100)
    made = real + [dataclasses.replace(item, prompt=(item.prompt[0] + 1000,)) for item in real[:40]]
    apart = 0
    for batch in mixed_pass(made, settings(), 1, 0):
        families = [item.family for item in batch]
        apart += sum(item.prompt[0] >= 1000 and families.count(item.family) < 2 for item in batch)
    assert apart <= 1  # a pool may end between the two


def test_the_seed_and_the_pass_decide_the_order() -> None:
    def order(seed: int, number: int) -> tuple[int, ...]:
        return tuple(item.prompt[0] for batch in mixed_pass(items(100), settings(), seed, number) for item in batch)

    assert order(1, 0) == order(1, 0)
    assert len({order(seed, number) for seed in (1, 2) for number in (0, 1)}) == 4


def test_only_the_contrastive_objective_changes_the_order() -> None:
    made, plain = items(60), TrainSettings(batch_size=8)
    for name in ("rationale", "distillation"):
        chosen = settings(objectives={name: 1.0}, distillation={"teacher": "someone"})
        assert list(islice(stream(made, chosen, 1), 20)) == list(islice(stream(made, plain, 1), 20))
    mixed = [mixed_pass(made, settings(), 1, number) for number in range(2)]
    assert list(islice(stream(made, settings(), 1), 16)) == [batch for one in mixed for batch in one]


# --- students ------------------------------------------------------------------------------------------------------


def test_items_of_one_label_only_are_refused() -> None:
    with pytest.raises(DataError, match="All 3 training items have the label 'yes'"):
        check_contrastive([dataclasses.replace(example, label="yes") for example in tiny.examples(3)])
    check_contrastive(tiny.examples(2))


def test_several_processes_are_refused() -> None:
    with pytest.raises(RecipeError, match="which several processes would divide"):
        check_contrastive(tiny.examples(2), processes=2)


@pytest.mark.parametrize("pooling", ["mean", "first"])
def test_pooled_states_are_those_of_the_model(pooling: str, tiny_models: dict[str, Path]) -> None:
    for kind in tiny.ARCHITECTURES:
        student = tiny.open_tiny(tiny_models[kind])
        prompts = [item.prompt for item in make_items(student, tiny.TASK, tiny.examples(5))]
        found = pooled_states(student, prompts, pooling)
        for prompt, row in zip(prompts, found, strict=True):
            with torch.inference_mode():
                out = student.model(input_ids=torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0]
            state = out[-1] if kind != "bert" else out[0] if pooling == "first" else out.mean(0)
            np.testing.assert_allclose(row, (state / state.norm()).numpy(), atol=1e-5)


@pytest.mark.parametrize("method", ["lora", "prefix"])
@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_states_can_be_pooled_through_a_method(kind: str, method: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings(method=method, virtual_tokens=4, initialisation="zero", dtype="float32")
    plain = tiny.open_tiny(tiny_models[kind], reserve=4)
    prompts = [item.prompt for item in make_items(plain, tiny.TASK, tiny.examples(4))]
    before = pooled_states(plain, prompts)
    torch.manual_seed(0)
    after = pooled_states(attach(plain, chosen), prompts)
    assert after.shape == before.shape
    if method == "lora":  # which starts as nothing
        np.testing.assert_allclose(after, before, atol=1e-5)


def nearest_label_share(student: Any, made: list[TrainingItem]) -> float:
    rows = pooled_states(student, [item.prompt for item in made])
    cosines = rows @ rows.T - 2 * np.eye(len(rows))
    return float(np.mean([made[int(i)].label == item.label for i, item in zip(cosines.argmax(1), made, strict=True)]))


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_held_out_items_of_a_label_come_to_lie_together(kind: str, tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models[kind])
    train = make_items(student, tiny.TASK, varied(72))
    held_out = train[48:]

    before = nearest_label_share(student, held_out)
    chosen = settings(method="full", dtype="float32", learning_rate=3e-3, objectives={"label": 0, "contrastive": 1.0})
    fitted = fit(student, train[:48], held_out, chosen, steps=80, seed=1)
    assert fitted.losses[-1] < fitted.losses[0]
    assert nearest_label_share(student, held_out) > before + 0.3


def varied(count: int) -> list[Example]:
    """Items in threes: the same eight words before three endings of different labels, so that neighbours by words are
    not neighbours by label.
    """
    made, rng, filler = [], random.Random(0), ""
    for i, example in enumerate(tiny.examples(count, "other")):
        filler = " ".join(rng.choices(tiny.WORDS[10:40], k=8)) if i % 3 == 0 else filler
        ending = " ".join(example.fields["context"].split()[1 + i % 6 :])
        made.append(dataclasses.replace(example, fields={**example.fields, "context": f"{filler} {ending}"}))
    return made
