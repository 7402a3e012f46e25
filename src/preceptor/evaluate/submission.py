"""Scoring a file of predictions that somebody else made.

Accepted: a JSON object `{id: label or text}`; JSON Lines (or a JSON list) of objects with `id` and one of
`label`, `prediction`, `text`, `answer`; a JSON list of strings or a text file with one answer per line, in
the split's order. Every id of the split must be there exactly once, else nothing is scored.

What stands under `label` is a label, in any case and with or without a full stop: one that the task does not have is
refused. What stands under `text` or `answer` is what a model wrote, and is parsed: where that gives no label, the
answer is counted as unread. All else may be both: it is parsed too, and what cannot be read and is no longer than a
label is taken for one that the task does not have, and refused. (The paper's parser reads everything, so it refuses
nothing but what stands under `label`.) null and "" are answers that a model failed to give: they are counted as unread.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from preceptor.data.base import Task
from preceptor.data.parsers import parse_paper, parse_strict
from preceptor.errors import DataError
from preceptor.evaluate.metrics import score
from preceptor.records import Example, Outcome, ParsedAnswer, Prediction, Score

LABEL_FIELD, TEXT_FIELDS = "label", ("text", "answer")
ANSWER_FIELDS = (LABEL_FIELD, "prediction", *TEXT_FIELDS)
_FORMS = (
    "Give a JSON object {id: answer}, JSON Lines with `id` and one of "
    f"{', '.join(f'`{name}`' for name in ANSWER_FIELDS)}, or a list in the split's order."
)
_NAMED = 5  # ids named in an error; the rest is counted

_Pair = tuple[str, object]


class _Answer(NamedTuple):
    """One answer as it stands in the file."""

    id: str
    text: str | None
    """None where the file says null."""
    place: str
    """File, line or item where there is one, and id: for errors."""
    field: str = ""
    """What it is called in its row; empty in forms that have no rows."""


class _Object(list[_Pair]):
    """A JSON object as its pairs: a dictionary would lose repeated keys."""


def score_submission(
    path: Path, task: Task, examples: Sequence[Example], order: Sequence[str], parser: str = "strict"
) -> tuple[Score, list[Prediction]]:
    """Score the file at `path` on `examples`, the scored part of one split.

    `order` holds the ids in the order in which a plain list is read; `parser` is `strict` or `paper`. The predictions
    come back in the order of `examples`. Raises as `read_submission`.
    """
    predictions = read_submission(path, examples, order, task.labels, marker=task.marker, parser=parser)
    return score(predictions, task.labels), predictions


def read_submission(
    path: Path,
    expected: Sequence[Example],
    order: Sequence[str],
    labels: Sequence[str],
    *,
    marker: str,
    parser: str = "strict",
) -> list[Prediction]:
    """Read the answers of a file, in the order of `expected`; a value that is exactly a label is that label.

    `marker`: what may stand before the label in a text (`Task.marker`). Raises `DataError` naming file and line or id
    for: an unreadable or malformed file, an answer that is not text, a plain list of the wrong length, ids that are
    missing, foreign or repeated (all at once), and labels that are not among `labels`. Raises `RecipeError` when the
    paper's parser does not know the labels.
    """
    answers = _read(path, order)
    _check_ids(path, [answer.id for answer in answers], [example.id for example in expected])
    read = {answer.id: _parse(answer, labels, marker, parser) for answer in answers}
    _check_labels([answer for answer in answers if _is_foreign(answer, read[answer.id], labels)], labels)
    texts = {answer.id: answer.text or "" for answer in answers}
    return [
        Prediction(example.id, example.label, read[example.id].label, read[example.id].outcome, text=texts[example.id])
        for example in expected
    ]


def _parse(answer: _Answer, labels: Sequence[str], marker: str, parser: str) -> ParsedAnswer:
    if answer.text is None:
        return ParsedAnswer(Outcome.UNPARSED)
    if answer.field == LABEL_FIELD:
        label = _as_label(answer.text, labels)
        return ParsedAnswer(Outcome.UNPARSED if label is None else Outcome.ANSWERED, label)
    if parser == "paper":
        return parse_paper(answer.text, labels)
    if answer.text.strip() in labels:
        return ParsedAnswer(Outcome.ANSWERED, answer.text.strip())
    return parse_strict(answer.text, labels, marker=marker, finish="stop")


def _as_label(text: str, labels: Sequence[str]) -> str | None:
    """The label that a text is, but for its case, a full stop and white space."""
    said = text.strip()
    if said in labels:
        return said
    alike = [label for label in labels if label.casefold() == said.rstrip(".").casefold()]
    return alike[0] if len(alike) == 1 else None


def _is_foreign(answer: _Answer, read: ParsedAnswer, labels: Sequence[str]) -> bool:
    """Whether an answer is meant as a label that the task does not have."""
    text = (answer.text or "").strip()
    if read.label is not None or not text:
        return False
    if answer.field == LABEL_FIELD or answer.field in TEXT_FIELDS:
        return answer.field == LABEL_FIELD
    longest = max(len(label.split()) for label in labels)
    return read.outcome is Outcome.UNPARSED and len(text.split()) <= longest


def _check_labels(foreign: Sequence[_Answer], labels: Sequence[str]) -> None:
    if not foreign:
        return
    first, others = foreign[0], len(foreign) - 1
    more = f" (nor are {others} more answers)" if others > 1 else " (nor is one more answer)" if others else ""
    raise DataError.at(
        first.place,
        f"{_short(first.text or '')} is none of the labels {', '.join(labels)}{more}; nothing was scored.",
        hint='Where a model gave no answer, write null or "": it counts as unread. Texts to be parsed belong under '
        "`text`, in JSON Lines.",
    )


def _read(path: Path, order: Sequence[str]) -> list[_Answer]:
    """The answers of the file, whatever its form."""
    text = _file_text(path)
    opening = text.lstrip()[:1]
    if not opening:
        raise DataError.at(path, "the file is empty.", hint=_FORMS)
    if path.suffix.lower() in (".jsonl", ".ndjson") or (opening == "{" and _has_several_values(text)):
        return _rows(_json_lines(path, text))
    if opening not in "{[":
        return _in_order(path, "line", _lines(text, len(order)), order)
    value = _json(path, text)
    if isinstance(value, _Object):
        # A single row of JSON Lines looks like an object of two ids.
        if "id" in dict(value):
            return _rows([(str(path), value)])
        return [_answer(name, said, str(path)) for name, said in value]
    assert isinstance(value, list)  # JSON that starts with a bracket
    if any(isinstance(item, _Object) for item in value):
        return _rows([(f"{path}, item {number}", item) for number, item in enumerate(value, 1)])
    return _in_order(path, "item", value, order)


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError.at(path, "there is no such file.", hint="Check the path.") from None
    except OSError as error:
        raise DataError.at(path, f"cannot be read: {(error.strerror or 'input error').lower()}.") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise DataError.at(path, "the text is not UTF-8.", line=line, hint="Save the file as UTF-8.") from error


def _lines(text: str, expected: int) -> list[str]:
    """The lines of a plain text file. Blank lines are empty answers, except at the end of too long a file."""
    lines = text.removesuffix("\n").split("\n")
    while len(lines) > expected and not lines[-1].strip():
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def _has_several_values(text: str) -> bool:
    """Whether the text goes on after its first JSON object, as JSON Lines does."""
    start = len(text) - len(text.lstrip())
    try:
        _, end = json.JSONDecoder().raw_decode(text, start)
    except (ValueError, RecursionError):
        return False
    return bool(text[end:].strip())


def _json(path: Path, text: str, line: int | None = None) -> object:
    try:
        return json.loads(text, object_pairs_hook=_Object)
    except json.JSONDecodeError as error:
        problem = f"not valid JSON: {error.msg} at character {error.colno}."
        raise DataError.at(path, problem, line=line or error.lineno, hint=_FORMS) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, thousands of brackets
        raise DataError.at(path, "not a list or object of answers.", line=line, hint=_FORMS) from error


def _json_lines(path: Path, text: str) -> list[tuple[str, object]]:
    """(place, value) of every line that is not blank."""
    lines = enumerate(text.split("\n"), 1)
    return [(f"{path}, line {number}", _json(path, line, number)) for number, line in lines if line.strip()]


def _rows(rows: Iterable[tuple[str, object]]) -> list[_Answer]:
    """The id and the answer of every row, given with its place."""
    return [_row(place, row) for place, row in rows]


def _row(place: str, row: object) -> _Answer:
    if not isinstance(row, _Object):
        raise DataError.at(place, "expected an object with `id` and an answer.", hint=_FORMS)
    repeated = [name for name, count in Counter(name for name, _ in row).items() if count > 1]
    if repeated:
        raise DataError.at(place, f"the field {_short(repeated[0])} stands there twice.", hint="Keep one of them.")
    fields = dict(row)
    given = [name for name in ANSWER_FIELDS if name in fields]
    if len(given) != 1:
        problem = f"needs exactly one of {', '.join(ANSWER_FIELDS)}, has {' and '.join(given) or 'none of them'}."
        raise DataError.at(place, problem, hint="Two of them could be the true label beside the predicted one.")
    name = fields.get("id")
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError.at(place, "the field `id` is missing or neither text nor a whole number.", hint=_FORMS)
    return _answer(str(name), fields[given[0]], place, given[0])


def _in_order(path: Path, unit: str, values: Sequence[object], order: Sequence[str]) -> list[_Answer]:
    """The values of a plain list, whose entries are each a `unit` of the file: a line or an item."""
    if len(values) != len(order):
        raise DataError.at(
            path,
            f"the list has {len(values)} answers, the split has {len(order)} items; nothing was scored.",
            hint="Give one answer per item in the split's order, or give ids. Is it another split?",
        )
    numbered = enumerate(zip(order, values, strict=True), 1)
    return [_answer(name, value, f"{path}, {unit} {number}") for number, (name, value) in numbered]


def _answer(name: str, value: object, place: str, field: str = "") -> _Answer:
    where = f"{place}, id {_short(name)}"
    if value is None or isinstance(value, str):
        return _Answer(name, value, where, field)
    shown = "an object" if isinstance(value, _Object) else json.dumps(value)[:40]
    raise DataError.at(where, f"the answer is {shown}, not text.", hint='Write labels in quotes, e.g. "yes".')


def _check_ids(path: Path, found: Sequence[str], expected: Sequence[str]) -> None:
    """Every expected id exactly once and no other: else one error that names all three kinds of fault."""
    counts, wanted = Counter(found), set(expected)
    faults = (
        ("missing", [name for name in expected if name not in counts]),
        ("not in the split", [name for name in counts if name not in wanted]),
        ("given more than once", [name for name, count in counts.items() if count > 1]),
    )
    told = [f"{len(names)} {_ids(names)} {fault} ({_some(names)})" for fault, names in faults if names]
    if told:
        raise DataError.at(
            path,
            f"{'; '.join(told)}; nothing was scored.",
            hint=f"Give every one of the {len(expected)} ids of the split once. Is it another split?",
        )


def _ids(names: Sequence[str]) -> str:
    return "id is" if len(names) == 1 else "ids are"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(_short, names[:_NAMED])) + (", ..." if len(names) > _NAMED else "")


def _short(name: str) -> str:
    """An id or an answer as it can stand in a sentence, whatever the file holds."""
    return repr(name if len(name) <= 40 else name[:37] + "...")
