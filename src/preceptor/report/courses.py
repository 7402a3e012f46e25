"""The picture of how trainings went: losses by step and looks at validation, a small panel for each arm."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from preceptor.records import Course

_HIGH, _TOP = 96, 8
"""Pixels of a panel's drawing, and above it."""


@dataclass(frozen=True, slots=True)
class CoursePanel:
    """One arm."""

    arm: str
    picture: Markup


@dataclass(frozen=True, slots=True)
class CourseView:
    """One student in one setting: its arms on the same axes, and the numbers behind them."""

    title: str
    panels: tuple[CoursePanel, ...]
    highest: str
    """The loss at the top of every panel; 0 is at the bottom."""
    steps: int
    rows: tuple[tuple[str, int, str, str, int, str], ...]
    """Arm, seed, first and last training loss, selected step, validation loss there."""


def course_views(courses: Sequence[Course]) -> tuple[CourseView, ...]:
    """The views of all trainings, in the order in which their students come."""
    views = []
    for (setting, student), group in groupby(courses, key=lambda course: (course.setting, course.student)):
        mine = list(group)
        top, steps = _top(mine), max(course.steps for course in mine)
        arms = dict.fromkeys(course.arm for course in mine)
        panels = tuple(
            CoursePanel(arm, _panel([course for course in mine if course.arm == arm], top, steps)) for arm in arms
        )
        shown = setting if setting not in ("", "default") else ""
        rows = tuple(_row(course) for course in sorted(mine, key=lambda course: list(arms).index(course.arm)))
        views.append(CourseView(f"{student} · {shown}" if shown else student, panels, f"{top:.3g}", steps, rows))
    return tuple(views)


_CUT = (
    "Training items too long for {student} were shortened, by arm: {arms}. "
    "Questions, instructions and answers are never cut."
)
_LEFT_OUT = "Training items were left out because their answers alone do not fit {student}, by arm: {arms}."
_RATIONALES = (
    "Explanations were left out because they leave no room for the prompt of {student}, by arm: {arms}; of those items "
    "it learns the label alone."
)
_FOR_TEACHER = "Prompts too long for the teacher that {student} learns from were shortened for it, by arm: {arms}."


def remarks_on(courses: Sequence[Course]) -> tuple[str, ...]:
    """What a reader must know about trainings whose items were shortened or whose memory ran out, in sentences."""
    students: dict[str, list[Course]] = {}
    for course in courses:
        name = " · ".join(part for part in (course.setting, course.student) if part not in ("", "default"))
        students.setdefault(name, []).append(course)
    found = []
    for name, mine in students.items():
        for counts, sentence in (
            ([(c.arm, c.cut) for c in mine], _CUT),
            ([(c.arm, c.left_out) for c in mine], _LEFT_OUT),
            ([(c.arm, c.rationales_left_out) for c in mine], _RATIONALES),
            ([(c.arm, c.cut_for_teacher) for c in mine], _FOR_TEACHER),
        ):
            arms = ", ".join(f"{arm} {count:,}" for arm, count in _most(counts).items() if count)
            if arms:
                found.append(sentence.format(student=name, arms=arms))
        found += [
            f"{name}, {c.arm}, seed {c.seed}: memory ran out, and {c.micro_batch} items went through the model at "
            "once; the steps were the same."
            for c in mine
            if c.micro_batch is not None
        ]
    return tuple(found)


def _most(counts: Sequence[tuple[str, int]]) -> dict[str, int]:
    """By arm the most of any seed: they are the same, save where an earlier version did not count."""
    most: dict[str, int] = {}
    for arm, count in counts:
        most[arm] = max(count, most.get(arm, 0))
    return most


def _top(courses: Sequence[Course]) -> float:
    values = [value for course in courses for _, value in (*course.losses, *course.checks) if math.isfinite(value)]
    return max([value for value in values if value > 0], default=1.0)


def _panel(courses: Sequence[Course], top: float, steps: int) -> Markup:
    lines = Markup("").join(
        Markup('<polyline class="loss" vector-effect="non-scaling-stroke" points="{}"/>').format(
            " ".join(f"{_across(step, steps):.2f},{100 * _down(loss, top):.2f}" for step, loss in course.losses)
        )
        for course in courses
    )
    points = Markup("").join(
        Markup('<circle class="check{}" cx="{:.2f}%" cy="{:.2f}" r="{}"/>').format(
            " kept" if step == course.selected else "",
            _across(step, steps),
            _TOP + _HIGH * _down(loss, top),
            3.5 if step == course.selected else 2.5,
        )
        for course in courses
        for step, loss in course.checks
    )
    return Markup(
        '<svg class="course" width="100%" height="{3}" aria-hidden="true" focusable="false">'
        '<line x1="0" x2="100%" y1="{2}" y2="{2}"/><line x1="0" x2="100%" y1="{4}" y2="{4}"/>'
        '<svg y="{2}" width="100%" height="{5}" viewBox="0 0 100 100" preserveAspectRatio="none">{0}</svg>{1}</svg>'
    ).format(lines, points, _TOP, _TOP + _HIGH + 6, _TOP + _HIGH, _HIGH)


def _across(step: float, steps: int) -> float:
    return 100 * min(step / max(steps, 1), 1.0)


def _down(loss: float, top: float) -> float:
    """Share of the panel's height below its top; what is no number stands at the top."""
    return 1 - min(max(loss / top, 0.0), 1.0) if math.isfinite(loss) else 0.0


def _row(course: Course) -> tuple[str, int, str, str, int, str]:
    kept = dict(course.checks).get(course.selected)
    first, last = (f"{course.losses[k][1]:.3f}" if course.losses else "–" for k in (0, -1))
    return course.arm, course.seed, first, last, course.selected, "–" if kept is None else f"{kept:.3f}"
