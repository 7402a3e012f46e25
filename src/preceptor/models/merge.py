"""A trained adapter and its base model as one plain model folder, which anything that reads safetensors loads."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError

from preceptor.errors import ModelError
from preceptor.models.load import Loaded, load_causal
from preceptor.models.student import ADAPTER, PROBE_TOLERANCE, read_probe, save_weights, with_weights

MERGEABLE = ("LORA", "IA3")
"""Kinds of adapters that are changes of weights. The others add tokens, which no weight can hold."""
BESIDE = "Load them beside the base model with stock peft."
FOLDER = "Name a folder of a run's train/, down to its seed."


def merged(loaded: Loaded, weights: Path, answers: Callable[[Any], np.ndarray]) -> Any:
    """The model with the adapter in `weights` added to it for good. `loaded` is its base model in float32.

    In bfloat16 a small change of a weight would be rounded away. `answers` says what a model answers, in
    log-probabilities; raises `ModelError` where the merged one answers differently from model and adapter apart.
    """
    apart = with_weights(loaded, weights)
    wanted = answers(apart)
    found = apart.merge_and_unload()
    difference = float(np.abs(answers(found) - wanted).max())
    if not difference <= PROBE_TOLERANCE[torch.float32]:
        raise ModelError(
            f"{loaded.name} with its adapter merged answers differently from the two apart (largest difference of a "
            f"log-probability {difference:.3g}).",
            'Use the adapter beside the model, or train with train.method = "full".',
        )
    return found


def merge_adapter(weights: Path, target: Path, base: str | None = None) -> str:
    """Write the plain model that an adapter in `weights` makes of its base model into `target`, with its tokenizer.

    It is saved in float32. What it answers is compared at the next token after the prompts that were saved with the
    weights. Returns the base model's name: `base`, else the one that the adapter names.

    Raises `ModelError` when `weights` holds no adapter of a causal model, when it cannot be merged, or when the merged
    model answers differently.
    """
    settings, prompts = _saved(weights)
    _check_mergeable(settings, weights)
    name = base or str(settings["base_model_name_or_path"])
    loaded = load_causal(name, "float32")

    def next_tokens(model: Any) -> np.ndarray:
        with torch.no_grad():
            rows = [model(input_ids=torch.tensor([ids], device=loaded.device)).logits[0, -1] for ids in prompts]
        return torch.stack(rows).float().log_softmax(-1).cpu().numpy()

    try:
        model = merged(loaded, weights, next_tokens)
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"The trained weights in {weights} cannot be put onto {name}: {(str(error).splitlines() or [''])[0][:200]}",
            "Name the model that they were trained on with --base.",
        ) from error
    target.mkdir(parents=True, exist_ok=True)
    save_weights(model, target)
    loaded.tokenizer.save_pretrained(target)
    return name


def _saved(weights: Path) -> tuple[dict[str, Any], list[list[int]]]:
    """The adapter's settings, and the prompts that were saved beside it."""
    try:
        return dict(json.loads((weights / ADAPTER).read_text(encoding="utf-8"))), read_probe(weights).prompts
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{weights} holds no trained adapter of a run: {error}", FOLDER) from error


def _check_mergeable(settings: dict[str, Any], weights: Path) -> None:
    kind = settings.get("peft_type")
    if kind not in MERGEABLE:
        raise ModelError(f"The weights in {weights} are trained tokens ({kind}), which no plain model has.", BESIDE)
    if settings.get("task_type") == "SEQ_CLS":
        raise ModelError(
            f"The weights in {weights} belong to an encoder, whose labels are not part of a plain model.", BESIDE
        )
    if settings.get("trainable_token_indices"):
        raise ModelError(f"The weights in {weights} hold trained tokens of a prompt, which no plain model has.", BESIDE)
