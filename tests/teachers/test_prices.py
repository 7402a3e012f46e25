"""Prices: the recipe's, the listed ones, or unknown; never zero by default, never rounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from genai_prices import Usage, calc_price

from preceptor.config import TeacherSettings
from preceptor.errors import RecipeError
from preceptor.teachers.prices import FREE, Price, dollars, price_of


def settings(**values: object) -> TeacherSettings:
    return TeacherSettings.model_validate({"kind": "openai", "model": "gpt-4o-mini", **values})


def test_decimals_are_kept() -> None:
    price = Price(Decimal("0.0375"), Decimal("0.15"))
    assert price.of(1, 0) == 37_500
    assert sum(price.of(1, 1) for _ in range(1000)) == price.of(1000, 1000) == 187_500_000
    assert dollars(price.of(10**6, 0)) == 0.0375


def test_cached_input_and_batches_cost_less() -> None:
    price = Price(Decimal(2), Decimal(8), cached_input=Decimal("0.5"))
    assert price.of(100, 10, cached_tokens=60) == (40 * 2 + 60 * 0.5 + 10 * 8) * 10**6
    assert Price(Decimal(2), Decimal(8), discount=Decimal("0.5")).of(100, 10) == (200 + 80) // 2 * 10**6


@pytest.mark.parametrize(("model", "provider"), [("gpt-4o-mini", "openai"), ("claude-sonnet-4-5", "anthropic")])
@pytest.mark.parametrize(("read", "written", "cached"), [(1000, 500, 0), (90_000, 10, 4000), (250_000, 3, 1)])
def test_listed_prices_are_those_of_the_package(
    model: str, provider: str, read: int, written: int, cached: int
) -> None:
    price = price_of(settings(kind=provider, model=model))
    assert price is not None
    usage = Usage(input_tokens=read, output_tokens=written, cache_read_tokens=cached)
    listed = calc_price(usage, model_ref=model, provider_id=provider).total_price
    assert price.of(read, written, cached) == listed * 10**12
    assert price.source == f"genai-prices ({provider}, {model})"


def test_the_recipe_s_prices_come_first() -> None:
    price = price_of(settings(usd_per_million_input=1.25, usd_per_million_output=10))
    assert price == Price(Decimal("1.25"), Decimal(10))


def test_one_price_alone_is_refused() -> None:
    with pytest.raises(RecipeError, match="Only one of"):
        price_of(settings(usd_per_million_input=1.25))


@pytest.mark.parametrize("values", [{"model": "my-model"}, {"base_url": "http://127.0.0.1:8000/v1"}])
def test_what_nobody_lists_is_unknown(values: dict[str, str]) -> None:
    assert price_of(settings(**values)) is None


def test_batches_take_the_discount_and_local_teachers_cost_nothing() -> None:
    live, batch = price_of(settings()), price_of(settings(mode="batch"))
    assert live is not None
    assert batch is not None
    assert batch.of(10**6, 0) * 2 == live.of(10**6, 0)
    assert price_of(settings(kind="local")) == price_of(settings(kind="scripted")) == FREE
