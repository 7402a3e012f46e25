"""Sensitivity beyond noise: against plain loops and scipy, and how often it is found where there is none."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from statistics import NormalDist
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from preceptor.evaluate.sensitivity import Components, _directions, _height, components, draws, two_sided

Floats = NDArray[np.float64]


def loop(values_PSU: Floats) -> Components:
    """The formulas of `components`, index by index; `freedom` is left out."""
    points, seeds, units = values_PSU.shape
    off = values_PSU - values_PSU.mean(axis=0)
    sums = dict.fromkeys(("total", "seeds", "items", "both"), 0.0)
    for p in range(points):
        mean = off[p].mean()
        sums["total"] += mean**2
        sums["seeds"] += sum((off[p, s].mean() - mean) ** 2 for s in range(seeds)) / (seeds * (seeds - 1))
        sums["items"] += sum((off[p, :, u].mean() - mean) ** 2 for u in range(units)) / (units * (units - 1))
        for s, u in itertools.product(range(seeds), range(units)):
            rest = off[p, s, u] - off[p, s].mean() - off[p, :, u].mean() + mean
            sums["both"] += rest**2 / (seeds * units * (seeds - 1) * (units - 1))
    return Components(**{name: value / (points - 1) for name, value in sums.items()}, freedom=1.0)


def test_components_agree_with_plain_loops() -> None:
    values_PSU = np.random.default_rng(0).random((4, 3, 7)) + np.arange(4)[:, None, None] / 10
    found, plain = components(values_PSU), loop(values_PSU)
    assert found is not None
    assert found[:4] == pytest.approx(plain[:4])
    assert 1 <= found.freedom <= 3
    assert components(values_PSU + np.random.default_rng(1).random((1, 3, 1))) == pytest.approx(found)  # shared luck
    for few in (values_PSU[:1], values_PSU[:, :1], values_PSU[:, :, :1]):
        assert components(few) is None


def test_draws_agree_with_scipy_one_by_one() -> None:
    found = Components(total=0.004, seeds=0.0006, items=0.0002, both=0.0001, freedom=3.4)
    rng, plain = np.random.default_rng(3), []
    for _ in range(600):
        noise = found.items + max(0.0, found.seeds * 2 * 3.4 / rng.chisquare(2 * 3.4) - found.both)
        x, share = 3.4 * found.total / noise, rng.random()
        if chi2.cdf(x, 3.4) <= share:
            plain.append(0.0)
        else:
            plain.append(brentq(lambda at, x=x, p=share: ncx2.cdf(x, 3.4, at) - p, 1e-9, 10 * x + 200) * noise / 3.4)
    quantiles = [0.025, 0.25, 0.5, 0.75, 0.975]
    drawn = np.quantile(draws(found, 3, 20000, np.random.default_rng(4)), quantiles)
    assert drawn == pytest.approx(np.quantile(plain, quantiles), rel=0.1, abs=2e-4)


@pytest.mark.parametrize("freedom", [1.0, 1.5, 3.0, 5.0, 12.0])
@pytest.mark.parametrize("shift", [1e-9, 1.0, 20.0, 1000.0])
def test_the_approximate_height_is_that_of_the_noncentral_distribution(freedom: float, shift: float) -> None:
    shares = np.array([0.2, 0.5, 0.9, 0.975, 0.995])
    heights = _height(ncx2.ppf(shares, freedom, shift), freedom, np.full(5, shift))
    assert [NormalDist().cdf(one) for one in heights] == pytest.approx(shares, abs=0.013)


def test_directions_of_noise() -> None:
    rng = np.random.default_rng(0)
    even = rng.normal(size=(6, 4000))
    one = np.zeros((6, 4000))
    one[2] = even[2]
    for noise, expected in ((even, 5), (one, 1)):
        off = noise - noise.mean(axis=0)
        assert _directions(off - off.mean(axis=1, keepdims=True)) == pytest.approx(expected, rel=0.02)
    assert _directions(np.zeros((3, 5))) == 2


def test_answers_that_are_all_alike_are_no_error() -> None:
    for values in (np.ones((3, 3, 5)), np.ones((3, 3, 5)) * np.array([0, 0, 1])[:, None, None]):
        found = components(values)
        assert found is not None
        drawn = draws(found, 3, 50, np.random.default_rng(0))
        assert drawn == pytest.approx(np.full(50, values[:, 0, 0].var(ddof=1)), abs=1e-5)
    assert two_sided(np.zeros(99)) == 1
    assert two_sided(np.ones(99)) == pytest.approx(0.02)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "bench"))
    monkeypatch.delitem(sys.modules, "sensitivity", raising=False)
    return importlib.import_module("sensitivity")


def unbiased(pair: tuple[Any, Any], corrected: Floats) -> None:
    """The mean of the corrected variances is the true one, but for 3.5 of its own standard errors."""
    for one, values in zip(pair, corrected.T, strict=True):
        assert abs(values.mean() - one.variance) < 3.5 * values.std(ddof=1) / np.sqrt(len(values))


@pytest.mark.parametrize("name", ["equal noise", "noise 0.6 v 8", "6 v 3 points"])
def test_noise_is_not_taken_for_sensitivity(bench: ModuleType, name: str) -> None:
    shares, corrected = bench.simulate(bench.NULLS[name], 120, 3)
    assert shares["pivot"] <= 0.08
    unbiased(bench.NULLS[name], corrected)


def test_a_real_effect_is_found_and_its_size_without_bias(bench: ModuleType) -> None:
    shares, corrected = bench.simulate(bench.EFFECTS["10 v 0"], 40, 3)
    assert shares["pivot"] > 0.9
    unbiased(bench.EFFECTS["10 v 0"], corrected)


@pytest.mark.long
@pytest.mark.parametrize("seeds", [3, 5])
def test_shares_of_many_sweeps(bench: ModuleType, seeds: int) -> None:
    """`bench/sensitivity.py` prints such shares, and those of the other intervals."""
    for name, pair in {**bench.NULLS, **bench.EFFECTS}.items():
        shares, corrected = bench.simulate(pair, 500, seeds)
        unbiased(pair, corrected)
        assert shares["pivot"] <= 0.08 if name in bench.NULLS else shares["pivot"] > 0.6, name


def test_the_bench_shows_what_the_range_takes_for_sensitivity(bench: ModuleType) -> None:
    shares, _ = bench.simulate(bench.NULLS["noise 0.6 v 8"], 20, 3, bootstrap=True)
    assert shares["range"] > 0.5
