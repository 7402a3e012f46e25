"""The judge of texts: both orders, what is read, and what it costs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from preceptor.config import BudgetSettings, PhiSettings
from preceptor.errors import BudgetError, PrivacyError, TeacherError
from preceptor.evaluate.aggregate import estimate
from preceptor.evaluate.judging import Judged, Rated, TextJudge, read_rating
from preceptor.progress import Progress
from preceptor.records import Completion, Instruction, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.asker import Asker
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.phi import PhiGate
from preceptor.teachers.prices import Price
from preceptor.teachers.scripted import ScriptedTeacher

ITEMS = [
    Instruction(f"n{number}", "Write the note.", f"Doctor: Visit {number}?", f"Reference {number}.", "generation")
    for number in range(6)
]


PRICE = Price(Decimal(1), Decimal(1))


def shown(request: Request) -> tuple[str, str]:
    """The two answers as the judge reads them."""
    found = re.search(r"Answer A:\n(.*)\n\nAnswer B:\n(.*)\n\nScore", request.messages[-1].content, re.DOTALL)
    assert found is not None
    return found[1], found[2]


class Recorder:
    """A script that keeps what it was asked."""

    def __init__(self, script: Callable[[str, str], str]) -> None:
        self.script, self.seen = script, list[Request]()

    def __call__(self, request: Request) -> str:
        self.seen.append(request)
        return self.script(*shown(request))


def judge(script: Callable[[Request], str], folder: Path, **more: Any) -> TextJudge:
    asker = Asker(ScriptedTeacher(script), Ledger(folder / "ledger.sqlite"), words="judgements", **more)
    return TextJudge(asker, Sampling(max_tokens=64))


def scores(a: object, b: object) -> str:
    return json.dumps({"A": a, "B": b})


def by_text(first: str, second: str) -> str:
    return scores(*(4 if text.startswith("Reference") else 2 for text in (first, second)))


def test_each_text_is_judged_in_both_orders_beside_its_reference(tmp_path: Path) -> None:
    script = Recorder(by_text)
    judged = judge(script, tmp_path)(ITEMS, [f" Text {number}. " for number in range(6)])
    assert len(script.seen) == 12
    assert {shown(request) for request in script.seen} == {
        pair for n in range(6) for pair in ((f"Text {n}.", f"Reference {n}."), (f"Reference {n}.", f"Text {n}."))
    }
    content = script.seen[0].messages[-1].content
    assert content.startswith("Task: Write the note.\n\nInput:\nDoctor: Visit 0?\n\nAnswer A:")
    assert (judged.measure.name, judged.measure.kind) == ("judge", "mean")
    assert judged.measure.rows == ((2.0, 1.0),) * 6
    assert judged.reference == 4.0
    assert judged.counts == {
        "judge_read": 6,
        "judge_unread": 0,
        "judge_empty": 0,
        "judge_inconsistent": 0,
        "judge_decided": 6,
        "judge_order_flips": 0,
        "judge_first": 6,
    }


def test_a_text_equal_to_its_reference_is_asked_about_twice_too(tmp_path: Path) -> None:
    script = Recorder(lambda first, second: scores(5, 4))
    judged = judge(script, tmp_path)(ITEMS[:1], ["Reference 0."])
    assert len(script.seen) == 2
    assert judged.measure.rows == ((4.5, 1.0),)


def test_a_judge_that_likes_what_stands_first_is_counted_as_such(tmp_path: Path) -> None:
    judged = judge(Recorder(lambda first, second: scores(5, 3)), tmp_path)(ITEMS, ["Text."] * 6)
    assert judged.measure.rows == ((4.0, 1.0),) * 6
    assert judged.reference == 4.0
    assert (judged.counts["judge_inconsistent"], judged.counts["judge_order_flips"]) == (6, 6)
    assert (judged.counts["judge_decided"], judged.counts["judge_first"]) == (6, 12)
    near = judge(Recorder(lambda first, second: scores(4, 3)), tmp_path / "near")(ITEMS, ["Text."] * 6)
    assert (near.counts["judge_inconsistent"], near.counts["judge_order_flips"]) == (0, 6)
    even = judge(Recorder(lambda first, second: scores(3, 3)), tmp_path / "even")(ITEMS, ["Text."] * 6)
    assert (even.counts["judge_decided"], even.counts["judge_first"]) == (0, 0)


def test_items_that_were_not_read_in_both_orders_do_not_count(tmp_path: Path) -> None:
    def script(first: str, second: str) -> str:
        if "Reference 1" in second or "Reference 2" in first + second:
            return "Both are fine."
        return scores(5, 1)

    judged = judge(Recorder(script), tmp_path)(ITEMS, ["Text."] * 6)
    assert judged.measure.rows == ((3.0, 1.0), (0.0, 0.0), (0.0, 0.0), (3.0, 1.0), (3.0, 1.0), (3.0, 1.0))
    assert (judged.counts["judge_read"], judged.counts["judge_unread"]) == (4, 2)
    found = estimate([judged.measure], 100, 0)
    assert found is not None
    assert found.value == 3.0


def test_an_empty_text_gets_the_lowest_score_unseen(tmp_path: Path) -> None:
    script = Recorder(by_text)
    judged = judge(script, tmp_path)(ITEMS[:3], ["Text.", " ", ""])
    assert judged.measure.rows == ((2.0, 1.0), (1.0, 1.0), (1.0, 1.0))
    assert (judged.counts["judge_read"], judged.counts["judge_empty"]) == (1, 2)
    assert len(script.seen) == 2


@pytest.mark.parametrize("texts", [[], ["", " "]])
def test_without_a_text_there_is_no_result(tmp_path: Path, texts: list[str]) -> None:
    script = Recorder(by_text)
    judged = judge(script, tmp_path)(ITEMS[: len(texts)], texts)
    assert not script.seen
    assert judged.reference is None
    assert estimate([judged.measure], 100, 0) is None


def test_a_judge_that_says_nothing_readable_is_no_result(tmp_path: Path) -> None:
    judged: Judged = judge(Recorder(lambda first, second: "I like both."), tmp_path)(ITEMS, ["Text."] * 6)
    assert (judged.counts["judge_read"], judged.counts["judge_unread"]) == (0, 6)
    assert judged.reference is None
    assert estimate([judged.measure], 100, 0) is None


def test_nothing_is_paid_twice_and_what_was_paid_is_added_up(tmp_path: Path) -> None:
    script = Recorder(by_text)
    asked = judge(script, tmp_path, price=PRICE)
    first = asked(ITEMS, ["Text."] * 6)
    again = asked(ITEMS, ["Text."] * 6)
    assert first == again
    assert len(script.seen) == 12
    assert (asked.ask.spend.calls, asked.ask.spend.from_ledger) == (24, 12)
    assert asked.ask.spend.usd is not None
    assert asked.ask.spend.usd > 0
    assert judge(script, tmp_path)(ITEMS, ["Text."] * 6) == first
    assert len(script.seen) == 12
    asked(ITEMS, ["Another text."] * 6)
    assert len(script.seen) == 24


def test_budget_and_privacy_check_hold(tmp_path: Path) -> None:
    script = Recorder(by_text)
    gate = PhiGate("block", PhiSettings(names=False))
    with pytest.raises(PrivacyError):
        judge(script, tmp_path, gate=gate)(ITEMS, ["Call 555-123-4567, jane.roe@example.com."] * 6)
    assert not script.seen
    faulty = ScriptedTeacher({})
    asker = Asker(faulty, Ledger(tmp_path / "other.sqlite"), words="judgements")
    with pytest.raises(
        TeacherError, match=r"scripted answered none of 12 requests \(judgements\); the first: The script"
    ):
        TextJudge(asker, Sampling())(ITEMS, ["Text."] * 6)


def test_the_scripted_teacher_can_be_read(tmp_path: Path) -> None:
    judged = TextJudge(Asker(ScriptedTeacher(), Ledger(tmp_path / "l.sqlite")), Sampling())(ITEMS, ["Text."] * 6)
    assert (judged.counts["judge_read"], judged.counts["judge_order_flips"]) == (6, 0)


@pytest.mark.parametrize(
    "text",
    [
        '{"A": 4, "B": 2}',
        '{"B": "2", "A": "4/5"}',
        'Here they are:\n```json\n{"A": 4, "B": 2}\n```',
        "{A: 4, B: 2",
        "Answer A: 4\nAnswer B: 2/5",
        "**A**: 4, **B**: 2.",
    ],
)
def test_scores_are_read_from_json_however_broken_and_from_text(text: str) -> None:
    assert read_rating(Completion(text), text_first=True) == Rated(4.0, 2.0, True)
    assert read_rating(Completion(text), text_first=False) == Rated(2.0, 4.0, False)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Both are good.",
        '{"A": 4}',
        '{"A": 6, "B": 2}',
        '{"A": 0, "B": 2}',
        '{"A": true, "B": 2}',
        '{"A": <1-5>, "B": <1-5>}',
        "A: 1-5, B: 1-5",
        "A: 4, A: 5, B: 2",
        "B: 4, A: 5",
        "Answer A: 41, answer B: 2",
    ],
)
def test_what_holds_no_two_scores_is_not_read(text: str) -> None:
    assert read_rating(Completion(text), text_first=True) is None


def test_what_the_endpoint_blocked_or_did_not_answer_is_not_read() -> None:
    assert read_rating(Completion('{"A": 4, "B": 2}', "content_filter"), text_first=True) is None
    assert read_rating(None, text_first=True) is None


class Reserving(ScriptedTeacher):
    """Takes room in the budget before it answers, as teachers that cost something do."""

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        assert control is not None
        for request in requests:
            room = control.budget.reserve(request.item, 200, 64)
            if room is None:
                control.stopped = "budget"
                return
            for group in super().answer([request]):
                yield [replace(answer, ticket=room.ticket) for answer in group]


def test_a_used_up_budget_ends_it(tmp_path: Path) -> None:
    ledger, limits = Ledger(tmp_path / "ledger.sqlite"), BudgetSettings(max_tokens=500)
    with pytest.raises(BudgetError, match="of 12 requests to scripted are answered"):
        TextJudge(Asker(Reserving(), ledger, PRICE, limits), Sampling())(ITEMS, ["Text."] * 6)
    assert TextJudge(Asker(Reserving(), ledger, PRICE), Sampling())(ITEMS, ["Text."] * 6).counts["judge_read"] == 6


def test_progress_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    judge(Recorder(by_text), tmp_path, progress=Progress())(ITEMS, ["Text."] * 6)
    assert "judgements: 12/12" in capsys.readouterr().err
