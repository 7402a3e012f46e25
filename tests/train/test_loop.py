"""The training loop against stock parts: transformers' own loss, torch's own AdamW, scikit-learn's own F1."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import ModelError
from preceptor.models.student import Student
from preceptor.train.batches import TrainingItem, evened, make_items
from preceptor.train.course import Fitted
from preceptor.train.loop import Optimiser
from preceptor.train.methods import attach
from preceptor.train.objectives import _one_step, batch_loss, check, fit


def settings(**keys: Any) -> TrainSettings:
    return TrainSettings.model_validate({"method": "full", "dtype": "float32", "batch_size": 6, **keys})


def weights(student: Student) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in student.model.named_parameters()}


def gradients(student: Student, *batches: list[TrainingItem]) -> dict[str, torch.Tensor]:
    """Gradients of one optimiser step over these batches."""
    student.model.zero_grad()
    _one_step(student, batches, Fitted(1, 1))
    return {name: p.grad.clone() for name, p in student.model.named_parameters() if p.grad is not None}


@pytest.fixture
def data(tiny_models: dict[str, Path]) -> tuple[list[TrainingItem], list[TrainingItem]]:
    """Training and validation items for the tiny LLaMA."""
    student = tiny.open_tiny(tiny_models["llama"])
    made = make_items(student, tiny.TASK, tiny.examples(30))
    return made[:24], made[24:]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_loss_is_that_of_transformers_over_all_logits(kind: str, tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models[kind], ("yes", "maybe not sure", "no pain"))
    prompts = student.encode(["pain fell answer:", "a b c d e f g pain rose answer:", "answer:", "pain answer:"])
    end = student.loaded.tokenizer.eos_token_id
    batch = [TrainingItem(tuple(p), (*student.targets[i % 3], end), i % 3) for i, p in enumerate(prompts)]
    expected = 0.0
    for item in batch:
        ids = torch.tensor([[*item.prompt, *item.target]])
        labels = torch.tensor([[-100] * len(item.prompt) + list(item.target)])
        # Its loss is a mean over the answer's tokens.
        expected += student.model(input_ids=ids, labels=labels).loss.item() * len(item.target)
    found = batch_loss(student, batch)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(expected, abs=1e-4)


def test_the_loss_of_an_encoder_is_that_of_its_head(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["bert"])
    batch = make_items(student, tiny.TASK, tiny.examples(5))
    expected = sum(
        student.model(input_ids=torch.tensor([item.prompt]), labels=torch.tensor([item.label])).loss.item()
        for item in batch
    )
    assert batch_loss(student, batch).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_accumulated_batches_give_the_gradient_of_one_large_batch(kind: str, tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models[kind])
    made = make_items(student, tiny.TASK, tiny.examples(12))
    whole = gradients(student, made)
    assert len(whole) > 10
    for parts in ([made[:4], made[4:8], made[8:]], [made[:1], made[1:]]):  # equal and unequal parts
        cut = gradients(student, *parts)
        for name, value in whole.items():
            torch.testing.assert_close(cut[name], value, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_a_learnable_task_is_learnt(kind: str, tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models[kind])
    train = make_items(student, tiny.TASK, tiny.examples(30))
    held_out = make_items(student, tiny.TASK, tiny.examples(36, "other")[30:])
    before = check(student, held_out)
    fitted = fit(student, train, held_out, settings(learning_rate=3e-3), steps=60, seed=1)
    after = check(student, held_out)
    assert fitted.losses[-1] < 0.2 * fitted.losses[0]
    assert after.loss < 0.5 * before.loss
    assert after.accuracy == 1.0


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    found = []
    for seed in (1, 1, 2):
        student = tiny.open_tiny(tiny_models["llama"])
        fit(student, *data, settings(), steps=5, seed=seed)
        found.append(weights(student))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert not all(torch.equal(found[0][name], found[2][name]) for name in found[0])


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_the_loss_counts_each_item_by_its_weight(kind: str, tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models[kind])
    made = make_items(student, tiny.TASK, tiny.examples(4))
    single = [batch_loss(student, [item]).item() for item in made]
    weighted = [dataclasses.replace(item, weight=w) for item, w in zip(made, (0.5, 1.0, 0.25, 2.0), strict=True)]
    expected = sum(item.weight * loss for item, loss in zip(weighted, single, strict=True))
    assert batch_loss(student, weighted).item() == pytest.approx(expected, rel=1e-5)


def test_weights_of_one_change_no_bit_and_equal_weights_change_nothing(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    train, held_out = data
    assert evened(train) == train
    found = []
    for weight in (1.0, 0.3):
        student = tiny.open_tiny(tiny_models["llama"])
        fit(student, [dataclasses.replace(i, weight=weight) for i in train], held_out, settings(), steps=5, seed=1)
        found.append(weights(student))
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, atol=1e-6, rtol=1e-4, msg=name)


def test_items_of_small_weight_are_learnt_less(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    """Half of the items say "yes" to what the other half says "no"; the weights decide."""
    train, held_out = data
    yes, no = ([i for i in train if i.label == k] for k in (0, 1))
    told_no = [dataclasses.replace(i, prompt=p.prompt) for i, p in zip(no, yes, strict=True)]
    for heavy, light, says in ((yes, told_no, 0), (told_no, yes, 1)):
        student = tiny.open_tiny(tiny_models["llama"])
        items = [*heavy, *(dataclasses.replace(i, weight=0.02) for i in light)]
        fit(student, items, held_out, settings(learning_rate=3e-3, select="last"), steps=30, seed=1)
        said = student.logprobs([i.prompt for i in yes]).argmax(axis=1)
        assert (said == says).all()


def constant_gradient_steps(student: Student, step: Any, count: int) -> None:
    """Take `count` steps in which every weight's gradient is its sign."""
    for _ in range(count):
        for weight in student.model.parameters():
            weight.grad = weight.detach().sign()
        step()


def test_a_bfloat16_weight_moves_by_steps_that_are_too_small_for_it(tiny_models: dict[str, Path]) -> None:
    steps, rate = 100, 2e-5
    ours, naive, exact = (tiny.open_tiny(tiny_models["llama"], dtype="bfloat16") for _ in range(3))
    exact.model.float()
    start = weights(naive)
    mine = Optimiser(ours, settings(learning_rate=rate, warmup=0.1), steps)
    constant_gradient_steps(ours, mine.step, steps)
    plain = torch.optim.AdamW(naive.model.parameters(), lr=rate, weight_decay=0.0)
    constant_gradient_steps(naive, plain.step, steps)
    reference = Optimiser(exact, settings(learning_rate=rate, warmup=0.1), steps)
    constant_gradient_steps(exact, reference.step, steps)
    name = "model.embed_tokens.weight"
    large = start[name].abs() > 0.05  # one part in 256 of which is more than a step
    moved = {key: (weights(s)[name] != start[name])[large] for key, s in (("ours", ours), ("naive", naive))}
    assert not moved["naive"].any()
    assert moved["ours"].float().mean() > 0.5
    for key, value in weights(ours).items():
        assert value.dtype == torch.bfloat16
        assert torch.equal(value, weights(exact)[key].bfloat16()), key


def test_the_learning_rate_rises_and_falls_linearly(tiny_models: dict[str, Path]) -> None:
    optimiser = Optimiser(tiny.open_tiny(tiny_models["llama"]), settings(learning_rate=1.0, warmup=0.2), 10)
    rates = []
    for _ in range(10):
        rates.append(optimiser.adamw.param_groups[0]["lr"])
        optimiser.adamw.step()
        optimiser.schedule.step()
    np.testing.assert_allclose(rates, [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8])


@pytest.mark.parametrize("rule", ["loss", "accuracy", "macro_f1", "last"])
def test_the_best_state_is_kept_or_the_last(
    rule: str, tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    """Training on wrong labels makes validation worse with every check after the model once knew them."""
    student = tiny.open_tiny(tiny_models["llama"])
    train, held_out = data
    fit(student, train, held_out, settings(learning_rate=3e-3), steps=30, seed=1)
    targets = {item.label: item.target for item in train}
    wrong = [
        dataclasses.replace(item, label=(item.label + 1) % 3, target=targets[(item.label + 1) % 3]) for item in train
    ]
    fitted = fit(student, wrong, held_out, settings(learning_rate=1e-3, select=rule, warmup=0.0), steps=16, seed=1)
    points = {point.step: point for point in fitted.checks}
    assert sorted(points) == [5, 11, 16]  # once a pass: `epochs` is 3
    assert fitted.selected == (16 if rule == "last" else 5)
    assert points[5].loss < points[16].loss
    now = check(student, held_out, fitted.selected)
    then = points[fitted.selected]
    # Training's lean layers reorder sums; a look afterwards is through the stock ones.
    assert now == dataclasses.replace(then, loss=now.loss)
    assert now.loss == pytest.approx(then.loss, abs=1e-5)


def test_with_steps_validation_is_looked_at_four_times(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    fitted = fit(tiny.open_tiny(tiny_models["llama"]), *data, settings(steps=8), steps=8, seed=1)
    assert [point.step for point in fitted.checks] == [2, 4, 6, 8]
    short = fit(tiny.open_tiny(tiny_models["llama"]), *data, settings(steps=1), steps=1, seed=1)
    assert [point.step for point in short.checks] == [1]


def test_what_training_did_is_counted(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    seen: list[tuple[int, int]] = []
    fitted = fit(
        student,
        *data,
        settings(accumulation=2),
        steps=4,
        seed=1,
        on_step=lambda step, steps, loss: seen.append((step, steps)),
    )
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(fitted.losses) == 4
    assert fitted.tokens == 2 * sum(item.length for item in data[0])  # 8 batches of 6 are two passes over 24 items
    assert fitted.trainable == sum(p.numel() for p in student.model.parameters())
    assert not student.model.training


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_the_models_own_dropout_is_off_and_loras_is_on_when_asked_for(
    dropout: float, tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    chosen = settings(method="lora", dropout=dropout)
    student = attach(tiny.open_tiny(tiny_models["llama"]), chosen)
    modes: dict[str, set[bool]] = {"own": set(), "lora": set()}

    def look(step: int, steps: int, loss: float) -> None:
        for name, module in student.model.named_modules():
            modes["lora" if "lora_dropout" in name else "own"].add(module.training)

    fit(student, *data, chosen, steps=1, seed=1, on_step=look)
    assert modes == {"own": {False}, "lora": {dropout > 0}}
    assert not any(module.training for module in student.model.modules())


def test_a_loss_that_is_no_number_stops_the_run(
    tiny_models: dict[str, Path], data: tuple[list[TrainingItem], list[TrainingItem]]
) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    with pytest.raises(ModelError, match="The training loss became nan at step") as caught:
        fit(student, *data, settings(learning_rate=1e30, warmup=0.0), steps=5, seed=1)
    assert "train.learning_rate" in caught.value.hint


def test_check_agrees_with_scikit_learn(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    held_out = make_items(student, tiny.TASK, tiny.examples(30))
    for gold in ([item.label for item in held_out], [0] * 30, [1, 2] * 15):
        labelled = [dataclasses.replace(item, label=label) for item, label in zip(held_out, gold, strict=True)]
        found = check(student, labelled)
        logprobs = student.logprobs([item.prompt for item in held_out])
        said = logprobs.argmax(axis=1)
        expected = f1_score(gold, said, labels=[0, 1, 2], average="macro", zero_division=0)
        assert found.macro_f1 == pytest.approx(expected)
        assert found.accuracy == pytest.approx(np.mean(said == np.array(gold)))
        assert found.loss == pytest.approx(-np.mean([row[g] for row, g in zip(logprobs, gold, strict=True)]))
