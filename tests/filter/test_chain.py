"""The chain: order, counts, and that filters filter."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from preceptor.config import FILTERS, FilterSettings
from preceptor.filter.base import changed_fields, run_chain
from preceptor.filter.chain import make_chain
from preceptor.filter.text import words
from preceptor.records import KEEP, drop

GOOD = "In 40 retired bus drivers does evening walking lower heart rate?"
BAD = {
    ("wellformed", "scaffold"): {"question": "Question: " + GOOD},
    ("wellformed", "not_a_question"): {"question": GOOD.replace("?", ".")},
    ("drift", "numbers"): {"question": GOOD.replace("40", "41")},
    ("drift", "meaning"): {"question": "Do 40 green lamps please the readers of a library?"},
    ("duplicates", "exact"): {"question": GOOD},
    ("leakage", "ngram"): {
        "origin": "new",
        "question": "Is it true that weekly piano lessons improve the spelling of children who learn on the bus?",
    },
    ("leakage", "parent_held_out"): {
        "parent": "h2",
        "question": "Is it good for tired sailors to drink tea?",
    },
}


class Recorder:
    """Notes what it is given and drops the items whose id is listed."""

    def __init__(self, name, *bad):
        self.name, self.bad, self.seen = name, bad, []

    def judge(self, candidates, context):
        self.seen = [c.id for c in candidates]
        return [drop("bad", c.id) if c.id in self.bad else KEEP for c in candidates]


def test_each_filter_sees_what_the_earlier_ones_kept(context, child):
    items = [replace(child(question=GOOD), id=name) for name in "abcd"]
    first, second, third = Recorder("one", "c"), Recorder("two", "a", "c"), Recorder("three")
    result = run_chain([first, second, third], items, context)
    assert (first.seen, second.seen, third.seen) == (list("abcd"), list("abd"), list("bd"))
    assert [e.id for e in result.kept] == list("bd")
    assert [(d.filter, d.example.id, d.verdict.detail) for d in result.dropped] == [
        ("one", "c", "c"),
        ("two", "a", "a"),
    ]
    assert result.counts == {"one": {"bad": 1}, "two": {"bad": 1}, "three": {}}


def test_a_filter_that_loses_a_verdict_is_an_error(context, child):
    class Short:
        name = "short"

        def judge(self, candidates, context):
            return [KEEP]

    with pytest.raises(ValueError, match="zip"):
        run_chain([Short()], [child(question=GOOD), child(question=GOOD)], context)


def test_filters_filter_and_the_counts_add_up(context, child):
    good = child(question=GOOD)
    bad = {key: child(**fields) for key, fields in BAD.items()}
    result = run_chain(make_chain(FilterSettings()), [good, *bad.values()], context)
    assert result.kept == [good]
    assert {(d.filter, d.verdict.reason): d.example for d in result.dropped} == bad
    assert sum(n for reasons in result.counts.values() for n in reasons.values()) == len(bad)
    assert list(result.counts) == list(FILTERS)
    order = [list(FILTERS).index(d.filter) for d in result.dropped]
    assert order == sorted(order)


def test_remarks_are_counted(context, child):
    close = "At home who learn two languages, do children improve the spelling of weekly piano lessons?"
    parent = replace(context.parents["t1"], fields={**context.parents["t1"].fields, "question": close})
    context = replace(context, parents={**context.parents, "t1": parent})
    reworded = replace(child(question="x"), fields={**parent.fields, "question": "So, " + close.lower()})
    result = run_chain(make_chain(FilterSettings(chain=("leakage",))), [reworded], context)
    assert (result.kept, result.remarked) == ([reworded], {"leakage": 1})


@pytest.mark.parametrize("left_out", FILTERS)
def test_the_recipe_chooses_the_filters(context, child, left_out):
    settings = FilterSettings(chain=tuple(name for name in FILTERS if name != left_out))
    assert [step.name for step in make_chain(settings)] == list(settings.chain)
    bad = [child(**fields) for (name, _), fields in BAD.items() if name == left_out and "parent" not in fields]
    result = run_chain(make_chain(settings), [child(question=GOOD), *bad], context)
    reasons = {reason for reasons in result.counts.values() for reason in reasons}
    assert not reasons & {reason for name, reason in BAD if name == left_out}


def test_settings_reach_the_filters(context, child):
    settings = FilterSettings.model_validate({"wellformed": {"min_words": 30}})
    result = run_chain(make_chain(settings), [child(question=GOOD)], context)
    assert result.counts["wellformed"] == {"too_short": 1}


def test_nothing_in_nothing_out(context):
    result = run_chain(make_chain(FilterSettings()), [], context)
    assert (result.kept, result.dropped) == ([], [])


def test_changed_fields(context, child):
    parent = context.parents["t1"]
    assert changed_fields(child(question=GOOD), parent) == ("question",)
    plain = replace(parent, id="w", parents=("t1",), fields={**parent.fields, "context": "Other words."})
    assert changed_fields(plain, parent) == ("context",)
    assert changed_fields(plain, None) == ("question", "context", "conclusion")


def test_words_of_a_script_without_spaces():
    assert words("喝茶好吗? Tea!") == ["喝", "茶", "好", "吗", "tea"]


def test_importing_the_filters_loads_no_torch():
    code = "import sys, preceptor.filter.chain; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
