"""`new`: a new question, with its own answer, about the same context (Dr. LLaMA's newQA)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from preceptor.augment.base import Unreadable, context_fields, load_prompt, question_field
from preceptor.augment.reading import first_line, part
from preceptor.augment.structured import Parts
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.records import Example, Message, Outcome
from preceptor.teachers.prompt import Prompt


@dataclass(frozen=True)
class New:
    """Ask for a question that the context answers, and for the answer: the label is the teacher's, not the parent's."""

    task: Task

    def __post_init__(self) -> None:
        if not context_fields(self.task):
            raise RecipeError(f"Strategy new: task {self.task.name} has no context that a teacher may ask about.")

    @property
    def name(self) -> str:
        """`new`."""
        return "new"

    @property
    def prompt(self) -> Prompt:
        """The prompt file."""
        return load_prompt("new-question.v1")

    @property
    def parts(self) -> Parts:
        """A question, and an answer that is one of the labels."""
        return {"question": (), "answer": self.task.labels}

    def ask(self, example: Example) -> tuple[Message, ...]:
        """The messages for one training item."""
        context = "\n".join(example.fields[name] for name in context_fields(self.task))
        question = example.fields[question_field(self.task)]
        return self.prompt.messages(question=question, context=context, labels=self.task.labels)

    def read(self, text: str, parent: Example) -> tuple[Mapping[str, str], str, tuple[str, ...]]:
        """The new question, its label, and which fields were written.

        The parent's rationale explains the parent's question, so it is not handed on.
        """
        question, answer = part(text, "Question"), part(text, "Answer")
        if not question:
            raise Unreadable("no_question")
        if not answer:
            raise Unreadable("no_answer")
        parsed = self.task.parse(f"{self.task.marker} {answer}")
        if parsed.outcome is not Outcome.ANSWERED or parsed.label is None:
            raise Unreadable("no_label")
        fields = {name: text for name, text in parent.fields.items() if name != self.task.rationale}
        fields[question_field(self.task)] = first_line(question)
        return fields, parsed.label, (question_field(self.task),)
