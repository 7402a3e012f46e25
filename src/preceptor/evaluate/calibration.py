"""Whether probabilities mean what they say, what a preference for labels costs, and how alike seeds answer.

Letters that end array names: I items, S seeds, L labels, N bins, B resamples.

**Expected calibration error** (Naeini et al. 2015; of the said label, Guo et al. 2017, "On Calibration of Modern
Neural Networks", eq. 3): answers are put into bins by their confidence, the probability of the said label. Each bin's
mean confidence should be its share of right answers, and the error is the mean distance of the two, bins weighted by
their answers. Bins are of equal width, or hold equally many items (Nguyen and O'Connor 2015). The error of few items
is never 0, since the share right in a bin varies by chance, so beside it stands what chance alone makes of a perfect
student with the same confidences: the mean distance of a normal variable with the bin's binomial variance.

**Brier's score** over all labels (G. W. Brier 1950): the mean of the squared distance between the probabilities and 1
for the true label, 0 for the others; 0 to 2.

**Intervals** are the bootstrap of `statistics` over items (or contexts) and seeds, items being drawn from all labels
together, as for accuracy, and bins being those of the items as they are. Resampling adds to the noise that is in the
bins already, so resampled calibration errors are too high on average, by about as much as the error itself is: the
lower end is moved down by twice that mean excess, not below 0, the upper end by once. Of a student that is too sure
(true errors of .13 and .19) they hold the true error in 96 to 97 % of samples, of one that is a little so (.04) in 85
and 95 %, of a perfect one in only 66 and 70 % (100 and 500 items, 10 bins, 150 samples each): near 0 look at what
chance makes instead. Brier's score is held in 92 to 96 %.

**Label prior.** A student may prefer a label whatever the item (Zhao et al. 2021). The prior it acts by is estimated
as the mean of its probabilities (Batch Calibration, Zhou et al. 2024), here over validation items, and replaced by
the labels' shares among these (Saerens, Latinne and Decaestecker 2002, "Adjusting the outputs of a classifier to new
a priori probabilities", eq. 2.4): p(label) is multiplied by true / said and brought to sum 1. Test items have no part
in it. The shares are counted with one more item of each label, so that a label that no validation item has is not
ruled out. With 50 validation items they are rough, and the intervals do not speak of other validation items.

**Fleiss' kappa** (J. L. Fleiss 1971) with seeds as raters.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.errors import DataError
from preceptor.evaluate.metrics import score
from preceptor.evaluate.statistics import (
    Estimates,
    bootstrap,
    check_clusters,
    index_predictions,
    method_of,
    percentiles,
    resampled_sums,
    wilson,
)
from preceptor.records import (
    Calibration,
    Corrected,
    Estimate,
    Interval,
    Outcome,
    Prediction,
    ReliabilityBin,
    SeedAgreement,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 10
LEVEL = 0.95

Runs = Mapping[int, Sequence[Prediction]]
"""Predictions for the same items by seed."""


def equal_width(confidence_I: Floats, bins: int) -> Ints:
    """The number of each answer's bin among `bins` equal ones of (0, 1], their upper ends included."""
    number_I: Ints = np.clip(np.ceil(confidence_I * bins).astype(np.int64) - 1, 0, bins - 1)
    return number_I


def equal_mass(confidence_I: Floats, bins: int) -> Ints:
    """The number of each answer's bin when ranked answers are cut into `bins` runs whose lengths differ by at most 1.

    Equal confidences may fall into two bins; they are ranked in the order of the items.
    """
    number_I = np.empty(confidence_I.size, dtype=np.int64)
    for number, members in enumerate(np.array_split(np.argsort(confidence_I, kind="stable"), bins)):
        number_I[members] = number
    return number_I


def calibration_error(confidence_I: Floats, right_I: Floats, bin_I: Ints) -> float:
    """Expected calibration error of answers in bins; NaN without answers."""
    if confidence_I.size == 0:
        return float("nan")
    return float(np.abs(np.bincount(bin_I, weights=confidence_I - right_I)).sum()) / confidence_I.size


def chance_error(confidence_I: Floats, bin_I: Ints) -> float:
    """What `calibration_error` is on average for a student whose confidences are true; NaN without answers.

    By the normal approximation; bins of few answers make it some percent too high.
    """
    if confidence_I.size == 0:
        return float("nan")
    variance_N = np.bincount(bin_I, weights=confidence_I * (1 - confidence_I))
    return float(np.sqrt(2 / np.pi * variance_N).sum()) / confidence_I.size


def brier_of(probabilities_IL: Floats, gold_I: Ints) -> Floats:
    """Each item's squared distance to the true label, shape (I,)."""
    truth_IL = np.eye(probabilities_IL.shape[1])[gold_I]
    distance_I: Floats = np.square(probabilities_IL - truth_IL).sum(axis=1)
    return distance_I


def calibrate(
    runs: Runs,
    labels: Sequence[str],
    resamples: int,
    seed: int,
    *,
    validation: Runs | None = None,
    clusters: ArrayLike | None = None,
    bins: int = BINS,
) -> Calibration | None:
    """Calibration of one arm's seeds on the same items; None without items or where an answer has no probabilities.

    `validation` holds the same students' answers to validation items; only where every seed has some, and each with
    probabilities, is there a corrected score. Intervals are None with fewer than two items. Raises `DataError` as
    `statistics.index_predictions`, and when probabilities do not fit the labels.
    """
    gold_I, said_SI = index_predictions(list(runs.values()), labels)
    if gold_I.size == 0 or not all(p.probabilities for run in runs.values() for p in run):
        return None
    probabilities_SIL = np.array([_probabilities(run, labels) for run in runs.values()])
    confidence_SI = probabilities_SIL.max(axis=2)
    right_SI = (said_SI == gold_I).astype(np.float64)
    columns, values = [], []
    for cut in (equal_width, equal_mass):
        for confidence_I, right_I in zip(confidence_SI, right_SI, strict=True):
            bin_I = cut(confidence_I, bins)
            columns.append(np.eye(bins)[bin_I] * (confidence_I - right_I)[:, None])
            values.append(calibration_error(confidence_I, right_I, bin_I))
    brier_SI = np.array([brier_of(one_IL, gold_I) for one_IL in probabilities_SIL])
    ends = _Draws(len(runs), gold_I, resamples, seed, clusters)
    sums_BX, n_B = ends.sums(np.concatenate([*columns, brier_SI.T], axis=1))
    errors_B2S = np.abs(sums_BX[:, : -len(runs)].reshape(resamples, 2 * len(runs), bins)).sum(axis=2) / n_B[:, None]
    ece, ece_mass = (
        ends.estimate(np.array(values)[part], errors_B2S[:, part], noise_adds=True)
        for part in (slice(0, len(runs)), slice(len(runs), None))
    )
    brier = ends.estimate(brier_SI.mean(axis=1), sums_BX[:, -len(runs) :] / n_B[:, None])
    chance = float(np.mean([chance_error(one_I, equal_width(one_I, bins)) for one_I in confidence_SI]))
    reliability = reliability_bins(confidence_SI, right_SI, bins)
    corrected = _corrected(runs, validation or {}, labels, resamples, seed, clusters)
    return Calibration(bins, ece, ece_mass, chance, brier, reliability, corrected)


def reliability_bins(confidence_SI: Floats, right_SI: Floats, bins: int = BINS) -> tuple[ReliabilityBin, ...]:
    """The bins of equal width that hold an answer, all seeds pooled."""
    seeds = len(confidence_SI)
    confidence, right = confidence_SI.ravel(), right_SI.ravel()
    bin_I = equal_width(confidence, bins)
    found = []
    for number in range(bins):
        inside = bin_I == number
        if inside.any():
            n, share = int(inside.sum()), float(right[inside].mean())
            # Seeds answer the same items: three of them are no three times as many items.
            items = max(1, round(n / seeds))
            found.append(
                ReliabilityBin(
                    number / bins,
                    (number + 1) / bins,
                    n,
                    float(confidence[inside].mean()),
                    share,
                    wilson(round(share * items), items) if items > 1 else None,
                )
            )
    return tuple(found)


class _Draws:
    """Resamples of the items, and of the seeds, for statistics that are made of sums."""

    def __init__(self, seeds: int, gold_I: Ints, resamples: int, seed: int, clusters: ArrayLike | None) -> None:
        self._gold_I, self._resamples, self._seed = gold_I, resamples, seed
        self._clusters_I = check_clusters(clusters, gold_I.size)
        self._enough = gold_I.size > 1 and (self._clusters_I is None or self._clusters_I.max() > 0)
        # Seeds are drawn by a generator of their own, so that all statistics see the same resamples.
        drawn = np.random.default_rng([seed, 1]).multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples)
        self._weights_BS = drawn / seeds

    def sums(self, columns_IX: Floats) -> tuple[Floats, Floats]:
        """Sums of the columns, shape (B, X), and the number of items, shape (B,), of every resample."""
        counted = np.concatenate([columns_IX, np.ones((len(columns_IX), 1))], axis=1)
        sums_BX = resampled_sums(counted, self._gold_I, self._resamples, self._seed, self._clusters_I, stratified=False)
        return sums_BX[:, :-1], sums_BX[:, -1]

    def estimate(self, values_S: Floats, draws_BS: Floats, *, noise_adds: bool = False) -> Estimate:
        """Mean over seeds with its interval. With `noise_adds` the draws' excess is taken off."""
        value = float(values_S.mean())
        sd = float(np.std(values_S, ddof=1)) if values_S.size > 1 else None
        draws_B = (draws_BS * self._weights_BS).sum(axis=1)
        return Estimate(value, self.interval(value, draws_B, noise_adds=noise_adds), sd)

    def interval(self, value: float, draws_B: Floats, *, noise_adds: bool = False) -> Interval | None:
        if not self._enough:
            return None
        found = percentiles(draws_B, LEVEL, method_of(self._clusters_I))
        if found is None or not noise_adds:
            return found
        excess = float(draws_B.mean()) - value
        low, high = max(0.0, min(value, found.low - 2 * excess)), max(value, found.high - excess)
        return replace(found, low=low, high=high)


def _probabilities(run: Sequence[Prediction], labels: Sequence[str]) -> list[tuple[float, ...]]:
    wrong = next((p for p in run if len(p.probabilities) != len(labels)), None)
    if wrong is not None:
        raise DataError(
            f"Item {wrong.id}: {len(wrong.probabilities)} probabilities do not fit {len(labels)} labels.",
            "Give one for each label, in the task's order.",
        )
    return [p.probabilities for p in run]


# --- label prior --------------------------------------------------------------------------------------------------


def label_prior(validation: Sequence[Prediction], labels: Sequence[str]) -> tuple[Floats, Floats]:
    """What a student says of validation items on average, and the labels' shares among them; both of shape (L,).

    Raises `DataError` without items, and as `statistics.index_predictions`.
    """
    if not validation:
        raise DataError("There are no validation items to estimate a label prior from.", "Give at least one.")
    gold_I, _ = index_predictions([validation], labels)
    said_L = np.array(_probabilities(validation, labels)).mean(axis=0)
    counts_L = np.bincount(gold_I, minlength=len(labels)) + 1.0
    return said_L, counts_L / counts_L.sum()


def without_prior(
    predictions: Sequence[Prediction], said_L: Floats, true_L: Floats, labels: Sequence[str]
) -> list[Prediction]:
    """Predictions whose probabilities of labels are brought from the prior `said_L` to `true_L`."""
    factor_L = true_L / np.maximum(said_L, 1e-9)  # probabilities are stored with 6 decimals, so 0 may be said
    weighted = np.array(_probabilities(predictions, labels)) * factor_L
    probabilities_IL = weighted / weighted.sum(axis=1, keepdims=True)
    return [
        replace(p, label=labels[int(row.argmax())], outcome=Outcome.ANSWERED, probabilities=tuple(row.tolist()))
        for p, row in zip(predictions, probabilities_IL, strict=True)
    ]


def _corrected(
    runs: Runs, validation: Runs, labels: Sequence[str], resamples: int, seed: int, clusters: ArrayLike | None
) -> Corrected | None:
    known = [validation.get(one, ()) for one in runs]
    if not all(known) or not all(p.probabilities for one in known for p in one):
        return None
    priors = [label_prior(one, labels) for one in known]
    fixed = [without_prior(run, *prior, labels) for run, prior in zip(runs.values(), priors, strict=True)]
    found = estimates_of(fixed, labels, resamples, seed, clusters)
    said, true = (np.mean([prior[part] for prior in priors], axis=0).tolist() for part in (0, 1))
    recalls = zip(labels, found.recall, strict=True)
    return Corrected(
        n=min(map(len, known)),
        said=dict(zip(labels, said, strict=True)),
        true=dict(zip(labels, true, strict=True)),
        accuracy=found.accuracy,
        macro_f1=found.macro_f1,
        recall={label: recall for label, recall in recalls if recall is not None},
    )


def estimates_of(
    runs: Sequence[Sequence[Prediction]],
    labels: Sequence[str],
    resamples: int,
    seed: int,
    clusters: ArrayLike | None = None,
) -> Estimates:
    """Accuracy, macro-F1 and recall of seeds with their intervals: Wilson's for shares of one seed's own items.

    With a single seed and no shared contexts, accuracy and recall have Wilson's interval, which has a width at 0 and 1;
    else all have the bootstrap's. Fewer than two items (of the label, for a recall) have none: there is no result.
    """
    indices = index_predictions(runs, labels)
    found = bootstrap(*indices, len(labels), resamples, seed, clusters_I=clusters)
    golds_L = np.bincount(indices.gold_I, minlength=len(labels))
    accuracy, recall = found.accuracy, list(found.recall)
    if len(runs) == 1 and runs[0] and check_clusters(clusters, indices.gold_I.size) is None:
        only = score(runs[0], labels)
        accuracy = replace(accuracy, interval=_share(only.accuracy, only.n))
        recall = [
            None if one is None else replace(one, interval=_share(one.value, int(n)))
            for one, n in zip(recall, golds_L, strict=True)
        ]
    recall = [
        replace(one, interval=None) if one is not None and n < 2 else one
        for one, n in zip(recall, golds_L, strict=True)
    ]
    return Estimates(accuracy, found.macro_f1, tuple(recall))


def _share(value: float, n: int) -> Interval | None:
    return wilson(round(value * n), n) if n > 1 else None


# --- agreement ----------------------------------------------------------------------------------------------------


def seed_agreement(
    runs: Runs, labels: Sequence[str], resamples: int, seed: int, clusters: ArrayLike | None = None
) -> SeedAgreement | None:
    """How alike the seeds answer; None with fewer than two seeds or without items.

    Intervals are over items only: seeds drawn with replacement would agree with themselves.
    """
    gold_I, said_SI = index_predictions(list(runs.values()), labels)
    seeds = len(said_SI)
    if seeds < 2 or gold_I.size == 0:
        return None
    counts_IL = np.stack([(said_SI == number).sum(axis=0) for number in range(-1, len(labels))], axis=1)
    alike_I = (np.square(counts_IL).sum(axis=1) - seeds) / (seeds * (seeds - 1))
    columns = np.concatenate([alike_I[:, None], counts_IL / seeds], axis=1)
    ends = _Draws(seeds, gold_I, resamples, seed, clusters)
    sums_BX, n_B = ends.sums(columns)
    means_BX = sums_BX / n_B[:, None]
    pairwise = float(alike_I.mean())
    kappa = float(_kappa(columns.mean(axis=0)[None])[0])
    return SeedAgreement(
        seeds,
        Estimate(pairwise, ends.interval(pairwise, means_BX[:, 0])),
        None if np.isnan(kappa) else Estimate(kappa, ends.interval(kappa, _kappa(means_BX))),
    )


def _kappa(means_BX: Floats) -> Floats:
    """Fleiss' kappa from the mean agreement and the answers' shares; NaN where all answers are one."""
    chance_B = np.square(means_BX[:, 1:]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappa_B: Floats = np.where(chance_B < 1 - 1e-12, (means_BX[:, 0] - chance_B) / (1 - chance_B), np.nan)
    return kappa_B
