"""Presets of `[train]`: values for keys that a recipe leaves out. What a recipe names wins."""

from __future__ import annotations

from typing import Any

from preceptor.config.train import LORA, StudentSettings, TrainSettings

PAPER: dict[str, Any] = {
    "method": "lora",
    "rank": 4,
    "learning_rate": 5e-5,
    "accumulation": 32,
    "batch_tokens": 1024,
    "batch_size": 64,  # the paper counts tokens alone: no prompt is so short that 64 of them are fewer than 1,024
}
"""Dr. LLaMA (arXiv 2305.07804): AdamW, linear warm-up, 32 accumulation steps, batches of 1,024 tokens, LoRA of fixed
rank 4. alpha stays free (the paper: 16 to 512). How long its warm-up is the paper does not say."""

SMALL_ENCODER = 80_000_000
"""Weights up to which an encoder counts as small."""
SMALL_CAUSAL = 500_000_000
"""Weights up to which a language model counts as small."""
LARGE_CAUSAL = 3_000_000_000
"""Weights from which on a language model counts as large."""
EPOCHS = {"causal": (4, 3, 3), "encoder": (5, 4)}
"""Head -> passes by size, the smallest models first."""


RATES: dict[str, dict[str, tuple[float, ...]]] = {
    "causal": {
        **dict.fromkeys(("lora", "rslora", "dora"), (3e-4, 2e-4, 1e-4)),
        "full": (3e-5, 2e-5, 1e-5),
        **dict.fromkeys(("prefix", "prompt"), (1e-2, 1e-2, 1e-2)),
        "p-tuning": (3e-3, 3e-3, 3e-3),
        "ia3": (5e-3, 5e-3, 5e-3),
    },
    "encoder": {
        "full": (1e-4, 3e-5),
        **dict.fromkeys(("lora", "rslora", "dora"), (1e-3, 3e-4)),
        "ia3": (1e-2, 1e-2),
    },
}
"""Head -> method -> learning rate by size, the smallest models first. Those of the smallest are the ones of
recipes/methods.toml, tried and not searched for (LAB.md, 2026-11-28, "Which method suits a small student?"): by log
loss on validation items all learnt, save tokens right before the answer, and an encoder's prefix, prompt and p-tuning
(its prefix at no rate from 1e-3 to 3e-2), which are missing here. LoRA's kin were tried at a scale of 2: for rslora
name `reference_scale`."""


def tuned(head: str, weights: int, method: str | None = None) -> dict[str, Any]:
    """Defaults for a student by its head (`causal` or `encoder`), the number of its weights without the head, and the
    method that a recipe names; None: the usual one of the head. Without a learning rate where none is known to teach.

    The small ones are measured: all-MiniLM-L6-v2 (23 M weights) and SmolLM2-135M on 450 items of PubMedQA. The others
    are a judgement, not a measurement: larger models take lower learning rates and fewer passes. For continued training
    on text nothing was measured: it takes what tuning does.
    """
    method = method or ("full" if head == "encoder" else "lora")
    bounds = (SMALL_ENCODER + 1,) if head == "encoder" else (SMALL_CAUSAL + 1, LARGE_CAUSAL)
    size = sum(weights >= bound for bound in bounds)
    scale = {"rank": 8, "alpha": 16} if method in LORA else {}
    rate = {"learning_rate": RATES[head][method][size]} if method in RATES[head] else {}
    return {"method": method, **scale, "batch_size": 8, **rate, "epochs": EPOCHS[head][size]}


def given_keys(train: TrainSettings, student: StudentSettings) -> dict[str, Any]:
    """The keys that a recipe names for a student: its own ones over those of `[train]`, also inside of tables."""
    base, own = train.model_dump(exclude_unset=True), student.train
    tables = {k: {**base[k], **v} for k, v in own.items() if isinstance(v, dict) and isinstance(base.get(k), dict)}
    return {**base, **own, **tables}


def without_references(keys: dict[str, Any], settings: TrainSettings) -> dict[str, Any]:
    """`keys`, of which `settings` are made, with the learning rate that is meant, and without preset and reference."""
    found = {key: value for key, value in keys.items() if key not in ("preset", "reference_scale")}
    if settings.reference_scale is not None and settings.scale is not None:
        found["learning_rate"] = settings.learning_rate * settings.reference_scale / settings.scale
    return found
