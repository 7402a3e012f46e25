"""In a sentence: how often the test items were looked at."""

from __future__ import annotations

from preceptor.records import Looks


def looks_sentence(looks: Looks) -> str:
    """How often, by how many students and settings, whether a choice went before, and what is not on record."""
    where = f" of {looks.setting}" if looks.setting not in ("", "default") else ""
    said = (
        f"The {looks.items} test items{where} were answered {_times(looks.times)} on record, by "
        f"{_many(looks.students, 'student')} in {_many(looks.settings, 'combination')} of settings and arm"
    )
    if looks.chosen:
        chosen = f"{looks.chosen} of these looks came after a choice by other items than these"
    else:
        chosen = "no choice by a sweep went before any of them"
    said = f"{said}; {chosen}."
    if looks.unrecorded:
        said += f" {_many(looks.unrecorded, 'result')} shown here {'is' if looks.unrecorded == 1 else 'are'} not on it."
    return said


def _times(number: int) -> str:
    return "once" if number == 1 else f"{number:,} times"


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
