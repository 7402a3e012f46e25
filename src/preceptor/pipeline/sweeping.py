"""`[sweep]`: every point is trained and asked the items that choose; one is chosen; only then are test items answered.

    train     the cells of every point, under the point's name            train/<setting>/<point>/<arm>/seed-N/
    choosing  what they say to validation items, or to held-out folds     sweep/choosing/<setting>/<point>/<arm>/seed-N/
    evaluate  the chosen points, or all of them (`sweep.score`)           evaluate/<setting>/<point>/<arm>/seed-N/

A choice belongs to one student, setting and arm: every arm is tuned alike. What a point with data, filters or a teacher
of its own needs lies in sweep/points/<point>/. A point that fails is written down in sweep/failed.json, does not stop
the others, and is tried again on the next run: in training, and as well in what a point apart does alone, which is to
load its items and to have them written about and filtered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from preceptor.config import Point, SweepSettings, TrainSettings, points_of
from preceptor.data.base import Dataset
from preceptor.errors import (
    BatchPending,
    BudgetError,
    Later,
    MissingPackageError,
    ModelError,
    PreceptorError,
    RecipeError,
    StorageError,
)
from preceptor.evaluate.sweeps import choose
from preceptor.pipeline.folds import fold_datasets, fold_runs
from preceptor.pipeline.label_arms import NOTHING_KEPT, nothing_kept
from preceptor.pipeline.label_cells import FIT, finished, prepare, reopened, train, train_and_evaluate, train_stage
from preceptor.pipeline.label_run import Cell, Run
from preceptor.pipeline.named_models import refuse_absent_teachers
from preceptor.pipeline.pool import Job, Pool, attempt
from preceptor.pipeline.presets import settled
from preceptor.records import Estimate, Outcome, Prediction, fingerprint
from preceptor.store.seal import Choice
from preceptor.store.stages import Stage, identity, read_json, write_json
from preceptor.store.tables import read_predictions, write_predictions

VERSION = 1
"""Raise it when the code asks the items that choose in another way."""

PLACE = "sweep"
"""Folder of a run for what belongs to its sweep alone."""


@dataclass(frozen=True)
class Trial:
    """One point under one setting and arm."""

    point: Point
    run: Run
    settings: TrainSettings
    setting: str
    arm: str
    cells: tuple[Cell, ...]
    """One for each seed, trained on the usual training items."""

    @property
    def group(self) -> tuple[str, str, str]:
        """Setting, student and arm: of each group one point is chosen."""
        return self.setting, self.point.base.name, self.arm

    @property
    def key(self) -> tuple[str, str, str]:
        """Setting, point and arm."""
        return self.setting, self.point.student.name, self.arm


@dataclass
class Sweep:
    """All trials of a run, and what came of them."""

    settings: SweepSettings
    trials: list[Trial]
    failures: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """Trial -> why it has no result, in a sentence."""
    unready: dict[str, PreceptorError] = field(default_factory=dict)
    """Point -> why not even its items are there, or a model that it names."""
    chosen: dict[tuple[str, str, str], tuple[Trial, Estimate]] = field(default_factory=dict)
    """Group -> the trial that was chosen, and its score on the items that chose."""
    asked: dict[tuple[str, str, str], Mapping[int, Sequence[Prediction]]] = field(default_factory=dict)
    """Trial -> answers to the items that choose, by seed."""

    def groups(self) -> dict[tuple[str, str, str], list[Trial]]:
        """The trials of each group, in the order of the points."""
        found: dict[tuple[str, str, str], list[Trial]] = {}
        for trial in self.trials:
            found.setdefault(trial.group, []).append(trial)
        return found

    def is_chosen(self, trial: Trial) -> bool:
        """Whether it was chosen."""
        return trial.group in self.chosen and self.chosen[trial.group][0] is trial

    def scored(self, trial: Trial) -> bool:
        """Whether its students answer, or answered, the test items."""
        return trial.key not in self.failures and (self.settings.score == "all" or self.is_chosen(trial))

    def apart(self) -> list[Run]:
        """The runs of points that need items, or generated items, of their own, and have not failed."""
        able = [trial for trial in self.trials if trial.point.apart and trial.key not in self.failures]
        return list({id(trial.run): trial.run for trial in able}.values())


def open_sweep(state: Run, load: Callable[[Run], None]) -> Sweep | None:
    """The trials of a run whose items are loaded; None without `[sweep]`. `load` loads the items of another run.

    Raises `RecipeError` where two points would be chosen, or scored, by different items. A point whose items cannot be
    loaded, or that names a model which is not there, is among the failures.
    """
    if state.recipe.sweep is None:
        return None
    given = state.given or state.recipe
    sweep = Sweep(state.recipe.sweep, [])
    for point in points_of(given):
        run, settings = _run_of(state, point, given)
        error = attempt(partial(_make_ready, run, point, load))
        if error is None and point.apart:
            _refuse_other_items(state, run, point)
        trials = list(_trials_of(point, run, settings, tuple(run.datasets if error is None else state.datasets)))
        sweep.trials += trials
        if error is not None:
            _fail_alone(sweep, trials, error)
            sweep.unready[point.student.name] = error
    return sweep


def _make_ready(run: Run, point: Point, load: Callable[[Run], None]) -> None:
    refuse_absent_teachers(run.recipe, run.recipe.students[-1:], run.base)
    if point.apart:
        load(run)


def _trials_of(point: Point, run: Run, settings: TrainSettings, loaded: Sequence[str]) -> Iterator[Trial]:
    student = run.recipe.students[-1]
    for setting in student.settings or loaded:
        for arm in run.recipe.arms_in(setting):
            cells = tuple(Cell(student, settings, setting, arm, seed) for seed in run.recipe.seeds)
            yield Trial(point, run, settings, setting, arm, cells)


def augment_points(sweep: Sweep, augment: Callable[[Run], BatchPending | None]) -> list[BatchPending | None]:
    """`augment` the run of every point apart. What goes wrong with one alone is written down and stops no other."""
    pending: list[BatchPending | None] = []

    def work(run: Run) -> None:
        pending.append(augment(run))

    for run in sweep.apart():
        error = attempt(partial(work, run))
        if error is not None:
            _fail_alone(sweep, [trial for trial in sweep.trials if trial.run is run], error)
        del error  # its traceback may hold a teacher's model
    return pending


def _fail_alone(sweep: Sweep, trials: Sequence[Trial], error: PreceptorError) -> None:
    """Write down what keeps a point from being trained. Raises what would stop every other point, too."""
    if isinstance(error, Later | StorageError | BudgetError):
        raise error
    sweep.failures |= {trial.key: str(error) for trial in trials}
    for trial in trials[:1]:
        trial.run.progress.say(f"sweep: {trial.point.student.name} failed: {error}")


def _run_of(state: Run, point: Point, given: Any) -> tuple[Run, TrainSettings]:
    # The point's student stands last: the first student is the one that labels generated items.
    students = (*point.recipe.students, point.student)
    recipe = settled(point.recipe.model_copy(update={"students": students}))
    settings = recipe.training_of(recipe.students[-1])
    if not point.apart:
        return replace(state, recipe=recipe, given=given), settings
    folder = state.root / PLACE / "points" / point.student.name
    shared = {"spend": state.spend, "calls": state.calls, "home": state.root, "given": given}
    return Run(recipe, folder, state.base, state.progress, state.command, deadline=state.deadline, **shared), settings


def _refuse_other_items(state: Run, run: Run, point: Point) -> None:
    for setting, dataset in run.datasets.items():
        usual = state.datasets.get(setting)
        for part in ("validation", "test"):
            if usual is None or fingerprint(dataset.parts[part]) != fingerprint(usual.parts[part]):
                values = ", ".join(f"{key} = {value!r}" for key, value in point.values.items())
                raise RecipeError(
                    f"sweep: {values} changes the {part} items, so its score could not be compared.",
                    "Of [data] only keys that change the training items can be swept, e.g. data.max_train.",
                )


def try_out_points(sweep: Sweep, try_out: Callable[[Run, Sequence[Cell]], None]) -> None:
    """Open one point of every student and setting with its method: if none works, that is said before all else."""
    groups: dict[tuple[str, str], list[Trial]] = {}
    for trial in sweep.trials:
        groups.setdefault((trial.point.base.name, trial.setting), []).append(trial)
    for trials in groups.values():
        errors: list[PreceptorError] = []
        for trial in {trial.point.student.name: trial for trial in trials}.values():
            if (unready := sweep.unready.get(trial.point.student.name)) is not None:
                errors.append(unready)
                continue
            try:
                try_out(trial.run, trial.cells[:1])
            except (Later, StorageError, MissingPackageError):
                raise
            except PreceptorError as error:
                errors.append(error)
                continue
            break
        else:
            raise errors[0]


def carry_out(state: Run, sweep: Sweep, pool: Pool) -> None:
    """Train and ask every point, choose, and let test items be answered; what is done is found again."""
    folds: dict[tuple[int, str], list[Dataset]] = {}
    ready = [trial for trial in sweep.trials if trial.key not in sweep.failures]
    sweep.failures |= {t.key: NOTHING_KEPT for t in ready if nothing_kept(t.run, t.cells[0])}
    todo = [(trial, _choosing(sweep, trial, folds)) for trial in ready]
    unknown = [(trial, *one) for trial, cells in todo for one in cells if _known(*one) is None]
    pool.carry_out([_job(sweep, *one, partial(_measure, *one[1:])) for one in unknown])
    sweep.asked = {trial.key: _answers(cells) for trial, cells in todo if trial.key not in sweep.failures}
    for group, trials in sweep.groups().items():
        dataset = state.datasets[group[0]]  # the items that choose and the test items are the same for all points
        sealed = {item.id for item in dataset.test}
        answers = [sweep.asked.get(trial.key) for trial in trials]
        best = choose(answers, dataset.task.labels, sweep.settings.by, sealed)
        if best is not None:
            sweep.chosen[group] = trials[best[0]], best[1]
    _score(sweep, pool)
    _write_failures(state.root / PLACE / "failed.json", sweep)


def _score(sweep: Sweep, pool: Pool) -> None:
    planned = [(trial, trial.run, cell) for trial in sweep.trials if sweep.scored(trial) for cell in trial.cells]
    pool.carry_out(
        [
            _job(sweep, trial, run, cell, partial(train_and_evaluate, run, cell, choice_before(sweep, trial)))
            for trial, run, cell in planned
            if not finished(run, cell)
        ]
    )


def _job(sweep: Sweep, trial: Trial, run: Run, cell: Cell, work: Callable[[], None]) -> Job:
    return Job(
        cell.words,
        work,
        failed=partial(_failed, sweep, trial, cell),
        prepare=partial(prepare, run, cell),
        wanted=lambda: trial.key not in sweep.failures,
    )


def choice_before(sweep: Sweep, trial: Trial) -> Choice:
    """What was chosen before the trial's students answer the test items."""
    _, score = sweep.chosen[trial.group]
    by = f"{sweep.settings.select} {sweep.settings.by} {score.value:.3f}"
    if sweep.is_chosen(trial):
        return Choice(dict(trial.point.values), by)
    return Choice({}, "nothing chosen: a point that was not taken, scored because of sweep.score = 'all'")


def refuse_nothing(sweep: Sweep) -> None:
    """Raise `ModelError` when not one point has a result."""
    if not sweep.chosen and sweep.failures:
        (_, name, _), why = next(iter(sweep.failures.items()))
        raise ModelError(f"Every point of the sweep failed; the first, {name}: {why}")


# --- one cell -----------------------------------------------------------------------------------------------------


def _choosing(sweep: Sweep, trial: Trial, folds: dict[tuple[int, str], list[Dataset]]) -> list[tuple[Run, Cell]]:
    """The cells whose answers choose: the trial's own, or those that are trained without one fold each."""
    if sweep.settings.select == "validation":
        return [(trial.run, cell) for cell in trial.cells]
    found, key = [], (id(trial.run.datasets), trial.setting)  # points that share their items share the folds
    if key not in folds:
        folds[key] = fold_datasets(trial.run, trial.setting, sweep.settings.folds)
    for number, run in enumerate(fold_runs(trial.run, trial.setting, folds[key])):
        for cell in trial.cells:
            named = cell.student.model_copy(update={"name": f"{cell.student.name}-fold-{number}"})
            found.append((run, replace(cell, student=named)))
    return found


def choosing_stage(run: Run, cell: Cell) -> Stage:
    """Where a cell's answers to the items that choose lie, and what they depend on."""
    inputs = {
        "trained": train_stage(run, cell).identity,
        "items": fingerprint(run.datasets[cell.setting].validation),
        "settings": run.recipe.evaluate.deciding(),
    }
    return Stage(cell.place(run.root / PLACE / "choosing"), identity(VERSION, inputs))


def _measure(run: Run, cell: Cell) -> None:
    """Train a cell and ask it the items that choose: it never sees a test item here."""
    from preceptor.evaluate.predict import predict

    stage = choosing_stage(run, cell)
    if not stage.done:
        train(run, cell)
        dataset, student = run.datasets[cell.setting], reopened(run, cell)
        said = predict(student, dataset.task, dataset.validation, run.recipe.evaluate, seed=cell.seed).predictions
        with stage.build() as folder:
            write_predictions(folder / "predictions.parquet", said)
    if run.book is not None:
        said = read_predictions(stage.folder / "predictions.parquet")
        trained = train_stage(run, cell)
        fit = read_json(trained.folder / FIT) if trained.done else None
        run.book.add_predictions(cell.name, stage.identity, said, fit, {}, part="choosing")


def _known(run: Run, cell: Cell) -> list[Prediction] | None:
    """A cell's answers to the items that choose, from the recipe's book of results or the run's folder."""
    stage = choosing_stage(run, cell)
    if run.book is None:
        return read_predictions(stage.folder / "predictions.parquet") if stage.done else None
    kept = run.book.predictions(cell.name, stage.identity, part="choosing")
    if kept is None:
        return None
    gold = {item.id: item.label for item in run.datasets[cell.setting].validation}
    columns = zip(kept["ids"], kept["said"], kept["outcomes"], kept["probabilities"], strict=True)
    return [Prediction(name, gold[name], said, Outcome(o), tuple(p)) for name, said, o, p in columns]


def _answers(cells: Sequence[tuple[Run, Cell]]) -> dict[int, list[Prediction]]:
    """By seed; those of several folds one after the other, so that each item stands there once."""
    found: dict[int, list[Prediction]] = {}
    for run, cell in cells:
        found.setdefault(cell.seed, []).extend(_known(run, cell) or [])
    return found


def _failed(sweep: Sweep, trial: Trial, cell: Cell, error: PreceptorError) -> None:
    """Write down what went wrong with one cell alone; it does not stop the others."""
    from preceptor.train.parallel import team

    # Every other cell would meet the same; or the other processes wait inside of this training.
    if isinstance(error, Later | StorageError) or team().broken:
        raise error
    sweep.failures.setdefault(trial.key, f"seed {cell.seed}: {error}")
    trial.run.progress.say(f"sweep: {cell.words} failed: {error}")


def _write_failures(path: Path, sweep: Sweep) -> None:
    if sweep.failures:
        write_json(path, [{"point": name, "setting": s, "arm": a, "why": w} for s, name, a, w in _flat(sweep)])
    else:
        path.unlink(missing_ok=True)


def _flat(sweep: Sweep) -> Iterator[tuple[str, str, str, str]]:
    for (setting, name, arm), why in sweep.failures.items():
        yield setting, name, arm, why
