"""Which of a model's implementations of attention computes fastest here."""

from __future__ import annotations

from preceptor.models.load import Loaded

SHORT = 384
"""Tokens of a row up to which plain matrix products are faster on a CPU than the fused kernel, which there takes the
masks and repeated keys apart: LAB.md. They keep [rows, heads, tokens, tokens], so that long rows are left to it."""


def suit_training(loaded: Loaded, longest: int) -> None:
    """Choose for training rows of at most `longest` tokens. The answers change by rounding alone."""
    if loaded.device.type == "cpu" and loaded.model.config._attn_implementation == "sdpa":
        loaded.model.set_attn_implementation("eager" if longest <= SHORT else "sdpa")
