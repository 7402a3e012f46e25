"""Pictures, marks and numbers of the report.

Pictures are inline SVG without a width of their own: positions are percentages, so a picture fills the room
it has, on a phone and on paper, while strokes keep their thickness. Every picture repeats numbers that also
stand in a table, so all of them are hidden from screen readers.

Markup is only ever made from literals, and `Markup.format` escapes what is put into them.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from preceptor.records import Estimate, Interval

_EDGE = 2.0
"""Room at both ends of an axis, in percent of its width, so that a dot at the end is not cut."""
_MAX_CELLS = 4_000_000
"""Longest comparison of two texts, in word pairs: about a second. Longer texts are shown unmarked."""
_MIN_RATIO = 0.3
"""Below this share of common words two texts are not versions of each other: marks would only be noise."""
_WORD = re.compile(r"(\w+(?:[.,'’-]\w+)*|[^\w\s])(\s*)")


@dataclass(frozen=True, slots=True)
class Axis:
    """A horizontal axis from `low` to `high` with a tick at each of `ticks`."""

    low: float
    high: float
    ticks: tuple[float, ...]

    def at(self, value: float) -> str:
        """Position of `value` as a percentage of the picture's width; values outside stand at the end."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return f"{_EDGE + (100 - 2 * _EDGE) * share:.2f}%"


def has_result(estimate: Estimate | None) -> bool:
    """Whether there is a number to show: without an interval there were fewer than two items, and no result.

    Not for figures that have no interval by their nature, such as those that a paper printed.
    """
    return estimate is not None and estimate.interval is not None and math.isfinite(estimate.value)


def known_interval(estimate: Estimate | None) -> Interval | None:
    """The estimate's interval, or None where there is no result."""
    return estimate.interval if estimate is not None and has_result(estimate) else None


def in_text(estimate: Estimate | None, sign: str = "") -> str:
    """An estimate in plain text, `0.580 [0.442, 0.706]`; `sign` is `+` for differences. `no result` without one."""
    interval = known_interval(estimate)
    if estimate is None or interval is None:
        return "no result"
    return f"{estimate.value:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"


def _ends(estimates: Iterable[Estimate | None]) -> list[float]:
    ends = []
    for estimate in estimates:
        interval = known_interval(estimate)
        if estimate is not None and interval is not None:
            ends += [estimate.value, interval.low, interval.high]
    return [end for end in ends if math.isfinite(end)]


def score_axis(estimates: Iterable[Estimate | None], extra: Iterable[float] = ()) -> Axis:
    """An axis within 0..1 in whole tenths around all values, at least 0.3 wide."""
    values = [*_ends(estimates), *(value for value in extra if math.isfinite(value))] or [0.0, 1.0]
    low = max(0, math.floor(min(values) * 10 + 1e-9))
    high = min(10, math.ceil(max(values) * 10 - 1e-9))
    while high - low < 3:
        low, high = max(0, low - 1), min(10, high + 1)
    step = 1 if high - low <= 6 else 2
    return Axis(low / 10, high / 10, tuple(tick / 10 for tick in range(low, high + 1, step)))


def difference_axis(estimates: Iterable[Estimate | None]) -> Axis:
    """An axis symmetric about 0 in steps of 0.05, so that gains and losses of one size look alike."""
    reach = max((abs(end) for end in _ends(estimates)), default=0.0)
    half = max(1, math.ceil(reach / 0.05 - 1e-9)) * 0.05
    return Axis(-half, half, (-half, -half / 2, 0.0, half / 2, half))


def scale(axis: Axis, *, sign: bool = False) -> Markup:
    """The axis' ticks with their values."""
    marks = Markup("").join(
        Markup('<line x1="{0}" x2="{0}" y1="0" y2="5"/><text x="{0}" y="17" text-anchor="middle">{1}</text>').format(
            axis.at(tick), _tick(tick, sign)
        )
        for tick in axis.ticks
    )
    return Markup('<svg class="scale" width="100%" height="20" aria-hidden="true" focusable="false">{}</svg>').format(
        marks
    )


def _tick(value: float, sign: bool) -> str:
    text = f"{abs(value):.3f}".rstrip("0").ljust(3, "0").removesuffix(".") if value else "0"
    return ("−" if value < 0 else "+" if sign and value > 0 else "") + text


def strip(
    estimate: Estimate | None,
    axis: Axis,
    *,
    kind: str,
    floor: Estimate | None = None,
    human: Estimate | None = None,
    zero: bool = False,
    seeds: Sequence[float] = (),
) -> Markup:
    """One line of a dot-and-interval picture.

    `kind` is the class of the dot. Behind it stand the floor's interval as a band, the floor and the human
    value as lines or, with `zero`, a line at 0; below it a tick for each seed's value, if there are several.
    """
    parts = [_band(floor, axis), _upright(floor, axis, "floor"), _upright(human, axis, "human")]
    if zero:
        parts.append(Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="26"/>').format(axis.at(0.0)))
    interval = known_interval(estimate)
    if estimate is not None and interval is not None:
        whisker = Markup('<line class="whisker {}" x1="{}" x2="{}" y1="12" y2="12"/>')
        parts.append(whisker.format(kind, axis.at(interval.low), axis.at(interval.high)))
        parts += [
            Markup('<line class="seed" x1="{0}" x2="{0}" y1="19" y2="23"/>').format(axis.at(seed))
            for seed in (seeds if len(seeds) > 1 else ())
        ]
        parts.append(Markup('<circle class="dot {}" cx="{}" cy="12" r="4.5"/>').format(kind, axis.at(estimate.value)))
    return Markup('<svg class="strip" width="100%" height="26" aria-hidden="true" focusable="false">{}</svg>').format(
        Markup("").join(parts)
    )


def _band(floor: Estimate | None, axis: Axis) -> Markup:
    interval = known_interval(floor)
    if interval is None:
        return Markup("")
    low, high = axis.at(interval.low), axis.at(interval.high)
    width = f"{float(high[:-1]) - float(low[:-1]):.2f}%"
    return Markup('<rect class="band" x="{}" width="{}" y="0" height="26"/>').format(low, width)


def _upright(estimate: Estimate | None, axis: Axis, kind: str) -> Markup:
    if estimate is None or not has_result(estimate):
        return Markup("")
    return Markup('<line class="upright {1}" x1="{0}" x2="{0}" y1="0" y2="26"/>').format(axis.at(estimate.value), kind)


def bar(left: int, gone: int, total: int) -> Markup:
    """A bar of what is left after a step and, paler, of what the step took away, as shares of `total`."""
    scale_to = max(total, left + gone, 1)
    return Markup(
        '<svg class="bar" width="100%" height="14" aria-hidden="true" focusable="false">'
        '<rect class="whole" width="100%" height="14"/><rect class="left" width="{0}%" height="14"/>'
        '<rect class="gone" x="{0}%" width="{1}%" height="14"/></svg>'
    ).format(f"{100 * left / scale_to:.2f}", f"{100 * gone / scale_to:.2f}")


def word_difference(old: str, new: str) -> tuple[Markup, Markup] | None:
    """Both texts with their differing words in `<del>` and `<ins>`.

    None when the texts share too few words to be versions of each other, or are too long to compare.
    """
    olds, news = _WORD.findall(old), _WORD.findall(new)
    if len(olds) * len(news) > _MAX_CELLS:
        return None
    matcher = difflib.SequenceMatcher(None, [w for w, _ in olds], [w for w, _ in news], autojunk=False)
    if matcher.ratio() < _MIN_RATIO:
        return None
    before, after = [], []
    for kind, a, b, c, d in matcher.get_opcodes():
        before.append(_run(olds[a:b], None if kind == "equal" else Markup("<del>{}</del>{}")))
        after.append(_run(news[c:d], None if kind == "equal" else Markup("<ins>{}</ins>{}")))
    return Markup("").join(before), Markup("").join(after)


def _run(words: Sequence[tuple[str, str]], mark: Markup | None) -> Markup:
    """Words with the white space after each; a mark ends before the last white space."""
    if not words:
        return Markup("")
    inner = "".join(word + space for word, space in words[:-1]) + words[-1][0]
    space = words[-1][1]
    return escape(inner + space) if mark is None else mark.format(inner, space)


def score(value: float) -> str:
    """A share with three decimals."""
    return f"{value:.3f}" if math.isfinite(value) else "no result"


def signed(value: float) -> str:
    """A difference with its sign and three decimals; the minus is the typographic one."""
    return f"{value:+.3f}".replace("-", "−") if math.isfinite(value) else "no result"


def typeset(sentence: str) -> str:
    """A plain sentence with typographic minus signs, whose intervals are not broken over lines."""
    whole = re.sub(r"\[[^\]]*\]", lambda found: found.group().replace(" ", "\N{NO-BREAK SPACE}"), sentence)
    return re.sub(r"(?<![\w.])-(?=\d)", "−", whole)


def percent(part: float, whole: float) -> str:
    """`part` of `whole` in percent; a share that is neither none nor all never rounds to 0 % or 100 %."""
    if not whole:
        return "–"
    share = 100 * part / whole
    if 0 < share < 1:
        return "<1\N{NO-BREAK SPACE}%"
    if 99 < share < 100:
        return ">99\N{NO-BREAK SPACE}%"
    return f"{share:.0f}\N{NO-BREAK SPACE}%"


def dollars(value: float | None) -> str:
    """Money in US dollars; `unknown` when nobody knows the price."""
    if value is None:
        return "unknown"
    return f"${value:,.2f}" if value >= 1 or value == 0 else f"${value:.4f}"


def duration(seconds: float) -> str:
    """Seconds in the unit that reads best."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def in_words(code: str) -> str:
    """A stable code such as `lost_number` as words."""
    return code.replace("_", " ")


def shortened(text: str, words: int = 60) -> str:
    """The first `words` words of a text, and how many more there are."""
    parts = text.split()
    return text if len(parts) <= words else f"{' '.join(parts[:words])} … ({len(parts) - words} more words)"
