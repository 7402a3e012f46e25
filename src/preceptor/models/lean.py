"""The same layers with fewer passes over memory, for training.

Between the large matrix products of a small model stand many short passes over activations, each of which autograd
also keeps for the way back. Five places are written as one step with a gradient of its own, which keeps only what the
gradient needs and computes the rest again:

    LoRA           y = x W' + s (x A') B', added into the product instead of beside it      Hu et al. 2021
    DoRA           y = m / |W + s B A| (x W' + s (x A') B'), the norm by thin products   Liu et al. 2024
    RMS norm       y = w x / sqrt(mean(x^2) + e), keeps x and one number a row                Zhang and Sennrich 2019
    gated MLP      h = silu(g) u, keeps g and u
    attention      softmax(q k' / sqrt(d)) v in parts, keeps q, k and v                       after Dao et al. 2022

`lean_training` puts them into a model for the time of a training; saved weights and all other uses are those of the
stock model. Modules that are not recognised stay as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.lora.variants import DoraLinearVariant
from torch import nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from preceptor.models.layers import using_attention

ATTENTION = "preceptor_rows"
"""Name under which transformers knows `attention`."""
PLAIN_ATTENTION = frozenset({"bert", "biogpt", "gpt2", "llama", "mistral", "qwen2", "qwen3"})
"""Architectures whose attention is scores, mask, softmax and values, and nothing more (no cap, no sinks)."""
BLOCK = 128
"""Queries of one row that go through attention together."""
SCORES = 400_000
"""Scores of several short rows that are computed together: as many as stay in the processor's cache."""


class _Lora(torch.autograd.Function):
    """x [..., in] -> [..., out]."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, down: Any, up: Any, scale: float) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        inner = flat @ down.T
        out = functional.linear(flat, weight, bias).addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, inner, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        flat, inner, weight, down, up = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])
        small = (gradient @ up).mul_(ctx.scale)
        x = None
        if ctx.needs_input_grad[0]:
            x = (gradient @ weight).addmm_(small, down).view(ctx.shape)
        return x, None, None, small.T @ flat, (gradient.T @ inner).mul_(ctx.scale), None


class _Dora(torch.autograd.Function):
    """x [..., in] -> [..., out]. `share` [out] multiplies the adapted rows: magnitude by norm."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, down: Any, up: Any, share: Any, scale: float) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        inner = flat @ down.T
        adapted = (flat @ weight.T).addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, inner, adapted, weight, down, up, share)
        ctx.scale, ctx.shape = scale, x.shape
        out = adapted * share
        return (out if bias is None else out.add_(bias)).view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        flat, inner, adapted, weight, down, up, share = ctx.saved_tensors
        gradient = gradients[0].reshape(-1, weight.shape[0])
        of_share = (gradient * adapted).sum(0)
        scaled = gradient * share
        small = (scaled @ up).mul_(ctx.scale)
        x = None
        if ctx.needs_input_grad[0]:
            x = (scaled @ weight).addmm_(small, down).view(ctx.shape)
        return x, None, None, small.T @ flat, (scaled.T @ inner).mul_(ctx.scale), of_share, None


@dataclass(slots=True)
class _RowNorms:
    """Norms of the rows of W + s B A, [out], without gradients (Liu et al. 2024, section 4.3).

    |w + s b A|^2 = |w|^2 + 2 s (w A') b' + s^2 b A A' b' for a row w of W and b of B, so that only thin products are
    needed. |w|^2 is computed once; the rest each time, because weights put together from parts may change unnoticed.
    """

    scale: float
    squares: torch.Tensor | None = None

    @torch.inference_mode(mode=False)  # what a look at validation computes is used in training, too
    @torch.no_grad()
    def of(self, weight: torch.Tensor, down: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        """The norms in the weights' own dtype, as stock peft has them: magnitudes begin as the norms of W."""
        if self.squares is None:
            self.squares = weight.float().square().sum(1)
        wide, narrow = up.float(), down.float()
        crossed = ((weight @ down.T).float() * wide).sum(1)
        added = ((wide @ (narrow @ narrow.T)) * wide).sum(1)
        found = self.squares + 2 * self.scale * crossed + self.scale**2 * added
        return found.clamp(min=0).sqrt().to(weight.dtype)


class _RmsNorm(torch.autograd.Function):
    """x [..., width] -> the same shape; sums in float32, as the stock module has it."""

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, epsilon: float) -> Any:
        wide = x.float()
        inverse = torch.rsqrt(wide.square().mean(-1, keepdim=True).add_(epsilon))
        ctx.save_for_backward(x, weight, inverse)
        return (wide * inverse).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, inverse = ctx.saved_tensors
        gradient = gradients[0]
        normed = x.float().mul_(inverse)
        of_weight = None
        if ctx.needs_input_grad[1]:
            of_weight = (gradient.float() * normed).flatten(0, -2).sum(0).to(weight.dtype)
        scaled = (gradient * weight).float()
        along = (scaled * normed).mean(-1, keepdim=True)
        return scaled.sub_(normed.mul_(along)).mul_(inverse).to(x.dtype), of_weight, None


class _Gated(torch.autograd.Function):
    """silu(gate) * up, both [..., inner]."""

    @staticmethod
    def forward(ctx: Any, gate: Any, up: Any) -> Any:
        ctx.save_for_backward(gate, up)
        return functional.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        gate, up = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(gradients[0] * up, gate)
        return of_gate, functional.silu(gate).mul_(gradients[0])


class _Attention(torch.autograd.Function):
    """query [B, H, T, d]; key, value [B, G, S, d], H a multiple of G; mask additive [B or 1, 1, T, S] -> [B, H, T, d].

    Long rows of the batch go through one by one, and of each a block of queries at a time; short ones several together.
    So the scores fit into the processor's cache, none are kept, and under causal attention a block never sees the keys
    that come after it.
    """

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, mask: Any, scale: float, causal: bool) -> Any:
        asked = torch.mul(query, scale, out=torch.empty(query.shape, dtype=query.dtype))
        key, value = key.contiguous(), value.contiguous()
        out = torch.empty_like(asked)
        for part in _blocks(asked, key, causal):
            shares = part.shares(part.queries(asked), part.keys(key), mask)
            part.of_queries(out).copy_((shares @ part.keys(value)).view(part.shape))
        ctx.save_for_backward(asked, key, value, mask)
        ctx.scale, ctx.causal = scale, causal
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        asked, key, value, mask = ctx.saved_tensors
        of_query, of_key, of_value = torch.empty_like(asked), torch.zeros_like(key), torch.zeros_like(value)
        for part in _blocks(asked, key, ctx.causal):
            queries, keys = part.queries(asked), part.keys(key)
            shares = part.shares(queries, keys, mask)
            gradient = part.queries(gradients[0])
            part.add_to_keys(of_value, shares.mT @ gradient)
            of_shares = gradient @ part.keys(value).mT
            of_scores = torch.ops.aten._softmax_backward_data(of_shares, shares, -1, shares.dtype)
            part.of_queries(of_query).copy_((of_scores @ keys).view(part.shape))
            part.add_to_keys(of_key, of_scores.mT @ queries)
        return of_query.mul_(ctx.scale), of_key, of_value, None, None, None


@dataclass(frozen=True, slots=True)
class _Block:
    """Some rows of a batch, some of their queries, and the keys that these see."""

    rows: slice
    asking: slice
    seen: int
    groups: int
    """Groups of heads that share their keys."""
    shape: tuple[int, int, int, int]
    """Rows, heads, queries and width."""

    def of_queries(self, tensor: torch.Tensor) -> torch.Tensor:
        """[B, H, T, d] -> a view [rows, H, t, d]."""
        return tensor[self.rows, :, self.asking]

    def queries(self, tensor: torch.Tensor) -> torch.Tensor:
        """[B, H, T, d] -> [rows * G, H/G * t, d]: heads of a group one after the other."""
        return self.of_queries(tensor).reshape(self.shape[0] * self.groups, -1, self.shape[-1])

    def keys(self, tensor: torch.Tensor) -> torch.Tensor:
        """[B, G, S, d] -> [rows * G, s, d]."""
        return tensor[self.rows, :, : self.seen].reshape(-1, self.seen, self.shape[-1])

    def add_to_keys(self, tensor: torch.Tensor, found: torch.Tensor) -> None:
        """Add [rows * G, s, d] into [B, G, S, d]."""
        tensor[self.rows, :, : self.seen] += found.view(-1, self.groups, self.seen, self.shape[-1])

    def shares(self, queries: torch.Tensor, keys: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
        """Softmax of the scores, [rows * G, H/G * t, s]; mask [B or 1, 1, T, S]."""
        scores = queries @ keys.mT
        if mask is not None:
            rows = self.rows if len(mask) > 1 else slice(None)
            scores.view(*self.shape[:3], self.seen).add_(mask[rows, :, self.asking, : self.seen])
        return functional.softmax(scores, dim=-1)


def _blocks(query: torch.Tensor, key: torch.Tensor, causal: bool) -> Iterator[_Block]:
    """The parts of a batch that go through attention together; keys before the first query are a prefix."""
    rows, heads, asked, width = query.shape
    groups, known = key.shape[1:3]
    together = max(1, SCORES // (heads * asked * known)) if asked <= BLOCK else 1
    for row in range(0, rows, together):
        some = slice(row, min(row + together, rows))
        for start in range(0, asked, BLOCK):
            stop = min(start + BLOCK, asked)
            seen = known - asked + stop if causal else known
            yield _Block(some, slice(start, stop), seen, groups, (some.stop - row, heads, stop - start, width))


def attention(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers calls it: query [B, H, T, d] -> [B, T, H, d]. `dropout` must be 0."""
    assert dropout == 0.0
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # A language model's mask also hides what comes later; where it is missing, nothing would.
    causal = bool(getattr(module, "is_causal", False)) and attention_mask is not None
    return _Attention.apply(query, key, value, attention_mask, scale, causal).transpose(1, 2), None


AttentionInterface.register(ATTENTION, attention)
AttentionMaskInterface.register(ATTENTION, eager_mask)


@contextlib.contextmanager
def lean_training(model: Any, base: Any) -> Iterator[None]:
    """Lean layers in `model`, the base model `base` or a peft model around it; on a CPU lean attention, too."""
    stock = base.device.type == "cpu" and base.config._attn_implementation == "sdpa"
    rows = stock and base.config.model_type in PLAIN_ATTENTION
    with lean(model), using_attention(base, ATTENTION, where=rows):
        yield


@contextlib.contextmanager
def lean(model: Any) -> Iterator[int]:
    """Use the steps above inside `model` for as long as the context lasts; yields how many modules take part."""
    changed: list[nn.Module] = []
    try:
        for module in model.modules():
            forward = _lean_forward(module)
            if forward is not None:
                module.forward = forward
                changed.append(module)
        yield len(changed)
    finally:
        for module in changed:
            del module.forward  # the class's own again


def _lean_forward(module: Any) -> Callable[..., Any] | None:
    if isinstance(module, LoraLinear):
        return _lora_forward(module)
    if type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon"):
        return lambda x: _RmsNorm.apply(x, module.weight, module.variance_epsilon)
    parts = ("gate_proj", "up_proj", "down_proj", "act_fn")
    if type(module).__name__.endswith("MLP") and all(hasattr(module, part) for part in parts):
        if not isinstance(module.act_fn, nn.SiLU) and type(module.act_fn).__name__ != "SiLUActivation":
            return None
        return lambda x: module.down_proj(_Gated.apply(module.gate_proj(x), module.up_proj(x)))
    return None


def _lora_forward(module: LoraLinear) -> Callable[..., Any] | None:
    """None for what is more than one LoRA or DoRA on a frozen linear layer: dropout, other types of numbers."""
    names = list(module.lora_A.keys())
    base = module.base_layer
    if len(names) != 1 or not isinstance(base, nn.Linear) or base.weight.requires_grad:
        return None
    name = names[0]
    dora = isinstance(module.lora_variant.get(name), DoraLinearVariant)
    if module.lora_variant and not dora:
        return None
    down, up = module.lora_A[name], module.lora_B[name]
    trained = [down.weight, up.weight, *([module.lora_magnitude_vector[name].weight] if dora else [])]
    plain = isinstance(module.lora_dropout[name], nn.Identity) and up.bias is None
    if not plain or {weight.dtype for weight in trained} != {base.weight.dtype}:
        return None
    stock, scale = module.forward, module.scaling[name]
    norms = _RowNorms(scale) if dora else None

    def forward(x: torch.Tensor) -> Any:
        if module.disable_adapters or module.merged:
            return stock(x)
        if norms is None:
            return _Lora.apply(x, base.weight, base.bias, down.weight, up.weight, scale)
        share = module.lora_magnitude_vector[name].weight / norms.of(base.weight, down.weight, up.weight)
        return _Dora.apply(x, base.weight, base.bias, down.weight, up.weight, share, scale)

    return forward
