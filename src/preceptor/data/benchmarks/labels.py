"""Benchmarks whose items share their labels: PubMedQA, and any task that the recipe describes in `own`.

Items, splits and what is shown come from `data/pubmedqa.py` and `data/jsonl.py`; what these show in front of an answer
("Answer:") is left out, because a student's form of instructions has words of its own there. The options, which are
read by likelihood, are the labels; generated answers are read by `parse_strict`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from preceptor.config import BenchmarkSettings, DataSettings
from preceptor.data import jsonl, pubmedqa
from preceptor.data.base import Task
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.data.benchmarks import parts
from preceptor.data.parsers import parse_strict
from preceptor.errors import PreceptorError, RecipeError
from preceptor.records import Example, Instruction, Reading

MARKER = "answer:"
FILES = {
    "train": ("train.jsonl", "train.json"),
    "validation": ("validation.jsonl", "validation.json", "dev.jsonl", "dev.json"),
    "test": ("test.jsonl", "test.json"),
}
"""Names of the parts in a folder."""

_PUBMEDQA = {
    pubmedqa.REQUIRED: "Answer the research question from the abstract with yes, no or maybe.",
    pubmedqa.FREE: "Answer the research question from the study's conclusion with yes, no or maybe.",
}


@dataclass(frozen=True)
class LabelBenchmark(Benchmark):
    """Every item has the same labels as options."""

    measured: ClassVar[Measured] = "choice"

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        """Read a label by the rules of `data/parsers.py`; without one there is no choice."""
        answer = parse_strict(text, item.options, marker=MARKER, finish=finish)
        choice = None if answer.label is None else item.options.index(answer.label)
        return Reading(answer.outcome, choice=choice)


@dataclass(frozen=True)
class PubMedQA(LabelBenchmark):
    """PubMedQA; ids are PubMed's, so that items of its splits and settings can be compared."""


K = TypeVar("K", bound=LabelBenchmark)


def load_pubmedqa(settings: BenchmarkSettings, base: Path) -> PubMedQA:
    """PubMedQA in one setting: 450 training, 50 validation and 500 test items of the split `official` or `paper`.

    In `reasoning-required` nothing of the conclusion is in an item. Errors are those of `pubmedqa.load`.
    """
    if (settings.path is None) == (settings.hub is None):
        raise RecipeError(f"benchmarks.{settings.name} needs exactly one of path and hub.")
    data = DataSettings(
        task="pubmedqa", path=settings.path, hub=settings.hub, split=settings.split, settings=(settings.setting,)
    )
    with _Reworded(settings.name):
        dataset = pubmedqa.load(data, base)[settings.setting]
    instruction = settings.instruction or _PUBMEDQA[settings.setting]
    whole = {
        part: _instructions(examples, dataset.task, settings, instruction) for part, examples in dataset.parts.items()
    }
    return _built(PubMedQA, settings, dataset.task, whole, dataset.notes, dataset.licence)


def load_labels(settings: BenchmarkSettings, base: Path) -> LabelBenchmark:
    """Items of files that `own` describes: one per part, or `path` alone, which is cut by seed.

    Raises `DataError` naming file, line and field, and `RecipeError` for a description or paths that cannot work.
    """
    own = settings.own
    if own is None:
        raise RecipeError(f"benchmarks.{settings.name} needs a table `own`.")
    alone = parts.one_file(settings, base)
    paths = parts.find_files(settings, base, FILES) if alone is None else {"": alone}
    with _Reworded(settings.name):
        task, found = jsonl.read_files(own, settings.name, paths)
    instruction = settings.instruction or f"Answer with one of these: {', '.join(task.labels)}."
    items = {part: _instructions(examples, task, settings, instruction) for part, examples in found.items()}
    if alone is None:
        whole, notes = parts.with_validation(items, settings, _label)
    else:
        whole, notes = parts.cut(items[""], settings, _label, str(alone)), ()
    return _built(LabelBenchmark, settings, task, whole, notes)


def _built(
    kind: type[K], settings: BenchmarkSettings, task: Task, whole: parts.Parts, notes: Sequence[str], licence: str = ""
) -> K:
    missing = _missing(task, whole["train"]) if whole.get("train") else []
    return parts.built(
        kind,
        settings,
        whole,
        stratum=_label,
        read=settings.read,
        notes=(*notes, *missing),
        licence=licence,
        labels=task.labels,
    )


def _label(item: Instruction) -> str:
    return item.output


def _instructions(
    examples: Sequence[Example], task: Task, settings: BenchmarkSettings, instruction: str
) -> tuple[Instruction, ...]:
    return tuple(_instruction(example, task, settings.category, instruction) for example in examples)


def _instruction(example: Example, task: Task, category: str, instruction: str) -> Instruction:
    shown = task.render(example).rstrip()
    if shown.casefold().endswith(MARKER):
        shown = shown[: -len(MARKER)].rstrip()
    return Instruction(
        id=example.id,
        instruction=instruction,
        input=shown,
        output=example.label,
        category=category,
        options=task.labels,
    )


def _missing(task: Task, train: Sequence[Instruction]) -> list[str]:
    counts = Counter(item.output for item in train)
    return [f"No training item has the label {label!r}." for label in task.labels if not counts[label]]


class _Reworded:
    """Errors that name keys of `[data]` come out with the keys of the benchmark."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PreceptorError):
            message, hint = self._of_benchmark(error.message), self._of_benchmark(error.hint)
            raise type(error)(message, hint) from error

    def _of_benchmark(self, text: str) -> str:
        text = text.replace("[data.own]", "`own`")
        return re.sub(r"(?<![\w/.\\])data\.(own|path|hub|split|validation_path|test_path)\b", self._key, text)

    def _key(self, match: re.Match[str]) -> str:
        return f"benchmarks.{self._name}.{match[1]}"
