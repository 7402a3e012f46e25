"""Examples, drops and predictions as parquet files that `datasets` and pandas read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from preceptor.errors import DataError
from preceptor.records import Example, Outcome, Prediction, Source, Verdict


def write_rows(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    lists: Sequence[str] = (),
    numbers: Sequence[str] = (),
) -> None:
    """Write dictionaries as parquet with the given columns: text, but numbers in those named in `numbers`, and lists
    of numbers in those named in `lists`.

    The types never depend on the values, so that files with and without rows or sources can be read together.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict.fromkeys(lists, pa.list_(pa.float64())) | dict.fromkeys(numbers, pa.float64())
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in columns])
    table = pa.table([[row.get(name) for row in rows] for name in columns], schema=schema)
    with pq.ParquetWriter(path, schema) as writer:
        if rows:  # a group of no rows cannot be read by `datasets`
            writer.write_table(table)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a parquet file back as dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError.at(path, f"cannot be read as parquet ({error})", hint="Delete it and run again.") from error
    return rows


EXAMPLE_COLUMNS = ("id", "label", "relabelled_from", "weight", "origin", "parents", "human", "fields")
SOURCE_COLUMNS = ("strategy", "prompt", "prompt_hash", "teacher", "call", "finish", "changed")
VERDICT_COLUMNS = ("filter", "reason", "detail")


def _example_row(example: Example) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": example.id,
        "label": example.label,
        "relabelled_from": example.relabelled_from,
        "weight": example.weight,
        "origin": example.origin,
        "parents": json.dumps(example.parents),
        "human": example.human,
        "fields": json.dumps(dict(example.fields), ensure_ascii=False),
    }
    # The texts also stand in columns of their own, for people; `fields` is what is read back.
    row.update({f"text_{name}": text for name, text in example.fields.items()})
    if example.source is not None:
        source = {name: getattr(example.source, name) for name in SOURCE_COLUMNS}
        row.update({**source, "changed": json.dumps(source["changed"])})
    return row


def _example(row: Mapping[str, Any]) -> Example:
    source = None
    if row.get("strategy") is not None:
        values = {name: row[name] for name in SOURCE_COLUMNS}
        source = Source(**{**values, "changed": tuple(json.loads(values["changed"]))})
    return Example(
        id=row["id"],
        fields=json.loads(row["fields"]),
        label=row["label"],
        origin=row["origin"],
        parents=tuple(json.loads(row["parents"])),
        human=row["human"],
        source=source,
        # Files of older versions have neither column.
        weight=1.0 if row.get("weight") is None else row["weight"],
        relabelled_from=row.get("relabelled_from"),
    )


def write_examples(path: Path, examples: Sequence[Example]) -> None:
    """Write examples, real or generated."""
    texts = sorted({f"text_{name}" for e in examples for name in e.fields})
    columns = [*EXAMPLE_COLUMNS, *SOURCE_COLUMNS, *texts]
    write_rows(path, [_example_row(e) for e in examples], columns, numbers=["weight"])


def read_examples(path: Path) -> tuple[Example, ...]:
    """Read what `write_examples` wrote."""
    return tuple(_example(row) for row in read_rows(path))


def write_dropped(path: Path, dropped: Sequence[tuple[Example, str, Verdict]]) -> None:
    """Write dropped examples, each with the filter's name and its verdict."""
    texts = sorted({f"text_{name}" for e, _, _ in dropped for name in e.fields})
    rows = [
        {**_example_row(example), "filter": name, "reason": verdict.reason, "detail": verdict.detail}
        for example, name, verdict in dropped
    ]
    columns = [*VERDICT_COLUMNS, *EXAMPLE_COLUMNS, *SOURCE_COLUMNS, *texts]
    write_rows(path, rows, columns, numbers=["weight"])


def read_dropped(path: Path) -> list[tuple[Example, str, Verdict]]:
    """Read what `write_dropped` wrote."""
    return [
        (_example(row), row["filter"], Verdict(kept=False, reason=row["reason"], detail=row["detail"]))
        for row in read_rows(path)
    ]


def write_predictions(path: Path, predictions: Sequence[Prediction]) -> None:
    """Write one row per item: gold, predicted label, outcome, label probabilities, generated text."""
    rows = [
        {
            "id": p.id,
            "gold": p.gold,
            "label": p.label,
            "outcome": str(p.outcome),
            "probabilities": list(p.probabilities),
            "text": p.text,
        }
        for p in predictions
    ]
    write_rows(path, rows, ["id", "gold", "label", "outcome", "probabilities", "text"], lists=["probabilities"])


def read_predictions(path: Path) -> list[Prediction]:
    """Read what `write_predictions` wrote."""
    return [
        Prediction(
            row["id"],
            row["gold"],
            row["label"],
            Outcome(row["outcome"]),
            tuple(row["probabilities"] or ()),
            row["text"],
        )
        for row in read_rows(path)
    ]
