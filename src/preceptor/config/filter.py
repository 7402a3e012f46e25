"""`[filter]`: which generated examples are dropped."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Section, Seed
from preceptor.config.teacher import TeacherSettings

FILTERS = ("wellformed", "drift", "duplicates", "leakage")

UNASKED = {"edit": ("duplicates", "leakage"), "published": ("wellformed", "duplicates", "leakage")}
"""Strategy -> filters of the chain that judge what no teacher of the run wrote. An edited text is not well-formed and
says nothing new by design, and what costs nothing is not worth a teacher's second opinion."""


class WellformedSettings(Section):
    """Bounds of the `wellformed` filter."""

    min_words: int = Field(4, ge=1)
    max_ratio: float = Field(3.0, gt=1)
    """A rewritten field may be at most so many times as long as its parent, in words."""


class DriftSettings(Section):
    """Bounds of the `drift` filter."""

    min_similarity: float = Field(0.75, ge=-1, le=1)
    """Cosine of MiniLM embeddings between a rewritten text and its parent."""
    max_copy: float = Field(0.97, gt=0, le=1)
    """A rewrite more similar to its parent than this (normalised edit similarity) is a copy."""


class DuplicateSettings(Section):
    """Bounds of the `duplicates` filter."""

    max_similarity: float = Field(0.95, gt=0, le=1)
    """Normalised edit similarity from which two texts count as near duplicates."""


class LeakageSettings(Section):
    """Bounds of the `leakage` filter."""

    ngram: int = Field(8, ge=3)
    """Length in words of the runs that must not be shared with a validation or test item, unless they are common."""
    max_similarity: float = Field(0.85, gt=0, le=1)
    """Cosine of MiniLM embeddings from which a question counts as a test item's. On the development half of
    `bench/planted.py` no clean question has more than 0.66, no title of another abstract more than 0.82."""
    require_parent: bool = True
    """Whether a candidate must name known training items as its parents. False for candidates made elsewhere."""


class NoveltySettings(Section):
    """Bounds of the `novelty` filter, which runs when the chain names it."""

    max_f: float = Field(0.7, ge=0, le=1)
    """ROUGE-L F-measure up to which a text counts as new; Self-Instruct's value."""
    fields: tuple[str, ...] = ()
    """Fields that are compared, joined in this order; empty: the questions among the inputs, else all inputs."""
    real: bool = True
    """Compare with the real training items too, not only with the candidates kept so far."""


class AgreementSettings(Section):
    """The `agreement` filter: somebody else answers each generated item from what a student would see."""

    labeller: Literal["teacher", "other", "student"] = "teacher"
    """`teacher`: the usual one, of `[teacher]`; `other`: the one of `[filter.agreement.teacher]`; `student`: a student
    of the recipe, trained on real items only and never on the item's own parent."""
    teacher: TeacherSettings | None = None
    """The other teacher. Its temperature and max_tokens are the ones below."""
    student: str | None = None
    """Name of the student; None: the first that is trained in the setting."""
    mode: Literal["drop", "relabel", "weight"] = "drop"
    """What becomes of a disagreement. `relabel`: the item takes the labeller's label. `weight`: the item counts in
    training by the share of votes, or the probability, that its own label got."""
    draws: int = Field(1, ge=1)
    """Answers per item, an odd number: more than half of them make a label."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(32, ge=1)
    min_share: float = Field(0.5, gt=0, le=1)
    """`relabel`: share of votes, or probability, that the labeller's label needs to replace the item's."""
    unread: Literal["drop", "keep"] = "drop"
    """What becomes of an item whose answer gave no label: unparsed, refused, cut off, or no answer at all."""
    check_items: int = Field(50, ge=0)
    """Validation items that the labeller is asked about too, so that the report can say how far to trust it."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse_ways_of_writing("filter.agreement", self.teacher)
        if (self.labeller == "other") != (self.teacher is not None):
            raise ValueError(
                'filter.agreement.labeller = "other" needs a table [filter.agreement.teacher]'
                if self.teacher is None
                else '[filter.agreement.teacher] is only for filter.agreement.labeller = "other"'
            )
        if self.student is not None and self.labeller != "student":
            raise ValueError('filter.agreement.student is only for filter.agreement.labeller = "student"')
        if self.draws % 2 == 0:
            raise ValueError(f"filter.agreement.draws = {self.draws}: a vote needs an odd number")
        if self.draws > 1 and self.labeller == "student":
            raise ValueError("filter.agreement.draws: a trained student always gives the same answer; leave it at 1")
        if self.draws > 1 and not self.temperature:
            raise ValueError(
                "filter.agreement.draws: at temperature 0 all draws are alike; set filter.agreement.temperature"
            )
        return self


class JudgeSettings(Section):
    """The `judge` filter: a teacher compares each generated item with its parent by a rubric, in both orders."""

    teacher: TeacherSettings | None = None
    """None: the one that wrote the data, which may well like its own words. Its temperature and max_tokens are the
    ones below."""
    min_score: float = Field(3.0, ge=1, le=5)
    """What each criterion needs, as the mean of both orders."""
    tolerance: int = Field(1, ge=0, le=4)
    """A score may differ by so much between the orders; a pair with more is inconsistent."""
    inconsistent: Literal["drop", "keep"] = "drop"
    unread: Literal["drop", "keep"] = "drop"
    """What becomes of a pair without a readable answer in each order."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(160, ge=1)
    seed: Seed = 0
    """Decides which order of a pair is asked first."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse_ways_of_writing("filter.judge", self.teacher)
        return self


def refuse_ways_of_writing(where: str, teacher: TeacherSettings | None) -> None:
    """Refuse ways of writing in a teacher that only reads: they would be left unused without a word."""
    for key in ("temperature", "top_p", "repetition_penalty", "frequency_penalty", "presence_penalty"):
        if teacher is not None and getattr(teacher, key) is not None:
            hint = f"set {where}.temperature" if key == "temperature" else "leave it out"
            raise ValueError(f"{where}.teacher.{key} is not used there: {hint}")
    if teacher is not None and teacher.preset != "default":
        raise ValueError(f"{where}.teacher.preset is not used there: leave it out")


class FilterSettings(Section):
    """`[filter]`: which generated examples are dropped."""

    chain: tuple[Literal["wellformed", "drift", "duplicates", "novelty", "leakage", "agreement", "judge"], ...] = (
        FILTERS  # type: ignore[assignment]
    )
    """`novelty`, `agreement` and `judge` stand there only when a recipe names them: the first would drop most rewrites,
    the others ask a teacher or train a student."""
    wellformed: WellformedSettings = WellformedSettings()
    drift: DriftSettings = DriftSettings()
    duplicates: DuplicateSettings = DuplicateSettings()
    leakage: LeakageSettings = LeakageSettings()
    novelty: NoveltySettings = NoveltySettings()
    agreement: AgreementSettings = AgreementSettings()
    judge: JudgeSettings = JudgeSettings()

    def of_strategy(self, strategy: str) -> Self:
        """The settings with the part of the chain that judges a strategy's candidates."""
        if strategy not in UNASKED:
            return self
        return self.model_copy(update={"chain": tuple(name for name in self.chain if name in UNASKED[strategy])})

    @property
    def labelling_student(self) -> bool:
        """Whether a student is trained to label generated items."""
        return "agreement" in self.chain and self.agreement.labeller == "student"
