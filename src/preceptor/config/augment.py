"""`[augment]`: how generated examples come to be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from preceptor.config.base import Section, Seed

STRATEGIES = ("rewrite", "new", "edit", "published")
"""Words of `use` in `[arms]`, in the order in which they are made."""

ASKING = ("rewrite", "new")
"""Those that ask the teacher. `edit` works by rules, `published` reads a file."""


class AugmentSettings(Section):
    """`[augment]`: how generated examples come to be."""

    rewrite: Literal["question", "context", "pair"] = "question"
    """What `rewrite` rewords: the question, the context, or question and answer as the paper does."""
    draws: int = Field(1, ge=1)
    """Answers per training item and strategy; of `edit`, edits per training item."""
    edit: Literal["question", "context"] | None = None
    """What `edit` changes. None: what `rewrite` rewords, and of a pair the question."""
    edit_share: float = Field(0.1, gt=0, le=1)
    """Share of the words that one edit touches, at least one."""
    edit_seed: Seed = 0
    """Seed of the edits."""
    published: str | None = None
    """File of augmented items that somebody published, in the form of the task's own file; relative to the recipe."""
    published_parent: str = "parent"
    """Key in that file of the id of the training item that an item was made from."""

    @property
    def edited(self) -> Literal["question", "context"]:
        """What `edit` changes."""
        if self.edit is not None:
            return self.edit
        return "context" if self.rewrite == "context" else "question"
