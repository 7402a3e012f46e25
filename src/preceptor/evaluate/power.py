"""The smallest difference of two accuracies that a paired comparison can be expected to find.

Letters that end array names: I items, S seeds of one side, G contexts (each a cluster of items, or one item).

The estimate of a gain varies for two reasons. Items: with d_i the difference, on item i, of the shares of both sides'
seeds that are right, the variance is (psi - delta^2) / n, where psi is the mean of d_i^2 and delta the gain. With one
seed each, psi is the share of discordant items, and this is McNemar's setting (R. J. Connor 1987, "Sample size for
testing differences in proportions for the paired-sample design", Biometrics 43). Where items share contexts, psi is the
sum over contexts of the squared sum of d_i, divided by n, and delta^2 is divided by the number of contexts instead.
Seeds: with tau^2 the variance between seeds of one side, beyond what the noise of items makes of it, tau^2 / S is added
for each side. A gap delta is found with power 1 - b at the two-sided level a where

    delta = z(1 - a/2) sqrt(psi/n + v) + z(1 - b) sqrt((psi - delta^2)/n + v),   v = the sum of tau^2 / S.

What varies between seeds is known from a few of them only, so the figure is itself an estimate.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from preceptor.errors import DataError

Floats = NDArray[np.float64]

POWER = 0.8
LEVEL = 0.05


def discordance(difference_I: Floats, clusters_I: NDArray[np.int64] | None = None) -> float:
    """Psi of the module's docstring, in 0..1 unless contexts are shared; NaN without items."""
    if difference_I.size == 0:
        return math.nan
    parts_G = difference_I.tolist() if clusters_I is None else np.bincount(clusters_I, weights=difference_I).tolist()
    return math.fsum(part * part for part in parts_G) / difference_I.size


def seed_variance(right_SI: Floats) -> float:
    """Variance of the accuracy of one trained student around the mean over seeds that items do not explain.

    `right_SI` is 1 where a seed is right. The variance between the seeds' accuracies, less the share of it that comes
    from the residual of seeds and items (two-way layout without repetition), never below 0. 0 with one seed, whose
    variance is not known.
    """
    seeds, items = right_SI.shape
    if seeds < 2 or items < 2:
        return 0.0
    between = float(np.var(right_SI.mean(axis=1), ddof=1))
    residual_SI = right_SI - right_SI.mean(axis=0) - right_SI.mean(axis=1, keepdims=True) + right_SI.mean()
    noise = float((residual_SI**2).sum()) / ((seeds - 1) * (items - 1) * items)
    return between - noise if between > noise else 0.0


def smallest_detectable(
    n: int,
    psi: float,
    seeds_variance: float = 0.0,
    *,
    contexts: int | None = None,
    power: float = POWER,
    level: float = LEVEL,
) -> float | None:
    """The smallest gap, in shares of items, that is found with `power` at the two-sided `level`.

    `psi` is `discordance`, `seeds_variance` is v above, `contexts` how many contexts the `n` items have (None: each its
    own). None when nothing varies, so that there is nothing to go by, or with fewer than two items. Never above 1.
    Raises `DataError` when power or level is no probability.
    """
    if not (0 < level < 1 and level / 2 < power < 1):
        raise DataError(f"A power of {power} at the level {level} is impossible.", "Use e.g. 0.8 and 0.05.")
    if n < 2 or not psi + seeds_variance > 0:
        return None
    reject, reach = NormalDist().inv_cdf(1 - level / 2), NormalDist().inv_cdf(power)
    null = math.sqrt(psi / n + seeds_variance)
    gap = 0.0
    # The right side hardly depends on the gap, so putting the result back in settles within a few rounds.
    for _ in range(100):
        items = max(0.0, psi / n - gap * gap / (contexts or n))
        following = reject * null + reach * math.sqrt(items + seeds_variance)
        if abs(following - gap) < 1e-12:
            break
        gap = following
    return min(1.0, gap)
