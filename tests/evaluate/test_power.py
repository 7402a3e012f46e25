"""The smallest detectable difference: known figures, and the power that it promises, simulated."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from preceptor.errors import DataError
from preceptor.evaluate.compare import exact_flips, exact_mcnemar
from preceptor.evaluate.power import SeedVariance, discordance, seed_variance, smallest_detectable
from preceptor.evaluate.statistics import paired_gain


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


def sides(rng: np.random.Generator, gap: float, seeds: int, spread: float, n: int) -> list[np.ndarray]:
    """Whether each seed of a baseline and of an arm is right: items that are hard for all, seeds that differ."""
    ease = rng.normal(0, 1, n)
    noise = 0.45
    found = []
    for shift in (0.0, gap):
        shares = np.clip(rng.normal(0.65 + shift, spread, seeds), 0.01, 0.99)
        bounds = math.hypot(1, noise) * norm.ppf(shares)
        found.append(ease + rng.normal(0, noise, (seeds, n)) < bounds[:, None])
    return found


@pytest.mark.parametrize(("seeds", "spread"), [(3, 0.01), (5, 0.01), (3, 0.03)])
def test_the_promised_power_holds_for_what_counts_as_found(seeds: int, spread: float) -> None:
    """Both the exact test and the interval must say so."""
    n, rng, gold = 400, np.random.default_rng(2), np.zeros(400, dtype=int)

    def known(base: np.ndarray, arm: np.ndarray) -> float:
        both = seed_variance(base.astype(float)).plus(seed_variance(arm.astype(float)))
        gap = smallest_detectable(n, discordance(arm.mean(axis=0) - base.mean(axis=0)), both)
        assert gap is not None
        return gap

    gap = float(np.mean([known(*sides(rng, 0.05, seeds, spread, n)) for _ in range(60)]))
    trials, found = 150, 0
    for trial in range(trials):
        base, arm = sides(rng, gap, seeds, spread, n)
        interval = paired_gain(gold, np.where(arm, 0, 1), np.where(base, 0, 1), 2, 200, trial).accuracy.interval
        assert interval is not None
        p = exact_flips(arm.sum(axis=0).astype(np.int64) - base.sum(axis=0))
        found += p < 0.05 and interval.low > 0
    assert 0.70 <= found / trials <= 0.92


def test_the_variance_of_seeds_is_found_beside_the_noise_of_items() -> None:
    rng = np.random.default_rng(3)
    apart, alike = [], []
    for _ in range(200):
        accuracies = rng.normal(0.6, 0.05, 5)[:, None]
        apart.append(seed_variance((rng.random((5, 400)) < accuracies).astype(float)).true)
        alike.append(seed_variance((rng.random((5, 400)) < 0.6).astype(float)).true)
    assert np.mean(apart) == pytest.approx(0.05**2 / 5, rel=0.15)
    assert np.mean(alike) < 0.1 * 0.05**2 / 5
    said = (rng.random((4, 400)) < 0.6).astype(float)
    # What the bootstrap makes of it: of one side alone, and against one that is always right.
    gold, always = np.zeros(400, dtype=int), np.zeros((1, 400), dtype=int)
    interval = paired_gain(gold, np.where(said == 1, 0, 1), always, 2, 20_000, 0).accuracy.interval
    assert interval is not None
    half = 1.96 * np.sqrt(np.var(said.mean(axis=0)) / 400 + seed_variance(said).drawn)
    assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.04)
    assert seed_variance(np.ones((1, 50))) == (0.0, 0.0)
    wide = smallest_detectable(500, 0.15, SeedVariance(0.05**2 / 3, 0.05**2 / 5))
    narrow = smallest_detectable(500, 0.15)
    assert wide is not None
    assert narrow is not None
    assert wide > 1.5 * narrow
    stricter = smallest_detectable(500, 0.15, level=0.01)
    assert stricter is not None
    assert stricter > 1.1 * narrow


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
