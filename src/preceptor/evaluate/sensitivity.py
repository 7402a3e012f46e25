"""How much a student's test score depends on its settings, once noise of seeds and items is taken out.

The points' scores, each a mean over S seeds and I items, differ even where no setting matters: every point has luck of
its own with seeds and with items. Their variance v over points (n - 1) counts that luck as sensitivity. Wanted is the
variance of the scores that the same points would have with all seeds and all items. Points are fixed, being the values
of the recipe; seeds and items are drawn, the same ones for every point, so all terms are taken after subtracting the
mean over points, and luck that all points share cancels. By the variances of a crossed design (Cronbach et al. 1972)

    v_c = v - seeds - items + both,

where `seeds` and `items` are what v owes to the seeds and to the items at hand, and `both` is what each of these two
counts: noise of single answers. v_c has no bias: it is the mean, over all pairs of different seeds and different items,
of the products of a point's deviations. A bootstrap over seeds and items, v_c = 2 v - mean v*, counts `both` three
times (Owen 2007, The pigeonhole bootstrap) and comes out too low.

The interval must also say how well the noise is known, with three seeds hardly. Draws of the noise are
items + max(0, seeds k / chi2_k - both), k = (S - 1) f, and of v_c those by which f v / noise is a quantile, drawn
evenly, of the noncentral chi-squared distribution with f degrees of freedom (Sankaran 1963): a generalised pivotal
quantity (Weerahandi 1993). f is the effective number of directions of the noise over points (Box 1954): P - 1 where it
is alike in all points, near 1 where one point wobbles. The draws of two students are independent, so what they share
through common items is not made use of.

Tried and left, false findings with three seeds: the bootstrap interval of the ranges' difference (79 % where noise is
0.6 v 8 points, by `bench/sensitivity.py`); in simulated scores without items a basic bootstrap interval of v_A - v_B
with the deviation of seeds scaled by sqrt(S / (S - 1)) (10 % without any effect, 14 to 21 % where both students depend
on their settings alike), and the draws above with f = P - 1 (16 % where one point wobbles).

Letters that end array names: P points, S seeds, U units (items, or clusters of them), N draws of noise, B draws.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_SEEDS = 3
"""With two the noise of each point has one degree of freedom: whether it is alike in all of them cannot be seen."""
METHOD = "pivotal draws"
"""What an interval from them says."""
_LEAST = 1e-12  # variance; answers that are all alike have none
_HALVINGS = 40


class Components(NamedTuple):
    """What the variance over points is made of; all are variances of scores in 0..1."""

    total: float
    """v: of the points' scores."""
    seeds: float
    items: float
    both: float
    freedom: float
    """f: 1..P-1."""

    @property
    def corrected(self) -> float:
        """v_c; below zero where the noise happens to be larger than all differences."""
        return self.total - self.seeds - self.items + self.both


def components(values_PSU: Floats) -> Components | None:
    """The components from one value per point, seed and unit whose mean over units is the score.

    With deviations d = values less their mean over points, a dot for a mean, and sums over all indices that are left:
    total = sum d_p..^2 / (P-1), seeds = sum (d_ps. - d_p..)^2 / (S (S-1) (P-1)), items alike over units, and
    both = sum (d_psu - d_ps. - d_p.u + d_p..)^2 / (S U (S-1) (U-1) (P-1)). None with fewer than two points, seeds or
    units.
    """
    points, seeds, units = values_PSU.shape
    if min(points, seeds, units) < 2:
        return None
    off_PSU = values_PSU - values_PSU.mean(axis=0)
    mean_P = off_PSU.mean(axis=(1, 2))
    by_seed_PS = off_PSU.mean(axis=2) - mean_P[:, None]
    by_unit_PU = off_PSU.mean(axis=1) - mean_P[:, None]
    rest_PSU = off_PSU - mean_P[:, None, None] - by_seed_PS[:, :, None] - by_unit_PU[:, None, :]
    of_seeds, of_units = seeds * (seeds - 1), units * (units - 1)
    return Components(
        total=float(np.square(mean_P).sum()) / (points - 1),
        seeds=float(np.square(by_seed_PS).sum()) / (points - 1) / of_seeds,
        items=float(np.square(by_unit_PU).sum()) / (points - 1) / of_units,
        both=float(np.square(rest_PSU).sum()) / (points - 1) / (of_seeds * of_units),
        freedom=min(_directions(by_seed_PS), _directions(by_unit_PU)),
    )


def _directions(noise_PN: Floats) -> float:
    """tr(C)^2 / tr(C^2) of the points' covariance C of N draws whose mean is taken out, in 1..P-1.

    Both traces without bias (Huynh and Feldt 1976): as they stand, few draws would look like few directions.
    """
    free = noise_PN.shape[1] - 1
    covariance_PP = noise_PN @ noise_PN.T / free
    squared, of_square = float(np.trace(covariance_PP)) ** 2, float(np.square(covariance_PP).sum())
    above, below = (free + 1) * squared - 2 * of_square, free * of_square - squared
    most = float(len(noise_PN) - 1)
    if free < 2:
        return 1.0
    return min(max(above / below, 1.0), most) if below > 0 else most


def draws(found: Components, seeds: int, size: int, rng: np.random.Generator) -> Floats:
    """Draws of the true variance over points, shape (size,), as the module's docstring says; never below zero."""
    free = (seeds - 1) * found.freedom
    of_seeds_B = found.seeds * free / rng.chisquare(free, size)
    noise_B = np.maximum(found.items + np.maximum(of_seeds_B - found.both, 0), _LEAST)
    shift_B = _noncentrality(found.freedom * found.total / noise_B, found.freedom, rng.normal(size=size))
    result: Floats = shift_B * noise_B / found.freedom
    return result


def _noncentrality(x_B: Floats, freedom: float, z_B: Floats) -> Floats:
    """The noncentrality at which x lies as high as z does in a normal distribution; 0 where x lies lower even without.

    By halving: the height falls as noncentrality grows, and above (sqrt(x) + 8)^2 it is below that of any draw of z.
    """
    low_B, high_B = np.zeros_like(x_B), np.square(np.sqrt(x_B) + 8)
    for _ in range(_HALVINGS):
        middle_B = (low_B + high_B) / 2
        above_B = _height(x_B, freedom, middle_B) > z_B
        low_B, high_B = np.where(above_B, middle_B, low_B), np.where(above_B, high_B, middle_B)
    return np.where(_height(x_B, freedom, np.zeros_like(x_B)) > z_B, low_B, 0.0)


def _height(x_B: Floats, freedom: float, shift_B: Floats) -> Floats:
    """Where x lies in the noncentral chi-squared distribution, as a normal deviate (Sankaran 1963, third form)."""
    mean_B, half_variance_B = freedom + shift_B, freedom + 2 * shift_B
    h_B = 1 - 2 / 3 * mean_B * (freedom + 3 * shift_B) / half_variance_B**2
    p_B = half_variance_B / mean_B**2
    m_B = (h_B - 1) * (1 - 3 * h_B)
    expected_B = 1 + h_B * p_B * (h_B - 1 - (2 - h_B) * m_B * p_B / 2)
    result: Floats = ((x_B / mean_B) ** h_B - expected_B) / (h_B * np.sqrt(2 * p_B) * (1 + m_B * p_B / 2))
    return result


def two_sided(draws_B: Floats) -> float:
    """P that a difference is not zero: twice the share of draws on its far side, zero itself counted as far."""
    far = min(int((draws_B <= 0).sum()), int((draws_B >= 0).sum()))
    return min(1.0, 2 * (far + 1) / (len(draws_B) + 1))
