"""Small recipes with baselines, and their runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from preceptor.config import Recipe, check_recipe
from preceptor.pipeline import labels as pipeline
from preceptor.progress import Progress
from preceptor.records import RunSummary


def recipe(*baselines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "untrained",
        "title": "Who answers untrained",
        "seeds": [1],
        "data": {"task": "demo", "max_train": 12, "max_test": 12},
        "teacher": {"kind": "scripted"},
        "train": {"max_length": 300, "dtype": "float32", "steps": 1},
        "evaluate": {"resamples": 100},
        "baselines": list(baselines),
        **changes,
    }


def checked(*baselines: dict[str, Any], **changes: Any) -> Recipe:
    return check_recipe(recipe(*baselines, **changes), "test")


def go(given: Recipe, folder: Path) -> RunSummary:
    return pipeline.run(given, folder=folder, base=folder.parent, command="run", progress=Progress(quiet=True))
