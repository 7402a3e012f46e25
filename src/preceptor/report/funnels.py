"""What the filters did to each label, and what labeller and judge said, arranged and worded for the report.

Only easy items may survive a round trip, and a judge may be led by the order of two texts: the sentences say by how
much, and how far the labeller can be trusted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from preceptor.records import Agreement, Estimate, Funnel, Judgement, LabellerCheck
from preceptor.report import draw


@dataclass(frozen=True, slots=True)
class Cell:
    """One label after one filter."""

    filter: str
    left: int
    """Candidates after the filter."""
    share: str
    """Of those of this label that reached it."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """One label on its way through the filters."""

    label: str
    read: int
    """Candidates that came with this label."""
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence about a filter; a warning when the reader should not rely on it."""

    text: str
    warning: bool = False


def label_rows(funnel: Funnel, labels: Sequence[str]) -> tuple[LabelRow, ...]:
    """Every label through every filter, by the label that an example came with; none when nothing is known."""
    return tuple(_label_row(funnel, label) for label in labels) if funnel.dropped_by_label else ()


def _label_row(funnel: Funnel, label: str) -> LabelRow:
    left = read = funnel.candidates_by_label.get(label, 0)
    cells = []
    for name, reasons in funnel.dropped_by_label.items():
        reached = left
        left -= sum(counts.get(label, 0) for counts in reasons.values())
        cells.append(Cell(name, left, draw.percent(left, reached)))
    return LabelRow(label, read, tuple(cells))


def remarks(funnel: Funnel, labels: Sequence[str]) -> tuple[Remark, ...]:
    """What must be known about the teacher's answers, and about the filters that asked somebody."""
    found = [*_answers(funnel)]
    found += list(_agreement(funnel, funnel.agreement, labels)) if funnel.agreement else []
    return (*found, *(_judgement(funnel.judgement) if funnel.judgement else ()))


def _answers(funnel: Funnel) -> Iterator[Remark]:
    lost = {name: n for name, n in funnel.outcomes.items() if name != "answered" and n}
    if lost:
        listed = ", ".join(f"{n:,} {draw.in_words(name)}" for name, n in lost.items())
        yield Remark(f"Of the teacher's {sum(funnel.outcomes.values()):,} answers these gave no example: {listed}.")


def _agreement(funnel: Funnel, said: Agreement, labels: Sequence[str]) -> Iterator[Remark]:
    asked, agreed = sum(said.asked.values()), sum(said.agreed.values())
    yield Remark(
        f"A labeller ({said.labeller}) was asked about {asked:,} candidates, from what a student sees, and gave the "
        f"same label to {agreed:,} ({draw.percent(agreed, asked)}): {_by_label(said.agreed, said.asked, labels)}."
    )
    unread = {name: n for name, n in said.outcomes.items() if name != "answered" and n}
    if unread:
        listed = ", ".join(f"{n:,} {draw.in_words(name)}" for name, n in unread.items())
        yield Remark(f"Of its {sum(said.outcomes.values()):,} answers these gave no label: {listed}.")
    if said.mode == "weight":
        weight = "" if said.mean_weight is None else f", {said.mean_weight:.2f} on average"
        yield Remark(f"Kept items count in training by how much of its vote their own label got{weight}.")
    elif said.mode == "relabel":
        moves = [f"{a} to {b} {n:,}" for a, counts in funnel.relabelled.items() for b, n in counts.items()]
        yield Remark(f"Where it disagreed, its label was taken: {', '.join(moves) or 'no kept item was relabelled'}.")
    yield Remark(
        "Only items that the labeller finds easy may survive: compare the labels' shares before relying on the rest."
    )
    if said.check:
        yield from _check(said.check, labels)


def _check(check: LabellerCheck, labels: Sequence[str]) -> Iterator[Remark]:
    yield Remark(
        f"Asked about {check.n:,} validation items, the labeller agrees with the experts on "
        f"{_share(check.accuracy)}: {_by_label(check.right, check.items, labels)}."
    )
    floor, ends = check.floor, draw.known_interval(check.floor)
    always = f"always answering {check.floor_label}, {_share(floor)}"
    if ends is None or check.accuracy.value > ends.high:
        return
    worse = check.accuracy.value < ends.low
    verdict = f"is worse than {always}" if worse else f"cannot be told from {always}"
    yield Remark(f"That {verdict}: what this labeller keeps or changes proves nothing.", warning=True)


def _judgement(said: Judgement) -> Iterator[Remark]:
    yield Remark(
        f"A judge ({said.judge}) compared {said.pairs:,} candidates with their parents, each pair in both orders; "
        f"{said.read:,} pairs could be read in both."
    )
    if said.read:
        yield Remark(
            f"The order changed a score by more than the tolerance in {said.inconsistent:,} of {said.read:,} pairs "
            f"({draw.percent(said.inconsistent, said.read)}). It preferred one of the texts in both orders in "
            f"{said.decided:,} pairs, and swapped its preference with the order in {said.flips:,} of them "
            f"({draw.percent(said.flips, said.decided)}); {draw.percent(said.first, 2 * said.decided)} of these "
            f"preferences went to the text that stood first."
        )
        scores = (
            f"{draw.in_words(name)} {score:.1f} against {said.parent_scores.get(name, float('nan')):.1f}"
            for name, score in said.candidate_scores.items()
        )
        yield Remark(f"Mean scores of candidates against their parents, of 5: {', '.join(scores)}.")
    if 2 * said.flips > said.decided:
        yield Remark(
            "The order of the texts decided more often than the texts: this judge cannot tell them apart.", True
        )


def _by_label(part: Mapping[str, int], whole: Mapping[str, int], labels: Sequence[str]) -> str:
    """`yes 12 of 20 (60 %), no 1 of 4 (25 %)`, of labels that occur."""
    named = (
        f"{label} {part.get(label, 0):,} of {whole[label]:,} ({draw.percent(part.get(label, 0), whole[label])})"
        for label in labels
        if whole.get(label)
    )
    return ", ".join(named) or "none"


def _share(estimate: Estimate) -> str:
    """`72 % [58 %, 83 %]`."""
    ends = draw.known_interval(estimate)
    value = draw.percent(estimate.value, 1)
    return f"{value} [{draw.percent(ends.low, 1)}, {draw.percent(ends.high, 1)}]" if ends else value
