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
    LEVEL,
    MOSTLY,
    StudentView,
    mark,
    metric_name,
    primaries,
    short,
    unread,
    views,
    why_missing,
)

_FINDINGS = (3, 2)
"""So many gains are written out for each student and kind of tasks, with up to two of these, and with more."""
_BENCHMARKS = 6
"""So many benchmarks are named as not read; the others are counted."""
_ARMS = 4
"""So many arms are named beside a benchmark; the others are counted."""


MEANING = (
    f"All comparisons are with the same student before tuning, on the same items; a gain or loss holds when p is below "
    f"{LEVEL} after Holm's correction over all of them, and the others cannot be told from noise."
)


def instruct_sentences(summary: InstructSummary) -> list[str]:
    """The result in plain sentences, made from the record alone.

    First what cannot be trusted, then what each student gained, what was generated, and what was not run. The first
    `instruct_headlines(summary)` of them are about scores.
    """
    diagonals = [line for view in views(summary) for line in _diagonals(view)]
    lines = [*_scores(summary), *diagonals, _generated(summary), *_missing(summary), _seeds(summary)]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines if line]


def instruct_headlines(summary: InstructSummary) -> int:
    """How many of the sentences are about scores."""
    return len(_scores(summary))


def _scores(summary: InstructSummary) -> list[str]:
    students = views(summary)
    if not students:
        return ["No student was scored, so nothing is said about what the tasks teach."]
    limit = _FINDINGS[sum(len(view.blocks) for view in students) > 2]
    findings = [line for view in students for line in _findings(view, limit)]
    said = [entry for entry in summary.entries if mark(entry) is not None]
    return [*filter(None, [_unreadable(students)]), *findings, *([MEANING] if said else [])]


def _unreadable(students: Sequence[StudentView]) -> str:
    bad: dict[str, list[tuple[str, str]]] = {}
    several = len(students) > 1
    for entry in (entry for view in students for entry in primaries(view.entries)):
        if unread(entry) > MOSTLY:
            who = f"{entry.student} {_arm(entry.arm)}" if several else _arm(entry.arm)
            bad.setdefault(entry.benchmark, []).append((entry.arm, f"{who} {draw.percent(unread(entry), 1)}"))
    if not bad:
        return ""
    named = [f"{name} ({_some([words for _, words in found], _ARMS, ', ')})" for name, found in bad.items()]
    base = any(arm == BASELINE for found in bad.values() for arm, _ in found)
    one = len(bad) == 1
    also = f", and so do{'es a gain' if one else ' gains'} over a score before tuning" if base else ""
    return (
        f"Most answers were cut off or could not be read on {_some(named, _BENCHMARKS, ', ')}: "
        f"{'its score says' if one else 'their scores say'} little{also}."
    )


def _findings(view: StudentView, limit: int) -> Iterator[str]:
    """The gains of one student that survive the correction, for each kind of tasks."""
    if not any(draw.has_result(entry.estimate) for entry in view.entries):
        yield f"{view.student} has no result."
        return
    for block in view.blocks:
        arms = {row.arm for row in block.rows[1:]}
        mine = [entry for entry in view.entries if entry.arm in arms]
        tested = [entry for entry in mine if (said := mark(entry)) is not None and said.kind != "untested"]
        first = [entry for entry in primaries(mine) if entry in tested]
        who = f"{view.student}, {_lower(block.title)}" if len(view.blocks) > 1 else view.student
        if not tested:
            yield f"{who}: no arm was compared with the student before tuning."
        elif found := _held(first, limit):
            yield f"{who}: of {_comparisons(first)} {found}."
        else:
            also = _held(tested, limit)
            others = f", while of all {len(tested)} metrics {also}" if also else ""
            yield f"{who}: no gain can be told from noise, in {_comparisons(first)}{others}."


def _comparisons(entries: Sequence[MatrixEntry]) -> str:
    return f"{len(entries)} comparison{'s' * (len(entries) != 1)}"


def _held(entries: Sequence[MatrixEntry], limit: int) -> str:
    """How many gains and losses hold, and the largest of them; empty where none does."""
    parts = []
    for kind, plural in (("gain", "gains"), ("loss", "losses")):
        hits = [entry for entry in entries if (said := mark(entry)) is not None and said.kind == kind]
        hits.sort(key=_size, reverse=True)
        listed = _some([_finding(entry) for entry in hits], limit, "; ")
        if hits:
            parts.append(f"{len(hits)} {f'{kind} holds' if len(hits) == 1 else f'{plural} hold'} ({listed})")
    return " and ".join(parts)


def _size(entry: MatrixEntry) -> float:
    return abs(entry.gain.value) if entry.gain is not None else 0.0


def _finding(entry: MatrixEntry) -> str:
    """`arm qa on pubmedqa, accuracy +0.045 [+0.020, +0.070]`."""
    interval = draw.known_interval(entry.gain)
    if entry.gain is None or interval is None:
        return ""
    ends = f"[{interval.low:+.3f}, {interval.high:+.3f}]"
    return f"{entry.arm} on {entry.benchmark}, {metric_name(entry.metric)} {entry.gain.value:+.3f} {ends}"


def _diagonals(view: StudentView) -> Iterator[str]:
    for block in view.blocks:
        if block.diagonal:
            yield f"{view.student}, {_lower(block.title)}: {block.diagonal}."


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
    said = []
    for note, names in arms.items():
        what, _, why = why_missing(note).partition(": ")
        said.append(f"{what.capitalize()}: {_some(names, _ARMS, ', ')} ({why.strip().rstrip('.')}).")
    return said


def _seeds(summary: InstructSummary) -> str:
    tuned = [entry for entry in primaries(summary.entries) if entry.arm != BASELINE and draw.has_result(entry.estimate)]
    if not tuned:
        return ""
    fewest, most = min(len(entry.seeds) for entry in tuned), max(len(entry.seeds) for entry in tuned)
    if most < 2:
        return "With a single seed, how much training itself varies is not known."
    spreads = [e.estimate.sd for e in tuned if e.estimate is not None and e.estimate.sd is not None]
    times = str(most) if fewest == most else f"{fewest} to {most}"
    spread = f"; between seeds, scores varied by a standard deviation of up to {max(spreads):.3f}" if spreads else ""
    return f"Each arm was tuned {times} times, with different seeds{spread}."


def _arm(arm: str) -> str:
    return "before tuning" if arm == BASELINE else f"arm {arm}"


def _some(named: Sequence[str], limit: int, between: str) -> str:
    more = f"{between}and {len(named) - limit} more" if len(named) > limit else ""
    return between.join(named[:limit]) + more
