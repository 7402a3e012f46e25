"""The cells of an experiment on instructions: which there are, what they depend on, and what is known of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.config import GENERATED, FollowerSettings, InstructRecipe, TrainSettings
from preceptor.data.benchmark import Benchmark
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.tasks import Tasks
from preceptor.progress import Progress
from preceptor.records import BenchmarkScores, Instruction, instructions_hash
from preceptor.store.results import ResultsBook
from preceptor.store.stages import identity, made_by

if TYPE_CHECKING:
    from preceptor.evaluate.judging import TextJudge

VERSIONS = {"train": 1, "evaluate": 1}
"""Raise a stage's number when its code gives other results."""

NONE = "none"
"""Name of the student before tuning."""


@dataclass(frozen=True)
class Cell:
    """One student in one arm and with one seed. The arm `none` is the student before tuning."""

    student: FollowerSettings
    settings: TrainSettings
    arm: str
    seed: int

    @property
    def name(self) -> str:
        """Its name as a file."""
        return f"{self.student.name}-{self.arm}" + (f"-seed-{self.seed}" if self.tuned else "")

    @property
    def tuned(self) -> bool:
        """Whether there is anything to train."""
        return self.arm != NONE

    def place(self, root: Path) -> Path:
        """Its folder below `root`."""
        return root / self.student.name / self.arm / f"seed-{self.seed}"

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.student.name}, {self.arm}" + (f", seed {self.seed}" if self.tuned else "")


@dataclass
class InstructRun:
    """One run's recipe, folder and what has been found so far."""

    recipe: InstructRecipe
    folder: Path
    base: Path
    """Folder of the recipe: relative paths in it start here."""
    progress: Progress
    command: str
    deadline: Deadline
    benchmarks: dict[str, Benchmark] = field(default_factory=dict)
    tasks: Tasks | None = None
    judge: TextJudge | None = None

    @property
    def book(self) -> ResultsBook:
        """Where the results of cells are kept."""
        given = self.recipe.results
        return ResultsBook(self.folder / "results" if given is None else (self.base / given).resolve())

    @property
    def scored(self) -> list[Benchmark]:
        """Benchmarks on which students are scored, in the recipe's order."""
        return [self.benchmarks[settings.name] for settings in self.recipe.benchmarks if settings.scored]

    def items_of(self, source: str) -> Sequence[Instruction]:
        """Training items of a source of an arm."""
        if source in self.benchmarks:
            return self.benchmarks[source].train
        assert self.tasks is not None
        return self.tasks.of(source)


def cells(state: InstructRun) -> Iterator[Cell]:
    """Every cell, seed by seed, so that a part of them is a whole experiment with fewer seeds."""
    recipe = state.recipe
    for student in recipe.students:
        settings = recipe.training_of(student)
        yield Cell(student, settings, NONE, recipe.seeds[0])
        for seed in recipe.seeds:
            for arm in recipe.arms_of(student):
                yield Cell(student, settings, arm, seed)


def reason_not_to_run(state: InstructRun, arm: str) -> str:
    """Why an arm is not run, in words; empty when it is."""
    for source in state.recipe.arms.get(arm, ()):
        found = len(state.items_of(source))
        if found == 0:
            return f"{source} has no training items"
        if source.partition(":")[0] == GENERATED and found < state.recipe.min_tasks:
            return f"{found} tasks of {source}, fewer than {state.recipe.min_tasks}"
    return ""


def train_identity(state: InstructRun, cell: Cell) -> str:
    """Hash of all that decides a cell's weights."""
    keys = None if cell.tuned else {"method", "virtual_tokens", "max_length", "dtype"}
    inputs = {
        "model": cell.student.model,
        **made_by(cell.student.model),
        "form": cell.student.form,
        "settings": cell.settings.deciding(keys),
        "sources": {
            source: [weight, instructions_hash(state.items_of(source))]
            for source, weight in state.recipe.arms.get(cell.arm, {}).items()
        },
        "seed": cell.seed if cell.tuned else 0,
        "tuned": cell.tuned,
    }
    return identity(VERSIONS["train"], inputs)


def evaluate_identity(state: InstructRun, cell: Cell, benchmark: Benchmark) -> str:
    """Hash of all that decides a cell's scores on a benchmark."""
    settings = state.recipe.evaluate.model_dump(mode="json", include={"embedding", "judge"})
    if benchmark.measured != "text":
        settings = {}
    inputs = {"trained": train_identity(state, cell), "benchmark": benchmark.identity, "settings": settings}
    return identity(VERSIONS["evaluate"], inputs)


def finished(state: InstructRun, cell: Cell) -> bool:
    """Whether all scores of a cell are known."""
    return all(scores_of(state, cell, benchmark) is not None for benchmark in state.scored)


def scores_of(state: InstructRun, cell: Cell, benchmark: Benchmark) -> BenchmarkScores | None:
    """A cell's scores on a benchmark, if they are known."""
    return state.book.scores(cell.name, benchmark.name, evaluate_identity(state, cell, benchmark))
