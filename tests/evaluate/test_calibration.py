"""Calibration against scikit-learn and statsmodels, the label prior, and agreement between seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, brier_score_loss, f1_score
from statsmodels.stats.inter_rater import fleiss_kappa
from statsmodels.stats.proportion import proportion_confint

from preceptor.errors import DataError
from preceptor.evaluate.calibration import (
    calibrate,
    calibration_error,
    equal_mass,
    equal_width,
    estimates_of,
    label_prior,
    reliability_bins,
    seed_agreement,
    without_prior,
)
from preceptor.records import Estimate, Outcome, Prediction

LABELS = ("yes", "no", "maybe")


def predictions(golds: np.ndarray, probabilities: np.ndarray) -> list[Prediction]:
    return [
        Prediction(str(number), LABELS[gold], LABELS[row.argmax()], probabilities=tuple(row.tolist()))
        for number, (gold, row) in enumerate(zip(golds, probabilities, strict=True))
    ]


def student(n: int, seed: int, sharpness: float = 1.0, bias: tuple[float, ...] = (0, 0, 0)) -> list[Prediction]:
    """A student that knows the true probabilities, and says them sharper (above 1) or with a bias for some labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, 3))
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    golds = np.array([rng.choice(3, p=row) for row in true])
    said = np.exp(sharpness * logits + np.array(bias))
    return predictions(golds, said / said.sum(axis=1, keepdims=True))


def table(run: list[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([LABELS.index(p.gold) for p in run]), np.array([p.probabilities for p in run])


def low_high(estimate: Estimate) -> tuple[float, float]:
    assert estimate.interval is not None
    return estimate.interval.low, estimate.interval.high


def test_brier_equals_scikit_learn() -> None:
    runs = {1: student(200, 1), 2: [replace(p) for p in student(200, 1, 2.0)]}
    found = calibrate(runs, LABELS, 300, 0)
    assert found is not None
    expected = [brier_score_loss(*table(run), labels=[0, 1, 2], scale_by_half=False) for run in runs.values()]
    assert found.brier.value == pytest.approx(np.mean(expected))
    assert found.brier.sd == pytest.approx(np.std(expected, ddof=1))
    low, high = low_high(found.brier)
    assert low < found.brier.value < high


def test_reliability_equals_scikit_learn_for_bins_of_both_kinds() -> None:
    golds, probabilities = table(student(300, 2, 1.5))
    confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == golds).astype(float)
    accuracy, mean = calibration_curve(right, confidence, n_bins=10, strategy="uniform")
    found = reliability_bins(confidence[None], right[None], 10)
    assert [b.accuracy for b in found] == pytest.approx(accuracy.tolist())
    assert [b.confidence for b in found] == pytest.approx(mean.tolist())
    assert sum(b.n for b in found) == 300
    weights = [b.n / 300 for b in found]
    ece = calibration_error(confidence, right, equal_width(confidence, 10))
    assert ece == pytest.approx(np.dot(weights, np.abs(accuracy - mean)))
    accuracy, mean = calibration_curve(right, confidence, n_bins=10, strategy="quantile")  # 300 items: 30 in each bin
    assert calibration_error(confidence, right, equal_mass(confidence, 10)) == pytest.approx(
        np.abs(accuracy - mean).mean()
    )
    whole = calibrate({1: student(300, 2, 1.5)}, LABELS, 200, 0)
    assert whole is not None
    assert (whole.ece.value, whole.reliability, whole.bins) == (pytest.approx(ece), found, 10)


def test_bins_hold_their_upper_end_and_as_many_items_as_can_be() -> None:
    assert equal_width(np.array([0.0, 0.1, 0.11, 0.5, 1.0]), 10).tolist() == [0, 0, 1, 4, 9]
    assert np.bincount(equal_mass(np.linspace(1, 0, 23), 10)).tolist() == [3, 3, 3, 2, 2, 2, 2, 2, 2, 2]
    assert equal_mass(np.array([0.9, 0.2, 0.5]), 3).tolist() == [2, 0, 1]
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.int64)))


def test_pooled_seeds_are_not_more_items() -> None:
    golds, probabilities = table(student(200, 3))
    confidence, right = probabilities.max(axis=1), (probabilities.argmax(axis=1) == golds).astype(float)
    once, thrice = (
        reliability_bins(confidence[None], right[None]),
        reliability_bins(*(np.tile(x, (3, 1)) for x in (confidence, right))),
    )
    assert [b.interval for b in thrice] == [b.interval for b in once]
    assert [b.n for b in thrice] == [3 * b.n for b in once]


def test_too_sure_a_student_has_a_larger_error_and_the_interval_holds_the_true_one() -> None:
    true_error = calibrate({1: student(40_000, 99, 3.0)}, LABELS, 100, 0)
    assert true_error is not None
    covered, trials = 0, 100
    for trial in range(trials):
        found = calibrate({1: student(300, trial, 3.0)}, LABELS, 200, trial)
        assert found is not None
        low, high = low_high(found.ece)
        assert low <= found.ece.value <= high
        covered += low <= true_error.ece.value <= high
    assert covered / trials >= 0.88
    honest = calibrate({1: student(300, 1, 1.0)}, LABELS, 300, 0)
    assert honest is not None
    assert honest.ece.value < 0.5 * true_error.ece.value
    assert low_high(honest.ece)[0] < 0.02  # a perfect student's error is chance, and its interval comes near 0


def test_a_student_that_says_the_same_of_every_item_has_intervals_with_a_width() -> None:
    golds = np.repeat([0, 1, 2], [110, 68, 22])
    constant = predictions(golds, np.tile([0.6, 0.3, 0.1], (200, 1)))
    found = calibrate({1: constant, 2: constant}, LABELS, 2000, 0)
    assert found is not None
    errors = (np.square(np.array([0.6, 0.3, 0.1]) - np.eye(3)).sum(axis=1))[golds]
    half = 1.96 * errors.std() / np.sqrt(200)
    assert low_high(found.brier) == pytest.approx((errors.mean() - half, errors.mean() + half), abs=0.015)
    assert np.ptp(low_high(found.ece)) > 0.05


def test_what_chance_makes_of_a_perfect_student_is_known() -> None:
    found = [calibrate({1: student(300, trial)}, LABELS, 100, 0) for trial in range(150)]
    errors = [one.ece.value for one in found if one is not None]
    chances = [one.ece_by_chance for one in found if one is not None]
    assert np.mean(chances) == pytest.approx(np.mean(errors), rel=0.1)
    sharp = calibrate({1: student(300, 1, 3.0)}, LABELS, 100, 0)
    assert sharp is not None
    assert sharp.ece.value > 4 * sharp.ece_by_chance


def test_the_label_prior_is_learnt_from_validation_alone() -> None:
    biased = {"bias": (2.5, 0.0, -1.0)}
    test, validation = student(400, 1, 1.0, **biased), student(2000, 2, 1.0, **biased)
    plain = calibrate({1: test}, LABELS, 200, 0)
    found = calibrate({1: test}, LABELS, 200, 0, validation={1: validation})
    assert plain is not None
    assert found is not None
    assert plain.corrected is None
    assert found.corrected is not None
    assert replace(found, corrected=None) == plain
    golds, probabilities = table(test)
    before = accuracy_score(golds, probabilities.argmax(axis=1))
    assert found.corrected.accuracy.value > before + 0.1
    assert found.corrected.said["yes"] > found.corrected.true["yes"] + 0.2
    # By hand: what is multiplied by true / said of the validation items.
    val_golds, val_probabilities = table(validation)
    true = (np.bincount(val_golds, minlength=3) + 1) / (len(val_golds) + 3)
    said = probabilities * true / val_probabilities.mean(axis=0)
    assert found.corrected.accuracy.value == pytest.approx(accuracy_score(golds, said.argmax(axis=1)))
    assert found.corrected.macro_f1.value == pytest.approx(f1_score(golds, said.argmax(axis=1), average="macro"))
    maybe = found.corrected.recall["maybe"]
    assert maybe.value == pytest.approx(np.mean(said.argmax(axis=1)[golds == 2] == 2))
    assert maybe.interval is not None
    assert maybe.interval.low <= maybe.value <= maybe.interval.high
    assert maybe.interval.low < maybe.interval.high
    # The true labels of test items cannot matter to what is said.
    others = [replace(p, gold="maybe") for p in test]
    prior = label_prior(validation, LABELS)
    assert [p.label for p in without_prior(test, *prior, LABELS)] == [
        p.label for p in without_prior(others, *prior, LABELS)
    ]


def test_a_student_without_preference_is_left_alone() -> None:
    validation, test = student(4000, 5), student(400, 6)
    said, true = label_prior(validation, LABELS)
    assert said == pytest.approx(true, abs=0.02)
    after = without_prior(test, said, true, LABELS)
    assert sum(a.label != b.label for a, b in zip(test, after, strict=True)) < 12
    assert sum(after[0].probabilities) == pytest.approx(1)
    never = [replace(p, gold="yes", probabilities=(1.0, 0.0, 0.0)) for p in validation[:20]]
    assert label_prior(never, LABELS)[1].tolist() == pytest.approx([21 / 23, 1 / 23, 1 / 23])
    assert all(np.isfinite(p.probabilities).all() for p in without_prior(test, *label_prior(never, LABELS), LABELS))


def test_what_has_no_probabilities_or_no_items_is_no_result() -> None:
    run = student(20, 1)
    written = [replace(p, probabilities=()) for p in run]
    assert calibrate({1: run, 2: written}, LABELS, 100, 0) is None
    assert calibrate({1: []}, LABELS, 100, 0) is None
    one = calibrate({1: run[:1]}, LABELS, 100, 0)
    assert one is not None
    assert (one.ece.interval, one.brier.interval, one.reliability[0].interval) == (None, None, None)
    for validation in ({}, {1: []}, {1: written}):
        found = calibrate({1: run}, LABELS, 100, 0, validation=validation)
        assert found is not None
        assert found.corrected is None
    with pytest.raises(DataError, match="Item 0: 2 probabilities do not fit 3 labels"):
        calibrate({1: [replace(run[0], probabilities=(0.5, 0.5))]}, LABELS, 100, 0)
    with pytest.raises(DataError, match="no validation items"):
        label_prior([], LABELS)


def test_agreement_equals_statsmodels_and_plain_pairs() -> None:
    rng = np.random.default_rng(4)
    golds = rng.integers(0, 3, 150)
    said = np.where(rng.random((4, 150)) < 0.6, golds, rng.integers(-1, 3, (4, 150)))
    runs = {
        seed: [
            Prediction(
                str(i), LABELS[g], LABELS[s] if s >= 0 else None, Outcome.ANSWERED if s >= 0 else Outcome.REFUSED
            )
            for i, (g, s) in enumerate(zip(golds, row, strict=True))
        ]
        for seed, row in enumerate(said)
    }
    found = seed_agreement(runs, LABELS, 500, 0)
    assert found is not None
    assert found.kappa is not None
    counts = np.stack([(said == k).sum(axis=0) for k in range(-1, 3)], axis=1)
    assert found.kappa.value == pytest.approx(fleiss_kappa(counts, method="fleiss"))
    pairs = [np.mean(said[a] == said[b]) for a in range(4) for b in range(a)]
    assert found.pairwise.value == pytest.approx(np.mean(pairs))
    for estimate in (found.pairwise, found.kappa):
        low, high = low_high(estimate)
        assert low < estimate.value < high
    assert seed_agreement({1: runs[1]}, LABELS, 100, 0) is None
    same = seed_agreement(
        {1: [replace(p, label="yes") for p in runs[1]], 2: [replace(p, label="yes") for p in runs[1]]}, LABELS, 100, 0
    )
    assert same is not None
    assert (same.pairwise.value, same.kappa) == (1.0, None)  # always one label: agreement is no surprise


def test_shares_of_a_single_seed_have_wilsons_interval_and_a_single_item_none() -> None:
    run = student(60, 1)
    found = estimates_of([run], LABELS, 200, 0)
    hits = sum(p.label == p.gold for p in run)
    assert low_high(found.accuracy) == pytest.approx(proportion_confint(hits, 60, method="wilson"))
    of_maybe = [p for p in run if p.gold == "maybe"]
    maybe = found.recall[2]
    assert maybe is not None
    expected = proportion_confint(sum(p.label == "maybe" for p in of_maybe), len(of_maybe), method="wilson")
    assert low_high(maybe) == pytest.approx(expected)
    assert estimates_of([run[:1]], LABELS, 200, 0).accuracy.interval is None
    shared = estimates_of([run], LABELS, 200, 0, [i // 2 for i in range(60)])
    assert shared.accuracy.interval is not None
    assert shared.accuracy.interval.method == "bootstrap of whole contexts"
    rare = [replace(p, gold="maybe" if i == 0 else "yes") for i, p in enumerate(run)]
    single, never = estimates_of([rare, rare], LABELS, 200, 0).recall[2], estimates_of([rare], LABELS, 200, 0).recall[1]
    assert single is not None
    assert single.interval is None
    assert never is None
