"""Runs of the loop that writes tasks: seeds, scripted teachers, and what holds of every result."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from preceptor.config import InstructSettings
from preceptor.pipeline.writing import DROPS, write_tasks
from preceptor.pipeline.writing_records import Asking, Standing, Written
from preceptor.records import Instruction, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.base import Answer
from preceptor.teachers.scripted import ScriptedTeacher, follow_rules

QA, IE, GEN = "question_answering", "information_extraction", "generation"
SEEDS = [
    Instruction("s0", "Who rang the bell at midnight?", "It was the sexton who rang it.", "the sexton", QA, "seed"),
    Instruction("s1", "Is a pound heavier than an ounce?", "", "yes", QA, "seed"),
    Instruction("s2", "When does the bakery open on Sundays?", "Sundays from seven.", "at seven", QA, "seed"),
    Instruction("s3", "Extract all prices.", "Milk 2, bread 3.", "2; 3", IE, "seed"),
    Instruction("s4", "List every river named below.", "The Rhine and the Main.", "Rhine, Main", IE, "seed"),
    Instruction("s5", "Find the sender of the note.", "Yours, Ellen", "Ellen", IE, "seed"),
    Instruction("s6", "Write a riddle about shadows.", "", "I follow you all day and leave at night.", GEN, "seed"),
    Instruction("s7", "Explain how soap removes grease.", "", "It binds both grease and water.", GEN, "seed"),
    Instruction("s8", "Summarise the joke in a line.", "A man walks into a bar. Ouch.", "He hit a bar.", GEN, "seed"),
]
WORDS = (
    *("amber", "birch", "cedar", "dingo", "eagle", "fjord", "gecko", "heron", "igloo"),
    *("jelly", "koala", "lemur", "mango", "nylon", "otter", "panda", "quail", "raven"),
)


def number_of(request: Request) -> int:
    return int(re.findall(r"\d+", request.item)[0])


def words(number: int, count: int = 8) -> str:
    """Words that hardly any other number gives."""
    return " ".join(f"{WORDS[(number * 7 + i * i) % len(WORDS)]}{number}x{i}" for i in range(count))


def task(number: int, output: str = "", instruction: str = "") -> str:
    return (
        f"Instruction: {instruction or f'What is said of {words(number)}?'}\nInput: It is said that {number} is it.\n"
        f"Output: {output or f'number {number}'}"
    )


class Counting(ScriptedTeacher):
    """Answers by a script and notes every request that it answers."""

    def __init__(self, script: Callable[[Request], str] = follow_rules, *, schema: bool = False) -> None:
        super().__init__(script)
        self.asked: list[Request] = []
        self._schema = schema

    @property
    def accepts(self) -> frozenset[str]:
        return super().accepts | ({"schema"} if self._schema else set())

    def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return super()._answer(request)

    def items(self, start: str) -> list[str]:
        return [request.item for request in self.asked if request.item.startswith(start)]


def settings(**given: Any) -> InstructSettings:
    return InstructSettings(**{"target": 30, "round_size": 8, "categories": "rules", **given})


def go(
    made: InstructSettings,
    teacher: Any,
    ledger: Ledger | None = None,
    on_progress: Callable[[Standing], None] | None = None,
    **terms: Any,
) -> Written:
    if ledger is not None:
        return checked(write_tasks(made, SEEDS, Asking(teacher, Sampling(), ledger, **terms), on_progress))
    with Ledger(":memory:") as own:
        return go(made, teacher, own, on_progress, **terms)


def checked(written: Written) -> Written:
    """What holds of every result: nothing vanishes, and the counts are those of what is there."""
    funnel = written.funnel
    assert funnel.candidates == funnel.kept + sum(funnel.dropped.values())
    assert funnel.kept == len(written.kept) == sum(funnel.kept_by_category.values()) == sum(funnel.category_by.values())
    assert Counter(verdict.reason for _, verdict in written.dropped) == funnel.dropped
    assert list(funnel.dropped) == [reason for reason in DROPS if reason in funnel.dropped]
    assert Counter(example.label for example in written.kept) == funnel.kept_by_category
    failed = funnel.unreadable.get("no_answer_from_teacher", 0)
    assert funnel.requests == sum(funnel.outcomes.values()) + failed
    assert funnel.stopped
    ids = [example.id for example in (*written.kept, *(example for example, _ in written.dropped))]
    assert len(set(ids)) == len(ids)
    assert len(funnel.nearest_f) == (11 if written.kept else 0)
    assert list(funnel.nearest_f) == sorted(funnel.nearest_f)
    assert all(0 <= f <= 0.7 for f in funnel.nearest_f)
    assert len(written.calls) == written.spend.calls
    return written


def plain(written: Written) -> str:
    """All of a result but where its answers came from."""
    kept = [asdict(example) for example in written.kept]
    dropped = [(asdict(example), asdict(verdict)) for example, verdict in written.dropped]
    return json.dumps([kept, dropped, asdict(written.funnel), written.calls])
