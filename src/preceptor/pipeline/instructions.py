"""An experiment on instructions, stage by stage.

    benchmarks  load the real items on which students are scored
    instruct    the teacher writes tasks from seed tasks; rules keep or drop them     instruct/
    publish     the kept tasks as files that others use, with a data card             publish/
    train       one student per arm and seed, in equal steps                          train/<student>/<arm>/seed-N/
    evaluate    its answers on every benchmark, then scores                           evaluate/<student>/<arm>/seed-N/
    report      the matrix: which tasks help on which benchmark                       report.html, results.{json,txt}

Scores of finished cells are kept in a folder of results, by default inside the run; a recipe may name one that is
shared, so that an experiment can be run in parts and on several machines.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.config import InstructRecipe
from preceptor.data.benchmark import Benchmark
from preceptor.data.benchmarks.load import load_benchmark, refuse_shared
from preceptor.errors import RecipeError
from preceptor.pipeline.accompany import accompany
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.instruct_cells import (
    Cell,
    InstructRun,
    cells,
    evaluate_identity,
    finished,
    reason_not_to_run,
    scores_of,
    train_identity,
)
from preceptor.pipeline.instruct_looks import record_answers
from preceptor.pipeline.instruct_report import instruct_report
from preceptor.pipeline.named_models import refuse_absent_of_instructions
from preceptor.pipeline.pool import Job, Pool
from preceptor.pipeline.presets import settled
from preceptor.pipeline.processes import driving, refuse_workers
from preceptor.pipeline.resolve import resolved
from preceptor.pipeline.tasks import obtain_tasks
from preceptor.progress import Progress
from preceptor.records import InstructSummary
from preceptor.store.ledger import Ledger
from preceptor.store.provenance import provenance
from preceptor.store.stages import Stage, read_json, refuse_foreign, sole_writer, write_json, write_text
from preceptor.teachers.asker import Asker, sampling_of
from preceptor.teachers.make import make_teacher
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import price_of

if TYPE_CHECKING:
    from preceptor.models.follower import Follower


def run_instructions(
    recipe: InstructRecipe,
    *,
    folder: Path,
    base: Path,
    command: str,
    progress: Progress,
    minutes: float | None = None,
    workers: int = 1,
) -> InstructSummary:
    """Run every stage that is not done yet and write the report. Returns what the report shows.

    With `minutes`, no cell is begun and no teacher asked after so long, and a training under way ends with a
    checkpoint: then `PartFinished` is raised, and the same call goes on later.
    Cells are carried out in so many `workers`: processes of their own, unless it is one.
    """
    refuse_absent_of_instructions(recipe)
    recipe = settled(recipe)
    refuse_workers(workers)
    if workers > 1 and recipe.evaluate.judge is not None:
        raise RecipeError(
            f"--workers {workers}: evaluate.judge asks a teacher within each cell, and one process keeps its budget.",
            "Leave --workers out.",
        )
    deadline = Deadline.after(minutes, command)
    state = InstructRun(recipe, folder, base, progress, command, deadline)
    refuse_foreign(folder)
    state.book.check(recipe.results)
    with sole_writer(folder), driving(), Pool(workers, deadline, progress) as pool:
        load_benchmarks(state)
        write_text(folder / "recipe.toml", resolved(recipe))
        write_json(folder / "provenance.json", provenance())
        try_out(state)
        if recipe.instruct is not None:
            state.tasks = obtain_tasks(recipe, state.benchmarks.values(), folder, base, command, progress, deadline)
        planned = [cell for cell in cells(state) if not reason_not_to_run(state, cell.arm)]
        with judging(state):
            todo = [cell for cell in planned if not finished(state, cell)]
            pool.carry_out([Job(cell.words, partial(run_cell, state, cell)) for cell in todo])
        return instruct_report(state)


def load_benchmarks(state: InstructRun) -> None:
    """Load and check all benchmarks; refuse to train on what is scored."""
    for settings in state.recipe.benchmarks:
        benchmark = load_benchmark(settings, state.base)
        state.benchmarks[settings.name] = benchmark
        sizes = f"{len(benchmark.train)} train, {len(benchmark.validation)} validation, {len(benchmark.test)} test"
        state.progress.say(f"benchmark: {settings.name} ({settings.category}): {sizes}")
    for name in dict.fromkeys(source for arm in state.recipe.arms.values() for source in arm):
        for scored in state.scored if name in state.benchmarks else ():
            refuse_shared(state.benchmarks[name], scored)


def try_out(state: InstructRun) -> None:
    """Open every student with its method once, so that what cannot work is refused before a teacher is asked."""
    from preceptor.train.methods import attach
    from preceptor.train.trackers import check_trackers
    from preceptor.train.tune import open_for

    for student in state.recipe.students:
        settings = state.recipe.training_of(student)
        check_trackers(settings.track)
        attach(open_for(student, settings, state.recipe.seeds[0]), settings)


@contextlib.contextmanager
def judging(state: InstructRun) -> Iterator[None]:
    """Have the judge of generated texts at hand, where the recipe names one."""
    settings = state.recipe.evaluate.judge
    if settings is None:
        yield
        return
    from preceptor.evaluate.judging import TextJudge

    teacher = make_teacher(settings.teacher, state.folder, state.progress.say)
    sampling = sampling_of(settings.teacher.sampling(), settings.temperature, settings.max_tokens)
    with Ledger(state.folder / "ledger.sqlite") as ledger:
        price, gate = price_of(settings.teacher), make_gate(settings.teacher)
        words = f"evaluate: judgements by {teacher.name}"
        asker = Asker(teacher, ledger, price, state.recipe.budget, gate, state.progress, words)
        state.judge = TextJudge(asker, sampling)
        yield


def run_cell(state: InstructRun, cell: Cell) -> None:
    """Tune one cell's student, unless done, and score it on every benchmark on which its scores are not known."""
    from preceptor.train.tune import open_for

    follower = open_for(cell.student, cell.settings, cell.seed)
    if cell.tuned:
        follower = tuned(state, cell, follower)
    for benchmark in state.scored:
        if scores_of(state, cell, benchmark) is None:
            score(state, cell, benchmark, follower)


def tuned(state: InstructRun, cell: Cell, follower: Follower) -> Follower:
    """The cell's student with its trained weights, which are trained first where they are missing."""
    from preceptor.models.follower import restore_follower
    from preceptor.train.cell import FIT
    from preceptor.train.tune import tune_cell

    stage = Stage(cell.place(state.folder / "train"), train_identity(state, cell))
    if stage.done:
        shutil.rmtree(stage.checkpoints, ignore_errors=True)  # a run was killed just after the stage was done
    else:
        names, weights = (state.recipe.name, cell.name), state.recipe.arms[cell.arm]
        with stage.build() as folder, state.progress.task(f"train: {cell.words}", 1000) as advance:
            tune_cell(
                folder,
                cell.student,
                cell.settings,
                {source: state.items_of(source) for source in weights},
                weights,
                seed=cell.seed,
                upkeep=accompany(stage, cell.settings, names, state.folder, state.deadline, state.progress, advance),
            )
    if state.book.training(cell.name, stage.identity) is None:
        state.book.add_training(cell.name, stage.identity, read_json(stage.folder / FIT))
    return restore_follower(follower, stage.folder)


def score(state: InstructRun, cell: Cell, benchmark: Benchmark, follower: Follower) -> None:
    """Let a student answer one benchmark; keep its answers in the run and its scores among the results."""
    from preceptor.evaluate.measure import score_benchmark
    from preceptor.evaluate.respond import respond
    from preceptor.models.embed import Embedder

    settings = state.recipe.evaluate
    with state.progress.task(f"evaluate: {cell.words}, {benchmark.name}", len(benchmark.test)) as advance:
        responded = respond(follower, benchmark, benchmark.test, settings, on_progress=advance)
    record_answers(state, cell, benchmark)
    place = cell.place(state.folder / "evaluate") / f"{benchmark.name}.json"
    write_json(place, [asdict(response) for response in responded.responses])
    scores = score_benchmark(benchmark, responded.responses, settings, Embedder().embed, state.judge)
    scores = replace(scores, counts={**scores.counts, "cut_prompts": responded.cut})
    state.book.add_scores(cell.name, benchmark.name, evaluate_identity(state, cell, benchmark), scores)
