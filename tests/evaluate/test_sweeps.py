"""The choice of a point and the spread over points, against plain loops."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from preceptor.errors import DataError, SplitError
from preceptor.evaluate.statistics import summed
from preceptor.evaluate.sweeps import Runs, _columns, _scores, _values, choose, choosing_score, spreads
from preceptor.records import Prediction

LABELS = ("yes", "no", "maybe")


def run(right: str, gold: str = "yynnmm", start: int = 0) -> list[Prediction]:
    """`right` has a + where the answer is right; wrong answers are the next label."""
    words = {"y": "yes", "n": "no", "m": "maybe"}
    wrong = {"yes": "no", "no": "maybe", "maybe": "yes"}
    return [
        Prediction(f"v{start + k}", words[g], words[g] if r == "+" else wrong[words[g]])
        for k, (g, r) in enumerate(zip(gold, right, strict=True))
    ]


def test_the_highest_mean_over_seeds_is_chosen_and_of_equal_ones_the_first() -> None:
    low: Runs = {1: run("+-----"), 2: run("++++++")}  # one good seed is not enough
    high: Runs = {1: run("++++--"), 2: run("++++--")}
    best = choose([low, high, high, None], LABELS, "accuracy", {"t1"})
    assert best is not None
    assert best[0] == 1
    assert best[1].value == pytest.approx(4 / 6)
    assert choose([None, low], LABELS, "accuracy", ()) == (1, choosing_score(low, LABELS, "accuracy")[0])
    assert choose([None], LABELS, "accuracy", ()) is None


def test_macro_f1_may_choose_another_point_than_accuracy() -> None:
    gold = "yyyyyynm"
    constant: Runs = {1: [Prediction(p.id, p.gold, "yes") for p in run("++++++++", gold)]}
    balanced: Runs = {1: run("+++---++", gold)}
    picked = {by: choose([constant, balanced], LABELS, by, ()) for by in ("accuracy", "macro_f1")}
    assert {by: found[0] for by, found in picked.items() if found} == {"accuracy": 0, "macro_f1": 1}
    value = choosing_score(balanced, LABELS, "macro_f1")[0].value
    golds, said = zip(*((p.gold, p.label) for p in balanced[1]), strict=True)
    assert value == pytest.approx(f1_score(golds, said, labels=LABELS, average="macro"))


def test_test_items_cannot_choose() -> None:
    good: Runs = {1: run("++++++"), 2: run("++++++")}
    leaking: Runs = {1: run("++++++"), 2: run("+-++++")}
    with pytest.raises(SplitError, match=r"v3 and 0 more of the items that were to choose are test items"):
        choose([None, good, leaking], LABELS, "accuracy", {"t1", "v3"})


def test_points_that_were_asked_other_items_or_seeds_are_not_compared() -> None:
    one: Runs = {1: run("++++++")}
    others: list[Runs] = [{1: run("++++++", start=3)}, {2: run("++++++")}, {1: run("++++++"), 2: run("++++++")}]
    for other in others:
        with pytest.raises(DataError, match="were not asked the same items"):
            choose([one, other], LABELS, "accuracy", ())


def invented(points: int, seeds: int, items: int, skill: float, spread: float, seed: int) -> list[Runs]:
    rng = np.random.default_rng(seed)
    gold = [LABELS[k] for k in np.random.default_rng(0).integers(0, 3, items)]
    made: list[Runs] = []
    for number in range(points):
        share = skill + spread * number
        said = [[g if rng.random() < share else LABELS[rng.integers(3)] for g in gold] for _ in range(seeds)]
        runs = [[Prediction(str(k), gold[k], one[k]) for k in range(items)] for one in said]
        made.append(dict(enumerate(runs, start=1)))
    return made


def loop(points: dict[str, list[Runs]], resamples: int) -> dict[str, np.ndarray]:
    """Draws of range and sd of macro-F1 (and accuracy) by the plainest bootstrap: shape (resamples, 4) per student."""
    rng = np.random.default_rng(7)
    first = next(iter(points.values()))[0]
    gold = np.array([p.gold for p in first[1]])
    said = {n: [[np.array([p.label for p in r[s]]) for s in r] for r in mine] for n, mine in points.items()}
    strata = [np.flatnonzero(gold == label) for label in LABELS]
    found: dict[str, list[list[float]]] = {name: [] for name in points}
    for _ in range(resamples):
        drawn = np.concatenate([rng.choice(rows, len(rows)) for rows in strata])
        seeds = rng.integers(0, len(first), len(first))
        for name, mine in said.items():
            row: list[float] = []
            for metric in ("accuracy", "macro_f1"):
                means = []
                for runs in mine:
                    scores = []
                    for s in seeds:
                        g, a = gold[drawn], runs[s][drawn]
                        if metric == "accuracy":
                            scores.append(float(np.mean(g == a)))
                        else:
                            both = [(np.sum((g == x) & (a == x)), np.sum(g == x) + np.sum(a == x)) for x in LABELS]
                            scores.append(float(np.mean([2 * hit / max(n, 1) for hit, n in both])))
                    means.append(float(np.mean(scores)))
                row += [max(means) - min(means), float(np.std(means, ddof=1))]
            found[name].append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def test_spreads_and_their_paired_difference_agree_with_a_plain_loop() -> None:
    points = {"lora": invented(4, 3, 90, 0.2, 0.15, 1), "prefix": invented(3, 3, 90, 0.3, 0.02, 2)}
    found = spreads(points, LABELS, 4000, 5)
    drawn = loop(points, 600)
    for name, mine in points.items():
        for column, metric in enumerate(("accuracy", "macro_f1")):
            means = [
                np.mean(
                    [
                        accuracy_score([p.gold for p in r], [p.label for p in r])
                        if metric == "accuracy"
                        else f1_score([p.gold for p in r], [p.label for p in r], labels=LABELS, average="macro")
                        for r in runs.values()
                    ]
                )
                for runs in mine
            ]
            spread = found.of[name][metric]
            assert spread.points == len(mine)
            assert spread.range.value == pytest.approx(max(means) - min(means))
            assert spread.sd.value == pytest.approx(np.std(means, ddof=1))
            for one, draws in ((spread.range, drawn[name][:, 2 * column]), (spread.sd, drawn[name][:, 2 * column + 1])):
                assert one.interval is not None
                ends = np.quantile(draws, [0.025, 0.975])
                assert (one.interval.low, one.interval.high) == pytest.approx(tuple(ends), abs=0.02)
    for metric, column in itertools.product(("accuracy", "macro_f1"), range(2)):
        pair = found.differences["lora", "prefix"][metric]
        difference = pair.sd if column else pair.range
        at = 2 * ("accuracy", "macro_f1").index(metric) + column
        draws = drawn["lora"][:, at] - drawn["prefix"][:, at]
        assert difference.interval is not None
        ends = tuple(np.quantile(draws, [0.025, 0.975]))
        assert (difference.interval.low, difference.interval.high) == pytest.approx(ends, abs=0.025)
        kind = "sd" if column else "range"
        parts = [getattr(found.of[name][metric], kind).value for name in points]
        assert difference.value == pytest.approx(parts[0] - parts[1])


def test_the_difference_is_paired_and_a_student_beside_itself_has_none() -> None:
    mine = invented(3, 3, 40, 0.3, 0.1, 3)
    found = spreads({"a": mine, "b": mine}, LABELS, 300, 0)
    for pair in found.differences["a", "b"].values():
        for estimate in (pair.range, pair.sd):
            assert estimate.value == 0
            assert estimate.interval is not None
            assert (estimate.interval.low, estimate.interval.high) == (0, 0)
        assert pair.beyond_noise is not None
        assert pair.beyond_noise.value == 0
        assert pair.beyond_noise.interval is not None
        assert pair.beyond_noise.interval.low < 0 < pair.beyond_noise.interval.high
        assert pair.p is not None
        assert pair.p > 0.5


def test_whole_contexts_are_drawn_and_single_points_have_no_spread() -> None:
    mine = invented(3, 2, 40, 0.3, 0.1, 3)
    found = spreads({"a": mine, "b": mine[:1]}, LABELS, 200, 0, clusters_I=[k // 2 for k in range(40)])
    assert set(found.of) == {"a"}
    assert not found.differences
    interval = found.of["a"]["accuracy"].range.interval
    assert interval is not None
    assert interval.method == "bootstrap of whole contexts"
    assert spreads({"b": mine[:1]}, LABELS, 200, 0).of == {}


def test_points_with_other_seeds_or_items_have_no_spread() -> None:
    mine = invented(2, 2, 40, 0.3, 0.1, 3)
    with pytest.raises(DataError, match="different seeds"):
        spreads({"a": [mine[0], {1: mine[1][1]}]}, LABELS, 100, 0)
    with pytest.raises(DataError, match="scored on different items"):
        spreads({"a": [mine[0], {s: list(r)[::-1] for s, r in mine[1].items()}]}, LABELS, 100, 0)


def test_beyond_noise_is_made_of_pairs_of_different_seeds_and_items() -> None:
    mine = invented(3, 3, 25, 0.2, 0.3, 4)
    found = spreads({"a": mine}, LABELS, 100, 0).of["a"]
    right_PSI = np.array([[[p.gold == p.label for p in run] for run in runs.values()] for runs in mine], dtype=float)
    off_PSI = right_PSI - right_PSI.mean(axis=0)
    products = [
        float((off_PSI[:, s, i] * off_PSI[:, t, j]).sum() / 2)
        for s, t in itertools.permutations(range(3), 2)
        for i, j in itertools.permutations(range(25), 2)
    ]
    assert found["accuracy"].beyond_noise is not None
    assert found["accuracy"].beyond_noise.value == pytest.approx(np.sqrt(max(0, np.mean(products))))


def test_what_items_and_contexts_contribute_is_the_slope_of_the_score() -> None:
    """Every unit's weight moved a little, the score counted anew; with and without contexts."""
    gold = np.random.default_rng(0).integers(0, 3, 12)
    said_RI = np.random.default_rng(1).integers(0, 3, (4, 12))
    columns_IX = _columns(gold, said_RI, 3)
    for table_UX in (columns_IX, summed(columns_IX, np.arange(12) // 2)):
        values_MPSU = _values(table_UX, 3, 2, 2)
        score_MPS = _scores(table_UX.sum(axis=0, keepdims=True), 3, 2, 2)[:, 0]
        assert values_MPSU.mean(axis=3) == pytest.approx(score_MPS)
        for unit in range(len(table_UX)):
            moved = _scores((table_UX.sum(axis=0) + 1e-6 * table_UX[unit])[None], 3, 2, 2)[:, 0]
            slope_MPS = (values_MPSU[..., unit] - score_MPS) / len(table_UX)
            assert slope_MPS == pytest.approx((moved - score_MPS) / 1e-6, abs=1e-5)


@pytest.mark.parametrize(("seeds", "value", "interval"), [(1, False, False), (2, True, False), (3, True, True)])
def test_noise_of_seeds_is_known_from_two_and_its_own_noise_from_three(seeds: int, value: bool, interval: bool) -> None:
    points = {"a": invented(3, seeds, 40, 0.2, 0.3, 3), "b": invented(2, seeds, 40, 0.3, 0.0, 5)}
    found = spreads(points, LABELS, 100, 0)
    pair = found.differences["a", "b"]["macro_f1"]
    for estimate in (found.of["a"]["accuracy"].beyond_noise, pair.beyond_noise):
        assert (estimate is not None) == value
        assert (estimate is not None and estimate.interval is not None) == interval
    assert (pair.p is not None) == interval
