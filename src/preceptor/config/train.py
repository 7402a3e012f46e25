"""`[train]`, `[[students]]` and `[evaluate]`: who learns, how, and how it is measured."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from preceptor.config.base import Name, Section, Seed
from preceptor.config.objectives import (
    ContrastiveSettings,
    DistillationSettings,
    ObjectiveSettings,
    RationaleSettings,
)
from preceptor.config.sentences import allowed_keys, sentence_of


class TrainSettings(Section):
    """`[train]`: how a student is trained. A student's own `train` table overrides single keys."""

    method: Literal["lora", "prefix", "full"] = "lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    dropout: float = Field(0.0, ge=0, lt=1)
    """LoRA dropout on the adapter's input. The model's own dropout is off: on CPU it costs a factor of three."""
    targets: str | tuple[str, ...] = "all-linear"
    """Modules that get LoRA weights: `all-linear` or names."""
    virtual_tokens: int = Field(32, ge=1)
    """Prefix tuning: length of the prefix."""
    initialisation: Literal["text", "zero", "random"] = "text"
    """Prefix tuning: where the prefix starts. Random values at LoRA's learning rates are known to fail."""
    initial_text: str = "Answer the question from the text with one word."
    """Prefix tuning with `initialisation = "text"`: the text, repeated to fill the prefix."""
    learning_rate: float = Field(3e-4, gt=0)
    weight_decay: float = Field(0.0, ge=0)
    epochs: float = Field(3, gt=0)
    """Passes over the real training items; this fixes the number of optimiser steps for every arm."""
    steps: int | None = Field(None, ge=1)
    """Optimiser steps, instead of `epochs`."""
    batch_size: int = Field(8, ge=1)
    """Items in one forward pass, at most."""
    batch_tokens: int | None = Field(None, ge=16)
    """Tokens in one forward pass, padding included, at most; the paper: 1,024."""
    accumulation: int = Field(1, ge=1)
    """Forward passes per optimiser step; the paper: 32."""
    warmup: float = Field(0.1, ge=0, le=1)
    """Share of the steps over which the learning rate rises linearly; afterwards it falls linearly to 0."""
    max_length: int = Field(512, ge=16)
    """Tokens of prompt and answer; longer prompts lose words at the start of the task's `shorten` field."""
    select: Literal["last", "loss", "accuracy", "macro_f1"] = "loss"
    """Which state is kept, by the validation items after each pass: the last one or the best."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bfloat16 where the processor multiplies it natively, else float32."""
    objectives: ObjectiveSettings = ObjectiveSettings()
    rationale: RationaleSettings = RationaleSettings()
    distillation: DistillationSettings = DistillationSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()

    @model_validator(mode="after")
    def _objectives_possible(self) -> Self:
        if self.objectives.distillation and self.distillation.teacher is None:
            raise ValueError(
                "train.objectives.distillation needs train.distillation.teacher: a model on this machine, e.g. "
                '"builtin:smollm2-135m-instruct"'
            )
        if self.objectives.contrastive and self.batch_size < 4:
            raise ValueError(
                f"train.batch_size = {self.batch_size}: the contrastive objective compares the items of a batch, so at "
                "least 4 are needed"
            )
        if self.objectives.contrastive and self.batch_tokens is not None:
            raise ValueError(
                "train.batch_tokens cuts batches by length, and the contrastive objective composes them by label: "
                "leave it out"
            )
        return self

    def on_labels_alone(self) -> Self:
        """The same training with the objective `label` alone."""
        names = ("objectives", "rationale", "distillation", "contrastive")
        return self.model_copy(update={name: type(self).model_fields[name].default for name in names})

    def deciding(self, include: set[str] | None = None) -> dict[str, Any]:
        """The keys that decide what is learnt, for the identity of a result; with `include`, only these.

        Keys outside `FIRST_KEYS` count only where they differ from their default, so that a new key of this class
        leaves the results that were computed before it valid.
        """
        given, usual = self.model_dump(mode="json", include=include), type(self)().model_dump(mode="json")
        return {
            key: _differing(value, usual[key])
            for key, value in given.items()
            if key in FIRST_KEYS or value != usual[key]
        }


def _differing(value: Any, usual: Any) -> Any:
    """Of a table only the keys that differ from their default; any other value as it is."""
    if not isinstance(value, dict) or not isinstance(usual, dict):
        return value
    return {key: inner for key, inner in value.items() if inner != usual.get(key)}


FIRST_KEYS = frozenset(
    {
        *("method", "rank", "alpha", "dropout", "targets", "virtual_tokens", "initialisation", "initial_text"),
        *("learning_rate", "weight_decay", "epochs", "steps", "batch_size", "batch_tokens", "accumulation"),
        *("warmup", "max_length", "select", "dtype"),
    }
)
"""Keys of `[train]` that are part of the identity of every result. Never add to them."""


class StudentSettings(Section):
    """One entry of `[[students]]`."""

    name: Name
    model: str
    """`builtin:minilm-l6`, `builtin:smollm2-135m-instruct`, a local folder, or a hub name."""
    settings: tuple[Name, ...] = ()
    """Data settings in which it is trained; empty: all of them."""
    head: Literal["auto", "causal", "encoder"] = "auto"
    """Language model or encoder with a classification head; `auto` reads it from the model's config."""
    untrained: bool = True
    """Also score the student before training (language models only)."""
    train: dict[str, Any] = {}
    """Keys of `[train]` that differ for this student."""


def training_of(train: TrainSettings, student: StudentSettings) -> TrainSettings:
    """`[train]` with the student's own keys over it. Raises `ValueError` naming a key that is wrong."""
    try:
        return TrainSettings.model_validate(_over(train.model_dump(), student.train))
    except ValidationError as error:
        allowed = allowed_keys(error, TrainSettings).lower().rstrip(".")
        sentence = sentence_of(error, f"students.{student.name}.train.")
        raise ValueError(f"{sentence} ({allowed})" if allowed else sentence) from error


def _over(usual: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """`own` over `usual`, key by key, also inside of tables."""
    inner = {k: _over(usual[k], v) for k, v in own.items() if isinstance(v, dict) and isinstance(usual.get(k), dict)}
    return {**usual, **own, **inner}


class EvaluateSettings(Section):
    """`[evaluate]`: how answers are read and intervals computed."""

    read: Literal["likelihood", "generation"] = "likelihood"
    parser: Literal["strict", "paper"] = "strict"
    decoding: Literal["greedy", "beam", "beam-sample"] = "greedy"
    beams: int = Field(5, ge=2)
    temperature: float = Field(0.8, gt=0)
    """Used by `beam-sample` only: without sampling a temperature has no effect."""
    repetition_penalty: float = Field(1.0, gt=0)
    """The paper's generation preset: decoding `beam-sample`, 5 beams, temperature 0.8, repetition penalty 2.0."""
    max_tokens: int = Field(16, ge=1)
    batch_size: int = Field(16, ge=1)
    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples."""
    interval_seed: Seed = 0
