"""Pictures of a set of tasks, as SVG that runs nothing and loads nothing.

They are shown on pages that are light or dark and do not say which: what lies on a slice has the slice behind it, and
what lies on the page itself is drawn in a grey that reads on both. Markup is only ever made from literals, and
`Markup.format` escapes what is put into them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"
_HUES = (
    ("#1d5f8a", "#c7dcea"),
    ("#17653a", "#c9e3d3"),
    ("#8a5a00", "#f3e0b5"),
    ("#96281f", "#f2cfcb"),
    ("#5d4a8c", "#dbd3ea"),
    ("#12696b", "#c5e2e2"),
    ("#59646f", "#d7dce0"),
)
"""Of a verb, and of its objects. The first, second, fourth and last are the report's."""
_INK = "#1d2329"
_GREY = "#77828d"
"""4.0 : 1 on white and 4.6 : 1 on the report's dark page."""

_SIZE = 700
_INNER, _MIDDLE, _OUTER = 78.0, 196.0, 344.0
"""Radii: the hole, the verbs' ring, the objects' ring."""
_LETTER = 0.56
"""Mean width of a letter as a share of the font's size."""
_PAD = 7.0


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of a ring: from `start` to `end`, as shares of the circle, clockwise from the top."""

    start: float
    end: float
    inner: float
    outer: float
    label: str
    tip: str
    fill: str
    ink: str


def picture(diversity: Mapping[str, Any]) -> str:
    """Root verbs (inner ring) and their objects (outer ring) as SVG, 700 by 700; the figures of `diversity_of`.

    Angles are shares of the tasks with one of the verbs shown. The rest of a verb's tasks, with rarer objects or none,
    leaves its part of the outer ring open. A label stands where there is room for it; every slice names itself and its
    number under the pointer.
    """
    slices = slices_of(diversity["roots"]["top"])
    label = Markup("Root verbs of {} instructions and their most common objects").format(diversity["tasks"])
    parts = [_slice(one) for one in slices]
    shown = sum(entry["tasks"] for entry in diversity["roots"]["top"])
    middle = _SIZE / 2
    parts.append(
        Markup(
            '<text x="{0}" y="{1}" text-anchor="middle" font-size="24" font-weight="600" fill="{4}">{2}</text>'
            '<text x="{0}" y="{5}" text-anchor="middle" font-size="13" fill="{4}">of {3} instructions</text>'
        ).format(middle, middle - 2, f"{shown:,}", f"{diversity['tasks']:,}", _GREY, middle + 18)
    )
    return str(_svg(_SIZE, _SIZE, label, parts))


def slices_of(top: Sequence[Mapping[str, Any]]) -> list[Slice]:
    """The slices of both rings; see `picture`."""
    whole = sum(entry["tasks"] for entry in top)
    slices, start = [], 0
    for place, entry in enumerate(top):
        # The last verb lies beside the first one.
        dark, pale = _HUES[place % len(_HUES) if place != len(top) - 1 or place % len(_HUES) else 3]
        verb, end = entry["verb"], start + entry["tasks"]
        tip = f"{verb}: {entry['tasks']:,}"
        slices.append(Slice(start / whole, end / whole, _INNER, _MIDDLE, verb, tip, dark, "#ffffff"))
        first = start
        for one in entry["objects"]:
            tip, last = f"{verb} {one['noun']}: {one['tasks']:,}", first + one["tasks"]
            slices.append(Slice(first / whole, last / whole, _MIDDLE, _OUTER, one["noun"], tip, pale, _INK))
            first = last
        start = end
    return slices


def _slice(one: Slice) -> Markup:
    path = Markup('<path d="{}" fill="{}" stroke="{}" stroke-width="1"><title>{}</title></path>').format(
        _ring(one), one.fill, "#ffffff", one.tip
    )
    return path + _label(one)


def _ring(one: Slice) -> str:
    """SVG path of the slice. A whole circle is drawn as two halves, because an arc to its own start is nothing."""
    if one.end - one.start >= 1 - 1e-9:
        halves = (
            Slice(0, 0.5, one.inner, one.outer, "", "", "", ""),
            Slice(0.5, 1, one.inner, one.outer, "", "", "", ""),
        )
        return " ".join(_ring(half) for half in halves)
    large = int(one.end - one.start > 0.5)
    corners = [
        _point(one.start, one.outer),
        _point(one.end, one.outer),
        _point(one.end, one.inner),
        _point(one.start, one.inner),
    ]
    a, b, c, d = (f"{x:.2f} {y:.2f}" for x, y in corners)
    out, into = f"{one.outer:g} {one.outer:g}", f"{one.inner:g} {one.inner:g}"
    return f"M{a} A{out} 0 {large} 1 {b} L{c} A{into} 0 {large} 0 {d} Z"


def _point(share: float, radius: float) -> tuple[float, float]:
    angle = 2 * math.pi * share - math.pi / 2
    return _SIZE / 2 + radius * math.cos(angle), _SIZE / 2 + radius * math.sin(angle)


def font_size(one: Slice) -> float:
    """Size of the slice's label in pixels, 10 to 15, so that it stays inside; 0 when it cannot.

    The label runs along the radius. It must fit into the ring's width, and its height into the arc at its inner end.
    """
    for size in (15.0, 14.0, 13.0, 12.0, 11.0, 10.0):
        length = len(one.label) * _LETTER * size
        inside = _start_of(one, size)
        arc = 2 * math.pi * (one.end - one.start) * inside
        if length <= one.outer - one.inner - 2 * _PAD and size * 1.05 <= arc:
            return size
    return 0.0


def _start_of(one: Slice, size: float) -> float:
    """Radius at which a label begins that ends at the ring's outer edge, or begins at the inner one where it may."""
    return one.outer - _PAD - len(one.label) * _LETTER * size


def _label(one: Slice) -> Markup:
    """The label along the radius, at the ring's outer edge where slices are widest, never upside down."""
    size = font_size(one)
    if not size:
        return Markup("")
    share = (one.start + one.end) / 2
    x, y = _point(share, one.outer - _PAD)
    turn = 360 * share - 90
    right = share < 0.5
    return Markup(
        '<text transform="translate({:.2f} {:.2f}) rotate({:.2f})" text-anchor="{}" dominant-baseline="central" '
        'font-size="{:g}" fill="{}" pointer-events="none">{}</text>'
    ).format(x, y, turn if right else turn + 180, "end" if right else "start", size, one.ink, one.label)


# --- lengths ------------------------------------------------------------------------------------------------------

_PANEL, _GAP, _HIGH, _TOP = 214, 29, 120, 26


def length_picture(diversity: Mapping[str, Any]) -> str:
    """Histograms of the words of instruction, input and output side by side as SVG, 700 by 172.

    Each has its own scale; the last bar holds all that is longer, and its tick has a plus. A line marks the median.
    """
    parts = []
    for place, (name, figures) in enumerate(diversity["words"].items()):
        parts.append(_panel(place * (_PANEL + _GAP), name, figures))
    return str(_svg(_SIZE, _TOP + _HIGH + 26, Markup("Words of instruction, input and output"), parts))


def _panel(left: float, name: str, figures: Mapping[str, Any]) -> Markup:
    edges, counts = figures["histogram"]["edges"], figures["histogram"]["counts"]
    wide, highest, floor = _PANEL / len(counts), max(1, *counts), _TOP + _HIGH
    parts = [_text(left, 14, "start", f"{name}, words", bold=True)]
    for place, count in enumerate(counts):
        high = _HIGH * count / highest
        parts.append(
            Markup(
                '<rect x="{:.2f}" y="{:.2f}" width="{:.2f}" height="{:.2f}" fill="#4f8fbd"><title>{}</title></rect>'
            ).format(left + place * wide + 0.5, floor - high, wide - 1, high, _bin(edges, place, count))
        )
    parts.append(
        Markup('<line x1="{0}" x2="{1}" y1="{2}" y2="{2}" stroke="{3}"/>').format(left, left + _PANEL, floor, _GREY)
    )
    last = len(edges) - 1
    parts.append(_text(left, floor + 16, "start", str(edges[0])))
    if last:
        parts.append(_text(left + last * wide, floor + 16, "middle", f"{edges[last]}+"))
    median = figures["quantiles"].get("50")
    if median is not None:
        step = edges[1] - edges[0] if last else 1
        x = left + wide * min((median - edges[0]) / step + 0.5 / step, last + 0.5)
        parts.append(
            Markup('<line x1="{0:.2f}" x2="{0:.2f}" y1="{1}" y2="{2}" stroke="#c8553d" stroke-width="2"/>').format(
                x, _TOP - 4, floor
            )
        )
        parts.append(_text(left + _PANEL, 14, "end", f"median {median}"))
    return Markup("").join(parts)


def _bin(edges: Sequence[int], place: int, count: int) -> str:
    low = edges[place]
    high = edges[place + 1] - 1 if place + 1 < len(edges) else None
    words = f"{low} or more" if high is None else str(low) if high == low else f"{low} to {high}"
    return f"{words} words: {count:,}"


def _text(x: float, y: float, anchor: str, text: str, *, bold: bool = False) -> Markup:
    return Markup('<text x="{:.2f}" y="{}" text-anchor="{}" font-size="12" fill="{}"{}>{}</text>').format(
        x, y, anchor, _GREY, Markup(' font-weight="600"') if bold else "", text
    )


def _svg(width: int, height: int, label: str, parts: Sequence[Markup]) -> Markup:
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img" '
        'aria-label="{2}" style="max-width:100%;height:auto" font-family="{3}">{4}</svg>\n'
    ).format(width, height, label, _FONT, Markup("").join(parts))
