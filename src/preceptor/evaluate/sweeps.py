"""Sweeps: which point is chosen, by items that are not the test, and how far the points' test scores lie apart.

Letters that end array names are those of `statistics.py`; P points of one student, S seeds.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.errors import DataError, SplitError
from preceptor.evaluate.metrics import score
from preceptor.evaluate.sensitivity import LEAST_SEEDS, METHOD, components, draws, two_sided
from preceptor.evaluate.statistics import (
    check_clusters,
    index_predictions,
    method_of,
    percentiles,
    resampled_sums,
    summed,
)
from preceptor.records import Estimate, Prediction, SettingSpread

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Runs = Mapping[int, Sequence[Prediction]]
"""Seed -> predictions."""

METRICS = ("accuracy", "macro_f1")


def choosing_score(runs: Runs, labels: Sequence[str], by: str) -> tuple[Estimate, tuple[tuple[int, float], ...]]:
    """Mean over seeds of the score `by` (`accuracy` or `macro_f1`) with its sd, and the score of every seed."""
    scores = tuple((seed, float(getattr(score(said, labels), by))) for seed, said in runs.items())
    values = [value for _, value in scores]
    return Estimate(statistics.fmean(values), None, statistics.stdev(values) if len(values) > 1 else None), scores


def choose(
    candidates: Sequence[Runs | None], labels: Sequence[str], by: str, sealed: Collection[str]
) -> tuple[int, Estimate] | None:
    """The candidate with the highest mean over seeds of `by`, of equally high ones the first; None when there is none.

    `candidates` hold predictions of the items that choose, None where a point has none. `sealed` are the ids of the
    test items: `SplitError` is raised when any prediction is of one of them, and `DataError` when candidates were not
    asked the same items with the same seeds.
    """
    known = [(number, runs) for number, runs in enumerate(candidates) if runs is not None]
    sealed = frozenset(sealed)
    for _, runs in known:
        used = [p.id for said in runs.values() for p in said if p.id in sealed]
        if used:
            raise SplitError(
                f"{used[0]} and {len(set(used)) - 1} more of the items that were to choose are test items.",
                "A choice is made by validation items or by folds alone.",
            )
    asked = [{seed: [(p.id, p.gold) for p in said] for seed, said in runs.items()} for _, runs in known]
    if any(one != asked[0] for one in asked):
        raise DataError(
            "The points of a sweep were not asked the same items with the same seeds.",
            "Points that are compared need the same validation items.",
        )
    best: tuple[int, Estimate] | None = None
    for number, runs in known:
        found = choosing_score(runs, labels, by)[0]
        if best is None or found.value > best[1].value:
            best = number, found
    return best


class Apart(NamedTuple):
    """What one student's spread is larger by than another's."""

    range: Estimate
    sd: Estimate
    beyond_noise: Estimate | None
    """Of the standard deviations beyond noise; None where they are."""
    p: float | None
    """Two-sided, that these do not differ; None where there is no interval."""


@dataclass(frozen=True)
class Spreads:
    """Spread over points of each student, and the difference of every two, by metric."""

    of: Mapping[str, Mapping[str, SettingSpread]]
    """Student -> metric -> spread."""
    differences: Mapping[tuple[str, str], Mapping[str, Apart]]
    """(first, second) -> metric -> first less second."""


class _Drawn(NamedTuple):
    """A number with its draws, of which an interval is made."""

    value: float
    draws: Floats | None
    """Shape (B,); None where there are none."""
    method: str

    def less(self, other: _Drawn) -> _Drawn:
        draws = None if self.draws is None or other.draws is None else self.draws - other.draws
        return _Drawn(self.value - other.value, draws, self.method)

    def estimate(self, level: float) -> Estimate:
        return Estimate(self.value, None if self.draws is None else percentiles(self.draws, level, self.method))


class _Found(NamedTuple):
    """One student's spread in one metric."""

    points: int
    range: _Drawn
    sd: _Drawn
    beyond: _Drawn | None


def spreads(
    points: Mapping[str, Sequence[Runs]],
    labels: Sequence[str],
    resamples: int,
    seed: int,
    *,
    level: float = 0.95,
    clusters_I: ArrayLike | None = None,
) -> Spreads:
    """Range and standard deviation (n - 1) over each student's points of the test score, with and without noise.

    `points`: student -> predictions of every point, all for the same items in the same order and with the same seeds;
    a point's score is the mean over seeds. Students with fewer than two points are left out. For range and standard
    deviation every resample draws items (or clusters, as `statistics.bootstrap`) and seeds with replacement, the same
    ones for all points of all students, so that the difference of two students is paired. Both contain the noise of
    seeds and items, and a range grows with the number of points: whether students differ is said by the standard
    deviation beyond noise (`sensitivity.py`) alone. Raises `DataError` when items or seeds differ.
    """
    several = {name: list(mine) for name, mine in points.items() if len(mine) > 1}
    if not several:
        return Spreads({}, {})
    seeds = list(next(iter(several.values()))[0])
    runs = [one for mine in several.values() for one in mine]
    if any(list(one) != seeds for one in runs):
        raise DataError("The points of a sweep have different seeds.", "Give all of them the same.")
    indices = index_predictions([one[number] for one in runs for number in seeds], labels)
    groups_I = check_clusters(clusters_I, len(indices.gold_I))
    columns_IX = _columns(indices.gold_I, indices.predicted_RI, len(labels))
    shape = len(labels), len(runs), len(seeds)
    value_MP, draws_MBP = _drawn_scores(columns_IX, indices.gold_I, groups_I, shape, resamples, seed)
    values_MPSU = _values(columns_IX if groups_I is None else summed(columns_IX, groups_I), *shape)
    found: dict[str, list[_Found]] = {}
    start = 0
    for number, (name, mine) in enumerate(several.items()):
        part = slice(start, start + len(mine))
        start += len(mine)
        rng = np.random.default_rng([seed, 2, number])
        each = zip(value_MP[:, part], draws_MBP[:, :, part], values_MPSU[:, part], strict=True)
        found[name] = [_found(*one, method_of(groups_I), rng) for one in each]
    return Spreads(
        {name: {m: _spread(one, level) for m, one in zip(METRICS, mine, strict=True)} for name, mine in found.items()},
        {
            (a, b): {m: _apart(one, two, level) for m, one, two in zip(METRICS, found[a], found[b], strict=True)}
            for a, b in itertools.combinations(found, 2)
        },
    )


def _drawn_scores(
    columns_IX: Floats, gold_I: Ints, groups_I: Ints | None, shape: tuple[int, int, int], resamples: int, seed: int
) -> tuple[Floats, Floats]:
    """Scores of all points, mean over seeds: as they are, shape (2, P), and in every resample, shape (2, B, P).

    `shape`: numbers of labels, points and seeds.
    """
    whole_MPS = _scores(columns_IX.sum(axis=0, keepdims=True), *shape)[:, 0]
    drawn_MBPS = np.empty((len(METRICS), resamples, *shape[1:]))
    for number, metric in enumerate(METRICS):
        stratified = metric != "accuracy"  # as in statistics.bootstrap
        drawn = resampled_sums(columns_IX, gold_I, resamples, seed, groups_I, stratified=stratified)
        drawn_MBPS[number] = _scores(drawn, *shape)[number]
    seeds = shape[2]
    times_BS = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
    return whole_MPS.mean(axis=2), np.einsum("mbps,bs->mbp", drawn_MBPS, times_BS / seeds)


def _found(value_P: Floats, draws_BP: Floats, values_PSU: Floats, method: str, rng: np.random.Generator) -> _Found:
    enough = values_PSU.shape[2] > 1
    (wide,), (sd,) = _both(value_P[None])
    wide_B, sd_B = _both(draws_BP)
    return _Found(
        len(value_P),
        _Drawn(float(wide), wide_B if enough else None, method),
        _Drawn(float(sd), sd_B if enough else None, method),
        _beyond(values_PSU, len(draws_BP), rng),
    )


def _beyond(values_PSU: Floats, size: int, rng: np.random.Generator) -> _Drawn | None:
    """The standard deviation beyond noise; a corrected variance below zero counts as zero."""
    parts, seeds = components(values_PSU), values_PSU.shape[1]
    if parts is None:
        return None
    drawn_B = np.sqrt(draws(parts, seeds, size, rng)) if seeds >= LEAST_SEEDS else None
    return _Drawn(math.sqrt(max(0.0, parts.corrected)), drawn_B, METHOD)


def _spread(one: _Found, level: float) -> SettingSpread:
    beyond = None if one.beyond is None else one.beyond.estimate(level)
    return SettingSpread(one.points, one.range.estimate(level), one.sd.estimate(level), beyond)


def _apart(one: _Found, two: _Found, level: float) -> Apart:
    wide, sd = one.range.less(two.range).estimate(level), one.sd.less(two.sd).estimate(level)
    if one.beyond is None or two.beyond is None:
        return Apart(wide, sd, None, None)
    beyond = one.beyond.less(two.beyond)
    return Apart(wide, sd, beyond.estimate(level), None if beyond.draws is None else two_sided(beyond.draws))


def _both(scores_BP: Floats) -> Floats:
    """Range and standard deviation over points, stacked: shape (2, B)."""
    return np.stack([scores_BP.max(axis=1) - scores_BP.min(axis=1), scores_BP.std(axis=1, ddof=1)])


def _columns(gold_I: NDArray[np.int64], predicted_RI: NDArray[np.int64], n_labels: int) -> Floats:
    """For each item: its label, then for each run where it is right and what it said, by label; shape (I, L + 2RL)."""
    gold_IL = np.eye(n_labels)[gold_I]
    said_IRL = (predicted_RI.T[:, :, None] == np.arange(n_labels)).astype(np.float64)
    hits_IRL = said_IRL * gold_IL[:, None]
    return np.concatenate([gold_IL, hits_IRL.reshape(len(gold_I), -1), said_IRL.reshape(len(gold_I), -1)], axis=1)


def _scores(sums_BX: Floats, n_labels: int, n_points: int, n_seeds: int) -> Floats:
    """Accuracy and macro-F1 of every point and seed from sums over items; shape (2, B, P, S)."""
    gold_BL = sums_BX[:, :n_labels]
    shape = (len(sums_BX), n_points, n_seeds, n_labels)
    hits, said = (part.reshape(shape) for part in np.split(sums_BX[:, n_labels:], 2, axis=1))
    accuracy = hits.sum(axis=3) / gold_BL.sum(axis=1)[:, None, None]
    f1 = 2 * hits / np.maximum(gold_BL[:, None, None] + said, 1)
    return np.stack([accuracy, f1.mean(axis=3)])


def _values(sums_UX: Floats, n_labels: int, n_points: int, n_seeds: int) -> Floats:
    """What every item or cluster contributes to accuracy and macro-F1, shape (2, P, S, U); the mean is the score.

    A score is made of quotients of sums over units, h = sum h_u over q = sum q_u; to first order in the units' weights
    a quotient is the mean over u of h / q + U (h_u - q_u h / q) / q. For accuracy without clusters that is 1 where the
    answer is right and 0 where it is wrong.
    """
    units, shape = len(sums_UX), (len(sums_UX), n_points, n_seeds, n_labels)
    gold_UL = sums_UX[:, None, None, :n_labels]
    hits, said = (part.reshape(shape) for part in np.split(sums_UX[:, n_labels:], 2, axis=1))

    def linear(above: Floats, below: Floats) -> Floats:
        all_below = np.maximum(below.sum(axis=0), 1)
        quotient = above.sum(axis=0) / all_below
        result: Floats = quotient + units * (above - quotient * below) / all_below
        return result

    accuracy = linear(hits.sum(axis=3), gold_UL.sum(axis=3))
    f1 = linear(2 * hits, gold_UL + said).mean(axis=3)
    return np.moveaxis(np.stack([accuracy, f1]), 1, 3)
