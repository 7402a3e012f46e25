"""Figures of a set of tasks, counted again in the plain way."""

from __future__ import annotations

import json
import random
import time
from itertools import pairwise

import numpy as np
import pytest
from invented_tasks import task, tasks

from preceptor.publish.diversity import (
    OBJECTS,
    SAMPLE_SIZE,
    SAMPLES,
    SEED,
    VERBS_SHOWN,
    distinct_of,
    diversity_of,
    lengths_of,
    roots_of,
)


def share(texts: list[str], n: int) -> float:
    grams = [tuple(words[i : i + n]) for words in map(str.split, texts) for i in range(len(words) - n + 1)]
    return len(set(grams)) / len(grams)


def test_distinct_n_is_the_share_of_different_n_grams_and_none_spans_two_texts() -> None:
    texts = [one.fields["output"] for one in tasks(500, seed=3)]
    found = distinct_of(texts)
    for n in (1, 2, 3):
        assert found[str(n)]["all"] == pytest.approx(share(texts, n), abs=5e-5)
    generator = random.Random(SEED)
    samples = [generator.sample(texts, SAMPLE_SIZE) for _ in range(SAMPLES)]
    for n in (1, 2, 3):
        mean = float(np.mean([share(sample, n) for sample in samples]))
        assert found[str(n)]["sampled"] == pytest.approx(mean, abs=1e-4)
        assert found[str(n)]["sampled"] > found[str(n)]["all"]
    assert distinct_of(["a b", "a b"])["2"]["all"] == 0.5
    assert distinct_of(["a b", "b a"])["2"]["all"] == 1


@pytest.mark.parametrize("texts", [[], [""], ["", " "], ["word"], ["two words"], ["…", "a"]])
def test_sets_without_n_grams_have_no_share(texts: list[str]) -> None:
    words = [len(text.replace("…", "").split()) for text in texts]
    for n in (1, 2, 3):
        assert (distinct_of(texts)[str(n)]["all"] is None) == (max(words, default=0) < n)


def test_samples_do_not_fall_with_the_size_of_the_set_as_the_whole_does() -> None:
    small, large = (diversity_of(tasks(count, seed=5))["distinct"]["instruction"]["2"] for count in (400, 4000))
    assert large["all"] < 0.7 * small["all"]
    assert large["sampled"] == pytest.approx(small["sampled"], rel=0.05)


def test_words_and_case_are_counted_as_people_would() -> None:
    assert distinct_of(["The drug, the DRUG; the drug."])["1"]["all"] == pytest.approx(2 / 6, abs=1e-4)


def test_lengths_are_whole_and_every_text_is_in_one_bar() -> None:
    counts = [len(one.fields["output"].split()) for one in tasks(700, seed=2)] + [5000]
    found = lengths_of(counts)
    edges, bars = found["histogram"]["edges"], found["histogram"]["counts"]
    assert sum(bars) == len(counts)
    assert len(edges) == len(bars) <= 21
    for low, high, bar in zip(edges, edges[1:], bars, strict=False):
        assert bar == sum(low <= count < high for count in counts)
    assert bars[-1] == sum(count >= edges[-1] for count in counts) > 0
    assert found["mean"] == pytest.approx(sum(counts) / len(counts), abs=0.01)
    assert found["quantiles"]["0"] == min(counts)
    assert found["quantiles"]["100"] == 5000
    assert found["quantiles"]["50"] in counts
    assert all(a <= b for a, b in pairwise(found["quantiles"].values()))


@pytest.mark.parametrize("counts", [[0], [0, 0, 0], [1], [7], [100_000], [0, 3]])
def test_histograms_of_few_texts_hold_them_all(counts: list[int]) -> None:
    found = lengths_of(counts)["histogram"]
    assert sum(found["counts"]) == len(counts)
    assert len(found["counts"]) == len(found["edges"]) <= 21


def test_verbs_are_counted_with_their_most_common_objects() -> None:
    made = ["List the drugs."] * 5 + ["List a dose."] * 2 + ["List it."] + ["Why?", "What is it?", "What helps?"]
    made += [f"List the {noun}." for noun in ("note", "cell", "gene")] + ["Photosynthesis in plants."]
    found = roots_of(made)
    assert (found["verbs"], found["questions"], found["none"], found["different_verbs"]) == (11, 3, 1, 1)
    expected = [{"noun": n, "tasks": c} for n, c in (("drug", 5), ("dose", 2), ("cell", 1), ("gene", 1))]
    assert found["top"] == [{"verb": "list", "tasks": 11, "objects": expected}]
    assert list(found["question_words"].items()) == [("what", 2), ("why", 1)]


def test_at_most_twenty_verbs_and_four_objects_are_shown_most_common_first() -> None:
    found = diversity_of(tasks(2000))["roots"]
    assert found["different_verbs"] == 25
    assert len(found["top"]) == VERBS_SHOWN
    assert all(len(entry["objects"]) <= OBJECTS for entry in found["top"])
    counts = [entry["tasks"] for entry in found["top"]]
    assert counts == sorted(counts, reverse=True)
    assert all(sum(one["tasks"] for one in entry["objects"]) <= entry["tasks"] for entry in found["top"])


def test_the_figures_are_plain_and_the_same_each_time_and_in_any_order_of_ties() -> None:
    kept = tasks(300)
    found = diversity_of(kept, nearest_f=(0.0, 0.5))
    assert json.loads(json.dumps(found)) == found
    assert diversity_of(kept, nearest_f=(0.0, 0.5)) == found
    assert diversity_of(kept[::-1])["roots"] == found["roots"]
    assert found["nearest_f"] == [0.0, 0.5]
    assert found["tasks"] == 300
    assert sum(found["categories"].values()) == 300
    assert found["empty_inputs"] == sum(not one.fields["input"] for one in kept)


def test_an_input_of_spaces_is_empty_and_no_task_is_no_error() -> None:
    assert diversity_of([task("a", "  \n")])["empty_inputs"] == 1
    assert diversity_of([])["roots"]["top"] == []


def test_thousands_of_tasks_take_seconds() -> None:
    kept, start = tasks(5000), time.process_time()
    diversity_of(kept)
    assert time.process_time() - start < 5  # 0.5 s; 25,000 tasks took 2.4 s
