"""Perplexity of held-out documents, before and after, with intervals that speak of other documents.

Of one document: exp of the mean negative log-likelihood of its tokens, each given the tokens before it, which a long
document keeps by windows that overlap (`models.documents.document_losses` has the definition). Of several documents:
the same over all their tokens, exp(sum of losses / sum of tokens), so that a document counts by its length.

Tokens of one document depend on one another, so documents are what is drawn in the bootstrap (a cluster bootstrap:
Davison and Hinkley 1997, section 3.8): the intervals are those of `aggregate` for a ratio of sums. The ratio of two
perplexities is compared on the same documents in each resample. exp is monotone, so the interval of exp(x) is exp of
that of x. Perplexities of models with different tokenizers cannot be compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from preceptor.evaluate.aggregate import check_same_items, estimate, gain
from preceptor.records import DocumentLoss, Estimate, Interval, Measure, PerplexityChange
from preceptor.store.tables import read_rows, write_rows


@dataclass(frozen=True, slots=True)
class Text:
    """A document to be read."""

    id: str
    text: str


def read_losses(
    model: str,
    texts: Sequence[Text],
    *,
    length: int,
    dtype: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[DocumentLoss]:
    """What a causal language model makes of each document, through windows of `length` tokens.

    `on_progress` takes the number of windows read, and of all. Raises `ModelError` when the model cannot be loaded.
    """
    from preceptor.models.documents import document_losses
    from preceptor.models.load import load_causal

    loaded = load_causal(model, dtype)
    tokens, losses = document_losses(loaded.model, loaded, [text.text for text in texts], length, on_progress)
    return [
        DocumentLoss(text.id, int(count), float(loss)) for text, count, loss in zip(texts, tokens, losses, strict=True)
    ]


def perplexity(losses: Sequence[DocumentLoss], resamples: int, seed: int) -> Estimate | None:
    """Perplexity over all documents with its interval at 95 %; None where there is no token."""
    return _exp(estimate([_measure(losses)], resamples, seed))


def compare(
    before: Sequence[DocumentLoss], after: Sequence[DocumentLoss], resamples: int, seed: int
) -> PerplexityChange | None:
    """Two models on the same documents; None where there is no token.

    Raises `DataError` when the documents differ.
    """
    check_same_items({"before": [one.id for one in before], "after": [one.id for one in after]})
    first, second = perplexity(before, resamples, seed), perplexity(after, resamples, seed)
    found = gain([_measure(before)], [_measure(after)], resamples, seed)
    ratio = _exp(found[0]) if found else None
    if first is None or second is None or ratio is None:
        return None
    pairs = [(a.perplexity, b.perplexity) for a, b in zip(before, after, strict=True) if a.tokens]
    return PerplexityChange(
        before=first,
        after=second,
        ratio=ratio,
        median_before=median(a for a, _ in pairs),
        median_after=median(b for _, b in pairs),
        fell=sum(b < a for a, b in pairs),
        documents=len(pairs),
        tokens=sum(one.tokens for one in after),
    )


def write_losses(path: Path, losses: Sequence[DocumentLoss]) -> None:
    """Write one row per document: id, tokens, sum of losses, perplexity."""
    rows = [{"id": d.id, "tokens": d.tokens, "loss": d.loss, "perplexity": d.perplexity} for d in losses]
    write_rows(path, rows, ["id", "tokens", "loss", "perplexity"], numbers=["tokens", "loss", "perplexity"])


def read_written(path: Path) -> list[DocumentLoss]:
    """Read what `write_losses` wrote."""
    return [DocumentLoss(row["id"], int(row["tokens"]), row["loss"]) for row in read_rows(path)]


def _measure(losses: Sequence[DocumentLoss]) -> Measure:
    return Measure("loss", "mean", tuple((one.loss, float(one.tokens)) for one in losses))


def _exp(found: Estimate | None) -> Estimate | None:
    if found is None:
        return None
    inner = found.interval
    interval = inner and Interval(
        math.exp(inner.low), math.exp(inner.high), inner.level, f"{inner.method} of documents"
    )
    return Estimate(math.exp(found.value), interval)
