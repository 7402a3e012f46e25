"""How an instruction is shown to a causal language model: by its tokenizer's chat template, or in Alpaca's form.

One object renders what the model reads and what it is to say, so what is trained is what it is later asked.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import jinja2

from preceptor.errors import ModelError
from preceptor.models.generate import end_ids
from preceptor.models.load import Loaded
from preceptor.models.score import encode_target
from preceptor.records import Instruction, user_text

ALPACA = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
"""The wording of Stanford Alpaca (Taori et al. 2023, github.com/tatsu-lab/stanford_alpaca, train.py, `PROMPT_DICT`),
word for word: models tuned by it and by its many followers expect it. The answer follows the colon directly."""


@dataclass(frozen=True, slots=True)
class Said:
    """An answer as token ids."""

    words: tuple[int, ...]
    """The answer itself, with what the template puts before it."""
    end: tuple[int, ...]
    """The mark that ends it. What a template writes after the mark is left out: nobody ever generates it."""

    @property
    def target(self) -> tuple[int, ...]:
        """What training teaches."""
        return self.words + self.end


class Form(ABC):
    """A way of showing instructions to one model."""

    name: ClassVar[str]
    special: ClassVar[bool]
    """Whether the tokenizer puts its own special tokens around the text; a chat template writes them itself."""

    def __init__(self, loaded: Loaded) -> None:
        self._tokenizer: Any = loaded.tokenizer
        self._ends = end_ids(loaded)

    @abstractmethod
    def prompt(self, item: Instruction) -> str:
        """What the model reads before it answers."""

    @abstractmethod
    def whole(self, item: Instruction, answer: str) -> str:
        """The prompt and the answer to it, as training shows them; it begins with the prompt."""

    def prompt_ids(self, items: Sequence[Instruction]) -> list[list[int]]:
        """Token ids of prompts."""
        return self._ids([self.prompt(item) for item in items])

    def answer_ids(
        self, items: Sequence[Instruction], prompts: Sequence[Sequence[int]], answers: Sequence[str]
    ) -> list[Said]:
        """Token ids of `answers` as they follow `prompts` (which are `prompt_ids` of the items).

        White space around an answer is dropped. Raises `ModelError` where the template writes an answered question
        otherwise than the question alone: what was trained would not be what is asked.
        """
        starts = [self.prompt(item) for item in items]
        texts = [self.whole(item, answer.strip()) for item, answer in zip(items, answers, strict=True)]
        for start, text in zip(starts, texts, strict=True):
            if not text.startswith(start):
                raise self._drifts()
        found = []
        for start, text, prompt, ids in zip(starts, texts, prompts, self._ids(texts), strict=True):
            # Where the answer's first letters would join the prompt's last token, the answer stands for itself.
            joined = ids[: len(prompt)] == list(prompt)
            found.append(
                self._cut(ids[len(prompt) :] if joined else encode_target(self._tokenizer, text[len(start) :]))
            )
        return found

    def _cut(self, tail: list[int]) -> Said:
        """Cut what stands after the prompt at the last mark that ends an answer."""
        last = max((i for i, token in enumerate(tail) if token in self._ends), default=None)
        if last is None:
            return Said(tuple(tail), (int(self._tokenizer.eos_token_id),))
        return Said(tuple(tail[:last]), (tail[last],))

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        # Not verbose: whether a text is too long is asked later, and not a reason to warn.
        found = self._tokenizer(list(texts), add_special_tokens=self.special, verbose=False)["input_ids"]
        return [list(ids) for ids in found]

    def _drifts(self) -> ModelError:
        return ModelError(
            "The chat template writes a conversation with an answer otherwise than the same conversation before the "
            "answer, so a student would be trained on other prompts than it is asked.",
            'Use form = "alpaca" for this student, or mend its chat template.',
        )


class Alpaca(Form):
    """Alpaca's form, for models without a chat template."""

    name = "alpaca"
    special = True

    def prompt(self, item: Instruction) -> str:
        """Alpaca's wording, with or without an input."""
        wording = ALPACA_WITH_INPUT if item.input.strip() else ALPACA
        return wording.format(instruction=item.instruction.strip(), input=item.input.strip())

    def whole(self, item: Instruction, answer: str) -> str:
        """The answer stands directly after the colon."""
        return self.prompt(item) + answer


class Chat(Form):
    """The tokenizer's own chat template; a system message that it adds by itself stays."""

    name = "chat"
    special = False

    def prompt(self, item: Instruction) -> str:
        """One question of a user, up to where the assistant's turn begins."""
        return self._render([_turn("user", user_text(item))], add_generation_prompt=True)

    def whole(self, item: Instruction, answer: str) -> str:
        """The question and the assistant's answer."""
        return self._render([_turn("user", user_text(item)), _turn("assistant", answer)], add_generation_prompt=False)

    def _render(self, turns: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=add_generation_prompt)
            )
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise ModelError(
                f"The chat template cannot show an instruction: {(str(error).splitlines() or [''])[0][:200]}",
                'Use form = "alpaca" for this student.',
            ) from error


def _turn(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def make_form(loaded: Loaded, asked: str) -> Form:
    """`chat`, `alpaca`, or for `auto` the chat template where the tokenizer has one.

    Raises `ModelError` when there is no template to use, or none that can be trained with.
    """
    templated = loaded.tokenizer.chat_template is not None
    if asked == "chat" and not templated:
        raise ModelError(
            f"The tokenizer of {loaded.name} has no chat template.",
            'Use form = "alpaca" for this student, or add chat_template to its tokenizer_config.json.',
        )
    form: Form = Alpaca(loaded) if asked == "alpaca" or not templated else Chat(loaded)
    probe = [Instruction("probe", "Say yes.", "", "yes", "other")]
    form.answer_ids(probe, form.prompt_ids(probe), ["yes"])
    return form
