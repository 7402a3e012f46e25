"""A user's own labelled file, described by the recipe's table `[data.own]`.

The file is JSONL (one object per line) or one JSON array of objects. Either three files are named (`split =
"files"`; without a validation file a share of training is taken), or one file is cut by seed (`split =
"seeded"`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preceptor.config import DataSettings, TaskSettings
from preceptor.data import files, splits
from preceptor.data.base import Dataset, Task
from preceptor.errors import DataError, RecipeError, SplitError
from preceptor.records import Example, Source

SETTING = "default"
SETTINGS = (SETTING,)
_MISSING = object()


def load(settings: DataSettings, base: Path) -> dict[str, Dataset]:
    """The items of the user's file or files, under the one setting `default`. Paths are relative to `base`.

    Raises `DataError` naming file, line and field for a malformed item, an unknown label, an id that stands
    twice or too few items, and `RecipeError` for a description that cannot work.
    """
    own = settings.own
    if own is None or settings.path is None:
        raise RecipeError('data.task = "jsonl" needs data.path and a table [data.own].')
    if settings.settings not in ((), SETTINGS):
        raise RecipeError(f"data.settings: a task of your own has the one setting {SETTING!r}.")
    split = _split_name(settings)
    path = files.resolve(settings.path, base)
    task = _task(own, "-".join(part for part in (path.parent.name, path.stem) if part))
    reader = _Reader(own, task)
    whole = _from_files(settings, base, reader) if split == "files" else _from_one(settings, base, reader)
    reader.check_optional_fields()
    parts = splits.limited(whole, settings.max_train, settings.max_test, settings.split_seed)
    notes = (
        *splits.limit_notes(whole, parts, settings.split_seed),
        *splits.missing_labels(task, parts),
        *splits.shared_texts(task, parts),
    )
    dataset = Dataset(
        task=task,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        split=split,
        identity=splits.identity(task, split, parts),
        notes=notes,
    )
    return {SETTING: dataset}


def read_files(own: TaskSettings, name: str, paths: Mapping[str, Path]) -> tuple[Task, dict[str, tuple[Example, ...]]]:
    """The task called `name` and the items of each file, by part; a part called "" gives plain line numbers as ids.

    Raises what `load` raises for a description or an item.
    """
    task = _task(own, name)
    reader = _Reader(own, task)
    found = {part: reader.read(path, f"{part}-" if part else "") for part, path in paths.items()}
    reader.check_optional_fields()
    return task, found


def read_published(own: TaskSettings, task: Task, path: Path, parent: str) -> list[Example]:
    """Augmented items that somebody published, in the form of the task's own file, with the id of the item that each
    was made from under the key `parent`.

    Raises `DataError` naming file, line and field.
    """
    reader = _Reader(own.model_copy(update={"id": None}), task)  # ids of their own are not needed, and may be missing
    found = []
    for row in rows(path):
        item, made_from = reader.example(row), _find(row.value, parent)
        if not isinstance(made_from, str | int) or isinstance(made_from, bool) or not str(made_from).strip():
            raise row.wrong(
                f"the parent's id {parent!r} is missing, or is not a text or a whole number.",
                "Name its key in augment.published_parent.",
            )
        found.append(
            replace(
                item,
                id=f"{made_from}-published-{row.line}",
                origin="published",
                parents=(str(made_from),),
                source=Source(
                    "published", prompt=path.name, prompt_hash="", teacher="", call="", finish="stop", changed=()
                ),
            )
        )
    if not found:
        raise DataError.at(path, "there are no items.", hint="Write one JSON object per line.")
    return found


def _split_name(settings: DataSettings) -> str:
    split = settings.split or ("files" if settings.test_path else "seeded")
    if split not in ("files", "seeded"):
        raise RecipeError(f"data.split = {split!r} does not exist for your own file.", "Splits: files, seeded.")
    if split == "files" and settings.test_path is None:
        raise RecipeError('data.split = "files" needs data.test_path.', 'Or cut one file with data.split = "seeded".')
    if split == "seeded" and (settings.test_path or settings.validation_path):
        raise RecipeError(
            'data.split = "seeded" cuts one file, data.path; other files are not used.',
            'Remove data.test_path and data.validation_path, or set data.split = "files".',
        )
    return split


def _task(own: TaskSettings, name: str) -> Task:
    """The task that `[data.own]` describes. The prompt's last white space goes: the answer brings its own."""
    for key, names in (("inputs", own.inputs), ("rationale", (own.rationale,)), ("shorten", (own.shorten,))):
        for field in names:
            if field is not None and field not in own.fields:
                raise RecipeError(
                    f"data.own.{key}: {field!r} is not a field.",
                    f"Fields in data.own.fields: {', '.join(own.fields)}.",
                )
    if not own.inputs:
        raise RecipeError("data.own.inputs is empty: a student would see nothing.", "Name a field.")
    if own.rationale in own.inputs:
        raise RecipeError(
            f"data.own.rationale: {own.rationale!r} explains the answer, so it cannot be an input too.",
            "Remove it from data.own.inputs, or leave data.own.rationale out.",
        )
    for value, label in own.label_map.items():
        if label not in own.labels:
            raise RecipeError(
                f"data.own.label_map: {value!r} is mapped to {label!r}, which is not a label.",
                f"Labels: {', '.join(own.labels)}.",
            )
    return Task(
        name=name,
        setting=SETTING,
        labels=own.labels,
        inputs=own.inputs,
        template=own.prompt.rstrip(),
        rationale=own.rationale,
        shorten=own.shorten,
        teacher_hidden=(own.rationale,) if own.rationale else (),
    )


Parts = dict[str, tuple[Example, ...]]


def _from_one(settings: DataSettings, base: Path, reader: _Reader) -> Parts:
    path = files.resolve(str(settings.path), base)
    items = reader.read(path)
    return splits.seeded_parts(items, settings.validation_share, settings.test_share, settings.split_seed, str(path))


def _from_files(settings: DataSettings, base: Path, reader: _Reader) -> Parts:
    given = {"train": settings.path, "validation": settings.validation_path, "test": settings.test_path}
    paths = {part: files.resolve(path, base) for part, path in given.items() if path is not None}
    resolved = [path.resolve() for path in paths.values()]
    if len(set(resolved)) < len(resolved):
        raise SplitError(
            f"The same file is named twice: {', '.join(f'{part} {path}' for part, path in paths.items())}.",
            'Name three different files, or cut one with data.split = "seeded".',
        )
    parts = {part: reader.read(path, f"{part}-") for part, path in paths.items()}
    if "validation" not in parts:
        items = parts["train"]
        count = round(len(items) * settings.validation_share)
        if not 0 < count < len(items):
            raise DataError.at(
                paths["train"],
                f"{len(items)} items are too few for a validation share of {settings.validation_share}.",
                hint="Add items, raise data.validation_share, or name data.validation_path.",
            )
        parts["validation"], parts["train"] = splits.draw(items, count, settings.split_seed, "validation")
    return parts


@dataclass(frozen=True, slots=True)
class Row:
    """One object of a file and where it stands."""

    value: Mapping[str, Any]
    path: Path | str
    """The file, or the name of a data set on the hub."""
    line: int

    def wrong(self, problem: str, hint: str = "") -> DataError:
        """The error for something in this object."""
        return DataError.at(self.path, problem, line=self.line, hint=hint)


class _Reader:
    """Turns rows into items; remembers ids over all files, to name both places of one that stands twice."""

    def __init__(self, own: TaskSettings, task: Task) -> None:
        self._own = own
        self._task = task
        self._seen: dict[str, Row] = {}
        self._found: set[str] = set()

    def read(self, path: Path, prefix: str = "") -> tuple[Example, ...]:
        """The items of a file. Without an id key an item's id is `prefix` and its line number."""
        items = tuple(self.example(row, prefix) for row in rows(path))
        if not items:
            raise DataError.at(path, "there are no items.", hint="Write one JSON object per line.")
        return items

    def check_optional_fields(self) -> None:
        """Raise `DataError` if a described field stands in no item: its key is probably misspelt."""
        for name, key in self._own.fields.items():
            if name not in self._found:
                raise DataError(
                    f"No item has the key {key!r} of the field {name!r}.",
                    "Correct it in data.own.fields, or remove it.",
                )

    def example(self, row: Row, prefix: str = "") -> Example:
        """The item of one row."""
        fields = {name: self._field(row, name, key) for name, key in self._own.fields.items()}
        item = self._id(row, prefix)
        if item in self._seen:
            first = self._seen[item]
            where = f"line {first.line}" if first.path == row.path else f"{first.path}, line {first.line}"
            raise row.wrong(f"the id {item!r} stands twice, first at {where}.", "Give every item an id of its own.")
        self._seen[item] = row
        return Example(id=item, fields=fields, label=self._label(row))

    def _id(self, row: Row, prefix: str) -> str:
        key = self._own.id
        if key is None:
            return f"{prefix}{row.line}"
        value = _find(row.value, key)
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not files.is_text(value) or not value.strip():
            raise row.wrong(
                f"the id {key!r} is not a text or a whole number.", "Leave data.own.id out to number by line."
            )
        return str(value)

    def _field(self, row: Row, name: str, key: str) -> str:
        value = _find(row.value, key)
        needed = name in self._task.inputs
        if value is _MISSING or value is None:
            if needed:
                raise row.wrong(f"the field {key!r} is missing.", f"Keys there: {', '.join(row.value) or 'none'}.")
            return ""
        self._found.add(name)
        text = _text(value)
        if text is None:
            raise row.wrong(f"the field {key!r} is neither a text nor a list of texts in UTF-8.")
        if needed and not text.strip():
            raise row.wrong(f"the field {key!r} is empty.", "Fill it in or remove the item.")
        return text

    def _label(self, row: Row) -> str:
        key = self._own.label
        value = _find(row.value, key)
        if value is _MISSING:
            raise row.wrong(f"the label {key!r} is missing.", f"Keys there: {', '.join(row.value) or 'none'}.")
        given = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        label = self._own.label_map.get(given, given)
        if label not in self._task.labels:
            raise row.wrong(
                f"the label {given!r} in {key!r} is not one of {', '.join(self._task.labels)}.",
                "Correct it, or map it to a label in data.own.label_map.",
            )
        return label


def _find(value: Any, key: str) -> Any:
    """The value at a key; if there is none, its dots lead into nested objects and lists (`a.b`, `a.0`)."""
    if isinstance(value, Mapping) and key in value:
        return value[key]
    for part in key.split("."):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value


def _text(value: Any) -> str | None:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list) and all(files.is_text(part) for part in value):
        return " ".join(value)
    return value if files.is_text(value) else None


def rows(path: Path) -> Iterator[Row]:
    """The objects of a JSONL file or of a JSON array, in order; `DataError` with the line of what is none."""
    text = files.read_text(path)
    found = _array(text, path) if text.lstrip()[:1] == "[" else _lines(text, path)
    for value, line in found:
        if not isinstance(value, dict):
            raise DataError.at(
                path,
                "not a JSON object.",
                line=line,
                hint="Write one JSON object per line, or one array of objects.",
            )
        yield Row(value, path, line)


def _lines(text: str, path: Path) -> Iterator[tuple[Any, int]]:
    # Not splitlines: JSON strings may hold other characters that count as line ends there.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield json.loads(line), number
            except json.JSONDecodeError as error:
                raise files.not_json(path, error.msg, number, error.colno) from error
            except (RecursionError, ValueError) as error:  # ValueError: a number of thousands of digits
                raise DataError.at(
                    path, "the JSON is nested too deeply, or holds a number that is too long.", line=number
                ) from error


def _array(text: str, path: Path) -> Iterator[tuple[Any, int]]:
    """The elements of a JSON array with the lines on which they begin."""
    files.decode(text, path)  # names line and column of a syntax error anywhere, the brackets included
    decoder = json.JSONDecoder()
    position, line = text.index("[") + 1, text.count("\n", 0, text.index("[") + 1) + 1
    while True:
        start = position
        while text[start] in ", \t\r\n":
            start += 1
        if text[start] == "]":
            return
        line += text.count("\n", position, start)
        value, position = decoder.raw_decode(text, start)
        yield value, line
        line += text.count("\n", start, position)
