"""Label and rationale as two tasks on the same items ("distilling step by step", Hsieh et al. 2023, arXiv 2305.02301).

The second form of an item's prompt ends with another cue, and its answer is the field that the task names as its
rationale. The rationale is a target of training items only: no prompt shows it, and validation and test do not know
of it. At scoring the student is asked for the label alone, so that the second task costs nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from preceptor.config import RationaleSettings
from preceptor.data.base import Task
from preceptor.errors import DataError, RecipeError
from preceptor.models.answers import answer_logits
from preceptor.models.score import encode_target, pad
from preceptor.models.student import Student
from preceptor.records import Example
from preceptor.train.batches import TrainingItem


def check_rationale(head: str, task: Task, real: Sequence[Example]) -> None:
    """Raise `RecipeError` for a student or a task that cannot have the second task, `DataError` when no item can."""
    if head != "causal":
        raise RecipeError(
            "train.objectives.rationale needs language models; an encoder has no words to explain with.",
            "Leave it at 0 for encoders: the table train of a student overrides single keys.",
        )
    if task.rationale is None:
        raise RecipeError(
            f"train.objectives.rationale: {task.name} has no rationale in the setting {task.setting!r}"
            + (f", where the student reads the {task.explanation}." if task.explanation else "."),
            "Use a setting that keeps it from the student (PubMedQA: reasoning-required), or name data.own.rationale.",
        )
    if not any(_text(task, example) for example in real):
        raise DataError(
            f"train.objectives.rationale: no training item of {task.name} has a text in the field {task.rationale!r}.",
            "Fill it in, or leave train.objectives.rationale at 0.",
        )


def second_form(task: Task, prompt: str, settings: RationaleSettings) -> str:
    """The prompt that asks for the rationale: with the cue in place of the answer's marker, or below the prompt."""
    text = prompt.rstrip()
    if text.lower().endswith(task.marker.lower()):
        return text[: -len(task.marker)] + settings.cue
    return f"{text}\n{settings.cue}"


def with_rationales(
    student: Student,
    task: Task,
    examples: Sequence[Example],
    items: Sequence[TrainingItem],
    settings: RationaleSettings,
) -> list[TrainingItem]:
    """The items with their second task. One without a rationale, or whose rationale leaves no room for the prompt, has
    none: the context is shortened as ever, a target is not.
    """
    return [
        replace(item, rationale=_second(student, task, example, settings))
        for item, example in zip(items, examples, strict=True)
    ]


def without_room(task: Task, examples: Sequence[Example], items: Sequence[TrainingItem]) -> int:
    """How many examples have a rationale that left no room for their prompt, so that their items have none."""
    return sum(
        item.rationale is None and bool(_text(task, example)) for item, example in zip(items, examples, strict=True)
    )


def _text(task: Task, example: Example) -> str:
    return example.fields.get(task.rationale or "", "").strip()


def _second(student: Student, task: Task, example: Example, settings: RationaleSettings) -> TrainingItem | None:
    text = _text(task, example)
    if not text:
        return None
    tokenizer = student.loaded.tokenizer
    target = (*encode_target(tokenizer, f" {text}"), tokenizer.eos_token_id)
    whole = student.limit + max(len(tokens) for tokens in student.targets) + 1
    try:
        prompt, _ = task.render_within(
            example, lambda shown: student.length(second_form(task, shown, settings)), whole - len(target)
        )
    except DataError:
        return None
    return TrainingItem(tuple(student.encode([second_form(task, prompt, settings)])[0]), target)


def answer_rows(student: Student, items: Sequence[TrainingItem]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits at every token of the items' targets, the tokens themselves, and each one's item.

    Float32 [tokens, vocabulary], int64 [tokens] and int64 [tokens], item after item; keeps gradients.
    """
    loaded = student.loaded
    padded = pad([[*i.prompt, *i.target[:-1]] for i in items], loaded.tokenizer.pad_token_id, loaded.device)
    rows = torch.tensor([row for row, i in enumerate(items) for _ in i.target], device=loaded.device)
    positions = [len(i.prompt) - 1 + k for i in items for k in range(len(i.target))]
    wanted = torch.tensor([token for i in items for token in i.target], device=loaded.device)
    logits = answer_logits(student.model, padded, rows, torch.tensor(positions, device=loaded.device))
    return logits, wanted, rows


def mean_by_item(values: torch.Tensor, rows: torch.Tensor, items: int) -> torch.Tensor:
    """The mean of each item's values [tokens] -> [items]; `rows` names the item of each, and every item has one."""
    sums = torch.zeros(items, device=values.device).index_add(0, rows, values)
    return sums / torch.bincount(rows, minlength=items)
