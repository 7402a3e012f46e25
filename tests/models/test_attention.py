"""The choice of attention: by the rows' length, on a CPU, and without another answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import tiny
from preceptor.models.attention import SHORT, suit_training

PROMPTS = ([5, 9, 12, 7], [8, 6])


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_short_rows_take_plain_products_and_answer_the_same(tmp_path: Path, kind: str) -> None:
    student = tiny.open_tiny(tiny.save_model(tmp_path / kind, kind))
    before = student.logprobs(PROMPTS)
    suit_training(student.loaded, SHORT)
    assert student.loaded.model.config._attn_implementation == "eager"
    assert torch.allclose(torch.tensor(student.logprobs(PROMPTS)), torch.tensor(before), atol=1e-5)


def test_long_rows_keep_the_fused_kernel(tmp_path: Path) -> None:
    student = tiny.open_tiny(tiny.save_model(tmp_path / "llama", "llama"))
    suit_training(student.loaded, SHORT + 1)
    assert student.loaded.model.config._attn_implementation == "sdpa"
