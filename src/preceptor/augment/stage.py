"""The stage `augment`: ask the teacher about every training item, read its answers, keep what came."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from preceptor.augment.base import Candidates, Strategy, Unreadable, make_example
from preceptor.config import BudgetSettings
from preceptor.data.parsers import unread
from preceptor.errors import TeacherError
from preceptor.records import Example, Outcome, Request, Spend
from preceptor.store.ledger import Ledger
from preceptor.store.stages import write_json
from preceptor.store.tables import write_examples
from preceptor.teachers.ask import Asked, ask
from preceptor.teachers.base import Answer, Teacher, Until
from preceptor.teachers.phi import PhiGate
from preceptor.teachers.prices import Price, dollars
from preceptor.teachers.tally import Tally

CANDIDATES = "candidates.parquet"
ASKED = "asked.json"
"""How many requests, to whom, what could not be read and why, tokens and money."""


def ask_all(
    teacher: Teacher,
    requests: Sequence[Request],
    ledger: Ledger,
    price: Price | None,
    limits: BudgetSettings,
    gate: PhiGate | None,
    on_progress: Callable[[Tally], None],
    until: Until | None = None,
) -> Asked:
    """Ask for everything that the ledger does not hold. Raises `TeacherError` when not one answer came.

    Raises what `ask` does; `PartFinished` when the time `until` is over.
    """
    asked = ask(teacher, requests, ledger, price=price, limits=limits, gate=gate, on_progress=on_progress, until=until)
    failures = [answer.error for answer in asked.answers if answer.error is not None]
    if failures and len(failures) == len(requests):
        first = failures[0]
        raise TeacherError(
            f"The teacher {teacher.name} answered none of {len(requests)} requests; the first: {first.message}",
            first.hint,
        )
    return asked


def read_answers(strategy: Strategy, parents: Sequence[Example], answers: Sequence[Answer], teacher: str) -> Candidates:
    """Turn answers into candidates; `parents` stand in the order of the answers."""
    found = Candidates()
    for parent, answer in zip(parents, answers, strict=True):
        if answer.completion is None:
            found.unreadable["no_answer_from_teacher"] += 1
            continue
        try:
            found.examples.append(make_example(strategy, parent, answer.request.draw, answer.completion, teacher))
            outcome = Outcome.ANSWERED
        except Unreadable as reason:
            found.unreadable[str(reason)] += 1
            outcome = unread(answer.completion.text, answer.completion.finish)
        found.outcomes[str(outcome)] += 1
    return found


def spend_of(asked: Mapping[str, Any], known: set[str], price: Price | None) -> Spend:
    """A stage's spend, less the calls that are `known` from an earlier stage of the run; adds its own to `known`.

    Two settings may ask the same question: the ledger answers the second, which must not be counted as paid twice.
    """
    repeated = [tokens for call, tokens in asked["calls"].items() if call in known]
    known.update(asked["calls"])
    read, written, cached = (sum(tokens[side] for tokens in repeated) for side in range(3))
    spend = Spend(**asked["spend"])
    return replace(
        spend,
        calls=spend.calls - len(repeated),
        from_ledger=max(0, spend.from_ledger - len(repeated)),
        input_tokens=spend.input_tokens - read,
        output_tokens=spend.output_tokens - written,
        usd=None
        if spend.usd is None or price is None
        else max(0.0, spend.usd - dollars(price.of(read, written, cached))),
    )


def write_candidates(folder: Path, teacher: str, asked: Asked, found: Candidates) -> None:
    """Write the stage's two files."""
    write_examples(folder / CANDIDATES, found.examples)
    write_json(
        folder / ASKED,
        {
            "asked": len(asked.answers),
            "teacher": teacher,
            "unreadable": dict(found.unreadable),
            "outcomes": dict(found.outcomes),
            "spend": asdict(asked.spend),
            "calls": {
                c.call: [c.input_tokens, c.output_tokens, c.cached_tokens] for a in asked.answers if (c := a.completion)
            },
        },
    )


def write_made(folder: Path, found: Candidates) -> None:
    """Write the same two files for candidates that no teacher was asked for."""
    made = len(found.examples) + found.unreadable.total()
    nobody = {"teacher": "", "outcomes": {}, "spend": asdict(Spend(usd=0.0)), "calls": {}}
    write_examples(folder / CANDIDATES, found.examples)
    write_json(folder / ASKED, {"asked": made, "unreadable": dict(found.unreadable), **nobody})
