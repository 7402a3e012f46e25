"""An experiment on a task with labels, stage by stage.

    data      load the items of every setting, refuse what would leak          data/
    augment   the teacher writes candidates from training items                augment/<setting>/<strategy>/
    filter    each candidate is kept, or dropped with a reason                 filter/<setting>/<strategy>/
    train     one student per setting, arm and seed, in equal steps            train/<setting>/<student>/<arm>/seed-N/
    evaluate  predictions on the test items, then scores and intervals       evaluate/<setting>/<student>/<arm>/seed-N/
              baselines, which are not trained, before that                  evaluate/<setting>/<name>/<k>-shot/seed-N/
    report    one page that a reader can trust                                 report.html, results.{json,txt}

A stage's result lies in a folder that is renamed into place when it is complete and carries the hash of all that went
into it. Running again does only what is missing, and the ledger keeps every answer that a teacher ever gave.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.augment.base import make_requests, make_strategy
from preceptor.augment.stage import ASKED, CANDIDATES, ask_all, read_answers, write_candidates
from preceptor.config import Recipe, TeacherSettings
from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.errors import BatchPending
from preceptor.filter.base import FilterContext, run_chain
from preceptor.filter.chain import make_chain
from preceptor.filter.stage import funnel, read_filtered, samples, write_filtered
from preceptor.pipeline.baselines import answer_baselines, baseline_cells, requests_of, terms_of, try_out_baselines
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.label_cells import VERSIONS as CELL_VERSIONS
from preceptor.pipeline.label_cells import Cell, Run, cells, count_spend, evaluate, finished, train
from preceptor.pipeline.label_report import report
from preceptor.pipeline.opinions import Opinions, make_readers, plain_settings, read_opinions, spends
from preceptor.pipeline.presets import settled
from preceptor.pipeline.processes import driving
from preceptor.pipeline.resolve import resolved
from preceptor.progress import Progress
from preceptor.records import Request, RunSummary, fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.provenance import provenance
from preceptor.store.stages import Stage, identity, read_json, refuse_foreign, sole_writer, write_json, write_text
from preceptor.store.tables import read_examples, write_examples
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import price_of

if TYPE_CHECKING:
    from preceptor.models.embed import Embedding
    from preceptor.teachers.base import Teacher

VERSIONS = {"augment": 3, "filter": 2}
"""Raise a stage's number when its code gives other results, so that finished folders of older code are redone."""


def run(
    recipe: Recipe, *, folder: Path, base: Path, command: str, progress: Progress, minutes: float | None = None
) -> RunSummary:
    """Run every stage that is not done yet and write the report. Returns what the report shows.

    With `minutes`, no cell is begun after so long and a training under way ends with a checkpoint: then `PartFinished`
    is raised, and the same call goes on later.
    """
    deadline = Deadline.after(minutes, command)
    recipe = settled(recipe)
    state = Run(recipe, folder, base, progress, command, deadline=deadline)
    refuse_foreign(folder)
    with sole_writer(folder), driving():
        load_data(state)
        write_text(folder / "recipe.toml", resolved(recipe))
        write_json(folder / "provenance.json", provenance())
        planned = list(cells(state))
        try_out(state, planned)
        try_out_baselines(state)
        pending = augment_or_wait(state)
        answer_baselines(state)
        if pending is not None:
            raise pending
        for number, cell in enumerate(planned):
            if finished(state, cell):
                continue
            deadline.check(len(planned) - number)
            train(state, cell)
            evaluate(state, cell)
            gc.collect()  # models are full of reference cycles: without this, ten cells held 5 GB of dead weights
        return report(state)


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


# --- data ---------------------------------------------------------------------------------------------------------


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


def fingerprint_of(dataset: Dataset) -> dict[str, str]:
    """Hashes of the three parts."""
    return {name: fingerprint(part) for name, part in dataset.parts.items()}


# --- augment and filter -------------------------------------------------------------------------------------------


def augment_or_wait(state: Run) -> BatchPending | None:
    """`augment_and_filter`; where requests wait in batches, what says so, so that others are handed in beside them."""
    try:
        augment_and_filter(state)
    except BatchPending as waiting:
        return waiting
    return None


def augment_and_filter(state: Run) -> None:
    """Let the teacher write candidates for every strategy that an arm uses, and filter them."""
    strategies = state.recipe.strategies
    if not strategies:
        return
    from preceptor.models.embed import Embedder
    from preceptor.teachers.budget import Budget
    from preceptor.teachers.make import make_teacher

    with Ledger(state.folder / "ledger.sqlite") as ledger:
        teacher, embed = make_teacher(state.recipe.teacher, state.folder, state.progress.say), Embedder().embed
        readers = make_readers(state.recipe, teacher, state.folder)
        for price in (price_of(state.recipe.teacher), *(reader.price for reader in readers.values())):
            Budget(ledger, price, state.recipe.budget)  # an unknown price is refused before anybody is asked
        pairs = [(setting, name) for setting in state.datasets for name in strategies]
        folders = augment_all(state, pairs, teacher, ledger)
        for setting, name in pairs:
            dataset = state.datasets[setting]
            place, version = state.folder / "filter" / setting / "labeller", CELL_VERSIONS["train"]
            opinions = Opinions(state.recipe, setting, dataset, readers, ledger, state.progress, place, version)
            filter_candidates(state, setting, dataset, name, folders[setting, name], embed, opinions)


def augment_all(
    state: Run, pairs: Sequence[tuple[str, str]], teacher: Teacher, ledger: Ledger
) -> dict[tuple[str, str], Path]:
    """The folder of candidates of every setting and strategy.

    Where requests wait in batches at a provider, the others are handed in all the same; then `BatchPending` is raised.
    """
    folders: dict[tuple[str, str], Path] = {}
    pending: list[BatchPending] = []
    for setting, name in pairs:
        try:
            folders[setting, name] = augment(state, setting, state.datasets[setting], name, teacher, ledger)
        except BatchPending as waiting:
            pending.append(waiting)
    if pending:
        raise pending[-1]  # its words count all batches
    return folders


def estimate(recipe: Recipe, *, folder: Path, base: Path) -> list[str]:
    """What the run's teachers would take from here on, in sentences. Sends nothing and writes nothing."""
    from preceptor.teachers.estimate import forecast, sentences
    from preceptor.teachers.make import make_teacher

    settings = recipe.teacher
    teacher = make_teacher(settings.model_copy(update={"key_required": False}), folder)
    structured, datasets = "schema" in teacher.accepts, load_datasets(recipe.data, base)
    requests = [
        request
        for dataset in datasets.values()
        for name in recipe.strategies
        for request in make_requests(
            make_strategy(name, dataset.task, recipe.augment),
            dataset.train,
            settings.sampling(),
            recipe.augment.draws,
            structured=structured,
        )
    ]
    asked: list[tuple[str, Teacher, TeacherSettings, list[Request]]] = [("", teacher, settings, requests)]
    state = Run(recipe, folder, base, Progress(quiet=True), "", datasets=datasets)
    for cell in baseline_cells(state):
        if cell.settings.teacher is True:
            requests += requests_of(state, cell, teacher, fit=False)[0]
        elif cell.settings.teacher is not None:
            own = terms_of(state, cell)
            other = make_teacher(own.model_copy(update={"key_required": False}), folder)
            asked.append((f"Baseline {cell.words}", other, own, requests_of(state, cell, other, fit=False)[0]))
    lines: list[str] = []
    existing = folder / "ledger.sqlite"
    with Ledger(existing if existing.exists() else ":memory:") as ledger:
        for title, who, terms, wanted in asked:
            if title and not wanted:
                continue
            made = forecast(who, wanted, ledger, terms, price_of(terms))
            lines += [*([title] if title else []), *sentences(made, recipe.budget.max_usd, recipe.budget.max_tokens)]
    return lines


def augment(state: Run, setting: str, dataset: Dataset, name: str, teacher: Teacher, ledger: Ledger) -> Path:
    """Candidates of one strategy under one setting: the folder that holds them."""
    recipe = state.recipe
    strategy = make_strategy(name, dataset.task, recipe.augment)
    sampling, structured = recipe.teacher.sampling(), "schema" in teacher.accepts
    requests = make_requests(strategy, dataset.train, sampling, recipe.augment.draws, structured=structured)
    inputs = {"requests": [teacher.key(r) for r in requests], "train": fingerprint(dataset.train)}
    if recipe.teacher.phi_mode == "mask":
        inputs["phi"] = "mask"  # the teacher reads placeholders then
    stage = Stage(state.folder / "augment" / setting / name, identity(VERSIONS["augment"], inputs))
    if not stage.done:
        with state.progress.task(f"augment: {teacher.name}, {name}, {setting}", len(requests)) as advance:
            asked = ask_all(
                teacher,
                requests,
                ledger,
                price_of(recipe.teacher),
                recipe.budget,
                make_gate(recipe.teacher),
                lambda tally: advance(tally.done, tally.words),
            )
        parents = [item for item in dataset.train for _ in range(recipe.augment.draws)]
        found = read_answers(strategy, parents, asked.answers, teacher.name)
        with stage.build() as folder:
            write_candidates(folder, teacher.name, asked, found)
    return stage.folder


def filter_candidates(
    state: Run, setting: str, dataset: Dataset, name: str, augmented: Path, embed: Embedding, opinions: Opinions
) -> None:
    """Keep or drop each candidate of one strategy, with its reason."""
    candidates = read_examples(augmented / CANDIDATES)
    settings = state.recipe.filter
    inputs = {
        "candidates": fingerprint(candidates),
        "data": fingerprint_of(dataset),
        "settings": plain_settings(settings),
        "opinions": opinions.identity,
    }
    stage = Stage(state.folder / "filter" / setting / name, identity(VERSIONS["filter"], inputs))
    parents = {item.id: item for item in dataset.train}
    if not stage.done:
        held_out = (*dataset.validation, *dataset.test)
        context = FilterContext(dataset.task, parents, held_out, embed, opinions.label, opinions.compare)
        result = run_chain(make_chain(settings), candidates, context)
        with stage.build() as folder:
            write_filtered(folder, result)
            opinions.write(folder, result.kept)
    filtered, asked = read_filtered(stage.folder, candidates), read_json(augmented / ASKED)
    said = read_opinions(stage.folder)
    state.kept[setting, name] = filtered.kept
    counts = funnel(setting, name, asked, filtered, settings.chain)
    state.funnels.append(replace(counts, agreement=said.agreement, judgement=said.judgement))
    state.samples.extend(samples(setting, name, filtered, parents))
    for record, its_price in [(asked, price_of(state.recipe.teacher)), *spends(said, opinions.readers)]:
        count_spend(state, record, its_price)
    state.progress.say(f"filter: {name}, {setting}: {len(filtered.kept)} of {len(candidates)} candidates kept")
