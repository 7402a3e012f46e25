"""A set of tasks that was written before is read whole, or refused with the line that is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preceptor.data.tasks import read_tasks
from preceptor.errors import DataError
from preceptor.records import instruction_of

ROW: dict[str, Any] = {
    "id": "a",
    "instruction": "Name the vein.",
    "input": "",
    "output": "The portal vein.",
    "category": "question_answering",
    "teacher": "somebody",
}


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_lines_parquet_and_the_folder_of_a_run_give_the_same(tmp_path: Path) -> None:
    rows = [ROW, {**ROW, "id": "b", "input": "Line one.\nLine two\u2028.", "category": "other"}]
    write(tmp_path / "tasks.jsonl", rows)
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "tasks.parquet")
    (tmp_path / "run" / "publish").mkdir(parents=True)
    write(tmp_path / "run" / "publish" / "tasks.jsonl", rows)
    found = read_tasks("tasks.jsonl", tmp_path)
    assert [instruction_of(e).input for e in found] == ["", "Line one.\nLine two\u2028."]
    assert [e.label for e in found] == ["question_answering", "other"]
    assert read_tasks("tasks.parquet", tmp_path) == found == read_tasks("run", tmp_path)


def test_an_id_and_an_input_may_be_missing(tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", [{k: v for k, v in ROW.items() if k not in ("id", "input")}, {**ROW, "input": None}])
    assert [(e.id, e.fields["input"]) for e in read_tasks("t.jsonl", tmp_path)] == [("task-00001", ""), ("a", "")]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ({**ROW, "category": "qa"}, "category 'qa'"),
        ({**ROW, "output": " "}, "'output' is empty"),
        ({**ROW, "instruction": 3}, "'instruction' is no text"),
        ({"id": "c"}, "'instruction' is missing"),
        (ROW, "second time"),
        ([1], "is not an object"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(bad: Any, problem: str, tmp_path: Path) -> None:
    write(tmp_path / "t.jsonl", [ROW, bad, bad])
    with pytest.raises(DataError, match=problem) as caught:
        read_tasks("t.jsonl", tmp_path)
    assert "line 2" in caught.value.message
    assert "1 more" in caught.value.message


def test_files_without_tasks_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    (tmp_path / "torn.jsonl").write_text('{"id"\n', encoding="utf-8")
    (tmp_path / "torn.parquet").write_bytes(b"PAR")
    for name in ("empty.jsonl", "torn.jsonl", "torn.parquet", "missing.jsonl"):
        with pytest.raises(DataError, match=name):
            read_tasks(name, tmp_path)


def test_a_run_that_wrote_nothing_is_told_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(DataError, match=r"There is no file .*run/publish/tasks\.jsonl") as caught:
        read_tasks("run", tmp_path)
    assert "instruct.source" in caught.value.hint
