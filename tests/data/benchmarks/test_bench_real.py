"""The published data: every part complete, every reference answer readable by the parser that grades it."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from benchmark_files import settings

from preceptor.data import pubmedqa
from preceptor.data.benchmark import Benchmark
from preceptor.data.benchmarks import dialogue
from preceptor.data.benchmarks.load import load_benchmark, refuse_shared
from preceptor.data.benchmarks.mentions import distinct
from preceptor.errors import SplitError
from preceptor.records import Instruction, Outcome

STRATEGYQA: dict[str, Any] = {
    "labels": ["yes", "no"],
    "inputs": ["facts", "question"],
    "prompt": "Facts: {{ facts }}\nQuestion: {{ question }}\nAnswer:",
    "id": "qid",
    "label": "answer",
    "label_map": {"true": "yes", "false": "no"},
    "fields": {"question": "question", "facts": "facts"},
}
KEYS: dict[str, dict[str, Any]] = {
    "pubmedqa": {"kind": "pubmedqa", "path": "pubmedqa"},
    "pubmedqa-free": {"kind": "pubmedqa", "path": "pubmedqa", "setting": "reasoning-free"},
    "pubmedqa-paper": {"kind": "pubmedqa", "path": "pubmedqa", "split": "paper"},
    "strategyqa": {
        "kind": "labels",
        "train_path": "strategyqa/train.json",
        "test_path": "strategyqa/dev.json",
        "own": STRATEGYQA,
    },
    "ncbi": {"kind": "iob", "path": "ncbi-disease"},
    "mts": {"kind": "dialogue-note", "path": "mts-dialog"},
    "mts-augmented": {"kind": "dialogue-note", "path": "mts-dialog", "augmented": True},
}
SIZES = {
    "pubmedqa": (450, 50, 500),
    "pubmedqa-free": (450, 50, 500),
    "pubmedqa-paper": (450, 50, 500),
    "strategyqa": (1855, 206, 229),
    "ncbi": (5424, 923, 940),
    "mts": (1201, 100, 200),
    "mts-augmented": (3603, 100, 200),
}
SHARED = {  # test items whose text stands in training, validation: left in the data by their publishers
    "ncbi": (1, 1),
    "mts": (1, 0),
    "mts-augmented": (1, 0),
}


@pytest.fixture(scope="module")
def real(data_root: Path) -> Callable[[str], Benchmark]:
    loaded: dict[str, Benchmark] = {}

    def real(name: str) -> Benchmark:
        if name not in loaded:
            loaded[name] = load_benchmark(settings(**KEYS[name], name=name), data_root)
        return loaded[name]

    return real


def every(benchmark: Benchmark) -> tuple[Instruction, ...]:
    return (*benchmark.train, *benchmark.validation, *benchmark.test)


@pytest.mark.parametrize("name", KEYS)
def test_every_part_is_complete_and_its_ids_are_unique(real: Callable[[str], Benchmark], name: str) -> None:
    benchmark = real(name)
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == SIZES[name]
    assert len({item.id for item in every(benchmark)}) == sum(SIZES[name])
    assert all(item.input.strip() and item.output.strip() and item.instruction for item in every(benchmark))


@pytest.mark.parametrize("name", KEYS)
def test_the_parser_reads_back_every_reference_answer(real: Callable[[str], Benchmark], name: str) -> None:
    benchmark = real(name)
    for item in every(benchmark):
        reading = benchmark.parse(item, item.output)
        assert reading.outcome is Outcome.ANSWERED, item.id
        if item.options:
            assert reading.choice is not None
            assert item.options[reading.choice] == item.output
        if benchmark.measured == "spans":
            assert reading.mentions == distinct(item.input[start:end] for start, end in item.spans), item.id


@pytest.mark.parametrize("name", KEYS)
def test_texts_that_stand_in_test_and_elsewhere_are_those_of_the_publishers(
    real: Callable[[str], Benchmark], name: str
) -> None:
    benchmark = real(name)

    def plain(items: tuple[Instruction, ...]) -> list[str]:
        return [" ".join(item.input.split()).casefold() for item in items]

    seen = [set(plain(items)) for items in (benchmark.train, benchmark.validation)]
    shared = tuple(sum(text in texts for text in plain(benchmark.test)) for texts in seen)
    assert shared == SHARED.get(name, (0, 0))
    assert sum("same text" in note for note in benchmark.notes) == sum(count > 0 for count in shared)


def test_pubmedqa_has_the_official_labels_and_hides_the_conclusion(
    real: Callable[[str], Benchmark], data_root: Path
) -> None:
    benchmark = real("pubmedqa")
    assert Counter(item.output for item in benchmark.test) == {"yes": 276, "no": 169, "maybe": 55}
    rows = json.loads((data_root / "pubmedqa" / pubmedqa.ITEMS_FILE).read_text(encoding="utf-8"))
    for item in every(benchmark):
        conclusion = rows[item.id]["LONG_ANSWER"]
        contexts = "\n".join(rows[item.id]["CONTEXTS"])
        assert conclusion not in item.input or conclusion in contexts
        assert item.instruction == benchmark.test[0].instruction


def test_training_on_one_split_and_scoring_on_the_other_is_refused(real: Callable[[str], Benchmark]) -> None:
    with pytest.raises(
        SplitError, match=r"218 training items and 24 validation items of the benchmark 'pubmedqa-paper'"
    ):
        refuse_shared(real("pubmedqa-paper"), real("pubmedqa"))
    with pytest.raises(SplitError):  # what the student sees differs, but the items are the same
        refuse_shared(real("pubmedqa-paper"), real("pubmedqa-free"))
    refuse_shared(real("pubmedqa-free"), real("pubmedqa"))
    refuse_shared(real("mts-augmented"), real("mts"))
    refuse_shared(real("mts"), real("ncbi"))


@pytest.mark.parametrize(("part", "file"), [("train", "train"), ("validation", "devel"), ("test", "test")])
def test_ncbi_has_the_sentences_tokens_and_mentions_of_its_files(
    real: Callable[[str], Benchmark], data_root: Path, part: str, file: str
) -> None:
    text = (data_root / "ncbi-disease" / f"{file}.tsv").read_text(encoding="utf-8")
    sentences = [block.split("\n") for block in re.split(r"\n{2,}", text.strip("\n"))]
    items = getattr(real("ncbi"), part)
    assert len(items) == len(sentences)
    assert sum(len(item.spans) for item in items) == text.count("\tB-Disease")
    for item, lines in zip(items, sentences, strict=True):
        assert re.findall(r"\w+|[^\w\s]", item.input) == [line.split("\t")[0] for line in lines]
        ends = [end for _, end in item.spans]
        assert [start for start, _ in item.spans] == sorted(start for start, _ in item.spans)
        assert all(start >= end for (start, _), end in zip(item.spans[1:], ends, strict=False))
        # A mention is B and the I that follow: its letters are those of its tokens.
        tagged = re.findall(r"(?m)^(\S+)\tB-Disease((?:\n\S+\tI-Disease)*)", "\n".join(lines))
        tokens = [first + re.sub(r"\tI-Disease|\n", "", rest) for first, rest in tagged]
        assert [item.input[start:end].replace(" ", "") for start, end in item.spans] == tokens


def test_mts_dialog_has_its_originals_among_the_augmented(real: Callable[[str], Benchmark], data_root: Path) -> None:
    plain, augmented = real("mts"), real("mts-augmented")
    assert set(plain.train) <= set(augmented.train)
    assert sum("TR=" in item.id for item in augmented.train) == 2402
    assert any("1201 originals and 2402 back-translations" in note for note in augmented.notes)
    with (data_root / "mts-dialog" / dialogue.FILES["test"][0]).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [item.output for item in plain.test] == [row["section_text"].strip() for row in rows]
    assert [item.input for item in plain.test] == [row["dialogue"].strip() for row in rows]


@pytest.mark.parametrize("name", ["pubmedqa", "ncbi", "mts", "strategyqa"])
def test_a_subset_is_no_prefix_and_keeps_proportions(data_root: Path, name: str) -> None:
    keys = {**KEYS[name], "max_train": 60, "max_validation": 20, "max_test": 50}
    small = load_benchmark(settings(**keys, name=name), data_root)
    whole = load_benchmark(settings(**KEYS[name], name=name), data_root)
    assert (len(small.train), len(small.validation), len(small.test)) == (60, 20, 50)
    assert set(small.test) < set(whole.test)
    assert small.test != whole.test[:50]
    if whole.labels:
        shares = [Counter(item.output for item in items) for items in (small.test, whole.test)]
        for label in whole.labels:
            assert abs(shares[0][label] - shares[1][label] * 50 / len(whole.test)) < 1
    assert small.identity != whole.identity
