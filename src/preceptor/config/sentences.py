"""What is wrong with a recipe, in one sentence."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ValidationError

BRANCHES = ("str", "tuple[str, ...]", "[key]", "[true]", "[name]", "[table]")
"""Pydantic names the branch of "a string or a list" as if it were a key."""


def sentence_of(error: ValidationError, above: str = "") -> str:
    """The first fault: key, value and what is wrong with it, without a full stop. `above` goes before the key."""
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if part not in BRANCHES]
    key = above + ".".join(parts)
    message = first["msg"].removeprefix("Value error, ")
    message = (
        message.replace("valid tuple", "list").replace("valid dictionary", "table").partition(" or instance of")[0]
    )
    if first["type"] == "extra_forbidden":
        return f"unknown key {key!r}"
    if first["type"] == "missing":
        return f"the key {key!r} is missing"
    if first["type"] == "value_error":
        return message
    return f"{key} = {first['input']!r}: {message[0].lower()}{message[1:]}"


def allowed_keys(error: ValidationError, section: type[BaseModel]) -> str:
    """For an unknown key below `section`: the keys that are allowed in its place; else empty."""
    first = error.errors()[0]
    if first["type"] != "extra_forbidden":
        return ""
    for part in first["loc"][:-1]:
        # What is no field is the number of a list's entry or a name that the user gave.
        if part in section.model_fields:
            section = _section_in(section.model_fields[str(part)].annotation) or section
    return f"Keys allowed there: {', '.join(section.model_fields)}."


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section inside an optional one, a list or a table of sections."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _section_in(part))), None)
