"""What a method adds to the prompts of a student."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class VirtualTokens:
    """Trained tokens that stand in a prompt as words of their own."""

    text: str
    """All of them in a row, as the tokenizer reads them."""
    before: str | None
    """The input field that they stand right before; None: at the prompt's end, right before the answer."""
