"""The frozen part below the trained layers, computed once per text and kept on disk.

When only the last K of L layers are trained, what enters the first of them never changes: `Trunk` keeps it, for each
row of token ids, in memory-mapped files, and the model then starts there. A step costs 2 K passes through a layer
(forward and backward) instead of L + K, so an epoch is up to (L + K) / 2 K times faster after the first one; seeds,
arms and points of a sweep that share a folder share the work.

    first time a row is seen    embeddings -> layer 1 .. L-K -> written to the folder
    every time                  read from the folder -> layer L-K+1 .. L -> head

Rows are padded on the right, so a real position never depends on the padding: in float32 the result equals that of
the whole model up to the order of sums.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from preceptor.models.layers import check_count, layers_of
from preceptor.models.load import Loaded
from preceptor.models.score import BATCH_TOKENS, by_length, pad
from preceptor.store.stages import write_json, writing

Key = bytes
"""Hash of a row's token ids."""


class HiddenStates:
    """Hidden states of rows in a folder: pairs of a file of numbers and an index. Several processes may add to it."""

    def __init__(self, folder: Path, width: int, dtype: torch.dtype) -> None:
        self.folder, self.width, self.dtype = folder, width, dtype
        self._known: dict[Key, tuple[torch.Tensor, int, int]] = {}
        for index in sorted(folder.glob("*.json")):
            self._open(index)

    def __contains__(self, key: Key) -> bool:
        return key in self._known

    def __getitem__(self, key: Key) -> torch.Tensor:
        """[tokens, width], memory-mapped."""
        states, start, length = self._known[key]
        return states[start : start + length]

    def add(self, rows: Sequence[tuple[Key, torch.Tensor]]) -> None:
        """Keep rows of [tokens, width]. The index is written last, so that a pair that exists is complete."""
        name = uuid.uuid4().hex[:12]
        flat = torch.cat([states for _, states in rows]).to(self.dtype).cpu().contiguous()
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            flat.view(torch.uint8).numpy().tofile(self.folder / f"{name}.bin")
        starts = np.cumsum([0, *(len(states) for _, states in rows)])
        index = {key.hex(): [int(starts[i]), len(states)] for i, (key, states) in enumerate(rows)}
        write_json(self.folder / f"{name}.json", index)
        self._open(self.folder / f"{name}.json")

    def _open(self, index: Path) -> None:
        numbers = index.with_suffix(".bin")
        if not numbers.exists():
            return
        # Copy-on-write, because torch warns of arrays that it may not write to.
        states = torch.from_numpy(np.memmap(numbers, dtype=np.uint8, mode="c")).view(self.dtype).view(-1, self.width)
        for key, (start, length) in json.loads(index.read_text(encoding="utf-8")).items():
            self._known[bytes.fromhex(key)] = (states, start, length)


class _ReachedError(Exception):
    """Carries the hidden states out of a forward pass that need not go on."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.states = states


class Trunk:
    """Puts the kept hidden states in the place of the lower layers of `loaded.model`, until `remove` is called.

    Works through hooks, so the model may be wrapped by peft before or afterwards. A pass that fills a key-value cache
    (`use_cache` not False in a language model) is left alone, because the cache needs every layer.
    """

    def __init__(self, loaded: Loaded, last: int, folder: Path) -> None:
        """Keep what enters the last `last` layers in a folder of its own below `folder`.

        Raises `RecipeError` when the model has fewer layers.
        """
        check_count(loaded.model, last)
        self._loaded = loaded
        self._inner = loaded.model.base_model
        _, layers = layers_of(loaded.model)
        self._lower = list(layers)[: len(layers) - last]
        self._causal = hasattr(loaded.model, "generate") and loaded.model.can_generate()
        place = folder / _identity(loaded, list(layers)[len(self._lower) :])
        self.kept = HiddenStates(place, loaded.model.config.hidden_size, loaded.dtype)
        self._mode = ""
        self._states: torch.Tensor | None = None
        self._forwards = [layer.forward for layer in self._lower]
        for layer, forward in zip(self._lower, self._forwards, strict=True):
            layer.forward = self._passing(forward)
        first = layers[len(self._lower)]
        self._hooks = [
            self._inner.register_forward_pre_hook(self._before_model, with_kwargs=True),
            self._inner.register_forward_hook(self._after_model, always_call=True),
            first.register_forward_pre_hook(self._before_first),
        ]

    def remove(self) -> None:
        """Give the model its lower layers back."""
        for hook in self._hooks:
            hook.remove()
        for layer, forward in zip(self._lower, self._forwards, strict=True):
            layer.forward = forward

    def _passing(self, forward: Callable[..., Any]) -> Callable[..., Any]:
        def run(states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            return states if self._mode == "swap" else forward(states, *args, **kwargs)

        return run

    def _before_model(self, _model: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._mode or (self._causal and kwargs.get("use_cache") is not False):
            return
        ids = args[0] if args else kwargs.get("input_ids")
        mask = args[1] if len(args) > 1 else kwargs.get("attention_mask")
        if ids is None or mask is None:
            return
        # One transfer for all rows: on an accelerator each would wait for all that is under way there.
        rows = [row[: int(n)].tolist() for row, n in zip(ids.cpu(), mask.sum(dim=1).cpu(), strict=True)]
        keys = [_key(row) for row in rows]
        missing = {key: row for key, row in zip(keys, rows, strict=True) if key not in self.kept}
        if missing:
            self._compute(missing)
        states = torch.zeros((*ids.shape, self.kept.width), dtype=self.kept.dtype)
        for place, key in enumerate(keys):
            states[place, : len(rows[place])] = self.kept[key]
        self._states, self._mode = states.to(ids.device), "swap"

    def _after_model(self, _model: Any, _args: Any, _output: Any) -> None:
        if self._mode == "swap":
            self._mode, self._states = "", None

    def _before_first(self, _layer: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._mode == "capture":
            raise _ReachedError(args[0])
        return (self._states, *args[1:]) if self._mode == "swap" else None

    @torch.no_grad()
    def _compute(self, missing: dict[Key, list[int]]) -> None:
        keys = list(missing)
        loaded = self._loaded
        self._mode = "capture"
        try:
            for batch in by_length([len(missing[key]) for key in keys], BATCH_TOKENS):
                rows = [missing[keys[i]] for i in batch]
                padded = pad(rows, loaded.tokenizer.pad_token_id, loaded.device)
                states = self._capture(padded.ids, padded.mask)
                # Cloned, because what is made in inference mode may not be used outside it.
                self.kept.add([(keys[i], states[k, : len(rows[k])].clone()) for k, i in enumerate(batch)])
        finally:
            self._mode = ""

    def _capture(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        cache = {"use_cache": False} if self._causal else {}
        try:
            self._inner(input_ids=ids, attention_mask=mask, **cache)
        except _ReachedError as reached:
            return reached.states
        raise AssertionError("the first trained layer was not called")


def _key(row: Sequence[int]) -> Key:
    return hashlib.blake2b(np.asarray(row, dtype=np.int64).tobytes(), digest_size=16).digest()


def _identity(loaded: Loaded, trained: Sequence[torch.nn.Module]) -> str:
    """Hash of all weights but those of the `trained` layers, of the configuration and of the number format."""
    digest = hashlib.blake2b(digest_size=16)
    settings = {k: v for k, v in loaded.model.config.to_dict().items() if not k.startswith("_")}
    digest.update(json.dumps([settings, str(loaded.dtype), len(trained)], sort_keys=True, default=str).encode())
    own = {id(weight) for layer in trained for weight in layer.parameters()}
    for name, weight in loaded.model.base_model.named_parameters():
        if id(weight) not in own:
            digest.update(name.encode())
            digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy())
    return digest.hexdigest()
