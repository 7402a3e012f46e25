"""The budget holds: at every moment, with any number of requests in flight, through faults and kills."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from chaos_server import ChaosServer

from preceptor.config import BudgetSettings, TeacherSettings
from preceptor.errors import BudgetError, RecipeError, TeacherError
from preceptor.records import Completion, Message, Request, Sampling
from preceptor.store.ledger import PICO, Entry, Ledger
from preceptor.teachers.ask import ask, gather
from preceptor.teachers.budget import Budget
from preceptor.teachers.openai import OpenAITeacher
from preceptor.teachers.prices import Price

PRICE = Price(Decimal("0.15"), Decimal("0.60"))


def teacher(server: ChaosServer, **settings: object) -> OpenAITeacher:
    values = {"kind": "openai", "model": "m", "base_url": server.base_url, "key_required": False, **settings}
    return OpenAITeacher(TeacherSettings.model_validate(values), first_wait_s=0.02)


def requests(count: int, max_tokens: int = 64) -> Iterator[Request]:
    for n in range(count):
        yield Request(
            (Message("user", f"question {n} " + "of some length " * 20),), Sampling(max_tokens=max_tokens), f"q{n}"
        )


def charged(server: ChaosServer) -> int:
    """Picodollars that the provider would bill."""
    books = server.books()
    return PRICE.of(books["charged_input"], books["charged_output"])


@pytest.mark.parametrize("faults", [0.0, 0.3])
def test_with_200_in_flight_the_provider_never_bills_more_than_the_limit(tmp_path: Path, faults: float) -> None:
    # "hang" is left out: only the test's time would grow.
    kinds = ("500", "502", "reset", "truncated", "not json", "429", "503")
    limits = BudgetSettings(max_usd=0.012)
    with (
        ChaosServer(seed=1, faults=faults, kinds=kinds, latency_s=0.1, words=60) as server,
        Ledger(tmp_path / "ledger") as ledger,
    ):
        asking = teacher(server, concurrency=200, timeout_s=5)
        gathered = gather(asking, requests(3000), ledger, price=PRICE, limits=limits)
        billed, peak = charged(server), server.books()["peak"]
        assert peak > 30  # a budget that lets one request through at a time would prove nothing
        assert gathered.stopped == "budget"
        assert billed <= 0.012 * PICO
        assert billed + ledger.outstanding().picodollars > 0.9 * 0.012 * PICO  # and it is used
        assert ledger.spent().picodollars + ledger.outstanding().picodollars <= 0.012 * PICO
        assert gathered.spend.calls == ledger.count() > 50
        # Started again without more budget nothing is sent; with more it goes on where it was.
        asked = sum(server.books()["asked"].values())
        assert gather(asking, requests(3000), ledger, price=PRICE, limits=limits).stopped == "budget"
        assert sum(server.books()["asked"].values()) == asked
        more = gather(asking, requests(3000), ledger, price=PRICE, limits=BudgetSettings(max_usd=0.02))
        assert more.spend.calls > gathered.spend.calls
        assert more.spend.from_ledger == gathered.spend.calls
        assert charged(server) <= 0.02 * PICO


def test_tokens_can_be_limited_without_a_price(tmp_path: Path) -> None:
    with ChaosServer(latency_s=0.02, words=60) as server, Ledger(tmp_path / "ledger") as ledger:
        gather(teacher(server, concurrency=50), requests(500), ledger, limits=BudgetSettings(max_tokens=20_000))
        books = server.books()
        assert 15_000 < books["charged_input"] + books["charged_output"] <= 20_000


def test_a_list_that_the_budget_cuts_short_is_an_error_that_keeps_the_answers(tmp_path: Path) -> None:
    with ChaosServer() as server, Ledger(tmp_path / "ledger") as ledger:
        limits = BudgetSettings(max_tokens=3000)
        with pytest.raises(
            BudgetError, match=r"budget is used up: [\d,]+ of 3,000 tokens; \d+ of 50 requests"
        ) as caught:
            ask(teacher(server), list(requests(50)), ledger, limits=limits)
        assert "run the same command again" in caught.value.hint
        assert ledger.count() > 0


def test_who_wants_the_answers_that_the_budget_allows_gets_them_and_no_others(tmp_path: Path) -> None:
    with ChaosServer() as server, Ledger(tmp_path / "ledger") as ledger:
        given, limits = list(requests(50)), BudgetSettings(max_tokens=3000)
        asked = ask(teacher(server), given, ledger, limits=limits, partly=True)
        assert 0 < len(asked.answers) < 50
        assert len(asked.answers) == asked.spend.calls == ledger.count()
        assert all(answer.completion is not None for answer in asked.answers)
        places = [given.index(answer.request) for answer in asked.answers]
        assert places == sorted(places)
        assert "of 3,000 tokens" in asked.stopped
        enough = ask(teacher(server), given, ledger, limits=BudgetSettings(max_tokens=10**6), partly=True)
        assert (len(enough.answers), enough.stopped) == (50, "")


def test_what_a_killed_run_had_in_flight_counts_in_full(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        first = Budget(ledger, PRICE, BudgetSettings(max_usd=1e-3))
        room = first.reserve("q0", 4000, 500)
        assert room is not None
        assert room.picodollars == PRICE.of(4000, 500) == 900_000_000
    with Ledger(tmp_path / "ledger") as ledger:  # nothing was settled
        second = Budget(ledger, PRICE, BudgetSettings(max_usd=1e-3))
        assert second.reserve("q1", 4000, 500) is None
        assert second.idle
        assert "for requests whose end is not known" in second.sentence()


def test_a_request_that_cost_nothing_frees_its_room(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        budget = Budget(ledger, PRICE, BudgetSettings(max_tokens=100))
        for _ in range(5):
            room = budget.reserve("q", 60, 40)
            assert room is not None
            assert budget.reserve("q", 60, 40) is None
            assert not budget.idle
            budget.release(room)
        assert ledger.outstanding().tokens == 0


def test_an_endpoint_that_counts_more_than_was_sent_ends_the_run(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        budget = Budget(ledger, PRICE, BudgetSettings(max_tokens=10_000))
        room = budget.reserve("q", 60, 40)
        assert room is not None
        with pytest.raises(TeacherError, match="counted 5000 tokens for a request that was bounded at 100"):
            budget.settle(room, Completion("x", input_tokens=4000, output_tokens=1000))


def test_an_answer_without_counts_costs_what_was_reserved(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        budget = Budget(ledger, PRICE, BudgetSettings(max_tokens=150))
        room = budget.reserve("q", 60, 40)
        assert room is not None
        budget.settle(room, Completion("no usage in the reply"))
        assert budget.used.tokens == 100
        assert ledger.outstanding().tokens == 100


def test_money_without_a_price_is_an_error_and_never_free(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        with pytest.raises(RecipeError, match=r"budget\.max_usd is set, but the price .* is not known"):
            Budget(ledger, None, BudgetSettings(max_usd=1))
        request = Request((Message("user", "q"),), Sampling())
        ledger.put("t", [Entry("k", request, Completion("x"))])
        with pytest.raises(RecipeError, match=r"1 calls in .* were made without a known price"):
            Budget(ledger, PRICE, BudgetSettings(max_usd=1))
