"""From counts per item to a score with its interval, to a paired gain with its p-value, to Holm's correction.

A metric is a row of counts per item and a rule that makes a score of the sum of rows (`KINDS`), so one code resamples
accuracy, F1 of mentions and ROUGE alike.

Letters that end array names: I items, S seeds of one arm (trained students), K counts of a row, B resamples, R random
swaps.

**Interval**: a percentile bootstrap over items and seeds (Efron and Tibshirani 1993, chapter 13). Each resample draws
items with replacement, the same for all seeds and both arms, and as many seeds as there are, with replacement; it is
scored from its sums. Unlike `statistics.bootstrap` it is not stratified by label, since most metrics have none, so an
interval of accuracy or macro-F1 is as wide or a little wider here. With three seeds the spread between seeds is
underestimated as there. Accuracy of a single seed has Wilson's interval instead.

**p-value**: approximate randomisation (Noreen 1989; for F1 of texts Yeh 2000, "More accurate tests for the statistical
significance of result differences"): were base and arm alike, it would not matter which of the two gave an item's
answer. Base and arm change places item by item at random, R times; p is the share of swaps whose difference is at
least as far from 0 as the observed one, the observed one included: (1 + count) / (R + 1). Rows of several seeds are
averaged first, so the swap is one of two mean rows and the statistic is the score of the mean rows (for a mean this is
the mean over seeds; for F1 the F1 of the pooled counts). It tests these students on other items; only the interval
also speaks of other seeds.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from preceptor.errors import DataError
from preceptor.evaluate.statistics import wilson
from preceptor.records import Estimate, Interval, Measure

Floats = NDArray[np.float64]

LEVEL = 0.95
SWAPS = 9_999
"""Random swaps of a test. The least p is then 1 in 10,000, so that a gain can still be significant at .05 after Holm's
correction over 500 gains; with 1,999 swaps no gain could among more than 100."""
ACCURACY = "accuracy"
_BLOCK_CELLS = 2_000_000  # weights held at once: 16 MB


def _ratio(part: Floats, whole: Floats) -> Floats:
    """`part / whole`, NaN where `whole` is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        result: Floats = np.where(whole > 0, part / np.where(whole > 0, whole, 1.0), np.nan)
    return result


def _quotient(sums: Floats) -> Floats:
    return _ratio(sums[..., 0], sums[..., 1])


def _relaxed_f1(sums: Floats) -> Floats:
    matched, said, found, gold = (sums[..., k] for k in range(4))
    # One side empty: nothing can match, and F1 is 0; both empty: nothing was asked and nothing said.
    precision, recall = np.nan_to_num(_ratio(matched, said)), np.nan_to_num(_ratio(found, gold))
    f1 = np.nan_to_num(_ratio(2 * precision * recall, precision + recall))
    result: Floats = np.where(said + gold > 0, f1, np.nan)
    return result


def _macro_f1(sums: Floats) -> Floats:
    hits, gold, said = np.split(sums, 3, axis=-1)
    f1 = np.nan_to_num(_ratio(2 * hits, gold + said))
    result: Floats = np.where(gold.sum(axis=-1) > 0, f1.mean(axis=-1), np.nan)
    return result


KINDS: Mapping[str, Callable[[Floats], Floats]] = {
    "mean": _quotient,
    "f1": _quotient,
    "relaxed_f1": _relaxed_f1,
    "macro_f1": _macro_f1,
}
"""Kind of a measure -> from sums of rows, shape (..., K), to scores, shape (...); NaN where there is no result.

`mean`: [sum, how many]. `f1`: [2 x hits, said + gold]. `relaxed_f1`: [said that match, said, gold that match, gold];
the harmonic mean of both shares. `macro_f1`: hits, gold and said of each label, three blocks of as many columns as
there are labels; the mean over all labels, a label that is neither true nor said having F1 0 (scikit-learn's
`f1_score(..., average="macro", labels=labels, zero_division=0)`).
"""


def estimate(measures: Sequence[Measure], resamples: int, seed: int) -> Estimate | None:
    """Mean over seeds of one metric, one measure per seed on the same items, with its interval at 95 %.

    None when there is no result: no items, or none that counts. A seed without a result is left out, and so are
    resamples without one. The interval is None with fewer than two items, and where all resamples are alike (every
    answer refused, say): it would have no width and claim to be certain. `sd` is that over seeds, None with fewer than
    two. Raises `DataError` when the measures are not of one metric and length, or `resamples` is below 1.
    """
    rows_SIK = _with_result(_stacked(measures), measures)
    _check_count("resamples", resamples)
    if rows_SIK.size == 0:
        return None
    kind = KINDS[measures[0].kind]
    scores_S = kind(rows_SIK.sum(axis=1))
    value, sd = float(scores_S.mean()), _spread(scores_S)
    if len(measures) == 1 and measures[0].name == ACCURACY and measures[0].kind == "mean":
        right, n = rows_SIK[0].sum(axis=0)
        # Of one set of answers Wilson's interval is exact enough, and has a width at 0 and 1.
        return Estimate(value, wilson(round(right), round(n), LEVEL) if n > 1 else None, sd)
    draws_B = _resampled(kind, [rows_SIK], resamples, np.random.default_rng(seed))[0]
    return Estimate(value, _interval(draws_B, rows_SIK.shape[1]), sd)


def gain(
    base: Sequence[Measure], arm: Sequence[Measure], resamples: int, seed: int, *, swaps: int = SWAPS
) -> tuple[Estimate, float] | None:
    """What `arm` has over `base` on the same items: the difference of the means over seeds, and its two-sided p.

    Interval and p are those of the module's docstring. Of a metric that leaves items out (the judge's, where an answer
    could not be read) only items that count in every seed of both are compared, seeds without any left out, so the
    gain may differ a little from the difference of the two estimates. `base` may be a single student, the untuned one;
    the gain's `sd` is that of the difference of two single students, to which a single student adds nothing, and None
    when both are single.

    None when there is no result. Raises `DataError` as `estimate`, and when base and arm have different numbers of
    items (`check_same_items` names the items that differ).
    """
    base_SIK, arm_SIK = _stacked(base), _stacked(arm)
    _check_count("resamples", resamples)
    _check_count("swaps", swaps)
    if (base[0].name, base[0].kind, base_SIK.shape[1:]) != (arm[0].name, arm[0].kind, arm_SIK.shape[1:]):
        raise DataError(
            f"{base[0].name} of {base_SIK.shape[1]} items and {arm[0].name} of {arm_SIK.shape[1]} items cannot be "
            "compared.",
            "Score both on the same items.",
        )
    base_SIK, arm_SIK = _with_result(base_SIK, base), _with_result(arm_SIK, arm)
    if base_SIK.size and arm_SIK.size and arm[0].kind == "mean":
        common_I = (base_SIK[..., 1] > 0).all(axis=0) & (arm_SIK[..., 1] > 0).all(axis=0)
        base_SIK, arm_SIK = base_SIK[:, common_I], arm_SIK[:, common_I]
    if base_SIK.size == 0 or arm_SIK.size == 0:
        return None
    kind = KINDS[arm[0].kind]
    base_S, arm_S = kind(base_SIK.sum(axis=1)), kind(arm_SIK.sum(axis=1))
    sds = [sd for sd in (_spread(base_S), _spread(arm_S)) if sd is not None]
    rng = np.random.default_rng(seed)
    base_B, arm_B = _resampled(kind, [base_SIK, arm_SIK], resamples, rng)
    found = Estimate(
        float(arm_S.mean() - base_S.mean()),
        _interval(arm_B - base_B, arm_SIK.shape[1]),
        float(np.hypot.reduce(sds)) if sds else None,
    )
    return found, _randomised(kind, base_SIK.mean(axis=0), arm_SIK.mean(axis=0), swaps, rng)


def check_same_items(ids: Mapping[str, Sequence[str]]) -> None:
    """Raise `DataError`, naming some that differ, unless all have the same items in the same order.

    `ids`: whose answers they are, in words, -> the ids of the items.
    """
    names = list(ids)
    for name in names[1:]:
        ours, theirs = list(ids[names[0]]), list(ids[name])
        if ours == theirs:
            continue
        differ = sorted(set(ours) ^ set(theirs))
        some = ", ".join(differ[:3]) + (f" and {len(differ) - 3} more" if len(differ) > 3 else "")
        how = f"items that only one of them answered: {some}" if differ else "the same items in another order"
        raise DataError(
            f"{names[0]} and {name} cannot be compared: {how}.", "Only answers to the same items can be compared."
        )


def holm(p_values: ArrayLike) -> Floats:
    """p-values after Holm's step-down correction over all of them, in their order.

    The i-th smallest of m is multiplied by m - i + 1; none becomes smaller than one before it, nor larger than 1
    (S. Holm 1979). With a bound on these the chance of any false finding is below that bound, however they depend.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    result = np.empty_like(p)
    result[order] = np.minimum(stepped, 1.0)
    return result


def _stacked(measures: Sequence[Measure]) -> Floats:
    """Rows of all seeds, shape (S, I, K)."""
    if not measures:
        raise DataError("There is no measure to estimate anything from.", "Give one per seed.")
    first = measures[0]
    for other in measures[1:]:
        if (other.name, other.kind, len(other.rows)) != (first.name, first.kind, len(first.rows)):
            raise DataError(
                f"{first.name} of {len(first.rows)} items and {other.name} of {len(other.rows)} items are not two "
                "seeds of one metric.",
                "Score all seeds on the same items.",
            )
    if first.kind not in KINDS:
        raise DataError(f"There is no kind of measure {first.kind!r}.", f"There are {', '.join(KINDS)}.")
    if not first.rows:
        return np.zeros((len(measures), 0, 0))
    return np.array([measure.rows for measure in measures], dtype=np.float64)


def _with_result(rows_SIK: Floats, measures: Sequence[Measure]) -> Floats:
    """The seeds that have a result; empty when none has."""
    if rows_SIK.size == 0:
        return rows_SIK[:0]
    return rows_SIK[~np.isnan(KINDS[measures[0].kind](rows_SIK.sum(axis=1)))]


def _resampled(
    kind: Callable[[Floats], Floats], arms: Sequence[Floats], resamples: int, rng: np.random.Generator
) -> list[Floats]:
    """Each arm's mean over seeds in every resample, shape (B,); all arms see the same items."""
    n = arms[0].shape[1]
    weights = [rng.multinomial(len(a), np.full(len(a), 1 / len(a)), size=resamples) / len(a) for a in arms]
    columns = np.concatenate([a.transpose(1, 0, 2).reshape(n, -1) for a in arms], axis=1)
    ends = np.cumsum([a.shape[0] * a.shape[2] for a in arms])[:-1]
    scores: list[list[Floats]] = [[] for _ in arms]
    for size in _blocks(resamples, n):
        sums = np.split(_item_counts(rng, size, n) @ columns, ends, axis=1)
        for found, part, a in zip(scores, sums, arms, strict=True):
            found.append(kind(part.reshape(size, a.shape[0], a.shape[2])))
    return [
        # A seed that was not drawn must not turn the mean into NaN by having no result in this resample.
        np.where(w > 0, w * np.concatenate(found), 0.0).sum(axis=1)
        for w, found in zip(weights, scores, strict=True)
    ]


def _item_counts(rng: np.random.Generator, size: int, n: int) -> Floats:
    """How often each of `n` items is drawn in each of `size` resamples of `n` draws, shape (size, n)."""
    drawn = rng.integers(0, n, (size, n)) + np.arange(size)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def _randomised(
    kind: Callable[[Floats], Floats], base_IK: Floats, arm_IK: Floats, swaps: int, rng: np.random.Generator
) -> float:
    """Two-sided p of the difference when rows change places at random."""
    base_K, arm_K = base_IK.sum(axis=0), arm_IK.sum(axis=0)
    observed = abs(float(kind(arm_K) - kind(base_K)))
    difference_IK = arm_IK - base_IK
    difference_IK = difference_IK[difference_IK.any(axis=1)]  # where both say the same a swap changes nothing
    count = 0
    for size in _blocks(swaps, max(1, len(difference_IK))):
        swapped = rng.integers(0, 2, (size, len(difference_IK)), dtype=np.uint8).astype(np.float64)
        moved_RK = swapped @ difference_IK
        found_R = np.abs(kind(arm_K - moved_RK) - kind(base_K + moved_RK))
        # Equal but for rounding counts as reached, and so does a swap without a result: p is rather too large.
        count += int((~(found_R < observed - 1e-12)).sum())
    return (1 + count) / (swaps + 1)


def _blocks(total: int, cells: int) -> Iterator[int]:
    """Sizes of blocks whose arrays of `size` x `cells` numbers fit into memory at once."""
    block = max(1, _BLOCK_CELLS // cells)
    for start in range(0, total, block):
        yield min(block, total - start)


def _interval(draws_B: Floats, items: int) -> Interval | None:
    """The middle 95 % of the draws."""
    draws_B = draws_B[~np.isnan(draws_B)]
    if items < 2 or draws_B.size == 0 or np.ptp(draws_B) < 1e-12:
        return None
    low, high = np.quantile(draws_B, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(float(low), float(high), LEVEL, "bootstrap")


def _spread(scores_S: Floats) -> float | None:
    return float(np.std(scores_S, ddof=1)) if len(scores_S) > 1 else None


def _check_count(name: str, value: int) -> None:
    if value < 1:
        raise DataError(f"The number of {name} must be at least 1, got {value}.", "Set evaluate.resamples.")
