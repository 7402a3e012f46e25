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
    properties = {
        name: {"type": "string", **({"enum": list(values)} if values else {})} for name, values in parts.items()
    }
    return json.dumps(
        {"type": "object", "properties": properties, "required": list(parts), "additionalProperties": False}
    )


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


def _object(text: str) -> dict[str, object]:
    """The JSON object at the start of the text, repaired; keys in lower case. Empty when there is none."""
    start = text.find("{")
    if not 0 <= start <= LONGEST_LEAD_IN:
        return {}
    from json_repair import loads

    value = loads(text[start:])
    if isinstance(value, list):  # of an object and the words after it
        value = next((entry for entry in value if isinstance(entry, dict)), None)
    return {str(name).lower(): entry for name, entry in value.items()} if isinstance(value, dict) else {}
