"""What the pages of both kinds of experiment share: their templates, lines of pictures, costs, flat provenance.

Everything a model or a user wrote passes through jinja2's autoescape; the pages' own content policy (`head.html.jinja`)
forbids scripts and every load from elsewhere.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2
from markupsafe import Markup

from preceptor.records import Estimate, Spend
from preceptor.report import draw

_SHAPES = frozenset(
    ["svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "title"]
)
"""Elements that a picture made elsewhere in this package may hold."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a picture."""

    label: str
    value: str
    picture: Markup


@cache
def template(name: str) -> jinja2.Template:
    """A page of this package with the report's filters."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("preceptor", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (
        draw.score,
        draw.signed,
        draw.percent,
        draw.dollars,
        draw.duration,
        draw.in_words,
        draw.shortened,
        draw.typeset,
    )
    environment.filters |= {function.__name__: function for function in functions}
    environment.filters["count"] = lambda value: f"{value:,}"
    environment.globals |= {"known_interval": draw.known_interval, "in_text": draw.in_text, "funnel_bar": draw.bar}
    return environment.get_template(name)


def shown(estimate: Estimate | None, *, sign: bool) -> str:
    """An estimate's value at the end of a line."""
    if estimate is None or not draw.has_result(estimate):
        return "no result"
    return draw.signed(estimate.value) if sign else draw.score(estimate.value)


def total_cost(spend: Mapping[str, Spend]) -> float | None:
    """Money over all teachers; None when one of them is unknown."""
    amounts = [spent.usd for spent in spend.values()]
    known = [amount for amount in amounts if amount is not None]
    return sum(known) if len(known) == len(amounts) else None


def flat(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """A nested dictionary as (path, text) in its own order."""
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from flat(inner, (*path, str(key)))
    elif isinstance(value, list | tuple) and any(isinstance(inner, Mapping | list | tuple) for inner in value):
        for number, inner in enumerate(value, start=1):
            yield from flat(inner, (*path, str(number)))
    elif isinstance(value, list | tuple):
        yield path, ", ".join(map(str, value)) or "none"
    elif isinstance(value, bool):
        yield path, "yes" if value else "no"
    else:
        yield path, "not recorded" if value is None else str(value)


def recorded(provenance: Mapping[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """The provenance as (path, text), groups last."""
    return sorted(flat(provenance), key=lambda entry: len(entry[0]) > 1)


def inline_picture(svg: str) -> Markup | None:
    """An SVG text as markup, if it is one element of plain shapes and words; None otherwise.

    The pictures come from this package, but the words in them from a model: what is not well-formed, or could run
    or load something, is not shown.
    """
    # Without declarations, comments and CDATA an XML parser and a browser read the same elements, and there is no
    # entity that could grow.
    if "<!" in svg or "<?" in svg or "\x00" in svg:
        return None
    try:
        root = ElementTree.fromstring(svg)  # noqa: S314
    except ElementTree.ParseError:
        return None
    for element in root.iter():
        if _local(element.tag) not in _SHAPES or not all(map(_harmless, element.attrib, element.attrib.values())):
            return None
    # An HTML parser reads what stands in <title> as HTML, so it may hold no element.
    titles = (element for element in root.iter() if _local(element.tag) == "title")
    return Markup(svg) if _local(root.tag) == "svg" and not any(map(len, titles)) else None  # noqa: S704


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _harmless(name: str, value: str) -> bool:
    return not re.match(r"on|href|src|base", _local(name), re.I) and not re.search(
        r"url\(\s*['\"]?[^#'\"]", value, re.I
    )
