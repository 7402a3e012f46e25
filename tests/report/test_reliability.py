"""The report's panel on probabilities."""

from __future__ import annotations

import dataclasses
import re

import pytest
from invented_runs import full, plain

from preceptor.records import Interval, ReliabilityBin
from preceptor.report.build import render
from preceptor.report.reliability import in_words, panel, reliability


def test_dots_stand_where_confidence_and_share_right_say() -> None:
    bins = (
        ReliabilityBin(0.4, 0.5, 30, 0.5, 0.0, Interval(0.0, 0.5)),
        ReliabilityBin(0.9, 1.0, 90, 1.0, 1.0),
    )
    picture = str(reliability(bins))
    dots = re.findall(r'<circle class="dot" cx="([\d.]+)%" cy="([\d.]+)%" r="([\d.]+)"', picture)
    assert [(float(x), float(y)) for x, y, _ in dots] == [(50.0, 96.0), (96.0, 4.0)]
    assert float(dots[0][2]) < float(dots[1][2])
    whiskers = re.findall(r'class="whisker" x1="([\d.]+)%" x2="[\d.]+%" y1="([\d.]+)%" y2="([\d.]+)%"', picture)
    assert [tuple(map(float, one)) for one in whiskers] == [(50.0, 96.0, 50.0)]  # the bin without an interval has none
    assert 'class="zero" x1="4.00%" y1="96.00%" x2="96.00%" y2="4.00%"' in picture


def test_the_panel_holds_errors_corrections_agreement_and_a_picture_for_each_arm() -> None:
    page = render(full())
    section = page[page.index("Are the probabilities true") : page.index("Per class, answers")]
    for shown in ("0.090", "[0.060, 0.120]", "by chance 0.034", "0.670", "maybe 0.240", "0.810", "0.630", "in 10 bins"):
        assert shown in section
    assert "50 validation items" in section
    assert section.count('class="strip reliability"') == 2
    assert "[0.000, 0.080]" in page or "[-0.040, 0.080]" in page  # recall of maybe, in the row's own table


def test_what_is_not_known_has_no_column_and_no_panel() -> None:
    summary = plain()
    rows = [dataclasses.replace(row, calibration=None, agreement=None) for row in summary.rows]
    assert panel(rows, ["x"] * len(rows)) is None
    page = render(dataclasses.replace(summary, rows=tuple(rows)))
    assert "Are the probabilities true" not in page
    one = summary.rows[-1].calibration
    assert one is not None
    without = dataclasses.replace(summary.rows[-1], calibration=dataclasses.replace(one, corrected=None))
    page = render(dataclasses.replace(summary, rows=(without,)))
    assert "No validation items were answered" in page
    assert "label prior out" not in page


def test_words_say_how_sure_and_how_often_right() -> None:
    one = plain().rows[-1].calibration
    assert one is not None
    assert in_words(one) == "69\N{NO-BREAK SPACE}% sure, 64\N{NO-BREAK SPACE}% right"
    assert in_words(dataclasses.replace(one, reliability=())) == "no answers"


@pytest.mark.parametrize("made", [full, plain])
def test_the_panel_stands_between_pictures_and_details(made: object) -> None:
    page = render(made())  # type: ignore[operator]
    assert page.index('class="figures"') < page.index("Are the probabilities") < page.index("Per class, answers")
