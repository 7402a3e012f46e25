"""`[train]`, `[[students]]` and `[evaluate]`: who learns, how, and how it is measured."""

from __future__ import annotations

import math
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

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class TrainSettings(Section):
    """`[train]`: how a student is trained. A student's own `train` table overrides single keys."""

    preset: Literal["paper", "tuned"] | None = None
    """Values for keys that are not given (see config/presets.py): the first paper's, or ones for the student's size."""
    method: Literal["lora", "rslora", "dora", "prefix", "prompt", "p-tuning", "ia3", "full"] = "lora"
    rank: int = Field(8, ge=1)
    alpha: float = Field(16, gt=0)
    """Every step of LoRA is scaled by alpha/r, of rslora by alpha/sqrt(r): it acts like a factor of the learning rate.
    The first paper tries 16 to 512."""
    reference_scale: float | None = Field(None, gt=0)
    """The alpha/r (rslora: alpha/sqrt(r)) that `learning_rate` is meant for. With it, the learning rate at any other
    alpha or rank is divided by as much as the scale is larger, so that a sweep holds their product."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Dropout on the input of LoRA's weights (also rslora, dora). The model's own dropout is off: on CPU it costs a
    factor of three."""
    targets: str | tuple[str, ...] = "all-linear"
    """Modules that get LoRA weights: `all-linear` or names. IA3 scales what the architecture's authors chose (keys,
    values, feed-forward) unless names are given."""
    last_layers: int | None = Field(None, ge=1)
    """Train in the last so many layers only; what enters the first of them is computed once for each text and kept."""
    virtual_tokens: int = Field(32, ge=1)
    """Length of the prefix; prompt tuning, p-tuning: trained tokens."""
    initialisation: Literal["text", "zero", "random"] = "text"
    """Where the prefix or the tokens of prompt tuning start (`zero`: a prefix only). Random values at LoRA's learning
    rates are known to fail. p-tuning always starts at random."""
    initial_text: str = "Answer the question from the text with one word."
    """The text of `initialisation = "text"`, repeated to fill the prefix or the tokens."""
    projection: bool = False
    """Prefix tuning from random values: the prefix comes from a small network, which is left out of what is saved."""
    prompt_position: Literal["start", "before-question", "before-answer"] = "start"
    """Prompt tuning: where the tokens stand. Except at the start they are added to the vocabulary, and only they are
    trained."""
    prompt_field: Name = "question"
    """Prompt tuning before the question: the task's input field that holds it."""
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
    checkpoint_seconds: float = Field(60, ge=0)
    """Seconds between two checkpoints of a training that a killed run goes on from. Where saving is slow they are saved
    more rarely, so that it takes about a fiftieth of the time at most."""
    checkpoint_every: int | None = Field(None, ge=1)
    """Optimiser steps between two checkpoints, instead of `checkpoint_seconds`."""
    track: tuple[Tracker, ...] = ()
    """Who is told losses, validation scores and rates while training goes on. Everything stays on this machine unless
    the tracker's own environment variables say otherwise."""
    processes: Literal["ddp", "fsdp"] = "ddp"
    """Started by `torchrun` or `accelerate launch`: every process holds the whole student, or a part of each weight."""

    objectives: ObjectiveSettings = ObjectiveSettings()
    rationale: RationaleSettings = RationaleSettings()
    distillation: DistillationSettings = DistillationSettings()
    contrastive: ContrastiveSettings = ContrastiveSettings()

    @model_validator(mode="after")
    def _start_possible(self) -> Self:
        if self.method == "prefix" and self.projection and self.initialisation != "random":
            raise ValueError(
                f"train.projection = true needs train.initialisation = 'random', not {self.initialisation!r}: the "
                "values of a projected prefix cannot be chosen"
            )
        if self.method == "prompt" and self.initialisation == "zero":
            raise ValueError(
                "train.initialisation = 'zero' is for a prefix; the tokens of prompt tuning would all start alike: "
                "take 'text' or 'random'"
            )
        return self

    @property
    def scale(self) -> float | None:
        """What LoRA's product is multiplied by: alpha/r, for rslora alpha/sqrt(r); None for other methods."""
        if self.method not in LORA:
            return None
        return self.alpha / (math.sqrt(self.rank) if self.method == "rslora" else self.rank)

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
        leaves the results that were computed before it valid. Keys of `ACCOMPANYING` never count, nor does the place
        of a teacher's weights: what they hold decides, and stands beside these keys (`train.teaching.identity_of`).
        The tables of objectives that are not learnt do not count either. A method of `METHOD_VERSIONS` counts with its
        version.
        """
        idle = [name for name in ("rationale", "distillation", "contrastive") if not getattr(self.objectives, name)]
        without: dict[str, Any] = {"distillation": {"weights"}, **dict.fromkeys((*ACCOMPANYING, *idle), True)}
        given = self.model_dump(mode="json", include=include, exclude=without)
        usual = type(self)().model_dump(mode="json", exclude=without)
        version = {} if include or self.method not in METHOD_VERSIONS else {"version": METHOD_VERSIONS[self.method]}
        return version | {
            key: _differing(value, usual[key])
            for key, value in given.items()
            if key in FIRST_KEYS or value != usual[key]
        }


def _differing(value: Any, usual: Any) -> Any:
    """Of a table only the keys that differ from their default; any other value as it is."""
    if not isinstance(value, dict) or not isinstance(usual, dict):
        return value
    return {key: inner for key, inner in value.items() if inner != usual.get(key)}


LORA = frozenset({"lora", "rslora", "dora"})
"""Words of `method` for LoRA and its variants."""

VIRTUAL = frozenset({"prefix", "prompt", "p-tuning"})
"""Words of `method` whose virtual tokens take positions of the model's window."""

FIRST_KEYS = frozenset(
    {
        *("method", "rank", "alpha", "dropout", "targets", "virtual_tokens", "initialisation", "initial_text"),
        *("learning_rate", "weight_decay", "epochs", "steps", "batch_size", "batch_tokens", "accumulation"),
        *("warmup", "max_length", "select", "dtype"),
    }
)
"""Keys of `[train]` that are part of the identity of every result. Never add to them."""

METHOD_VERSIONS = {"dora": 2}
"""Raise (or begin with 2) when the code trains a method to other numbers, so that its results are computed anew."""

ACCOMPANYING = {"checkpoint_seconds", "checkpoint_every", "track", "processes"}
"""Keys of `[train]` that say how training is carried out and not what is learnt."""


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
    teacher: bool = True
    """Ask the teacher that writes data validation items too: what it knows itself stands beside each arm's gain."""
    teacher_items: int = Field(50, ge=1)
    """So many of them at most, the same that a labeller is checked on."""

    def deciding(self) -> dict[str, Any]:
        """The keys that can change a student's prediction: batch size, resampling and what a teacher says cannot."""
        without = {"batch_size", "resamples", "interval_seed", "teacher", "teacher_items"}
        return self.model_dump(mode="json", exclude=without)
