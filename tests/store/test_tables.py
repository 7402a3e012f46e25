"""Parquet files: what is written is what is read back, by this package and by the readers that people use."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from preceptor.errors import DataError
from preceptor.records import Example, Outcome, Prediction, Source, drop
from preceptor.store import tables

SOURCE = Source(
    "rewrite", "rewrite-question.v1", "0123456789abcdef", "model at http://x/v1", "k" * 64, "stop", ("question",)
)
REAL = Example("1", {"question": "Did it?", "context": "a\nb\tc"}, "yes", human="no")
WRITTEN = Example(
    "1-rewrite-0", {"question": "Äußerst — “so”? 肿瘤 🙂", "context": ""}, "no", "rewrite", ("1",), source=SOURCE
)
WEIGHED = replace(WRITTEN, label="yes", weight=2 / 3, relabelled_from="no")
PAIR = Example("1-pair", {"claim": 'quote " and \\ and {json}'}, "yes", "pair", ("1", "2"), source=SOURCE)


def loaded(cache: Path, *paths: Path) -> Any:
    """Read as a user of `datasets` would."""
    import datasets

    return datasets.load_dataset("parquet", data_files=[str(p) for p in paths], cache_dir=str(cache), split="train")


@pytest.mark.parametrize(
    "examples", [(), (REAL,), (WRITTEN,), (REAL, WRITTEN, WEIGHED, PAIR)], ids=["none", "real", "written", "mixed"]
)
def test_examples_go_round(examples: tuple[Example, ...], tmp_path: Path) -> None:
    tables.write_examples(tmp_path / "x.parquet", examples)
    assert tables.read_examples(tmp_path / "x.parquet") == examples


def test_files_without_weights_are_read_as_weight_one(tmp_path: Path) -> None:
    tables.write_examples(tmp_path / "x.parquet", [REAL, WRITTEN])
    older = pq.read_table(tmp_path / "x.parquet").drop_columns(["weight", "relabelled_from"])
    pq.write_table(older, tmp_path / "old.parquet")
    assert tables.read_examples(tmp_path / "old.parquet") == (REAL, WRITTEN)


def test_the_order_of_fields_and_rows_stays(tmp_path: Path) -> None:
    examples = [Example(str(i), {"z": "1", "a": "2", "m": "3"}, "yes") for i in (5, 1, 3)]
    tables.write_examples(tmp_path / "x.parquet", examples)
    found = tables.read_examples(tmp_path / "x.parquet")
    assert [e.id for e in found] == ["5", "1", "3"]
    assert list(found[0].fields) == ["z", "a", "m"]


def test_drops_go_round_with_their_reason(tmp_path: Path) -> None:
    dropped = [
        (WRITTEN, "drift", drop("number_lost", "12 %")),
        (PAIR, "leakage", drop("test_item")),
    ]
    tables.write_dropped(tmp_path / "x.parquet", dropped)
    assert tables.read_dropped(tmp_path / "x.parquet") == dropped
    tables.write_dropped(tmp_path / "none.parquet", [])
    assert tables.read_dropped(tmp_path / "none.parquet") == []


LIKELIHOOD = [
    Prediction("1", "yes", "no", probabilities=(0.25, 0.5, 0.25)),
    Prediction("2", "no", "no", probabilities=(0.1, 0.8, 0.1)),
]
GENERATION = [
    Prediction("1", "yes", None, Outcome.REFUSED, text="I cannot say."),
    Prediction("2", "no", None, Outcome.UNPARSED, text=""),
    Prediction("3", "no", None, Outcome.CUT_OFF, text="Well,\nlet me"),
    Prediction("4", "no", "no", text="no"),
]


@pytest.mark.parametrize(
    "predictions", [[], LIKELIHOOD, GENERATION, GENERATION[:3]], ids=["none", "all", "mixed", "unread"]
)
def test_predictions_go_round(predictions: list[Prediction], tmp_path: Path) -> None:
    tables.write_predictions(tmp_path / "x.parquet", predictions)
    assert tables.read_predictions(tmp_path / "x.parquet") == predictions


def test_datasets_reads_every_table(tmp_path: Path) -> None:
    tables.write_examples(tmp_path / "real.parquet", [REAL])  # no generated one: columns of nothing but None
    tables.write_examples(tmp_path / "kept.parquet", [WRITTEN, PAIR])
    tables.write_dropped(tmp_path / "dropped.parquet", [(WRITTEN, "drift", drop("number_lost", "12 %"))])
    tables.write_predictions(tmp_path / "likelihood.parquet", LIKELIHOOD)
    tables.write_predictions(tmp_path / "generation.parquet", GENERATION)
    read = {path.stem: loaded(tmp_path / "cache", path) for path in sorted(tmp_path.glob("*.parquet"))}
    assert {name: len(rows) for name, rows in read.items()} == {
        "real": 1,
        "kept": 2,
        "dropped": 1,
        "likelihood": 2,
        "generation": 4,
    }
    assert read["kept"][0]["text_question"] == WRITTEN.fields["question"]
    assert read["kept"][0]["call"] == "k" * 64
    assert read["dropped"][0]["reason"] == "number_lost"
    assert read["likelihood"][1]["probabilities"] == [0.1, 0.8, 0.1]
    assert read["generation"][0]["outcome"] == "refused"
    assert read["real"].features["strategy"].dtype == "string"


def test_files_with_and_without_rows_or_values_are_read_together(tmp_path: Path) -> None:
    for name, examples in (("a", [REAL]), ("b", []), ("c", [Example("2", REAL.fields, "no", "new", source=SOURCE)])):
        tables.write_examples(tmp_path / f"{name}.parquet", examples)
    rows = loaded(tmp_path / "cache", *(tmp_path / f"{name}.parquet" for name in "abc"))
    assert [(row["id"], row["strategy"]) for row in rows] == [("1", None), ("2", "rewrite")]
    tables.write_predictions(tmp_path / "c.parquet", GENERATION)
    tables.write_predictions(tmp_path / "d.parquet", LIKELIHOOD)
    tables.write_predictions(tmp_path / "e.parquet", [])
    schemas = [pq.read_schema(tmp_path / f"{name}.parquet") for name in "cde"]
    assert len({str(schema.field("probabilities").type) for schema in schemas}) == 1


@pytest.mark.parametrize("content", [b"", b"PAR1 but cut", b"not parquet at all" * 10])
def test_a_damaged_table_is_one_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_bytes(content)
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read as parquet") as caught:
        tables.read_examples(tmp_path / "x.parquet")
    assert "Delete it" in caught.value.hint


def test_a_missing_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.parquet"):
        tables.read_predictions(tmp_path / "none.parquet")


def test_a_table_does_not_depend_on_the_machine_s_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "LC_ALL", "C")
    tables.write_examples(tmp_path / "x.parquet", [WRITTEN])
    assert tables.read_examples(tmp_path / "x.parquet")[0].fields["question"] == WRITTEN.fields["question"]
