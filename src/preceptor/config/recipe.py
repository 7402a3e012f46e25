"""`Recipe`: a whole experiment on a task with labels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Self

from pydantic import ValidationError, field_validator, model_validator

from preceptor.config.arms import (
    ArmSettings,
    check_arms,
    check_places,
    known_teachers,
    long_forms,
    meet,
    strategy_of,
    written_by,
)
from preceptor.config.augment import ASKING, STRATEGIES, AugmentSettings
from preceptor.config.base import Name, Section, Seed
from preceptor.config.baselines import BaselineSettings
from preceptor.config.data import DataSettings
from preceptor.config.filter import FilterSettings
from preceptor.config.published import PublishedSettings, Words
from preceptor.config.sentences import sentence_of
from preceptor.config.sweep import SweepSettings, check_sweep
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
    reuse: tuple[str, ...] = ()
    """Folders of other recipes' `results`, relative to the recipe: what one of them holds for the same inputs is taken
    over into `results` and not computed again. Not of a sweep's points or of baselines."""
    published: tuple[PublishedSettings, ...] = ()
    published_notes: tuple[Words, ...] = ()
    """Sentences that the report says below the published figures."""
    data: DataSettings
    teacher: TeacherSettings = TeacherSettings()
    """The usual one: it writes for the arms that name none, and reads for filters that have no teacher of their own."""
    teachers: dict[Name, TeacherSettings] = {}
    """Further ones, each with the keys of `[teacher]`, for arms and baselines that name them. One that none of them
    names is refused."""
    budget: BudgetSettings = BudgetSettings()
    arms: dict[Name, ArmSettings] = {"none": ArmSettings(), "rewrite": ArmSettings(use=("rewrite",))}
    """What each arm is trained on. A list of strategies is short for a table with `use`. All arms get equal optimiser
    steps."""
    augment: AugmentSettings = AugmentSettings()
    filter: FilterSettings = FilterSettings()
    train: TrainSettings = TrainSettings()
    students: tuple[StudentSettings, ...] = ()
    """May be left out where there are baselines."""
    baselines: tuple[BaselineSettings, ...] = ()
    evaluate: EvaluateSettings = EvaluateSettings()
    sweep: SweepSettings | None = None

    @field_validator("arms", mode="before")
    @classmethod
    def _long_arms(cls, given: Any) -> Any:
        return long_forms(given)

    @field_validator("teachers", mode="before")
    @classmethod
    def _own_names(cls, given: Any) -> Any:
        # What is wrong with one of them would be said of [teacher] otherwise.
        for name, one in given.items() if isinstance(given, dict) else ():
            try:
                TeacherSettings.model_validate(one)
            except ValidationError as error:
                if error.errors()[0]["type"] == "value_error":
                    raise ValueError(sentence_of(error).replace("teacher.", f"teachers.{name}.")) from error
        return given

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if not self.students and not self.baselines:
            raise ValueError("students: at least one [[students]] entry is needed")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: give at least one seed and each once, got {list(self.seeds)}")
        if self.reuse and self.results is None:
            raise ValueError("reuse: what is taken over goes into results: name a folder there, too")
        check_arms(self.arms, self.teachers, {baseline.named for baseline in self.baselines})
        for baseline in self.baselines:
            if baseline.named and baseline.named not in self.teachers:
                raise ValueError(
                    f"baselines.{baseline.name}.teacher: there is no teacher {baseline.named!r}; "
                    f"{known_teachers(self.teachers)}"
                )
        self._check_published()
        if self.filter.labelling_student:
            for setting in self.data.settings or ("",):
                self.labelling_student(setting)
        self._check_names("students", self.students)
        self._check_names("baselines", self.baselines)
        check_places(self.arms, self.data.settings, self.students)
        for student in self.students:
            self.training_of(student)
        if self.baselines and (taken := next((arm for arm in self.arms if re.fullmatch(r"\d+-shot", arm)), None)):
            raise ValueError(f"arms.{taken}: this name means a baseline; choose another")
        if self.sweep is not None:
            check_sweep(self, self.sweep)
        return self

    def _check_names(self, where: str, entries: Sequence[StudentSettings | BaselineSettings]) -> None:
        # One name may stand twice if the settings differ: the same student trained with other values.
        names = [(one.name, setting) for one in entries for setting in one.settings or self.data.settings or ("",)]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"{where}: {twice[0][0]!r} is given twice for the setting {twice[0][1]!r}")
        for one in entries:
            unknown = set(one.settings) - set(self.data.settings)
            if one.settings and unknown:
                known = list(self.data.settings)
                raise ValueError(f"{where}.{one.name}.settings: {sorted(unknown)[0]!r} is not in {known}")

    def _check_published(self) -> None:
        users = [name for name, arm in self.arms.items() if "published" in arm.use]
        if users and self.augment.published is None:
            raise ValueError(f"arms.{users[0]}.use: the strategy 'published' needs augment.published, a file of items")
        if self.augment.published is not None and self.data.task != "jsonl":
            raise ValueError(
                'augment.published is for data.task = "jsonl", whose table [data.own] says how to read the file, not '
                f"{self.data.task!r}"
            )

    @property
    def strategies(self) -> tuple[str, ...]:
        """What some arm is trained on beside real items, in a fixed order; nothing where nobody is trained.

        The strategies by their names, those that a further teacher follows as `written_by` names them.
        """
        if not self.students:
            return ()
        made = {one for arm in self.arms.values() for one in arm.makes}
        names = [written_by(strategy, teacher) for strategy in STRATEGIES for teacher in ("", *self.teachers)]
        return tuple(one for one in dict.fromkeys(names) if one in made)

    def arms_in(self, setting: str) -> tuple[str, ...]:
        """The arms that are trained in a data setting, in the recipe's order."""
        return tuple(name for name, arm in self.arms.items() if arm.belongs_to(setting))

    def strategies_in(self, setting: str) -> tuple[str, ...]:
        """Those of `strategies` whose examples some student is trained on in a data setting."""
        if not any(meet(student.settings, (setting,)) for student in self.students):
            return ()
        made = {one for name in self.arms_in(setting) for one in self.arms[name].makes}
        return tuple(one for one in self.strategies if one in made)

    @property
    def asking(self) -> tuple[str, ...]:
        """Those of them that ask a teacher."""
        return tuple(one for one in self.strategies if strategy_of(one)[0] in ASKING)

    @property
    def writers(self) -> dict[str, TeacherSettings]:
        """The teachers that write: the usual one under an empty name, where some arm needs it, and the further ones."""
        named = {"": self.teacher, **self.teachers}
        return {name: one for name, one in named.items() if any(strategy_of(a)[1] == name for a in self.asking)}

    @property
    def teacher_scored(self) -> bool:
        """Whether the teachers are asked the validation items."""
        return bool(self.asking) and self.evaluate.teacher

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

    def reading_of(self, baseline: BaselineSettings) -> TrainSettings:
        """What gives a baseline's model `max_length` and `dtype`: its own keys, over a student's of the same model."""
        like = next((s for s in self.students if s.model == baseline.model), None)
        settings = self.train if like is None else self.training_of(like)
        own = {"max_length": baseline.max_length, "dtype": baseline.dtype}
        return settings.model_copy(update={key: value for key, value in own.items() if value is not None})
