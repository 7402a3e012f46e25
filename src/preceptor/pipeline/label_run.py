"""One run of an experiment on a task with labels: its recipe, its folder, what has been found so far, and its cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from preceptor.augment.stage import spend_of
from preceptor.config import Recipe, StudentSettings, TrainSettings
from preceptor.data.base import Dataset
from preceptor.data.files import resolve
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.resolve import resolved
from preceptor.progress import Progress
from preceptor.records import Example, Funnel, Sample, Spend, TeacherScore, fingerprint
from preceptor.store.results import ResultsBook
from preceptor.teachers.prices import Price


@dataclass
class Run:
    """One run's recipe, folder and what has been found so far."""

    recipe: Recipe
    folder: Path
    base: Path
    """Folder of the recipe: relative paths in it start here."""
    progress: Progress
    command: str
    datasets: dict[str, Dataset] = field(default_factory=dict)
    funnels: list[Funnel] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    kept: dict[tuple[str, str], tuple[Example, ...]] = field(default_factory=dict)
    """(setting, strategy) -> generated examples that passed every filter; of a further teacher (setting,
    `strategy@teacher`)."""
    teacher_scores: dict[tuple[str, str], TeacherScore] = field(default_factory=dict)
    """(setting, teacher) -> what it says itself to the validation items; the usual teacher has an empty name."""
    spend: dict[str, Spend] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    """Calls whose cost `spend` holds."""
    deadline: Deadline = field(default_factory=lambda: Deadline(None, ""))
    home: Path | None = None
    """The run's own folder, where this is a point of a sweep that has a folder inside of it."""
    given: Recipe | None = None
    """The recipe before presets and held rates were worked out; None where that is `recipe`."""

    @property
    def root(self) -> Path:
        """The run's own folder: its ledger and its record of looks at the test items lie there."""
        return self.home or self.folder

    @property
    def written(self) -> str:
        """The recipe as TOML, so that it gives the same again."""
        return resolved(self.given or self.recipe)

    @property
    def book(self) -> ResultsBook | None:
        """Where the recipe wants the predictions of finished cells to be kept beside the run's own folder."""
        given = self.recipe.results
        return None if given is None else ResultsBook(resolve(given, self.base).resolve())


@dataclass(frozen=True)
class Cell:
    """One student in one setting, arm and seed. An empty arm is the untrained student."""

    student: StudentSettings
    settings: TrainSettings
    setting: str
    arm: str
    seed: int

    def place(self, root: Path) -> Path:
        """Its folder below `root`."""
        return root / self.setting / self.student.name / (self.arm or "untrained") / f"seed-{self.seed}"

    @property
    def name(self) -> str:
        """Its name as a file."""
        arm = f"{self.arm}-seed-{self.seed}" if self.arm else "untrained"
        return f"{self.student.name}-{self.setting or 'plain'}-{arm}"

    @property
    def words(self) -> str:
        """For people."""
        return f"{self.student.name}, {self.setting}, {self.arm or 'untrained'}, seed {self.seed}"


def fingerprint_of(dataset: Dataset) -> dict[str, str]:
    """Hashes of the three parts."""
    return {name: fingerprint(part) for name, part in dataset.parts.items()}


def count_spend(state: Run, asked: Mapping[str, Any], price: Price | None) -> None:
    """Add what a stage spent (`Asker.record`) to the run's spend, less the calls that are counted already."""
    old, new = state.spend.get(asked["teacher"]), spend_of(asked, state.calls, price)
    state.spend[asked["teacher"]] = new if old is None else old.plus(new)


def shared_of(state: Run, setting: str) -> dict[str, int]:
    """Test items of a setting that share a context, and its number."""
    from preceptor.evaluate.contexts import shared_contexts

    return shared_contexts(state.datasets[setting].test, state.datasets[setting].task)
