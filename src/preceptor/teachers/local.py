"""A teacher on this machine: any causal language model that transformers loads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from preceptor.config import TeacherSettings
from preceptor.errors import TeacherError, UnsupportedSettingError
from preceptor.records import Completion, Message, Request, Sampling
from preceptor.store.stages import made_by
from preceptor.teachers.base import Answer, Control
from preceptor.teachers.budget import Reservation

if TYPE_CHECKING:
    from preceptor.models.generate import Written
    from preceptor.models.load import Loaded

ACCEPTS = frozenset({"max_tokens", "temperature", "top_p", "repetition_penalty", "seed"})


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request and its token ids."""

    request: Request
    prompt: list[int]


class LocalTeacher:
    """Writes with `settings.model`, `settings.batch_size` answers at a time. The model is loaded when first asked.

    Without a temperature, or at 0, it takes the most probable words. Otherwise the draw depends on the sampling seed,
    the request's item and its draw, not on what is asked beside it.
    """

    def __init__(self, settings: TeacherSettings) -> None:
        self._settings = settings
        self._known_as = ":".join([settings.model, *made_by(settings.model).values()])
        self._loaded: Loaded | None = None

    @property
    def name(self) -> str:
        """The model's name or folder, as the recipe gives it."""
        return self._settings.model

    @property
    def accepts(self) -> frozenset[str]:
        """What generation with transformers takes."""
        return ACCEPTS

    def key(self, request: Request) -> str:
        """Hash of the request (item and draw are part of the noise) and of what made the model, where a run did."""
        return request.key(self._known_as)

    def answer(self, requests: Iterable[Request], control: Control | None = None) -> Iterator[Sequence[Answer]]:
        """Answer in chunks of prompts of similar length; a chunk is a group.

        The order depends on the requests alone and a chunk is stored as a whole, so a run that was killed goes on with
        the same chunks. Raises `ModelError` when the model cannot be loaded, `TeacherError` when a chunk does not fit
        into memory, and `UnsupportedSettingError` for `top_p` without a temperature.
        """
        control, requests = control or Control(), list(requests)
        _refuse_idle_top_p(self.name, requests)
        loaded = self.loaded()
        asked = [_Asked(request, _prompt(loaded, request.messages)) for request in requests]
        too_long = [a.request for a in asked if len(a.prompt) + a.request.sampling.max_tokens > loaded.window]
        if too_long:
            yield [Answer(request, error=_too_long(loaded)) for request in too_long]
        fitting = [a for a in asked if len(a.prompt) + a.request.sampling.max_tokens <= loaded.window]
        for chunk in _chunks(fitting, self._settings.batch_size):
            rooms = _reserve(control, chunk)
            if control.stopped:
                return
            answers = self._write(loaded, chunk)
            for room, answer in zip(rooms, answers, strict=True):
                if answer.completion is not None:
                    control.budget.settle(room, answer.completion)
            yield [replace(answer, ticket=room.ticket) for room, answer in zip(rooms, answers, strict=True)]

    @property
    def window(self) -> int:
        """Tokens that the model sees, the answer included. Loads it; raises `ModelError`."""
        return self.loaded().window

    def tokens(self, messages: Sequence[Message]) -> int:
        """Tokens of a conversation as the model reads it. Loads it; raises `ModelError`."""
        return len(_prompt(self.loaded(), messages))

    def loaded(self) -> Loaded:
        """The model, loaded when it is first wanted. Raises `ModelError` when it cannot be."""
        if self._loaded is None:
            from preceptor.models.load import load_causal

            self._loaded = load_causal(self._settings.model)
        return self._loaded

    def unload(self) -> None:
        """Let go of the model."""
        self._loaded = None

    def _write(self, loaded: Loaded, chunk: list[_Asked]) -> list[Answer]:
        import torch

        from preceptor.models.generate import write

        sampling = chunk[0].request.sampling  # a chunk's requests differ in nothing but the seed
        try:
            written = write(
                loaded,
                [a.prompt for a in chunk],
                seeds=[_row_seed(a.request) for a in chunk],
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                repetition_penalty=sampling.repetition_penalty,
            )
        except torch.OutOfMemoryError as error:
            raise TeacherError(
                f"{self.name} ran out of memory with {len(chunk)} answers of {sampling.max_tokens} tokens at a time.",
                "Lower teacher.batch_size or teacher.max_tokens; what was answered is kept.",
            ) from error
        return [Answer(a.request, completion=_completion(w)) for a, w in zip(chunk, written, strict=True)]


def _reserve(control: Control, chunk: list[_Asked]) -> list[Reservation]:
    """Room in the budget for the whole chunk: a restart must form the same chunks, so it is written whole or not."""
    rooms: list[Reservation] = []
    for a in chunk:
        room = (
            None
            if control.stopped
            else control.budget.reserve(a.request.item, len(a.prompt), a.request.sampling.max_tokens)
        )
        if room is None:
            for taken in rooms:
                control.budget.release(taken)
            control.stopped = control.stopped or "budget"
            return []
        rooms.append(room)
    return rooms


def _refuse_idle_top_p(name: str, requests: Sequence[Request]) -> None:
    if any(request.sampling.top_p is not None and not request.sampling.temperature for request in requests):
        raise UnsupportedSettingError(
            f"The teacher {name} cannot use top_p without a temperature; nothing was asked.",
            "Set teacher.temperature, or remove teacher.top_p.",
        )


def _prompt(loaded: Loaded, messages: Sequence[Message]) -> list[int]:
    """Token ids of the conversation: by the model's chat template, or for a plain model the texts one after another."""
    tokenizer: Any = loaded.tokenizer
    if tokenizer.chat_template is None:
        text = "\n\n".join(message.content for message in messages) + "\n\n"
        return list(tokenizer(text)["input_ids"])
    turns = [{"role": message.role, "content": message.content} for message in messages]
    return list(_templated(tokenizer, turns))


def _templated(tokenizer: Any, turns: list[dict[str, str]]) -> Sequence[int]:
    import jinja2

    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": False}
    try:
        return tokenizer.apply_chat_template(turns, **options)
    except jinja2.TemplateError:
        # Some templates (Gemma, early Mistral) raise on a system turn; their authors put it before the first question.
        if len(turns) < 2 or turns[0]["role"] != "system":
            raise
        first = {"role": turns[1]["role"], "content": f"{turns[0]['content']}\n\n{turns[1]['content']}"}
        return tokenizer.apply_chat_template([first, *turns[2:]], **options)


def _too_long(loaded: Loaded) -> TeacherError:
    return TeacherError(
        f"The prompt and max_tokens do not fit into the {loaded.window} tokens that {loaded.name} sees.",
        "Lower teacher.max_tokens, or use a model with a longer window.",
    )


def _chunks(asked: list[_Asked], size: int) -> Iterator[list[_Asked]]:
    """Requests with equal settings and similar length, the longest first: what does not fit shows at once."""
    by_settings: dict[Sampling, list[_Asked]] = {}
    for a in asked:
        by_settings.setdefault(replace(a.request.sampling, seed=None), []).append(a)
    for alike in by_settings.values():
        alike.sort(key=lambda a: (-len(a.prompt), a.request.key("")))
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _row_seed(request: Request) -> int:
    """64 bits from the sampling seed, the item and the draw. No seed counts as 0: two runs agree."""
    text = f"{request.sampling.seed or 0}\n{request.item}\n{request.draw}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])


def _completion(written: Written) -> Completion:
    return Completion(written.text.strip(), written.finish, written.input_tokens, written.output_tokens)
