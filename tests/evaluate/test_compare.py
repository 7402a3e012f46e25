"""Paired comparisons: exact tests against statsmodels and scipy, refusals, verdicts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import permutation_test
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from preceptor.errors import DataError
from preceptor.evaluate.compare import Contender, compare, exact_flips, exact_mcnemar
from preceptor.records import Prediction

LABELS = ("yes", "no", "maybe")


def contender(golds: Sequence[int], said_SI: Any, arm: str = "none", **more: Any) -> Contender:
    names = [str(number) for number in range(len(golds))]
    runs = {
        seed: [
            Prediction(name, LABELS[gold], None if label < 0 else LABELS[label])
            for name, gold, label in zip(names, golds, said, strict=True)
        ]
        for seed, said in enumerate(said_SI, 1)
    }
    given = {"source": "runs/one", "task": "t", "split": "s", "setting": "x", "student": "minilm", **more}
    return Contender(labels=LABELS, runs=runs, arm=arm, **given)


def guesses(golds: np.ndarray, right: float, seeds: int, seed: int, hard: np.ndarray | None = None) -> np.ndarray:
    """Right with the given chance, less where an item is hard for all."""
    rng = np.random.default_rng(seed)
    chance = right if hard is None else np.where(hard, right - 0.5, right + 0.1)
    return np.where(rng.random((seeds, len(golds))) < chance, golds, (golds + 1) % 3)


def golds_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).choice(3, n, p=(0.55, 0.34, 0.11))


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (0, 6), (5, 5), (12, 30), (3, 400), (700, 801), (1500, 900)])
def test_mcnemar_equals_statsmodels(lost: int, won: int) -> None:
    expected = mcnemar([[10, lost], [won, 20]], exact=True).pvalue if lost + won else 1.0
    assert exact_mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)
    signs = np.repeat([-1, 1, 0], [lost, won, 50])
    assert exact_flips(signs) == pytest.approx(expected, rel=1e-9)
    with pytest.raises(DataError, match="impossible"):
        exact_mcnemar(-1, 2)


def test_the_test_over_seeds_equals_all_signs_written_out_and_scipy() -> None:
    rng = np.random.default_rng(5)
    for _ in range(5):
        sums = rng.integers(-6, 9, 12)
        totals = [np.dot(signs, sums) for signs in itertools.product((-1, 1), repeat=12)]
        expected = np.mean(np.abs(totals) >= abs(sums.sum()))
        assert exact_flips(sums) == pytest.approx(expected)
        assert exact_flips(3 * sums) == pytest.approx(expected)  # only ratios count
        by_scipy = permutation_test((sums,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert exact_flips(sums) == pytest.approx(by_scipy.pvalue)
    assert exact_flips(np.zeros(5, dtype=np.int64)) == 1.0


def test_repeating_a_seed_does_not_make_p_smaller() -> None:
    golds = golds_of(120)
    base, arm = guesses(golds, 0.5, 1, 1), guesses(golds, 0.65, 1, 2)
    once = compare([(contender(golds, base), contender(golds, arm, "rewrite"))], 200)[0]
    thrice = compare(
        [(contender(golds, np.repeat(base, 3, axis=0)), contender(golds, np.repeat(arm, 3, axis=0), "rewrite"))], 200
    )[0]
    assert once.p == once.pairs[0].p
    assert thrice.p == pytest.approx(once.p)
    assert [pair.p for pair in thrice.pairs] == [once.p] * 3
    added_up = exact_mcnemar(sum(pair.lost for pair in thrice.pairs), sum(pair.won for pair in thrice.pairs))
    assert added_up < 0.2 * once.p
    assert thrice.discordance == pytest.approx(once.discordance) == (once.pairs[0].lost + once.pairs[0].won) / 120


def test_holm_over_the_family_equals_statsmodels() -> None:
    golds = golds_of(200)
    base = contender(golds, guesses(golds, 0.5, 2, 0))
    arms = [contender(golds, guesses(golds, right, 2, 9 + i), f"a{i}") for i, right in enumerate((0.52, 0.6, 0.7, 0.5))]
    found = compare([(base, arm) for arm in arms], 200)
    expected = multipletests([one.p for one in found], method="holm")[1]
    assert [one.p_holm for one in found] == pytest.approx(expected.tolist())
    assert found[2].verdict == "gain"
    assert found[0].verdict == "noise"
    alone = compare([(base, arms[1])], 200)[0]
    assert alone.p == found[1].p
    assert alone.detectable is not None
    assert alone.detectable == alone.detectable_in_family == found[1].detectable
    assert found[1].detectable_in_family is not None
    assert found[1].detectable_in_family >= alone.detectable
    single = [contender(golds, guesses(golds, 0.6, 1, i), f"s{i}") for i in (1, 2)]
    first = compare([(contender(golds, guesses(golds, 0.5, 1, 0)), one) for one in single], 200)[0]
    assert first.detectable is not None
    assert first.detectable_in_family is not None
    assert first.detectable_in_family > 1.05 * first.detectable  # two comparisons: each is tested at .025 first


def test_a_gain_needs_both_the_items_and_the_seeds() -> None:
    golds = golds_of(500)
    hard = np.random.default_rng(3).random(500) < 0.3
    base = contender(golds, np.repeat(guesses(golds, 0.6, 1, 1, hard), 3, axis=0))
    apart = np.concatenate([guesses(golds, right, 1, 4 + i, hard) for i, right in enumerate((0.55, 0.6, 0.9))])
    found = compare([(base, contender(golds, apart, "rewrite"))], 1000)[0]
    assert found.p_holm is not None
    assert found.p_holm < 0.01  # these three students are better on average
    assert found.gain_accuracy.interval is not None
    assert found.gain_accuracy.interval.low <= 0  # but other seeds need not be
    assert found.verdict == "noise"


def test_a_loss_is_a_loss_and_the_order_of_items_does_not_matter() -> None:
    golds = golds_of(300)
    good, bad = contender(golds, guesses(golds, 0.8, 2, 1)), contender(golds, guesses(golds, 0.5, 3, 2), "rewrite")
    first = compare([(good, bad)], 300)[0]
    assert first.verdict == "loss"
    assert first.gain_accuracy.value < -0.2
    assert (first.baseline, first.arm, first.baseline_seeds, first.arm_seeds) == (
        "minilm, none",
        "minilm, rewrite",
        2,
        3,
    )
    order = np.random.default_rng(0).permutation(300)
    shuffled = replace(bad, runs={seed: [run[i] for i in order] for seed, run in bad.runs.items()})
    assert compare([(good, shuffled)], 300)[0] == first


def test_seeds_are_paired_by_number_else_in_order_and_a_single_student_with_all() -> None:
    golds = golds_of(40)
    three = contender(golds, guesses(golds, 0.5, 3, 1))
    other = contender(golds, guesses(golds, 0.5, 2, 2), "rewrite")
    named = [(pair.baseline_seed, pair.arm_seed) for pair in compare([(three, other)], 100)[0].pairs]
    assert named == [(1, 1), (2, 2)]
    moved = replace(other, runs={seed + 10: run for seed, run in other.runs.items()})
    assert [p.arm_seed for p in compare([(three, moved)], 100)[0].pairs] == [11, 12]
    single = contender(golds, guesses(golds, 0.5, 1, 3), "untrained")
    assert [p.arm_seed for p in compare([(single, three)], 100)[0].pairs] == [1, 2, 3]


def test_items_that_share_a_context_count_less() -> None:
    golds = np.repeat(golds_of(60), 3)
    base = np.repeat(guesses(golds[::3], 0.5, 1, 1), 3, axis=1)
    arm = np.repeat(guesses(golds[::3], 0.65, 1, 2), 3, axis=1)  # three copies of each item: no more evidence than one
    shared = {str(i): i // 3 for i in range(180)}
    blind = compare([(contender(golds, base), contender(golds, arm, "rewrite"))], 500)[0]
    aware = compare([(contender(golds, base, shared=shared), contender(golds, arm, "rewrite", shared=shared))], 500)[0]
    once = compare([(contender(golds[::3], base[:, ::3]), contender(golds[::3], arm[:, ::3], "rewrite"))], 500)[0]
    assert blind.p is not None
    assert aware.p == pytest.approx(once.p)
    assert aware.p > 3 * blind.p
    assert (aware.n, aware.contexts) == (180, 60)
    assert aware.detectable == pytest.approx(once.detectable, rel=1e-6)
    assert aware.gain_accuracy.interval is not None
    assert aware.gain_accuracy.interval.method == "bootstrap of whole contexts"


def test_a_single_item_is_no_result() -> None:
    golds = np.array([0])
    found = compare([(contender(golds, [[0]]), contender(golds, [[1]], "rewrite"))], 100)[0]
    assert found.verdict == "no result"
    assert (found.p, found.p_holm, found.detectable, found.gain_accuracy.interval) == (None, None, None, None)
    assert found.pairs[0].p is None


def refused(baseline: Contender, arm: Contender) -> str:
    with pytest.raises(DataError) as error:
        compare([(baseline, arm)], 100)
    assert error.value.hint
    assert error.value.message.count(". ") == 0
    return error.value.message


def test_what_is_not_the_same_is_refused_in_one_sentence() -> None:
    golds = golds_of(30)
    base = contender(golds, guesses(golds, 0.5, 2, 1))
    arm = contender(golds, guesses(golds, 0.5, 2, 2), "rewrite", source="runs/two")
    both = "runs/one (minilm, none) and runs/two (minilm, rewrite) cannot be compared: "
    for what in ("task", "split", "setting"):
        mine = getattr(base, what)
        assert refused(base, replace(arm, **{what: "other"})) == f"{both}their {what} is {mine!r} and 'other'."
        compare([(base, replace(arm, **{what: ""}))], 100)  # not said, so not refused
    assert "their labels are" in refused(base, replace(arm, labels=("yes", "no")))
    fewer = replace(arm, runs={seed: run[5:] for seed, run in arm.runs.items()})
    assert refused(base, fewer) == f"{both}5 items only in runs/one (minilm, none) ('0', '1', '2' and 2 more)."
    more = replace(arm, runs={s: [*run[1:], replace(run[0], id="new")] for s, run in arm.runs.items()})
    assert refused(base, more).endswith(
        "1 item only in runs/one (minilm, none) ('0') and 1 item only in runs/two (minilm, rewrite) ('new')."
    )
    uneven = replace(arm, runs={1: arm.runs[1], 2: arm.runs[2][:-1]})
    assert "its seeds cannot be taken together: 1 item only in seed 1 ('29')" in refused(base, uneven)
    flipped = replace(arm, runs={s: [replace(run[0], gold="maybe"), *run[1:]] for s, run in arm.runs.items()})
    assert "the true label of '0' is not the same in both" in refused(base, flipped)
    unknown = replace(arm, runs={s: [replace(run[0], label="perhaps"), *run[1:]] for s, run in arm.runs.items()})
    assert refused(base, unknown).startswith("runs/two, minilm, rewrite: 'perhaps' is not one of the labels")
    assert "holds no predictions" in refused(base, replace(arm, runs={}))
    assert "holds no predictions" in refused(base, replace(arm, runs={1: []}))
    twice = replace(arm, runs={s: [*run, run[0]] for s, run in arm.runs.items()})
    assert "answers the item '0' twice" in refused(base, twice)


def test_a_gain_alone_may_be_none_among_many_comparisons() -> None:
    golds = golds_of(200)
    base = contender(golds, [golds])
    worse = golds.copy()
    worse[:8] = (golds[:8] + 1) % 3
    pair = (base, contender(golds, [worse], "rewrite"))
    alone, among = compare([pair], 500)[0], compare([pair] * 10, 500)[0]
    assert (alone.pairs[0].lost, alone.pairs[0].won) == (8, 0)
    assert alone.verdict == "loss"
    assert among.gain_accuracy == alone.gain_accuracy  # the interval leaves out 0 all the same
    assert among.p_holm == pytest.approx(10 * 2 / 2**8)
    assert among.verdict == "noise"
