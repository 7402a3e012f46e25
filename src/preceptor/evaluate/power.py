"""The smallest difference of two accuracies that a paired comparison can be expected to find.

Letters that end array names: I items, S seeds of one side, G contexts (each a cluster of items, or one item).

The estimate of a gain varies for two reasons. Items: with d_i the difference, on item i, of the shares of both sides'
seeds that are right, the variance is (psi - delta^2) / n, where psi is the mean of d_i^2 and delta the gain. With one
seed each, psi is the share of discordant items, and this is McNemar's setting (R. J. Connor 1987, "Sample size for
testing differences in proportions for the paired-sample design", Biometrics 43). Where items share contexts, psi is the
sum over contexts of the squared sum of d_i, divided by n, and delta^2 is divided by the number of contexts instead.
Seeds: with tau^2 the variance between seeds of one side, beyond what the noise of items makes of it, tau^2 / S is
added for each side.

A gap counts as found where the exact test over items and the bootstrap over items and seeds both say so
(`evaluate/compare.py`). The test's bound is z(1 - a/2) sqrt(psi/n), the bootstrap's z(.975) sqrt(psi/n + w). Drawing
seeds adds (S - 1)/S^2 (s^2 + e^2) for each side, s^2 being the variance of the seeds' accuracies and e^2 the part of it
that is noise of items, so that the bootstrap counts this noise three times (A. B. Owen 2007, "The pigeonhole
bootstrap", Annals of Applied Statistics 1): it is wider than it needs to be where seeds hardly differ, and narrower
where they differ much and are few. With v the sum of tau^2 / S over both sides, a gap delta is found with power 1 - b
where

    delta = max(z(1 - a/2) sqrt(psi/n), z(.975) sqrt(psi/n + w)) + z(1 - b) sqrt((psi - delta^2)/n + v).

With one seed each this is Connor's formula. What varies between seeds is known from a few of them only, so the figure
is itself an estimate.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from preceptor.errors import DataError

Floats = NDArray[np.float64]

POWER = 0.8
LEVEL = 0.05
_Z_INTERVAL = NormalDist().inv_cdf(0.975)


def discordance(difference_I: Floats, clusters_I: NDArray[np.int64] | None = None) -> float:
    """Psi of the module's docstring, in 0..1 unless contexts are shared; NaN without items."""
    if difference_I.size == 0:
        return math.nan
    parts_G = difference_I.tolist() if clusters_I is None else np.bincount(clusters_I, weights=difference_I).tolist()
    return math.fsum(part * part for part in parts_G) / difference_I.size


class SeedVariance(NamedTuple):
    """What the seeds of one side, or of both together, add to the variance of a gain."""

    true: float
    """tau^2 / S: what other seeds would change, beyond the noise of items."""
    drawn: float
    """(S - 1)/S^2 (s^2 + e^2): what drawing the seeds with replacement adds to the bootstrap."""

    def plus(self, other: SeedVariance) -> SeedVariance:
        """Of two sides together."""
        return SeedVariance(self.true + other.true, self.drawn + other.drawn)


def seed_variance(right_SI: Floats) -> SeedVariance:
    """What the seeds of one side add to the variance of its mean accuracy; `right_SI` is 1 where a seed is right.

    tau^2 is the variance between the seeds' accuracies, less the share of it that comes from the residual of seeds and
    items (two-way layout without repetition), never below 0. Both are 0 with one seed, whose variance is not known.
    """
    seeds, items = right_SI.shape
    if seeds < 2 or items < 2:
        return SeedVariance(0.0, 0.0)
    between = float(np.var(right_SI.mean(axis=1), ddof=1))
    residual_SI = right_SI - right_SI.mean(axis=0) - right_SI.mean(axis=1, keepdims=True) + right_SI.mean()
    noise = float((residual_SI**2).sum()) / ((seeds - 1) * (items - 1) * items)
    return SeedVariance(max(0.0, between - noise) / seeds, (seeds - 1) / seeds**2 * (between + noise))


def smallest_detectable(
    n: int,
    psi: float,
    seeds: SeedVariance | None = None,
    *,
    contexts: int | None = None,
    power: float = POWER,
    level: float = LEVEL,
) -> float | None:
    """The smallest gap, in shares of items, that is found with `power` at the two-sided `level`.

    `psi` is `discordance`, `seeds` the variances of both sides, `contexts` how many contexts the `n` items have (None:
    each its own). `level` is that of the exact test; the interval is always one of 95 %. None when nothing varies, so
    that there is nothing to go by, or with fewer than two items. Never above 1. Raises `DataError` when power or level
    is no probability.
    """
    seeds = seeds or SeedVariance(0.0, 0.0)
    if not (0 < level < 1 and level / 2 < power < 1):
        raise DataError(f"A power of {power} at the level {level} is impossible.", "Use e.g. 0.8 and 0.05.")
    if n < 2 or not psi + seeds.drawn > 0:
        return None
    reject, reach = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    bound = max(reject * math.sqrt(psi / n), _Z_INTERVAL * math.sqrt(psi / n + seeds.drawn))
    gap = 0.0
    # The right side hardly depends on the gap, so putting the result back in settles within a few rounds.
    for _ in range(100):
        items = max(0.0, psi / n - gap * gap / (contexts or n))
        following = bound + reach * math.sqrt(items + seeds.true)
        if abs(following - gap) < 1e-12:
            break
        gap = following
    return min(1.0, gap)
