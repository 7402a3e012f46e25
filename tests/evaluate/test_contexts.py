"""Which items share a context."""

from __future__ import annotations

from pathlib import Path

import pytest

from preceptor.config import DataSettings
from preceptor.data.base import Task
from preceptor.data.load import load_datasets
from preceptor.evaluate.contexts import clusters_of, shared_contexts
from preceptor.records import Example

CLAUSE = "The tenant may sublet single rooms after written notice to the owner of the house."
OTHER = "Pets other than small animals in cages are not kept in the flat or on the balcony."


def task(shorten: str | None = None) -> Task:
    return Task("t", "default", ("yes", "no"), ("clause", "question"), "{{ clause }} {{ question }}", shorten=shorten)


def items(*pairs: tuple[str, str], **more: str) -> list[Example]:
    return [Example(str(i), {"clause": c, "question": q, **more}, "yes") for i, (c, q) in enumerate(pairs)]


def test_items_with_the_same_context_share_it_whatever_its_white_space() -> None:
    some = items(
        (CLAUSE, "May he?"), (OTHER, "May she?"), (f"  {CLAUSE.replace(' ', '  ')}", "When?"), (CLAUSE + ".", "x")
    )
    assert shared_contexts(some, task()) == shared_contexts(some, task("clause")) == {"0": 0, "2": 0}
    assert clusters_of(["0", "1", "2", "3"], {"0": 0, "2": 0}) == [0, 2, 0, 4]
    assert clusters_of(["1", "3"], {"0": 0, "2": 0}) is None
    assert clusters_of(["1"], {}) is None


def test_the_same_question_about_other_contexts_is_no_shared_context() -> None:
    assert shared_contexts(items((CLAUSE, "May he?"), (OTHER, "May he?")), task()) == {}
    assert shared_contexts([], task()) == {}


def test_a_group_names_the_context_where_every_item_has_one() -> None:
    some = items((CLAUSE, "May he?"), (CLAUSE, "May she?"), (OTHER, "When?"))
    grouped = [Example(e.id, {**e.fields, "group": g}, e.label) for e, g in zip(some, ("a", "b", "b"), strict=True)]
    assert shared_contexts(grouped, task()) == {"1": 0, "2": 0}
    assert shared_contexts([grouped[0], *some[1:]], task()) == {"0": 0, "1": 0}  # not every item has one


def test_what_all_items_have_tells_nothing_apart() -> None:
    assert shared_contexts(items((CLAUSE, "May he?"), (CLAUSE, "May she?")), task()) == {}


@pytest.mark.parametrize("setting", ["reasoning-required", "reasoning-free"])
def test_the_items_of_pubmedqa_have_contexts_of_their_own(data_root: Path, setting: str) -> None:
    settings = DataSettings.model_validate(
        {"task": "pubmedqa", "path": str(data_root / "pubmedqa"), "split": "official", "settings": [setting]}
    )
    dataset = load_datasets(settings, Path())[setting]
    assert len(dataset.test) == 500
    assert shared_contexts(dataset.test, dataset.task) == {}
