"""The result in plain sentences: for the top of the report and for the terminal.

Only what the rows say is said, and a difference whose interval holds 0 is always called noise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from preceptor.config import ASKING
from preceptor.records import Estimate, Interval, Row, RunSummary
from preceptor.report import draw
from preceptor.report.sweeps import sweep_sentences

BASELINE = "none"
"""The arm without generated data, to which all others are compared."""


def sentences(summary: RunSummary) -> list[str]:
    """The result in at most six plain sentences, made from the rows alone, and at most two on a sweep.

    The first `headlines(summary)` of them say whether generated data helped.
    """
    compared = _compared(summary)
    if len(compared) > 2:
        gains = [_many_comparisons(summary, compared)]
    else:
        gains = [_comparison(summary, row) for row in compared]
    if not gains:
        gains = ["No arm with generated data was trained, so nothing is said about augmentation."]
    lines = [*gains, _not_run(summary), _references(summary), _baselines(summary), _generated(summary)]
    lines += [_seeds(summary), *sweep_sentences(summary.sweeps, summary.spreads)]
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines if line]


def headlines(summary: RunSummary) -> int:
    """How many of the sentences compare arms: 2 when there are exactly two comparisons, else 1."""
    return 2 if len(_compared(summary)) == 2 else 1


def _compared(summary: RunSummary) -> list[Row]:
    return [row for row in summary.rows if row.kind == "arm" and row.arm != BASELINE and not row.missing]


def _not_run(summary: RunSummary) -> str:
    """Arms without a result, each with its reason."""
    found = [f"{_where(summary, row)}{row.arm} was {row.missing}" for row in summary.rows if row.missing]
    return f"{_capital('the arm ' + '; the arm '.join(found))}." if found else ""


def _comparison(summary: RunSummary, row: Row) -> str:
    base = _base(summary, row)
    name = f"{_where(summary, row)}the arm {row.arm}"
    if row.accuracy is None or not draw.has_result(row.accuracy):
        return f"{_capital(name)} has no result."
    reached = f"{_capital(name)} reached an accuracy of {row.accuracy.value:.3f}"
    if base is None or base.accuracy is None or not draw.has_result(base.accuracy):
        return f"{reached}; there is no result of training without generated data to compare it with."
    against = f"{reached} against {base.accuracy.value:.3f} without generated data"
    if row.gain_accuracy is None or not draw.has_result(row.gain_accuracy):
        return f"{against}; there is no result for the difference."
    says = _verdict(row.gain_accuracy)
    line = f"{against}; the difference {_plain(row.gain_accuracy)} {says}"
    other = row.gain_macro_f1
    if other is not None and draw.has_result(other) and _verdict(other) != says:
        line += f", while in macro-F1 {_plain(other)} {_verdict(other)}"
    return f"{line}."


def _base(summary: RunSummary, row: Row) -> Row | None:
    return next((r for r in summary.rows if r.arm == BASELINE and family(r) == family(row)), None)


def _many_comparisons(summary: RunSummary, rows: Sequence[Row]) -> str:
    found: dict[str, list[str]] = {"gain": [], "loss": []}
    # An arm in whose setting none is not trained is compared with nothing.
    rows = [row for row in rows if _base(summary, row) is not None]
    if not rows:
        return "There is no result of training without generated data to compare the arms with."
    for row in rows:
        gain = row.gain_accuracy
        interval = draw.known_interval(gain)
        if gain is not None and interval is not None and (interval.low > 0 or interval.high < 0):
            kind = "gain" if interval.low > 0 else "loss"
            found[kind].append(f"{_where(summary, row)}{row.arm} {_plain(gain)}")
    total = f"Of {len(rows)} comparison{'s' * (len(rows) > 1)} with the same student trained without generated data"
    parts = [
        f"{len(hits)} show{'s' * (len(hits) == 1)} a {kind} in accuracy beyond noise ({_some(hits)})"
        for kind, hits in found.items()
        if hits
    ]
    if not parts:
        return f"{total}, none shows a difference in accuracy beyond noise."
    return f"{total}, {' and '.join(parts)}; among so many, one by chance is not rare."


def _some(hits: Sequence[str]) -> str:
    more = f"; and {len(hits) - 3} more" if len(hits) > 3 else ""
    return "; ".join(hits[:3]) + more


def _references(summary: RunSummary) -> str:
    """Floor and human beside the trained rows, for each setting."""
    parts: list[str] = []
    several = len(settings(summary)) > 1
    for name in settings(summary):
        rows = [row for row in summary.rows if row.setting == name]
        trained = [row for row in rows if row.kind == "arm" and row.clears_floor is not None]
        floor, human = of_kind(rows, "floor"), of_kind(rows, "human")
        said = []
        if floor is not None and floor.accuracy is not None and draw.has_result(floor.accuracy) and trained:
            above = sum(row.clears_floor is True for row in trained)
            reached = f"{above} of {len(trained)} trained arms {'clears' if above == 1 else 'clear'}"
            meaning = "" if parts else " of always giving the most frequent label"
            said.append(f"{reached} the floor{meaning}, {_plain(floor.accuracy, sign=False)}")
        if human is not None and human.accuracy is not None and draw.has_result(human.accuracy):
            said.append(f"one person reached {human.accuracy.value:.3f}")
        if said:
            parts.append((f"{name}: " if several else "") + "; ".join(said))
    return _capital(". ".join(parts)) + "." if parts else ""


def _baselines(summary: RunSummary) -> str:
    """What was reached without training."""
    rows = [row for row in summary.rows if row.kind == "baseline"]
    known = [row for row in rows if row.accuracy is not None and draw.has_result(row.accuracy)]
    if not known:
        return ""
    several = len(settings(summary)) > 1
    said = [
        f"{row.student}{where} with {row.arm_words} {_plain(row.accuracy, sign=False)}"
        for row, where in ((row, f" in {row.setting}" if several else "") for row in known)
        if row.accuracy is not None
    ]
    return f"Untrained, in accuracy: {_some(said)}."


def _generated(summary: RunSummary) -> str:
    if not summary.funnels:
        return "No data was generated."
    asked = sum(funnel.asked for funnel in summary.funnels)
    readable = sum(funnel.candidates for funnel in summary.funnels)
    kept = sum(funnel.kept for funnel in summary.funnels)
    unasked = any(funnel.strategy not in ASKING for funnel in summary.funnels)
    teachers = "teachers" if len({funnel.teacher for funnel in summary.funnels if funnel.teacher}) > 1 else "teacher"
    what = f"requests to the {teachers}" + (", edits and published items" if unasked else "")
    line = f"Of {asked:,} {what} {readable:,} gave an example, and {kept:,} passed the filters"
    if not kept:
        return f"{line}, so no arm with generated data was trained."
    return f"{line} ({draw.percent(kept, asked)})."


def _seeds(summary: RunSummary) -> str:
    trained = [row for row in summary.rows if row.kind == "arm" and not row.missing]
    if not trained:
        return ""
    fewest, most = min(len(row.seeds) for row in trained), max(len(row.seeds) for row in trained)
    if fewest < 2:
        return "With a single seed, how much training itself varies is not known."
    spreads = [row.accuracy.sd for row in trained if row.accuracy is not None and row.accuracy.sd is not None]
    times = str(most) if fewest == most else f"{fewest} to {most}"
    spread = f"; between seeds, accuracy varied by a standard deviation of up to {max(spreads):.3f}" if spreads else ""
    return f"Each arm was trained {times} times, with different seeds{spread}."


def _verdict(gain: Estimate) -> str:
    interval = draw.known_interval(gain)
    if interval is None or interval.low <= 0 <= interval.high:
        return "cannot be told from noise"
    return "is a gain beyond noise" if interval.low > 0 else "is a loss beyond noise"


def _plain(estimate: Estimate, *, sign: bool = True) -> str:
    """`+0.030 [-0.020, +0.080]`, in characters that every terminal has."""
    form = "+.3f" if sign else ".3f"
    interval = draw.known_interval(estimate) or Interval(float("nan"), float("nan"))
    return f"{estimate.value:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def _where(summary: RunSummary, row: Row) -> str:
    """Student and setting, as far as they are needed to tell the rows of this run apart."""
    students = {other.student for other in summary.rows if other.kind == "arm"}
    names = [row.student] if len(students) > 1 else []
    names += [row.setting] if len(settings(summary)) > 1 else []
    return f"{', '.join(names)}: " if names else ""


def family(row: Row) -> tuple[str, str]:
    """Rows of one family differ in their training data only and may be compared."""
    return row.setting, row.student


def _capital(text: str) -> str:
    """Start a sentence with a capital, unless it starts with a name, which stays as it is written."""
    return text[:1].upper() + text[1:] if text.startswith(("the arm", "one person")) else text


def settings(summary: RunSummary) -> list[str]:
    """The data settings of the run, in their order."""
    return list(dict.fromkeys([row.setting for row in summary.rows] + [f.setting for f in summary.funnels]))


def of_kind(rows: Iterable[Row], kind: str) -> Row | None:
    """The first row of a kind, if there is one."""
    return next((row for row in rows if row.kind == kind), None)
