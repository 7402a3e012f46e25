"""Likelihoods of whole answers, each row its own: what tuning minimises, validation watches and options are scored by.

The output matrix of a small model is a large part of it (28 of 135 million weights in SmolLM2-135M), and only the
answer's positions need it. `logits_at` (score.py) asks for the same positions in all rows, which suits labels that
stand at the end; answers of many lengths need positions of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from preceptor.models.load import Loaded
from preceptor.models.score import BATCH_TOKENS, Padded, by_length, embeddings_before, pad, stems


def answer_logits(model: Any, padded: Padded, rows: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Next-token logits at single positions: `rows` and `positions` [n] -> float32 [n, vocabulary].

    The hidden states are picked just before the output layer, whatever is wrapped around the model. Where that layer
    is called in another way than on [rows, tokens, width], all logits are computed and picked afterwards.
    """
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    head = base.get_output_embeddings()
    before = embeddings_before(model)
    positions = positions + before
    shape = (padded.ids.shape[0], padded.ids.shape[1] + before)
    picked = False

    def pick(_layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        nonlocal picked
        picked = bool(args) and args[0].shape[:2] == shape and not picked
        return (args[0][rows, positions].unsqueeze(0), *args[1:]) if picked else None

    hook = head.register_forward_pre_hook(pick) if head is not None else None
    try:
        logits = model(input_ids=padded.ids, attention_mask=padded.mask, use_cache=False).logits
    finally:
        if hook is not None:
            hook.remove()
    return (logits[0] if picked else logits[rows, positions]).float()


def token_losses(
    model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> torch.Tensor:
    """Negative log-likelihood of every token of the answers `targets` after `prompts`, in one forward pass.

    Float32 [tokens of all answers], row after row; keeps gradients.
    """
    read = [[*prompt, *target[:-1]] for prompt, target in zip(prompts, targets, strict=True)]
    padded = pad(read, loaded.tokenizer.pad_token_id, loaded.device)
    rows, positions = _spread([len(prompt) - 1 for prompt in prompts], [len(target) for target in targets], loaded)
    wanted = torch.tensor([token for target in targets for token in target], device=loaded.device)
    return functional.cross_entropy(answer_logits(model, padded, rows, positions), wanted, reduction="none")


@torch.inference_mode()
def answer_logprobs(
    model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> np.ndarray:
    """Log-probability of each answer after its prompt, the sum over its tokens: float64 [answers]."""
    result = np.zeros(len(prompts))
    lengths = [len(prompt) + len(target) for prompt, target in zip(prompts, targets, strict=True)]
    for batch in by_length(lengths, BATCH_TOKENS):
        losses = token_losses(model, loaded, [prompts[i] for i in batch], [targets[i] for i in batch])
        parts = losses.double().cpu().split([len(targets[i]) for i in batch])
        result[batch] = [-float(part.sum()) for part in parts]
    return result


@torch.inference_mode()
def option_logprobs(
    model: Any,
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
) -> list[np.ndarray]:
    """Log-probability of each item's own options after its prompt.

    `options` [items][options][tokens]; returns a float64 array [options] per item, sums over tokens, not normalised by
    length. Options of one token, such as letters, and options that share all but their last token come from one row.
    """
    found = [np.zeros(len(own)) for own in options]
    todo = [(i, stem, members) for i, own in enumerate(options) for stem, members in stems(own).items()]
    lengths = [len(prompts[i]) + len(stem) for i, stem, _ in todo]
    for batch in by_length(lengths, BATCH_TOKENS):
        part = [todo[k] for k in batch]
        padded = pad([[*prompts[i], *stem] for i, stem, _ in part], loaded.tokenizer.pad_token_id, loaded.device)
        counts = [len(stem) + 1 for _, stem, _ in part]
        rows, positions = _spread([len(prompts[i]) - 1 for i, _, _ in part], counts, loaded)
        logs = torch.log_softmax(answer_logits(model, padded, rows, positions), dim=-1).split(counts)
        for (i, _, members), own in zip(part, logs, strict=True):
            for option in members:
                tokens = options[i][option]
                steps = torch.arange(len(tokens), device=loaded.device)
                found[i][option] = float(own[steps, torch.tensor(tokens, device=loaded.device)].double().sum())
    return found


def _spread(starts: Sequence[int], counts: Sequence[int], loaded: Loaded) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows and positions, both [sum of counts]: `counts[i]` neighbouring positions of row i from `starts[i]` on."""
    rows = [row for row, count in enumerate(counts) for _ in range(count)]
    positions = [start + k for start, count in zip(starts, counts, strict=True) for k in range(count)]
    return torch.tensor(rows, device=loaded.device), torch.tensor(positions, device=loaded.device)
