"""How many requests are in flight: as many as the endpoint bears, found out while asking.

Additive increase, multiplicative decrease, as TCP does it (RFC 5681): the window doubles with every round trip until
the endpoint first complains, then shrinks to three quarters and grows by one with every round trip. A complaint about
a request that was sent before the last decrease belongs to the same burst and decreases nothing.
"""

from __future__ import annotations

import asyncio
from collections import deque

FIRST_WINDOW = 32.0
"""Requests in flight at the start: small beside an endpoint's limits, and 200 are reached in three round trips."""
DECREASE = 0.75
BURST = 1.0
"""Seconds' worth of the rate that may be sent at once after a pause."""


class Pace:
    """Spreads a number of units over the minute: never more than the rate and one second's worth in any minute."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._next = 0.0

    def wait_for(self, units: float, now: float) -> float:
        """Take `units` and return for how many seconds to wait before using them."""
        start = max(self._next, now - BURST)
        self._next = start + units * self._seconds_each
        return max(0.0, start - now)


class Limiter:
    """Hands out places for requests, at most `most` at a time. For one event loop."""

    def __init__(
        self, most: int, *, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self._most = float(most)
        self._window = min(self._most, FIRST_WINDOW)
        self._doubling = True
        self._in_flight = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._last_decrease = -1.0
        self._not_before = 0.0
        self._requests = Pace(requests_per_minute)
        self._tokens = Pace(tokens_per_minute)

    @property
    def window(self) -> int:
        """How many requests may be in flight now."""
        return int(self._window)

    async def enter(self, tokens: int) -> float:
        """Wait for a place, for a pause to end and for the rates; returns the time at which the request is sent.

        `tokens` is about how many the request will take. Whoever entered must leave.
        """
        await self._enter()
        try:
            return await self._when_due(tokens)
        except BaseException:
            self.leave()
            raise

    def leave(self) -> None:
        """Give the place back."""
        self._in_flight -= 1
        self._wake()

    async def _enter(self) -> None:
        if self._in_flight < self.window and not self._queue:
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place came together with the cancellation: pass it on
                self._in_flight -= 1
                self._wake()
            raise

    def _wake(self) -> None:
        while self._queue and self._in_flight < self.window:
            turn = self._queue.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    async def _when_due(self, tokens: int) -> float:
        loop = asyncio.get_running_loop()
        now = loop.time()
        wait = max(self._requests.wait_for(1, now), self._tokens.wait_for(tokens, now))
        due = max(now + wait, self._not_before)
        while due > now:
            await asyncio.sleep(due - now)
            now = loop.time()
            due = self._not_before  # may have moved meanwhile
        return now

    def answered(self) -> None:
        """An answer came: there may be room for more."""
        self._window = min(self._most, self._window + (1.0 if self._doubling else 1.0 / self._window))
        self._wake()

    def complained(self, sent: float) -> None:
        """The endpoint had too much to do for a request sent at that time."""
        if sent > self._last_decrease:
            self._window = max(1.0, self._window * DECREASE)
            self._doubling = False
            self._last_decrease = asyncio.get_running_loop().time()

    def pause(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._not_before = max(self._not_before, asyncio.get_running_loop().time() + seconds)

    def paused_for(self) -> float:
        """Seconds for which nothing is sent."""
        return max(0.0, self._not_before - asyncio.get_running_loop().time())
