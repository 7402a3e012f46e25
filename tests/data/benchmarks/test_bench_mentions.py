"""Lists of mentions: what is written is read back, and every usual form of a list is read."""

from __future__ import annotations

import pytest

from preceptor.data.benchmarks import mentions
from preceptor.records import Outcome, Reading

TEXT = "Marsh fever, glass bone disease and river cough were seen; early and late hill palsy were not."


def read(answer: str, finish: str = "stop", entity: str = "disease") -> Reading:
    return mentions.read(answer, text=TEXT, entity=entity, finish=finish)


@pytest.mark.parametrize(
    "listed",
    [
        (),
        ("marsh fever",),
        ("marsh fever", "glass bone disease"),
        ("fever, of the marsh",),
        ("fever, of the marsh", "river cough"),
        ("cough; wet", "river cough"),
        ('so-called "river" cough',),
        ("the cough 'river'",),
        ("river cough type-", "cough (dry)"),
        ("Hill palsy.",),
        ("1) palsy", "- palsy"),
        ("disease: palsy",),
        ('"palsy"',),
        ("back\\slash palsy, late",),
    ],
)
def test_a_written_list_is_read_back(listed: tuple[str, ...]) -> None:
    assert read(mentions.written(listed)) == Reading(Outcome.ANSWERED, mentions=listed)


def test_each_mention_is_written_once() -> None:
    assert mentions.written(["Marsh fever", "cough", "marsh  fever"]) == "Marsh fever; cough"
    assert mentions.written([]) == "none"


THREE = ("marsh fever", "glass bone disease", "river cough")


@pytest.mark.parametrize(
    "answer",
    [
        "marsh fever; glass bone disease; river cough",
        "marsh fever;glass bone disease;\nriver cough;",
        "marsh fever\nglass bone disease\nriver cough",
        "- marsh fever\n- glass bone disease\n- river cough\n",
        "* **marsh fever**\n* **glass bone disease**\n* **river cough**",
        "1. marsh fever\n2. glass bone disease\n3. river cough",
        "(1) marsh fever\n(2) glass bone disease\n(3) river cough",
        "Answer: marsh fever; glass bone disease; river cough.",
        "The diseases mentioned in the text are: marsh fever, glass bone disease, and river cough.",
        "**Diseases:** marsh fever, glass bone disease, river cough",
        "Here are the diseases:\n\n1) marsh fever\n2) glass bone disease\n3) river cough",
        "marsh fever, glass bone disease and river cough",
        '"marsh fever", "glass bone disease", "river cough"',
        '["marsh fever", "glass bone disease", "river cough"]',
        '```json\n["marsh fever", "glass bone disease", "river cough"]\n```',
        '{"diseases": ["marsh fever", "glass bone disease", "river cough"]}',
        "marsh fever; marsh fever; glass bone disease; river cough; MARSH FEVER",
    ],
)
def test_the_usual_forms_of_a_list_are_read(answer: str) -> None:
    assert read(answer) == Reading(Outcome.ANSWERED, mentions=THREE)


def test_commas_separate_only_where_nothing_else_does() -> None:
    assert read("palsy, late; river cough").mentions == ("palsy, late", "river cough")
    assert read("palsy, late\nriver cough").mentions == ("palsy, late", "river cough")
    assert read("palsy, late").mentions == ("palsy", "late")


def test_and_separates_where_the_text_holds_both_sides_but_not_the_whole() -> None:
    assert read("early and late hill palsy").mentions == ("early and late hill palsy",)
    assert read("marsh fever and river cough").mentions == ("marsh fever", "river cough")
    assert read("sky and sea sickness").mentions == ("sky and sea sickness",)
    assert read("early and late hill palsy; river cough").mentions == ("early and late hill palsy", "river cough")


@pytest.mark.parametrize(
    "answer",
    [
        "none",
        "None.",
        "Answer: none",
        "**None**",
        "No diseases.",
        "No diseases are mentioned in the text.",
        "There are no diseases mentioned in this sentence.",
        "None mentioned",
        "N/A",
        "[]",
        '["none"]',
        "The text does not mention any disease.",
    ],
)
def test_that_there_is_none_is_an_answer(answer: str) -> None:
    assert read(answer) == Reading(Outcome.ANSWERED)


def test_what_is_looked_for_may_have_another_name() -> None:
    assert read("no chemicals", entity="chemical") == Reading(Outcome.ANSWERED)
    assert read("no chemicals").mentions == ("no chemicals",)


def test_refusals_silence_and_prose_are_no_lists() -> None:
    assert read("I'm sorry, I cannot provide medical advice.") == Reading(Outcome.REFUSED)
    assert read("marsh fever", "content_filter") == Reading(Outcome.REFUSED)
    assert read(" \n") == Reading(Outcome.UNPARSED)
    assert read(" ".join(["word"] * (mentions.LONGEST + 1))) == Reading(Outcome.UNPARSED)
    assert read(";;") == Reading(Outcome.UNPARSED)


@pytest.mark.parametrize(
    "answer",
    [
        "marsh fever; glass bone disease; river co",
        "marsh fever; glass bone disease;",
        "- marsh fever\n- glass bone disease\n- river",
        "- marsh fever\n- glass bone disease\n",
        "marsh fever, glass bone disease, riv",
        '["marsh fever", "glass bone disease", "riv',
    ],
)
def test_of_a_list_that_was_cut_off_the_whole_mentions_are_kept(answer: str) -> None:
    assert read(answer, "length") == Reading(Outcome.CUT_OFF, mentions=THREE[:2])


def test_a_fragment_alone_is_no_mention() -> None:
    assert read("marsh fe", "length") == Reading(Outcome.CUT_OFF)
