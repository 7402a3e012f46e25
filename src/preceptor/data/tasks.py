"""Reading a set of instruction tasks that was written before: JSON Lines, parquet, or the folder of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from preceptor.data import files
from preceptor.errors import DataError
from preceptor.records import CATEGORIES, Example

PUBLISHED = Path("publish") / "tasks.jsonl"
"""Where a run puts its tasks."""

FIELDS = ("instruction", "input", "output")


def read_tasks(given: str, base: Path) -> tuple[Example, ...]:
    """The tasks of a file with the keys `instruction`, `input`, `output`, `category` and perhaps `id`; other keys are
    passed over.

    Raises `DataError` naming the file, the line and the key, and how many more lines are wrong.
    """
    path = files.resolve(given, base)
    path = path / PUBLISHED if path.is_dir() else path
    if not path.is_file():
        raise DataError(
            f"There is no file {path}.",
            "Check instruct.source in the recipe: a file of tasks, or a run that wrote some.",
        )
    rows = _parquet(path) if path.suffix == ".parquet" else _lines(path)
    problems: list[tuple[int, str]] = []
    found: dict[str, Example] = {}
    for number, row in rows:
        try:
            task = _task(row, number)
        except ValueError as error:
            problems.append((number, str(error)))
            continue
        if task.id in found:
            problems.append((number, f"the id {task.id!r} stands there a second time"))
        found[task.id] = task
    if problems:
        line, first = problems[0]
        more = f" {len(problems) - 1} more lines are wrong." if len(problems) > 1 else ""
        raise DataError.at(path, f"{first}.{more}", line=line, hint="Correct the file; nothing was used.")
    if not found:
        raise DataError.at(path, "holds no tasks.")
    return tuple(found.values())


def _lines(path: Path) -> list[tuple[int, Any]]:
    rows = []
    for number, line in enumerate(files.read_text(path).split("\n"), 1):
        if line.strip():
            try:
                rows.append((number, json.loads(line)))
            except ValueError as error:
                raise DataError.at(path, "is not a JSON object on one line.", line=number) from error
    return rows


def _parquet(path: Path) -> list[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return list(enumerate(pq.read_table(path).to_pylist(), 1))
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError.at(path, f"cannot be read as parquet ({error}).") from error


def _task(row: Any, number: int) -> Example:
    if not isinstance(row, Mapping):
        raise ValueError("is not an object with instruction, input, output and category")
    values = {name: row.get(name, "" if name == "input" else None) for name in (*FIELDS, "category")}
    values["input"] = values["input"] or ""  # some writers leave a null where there is no input
    for name, value in values.items():
        if not files.is_text(value):
            raise ValueError(f"the key {name!r} is missing" if value is None else f"the key {name!r} is no text")
        if name != "input" and not value.strip():
            raise ValueError(f"the key {name!r} is empty")
    if values["category"] not in CATEGORIES:
        raise ValueError(f"the category {values['category']!r} is not one of {', '.join(CATEGORIES)}")
    identity = row.get("id") or f"task-{number:05d}"
    return Example(str(identity), {name: values[name] for name in FIELDS}, values["category"], "instruct")
