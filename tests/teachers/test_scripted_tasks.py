"""The scripted teacher as a writer of tasks: well-formed, varied, of the kind that was asked for."""

from __future__ import annotations

from typing import Any

import pytest

from preceptor.augment.instruct import TaskWriter
from preceptor.config import InstructSettings
from preceptor.records import CATEGORIES, Instruction, Request, Sampling
from preceptor.teachers.base import Answer
from preceptor.teachers.scripted import ScriptedTeacher

SEEDS = [Instruction(f"s{n}", f"Do number {n}.", "", f"Done {n}", CATEGORIES[0], "seed") for n in range(3)]
WITH_KINDS = CATEGORIES[:3]


def writer(**settings: Any) -> TaskWriter:
    return TaskWriter(InstructSettings(**settings), Sampling(), False)


def answered(request: Request) -> Answer:
    ((answer,),) = ScriptedTeacher().answer([request])
    assert answer.completion is not None
    return answer


def text(request: Request) -> str:
    completion = answered(request).completion
    assert completion is not None
    return completion.text


def test_every_answer_holds_as_many_tasks_as_were_asked_for() -> None:
    for count in (1, 4):
        made = writer(tasks_per_answer=count)
        for number in range(20):
            completion = answered(made.request(number, made.draw(number, SEEDS))).completion
            assert completion is not None
            read = made.read(completion)
            assert len(read.drafts) == count
            assert not read.unreadable
            assert all(draft.output and "{" not in f"{draft}" for draft in read.drafts)


def test_tasks_differ_by_request_and_are_always_the_same() -> None:
    made = writer()
    texts = [text(made.request(number, made.draw(number, SEEDS))) for number in range(50)]
    assert texts == [text(made.request(number, made.draw(number, SEEDS))) for number in range(50)]
    assert len(set(texts)) == 50


@pytest.mark.parametrize("kind", WITH_KINDS)
def test_a_kind_is_heeded_and_recognised(kind: str) -> None:
    made = writer(mix="by_category")
    for number in range(20):
        completion = answered(made.request(number, made.draw(number, SEEDS, kind))).completion
        assert completion is not None
        (draft,) = made.read(completion).drafts
        assert text(made.category_request("x", draft.instruction, draft.input, Sampling())) == kind
    assert text(made.category_request("x", "Hum a tune.", "", Sampling())) == "other"


def test_outputs_come_in_a_call_of_their_own() -> None:
    made = writer(outputs="separate")
    assert "Output" not in text(made.request(0, made.draw(0, SEEDS)))
    assert text(made.output_request("x-0", "Say where it is.", "")).startswith("It is the ")
    assert text(made.output_request("x-0", "Say it.", "")) != text(made.output_request("x-1", "Say it.", ""))
