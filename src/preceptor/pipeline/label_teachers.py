"""The teachers that write for the arms: the usual one of `[teacher]`, and the further ones of `[teachers]`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preceptor.config import Recipe, TeacherSettings, strategy_of, written_by
from preceptor.records import TeacherScore
from preceptor.teachers.base import Teacher
from preceptor.teachers.local import LocalTeacher
from preceptor.teachers.make import make_teacher
from preceptor.teachers.prices import Price, price_of


@dataclass(frozen=True)
class Writer:
    """A teacher that writes."""

    name: str
    """In `[teachers]`; empty for the usual one."""
    teacher: Teacher
    settings: TeacherSettings

    @property
    def price(self) -> Price | None:
        """Of its tokens; None where it is not known."""
        return price_of(self.settings)

    @property
    def label(self) -> str:
        """For people: the model, and before it the name that a further teacher has in the recipe."""
        return label_of(self.name, self.teacher.name)

    def folder(self, what: str) -> str:
        """The name of a folder with what this teacher did."""
        return f"{what}@{self.name}" if self.name else what

    def strategies(self, recipe: Recipe, setting: str) -> list[str]:
        """What it is asked for in a data setting, by strategy."""
        found = [strategy_of(made) for made in recipe.strategies_in(setting) if made in recipe.asking]
        return [strategy for strategy, name in found if name == self.name]

    def makes(self, strategy: str) -> str:
        """How what it makes with a strategy is called."""
        return written_by(strategy, self.name)

    def asked(self, record: Mapping[str, Any]) -> Mapping[str, Any]:
        """A stage's record of what was asked, under this teacher's label."""
        return {**record, "teacher": self.label}

    def scored(self, score: TeacherScore) -> TeacherScore:
        """The score under this teacher's label."""
        return replace(score, teacher=self.label)

    def rest(self) -> None:
        """Let go of a model on this machine, so that the next teacher has room; it is loaded again if it is asked."""
        if isinstance(self.teacher, LocalTeacher):
            self.teacher.unload()


def label_of(name: str, model: str) -> str:
    """A teacher for people, by its name in `[teachers]` (empty for the usual one) and its model's."""
    return f"{name} ({model})" if name else model


def make_writers(recipe: Recipe, folder: Path, say: Callable[[str], None] | None = None) -> dict[str, Writer]:
    """The teachers that write, by name; all are made before one is asked, so that a missing key shows at once."""
    return {
        name: Writer(name, make_teacher(settings, folder, say), settings) for name, settings in recipe.writers.items()
    }
