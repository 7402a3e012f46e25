"""The report of an adaptation: what it says, for better and for worse, and that nothing from outside gets into it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preceptor.records import AdaptSummary, Estimate, Interval, PerplexityChange
from preceptor.report.build_adapt import adapt_sentences, axis_of, build_adapt, render_adapt


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value, Interval(low, high, 0.95, "bootstrap of documents"))


def change(ratio: Estimate) -> PerplexityChange:
    before, after = estimate(15.8, 13.9, 18.2), estimate(15.8 * ratio.value, 11.7, 17.3)
    return PerplexityChange(before, after, ratio, 15.2, 13.0, 29, 30, 12_345)


def fit(steps: int = 500, **keys: Any) -> dict[str, Any]:
    losses = [3.0 - 0.5 * i / steps for i in range(steps)]
    checks = [{"step": steps // 2, "loss": 2.8, "accuracy": None}, {"step": steps, "loss": 2.6, "accuracy": None}]
    counts = {"steps": steps, "selected": steps, "tokens": 250_000, "pass_tokens": 500_000, "windows": 977}
    return {**counts, "losses": losses, "checks": checks, "seconds": 90.0, "trainable": 1000, **keys}


def summary(**keys: Any) -> AdaptSummary:
    given: dict[str, Any] = {
        "name": "adapt",
        "title": "Does it help?",
        "notice": "",
        "model": "builtin:small",
        "adapted": "runs/adapt/model",
        "method": "LoRA r 8",
        "length": 512,
        "documents": {"train": 900, "validation": 10, "test": 30},
        "read": 950,
        "left_out": 0,
        "dropped": {"copy": 7, "ngram (held-out)": 3},
        "excluded": {"pubmedqa": 550},
        "change": change(estimate(0.842, 0.831, 0.851)),
        "fit": fit(),
        "provenance": {"seed": 1, "machine": {"cores": 2}},
        "recipe": 'name = "adapt"',
        "command": "preceptor run adapt.toml",
    }
    return AdaptSummary(**{**given, **keys})


@pytest.mark.parametrize(
    ("ratio", "words"),
    [
        (estimate(0.842, 0.831, 0.851), "fell from 15.80 [13.90, 18.20] to 13.30 [11.70, 17.30]: 0.842 [0.831, 0.851]"),
        (estimate(1.1, 1.05, 1.2), "rose from 15.80"),
        (estimate(0.99, 0.97, 1.01), "did not move beyond noise from 15.80"),
        (Estimate(0.5), "did not move beyond noise"),
    ],
)
def test_the_first_sentence_says_what_came_out(ratio: Estimate, words: str) -> None:
    first = adapt_sentences(summary(change=change(ratio)))[0]
    assert first.startswith("Perplexity of 30 held-out documents ")
    assert words in first


def test_the_other_sentences_say_what_was_read_and_dropped() -> None:
    said = " ".join(adapt_sentences(summary()))
    assert "lower for 29 of the 30; the median document went from 15.20 to 13.00" in said
    assert "250,000 tokens in 500 steps (0.5 passes over 900 documents) in 1 min 30 s; the state after step 500" in said
    assert "Of 950 documents 10 were dropped: 7 copy, 3 ngram (held-out)." in said
    assert said.endswith("runs/adapt/model")
    assert "Of 950 documents 1 was dropped: 1 copy." in " ".join(adapt_sentences(summary(dropped={"copy": 1})))
    assert "Of 950 documents 0 were dropped." in " ".join(adapt_sentences(summary(dropped={})))
    assert adapt_sentences(summary(change=None))[0].endswith("so nothing was measured.")


def test_the_page_holds_all_figures(tmp_path: Path) -> None:
    page = build_adapt(summary(left_out=5), tmp_path / "report.html").read_text(encoding="utf-8")
    for words in (
        "12,345 tokens",
        "pubmedqa (550 texts)",
        "−7",
        "not drawn",
        "0.855",
        "2.6000",
        "13.46",
        "2,778 tokens/s",
    ):
        assert words in page, words
    assert page.count('<circle class="dot arm"') == 1 + 2  # the perplexity after, and two looks at validation
    points = page.partition('points="')[2].partition('"')[0].split()
    assert len(points) == 167  # means of three steps
    places = [tuple(map(float, point.split(","))) for point in points]
    assert all(0 <= x <= 100 and 0 <= y <= 100 for x, y in places)
    assert places == sorted(places)  # steps go right, and this loss falls, which is down


def test_ticks_are_whole_numbers_where_they_are_large() -> None:
    scale = render_adapt(summary()).partition('class="scale"')[2].partition("</svg>")[0]
    assert [words.partition("<")[0] for words in scale.split('"middle">')[1:]] == ["0", "5.0", "10", "15", "20"]


def test_little_of_everything_is_drawn_too() -> None:
    one = fit(1, losses=[2.0], checks=[{"step": 1, "loss": 2.0}], seconds=0.0)
    page = render_adapt(summary(change=None, fit=one, excluded={}, dropped={}))
    assert "nan" not in page.lower().replace("provenance", "")
    assert "nothing was measured" in page


@pytest.mark.parametrize("top", [0.7, 1.0, 4.9, 5.1, 18.2, 99.0, 1700.0])
def test_the_axis_begins_at_0_and_holds_every_perplexity(top: float) -> None:
    axis = axis_of([estimate(top * 0.9, top * 0.8, top), estimate(top / 2, top / 3, top / 1.5)])
    assert axis.low == 0 == axis.ticks[0]
    assert top <= axis.high == axis.ticks[-1] <= 2 * top
    assert 3 <= len(axis.ticks) <= 6


def test_what_comes_from_outside_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    page = render_adapt(
        summary(title=evil, notice=evil, model=evil, dropped={evil: 1}, excluded={evil: 2}, recipe=evil)
    )
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
