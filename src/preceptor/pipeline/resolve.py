"""The recipe as it was run."""

from __future__ import annotations

from typing import Any

import tomli_w

from preceptor.config import AdaptRecipe, InstructRecipe, Recipe


def resolved(recipe: Recipe | InstructRecipe | AdaptRecipe) -> str:
    """The recipe with every default written out, as TOML. Settings without a value have no line."""
    return tomli_w.dumps(_without_none(recipe.model_dump(mode="json")))


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_none(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_without_none(inner) for inner in value if inner is not None]
    return value
