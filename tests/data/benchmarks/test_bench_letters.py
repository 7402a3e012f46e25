"""Which option a generated answer to a multiple-choice question means, and which answers mean none."""

from __future__ import annotations

import pytest

from preceptor.data.benchmarks import letters
from preceptor.records import Outcome

OPTIONS = ("Low-dose aspirin", "Warfarin", "E. coli", "No treatment")


def choice(text: str, options: tuple[str, ...] = OPTIONS, finish: str = "stop") -> int | Outcome:
    reading = letters.read(text, options, finish=finish)
    assert (reading.choice is None) == (reading.outcome is not Outcome.ANSWERED)
    return reading.outcome if reading.choice is None else reading.choice


@pytest.mark.parametrize(
    "text",
    [
        "B",
        " b",
        "b.",
        "(B)",
        "(b)",
        "B.",
        "B)",
        "B:",
        "**B**",
        "**B.** Warfarin",
        "B. Warfarin",
        "B Warfarin",
        "B) blood thinners help here",
        "B. Because the valve is mechanical.",
        "B because the valve is mechanical",
        "B is correct.",
        "Option B",
        "Option B.",
        "Answer: B",
        "The answer is B",
        "The answer is **B**.",
        "The correct answer is (B) Warfarin.",
        "The answer to the question is option B.",
        "The valve is mechanical, so aspirin is not enough. Therefore, the answer is B.",
        "Option A is too weak, and D leaves the valve alone. The best choice is B.",
        "It is option (B).",
        "Warfarin",
        "warfarin.",
        '"Warfarin"',
        "Answer: Warfarin.",
        "The right drug is warfarin.",
        "B\n\nThe valve is mechanical.",
        "B\nB\nB",
    ],
)
def test_one_option_is_read_from_a_letter_or_from_its_words(text: str) -> None:
    assert choice(text) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "B or C",
        "A, B",
        "Both A and B",
        "B. Low-dose aspirin",  # letter and words disagree
        "The answer is A. No, the answer is B.",
        "The answer is not B.",
        "B is incorrect.",
        "Option B is wrong.",
        "It cannot be (B).",
        "I would not choose option B.",
        "E",  # there is no fifth option
        "The answer is F.",
        "A patient with a new valve needs care.",
        "A. Low-dose aspirin\nB. Warfarin\nC. E. coli\nD. No treatment",  # the question, copied
        "I would rather ask a colleague.",
        "Warfarin or low-dose aspirin.",
        "Vitamin B is not in the list.",
        "2",
    ],
)
def test_two_options_or_none_are_no_answer(text: str) -> None:
    assert choice(text) is Outcome.UNPARSED


def test_words_that_begin_like_a_letter_are_words() -> None:
    assert choice("E. coli") == 2
    assert choice("E. coli", ("Yeast", "E. coli", "Virus", "Worm", "Prion")) == 1
    assert choice("E. coli grew there", ("Yeast", "E. coli", "Virus", "Worm", "Prion")) is Outcome.UNPARSED
    assert choice("C. difficile", ("E. coli", "C. difficile", "Yeast")) == 1


def test_options_with_the_same_words_are_told_apart_by_letters_alone() -> None:
    same = ("Saline", "saline", "Water")
    assert choice("B", same) == 1
    assert choice("Saline", same) is Outcome.UNPARSED
    assert choice("Water", same) == 2
    assert choice("I would give saline.", same) is Outcome.UNPARSED


def test_a_letter_that_is_also_the_words_of_another_option_means_neither() -> None:
    assert choice("B", ("B", "A")) is Outcome.UNPARSED
    assert choice("A", ("A", "B")) == 0


def test_refusals_and_answers_without_an_end_have_their_own_outcomes() -> None:
    assert choice("I'm sorry, but I cannot answer medical questions.") is Outcome.REFUSED
    assert choice("B", finish="content_filter") is Outcome.REFUSED
    assert choice("The valve was replaced in the spring and", finish="length") is Outcome.CUT_OFF
    assert choice("B. Because the valve", finish="length") == 1
    assert choice("A or B, depending on", finish="length") is Outcome.UNPARSED


def test_letters_go_as_far_as_the_options() -> None:
    many = tuple(f"Finding number {n}" for n in range(26))
    assert choice("Z", many) == 25
    assert choice("The answer is J.", many) == 9
    assert choice("C", ("one", "two")) is Outcome.UNPARSED
