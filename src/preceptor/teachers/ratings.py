"""Reading ratings of 1 to 5 out of a judge's answer: JSON, as broken as models write it."""

from __future__ import annotations

import re
from typing import Any

LOWEST, HIGHEST = 1, 5


def first_object(text: str) -> dict[str, Any] | None:
    """The first JSON object of the text, repaired where needed; None where there is none."""
    import json_repair

    start = text.find("{")
    value: Any = json_repair.loads(text[start:]) if start >= 0 else None
    if isinstance(value, list):  # several objects
        value = next((entry for entry in value if isinstance(entry, dict)), None)
    return value if isinstance(value, dict) else None


def rating(value: Any) -> float | None:
    """A rating of 1 to 5, also as text: "4" or "4/5"; None for anything else."""
    if isinstance(value, str) and (match := re.fullmatch(r"\s*(\d(?:\.\d+)?)\s*(?:/\s*5)?\s*", value)):
        value = float(match[1])
    if isinstance(value, bool) or not isinstance(value, int | float) or not LOWEST <= value <= HIGHEST:
        return None
    return float(value)
