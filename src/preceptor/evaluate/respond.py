"""Answers of a follower to a benchmark: by the likelihood of each option, or by writing a text that is parsed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from preceptor.config import MeasureSettings
from preceptor.data.benchmark import Benchmark
from preceptor.errors import DataError
from preceptor.models.answers import option_logprobs
from preceptor.models.follower import Follower, Shown
from preceptor.models.generate import write
from preceptor.models.score import normalised
from preceptor.records import Instruction, Outcome, Reading, Response

CHUNK = 64
"""Items between two reports of progress when options are compared."""
OnProgress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Responded:
    """Responses to all items, in their order, and how many prompts had to be shortened."""

    responses: list[Response]
    cut: int


def respond(
    follower: Follower,
    benchmark: Benchmark,
    items: Sequence[Instruction],
    settings: MeasureSettings,
    on_progress: OnProgress | None = None,
) -> Responded:
    """Answer every item of the benchmark, with the follower's own form of prompt and without chance.

    Raises `DataError` for an item that does not fit, and for one without options that is to be read by likelihood.
    """
    said = on_progress or (lambda _done: None)
    if benchmark.read == "likelihood":
        return _by_likelihood(follower, items, said)
    return _by_generation(follower, benchmark, items, settings.batch_size, said)


def _by_likelihood(follower: Follower, items: Sequence[Instruction], said: OnProgress) -> Responded:
    """The option that is likeliest as the assistant's answer: the sum over its tokens, its end mark left out.

    Not normalised by length, as lm-evaluation-harness does for `acc`.
    """
    for item in items:
        if len(item.options) < 2:
            raise DataError(
                f"Item {item.id} has {len(item.options)} options; reading by likelihood compares at least two.",
                'Use read = "generation" for this benchmark.',
            )
    options = _option_ids(follower, items)
    shown = follower.show(items, [max(map(len, own)) for own in options])
    responses: dict[int, Response] = {}
    order = _longest_first(shown)
    for start in range(0, len(order), CHUNK):
        numbers = order[start : start + CHUNK]
        found = option_logprobs(
            follower.model, follower.loaded, [shown[n].prompt for n in numbers], [options[n] for n in numbers]
        )
        for number, logs in zip(numbers, found, strict=True):
            responses[number] = _chosen(items[number], logs)
        said(len(responses))
    return Responded([responses[n] for n in range(len(items))], sum(s.cut for s in shown))


def _option_ids(follower: Follower, items: Sequence[Instruction]) -> list[list[tuple[int, ...]]]:
    """Token ids of each item's options as they follow its prompt."""
    prompts = follower.form.prompt_ids(items)
    pairs = [(number, option) for number, item in enumerate(items) for option in item.options]
    said = follower.form.answer_ids(
        [items[n] for n, _ in pairs], [prompts[n] for n, _ in pairs], [option for _, option in pairs]
    )
    found: list[list[tuple[int, ...]]] = [[] for _ in items]
    for (number, _), answer in zip(pairs, said, strict=True):
        found[number].append(answer.words)
    for item, own in zip(items, found, strict=True):
        if len(set(own)) < len(own) or not all(own):
            raise DataError(
                f"Item {item.id}: two of its options are the same tokens to {follower.loaded.name}, or one is none.",
                'Use read = "generation" for this benchmark.',
            )
    return found


def _chosen(item: Instruction, logs: np.ndarray) -> Response:
    probabilities = tuple(round(float(value), 6) for value in normalised(logs[None])[0])
    return Response(item.id, Reading(Outcome.ANSWERED, choice=int(logs.argmax())), probabilities=probabilities)


def _by_generation(
    follower: Follower, benchmark: Benchmark, items: Sequence[Instruction], batch_size: int, said: OnProgress
) -> Responded:
    """The most probable token each time; rows that are finished leave their batch (`write`)."""
    shown = follower.show(items, [benchmark.max_tokens] * len(items))
    loaded = replace(follower.loaded, model=follower.model)
    responses: dict[int, Response] = {}
    order = _longest_first(shown)
    for start in range(0, len(order), batch_size):
        numbers = order[start : start + batch_size]
        prompts = [shown[n].prompt for n in numbers]
        written = write(loaded, prompts, seeds=[0] * len(numbers), max_tokens=benchmark.max_tokens)
        for number, answer in zip(numbers, written, strict=True):
            text = answer.text.strip()
            reading = benchmark.parse(items[number], text, answer.finish)
            responses[number] = Response(items[number].id, reading, text=text)
        said(len(responses))
    return Responded([responses[n] for n in range(len(items))], sum(s.cut for s in shown))


def _longest_first(shown: Sequence[Shown]) -> list[int]:
    """Numbers of items in batches of similar length; what does not fit into memory shows at once."""
    return sorted(range(len(shown)), key=lambda n: (-len(shown[n].prompt), n))
