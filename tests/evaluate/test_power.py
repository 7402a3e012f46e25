"""The smallest detectable difference: known figures, and the power that it promises, simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest

from preceptor.errors import DataError
from preceptor.evaluate.compare import exact_flips, exact_mcnemar
from preceptor.evaluate.power import discordance, seed_variance, smallest_detectable


@pytest.mark.parametrize(("psi", "points"), [(0.10, 4.0), (0.15, 4.8), (0.20, 5.6), (0.30, 6.9)])
def test_500_items_find_the_known_gaps(psi: float, points: float) -> None:
    found = smallest_detectable(500, psi)
    assert found is not None
    assert 100 * found == pytest.approx(points, abs=0.06)


def test_it_solves_the_equation_of_the_sample_size() -> None:
    found = smallest_detectable(300, 0.25, power=0.9, level=0.01)
    assert found is not None
    wanted = (2.5758293 * math.sqrt(0.25) + 1.2815516 * math.sqrt(0.25 - found**2)) ** 2 / found**2
    assert wanted == pytest.approx(300, rel=1e-5)


def test_the_promised_power_is_kept_by_the_exact_test() -> None:
    psi, n = 0.2, 400
    gap = smallest_detectable(n, psi)
    assert gap is not None
    rng = np.random.default_rng(1)
    drawn = rng.multinomial(n, [(psi + gap) / 2, (psi - gap) / 2, 1 - psi], 2000)
    power = np.mean([exact_mcnemar(int(lost), int(won)) < 0.05 for won, lost, _ in drawn])
    assert 0.74 <= power <= 0.84  # the exact test is a little more careful than its approximation
    null = rng.multinomial(n, [psi / 2, psi / 2, 1 - psi], 2000)
    assert np.mean([exact_mcnemar(int(lost), int(won)) < 0.05 for won, lost, _ in null]) <= 0.06


def test_several_seeds_find_smaller_gaps_and_the_test_over_seeds_finds_them() -> None:
    rng, n, seeds = np.random.default_rng(2), 300, 3
    gap, found, psis = 0.06, 0, []
    for _ in range(300):
        base = rng.random((seeds, n)) < 0.6
        arm = rng.random((seeds, n)) < 0.6 + gap
        sums = arm.sum(axis=0).astype(np.int64) - base.sum(axis=0)
        found += exact_flips(sums) < 0.05
        psis.append(discordance(sums / seeds))
    expected = smallest_detectable(n, float(np.mean(psis)))
    assert expected is not None
    assert expected == pytest.approx(0.064, abs=0.003)  # 0.112 with one seed of each
    assert found / 300 == pytest.approx(0.75, abs=0.08)


def test_the_variance_of_seeds_is_found_beside_the_noise_of_items() -> None:
    rng = np.random.default_rng(3)
    apart, alike = [], []
    for _ in range(200):
        accuracies = rng.normal(0.6, 0.05, 5)[:, None]
        apart.append(seed_variance((rng.random((5, 400)) < accuracies).astype(float)))
        alike.append(seed_variance((rng.random((5, 400)) < 0.6).astype(float)))
    assert np.mean(apart) == pytest.approx(0.05**2, rel=0.15)
    assert np.mean(alike) < 0.1 * 0.05**2
    assert seed_variance(np.ones((1, 50))) == 0.0
    fewer, more = smallest_detectable(500, 0.15, 0.05**2 / 3), smallest_detectable(500, 0.15)
    assert fewer is not None
    assert more is not None
    assert fewer > 1.5 * more


def test_where_nothing_varies_there_is_no_result() -> None:
    assert smallest_detectable(500, 0.0) is None
    assert smallest_detectable(1, 0.2) is None
    assert smallest_detectable(0, math.nan) is None
    assert math.isnan(discordance(np.zeros(0)))
    assert smallest_detectable(3, 1.0) == 1.0
    with pytest.raises(DataError, match="impossible"):
        smallest_detectable(10, 0.2, power=0.01)


def test_contexts_that_move_together_count_as_one() -> None:
    difference = np.tile([1.0, -1.0, 0.0, 0.0], 25)
    thrice = np.repeat(difference, 3)
    assert discordance(thrice, np.repeat(np.arange(100), 3)) == pytest.approx(3 * discordance(difference))
