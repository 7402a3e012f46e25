"""A run that is given some time ends between two cells and says how to go on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_labels import recipe

from preceptor.config import check_recipe
from preceptor.errors import PartFinished
from preceptor.pipeline import labels
from preceptor.pipeline.deadline import Deadline
from preceptor.progress import Progress
from preceptor.records import RunSummary


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
    with pytest.raises(PartFinished, match="Requests to scripted left: 12"):
        labels.run(checked, **given, progress=Progress(quiet=True), minutes=0)
    labels.run(checked, **given, progress=Progress(quiet=True))
    labels.run(checked, **given, progress=Progress(quiet=True), minutes=0)


class Given:
    """A time after which `over` is true: when it was asked about so often as `looks` says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 10**9
        monkeypatch.setattr(Deadline, "over", property(lambda deadline: self.over()))

    def over(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def in_parts(looks: int, given: Given, run: Callable[[], object]) -> list[str]:
    """Run until it is whole, each part for so many looks at the clock: what the ends of the parts said."""
    ends: list[PartFinished] = []
    while len(ends) < 400:
        given.looks = looks
        try:
            run()
        except PartFinished as end:
            ends.append(end)
        else:
            break
    assert {end.hint for end in ends} == {"Go on with: preceptor run again"}
    return [end.message for end in ends]


def made(folder: Path) -> dict[str, bytes]:
    """What was written, asked, kept and answered, by its place; of what was spent, only what does not tell of parts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".parquet" or path.name == "said.json":
            found[str(path.relative_to(folder))] = path.read_bytes()
    assert len(found) > 5
    for name in [name for name in found if name.endswith("said.json")]:
        plain = json.loads(found[name])
        plain["asked"]["spend"].pop("from_ledger")
        found[name] = json.dumps(plain).encode()
    return found


def judged(models: dict[str, Path], teacher: dict[str, Any]) -> dict[str, Any]:
    """Everything that a teacher does in a run: writing, a score of its own, two filters, a baseline."""
    usual = recipe(models, teacher=teacher, seeds=[1], arms={"none": [], "rewrite": ["rewrite"]})
    usual["data"] = {"task": "demo", "max_train": 8, "max_test": 6}
    usual["filter"] = {"chain": ["agreement"], "agreement": {"check_items": 3, "unread": "keep"}}
    usual["baselines"] = [{"name": "teacher", "teacher": True, "max_tokens": 4}]
    usual["evaluate"] = {"resamples": 100, "teacher_items": 5}
    usual["train"]["epochs"] = 1
    return usual


@pytest.mark.parametrize("kind", ["scripted", "local"])
def test_parts_that_end_between_a_teachers_answers_come_to_the_same_bytes(
    kind: str, tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher: dict[str, Any] = {"kind": "scripted"}
    if kind == "local":
        teacher = {"kind": "local", "model": str(demo_models["llama"]), "temperature": 0.8}
        teacher |= {"max_tokens": 6, "batch_size": 2}
    checked = check_recipe(judged({"bert": demo_models["bert"]}, teacher), "here")

    def run(folder: str) -> RunSummary:
        given = {"folder": tmp_path / folder, "base": tmp_path, "command": "preceptor run again"}
        return labels.run(checked, **given, progress=Progress(quiet=True), minutes=1)

    clock = Given(monkeypatch)
    whole = run("whole")
    said = in_parts(3, clock, lambda: run("parts"))
    asked = [one for one in said if "Requests to" in one]
    counts = [int(re.findall(r"left: (\d+)", one)[0]) for one in asked]
    assert max(counts) < 20
    assert len(asked) > 3
    assert len(said) < 100  # every part comes further
    assert made(tmp_path / "parts") == made(tmp_path / "whole")
    clock.looks = 10**9
    again = run("parts")
    for one, other in zip(again.rows, whole.rows, strict=True):
        assert (one.student, one.arm, one.accuracy) == (other.student, other.arm, other.accuracy)
        assert (one.confusion, one.teacher) == (other.confusion, other.teacher)
    assert {name: (one.calls, one.input_tokens) for name, one in again.spend.items()} == {
        name: (one.calls, one.input_tokens) for name, one in whole.spend.items()
    }
