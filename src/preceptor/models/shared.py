"""Work that several answers share, done once: a beginning that all prompts have, and an item's prompt for its options.

    prompts    [ fixed examples | item 1 ]      the examples' keys and values are computed once and lie before the
               [ fixed examples | item 2 ]      keys of every row, without a copy for each
    options    [ prompt 1 | a b | a c d | e ]   the options' tokens stand behind the prompt as a tree: each token sees
                                                the prompt and its own ancestors, and has the position of its depth

One row and one forward pass per item, however many options it has (tree attention: Miao et al. 2024, SpecInfer,
arXiv 2305.09781). In float32 the sums equal those of a row for each option; only their order differs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import Cache, DynamicLayer
from transformers.masking_utils import eager_mask

from preceptor.models.layers import layers_of, using_attention
from preceptor.models.load import Loaded
from preceptor.models.score import batch_tokens, by_length, logits_of, pad

FULL_ATTENTION = frozenset({"biogpt", "gpt2", "llama", "mistral", "qwen2", "qwen3"})
"""Architectures that take a mask of their own and positions from outside; where they slide a window, they do not."""
LEAST_SHARED = 32
"""Tokens that all prompts must begin with before they are computed apart: below, one more pass gains nothing."""
Options = Sequence[Sequence[int]]
"""Token ids of each option of one item."""


@dataclass(frozen=True)
class Tree:
    """The options of one item, but for each one's last token, with common beginnings merged."""

    tokens: tuple[int, ...]
    """Token of each node. A node stands behind its ancestors."""
    parents: tuple[int, ...]
    """Number of the node before it; -1 is the prompt."""
    steps: tuple[tuple[tuple[int, int], ...], ...]
    """For each option and token: the node (or -1, the prompt) after which it is predicted, and the token."""

    @property
    def branches(self) -> bool:
        """Whether it is more than one chain."""
        return any(parent != node - 1 for node, parent in enumerate(self.parents))

    def ancestors(self, node: int) -> list[int]:
        """The nodes on its way from the prompt, itself last."""
        way: list[int] = []
        while node >= 0:
            way.append(node)
            node = self.parents[node]
        return way[::-1]


def tree_of(options: Options) -> Tree:
    """Merge common beginnings of options."""
    nodes: dict[tuple[int, ...], int] = {}
    parents: list[int] = []
    # In sorted order a chain of options, each beginning the next, makes a chain of nodes.
    for option in sorted({tuple(option) for option in options}):
        for end in range(1, len(option)):
            if option[:end] not in nodes:
                parents.append(nodes.get(option[: end - 1], -1))
                nodes[option[:end]] = len(nodes)
    steps = tuple(
        tuple((nodes.get(tuple(option[:k]), -1), token) for k, token in enumerate(option)) for option in options
    )
    return Tree(tuple(beginning[-1] for beginning in nodes), tuple(parents), steps)


def common_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; each prompt's last token is left to itself. 0 for a single prompt."""
    if len(prompts) < 2:
        return 0
    first, last = min(map(list, prompts)), max(map(list, prompts))  # in order, these two differ the earliest
    most = min(map(len, prompts)) - 1
    return next((k for k in range(most) if first[k] != last[k]), most)


def can_share(model: Any) -> bool:
    """Whether rows of this model may begin with keys from outside and carry a tree.

    Not with virtual tokens that peft puts in by itself, not with a sliding window, and not while something stands in
    the place of the model's layers, such as hidden states that were kept.
    """
    peft = getattr(model, "active_peft_config", None)
    if peft is not None and peft.is_prompt_learning:
        return False
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config
    if config.model_type not in FULL_ATTENTION or _slides(config):
        return False
    if config._attn_implementation not in ("eager", "sdpa"):
        return False
    return not any("forward" in vars(layer) for layer in layers_of(base)[1])


def _slides(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def grouped_attention(
    _module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_options: Any,
) -> tuple[torch.Tensor, None]:
    """Torch's own attention as transformers calls it: query [B, H, T, d], keys [B, G, S, d] -> [B, T, H, d].

    Beside a mask, transformers first writes each key once for every head of its group; on a CPU the kernel needs no
    such copy, which is a fifth of the time behind 1,800 shared tokens.
    """
    assert dropout == 0.0
    groups = key.shape[1] != query.shape[1]
    out = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=groups
    )
    return out.transpose(1, 2), None


GROUPED = "preceptor_grouped"
"""Name under which transformers knows `grouped_attention`."""
AttentionInterface.register(GROUPED, grouped_attention)
AttentionMaskInterface.register(GROUPED, eager_mask)


class _Behind(DynamicLayer):
    """A layer's keys and values of the shared beginning, which stand before those of any rows; keeps nothing new."""

    def __init__(self, keys: torch.Tensor | None, values: torch.Tensor | None) -> None:
        """[1, heads, tokens, width] each, or None for no beginning."""
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = keys is not None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.keys is None or self.values is None:
            return key_states, value_states
        shape = (len(key_states), -1, -1, -1)
        keys = torch.cat([self.keys.expand(shape), key_states], dim=-2)
        return keys, torch.cat([self.values.expand(shape), value_states], dim=-2)


@torch.inference_mode()
def _beginning(model: Any, loaded: Loaded, tokens: Sequence[int]) -> Cache:
    """Keys and values of the tokens that all rows begin with."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not tokens:
        return Cache(layers=[_Behind(None, None) for _ in layers_of(base)[1]])
    ids = torch.tensor([list(tokens)], device=loaded.device)
    filled = base.base_model(input_ids=ids, past_key_values=DynamicCache(), use_cache=True).past_key_values
    return Cache(layers=[_Behind(layer.keys, layer.values) for layer in filled.layers])


@torch.inference_mode()
def shared_logprobs(
    model: Any, loaded: Loaded, prompts: Sequence[Sequence[int]], trees: Sequence[Tree], common: int
) -> list[list[float]]:
    """Log-probability of each item's options, one row an item; the first `common` tokens of all prompts are one.

    The model must be one that `can_share`.
    """
    cache = _beginning(model, loaded, prompts[0][:common])
    rows = [[*prompt[common:], *tree.tokens] for prompt, tree in zip(prompts, trees, strict=True)]
    found: list[list[float]] = [[] for _ in prompts]
    batches = by_length([len(row) for row in rows], batch_tokens(loaded.device))
    base = loaded.model
    # Quicker for passes that bring a mask of their own.
    quicker = base.device.type == "cpu" and base.config._attn_implementation == "sdpa"
    with using_attention(base, GROUPED, where=quicker):
        for batch in batches:
            starts = [len(prompts[i]) - common for i in batch]
            chosen = [trees[i] for i in batch]
            logs = torch.log_softmax(
                _logits(model, loaded, [rows[i] for i in batch], starts, chosen, common, cache), dim=-1
            )
            parts = logs.split([len(tree.tokens) + 1 for tree in chosen])
            for i, tree, own in zip(batch, chosen, parts, strict=True):
                found[i] = [float(sum(own[node + 1, token].double() for node, token in way)) for way in tree.steps]
    return found


def _logits(
    model: Any,
    loaded: Loaded,
    rows: Sequence[Sequence[int]],
    starts: Sequence[int],
    trees: Sequence[Tree],
    common: int,
    cache: Cache,
) -> torch.Tensor:
    """Logits after each prompt and each node: float32 [sum of nodes + 1, vocabulary]. `starts`: where trees begin."""
    padded = pad(rows, loaded.tokenizer.pad_token_id, loaded.device)
    width = padded.ids.shape[1]
    positions = torch.arange(width).repeat(len(rows), 1)
    seen = torch.ones(width, width, dtype=torch.bool).tril().repeat(len(rows), 1, 1)
    for place, (start, tree) in enumerate(zip(starts, trees, strict=True)):
        if tree.branches:
            end = start + len(tree.tokens)
            seen[place, start:end, start:end] = False
            for node in range(len(tree.tokens)):
                way = tree.ancestors(node)
                seen[place, start + node, [start + other for other in way]] = True
                positions[place, start + node] = start + len(way) - 1
    mask = torch.zeros(len(rows), 1, width, common + width, dtype=loaded.dtype)
    mask[:, 0, :, common:].masked_fill_(~seen, torch.finfo(loaded.dtype).min)
    picked_rows = [place for place, tree in enumerate(trees) for _ in range(len(tree.tokens) + 1)]
    picked = [start + k for start, tree in zip(starts, trees, strict=True) for k in range(-1, len(tree.tokens))]
    inputs = {
        "input_ids": padded.ids,
        "attention_mask": mask.to(loaded.device),
        "position_ids": (positions + common).to(loaded.device),
        "past_key_values": cache,
        "use_cache": True,
    }
    where = (torch.tensor(picked_rows, device=loaded.device), torch.tensor(picked, device=loaded.device))
    return logits_of(model, inputs, padded.ids.shape, *where)
