"""`AdaptRecipe`: continued language-model training on unlabelled text of the domain."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Name, Section, Seed
from preceptor.config.data import DataSettings
from preceptor.config.objectives import ObjectiveSettings
from preceptor.config.train import TrainSettings


class SourceSettings(Section):
    """One entry of `[[sources]]`: where documents are read from."""

    kind: Literal["texts", "rct-abstracts"] = "texts"
    """`texts`: a file, or a folder of files, of the kinds .jsonl and .parquet (one document per row) and .txt (one
    document per file). `rct-abstracts`: abstracts of trials, a JSON object per line with pmcid, title and sections."""
    path: str
    """Folder or file. A leading `~` and `$VARIABLES` are expanded; relative to the recipe's folder."""
    text: str = "text"
    """Key of the text in .jsonl, or column in .parquet."""


class ExcludeSettings(Section):
    """One entry of `[exclude.NAME]`: what must not be in the training text. Either items of a task or documents."""

    data: DataSettings | None = None
    """Items of a task with labels, as a recipe's `[data]` names them."""
    parts: tuple[Literal["train", "validation", "test"], ...] = ("validation", "test")
    """Of `data`, the parts whose texts are excluded."""
    source: SourceSettings | None = None
    """Documents, as an entry of `[[sources]]` names them."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if (self.data is None) == (self.source is None):
            raise ValueError("an entry of [exclude] needs exactly one of data and source")
        if not self.parts:
            raise ValueError("exclude: parts names no part, so nothing would be excluded")
        return self


class AdaptSettings(Section):
    """`[adapt]`: which model reads how much of what."""

    model: str
    """A causal language model: `builtin:smollm2-135m-instruct`, a local folder, or a hub name."""
    length: int = Field(512, ge=16)
    """Tokens of a window: documents are joined, with end-of-text between them, and cut into windows of this length."""
    test_documents: int = Field(200, ge=2)
    """Documents that are held out and whose perplexity is reported."""
    validation_documents: int = Field(50, ge=1)
    """Documents that are held out and by which the kept state is selected."""
    split_seed: Seed = 0
    """Seed of the split and of the draw of `max_documents`."""
    max_documents: int | None = Field(None, ge=1)
    """Use at most so many documents in all, drawn with `split_seed`; None: all."""
    max_similarity: float = Field(0.95, gt=0, le=1)
    """Normalised edit similarity from which a training document is a held-out one, or another training document."""
    ngram: int = Field(8, ge=3)
    """Length in words of the runs that a training document must not share with a held-out or excluded text, unless
    they are common: as in the filter `leakage`."""


class PerplexitySettings(Section):
    """`[evaluate]`: how the intervals of perplexities are computed."""

    resamples: int = Field(2000, ge=100)
    """Bootstrap resamples of documents."""
    interval_seed: Seed = 0


class AdaptRecipe(Section):
    """A whole adaptation: one model, trained on with its own kind of loss."""

    name: Name
    title: str
    notice: str = ""
    """A sentence that the report shows first."""
    seed: Seed = 1
    adapt: AdaptSettings
    sources: tuple[SourceSettings, ...]
    exclude: dict[Name, ExcludeSettings] = {}
    train: TrainSettings = TrainSettings()
    evaluate: PerplexitySettings = PerplexitySettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.sources:
            raise ValueError("sources: at least one [[sources]] entry is needed")
        if self.train.method not in ("lora", "full"):
            raise ValueError(
                f"train.method = {self.train.method!r}: what it learns cannot become part of the model's own weights, "
                'so adapt takes "lora" or "full"'
            )
        if self.train.select not in ("loss", "last"):
            raise ValueError(f'train.select = {self.train.select!r} needs labels; adapt takes "loss" or "last"')
        if self.train.objectives != ObjectiveSettings():
            raise ValueError("train.objectives is for tasks with labels: adapt learns to expect text")
        if self.train.max_length != TrainSettings.model_fields["max_length"].default:
            raise ValueError("train.max_length has no meaning for adapt: set adapt.length, the tokens of a window")
        return self
