"""Root verbs and objects: counted against what a reader would say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from rooted_instructions import HELD_BACK, SHOWN

from preceptor.publish.roots import Root, base_form, root_of
from preceptor.publish.verbs import NOUN_TOO, VERBS


@pytest.mark.parametrize("items", [SHOWN, HELD_BACK], ids=["shown", "held-back"])
def test_at_least_nine_of_ten_roots_and_objects_are_those_of_a_reader(items: tuple[tuple[str, ...], ...]) -> None:
    wrong = [(text, root_of(text)) for text, *expected in items if root_of(text) != Root(*expected)]
    assert len(wrong) <= len(items) / 10, wrong


def test_a_verb_or_question_is_found_in_nearly_all_published_seeds(data_root: Path) -> None:
    lines = (data_root / "self-instruct" / "seed_tasks.jsonl").read_text(encoding="utf-8").splitlines()
    roots = [root_of(json.loads(line)["instruction"]) for line in lines]
    assert len(roots) == 175
    assert sum(root.kind == "verb" for root in roots) / len(roots) >= 0.85
    assert sum(root.kind == "none" for root in roots) / len(roots) <= 0.02


def test_british_and_american_spellings_are_one_verb() -> None:
    assert base_form("summarise") == base_form("summarize") == "summarize"
    assert base_form("analyse") == base_form("analyze") == "analyze"
    assert base_form("otherwise") == ""


def test_the_lists_hold_together() -> None:
    assert len(VERBS) >= 200
    assert NOUN_TOO <= VERBS
    assert not [verb for verb in VERBS if verb.endswith(("ise", "yse")) and base_form(verb) != verb]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "?!",
        "\n\n",
        "…",
        "(a)",
        "1.",
        "]](([",
        "—",
        "Q:",
        "Answer:",
        "你好，请总结",
        "a" * 10_000,
        "to of a " * 3_000,
    ],
)
def test_any_text_has_a_root_or_none_and_raises_nothing(text: str) -> None:
    assert root_of(text).kind in ("verb", "question", "none")


def test_a_command_behind_a_request_is_no_question() -> None:
    assert root_of("Can you list the drugs?") == Root("verb", "list", "drug")
    assert root_of("Can the drug be given by mouth?") == Root("question", "can")


def test_a_noun_that_is_also_a_verb_is_taken_only_before_a_noun_phrase() -> None:
    text = "Given the symptoms, test results and history, name the disease."
    assert root_of(text) == Root("verb", "name", "disease")
    assert root_of("List of drugs: aspirin, heparin. Sort them.") == Root("verb", "sort")


@pytest.mark.parametrize(
    "text",
    ["Based on the note list the drugs.", "In one sentence list the drugs.", "From the note below list all drugs."],
)
def test_a_verb_is_found_behind_an_opening_without_a_comma(text: str) -> None:
    assert root_of(text) == Root("verb", "list", "drug")
