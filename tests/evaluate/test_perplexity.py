"""Perplexity of documents: its definition, its interval over documents, and the paired ratio of two models."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import bootstrap
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from preceptor.errors import DataError
from preceptor.evaluate.perplexity import Text, compare, perplexity, read_losses, read_written, write_losses
from preceptor.records import DocumentLoss


def invented(count: int = 60) -> tuple[list[DocumentLoss], list[DocumentLoss]]:
    """Documents of very different lengths, and what is left of their losses afterwards."""
    draws = np.random.default_rng(0)
    tokens = draws.integers(5, 400, count)
    before = tokens * draws.normal(3.0, 0.4, count)
    after = before * draws.normal(0.9, 0.02, count)
    return tuple(  # type: ignore[return-value]
        [DocumentLoss(f"d{i}", int(n), float(x)) for i, (n, x) in enumerate(zip(tokens, losses, strict=True))]
        for losses in (before, after)
    )


def test_perplexity_of_a_model_is_the_plain_one(tiny_models: dict[str, Path]) -> None:
    """Transformers' own mean loss, one document at a time."""
    folder = str(tiny_models["llama"])
    texts = [Text(str(i), " ".join(tiny.WORDS[i : i + 4 + 3 * i])) for i in range(6)]
    found = read_losses(folder, texts, length=48, dtype="float32")
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    for text, one in zip(texts, found, strict=True):
        ids = torch.tensor([tokenizer(text.text)["input_ids"]])  # <s> and the words
        with torch.inference_mode():
            mean = float(model(input_ids=ids, labels=ids).loss)
        assert one.tokens == ids.shape[1] - 1
        assert one.perplexity == pytest.approx(math.exp(mean), rel=1e-5)
    whole = perplexity(found, 100, 0)
    assert whole is not None
    assert whole.value == pytest.approx(math.exp(sum(d.loss for d in found) / sum(d.tokens for d in found)))


def test_the_interval_draws_documents() -> None:
    before, _ = invented()
    found = perplexity(before, 4000, 1)
    assert found is not None
    assert found.interval is not None
    data = (np.array([d.loss for d in before]), np.array([d.tokens for d in before]))

    def of(loss: np.ndarray, tokens: np.ndarray, axis: int = -1) -> np.ndarray:
        return np.exp(loss.sum(axis=axis) / tokens.sum(axis=axis))

    theirs = bootstrap(
        data, of, paired=True, n_resamples=4000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    assert found.interval.low == pytest.approx(theirs.low, rel=0.01)
    assert found.interval.high == pytest.approx(theirs.high, rel=0.01)
    assert found.interval.method == "bootstrap of documents"
    # Over tokens as if they were independent it would be far narrower.
    assert found.interval.high / found.interval.low > 1.1


def test_the_ratio_is_paired() -> None:
    before, after = invented()
    change = compare(before, after, 2000, 1)
    assert change is not None
    assert change.ratio.value == pytest.approx(change.after.value / change.before.value)
    assert change.ratio.interval is not None
    assert change.after.interval is not None
    widths = [math.log(one.high / one.low) for one in (change.ratio.interval, change.after.interval)]
    assert widths[0] < 0.3 * widths[1]  # what is hard for both cancels
    assert change.ratio.interval.high < 1
    assert change.fell == sum(b.perplexity < a.perplexity for a, b in zip(before, after, strict=True))
    assert change.median_before == pytest.approx(np.median([d.perplexity for d in before]))
    assert (change.documents, change.tokens) == (60, sum(d.tokens for d in after))


def test_other_documents_are_not_compared_and_none_have_no_result() -> None:
    before, after = invented(4)
    with pytest.raises(DataError, match="before and after cannot be compared"):
        compare(before, after[1:], 100, 0)
    assert compare([DocumentLoss("a", 0, 0.0)], [DocumentLoss("a", 0, 0.0)], 100, 0) is None
    assert math.isnan(DocumentLoss("a", 0, 0.0).perplexity)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    before, _ = invented(5)
    write_losses(tmp_path / "documents.parquet", before)
    assert read_written(tmp_path / "documents.parquet") == before
