"""`Recipe`: a whole experiment on a task with labels."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from preceptor.config.augment import STRATEGIES, AugmentSettings
from preceptor.config.base import Name, Section, Seed
from preceptor.config.data import DataSettings
from preceptor.config.filter import FilterSettings
from preceptor.config.published import PublishedSettings, Words
from preceptor.config.teacher import BudgetSettings, TeacherSettings
from preceptor.config.train import EvaluateSettings, StudentSettings, TrainSettings, training_of


class Recipe(Section):
    """A whole experiment."""

    name: Name
    title: str
    notice: str = ""
    """A sentence that the report shows first, e.g. that the data is made up."""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """One student is trained per seed and arm."""
    results: str | None = None
    """Folder in which every finished cell's predictions are kept as JSON, relative to the recipe: what is found there
    for the same inputs is not computed again, so that an experiment may be run in parts and on several machines."""
    published: tuple[PublishedSettings, ...] = ()
    published_notes: tuple[Words, ...] = ()
    """Sentences that the report says below the published figures."""
    data: DataSettings
    teacher: TeacherSettings = TeacherSettings()
    budget: BudgetSettings = BudgetSettings()
    arms: dict[Name, tuple[Literal["rewrite", "new"], ...]] = {"none": (), "rewrite": ("rewrite",)}
    """Arm name -> strategies whose kept examples join the real data. All arms get equal optimiser steps."""
    augment: AugmentSettings = AugmentSettings()
    filter: FilterSettings = FilterSettings()
    train: TrainSettings = TrainSettings()
    students: tuple[StudentSettings, ...]
    evaluate: EvaluateSettings = EvaluateSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.students:
            raise ValueError("students: at least one [[students]] entry is needed")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: give at least one seed and each once, got {list(self.seeds)}")
        if not self.arms:
            raise ValueError("arms: at least one arm is needed")
        if self.arms.get("none"):
            raise ValueError(
                "arms.none is the real data alone, to which the others are compared: give it no strategies"
            )
        if "untrained" in self.arms:
            raise ValueError("arms.untrained: this name means the student as it came; choose another")
        if self.filter.labelling_student:
            for setting in self.data.settings or ("",):
                self.labelling_student(setting)
        # One name may stand twice if the settings differ: the same student trained with other values.
        names = [(s.name, setting) for s in self.students for setting in s.settings or self.data.settings or ("",)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"students: {twice[0][0]!r} is given twice for the setting {twice[0][1]!r}")
        for student in self.students:
            unknown = set(student.settings) - set(self.data.settings)
            if student.settings and unknown:
                known = list(self.data.settings)
                raise ValueError(f"students.{student.name}.settings: {sorted(unknown)[0]!r} is not in {known}")
            self.training_of(student)
        return self

    @property
    def strategies(self) -> tuple[str, ...]:
        """Strategies that some arm uses, in a fixed order."""
        return tuple(s for s in STRATEGIES if any(s in used for used in self.arms.values()))

    def labelling_student(self, setting: str) -> StudentSettings:
        """The student that labels generated items in a data setting; raises `ValueError` when there is none."""
        name = self.filter.agreement.student
        for student in self.students:
            if name in (None, student.name) and (not student.settings or setting in student.settings):
                return student
        where = f" in the setting {setting!r}" if setting else ""
        raise ValueError(
            f"filter.agreement.student: {'no student' if name is None else f'no student {name!r}'} is trained{where}"
        )

    def training_of(self, student: StudentSettings) -> TrainSettings:
        """`[train]` with the student's own keys over it."""
        return training_of(self.train, student)
