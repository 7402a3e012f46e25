"""From answers to all metrics of a benchmark, and to the entries of the matrix."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from statsmodels.stats.multitest import multipletests

from preceptor.config import MeasureSettings
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.errors import DataError
from preceptor.evaluate.aggregate import estimate, gain
from preceptor.evaluate.judging import Judged
from preceptor.evaluate.measure import entries, score_benchmark, with_holm
from preceptor.evaluate.metrics import score
from preceptor.evaluate.statistics import wilson
from preceptor.records import (
    BenchmarkScores,
    Instruction,
    Interval,
    MatrixEntry,
    Measure,
    Outcome,
    Prediction,
    Reading,
    Response,
)

LABELS = ("yes", "no", "maybe")
SETTINGS = MeasureSettings(resamples=200, embedding="off")


@dataclass(frozen=True)
class Choice(Benchmark):
    measured: ClassVar[Measured] = "choice"

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        raise NotImplementedError


@dataclass(frozen=True)
class Spans(Choice):
    measured: ClassVar[Measured] = "spans"


@dataclass(frozen=True)
class Texts(Choice):
    measured: ClassVar[Measured] = "text"


def benchmark(kind: type[Choice], items: Sequence[Instruction], labels: tuple[str, ...] = ()) -> Choice:
    return kind("toy", "question_answering", (), (), tuple(items), 16, "identity", labels=labels)


def question(number: int, answer: str, options: tuple[str, ...] = LABELS) -> Instruction:
    return Instruction(f"q{number}", "Answer.", "Is it?", answer, "question_answering", options=options)


def chosen(item: Instruction, said: str | None, outcome: Outcome = Outcome.ANSWERED) -> Response:
    choice = item.options.index(said) if said is not None else None
    return Response(item.id, Reading(outcome if said is not None else Outcome.UNPARSED, choice))


def value(scores: BenchmarkScores, name: str) -> float:
    (measure,) = (measure for measure in scores.measures if measure.name == name)
    found = estimate([measure], 100, 0)
    assert found is not None
    return found.value


# --- choice --------------------------------------------------------------------------------------------------------


def test_accuracy_and_macro_f1_are_those_of_scikit_learn_and_of_the_metrics_of_labels() -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        golds = [str(g) for g in rng.choice(LABELS, 40, p=(0.6, 0.3, 0.1))]
        said = [str(s) if s != "none" else None for s in rng.choice([*LABELS, "none"], 40)]
        items = [question(number, gold) for number, gold in enumerate(golds)]
        responses = [chosen(item, one) for item, one in zip(items, said, strict=True)]
        scores = score_benchmark(benchmark(Choice, items, LABELS), responses, SETTINGS)
        named = [one or "none" for one in said]
        assert value(scores, "accuracy") == pytest.approx(accuracy_score(golds, named))
        expected = f1_score(golds, named, labels=list(LABELS), average="macro", zero_division=0)
        assert value(scores, "macro_f1") == pytest.approx(expected)
        ours = score(
            [
                Prediction(item.id, item.output, one, Outcome.ANSWERED if one else Outcome.UNPARSED)
                for item, one in zip(items, said, strict=True)
            ],
            LABELS,
        )
        assert value(scores, "accuracy") == pytest.approx(ours.accuracy)
        assert value(scores, "macro_f1") == pytest.approx(ours.macro_f1)
        assert scores.outcomes == ours.outcomes
        assert scores.ids == tuple(item.id for item in items)


def test_items_with_options_of_their_own_have_accuracy_alone() -> None:
    items = [question(1, "iron", ("iron", "zinc")), question(2, "salt", ("salt", "sugar", "flour"))]
    scores = score_benchmark(benchmark(Choice, items), [chosen(items[0], "iron"), chosen(items[1], "flour")], SETTINGS)
    assert [(measure.name, measure.rows) for measure in scores.measures] == [("accuracy", ((1.0, 1.0), (0.0, 1.0)))]


def test_a_choice_counts_only_when_the_item_was_answered() -> None:
    items = [question(1, "yes"), question(2, "yes")]
    responses = [chosen(items[0], "yes"), chosen(items[1], "yes", Outcome.REFUSED)]
    scores = score_benchmark(benchmark(Choice, items, LABELS), responses, SETTINGS)
    assert value(scores, "accuracy") == 0.5
    assert scores.outcomes == {"answered": 1, "unparsed": 0, "refused": 1, "cut_off": 0}


def test_options_in_another_order_are_still_the_same_labels() -> None:
    item = question(1, "no", ("maybe", "no", "yes"))
    scores = score_benchmark(benchmark(Choice, [item], LABELS), [chosen(item, "no")], SETTINGS)
    assert scores.measures[1].rows == ((0, 1, 0, 0, 1, 0, 0, 1, 0),)


def test_a_reference_that_is_no_option_is_an_error_with_its_item() -> None:
    item = question(7, "perhaps")
    with pytest.raises(DataError, match="Item q7: the answer 'perhaps' is none of its options yes, no, maybe"):
        score_benchmark(benchmark(Choice, [item]), [Response("q7", Reading(Outcome.REFUSED))], SETTINGS)
    odd = question(8, "perhaps", ("perhaps", "no"))
    with pytest.raises(DataError, match="'perhaps' is not one of the labels"):
        score_benchmark(benchmark(Choice, [odd], LABELS), [Response("q8", Reading(Outcome.REFUSED))], SETTINGS)


def test_answers_to_other_items_are_refused_by_name() -> None:
    items = [question(1, "yes"), question(2, "no")]
    with pytest.raises(DataError, match=r"toy and the answers cannot be compared: .*: q2, q3"):
        score_benchmark(benchmark(Choice, items), [chosen(items[0], "yes"), chosen(question(3, "no"), "no")], SETTINGS)


# --- spans and texts -----------------------------------------------------------------------------------------------


def test_mentions_are_compared_by_their_places_and_inventions_are_counted() -> None:
    items = [
        replace(question(1, "gout"), input="Gout hurts; gout again, and angina.", spans=((0, 4), (12, 16))),
        replace(question(2, "none"), input="Nothing here."),
    ]
    responses = [
        Response("q1", Reading(Outcome.ANSWERED, mentions=("gout", "angina", "scurvy"))),
        Response("q2", Reading(Outcome.CUT_OFF, mentions=("rickets",))),
    ]
    scores = score_benchmark(benchmark(Spans, items), responses, SETTINGS)
    assert scores.counts == {"hallucinated": 2}
    assert scores.measures[0].rows == ((4.0, 6.0), (0.0, 1.0))
    assert scores.measures[1].rows == ((2.0, 4.0, 2.0, 2.0), (0.0, 1.0, 0.0, 0.0))
    assert value(scores, "strict_f1") == pytest.approx(4 / 7)


def note(number: int, reference: str) -> Instruction:
    return Instruction(f"n{number}", "Write the note.", "Doctor: Well?", reference, "generation")


def written(number: int, text: str, outcome: Outcome = Outcome.ANSWERED) -> Response:
    return Response(f"n{number}", Reading(outcome), text)


def test_texts_have_rouge_an_embedding_and_a_judge() -> None:
    items = [note(1, "dry cough"), note(2, "no fever"), note(3, "tired")]
    responses = [written(1, "dry cough"), written(2, "I cannot, sorry.", Outcome.REFUSED), written(3, "")]
    seen: list[Sequence[str]] = []

    def embed(some: Sequence[str]) -> np.ndarray:
        return np.ones((len(some), 1), dtype=np.float32)

    def judge(items: Sequence[Instruction], texts: Sequence[str]) -> Judged:
        seen.append(texts)
        return Judged(Measure("judge", "mean", ((5.0, 1.0), (1.0, 1.0), (1.0, 1.0))), {"judge_read": 1}, 5.0)

    settings = MeasureSettings(resamples=200)
    scores = score_benchmark(benchmark(Texts, items), responses, settings, embed, judge)
    assert [measure.name for measure in scores.measures] == ["rouge1", "rouge2", "rougeL", "embedding", "judge"]
    for measure in scores.measures[:4]:
        assert measure.rows == ((1.0, 1.0), (0.0, 1.0), (0.0, 1.0))
    assert seen == [["dry cough", "", ""]]
    assert scores.counts == {"judge_read": 1}
    without = score_benchmark(benchmark(Texts, items), responses, SETTINGS)
    assert [measure.name for measure in without.measures] == ["rouge1", "rouge2", "rougeL"]
    with pytest.raises(ValueError, match="needs an embedding"):
        score_benchmark(benchmark(Texts, items), responses, settings)


# --- the matrix ----------------------------------------------------------------------------------------------------


def scored(rows: np.ndarray, seed_count: int = 0, **counts: int) -> BenchmarkScores:
    ids = tuple(f"q{number}" for number in range(len(rows)))
    measure = Measure("accuracy", "mean", tuple((float(right), 1.0) for right in rows))
    texts = Measure("rouge1", "mean", tuple((float(right) / 2, 1.0) for right in rows))
    return BenchmarkScores("toy", ids, (measure, texts), {"answered": len(rows), "refused": seed_count}, counts)


def test_every_arm_and_metric_has_an_entry_with_its_gain() -> None:
    rng = np.random.default_rng(0)
    base, arms = scored(rng.random(30) < 0.4), {seed: scored(rng.random(30) < 0.8, 1, x=seed) for seed in (1, 2, 3)}
    toy = benchmark(Choice, [question(number, "yes") for number in range(30)])
    found = entries("small", {"none": {0: base}, "mixed": arms}, toy, SETTINGS)
    assert [(e.arm, e.metric) for e in found] == [
        ("none", "accuracy"),
        ("none", "rouge1"),
        ("mixed", "accuracy"),
        ("mixed", "rouge1"),
    ]
    assert {(e.student, e.benchmark, e.category, e.n, e.note) for e in found} == {
        ("small", "toy", "question_answering", 30, "")
    }
    none, mixed = found[0], found[2]
    assert (none.seeds, none.gain, none.p, none.outcomes) == ((), None, None, {"answered": 30, "refused": 0})
    assert none.estimate is not None
    assert none.estimate.interval == wilson(sum(row[0] > 0 for row in base.measures[0].rows), 30)
    assert (mixed.seeds, mixed.outcomes, mixed.counts) == ((1, 2, 3), {"answered": 90, "refused": 3}, {"x": 6})
    ours = [scores.measures[0] for scores in arms.values()]
    assert mixed.estimate == estimate(ours, 200, 0)
    assert (mixed.gain, mixed.p) == gain([base.measures[0]], ours, 200, 0)
    assert mixed.p is not None
    assert mixed.p < 0.05
    assert mixed.p_holm is None


def test_without_the_untuned_student_there_are_no_gains() -> None:
    toy = benchmark(Choice, [question(number, "yes") for number in range(4)])
    found = entries("small", {"mixed": {1: scored(np.array([1, 0, 1, 1]))}}, toy, SETTINGS)
    assert [(entry.gain, entry.p) for entry in found] == [(None, None)] * 2
    assert found[0].estimate is not None


def test_arms_and_seeds_on_other_items_are_refused_by_name() -> None:
    toy = benchmark(Choice, [question(number, "yes") for number in range(4)])
    base = scored(np.ones(4))
    other = replace(base, ids=("q0", "q1", "q2", "q9"))
    with pytest.raises(DataError, match=r"small, none, seed 0 and small, mixed, seed 2 cannot be .*: q3, q9"):
        entries("small", {"none": {0: base}, "mixed": {1: base, 2: other}}, toy, SETTINGS)


def numbers(plain: object) -> list[float]:
    if isinstance(plain, dict):
        return [number for part in plain.values() for number in numbers(part)]
    if isinstance(plain, list | tuple):
        return [number for part in plain for number in numbers(part)]
    return [plain] if isinstance(plain, float) else []


@pytest.mark.parametrize("kind", [Choice, Spans, Texts])
def test_no_items_are_no_result_and_never_a_number(kind: type[Choice]) -> None:
    toy = benchmark(kind, [], LABELS)
    scores = score_benchmark(toy, [], SETTINGS)
    assert scores.outcomes == {"answered": 0, "unparsed": 0, "refused": 0, "cut_off": 0}
    found = entries("small", {"none": {0: scores}, "mixed": {1: scores}}, toy, SETTINGS)
    assert found
    for entry in found:
        assert (entry.n, entry.estimate, entry.gain, entry.p) == (0, None, None, None)
        assert entry.note == "no result: there are no test items"
    json.dumps([asdict(entry) for entry in found], allow_nan=False)


@pytest.mark.parametrize("n", [1, 5])
def test_one_item_and_answers_that_were_all_refused_give_numbers_that_json_can_hold(n: int) -> None:
    for kind in (Choice, Spans, Texts):
        items = [question(number, "yes") for number in range(n)]
        responses = [Response(item.id, Reading(Outcome.REFUSED)) for item in items]
        toy = benchmark(kind, items, LABELS)
        scores = score_benchmark(toy, responses, SETTINGS)
        found = entries("small", {"none": {0: scores}, "mixed": {1: scores, 2: scores}}, toy, SETTINGS)
        for entry in with_holm(found):
            plain = asdict(entry)
            json.dumps(plain, allow_nan=False)
            assert not any(math.isnan(number) for number in numbers(plain))
            if kind is Spans:  # nothing to find, nothing said
                assert entry.estimate is None
                assert entry.note == "no result: nothing was to be found, and nothing was named"
            else:  # a refused item is a wrong one; only Wilson's interval is then more than the point 0
                assert entry.estimate is not None
                assert entry.estimate.value == 0.0
                wilsons = entry.metric == "accuracy" and entry.arm == "none" and n > 1
                assert entry.estimate.interval == (wilson(0, n) if wilsons else None)


def test_a_judge_that_could_not_be_read_is_named_as_the_reason() -> None:
    items = [note(1, "dry cough")]
    unread = Judged(Measure("judge", "mean", ((0.0, 0.0),)), {"judge_read": 0, "judge_unread": 1}, None)
    toy = benchmark(Texts, items)
    scores = score_benchmark(toy, [written(1, "cough")], SETTINGS, judge=lambda items, texts: unread)
    entry = entries("small", {"none": {0: scores}}, toy, SETTINGS)[-1]
    assert (entry.metric, entry.estimate) == ("judge", None)
    assert entry.note == "no result: the judge scored no item in both orders"
    assert entry.counts["judge_unread"] == 1


def test_holm_is_over_all_gains_and_leaves_the_rest_alone() -> None:
    ps = [0.01, None, 0.04, 0.03, None, 0.9]
    plain = [MatrixEntry("s", "a", "b", "c", "m", p=p, note=str(index)) for index, p in enumerate(ps)]
    found = with_holm(plain)
    expected = multipletests([p for p in ps if p is not None], method="holm")[1]
    assert [e.p_holm for e in found if e.p is not None] == pytest.approx(list(expected))
    assert [e.p_holm for e in found if e.p is None] == [None, None]
    assert [replace(entry, p_holm=None) for entry in found] == plain
    assert with_holm([]) == ()


def test_intervals_of_entries_are_records_with_plain_floats() -> None:
    toy = benchmark(Choice, [question(number, "yes") for number in range(9)])
    runs = {seed: scored(np.array([1, 0, 1, 1, 0, 1, 0, 0, seed % 2])) for seed in (1, 2)}
    entry = entries("small", {"none": {0: scored(np.arange(9) % 2)}, "mixed": runs}, toy, SETTINGS)[2]
    assert entry.gain is not None
    assert isinstance(entry.gain.interval, Interval)
    assert all(type(number) is float for number in numbers(asdict(entry)))
