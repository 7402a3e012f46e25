"""From rows to scores, intervals, gains and p-values, against scikit-learn, scipy, statsmodels and plain loops."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from scipy.stats import permutation_test
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from preceptor.errors import DataError
from preceptor.evaluate import aggregate
from preceptor.evaluate.aggregate import KINDS, check_same_items, estimate, gain, holm
from preceptor.evaluate.statistics import bootstrap, paired_gain, wilson
from preceptor.records import Estimate, Measure


def measure(rows: np.ndarray, kind: str = "mean", name: str = "rouge1") -> Measure:
    return Measure(name, kind, tuple(tuple(float(x) for x in row) for row in rows))


def mean_of(values: np.ndarray, name: str = "rouge1") -> Measure:
    return measure(np.stack([values, np.ones(len(values))], axis=1), name=name)


def labels_of(golds: np.ndarray, said: np.ndarray, n_labels: int) -> Measure:
    """macro-F1 rows from label numbers; -1 is no label."""
    numbers = np.arange(n_labels)
    gold, named = golds[:, None] == numbers, said[:, None] == numbers
    return measure(np.concatenate([gold & named, gold, named], axis=1), "macro_f1", "macro_f1")


def bounds(found: Estimate | None) -> tuple[float, float]:
    assert found is not None
    assert found.interval is not None
    return found.interval.low, found.interval.high


# --- rows to scores ------------------------------------------------------------------------------------------------


def test_macro_f1_of_sums_is_that_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    for trial in range(30):
        golds, said = rng.integers(0, 3, 12), rng.integers(-1, 4, 12)
        if trial % 2:
            golds[golds == 2] = 0  # a label without gold items
        rows = np.array(labels_of(golds, said, 4).rows)
        expected = f1_score(golds, said, labels=[0, 1, 2, 3], average="macro", zero_division=0)
        assert KINDS["macro_f1"](rows.sum(axis=0)) == pytest.approx(expected, abs=1e-12)


def test_scores_of_many_sums_at_once_are_those_of_each() -> None:
    rng = np.random.default_rng(1)
    for kind, width in (("mean", 2), ("f1", 2), ("relaxed_f1", 4), ("macro_f1", 9)):
        sums = rng.integers(0, 4, (5, 7, width)).astype(float)
        together = KINDS[kind](sums)
        assert together.shape == (5, 7)
        one_by_one = [[float(KINDS[kind](row)) for row in block] for block in sums]
        np.testing.assert_array_equal(together, np.array(one_by_one))


@pytest.mark.parametrize(
    ("kind", "sums", "score"),
    [
        ("mean", (3, 4), 0.75),
        ("mean", (0, 0), math.nan),
        ("f1", (4, 10), 0.4),
        ("f1", (0, 5), 0.0),
        ("f1", (0, 0), math.nan),
        ("relaxed_f1", (1, 2, 2, 2), 2 * 0.5 * 1 / 1.5),
        ("relaxed_f1", (0, 3, 0, 2), 0.0),
        ("relaxed_f1", (0, 0, 0, 2), 0.0),
        ("relaxed_f1", (0, 2, 0, 0), 0.0),
        ("relaxed_f1", (0, 0, 0, 0), math.nan),
        ("macro_f1", (1, 0, 2, 1, 1, 0), (2 * 1 / 3 + 0) / 2),
        ("macro_f1", (0, 0, 0, 0, 0, 0), math.nan),
    ],
)
def test_where_nothing_counts_there_is_no_score(kind: str, sums: tuple[float, ...], score: float) -> None:
    assert KINDS[kind](np.array(sums, dtype=float)) == pytest.approx(score, nan_ok=True)


# --- intervals -----------------------------------------------------------------------------------------------------


def test_the_interval_is_that_of_the_stratified_bootstrap_where_strata_do_not_matter() -> None:
    """With gold labels all alike the bootstrap of `statistics` draws items as freely as this one."""
    rng = np.random.default_rng(3)
    golds = np.zeros(90, dtype=int)
    said = np.where(rng.random((3, 90)) < 0.7, 0, 1)
    base = np.where(rng.random((2, 90)) < 0.5, 0, 1)
    expected = bootstrap(golds, said, 2, 20_000, 5).accuracy
    found = estimate([mean_of(row == golds) for row in said], 20_000, 6)
    assert found is not None
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert found.sd == pytest.approx(expected.sd, abs=1e-12)
    # A 2.5 % quantile of 20,000 draws lies within about 0.02 standard deviations (here .03) of the true one.
    assert bounds(found) == pytest.approx(bounds(expected), abs=0.006)

    against = paired_gain(golds, said, base, 2, 20_000, 5)
    compared = gain([mean_of(row == golds) for row in base], [mean_of(row == golds) for row in said], 20_000, 6)
    assert compared is not None
    assert compared[0].value == pytest.approx(against.accuracy.value, abs=1e-12)
    assert compared[0].sd == pytest.approx(against.accuracy.sd, abs=1e-12)
    assert bounds(compared[0]) == pytest.approx(bounds(against.accuracy), abs=0.008)


def test_the_interval_of_macro_f1_and_of_its_gain_is_that_of_a_plain_loop() -> None:
    rng = np.random.default_rng(4)
    golds = rng.choice(3, 80, p=(0.5, 0.3, 0.2))
    arm = np.where(rng.random((3, 80)) < 0.7, golds, rng.integers(-1, 3, (3, 80)))
    base = np.where(rng.random((1, 80)) < 0.5, golds, rng.integers(-1, 3, (1, 80)))

    def score(rows: np.ndarray, picked: np.ndarray) -> float:
        total = 0.0
        for row in rows:
            for label in range(3):
                gold, named = golds[picked] == label, row[picked] == label
                total += 2 * (gold & named).sum() / max(1, gold.sum() + named.sum()) / 3 / len(rows)
        return total

    plain = []
    for _ in range(3000):
        picked = rng.integers(0, 80, 80)
        of_arm = score(arm[rng.integers(0, 3, 3)], picked)
        plain.append((of_arm, of_arm - score(base, picked)))
    low, high = np.quantile(np.array(plain), [0.025, 0.975], axis=0)
    arm_measures = [labels_of(golds, row, 3) for row in arm]
    alone = estimate(arm_measures, 20_000, 0)
    compared = gain([labels_of(golds, base[0], 3)], arm_measures, 20_000, 0)
    assert compared is not None
    assert bounds(alone) == pytest.approx((low[0], high[0]), abs=0.012)
    assert bounds(compared[0]) == pytest.approx((low[1], high[1]), abs=0.015)
    assert compared[0].value == pytest.approx(score(arm, np.arange(80)) - score(base, np.arange(80)), abs=1e-12)


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_cover_the_truth_about_as_often_as_they_say(seeds: int) -> None:
    covered, trials = 0, 300
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        # Items differ in difficulty, seeds are alike: the truth is the mean over all possible items.
        values = rng.beta(2, 3, 60) + rng.normal(0, 0.05, (seeds, 60))
        low, high = bounds(estimate([mean_of(row) for row in values], 300, trial))
        covered += low <= 0.4 <= high
    assert 0.91 <= covered / trials <= 0.985


def test_a_pair_cancels_what_is_hard_for_both() -> None:
    rng = np.random.default_rng(7)
    difficulty = rng.random(200)
    base, arm = mean_of(difficulty), mean_of(difficulty + rng.normal(0.02, 0.05, 200))
    alone, compared = bounds(estimate([arm], 2000, 0)), gain([base], [arm], 2000, 0)
    assert compared is not None
    low, high = bounds(compared[0])
    assert high - low < 0.3 * (alone[1] - alone[0])
    assert compared[1] < 0.001


def test_accuracy_of_one_seed_has_wilsons_interval_and_of_more_the_bootstrap() -> None:
    right = np.array([True] * 33 + [False] * 17)
    found = estimate([mean_of(right, "accuracy")], 500, 0)
    assert found == Estimate(0.66, wilson(33, 50), None)
    assert bounds(estimate([mean_of(np.ones(50), "accuracy")], 500, 0))[0] < 0.95
    several = estimate([mean_of(right, "accuracy"), mean_of(right[::-1], "accuracy")], 500, 0)
    assert several is not None
    assert several.interval is not None
    assert several.interval.method == "bootstrap"
    assert several.sd == 0


def test_the_same_seed_gives_the_same_and_another_nearly_the_same() -> None:
    rng = np.random.default_rng(8)
    base, arm = mean_of(rng.random(50)), mean_of(rng.random(50))
    assert gain([base], [arm], 500, 1) == gain([base], [arm], 500, 1)
    assert gain([base], [arm], 500, 1) != gain([base], [arm], 500, 2)
    assert estimate([arm], 500, 1) == estimate([arm], 500, 1)


def test_seeds_widen_the_interval_when_they_differ() -> None:
    rng = np.random.default_rng(9)
    values = rng.random(200)
    alike = estimate([mean_of(values)] * 3, 2000, 0)
    differing = estimate([mean_of(values - 0.2), mean_of(values), mean_of(values + 0.2)], 2000, 0)
    assert np.ptp(bounds(differing)) > 2 * np.ptp(bounds(alike))


# --- no result -----------------------------------------------------------------------------------------------------


def test_no_items_and_nothing_that_counts_is_no_result() -> None:
    empty = Measure("rouge1", "mean", ())
    nothing = measure(np.zeros((5, 2)), "f1", "strict_f1")
    for one in (empty, nothing, measure(np.zeros((5, 4)), "relaxed_f1"), measure(np.zeros((5, 6)), "macro_f1")):
        assert estimate([one], 100, 0) is None
        assert gain([one], [one], 100, 0) is None


def test_one_item_has_a_value_and_no_interval() -> None:
    assert estimate([mean_of(np.array([0.3]))], 100, 0) == Estimate(0.3, None, None)
    several = estimate([mean_of(np.array([0.2])), mean_of(np.array([0.4]))], 100, 0)
    assert several == Estimate(pytest.approx(0.3), None, pytest.approx(0.2 / math.sqrt(2)))
    compared = gain([mean_of(np.array([0.3]))], [mean_of(np.array([0.5]))], 100, 0)
    assert compared is not None
    assert compared[0] == Estimate(pytest.approx(0.2), None, None)
    assert compared[1] == 1.0


def test_resamples_that_are_all_alike_claim_no_certainty() -> None:
    assert estimate([mean_of(np.zeros(40))], 100, 0) == Estimate(0.0, None, None)
    rng = np.random.default_rng(0)
    same = mean_of(rng.random(40))
    assert gain([same], [same], 100, 0) == (Estimate(0.0, None, None), 1.0)


def test_resamples_without_a_result_are_left_out() -> None:
    rows = np.zeros((6, 2))
    rows[0], rows[1] = (2, 4), (2, 2)
    found = estimate([measure(rows, "f1", "strict_f1")], 2000, 0)
    assert bounds(found) == (0.5, 1.0)


def test_a_seed_without_a_result_is_left_out() -> None:
    read, unread = mean_of(np.array([2.0, 4.0, 3.0]), "judge"), measure(np.zeros((3, 2)), name="judge")
    found = estimate([read, unread], 200, 0)
    assert found is not None
    assert (found.value, found.sd) == (3.0, None)
    assert found == estimate([read], 200, 0)
    better = mean_of(np.array([3.0, 5.0, 3.0]), "judge")
    assert gain([read, unread], [unread, better], 200, 0) == gain([read], [better], 200, 0)
    assert gain([read], [unread], 200, 0) is None


def test_a_seed_without_a_result_in_a_resample_spoils_it_only_where_it_is_drawn() -> None:
    rows = np.ones((2, 50, 2))
    rows[1, 1:] = 0  # the second seed has one item that counts, which (1 - 1/50)^50 = .364 of the resamples lack
    draws = aggregate._resampled(KINDS["mean"], [rows], 4000, np.random.default_rng(0))[0]
    assert np.isnan(draws).mean() == pytest.approx(0.75 * 0.364, abs=0.03)


def test_items_that_one_side_lacks_are_not_compared() -> None:
    base = measure(np.array([(5, 1), (0, 0), (2, 1), (3, 1)]), name="judge")
    arm = measure(np.array([(1, 1), (5, 1), (3, 1), (0, 0)]), name="judge")
    compared = gain([base], [arm], 200, 0)
    assert compared is not None
    assert compared[0].value == pytest.approx((1 + 3) / 2 - (5 + 2) / 2)
    assert gain([base], [measure(np.array([(0, 0), (1, 1), (0, 0), (0, 0)]), name="judge")], 200, 0) is None


# --- p-values ------------------------------------------------------------------------------------------------------


def test_p_of_a_mean_is_that_of_scipys_permutation_test() -> None:
    for seed, shift in ((0, 0.0), (1, 0.1), (2, 0.25)):
        rng = np.random.default_rng(seed)
        base = rng.random(9)
        arm = base + rng.normal(shift, 0.3, 9)
        exact = permutation_test(
            (arm, base),
            lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,  # all 512
            vectorized=True,
        ).pvalue
        compared = gain([mean_of(base)], [mean_of(arm)], 100, 0, swaps=40_000)
        assert compared is not None
        # 40,000 swaps place a share of .5 to within .0025.
        assert compared[1] == pytest.approx(exact, abs=0.01)


def test_p_of_an_f1_is_that_of_all_swaps_one_by_one() -> None:
    rng = np.random.default_rng(5)
    base, arm = (np.stack([2 * rng.integers(0, 3, 8), rng.integers(3, 7, 8)], axis=1) for _ in range(2))

    def f1(rows: np.ndarray) -> float:
        return float(rows[:, 0].sum() / rows[:, 1].sum())

    observed = abs(f1(arm) - f1(base))
    reached = 0
    for mask in range(2**8):
        swap = np.array([mask >> item & 1 for item in range(8)], dtype=bool)[:, None]
        reached += abs(f1(np.where(swap, base, arm)) - f1(np.where(swap, arm, base))) >= observed - 1e-12
    compared = gain([measure(base, "f1")], [measure(arm, "f1")], 100, 0, swaps=40_000)
    assert compared is not None
    assert compared[1] == pytest.approx(reached / 2**8, abs=0.01)


def test_rows_of_several_seeds_are_averaged_before_they_are_swapped() -> None:
    rng = np.random.default_rng(6)
    base, arms = rng.random(30), rng.random((3, 30))
    several = gain([mean_of(base)], [mean_of(row) for row in arms], 100, 0, swaps=20_000)
    averaged = gain([mean_of(base)], [mean_of(arms.mean(axis=0))], 100, 0, swaps=20_000)
    assert several is not None
    assert averaged is not None
    assert several[1] == pytest.approx(averaged[1], abs=0.01)


def test_p_is_never_0_and_fewer_swaps_make_it_larger() -> None:
    base, arm = mean_of(np.zeros(60)), mean_of(np.ones(60))
    for swaps in (99, 999):
        compared = gain([base], [arm], 100, 0, swaps=swaps)
        assert compared is not None
        assert compared[1] == 1 / (swaps + 1)


def test_p_below_a_bound_is_as_rare_as_the_bound_says_when_nothing_differs() -> None:
    small = 0
    for trial in range(400):
        rng = np.random.default_rng(trial)
        compared = gain([mean_of(rng.random(40))], [mean_of(rng.random(40))], 10, trial, swaps=199)
        assert compared is not None
        small += compared[1] <= 0.1
    assert 0.06 <= small / 400 <= 0.14


def test_holm_is_that_of_statsmodels() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2, 7, 60):
        p = rng.random(n) ** 3
        p[: n // 3] = p[0]  # ties
        np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-12)
    assert holm([]).tolist() == []


# --- what is refused -----------------------------------------------------------------------------------------------


def test_other_items_are_refused_by_name() -> None:
    check_same_items({"a": ["1", "2"], "b": ("1", "2")})
    with pytest.raises(DataError, match=r"a and b cannot be compared: items that only one of them answered: 2, 3, 4 a"):
        check_same_items({"a": ["1", "2", "5"], "b": ["1", "3", "4"]})
    with pytest.raises(DataError, match="a and c cannot be compared: the same items in another order"):
        check_same_items({"a": ["1", "2"], "b": ["1", "2"], "c": ["2", "1"]})


def test_other_lengths_kinds_and_counts_are_refused() -> None:
    two, three = mean_of(np.ones(2)), mean_of(np.ones(3))
    with pytest.raises(DataError, match="rouge1 of 2 items and rouge1 of 3 items cannot be compared"):
        gain([two], [three], 100, 0)
    with pytest.raises(DataError, match="are not two seeds of one metric"):
        estimate([two, three], 100, 0)
    with pytest.raises(DataError, match="cannot be compared"):
        gain([two], [mean_of(np.ones(2), "rouge2")], 100, 0)
    with pytest.raises(DataError, match="no kind of measure 'median'"):
        estimate([measure(np.ones((2, 2)), "median")], 100, 0)
    with pytest.raises(DataError, match="number of resamples must be at least 1, got 0"):
        estimate([two], 0, 0)
    with pytest.raises(DataError, match="number of swaps must be at least 1, got 0"):
        gain([two], [two], 10, 0, swaps=0)
    with pytest.raises(DataError, match="no measure"):
        estimate([], 100, 0)


# --- cost ----------------------------------------------------------------------------------------------------------


def test_a_whole_matrix_takes_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    base = [mean_of(rng.random(500)) for _ in range(7)]
    arms = [[mean_of(rng.random(500)) for _ in range(3)] for _ in range(7)]
    start = time.process_time()
    for one, other in zip(base, arms, strict=True):
        assert estimate(other, 2000, 0)
        assert gain([one], other, 2000, 0)
    assert time.process_time() - start < 6  # one of 13 students


def test_memory_does_not_grow_with_resamples_times_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregate, "_BLOCK_CELLS", 100_000)
    rng = np.random.default_rng(0)
    base, arm = mean_of(rng.random(5000)), mean_of(rng.random(5000))
    tracemalloc.start()
    gain([base], [arm], 1000, 0, swaps=1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6  # all weights at once: 40 MB


def test_the_accuracy_of_a_single_item_has_no_interval() -> None:
    found = estimate([Measure("accuracy", "mean", ((1.0, 1.0),))], 100, 0)
    assert found is not None
    assert (found.value, found.interval) == (1.0, None)
