"""What each arm is for, in a sentence: which of them are controls, and what a control tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from preceptor.config import ASKING, meet
from preceptor.records import Arm, Row, RunSummary
from preceptor.report.table import teacher_words


@dataclass(frozen=True, slots=True)
class ArmNote:
    """A sentence about an arm."""

    arm: str
    control: bool
    text: str


def controls(summary: RunSummary) -> tuple[str, ...]:
    """Names of the arms that say what an arm with the teacher's examples must be better than."""
    return tuple(name for name, arm in summary.arms.items() if _is_control(arm))


def _is_control(arm: Arm) -> bool:
    return not (arm.real and not arm.shuffled and any(name in ASKING for name in arm.use))


def notes_on(summary: RunSummary) -> list[ArmNote]:
    """Every arm in a sentence, the controls with what they tell; and what must be known of their data."""
    found = []
    for name, arm in summary.arms.items():
        remarks = dict.fromkeys(said for row in summary.rows if row.arm == name for said in _remarks(summary, row))
        text = " ".join([_sentence(summary, name, arm), *_where(summary, arm), *remarks])
        found.append(ArmNote(name, _is_control(arm), text))
    return found


def _remarks(summary: RunSummary, row: Row) -> Iterator[str]:
    where = f"In {row.setting}: " if len({other.setting for other in summary.rows}) > 1 else ""
    for said in (row.missing, row.remark):
        if said:
            yield f"{where}{said if where else said[:1].upper() + said[1:]}."


def _where(summary: RunSummary, arm: Arm) -> Iterator[str]:
    """In which settings an arm is trained, where these are not all of the run's."""
    if arm.settings and {row.setting for row in summary.rows} - set(arm.settings):
        yield f"Trained only in {' and '.join(arm.settings)}."


def _sentence(summary: RunSummary, name: str, arm: Arm) -> str:
    use = arm.use
    if not use:
        return (
            f"The real items alone, repeated to the same number of steps: if {name} does as well as an arm with "
            "generated items, those added nothing but steps."
        )
    twin, by = _twin(summary, name, arm), _by(summary, arm)
    if arm.shuffled:
        joined = "" if arm.real else ", without the real items"
        return (
            f"{_listed(use)}{by} with the labels of the generated items permuted among them{joined}: if {name} does as "
            f"well as {twin}, the labels of the generated part carried nothing."
        )
    if not arm.real:
        return (
            f"{_listed(use)}{by} without the real items, in as many steps: if {name} does as well as {twin}, the real "
            "items were not needed; if it does worse than none, they are what was learnt from."
        )
    if use == ("edit",):
        other = _teachers(summary, arm)
        return (
            f"The real items and copies of them with words swapped, deleted and inserted (no synonyms: none come with "
            f"the program), for which no teacher is asked: if {name} does as well as {other}, what the teacher wrote "
            "was not needed."
        )
    if not any(one in ASKING for one in use):
        return (
            f"The real items and {_listed(use).lower()}, for which no teacher of this run was asked: if {name} does as "
            f"well as {_teachers(summary, arm)}, what the teacher wrote was not needed."
        )
    return f"The real items and {_listed(use).lower()}{by}."


_WORDS = {
    "rewrite": "Rewritten items",
    "new": "New questions",
    "edit": "Word-level edits",
    "published": "Published augmented items",
}


def _listed(use: Sequence[str]) -> str:
    words = [_WORDS.get(name, name) for name in use]
    return " and ".join([words[0], *(word.lower() for word in words[1:])])


def _by(summary: RunSummary, arm: Arm) -> str:
    """Which teacher wrote an arm's examples, where there are several."""
    if not any(other.teacher for other in summary.arms.values()) or not any(name in ASKING for name in arm.use):
        return ""
    return f" by the teacher {arm.teacher}" if arm.teacher else " by the usual teacher"


def _twin(summary: RunSummary, name: str, arm: Arm) -> str:
    """The arm that differs from this one in nothing but what is controlled for."""
    for other, one in summary.arms.items():
        alike = (one.use, one.teacher) == (arm.use, arm.teacher) and meet(one.settings, arm.settings)
        if other != name and alike and one.real and not one.shuffled:
            return other
    return "the same arm with real items and its own labels"


def _teachers(summary: RunSummary, control: Arm) -> str:
    """The arms with the teacher's examples that stand beside a control in some setting."""
    named = [n for n, arm in summary.arms.items() if not _is_control(arm) and meet(arm.settings, control.settings)]
    return " or ".join(named) if named else "an arm with the teacher's examples"


def teacher_note(summary: RunSummary, setting: str) -> str:
    """What the teachers say themselves to the validation items of a setting; empty where none was asked."""
    found = (row.teacher for row in summary.rows if row.setting == setting and row.teacher is not None)
    scores = list({score.teacher: score for score in found}.values())
    if not scores:
        return ""
    score = scores[0]
    if len(scores) > 1:
        each = "; ".join(f"{one.teacher} {teacher_words(one)} ({one.reading})" for one in scores)
        return (
            "The teachers themselves, which have learnt from none of this data, in accuracy on the validation part: "
            f"{each}. Always answering {score.floor_label} gives {score.floor.value:.3f}. A teacher that does not know "
            "the answers can hardly teach them by new pairs."
        )
    return (
        f"The teacher itself, {score.teacher}, which has learnt from none of this data: accuracy "
        f"{teacher_words(score)} of the validation part ({score.reading}); always answering {score.floor_label} gives "
        f"{score.floor.value:.3f}. A teacher that does not know the answers can hardly teach them by new pairs."
    )
