"""Written answers: read by the task's own parser, and asked for where a teacher answers the items itself."""

from __future__ import annotations

from collections.abc import Sequence

from preceptor.data.base import Task
from preceptor.errors import TeacherError
from preceptor.records import Example, Message, Outcome, Prediction, Request, Sampling
from preceptor.teachers.asker import Ask
from preceptor.teachers.prompt import Prompt, read_prompt

PROMPT = "answer.v1"


def read_answer(task: Task, example: Example, text: str, finish: str, parser: str) -> Prediction:
    """What a written answer says of an item; `finish` is why it ended."""
    parsed = task.parse(text, finish=finish, parser=parser)
    label = parsed.label if parsed.outcome is Outcome.ANSWERED else None
    return Prediction(example.id, example.label, label, parsed.outcome, text=text)


def prompt() -> Prompt:
    """The prompt: what is asked for, and the item as students see it."""
    return read_prompt("evaluate", PROMPT)


def conversation(task: Task, shots: Sequence[Message], shown: str) -> tuple[Message, ...]:
    """What a teacher reads: what is asked for, solved examples as turns, and last the item, as `shown`."""
    first, last = prompt().messages(prompt=shown, labels=task.labels)
    return (first, *shots, last)


def request(task: Task, item: Example, shots: Sequence[Message], shown: str, sampling: Sampling) -> Request:
    """The question about one item."""
    return Request(conversation(task, shots, shown), sampling, item=f"answer/{item.id}")


def ask_items(
    task: Task, items: Sequence[Example], requests: Sequence[Request], parser: str, ask: Ask
) -> list[Prediction]:
    """The answers to `requests`, one for each item, read.

    Raises `TeacherError` where a request ended without an answer: nobody knows what it would have been, so that it is
    neither wrong nor right.
    """
    answers = ask(requests)
    failed = [answer.error for answer in answers if answer.error is not None]
    if failed:
        raise TeacherError(
            f"{len(failed)} of {len(requests)} items were not answered; the first: {failed[0].message}",
            f"{failed[0].hint} What was answered is kept: the same command asks only the rest.".lstrip(),
        )
    found = []
    for item, answer in zip(items, answers, strict=True):
        assert answer.completion is not None
        found.append(read_answer(task, item, answer.completion.text, answer.completion.finish, parser))
    return found
