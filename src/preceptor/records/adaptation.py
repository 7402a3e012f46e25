"""What continued training on text did to a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from preceptor.records.scores import Estimate


@dataclass(frozen=True, slots=True)
class DocumentLoss:
    """What a language model makes of one document."""

    id: str
    tokens: int
    loss: float
    """Sum of the negative log-likelihoods of the tokens, in nats."""

    @property
    def perplexity(self) -> float:
        """Exp of the mean loss of a token; NaN where there is none."""
        return math.exp(self.loss / self.tokens) if self.tokens else math.nan


@dataclass(frozen=True, slots=True)
class PerplexityChange:
    """Perplexity of the same documents before and after."""

    before: Estimate
    """Over all tokens of all documents."""
    after: Estimate
    ratio: Estimate
    """After over before, paired on the same documents: below 1 is better."""
    median_before: float
    """Of the documents' own perplexities."""
    median_after: float
    fell: int
    """Documents whose own perplexity is lower after."""
    documents: int
    tokens: int


@dataclass(frozen=True)
class AdaptSummary:
    """All that the report of an adaptation shows."""

    name: str
    title: str
    notice: str
    model: str
    """What was trained on."""
    adapted: str
    """Folder of the model that came out."""
    method: str
    """In words, e.g. `LoRA r 16, alpha 32 (alpha/r 2), lr 0.0005`."""
    length: int
    """Tokens of a window."""
    documents: Mapping[str, int]
    """Part -> documents."""
    read: int
    """Documents as read."""
    left_out: int
    """Documents that were not drawn, because of `adapt.max_documents`."""
    dropped: Mapping[str, int]
    """Why documents were dropped, in words -> how many."""
    excluded: Mapping[str, int]
    """Name of an excluded set -> number of its texts."""
    change: PerplexityChange | None
    """None where the held-out documents hold no token."""
    fit: Mapping[str, Any]
    """What training did: steps, selected step, losses, validation checks, seconds, tokens, trainable weights, windows
    and tokens of a pass."""
    provenance: Mapping[str, Any]
    recipe: str
    command: str
