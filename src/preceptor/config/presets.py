"""Presets of `[train]`: values for keys that a recipe leaves out. What a recipe names wins."""

from __future__ import annotations

from typing import Any

from preceptor.config.train import StudentSettings, TrainSettings

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


def tuned(head: str, weights: int) -> dict[str, Any]:
    """Defaults for a student by its head (`causal` or `encoder`) and the number of its weights without the head.

    The small ones are measured: all-MiniLM-L6-v2 (23 M weights) and SmolLM2-135M on 450 items of PubMedQA. The others
    are a judgement, not a measurement: larger models take lower learning rates and fewer passes.
    """
    if head == "encoder":
        if weights <= SMALL_ENCODER:
            return {"method": "full", "learning_rate": 1e-4, "epochs": 5, "batch_size": 8}
        return {"method": "full", "learning_rate": 3e-5, "epochs": 4, "batch_size": 8}
    lora = {"method": "lora", "rank": 8, "alpha": 16, "batch_size": 8}
    if weights <= SMALL_CAUSAL:
        return {**lora, "learning_rate": 3e-4, "epochs": 4}
    if weights < LARGE_CAUSAL:
        return {**lora, "learning_rate": 2e-4, "epochs": 3}
    return {**lora, "learning_rate": 1e-4, "epochs": 3}


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
