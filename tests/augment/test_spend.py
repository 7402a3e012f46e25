"""What two settings ask alike is counted and paid once."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

import pytest

from preceptor.augment.stage import spend_of
from preceptor.records import Spend
from preceptor.teachers.prices import Price, dollars

PRICE = Price(Decimal(1_000_000), Decimal(2_000_000))  # a dollar per token read, two per token written


def asked(calls: dict[str, list[int]], from_ledger: int) -> dict[str, object]:
    read, written = (sum(tokens[i] for tokens in calls.values()) for i in (0, 1))
    spend = Spend(len(calls), from_ledger, read, written, dollars(PRICE.of(read, written)))
    return {"calls": calls, "spend": asdict(spend)}


def test_a_call_of_two_stages_counts_once() -> None:
    known: set[str] = set()
    first = spend_of(asked({"a": [10, 1, 0], "b": [20, 2, 0]}, 0), known, PRICE)
    second = spend_of(asked({"b": [20, 2, 0], "c": [30, 3, 0]}, 1), known, PRICE)
    both = first.plus(second)
    assert (both.calls, both.from_ledger, both.input_tokens, both.output_tokens) == (3, 0, 60, 6)
    assert both.usd == pytest.approx(60 + 12)
    assert known == {"a", "b", "c"}


def test_an_unknown_price_stays_unknown() -> None:
    assert spend_of(asked({"a": [1, 1, 0]}, 0), set(), None).usd is None
