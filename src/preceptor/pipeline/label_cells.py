"""The cells of an experiment on a task with labels: which there are, how one is trained, and how it is evaluated."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from preceptor.augment.stage import spend_of
from preceptor.config import Recipe, StudentSettings, TrainSettings
from preceptor.data.base import Dataset
from preceptor.pipeline.accompany import accompany
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.teaching import taught, teacher_of
from preceptor.progress import Progress
from preceptor.records import Example, Funnel, Outcome, Prediction, Sample, Spend, fingerprint
from preceptor.store.results import ResultsBook
from preceptor.store.stages import Stage, identity, made_by, read_json, write_json
from preceptor.store.tables import read_predictions, write_predictions
from preceptor.teachers.prices import Price

VERSIONS = {"train": 2, "evaluate": 1}
"""Raise a stage's number when its code gives other results, so that finished folders of older code are redone."""

FIT = "fit.json"
"""What training did, in a cell's folder of weights. (train/cell.py writes it, and importing that would load torch.)"""

TRUNK = "trunk"
"""Folder beside the students' own with what enters the trained layers (`train.last_layers`). It may be deleted."""

FEW_UPDATES = 20
"""Below so many optimiser updates a training is warned of: the first paper's settings make 5 an epoch of 450 items."""

EVALUATED = "evaluated.json"
"""Beside the predictions: how many prompts were cut, and the hash of the validation items that were answered too."""

VALIDATION = "validation.parquet"
"""What the student said to the validation items, beside its predictions for the test items."""

SETTINGS_OF_UNTRAINED = {"method", "virtual_tokens", "max_length", "dtype"}
"""Keys of `[train]` that change what an untrained student answers (virtual tokens take room from prompts)."""


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
    """(setting, strategy) -> generated examples that passed every filter."""
    spend: dict[str, Spend] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    """Calls whose cost `spend` holds."""
    deadline: Deadline = field(default_factory=lambda: Deadline(None, ""))

    @property
    def book(self) -> ResultsBook | None:
        """Where the recipe wants the predictions of finished cells to be kept beside the run's own folder."""
        given = self.recipe.results
        return None if given is None else ResultsBook((self.base / given).resolve())


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


def cells(state: Run) -> Iterator[Cell]:
    """Every cell of the experiment, in the order in which they are done."""
    from preceptor.models.load import head_of

    recipe = state.recipe
    for student in recipe.students:
        settings = recipe.training_of(student)
        causal = head_of(student.model, student.head) == "causal"
        for setting in student.settings or tuple(state.datasets):
            if student.untrained and causal:
                yield Cell(student, settings, setting, "", recipe.seeds[0])
            for seed in recipe.seeds:
                for arm in recipe.arms:
                    yield Cell(student, settings, setting, arm, seed)


def generated_for(state: Run, cell: Cell) -> list[Example]:
    """Kept examples of the arm's strategies."""
    return [e for name in state.recipe.arms.get(cell.arm, ()) for e in state.kept[cell.setting, name]]


def train_stage(state: Run, cell: Cell) -> Stage:
    """Where a cell's weights lie, and what they depend on."""
    dataset, task = state.datasets[cell.setting], state.datasets[cell.setting].task
    inputs = {
        "model": cell.student.model,
        **made_by(cell.student.model),
        "head": cell.student.head,
        # Of the untrained student only how long its prompts may be and how it computes.
        "settings": cell.settings.deciding(None if cell.arm else SETTINGS_OF_UNTRAINED),
        "task": asdict(task),
        "real": fingerprint(dataset.train if cell.arm else ()),
        "generated": fingerprint(generated_for(state, cell)),
        "validation": fingerprint(dataset.validation if cell.arm else ()),
        "seed": cell.seed,
        "arm": "trained" if cell.arm else "untrained",
        **teacher_of(state, cell),
    }
    return Stage(cell.place(state.folder / "train"), identity(VERSIONS["train"], inputs))


def train(state: Run, cell: Cell) -> None:
    """Train one cell, unless it is done or the untrained student."""
    stage = train_stage(state, cell)
    if stage.done or not cell.arm:
        shutil.rmtree(stage.checkpoints, ignore_errors=True)  # a run was killed just after the stage was done
        return
    from preceptor.train.cell import train_cell

    dataset, names = state.datasets[cell.setting], (state.recipe.name, cell.name)
    thoughts = taught(state, cell)
    with stage.build() as folder, state.progress.task(f"train: {cell.words}", 1000) as advance:
        train_cell(
            folder,
            cell.student,
            cell.settings,
            dataset.task,
            real=dataset.train,
            generated=generated_for(state, cell),
            validation=dataset.validation,
            seed=cell.seed,
            on_start=lambda items, steps: state.progress.say(f"train: {cell.words}: {updates(items, steps)}"),
            upkeep=accompany(stage, cell.settings, names, state.folder, state.deadline, state.progress, advance),
            taught=thoughts,
            trunk=state.folder / "train" / TRUNK,
        )


def updates(items: int, steps: int) -> str:
    """How many optimiser updates the settings make with the items, and a warning where they are few."""
    made = f"{items} items make {steps} update{'' if steps == 1 else 's'}"
    if steps >= FEW_UPDATES:
        return made
    return (
        f"{made}. Warning: fewer than {FEW_UPDATES} hardly move a student; lower train.accumulation or "
        "train.batch_tokens, or raise train.epochs"
    )


def evaluate_stage(state: Run, cell: Cell) -> Stage:
    """Where a cell's predictions lie, and what they depend on."""
    # Batch size and resampling cannot change a prediction.
    settings = state.recipe.evaluate.model_dump(mode="json", exclude={"batch_size", "resamples", "interval_seed"})
    inputs = {
        "trained": train_stage(state, cell).identity,
        "test": fingerprint(state.datasets[cell.setting].test),
        "settings": settings,
    }
    return Stage(cell.place(state.folder / "evaluate"), identity(VERSIONS["evaluate"], inputs))


def evaluate(state: Run, cell: Cell) -> None:
    """Predict every test item with one cell's student, unless done, and write it into the recipe's book of results."""
    stage = evaluate_stage(state, cell)
    if not stage.done:
        _predict(state, cell, stage)
    if state.book is not None and _in_book(state, cell) is None:
        about = {"student": cell.student.name, "arm": cell.arm or "untrained", "seed": cell.seed}
        into_book(state, cell.name, stage.identity, cell.setting, _in_folders(state, cell), about)


def _predict(state: Run, cell: Cell, stage: Stage) -> None:
    from preceptor.evaluate.predict import predict
    from preceptor.models.student import restore
    from preceptor.train.cell import open_for

    dataset = state.datasets[cell.setting]
    student = open_for(cell.student, cell.settings, dataset.task, cell.seed, trained=bool(cell.arm))
    if cell.arm:
        student = restore(student, train_stage(state, cell).folder)
    with state.progress.task(f"evaluate: {cell.words}", len(dataset.test)) as advance:
        predicted = predict(
            student, dataset.task, dataset.test, state.recipe.evaluate, seed=cell.seed, on_progress=advance
        )
    validation: list[Prediction] = []
    if state.recipe.evaluate.read == "likelihood":
        # For the label prior. No part of the stage's identity: folders without it stay valid and have no correction.
        validation = predict(
            student, dataset.task, dataset.validation, state.recipe.evaluate, seed=cell.seed
        ).predictions
    write_evaluated(stage, dataset, predicted.predictions, validation, {"cut_prompts": predicted.cut})


def write_evaluated(
    stage: Stage,
    dataset: Dataset,
    predictions: Sequence[Prediction],
    validation: Sequence[Prediction],
    more: Mapping[str, Any],
) -> None:
    """Write a finished stage of answers: to the test items, to the validation items (or none), and what goes along."""
    with stage.build() as folder:
        write_predictions(folder / "predictions.parquet", predictions)
        write_predictions(folder / VALIDATION, validation)
        write_json(folder / EVALUATED, {**more, "validation": fingerprint(dataset.validation)})


@dataclass(frozen=True)
class Found:
    """What is known of a finished cell."""

    predictions: Sequence[Prediction]
    fit: Mapping[str, Any] | None
    """`fit.json` of its training; None for the untrained student."""
    cut_prompts: int
    validation: Sequence[Prediction] = ()
    """Answers to the validation items as they are now; empty where they were not stored, or are of other items."""


def finished(state: Run, cell: Cell) -> bool:
    """Whether a cell's predictions are known, here or in the recipe's book of results."""
    return _in_book(state, cell) is not None if state.book is not None else evaluate_stage(state, cell).done


def found(state: Run, cell: Cell) -> Found:
    """What is known of a finished cell: from the recipe's book of results, else from the run's folder."""
    return _in_book(state, cell) or _in_folders(state, cell)


def _in_folders(state: Run, cell: Cell) -> Found:
    done = read_evaluated(evaluate_stage(state, cell), state.datasets[cell.setting])
    return replace(done, fit=read_json(train_stage(state, cell).folder / FIT)) if cell.arm else done


def read_evaluated(stage: Stage, dataset: Dataset) -> Found:
    """What `write_evaluated` wrote."""
    evaluated = read_json(stage.folder / EVALUATED)
    same = evaluated.get("validation") == fingerprint(dataset.validation)
    return Found(
        read_predictions(stage.folder / "predictions.parquet"),
        None,
        evaluated["cut_prompts"],
        read_predictions(stage.folder / VALIDATION) if same else (),
    )


def count_spend(state: Run, asked: Mapping[str, Any], price: Price | None) -> None:
    """Add what a stage spent (`Asker.record`) to the run's spend, less the calls that are counted already."""
    old, new = state.spend.get(asked["teacher"]), spend_of(asked, state.calls, price)
    state.spend[asked["teacher"]] = new if old is None else old.plus(new)


def shared_of(state: Run, setting: str) -> dict[str, int]:
    """Test items of a setting that share a context, and its number."""
    from preceptor.evaluate.contexts import shared_contexts

    return shared_contexts(state.datasets[setting].test, state.datasets[setting].task)


def into_book(state: Run, name: str, identity: str, setting: str, done: Found, about: Mapping[str, Any]) -> None:
    """Write a finished cell into the book; `about` (student, arm, seed) is for whoever finds it without its run."""
    assert state.book is not None
    dataset = state.datasets[setting]
    described = {"task": dataset.task.name, "split": dataset.split, "labels": list(dataset.task.labels)}
    extra = {
        "cut_prompts": done.cut_prompts,
        "cell": {**described, "setting": setting, **about},
        "gold": [prediction.gold for prediction in done.predictions],
        "shared_contexts": shared_of(state, setting),
        "validation": _kept_validation(dataset, done.validation),
    }
    state.book.add_predictions(name, identity, done.predictions, done.fit, extra)


def _kept_validation(dataset: Dataset, validation: Sequence[Prediction]) -> dict[str, Any]:
    return {
        "items": fingerprint(dataset.validation),
        "probabilities": [[round(value, 5) for value in p.probabilities] for p in validation],
    }


def _read_validation(dataset: Dataset, kept: Mapping[str, Any]) -> list[Prediction]:
    if kept.get("items") != fingerprint(dataset.validation):
        return []  # of an older version, or of other items
    labels = dataset.task.labels
    return [
        Prediction(item.id, item.label, labels[row.index(max(row))], probabilities=tuple(row))
        for item, row in zip(dataset.validation, kept["probabilities"], strict=False)
    ]


def _in_book(state: Run, cell: Cell) -> Found | None:
    return from_book(state, cell.name, evaluate_stage(state, cell).identity, cell.setting)


def from_book(state: Run, name: str, identity: str, setting: str) -> Found | None:
    """What the recipe's book of results holds of a cell; None where there is no book, or nothing for these inputs."""
    kept = None if state.book is None else state.book.predictions(name, identity)
    if kept is None:
        return None
    dataset = state.datasets[setting]
    gold = {example.id: example.label for example in dataset.test}
    columns = zip(kept["ids"], kept["said"], kept["outcomes"], kept["probabilities"], strict=True)
    predictions = [
        Prediction(name, gold[name], said, Outcome(outcome), tuple(probabilities))
        for name, said, outcome, probabilities in columns
    ]
    validation = _read_validation(dataset, kept["extra"].get("validation", {}))
    return Found(predictions, kept["fit"], kept["extra"]["cut_prompts"], validation)
