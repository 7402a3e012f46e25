"""Likelihoods of whole answers, each row its own: what tuning minimises, validation watches and options are scored by.

For a language model the score of a label or an option is the log-probability of its tokens after the prompt; one
definition serves training, evaluation and export. The output matrix of a small model is a large part of it (28 of 135
million weights in SmolLM2-135M), and only the answer's positions need it. `logits_at` (score.py) asks for the same
positions in all rows; answers of many lengths need positions of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from preceptor.models.load import Loaded
from preceptor.models.score import (
    BATCH_TOKENS,
    Padded,
    batch_tokens,
    by_length,
    embeddings_before,
    logits_of,
    pad,
    stems,
)
from preceptor.models.shared import LEAST_SHARED, Tree, can_share, common_beginning, shared_logprobs, tree_of


def answer_logits(
    model: Any, padded: Padded, rows: torch.Tensor, positions: torch.Tensor, *, masked: bool = True
) -> torch.Tensor:
    """Next-token logits at single positions of padded rows: `rows` and `positions` [n] -> float32 [n, vocabulary].

    Without the mask (`masked`) nothing hides the padding; it stands on the right, where causal attention never looks.
    Only for models that `can_share`: their kernels then pass over what is hidden instead of reading a mask of it.
    """
    before = embeddings_before(model)
    inputs: dict[str, Any] = {"input_ids": padded.ids, "use_cache": False}
    if masked:
        inputs["attention_mask"] = padded.mask
    shape = (padded.ids.shape[0], padded.ids.shape[1] + before)
    return logits_of(model, inputs, shape, rows, positions + before)


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
def label_logprobs(
    model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]
) -> np.ndarray:
    """Log-probability of each label after each prompt: what training selects by, and evaluation decides by.

    `prompts` are token ids, `targets` the token ids of each label; returns float64 [prompts, labels], the sum over a
    label's tokens, not normalised by length (as lm-evaluation-harness does for `acc`).
    """
    found = option_logprobs(model, loaded, prompts, [targets] * len(prompts))
    return np.stack(found) if found else np.zeros((0, len(targets)))


@torch.inference_mode()
def option_logprobs(
    model: Any,
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
) -> list[np.ndarray]:
    """Log-probability of each item's own options after its prompt.

    `options` [items][option][tokens]; returns a float64 array [options] per item, sums over tokens, not normalised by
    length. Options of one token, such as letters, come from one row. So do options of several tokens, and what all
    prompts begin with is computed once, where the model allows it (see `shared.py`); elsewhere options that share all
    but their last token come from one row. The results are the same.
    """
    known: dict[tuple[tuple[int, ...], ...], Tree] = {}
    keys = [tuple(tuple(option) for option in own) for own in options]
    for key in keys:
        known[key] = known.get(key) or tree_of(key)
    trees = [known[key] for key in keys]
    common = common_beginning(prompts)
    common = common if common >= LEAST_SHARED else 0
    if (common or any(tree.branches for tree in known.values())) and can_share(model):
        return [np.array(row) for row in shared_logprobs(model, loaded, prompts, trees, common)]
    return plain_logprobs(model, loaded, prompts, options)


@torch.inference_mode()
def plain_logprobs(
    model: Any,
    loaded: Loaded,
    prompts: Sequence[Sequence[int]],
    options: Sequence[Sequence[Sequence[int]]],
) -> list[np.ndarray]:
    """The same with whole rows, each of a prompt and an option, for any language model."""
    masked = not can_share(model)
    found = [np.zeros(len(own)) for own in options]
    todo = [(i, stem, members) for i, own in enumerate(options) for stem, members in stems(own).items()]
    lengths = [len(prompts[i]) + len(stem) for i, stem, _ in todo]
    for batch in by_length(lengths, batch_tokens(loaded.device)):
        part = [todo[k] for k in batch]
        padded = pad([[*prompts[i], *stem] for i, stem, _ in part], loaded.tokenizer.pad_token_id, loaded.device)
        counts = [len(stem) + 1 for _, stem, _ in part]
        rows, positions = _spread([len(prompts[i]) - 1 for i, _, _ in part], counts, loaded)
        logs = torch.log_softmax(answer_logits(model, padded, rows, positions, masked=masked), dim=-1).split(counts)
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
