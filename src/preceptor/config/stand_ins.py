"""Models that are named with the command and take the place of the recipe's own: `--student`, `--teacher`."""

from __future__ import annotations

import re
from typing import Any

from preceptor.errors import RecipeError

WRITING = ("preset", "temperature", "top_p", "repetition_penalty", "max_tokens", "seed", "structured", "batch_size")
"""Keys of `[teacher]` that say how it writes, and that a model on this machine can take."""


def put_student(raw: dict[str, Any], model: str) -> None:
    """Put `model` in the place of all students of parsed TOML, trained as the first of them is."""
    if isinstance(raw.get("adapt"), dict):
        raw["adapt"]["model"] = model
        return
    entries = raw.get("students")
    first = entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}
    # A label task may name one student several times, with other values in other settings.
    same = [e for e in entries or [] if isinstance(e, dict) and e.get("name") == first.get("name")] or [first]
    name = re.sub(r"[^a-zA-Z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2].rpartition(":")[2]).strip("-._")
    raw["students"] = [{**entry, "name": name or "student", "model": model} for entry in same]


def put_teacher(raw: dict[str, Any], model: str, where: str) -> None:
    """Put `model`, on this machine, in the place of `[teacher]` of parsed TOML.

    It writes as the recipe's teacher does. Of a teacher behind an endpoint it takes nothing else: no address, no key,
    no limits and no settings that only endpoints know. Raises `RecipeError` for what is no model on this machine, and
    for a recipe without a teacher.
    """
    if "adapt" in raw:
        raise RecipeError(f"{where}: --teacher {model!r}: no teacher is asked in a recipe with [adapt].")
    if re.match(r"https?://|(openai|anthropic|scripted):", model) or not model.strip():
        raise RecipeError(
            f"--teacher {model!r} is no model on this machine.",
            "For an endpoint: --set teacher.kind=openai --set teacher.model=NAME --set teacher.base_url=ADDRESS.",
        )
    given = raw.get("teacher")
    usual: dict[str, Any] = given if isinstance(given, dict) else {}
    kept = usual if usual.get("kind", "local") == "local" else {key: usual[key] for key in WRITING if key in usual}
    raw["teacher"] = {**kept, "kind": "local", "model": model}
