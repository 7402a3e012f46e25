"""A hard limit on money and tokens: room is reserved before a request is sent, so the limit holds with any number of
requests in flight.

    spent       answers, at what the endpoint counted
    lost        requests whose end nobody knows (timed out, broken off, killed): at their reservation
    in flight   at their reservation

spent + lost + in flight <= limit, at every moment and over all runs on one ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

from preceptor.config import BudgetSettings
from preceptor.errors import RecipeError, TeacherError
from preceptor.records import Completion
from preceptor.store.ledger import PICO, Ledger
from preceptor.teachers.prices import Price, dollars


@dataclass(frozen=True, slots=True)
class Reservation:
    """Room for one attempt at one request."""

    ticket: int | None
    """Its number in the ledger; None without a budget."""
    tokens: int
    picodollars: int | None


NOTHING = Reservation(None, 0, None)


@dataclass
class _Sum:
    tokens: int = 0
    picodollars: int = 0

    def add(self, tokens: int, picodollars: int | None) -> None:
        self.tokens += tokens
        self.picodollars += picodollars or 0


class Budget:
    """Without a limit every request has room, and nothing is written.

    With one, a reservation is in the ledger before `reserve` returns, so that it also counts after `kill -9`.
    """

    def __init__(
        self, ledger: Ledger | None = None, price: Price | None = None, limits: BudgetSettings | None = None
    ) -> None:
        self.price = price
        self._ledger = ledger
        self._limits = limits if limits is not None and limits.limited else None
        self._in_flight = _Sum()
        self._used = _Sum()  # spent and lost
        self.lost_picodollars = 0
        if self._limits is None or ledger is None:
            return
        if self._limits.max_usd is not None and price is None:
            raise RecipeError(
                "budget.max_usd is set, but the price of the teacher's tokens is not known.",
                "Give teacher.usd_per_million_input and teacher.usd_per_million_output, or use budget.max_tokens.",
            )
        for past in (ledger.spent(), ledger.outstanding()):
            if past.unpriced and self._limits.max_usd is not None:
                raise RecipeError(
                    f"{past.unpriced} calls in {ledger.path} were made without a known price, so budget.max_usd cannot "
                    "be kept.",
                    "Use budget.max_tokens, or start a new run with --out.",
                )
            self._used.add(past.tokens, past.picodollars)
        self.lost_picodollars = ledger.outstanding().picodollars

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._limits is not None

    @property
    def used(self) -> _Sum:
        """All that counts against the limit at the moment, what is in flight included."""
        return _Sum(self._used.tokens + self._in_flight.tokens, self._used.picodollars + self._in_flight.picodollars)

    @property
    def idle(self) -> bool:
        """Whether nothing is in flight, so that waiting would free no room."""
        return self._in_flight.tokens == 0

    def reserve(self, item: str, input_bound: int, output_bound: int) -> Reservation | None:
        """Take room for a request of at most so many tokens; None when there is not enough at the moment."""
        if self._limits is None or self._ledger is None:
            return NOTHING
        tokens = input_bound + output_bound
        picodollars = None if self.price is None else self.price.of(input_bound, output_bound)
        used, most = self.used, self._limits
        if most.max_usd is not None and used.picodollars + (picodollars or 0) > round(most.max_usd * PICO):
            return None
        if most.max_tokens is not None and used.tokens + tokens > most.max_tokens:
            return None
        ticket = self._ledger.reserve(item, tokens, picodollars)
        self._in_flight.add(tokens, picodollars)
        return Reservation(ticket, tokens, picodollars)

    def reserve_once(self, item: str, input_bound: int, output_bound: int) -> bool:
        """Like `reserve`, for a request that may be in flight over several runs: kept until its answer is stored.

        `item` names the reservation; where there is one of that name already, it holds.
        """
        if self._ledger is not None and self.limited and self._ledger.reserved(item):
            return True
        return self.reserve(item, input_bound, output_bound) is not None

    def release(self, reservation: Reservation) -> None:
        """The request cost nothing: it was refused, or never sent."""
        if reservation.ticket is not None and self._ledger is not None:
            self._in_flight.add(-reservation.tokens, -(reservation.picodollars or 0))
            self._ledger.release(reservation.ticket)

    def lose(self, reservation: Reservation) -> None:
        """Nobody knows whether the request was paid: it counts in full and stays in the ledger."""
        if reservation.ticket is not None:
            self._in_flight.add(-reservation.tokens, -(reservation.picodollars or 0))
            self._used.add(reservation.tokens, reservation.picodollars)
            self.lost_picodollars += reservation.picodollars or 0

    def settle(self, reservation: Reservation, completion: Completion) -> None:
        """The request was answered; without the endpoint's counts it goes on counting at its reservation.

        Raises `TeacherError` when it took more than the bound that it was sent with.
        """
        if reservation.ticket is None:
            return
        if not completion.metered:
            self.lose(reservation)
            return
        self._in_flight.add(-reservation.tokens, -(reservation.picodollars or 0))
        tokens = completion.input_tokens + completion.output_tokens
        self._used.add(tokens, self.cost(completion))
        if tokens > reservation.tokens:
            raise TeacherError(
                f"The endpoint counted {tokens} tokens for a request that was bounded at {reservation.tokens}; a "
                "budget cannot be kept there.",
                "It may ignore max_tokens or add a long prompt of its own. What was answered is kept.",
            )

    def cost(self, completion: Completion) -> int | None:
        """Picodollars of an answer by the endpoint's own counts; None when the price is not known."""
        if self.price is None:
            return None
        return self.price.of(completion.input_tokens, completion.output_tokens, completion.cached_tokens)

    def sentence(self) -> str:
        """What is used of what is allowed, for people."""
        parts = []
        if self._limits is not None and self._limits.max_usd is not None:
            parts.append(f"${dollars(self.used.picodollars):.4f} of ${self._limits.max_usd:g}")
        if self._limits is not None and self._limits.max_tokens is not None:
            parts.append(f"{self.used.tokens:,} of {self._limits.max_tokens:,} tokens")
        if self.lost_picodollars:
            parts.append(f"${dollars(self.lost_picodollars):.4f} of it for requests whose end is not known")
        return ", ".join(parts)
