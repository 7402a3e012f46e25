"""How many requests are in flight follows what the endpoint bears."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_server import ChaosServer
from faulty_server import FaultyServer, Reply, Seen, good

from preceptor.config import TeacherSettings
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import gather
from preceptor.teachers.limits import Limiter, Pace
from preceptor.teachers.openai import OpenAITeacher
from preceptor.teachers.replies import exhausted_for


def teacher(base_url: str, **settings: object) -> OpenAITeacher:
    values = {"kind": "openai", "model": "m", "base_url": base_url, "key_required": False, **settings}
    return OpenAITeacher(TeacherSettings.model_validate(values), first_wait_s=0.02)


def requests(count: int) -> Iterator[Request]:
    for n in range(count):
        yield Request((Message("user", f"q{n}"),), Sampling(max_tokens=16), item=f"q{n}")


def run(coroutine: object) -> None:
    asyncio.run(coroutine)  # type: ignore[arg-type]


def test_the_window_doubles_until_the_first_complaint_and_then_grows_by_one_a_round_trip() -> None:
    async def scene() -> None:
        limiter = Limiter(1000)
        assert limiter.window == 32
        for _ in range(32):
            limiter.answered()
        assert limiter.window == 64
        limiter.complained(sent=asyncio.get_running_loop().time())
        assert limiter.window == 48
        for _ in range(49):
            limiter.answered()
        assert limiter.window == 49

    run(scene())


def test_one_burst_of_complaints_is_one_decrease() -> None:
    async def scene() -> None:
        limiter = Limiter(32)
        sent = asyncio.get_running_loop().time()
        await asyncio.sleep(0.01)
        for _ in range(20):
            limiter.complained(sent)
        assert limiter.window == 24
        await asyncio.sleep(0.01)
        limiter.complained(asyncio.get_running_loop().time())
        assert limiter.window == 18

    run(scene())


def test_the_window_never_closes_nor_exceeds_the_most() -> None:
    async def scene() -> None:
        limiter = Limiter(5)
        for _ in range(50):
            limiter.answered()
        assert limiter.window == 5
        for n in range(50):
            limiter.complained(asyncio.get_running_loop().time() + n)
        assert limiter.window == 1

    run(scene())


def test_a_cancelled_place_is_handed_on() -> None:
    async def scene() -> None:
        limiter = Limiter(1)

        async def hold(seconds: float) -> None:
            await limiter.enter(1)
            await asyncio.sleep(seconds)
            limiter.leave()

        first = asyncio.create_task(hold(0.05))
        await asyncio.sleep(0)
        second, third = asyncio.create_task(hold(9)), asyncio.create_task(hold(0))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait_for(asyncio.gather(first, third), 2)

    run(scene())


def test_a_pace_is_never_exceeded_in_any_minute() -> None:
    pace, now, starts = Pace(120), 1000.0, []
    for _ in range(400):
        now += pace.wait_for(1, now)
        starts.append(now)
    assert all(sum(s <= t < s + 60 for t in starts) <= 123 for s in starts)
    assert 190 < starts[-1] - starts[0] < 200


def test_a_server_with_room_for_few_is_found_out(tmp_path: Path) -> None:
    with ChaosServer(latency_s=0.03, most_open=12) as server, Ledger(tmp_path / "ledger") as ledger:
        gathered = gather(teacher(server.base_url, concurrency=200), requests(600), ledger)
        books = server.books()
        assert gathered.spend.calls == 600
        assert books["faults"]["429"] < 200  # 200 in flight without adapting would be refused thousands of times
        assert books["peak"] <= 40  # the first window, and what it grew to before the first complaint


def test_requests_and_tokens_per_minute_are_kept(tmp_path: Path) -> None:
    with ChaosServer() as server, Ledger(tmp_path / "ledger") as ledger:
        began = time.monotonic()
        gather(teacher(server.base_url, requests_per_minute=1200), requests(40), ledger)
        assert time.monotonic() - began > 0.9  # 20 a second, of which the first second's worth at once
        began = time.monotonic()
        body = len(b'{"model": "m", "messages": [{"role": "user", "content": "q40"}], "max_tokens": 16}')
        rate = 40 * 60 * (body // 4 + 16)
        ledger.forget_seen()
        gather(teacher(server.base_url, tokens_per_minute=rate, model="other"), requests(80), ledger)
        assert time.monotonic() - began > 0.9


def test_a_limit_that_the_headers_call_used_up_is_waited_for(tmp_path: Path) -> None:
    def behave(seen: Seen) -> Reply:
        headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "400ms"}
        return Reply(body=good().body, headers=headers if seen.text == "q0" else {})

    with FaultyServer(behave) as server, Ledger(tmp_path / "ledger") as ledger:
        gather(teacher(server.base_url, concurrency=1), requests(3), ledger)
        times = [seen.time for seen in server.seen]
    assert times[1] - times[0] > 0.38
    assert times[2] - times[1] < 0.3


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6m0s"}, 360),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1.5s"}, 1.5),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "20ms"}, 0.02),
        ({"x-ratelimit-remaining-requests": "7", "x-ratelimit-reset-requests": "6m0s"}, None),
        (
            {
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2001-01-01T00:00:00Z",
            },
            0,
        ),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "soon"}, None),
        ({}, None),
    ],
)
def test_rate_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert exhausted_for(headers) == (None if seconds is None else pytest.approx(seconds))
