"""Prompt tuning right before the question or the answer: tokens that are added to the vocabulary and trained alone.

Stock peft puts virtual tokens only before everything. Dr. LLaMA puts them before the question, BioGPT's own recipe
before the answer. Here they are words of the prompt, which the task's rendering puts in its place (`marked` in
data/base.py), and peft's trainable tokens (TrainableTokensConfig) train their rows of the embedding and nothing else.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from peft import TrainableTokensConfig
from tokenizers import AddedToken

from preceptor.config import TrainSettings
from preceptor.errors import RecipeError
from preceptor.models.load import quiet
from preceptor.models.student import Student
from preceptor.records import VirtualTokens
from preceptor.train.methods.describe import in_text

WORD = "<|virtual-{}|>"


def with_tokens(student: Student, settings: TrainSettings) -> Student:
    """A freshly opened student that reads the method's tokens in its prompts; any other method's student as it is.

    They are in its tokenizer and its embedding from here on, starting as the tokens of a text or as random ones. What
    it writes never holds them. Raises `RecipeError` for what cannot read or train them.
    """
    if not in_text(settings):
        return student
    _refuse(student, settings)
    loaded, count = student.loaded, settings.virtual_tokens
    words = [WORD.format(number) for number in range(count)]
    loaded.tokenizer.add_tokens(
        [AddedToken(word, special=True, normalized=False) for word in words], special_tokens=True
    )
    ids = token_ids(student, count)
    source = _starting_ids(student, settings, before=min(ids))
    model: Any = loaded.model
    if max(ids) >= model.get_input_embeddings().weight.shape[0]:
        with quiet():
            model.resize_token_embeddings(max(ids) + 1, mean_resizing=False)
    with torch.no_grad():
        rows = model.get_input_embeddings().weight
        rows[ids] = rows[source]
        if not _tied(model):
            head = model.get_output_embeddings().weight
            head[ids] = head[: min(ids)].float().mean(dim=0).to(head.dtype)
    model.generation_config.suppress_tokens = ids
    before = settings.prompt_field if settings.prompt_position == "before-question" else None
    return replace(student, virtual=VirtualTokens("".join(words), before), limit=student.limit + count)


def token_ids(student: Student, count: int) -> list[int]:
    """Ids of the added tokens."""
    return [int(i) for i in student.loaded.tokenizer.convert_tokens_to_ids([WORD.format(n) for n in range(count)])]


def tokens_config(student: Student, settings: TrainSettings) -> TrainableTokensConfig:
    """What stock peft trains: the tokens' rows of the embedding, and of the output layer where it is one of its own."""
    model: Any = student.loaded.model
    layers = [model.get_input_embeddings()] + ([] if _tied(model) else [model.get_output_embeddings()])
    names = [name for layer in layers for name, module in model.named_modules() if module is layer]
    return TrainableTokensConfig(
        task_type="CAUSAL_LM",
        token_indices=token_ids(student, settings.virtual_tokens),
        # As one expression: for a list of names peft warns of tied layers, which it does tie for this method.
        target_modules="|".join(map(re.escape, names)),
    )


def repeated(ids: Sequence[int], count: int) -> list[int]:
    """`ids` over and over, `count` in all."""
    return list(itertools.islice(itertools.cycle(ids), count))


def _starting_ids(student: Student, settings: TrainSettings, *, before: int) -> list[int]:
    if settings.initialisation == "random":
        return torch.randint(0, before, (settings.virtual_tokens,)).tolist()
    return repeated(text_ids(student, settings), settings.virtual_tokens)


def text_ids(student: Any, settings: TrainSettings) -> list[int]:
    """Token ids of `initial_text`, without special tokens."""
    ids = student.loaded.tokenizer(settings.initial_text.strip(), add_special_tokens=False)["input_ids"]
    if not ids:
        raise RecipeError(
            "train.initial_text is empty, so no token can start from it.", 'Give a text, or initialisation = "random".'
        )
    return list(ids)


def _refuse(student: Student, settings: TrainSettings) -> None:
    position = f'train.prompt_position = "{settings.prompt_position}"'
    if student.head == "encoder":
        raise RecipeError(
            f"{position} needs a language model: peft trains added tokens, but not an encoder's head beside them.",
            'Use "start" for encoders.',
        )
    output = student.loaded.model.get_output_embeddings()
    if output is None or getattr(output, "bias", None) is not None:
        raise RecipeError(
            f"{position} cannot be had on {student.loaded.name}: peft's trainable tokens leave out the bias of its "
            "output layer.",
            'Use "start" for this student.',
        )


def _tied(model: Any) -> bool:
    return model.get_output_embeddings().weight is model.get_input_embeddings().weight
