"""The teacher without a model."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from preceptor.config import TeacherSettings
from preceptor.errors import CredentialsError
from preceptor.records import Message, Request, Sampling
from preceptor.teachers.local import LocalTeacher
from preceptor.teachers.make import make_teacher
from preceptor.teachers.openai import OpenAITeacher
from preceptor.teachers.scripted import ScriptedTeacher, paraphrase

TEXT = "Zolamine has few side effects. In 120 adults it did not reduce the pain score after 12 weeks (p = 0.4)."


def answer(teacher: ScriptedTeacher, message: str, draw: int = 0) -> str:
    asked = Request((Message("system", "Be brief."), Message("user", message)), Sampling(), item="i", draw=draw)
    ((given,),) = teacher.answer([asked])
    assert given.request is asked
    assert given.completion is not None, given.error
    return given.completion.text


@pytest.mark.parametrize("field", ["Question", "Text"])
def test_a_field_is_reworded_and_the_task_is_not(field: str) -> None:
    text = answer(
        ScriptedTeacher(), f"{field}: Does Zolamine reduce pain in 120 adults?\n\nRewrite this. Reply with it only."
    )
    assert re.fullmatch(r"\w[\w ]+, does Zolamine lower pain in 120 adults\?", text)


def test_only_the_last_field_is_reworded() -> None:
    text = answer(ScriptedTeacher(), f"Question: Does it help?\n\nText: {TEXT}\n\nRewrite this text.")
    assert "help" not in text
    assert "it did not lower the pain score following 12 weeks (p = 0.4)." in text


def test_numbers_and_negations_stay_and_words_change() -> None:
    for draw in range(10):
        reworded = paraphrase(TEXT, draw)
        assert re.findall(r"[\d.]+\d|not|\d+", reworded) == re.findall(r"[\d.]+\d|not|\d+", TEXT)
        assert reworded != TEXT
    assert len({paraphrase(TEXT, draw) for draw in range(10)}) > 1


def test_names_and_abbreviations_keep_their_capitals() -> None:
    assert paraphrase("Zolamine works.").endswith("Zolamine works.")
    assert paraphrase("HIV is studied.").endswith("HIV is studied.")
    assert paraphrase("The drug works.").endswith(": the drug works.")


def test_a_pair_comes_back_as_a_pair() -> None:
    message = (
        "Question: Does it help?\nAnswer: It did not help people.\n\nRewrite both.\nQuestion: <new>\nAnswer: <new>"
    )
    question, reply = answer(ScriptedTeacher(), message).split("\n")
    assert question.startswith("Question: ")
    assert question.endswith("does it help?")
    assert reply.startswith("Answer: ")
    assert reply.endswith("it did not help persons.")


def test_new_questions_have_one_of_the_labels_asked_for() -> None:
    task = "Write a new question about the text. The answer is one of: {}.\nQuestion: <new question>\nAnswer: <label>"
    for labels in (["yes", "no", "maybe"], ["true", "false"]):
        message = f"Text: {TEXT}\n\nKnown question: Is it safe?\n\n{task.format(', '.join(labels))}"
        seen = set()
        for draw in range(40):
            question, label = answer(ScriptedTeacher(), message, draw).split("\n")
            assert re.fullmatch(r"Question: [A-Z].*\?", question)
            seen.add(label.removeprefix("Answer: "))
        assert seen == set(labels)


def test_it_answers_its_own_new_questions_and_others_by_their_text() -> None:
    def label(question: str, labels: str = "yes, no, maybe") -> str:
        system = f"You reply with exactly one of these words and nothing more: {labels}."
        user = f"Abstract: {TEXT}\nQuestion: {question}\nAnswer:"
        ((given,),) = ScriptedTeacher().answer(
            [Request((Message("system", system), Message("user", user)), Sampling())]
        )
        assert given.completion is not None
        return given.completion.text

    task = "Write a new question about the text. The answer is one of: yes, no, maybe.\nQuestion: <q>\nAnswer: <label>"
    for draw in range(20):
        written = answer(ScriptedTeacher(), f"Text: {TEXT}\n\n{task}", draw)
        question, said = written.removeprefix("Question: ").split("\nAnswer: ")
        assert label(question) == said
    others = [label(f"Does number {i} help?") for i in range(40)]
    assert set(others) == {"yes", "no", "maybe"}
    assert others == [label(f"Does number {i} help?") for i in range(40)]
    assert label("Does it?", "true") == "true"


def test_it_scores_a_text_the_same_in_either_place() -> None:
    def scores(first: str, second: str) -> dict[str, dict[str, int]]:
        message = f"Version A:\nquestion: {first}\n\nVersion B:\nquestion: {second}\n\nScore each version from 1 to 5."
        return json.loads(answer(ScriptedTeacher(), message))

    one, other = scores("Is it?", "Was it?"), scores("Was it?", "Is it?")
    assert (one["A"], one["B"]) == (other["B"], other["A"])
    assert set(one["A"]) == {"faithful", "answerable", "well_written"}


def test_it_rates_an_answer_the_same_in_either_place() -> None:
    def ratings(first: str, second: str) -> dict[str, int]:
        message = f"Task: Say why.\n\nAnswer A:\n{first}\n\nAnswer B:\n{second}\n\nScore each answer from 1 to 5."
        found: dict[str, int] = json.loads(answer(ScriptedTeacher(), message))
        return found

    for number in range(10):
        one, other = ratings(f"Text {number}.", "It is."), ratings("It is.", f"Text {number}.")
        assert (one["A"], one["B"]) == (other["B"], other["A"])
    assert {ratings(f"Text {number}.", "It is.")["A"] for number in range(40)} == {1, 2, 3, 4, 5}


def test_it_always_says_the_same() -> None:
    assert len({answer(ScriptedTeacher(), f"Text: {TEXT}") for _ in range(3)}) == 1


def test_a_script_of_ones_own() -> None:
    assert answer(ScriptedTeacher(lambda r: r.item * 3), "any") == "iii"
    mapped = ScriptedTeacher({"known": "reply"})
    assert answer(mapped, "known") == "reply"
    ((given,),) = mapped.answer([Request((Message("user", "unknown"),), Sampling())])
    assert given.error is not None
    assert given.error.message == "The script has no answer to this message."


def test_recipes_make_each_kind_of_teacher(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(make_teacher(TeacherSettings(kind="local", model="m"), Path()), LocalTeacher)
    assert isinstance(make_teacher(TeacherSettings(kind="scripted"), Path()), ScriptedTeacher)
    with pytest.raises(CredentialsError, match="OPENAI_API_KEY"):
        make_teacher(TeacherSettings(kind="openai"), Path())
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    assert isinstance(make_teacher(TeacherSettings(kind="openai"), Path()), OpenAITeacher)
