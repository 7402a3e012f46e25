"""`preceptor compare`: says what is to be compared with what, of all that the given runs and files hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preceptor.errors import DataError
from preceptor.evaluate.compare import RESAMPLES, Contender, compare
from preceptor.pipeline.compare_sources import SHOTS, UNTRAINED, Reference, read_source, reference_of
from preceptor.records import Comparison

BASELINE = "none"


@dataclass(frozen=True)
class Chosen:
    """Which students and arms are compared; empty: all of them."""

    students: Sequence[str] = ()
    arms: Sequence[str] = ()
    settings: Sequence[str] = ()
    baseline: str | None = None
    """The arm that the others are compared with."""
    baseline_student: str | None = None
    """The student that the others are compared with, arm by arm, or all in `baseline` of it."""


@dataclass
class Found:
    """Comparisons, and sentences about what was left out."""

    comparisons: list[Comparison]
    notes: list[str] = field(default_factory=list)


def compare_runs(
    paths: Sequence[Path],
    chosen: Chosen | None = None,
    *,
    reference: Reference | None = None,
    parser: str = "strict",
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Found:
    """Compare what the runs and files at `paths` hold.

    Of one run every arm is compared with its arm `none`, student by student and setting by setting, or every student
    with one of them. Of several, each student and arm of the later ones with its like in the first. Raises `DataError`
    in one sentence for what holds no predictions, or cannot be compared.
    """
    chosen = chosen or Chosen()
    known: list[Contender] = []
    for path in paths:
        known += read_source(path, reference or reference_of(known), parser)
    selected = _selected(known, chosen)
    notes = [note for one in selected if (note := _unread(one))]
    pairs = _across(selected, chosen, str(paths[0]), notes) if len(paths) > 1 else _within(selected, chosen)
    return Found(compare(pairs, resamples, seed), notes)


def _unread(one: Contender) -> str:
    """How many answers of a file hold no label; a run's own report says it of a run."""
    if one.student or one.arm:
        return ""
    lost = sum(prediction.label is None for run in one.runs.values() for prediction in run)
    return f"{one.source}: {lost} answers hold no label and count as wrong." if lost else ""


# --- what is compared with what -----------------------------------------------------------------------------------


def _selected(known: Sequence[Contender], chosen: Chosen) -> list[Contender]:
    students = {*chosen.students, chosen.baseline_student or ""} if chosen.students else set()
    named = (*chosen.students, *([] if chosen.baseline_student is None else [chosen.baseline_student]))
    for what, wanted in (("student", named), ("arm", chosen.arms), ("setting", chosen.settings)):
        there = list(dict.fromkeys(name for one in known if (name := getattr(one, what))))
        for name in wanted:
            if name not in there:
                raise DataError(
                    f"There is no {what} {name!r} in what is compared.",
                    f"There {'is' if len(there) == 1 else 'are'}: {', '.join(there) or 'none named'}.",
                )
    usual = BASELINE if chosen.baseline_student is None else ""
    arms = {*chosen.arms, chosen.baseline or usual} if chosen.arms else set()
    return [
        one
        for one in known
        # A file of answers names neither student nor arm, and was given to be compared.
        if (not students or one.student in ("", *students))
        and (not arms or one.arm in ("", *arms))
        and (not chosen.settings or one.setting in ("", *chosen.settings))
    ]


def _within(selected: Sequence[Contender], chosen: Chosen) -> list[tuple[Contender, Contender]]:
    """Every arm against the baseline of the same student and setting; or every other student against one of them, arm
    by arm or all against its arm `baseline`. Who was not trained is compared only where it is named.

    A baseline of shots (`0-shot`) is compared with all other numbers of shots too.
    """
    rival = chosen.baseline_student
    name = chosen.baseline or (BASELINE if rival is None else "")
    pairs = []
    for one in selected:
        wanted = (rival or one.student, one.setting, name or one.arm)
        base = next((b for b in selected if (b.student, b.setting, b.arm) == wanted), None)
        on_its_side = one.arm == name if rival is None else one.student == rival
        aside = one.arm == UNTRAINED or (bool(SHOTS.fullmatch(one.arm)) and not SHOTS.fullmatch(name))
        asked = one.arm in chosen.arms or not (aside or (rival and chosen.arms))
        if base is not None and asked and not on_its_side:
            pairs.append((base, one))
    if not pairs:
        there = ", ".join(dict.fromkeys(one.words for one in selected)) or "nothing"
        if rival is None:
            missing = f"no arm stands beside an arm {name!r} of the same student and setting"
            hint = "Name another arm with --baseline, a student with --baseline-student, or a second run."
        elif chosen.baseline and not any((one.student, one.arm) == (rival, name) for one in selected):
            missing = f"{rival!r} has no arm {name!r}"
            hint = "Name one of its arms with --baseline."
        else:
            missing = f"no other student has an arm and setting in common with {rival!r}"
            hint = f"Name the arm of {rival!r} that all are compared with by --baseline."
        raise DataError(f"There is nothing to compare: {missing}.", f"Found: {there}. {hint}")
    return pairs


def _across(
    selected: Sequence[Contender], chosen: Chosen, first: str, notes: list[str]
) -> list[tuple[Contender, Contender]]:
    """Every student and arm of the later runs against its like in the first."""
    bases = [one for one in selected if one.source == first]
    if not bases:
        raise DataError(f"{first} holds nothing of what is to be compared.", "Choose other students, arms or settings.")
    if chosen.baseline_student is not None:
        bases = [one for one in bases if one.student == chosen.baseline_student]
        if not bases:
            raise DataError(
                f"{first} has no student {chosen.baseline_student!r}.",
                "Name one of its students by --baseline-student.",
            )
    if chosen.baseline is not None:
        bases = [one for one in bases if one.arm == chosen.baseline]
        if not bases:
            raise DataError(f"{first} has no arm {chosen.baseline!r}.", "Name one of its arms with --baseline.")
    for source in dict.fromkeys(one.source for one in selected if one.source != first):
        _refuse_apart(first, bases, source, [one for one in selected if one.source == source])
    pairs = []
    for one in selected:
        if one.source == first:
            continue
        base = _like(one, bases)
        if base is None:
            notes.append(f"{one.source}: {one.words}{_in(one)} has no like in {first} and was left out.")
        else:
            pairs.append((base, one))
    if not pairs:
        other = next((one for one in selected if one.source != first), None)
        if other is None:
            raise DataError("There is only one run with what is to be compared.", "Give another one.")
        raise DataError(
            f"Nothing in {other.source} has its like in {first}: it has {other.words}, there are "
            f"{', '.join(dict.fromkeys(base.words for base in bases))}.",
            "Name what the others are compared with by --baseline, --students and --arms.",
        )
    return pairs


def _refuse_apart(first: str, bases: Sequence[Contender], source: str, others: Sequence[Contender]) -> None:
    """Raise `DataError` when two runs have no task, split or setting in common."""
    for what in ("task", "split", "setting"):
        ours, theirs = ({getattr(one, what) for one in side} for side in (bases, others))
        if not ours & theirs and "" not in ours | theirs:
            raise DataError(
                f"{first} and {source} cannot be compared: their {what} is {', '.join(sorted(ours))} and "
                f"{', '.join(sorted(theirs))}.",
                "Only predictions for the same task, split and setting can be compared.",
            )


def _like(one: Contender, bases: Sequence[Contender]) -> Contender | None:
    """The baseline of the same setting with the same student and arm, or the same arm or student, or the only one."""
    there = [base for base in bases if _may_match(base.setting, one.setting)]
    for same in (("student", "arm"), ("arm",), ("student",), ()):
        fitting = [base for base in there if all(getattr(base, name) == getattr(one, name) for name in same)]
        if len(fitting) == 1:
            return fitting[0]
    return None


def _may_match(ours: str, theirs: str) -> bool:
    return not ours or not theirs or ours == theirs


def _in(one: Contender) -> str:
    return f" ({one.setting})" if one.setting else ""
