"""Seed tasks: the hand-written examples from which a teacher writes more (BioInstruct, Tran et al. 2023, used 80).

A seed set is a JSONL file, one task per line:

    {"id": "seed-001", "category": "question_answering", "instruction": "...", "input": "...", "output": "..."}

`input` may be empty; without an `id` the line's number is taken; `category` is one of `records.CATEGORIES` or its short
form (QA, IE, GEN). Self-Instruct's layout, where `instances` lists pairs of input and output, is read as one task per
pair. Sets that ship with the package lie in `seed_tasks/`: a new domain is a new file there. Their tasks and patients
are made up for this package and copied from nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from preceptor.data import files
from preceptor.errors import DataError
from preceptor.language import looks_cut_off, looks_english
from preceptor.records import CATEGORIES, SHORT, Instruction, instructions_hash

ORIGIN = "seed"
FEWEST = 3
"""BioInstruct shows the teacher three seeds at a time."""
IGNORED = ("name", "is_classification", "topic", "type", "view", "difficulty")
"""Fields of published seed sets that say nothing which is used here."""

_ENDING = ".jsonl"
_FIELDS = ("id", "category", "instruction", "input", "output", "instances")
_SAID = 3
"""Different problems of a file that are told; of the others the number is given."""
_CATEGORY = {name: name for name in CATEGORIES} | {SHORT[name].casefold(): name for name in CATEGORIES}


@dataclass(frozen=True, slots=True)
class SeedSet:
    """Seed tasks in the order of their file."""

    name: str
    """The shipped set's name, or the file's without its ending."""
    tasks: tuple[Instruction, ...]
    """At least `FEWEST`, with origin `seed`; ids are unique, white space around the texts is removed."""
    identity: str
    """Hash of all tasks in order."""
    where: str
    """The file they came from, for people."""


class _Problem(NamedTuple):
    line: int
    said: str


class _Pair(NamedTuple):
    """Input and output as they stand in a row, and how messages call the place."""

    values: Mapping[str, Any]
    where: str


def load_seeds(name_or_path: str, base: Path, language: Literal["en", "any"] = "en") -> SeedSet:
    """The seed set of that name, or the one in a file.

    A shipped set is meant by a word without ending, slash, `~` and `$`; anything else is a JSONL file relative to the
    folder `base`, in which `~` and `$VARIABLES` are expanded. With `language="en"`, instructions and outputs that are
    clearly not English are refused.

    Raises `DataError` with file and line for whatever is wrong in the file: the first problems in words, the others
    counted. Nothing is skipped.
    """
    if _is_name(name_or_path):
        source = _shipped(name_or_path)
        return _read(source.read_text(encoding="utf-8"), str(source), name_or_path, language)
    path = files.resolve(name_or_path, base)
    if not path.exists():
        raise DataError(
            f"There is no file {path}.",
            f"Check instruct.seeds in the recipe: a JSONL file, or a set of the package: {', '.join(shipped_sets())}.",
        )
    return _read(files.read_text(path), str(path), path.stem, language)


def shipped_sets() -> tuple[str, ...]:
    """Names of the seed sets of the package."""
    names = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(_ENDING) for name in names if name.endswith(_ENDING)))


def _folder() -> Traversable:
    return resources.files("preceptor.data").joinpath("seed_tasks")


def _is_name(text: str) -> bool:
    return bool(text.strip()) and not any(sign in text for sign in "./\\~$\0")


def _shipped(name: str) -> Traversable:
    known = shipped_sets()
    if name not in known:
        raise DataError(
            f"There is no seed set {name!r}.",
            f"The package has {', '.join(known)}; a file of your own is named with its ending: {name}{_ENDING}.",
        )
    return _folder().joinpath(name + _ENDING)


def _read(text: str, where: str, name: str, language: str) -> SeedSet:
    tasks: list[tuple[int, Instruction]] = []
    problems: list[_Problem] = []
    # Not splitlines: JSON strings may hold other characters that count as line ends there.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        row = _object(content)
        found = [row] if isinstance(row, str) else list(_faults(row, language))
        problems += [_Problem(line, said) for said in found]
        if not found and isinstance(row, dict):
            tasks += [(line, task) for task in _tasks(row, line)]
    problems += _twice(tasks)
    if problems:
        raise _error(sorted(problems), where)
    if len(tasks) < FEWEST:
        raise DataError.at(
            where, f"{len(tasks)} seed tasks are too few.", hint=f"Write at least {FEWEST}, one JSON object per line."
        )
    kept = tuple(task for _, task in tasks)
    return SeedSet(name, kept, instructions_hash(kept), where)


def _error(problems: list[_Problem], where: str) -> DataError:
    """One error for all problems, in the order of their lines; the same problem of many lines is told once."""
    lines: dict[str, list[int]] = {}
    for problem in problems:
        lines.setdefault(problem.said, []).append(problem.line)
    sentences: list[str] = []
    for said, places in list(lines.items())[:_SAID]:
        also = f" The same on {len(places) - 1} more line{_s(len(places) - 1)}." if len(places) > 1 else ""
        sentences.append(f"Line {places[0]}: {said}{also}" if sentences else f"{said}{also}")
    if left := sum(map(len, list(lines.values())[_SAID:])):
        sentences.append(f"And {left} more problem{_s(left)}.")
    return DataError.at(
        where, " ".join(sentences), line=problems[0].line, hint="Correct the seed tasks; none of them was used."
    )


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _object(content: str) -> files.Pairs | str:
    """The JSON object of a line, or what is wrong with the line."""
    try:
        value = json.loads(content, object_pairs_hook=files.Pairs)
    except json.JSONDecodeError as error:
        return f"not valid JSON at column {error.colno} ({error.msg[0].lower()}{error.msg[1:]})."
    except (RecursionError, ValueError):  # ValueError: a number of thousands of digits
        return "the JSON is nested too deeply, or holds a number that is too long."
    return value if isinstance(value, files.Pairs) else "not a JSON object; write one task per line."


def _faults(row: files.Pairs, language: str) -> Iterator[str]:
    """What is wrong with a row, one sentence each."""
    if unknown := [key for key in row if key not in (*_FIELDS, *IGNORED)]:
        names = ", ".join(map(repr, unknown))
        yield f"unknown field {names}; there are {', '.join(_FIELDS)}, and {', '.join(IGNORED)} are ignored."
    for key in row.twice:
        yield f"the field {key!r} stands twice."
    yield from _id_faults(row)
    yield from _category_faults(row)
    yield from _text_faults(row, "instruction", "", language)
    yield from _instances_faults(row)
    for pair in _pairs(row):
        yield from _text_faults(pair.values, "input", pair.where, "any")
        yield from _text_faults(pair.values, "output", pair.where, language)


def _id_faults(row: Mapping[str, Any]) -> Iterator[str]:
    value = row.get("id", 0)
    number = isinstance(value, int) and not isinstance(value, bool)
    if not number and not (files.is_text(value) and value.strip()):
        yield "the field 'id' is neither a text nor a whole number; without one the line's number is taken."


def _category_faults(row: Mapping[str, Any]) -> Iterator[str]:
    known = f"one of {', '.join(CATEGORIES)}"
    if "category" not in row:
        yield f"the field 'category' is missing; add {known}."
    elif not isinstance(row["category"], str):
        yield f"the field 'category' is not a text; write {known}."
    elif _category(row["category"]) is None:
        yield f"the category {row['category']!r} is not {known}."


def _category(given: str) -> str | None:
    return _CATEGORY.get("_".join(given.casefold().replace("-", " ").split()))


def _instances_faults(row: Mapping[str, Any]) -> Iterator[str]:
    if "instances" not in row:
        return
    if both := [key for key in ("input", "output") if key in row]:
        yield f"the fields 'instances' and {both[0]!r} exclude each other."
    pairs = row["instances"]
    if not isinstance(pairs, list) or not pairs or not all(isinstance(pair, dict) for pair in pairs):
        yield "the field 'instances' is not a list of objects with input and output."


def _pairs(row: Mapping[str, Any]) -> list[_Pair]:
    """Inputs and outputs of a row: its own, or those of its instances."""
    if "instances" not in row:
        return [_Pair(row, "")]
    pairs = row["instances"] if isinstance(row["instances"], list) else []
    return [_Pair(pair, f" of instance {n}") for n, pair in enumerate(pairs, start=1) if isinstance(pair, dict)]


def _text_faults(values: Mapping[str, Any], field: str, where: str, language: str) -> Iterator[str]:
    name = f"the field {field!r}{where}"
    if field not in values:
        yield f"{name} is missing{' (it may be empty)' if field == 'input' else ''}."
        return
    text = values[field]
    if not files.is_text(text):
        yield f"{name} is not a text in UTF-8."
        return
    if field != "input" and not text.strip():
        yield f"{name} is empty."
    if field == "output" and looks_cut_off(text):
        yield f"{name} breaks off ({_last_words(text)!r})."
    if language == "en" and not looks_english(text):
        yield f'{name} is not English; instruct.rules.language = "any" allows other languages.'


def _last_words(text: str) -> str:
    return " ".join(text.split()[-4:])


def _tasks(row: Mapping[str, Any], line: int) -> list[Instruction]:
    """The tasks of a row without faults."""
    pairs = _pairs(row)
    name = str(row.get("id", line)).strip()
    return [
        Instruction(
            id=name if len(pairs) == 1 else f"{name}-{number}",
            instruction=row["instruction"].strip(),
            input=pair.values["input"].strip(),
            output=pair.values["output"].strip(),
            category=_category(row["category"]) or "",
            origin=ORIGIN,
        )
        for number, pair in enumerate(pairs, start=1)
    ]


def _twice(tasks: list[tuple[int, Instruction]]) -> Iterator[_Problem]:
    """Tasks whose id, or whose instruction and input, stood before; case and white space make no difference."""
    ids: dict[str, int] = {}
    texts: dict[tuple[str, str], int] = {}
    for line, task in tasks:
        text = (_plain(task.instruction), _plain(task.input))
        if task.id in ids:
            yield _Problem(line, f"the id {task.id!r} stands twice, first on line {ids[task.id]}.")
        if text in texts:
            yield _Problem(line, f"the same instruction and input stand on line {texts[text]}.")
        ids.setdefault(task.id, line)
        texts.setdefault(text, line)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
