"""Sweeps: which point is chosen, by items that are not the test, and how far the points' test scores lie apart.

Letters that end array names are those of `statistics.py`; P points of one student, S seeds.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.errors import DataError, SplitError
from preceptor.evaluate.metrics import score
from preceptor.evaluate.statistics import check_clusters, index_predictions, method_of, percentiles, resampled_sums
from preceptor.records import Estimate, Prediction, SettingSpread

Floats = NDArray[np.float64]
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


@dataclass(frozen=True)
class Spreads:
    """Spread over points of each student, and the difference of every two, by metric."""

    of: Mapping[str, Mapping[str, SettingSpread]]
    """Student -> metric -> spread."""
    differences: Mapping[tuple[str, str], Mapping[str, tuple[Estimate, Estimate]]]
    """(first, second) -> metric -> difference of the ranges and of the standard deviations."""


def spreads(
    points: Mapping[str, Sequence[Runs]],
    labels: Sequence[str],
    resamples: int,
    seed: int,
    *,
    level: float = 0.95,
    clusters_I: ArrayLike | None = None,
) -> Spreads:
    """Range and standard deviation (n - 1) over each student's points of the test score, mean over seeds.

    `points`: student -> predictions of every point, all for the same items in the same order and with the same seeds.
    Students with fewer than two points are left out. Every resample draws items (or clusters, as
    `statistics.bootstrap`) and seeds with replacement, the same ones for all points of all students, so that the
    difference of two students is paired. Noise of items widens every range a little: read the difference, not the
    ends, as evidence. Raises `DataError` when items or seeds differ.
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
    whole_MPS = _scores(columns_IX.sum(axis=0, keepdims=True), len(labels), len(runs), len(seeds))[:, 0]
    drawn_MBPS = np.empty((len(METRICS), resamples, len(runs), len(seeds)))
    for number, metric in enumerate(METRICS):
        stratified = metric != "accuracy"  # as in statistics.bootstrap
        drawn = resampled_sums(columns_IX, indices.gold_I, resamples, seed, groups_I, stratified=stratified)
        drawn_MBPS[number] = _scores(drawn, len(labels), len(runs), len(seeds))[number]
    weights_BS = np.random.default_rng([seed, 1]).multinomial(
        len(seeds), np.full(len(seeds), 1 / len(seeds)), size=resamples
    ) / len(seeds)
    value_MP = whole_MPS.mean(axis=2)
    draws_MBP = np.einsum("mbps,bs->mbp", drawn_MBPS, weights_BS)
    enough = len(set(range(len(indices.gold_I)) if groups_I is None else groups_I.tolist())) > 1
    start, found = 0, {}
    for name, mine in several.items():
        part = slice(start, start + len(mine))
        start += len(mine)
        found[name] = [(_both(value_MP[m, part][None]), _both(draws_MBP[m, :, part])) for m in range(len(METRICS))]

    def estimate(value: float, draws_B: Floats) -> Estimate:
        return Estimate(value, percentiles(draws_B, level, method_of(groups_I)) if enough else None)

    of = {
        name: {
            metric: SettingSpread(len(several[name]), *(estimate(float(value[k, 0]), draws[k]) for k in range(2)))
            for metric, (value, draws) in zip(METRICS, pairs, strict=True)
        }
        for name, pairs in found.items()
    }
    names = list(found)
    differences = {
        (a, b): {
            metric: (
                estimate(float(one[0][0, 0] - two[0][0, 0]), one[1][0] - two[1][0]),
                estimate(float(one[0][1, 0] - two[0][1, 0]), one[1][1] - two[1][1]),
            )
            for metric, one, two in zip(METRICS, found[a], found[b], strict=True)
        }
        for number, a in enumerate(names)
        for b in names[number + 1 :]
    }
    return Spreads(of, differences)


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
