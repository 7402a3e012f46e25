"""Continued training of a causal language model on documents: packed windows, the loss of every token, merged weights.

Documents are joined, with end-of-text after each, and cut into windows: a window of `length` tokens is read, and each
of its tokens predicts the next one, the last the first token of the window after it. So every token of every document
is predicted once in a pass, most of them with much text before them, some of it of another document.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from preceptor.config import TrainSettings
from preceptor.errors import RecipeError
from preceptor.models.answers import answer_logprobs
from preceptor.models.documents import IGNORED, document_losses, opening, sum_of_losses, text_ids
from preceptor.models.load import Loaded, head_of, load_causal
from preceptor.models.merge import merged
from preceptor.models.score import pad
from preceptor.models.student import Probe, read_probe, restored, save, save_weights
from preceptor.store.stages import write_json
from preceptor.train.batches import TrainingItem, count_steps, stream
from preceptor.train.cell import FIT, PROBES, OnStart
from preceptor.train.course import Check, Fitted
from preceptor.train.loop import Batch, Objective, OnStep, accumulate, check_points, descend
from preceptor.train.methods import attach, describe
from preceptor.train.parallel import team, together
from preceptor.train.upkeep import Upkeep

PROBE_TOKENS = 32
"""Of a validation document: the first half is the prompt of a probe, the second its answer."""
ADAPTED = "adapted.json"
"""What an adapted model was made from, beside its weights."""


@dataclass
class Reader:
    """A causal language model that reads documents."""

    loaded: Loaded
    model: Any
    """What is called: the base model itself, or a peft model around it."""

    @property
    def head(self) -> str:
        """Always `causal`."""
        return "causal"

    def length(self, text: str) -> int:
        """Tokens of a text."""
        return len(text_ids(self.loaded.tokenizer, [text])[0])


def open_reader(name: str, *, length: int, dtype: str, seed: int) -> Reader:
    """Load a model that is to read windows of `length` tokens.

    Raises `RecipeError` for an encoder, and where a window is longer than the model sees.
    """
    if head_of(name, "auto") != "causal":
        raise RecipeError(
            f"The model {name} is an encoder; continued training on text needs a causal language model.",
            "Name another model as adapt.model.",
        )
    torch.manual_seed(seed)
    loaded = load_causal(name, dtype)
    if length > loaded.window:
        raise RecipeError(
            f"adapt.length = {length} is more than {name} can see, {loaded.window} tokens.",
            f"Lower adapt.length to {loaded.window} or less.",
        )
    return Reader(loaded, loaded.model)


def pack(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], length: int) -> list[TrainingItem]:
    """Windows of `length` tokens over all documents in their order, the last one shorter.

    An item's prompt is what is read, its target the one token that comes after it.
    """
    begin, end = opening(tokenizer), int(tokenizer.eos_token_id)
    tokens = [end]
    for ids in text_ids(tokenizer, texts):
        tokens += [*begin, *ids, end]
    cuts = [tokens[start : start + length + 1] for start in range(0, len(tokens) - 1, length)]
    return [TrainingItem(tuple(cut[:-1]), (cut[-1],)) for cut in cuts]


def window_loss(reader: Reader, batch: Batch) -> torch.Tensor:
    """Sum over all tokens of the batch's windows of the negative log-likelihood of the next one: float32 scalar."""
    padded = pad([item.prompt for item in batch], reader.loaded.tokenizer.pad_token_id, reader.loaded.device)
    wanted = torch.full(padded.ids.shape, IGNORED)
    for row, item in enumerate(batch):
        wanted[row, : item.length] = torch.tensor([*item.prompt[1:], *item.target])
    return sum_of_losses(reader.model, padded, wanted.to(reader.loaded.device))


def objective(reader: Reader, validation: Sequence[str], length: int, settings: TrainSettings, steps: int) -> Objective:
    """Mean negative log-likelihood of a token: of the windows in training, of whole documents on validation.

    With `select = "last"` validation is looked at only at the end.
    """
    return Objective(
        partial(_gradients, reader),
        partial(_check, reader, validation, length),
        check_points(steps, settings) if settings.select == "loss" else frozenset({steps}),
        bound="adapt.length",
    )


def _gradients(reader: Reader, batches: Sequence[Batch], fitted: Fitted) -> float:
    count = sum(item.length for batch in batches for item in batch)
    return accumulate(batches, team().divisor(count), partial(window_loss, reader), fitted)


def _check(reader: Reader, validation: Sequence[str], length: int, step: int) -> Check:
    tokens, losses = document_losses(reader.model, reader.loaded, validation, length)
    return Check(step, loss=float(losses.sum() / tokens.sum()))


@together
def adapt(
    folder: Path,
    model: str,
    settings: TrainSettings,
    train: Sequence[str],
    validation: Sequence[str],
    *,
    length: int,
    seed: int,
    on_step: OnStep | None = None,
    on_start: OnStart | None = None,
    upkeep: Upkeep | None = None,
) -> None:
    """Train on the texts and write weights, probe and `fit.json` into `folder`.

    `on_start` takes the number of windows and of optimiser steps. Raises as `open_reader` and `descend`.
    """
    untrained = open_reader(model, length=length, dtype=settings.dtype, seed=seed)
    prompts, targets = _probes(untrained, validation[:PROBES])
    before = _said(untrained, Probe(prompts, [], [], targets))
    torch.manual_seed(seed)
    reader = attach(untrained, settings)
    windows = pack(reader.loaded.tokenizer, train, length)
    steps = count_steps(windows, settings)
    if on_start is not None:
        on_start(len(windows), steps)
    fitted = descend(
        reader,
        stream(windows, settings, seed),
        objective(reader, validation, length, settings, steps),
        settings,
        steps=steps,
        seed=seed,
        on_step=on_step,
        upkeep=upkeep,
    )
    probe = Probe(prompts, before.tolist(), _said(reader, Probe(prompts, [], [], targets)).tolist(), targets)
    save(reader, folder, probe)
    record = {"windows": len(windows), "pass_tokens": sum(window.length for window in windows)}
    write_json(folder / FIT, {**asdict(fitted), **record})


def merge(
    folder: Path, target: Path, model: str, settings: TrainSettings, *, length: int, seed: int, made: dict[str, Any]
) -> None:
    """Write into `target` the plain model that the weights `adapt` left in `folder` make, with its tokenizer.

    An adapter is added to the model in float32 and saved so: in bfloat16 a small change of a weight would be rounded
    away. `made` is what a reader of the folder may want to know of it.

    Raises `InactiveAdapterError` where the weights change nothing, `ModelError` where the merged model answers the
    probe in another way than model and adapter.
    """
    reader = restored(open_reader(model, length=length, dtype=settings.dtype, seed=seed), folder, _said)
    if settings.method != "full":
        wide, probe = open_reader(model, length=length, dtype="float32", seed=seed), read_probe(folder)
        found = merged(wide.loaded, folder, lambda one: _said(replace(wide, model=one), probe))
        reader = replace(wide, model=found)
    save_weights(reader.model, target)
    reader.loaded.tokenizer.save_pretrained(target)
    write_json(target / ADAPTED, {"model": model, "method": describe(settings), **made})


def _probes(reader: Reader, texts: Sequence[str]) -> tuple[list[list[int]], list[list[int]]]:
    """The start of each text as token ids: prompts, and what comes after them."""
    tokenizer = reader.loaded.tokenizer
    begin = opening(tokenizer) or [int(tokenizer.eos_token_id)]
    starts = [[*begin, *ids[:PROBE_TOKENS]] for ids in text_ids(tokenizer, texts)]
    return [ids[: (len(ids) + 1) // 2] for ids in starts], [ids[(len(ids) + 1) // 2 :] for ids in starts]


def _said(reader: Reader, probe: Probe) -> np.ndarray:
    """Mean log-probability per token of each answer of a probe: float64 [prompts, 1]."""
    sums = answer_logprobs(reader.model, reader.loaded, probe.prompts, probe.targets)
    return (sums / np.array([len(target) for target in probe.targets]))[:, None]
