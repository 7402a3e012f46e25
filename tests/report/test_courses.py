"""The picture of how trainings went: means of neighbouring steps, one scale for all arms, checks where they were."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from invented_instruct import full_instruct
from invented_runs import course, full, plain

from preceptor.records import course_of
from preceptor.records.courses import POINTS
from preceptor.report.build import render
from preceptor.report.build_instruct import render_instruct
from preceptor.report.courses import course_views, remarks_on


def fit(losses: list[float], **more: Any) -> dict[str, Any]:
    checks = [{"step": 2, "loss": 0.5, "accuracy": 0.4}, {"step": len(losses), "loss": 1.0, "accuracy": None}]
    return {"steps": len(losses), "losses": losses, "checks": checks, "selected": 2, **more}


def test_few_steps_are_shown_as_they_are() -> None:
    found = course_of("", "minilm", "none", 1, fit([2.0, 1.0, 0.5]))
    assert found.losses == ((1.0, 2.0), (2.0, 1.0), (3.0, 0.5))
    assert found.checks == ((2, 0.5), (3, 1.0))
    assert (found.selected, found.cut, found.micro_batch) == (2, 0, None)


@pytest.mark.parametrize("steps", [POINTS + 1, 257, 5000])
def test_many_steps_are_means_of_neighbours_and_none_is_lost(steps: int) -> None:
    losses = [float(k) for k in range(1, steps + 1)]
    found = course_of("", "minilm", "none", 1, fit(losses))
    assert len(found.losses) == POINTS
    for step, loss in found.losses:  # the loss of a step is its number here
        assert loss == pytest.approx(step)
    widths = [b - a for (a, _), (b, _) in zip(found.losses, found.losses[1:], strict=False)]
    assert sum(widths) == pytest.approx(steps, rel=0.05)


def numbers(text: str, pattern: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found)) for found in re.findall(pattern, text)]


def test_lines_and_points_stand_where_their_numbers_are() -> None:
    low = course_of("", "minilm", "none", 1, fit([2.0, 1.0, 0.5, 0.5]))
    high = course_of("", "minilm", "rewrite", 1, fit([4.0, 1.0, 0.5, 0.5]))
    (view,) = course_views([low, high])
    assert (view.title, view.highest, view.steps) == ("minilm", "4", 4)
    first, second = (str(panel.picture) for panel in view.panels)
    line = r"([0-9.]+),([0-9.]+)"
    assert numbers(first, line) == [(25, 50), (50, 75), (75, 87.5), (100, 87.5)]
    assert numbers(second, line)[0] == (25, 0)
    points = numbers(first, r'cx="([0-9.]+)%" cy="([0-9.]+)"')
    assert points == [(50, 8 + 96 * (1 - 0.5 / 4)), (100, 8 + 96 * (1 - 1 / 4))]
    assert first.count('class="check kept"') == 1
    assert view.rows[0] == ("none", 1, "2.000", "0.500", 2, "0.500")


def test_each_setting_and_student_has_a_view_and_each_seed_a_line() -> None:
    views = course_views(full().courses)
    assert [view.title for view in views] == [
        "minilm · reasoning-required",
        "minilm · reasoning-free",
        "smollm2 · reasoning-free",
    ]
    for view in views:
        assert [panel.arm for panel in view.panels] == ["none", "rewrite"]
        assert [str(panel.picture).count("<polyline") for panel in view.panels] == [3, 3]
        assert len(view.rows) == 6


def test_a_loss_that_is_no_number_breaks_nothing() -> None:
    (view,) = course_views([course_of("", "minilm", "none", 1, fit([float("inf"), float("nan"), 1.0]))])
    assert view.highest == "1"
    assert "nan" not in str(view.panels[0].picture)


def test_what_was_shortened_left_out_or_ran_out_is_said_once() -> None:
    told = remarks_on(
        [
            *(course("free", "minilm", "none", seed, cut=76) for seed in (1, 2)),
            course("free", "minilm", "none", 2, cut=76, micro_batch=4),
            course("free", "minilm", "none", 3),  # an earlier version counted nothing
            course("", "smollm2", "qa", 1, too_long=2, rationales_left_out=3, cut_for_teacher=4),
            course("", "smollm2", "ie", 1),
        ]
    )
    assert told == (
        "Training items too long for free · minilm were shortened, by arm: none 76. Questions, instructions and "
        "answers are never cut.",
        "free · minilm, none, seed 2: memory ran out, and 4 items went through the model at once; the steps were "
        "the same.",
        "Training items were left out because their answers alone do not fit smollm2, by arm: qa 2.",
        "Explanations were left out because they leave no room for the prompt of smollm2, by arm: qa 3; of those items "
        "it learns the label alone.",
        "Prompts too long for the teacher that smollm2 learns from were shortened for it, by arm: qa 4.",
    )


def test_both_reports_show_them_and_a_run_without_shows_nothing() -> None:
    assert render(full()).count('<div class="courses">') == 3
    assert "were shortened, by arm: none 76, rewrite 76." in render(full())
    assert render_instruct(full_instruct()).count('<div class="courses">') == 1
    assert "do not fit smollm2, by arm: qa 3, mixed 3." in render_instruct(full_instruct())
    assert "loss by step" not in render(dataclasses.replace(plain(), courses=()))
