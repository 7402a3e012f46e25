"""What writing tasks would take, before anything is sent: a range, since nobody knows how many will be kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from preceptor.augment.instruct import TaskWriter, kinds_of, short_enough
from preceptor.config import BudgetSettings, InstructSettings, TeacherSettings
from preceptor.pipeline.writing import CATEGORY_TOKENS
from preceptor.records import Instruction, Request
from preceptor.store.ledger import Ledger
from preceptor.teachers.asker import sampling_of
from preceptor.teachers.base import Teacher
from preceptor.teachers.estimate import Range, clock, forecast, verdict
from preceptor.teachers.prices import Price

YIELDS = (1.0, 0.3)
"""Shares of the written tasks that are kept, from the best to a bad one: what the range spans."""
SAMPLE = 256
"""Requests from whose sizes the others' are taken."""


@dataclass(frozen=True)
class _Part:
    """One kind of request."""

    name: str
    sample: Sequence[Request]
    fewest: int
    most: int


def forecast_writing(
    settings: InstructSettings,
    seeds: Sequence[Instruction],
    teacher: Teacher,
    ledger: Ledger,
    terms: TeacherSettings,
    price: Price | None,
    budget: BudgetSettings,
) -> list[str]:
    """The forecast in sentences; `terms` are the teacher's settings. Raises `RecipeError` for too few seeds."""
    parts = _parts(settings, seeds, terms, structured="schema" in teacher.accepts)
    made = [(part, forecast(teacher, part.sample, ledger, terms, price)) for part in parts]

    def total(side: str) -> Range:
        """Low at the fewest requests, high at the most."""
        low = sum(getattr(one, side).low * part.fewest / len(part.sample) for part, one in made)
        high = sum(getattr(one, side).high * part.most / len(part.sample) for part, one in made)
        return Range(low, (low + high) / 2, high)

    best, worst = (f"{share:.0%}" for share in YIELDS)
    lines = [
        f"Teacher: {teacher.name}",
        f"Tasks: {settings.target:,} from {len(seeds)} seeds. How many of those written are kept is not known before: "
        f"the figures span {best} to {worst}, and the first few hundred requests will tell.",
        *(f"Requests for {part.name}: {_span(part.fewest, part.most)}" for part in parts),
    ]
    if done := ledger.count():
        lines.append(f"In the ledger already, not asked or paid again: {done:,} answers")
    read, written = total("input_tokens"), total("output_tokens")
    lines += [f"Tokens read:    {_span(read.low, read.high)}", f"Tokens written: {_span(written.low, written.high)}"]
    usd = None if price is None else total("usd")
    if usd is None:
        lines.append(
            "Money: unknown. The model is not listed: give teacher.usd_per_million_input and "
            "teacher.usd_per_million_output."
        )
    else:
        lines.append(
            f"Money: ${usd.low:.4f} to ${usd.high:.4f}, prices from {made[0][1].price}" if usd.high else "Money: none."
        )
    if any(one.seconds is None for _, one in made):
        lines.append("Time: not known (batches end within a day, each round; a teacher on this machine is timed first)")
    else:
        seconds = total("seconds")
        lines.append(f"Time: {clock(seconds.low)} to {clock(seconds.high)}")
    measured = made[0][1].measured
    lines.append("Measured on earlier answers in this run." if measured else "From sizes alone; nothing was sent.")
    if budget.max_usd is not None and usd is not None:
        lines.append(f"Budget: ${budget.max_usd:g}, {verdict(usd, budget.max_usd)}")
    if budget.max_tokens is not None:
        both = Range(read.low + written.low, read.typical + written.typical, read.high + written.high)
        lines.append(f"Budget: {budget.max_tokens:,} tokens, {verdict(both, budget.max_tokens)}")
    return lines


def _parts(
    settings: InstructSettings, seeds: Sequence[Instruction], terms: TeacherSettings, *, structured: bool
) -> list[_Part]:
    writer = TaskWriter(settings, terms.sampling(), structured)
    kinds = kinds_of(seeds, settings)
    cap, each = settings.max_requests or math.inf, settings.tasks_per_answer
    fewest, most = (int(min(cap, math.ceil(settings.target / each / share))) for share in YIELDS)
    asking = []
    for number in range(min(SAMPLE, fewest)):
        kind = kinds[number % len(kinds)] if kinds else ""
        pool = [seed for seed in short_enough(seeds, settings) if not kind or seed.category == kind]
        asking.append(writer.request(number, writer.draw(number, pool, kind)))
    parts = [_Part("tasks", _unasked(asking), fewest, most)]
    tasks = [(str(n), seed.instruction, seed.input) for n, seed in enumerate(seeds[:SAMPLE])]
    kept = int(min(settings.target, cap * each))
    if settings.outputs == "separate":
        sample = [writer.output_request(*task) for task in tasks]
        parts.append(
            _Part("outputs", _unasked(sample), kept, int(min(math.ceil(settings.target / YIELDS[1]), cap * each)))
        )
    if settings.categories == "teacher":
        sampling = sampling_of(terms.sampling(), 0.0, CATEGORY_TOKENS)
        parts.append(
            _Part("categories", _unasked([writer.category_request(*task, sampling) for task in tasks]), kept, kept)
        )
    return parts


def _unasked(requests: Sequence[Request]) -> list[Request]:
    """The same under names that no ledger holds: here they stand for requests like them."""
    return [replace(request, item=f"estimate/{request.item}") for request in requests]


def _span(low: float, high: float) -> str:
    return f"{low:,.0f}" if round(low) == round(high) else f"{low:,.0f} to {high:,.0f}"
