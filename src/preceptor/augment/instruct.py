"""`instruct`: new tasks from seed tasks, as in Self-Instruct (Wang et al. 2023) and BioInstruct (Tran et al. 2023).

Every request shows a few tasks, drawn at random, and asks for others. A teacher with structured outputs gets them in
one message and answers in JSON; any other gets a conversation in which it has already written them, which is the form
that small models continue best: of 32 answers of SmolLM2-135M-Instruct with three seeds as its own earlier answers 17
were whole tasks, with the same seeds as a numbered list 1.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preceptor.augment.base import load_prompt
from preceptor.augment.reading_tasks import NO_INPUT, TASKS, Read, read_tasks
from preceptor.augment.structured import schema_of, schema_of_list
from preceptor.config import InstructSettings
from preceptor.errors import RecipeError
from preceptor.records import CATEGORIES, Completion, Instruction, Message, Request, Sampling
from preceptor.teachers.prompt import Prompt

STRATEGY = "instruct"
"""Origin of the tasks, and the first part of their ids."""

KINDS = {
    "question_answering": "answer a question or to decide between answers",
    "information_extraction": "find pieces of information in a given text",
    "generation": "write, summarise or explain something",
    "other": "do something else than answering, finding or writing",
}
"""How a request names a category, where all of its shown tasks are of one."""


@dataclass(frozen=True)
class TaskWriter:
    """Makes the requests of one recipe and reads the answers to them."""

    settings: InstructSettings
    sampling: Sampling
    structured: bool
    """Whether the teacher answers by JSON schema."""

    @property
    def with_output(self) -> bool:
        """Whether a task is written in one go."""
        return self.settings.outputs == "together"

    @property
    def prompt(self) -> Prompt:
        """The prompt file that asks for tasks."""
        return load_prompt("instruct-json.v1" if self.structured else "instruct-turns.v1")

    def draw(self, number: int, pool: Sequence[Instruction]) -> list[Instruction]:
        """The tasks that request `number` shows, in the order in which it shows them; depends on nothing else."""
        drawn = np.random.default_rng((self.settings.seed, number)).choice(
            len(pool), size=self.settings.shown, replace=False
        )
        return [pool[i] for i in drawn]

    def request(self, number: int, shown: Sequence[Instruction], kind: str = "") -> Request:
        """Request `number`, for tasks of the category `kind` or of any."""
        names = ("instruction", "input", "output") if self.with_output else ("instruction", "input")
        count = self.settings.tasks_per_answer
        values = {
            "with_output": self.with_output,
            "count": count,
            "kind": KINDS[kind] if kind else "",
            "field": self.settings.field,
        }
        item = f"{STRATEGY}/{number}"
        if self.structured:
            tasks = json.dumps([{name: getattr(task, name) for name in names} for task in shown], ensure_ascii=False)
            messages = self.prompt.messages(**values, tasks=tasks, keys=names)
            schema = schema_of_list(TASKS, dict.fromkeys(names, ()))
            return Request(messages, self.sampling, item=item, schema=schema)
        return Request(self._turns(values, shown), self.sampling, item=item)

    def _turns(self, values: dict[str, object], shown: Sequence[Instruction]) -> tuple[Message, ...]:
        """A conversation: one task for each answer or, where several are asked for, all of them in one."""
        system, asking = self.prompt.messages(**values)
        blocks = [_block(task, self.with_output) for task in shown]
        if values["count"] == 1:
            earlier = [turn for block in blocks for turn in (asking, Message("assistant", block))]
        else:
            _, first = self.prompt.messages(**{**values, "count": len(shown)})
            earlier = [first, Message("assistant", _numbered(blocks))]
        return (system, *earlier, asking)

    def read(self, completion: Completion) -> Read:
        """The tasks of an answer."""
        return read_tasks(completion.text, completion.finish, with_output=self.with_output)

    def output_request(self, name: str, instruction: str, given: str) -> Request:
        """For the output of the task called `name`."""
        messages = output_prompt().messages(instruction=instruction, input=given)
        return Request(messages, self.sampling, item=f"output/{name}")

    def category_request(self, name: str, instruction: str, given: str, asked: Sampling) -> Request:
        """For the category of the task called `name`, sampled as `asked`."""
        messages = category_prompt().messages(instruction=instruction, input=given, categories=CATEGORIES)
        schema = schema_of({"category": CATEGORIES}) if self.structured else ""
        return Request(messages, asked, item=f"category/{name}", schema=schema)


def output_prompt() -> Prompt:
    """The prompt file that asks for an output alone."""
    return load_prompt("instruct-output.v1")


def category_prompt() -> Prompt:
    """The prompt file that asks for a category."""
    return load_prompt("instruct-category.v1")


def read_output(text: str) -> str:
    """The output, without a label in front of it."""
    return _OUTPUT_LABEL.sub("", text.strip(), count=1).strip()


def kinds_of(seeds: Sequence[Instruction], settings: InstructSettings) -> tuple[str, ...]:
    """The categories that requests take in turn with `mix = "by_category"`, which needs enough seeds of each; else
    none. Raises `RecipeError` when there are too few seeds.
    """
    if len(seeds) < settings.shown:
        raise RecipeError(f"instruct.shown = {settings.shown}, but there are only {len(seeds)} seeds.")
    if settings.mix == "free":
        return ()
    counts = Counter(seed.category for seed in seeds)
    kinds = tuple(name for name in CATEGORIES if counts[name] >= settings.shown)
    if not kinds:
        raise RecipeError(
            f'instruct.mix = "by_category" shows {settings.shown} seeds of one category, and none has so many.',
            'Lower instruct.shown, or use mix = "free".',
        )
    return kinds


_OUTPUT_LABEL = re.compile(r"[*_#\s]*output[*_]*\s*:[*_]*\s*", re.IGNORECASE)


def _block(task: Instruction, with_output: bool) -> str:
    lines = [f"Instruction: {task.instruction}", f"Input: {task.input or NO_INPUT}"]
    return "\n".join([*lines, f"Output: {task.output}"] if with_output else lines)


def _numbered(blocks: Sequence[str]) -> str:
    return "\n\n".join(f"### Task {number}\n{block}" for number, block in enumerate(blocks, start=1))
