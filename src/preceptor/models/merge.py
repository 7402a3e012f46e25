"""A trained adapter and its base model as one plain model folder, which anything that reads safetensors loads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from preceptor.errors import ModelError
from preceptor.models.load import load_causal
from preceptor.models.student import PROBE, PROBE_TOLERANCE, save_weights, with_weights

ADAPTER = "adapter_config.json"
MERGEABLE = ("LORA", "IA3")
"""Kinds of adapters that are changes of weights. The others add tokens, which no weight can hold."""


def merge_adapter(weights: Path, target: Path, base: str | None = None) -> str:
    """Write the plain model that an adapter in `weights` makes of its base model into `target`, with its tokenizer.

    The adapter is added in float32 and saved so: in bfloat16 a small change of a weight would be rounded away. The
    merged model's next-token log-probabilities after the prompts that were saved with the weights must be those of
    model and adapter apart. Returns the base model's name: `base`, else the one that the adapter names.

    Raises `ModelError` when `weights` holds no adapter of a causal model, when it cannot be merged, or when the merged
    model answers differently.
    """
    settings = _settings(weights)
    name = base or str(settings["base_model_name_or_path"])
    kind = settings.get("peft_type")
    if kind not in MERGEABLE:
        raise ModelError(
            f"The weights in {weights} are trained tokens ({kind}), which cannot be merged into a model.",
            "Load them beside the base model with stock peft.",
        )
    if settings.get("task_type") == "SEQ_CLS":
        raise ModelError(
            f"The weights in {weights} belong to an encoder, whose labels are not part of a plain model.",
            "Load them beside the base model with stock peft.",
        )
    loaded = load_causal(name, "float32")
    vocabulary = settings.get("trainable_token_indices")
    if vocabulary:
        raise ModelError(
            f"The weights in {weights} hold tokens of a prompt of their own, which a plain model does not have.",
            "Load them beside the base model with stock peft.",
        )
    apart = with_weights(loaded, weights)
    prompts = json.loads((weights / PROBE).read_text(encoding="utf-8"))["prompts"]
    wanted = _next(apart, prompts)
    merged = apart.merge_and_unload()
    difference = float((_next(merged, prompts) - wanted).abs().max())
    if not difference <= PROBE_TOLERANCE[torch.float32]:
        raise ModelError(
            f"{name} with its adapter merged answers differently from the two apart (largest difference of a "
            f"log-probability {difference:.3g}).",
            "Load the adapter beside the base model with stock peft.",
        )
    target.mkdir(parents=True, exist_ok=True)
    save_weights(merged, target)
    loaded.tokenizer.save_pretrained(target)
    return name


def _settings(weights: Path) -> dict[str, Any]:
    try:
        found = json.loads((weights / ADAPTER).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{weights} holds no trained adapter: there is no {ADAPTER} to be read.",
            "Name a folder of a run's train/, down to its seed.",
        ) from error
    if not isinstance(found, dict) or not (weights / PROBE).is_file():
        raise ModelError(
            f"{weights} is no folder of a run: it lacks {PROBE}.", "Name a folder of a run's train/, down to its seed."
        )
    return found


def _next(model: Any, prompts: list[list[int]]) -> torch.Tensor:
    """Log-probabilities of the next token after each prompt: float32 [prompts, vocabulary]."""
    with torch.no_grad():
        rows = [model(input_ids=torch.tensor([ids])).logits[0, -1].float().log_softmax(-1) for ids in prompts]
    return torch.stack(rows)
