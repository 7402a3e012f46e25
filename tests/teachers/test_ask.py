"""The engine: nothing is asked twice, nothing counts before it is stored, nothing is sent that cannot be taken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from given_times import Over
from preceptor.errors import CredentialsError, PartFinished, StorageError, TeacherError, UnsupportedSettingError
from preceptor.records import Completion, Message, Request, Sampling
from preceptor.store.ledger import Entry, Ledger
from preceptor.teachers.ask import ask
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.prices import FREE, Price
from preceptor.teachers.scripted import ScriptedTeacher
from preceptor.teachers.tally import Tally


def request(number: int, **settings: float) -> Request:
    return Request((Message("user", f"question {number}"),), Sampling(**settings), item=f"item-{number}")  # type: ignore[arg-type]


class Recorder:
    """A teacher that notes what it is asked and answers in groups of two, the last request first."""

    name = "recorder"
    accepts = frozenset({"max_tokens", "temperature"})

    def __init__(self, failing: frozenset[str] = frozenset(), break_after: int | None = None) -> None:
        self.asked: list[Request] = []
        self.failing = failing
        self.break_after = break_after
        self.closed = False

    def key(self, request: Request) -> str:
        return request.key(self.name)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        requests = list(requests)
        backwards = list(reversed(requests))
        try:
            for start in range(0, len(backwards), 2):
                if start == self.break_after:
                    raise CredentialsError("The key was withdrawn.")
                group = backwards[start : start + 2]
                self.asked += group
                yield [self.one(r) for r in group]
        finally:
            self.closed = True

    def one(self, request: Request) -> Answer:
        if request.item in self.failing:
            return Answer(request, error=TeacherError("Too long.", request.item))
        return Answer(request, completion=Completion(f"answer to {request.item}", "stop", 100, 10))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger") as opened:
        yield opened


def test_answers_stand_in_the_order_of_the_requests(ledger: Ledger) -> None:
    requests = [request(n) for n in range(5)]
    asked = ask(Recorder(), requests, ledger)
    assert [a.request for a in asked.answers] == requests
    assert [a.completion.text for a in asked.answers if a.completion] == [f"answer to item-{n}" for n in range(5)]
    assert all(a.completion and a.completion.call == a.request.key("recorder") for a in asked.answers)


def test_what_was_answered_is_not_asked_again(ledger: Ledger) -> None:
    requests = [request(n) for n in range(5)]
    ask(Recorder(), requests[:3], ledger)
    second, third = Recorder(), Recorder()
    asked = ask(second, requests, ledger)
    assert sorted(r.item for r in second.asked) == ["item-3", "item-4"]
    assert (asked.spend.calls, asked.spend.from_ledger) == (5, 3)
    again = ask(third, requests, ledger)
    assert third.asked == []
    assert again.answers == asked.answers
    assert again.spend.from_ledger == 5


def test_equal_requests_are_asked_once_and_counted_once(ledger: Ledger) -> None:
    teacher = Recorder()
    asked = ask(teacher, [request(1), request(2), request(1), request(1)], ledger)
    assert len(teacher.asked) == 2
    assert [a.request.item for a in asked.answers] == ["item-1", "item-2", "item-1", "item-1"]
    assert asked.spend.calls == 2
    assert asked.spend.input_tokens == 200


def test_another_draw_of_the_same_question_is_asked(ledger: Ledger) -> None:
    teacher = Recorder()
    first = request(1)
    ask(teacher, [first, Request(first.messages, first.sampling, first.item, draw=1)], ledger)
    assert len(teacher.asked) == 2


def test_failures_are_counted_by_reason_and_asked_again(ledger: Ledger) -> None:
    requests = [request(n) for n in range(4)]
    asked = ask(Recorder(failing=frozenset({"item-1", "item-2"})), requests, ledger)
    assert [a.error is not None for a in asked.answers] == [False, True, True, False]
    assert (asked.spend.calls, asked.spend.failed, asked.spend.failures) == (2, 2, {"Too long.": 2})
    assert ledger.count() == 2
    later = Recorder()
    ask(later, requests, ledger)
    assert sorted(r.item for r in later.asked) == ["item-1", "item-2"]


def test_a_setting_the_teacher_cannot_take_is_refused_before_anything_is_asked(ledger: Ledger) -> None:
    teacher = Recorder()
    with pytest.raises(UnsupportedSettingError, match="recorder cannot take the setting 'top_p'; nothing was sent"):
        ask(teacher, [request(1), request(2, top_p=0.9)], ledger)
    assert teacher.asked == []


def test_every_group_is_stored_before_it_counts(ledger: Ledger, tmp_path: Path) -> None:
    seen = []

    def on_progress(tally: Tally) -> None:
        with Ledger(tmp_path / "ledger") as reader:
            seen.append((tally.done, tally.total, reader.count()))

    ask(Recorder(), [request(n) for n in range(5)], ledger, on_progress=on_progress)
    assert seen == [(0, 5, 0), (2, 5, 2), (4, 5, 4), (5, 5, 5)]


def test_a_fault_of_the_teacher_ends_the_run_and_keeps_what_came_before(ledger: Ledger) -> None:
    requests = [request(n) for n in range(6)]
    with pytest.raises(CredentialsError, match="withdrawn"):
        ask(Recorder(break_after=4), requests, ledger)
    assert ledger.count() == 4
    healed = Recorder()
    assert ask(healed, requests, ledger).spend.calls == 6
    assert len(healed.asked) == 2


def test_when_storing_fails_the_teacher_is_stopped(ledger: Ledger) -> None:
    def no_more_writing(_tally: Tally) -> None:
        ledger._db.execute("PRAGMA query_only = ON")

    teacher = Recorder()
    with pytest.raises(StorageError) as caught:
        ask(teacher, [request(n) for n in range(6)], ledger, on_progress=no_more_writing)
    assert teacher.closed  # by the engine: the error's traceback still holds the generator here
    assert caught.tb is not None
    assert len(teacher.asked) == 2


def test_an_answer_that_another_run_stored_meanwhile_is_the_one_that_counts(ledger: Ledger) -> None:
    class Overtaken(Recorder):
        def one(self, request: Request) -> Answer:
            ledger.put(self.name, [Entry(self.key(request), request, Completion("the other run's answer"))])
            return super().one(request)

    asked = ask(Overtaken(), [request(1)], ledger)
    assert asked.answers[0].completion is not None
    assert asked.answers[0].completion.text == "the other run's answer"


def test_money_is_the_price_of_all_tokens_and_unknown_without_a_price(ledger: Ledger) -> None:
    requests = [request(n) for n in range(4)]
    assert ask(Recorder(), requests[:2], ledger).spend.usd is None
    spend = ask(Recorder(), requests, ledger, price=Price(Decimal(2), Decimal(10))).spend
    assert (spend.input_tokens, spend.output_tokens) == (400, 40)
    assert spend.usd == pytest.approx((400 * 2 + 40 * 10) / 1e6)
    assert ask(Recorder(), requests, ledger, price=FREE).spend.usd == 0.0


def test_no_requests_is_no_work(ledger: Ledger) -> None:
    teacher = Recorder()
    assert ask(teacher, [], ledger).answers == []
    assert not teacher.closed  # it was not even called


def test_a_teacher_that_forgets_a_request_is_a_fault_of_the_program(ledger: Ledger) -> None:
    class Forgetful(Recorder):
        def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
            yield [self.one(next(iter(requests)))]

    with pytest.raises(RuntimeError, match="left 1 requests without an answer"):
        ask(Forgetful(), [request(1), request(2)], ledger)


def test_when_the_time_is_over_nothing_more_is_sent_and_the_rest_is_asked_later(ledger: Ledger) -> None:
    sent: list[str] = []

    def script(one: Request) -> str:
        sent.append(one.item)
        return f"answer to {one.item}"

    teacher, requests = ScriptedTeacher(script), [request(n) for n in range(5)]
    with pytest.raises(PartFinished, match="Requests to scripted left: 5"):
        ask(teacher, requests, ledger, until=Over(0))
    assert sent == []
    with pytest.raises(PartFinished, match="Requests to scripted left: 3"):
        ask(teacher, [*requests, requests[0]], ledger, until=Over(2))
    assert sent == ["item-0", "item-1"]
    asked = ask(teacher, requests, ledger)
    assert sent == [f"item-{n}" for n in range(5)]
    assert (asked.spend.calls, asked.spend.from_ledger, len(asked.answers)) == (5, 2, 5)


def test_a_time_that_ends_with_the_last_answer_ends_nothing(ledger: Ledger) -> None:
    requests = [request(n) for n in range(600)]  # more than are looked up at a time
    first, rest = requests[:2], requests[2:]
    whole = ask(Recorder(), requests, ledger)
    with Ledger(":memory:") as other:
        ask(Recorder(), rest, other)
        asked = ask(ScriptedTeacher(lambda one: "yes"), [], other, until=Over(0))
        assert asked.answers == []
        late = ask(Recorder(), [*first, *rest], other, until=Over(1))
    assert [a.request for a in late.answers] == requests
    assert all(a.completion for a in late.answers)
    assert late.spend.calls == whole.spend.calls == 600


def test_failures_are_not_left(ledger: Ledger) -> None:
    requests = [request(n) for n in range(2)]
    asked = ask(Recorder(frozenset({"item-1"})), requests, ledger, until=Over(1))
    assert [a.error is None for a in asked.answers] == [True, False]
