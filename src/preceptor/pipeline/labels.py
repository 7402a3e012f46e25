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

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from preceptor.config import Recipe
from preceptor.data.load import load_datasets
from preceptor.pipeline.baselines import answer_baselines, try_out_baselines
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.generating import augment_or_wait
from preceptor.pipeline.label_arms import arm_of, nothing_kept
from preceptor.pipeline.label_cells import cells, finished, prepare, train_and_evaluate
from preceptor.pipeline.label_report import report
from preceptor.pipeline.label_run import Cell, Run, fingerprint_of
from preceptor.pipeline.named_models import refuse_absent_baselines, refuse_absent_models
from preceptor.pipeline.pool import Job, Pool
from preceptor.pipeline.presets import settled
from preceptor.pipeline.processes import driving, refuse_workers
from preceptor.pipeline.reuse import take_over
from preceptor.pipeline.sweeping import augment_points, carry_out, open_sweep, refuse_nothing, try_out_points
from preceptor.pipeline.teaching import check_taught
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.provenance import provenance
from preceptor.store.stages import Stage, identity, refuse_foreign, sole_writer, write_json, write_text
from preceptor.store.tables import write_examples


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

    With `minutes`, no cell is begun and no teacher asked after so long, and a training under way ends with a
    checkpoint: then `PartFinished` is raised, and the same call goes on later.
    Cells are carried out in so many `workers`: processes of their own, unless it is one.
    """
    refuse_workers(workers)
    refuse_absent_models(recipe, base)
    deadline = Deadline.after(minutes, command)
    # A sweep works presets and held rates out at every point: its recipe is kept as it was given.
    given = recipe if recipe.sweep is not None else None
    state = Run(settled(recipe), folder, base, progress, command, deadline=deadline, given=given)
    refuse_foreign(folder)
    if state.book is not None:
        state.book.check(recipe.results)
    with sole_writer(folder), driving(), Pool(workers, deadline, progress) as pool:
        load_data(state)
        refuse_absent_baselines(state)
        write_text(folder / "recipe.toml", state.written)
        write_json(folder / "provenance.json", provenance())
        planned, sweep = list(cells(state)), open_sweep(state, load_data)
        try_out(state, planned)
        if sweep is not None:
            try_out_points(sweep, try_out)
        try_out_baselines(state)
        pending = [augment_or_wait(state), *(augment_points(sweep, augment_or_wait) if sweep is not None else ())]
        answer_baselines(state)
        for waiting in pending:
            if waiting is not None:
                raise waiting
        take_over(state, planned)
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
        check_objectives(opened, cell.settings, dataset.task, dataset.train)
        alike = [one for one in planned if (one.student.name, one.setting) == (cell.student.name, cell.setting)]
        if not all(_done(state, one) for one in alike):
            check_taught(state, cell, opened)
        check_reading(opened.head, state.recipe.evaluate)
        attach(opened, cell.settings)


def _done(state: Run, cell: Cell) -> bool:
    """Whether a cell is known to be finished before anything is generated."""
    return not arm_of(state, cell).use and finished(state, cell)


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
