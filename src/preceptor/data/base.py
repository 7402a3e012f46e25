"""`Task`: the one object that shows an item, parses the answer and grades it; `Dataset`: the items of one run.

Prompt, training target, scoring and serving all go through the same `Task`, so they cannot drift apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from preceptor.data.parsers import parse_paper, parse_strict
from preceptor.errors import DataError, RecipeError
from preceptor.records import Example, ParsedAnswer, VirtualTokens

TextLength = Callable[[str], int]
"""Counts the tokens of a text."""


@dataclass(frozen=True)
class Task:
    """How items of one data set are shown to a model, and how its answers are read.

    The template sees only the fields named in `inputs`; a field that is not an input cannot reach the student, whatever
    the template says.
    """

    name: str
    """E.g. `pubmedqa`."""
    setting: str
    """Which fields the student sees, as a word: `reasoning-required`, `reasoning-free`, or `default`."""
    labels: tuple[str, ...]
    """The allowed answers, in a fixed order."""
    inputs: tuple[str, ...]
    """Names of the fields that the student may see."""
    template: str
    """Jinja template of the prompt. It ends where the answer begins, without a trailing space."""
    rationale: str | None = None
    """Name of the field that explains the answer (PubMedQA: the conclusion). A training target, never an input here."""
    shorten: str | None = None
    """The input field that is cut, from its start, when the prompt is too long for the student."""
    marker: str = "answer:"
    """What the strict parser looks for before the label in a generated answer."""
    explanation: str | None = None
    """The input field that is the answer in words, where a student sees it (PubMedQA's conclusion, reasoning-free)."""
    teacher_hidden: tuple[str, ...] = ()
    """Fields that a teacher must not see when it writes an input field."""

    def __post_init__(self) -> None:
        if len(self.labels) < 2 or len(set(self.labels)) < len(self.labels) or not all(map(str.strip, self.labels)):
            raise RecipeError(
                f"Task {self.name}: a task needs at least two labels, all different and none empty, "
                f"got {list(self.labels)}."
            )
        if "none" in self.labels:
            raise RecipeError(
                f"Task {self.name}: 'none' cannot be a label; results use it for answers without a label.", "Rename it."
            )
        self._check_template()
        if self.shorten is not None and self.shorten not in self.inputs:
            raise RecipeError(f"Task {self.name}: the field to shorten, {self.shorten!r}, is not among the inputs.")

    def _check_template(self) -> None:
        mark = "\N{OBJECT REPLACEMENT CHARACTER}"
        try:
            shown = self._compiled.render(dict.fromkeys(self.inputs, mark))
        except jinja2.UndefinedError as error:
            raise RecipeError(
                f"Task {self.name}: the prompt template uses a field that is not among its inputs ({error.message}).",
                f"The inputs are: {', '.join(self.inputs)}.",
            ) from error
        except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError, AttributeError) as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise RecipeError(f"Task {self.name}: the prompt template is not valid: {reason}.") from error
        if mark not in shown:
            raise RecipeError(
                f"Task {self.name}: the prompt template shows none of the inputs.",
                f"Name them in double braces: {' '.join('{{ ' + name + ' }}' for name in self.inputs)}",
            )

    @cached_property
    def _compiled(self) -> jinja2.Template:
        # Sandboxed: a recipe may come from a stranger. No autoescape: the output is a model's prompt, not a page.
        environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, autoescape=False)
        return environment.from_string(self.template)

    def __getstate__(self) -> dict[str, object]:
        """What other processes get: all but the compiled template, which they make themselves."""
        return {name: value for name, value in self.__dict__.items() if name != "_compiled"}

    def render(self, example: Example) -> str:
        """The prompt for `example`: the same text in training, evaluation, export and serving."""
        return self._filled({name: example.fields[name] for name in self.inputs})

    def _filled(self, fields: Mapping[str, str]) -> str:
        return self._compiled.render(fields)

    def render_within(self, example: Example, length: TextLength, limit: int) -> tuple[str, bool]:
        """The prompt, cut to at most `limit` tokens as counted by `length`; and whether it was cut.

        Words are taken from the start of the field `shorten`: an abstract's results stand at its end.
        Raises `DataError` when the rest alone is too long.
        """
        prompt = self.render(example)
        if length(prompt) <= limit:
            return prompt, False
        if self.shorten is None:
            raise self._too_long(example, limit)
        words = example.fields[self.shorten].split()
        low, high = 0, len(words)  # the longest suffix that fits lies between: words[high:] always fits
        if length(self._with(example, "")) > limit:
            raise self._too_long(example, limit)
        while low < high:
            middle = (low + high) // 2
            if length(self._with(example, " ".join(words[middle:]))) <= limit:
                high = middle
            else:
                low = middle + 1
        return self._with(example, " ".join(words[high:])), True

    def _with(self, example: Example, text: str) -> str:
        assert self.shorten is not None
        fields = {name: example.fields[name] for name in self.inputs}
        return self._filled({**fields, self.shorten: text})

    def _too_long(self, example: Example, limit: int) -> DataError:
        return DataError(
            f"Item {example.id}: the prompt does not fit into {limit} tokens, even with an empty {self.shorten}."
            if self.shorten
            else f"Item {example.id}: the prompt does not fit into {limit} tokens, and no field may be shortened.",
            "Raise train.max_length, or choose a student with a longer window.",
        )

    def target(self, label: str) -> str:
        """What follows the prompt when the answer is `label`: a space and the label."""
        if label not in self.labels:
            raise DataError(f"{label!r} is not a label of task {self.name}.", f"Labels: {', '.join(self.labels)}.")
        return f" {label}"

    def parse(self, text: str, *, finish: str = "stop", parser: str = "strict") -> ParsedAnswer:
        """Read a generated answer. `finish` is why generation stopped (`stop`, `length`, `content_filter`).

        `strict` has four outcomes; `paper` is the first paper's substring parser, for comparison with it only.
        """
        if parser == "paper":
            return parse_paper(text, self.labels)
        return parse_strict(text, self.labels, marker=self.marker, finish=finish)

    def grade(self, example: Example, answer: ParsedAnswer) -> bool:
        """Whether the answer is right. An answer without a label is wrong."""
        return answer.label == example.label


MARK = "\ufdd0"
"""Stands for virtual tokens while a prompt is rendered. A noncharacter: no text for people holds it."""


NO_TOKENS = VirtualTokens("", None)


@dataclass(frozen=True)
class MarkedTask(Task):
    """A task whose prompts hold a student's virtual tokens; made by `marked`."""

    virtual: VirtualTokens = NO_TOKENS

    def __post_init__(self) -> None:
        super().__post_init__()
        place = self.virtual.before
        if place is None:
            return
        if place not in self.inputs:
            raise RecipeError(
                f"Task {self.name}: virtual tokens cannot stand before the field {place!r}, which is not among the "
                "inputs.",
                f"Set train.prompt_field to one of {', '.join(self.inputs)}, or train.prompt_position to "
                '"before-answer" or "start".',
            )
        shown = self._compiled.render({**dict.fromkeys(self.inputs, "Word"), place: f"{MARK}Word"})
        if shown.count(MARK) != 1 or shown.replace(MARK, "") != super()._filled(dict.fromkeys(self.inputs, "Word")):
            raise RecipeError(
                f"Task {self.name}: virtual tokens cannot stand before the field {place!r}, because the prompt "
                "template does not show it once and as it is.",
                'Set train.prompt_position to "before-answer" or "start".',
            )

    def _filled(self, fields: Mapping[str, str]) -> str:
        place = self.virtual.before
        if place is None:
            return super()._filled(fields) + self.virtual.text
        before, _, after = super()._filled({**fields, place: MARK + fields[place]}).partition(MARK)
        # Most tokenizers take a word and the space before it for one token: the space stays with the word.
        if before.endswith(" "):
            before, after = before[:-1], f" {after}"
        return f"{before}{self.virtual.text}{after}"


def marked(task: Task, virtual: VirtualTokens | None) -> Task:
    """The task as a student with these virtual tokens reads it: they stand in every prompt, also in a shortened one.

    Raises `RecipeError` where the task has no such place.
    """
    if virtual is None or (isinstance(task, MarkedTask) and task.virtual == virtual):
        return task
    given = {f.name: getattr(task, f.name) for f in fields(Task)}
    return MarkedTask(**given, virtual=virtual)


@dataclass(frozen=True)
class Dataset:
    """The items of one run under one setting."""

    task: Task
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]
    split: str
    """Name of the split, e.g. `official`."""
    identity: str
    """Hash of the files and of the choices that made the items."""
    notes: tuple[str, ...] = ()
    """Sentences a reader of the report must know, e.g. that this is made-up data."""
    licence: str = ""
    others: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, part in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            if not part:
                raise DataError(f"The {name} part of task {self.task.name}, split {self.split}, is empty.")
            check_items(part, self.task, f"{self.task.name} {name}")
        ids = Counter(e.id for part in (self.train, self.validation, self.test) for e in part)
        twice = [i for i, n in ids.items() if n > 1]
        if twice:
            raise DataError(
                f"{len(twice)} ids of task {self.task.name} stand in more than one part or twice, first {twice[0]!r}.",
                "Give every item an id of its own.",
            )

    @property
    def parts(self) -> dict[str, tuple[Example, ...]]:
        """The three parts by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def check_items(items: Sequence[Example], task: Task, where: str) -> None:
    """Raise `DataError` naming the first item with an unknown label or an empty or missing input."""
    for item in items:
        if item.label not in task.labels:
            raise DataError(
                f"{where}, item {item.id}: label {item.label!r} is not one of {', '.join(task.labels)}.",
                "Correct the label, or name it in the recipe under data.labels.",
            )
        for name in task.inputs:
            if not item.fields.get(name, "").strip():
                raise DataError(
                    f"{where}, item {item.id}: the field {name!r} is empty.", "Fill it in or remove the item."
                )


@dataclass(frozen=True, slots=True)
class Rendered:
    """Prompts of several items."""

    prompts: tuple[str, ...]
    cut: int
    """How many were shortened to fit."""


def render_all(task: Task, examples: Sequence[Example], length: TextLength, limit: int) -> Rendered:
    """Render every item within `limit` tokens: the one door through which training and evaluation get prompts."""
    pairs = [task.render_within(example, length, limit) for example in examples]
    return Rendered(tuple(prompt for prompt, _ in pairs), sum(cut for _, cut in pairs))
