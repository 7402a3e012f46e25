"""Each objective against a plain reference: one item at a time, whole sequences, formulas as the papers print them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny
from preceptor.config import TrainSettings
from preceptor.models.student import Student
from preceptor.train import objectives
from preceptor.train.batches import Taught, TrainingItem, evened, make_items, stream
from preceptor.train.course import Fitted
from preceptor.train.distillation import token_divergence
from preceptor.train.methods import attach
from preceptor.train.objectives import _summed_step, batch_loss, fit
from preceptor.train.rationale import with_rationales

WEIGHTS = (0.5, 1.5, 1.0, 2.0, 0.25, 0.75)
K = 5
Reference = Callable[[Student, Sequence[TrainingItem], TrainSettings], torch.Tensor]


def settings(weights: dict[str, float], **keys: Any) -> TrainSettings:
    given = {"method": "full", "dtype": "float32", "batch_size": 6, "objectives": {"label": 0, **weights}, **keys}
    if weights.get("distillation"):
        given["distillation"] = {"teacher": "someone", "temperature": 2.0, "top_k": K, **keys.get("distillation", {})}
    return TrainSettings.model_validate(given)


def taught_items(student: Student, chosen: TrainSettings, count: int = 6) -> list[TrainingItem]:
    """Items with weights, second tasks, and what an invented teacher thinks of them."""
    examples = [
        dataclasses.replace(example, weight=weight, label=student.labels[i % len(student.labels)])
        for i, (example, weight) in enumerate(zip(tiny.examples(count), WEIGHTS * count, strict=False))
    ]
    task = dataclasses.replace(tiny.TASK, labels=student.labels)
    made = make_items(student, task, examples)
    if student.head == "causal" and chosen.objectives.rationale:
        made = with_rationales(student, task, examples, made, chosen.rationale)
    rng = np.random.default_rng(0)

    def think(item: TrainingItem) -> TrainingItem:
        ids, chances = [], []
        for _ in item.target:
            drawn = rng.dirichlet(np.full(len(student.loaded.tokenizer), 0.1))
            best = np.argsort(-drawn)[:K]
            ids.append(best.astype(np.uint32))
            chances.append([*drawn[best], 1 - drawn[best].sum()])
        found = Taught(rng.normal(size=len(student.labels)), np.array(ids), np.array(chances, dtype=np.float16))
        return dataclasses.replace(item, taught=found, rationale=item.rationale and think(item.rationale))

    return [think(item) for item in made]


# --- the references ------------------------------------------------------------------------------------------------


def sequence_logprobs(student: Student, prompt: Sequence[int], target: Sequence[int], temperature: float = 1.0) -> Any:
    """[tokens of the target, vocabulary], from one unpadded pass over the whole sequence."""
    logits = student.model(input_ids=torch.tensor([[*prompt, *target]])).logits[0]
    return torch.log_softmax(logits[len(prompt) - 1 : -1] / temperature, dim=-1)


def label_reference(student: Student, items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
    total = torch.zeros(())
    for item in items:
        if student.head == "encoder":
            logits = student.model(input_ids=torch.tensor([item.prompt])).logits[0]
            total = total - item.weight * torch.log_softmax(logits, 0)[item.label]
        else:
            logs = sequence_logprobs(student, item.prompt, item.target)
            total = total - item.weight * sum(logs[k, token] for k, token in enumerate(item.target))
    return total / len(items)


def rationale_reference(student: Student, items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
    """transformers' own loss, a mean over the labelled tokens."""
    total, count = torch.zeros(()), 0
    for item in items:
        if item.rationale is not None:
            prompt, target = list(item.rationale.prompt), list(item.rationale.target)
            labels = torch.tensor([[-100] * len(prompt) + target])
            total = total + item.weight * student.model(input_ids=torch.tensor([prompt + target]), labels=labels).loss
            count += 1
    return total / count


def labels_reference(student: Student, items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
    temperature = chosen.distillation.temperature
    total = torch.zeros(())
    for item in items:
        if student.head == "encoder":
            scores = student.model(input_ids=torch.tensor([item.prompt])).logits[0]
        else:
            scores = torch.stack(
                [
                    sum(sequence_logprobs(student, item.prompt, target)[k, token] for k, token in enumerate(target))
                    for target in student.targets
                ]
            )
        given = torch.exp(scores / temperature) / torch.exp(scores / temperature).sum()
        powers = [math.exp(value / temperature) for value in item.taught.labels]
        wanted = [power / sum(powers) for power in powers]
        found = sum(p * (math.log(p) - torch.log(q)) for p, q in zip(wanted, given, strict=True))
        total = total + item.weight * temperature**2 * found
    return total / len(items)


def tokens_reference(student: Student, items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
    temperature = chosen.distillation.temperature
    total = torch.zeros(())
    for item in items:
        chances = sequence_logprobs(student, item.prompt, item.target, temperature).exp()
        for position, row in enumerate(chances):
            ids, wanted = item.taught.ids[position].astype(int), item.taught.probabilities[position].astype(float)
            wanted = wanted / wanted.sum()
            given = [*(row[i] for i in ids), 1 - row[ids].sum()]
            found = sum(p * (math.log(p) - torch.log(q)) for p, q in zip(wanted, given, strict=True))
            total = total + item.weight * temperature**2 * found / len(item.target)
    return total / len(items)


def contrastive_reference(student: Student, items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
    """Equation 2 of Khosla et al., term by term."""
    rows = []
    for item in items:
        states = student.model(input_ids=torch.tensor([item.prompt]), output_hidden_states=True).hidden_states[-1][0]
        row = states[-1] if student.head == "causal" else states.mean(0)
        rows.append(row / row.norm())
    total, count = torch.zeros(()), 0
    for i, item in enumerate(items):
        friends = [p for p in range(len(items)) if p != i and items[p].label == item.label]
        if not friends:
            continue
        count += 1
        terms = {a: torch.exp(rows[i] @ rows[a] / chosen.contrastive.temperature) for a in range(len(items)) if a != i}
        found = sum(torch.log(terms[p] / sum(terms.values())) for p in friends)
        total = total - item.weight * found / len(friends)
    return total / count


LABEL = {"label": 1.0}
CASES: dict[str, tuple[tuple[str, ...], dict[str, float], dict[str, Any], Sequence[tuple[float, Reference]]]] = {
    "label": (tiny.ARCHITECTURES, {"label": 0.5}, {}, [(0.5, label_reference)]),
    "rationale": (("llama", "gpt2"), {"rationale": 0.7}, {}, [(0.7, rationale_reference)]),
    "labels of a teacher": (tiny.ARCHITECTURES, {"distillation": 0.6}, {}, [(0.6, labels_reference)]),
    "tokens of a teacher": (
        ("llama", "gpt2"),
        {"distillation": 0.6},
        {"distillation": {"targets": "tokens"}},
        [(0.6, tokens_reference)],
    ),
    "contrastive": (tiny.ARCHITECTURES, {"contrastive": 0.3}, {}, [(0.3, contrastive_reference)]),
    "all of them": (
        ("llama", "gpt2"),
        {"label": 0.5, "rationale": 0.7, "distillation": 0.6, "contrastive": 0.3},
        {},
        [
            (0.5, label_reference),
            (0.7, rationale_reference),
            (0.6, labels_reference),
            (0.3, contrastive_reference),
        ],
    ),
}


def compare(student: Student, chosen: TrainSettings, items: Sequence[TrainingItem], parts: Any, cuts: Any) -> None:
    trained = {name: p for name, p in student.model.named_parameters() if p.requires_grad}
    assert trained
    expected = sum(weight * reference(student, items, chosen) for weight, reference in parts)
    wanted = torch.autograd.grad(expected, list(trained.values()), allow_unused=True, materialize_grads=True)
    for cut in cuts:
        student.model.zero_grad()
        found = _summed_step(student, chosen, cut, Fitted(1, 1))
        assert found == pytest.approx(expected.item(), rel=1e-4, abs=1e-5)
        for (name, weight), gradient in zip(trained.items(), wanted, strict=True):
            given = torch.zeros_like(weight) if weight.grad is None else weight.grad
            torch.testing.assert_close(given, gradient, atol=2e-5, rtol=2e-3, msg=name)
    assert max(float(gradient.abs().max()) for gradient in wanted) > 1e-3


@pytest.mark.parametrize("labels", [("yes", "no", "maybe"), ("yes", "maybe not sure", "no pain")])
@pytest.mark.parametrize(("kind", "case"), [(kind, case) for case, (kinds, *_) in CASES.items() for kind in kinds])
def test_loss_and_gradients_are_those_of_the_reference(
    kind: str, case: str, labels: tuple[str, ...], tiny_models: dict[str, Path]
) -> None:
    _, weights, keys, parts = CASES[case]
    chosen = settings(weights, **keys)
    student = tiny.open_tiny(tiny_models[kind], labels)
    items = taught_items(student, chosen)
    # The contrastive loss compares the items of a batch, so only the others may be cut anywhere.
    cuts = [[items]] if chosen.objectives.contrastive else [[items], [items[:1], items[1:4], items[4:]]]
    compare(student, chosen, items, parts, cuts)


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_the_gradients_of_lora_weights_are_those_of_the_reference(kind: str, tiny_models: dict[str, Path]) -> None:
    chosen = settings({"label": 1.0, "distillation": 0.6, "contrastive": 0.3}, method="lora", rank=2)
    torch.manual_seed(0)
    student = attach(tiny.open_tiny(tiny_models[kind]), chosen)
    with torch.no_grad():  # LoRA starts at 0, where half of its gradients are
        for name, weight in student.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    parts = [(1.0, label_reference), (0.6, labels_reference), (0.3, contrastive_reference)]
    items = taught_items(student, chosen)
    compare(student, chosen, items, parts, [[items]])


def test_the_tokens_of_a_rationale_are_distilled_too(tiny_models: dict[str, Path]) -> None:
    chosen = settings({"rationale": 0.7, "distillation": 0.6}, distillation={"targets": "tokens"})
    student = tiny.open_tiny(tiny_models["llama"])
    items = taught_items(student, chosen)
    second = [dataclasses.replace(i.rationale, weight=i.weight) for i in items if i.rationale is not None]
    assert len(second) == len(items)

    def explained(student: Student, _items: Sequence[TrainingItem], chosen: TrainSettings) -> torch.Tensor:
        return tokens_reference(student, second, chosen)

    parts = [(0.7, rationale_reference), (0.6, tokens_reference), (0.6, explained)]
    compare(student, chosen, items, parts, [[items], [items[:2], items[2:]]])


# --- the sum -------------------------------------------------------------------------------------------------------


def test_the_label_alone_takes_the_loss_and_the_batches_that_it_always_took(
    tiny_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit: the loss is the mean of `batch_loss`, and nothing of the sum is called."""
    monkeypatch.setattr(objectives, "_summed_step", None)
    student = tiny.open_tiny(tiny_models["llama"])
    items = make_items(student, tiny.TASK, tiny.examples(12))
    chosen = TrainSettings(method="full", dtype="float32", batch_size=6)
    (first,) = islice(stream(evened(items), chosen, 1), 1)
    expected = (batch_loss(student, first) / len(first)).item()
    assert fit(student, items, items, chosen, steps=1, seed=1).losses == [expected]


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_the_contrastive_mean_is_over_the_items_that_have_a_positive(kind: str, tiny_models: dict[str, Path]) -> None:
    """Five items of three labels, one of which stands alone; and batches whose items are not compared."""
    chosen = settings({"contrastive": 0.3})
    student = tiny.open_tiny(tiny_models[kind])
    items = taught_items(student, chosen)[:5]
    parts = [(0.3, contrastive_reference)]
    compare(student, chosen, items, parts, [[items]])
    pair = [items[0], items[3]]
    found = _summed_step(student, chosen, [items, pair], Fitted(1, 1))
    both = 4 * contrastive_reference(student, items, chosen) + 2 * contrastive_reference(student, pair, chosen)
    assert found == pytest.approx(0.3 * both.item() / 6, rel=1e-4)


def test_items_without_a_rationale_learn_their_label_alone(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    chosen = settings({"label": 1.0, "rationale": 0.5})
    items = taught_items(student, chosen)
    some = [dataclasses.replace(item, rationale=None if i % 2 else item.rationale) for i, item in enumerate(items)]
    parts = [(1.0, label_reference), (0.5, rationale_reference)]
    compare(student, chosen, some, parts, [[some], [some[1::2], some[::2]]])
    bare = [dataclasses.replace(item, rationale=None) for item in items]
    compare(student, chosen, bare, parts[:1], [[bare]])
    assert _summed_step(student, settings({"rationale": 1.0}), [bare], Fitted(1, 1)) == 0.0


def test_tokens_of_second_tasks_are_counted(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    chosen = settings({"label": 1.0, "rationale": 0.5})
    items = taught_items(student, chosen)
    fitted = Fitted(1, 1)
    _summed_step(student, chosen, [items], fitted)
    assert fitted.tokens == sum(item.length + item.rationale.length for item in items if item.rationale)


def test_the_remainder_of_a_distribution_keeps_its_digits_where_the_student_is_sure() -> None:
    """1 minus a sum that rounds to 1 would be minus infinity as a logarithm, and its gradient no number."""
    logits = torch.tensor([[60.0, 0.0, 0.0, 0.0]], requires_grad=True)
    found = token_divergence(logits, torch.tensor([[0]]), torch.tensor([[0.5, 0.5]]), 1.0)
    assert found.item() == pytest.approx(math.log(0.5) + 0.5 * (60 - math.log(3)), rel=1e-5)
    found.sum().backward()
    assert torch.isfinite(logits.grad).all()
