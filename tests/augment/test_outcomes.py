"""Every answer of a teacher has one of four outcomes; none that gave no example counts as one."""

from __future__ import annotations

from preceptor.augment.make import make_strategy
from preceptor.augment.stage import read_answers
from preceptor.config import AugmentSettings
from preceptor.data import demo
from preceptor.errors import TeacherError
from preceptor.records import Completion, Example, Message, Request, Sampling
from preceptor.teachers.base import Answer

ITEM = Example(
    "i1", {"question": "Does zolin lower pain?", "context": "Forty adults.", "conclusion": "It does."}, "yes"
)


def answer(text: str, finish: str = "stop") -> Answer:
    return Answer(Request((Message("user", "q"),), Sampling()), completion=Completion(text, finish))


def test_the_four_outcomes_and_failures() -> None:
    answers = [
        answer("Question: Were they adults?\nAnswer: yes"),
        answer("I'm sorry, but I cannot help with that."),
        answer("", "content_filter"),
        answer("Question: Were they", "length"),
        answer("What a day."),
        Answer(answer("").request, error=TeacherError("Hung up.")),
    ]
    found = read_answers(make_strategy("new", demo.TASK, AugmentSettings()), [ITEM] * 6, answers, "t")
    assert found.outcomes == {"answered": 1, "refused": 2, "cut_off": 1, "unparsed": 1}
    assert len(found.examples) == 1
    assert sum(found.unreadable.values()) == 5
    assert found.unreadable["no_answer_from_teacher"] == 1
