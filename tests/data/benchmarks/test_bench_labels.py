"""Benchmarks of shared labels: PubMedQA, StrategyQA's form, natural-language inference, and their refusals."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_files import Load, settings

from preceptor.data import pubmedqa
from preceptor.data.benchmarks.load import load_benchmark, refuse_shared
from preceptor.errors import DataError, RecipeError, SplitError
from preceptor.records import Outcome

NLI: dict[str, Any] = {
    "labels": ["entailment", "neutral", "contradiction"],
    "prompt": "Premise: {{ premise }}\nHypothesis: {{ hypothesis }}\nAnswer:",
    "inputs": ["premise", "hypothesis"],
    "fields": {"premise": "sentence1", "hypothesis": "sentence2"},
    "label": "gold_label",
}


def pair(n: int, label: str | None = None) -> dict[str, str]:
    return {
        "sentence1": f"The patient in bed {n} walked to the window.",
        "sentence2": f"The patient in bed {n} can walk.",
        "gold_label": label or NLI["labels"][n % 3],
    }


def test_inference_is_a_description_in_the_recipe(load: Load) -> None:
    rows = {"train.jsonl": [pair(n) for n in range(60)], "test.jsonl": [pair(n) for n in range(60, 90)]}
    benchmark = load("labels", rows, own=NLI, instruction="Does the premise entail the hypothesis?")
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (54, 6, 30)
    item = benchmark.test[0]
    assert item.instruction == "Does the premise entail the hypothesis?"
    assert item.input == (
        "Premise: The patient in bed 60 walked to the window.\nHypothesis: The patient in bed 60 can walk."
    )
    assert (item.output, item.options) == ("entailment", ("entailment", "neutral", "contradiction"))
    assert benchmark.labels == item.options
    assert Counter(item.output for item in benchmark.validation) == dict.fromkeys(NLI["labels"], 2)
    assert benchmark.parse(item, "Answer: Contradiction.").choice == 2
    assert benchmark.parse(item, "It is not entailment.").outcome is Outcome.UNPARSED
    assert benchmark.parse(item, "The patient", "length").outcome is Outcome.CUT_OFF


def test_without_an_instruction_the_labels_are_named(load: Load) -> None:
    benchmark = load("labels", {"all.jsonl": [pair(n) for n in range(60)]}, own=NLI, path="all.jsonl")
    assert benchmark.test[0].instruction == "Answer with one of these: entailment, neutral, contradiction."
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (36, 6, 18)


def test_mistakes_are_named_by_file_line_and_key(load: Load) -> None:
    with pytest.raises(DataError, match=r"test\.jsonl, line 2: the label '-' in 'gold_label' is not one of") as caught:
        load("labels", {"test.jsonl": [pair(1), pair(2, "-")]}, own=NLI)
    assert caught.value.hint == "Correct it, or map it to a label in benchmarks.bench.own.label_map."
    with pytest.raises(DataError, match="the field 'sentence2' is empty"):
        load("labels", {"test.jsonl": [{**pair(1), "sentence2": " "}]}, own=NLI)
    with pytest.raises(RecipeError, match=r"benchmarks\.bench\.own\.inputs: 'claim' is not a field"):
        load("labels", {"test.jsonl": [pair(1)]}, own={**NLI, "inputs": ["claim"]})
    with pytest.raises(DataError, match=r"no file of test items"):
        load("labels", {"train.jsonl": [pair(1)]}, own=NLI, path=None, train_path="train.jsonl")


def test_labels_that_training_lacks_and_shared_texts_are_noted(load: Load) -> None:
    rows = {
        "train.jsonl": [pair(n, "neutral") for n in range(5)],
        "dev.jsonl": [pair(5)],
        "test.jsonl": [pair(1), pair(5)],
    }
    benchmark = load("labels", rows, own=NLI)
    assert benchmark.notes == (
        "No training item has the label 'entailment'.",
        "No training item has the label 'contradiction'.",
        "1 of 2 test items have the same text as a training item.",
        "1 of 2 test items have the same text as a validation item.",
    )


def test_a_source_that_holds_test_items_of_another_benchmark_is_refused(load: Load) -> None:
    rows = {
        "train.jsonl": [pair(n) for n in range(20)],
        "test.jsonl": [pair(n) for n in range(19, 30)],  # one of them is a training item as published
        "other.jsonl": [pair(n) for n in range(25)],
    }
    scored = load("labels", rows, own=NLI)
    refuse_shared(scored, scored)
    source = load("labels", rows, own=NLI, name="other", path=None, train_path="other.jsonl", scored=False)
    with pytest.raises(SplitError, match=r"5 training items and 0 validation items of the benchmark 'other'"):
        refuse_shared(source, scored)


@pytest.fixture
def tiny_pubmedqa(tmp_path: Path) -> Path:
    rows = {
        str(100 + n): {
            "QUESTION": f"Does habit {n} help?",
            "CONTEXTS": [f"Trial {n} had many members.", "They were asked twice."],
            "LONG_ANSWER": f"SECRET conclusion of trial {n}.",
            "final_decision": pubmedqa.LABELS[n % 3],
        }
        for n in range(120)
    }
    (tmp_path / "ori_pqal.json").write_text(json.dumps(rows), encoding="utf-8")
    return tmp_path


def test_pubmedqa_keeps_the_conclusion_out_of_reasoning_required(tiny_pubmedqa: Path) -> None:
    benchmark = load_benchmark(settings("pubmedqa", path="."), tiny_pubmedqa)
    items = (*benchmark.train, *benchmark.validation, *benchmark.test)
    assert not any("SECRET" in str(item) for item in items)
    item = benchmark.test[0]
    assert item.input.startswith("Abstract: Trial")
    assert item.input.endswith("help?")
    assert "abstract" in item.instruction
    free = load_benchmark(settings("pubmedqa", path=".", setting="reasoning-free"), tiny_pubmedqa)
    assert all("SECRET" in item.input and "Trial" not in item.input for item in free.test)
    assert "conclusion" in free.test[0].instruction
    assert free.labels == pubmedqa.LABELS


def test_pubmedqa_refuses_what_it_cannot_do(tiny_pubmedqa: Path) -> None:
    with pytest.raises(RecipeError, match=r"benchmarks\.bench\.split = 'seeded' does not exist for pubmedqa"):
        load_benchmark(settings("pubmedqa", path=".", split="seeded"), tiny_pubmedqa)
    with pytest.raises(RecipeError, match="exactly one of path and hub"):
        load_benchmark(settings("pubmedqa", path=".", hub="x"), tiny_pubmedqa)
    with pytest.raises(DataError) as caught:
        load_benchmark(settings("pubmedqa", path="absent"), tiny_pubmedqa)
    assert caught.value.hint.startswith("benchmarks.bench.path must be the folder")
