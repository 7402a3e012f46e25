"""Answers as JSON objects: the schema that is asked for where an endpoint takes one, and reading what comes.

Any teacher may answer in JSON, asked or not, and small ones leave it broken: a missing bracket, a trailing comma, a
fence around it. That is repaired; a text that holds no object with the wanted parts is read as plain text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

LONGEST_LEAD_IN = 80
"""Characters before the object: a fence, or "Here is the JSON:". An object further inside belongs to the text."""

Parts = Mapping[str, Sequence[str]]
"""Name of a part of the answer -> its allowed values, none for any text."""


def schema_of(parts: Parts) -> str:
    """The JSON schema of an object with these parts, as JSON text: all required, nothing else allowed."""
    return json.dumps(_object_schema(parts))


def schema_of_list(name: str, parts: Parts) -> str:
    """The JSON schema of an object whose one key `name` holds a list of objects with these parts.

    How many there are to be stands in the prompt: endpoints with strict schemas refuse bounds on a list's length.
    """
    entries = {"type": "array", "items": _object_schema(parts)}
    return json.dumps(
        {"type": "object", "properties": {name: entries}, "required": [name], "additionalProperties": False}
    )


def objects(text: str, name: str) -> list[dict[str, object]] | None:
    """The objects of a list under the key `name`, or of a bare list, or one bare object; None where there are none.

    Keys come in lower case. What stands in the list and is no object is an empty one, so that it counts.
    """
    value = _value(text)
    if isinstance(value, dict):
        value = _lowered(value).get(name, [value])
    if not isinstance(value, list) or not any(isinstance(entry, dict) for entry in value):
        return None
    # Of `{"tasks": [...]}` and the words after it json_repair makes a list of both.
    if isinstance(value[0], dict) and isinstance(inner := _lowered(value[0]).get(name), list):
        value = inner
    return [_lowered(entry) if isinstance(entry, dict) else {} for entry in value]


def plain(text: str, parts: Parts) -> str:
    """The answer as the prompts ask for it in plain text: the one part alone, else a line `Name: ...` for each.

    A text that is no object with all of these parts comes back as it is.
    """
    found = _object(text)
    values = {name: found.get(name) for name in parts}
    if not all(isinstance(value, str) and value.strip() for value in values.values()):
        return text
    if len(values) == 1:
        return str(next(iter(values.values())))
    return "\n".join(f"{name.capitalize()}: {value}" for name, value in values.items())


def _object_schema(parts: Parts) -> dict[str, object]:
    properties = {
        name: {"type": "string", **({"enum": list(values)} if values else {})} for name, values in parts.items()
    }
    return {"type": "object", "properties": properties, "required": list(parts), "additionalProperties": False}


def _object(text: str) -> dict[str, object]:
    """The JSON object at the start of the text, repaired; keys in lower case. Empty when there is none."""
    value = _value(text, "{")
    if isinstance(value, list):  # of an object and the words after it
        value = next((entry for entry in value if isinstance(entry, dict)), None)
    return _lowered(value) if isinstance(value, dict) else {}


def _value(text: str, opening: str = "[{") -> object:
    """The JSON value that begins near the start of the text, repaired; None when there is none."""
    start = min((place for mark in opening if (place := text.find(mark)) >= 0), default=-1)
    if not 0 <= start <= LONGEST_LEAD_IN:
        return None
    from json_repair import loads

    value: object = loads(text[start:])
    return value


def _lowered(found: Mapping[object, object]) -> dict[str, object]:
    return {str(name).lower(): entry for name, entry in found.items()}
