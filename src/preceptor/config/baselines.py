"""`[[baselines]]`: who answers the test items untrained, after how many solved examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from preceptor.config.base import Name, Section, Seed
from preceptor.config.filter import refuse_ways_of_writing
from preceptor.config.teacher import TeacherSettings

TRUE, NAMED, TABLE = "[true]", "[name]", "[table]"
"""Names of the ways to write `teacher`; `sentences.py` leaves them out of keys."""


def _way(given: Any) -> str:
    if isinstance(given, dict | TeacherSettings):
        return TABLE
    return NAMED if isinstance(given, str) else TRUE


Asked = Annotated[
    Annotated[Literal[True], Tag(TRUE)] | Annotated[Name, Tag(NAMED)] | Annotated[TeacherSettings, Tag(TABLE)],
    Discriminator(_way),
]


class BaselineSettings(Section):
    """One entry of `[[baselines]]`: a model or a teacher."""

    name: Name
    """May be a student's name: `preceptor compare --arms 5-shot` then compares both."""
    model: str | None = None
    """A causal language model on this machine, named as a student's. It reads the very text that students read."""
    teacher: Asked | None = None
    """`true`: the recipe's own [teacher]; a name: that entry of [teachers]; or a table with the keys of [teacher]. Its
    temperature and max_tokens are the ones below. It is asked as a chat, through the ledger and within [budget]."""
    settings: tuple[Name, ...] = ()
    """Data settings in which it answers; empty: all of them."""
    shots: tuple[Annotated[int, Field(ge=0)], ...] = (0,)
    """Solved training items before each item, a row of the results for each number."""
    shot_seed: Seed = 0
    """Decides which items and in which order."""
    draw: Literal["fixed", "per-item"] = "fixed"
    """`fixed`: the same solved items before every item. `per-item`: others before each, decided by its id too."""
    read: Literal["likelihood", "generation"] | None = None
    """None: as the students (evaluate.read); a teacher always by generation, since chats give no label likelihoods."""
    max_length: int | None = Field(None, ge=16)
    """A model: tokens that an item and its answer may have, the solved items not counted. None: as a student of the
    same model, else train.max_length."""
    dtype: Literal["auto", "float32", "bfloat16"] | None = None
    """A model: None as for max_length."""
    max_tokens: int | None = Field(None, ge=1)
    """Generation: tokens of an answer. None: evaluate.max_tokens for a model, 32 for a teacher."""
    temperature: float = Field(0.0, ge=0, le=2)
    """A teacher's."""

    @field_validator("shots")
    @classmethod
    def _some_shots(cls, shots: tuple[int, ...]) -> tuple[int, ...]:
        if not shots or len(set(shots)) != len(shots):
            raise ValueError(f"baselines.shots = {list(shots)}: give at least one number, and each once")
        return shots

    @model_validator(mode="after")
    def _one_reader(self) -> Self:
        where = f"baselines.{self.name}"
        if (self.model is None) == (self.teacher is None):
            raise ValueError(f"{where} needs a model or a teacher" + (", not both" if self.model is not None else ""))
        if self.teacher is None:
            if self.temperature:
                raise ValueError(f"{where}.temperature is for teachers; a model is read as evaluate.decoding says")
            return self
        if self.read == "likelihood":
            raise ValueError(
                f'{where}.read = "likelihood" needs a model: a teacher says words and no likelihoods of labels'
            )
        for key in ("max_length", "dtype"):
            if getattr(self, key) is not None:
                raise ValueError(f"{where}.{key} is for models; leave it out for a teacher")
        if isinstance(self.teacher, TeacherSettings):
            refuse_ways_of_writing(where, self.teacher)
        return self

    @property
    def named(self) -> str:
        """The entry of `[teachers]` that answers; empty where none does."""
        return self.teacher if isinstance(self.teacher, str) else ""

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of its rows among the arms: `0-shot`, `5-shot`."""
        return tuple(f"{count}-shot" for count in self.shots)
