"""Thousands of requests to an endpoint that fails in every way: each ends exactly once, and nothing is made up."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos_server import FAULTS, ChaosServer
from faulty_server import FaultyServer, Reply, Seen, good

from preceptor.config import TeacherSettings
from preceptor.errors import TeacherError
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import answers_of, gather
from preceptor.teachers.openai import OpenAITeacher


def teacher(server: ChaosServer, **settings: object) -> OpenAITeacher:
    values = {"kind": "openai", "model": "m", "base_url": server.base_url, "key_required": False, **settings}
    return OpenAITeacher(TeacherSettings.model_validate(values), first_wait_s=0.02)


def requests(count: int) -> Iterator[Request]:
    for n in range(count):
        yield Request((Message("user", f"question {n}"),), Sampling(max_tokens=16), item=f"q{n}")


def fault_run(count: int, folder: Path) -> tuple[Counter[str], dict[str, Counter[str]]]:
    """Ask `count` requests at 30 % faults; returns how they ended, and the server's books."""
    with ChaosServer(seed=count, faults=0.3, latency_s=0.002) as server, Ledger(folder / "ledger") as ledger:
        asking = teacher(server, concurrency=100, timeout_s=1.0)
        gathered = gather(asking, requests(count), ledger)
        ends: Counter[str] = Counter()
        for answer in answers_of(asking, requests(count), ledger):
            assert (answer.completion is None) != (answer.error is None)
            if answer.error is not None:
                assert answer.error.message != "The request was not sent."
                ends["failed"] += 1
            elif answer.completion is not None:
                expected = 0 if answer.completion.finish == "content_filter" else 5
                assert len(answer.completion.text.split()) == expected
                ends[answer.completion.finish] += 1
        books = {name: Counter(count) for name, count in server.books().items() if isinstance(count, dict)}
    assert gathered.stopped == ""
    assert gathered.spend.calls == sum(ends.values()) - ends["failed"]
    assert gathered.spend.failed == ends["failed"] == sum(gathered.spend.failures.values())
    return ends, books


def check(count: int, folder: Path) -> None:
    ends, books = fault_run(count, folder)
    assert sum(ends.values()) == count
    assert ends["stop"] > 0.9 * count  # nearly all faults pass when tried again
    assert 0 < ends["failed"] < 0.05 * count
    assert len(books["asked"]) == count
    assert set(books["faults"]) == {"", *FAULTS}
    assert max(books["answered"].values()) == 1  # nothing was answered, and so paid, twice


def test_every_request_ends_exactly_once(tmp_path: Path) -> None:
    check(1500, tmp_path)


@pytest.mark.long
def test_twenty_thousand_requests_end_exactly_once(tmp_path: Path) -> None:
    check(20_000, tmp_path)


def test_a_fault_that_all_share_ends_the_run_within_seconds(tmp_path: Path) -> None:
    for kind in ("redirect", "html", "wrong schema"):
        with ChaosServer(faults=1.0, kinds=(kind,)) as server, Ledger(tmp_path / kind) as ledger:
            began = time.monotonic()
            with pytest.raises(TeacherError):
                gather(teacher(server), requests(5000), ledger)
            assert time.monotonic() - began < 5
            assert len(server.books()["asked"]) < 100


def test_one_bad_moment_of_a_gateway_ends_nothing(tmp_path: Path) -> None:
    with ChaosServer(seed=3, faults=0.02, kinds=("redirect",)) as server, Ledger(tmp_path / "ledger") as ledger:
        gathered = gather(teacher(server), requests(300), ledger)
        assert 0 < gathered.spend.failed == server.books()["faults"]["redirect"]
        assert gathered.spend.calls + gathered.spend.failed == 300


def test_three_bad_moments_in_a_row_among_many_answers_end_nothing() -> None:
    def behave(seen: Seen) -> Reply:
        return Reply(307, headers={"Location": "http://127.0.0.1:9/"}) if seen.text in {"q7", "q8", "q9"} else good()

    with FaultyServer(behave) as server:
        values = {"kind": "openai", "model": "m", "base_url": server.base_url, "key_required": False, "concurrency": 1}
        asking = OpenAITeacher(TeacherSettings.model_validate(values))
        asked = [Request((Message("user", f"q{n}"),), Sampling(), item=f"q{n}") for n in range(20)]
        ends = {a.request.item: a.error is None for group in asking.answer(asked) for a in group}
    assert [item for item, answered in ends.items() if not answered] == ["q7", "q8", "q9"]
    assert len(ends) == 20
