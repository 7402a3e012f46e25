"""How like its reference a generated text is: ROUGE, nearness of embeddings, BERTScore.

ROUGE is computed by the package `rouge_score`, without stemming: the evaluation of MEDIQA-Chat 2023 (its
`scripts/evaluate_summarization.py`, whose task A is MTS-Dialog) calls `evaluate.load("rouge")` with that default, so
figures can be put beside published ones. Its BERTScore model is ours too. BLEURT, its third metric, is left out: the
package needs TensorFlow.

An answer that is empty or was refused scores 0 in all of them, and is given to no model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from preceptor.errors import MissingPackageError
from preceptor.models.embed import Embedding
from preceptor.records import Measure

ROUGE = ("rouge1", "rouge2", "rougeL")
BERTSCORE_MODEL = "microsoft/deberta-xlarge-mnli"
BERTSCORE_TOKENS = 512
"""Where texts are cut for it: the positions of DeBERTa and BERT."""

Likeness = Callable[[Sequence[str], Sequence[str]], list[float]]
"""Texts and their references -> a number for each pair."""


def rouge_measures(texts: Sequence[str], references: Sequence[str]) -> list[Measure]:
    """F1 of common words, of common pairs of words, and of the longest common subsequence; mean over items.

    Raises `MissingPackageError` without the package rouge-score.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingPackageError.of("rouge-score", "ROUGE", 'pip install "preceptor[train]"') from error
    scorer = RougeScorer(list(ROUGE), use_stemmer=False)
    scores = [
        scorer.score(reference, text) if text.strip() else None
        for text, reference in zip(texts, references, strict=True)
    ]
    return [_mean(name, [float(one[name].fmeasure) if one else 0.0 for one in scores]) for name in ROUGE]


def embedding_measure(texts: Sequence[str], references: Sequence[str], embed: Embedding) -> Measure:
    """Cosine of the embeddings of text and reference, mean over items; below 0 counts as 0, as saying nothing does."""

    def cosines(some: Sequence[str], theirs: Sequence[str]) -> list[float]:
        products = (embed(some).astype("float64") * embed(theirs)).sum(axis=1)
        return [max(0.0, float(product)) for product in products]

    return _mean("embedding", _of_written(texts, references, cosines))


def bertscore_measure(
    texts: Sequence[str], references: Sequence[str], model: str = BERTSCORE_MODEL, layers: int | None = None
) -> Measure:
    """F1 of BERTScore (Zhang et al. 2020) by the package bert-score, not rescaled; mean over items.

    The package itself loads the model, from the hub where it is not cached, and knows for its own models which of the
    `layers` to use. Raises `MissingPackageError` when the package is not installed.
    """

    def f1(some: Sequence[str], theirs: Sequence[str]) -> list[float]:
        _precision, _recall, found = _bert_scorer(model, layers).score(list(some), list(theirs))
        return [float(value) for value in found]

    return _mean("bertscore", _of_written(texts, references, f1))


@lru_cache(maxsize=1)
def _bert_scorer(model: str, layers: int | None) -> Any:
    """The package's scorer, loaded once for all students."""
    try:
        from bert_score import BERTScorer
    except ImportError as error:
        name = (error.name or "bert-score").replace("_", "-")
        raise MissingPackageError.of(name, 'evaluate.embedding = "bertscore"', "pip install bert-score") from error
    scorer = BERTScorer(model_type=model, num_layers=layers)
    # bert-score 0.3.13 hands a tokenizer's length to transformers 5 as it is, and where a model's files name none
    # (DeBERTa's) it is 10^30, which overflows: https://github.com/Tiiiger/bert_score/issues/205
    tokenizer = scorer._tokenizer
    tokenizer.model_max_length = min(tokenizer.model_max_length, BERTSCORE_TOKENS)
    return scorer


def _of_written(texts: Sequence[str], references: Sequence[str], likeness: Likeness) -> list[float]:
    """The likeness of every pair; 0 where one side is empty."""
    pairs = list(zip(texts, references, strict=True))
    written = [index for index, pair in enumerate(pairs) if all(text.strip() for text in pair)]
    found = [0.0] * len(pairs)
    if written:
        scores = likeness([pairs[i][0] for i in written], [pairs[i][1] for i in written])
        for index, value in zip(written, scores, strict=True):
            found[index] = value
    return found


def _mean(name: str, values: Sequence[float]) -> Measure:
    return Measure(name, "mean", tuple((value, 1.0) for value in values))
