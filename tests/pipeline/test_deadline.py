"""A run that is given some time ends between two cells and says how to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_labels import recipe

from preceptor.config import check_recipe
from preceptor.errors import PartFinished
from preceptor.pipeline import labels
from preceptor.pipeline.deadline import Deadline
from preceptor.progress import Progress


def test_without_an_end_and_without_anything_left_it_never_ends() -> None:
    Deadline.after(None, "again").check(5)
    Deadline.after(0, "again").check(0)
    Deadline.after(60, "again").check(5)
    with pytest.raises(PartFinished, match="Cells left: 5") as caught:
        Deadline.after(0, "again").check(5)
    assert "again" in caught.value.hint


def test_a_run_on_labels_is_run_in_parts_too(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    checked = check_recipe(recipe(demo_models), "here")
    given: dict[str, Any] = {"folder": tmp_path / "run", "base": tmp_path, "command": "preceptor run"}
    with pytest.raises(PartFinished, match="Cells left"):
        labels.run(checked, **given, progress=Progress(quiet=True), minutes=0)
    labels.run(checked, **given, progress=Progress(quiet=True))
    labels.run(checked, **given, progress=Progress(quiet=True), minutes=0)
