"""Reading tasks out of an answer: JSON where it is there, else a text with the labels Instruction, Input and Output.

A part of an answer that gives no task is counted by one of these reasons:

- refused: the endpoint withheld the answer, or it is a refusal.
- cut_off: the teacher reached its limit in this part, the last one.
- no_instruction, no_output: the label is missing, or nothing stands behind "Instruction".
- label_twice: two different inputs or outputs, of which nobody knows which one is meant.
- not_text: a part of a JSON object is a list or an object.

Small models write "Instructions:", put marks around labels, number them, leave the input out or write one more task
than they were asked for: all of that is read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from preceptor.augment.structured import objects
from preceptor.data.parsers import unread
from preceptor.records import Outcome

TASKS = "tasks"
"""Key of the list in a JSON answer."""
NO_INPUT = "<none>"
"""Stands for an input that is not needed, in what a teacher reads and writes."""

_NOTHING = frozenset(
    {"<none>", "none", "(none)", "[none]", "n/a", "na", "not applicable", "<noinput>", "noinput", "no input"}
    | {"<no input>", "no input needed", "no input required", "null", "-", "--"}
)
_MARKS = r"[ \t>*_#`-]*"
_LABEL = re.compile(
    rf"^{_MARKS}(?:\d{{1,2}}[.)][ \t]*)?[*_]*(?P<name>instruction|input|output)s?(?:[ \t]+\d{{1,2}})?"
    r"[*_]*[ \t]*:[*_]*[ \t]*"
    rf"|^{_MARKS}(?P<task>task)(?:[ \t]+\d{{1,2}})?[*_]*[ \t]*[:.]?[*_]*[ \t]*$",
    re.IGNORECASE | re.MULTILINE,
)
_EDGE_MARKS = re.compile(r"^[*_`]+\s+|\s+[*_`]+$|(?:^|\n)\s*(?:-{3,}|#{1,6})\s*\Z")


@dataclass(frozen=True, slots=True)
class Draft:
    """A task as it was written, before anybody judged it."""

    instruction: str
    input: str
    output: str = ""
    """Empty while it was not asked for."""


@dataclass
class Read:
    """What was found in one answer."""

    drafts: list[Draft] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)
    """Reason -> parts of the answer, or the answer as a whole, that give no task."""


Parts = Mapping[str, Sequence[str]]
"""Name of a part -> what stands there, once for every time it is given."""


def read_tasks(text: str, finish: str, *, with_output: bool) -> Read:
    """All tasks of an answer, in order; `finish` as in `Completion`.

    Of an answer that was cut off the last part is left out, whatever it holds: nobody knows what is missing.
    """
    read = Read()
    found = objects(text, TASKS)
    parts = _labelled(text) if found is None else [_of_object(entry) for entry in found]
    if finish == "content_filter" or not parts:
        reasons = {Outcome.REFUSED: "refused", Outcome.CUT_OFF: "cut_off"}
        read.unreadable[reasons.get(unread(text, finish), "no_instruction")] += 1
        return read
    if finish == "length":
        parts = parts[:-1]
        read.unreadable["cut_off"] += 1
    for part in parts:
        reason = _fault(part, with_output)
        if reason:
            read.unreadable[reason] += 1
        else:
            output = part["output"][0] if with_output else ""
            read.drafts.append(Draft(part["instruction"][0], (part.get("input") or [""])[0], output))
    return read


def read_category(text: str, categories: Sequence[str]) -> str | None:
    """The one category that the first line names; None where it names none or several."""
    found = objects(text, "category")
    line = str(found[0].get("category", "")) if found else next((x for x in text.splitlines() if x.strip()), "")
    words = re.sub(r"[\s_-]+", " ", line.lower())
    named = {name for name in categories if re.search(rf"\b{name.replace('_', ' ')}\b", words)}
    # "other" is also a plain word, as in "generation, no other".
    if len(named) > 1:
        named.discard("other")
    return named.pop() if len(named) == 1 else None


def _fault(part: Parts, with_output: bool) -> str:
    """Why a part is no task; empty when it is one."""
    if not part.get("instruction") or not part["instruction"][0]:
        return "not_text" if part.get("not_text") else "no_instruction"
    if part.get("not_text"):
        return "not_text"
    if with_output and not part.get("output"):
        return "no_output"
    given = ("input", "output") if with_output else ("input",)
    return "label_twice" if any(len(set(part.get(name, ()))) > 1 for name in given) else ""


def _labelled(text: str) -> list[Parts]:
    """The parts of a text with labels: a new one begins at each instruction, and at a heading "Task 2"."""
    parts: list[dict[str, list[str]]] = []
    for name, value in _values(text):
        if not parts or name == "task" or (name == "instruction" and parts[-1]):
            parts.append({})
        if name != "task":
            parts[-1].setdefault(name, []).append(value)
    return [part for part in parts if part]


def _values(text: str) -> Iterator[tuple[str, str]]:
    labels = list(_LABEL.finditer(text))
    ends = [label.start() for label in labels[1:]] + [len(text)]
    for label, end in zip(labels, ends, strict=False):  # without any label there is an end too many
        value = text[label.end() : end]
        name = (label["name"] or label["task"]).lower()
        yield name, _cleaned(value, name)


def _cleaned(value: str, name: str) -> str:
    value = _EDGE_MARKS.sub("", value.strip()).strip()
    if name == "input" and value.casefold().rstrip(".") in _NOTHING:
        return ""
    return "" if value == NO_INPUT else value


def _of_object(entry: Mapping[str, object]) -> Parts:
    parts: dict[str, list[str]] = {}
    for name in ("instruction", "input", "output"):
        value = entry.get(name)
        if isinstance(value, str | int | float):
            parts[name] = [_cleaned(str(value), name)]
        elif value is not None:
            parts["not_text"] = [name]
    return parts
