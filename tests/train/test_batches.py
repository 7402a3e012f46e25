"""Batches: every item once a pass, within the budget, the same for the same seed; steps that only real items fix."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

import tiny
from preceptor.config import TrainSettings
from preceptor.data.base import render_all
from preceptor.train.batches import TrainingItem, count_steps, evened, make_items, one_pass, stream


def items(count: int, longest: int = 40) -> list[TrainingItem]:
    """Items of different lengths; the first token of a prompt is the item's number."""
    return [TrainingItem((i, *[7] * (i * 11 % longest)), (1, 2), i % 3) for i in range(count)]


def numbers(batches: list[list[TrainingItem]]) -> list[int]:
    return [item.prompt[0] for batch in batches for item in batch]


@pytest.mark.parametrize("batch_tokens", [None, 64, 100])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_every_item_once_per_pass(count: int, batch_tokens: int | None) -> None:
    settings = TrainSettings(batch_size=4, batch_tokens=batch_tokens)
    for number in range(3):
        assert sorted(numbers(one_pass(items(count), settings, 1, number))) == list(range(count))


def test_no_batch_exceeds_its_size_or_its_tokens_padding_included() -> None:
    settings = TrainSettings(batch_size=6, batch_tokens=80)
    batches = one_pass(items(300), settings, 5, 0)
    assert all(len(batch) <= 6 for batch in batches)
    assert all(len(batch) * max(item.length for item in batch) <= 80 for batch in batches)
    assert max(len(batch) for batch in batches) == 6  # short items do fill a batch
    assert len(batches) < 200  # and most batches hold several


def test_an_item_beyond_the_budget_goes_alone() -> None:
    batches = one_pass(items(60, longest=59), TrainSettings(batch_size=8, batch_tokens=30), 1, 0)
    large = [batch for batch in batches if max(item.length for item in batch) > 30]
    assert large
    assert all(len(batch) == 1 for batch in large)


def test_batches_hold_items_of_similar_length() -> None:
    settings = TrainSettings(batch_size=8)
    batches = one_pass(items(512), settings, 1, 0)
    padded = sum(len(batch) * max(item.length for item in batch) for batch in batches)
    real = sum(item.length for batch in batches for item in batch)
    assert padded < 1.1 * real  # cut from a plain shuffle, these lengths would waste about 80 %


def test_the_seed_and_the_pass_decide_the_order() -> None:
    settings = TrainSettings(batch_size=4)

    def order(seed: int, number: int) -> list[int]:
        return numbers(one_pass(items(100), settings, seed, number))

    assert order(1, 0) == order(1, 0)
    assert len({tuple(order(seed, number)) for seed in (1, 2) for number in (0, 1)}) == 4


def test_the_stream_is_pass_after_pass() -> None:
    settings = TrainSettings(batch_size=4)
    passes = [one_pass(items(10), settings, 3, number) for number in range(3)]
    together = [batch for one in passes for batch in one]
    assert list(islice(stream(items(10), settings, 3), len(together))) == together


def test_the_length_counts_tokens_that_are_read() -> None:
    assert TrainingItem((5, 6, 7), (8, 9), 0).length == 4  # the last target token is only predicted
    assert TrainingItem((5, 6, 7), (), 0).length == 3


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"epochs": 3}, 30),  # 80 items in batches of 8
        ({"epochs": 3, "accumulation": 4}, 8),  # 7.5 rounded
        ({"epochs": 0.5}, 5),
        ({"epochs": 0.01}, 1),
        ({"steps": 17}, 17),
        ({"epochs": 2, "batch_size": 16}, 10),
    ],
)
def test_count_steps(settings: dict[str, float], steps: int) -> None:
    assert count_steps(items(80), TrainSettings.model_validate({"batch_size": 8, **settings})) == steps


def test_steps_do_not_depend_on_the_order_of_the_passes() -> None:
    settings = TrainSettings(batch_size=8, batch_tokens=90, epochs=4)
    assert len({count_steps(items(80), settings) for _ in range(3)}) == 1


def test_items_are_the_rendered_prompt_and_the_label_that_ends(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    made = make_items(student, tiny.TASK, tiny.examples(6))
    words = student.loaded.tokenizer
    prompts = render_all(tiny.TASK, tiny.examples(6), student.length, student.limit).prompts
    for item, example, prompt in zip(made, tiny.examples(6), prompts, strict=True):
        assert words.convert_ids_to_tokens(list(item.prompt)) == ["<s>", *words.tokenize(prompt)]
        assert words.convert_ids_to_tokens(list(item.target)) == [example.label, "</s>"]
        assert tiny.TASK.labels[item.label] == example.label
        assert "drug yes" not in words.decode(item.prompt)  # the conclusion


def test_the_weight_of_an_example_is_that_of_its_item(tiny_models: dict[str, Path]) -> None:
    light = [replace(example, weight=0.25) for example in tiny.examples(3)]
    made = make_items(tiny.open_tiny(tiny_models["bert"]), tiny.TASK, [*tiny.examples(1), *light])
    assert [item.weight for item in made] == [1.0, 0.25, 0.25, 0.25]
    even = [item.weight for item in evened(made)]
    assert sum(even) / 4 == pytest.approx(1)
    assert even[1] / even[0] == pytest.approx(0.25)
    assert evened([]) == []


def test_an_encoder_learns_the_label_and_not_a_text(tiny_models: dict[str, Path]) -> None:
    made = make_items(tiny.open_tiny(tiny_models["bert"]), tiny.TASK, tiny.examples(3))
    assert [item.target for item in made] == [(), (), ()]
    assert [item.label for item in made] == [0, 1, 2]


def test_prompt_and_answer_fit_the_length_asked_for(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"], max_length=20)
    made = make_items(student, tiny.TASK, tiny.examples(30))
    assert max(len(item.prompt) + len(item.target) for item in made) == 20
