"""Two sets of trained students on the same items: how far apart, and whether that is more than noise.

Letters that end array names: I items, S seeds of one side, G contexts (clusters of items, mostly of one item), W sums.

**One pair of seeds**: McNemar's exact test. Of the items that exactly one of the two has right, each is as likely to
be won as lost if both are equally good, so the two-sided p is that of the binomial distribution with 1/2. Seeds are
paired by number where both sides have the same ones, else in their order; a single student (the untrained one) stands
against every seed of the other side.

**All seeds together**: adding up the pairs' discordant items would count an item once for each seed, as if there were
more items than there are, and p would be too small. So the item stays the unit: d_i is the difference of the shares of
both sides' seeds that have item i right, and if both sides are equally good its sign is as likely + as -. The
distribution of the sum of d_i over all signs is computed exactly, by adding one item after the other (Fisher's
randomisation test for pairs, 1935; for accuracies of one seed each it is McNemar's exact test, number for number).
Items that share a context change sign together.

This p speaks of other items, for these students. Other seeds are in the interval of the gain: the bootstrap over items
and seeds (`statistics.paired_gain`). A gap counts as a gain or loss only where both agree: p after Holm's correction
below .05, and an interval that leaves out 0 (the rule of "When +1% is not enough", arXiv 2511.19794, which pairs a
bootstrap interval with a sign-flip test; here the flips are exact). Neither alone would do: where seeds differ by a
standard deviation of 3 points and both sides are equally good, the test over 500 items alone calls two sides of 3 seeds
different in 44 of 100 comparisons, both together in 11, and with 5 seeds in 43 and 5 (`bench/comparisons.py`). With a
single seed there is nothing to see this by, and 40 of 100 are called different.
"""
# ruff: noqa: N803, N806 - array names end in the letters of their dimensions

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from preceptor.errors import DataError
from preceptor.evaluate.aggregate import holm
from preceptor.evaluate.contexts import clusters_of
from preceptor.evaluate.power import LEVEL, discordance, seed_variance, smallest_detectable
from preceptor.evaluate.statistics import Indices, bootstrap, check_clusters, index_predictions, paired_gain
from preceptor.records import Comparison, Prediction, SeedPair

Ints = NDArray[np.int64]

RESAMPLES = 10_000
_NAMED = 3  # ids named in an error; the rest is counted


@dataclass(frozen=True)
class Contender:
    """All seeds of one student and arm, wherever their predictions come from."""

    source: str
    """The run or file, as it was given."""
    labels: tuple[str, ...]
    runs: Mapping[int, Sequence[Prediction]]
    """By seed."""
    task: str = ""
    """Empty, as the fields below, where the source does not say it."""
    split: str = ""
    setting: str = ""
    student: str = ""
    arm: str = ""
    """`untrained` for the student as it came."""
    shared: Mapping[str, int] = field(default_factory=dict)
    """Ids of items that share a context -> its number."""

    @property
    def words(self) -> str:
        """Student and arm, or the source where there is neither."""
        return ", ".join(word for word in (self.student, self.arm) if word) or self.source


def compare(
    pairs: Sequence[tuple[Contender, Contender]], resamples: int = RESAMPLES, seed: int = 0
) -> list[Comparison]:
    """Every arm against its baseline, given as (baseline, arm); p-values are corrected over all of them together.

    Raises `DataError` in one sentence when the sides of a pair have other tasks, splits, settings, labels, items or
    true labels; the order of the items may differ.
    """
    found = [_compare_pair(baseline, arm, resamples, seed, len(pairs)) for baseline, arm in pairs]
    tested = [number for number, one in enumerate(found) if one.p is not None]
    corrected = dict(zip(tested, holm([found[number].p or 0.0 for number in tested]).tolist(), strict=True))
    done = [replace(one, p_holm=corrected.get(number)) for number, one in enumerate(found)]
    return [replace(one, verdict=_verdict(one)) for one in done]


def check_comparable(baseline: Contender, arm: Contender) -> None:
    """Raise `DataError`, naming both sources, unless both sides answered the same question to the same items."""
    both = f"{_where(baseline)} and {_where(arm)}"
    for what in ("task", "split", "setting"):
        ours, theirs = getattr(baseline, what), getattr(arm, what)
        if ours and theirs and ours != theirs:
            raise DataError(
                f"{both} cannot be compared: their {what} is {ours!r} and {theirs!r}.",
                "Only predictions for the same task, split and setting can be compared.",
            )
    if set(baseline.labels) != set(arm.labels):
        raise DataError(
            f"{both} cannot be compared: their labels are {', '.join(baseline.labels)} and {', '.join(arm.labels)}.",
            "Only predictions for the same task can be compared.",
        )
    for side in (baseline, arm):
        _check_seeds(side)
    ours, theirs = _gold(baseline), _gold(arm)
    if ours.keys() != theirs.keys():
        raise DataError(f"{both} cannot be compared: {_differing(baseline, arm)}.", "Score both on the same items.")
    other = [item for item, label in ours.items() if theirs[item] != label]
    if other:
        raise DataError(
            f"{both} cannot be compared: the true label of {_some(other)} is not the same in both, "
            f"for {other[0]!r} {ours[other[0]]!r} and {theirs[other[0]]!r}.",
            "They were scored on two versions of the data.",
        )


def exact_mcnemar(lost: int, won: int) -> float:
    """Two-sided p of McNemar's exact test, of items that only one or only the other has right; 1 without any.

    Twice the binomial chance of a split at least as uneven, at most 1; computed in whole numbers.
    """
    n, least = lost + won, min(lost, won)
    if least < 0:
        raise DataError(f"{lost} lost and {won} won items are impossible.", "Count the items again.")
    chance, total = 1, 0
    for k in range(least + 1):
        total += chance
        chance = chance * (n - k) // (k + 1)
    return min(1.0, 2 * total / (1 << n))


def exact_flips(sums_G: Ints) -> float:
    """Two-sided p that the sum of these whole numbers is as far from 0 when each takes either sign at random.

    `sums_G`: for each item, or each context, how many seeds (times the other side's number of seeds) the arm has right
    more than the baseline. Exact but for rounding, at least 2^-(number of entries that are not 0) x 2.
    """
    steps = np.abs(sums_G[sums_G != 0])
    if steps.size == 0:
        return 1.0
    steps = steps // np.gcd.reduce(steps)
    # X is the sum of the steps whose sign is +, so the sum over signs is 2 X - whole.
    whole = int(steps.sum())
    chances_W = np.zeros(whole + 1)
    chances_W[0], reached = 1.0, 0
    for step in np.sort(steps).tolist():
        moved_W = chances_W[: reached + 1] / 2
        chances_W[: reached + 1] = moved_W
        chances_W[step : reached + step + 1] += moved_W
        reached += step
    distance = abs(int(sums_G.sum())) // int(np.gcd.reduce(np.abs(sums_G[sums_G != 0])))
    far_W = np.abs(2 * np.arange(whole + 1) - whole) >= distance
    return min(1.0, float(chances_W[far_W].sum()))


def _compare_pair(baseline: Contender, arm: Contender, resamples: int, seed: int, family: int) -> Comparison:
    check_comparable(baseline, arm)
    ids = [prediction.id for prediction in next(iter(baseline.runs.values()))]
    theirs, ours = _indices(baseline, ids, baseline.labels), _indices(arm, ids, baseline.labels)
    clusters_I = check_clusters(clusters_of(ids, {**arm.shared, **baseline.shared}), len(ids))
    n_labels = len(baseline.labels)
    scored = [bootstrap(*side, n_labels, resamples, seed, clusters_I=clusters_I).accuracy for side in (theirs, ours)]
    gain = paired_gain(
        ours.gold_I, ours.predicted_RI, theirs.predicted_RI, n_labels, resamples, seed, clusters_I=clusters_I
    )
    right_theirs_SI, right_ours_SI = (side.predicted_RI == side.gold_I for side in (theirs, ours))
    # Whole numbers, so that equal differences are equal: shares of 3 and 5 seeds are not.
    counted_I = right_ours_SI.sum(axis=0) * len(right_theirs_SI) - right_theirs_SI.sum(axis=0) * len(right_ours_SI)
    psi = discordance(counted_I / (len(right_theirs_SI) * len(right_ours_SI)), clusters_I)
    seeds = seed_variance(right_theirs_SI.astype(np.float64)).plus(seed_variance(right_ours_SI.astype(np.float64)))
    contexts = len(ids) if clusters_I is None else int(clusters_I.max()) + 1
    detectable = [
        smallest_detectable(len(ids), psi, seeds, contexts=contexts, level=level) if contexts > 1 else None
        for level in (LEVEL, LEVEL / family)
    ]
    sums_G = counted_I if clusters_I is None else np.bincount(clusters_I, weights=counted_I).astype(np.int64)
    return Comparison(
        baseline=_name(baseline, arm),
        arm=_name(arm, baseline),
        setting=baseline.setting or arm.setting,
        n=len(ids),
        contexts=contexts,
        baseline_seeds=len(baseline.runs),
        arm_seeds=len(arm.runs),
        baseline_accuracy=scored[0],
        arm_accuracy=scored[1],
        gain_accuracy=gain.accuracy,
        gain_macro_f1=gain.macro_f1,
        pairs=_seed_pairs(list(baseline.runs), list(arm.runs), right_theirs_SI, right_ours_SI),
        discordance=psi,
        p=exact_flips(sums_G) if contexts > 1 else None,
        p_holm=None,
        detectable=detectable[0],
        detectable_in_family=detectable[1],
        verdict="",
    )


def _seed_pairs(
    base_seeds: Sequence[int], arm_seeds: Sequence[int], base_SI: NDArray[np.bool_], arm_SI: NDArray[np.bool_]
) -> tuple[SeedPair, ...]:
    if len(base_seeds) == 1 or len(arm_seeds) == 1:
        pairs = [(b, a) for b in range(len(base_seeds)) for a in range(len(arm_seeds))]
    elif set(base_seeds) & set(arm_seeds):
        pairs = [(b, arm_seeds.index(seed)) for b, seed in enumerate(base_seeds) if seed in arm_seeds]
    else:
        pairs = list(zip(range(len(base_seeds)), range(len(arm_seeds)), strict=False))
    found = []
    for b, a in pairs:
        lost, won = int((base_SI[b] & ~arm_SI[a]).sum()), int((arm_SI[a] & ~base_SI[b]).sum())
        p = exact_mcnemar(lost, won) if base_SI.shape[1] > 1 else None
        found.append(SeedPair(base_seeds[b], arm_seeds[a], lost, won, p))
    return tuple(found)


def _verdict(one: Comparison) -> str:
    interval = one.gain_accuracy.interval
    if one.p_holm is None or interval is None:
        return "no result"
    if one.p_holm < LEVEL and (interval.low > 0 or interval.high < 0):
        return "gain" if interval.low > 0 else "loss"
    return "noise"


def _indices(side: Contender, ids: Sequence[str], labels: Sequence[str]) -> Indices:
    """All seeds with the items in the order of `ids`."""
    runs = []
    for predictions in side.runs.values():
        by_id = {prediction.id: prediction for prediction in predictions}
        runs.append([by_id[item] for item in ids])
    try:
        return index_predictions(runs, labels)
    except DataError as error:
        raise DataError(f"{side.source}, {side.words}: {error.message}", error.hint) from error


def _check_seeds(side: Contender) -> None:
    """Every seed answered each item once, and all the same items."""
    if not side.runs:
        raise DataError(f"{side.source} holds no predictions.", "Give a finished run or a file of predictions.")
    seeds = list(side.runs)
    for seed in seeds:
        ids = [prediction.id for prediction in side.runs[seed]]
        if not ids:
            raise DataError(f"{_where(side)}, seed {seed}, holds no predictions.", "Score it on the items first.")
        if len(set(ids)) != len(ids):
            twice = next(item for item in ids if ids.count(item) > 1)
            raise DataError(f"{_where(side)}, seed {seed}, answers the item {twice!r} twice.", "Keep one answer.")
        if set(ids) != {prediction.id for prediction in side.runs[seeds[0]]}:
            one = replace(side, runs={seeds[0]: side.runs[seeds[0]]}, source=f"seed {seeds[0]}", student="", arm="")
            other = replace(one, runs={seed: side.runs[seed]}, source=f"seed {seed}")
            raise DataError(
                f"{_where(side)}: its seeds cannot be taken together: {_differing(one, other)}.",
                "All seeds must be scored on the same items.",
            )


def _gold(side: Contender) -> dict[str, str]:
    return {prediction.id: prediction.gold for prediction in next(iter(side.runs.values()))}


def _differing(one: Contender, other: Contender) -> str:
    """Which items only one of two sides has, in words."""
    ours, theirs = _gold(one), _gold(other)
    parts = []
    for ids, side in (
        ([item for item in ours if item not in theirs], one),
        ([item for item in theirs if item not in ours], other),
    ):
        if ids:
            parts.append(f"{len(ids)} item{'s' * (len(ids) > 1)} only in {_where(side)} ({_some(ids)})")
    return " and ".join(parts)


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _NAMED} more" if len(ids) > _NAMED else ""
    return ", ".join(repr(item if len(item) <= 40 else item[:37] + "...") for item in ids[:_NAMED]) + more


def _where(side: Contender) -> str:
    words = side.words
    return side.source if words == side.source else f"{side.source} ({words})"


def _name(side: Contender, other: Contender) -> str:
    """Student and arm, with the source where the sides come from different ones."""
    if side.source == other.source:
        return side.words
    return _where(side)
