"""What a teacher's tokens cost: the recipe's prices, else those of the package genai-prices, else unknown.

Money is computed in whole picodollars, so sums are exact and a price of 0.0375 dollars per million tokens is one.
An unknown price is None, never zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal

from preceptor.config import TeacherSettings
from preceptor.errors import RecipeError
from preceptor.store.ledger import PICO
from preceptor.teachers.capabilities import address_of

MILLION = 10**6


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens."""

    input: Decimal
    output: Decimal
    cached_input: Decimal | None = None
    """Of input tokens that the endpoint had in its cache; None: as other input."""
    discount: Decimal = Decimal(1)
    """Factor on everything: 0.5 through a batch interface."""
    long: tuple[tuple[int, Price], ...] = ()
    """Other prices from so many input tokens on, by rising number."""
    source: str = "the recipe"

    def of(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Picodollars for so many tokens, rounded up; `cached_tokens` are among `input_tokens`."""
        for start, price in reversed(self.long):
            if input_tokens > start:
                return price.of(input_tokens, output_tokens, cached_tokens)
        cached_input = self.input if self.cached_input is None else self.cached_input
        tokens = (
            self.input * (input_tokens - cached_tokens) + cached_input * cached_tokens + self.output * output_tokens
        )
        return int((self.discount * tokens * PICO / MILLION).to_integral_value(ROUND_CEILING))


FREE = Price(Decimal(0), Decimal(0), source="no endpoint")


def dollars(picodollars: int) -> float:
    """The sum as people read it."""
    return picodollars / PICO


def price_of(teacher: TeacherSettings) -> Price | None:
    """The price of a teacher's tokens; `FREE` when it runs on this machine, None when nobody knows it.

    Raises `RecipeError` when the recipe gives only one of the two prices.
    """
    if teacher.kind in ("local", "scripted"):
        return FREE
    discount = Decimal(str(teacher.batch_discount)) if teacher.mode == "batch" else Decimal(1)
    given = (teacher.usd_per_million_input, teacher.usd_per_million_output)
    if (given[0] is None) != (given[1] is None):
        raise RecipeError(
            "Only one of teacher.usd_per_million_input and teacher.usd_per_million_output is given.",
            "Give both, or none to take the listed prices.",
        )
    if given[0] is not None and given[1] is not None:
        cached = teacher.usd_per_million_cached_input
        return Price(
            Decimal(str(given[0])),
            Decimal(str(given[1])),
            None if cached is None else Decimal(str(cached)),
            discount,
        )
    return _listed(teacher, discount)


def _listed(teacher: TeacherSettings, discount: Decimal) -> Price | None:
    from genai_prices import Usage, calc_price

    try:
        found = calc_price(Usage(), model_ref=teacher.model, provider_api_url=address_of(teacher))
    except LookupError:
        return None
    price = found.model_price
    rates = {name: getattr(price, name) for name in ("input_mtok", "output_mtok", "cache_read_mtok")}
    if rates["input_mtok"] is None or rates["output_mtok"] is None:
        return None
    starts = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
    source = f"genai-prices ({found.provider.id}, {found.model.id})"

    def at(tokens: int, long: tuple[tuple[int, Price], ...] = ()) -> Price:
        here = {name: _rate(rate, tokens) for name, rate in rates.items()}
        return Price(
            here["input_mtok"] or Decimal(0),
            here["output_mtok"] or Decimal(0),
            here["cache_read_mtok"],
            discount,
            long,
            source,
        )

    return at(0, tuple((start, at(start + 1)) for start in starts))


def _rate(rate: object, tokens: int) -> Decimal | None:
    """A rate at so many input tokens: a number, or a base with tiers above it."""
    if rate is None or isinstance(rate, Decimal):
        return rate
    value: Decimal = rate.base  # type: ignore[attr-defined]
    for tier in sorted(rate.tiers, key=lambda tier: tier.start):  # type: ignore[attr-defined]
        if tokens > tier.start:
            value = tier.price
    return value
