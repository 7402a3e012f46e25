"""What an augmentation strategy is, and how requests become candidates.

A strategy turns a training item into a request to a teacher, and the teacher's answer into a new example. It sees
training items only, and only the fields that the task lets a teacher see.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Protocol

import jinja2

from preceptor.augment.structured import Parts, plain, schema_of
from preceptor.config import AugmentSettings
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.records import Completion, Example, Message, Request, Sampling, Source


class Unreadable(Exception):  # noqa: N818 - not a fault of the program: one answer that gives no example
    """The answer holds no example; the message is a short stable reason such as `no_question`."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A versioned prompt file of the package."""

    name: str
    """File name without its ending, e.g. `rewrite-question.v1`."""
    text: str
    hash: str
    """First 16 hex digits of the SHA-256 of the text."""

    def messages(self, **values: object) -> tuple[Message, ...]:
        """Render to a system and a user message: the file's parts above and below its line `---`."""
        # No autoescape: the output is a model's prompt, not a page.
        environment = jinja2.Environment(
            undefined=jinja2.StrictUndefined,
            autoescape=False,  # noqa: S701
            trim_blocks=True,
            lstrip_blocks=True,
        )
        system, found, user = environment.from_string(self.text).render(**values).partition("\n---\n")
        if not found:
            return (Message("user", system.strip()),)
        return (Message("system", system.strip()), Message("user", user.strip()))


@cache
def load_prompt(name: str) -> Prompt:
    """Read a prompt file that ships with the package."""
    text = (files("preceptor.augment") / "prompts" / f"{name}.jinja").read_text(encoding="utf-8")
    return Prompt(name, text, hashlib.sha256(text.encode("utf-8")).hexdigest()[:16])


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


def make_strategy(name: str, task: Task, settings: AugmentSettings) -> Strategy:
    """The strategy called `name` for this task."""
    from preceptor.augment.new import New
    from preceptor.augment.rewrite import Rewrite

    if name == "rewrite":
        return Rewrite(task, settings.rewrite)
    if name == "new":
        return New(task)
    raise RecipeError(f"There is no augmentation strategy {name!r}.", "Known: rewrite, new.")
