"""The sentences at the top of the report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
from invented_runs import full, gain, plain, wide

from preceptor.records import (
    Estimate,
    RunSummary,
)
from preceptor.report.build import sentences


def one_comparison(accuracy: Estimate | None, macro: Estimate | None = None) -> RunSummary:
    summary = plain()
    *others, helped = summary.rows
    helped = dataclasses.replace(helped, gain_accuracy=accuracy, gain_macro_f1=macro)
    return dataclasses.replace(summary, rows=(*others, helped))


@pytest.mark.parametrize(
    ("estimate", "says"),
    [
        (gain(0.03, 0.05), "the difference +0.030 [-0.020, +0.080] cannot be told from noise."),
        (gain(0.03, 0.03), "the difference +0.030 [+0.000, +0.060] cannot be told from noise."),
        (gain(0.03, 0.02), "the difference +0.030 [+0.010, +0.050] is a gain beyond noise."),
        (gain(-0.03, 0.02), "the difference -0.030 [-0.050, -0.010] is a loss beyond noise."),
        (Estimate(0.03), "there is no result for the difference."),
        (None, "there is no result for the difference."),
    ],
)
def test_a_difference_is_called_what_its_interval_allows(estimate: Estimate | None, says: str) -> None:
    first = sentences(one_comparison(estimate))[0]
    assert first.startswith("The arm rewrite reached an accuracy of 0.679 against 0.679 without generated data; ")
    assert first.endswith(says)


def test_macro_f1_is_mentioned_when_it_says_something_else() -> None:
    assert "macro-F1" not in sentences(one_comparison(gain(0.0, 0.1), gain(0.0, 0.1)))[0]
    apart = sentences(one_comparison(gain(0.0, 0.1), gain(0.2, 0.1)))[0]
    assert apart.endswith("while in macro-F1 +0.200 [+0.100, +0.300] is a gain beyond noise.")


def test_many_comparisons_are_counted_and_the_chance_of_a_lucky_one_is_said() -> None:
    lines = sentences(full())
    assert lines[0] == (
        "Of 3 comparisons with the same student trained without generated data, 1 shows a gain in accuracy "
        "beyond noise (smollm2, reasoning-free: rewrite +0.034 [+0.006, +0.062]); among so many, "
        "one by chance is not rare."
    )
    alone = [row for row in full().rows if (row.setting, row.arm) != ("reasoning-free", "none")]
    assert sentences(dataclasses.replace(full(), rows=tuple(alone)))[0].startswith("Of 1 comparison with the same")
    none = tuple(row for row in alone if row.arm != "none")
    assert sentences(dataclasses.replace(full(), rows=none))[0].startswith("There is no result of training without")
    noise = tuple(dataclasses.replace(row, gain_accuracy=row.gain_accuracy and gain(0.0, 0.1)) for row in full().rows)
    assert sentences(dataclasses.replace(full(), rows=noise))[0].endswith(
        "none shows a difference in accuracy beyond noise."
    )


def test_floor_human_data_and_seeds_are_said() -> None:
    lines = sentences(full())
    assert (
        "reasoning-required: 0 of 2 trained arms clear the floor of always giving the most frequent label" in lines[1]
    )
    assert (
        "reasoning-free: 4 of 4 trained arms clear the floor, 0.552 [0.511, 0.593]; one person reached 0.900."
        in lines[1]
    )
    assert lines[2] == "Of 900 requests to the teacher 862 gave an example, and 101 passed the filters (11 %)."
    assert lines[3] == (
        "Each arm was trained 3 times, with different seeds; between seeds, accuracy varied by a standard "
        "deviation of up to 0.017."
    )
    lines = sentences(plain())
    assert not any("person" in line for line in lines)
    assert "so no arm with generated data was trained." in lines[2]
    assert lines[3] == "With a single seed, how much training itself varies is not known."


def test_without_a_partner_or_a_result_nothing_is_compared() -> None:
    summary = plain()
    floor, _, helped = summary.rows
    alone = dataclasses.replace(summary, rows=(floor, helped))
    assert "there is no result of training without generated data to compare it with" in sentences(alone)[0]
    lost = dataclasses.replace(summary, rows=(floor, dataclasses.replace(helped, accuracy=Estimate(0.0))))
    assert sentences(lost)[0] == "The arm rewrite has no result."
    nothing = dataclasses.replace(summary, rows=(), funnels=())
    assert sentences(nothing) == [
        "No arm with generated data was trained, so nothing is said about augmentation.",
        "No data was generated.",
    ]


@pytest.mark.parametrize("made", [full, plain, wide])
def test_at_most_five_sentences_in_characters_of_every_terminal(made: Callable[[], RunSummary]) -> None:
    lines = sentences(made())
    assert 1 <= len(lines) <= 5
    assert all(line.isascii() and line.endswith(".") for line in lines)
