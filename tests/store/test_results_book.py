"""Results of cells survive in files that hold no item's text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from preceptor.errors import DataError
from preceptor.records import BenchmarkScores, Measure
from preceptor.store.results import ResultsBook

SCORES = BenchmarkScores(
    "pubmedqa", ("1", "2"), (Measure("accuracy", "mean", ((1.0, 1.0), (0.0, 1.0))),), {"answered": 2}, {"cut": 1}
)


def test_scores_and_training_come_back_for_the_same_inputs_only(tmp_path: Path) -> None:
    book = ResultsBook(tmp_path / "results")
    assert book.scores("smollm2-qa-seed-1", "pubmedqa", "a") is None
    book.add_training("smollm2-qa-seed-1", "t", {"steps": 5})
    book.add_scores("smollm2-qa-seed-1", "pubmedqa", "a", SCORES)
    assert book.scores("smollm2-qa-seed-1", "pubmedqa", "a") == SCORES
    assert book.scores("smollm2-qa-seed-1", "pubmedqa", "b") is None
    assert book.scores("smollm2-qa-seed-1", "ncbi", "a") is None
    assert book.training("smollm2-qa-seed-1", "t") == {"steps": 5}
    assert book.training("smollm2-qa-seed-1", "u") is None


def test_new_weights_throw_away_the_scores_of_the_old_ones(tmp_path: Path) -> None:
    book = ResultsBook(tmp_path)
    book.add_training("a", "t", {})
    book.add_scores("a", "pubmedqa", "a", SCORES)
    book.add_training("a", "u", {})
    assert book.scores("a", "pubmedqa", "a") is None


def test_one_benchmark_more_leaves_the_others(tmp_path: Path) -> None:
    book = ResultsBook(tmp_path)
    book.add_scores("a", "pubmedqa", "a", SCORES)
    book.add_scores("a", "ncbi", "b", SCORES)
    assert book.scores("a", "pubmedqa", "a") == SCORES


def test_rows_stand_on_one_line(tmp_path: Path) -> None:
    ResultsBook(tmp_path).add_scores("a", "pubmedqa", "a", SCORES)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text)["benchmarks"]["pubmedqa"]["scores"]["ids"] == ["1", "2"]
    assert len([line for line in text.splitlines() if "accuracy" in line]) == 1


@pytest.mark.parametrize("text", ["[1]", '{"benchmarks": 3}', "{", '{"benchmarks": {"pubmedqa": {"identity": "a"}}}'])
def test_a_broken_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"a\.json"):
        ResultsBook(tmp_path).scores("a", "pubmedqa", "a")
