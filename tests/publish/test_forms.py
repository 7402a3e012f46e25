"""The published files, read back by the library that others read them with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invented_tasks import card, hostile_tasks, task, tasks

from preceptor.errors import DataError, StorageError
from preceptor.publish.forms import FILES, publish, row_of, write_published
from preceptor.records import Example, Instruction, user_text
from preceptor.store.stages import MARK

SETS = {
    "hostile": hostile_tasks(),
    "many": [*hostile_tasks(), *tasks(300, seed=1)[6:]],
    "one": [task("Explain the rule.", "", "It is a rule.")],
    "bare": [replace(task("List the drugs.", "aspirin", "aspirin"), source=None, parents=())],
}


def rows(kept: Sequence[Example]) -> list[dict[str, Any]]:
    return [
        {
            "id": one.id,
            "instruction": one.fields["instruction"],
            "input": one.fields["input"],
            "output": one.fields["output"],
            "category": one.label,
            "parents": list(one.parents),
            "teacher": one.source.teacher if one.source else "",
            "prompt": one.source.prompt if one.source else "",
            "finish": one.source.finish if one.source else "",
        }
        for one in kept
    ]


def alpaca(kept: Sequence[Example]) -> list[dict[str, str]]:
    return [{name: one.fields[name] for name in ("instruction", "input", "output")} for one in kept]


def chats(kept: Sequence[Example]) -> list[dict[str, Any]]:
    made = []
    for one in kept:
        said, given = one.fields["instruction"].strip(), one.fields["input"].strip()
        user = f"{said}\n\n{given}" if given else said
        made.append(
            {"messages": [{"role": "user", "content": user}, {"role": "assistant", "content": one.fields["output"]}]}
        )
    return made


def loaded(cache: Path, *arguments: Any, **options: Any) -> list[dict[str, Any]]:
    from datasets import load_dataset

    # A folder of its own each time: what changes within a second is not seen by the library's cache.
    data = load_dataset(*arguments, **options, cache_dir=tempfile.mkdtemp(dir=cache, prefix="cache-"))
    assert list(data) == ["train"]
    found: list[dict[str, Any]] = data["train"].to_list()
    return found


@pytest.mark.parametrize("name", SETS)
def test_the_folder_loads_by_name_of_each_form_and_gives_back_exactly_the_tasks(name: str, tmp_path: Path) -> None:
    kept, folder = SETS[name], tmp_path / "set"
    publish(folder, kept, card(kept))
    assert loaded(tmp_path, str(folder)) == rows(kept)
    assert loaded(tmp_path, str(folder), "default") == rows(kept)
    assert loaded(tmp_path, str(folder), "alpaca") == alpaca(kept)
    assert loaded(tmp_path, str(folder), "chat") == chats(kept)


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(
    ("file", "kind", "form"),
    [
        ("tasks.parquet", "parquet", rows),
        ("tasks.jsonl", "json", rows),
        ("alpaca.parquet", "parquet", alpaca),
        ("alpaca.json", "json", alpaca),
        ("chat.parquet", "parquet", chats),
        ("chat.jsonl", "json", chats),
    ],
)
def test_each_file_alone_gives_back_exactly_the_tasks(
    name: str, file: str, kind: str, form: Any, tmp_path: Path
) -> None:
    kept, folder = SETS[name], tmp_path / "set"
    publish(folder, kept, card(kept))
    assert loaded(tmp_path, kind, data_files=str(folder / file)) == form(kept)


def test_readers_that_cut_at_any_line_break_read_the_same_lines(tmp_path: Path) -> None:
    kept = hostile_tasks()
    publish(tmp_path / "set", kept, card(kept))
    text = (tmp_path / "set" / "tasks.jsonl").read_bytes().decode()
    assert [json.loads(line) for line in text.splitlines()] == rows(kept)
    assert "日本語" in text
    assert json.loads((tmp_path / "set" / "alpaca.json").read_text(encoding="utf-8")) == alpaca(kept)


def test_texts_that_all_look_like_times_stay_texts(tmp_path: Path) -> None:
    kept = [task("2020-01-01 00:00:00", "2020-01-01", "2021-01-01")]
    publish(tmp_path / "set", kept, card(kept))
    assert loaded(tmp_path, str(tmp_path / "set"), "alpaca") == alpaca(kept)


def test_what_a_user_says_is_the_instruction_and_the_input_where_there_is_one() -> None:
    item = Instruction("1", " Name the drug. \n", "\n", "aspirin", "other")
    assert user_text(item) == "Name the drug."
    assert user_text(replace(item, input=" aspirin, twice \n")) == "Name the drug.\n\naspirin, twice"


def test_a_set_is_published_once_and_replaced_by_another(tmp_path: Path) -> None:
    folder, kept = tmp_path / "deep" / "set", tasks(5)
    publish(folder, kept, card(kept))
    assert {path.name for path in folder.iterdir()} == {*FILES, MARK}
    before = (folder / MARK).stat().st_mtime_ns
    publish(folder, kept, card(kept))
    assert (folder / MARK).stat().st_mtime_ns == before
    changed = [replace(kept[0], parents=("seed-9",)), *kept[1:]]
    publish(folder, changed, card(changed))
    assert loaded(tmp_path, str(folder)) == rows(changed)
    publish(folder, kept[:2], card(kept[:2]))
    assert loaded(tmp_path, str(folder)) == rows(kept[:2])
    publish(folder, kept[:2], card(kept[:2], title="Another title"))
    assert "# Another title" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("file", ["notes.txt", "README.md", "deep/tasks.jsonl"])
def test_a_folder_that_holds_something_else_is_left_as_it_is(file: str, tmp_path: Path) -> None:
    path = tmp_path / "set" / file
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    with pytest.raises(StorageError, match="holds something else than a published set"):
        publish(tmp_path / "set", tasks(2), card(tasks(2)))
    assert path.read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_published_folder_with_a_foreign_file_and_a_file_in_the_way_are_left_too(tmp_path: Path) -> None:
    kept, folder = tasks(3), tmp_path / "set"
    publish(folder, kept, card(kept))
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(StorageError, match=r"mine\.txt"):
        publish(folder, kept[:2], card(kept[:2]))
    assert loaded(tmp_path, str(folder)) == rows(kept)
    with pytest.raises(StorageError, match="is a file"):
        publish(folder / "mine.txt", kept, card(kept))


def test_no_tasks_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"^There are no tasks to publish\."):
        publish(tmp_path / "set", [], card([]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([task("a"), task("b")], "'task-00000' is there 2 times"),
        ([task("a", "b", "\ud800")], "Task task-00000: its output holds half a character"),
    ],
)
def test_what_no_file_can_hold_is_named_and_nothing_is_written(kept: list[Example], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        publish(tmp_path / "set", kept, card(kept))
    assert not list(tmp_path.iterdir())


def test_a_card_about_other_tasks_is_an_error(tmp_path: Path) -> None:
    kept = tasks(4)
    with pytest.raises(ValueError, match="the card is about 3 tasks, but 4 are published"):
        write_published(tmp_path, kept, card(kept[:3]))


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, little_space: Any) -> None:
    kept = tasks(300)
    with little_space(), pytest.raises(StorageError, match="file too large"):
        publish(tmp_path / "set", kept, card(kept))
    assert not list(tmp_path.iterdir())


def test_rows_have_the_names_of_the_columns() -> None:
    from preceptor.publish.forms import COLUMNS

    assert tuple(row_of(task("a"))) == COLUMNS
