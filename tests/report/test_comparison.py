"""What `preceptor compare` shows: table, sentences and page."""

from __future__ import annotations

from dataclasses import replace

import pytest
from invented_runs import LONG, MARKUP, interval

from preceptor.records import Comparison, Estimate, SeedPair
from preceptor.report.comparison import compare_sentences, compare_table, p_value, points, render_comparison

ONE = Comparison(
    baseline="minilm, none",
    arm="minilm, rewrite",
    setting="reasoning-free",
    n=500,
    contexts=500,
    baseline_seeds=5,
    arm_seeds=5,
    baseline_accuracy=Estimate(0.68, interval(0.68, 0.04), 0.01),
    arm_accuracy=Estimate(0.70, interval(0.70, 0.04), 0.01),
    gain_accuracy=Estimate(0.02, interval(0.02, 0.03), 0.014),
    gain_macro_f1=Estimate(0.01, interval(0.01, 0.05), 0.02),
    pairs=(SeedPair(1, 1, 30, 41, 0.2352), SeedPair(2, 2, 28, 37, 0.3212)),
    discordance=0.15,
    p=0.21,
    p_holm=0.21,
    detectable=0.04839,
    detectable_in_family=0.04839,
    verdict="noise",
)


def test_a_sentence_says_which_gap_could_have_been_found() -> None:
    assert compare_sentences([ONE]) == [
        "reasoning-free: minilm, rewrite against minilm, none: 0.700 against 0.680; the difference "
        "+0.020 [-0.010, +0.050] cannot be told from noise (exact McNemar over all seeds p 0.2100).",
        "With 500 items and 5 seeds a gap under 4.9 points cannot be told from noise.",
    ]
    wide = replace(ONE, p=0.01, p_holm=0.02)
    assert compare_sentences([wide])[0].endswith("p 0.0100), since other seeds might turn it.")
    many = replace(ONE, p=0.02, p_holm=0.08)
    differing = [
        replace(many, arm=f"minilm, {n}", detectable=n / 100, detectable_in_family=n / 50) for n in range(1, 8)
    ]
    assert compare_sentences(differing)[-1] == (
        "Gaps under 1.0 to 7.0 points (the table's last column), under 2.0 to 14.0 among 7 comparisons, cannot be told "
        "from noise."
    )
    assert len(compare_sentences(differing)) == len(differing) + 1
    assert compare_sentences([many] * 4)[0].endswith(
        "0.0800 after Holm over 4 comparisons), since one in so many is not rare."
    )


def test_gains_families_contexts_and_single_seeds_are_said() -> None:
    gain = replace(
        ONE,
        verdict="gain",
        p=0.00001,
        p_holm=0.00002,
        gain_accuracy=Estimate(0.1, interval(0.1, 0.04)),
        detectable_in_family=0.055,
    )
    said = compare_sentences([gain, replace(ONE, arm="minilm, new", arm_seeds=1, contexts=100)])
    assert (
        "is a gain beyond noise (exact McNemar over all seeds p <.0001, <.0001 after Holm over 2 comparisons)."
        in said[0]
    )
    assert "a gap under 4.9 points, under 5.5 among 2 comparisons cannot be told from noise (reasoning-free" in said[2]
    assert said[3].startswith("With 500 items of 100 contexts and 1 against 5 seeds a gap")
    assert said[-1].startswith("Where one side has a single seed")
    few = compare_sentences([replace(gain, arm_seeds=1)])[0]
    assert "is a gain beyond noise of items (exact" in few  # how much training varies nobody knows
    assert "is a loss" in compare_sentences([replace(gain, verdict="loss")])[0]


def test_no_result_is_said_and_not_a_number() -> None:
    nothing = Estimate(1.0)
    single = replace(
        ONE,
        n=1,
        contexts=1,
        baseline_accuracy=nothing,
        arm_accuracy=nothing,
        gain_accuracy=Estimate(0.0),
        gain_macro_f1=Estimate(0.0),
        p=None,
        p_holm=None,
        detectable=None,
        detectable_in_family=None,
        verdict="no result",
        pairs=(SeedPair(1, 1, 0, 0, None),),
    )
    assert "no result, there are too few items" in compare_sentences([single])[0]
    assert (
        compare_sentences([single])[1] == "With 1 item and 5 seeds nothing can be said about which gap could be found."
    )
    row = compare_table([single]).splitlines()[1]
    assert row.count("no result") == 8
    assert "0.000" not in row
    assert "no result" in render_comparison([single], (), "c")


def test_the_table_has_a_line_for_each_comparison_and_the_seeds_below() -> None:
    lines = compare_table([ONE, replace(ONE, setting="", arm="other")]).splitlines()
    assert len(lines) == 7
    assert lines[1].startswith("reasoning-free: minilm, rewrite against minilm, none  0.700 [0.660, 0.740]")
    assert lines[1].endswith("0.2100  0.2100  noise  4.9 points")
    assert lines[2].startswith("other against minilm, none ")
    assert lines[5].strip().endswith("seed 1: 30/41 p 0.2352; 2: 28/37 p 0.3212")


@pytest.mark.parametrize(("gap", "shown"), [(0.048, "4.8 points"), (0.0481, "4.9 points"), (1.0, "100.0 points")])
def test_a_gap_is_never_promised_too_small(gap: float, shown: str) -> None:
    assert points(gap) == shown


def test_small_p_values_are_not_zero() -> None:
    assert (p_value(0.0), p_value(0.00011), p_value(1.0), p_value(None)) == ("<.0001", "0.0001", "1.0000", "no result")


def test_the_page_escapes_what_others_wrote_and_names_its_command() -> None:
    page = render_comparison([replace(ONE, arm=MARKUP, setting=LONG)], [MARKUP], f"preceptor compare {MARKUP}")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert page.count("<circle") == 1
    assert 'http-equiv="Content-Security-Policy"' in page
