"""`rewrite`: the same item in other words; the label stays (Dr. LLaMA's rewriteQA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from preceptor.augment.base import Unreadable, context_fields, load_prompt, question_field
from preceptor.augment.reading import clean, first_line, part
from preceptor.augment.structured import Parts
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.records import Example, Message
from preceptor.teachers.prompt import Prompt


@dataclass(frozen=True)
class Rewrite:
    """Reword the question, the context, or question and answer.

    `pair` is the paper's form: the answer side is the task's rationale, which only ever becomes a training target (or,
    where the student reads it, the task's explanation); the context is not shown then, and not changed.
    """

    task: Task
    what: Literal["question", "context", "pair"]

    def __post_init__(self) -> None:
        if self.what == "context" and not context_fields(self.task):
            raise RecipeError(
                f'augment.rewrite = "context": task {self.task.name} has no context that a teacher may rewrite.',
                'Use augment.rewrite = "question".',
            )
        if self.what == "pair" and self._answer_field is None:
            raise RecipeError(
                f'augment.rewrite = "pair": task {self.task.name}, {self.task.setting}, has no explained answer.',
                'Use augment.rewrite = "question", or name the answer in data.own.rationale.',
            )

    @property
    def _answer_field(self) -> str | None:
        return self.task.rationale or self.task.explanation

    @property
    def name(self) -> str:
        """`rewrite`."""
        return "rewrite"

    @property
    def prompt(self) -> Prompt:
        """The prompt file for what is rewritten."""
        return load_prompt(f"rewrite-{self.what}.v1")

    @property
    def parts(self) -> Parts:
        """The reworded question, text, or question and answer."""
        return {"question": {"question": ()}, "context": {"text": ()}, "pair": {"question": (), "answer": ()}}[
            self.what
        ]

    def ask(self, example: Example) -> tuple[Message, ...]:
        """The messages for one training item."""
        question = example.fields[question_field(self.task)]
        if self.what == "pair":
            assert self._answer_field is not None
            return self.prompt.messages(question=question, answer=example.fields[self._answer_field])
        context = "\n".join(example.fields[name] for name in context_fields(self.task))
        return self.prompt.messages(question=question, context=context)

    def read(self, text: str, parent: Example) -> tuple[Mapping[str, str], str, tuple[str, ...]]:
        """The reworded fields, the parent's label, and which fields were written."""
        if self.what == "pair":
            return self._read_pair(text, parent)
        if self.what == "question":
            named = part(text, "Question")
            question = first_line(clean(text) if named is None else named)
            return self._written({question_field(self.task): question}, parent)
        field = context_fields(self.task)[0]
        return self._written({field: clean(text)}, parent)

    def _read_pair(self, text: str, parent: Example) -> tuple[Mapping[str, str], str, tuple[str, ...]]:
        question, answer = part(text, "Question"), part(text, "Answer")
        if not question or not answer:
            raise Unreadable("no_question" if not question else "no_answer")
        assert self._answer_field is not None
        return self._written({question_field(self.task): first_line(question), self._answer_field: answer}, parent)

    def _written(self, fields: dict[str, str], parent: Example) -> tuple[Mapping[str, str], str, tuple[str, ...]]:
        if any(not text for text in fields.values()):
            raise Unreadable("empty")
        return {**parent.fields, **fields}, parent.label, tuple(fields)
