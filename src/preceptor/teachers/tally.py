"""What a person sees while a teacher is asked: done, failed, found in the ledger, rate, money."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from preceptor.records import Completion
from preceptor.teachers.base import Control
from preceptor.teachers.prices import Price, dollars


@dataclass
class Tally:
    """Counts of different requests; equal ones count once."""

    total: int | None
    """Number of requests, equal ones included; None when nobody knows it yet."""
    price: Price | None
    control: Control
    answered: int = 0
    """Those found in the ledger included."""
    failed: int = 0
    cached: int = 0
    """Of the answered ones, those found in the ledger."""
    read: int = 0
    """Input tokens of all answers."""
    written: int = 0
    """Output tokens of all answers."""
    picodollars: int = 0
    """What all answers cost, as far as the price is known."""
    began: float = field(default_factory=time.monotonic)

    def add(self, completion: Completion, *, cached: bool = False) -> None:
        """Count an answer."""
        self.answered += 1
        self.cached += cached
        self.read += completion.input_tokens
        self.written += completion.output_tokens
        if self.price is not None:
            tokens = (completion.input_tokens, completion.output_tokens, completion.cached_tokens)
            self.picodollars += self.price.of(*tokens)

    @property
    def done(self) -> int:
        """Requests that came to an end, one way or another."""
        return self.answered + self.failed

    @property
    def usd(self) -> float | None:
        """US dollars of all answers; None when the price is unknown."""
        return None if self.price is None else dollars(self.picodollars)

    @property
    def rate(self) -> float:
        """Requests that ended in a second, without those found in the ledger."""
        return (self.done - self.cached) / max(time.monotonic() - self.began, 1e-9)

    @property
    def words(self) -> str:
        """`412 done, 3 failed, 80 from the ledger, 14.2/s, $0.0310`; what is 0 is left out."""
        parts = [f"{self.answered} done" if self.total is None else f"{self.answered}/{self.total} done"]
        if self.failed:
            parts.append(f"{self.failed} failed")
        if self.cached:
            parts.append(f"{self.cached} from the ledger")
        if self.done > self.cached:
            parts.append(f"{self.rate:.1f}/s")
        if self.usd:
            parts.append(f"${self.usd:.4f}")
        if self.control.budget.limited:
            parts.append(f"budget: {self.control.budget.sentence()}")
        if (pause := self.control.paused_until - time.monotonic()) > 0:
            parts.append(f"waiting {pause:.0f} s as the endpoint asked")
        return ", ".join(parts)
