"""How the loop that writes tasks ends, goes on after a stop, and what it says before and while it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from writing_runs import SEEDS, Counting, go, number_of, plain, settings, task, words

from given_times import Over
from preceptor.config import BudgetSettings, PhiSettings, TeacherSettings
from preceptor.errors import BatchPending, PartFinished, PrivacyError, RecipeError, TeacherError
from preceptor.pipeline.writing import write_tasks
from preceptor.pipeline.writing_forecast import forecast_writing
from preceptor.pipeline.writing_records import Asking, EvenSample, Standing
from preceptor.records import Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import Price

# --- ends ----------------------------------------------------------------------------------------------------------


def test_the_most_requests() -> None:
    written = go(settings(max_requests=11), Counting(lambda r: task(number_of(r))))
    assert (written.funnel.requests, written.funnel.kept) == (11, 11)
    assert written.funnel.stopped == "all 11 requests that the recipe allows were made"


def test_the_least_yield() -> None:
    def drying_up(request: Request) -> str:
        return task(min(number_of(request), 10))

    written = go(settings(min_yield=0.2, window=16), Counting(drying_up))
    assert written.funnel.kept == 11
    # 8 of 8, then 3 of 8, then none of 8: the last two rounds hold 3 of 16.
    assert written.funnel.requests == 24
    assert written.funnel.stopped == (
        "of the last 16 requests 3 of 16 tasks were kept, less than the least yield of 0.2"
    )
    assert go(settings(min_yield=0.1, window=16), Counting(drying_up)).funnel.requests == 32
    assert go(settings(min_yield=0.2, window=40, max_requests=200), Counting(drying_up)).funnel.requests == 48


def test_answers_without_any_task_are_the_least_yield_too() -> None:
    written = go(settings(window=8), Counting(lambda r: "What a day."))
    assert written.funnel.requests == 8
    assert "0 of 0 tasks were kept" in written.funnel.stopped
    assert written.kept == []


@pytest.mark.parametrize("outputs", ["together", "separate"])
def test_parts_of_a_given_time_come_to_the_same_tasks(outputs: Any, tmp_path: Path) -> None:
    made = settings(target=20, outputs=outputs, categories="teacher", pool="growing")
    whole, parts = go(made, Counting(lambda r: task(number_of(r)))), 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        while True:
            try:
                found = go(made, Counting(lambda r: task(number_of(r))), ledger, until=Over(5))
            except PartFinished:
                parts += 1
            else:
                break
    assert 3 < parts < 40
    assert (found.kept, found.dropped, found.funnel) == (whole.kept, whole.dropped, whole.funnel)


class Frugal(Counting):
    """Takes room in the budget as a teacher behind an endpoint does."""

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        assert control is not None
        for request in requests:
            room = control.budget.reserve(request.item, 200, 100)
            if room is None:
                control.stopped = "budget"
                return
            answer = self._answer(request)
            assert answer.completion is not None
            control.budget.settle(room, answer.completion)
            yield [replace(answer, ticket=room.ticket)]


@pytest.mark.parametrize("outputs", ["together", "separate"])
def test_a_used_up_budget_ends_the_loop_and_loses_nothing(outputs: str, tmp_path: Path) -> None:
    made = settings(outputs=outputs, categories="teacher")
    with Ledger(tmp_path / "whole.sqlite") as whole:
        everything = go(made, Frugal(), whole)
    terms = {"price": Price(10**6, 10**6), "limits": BudgetSettings(max_tokens=7000)}
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = go(made, Frugal(), ledger, **terms)
        assert 0 < first.funnel.kept < 30
        assert first.funnel.stopped.startswith("the budget is used up: ")
        assert "of 7,000 tokens" in first.funnel.stopped
        assert first.funnel.unreadable == {}  # what was not sent is no failure
        again = go(made, Frugal(), ledger, **terms)
        assert plain(again) == plain(first)
        # With more of it the loop goes on to what it would have been at once.
        rest = Frugal()
        raised = go(made, rest, ledger, price=terms["price"], limits=BudgetSettings(max_tokens=10**6))
        assert plain(raised) == plain(everything)
        assert len(rest.asked) == everything.spend.calls - first.spend.calls
    assert raised.spend.usd is not None


def test_an_interrupt_passes_on_and_the_next_start_asks_only_what_is_missing(tmp_path: Path) -> None:
    made = settings(pool="growing", categories="teacher")
    whole = go(made, Counting())

    class Interrupted(Counting):
        def _answer(self, request: Request) -> Answer:
            if len(self.asked) == 21:
                raise KeyboardInterrupt
            return super()._answer(request)

    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(KeyboardInterrupt):
            go(made, Interrupted(), ledger)
        rest = Counting()
        again = go(made, rest, ledger)
    assert plain(again) == plain(whole)
    assert len(rest.asked) == whole.spend.calls - 21
    assert again.spend.from_ledger == 21


@pytest.mark.parametrize("outputs", ["together", "separate"])
def test_a_restart_after_any_round_comes_to_the_same_byte_for_byte(outputs: str, tmp_path: Path) -> None:
    made = settings(outputs=outputs, pool="growing", categories="teacher", tasks_per_answer=2)
    whole = go(made, Counting())

    class Killed(Exception):
        pass

    for rounds in (1, 2, 3):
        seen: list[int] = []

        def kill(standing: Standing, seen: list[int] = seen, rounds: int = rounds) -> None:
            if not standing.asking:
                seen.append(standing.kept)
            if len(seen) == rounds:
                raise Killed

        with Ledger(tmp_path / f"{outputs}-{rounds}.sqlite") as ledger:
            with pytest.raises(Killed):
                go(made, Counting(), ledger, kill)
            done = ledger.count()
            rest = Counting()
            assert plain(go(made, rest, ledger)) == plain(whole)
            assert len(rest.asked) == whole.spend.calls - done
            nobody = Counting()
            assert plain(go(made, nobody, ledger)) == plain(whole)
            assert nobody.asked == []


class Failing(Counting):
    """Some requests fail."""

    def __init__(self, fails: Callable[[Request], bool]) -> None:
        super().__init__(lambda r: task(number_of(r)))
        self.fails = fails

    def _answer(self, request: Request) -> Answer:
        if self.fails(request):
            return Answer(request, error=TeacherError("Hung up.", "Try again."))
        return super()._answer(request)


def test_requests_that_fail_are_counted() -> None:
    written = go(settings(max_requests=16), Failing(lambda r: number_of(r) % 4 == 0))
    assert written.funnel.unreadable == {"no_answer_from_teacher": 4}
    assert written.funnel.kept == 12
    assert written.spend.failed == 4


def test_a_first_round_without_an_answer_is_an_error() -> None:
    with pytest.raises(TeacherError, match=r"answered none of 8 requests; the first: Hung up\."):
        go(settings(), Failing(lambda r: True))


def test_a_later_round_without_an_answer_ends_the_loop() -> None:
    written = go(settings(), Failing(lambda r: number_of(r) >= 8))
    assert written.funnel.kept == 8
    assert written.funnel.stopped == "the teacher answered none of the last 8 requests: Hung up."


def test_outputs_that_fail_drop_their_tasks() -> None:
    written = go(settings(outputs="separate", max_requests=4), Failing(lambda r: r.item == "output/instruct-2-0"))
    assert written.funnel.dropped == {"no_output_from_teacher": 1}
    assert written.funnel.kept == 3


def test_too_few_seeds_are_refused_before_anything_is_asked() -> None:
    teacher = Counting()
    with Ledger(":memory:") as ledger, pytest.raises(RecipeError, match="only 2 seeds"):
        write_tasks(settings(), SEEDS[:2], Asking(teacher, Sampling(), ledger))
    assert teacher.asked == []


# --- other terms ---------------------------------------------------------------------------------------------------


class Batches(Counting):
    """Hands in what it was not asked before, and has it the next time."""

    def __init__(self) -> None:
        super().__init__()
        self.handed_in: set[str] = set()

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        given = list(requests)
        waiting = [request for request in given if self.key(request) not in self.handed_in]
        self.handed_in |= {self.key(request) for request in waiting}
        if waiting:
            raise BatchPending("Waiting.")
        yield [self._answer(request) for request in given]


def test_batches_go_round_by_round(tmp_path: Path) -> None:
    made = settings(categories="teacher")
    whole, teacher, pending = go(made, Counting()), Batches(), 0
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        while True:
            try:
                written = go(made, teacher, ledger)
                break
            except BatchPending:
                pending += 1
    assert plain(written) == plain(whole)
    assert pending >= 4  # tasks and categories of at least two rounds
    assert len(teacher.asked) == whole.spend.calls  # nothing was asked twice


def test_the_gate_sees_every_request() -> None:
    seeds = [replace(seed, input="Call me at 212-555-0182, says Mrs. Agnes Miller.") for seed in SEEDS]
    remote = TeacherSettings(kind="openai", model="m", key_required=False, phi=PhiSettings(names=False))
    teacher = Counting()
    with Ledger(":memory:") as ledger, pytest.raises(PrivacyError):
        write_tasks(settings(), seeds, Asking(teacher, Sampling(), ledger, gate=make_gate(remote)))
    assert teacher.asked == []


def test_progress_says_what_was_kept_and_why_the_rest_was_not() -> None:
    seen: list[Standing] = []
    go(settings(), Counting(lambda r: task(number_of(r) // 2)), on_progress=seen.append)
    last = seen[-1]
    assert (last.kept, last.target, last.asking) == (30, 30, "")
    assert last.asked == last.candidates
    assert "30 of 30 kept" in last.words
    assert f"{last.dropped['duplicate']} duplicate" in last.words
    assert any(standing.asking for standing in seen)
    assert [s.kept for s in seen] == sorted(s.kept for s in seen)


def test_an_even_sample_is_every_nth() -> None:
    sample = EvenSample(10)
    for place in range(1000):
        if sample.wants(place):
            sample.add(place, float(place))
    values = sample.values
    assert 10 <= len(values) < 20
    assert len({b - a for a, b in pairwise(values)}) == 1
    few = EvenSample(10)
    for place in (0, 2, 3):
        few.add(place, float(place))
    assert few.values == [0.0, 2.0, 3.0]


def test_deciles_of_the_nearest_are_those_of_the_kept() -> None:
    texts = {number: f"Name a thing of {words(number, 6)}." for number in (0, 1)}
    written = go(settings(max_requests=2), Counting(lambda r: task(number_of(r), instruction=texts[number_of(r)])))
    # The first shares "a" with seeds of seven words ("Is a pound heavier than an ounce?"): 2 * 1 / (10 + 7) at most.
    assert written.funnel.nearest_f[0] == pytest.approx(2 * 1 / (10 + 5))
    assert written.funnel.nearest_f[-1] == pytest.approx(2 * 4 / 20)


# --- the forecast --------------------------------------------------------------------------------------------------


def test_the_forecast_spans_good_and_bad_yields() -> None:
    terms = TeacherSettings(kind="scripted", usd_per_million_input=1.0, usd_per_million_output=2.0)
    price = Price(10**6, 2 * 10**6)
    made = settings(target=3000, outputs="separate", categories="teacher", tasks_per_answer=2)
    teacher = Counting()
    with Ledger(":memory:") as ledger:
        lines = forecast_writing(made, SEEDS, teacher, ledger, terms, price, BudgetSettings(max_usd=0.001))
        assert teacher.asked == []
        assert ledger.count() == 0
    text = "\n".join(lines)
    assert "Tasks: 3,000 from 9 seeds" in text
    assert "100% to 30%" in text
    assert "Requests for tasks: 1,500 to 5,000" in text
    assert "Requests for outputs: 3,000 to 10,000" in text
    assert "Requests for categories: 3,000" in text
    assert "prices from the recipe" in text
    assert "which will end the run early" in text
    low, high = (int(n.replace(",", "")) for n in re.search(r"Tokens written: ([\d,]+) to ([\d,]+)", text).groups())  # type: ignore[union-attr]
    assert low == pytest.approx(0.1 * (256 * (1500 + 3000) + 32 * 3000), rel=0.01)
    assert high == pytest.approx(256 * (5000 + 10000) + 32 * 3000, rel=0.01)


def test_the_forecast_of_a_capped_recipe_and_an_unknown_price() -> None:
    terms = TeacherSettings(kind="openai", model="nobody-knows", key_required=False)
    with Ledger(":memory:") as ledger:
        lines = forecast_writing(settings(max_requests=7), SEEDS, Counting(), ledger, terms, None, BudgetSettings())
    assert "Requests for tasks: 7" in lines
    assert any(line.startswith("Money: unknown") for line in lines)
    assert not any("categories" in line for line in lines)


def test_the_forecast_measures_on_what_was_answered() -> None:
    terms = TeacherSettings(kind="scripted")
    with Ledger(":memory:") as ledger:
        go(settings(), Counting(), ledger)
        lines = forecast_writing(settings(), SEEDS, Counting(), ledger, terms, None, BudgetSettings())
    assert "Measured on earlier answers in this run." in lines
    assert any(line.startswith("In the ledger already") for line in lines)
