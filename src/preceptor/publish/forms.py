"""The forms in which tasks travel: files that other programs read as they are.

    tasks.parquet, tasks.jsonl     all that is known of each task: `COLUMNS`
    alpaca.json, alpaca.parquet    instruction, input, output: the form of Stanford Alpaca
    chat.jsonl, chat.parquet       messages of user and assistant: what TRL, axolotl and OpenAI's fine-tuning read
    diversity.svg, lengths.svg     pictures of root verbs and of lengths
    README.md                      the data card; its head lets `datasets.load_dataset(folder)` load the three forms

Each form is also there as parquet, because `datasets` reads all configurations of a folder by one file format, and
because it guesses types in JSON: texts that all look like times would come back as times.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from preceptor.errors import DataError, StorageError
from preceptor.publish.card import Card, json_text, render
from preceptor.publish.diversity import FIELDS, diversity_of
from preceptor.publish.pictures import length_picture, picture
from preceptor.records import Example, instruction_of, user_text
from preceptor.store.stages import MARK, Stage, identity, write_text

COLUMNS = ("id", *FIELDS, "category", "parents", "teacher", "prompt", "finish")
FILES = (
    "README.md", "tasks.jsonl", "tasks.parquet", "alpaca.json", "alpaca.parquet", "chat.jsonl", "chat.parquet",
    "diversity.svg", "lengths.svg",
)  # fmt: skip
VERSION = 1
"""Of the files' form. Raise it when the same tasks and card give other files."""

_HALF = re.compile("[\ud800-\udfff]")


def publish(folder: Path, kept: Sequence[Example], card: Card) -> None:
    """Write the set into `folder`, whole or not at all; nothing is done when it is there already.

    A folder that holds an older set is replaced. Raises `StorageError` when it holds anything else, and `DataError` as
    `write_published` does.
    """
    _check(kept)
    inputs = {"rows": [row_of(task) for task in kept], "card": asdict(card)}
    stage = Stage(folder, identity(VERSION, inputs))
    if stage.done:
        return
    refuse_other_content(folder)
    with stage.build() as fresh:
        write_published(fresh, kept, card)


def refuse_other_content(folder: Path) -> None:
    """Raise `StorageError` when `folder` is a file, or holds anything else than a set that was published before."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file; a published set needs a folder.", "Choose another one.")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and (MARK not in names or names - {*FILES, MARK}):
        other = sorted(names - {*FILES, MARK}) or sorted(names)
        raise StorageError(
            f"{folder} holds something else than a published set ({other[0]}).", "Choose another folder."
        )


def write_published(folder: Path, kept: Sequence[Example], card: Card) -> None:
    """Write all `FILES` into an existing folder, which may be that of a stage that is being built.

    The card's diversity is computed when it has none. Raises `DataError` when there is no task, when two have one id,
    or when a text holds half a character (a lone surrogate), which no file in UTF-8 can hold.
    """
    _check(kept)
    if not card.diversity:
        card = replace(card, diversity=diversity_of(kept, card.funnel.nearest_f if card.funnel else ()))
    rows = [row_of(task) for task in kept]
    alpaca = [{name: row[name] for name in FIELDS} for row in rows]
    chats = [{"messages": messages_of(task)} for task in kept]
    write_text(folder / "tasks.jsonl", "".join(json_text(row) + "\n" for row in rows))
    write_text(folder / "alpaca.json", "[\n" + ",\n".join(json_text(row) for row in alpaca) + "\n]\n")
    write_text(folder / "chat.jsonl", "".join(json_text(chat) + "\n" for chat in chats))
    _write_parquet(folder / "tasks.parquet", rows)
    _write_parquet(folder / "alpaca.parquet", alpaca)
    _write_parquet(folder / "chat.parquet", chats)
    write_text(folder / "diversity.svg", picture(card.diversity))
    write_text(folder / "lengths.svg", length_picture(card.diversity))
    write_text(folder / "README.md", render(card, kept))


def _check(kept: Sequence[Example]) -> None:
    if not kept:
        raise DataError("There are no tasks to publish.", "Write more tasks, or let the rules drop less.")
    name, times = Counter(task.id for task in kept).most_common(1)[0]
    if times > 1:
        raise DataError(f"The task {name!r} is there {times} times; every task needs an id of its own.")
    for task in kept:
        for field in FIELDS:
            if _HALF.search(task.fields[field]):
                raise DataError(
                    f"Task {task.id}: its {field} holds half a character, which no file can hold.", "Drop the task."
                )


def row_of(task: Example) -> dict[str, Any]:
    """All that is published of a task, by the names in `COLUMNS`; text that nobody recorded is empty."""
    source = task.source
    return {
        "id": task.id,
        **{name: task.fields[name] for name in FIELDS},
        "category": task.label,
        "parents": list(task.parents),
        "teacher": source.teacher if source else "",
        "prompt": source.prompt if source else "",
        "finish": source.finish if source else "",
    }


def messages_of(task: Example) -> list[dict[str, str]]:
    """A task as a conversation of two turns; see `user_text` for what the user says."""
    item = instruction_of(task)
    return [{"role": "user", "content": user_text(item)}, {"role": "assistant", "content": item.output}]


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows whose values are text, lists of text, or lists of messages; types never depend on the values."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    kinds = {"parents": pa.list_(pa.string()), "messages": pa.list_(message)}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in rows[0]])
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path)
