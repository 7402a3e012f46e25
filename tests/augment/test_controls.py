"""Word-level edits and shuffled labels: what they keep, what they change, and that nothing decides it but the seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from preceptor.augment.controls import WAYS, adopted, delete, edit_all, edited, insert, shuffled, swap
from preceptor.config import AugmentSettings
from preceptor.data import demo
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.records import Example, Source, fingerprint

WORDS = [f"w{number}" for number in range(20)]
PLAIN = Task("plain", "default", ("for", "against"), ("claim",), "{{ claim }}")


def items(count: int) -> list[Example]:
    return [
        Example(str(i), {"question": f"Does tea {i} help {i + 3} people sleep well?", "context": "It did."}, "yes")
        for i in range(count)
    ]


@pytest.mark.parametrize("count", [1, 3])
def test_each_way_does_what_it_says(count: int) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        moved = swap(WORDS, count, rng)
        assert sorted(moved) == sorted(WORDS)
        assert 2 <= sum(a != b for a, b in zip(moved, WORDS, strict=True)) <= 2 * count or count > 1
        fewer = delete(WORDS, count, rng)
        assert len(fewer) == 20 - count
        assert [word for word in WORDS if word in fewer] == fewer  # in the same order
        more = insert(WORDS, count, rng)
        assert len(more) == 20 + count
        assert set(more) == set(WORDS)
    assert len(delete(["a", "b"], 9, rng)) == 1  # never all


def test_an_edit_touches_its_share_and_leaves_the_question_mark_where_it_was() -> None:
    text = " ".join(WORDS) + '?"  '
    ways = set()
    for seed in range(60):
        found = edited(text, 0.1, np.random.default_rng(seed))
        assert found is not None
        new, way = found
        ways.add(way)
        assert new.endswith('?"')
        assert len(new.split()) == {"swap": 20, "delete": 18, "insert": 22}[way]
        assert new != text.strip()
    assert ways == set(WAYS)


def test_what_has_nothing_to_edit_is_said() -> None:
    assert edited("Why?", 0.1, np.random.default_rng(0)) is None
    new = {edited("no no", 0.1, np.random.default_rng(seed)) for seed in range(20)}
    assert new == {("no", "delete"), ("no no no", "insert")}  # to swap the two would change nothing
    one = Example("1", {"question": "Why?", "context": "It did."}, "yes")
    made = edit_all(demo.TASK, [one, *items(2)], AugmentSettings(draws=2))
    assert made.unreadable == {"nothing_to_edit": 2}
    assert len(made.examples) == 4


def test_edits_are_children_with_the_label_and_depend_on_seed_item_and_draw_alone() -> None:
    settings = AugmentSettings(draws=3, rewrite="question")
    made = edit_all(demo.TASK, items(30), settings).examples
    assert fingerprint(edit_all(demo.TASK, items(30), settings).examples) == fingerprint(made)
    alone = edit_all(demo.TASK, items(30)[7:8], settings).examples
    assert fingerprint(alone) == fingerprint(made[21:24])
    other = edit_all(demo.TASK, items(30), settings.model_copy(update={"edit_seed": 1})).examples
    assert sum(a.fields != b.fields for a, b in zip(made, other, strict=True)) > 80
    assert len({example.id for example in made}) == 90
    for example in made:
        assert example.origin == "edit"
        assert example.label == "yes"
        assert example.source is not None
        assert (example.source.teacher, example.source.call) == ("", "")
        assert example.source.changed == ("question",)
        assert example.fields["context"] == "It did."
        assert example.parents == (example.id.split("-")[0],)


def test_the_field_follows_rewrite_unless_it_is_named() -> None:
    def field(**settings: str) -> str:
        made = edit_all(demo.TASK, items(1), AugmentSettings.model_validate(settings)).examples[0]
        assert made.source is not None
        return made.source.changed[0]

    assert field() == field(rewrite="pair") == "question"
    assert field(rewrite="context") == field(edit="context") == "context"
    assert field(rewrite="context", edit="question") == "question"
    hidden = Task(
        "hidden", "default", ("a", "b"), ("question", "conclusion"), "{{ question }}", teacher_hidden=("conclusion",)
    )
    for task in (PLAIN, hidden):
        with pytest.raises(RecipeError, match="has no context"):
            edit_all(task, [], AugmentSettings(edit="context"))


def test_shuffling_keeps_texts_order_and_balance_over_all_groups() -> None:
    groups = {
        "rewrite": [
            Example(f"r{i}", {"q": str(i)}, "yes" if i % 3 else "no", "rewrite", (f"p{i}",)) for i in range(30)
        ],
        "new": [Example(f"n{i}", {"q": str(i)}, "maybe", "new") for i in range(10)],
    }
    made = shuffled(groups, (0, 1))
    before = [example for group in groups.values() for example in group]
    after = [example for group in made.values() for example in group]
    assert [(e.id, e.fields, e.origin) for e in after] == [(e.id, e.fields, e.origin) for e in before]
    assert Counter(e.label for e in after) == Counter(e.label for e in before)
    assert {e.label for e in made["new"]} != {"maybe"}  # labels cross the groups
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a.label != b.label]
    assert 10 < len(changed) < 35
    assert all(b.relabelled_from == a.label == b.given_label for a, b in changed)
    assert shuffled(groups, (0, 1)) == made
    assert shuffled(groups, (1, 1)) != made
    assert shuffled(groups, (0, 2)) != made


def test_a_published_item_takes_from_its_parent_what_it_leaves_out() -> None:
    source = Source("published", "file.jsonl", "", "", "", "stop", ())
    parent = Example("1", {"claim": "Cats sleep.", "why": "They do."}, "for")
    child = Example("1-published-4", {"claim": "The cats sleep.", "why": ""}, "for", "published", ("1",), None, source)
    lost = Example("9-published-5", {"claim": "Dogs bark.", "why": ""}, "for", "published", ("9",), None, source)
    made, unknown = adopted([child, lost], {"1": parent})
    assert made.fields == {"claim": "The cats sleep.", "why": "They do."}
    assert made.source is not None
    assert made.source.changed == ("claim",)
    assert unknown == replace(lost, fields={"claim": "Dogs bark."})
