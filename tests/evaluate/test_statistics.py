"""Intervals: Wilson against statsmodels, the bootstrap against a plain loop, its coverage and its speed."""

from __future__ import annotations

import math
import time
import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import f1_score
from statsmodels.stats.proportion import proportion_confint

from preceptor.errors import DataError
from preceptor.evaluate import statistics
from preceptor.evaluate.metrics import score
from preceptor.evaluate.statistics import (
    UNANSWERED,
    Estimates,
    bootstrap,
    index_predictions,
    paired_gain,
    wilson,
)
from preceptor.records import Estimate, Interval, Outcome, Prediction

LABELS = ("yes", "no", "maybe")
SHARES = (0.55, 0.34, 0.11)


def gold(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(3, n, p=SHARES)


def guesses(golds: np.ndarray, right: float, seeds: int, seed: int) -> np.ndarray:
    """Predictions, right with the given chance, else any label or none."""
    rng = np.random.default_rng(seed)
    shape = (seeds, len(golds))
    return np.where(rng.random(shape) < right, golds, rng.integers(UNANSWERED, 3, shape))


def interval(estimate: Estimate) -> Interval:
    assert estimate.interval is not None
    return estimate.interval


def width(estimate: Estimate) -> float:
    return interval(estimate).high - interval(estimate).low


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 1), (1, 1), (0, 50), (50, 50), (377, 500), (3, 7), (99_999, 100_000)])
def test_wilson_equals_statsmodels(successes: int, n: int, level: float) -> None:
    found = wilson(successes, n, level)
    assert found is not None
    low, high = proportion_confint(successes, n, alpha=1 - level, method="wilson")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-9)
    assert 0 <= found.low <= found.high <= 1
    assert (found.level, found.method) == (level, "wilson")


def test_wilson_of_nothing_is_no_result() -> None:
    assert wilson(0, 0) is None
    for successes, n in ((3, 2), (-1, 2), (1, 0)):
        with pytest.raises(DataError, match="impossible"):
            wilson(successes, n)
    with pytest.raises(DataError, match="between 0 and 1, got 95"):
        wilson(1, 2, 95)


def test_the_value_is_the_mean_over_seeds_of_the_plain_scores() -> None:
    golds = gold(60)
    said = guesses(golds, 0.6, 3, 1)
    found = bootstrap(golds, said, 3, 200, 0)
    accuracies = (said == golds).mean(axis=1)
    f1s = [f1_score(golds, row, average="macro", labels=[0, 1, 2], zero_division=0) for row in said]
    assert found.accuracy.value == pytest.approx(accuracies.mean())
    assert found.macro_f1.value == pytest.approx(np.mean(f1s))
    assert found.accuracy.sd == pytest.approx(np.std(accuracies, ddof=1))
    assert found.macro_f1.sd == pytest.approx(np.std(f1s, ddof=1))
    assert bootstrap(golds, said[:1], 3, 200, 0).accuracy.sd is None


def macro_f1(golds: np.ndarray, said: np.ndarray) -> float:
    """From precision and recall; much quicker than scikit-learn's, which the test above compares with."""
    total = 0.0
    for label in range(3):
        hits = np.sum((golds == label) & (said == label))
        if hits:
            precision, recall = hits / np.sum(said == label), hits / np.sum(golds == label)
            total += 2 * precision * recall / (precision + recall)
    return total / 3


def loop_bootstrap(golds: np.ndarray, arms: list[np.ndarray], resamples: int) -> np.ndarray:
    """The textbook version: draw items (for macro-F1 within each label), draw seeds, score each draw."""
    rng = np.random.default_rng(99)
    strata = [np.flatnonzero(golds == label) for label in range(3)]
    draws = []
    for _ in range(resamples):
        anywhere = rng.choice(len(golds), len(golds))
        picked = np.concatenate([rng.choice(stratum, len(stratum)) for stratum in strata])
        means = []
        for arm in arms:
            of_seeds = arm[rng.integers(0, len(arm), len(arm))]
            f1s = [macro_f1(golds[picked], row[picked]) for row in of_seeds]
            means.append(((of_seeds[:, anywhere] == golds[anywhere]).mean(), np.mean(f1s)))
        draws.append(means)
    return np.array(draws)


def test_the_bootstrap_agrees_with_a_plain_loop_over_items() -> None:
    golds = gold(80)
    arm, baseline = guesses(golds, 0.7, 2, 1), guesses(golds, 0.5, 3, 2)
    draws = loop_bootstrap(golds, [arm, baseline], 400)
    plain = bootstrap(golds, arm, 3, 4000, 0)
    gain = paired_gain(golds, arm, baseline, 3, 4000, 0)
    for found, sample in (
        (plain.accuracy, draws[:, 0, 0]),
        (plain.macro_f1, draws[:, 0, 1]),
        (gain.accuracy, draws[:, 0, 0] - draws[:, 1, 0]),
        (gain.macro_f1, draws[:, 0, 1] - draws[:, 1, 1]),
    ):
        low, high = np.quantile(sample, [0.025, 0.975])
        # 400 draws place a 2.5 % quantile to about 0.13 standard deviations; allow three of these.
        tolerance = 0.4 * sample.std()
        assert interval(found).low == pytest.approx(low, abs=tolerance)
        assert interval(found).high == pytest.approx(high, abs=tolerance)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    covered, trials = 0, 300
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        golds = rng.choice(3, 100, p=SHARES)
        said = np.where(rng.random((1, 100)) < np.array([0.9, 0.56, 0.12])[golds], golds, (golds + 1) % 3)
        found = interval(bootstrap(golds, said, 3, 300, trial).accuracy)
        covered += found.low <= 0.6986 <= found.high  # .55 x .9 + .34 x .56 + .11 x .12
    assert 0.90 <= covered / trials <= 0.99


def test_a_gain_of_nothing_is_found_significant_about_as_rarely_as_it_should() -> None:
    excluded, trials, golds = 0, 300, np.repeat([0, 1, 2], [55, 34, 11])
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        hard = rng.random(100) < 0.3  # items that both arms tend to miss
        arms = [np.where(rng.random((1, 100)) < np.where(hard, 0.2, 0.9), golds, (golds + 1) % 3) for _ in range(2)]
        found = interval(paired_gain(golds, arms[0], arms[1], 3, 300, trial).accuracy)
        excluded += found.low > 0 or found.high < 0
    assert 0.01 <= excluded / trials <= 0.10


def test_pairing_makes_the_interval_of_a_gain_narrower() -> None:
    golds = gold(300)
    arm = guesses(golds, 0.6, 1, 1)
    baseline = arm.copy()
    baseline[0, :6] = UNANSWERED  # the same answers but for a few
    paired = paired_gain(golds, arm, baseline, 3, 500, 0).accuracy
    alone = bootstrap(golds, arm, 3, 500, 0).accuracy
    assert width(paired) < 0.4 * width(alone)
    nothing = paired_gain(golds, arm, arm, 3, 500, 0)
    assert nothing.accuracy == nothing.macro_f1 == Estimate(0.0, Interval(0.0, 0.0, 0.95, "bootstrap"))


def test_gains_have_the_sign_of_arm_minus_baseline() -> None:
    golds = gold(300)
    good, bad = guesses(golds, 0.9, 3, 1), guesses(golds, 0.2, 2, 2)
    gain, loss = paired_gain(golds, good, bad, 3, 500, 0), paired_gain(golds, bad, good, 3, 500, 0)
    for up, down in ((gain.accuracy, loss.accuracy), (gain.macro_f1, loss.macro_f1)):
        assert interval(up).low > 0.3
        assert interval(down).high < -0.3
        assert up.value == pytest.approx(-down.value)
    sds = [np.std((said == golds).mean(axis=1), ddof=1) for said in (good, bad)]
    assert gain.accuracy.sd == pytest.approx(math.hypot(*sds))
    assert paired_gain(golds, good[:1], bad, 3, 100, 0).accuracy.sd is None


def test_seeds_that_disagree_widen_the_interval() -> None:
    golds = gold(400)
    alike = np.repeat(guesses(golds, 0.6, 1, 1), 3, axis=0)
    apart = np.concatenate([guesses(golds, right, 1, 1) for right in (0.3, 0.6, 0.9)])
    assert width(bootstrap(golds, apart, 3, 1000, 0).accuracy) > 2 * width(bootstrap(golds, alike, 3, 1000, 0).accuracy)
    # Seeds that say the same are one seed: no precision is gained by repeating a run.
    one, three = (
        bootstrap(golds, alike[:1], 3, 4000, 0).accuracy,
        bootstrap(golds, alike, 3, 4000, 0).accuracy,
    )
    assert width(three) == pytest.approx(width(one), rel=0.1)


def test_label_counts_vary_for_accuracy_alone() -> None:
    golds = np.repeat([0, 1], [90, 10])
    constant = np.zeros((3, 100), dtype=int)  # always the first label
    found = bootstrap(golds, constant, 2, 4000, 0)
    share = wilson(90, 100)
    assert share is not None
    assert interval(found.accuracy).low == pytest.approx(share.low, abs=0.02)
    assert interval(found.accuracy).high == pytest.approx(share.high, abs=0.02)
    # Always the first label has precision .9, recall 1 and F1 .947 for it, in every resample.
    assert interval(found.macro_f1).low == interval(found.macro_f1).high == pytest.approx(0.9 / 1.9)
    assert found.recall[0] == Estimate(1.0, Interval(1.0, 1.0, 0.95, "bootstrap"), 0.0)


def test_a_gain_over_one_answer_for_all_varies_with_the_labels() -> None:
    golds = np.repeat([0, 1], [50, 50])
    arm, baseline = np.ones((2, 100), dtype=int), np.zeros((2, 100), dtype=int)
    gain = paired_gain(golds, arm, baseline, 2, 4000, 0).accuracy
    # The difference of the two labels' shares, of 100 items: sd .1.
    assert (interval(gain).low, interval(gain).high) == pytest.approx((-0.196, 0.196), abs=0.03)


def test_the_seed_alone_decides_and_the_global_state_does_not() -> None:
    golds = gold(100)
    said = guesses(golds, 0.6, 3, 1)
    np.random.seed(1)
    first = bootstrap(golds, said, 3, 300, 7)
    state = np.random.get_state()[1].copy()  # type: ignore[union-attr]
    assert bootstrap(golds, said, 3, 300, 7) == first
    assert (np.random.get_state()[1] == state).all()
    assert bootstrap(golds, said, 3, 300, 8) != first
    order = np.random.default_rng(3).permutation(100)
    assert bootstrap(golds[order], said[:, order], 3, 300, 7).accuracy == first.accuracy
    assert paired_gain(golds, said, said[::-1], 3, 300, 7) == paired_gain(golds, said, said[::-1], 3, 300, 7)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_items_give_no_interval(n: int) -> None:
    golds, said = np.zeros(n, dtype=int), np.zeros((3, n), dtype=int)
    for found in (bootstrap(golds, said, 3, 100, 0), paired_gain(golds, said, said, 3, 100, 0)):
        assert isinstance(found, Estimates)
        assert found.accuracy.interval is None
        assert found.macro_f1.interval is None
    value = bootstrap(golds, said, 3, 100, 0).accuracy.value
    assert math.isnan(value) if n == 0 else value == 1.0


def test_wrong_input_is_named() -> None:
    with pytest.raises(DataError, match=r"shape \(2,\) do not fit predictions of shape \(1, 3\)"):
        bootstrap([0, 1], [[0, 1, 2]], 3, 100, 0)
    with pytest.raises(DataError, match=r"predicted label number lies outside -1\.\.2"):
        bootstrap([0, 1], [[0, 3]], 3, 100, 0)
    with pytest.raises(DataError, match=r"gold label number lies outside 0\.\.2"):
        bootstrap([0, -1], [[0, 1]], 3, 100, 0)
    with pytest.raises(DataError, match="resamples must be at least 1"):
        bootstrap([0, 1], [[0, 1]], 3, 0, 0)
    with pytest.raises(DataError, match="between 0 and 1"):
        paired_gain([0, 1], [[0, 1]], [[0, 1]], 3, 10, 0, level=1.0)


def test_the_usual_size_takes_well_below_a_second() -> None:
    golds = gold(500)
    arm, baseline = guesses(golds, 0.7, 3, 1), guesses(golds, 0.6, 3, 2)
    start = time.perf_counter()
    bootstrap(golds, arm, 3, 2000, 0)
    paired_gain(golds, arm, baseline, 3, 2000, 0)
    assert time.perf_counter() - start < 1


def test_resampling_in_blocks_changes_nothing_but_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    golds = gold(100)
    arm, baseline = guesses(golds, 0.6, 2, 1), guesses(golds, 0.5, 2, 2)
    whole = paired_gain(golds, arm, baseline, 3, 3001, 0)
    monkeypatch.setattr(statistics, "_BLOCK_CELLS", 500)
    parts = paired_gain(golds, arm, baseline, 3, 3001, 0)
    for one, other in ((whole.accuracy, parts.accuracy), (whole.macro_f1, parts.macro_f1)):
        assert interval(other).low == pytest.approx(interval(one).low, abs=0.015)
        assert interval(other).high == pytest.approx(interval(one).high, abs=0.015)


def test_many_items_are_resampled_in_bounded_memory() -> None:
    golds = gold(20_000)
    said = guesses(golds, 0.6, 8, 1)  # 7,229 distinct rows
    tracemalloc.start()
    bootstrap(golds, said, 3, 2000, 0)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 160e6  # 102 MB in blocks, 238 MB with all weights at once


def test_predictions_become_label_numbers() -> None:
    first = [Prediction("a", "no", "yes"), Prediction("b", "maybe", None, Outcome.REFUSED)]
    second = [Prediction("a", "no", "no"), Prediction("b", "maybe", "maybe")]
    found = index_predictions([first, second], LABELS)
    assert found.gold_I.tolist() == [1, 2]
    assert found.predicted_RI.tolist() == [[0, UNANSWERED], [1, 2]]
    value = bootstrap(found.gold_I, found.predicted_RI, 3, 100, 0)
    assert value.macro_f1.value == pytest.approx((score(first, LABELS).macro_f1 + score(second, LABELS).macro_f1) / 2)
    with pytest.raises(DataError, match="different items"):
        index_predictions([first, second[::-1]], LABELS)
    with pytest.raises(DataError, match="'perhaps' is not one of the labels"):
        index_predictions([[Prediction("a", "no", "perhaps")]], LABELS)


PINNED = [(0.616667, 0.788889), (0.599168, 0.788328), (-0.107153, 0.2), (-0.052979, 0.261077)]


def test_figures_of_finished_reports_stay_as_they_were() -> None:
    """Ends of intervals as they are printed now, so that a finished run says the same again. Those of macro-F1 are the
    first release's; accuracy's moved when its items were drawn from all labels together.
    """
    golds = gold(60)
    arm, baseline = guesses(golds, 0.6, 3, 1), guesses(golds, 0.5, 2, 2)
    plain, gain = bootstrap(golds, arm, 3, 500, 7), paired_gain(golds, arm, baseline, 3, 500, 7)
    ends = [interval(e) for e in (plain.accuracy, plain.macro_f1, gain.accuracy, gain.macro_f1)]
    assert [(round(e.low, 6), round(e.high, 6)) for e in ends] == PINNED
    alone = [i + 100 for i in range(60)]  # every item a context of its own
    assert bootstrap(golds, arm, 3, 500, 7, clusters_I=alone) == plain
    assert paired_gain(golds, arm, baseline, 3, 500, 7, clusters_I=alone) == gain


def test_recall_has_the_value_of_the_score_and_an_interval() -> None:
    golds = gold(200)
    said = guesses(golds, 0.6, 3, 1)
    found = bootstrap(golds, said, 3, 1000, 0)
    for label, recall in enumerate(found.recall):
        assert recall is not None
        shares = (said[:, golds == label] == label).mean(axis=1)
        assert recall.value == pytest.approx(shares.mean())
        assert recall.sd == pytest.approx(np.std(shares, ddof=1))
        assert interval(recall).low < recall.value < interval(recall).high
    assert width(found.recall[2]) > 1.5 * width(found.recall[0])  # type: ignore[arg-type]  # 11 % of the items
    assert bootstrap(np.zeros(5, dtype=int), np.zeros((1, 5), dtype=int), 2, 100, 0).recall[1] is None


def loop_of_contexts(golds: np.ndarray, clusters: np.ndarray, arms: list[np.ndarray], resamples: int) -> np.ndarray:
    """The textbook version: draw contexts (for macro-F1 within each stratum), draw seeds, score each draw."""
    rng = np.random.default_rng(99)
    members = [np.flatnonzero(clusters == number) for number in np.unique(clusters)]
    most = [np.bincount(golds[part], minlength=3).argmax() for part in members]
    draws = []
    for _ in range(resamples):
        drawn = [rng.choice(np.flatnonzero(np.array(most) == label), most.count(label)) for label in range(3)]
        picked = np.concatenate([members[number] for number in np.concatenate(drawn)])
        anywhere = np.concatenate([members[number] for number in rng.choice(len(members), len(members))])
        means = []
        for arm in arms:
            of_seeds = arm[rng.integers(0, len(arm), len(arm))]
            f1s = [macro_f1(golds[picked], row[picked]) for row in of_seeds]
            means.append(((of_seeds[:, anywhere] == golds[anywhere]).mean(), np.mean(f1s)))
        draws.append(means)
    return np.array(draws)


def test_the_bootstrap_of_contexts_agrees_with_a_plain_loop() -> None:
    golds = gold(90)
    clusters = np.concatenate([np.arange(30), np.repeat(np.arange(30, 50), 3)])
    arm, baseline = guesses(golds, 0.7, 2, 1), guesses(golds, 0.5, 3, 2)
    draws = loop_of_contexts(golds, clusters, [arm, baseline], 400)
    plain = bootstrap(golds, arm, 3, 4000, 0, clusters_I=clusters)
    gain = paired_gain(golds, arm, baseline, 3, 4000, 0, clusters_I=clusters)
    for found, sample in (
        (plain.accuracy, draws[:, 0, 0]),
        (plain.macro_f1, draws[:, 0, 1]),
        (gain.accuracy, draws[:, 0, 0] - draws[:, 1, 0]),
        (gain.macro_f1, draws[:, 0, 1] - draws[:, 1, 1]),
    ):
        low, high = np.quantile(sample, [0.025, 0.975])
        tolerance = 0.4 * sample.std()
        assert interval(found).low == pytest.approx(low, abs=tolerance)
        assert interval(found).high == pytest.approx(high, abs=tolerance)
        assert interval(found).method == "bootstrap of whole contexts"


def test_copies_of_items_add_no_precision_when_their_context_is_known() -> None:
    golds = gold(150)
    said = guesses(golds, 0.6, 2, 1)
    once = bootstrap(golds, said, 3, 2000, 0).accuracy
    copies, clusters = np.repeat(golds, 4), np.repeat(np.arange(150), 4)
    blind = bootstrap(copies, np.repeat(said, 4, axis=1), 3, 2000, 0).accuracy
    aware = bootstrap(copies, np.repeat(said, 4, axis=1), 3, 2000, 0, clusters_I=clusters).accuracy
    assert width(aware) == pytest.approx(width(once), rel=0.1)
    assert width(blind) < 0.8 * width(once)
    single = bootstrap(golds, said, 3, 100, 0, clusters_I=np.zeros(150)).accuracy
    assert single.interval is None
    with pytest.raises(DataError, match=r"Clusters of shape \(3,\) do not fit 150 items"):
        bootstrap(golds, said, 3, 100, 0, clusters_I=[1, 2, 3])


def test_sums_over_resamples_have_the_mean_and_spread_of_the_bootstrap() -> None:
    golds = gold(200)
    right = (guesses(golds, 0.6, 1, 1)[0] == golds).astype(float)
    columns = np.stack([right, np.ones(200)], axis=1)
    sums = statistics.resampled_sums(columns, golds, 4000, 0)
    assert (sums[:, 1] == 200).all()
    found = interval(bootstrap(golds, guesses(golds, 0.6, 1, 1), 3, 4000, 1).accuracy)
    assert np.quantile(sums[:, 0] / 200, [0.025, 0.975]) == pytest.approx([found.low, found.high], abs=0.006)
    threes = statistics.resampled_sums(columns, golds, 500, 0, np.arange(200) // 3)
    assert np.ptp(threes[:, 1]) > 0  # the last context has two items
    assert threes[:, 1].mean() == pytest.approx(200, abs=1)
