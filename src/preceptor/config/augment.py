"""`[augment]`: what the teacher is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from preceptor.config.base import Section

STRATEGIES = ("rewrite", "new")


class AugmentSettings(Section):
    """`[augment]`: what the teacher is asked for."""

    rewrite: Literal["question", "context", "pair"] = "question"
    """What `rewrite` rewords: the question, the context, or question and answer as the paper does."""
    draws: int = Field(1, ge=1)
    """Answers per training item and strategy."""
