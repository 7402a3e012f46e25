"""Models that are named with the command and take the place of the recipe's own: `--student`, `--teacher`."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from preceptor.errors import RecipeError

WRITING = ("preset", "temperature", "top_p", "repetition_penalty", "max_tokens", "seed", "structured", "batch_size")
"""Keys of `[teacher]` that say how it writes, and that a model on this machine can take."""


def put_student(raw: dict[str, Any], model: str) -> None:
    """Put `model` in the place of the students of parsed TOML, trained as the first of them is.

    Where that model is there several times, trained in several ways, so is the new one. Sweeps, published figures and
    a labelling student follow to the new names; what speaks of students that are gone goes with them.
    """
    if isinstance(raw.get("adapt"), dict):
        raw["adapt"]["model"] = model
        return
    given = raw.get("students")
    entries = [entry for entry in given if isinstance(entry, dict)] if isinstance(given, list) else []
    first = entries[0] if entries else {}
    # A label task may name one student several times, with other values in other settings.
    kept = [e for e in entries if e.get("model") == first.get("model") or e.get("name") == first.get("name")] or [first]
    names = _names([str(entry.get("name", "")) for entry in kept], model)
    raw["students"] = [{**e, "name": names[str(e.get("name", ""))], "model": model} for e in kept]
    gone = {str(entry.get("name", "")) for entry in entries} - set(names)
    _rename_swept(raw.get("sweep"), names, gone)
    _rename_beside(raw.get("published"), names)
    agreement = raw.get("filter", {}).get("agreement") if isinstance(raw.get("filter"), dict) else None
    if isinstance(agreement, dict) and "student" in agreement:
        agreement["student"] = names.get(agreement["student"], agreement["student"])


def _names(given: Sequence[str], model: str) -> dict[str, str]:
    """Name of a student -> its name with `model`; of several, what tells them apart stays at the end."""
    name = re.sub(r"[^a-zA-Z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2].rpartition(":")[2]).strip("-._")
    name, different = name or "student", list(dict.fromkeys(given))
    if len(different) == 1:
        return {different[0]: name}
    same = 0
    words = [one.split("-") for one in different]
    while len({tuple(one[: same + 1]) for one in words}) == 1:
        same += 1
    return {one: "-".join([name, *parts[same:]]) for one, parts in zip(different, words, strict=True)}


def _rename_swept(sweep: Any, names: Mapping[str, str], gone: Collection[str]) -> None:
    """Axes of single students, under the new names; unknown names stay, to be refused by their own name."""
    if isinstance(sweep, dict) and isinstance(sweep.get("students"), dict):
        axes = sweep["students"].items()
        sweep["students"] = {names.get(name, name): value for name, value in axes if name not in gone}


def _rename_beside(published: Any, names: Mapping[str, str]) -> None:
    """Rows of ours beside printed figures: student/arm and student/arm/point, but no baselines (name/N-shot)."""
    for figure in published if isinstance(published, list) else ():
        beside = figure.get("beside") if isinstance(figure, dict) else None
        rows = [beside] if isinstance(beside, str) else beside
        if isinstance(rows, list) and all(isinstance(row, str) for row in rows):
            figure["beside"] = list(dict.fromkeys(_renamed_row(row, names) for row in rows))


def _renamed_row(row: str, names: Mapping[str, str]) -> str:
    student, _, rest = row.partition("/")
    return row if re.fullmatch(r"\d+-shot", rest) or student not in names else f"{names[student]}/{rest}"


def put_teacher(raw: dict[str, Any], given: str, where: str) -> None:
    """Put a model on this machine in the place of `[teacher]` of parsed TOML, or by `NAME=MODEL` of `[teachers.NAME]`.

    It writes as the recipe's teacher does. Of a teacher behind an endpoint it takes nothing else: no address, no key,
    no limits and no settings that only endpoints know. Raises `RecipeError` for what is no model on this machine, for
    a name that no teacher has, and for a recipe without a teacher.
    """
    if "adapt" in raw:
        raise RecipeError(f"{where}: --teacher {given!r}: no teacher is asked in a recipe with [adapt].")
    named = re.fullmatch(r"([a-zA-Z0-9_-][a-zA-Z0-9._-]*)=(.*)", given, flags=re.DOTALL)
    name, model = named.groups() if named else ("", given)
    if re.match(r"https?://|(openai|anthropic|scripted):", model) or not model.strip():
        key = f"teachers.{name}" if name else "teacher"
        raise RecipeError(
            f"--teacher {given!r} is no model on this machine.",
            f"For an endpoint: --set {key}.kind=openai --set {key}.model=NAME --set {key}.base_url=ADDRESS.",
        )
    if not name:
        raw["teacher"] = _on_this_machine(raw.get("teacher"), model)
        return
    teachers = raw.get("teachers")
    if not isinstance(teachers, dict) or name not in teachers:
        there = ", ".join(sorted(teachers)) if isinstance(teachers, dict) and teachers else "none"
        raise RecipeError(f"{where}: --teacher {given!r}: there is no [teachers.{name}]; named ones here: {there}.")
    teachers[name] = _on_this_machine(teachers[name], model)


def _on_this_machine(given: Any, model: str) -> dict[str, Any]:
    usual: dict[str, Any] = given if isinstance(given, dict) else {}
    kept = usual if usual.get("kind", "local") == "local" else {key: usual[key] for key in WRITING if key in usual}
    return {**kept, "kind": "local", "model": model}
