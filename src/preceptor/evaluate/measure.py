"""From a student's answers on a benchmark to all its metrics, and from those to the entries of the matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from preceptor.config import MeasureSettings
from preceptor.data.benchmark import Benchmark
from preceptor.errors import DataError
from preceptor.evaluate.aggregate import ACCURACY, check_same_items, estimate, gain, holm
from preceptor.evaluate.judging import Judge
from preceptor.evaluate.spans import locate, span_measures
from preceptor.evaluate.texts import bertscore_measure, embedding_measure, rouge_measures
from preceptor.models.embed import Embedding
from preceptor.records import BenchmarkScores, Estimate, Instruction, MatrixEntry, Measure, Outcome, Response

BASELINE = "none"
"""The arm that the others are compared with: the student before tuning."""


@dataclass(frozen=True)
class _Found:
    """Measures, and counts that belong beside them."""

    measures: list[Measure]
    counts: dict[str, int] = field(default_factory=dict)


def score_benchmark(
    benchmark: Benchmark,
    responses: Sequence[Response],
    settings: MeasureSettings,
    embed: Embedding | None = None,
    judge: Judge | None = None,
) -> BenchmarkScores:
    """All metrics of one student on the benchmark's test items; `responses` are one per item, in their order.

    `choice`: `accuracy`, and `macro_f1` where all items have the same labels; an item that was not answered is wrong.
    `spans`: `strict_f1`, `relaxed_f1`, and the count `hallucinated`. `text`: `rouge1`, `rouge2`, `rougeL`, `embedding`
    (needs `embed`) or `bertscore`, as the settings say, and `judge` where one is given; an item without a text, or
    refused, scores the least. Benchmarks without test items have the same metrics without rows, and so no result.

    Raises `DataError` when the responses are to other items, or a reference answer is none of the item's options;
    `MissingPackageError` when a metric's package is not installed; what the judge raises.
    """
    items = benchmark.test
    check_same_items(
        {benchmark.name: [item.id for item in items], "the answers": [response.id for response in responses]}
    )
    if benchmark.measured == "choice":
        found = _Found(_choice(benchmark.labels, items, responses))
    elif benchmark.measured == "spans":
        found = _spans(items, responses)
    else:
        found = _texts(items, responses, settings, embed, judge)
    outcomes = Counter(response.reading.outcome for response in responses)
    return BenchmarkScores(
        benchmark.name,
        tuple(item.id for item in items),
        tuple(found.measures),
        {outcome.value: outcomes[outcome] for outcome in Outcome},
        found.counts,
    )


def _choice(labels: Sequence[str], items: Sequence[Instruction], responses: Sequence[Response]) -> list[Measure]:
    golds = [_gold(item) for item in items]
    said = [_said(item, response) for item, response in zip(items, responses, strict=True)]
    right = tuple((float(one == other), 1.0) for one, other in zip(said, golds, strict=True))
    measures = [Measure(ACCURACY, "mean", right)]
    if labels:
        rows = [_one_hot(labels, gold, option) for gold, option in zip(golds, said, strict=True)]
        measures.append(Measure("macro_f1", "macro_f1", tuple(rows)))
    return measures


def _gold(item: Instruction) -> str:
    if item.output not in item.options:
        raise DataError(
            f"Item {item.id}: the answer {item.output!r} is none of its options {', '.join(item.options)}.",
            "Correct the item.",
        )
    return item.output


def _said(item: Instruction, response: Response) -> str | None:
    """The option that was chosen; only an answered item carries one."""
    choice = response.reading.choice
    return item.options[choice] if choice is not None and response.reading.outcome is Outcome.ANSWERED else None


def _one_hot(labels: Sequence[str], gold: str, said: str | None) -> tuple[float, ...]:
    """Hits, gold and said of each label, as the kind `macro_f1` adds them up."""
    if gold not in labels:
        raise DataError(f"{gold!r} is not one of the labels {', '.join(labels)}.", "Correct the benchmark.")
    return (
        *(float(label == gold == said) for label in labels),
        *(float(label == gold) for label in labels),
        *(float(label == said) for label in labels),
    )


def _spans(items: Sequence[Instruction], responses: Sequence[Response]) -> _Found:
    located = [locate(r.reading.mentions, item.input) for item, r in zip(items, responses, strict=True)]
    counts = {"hallucinated": sum(len(one.hallucinated) for one in located)}
    return _Found(span_measures(located, [item.spans for item in items]), counts)


def _texts(
    items: Sequence[Instruction],
    responses: Sequence[Response],
    settings: MeasureSettings,
    embed: Embedding | None,
    judge: Judge | None,
) -> _Found:
    texts = ["" if r.reading.outcome is Outcome.REFUSED else r.text for r in responses]
    references = [item.output for item in items]
    found = _Found(rouge_measures(texts, references))
    if settings.embedding == "bertscore":
        found.measures.append(bertscore_measure(texts, references))
    elif settings.embedding != "off":
        if embed is None:
            raise ValueError(f"evaluate.embedding = {settings.embedding!r} needs an embedding")
        found.measures.append(embedding_measure(texts, references, embed))
    if judge is not None:
        judged = judge(items, texts)
        found.measures.append(judged.measure)
        found.counts.update(judged.counts)
    return found


def entries(
    student: str,
    arm_scores: Mapping[str, Mapping[int, BenchmarkScores]],
    benchmark: Benchmark,
    settings: MeasureSettings,
) -> list[MatrixEntry]:
    """One student on one benchmark: an entry for each arm and metric, `p_holm` still open (`with_holm`).

    `arm_scores`: arm -> seed -> scores. `none`, the student before tuning, has one entry under any number; its own
    entries name no seeds. Without it there are no gains. A metric without a result has a note instead of a value.
    Raises `DataError` when arms or seeds were scored on different items.
    """
    check_same_items(
        {f"{student}, {arm}, seed {seed}": s.ids for arm, runs in arm_scores.items() for seed, s in runs.items()}
    )
    base = arm_scores.get(BASELINE, {})
    return [
        _entry(student, benchmark, arm, runs, base if arm != BASELINE else {}, name, settings)
        for arm, runs in arm_scores.items()
        for name in _metrics(runs)
    ]


def _metrics(runs: Mapping[int, BenchmarkScores]) -> list[str]:
    """Names of all metrics, in the order of the first scores that have them."""
    return list(dict.fromkeys(measure.name for scores in runs.values() for measure in scores.measures))


def _entry(
    student: str,
    benchmark: Benchmark,
    arm: str,
    runs: Mapping[int, BenchmarkScores],
    base: Mapping[int, BenchmarkScores],
    metric: str,
    settings: MeasureSettings,
) -> MatrixEntry:
    ours, theirs = _measures(runs, metric), _measures(base, metric)
    found = estimate(ours, settings.resamples, settings.interval_seed)
    compared = gain(theirs, ours, settings.resamples, settings.interval_seed) if theirs else None
    difference: tuple[Estimate | None, float | None] = compared or (None, None)
    n = len(ours[0].rows)
    return MatrixEntry(
        student,
        arm,
        benchmark.name,
        benchmark.category,
        metric,
        n=n,
        seeds=() if arm == BASELINE else tuple(runs),
        estimate=found,
        gain=difference[0],
        p=difference[1],
        outcomes=_added([scores.outcomes for scores in runs.values()]),
        counts=_added([scores.counts for scores in runs.values()]),
        note="" if found is not None else _why(metric, n),
    )


def _why(metric: str, n: int) -> str:
    if not n:
        return "no result: there are no test items"
    if metric == "judge":
        return "no result: the judge scored no item in both orders"
    return "no result: nothing was to be found, and nothing was named"


def _measures(runs: Mapping[int, BenchmarkScores], metric: str) -> list[Measure]:
    return [measure for scores in runs.values() for measure in scores.measures if measure.name == metric]


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for one in counts for name in one)
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


def with_holm(entries: Sequence[MatrixEntry]) -> tuple[MatrixEntry, ...]:
    """The entries with `p_holm`: corrected over all gains among them, so give all entries of a matrix at once."""
    tested = [index for index, entry in enumerate(entries) if entry.p is not None]
    corrected = holm([p for entry in entries if (p := entry.p) is not None])
    by_index = dict(zip(tested, corrected, strict=True))
    return tuple(
        replace(entry, p_holm=float(by_index[index])) if index in by_index else entry
        for index, entry in enumerate(entries)
    )
