"""`instruct`: new tasks from seed tasks, as in Self-Instruct (Wang et al. 2023) and BioInstruct (Tran et al. 2023).

Every request shows a few tasks, drawn at random, and asks for others. A teacher with structured outputs gets them in
one message and answers in JSON; any other gets a conversation in which it has already written them, which is the form
that small models continue best: SmolLM2-135M-Instruct wrote a whole task in 13 of 32 such answers, and in 5 where the
same tasks stood in one message.
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


OPENINGS = {
    "question_answering": (
        "Answer", "Are", "Can", "Choose", "Decide", "Determine", "Do", "Does", "How", "Is", "Predict", "Select",
        "Should", "State", "Tell", "What", "When", "Where", "Which", "Who", "Why", "Will",
    ),
    "information_extraction": (
        "Collect", "Detect", "Extract", "Find", "Highlight", "Identify", "List", "Locate", "Mark", "Name", "Retrieve",
        "Spot", "Underline",
    ),
    "generation": (
        "Compose", "Create", "Describe", "Discuss", "Draft", "Explain", "Expand", "Generate", "Outline", "Paraphrase",
        "Prepare", "Propose", "Rephrase", "Rewrite", "Shorten", "Simplify", "Suggest", "Summarise",
        "Translate", "Write",
    ),
    "other": ("Calculate", "Classify", "Compute", "Count", "Estimate", "Group", "Label", "Order", "Rank", "Sort"),
}  # fmt: skip
"""First words of instructions that `mix = "by_opening"` asks for: those by which `filter.categories` knows a kind."""


@dataclass(frozen=True)
class Shown:
    """What a request shows and asks for besides."""

    tasks: tuple[Instruction, ...]
    kind: str = ""
    """The category of all of them, which is asked for; empty: any."""
    openings: tuple[str, ...] = ()
    """First words that the new tasks' instructions are to have, one for each task; empty: any."""


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

    def draw(self, number: int, pool: Sequence[Instruction], kind: str = "") -> Shown:
        """What request `number` shows, of a pool whose tasks are all of the category `kind` or of any; depends on
        nothing else.
        """
        noise = np.random.default_rng((self.settings.seed, number))
        tasks = tuple(pool[i] for i in noise.choice(len(pool), size=self.settings.shown, replace=False))
        openings: tuple[str, ...] = ()
        if self.settings.mix == "by_opening":
            known, count = OPENINGS[kind], self.settings.tasks_per_answer
            openings = tuple(known[i] for i in noise.choice(len(known), size=count, replace=count > len(known)))
        return Shown(tasks, kind, openings)

    def request(self, number: int, shown: Shown) -> Request:
        """Request `number`."""
        names = ("instruction", "input", "output") if self.with_output else ("instruction", "input")
        item = f"{STRATEGY}/{number}"
        if self.structured:
            tasks = json.dumps(
                [{name: getattr(task, name) for name in names} for task in shown.tasks], ensure_ascii=False
            )
            messages = self._prompt_of(self.settings.tasks_per_answer, shown, shown.openings, tasks=tasks, keys=names)
            return Request(messages, self.sampling, item=item, schema=schema_of_list(TASKS, dict.fromkeys(names, ())))
        return Request(self._turns(shown), self.sampling, item=item)

    def _turns(self, shown: Shown) -> tuple[Message, ...]:
        """A conversation: one task for each answer or, where several are asked for, all of them in one."""
        count = self.settings.tasks_per_answer
        system, asking = self._prompt_of(count, shown, shown.openings)
        blocks = [_block(task, self.with_output) for task in shown.tasks]
        opened = [task.instruction.split()[0] for task in shown.tasks] if shown.openings else []
        if count == 1:
            earlier = []
            for n, block in enumerate(blocks):
                _, asked = self._prompt_of(1, shown, opened[n : n + 1])
                earlier += [asked, Message("assistant", block)]
        else:
            _, asked = self._prompt_of(len(blocks), shown, opened)
            earlier = [asked, Message("assistant", _numbered(blocks))]
        return (system, *earlier, asking)

    def _prompt_of(self, count: int, shown: Shown, openings: Sequence[str], **values: object) -> tuple[Message, ...]:
        return self.prompt.messages(
            with_output=self.with_output,
            count=count,
            kind=KINDS[shown.kind] if shown.kind and not openings else "",
            field=self.settings.field,
            openings=openings,
            **values,
        )

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


def short_enough(tasks: Sequence[Instruction], settings: InstructSettings) -> list[Instruction]:
    """The tasks that may be shown."""
    most = settings.shown_words
    return [
        task
        for task in tasks
        if most is None or sum(len(part.split()) for part in (task.instruction, task.input, task.output)) <= most
    ]


def kinds_of(seeds: Sequence[Instruction], settings: InstructSettings) -> tuple[str, ...]:
    """The categories that requests take in turn unless `mix = "free"`: those with enough seeds that may be shown.

    Raises `RecipeError` when there are too few seeds.
    """
    seeds = short_enough(seeds, settings)
    if len(seeds) < settings.shown:
        brief = "" if settings.shown_words is None else f" of at most {settings.shown_words} words"
        raise RecipeError(f"instruct.shown = {settings.shown}, but there are only {len(seeds)} seeds{brief}.")
    if settings.mix == "free":
        return ()
    counts = Counter(seed.category for seed in seeds)
    kinds = tuple(name for name in CATEGORIES if counts[name] >= settings.shown)
    if not kinds:
        raise RecipeError(
            f'instruct.mix = "{settings.mix}" shows {settings.shown} seeds of one category, and none has so many.',
            'Lower instruct.shown, raise instruct.shown_words, or use mix = "free".',
        )
    return kinds


_OUTPUT_LABEL = re.compile(r"\A[*_#\s]*output[*_]*\s*:[*_]*\s*", re.IGNORECASE)


def _block(task: Instruction, with_output: bool) -> str:
    lines = [f"Instruction: {task.instruction}", f"Input: {task.input or NO_INPUT}"]
    return "\n".join([*lines, f"Output: {task.output}"] if with_output else lines)


def _numbered(blocks: Sequence[str]) -> str:
    return "\n\n".join(f"### Task {number}\n{block}" for number, block in enumerate(blocks, start=1))
