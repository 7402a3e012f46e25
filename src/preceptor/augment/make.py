"""The strategy that a recipe names."""

from __future__ import annotations

from preceptor.augment.base import Strategy
from preceptor.augment.new import New
from preceptor.augment.rewrite import Rewrite
from preceptor.config import AugmentSettings
from preceptor.data.base import Task
from preceptor.errors import RecipeError


def make_strategy(name: str, task: Task, settings: AugmentSettings) -> Strategy:
    """The strategy called `name` for this task."""
    if name == "rewrite":
        return Rewrite(task, settings.rewrite)
    if name == "new":
        return New(task)
    raise RecipeError(f"There is no augmentation strategy {name!r}.", "Known: rewrite, new.")
