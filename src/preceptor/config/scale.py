"""`[scale.NAME]`: keys that take the place of the recipe's own when a run is asked for at that scale.

A table is merged into the recipe's key by key, at every depth; lists and plain values are replaced. A table that names
a `kind` replaces the recipe's as a whole, because what belongs to one kind of teacher means nothing to another; so does
any table with `whole = true`, and one that holds nothing else leaves the recipe's out.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from preceptor.config.base import Name, Section
from preceptor.config.sentences import sentence_of
from preceptor.errors import RecipeError

WHOLE = "whole"
"""Key of a scale's table that says whether it replaces the recipe's table."""


class _Scales(Section):
    scale: dict[Name, dict[str, Any]] = {}


def take_scales(raw: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """Take `[scale]` out of parsed TOML and return its tables by name.

    Raises `RecipeError` when a name cannot be part of a folder's, or when what it names is no table.
    """
    try:
        return _Scales.model_validate({"scale": raw.pop("scale", {})}).scale
    except ValidationError as error:
        raise RecipeError(f"{where}: {sentence_of(error)}.", "A scale is a table of keys: [scale.small].") from error


def at_scale(raw: dict[str, Any], scales: Mapping[str, dict[str, Any]], name: str, where: str) -> dict[str, Any]:
    """The recipe with the keys of one scale in place of its own; raises `RecipeError` naming the scales there are."""
    if not scales:
        raise RecipeError(
            f"{where}: there is no scale {name!r}: this recipe has none.",
            "A scale is a table of keys in the recipe: [scale.small].",
        )
    if name not in scales:
        raise RecipeError(f"{where}: there is no scale {name!r}, only {', '.join(scales)}.")
    return copy.deepcopy(_merged(raw, scales[name]))


def _merged(usual: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """`given` over `usual`, key by key."""
    new = {key: _table(usual.get(key), value) if isinstance(value, dict) else value for key, value in given.items()}
    gone = {key for key, value in given.items() if value == {WHOLE: True}}
    return {key: value for key, value in {**usual, **new}.items() if key not in gone}


def _table(usual: Any, given: dict[str, Any]) -> dict[str, Any]:
    whole = given.get(WHOLE)
    if isinstance(whole, bool):  # else it is a name that the user gave, e.g. an arm's
        given = {key: value for key, value in given.items() if key != WHOLE}
    else:
        whole = "kind" in given
    return _merged(usual if isinstance(usual, dict) and not whole else {}, given)
