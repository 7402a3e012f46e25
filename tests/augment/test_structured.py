"""Answers in JSON: asked for by schema, read whole or broken, and never mistaken for plain text or the reverse."""

from __future__ import annotations

import json

import pytest

from preceptor.augment.base import make_example, make_requests
from preceptor.augment.make import make_strategy
from preceptor.augment.structured import plain, schema_of
from preceptor.config import AugmentSettings
from preceptor.data import demo
from preceptor.records import Completion, Example, Sampling

BOTH = {"question": (), "answer": ("yes", "no")}
ONE = {"question": ()}
GOOD = "Question: Does it work?\nAnswer: yes"
ITEM = Example(
    "i1", {"question": "Does zolin lower pain?", "context": "Forty adults.", "conclusion": "It does."}, "yes"
)


def test_the_schema_allows_the_parts_and_nothing_else() -> None:
    assert json.loads(schema_of(BOTH)) == {
        "type": "object",
        "properties": {"question": {"type": "string"}, "answer": {"type": "string", "enum": ["yes", "no"]}},
        "required": ["question", "answer"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "text",
    [
        '{"question": "Does it work?", "answer": "yes"}',
        '```json\n{"question": "Does it work?", "answer": "yes"}\n```',
        'Here is the JSON: {"Question": "Does it work?", "Answer": "yes",}',
        '{"question": "Does it work?", "answer": "yes"',
        "{'question': 'Does it work?', 'answer': 'yes'}",
        '{"question": "Does it work?", "answer": "yes"} I hope this helps!',
    ],
)
def test_objects_are_read_also_when_broken(text: str) -> None:
    assert plain(text, BOTH) == GOOD


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        '{"question": "Does it work?"}',
        '{"question": "Does it work?", "answer": ""}',
        '{"question": ["Does it work?"], "answer": "yes"}',
        "Does the set {1, 2} count?",
        "A long text " * 20 + '{"question": "Does it work?", "answer": "yes"}',
        "{",
        "",
    ],
)
def test_everything_else_stays_as_it_is(text: str) -> None:
    assert plain(text, BOTH) == text


def test_one_part_comes_back_alone() -> None:
    assert plain('{"question": "Does it work?"}', ONE) == "Does it work?"


@pytest.mark.parametrize(
    ("name", "what", "answer", "written"),
    [
        ("rewrite", "question", {"question": "Is pain lowered by zolin?"}, ("question",)),
        ("rewrite", "context", {"text": "Two score adults."}, ("context",)),
        ("rewrite", "pair", {"question": "Is pain lowered?", "answer": "Indeed it does."}, ("question", "conclusion")),
        ("new", "question", {"question": "Were they adults?", "answer": "yes"}, ("question",)),
    ],
)
def test_every_strategy_asks_for_its_parts_and_reads_them(
    name: str, what: str, answer: dict[str, str], written: tuple[str, ...]
) -> None:
    strategy = make_strategy(name, demo.TASK, AugmentSettings(rewrite=what))  # type: ignore[arg-type]
    (request,) = make_requests(strategy, [ITEM], Sampling(), draws=1, structured=True)
    assert list(json.loads(request.schema)["properties"]) == list(answer)
    (free,) = make_requests(strategy, [ITEM], Sampling(), draws=1)
    assert free.schema == ""
    example = make_example(strategy, ITEM, 0, Completion(json.dumps(answer)), "t")
    assert example.source is not None
    assert example.source.changed == written
    for field, text in zip(written, answer.values(), strict=False):
        assert example.fields[field] == text
    assert example.label == "yes"
