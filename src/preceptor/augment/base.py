"""What an augmentation strategy is, and how requests become candidates.

A strategy turns a training item into a request to a teacher, and the teacher's answer into a new example. It sees
training items only, and only the fields that the task lets a teacher see.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from preceptor.augment.structured import Parts, plain, schema_of
from preceptor.data.base import Task
from preceptor.records import Completion, Example, Message, Request, Sampling, Source
from preceptor.teachers.prompt import Prompt, read_prompt


class Unreadable(Exception):  # noqa: N818 - not a fault of the program: one answer that gives no example
    """The answer holds no example; the message is a short stable reason such as `no_question`."""


def load_prompt(name: str) -> Prompt:
    """Read a prompt file of the folder `prompts`."""
    return read_prompt("augment", name)


class Strategy(Protocol):
    """One way to make new examples from training items."""

    @property
    def name(self) -> str:
        """`rewrite` or `new`; becomes the examples' origin."""

    @property
    def prompt(self) -> Prompt:
        """The prompt file it uses."""

    @property
    def parts(self) -> Parts:
        """What the answer consists of."""

    def ask(self, example: Example) -> tuple[Message, ...]:
        """The messages for one training item."""

    def read(self, text: str, parent: Example) -> tuple[Mapping[str, str], str, tuple[str, ...]]:
        """All fields of the new example, its label, and the names of the fields that the teacher wrote.

        Raises `Unreadable`.
        """


@dataclass
class Candidates:
    """What became of all answers of one strategy."""

    examples: list[Example] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)
    """Reason -> number of answers without an example."""
    outcomes: Counter[str] = field(default_factory=Counter)
    """Answers by the four parse outcomes; an answer without an example is refused, cut off or unparsed."""


def make_requests(
    strategy: Strategy, items: Sequence[Example], sampling: Sampling, draws: int, *, structured: bool = False
) -> list[Request]:
    """One request per item and draw, in order; `structured`: with the JSON schema of the answer."""
    schema = schema_of(strategy.parts) if structured else ""
    return [
        Request(strategy.ask(item), sampling, item=f"{strategy.name}/{item.id}", draw=draw, schema=schema)
        for item in items
        for draw in range(draws)
    ]


def make_example(strategy: Strategy, parent: Example, draw: int, completion: Completion, teacher: str) -> Example:
    """Read one answer into an example that knows its parent, prompt, teacher and call; raises `Unreadable`."""
    fields, label, changed = strategy.read(plain(completion.text, strategy.parts), parent)
    return Example(
        id=f"{parent.id}-{strategy.name}-{draw}",
        fields=fields,
        label=label,
        origin=strategy.name,
        parents=(parent.id,),
        source=Source(
            strategy=strategy.name,
            prompt=strategy.prompt.name,
            prompt_hash=strategy.prompt.hash,
            teacher=teacher,
            call=completion.call,
            finish=completion.finish,
            changed=changed,
        ),
    )


def question_field(task: Task) -> str:
    """The field that holds the question: `question`, else the first input."""
    return "question" if "question" in task.inputs else task.inputs[0]


def context_fields(task: Task) -> tuple[str, ...]:
    """The other input fields, less those that a teacher must not see when it writes a question or a context: a
    conclusion that the teacher has read would find its way into what it writes.
    """
    return tuple(n for n in task.inputs if n != question_field(task) and n not in task.teacher_hidden)
