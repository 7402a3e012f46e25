"""Tables and pictures of a sweep: what every point scored, over the values that were tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from preceptor.records import Estimate, PointResult, SpreadDifference, SweepResult
from preceptor.report import draw
from preceptor.report.comparison import p_value

_HIGH, _TOP, _LEFT, _RIGHT = 170, 8, 9.0, 97.0
"""Pixels of a picture's drawing and above it; its sides in percent of the width."""
_LOG = 20
"""From this ratio of the largest to the smallest value on, an axis is logarithmic."""
NAMES = {"accuracy": "accuracy", "macro_f1": "macro-F1"}
LEVEL = 0.05
"""p after Holm's correction below which two students differ."""
_FEW = 3
"""As many pairs are named, more are counted."""
_MEASURE = "Noise of seeds and items taken out, the standard deviation of the points' test accuracies"
CHOOSING = {"validation": "validation", "folds": "cross-validation"}


@dataclass(frozen=True, slots=True)
class SweepView:
    """The table of one student, setting and arm."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class PictureView:
    """Scores over values."""

    title: str
    picture: Markup
    series: tuple[str, ...]
    """Names, in the order of their colours."""
    floor: bool
    failures: bool


@dataclass(frozen=True, slots=True)
class _Series:
    """One line of a picture: its points with a value of the axis each."""

    name: str
    points: tuple[tuple[Any, PointResult], ...]
    sweep: SweepResult


def heading(sweep: SweepResult) -> str:
    """Student, setting and arm, and what chose."""
    where = [part for part in (sweep.student, sweep.setting, sweep.arm) if part not in ("", "default")]
    chose = f"chosen by {CHOOSING[sweep.select]} {NAMES[sweep.by]}"
    return f"{' · '.join(where)}, {chose}{f' on {sweep.items:,} items' if sweep.items else ''}"


def point_rows(sweep: SweepResult) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows of a sweep's table as texts; columns without any value are left out."""
    scaled = any(point.scale is not None for point in sweep.points)
    chose = f"{CHOOSING[sweep.select]} {NAMES[sweep.by]}"
    several = any(len(point.choosing_seeds) > 1 for point in sweep.points)
    tested = any(point.accuracy is not None for point in sweep.points)
    head = [*sweep.keys, *(["alpha/r"] if scaled else []), "learning rate", chose]
    head += [*(["sd over seeds"] if several else []), *(["test accuracy", "test macro-F1"] if tested else []), ""]
    rows = []
    for point in sweep.points:
        row = [*(_value(point.values[key]) for key in sweep.keys)]
        row += ["" if point.scale is None else f"{point.scale:g}"] if scaled else []
        row += ["" if point.learning_rate is None else f"{point.learning_rate:g}", _plain(point.choosing)]
        row += ["" if point.choosing is None or point.choosing.sd is None else f"{point.choosing.sd:.3f}"] * several
        row += ["" if one is None else draw.in_text(one) for one in (point.accuracy, point.macro_f1)] if tested else []
        row.append(f"failed: {point.failed}" if point.failed else "chosen" if point.chosen else "")
        rows.append(tuple(row))
    return tuple(head), rows


def sweep_views(sweeps: Sequence[SweepResult]) -> tuple[SweepView, ...]:
    """A table for each student, setting and arm."""
    return tuple(SweepView(heading(sweep), *_frozen(point_rows(sweep))) for sweep in sweeps)


def _frozen(
    made: tuple[tuple[str, ...], list[tuple[str, ...]]],
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    return made[0], tuple(made[1])


def spread_rows(
    sweeps: Sequence[SweepResult], differences: Sequence[SpreadDifference]
) -> tuple[tuple[str, str, str, str, str, str], ...]:
    """Student (or two of them), metric, points, range, standard deviation and what of it is beyond noise."""
    rows = []
    for sweep in sweeps:
        name = " · ".join([sweep.student, *_where(sweep)])
        for metric, spread in sweep.spread.items():
            wide, sd, beyond = map(_plain, (spread.range, spread.sd, spread.beyond_noise))
            rows.append((name, NAMES[metric], str(spread.points), wide, sd, beyond))
    for one in differences:
        name = " · ".join([f"{one.first} less {one.second}", *_where(one)])
        wide, sd, beyond = (_plain(number, "+") for number in (one.range, one.sd, one.beyond_noise))
        rows.append((name, NAMES[one.metric], "", wide, sd, beyond))
    return tuple(rows)


def _where(one: SweepResult | SpreadDifference) -> list[str]:
    return [part for part in (one.setting, one.arm) if part not in ("", "default")]


def sweep_sentences(sweeps: Sequence[SweepResult], differences: Sequence[SpreadDifference]) -> list[str]:
    """What was chosen, of how many points, what failed; and whether one student depends more on its settings."""
    if not sweeps:
        return []
    points = [point for sweep in sweeps for point in sweep.points]
    chose = f"{CHOOSING[sweeps[0].select]} {NAMES[sweeps[0].by]}"
    best = [point for point in points if point.chosen]
    if len(best) == 1:
        values = ", ".join(f"{key} = {_value(value)}" for key, value in best[0].values.items())
        line = f"Of {len(points)} points {values} was chosen by {chose}, {_plain(best[0].choosing)}"
    else:
        line = f"Of {len(points)} points {len(best)} were chosen by {chose}, one for each student, setting and arm"
    failed = sum(bool(point.failed) for point in points)
    said = [f"{line}{f'; {failed} failed' if failed else ''}."]
    apart = [one for one in differences if one.metric == "accuracy"]
    return [*said, *([_apart(apart, {sweep.student: sweep.model for sweep in sweeps})] if apart else [])]


def _apart(differences: Sequence[SpreadDifference], models: Mapping[str, str]) -> str:
    """Which students depend differently on their settings, by the standard deviation beyond noise alone.

    `models`: student -> model. Named are the pairs that differ, with Holm's correction over all that are compared, and
    the others where they are few.
    """
    compared = [one for one in differences if one.p_holm is not None]
    if not compared:
        who = _names(differences) if len(differences) <= _FEW else "the students"
        return f"Whether settings matter differently to {who} cannot be said: noise of seeds is known from 3 seeds on."
    beyond = [one for one in compared if one.p_holm is not None and one.p_holm < LEVEL]
    others = [one for one in compared if one not in beyond]
    if len(compared) == 1:
        told = "is beyond noise" if beyond else "cannot be told from noise"
        return f"{_MEASURE} differs between {_names(compared)} by {_difference(compared[0])}, which {told}."
    one_model = all(models[one.first] == models[one.second] for one in compared) and len(set(models.values())) > 1
    return _of_several(beyond, others, "pairs of students that share a model" if one_model else "pairs of students")


def _of_several(beyond: Sequence[SpreadDifference], others: Sequence[SpreadDifference], pairs: str) -> str:
    compared = [*beyond, *others]
    several = len({(one.setting, one.arm) for one in compared}) > 1
    said = f"{_MEASURE} was compared in {len(compared)} {pairs}, with Holm's correction. Beyond noise: "
    said += "; ".join(f"{_names([one], ' less ', several)}, {_difference(one)}" for one in beyond) or "none"
    if not others:
        return f"{said}."
    rest = _names(others, " and ", several) if len(others) <= _FEW else f"the other {len(others)}" if beyond else "all"
    return f"{said}. Not to be told from noise: {rest}."


def _names(pairs: Sequence[SpreadDifference], between: str = " and ", placed: bool = False) -> str:
    """The students of each pair, and where they were compared if `placed`."""
    names = []
    for one in pairs:
        place = ", ".join(_where(one)) if placed else ""
        names.append(f"{one.first}{between}{one.second}{f' ({place})' if place else ''}")
    return "; ".join(names)


def _difference(one: SpreadDifference) -> str:
    return f"{_plain(one.beyond_noise, '+')} (p {p_value(one.p_holm)})"


def sweep_pictures(sweeps: Sequence[SweepResult]) -> tuple[PictureView, ...]:
    """Scores over each axis: on the test where several points answered it, else the score that chooses.

    Students that are swept over one key of numbers each share a picture of a setting and arm. Of several keys each
    has a picture of its own, through the chosen point.
    """
    made: list[PictureView] = []
    for setting, arm in dict.fromkeys((sweep.setting, sweep.arm) for sweep in sweeps):
        mine = [sweep for sweep in sweeps if (sweep.setting, sweep.arm) == (setting, arm)]
        single = [sweep for sweep in mine if len(sweep.keys) == 1]
        numeric = [sweep for sweep in single if _numeric([point.values[sweep.keys[0]] for point in sweep.points])]
        groups = [[_slice(sweep, sweep.keys[0]) for sweep in numeric]] if numeric else []
        groups += [[_slice(sweep, sweep.keys[0])] for sweep in single if sweep not in numeric]
        groups += [[_slice(sweep, key)] for sweep in mine if len(sweep.keys) > 1 for key in sweep.keys]
        where = " · ".join(part for part in (setting, arm) if part not in ("", "default"))
        made += [view for group in groups for view in _pictures(group, where)]
    return tuple(made)


def _slice(sweep: SweepResult, key: str) -> _Series:
    """The points along one key, the others as at the chosen point (the first one where none was chosen)."""
    others = [name for name in sweep.keys if name != key]
    fixed = next((point for point in sweep.points if point.chosen), sweep.points[0]).values
    points = [point for point in sweep.points if all(point.values[name] == fixed[name] for name in others)]
    held = "".join(f", {name} = {_value(fixed[name])}" for name in others)
    return _Series(f"{sweep.student}, {key}{held}", tuple((point.values[key], point) for point in points), sweep)


def _pictures(group: Sequence[_Series], where: str) -> list[PictureView]:
    if max(len(series.points) for series in group) < 2:
        return []
    sweep = group[0].sweep
    tested = max(sum(point.accuracy is not None for _, point in series.points) for series in group) > 1
    title = f" · {where}" if where else ""
    if tested:
        scores: dict[str, Callable[[PointResult], Estimate | None]] = {
            "accuracy": lambda point: point.accuracy,
            "macro_f1": lambda point: point.macro_f1,
        }
        return [
            _picture(group, f"Test {NAMES[metric]}{title}", score, sweep.floor.get(metric))
            for metric, score in scores.items()
        ]
    name = f"{CHOOSING[sweep.select]} {NAMES[sweep.by]}{title}"
    return [_picture(group, name[0].upper() + name[1:], lambda point: point.choosing, None)]


def _picture(
    group: Sequence[_Series], title: str, score: Callable[[PointResult], Estimate | None], floor: float | None
) -> PictureView:
    across = _across([value for series in group for value, _ in series.points])
    found = [score(point) for series in group for _, point in series.points]
    extra = [one.value for one in found if one is not None] + ([floor] if floor is not None else [])
    axis = draw.score_axis(found, extra)

    def down(value: float) -> float:
        share = (min(max(value, axis.low), axis.high) - axis.low) / (axis.high - axis.low)
        return _TOP + _HIGH * (1 - share)

    parts = [_grid(axis, down), _values(across)]
    if floor is not None:
        line = Markup('<line class="floor" x1="{}%" x2="{}%" y1="{:.1f}" y2="{:.1f}"/>')
        parts.append(line.format(_LEFT, _RIGHT, down(floor), down(floor)))
    for number, series in enumerate(group):
        shift = 0.8 * (number - (len(group) - 1) / 2)
        drawn = _line(series, across, shift, score, down)
        parts.append(Markup('<g class="series-{}">{}</g>').format(number % 4, drawn))
    return PictureView(
        title,
        Markup('<svg class="sweep" width="100%" height="{}" aria-hidden="true" focusable="false">{}</svg>').format(
            _TOP + _HIGH + 24, Markup("").join(parts)
        ),
        tuple(series.name for series in group),
        floor is not None,
        any(point.failed for series in group for _, point in series.points),
    )


def _line(
    series: _Series,
    across: Mapping[str, float],
    shift: float,
    score: Callable[[PointResult], Estimate | None],
    down: Callable[[float], float],
) -> Markup:
    lines, dots, before = Markup(""), Markup(""), None
    for value, point in sorted(series.points, key=lambda entry: across[_value(entry[0])]):
        x, estimate = across[_value(value)] + shift, score(point)
        if estimate is None or not math.isfinite(estimate.value):
            if point.failed:
                dots += Markup('<text class="failed" x="{:.2f}%" y="{}" text-anchor="middle">×</text>').format(
                    x, _TOP + _HIGH - 3
                )
            before = None
            continue
        y = down(estimate.value)
        if before is not None:
            lines += Markup('<line class="path" x1="{:.2f}%" y1="{:.1f}" x2="{:.2f}%" y2="{:.1f}"/>').format(
                *before, x, y
            )
        if estimate.interval is not None:
            lines += Markup('<line class="whisker" x1="{0:.2f}%" x2="{0:.2f}%" y1="{1:.1f}" y2="{2:.1f}"/>').format(
                x, down(estimate.interval.low), down(estimate.interval.high)
            )
        kind = "dot chosen" if point.chosen else "dot"
        dots += Markup('<circle class="{}" cx="{:.2f}%" cy="{:.1f}" r="4"/>').format(kind, x, y)
        before = (x, y)
    return lines + dots


def _grid(axis: draw.Axis, down: Callable[[float], float]) -> Markup:
    mark = Markup('<line x1="{0}%" x2="{1}%" y1="{2:.1f}" y2="{2:.1f}"/><text x="0" y="{3:.1f}">{4}</text>')
    return Markup("").join(mark.format(_LEFT, _RIGHT, down(tick), down(tick) + 4, f"{tick:.1f}") for tick in axis.ticks)


def _values(across: Mapping[str, float]) -> Markup:
    mark = Markup('<text x="{:.2f}%" y="{}" text-anchor="middle">{}</text>')
    return Markup("").join(mark.format(x, _TOP + _HIGH + 17, name) for name, x in across.items())


def _across(values: Sequence[Any]) -> dict[str, float]:
    """Value -> its place in percent of the width: by size for numbers, else in the order given."""
    inner, width = _LEFT + 5, _RIGHT - _LEFT - 10
    if not _numeric(values):
        names = list(dict.fromkeys(map(_value, values)))
        return {name: inner + width * (number + 0.5) / len(names) for number, name in enumerate(names)}
    numbers = sorted({float(value) for value in values})
    low, high = (_height(number, numbers) for number in (numbers[0], numbers[-1]))
    return {
        _value(number): inner + width * ((_height(number, numbers) - low) / (high - low) if high > low else 0.5)
        for number in numbers
    }


def _height(number: float, numbers: Sequence[float]) -> float:
    return math.log2(number) if is_logarithmic(numbers) else number


def is_logarithmic(numbers: Sequence[float]) -> bool:
    """Whether equal steps are equal factors: for powers of two, and for values that lie far apart."""
    if min(numbers) <= 0:
        return False
    return all(math.log2(number).is_integer() for number in numbers) or max(numbers) / min(numbers) >= _LOG


def _numeric(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return ", ".join(map(_value, value)) if isinstance(value, list | tuple) else str(value)


def _plain(estimate: Estimate | None, sign: str = "") -> str:
    if estimate is None or not math.isfinite(estimate.value):
        return ""
    ends = estimate.interval
    return f"{estimate.value:{sign}.3f}" + (f" [{ends.low:{sign}.3f}, {ends.high:{sign}.3f}]" if ends else "")
