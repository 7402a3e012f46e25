"""`InstructRecipe`: from seed tasks to students that follow instructions, scored on benchmarks."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from preceptor.config.base import Name, Section, Seed
from preceptor.config.filter import refuse_ways_of_writing
from preceptor.config.instruct import BenchmarkSettings, InstructSettings
from preceptor.config.objectives import ObjectiveSettings
from preceptor.config.teacher import BudgetSettings, TeacherSettings
from preceptor.config.train import StudentSettings, TrainSettings, training_of
from preceptor.records import CATEGORIES

GENERATED = "generated"
"""Source of an arm: the tasks that the teacher wrote; `generated:CATEGORY` those of one category."""

Weight = Annotated[float, Field(gt=0)]


class FollowerSettings(StudentSettings):
    """One entry of `[[students]]`."""

    form: Literal["auto", "chat", "alpaca"] = "auto"
    """How an instruction is shown: by the tokenizer's chat template, or in Alpaca's form; `auto`: the template where
    there is one."""
    arms: tuple[Name, ...] = ()
    """Arms in which it is tuned; empty: all of them."""
    tune: bool = True
    """False: it is only scored as it is."""


class JudgingSettings(Section):
    """`[evaluate.judge]`: a teacher that scores generated texts beside the reference, in both orders."""

    teacher: TeacherSettings = TeacherSettings()
    temperature: float = Field(0.0, ge=0, le=2)
    max_tokens: int = Field(64, ge=1)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        refuse_ways_of_writing("evaluate.judge", self.teacher)
        return self


class MeasureSettings(Section):
    """`[evaluate]`: how students of instructions are scored."""

    batch_size: int = Field(32, ge=1)
    """Answers written at a time."""
    embedding: Literal["builtin:minilm-l6", "bertscore", "off"] = "builtin:minilm-l6"
    """How near in meaning a text is to its reference; `bertscore` needs the package bert-score and its model."""
    judge: JudgingSettings | None = None
    resamples: int = Field(2000, ge=100)
    interval_seed: Seed = 0


class InstructRecipe(Section):
    """An experiment on instructions: write them, tune students on them, score these on benchmarks."""

    name: Name
    title: str
    notice: str = ""
    seeds: tuple[Seed, ...] = (1, 2, 3)
    """One student is tuned per seed and arm."""
    results: str | None = None
    """Folder in which every finished cell's scores are kept as JSON, relative to the recipe: what is found there for
    the same inputs is not computed again, so that an experiment may be run in parts and on several machines."""
    instruct: InstructSettings | None = None
    """None: nothing is generated; arms use benchmarks alone."""
    teacher: TeacherSettings = TeacherSettings()
    budget: BudgetSettings = BudgetSettings()
    benchmarks: tuple[BenchmarkSettings, ...] = ()
    arms: dict[Name, dict[str, Weight]] = {}
    """Arm -> source -> weight: the share of training items that are drawn from it. Sources: `generated`,
    `generated:CATEGORY`, or a benchmark's name (its training items). All arms get `train.steps` steps. The student
    before tuning is always scored, as `none`."""
    min_tasks: int = Field(100, ge=1)
    """An arm with fewer generated tasks than this in one of its sources is reported as not run."""
    train: TrainSettings = TrainSettings(steps=100)
    students: tuple[FollowerSettings, ...] = ()
    evaluate: MeasureSettings = MeasureSettings()

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.instruct is None and not self.benchmarks:
            raise ValueError("a recipe without [data] needs [instruct], [[benchmarks]] or both")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds: give at least one seed and each once, got {list(self.seeds)}")
        for kind, names in (("benchmarks", self.benchmarks), ("students", self.students)):
            given = [entry.name for entry in names]
            if twice := sorted({name for name in given if given.count(name) > 1}):
                raise ValueError(f"{kind}: {twice[0]!r} is given twice")
        if self.students and not any(benchmark.scored for benchmark in self.benchmarks):
            raise ValueError("students need at least one scored entry of [[benchmarks]]")
        if "none" in self.arms:
            raise ValueError("arms.none: this name means the student before tuning; choose another")
        for arm, sources in self.arms.items():
            self._check_sources(arm, sources)
        for student in self.students:
            self._check_student(student)
        return self

    def _check_sources(self, arm: str, sources: dict[str, float]) -> None:
        if not sources:
            raise ValueError(f"arms.{arm}: name at least one source with its weight")
        generated = [GENERATED, *(f"{GENERATED}:{category}" for category in CATEGORIES)]
        known = [*(generated if self.instruct else ()), *(benchmark.name for benchmark in self.benchmarks)]
        for source in sources:
            if source not in known:
                raise ValueError(f"arms.{arm}: {source!r} is no source; there are {', '.join(known) or 'none'}")

    def _check_student(self, student: FollowerSettings) -> None:
        if unknown := sorted(set(student.arms) - set(self.arms)):
            raise ValueError(f"students.{student.name}.arms: there is no arm {unknown[0]!r}")
        if not student.tune and student.arms:
            raise ValueError(f"students.{student.name}: tune = false and arms exclude one another")
        if self.training_of(student).steps is None:
            raise ValueError("train.steps: arms of different sizes need a number of steps to be compared at")
        if self.training_of(student).objectives != ObjectiveSettings():
            raise ValueError("train.objectives is for tasks with labels: instructions have their answers alone")

    def arms_of(self, student: FollowerSettings) -> tuple[str, ...]:
        """Names of the arms in which a student is tuned."""
        return (student.arms or tuple(self.arms)) if student.tune else ()

    def training_of(self, student: FollowerSettings) -> TrainSettings:
        """`[train]` with the student's own keys over it."""
        return training_of(self.train, student)
