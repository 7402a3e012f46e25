"""What asking would take, before anything is sent: tokens, money and time, each as a range.

Tokens are counted from bytes, since an endpoint's tokenizer is not at hand. Once a teacher has answered in the same
ledger, what it counted and how long it took replaces the assumptions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from preceptor.config import TeacherSettings
from preceptor.records import Request
from preceptor.store.ledger import Ledger, Pace
from preceptor.teachers.base import Teacher
from preceptor.teachers.prices import Price, dollars

BYTES_PER_TOKEN = (6.0, 4.0, 2.5)
"""Low, typical and high number of tokens: English prose has 4 to 5 bytes a token, tables and other languages fewer."""
TEMPLATE_TOKENS = (4, 12, 40)
"""What a chat template adds to a request."""
SHARE_WRITTEN = (0.1, 0.5, 1.0)
"""Of the answer's bound; answers rarely use all of it."""
LATENCY_S = (0.5, 3.0, 20.0)
"""From sending to the whole answer, where nothing was measured yet."""
ENOUGH = 20
"""Measured answers from which they count instead of the assumptions."""
SPREAD = (0.8, 1.0, 1.3)
"""Around what was measured."""


@dataclass(frozen=True, slots=True)
class Range:
    """Low, typical and high."""

    low: float
    typical: float
    high: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the requests that the ledger cannot answer would take."""

    teacher: str
    requests: int
    """Different requests that would be sent."""
    in_ledger: int
    """Different requests that are answered already."""
    input_tokens: Range
    output_tokens: Range
    usd: Range | None
    """None: the price is not known."""
    seconds: Range | None
    """None: a local teacher that has not written anything yet, or a batch."""
    price: str
    """Where the price comes from."""
    measured: bool
    """Whether earlier answers were taken into account."""


def forecast(
    teacher: Teacher, requests: Iterable[Request], ledger: Ledger, settings: TeacherSettings, price: Price | None
) -> Forecast:
    """Count what is missing in the ledger and what it would take. Sends nothing."""
    wanted = {teacher.key(request): request for request in requests}
    answered = ledger.get(list(wanted))
    missing = [request for key, request in wanted.items() if key not in answered]
    pace = ledger.pace(teacher.name)
    read = tuple(_input(missing, i, pace) for i in range(3))
    written = tuple(_output(missing, i, pace) for i in range(3))
    usd = (
        None
        if price is None
        else Range(*(dollars(price.of(round(r), round(w))) for r, w in zip(read, written, strict=True)))
    )
    return Forecast(
        teacher=teacher.name,
        requests=len(missing),
        in_ledger=len(answered),
        input_tokens=Range(*read),
        output_tokens=Range(*written),
        usd=usd,
        seconds=_seconds(len(missing), settings, pace, [r + w for r, w in zip(read, written, strict=True)]),
        price="" if price is None else price.source,
        measured=pace.answers >= ENOUGH,
    )


def _input(requests: list[Request], i: int, pace: Pace) -> float:
    size = sum(len(message.content.encode()) for request in requests for message in request.messages)
    if pace.answers >= ENOUGH and pace.tokens_per_byte:
        return size * pace.tokens_per_byte * SPREAD[i]
    return size / BYTES_PER_TOKEN[i] + TEMPLATE_TOKENS[i] * len(requests)


def _output(requests: list[Request], i: int, pace: Pace) -> float:
    most = sum(request.sampling.max_tokens for request in requests)
    if pace.answers >= ENOUGH:
        return min(float(most), pace.output_tokens * SPREAD[i] * len(requests))
    return SHARE_WRITTEN[i] * most


def _seconds(requests: int, settings: TeacherSettings, pace: Pace, tokens: list[float]) -> Range | None:
    if settings.kind == "scripted" or not requests:
        return Range(0.0, 0.0, 0.0)
    if settings.mode == "batch":
        return None  # the provider's matter, within a day
    measured = pace.answers >= ENOUGH and pace.seconds > 0
    if not settings.remote:
        if not measured:
            return None
        return Range(*(requests * pace.seconds * spread for spread in SPREAD))
    each = [pace.seconds * spread for spread in SPREAD] if measured else LATENCY_S
    by_latency = [requests * seconds / min(settings.concurrency, requests) for seconds in each]
    by_requests = 60 * requests / settings.requests_per_minute if settings.requests_per_minute else 0.0
    per_minute = settings.tokens_per_minute
    by_tokens = [60 * count / per_minute if per_minute else 0.0 for count in tokens]
    return Range(*(max(by_requests, *both) for both in zip(by_latency, by_tokens, strict=True)))


def sentences(made: Forecast, max_usd: float | None = None, max_tokens: int | None = None) -> list[str]:
    """The forecast for people."""
    lines = [
        f"Teacher: {made.teacher}",
        f"Requests to send: {made.requests:,} ({made.in_ledger:,} more are answered already)",
    ]
    if not made.requests:
        return lines
    lines.append(f"Tokens read:    about {_whole(made.input_tokens)}")
    lines.append(f"Tokens written: about {_whole(made.output_tokens)}")
    lines.append(_money(made))
    if made.seconds is None:
        lines.append(
            "Time: not known (batches end within a day; a teacher on this machine is timed once it has written)"
        )
    else:
        time = made.seconds
        lines.append(f"Time: about {clock(time.typical)} ({clock(time.low)} to {clock(time.high)})")
    lines.append("Measured on earlier answers in this run." if made.measured else "From sizes alone; nothing was sent.")
    return lines + _budget(made.usd, made.input_tokens, made.output_tokens, max_usd, max_tokens)


def together(made: Sequence[Forecast], max_usd: float | None = None, max_tokens: int | None = None) -> list[str]:
    """The forecasts of several teachers as one, for people: a budget holds over all of them. Nothing of one alone."""
    made = [one for one in made if one.requests]
    if len(made) < 2:
        return []
    known = [one.usd for one in made if one.usd is not None]
    usd = _sum(known) if len(known) == len(made) else None
    read, written = _sum([one.input_tokens for one in made]), _sum([one.output_tokens for one in made])
    lines = [f"All {len(made)} together", f"Requests to send: {sum(one.requests for one in made):,}"]
    lines += [f"Tokens read:    about {_whole(read)}", f"Tokens written: about {_whole(written)}"]
    if usd is None:
        lines.append("Money: unknown, because the price of one of them is.")
    else:
        lines.append(
            f"Money: about ${usd.typical:.4f} (${usd.low:.4f} to ${usd.high:.4f})" if usd.high else "Money: none."
        )
    return lines + _budget(usd, read, written, max_usd, max_tokens)


def _budget(usd: Range | None, read: Range, written: Range, max_usd: float | None, max_tokens: int | None) -> list[str]:
    lines = []
    if max_usd is not None and usd is not None:
        lines.append(f"Budget: ${max_usd:g}, {verdict(usd, max_usd)}")
    if max_tokens is not None:
        lines.append(f"Budget: {max_tokens:,} tokens, {verdict(_sum([read, written]), max_tokens)}")
    return lines


def _sum(ranges: Sequence[Range]) -> Range:
    return Range(*(sum(ends) for ends in zip(*map(_ends, ranges), strict=True)))


def _money(made: Forecast) -> str:
    if made.usd is None:
        return (
            "Money: unknown. The model is not listed: give teacher.usd_per_million_input and "
            "teacher.usd_per_million_output."
        )
    if not made.usd.high:
        return "Money: none."
    usd = made.usd
    return f"Money: about ${usd.typical:.4f} (${usd.low:.4f} to ${usd.high:.4f}), prices from {made.price}"


def _ends(values: Range) -> tuple[float, float, float]:
    return values.low, values.typical, values.high


def verdict(need: Range, limit: float) -> str:
    """Whether a budget of `limit` will do, for people."""
    if need.high <= limit:
        return "which is enough."
    return "which will end the run early." if need.low > limit else "which may end the run early."


def _whole(values: Range) -> str:
    return f"{values.typical:,.0f} ({values.low:,.0f} to {values.high:,.0f})"


def clock(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
