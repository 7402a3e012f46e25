"""`Follower`: a causal language model that is told what to do, before and after tuning on instructions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from preceptor.errors import DataError
from preceptor.models.answers import answer_logprobs
from preceptor.models.chat import Form, Said, make_form
from preceptor.models.load import Loaded, load_causal
from preceptor.models.student import Probe, restored, room_beside
from preceptor.records import Instruction


@dataclass(frozen=True, slots=True)
class Shown:
    """An instruction as a model reads it."""

    item: Instruction
    """With what was left of its input."""
    prompt: tuple[int, ...]
    """Token ids."""
    cut: bool
    """Whether the input lost words."""


@dataclass
class Follower:
    """A language model that follows instructions."""

    loaded: Loaded
    """The base model, its tokenizer and its device."""
    model: Any
    """What is called: the base model itself, or a peft model around it."""
    form: Form
    """How instructions are shown: `form.name` is `chat` or `alpaca`."""
    limit: int
    """Tokens that prompt and answer may have together, so that virtual tokens fit beside them."""
    head: ClassVar[str] = "causal"

    def length(self, text: str) -> int:
        """Tokens of a plain text, special tokens included."""
        return len(self.loaded.tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"])

    def shorten(self, item: Instruction, prompt: Sequence[int], room: int) -> Shown | None:
        """`item` in at most `limit - room` tokens; None where even an empty input leaves it too long.

        `prompt` is what `form.prompt_ids` gives for it, `room` the tokens that the answer needs. Words are taken from
        the start of the input, as `Task.render_within` does: what is asked about stands at its end more often.
        """
        most = self.limit - room
        if len(prompt) <= most:
            return Shown(item, tuple(prompt), cut=False)
        text = item.input.strip()
        starts = [found.start() for found in re.finditer(r"\S+", text)]

        def without(words: int) -> tuple[Instruction, list[int]]:
            rest = replace(item, input=text[starts[words] :] if words < len(starts) else "")
            return rest, self.form.prompt_ids([rest])[0]

        low, high = 0, len(starts)
        if len(without(high)[1]) > most:
            return None
        while low < high:  # without the first `high` words it always fits
            middle = (low + high) // 2
            if len(without(middle)[1]) <= most:
                high = middle
            else:
                low = middle + 1
        rest, ids = without(high)
        return Shown(rest, tuple(ids), cut=True)

    def show(self, items: Sequence[Instruction], rooms: Sequence[int]) -> list[Shown]:
        """Prompts of items that are answered, `rooms[i]` tokens kept free for the answer to each.

        Raises `DataError` for an item whose instruction and answer alone do not fit.
        """
        shown = []
        for item, prompt, room in zip(items, self.form.prompt_ids(items), rooms, strict=True):
            fitting = self.shorten(item, prompt, room)
            if fitting is None:
                raise DataError(
                    f"Item {item.id}: the instruction and {room} tokens of answer do not fit into {self.limit} tokens, "
                    "even with an empty input.",
                    "Raise train.max_length, or choose a student with a longer window.",
                )
            shown.append(fitting)
        return shown

    def said(self, shown: Sequence[Shown], answers: Sequence[str]) -> list[Said]:
        """Token ids of one answer to each of `shown`."""
        return self.form.answer_ids([s.item for s in shown], [s.prompt for s in shown], answers)

    def logprobs(self, prompts: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> np.ndarray:
        """Mean log-probability per token of one answer to each prompt: float64 [prompts, 1]."""
        sums = answer_logprobs(self.model, self.loaded, prompts, targets)
        return (sums / np.array([len(target) for target in targets]))[:, None]


def open_follower(name: str, form: str, *, max_length: int, reserve: int, dtype: str, seed: int) -> Follower:
    """Load a model that has not been tuned.

    `form` is `auto`, `chat` or `alpaca`; `reserve` counts positions that the method takes (virtual tokens). Raises
    `ModelError` when the form cannot be used, and `RecipeError` when `max_length` and `reserve` do not fit the model's
    window together.
    """
    torch.manual_seed(seed)
    loaded = load_causal(name, dtype)
    return Follower(loaded, loaded.model, make_form(loaded, form), room_beside(loaded, max_length, reserve))


def restore_follower(follower: Follower, folder: Path) -> Follower:
    """Put what `save` (student.py) wrote onto a freshly opened follower, and prove it works; raises as `restore`."""

    def answers(found: Follower, probe: Probe) -> np.ndarray:
        return found.logprobs(probe.prompts, probe.targets)

    return restored(follower, folder, answers)
