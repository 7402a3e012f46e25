"""What a run of instructions found, in plain sentences: for the top of its report and for the terminal.

Only what the entries say is said. A gain is one when it survives Holm's correction over all gains of the matrix; all
others cannot be told from noise. Scores that stand on answers nobody could read are named before anything else.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from preceptor.records import InstructSummary, MatrixEntry
from preceptor.report import draw
from preceptor.report.matrix import (
    BASELINE,
    StudentView,
    mark,
    metric_name,
    primaries,
    short,
    unread,
    views,
)

MOSTLY = 0.5
"""A benchmark is named when more than this share of the answers of a student in an arm could not be read."""
_FINDINGS = 3
"""So many gains of a student are written out; the others are counted."""
_ARMS = 4
"""So many arms are named beside a benchmark; the others are counted."""


def instruct_sentences(summary: InstructSummary) -> list[str]:
    """The result in plain sentences, made from the record alone.

    First what cannot be trusted, then what each student gained, what was generated, and what was not run. The first
    `instruct_headlines(summary)` of them are about scores.
    """
    lines = [*_scores(summary), _generated(summary), *_missing(summary), _seeds(summary)]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines if line]


def instruct_headlines(summary: InstructSummary) -> int:
    """How many of the sentences are about scores."""
    return len(_scores(summary))


def _scores(summary: InstructSummary) -> list[str]:
    students = views(summary)
    if not students:
        return ["No student was scored, so nothing is said about what the tasks teach."]
    warnings = [line for view in students for line in _unreadable(view)]
    findings = [line for view in students for line in (_findings(view), _diagonals(view)) if line]
    return [*warnings, *findings]


def _unreadable(view: StudentView) -> Iterator[str]:
    for column in view.columns:
        cells = [e for e in view.entries if (e.benchmark, e.metric) == (column.benchmark, column.metrics[0])]
        bad = {entry.arm: draw.percent(unread(entry), 1) for entry in cells if unread(entry) > MOSTLY}
        if not bad:
            continue
        also = ", and so does a gain over it" if BASELINE in bad else ""
        named = [f"{_arm(arm)} {share}" for arm, share in bad.items()]
        yield (
            f"On {column.benchmark} most answers of {view.student} could not be read ({_some(named, _ARMS, ', ')}): "
            f"its score says little{also}."
        )


def _findings(view: StudentView) -> str:
    """The gains of one student that survive the correction."""
    tested = [e for e in view.entries if (said := mark(e)) is not None and said.kind != "untested"]
    if not tested:
        scored = any(draw.has_result(entry.estimate) for entry in view.entries)
        return f"{view.student} has no {'gain to speak of: no arm was compared' if scored else 'result'}."
    first = [entry for entry in primaries(view.entries) if entry in tested]
    if found := _held(first):
        return f"{view.student}: of {len(first)} gains over the student before tuning, {found}."
    if found := _held(tested):
        return (
            f"{view.student}: none of {len(first)} gains over the student before tuning can be told from noise in the "
            f"benchmarks' first metrics; of all {len(tested)} metrics, {found}."
        )
    return f"{view.student}: no gain can be told from noise, of {len(first)} over the student before tuning."


def _held(entries: Sequence[MatrixEntry]) -> str:
    """How many gains and losses hold, and the largest of them; empty where none does."""
    parts = []
    for kind, one, more in (("gain", "is a gain", "are gains"), ("loss", "is a loss", "are losses")):
        hits = [entry for entry in entries if (said := mark(entry)) is not None and said.kind == kind]
        hits.sort(key=_size, reverse=True)
        listed = _some([_finding(entry) for entry in hits], _FINDINGS, "; ")
        if hits:
            parts.append(f"{len(hits)} {one if len(hits) == 1 else more} beyond noise ({listed})")
    return f"{' and '.join(parts)}, after Holm's correction" if parts else ""


def _size(entry: MatrixEntry) -> float:
    return abs(entry.gain.value) if entry.gain is not None else 0.0


def _finding(entry: MatrixEntry) -> str:
    """`arm qa on pubmedqa, accuracy +0.045 [+0.020, +0.070]`."""
    interval = draw.known_interval(entry.gain)
    if entry.gain is None or interval is None:
        return ""
    ends = f"[{interval.low:+.3f}, {interval.high:+.3f}]"
    return f"arm {entry.arm} on {entry.benchmark}, {metric_name(entry.metric)} {entry.gain.value:+.3f} {ends}"


def _diagonals(view: StudentView) -> str:
    said = [f"{_lower(block.title)}: {block.diagonal}" for block in view.blocks if block.diagonal]
    return f"{view.student}, {'; '.join(said)}." if said else ""


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]


def _generated(summary: InstructSummary) -> str:
    funnel = summary.funnel
    if funnel is None:
        listed = ", ".join(f"{name} {number:,}" for name, number in summary.sources.items())
        return f"Nothing was generated in this run{f'; training tasks: {listed}' if listed else ''}."
    kept = ", ".join(f"{short(name)} {number:,}" for name, number in funnel.kept_by_category.items() if number)
    ended = funnel.stopped.strip().rstrip(".")
    return (
        f"From {funnel.seeds:,} seed tasks {funnel.teacher} was asked {funnel.requests:,} times; of "
        f"{funnel.candidates:,} tasks that could be read {funnel.kept:,} were kept "
        f"({draw.percent(funnel.kept, funnel.candidates)}{f': {kept}' if kept else ''})"
        f"{f'. Why it ended: {ended}' if ended else ''}."
    )


def _missing(summary: InstructSummary) -> list[str]:
    """Arms that were not run, and single benchmarks without a result, by reason."""
    arms: dict[str, list[str]] = {}
    several = len({entry.student for entry in summary.entries}) > 1
    for view in views(summary):
        whose = f" of {view.student}" if several else ""
        rows = [row for number, block in enumerate(view.blocks) for row in block.rows[number > 0 :]]
        for row in rows:
            if row.note:
                arms.setdefault(row.note, []).append(f"{_arm(row.arm)}{whose}")
                continue
            for cell in row.cells:
                entry = cell.main.entry
                if entry is not None and entry.note and not draw.has_result(entry.estimate):
                    arms.setdefault(entry.note, []).append(f"{_arm(row.arm)}{whose} on {entry.benchmark}")
    return [f"Not run: {_some(names, _ARMS, ', ')} ({note.strip().rstrip('.')})." for note, names in arms.items()]


def _seeds(summary: InstructSummary) -> str:
    tuned = [entry for entry in primaries(summary.entries) if entry.arm != BASELINE and draw.has_result(entry.estimate)]
    if not tuned:
        return ""
    fewest, most = min(len(entry.seeds) for entry in tuned), max(len(entry.seeds) for entry in tuned)
    if most < 2:
        return "With a single seed, how much training itself varies is not known."
    spreads = [e.estimate.sd for e in tuned if e.estimate is not None and e.estimate.sd is not None]
    times = str(most) if fewest == most else f"{fewest} to {most}"
    metrics = sorted({metric_name(entry.metric) for entry in tuned})
    spread = f"; between seeds, {_joined(metrics)} varied by a standard deviation of up to {max(spreads):.3f}"
    return f"Each arm was tuned {times} times, with different seeds{spread if spreads else ''}."


def _arm(arm: str) -> str:
    return "before tuning" if arm == BASELINE else f"arm {arm}"


def _joined(words: Sequence[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _some(named: Sequence[str], limit: int, between: str) -> str:
    more = f"{between}and {len(named) - limit} more" if len(named) > limit else ""
    return between.join(named[:limit]) + more
