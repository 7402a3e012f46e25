"""The forecast holds what asking then really takes, and sends nothing."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from chaos_server import ChaosServer

from preceptor.config import TeacherSettings
from preceptor.records import Message, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.ask import gather
from preceptor.teachers.estimate import Forecast, Range, forecast, sentences
from preceptor.teachers.openai import OpenAITeacher
from preceptor.teachers.prices import Price
from preceptor.teachers.scripted import ScriptedTeacher

PRICE = Price(Decimal("0.15"), Decimal("0.60"))


def requests(count: int) -> list[Request]:
    text = "Does the new treatment shorten the stay in hospital of older patients? " * 8
    return [Request((Message("user", f"{n}. {text}"),), Sampling(max_tokens=64), item=f"q{n}") for n in range(count)]


def settings(base_url: str, **more: object) -> TeacherSettings:
    values = {"kind": "openai", "model": "m", "base_url": base_url, "key_required": False, **more}
    return TeacherSettings.model_validate(values)


def holds(values: Range, true: float) -> bool:
    return values.low <= true <= values.high


def test_the_ranges_hold_what_it_then_takes_and_narrow_once_something_was_measured(tmp_path: Path) -> None:
    with ChaosServer(latency_s=0.6, words=30) as server, Ledger(tmp_path / "ledger") as ledger:
        told = settings(server.base_url, concurrency=25)
        teacher = OpenAITeacher(told)
        made = forecast(teacher, requests(50), ledger, told, PRICE)
        assert server.books()["asked"] == {}
        assert (made.requests, made.in_ledger, made.measured) == (50, 0, False)
        spend = gather(teacher, requests(25), ledger, price=PRICE).spend
        assert holds(made.input_tokens, 2 * spend.input_tokens)
        assert holds(made.output_tokens, 2 * spend.output_tokens)
        assert made.usd is not None
        assert spend.usd is not None
        assert holds(made.usd, 2 * spend.usd)
        later = forecast(teacher, requests(50), ledger, told, PRICE)
        assert (later.requests, later.in_ledger, later.measured) == (25, 25, True)
        assert holds(later.input_tokens, spend.input_tokens)
        assert later.output_tokens.typical == spend.output_tokens == 25 * 30
        assert later.input_tokens.high - later.input_tokens.low < 0.4 * (made.input_tokens.high - made.input_tokens.low)
        assert later.seconds is not None
        assert holds(later.seconds, 0.6)


def test_limits_per_minute_set_the_time(tmp_path: Path) -> None:
    told = settings("http://127.0.0.1:9/v1", requests_per_minute=10)
    with Ledger(tmp_path / "ledger") as ledger:
        made = forecast(OpenAITeacher(told), requests(50), ledger, told, None)
    assert made.seconds == Range(300, 300, 300)
    assert made.usd is None
    with Ledger(tmp_path / "ledger") as ledger:
        batch = settings("http://127.0.0.1:9/v1", mode="batch")
        assert forecast(OpenAITeacher(batch), requests(50), ledger, batch, None).seconds is None


def test_equal_requests_count_once(tmp_path: Path) -> None:
    told = TeacherSettings(kind="scripted")
    with Ledger(tmp_path / "ledger") as ledger:
        assert forecast(ScriptedTeacher(), requests(3) * 2, ledger, told, PRICE).requests == 3


def test_the_sentences_say_what_is_unknown_and_whether_the_budget_is_enough() -> None:
    made = Forecast("t", 10, 5, Range(1, 2, 3), Range(10, 20, 30), Range(0.5, 1.0, 2.0), None, "a list", measured=False)
    said = "\n".join(sentences(made, max_usd=1.5, max_tokens=100))
    assert "Requests to send: 10 (5 more are answered already)" in said
    assert "about $1.0000 ($0.5000 to $2.0000), prices from a list" in said
    assert "$1.5, which may end the run early" in said
    assert "100 tokens, which is enough" in said
    assert "Time: not known" in said
    unpriced = Forecast("t", 1, 0, Range(1, 1, 1), Range(1, 1, 1), None, None, "", measured=True)
    assert "Money: unknown" in "\n".join(sentences(unpriced))
