"""An experiment on a task with labels, stage by stage.

    data      load the items of every setting, refuse what would leak          data/
    augment   the teacher or a rule makes candidates from training items       augment/<setting>/<strategy>/
    filter    each candidate is kept, or dropped with a reason                 filter/<setting>/<strategy>/
    train     one student per setting, arm and seed, in equal steps            train/<setting>/<student>/<arm>/seed-N/
    evaluate  predictions on the test items, then scores and intervals       evaluate/<setting>/<student>/<arm>/seed-N/
    (sweep    settings that are tried, and one chosen without the test: sweeping.py)      sweep/
              baselines, which are not trained, before that                  evaluate/<setting>/<name>/<k>-shot/seed-N/
    report    one page that a reader can trust                                 report.html, results.{json,txt}

A stage's result lies in a folder that is renamed into place when it is complete and carries the hash of all that went
into it. Running again does only what is missing, and the ledger keeps every answer that a teacher ever gave.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.augment.base import make_requests, make_strategy
from preceptor.config import Recipe, TeacherSettings
from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.pipeline.baselines import answer_baselines, baseline_cells, requests_of, terms_of, try_out_baselines
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.generating import augment_or_wait
from preceptor.pipeline.label_arms import nothing_kept
from preceptor.pipeline.label_cells import Cell, cells, finished, prepare, train_and_evaluate
from preceptor.pipeline.label_report import report
from preceptor.pipeline.label_run import Run, fingerprint_of
from preceptor.pipeline.label_teachers import Writer
from preceptor.pipeline.pool import Job, Pool
from preceptor.pipeline.presets import settled
from preceptor.pipeline.processes import driving, refuse_workers
from preceptor.pipeline.sweeping import carry_out, open_sweep, refuse_nothing, try_out_points
from preceptor.pipeline.zero_shot import requests_for
from preceptor.progress import Progress
from preceptor.records import Request, RunSummary
from preceptor.store.ledger import Ledger
from preceptor.store.provenance import provenance
from preceptor.store.stages import Stage, identity, refuse_foreign, sole_writer, write_json, write_text
from preceptor.store.tables import write_examples
from preceptor.teachers.prices import price_of

if TYPE_CHECKING:
    from preceptor.teachers.base import Teacher


def run(
    recipe: Recipe,
    *,
    folder: Path,
    base: Path,
    command: str,
    progress: Progress,
    minutes: float | None = None,
    workers: int = 1,
) -> RunSummary:
    """Run every stage that is not done yet and write the report. Returns what the report shows.

    With `minutes`, no cell is begun after so long and a training under way ends with a checkpoint: then `PartFinished`
    is raised, and the same call goes on later.
    Cells are carried out in so many `workers`: processes of their own, unless it is one.
    """
    refuse_workers(workers)
    deadline = Deadline.after(minutes, command)
    # A sweep works presets and held rates out at every point: its recipe is kept as it was given.
    given = recipe if recipe.sweep is not None else None
    state = Run(settled(recipe), folder, base, progress, command, deadline=deadline, given=given)
    refuse_foreign(folder)
    with sole_writer(folder), driving(), Pool(workers, deadline, progress) as pool:
        load_data(state)
        write_text(folder / "recipe.toml", state.written)
        write_json(folder / "provenance.json", provenance())
        planned, sweep = list(cells(state)), open_sweep(state, load_data)
        try_out(state, planned)
        if sweep is not None:
            try_out_points(sweep, try_out)
        try_out_baselines(state)
        pending = [augment_or_wait(one) for one in (state, *(sweep.apart() if sweep is not None else ()))]
        answer_baselines(state)
        for waiting in pending:
            if waiting is not None:
                raise waiting
        todo = [cell for cell in planned if not nothing_kept(state, cell) and not finished(state, cell)]
        pool.carry_out(
            [Job(c.words, partial(train_and_evaluate, state, c), prepare=partial(prepare, state, c)) for c in todo]
        )
        if sweep is not None:
            carry_out(state, sweep, pool)
        summary = report(state, sweep)
        if sweep is not None:
            refuse_nothing(sweep)
        return summary


def try_out(state: Run, planned: Sequence[Cell]) -> None:
    """Open every student with its method once, so that what cannot work is refused before a teacher is asked."""
    if not planned:
        return
    from preceptor.evaluate.predict import check_reading
    from preceptor.train.cell import open_for
    from preceptor.train.methods import attach
    from preceptor.train.objectives import check_objectives
    from preceptor.train.trackers import check_trackers

    tried = {(cell.student.name, cell.setting): cell for cell in planned if cell.arm}
    for cell in tried.values():
        dataset = state.datasets[cell.setting]
        check_trackers(cell.settings.track)
        opened = open_for(cell.student, cell.settings, dataset.task, cell.seed)
        check_objectives(opened, cell.settings, dataset.task, dataset.train, state.base)
        check_reading(opened.head, state.recipe.evaluate)
        attach(opened, cell.settings)


def load_data(state: Run) -> None:
    """Load and check the items, and keep a copy of them beside what is made from them."""
    state.datasets = load_datasets(state.recipe.data, state.base)
    for setting, dataset in state.datasets.items():
        stage = Stage(state.folder / "data" / setting, identity(1, {"items": fingerprint_of(dataset)}))
        if not stage.done:
            with stage.build() as folder:
                for name, part in dataset.parts.items():
                    write_examples(folder / f"{name}.parquet", part)
        sizes = ", ".join(f"{len(part)} {name}" for name, part in dataset.parts.items())
        state.progress.say(f"data: {dataset.task.name}, {setting}, split {dataset.split}: {sizes}")


def estimate(recipe: Recipe, *, folder: Path, base: Path) -> list[str]:
    """What the run's teachers would take from here on, in sentences. Sends nothing and writes nothing."""
    from preceptor.teachers.estimate import Forecast, forecast, sentences, together
    from preceptor.teachers.make import make_teacher

    asked: list[tuple[str, Teacher, TeacherSettings, list[Request]]] = []
    datasets = load_datasets(recipe.data, base)
    for name, settings in {"": recipe.teacher, **recipe.writers}.items():
        writer = Writer(name, make_teacher(settings.model_copy(update={"key_required": False}), folder), settings)
        asked.append((name and f"Of [teachers.{name}]", writer.teacher, settings, _asked_of(writer, recipe, datasets)))
    _, teacher, _, requests = asked[0]
    state = Run(recipe, folder, base, Progress(quiet=True), "", datasets=datasets)
    for cell in baseline_cells(state):
        if cell.settings.teacher is True:
            requests += requests_of(state, cell, teacher, fit=False)[0]
        elif cell.settings.teacher is not None:
            own = terms_of(state, cell)
            other = make_teacher(own.model_copy(update={"key_required": False}), folder)
            asked.append((f"Baseline {cell.words}", other, own, requests_of(state, cell, other, fit=False)[0]))
    lines, forecasts = list[str](), list[Forecast]()
    existing = folder / "ledger.sqlite"
    with Ledger(existing if existing.exists() else ":memory:") as ledger:
        for title, who, terms, wanted in asked:
            if not wanted and (title or (recipe.writers and "" not in recipe.writers)):
                continue
            made = forecast(who, wanted, ledger, terms, price_of(terms))
            forecasts.append(made)
            lines += [*([title] if title else []), *sentences(made, recipe.budget.max_usd, recipe.budget.max_tokens)]
    return lines + (together(forecasts, recipe.budget.max_usd, recipe.budget.max_tokens) if recipe.teachers else [])


def _asked_of(writer: Writer, recipe: Recipe, datasets: Mapping[str, Dataset]) -> list[Request]:
    """What a teacher is asked for the arms, and to know what it knows itself."""
    found: list[Request] = []
    for dataset in datasets.values():
        for name in writer.strategies(recipe):
            strategy, structured = make_strategy(name, dataset.task, recipe.augment), "schema" in writer.teacher.accepts
            sampling = writer.settings.sampling()
            found += make_requests(strategy, dataset.train, sampling, recipe.augment.draws, structured=structured)
        if recipe.teacher_scored and writer.name in recipe.writers:
            found += requests_for(recipe, dataset, writer.teacher, writer.settings)
    return found
