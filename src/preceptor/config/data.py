"""`[data]`: which items, how split, how shown."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Name, Section, Seed


class TaskSettings(Section):
    """A task of the user's own, described in the recipe instead of in Python (`data.task = "jsonl"`)."""

    labels: tuple[str, ...]
    """The allowed answers."""
    prompt: str
    """Jinja template over the input fields; it ends where the answer begins."""
    inputs: tuple[str, ...]
    """Fields that the student sees, by the names given in `fields`."""
    fields: dict[str, str]
    """Field name in the task -> key in the file. Lists of strings are joined by a space."""
    label: str
    """Key of the label in the file."""
    label_map: dict[str, str] = {}
    """Value in the file (as JSON text, e.g. "true") -> label, where they differ."""
    id: str | None = None
    """Key of the item's id in the file; without it the line number is used."""
    rationale: str | None = None
    """Field that explains the answer, if any."""
    shorten: str | None = None
    """Input field that is cut from its start when a prompt is too long."""


class DataSettings(Section):
    """`[data]`: which items, how split, how shown."""

    task: Literal["demo", "pubmedqa", "jsonl"]
    """`demo` ships with the package; `pubmedqa` is the real data set; `jsonl` is your own file."""
    path: str | None = None
    """Folder or file with the data. A leading `~` and `$VARIABLES` are expanded; relative to the recipe's folder."""
    hub: str | None = None
    """Name of a data set on the Hugging Face hub, instead of `path` (PubMedQA: `qiaojin/PubMedQA`)."""
    split: Literal["official", "paper", "files", "seeded"] | None = None
    """PubMedQA: `official` or `paper`. `jsonl`: `files` (one per part) or `seeded` (one file, cut by seed)."""
    train_split: Literal["official", "paper"] | None = None
    """PubMedQA: where training items come from, if not from `split`. Mixing is refused when items are shared."""
    fold: int = Field(0, ge=0, le=9)
    """PubMedQA official split: which of the ten folds is validation."""
    settings: tuple[Name, ...] = ()
    """PubMedQA: `reasoning-required`, `reasoning-free`, or both."""
    validation_path: str | None = None
    test_path: str | None = None
    validation_share: float = Field(0.1, gt=0, lt=1)
    """Share of the items for validation, with `split = "seeded"`."""
    test_share: float = Field(0.3, gt=0, lt=1)
    split_seed: Seed = 0
    """Seed of the split and of every subset that is drawn."""
    max_train: int | None = Field(None, ge=1)
    """Use at most so many training items, drawn with `split_seed`; None: all."""
    max_test: int | None = Field(None, ge=1)
    """Score at most so many test items, drawn with `split_seed` (never a prefix: PubMedQA's is sorted by label)."""
    own: TaskSettings | None = None
    """The task's description, for `task = "jsonl"`."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.task == "jsonl" and self.own is None:
            raise ValueError(
                'data.task = "jsonl" needs a table [data.own] with labels, prompt, inputs, fields and label'
            )
        if self.task != "jsonl" and self.own is not None:
            raise ValueError('[data.own] is only for data.task = "jsonl"')
        if self.task == "pubmedqa" and (self.path is None) == (self.hub is None):
            raise ValueError('data.task = "pubmedqa" needs exactly one of data.path and data.hub')
        if self.task == "jsonl" and self.path is None:
            raise ValueError('data.task = "jsonl" needs data.path')
        return self
