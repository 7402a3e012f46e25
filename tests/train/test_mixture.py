"""Mixtures: shares as given, nothing twice before everything once; validation that training never sees."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import pytest

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import DataError
from preceptor.records import Instruction
from preceptor.train.batches import POOL, TrainingItem
from preceptor.train.mixture import HELD_OUT_MOST, hold_out, mixture

SETTINGS = TrainSettings(batch_size=8)


def source(name: str, count: int, longest: int = 40) -> list[TrainingItem]:
    """Items of different lengths; the first token is the item's number."""
    return [TrainingItem((i, *[7] * (i * 11 % longest)), (1, 2), source=name) for i in range(count)]


def drawn(batches: Iterator[list[TrainingItem]], count: int) -> list[TrainingItem]:
    return [item for batch in islice(batches, count) for item in batch]


def test_shares_converge_to_the_weights_whatever_the_sizes() -> None:
    sources = {"small": source("small", 10), "large": source("large", 1000), "other": source("other", 50)}
    items = drawn(mixture(sources, {"small": 6, "large": 3, "other": 1}, SETTINGS, 1), 2000)
    assert len(items) == 16_000
    shares = {name: count / len(items) for name, count in Counter(item.source for item in items).items()}
    # Four standard errors of a share among 16,000 draws are 0.016 at most.
    assert shares == pytest.approx({"small": 0.6, "large": 0.3, "other": 0.1}, abs=0.016)


def test_every_item_of_a_source_is_seen_before_one_is_seen_twice() -> None:
    sources = {"a": source("a", 24), "b": source("b", 100)}
    pool = POOL * SETTINGS.batch_size
    items = drawn(mixture(sources, {"a": 1, "b": 1}, SETTINGS, 3), 40 * POOL)
    for name, own in sources.items():
        for end in range(pool, len(items) + 1, pool):  # within a pool the order is by length
            counts = Counter(item.prompt[0] for item in items[:end] if item.source == name)
            times = [counts[i] for i in range(len(own))]
            assert max(times) - min(times) <= 1
    assert min(times) > 1


def test_the_seed_decides_the_batches_and_the_order_of_the_sources_does_not() -> None:
    sources = {"a": source("a", 30), "b": source("b", 40)}
    turned = dict(reversed(sources.items()))

    def first(given: dict[str, list[TrainingItem]], seed: int) -> list[list[TrainingItem]]:
        return list(islice(mixture(given, {"a": 1, "b": 2}, SETTINGS, seed), 40))

    assert first(sources, 1) == first(sources, 1) == first(turned, 1)
    assert first(sources, 1) != first(sources, 2)


def test_batches_keep_size_and_tokens_and_hold_similar_lengths() -> None:
    sources = {"a": source("a", 300), "b": source("b", 500)}
    weights = {"a": 1.0, "b": 1.0}
    plain = list(islice(mixture(sources, weights, SETTINGS, 1), 320))
    assert {len(batch) for batch in plain} == {8}
    padded = sum(len(batch) * max(item.length for item in batch) for batch in plain)
    assert padded < 1.15 * sum(item.length for batch in plain for item in batch)  # unsorted: about 1.8
    tight = TrainSettings(batch_size=8, batch_tokens=80)
    for batch in islice(mixture(sources, weights, tight, 1), 320):
        assert len(batch) * max(item.length for item in batch) <= 80
    lengths = [batch[0].length for batch in plain[:POOL]]
    assert lengths != sorted(lengths)  # short batches do not all come first


def test_one_source_is_pass_after_pass() -> None:
    items = drawn(mixture({"a": source("a", 128)}, {"a": 0.3}, SETTINGS, 1), 2 * POOL)
    for part in (items[:128], items[128:]):
        assert sorted(item.prompt[0] for item in part) == list(range(128))
    assert items[:128] != items[128:]


def test_validation_is_a_twentieth_of_the_tasks_by_weight_and_training_lacks_it() -> None:
    sources = {"a": tiny.tasks(400, "a"), "b": distinct(400, "b")}
    kept, held = hold_out({**sources, "a": distinct(400, "a")}, {"a": 3, "b": 1}, seed=1)
    assert Counter(item.id[0] for item in held) == {"a": 30, "b": 10}
    left = {item.id for items in kept.values() for item in items}
    assert not left & {item.id for item in held}
    assert {name: len(items) for name, items in kept.items()} == {"a": 370, "b": 390}
    _, many = hold_out({"a": distinct(5000, "a")}, {"a": 1}, seed=1)
    assert len(many) == HELD_OUT_MOST


def distinct(count: int, name: str) -> list[Instruction]:
    return [Instruction(f"{name}-{i}", f"count to {i}", "", f"{name} {i}", "other") for i in range(count)]


def test_a_small_source_gives_a_tenth_at_most_and_the_seed_decides_which() -> None:
    sources = {"small": distinct(20, "small"), "large": distinct(1000, "large")}
    _, held = hold_out(sources, {"small": 9, "large": 1}, seed=1)
    assert Counter(item.id.split("-")[0] for item in held) == {"small": 2, "large": 5}
    assert hold_out(sources, {"small": 9, "large": 1}, seed=1)[1] == held
    assert hold_out(sources, {"small": 9, "large": 1}, seed=2)[1] != held


def test_a_task_that_stands_in_several_sources_or_twice_leaves_all_of_them() -> None:
    every = distinct(60, "task")
    part = [replace(item, id=f"again-{item.id}") for item in every[:20]]
    kept, held = hold_out({"generated": [*every, *every], "part": part}, {"generated": 1, "part": 1}, seed=4)
    said = {item.output for item in held}
    assert len(said) >= 2
    assert not said & {item.output for items in kept.values() for item in items}


def test_a_source_of_one_task_is_one_sentence() -> None:
    with pytest.raises(DataError, match="The source 'a' has 1 different tasks"):
        hold_out({"a": distinct(1, "a") * 3}, {"a": 1}, seed=1)
