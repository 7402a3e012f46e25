"""Layouts of files with multiple-choice questions, and which option is the right one.

- MedQA: `question`, `options` (letter -> text, or a list of `key` and `value`), `answer_idx` (a letter) and `answer`
  (the option in words, compared with the letter); or as lm-evaluation-harness keeps it, with `sent1`, `sent2`,
  `ending0`... and `label` (from 0).
- MedMCQA: `question`, `opa`...`opd`, `cop`. The authors' files count `cop` from 1, the hub's from 0, where -1 hides it.
- `choice`: `question`, `options` (a list, or letter -> text), `answer` (a number, a letter or the option in words) and
  perhaps `context` and `id`.

Whether numbers count from 0 or 1 is decided from all items of a benchmark together: a 0 can only count from 0, the
number of an item's options only from 1. Where both occur, or neither, nobody can know, and the items are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from preceptor.data import files
from preceptor.data.benchmarks.letters import LETTERS
from preceptor.data.jsonl import Row
from preceptor.errors import DataError

First = Literal["auto", 0, 1]


@dataclass(frozen=True, slots=True)
class Item:
    """One question; texts are without line ends in the options."""

    id: str
    question: str
    context: str
    options: tuple[str, ...]
    answer: int
    """Index of the right option."""


@dataclass(frozen=True, slots=True)
class _Draft:
    """An item whose answer may still be a number that counts from nobody knows where."""

    row: Row
    question: str
    options: tuple[str, ...]
    answer: int
    key: str
    """Where the answer stands."""
    counted: bool = False
    """Whether `answer` is such a number."""


def items_of(rows: Mapping[str, Sequence[Row]], kind: str, first: First, name: str) -> dict[str, tuple[Item, ...]]:
    """The items by part; `name` is the table of the recipe. An item without an id is called by part and line.

    Raises `DataError` naming file, line and field.
    """
    read = {"medqa": _medqa, "medmcqa": _medmcqa, "choice": _choice}[kind]
    drafts = {part: [read(row) for row in group] for part, group in rows.items()}
    counted = [draft for group in drafts.values() for draft in group if draft.counted]
    start = _first(counted, first, name) if counted else 0
    return {
        part: tuple(_item(draft, f"{part}-" if part else "", start) for draft in group)
        for part, group in drafts.items()
    }


def _first(drafts: Sequence[_Draft], given: First, name: str) -> int:
    """What number means the first option."""
    if given != "auto":
        return given
    zero = next((draft for draft in drafts if draft.answer == 0), None)
    last = next((draft for draft in drafts if draft.answer == len(draft.options)), None)
    if (zero is None) == (last is None):
        where = drafts[0].row.path
        problem = (
            f"the answers {drafts[0].key!r} hold neither a 0 nor the number of an item's options"
            if zero is None or last is None
            else f"the answers {drafts[0].key!r} hold a 0 (line {zero.row.line}) and the number of an item's options "
            f"(line {last.row.line})"
        )
        raise DataError.at(
            where,
            f"{problem}, so whether they count from 0 or from 1 cannot be told.",
            hint=f"Set {name}.first_option to 0 or 1.",
        )
    return 0 if last is None else 1


def _item(draft: _Draft, prefix: str, first: int) -> Item:
    answer = draft.answer - (first if draft.counted else 0)
    if not 0 <= answer < len(draft.options):
        raise draft.row.wrong(
            f"the answer {draft.answer} in {draft.key!r} is none of {len(draft.options)} options counted from {first}."
        )
    value = draft.row.value
    context = _text(draft.row, "context") if value.get("context") not in (None, "") else ""
    given = value.get("id")
    known = (files.is_text(given) and given.strip()) or (isinstance(given, int) and not isinstance(given, bool))
    item = str(given) if known else f"{prefix}{draft.row.line}"
    return Item(item, draft.question, context, draft.options, answer)


# Layouts


def _medqa(row: Row) -> _Draft:
    if "sent1" in row.value and "options" not in row.value:
        return _harness(row)
    options = _options(row)
    letter = _need(row, "answer_idx")
    answer = _letter(letter, len(options))
    if answer is None:
        raise row.wrong(f"the field 'answer_idx' {letter!r} is not the letter of one of {len(options)} options.")
    words = row.value.get("answer")
    if words is not None and _same(words) != _same(options[answer]):
        raise row.wrong(f"'answer' is not the option {letter!r} that 'answer_idx' names.", "Correct one of them.")
    return _Draft(row, _text(row, "question"), options, answer, "answer_idx")


def _harness(row: Row) -> _Draft:
    endings = sorted((key for key in row.value if key.startswith("ending") and key[6:].isdecimal()), key=_number)
    if [_number(key) for key in endings] != list(range(len(endings))):
        raise row.wrong(f"the options are not ending0, ending1 and so on: {', '.join(endings)}.")
    options = tuple(_line(row, key, row.value[key]) for key in endings)
    second = row.value.get("sent2") or ""
    question = " ".join(part for part in (_text(row, "sent1"), str(second).strip()) if part)
    return _Draft(row, question, _enough(row, options), _integer(row, "label"), "label")


def _number(key: str) -> int:
    return int(key.removeprefix("ending"))


def _medmcqa(row: Row) -> _Draft:
    options = tuple(_line(row, key, _need(row, key)) for key in ("opa", "opb", "opc", "opd"))
    if row.value.get("cop") in (None, -1):
        raise row.wrong(
            "the answer 'cop' is hidden, as in MedMCQA's own test part.",
            "Score on the validation part, as lm-evaluation-harness does: name its file in test_path.",
        )
    return _Draft(row, _text(row, "question"), options, _integer(row, "cop"), "cop", counted=True)


def _choice(row: Row) -> _Draft:
    options = _options(row)
    answer = _need(row, "answer")
    question = _text(row, "question")
    if isinstance(answer, int) and not isinstance(answer, bool):
        if answer < 0:
            raise row.wrong(f"the answer {answer} is hidden, or wrong.", "Remove the item.")
        return _Draft(row, question, options, answer, "answer", counted=True)
    if not files.is_text(answer) or not answer.strip():
        raise row.wrong("the field 'answer' is neither a number nor a text.")
    meant = {index for index, option in enumerate(options) if _same(option) == _same(answer)}
    letter = _letter(answer.strip(), len(options))
    meant |= set() if letter is None else {letter}
    if len(meant) != 1:
        problem = "means more than one option" if meant else f"is none of {len(options)} options"
        raise row.wrong(
            f"the answer {answer!r} {problem}.", "Write the letter, or the option exactly, or its number as a number."
        )
    return _Draft(row, question, options, meant.pop(), "answer")


# Fields


def _need(row: Row, key: str) -> Any:
    value = row.value.get(key)
    if value is None:
        raise row.wrong(f"the field {key!r} is missing.", f"Keys there: {', '.join(row.value) or 'none'}.")
    return value


def _text(row: Row, key: str) -> str:
    value = _need(row, key)
    if not files.is_text(value):
        raise row.wrong(f"the field {key!r} is not a text in UTF-8.")
    if not value.strip():
        raise row.wrong(f"the field {key!r} is empty.", "Fill it in or remove the item.")
    return value.strip()


def _line(row: Row, key: str, value: Any) -> str:
    """An option's text on one line."""
    if not files.is_text(value):
        raise row.wrong(f"the option {key!r} is not a text in UTF-8.")
    if not value.strip():
        raise row.wrong(f"the option {key!r} is empty.", "Fill it in or remove the item.")
    return " ".join(value.split())


def _integer(row: Row, key: str) -> int:
    value = _need(row, key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise row.wrong(f"the field {key!r} is not a whole number.")
    return value


def _options(row: Row) -> tuple[str, ...]:
    value = _need(row, "options")
    if isinstance(value, list) and value and all(isinstance(part, Mapping) and "key" in part for part in value):
        value = {str(part["key"]): part.get("value") for part in value}
    if isinstance(value, Mapping):
        keys = sorted(value)
        if keys != list(LETTERS[: len(keys)]):
            raise row.wrong(f"the options are not lettered A, B and so on: {', '.join(map(str, keys)) or 'none'}.")
        return _enough(row, tuple(_line(row, key, value[key]) for key in keys))
    if not isinstance(value, list):
        raise row.wrong("the field 'options' is neither a list nor an object of lettered texts.")
    named = zip(LETTERS, value, strict=False)
    return _enough(row, tuple(_line(row, key, option) for key, option in named) if len(value) <= len(LETTERS) else ())


def _enough(row: Row, options: tuple[str, ...]) -> tuple[str, ...]:
    if not 2 <= len(options) <= len(LETTERS):
        raise row.wrong(f"an item needs 2 to {len(LETTERS)} options.")
    return options


def _letter(value: Any, count: int) -> int | None:
    return LETTERS.index(value) if isinstance(value, str) and len(value) == 1 and value in LETTERS[:count] else None


def _same(text: Any) -> str:
    return " ".join(str(text).split()).casefold()
