"""`[train.objectives]` and the tables beside it: what a student of a task with labels learns from."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Section


class ObjectiveSettings(Section):
    """`[train.objectives]`: the weights of the objectives; the loss is their weighted sum."""

    label: float = Field(1.0, ge=0)
    """Cross-entropy of the answer."""
    rationale: float = Field(0.0, ge=0)
    """Cross-entropy of the task's rationale as a second task on the same items (Hsieh et al. 2023)."""
    distillation: float = Field(0.0, ge=0)
    """Divergence from a teacher's distribution: see `[train.distillation]`."""
    contrastive: float = Field(0.0, ge=0)
    """Items of the same label lie near each other: see `[train.contrastive]`."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.label or self.rationale or self.distillation or self.contrastive):
            raise ValueError("train.objectives: all weights are 0, so nothing would be learnt")
        return self


class RationaleSettings(Section):
    """`[train.rationale]`: the second form of the prompt."""

    cue: str = Field("Explanation:", min_length=1)
    """What stands in the second prompt where the first one says "Answer:"."""


class DistillationSettings(Section):
    """`[train.distillation]`: whose distribution a student learns, and which."""

    teacher: str | None = None
    """A model on this machine: built-in, a folder, or a hub name."""
    head: Literal["auto", "causal", "encoder"] = "auto"
    weights: str | None = None
    """Folder of a finished student that was trained from `teacher`, e.g. `runs/a/train/default/minilm/none/seed-1`;
    relative to the recipe's folder. None: the teacher as it is."""
    targets: Literal["labels", "tokens"] = "labels"
    """`labels`: the probabilities of the labels beside each other, of any teacher. `tokens`: the likeliest tokens at
    each position of the answer (and of the rationale, where it is learnt), of a teacher with the same vocabulary."""
    temperature: float = Field(1.0, gt=0)
    """Divides the logits of both; the loss is multiplied by its square, as in Hinton et al. 2015 (arXiv 1503.02531)."""
    top_k: int = Field(32, ge=1)
    """`tokens`: how many are kept at each position. All others count together as one."""
    setting: str | None = Field(None, min_length=1)
    """In which of the task's settings the teacher reads the items, e.g. `reasoning-free`: it may know what the student
    must do without (privileged information; Lopez-Paz et al. 2016, arXiv 1511.03643). None: in the student's own."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.setting is not None and self.targets == "tokens":
            raise ValueError(
                'train.distillation.setting needs train.distillation.targets = "labels": with "tokens" the teacher '
                "reads what the student reads"
            )
        if self.weights is not None and self.teacher is None:
            raise ValueError(
                "train.distillation.weights needs train.distillation.teacher: the model it was trained from"
            )
        return self


class ContrastiveSettings(Section):
    """`[train.contrastive]`: which items lie near each other, and where."""

    temperature: float = Field(0.1, gt=0)
    """Divides the cosines; 0.1 in Khosla et al. 2020 (arXiv 2004.11362)."""
    positives: tuple[Literal["label", "rewrite"], ...] = ("label", "rewrite")
    """Which items of a batch are an item's positives: those of the same label, its rewrites and the item that it
    rewrites. All others are its negatives."""
    pooling: Literal["mean", "first"] = "mean"
    """Encoders: the mean over the tokens, or the first token, from which the head reads. A language model has the state
    of the prompt's last token."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.positives:
            raise ValueError("train.contrastive.positives is empty: name label, rewrite or both")
        return self
