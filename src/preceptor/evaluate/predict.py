"""Predictions of a student on items: by label likelihood, or by generating an answer and parsing it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from preceptor.config import EvaluateSettings
from preceptor.data.base import Task, marked, render_all
from preceptor.errors import RecipeError
from preceptor.evaluate.answers import read_answer
from preceptor.models.score import normalised
from preceptor.models.student import Student
from preceptor.records import Example, Prediction

CHUNK = 64
"""Items between two reports of progress."""


@dataclass(frozen=True, slots=True)
class Predicted:
    """Predictions of all items, and how many prompts had to be shortened."""

    predictions: list[Prediction]
    cut: int


def check_reading(head: str, settings: EvaluateSettings) -> None:
    """Refuse to let an encoder generate."""
    if settings.read == "generation" and head == "encoder":
        raise RecipeError(
            'evaluate.read = "generation" needs language models; an encoder has no words.',
            'Use evaluate.read = "likelihood", or only causal students.',
        )


def predict(
    student: Student,
    task: Task,
    examples: Sequence[Example],
    settings: EvaluateSettings,
    *,
    seed: int = 0,
    on_progress: Callable[[int], None] | None = None,
) -> Predicted:
    """Answer every item. `seed` matters for `beam-sample` only."""
    check_reading(student.head, settings)
    task = marked(task, student.virtual)
    rendered = render_all(task, examples, student.length, student.limit)
    predictions = answer(student, task, examples, rendered.prompts, settings, seed=seed, on_progress=on_progress)
    return Predicted(predictions, rendered.cut)


def answer(
    student: Student,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    settings: EvaluateSettings,
    *,
    seed: int = 0,
    until: str = "",
    on_progress: Callable[[int], None] | None = None,
) -> list[Prediction]:
    """Answer every item after its prompt. A generated answer ends where `until` stands in it, if that is given."""
    predictions: list[Prediction] = []
    for start in range(0, len(examples), CHUNK):
        part = prompts[start : start + CHUNK]
        items = examples[start : start + CHUNK]
        if settings.read == "likelihood":
            predictions += _by_likelihood(student, task, items, part)
        else:
            predictions += _by_generation(student, task, items, part, settings, seed + start, until)
        if on_progress is not None:
            on_progress(len(predictions))
    return predictions


def _by_likelihood(
    student: Student, task: Task, examples: Sequence[Example], prompts: Sequence[str]
) -> list[Prediction]:
    probabilities = normalised(student.logprobs(student.encode(prompts)))
    return [
        Prediction(
            example.id,
            example.label,
            task.labels[int(row.argmax())],
            probabilities=tuple(round(float(value), 6) for value in row),
        )
        for example, row in zip(examples, probabilities, strict=True)
    ]


def _by_generation(
    student: Student,
    task: Task,
    examples: Sequence[Example],
    prompts: Sequence[str],
    settings: EvaluateSettings,
    seed: int,
    until: str,
) -> list[Prediction]:
    from preceptor.models.generate import decode

    written = decode(
        replace(student.loaded, model=student.model),
        prompts,
        decoding=settings.decoding,
        beams=settings.beams,
        temperature=settings.temperature,
        repetition_penalty=settings.repetition_penalty,
        max_tokens=settings.max_tokens,
        batch_size=settings.batch_size,
        seed=seed,
    )
    result = []
    for example, one in zip(examples, written, strict=True):
        text, end, _ = one.text.lstrip().partition(until) if until else (one.text, "", "")
        # The prompt ends with the marker, so what follows it stands first in the answer.
        result.append(read_answer(task, example, text, "stop" if end else one.finish, settings.parser))
    return result
