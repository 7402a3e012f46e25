"""Intervals: Wilson for one share, a seeded bootstrap for scores of several seeds and for paired gains.

Letters that end array names: I items, S trained seeds of one arm, R runs (seeds of all arms stacked),
L labels, C columns (one per run and label), M scores (accuracy, macro-F1, recall of each label), B resamples,
K distinct units (items with the same gold label and the same predictions of every run, or clusters alike),
X columns of numbers.

The bootstrap of macro-F1 and recall is stratified by gold label, so every resample has the test part's own label
counts. Accuracy depends on how many items of each label there are, so its items are drawn from all labels together:
otherwise a model that always says the same would have an interval without width. Both are hierarchical: items are drawn
with replacement, the same ones for all runs, and of several seeds as many are drawn with replacement, so that the
interval of a mean over seeds speaks of other items and of other seeds.
(With three seeds the spread between seeds is still underestimated: the variance of a resampled mean is
(S - 1) / S of the usual estimate.) Items with the same gold label and the same predictions cannot be told
apart, so each resample draws multinomial counts of the K distinct rows instead of I items, which has the same
distribution and is much quicker. Intervals are percentile intervals.

Items that share a context are no independent evidence. Where clusters say that some do, whole clusters are drawn
with replacement instead of items, stratified (but for accuracy) by the cluster's most frequent gold label (of equally
frequent ones the first), and label counts then vary with the clusters that are drawn. Where no two items share one,
that is the bootstrap above, draw by draw.

Source of the formulas: E. B. Wilson (1927) for the share; Efron and Tibshirani (1993), chapters 6 and 13; Davison and
Hinkley (1997), section 3.8, for clusters.
"""
# ruff: noqa: N803, N806, N815 - array names end in the letters of their dimensions

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.errors import DataError
from preceptor.records import Estimate, Interval, Prediction

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

UNANSWERED = -1
"""Index of an answer without a label."""
_BLOCK_CELLS = 4_000_000  # weights held at once: 32 MB


@dataclass(frozen=True, slots=True)
class Estimates:
    """Accuracy and macro-F1, or their gains, each with its interval."""

    accuracy: Estimate
    macro_f1: Estimate
    recall: tuple[Estimate | None, ...] = ()
    """By label number; None for a label that no item has."""


class _Units(NamedTuple):
    """What is drawn with replacement within its stratum: items or clusters, those alike taken together."""

    stratum_K: Ints
    """Ascending."""
    counts_K: Ints
    """How many there are of each."""
    golds_KL: Floats
    """How many items of each label one of them holds."""
    hits_KC: Floats
    said_KC: Floats


class Indices(NamedTuple):
    """Runs over the same items as label numbers."""

    gold_I: Ints
    predicted_RI: Ints
    """One row per run; `UNANSWERED` where there is no label."""


def wilson(successes: int, n: int, level: float = 0.95) -> Interval | None:
    """Wilson's score interval of the share `successes / n`; None when `n` is 0: there is no result.

    Unlike the bootstrap it has a width when all or none of the items are right.
    """
    _check_level(level)
    if not 0 <= successes <= n:
        raise DataError(f"{successes} right of {n} items is impossible.", "Count the items again.")
    if n == 0:
        return None
    z = NormalDist().inv_cdf(0.5 + level / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # Clipped, because rounding may leave a share of 0 or 1 just outside.
    return Interval(max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale), level, "wilson")


def index_predictions(runs: Sequence[Sequence[Prediction]], labels: Sequence[str]) -> Indices:
    """Turn runs over the same items into label numbers, in the order of `labels`.

    Raises `DataError` when the items or their order differ between runs, or a label is not among `labels`.
    """
    number: dict[str | None, int] = {None: UNANSWERED, **{label: index for index, label in enumerate(labels)}}
    items = [(prediction.id, prediction.gold) for prediction in runs[0]] if runs else []
    for run in runs:
        if [(prediction.id, prediction.gold) for prediction in run] != items:
            raise DataError(
                "Two runs were scored on different items, or on the same items in another order.",
                "Only predictions for the same items can be compared.",
            )
    unknown = sorted({str(x) for run in runs for p in run for x in (p.gold, p.label) if x not in number})
    if unknown:
        raise DataError(f"{unknown[0]!r} is not one of the labels {', '.join(labels)}.", "Correct the predictions.")
    gold_I = np.array([number[gold] for _, gold in items], dtype=np.int64)
    rows = [[number[prediction.label] for prediction in run] for run in runs]
    return Indices(gold_I, np.array(rows, dtype=np.int64).reshape(len(runs), len(items)))


def bootstrap(
    gold_index_I: ArrayLike,
    predicted_index_SI: ArrayLike,
    n_labels: int,
    resamples: int,
    seed: int,
    *,
    level: float = 0.95,
    clusters_I: ArrayLike | None = None,
) -> Estimates:
    """Mean accuracy, macro-F1 and recall over the seeds of one arm, with their intervals.

    `gold_index_I` holds label numbers 0..n_labels-1, `predicted_index_SI` one row per seed with label numbers
    or `UNANSWERED`, `clusters_I` the number of each item's cluster where items share contexts. The same `seed` gives
    the same intervals. With fewer than two items, or a single cluster, there is no interval, and without items or
    seeds no value either (NaN). When all items are right the interval has no width; `wilson` has one. Raises
    `DataError` for wrong shapes and numbers.
    """
    runs = _check_runs(gold_index_I, predicted_index_SI, n_labels)
    groups_I = check_clusters(clusters_I, len(runs.gold_I))
    value = _observed(runs, n_labels)
    if not _enough(runs, groups_I, resamples, level):
        return _estimates(value.mean(axis=1), None, _spread(value), level)
    rng = np.random.default_rng(seed)
    weights_BS = _seed_weights(rng, resamples, len(runs.predicted_RI))
    scores_MBR = _resampled(rng, _units(runs, n_labels, groups_I), n_labels, resamples)
    means_MB = (scores_MBR * weights_BS).sum(axis=2)
    return _estimates(value.mean(axis=1), means_MB, _spread(value), level, method_of(groups_I))


def paired_gain(
    gold_index_I: ArrayLike,
    arm_index_SI: ArrayLike,
    baseline_index_SI: ArrayLike,
    n_labels: int,
    resamples: int,
    seed: int,
    *,
    level: float = 0.95,
    clusters_I: ArrayLike | None = None,
) -> Estimates:
    """Gain of an arm over a baseline arm on the same items: difference of the means over seeds.

    Each resample takes the same items for both arms, so what is hard for both cancels; the seeds of the two
    arms are drawn independently, and there may be more of one. `sd` is the standard deviation of the
    difference of two single trained models, one of each arm. Otherwise as `bootstrap`.
    """
    arm = _check_runs(gold_index_I, arm_index_SI, n_labels)
    baseline = _check_runs(gold_index_I, baseline_index_SI, n_labels)
    of_arm, of_baseline = _observed(arm, n_labels), _observed(baseline, n_labels)
    value = of_arm.mean(axis=1) - of_baseline.mean(axis=1)
    sds = (_spread(of_arm), _spread(of_baseline))
    sd = None if sds[0] is None or sds[1] is None else np.hypot(sds[0], sds[1])
    groups_I = check_clusters(clusters_I, len(arm.gold_I))
    if not (_enough(arm, groups_I, resamples, level) and _enough(baseline, groups_I, resamples, level)):
        return _estimates(value, None, sd, level)
    rng = np.random.default_rng(seed)
    n_arm, n_baseline = len(arm.predicted_RI), len(baseline.predicted_RI)
    weights_BR = np.concatenate(
        [_seed_weights(rng, resamples, n_arm), -_seed_weights(rng, resamples, n_baseline)], axis=1
    )
    both = Indices(arm.gold_I, np.concatenate([arm.predicted_RI, baseline.predicted_RI]))
    gains_MB = (_resampled(rng, _units(both, n_labels, groups_I), n_labels, resamples) * weights_BR).sum(axis=2)
    return _estimates(value, gains_MB, sd, level, method_of(groups_I))


def resampled_sums(
    columns_IX: Floats,
    gold_index_I: Ints,
    resamples: int,
    seed: int,
    clusters_I: ArrayLike | None = None,
    *,
    stratified: bool = True,
) -> Floats:
    """Sums of the columns over the items of every resample, shape (B, X).

    Items or clusters are drawn as in `bootstrap`: stratified as for macro-F1, or from all labels together as for
    accuracy; there are no seeds here. Statistics that are functions of sums over items (a mean, the sums of a bin) get
    their interval from it. Raises `DataError` for wrong clusters.
    """
    groups_I = check_clusters(clusters_I, len(gold_index_I))
    if groups_I is None:
        order_I = np.argsort(gold_index_I, kind="stable")
        stratum_K, columns_KX = gold_index_I[order_I], columns_IX[order_I]
    else:
        summed_KX = summed(columns_IX, groups_I)
        strata_K = _strata(summed(np.eye(int(gold_index_I.max()) + 1)[gold_index_I], groups_I))
        order_K = np.argsort(strata_K, kind="stable")
        stratum_K, columns_KX = strata_K[order_K], summed_KX[order_K]
    stratum_K = stratum_K if stratified else np.zeros_like(stratum_K)
    rng = np.random.default_rng(seed)
    blocks = [
        _drawn(rng, stratum_K, np.ones(len(stratum_K), dtype=np.int64), size) @ columns_KX
        for size in block_sizes(resamples, len(stratum_K))
    ]
    return np.concatenate(blocks)


def check_clusters(clusters_I: ArrayLike | None, n: int) -> Ints | None:
    """Cluster numbers 0, 1, ... of the items; None when none are given or no two items share one.

    Raises `DataError` when there is not one for each of the `n` items.
    """
    if clusters_I is None:
        return None
    given = np.asarray(clusters_I)
    if given.shape != (n,):
        raise DataError(f"Clusters of shape {given.shape} do not fit {n} items.", "Give one number for each item.")
    names, numbers_I = np.unique(given, return_inverse=True)
    return None if len(names) == n else numbers_I.astype(np.int64)


def method_of(clusters_I: Ints | None) -> str:
    """What an interval's `method` says, after `check_clusters`."""
    return "bootstrap" if clusters_I is None else "bootstrap of whole contexts"


def _units(runs: Indices, n_labels: int, clusters_I: Ints | None) -> _Units:
    """What is drawn: items, or clusters where there are some."""
    if clusters_I is None:
        table = np.concatenate([runs.gold_I[None], runs.predicted_RI]).T
        rows, counts_K = np.unique(table, axis=0, return_counts=True)  # sorted, by gold label first
        return _Units(rows[:, 0], counts_K, np.eye(n_labels)[rows[:, 0]], *_one_hot(rows[:, 0], rows[:, 1:], n_labels))
    hits_IC, said_IC = _one_hot(runs.gold_I, runs.predicted_RI.T, n_labels)
    sums = summed(np.concatenate([np.eye(n_labels)[runs.gold_I], hits_IC, said_IC], axis=1), clusters_I)
    strata = _strata(sums[:, :n_labels])
    rows, counts_K = np.unique(np.concatenate([strata[:, None], sums], axis=1), axis=0, return_counts=True)
    golds_KL, hits_KC, said_KC = np.split(rows[:, 1:], [n_labels, n_labels + hits_IC.shape[1]], axis=1)
    return _Units(rows[:, 0].astype(np.int64), counts_K, golds_KL, hits_KC, said_KC)


def summed(columns_IX: Floats, clusters_I: Ints) -> Floats:
    """Sums of the columns over each cluster's items."""
    sums = np.zeros((int(clusters_I.max()) + 1, columns_IX.shape[1]))
    np.add.at(sums, clusters_I, columns_IX)
    return sums


def _strata(golds_KL: Floats) -> Ints:
    """The most frequent label of each cluster."""
    most_K: Ints = golds_KL.argmax(axis=1).astype(np.int64)
    return most_K


def _drawn(rng: np.random.Generator, stratum_K: Ints, counts_K: Ints, size: int) -> Floats:
    """How often each unit is drawn in `size` resamples, shape (size, K), when each stratum keeps its number."""
    parts = []
    for stratum in np.unique(stratum_K):
        of_stratum = counts_K[stratum_K == stratum]
        total = int(of_stratum.sum())
        parts.append(rng.multinomial(total, of_stratum / total, size=size))
    return np.concatenate(parts, axis=1).astype(np.float64)


def _resampled(rng: np.random.Generator, units: _Units, n_labels: int, resamples: int) -> Floats:
    """All scores, shape (M, B, R), of every run; all runs see the same items."""
    accuracy_BR = _resampled_accuracy(rng.spawn(1)[0], units, n_labels, resamples)
    blocks = []
    for size in block_sizes(resamples, len(units.counts_K)):
        weights_BK = _drawn(rng, units.stratum_K, units.counts_K, size)
        shape = (size, units.hits_KC.shape[1] // n_labels, n_labels)
        hits_BRL, said_BRL = (weights_BK @ units.hits_KC).reshape(shape), (weights_BK @ units.said_KC).reshape(shape)
        blocks.append(_scores(hits_BRL, said_BRL, (weights_BK @ units.golds_KL)[:, None])[1:])
    return np.concatenate([accuracy_BR[None], np.concatenate(blocks, axis=1)])


def _resampled_accuracy(rng: np.random.Generator, units: _Units, n_labels: int, resamples: int) -> Floats:
    """Accuracy, shape (B, R), of every run on units drawn from all strata together."""
    right_KR = units.hits_KC.reshape(len(units.counts_K), -1, n_labels).sum(axis=2)
    table = np.concatenate([units.golds_KL.sum(axis=1, keepdims=True), right_KR], axis=1)
    rows, of_row_K = np.unique(table, axis=0, return_inverse=True)  # few: only right or wrong counts, not the label
    counts = np.bincount(of_row_K, weights=units.counts_K).astype(np.int64)
    sums = [
        _drawn(rng, np.zeros(len(rows), dtype=np.int64), counts, size) @ rows
        for size in block_sizes(resamples, len(rows))
    ]
    sums_BX: Floats = np.concatenate(sums)
    accuracy_BR: Floats = sums_BX[:, 1:] / sums_BX[:, :1]
    return accuracy_BR


def block_sizes(resamples: int, n_rows: int) -> Iterator[int]:
    """Sizes of blocks of resamples whose weights of `n_rows` units fit into memory at once."""
    block = max(1, _BLOCK_CELLS // n_rows)
    for start in range(0, resamples, block):
        yield min(block, resamples - start)


def _observed(runs: Indices, n_labels: int) -> Floats:
    """All scores, shape (M, R), of every run on the items as they are; NaN without items."""
    if runs.gold_I.size == 0 or len(runs.predicted_RI) == 0:
        return np.full((2 + n_labels, 1), np.nan)
    hits_IC, said_IC = _one_hot(runs.gold_I, runs.predicted_RI.T, n_labels)
    shape = (1, len(runs.predicted_RI), n_labels)
    golds_11L = np.bincount(runs.gold_I, minlength=n_labels).astype(np.float64)[None, None]
    return _scores(hits_IC.sum(axis=0).reshape(shape), said_IC.sum(axis=0).reshape(shape), golds_11L)[:, 0]


def _one_hot(gold_K: Ints, predicted_KR: Ints, n_labels: int) -> tuple[Floats, Floats]:
    """Which label each run said, and where that was right; both of shape (K, C)."""
    said = predicted_KR[:, :, None] == np.arange(n_labels)
    hits = said & (gold_K[:, None, None] == np.arange(n_labels))
    return hits.reshape(len(gold_K), -1).astype(np.float64), said.reshape(len(gold_K), -1).astype(np.float64)


def _scores(hits_BRL: Floats, said_BRL: Floats, golds_B1L: Floats) -> Floats:
    """Accuracy, macro-F1 and recalls stacked, shape (M, B, R). A label that is neither true nor said has F1 0.

    The recall of a label that no item has is NaN.
    """
    accuracy = hits_BRL.sum(axis=2) / golds_B1L.sum(axis=2)
    f1 = 2 * hits_BRL / np.maximum(golds_B1L + said_BRL, 1)
    recall_BRL = np.where(golds_B1L > 0, hits_BRL / np.maximum(golds_B1L, 1), np.nan)
    return np.concatenate([[accuracy, f1.mean(axis=2)], np.moveaxis(recall_BRL, 2, 0)])


def _seed_weights(rng: np.random.Generator, resamples: int, n_seeds: int) -> Floats:
    """Weights, shape (B, S), of a mean over seeds drawn with replacement; rows sum to 1."""
    return rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), size=resamples) / n_seeds


def _spread(scores_MR: Floats) -> Floats | None:
    """Standard deviation of the scores over runs, None with fewer than two."""
    return np.std(scores_MR, axis=1, ddof=1) if scores_MR.shape[1] > 1 else None


def _estimates(
    values: Floats, draws_MB: Floats | None, sds: Floats | None, level: float, method: str = "bootstrap"
) -> Estimates:
    def one(index: int) -> Estimate:
        interval = None if draws_MB is None else percentiles(draws_MB[index], level, method)
        return Estimate(float(values[index]), interval, None if sds is None else float(sds[index]))

    recall = [None if math.isnan(values[index]) else one(index) for index in range(2, len(values))]
    return Estimates(accuracy=one(0), macro_f1=one(1), recall=tuple(recall))


def percentiles(draws_B: Floats, level: float, method: str) -> Interval | None:
    """The middle `level` of the draws, resamples without a result (NaN) left out; None when none has one."""
    known_B = draws_B[~np.isnan(draws_B)]
    if known_B.size == 0:
        return None
    low, high = np.quantile(known_B, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), level, method)


def _enough(runs: Indices, clusters_I: Ints | None, resamples: int, level: float) -> bool:
    """Whether there are two items, or two clusters, to draw from."""
    _check_level(level)
    if resamples < 1:
        raise DataError(f"The number of resamples must be at least 1, got {resamples}.", "Set evaluate.resamples.")
    drawn = runs.gold_I.size if clusters_I is None else int(clusters_I.max()) + 1
    return drawn > 1 and len(runs.predicted_RI) > 0


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise DataError(f"The level of an interval must lie between 0 and 1, got {level}.", "Use e.g. 0.95.")


def _check_runs(gold: ArrayLike, predicted: ArrayLike, n_labels: int) -> Indices:
    gold_I: NDArray[Any] = np.asarray(gold)
    predicted_RI: NDArray[Any] = np.asarray(predicted)
    if gold_I.ndim != 1 or predicted_RI.ndim != 2 or predicted_RI.shape[1] != gold_I.size:
        raise DataError(
            f"Gold labels of shape {gold_I.shape} do not fit predictions of shape {predicted_RI.shape}.",
            "Give (items,) and (seeds, items).",
        )
    for name, array, lowest in (("gold", gold_I, 0), ("predicted", predicted_RI, UNANSWERED)):
        if array.size and (array.min() < lowest or array.max() >= n_labels):
            raise DataError(
                f"A {name} label number lies outside {lowest}..{n_labels - 1}.",
                "Number the labels in the task's order.",
            )
    return Indices(gold_I.astype(np.int64), predicted_RI.astype(np.int64))
