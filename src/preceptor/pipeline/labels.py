"""An experiment on a task with labels, stage by stage.

    data      load the items of every setting, refuse what would leak          data/
    augment   the teacher or a rule makes candidates from training items       augment/<setting>/<strategy>/
    filter    each candidate is kept, or dropped with a reason                 filter/<setting>/<strategy>/
    train     one student per setting, arm and seed, in equal steps            train/<setting>/<student>/<arm>/seed-N/
    evaluate  predictions on the test items, then scores and intervals       evaluate/<setting>/<student>/<arm>/seed-N/
    (sweep    settings that are tried, and one chosen without the test: sweeping.py)      sweep/
    report    one page that a reader can trust                                 report.html, results.{json,txt}

A stage's result lies in a folder that is renamed into place when it is complete and carries the hash of all that went
into it. Running again does only what is missing, and the ledger keeps every answer that a teacher ever gave.
"""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.augment.base import Candidates, make_requests, make_strategy
from preceptor.augment.controls import adopted, edit_all
from preceptor.augment.stage import ASKED, CANDIDATES, ask_all, read_answers, spend_of, write_candidates, write_made
from preceptor.config import ASKING, Recipe
from preceptor.data.base import Dataset
from preceptor.data.files import resolve
from preceptor.data.jsonl import read_published
from preceptor.data.load import load_datasets
from preceptor.errors import BatchPending
from preceptor.filter.base import FilterContext, run_chain
from preceptor.filter.chain import make_chain
from preceptor.filter.stage import funnel, read_filtered, samples, write_filtered
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.label_arms import nothing_kept
from preceptor.pipeline.label_cells import VERSIONS as CELL_VERSIONS
from preceptor.pipeline.label_cells import Cell, Run, cells, evaluate, finished, train
from preceptor.pipeline.label_report import report
from preceptor.pipeline.opinions import Opinions, Reader, make_readers, plain_settings, read_opinions, spends
from preceptor.pipeline.presets import settled
from preceptor.pipeline.processes import driving
from preceptor.pipeline.sweeping import carry_out, open_sweep, refuse_nothing, try_out_points
from preceptor.pipeline.zero_shot import read_score, requests_for, zero_shot
from preceptor.progress import Progress
from preceptor.records import RunSummary, fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.provenance import provenance
from preceptor.store.stages import Stage, identity, read_json, refuse_foreign, sole_writer, write_json, write_text
from preceptor.store.tables import read_examples, write_examples
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import Price, price_of

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
    # A sweep works presets and held rates out at every point: its recipe is kept as it was given.
    given = recipe if recipe.sweep is not None else None
    state = Run(settled(recipe), folder, base, progress, command, deadline=deadline, given=given)
    refuse_foreign(folder)
    with sole_writer(folder), driving():
        load_data(state)
        write_text(folder / "recipe.toml", state.written)
        write_json(folder / "provenance.json", provenance())
        planned, sweep = list(cells(state)), open_sweep(state, load_data)
        try_out(state, planned)
        if sweep is not None:
            try_out_points(sweep, try_out)
        for one in (state, *(sweep.apart() if sweep is not None else ())):
            augment_and_filter(one)
        planned = [cell for cell in planned if not nothing_kept(state, cell)]
        for number, cell in enumerate(planned):
            if finished(state, cell):
                continue
            deadline.check(len(planned) - number)
            train(state, cell)
            evaluate(state, cell)
            gc.collect()  # models are full of reference cycles: without this, ten cells held 5 GB of dead weights
        if sweep is not None:
            carry_out(state, sweep)
        summary = report(state, sweep)
        if sweep is not None:
            refuse_nothing(sweep)
        return summary


def try_out(state: Run, planned: Sequence[Cell]) -> None:
    """Open every student with its method once, so that what cannot work is refused before a teacher is asked."""
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


def augment_and_filter(state: Run) -> None:
    """Make candidates for every strategy that an arm uses, and filter them; ask the teacher what it knows itself."""
    strategies = state.recipe.strategies
    if not strategies:
        return
    from preceptor.models.embed import Embedder
    from preceptor.teachers.budget import Budget
    from preceptor.teachers.make import make_teacher

    with Ledger(state.root / "ledger.sqlite") as ledger:
        embed, readers, folders = Embedder().embed, dict[str, Reader](), dict[tuple[str, str], Path]()
        if state.recipe.asking:
            teacher = make_teacher(state.recipe.teacher, state.root, state.progress.say)
            readers = make_readers(state.recipe, teacher, state.root)
            for price in (price_of(state.recipe.teacher), *(reader.price for reader in readers.values())):
                Budget(ledger, price, state.recipe.budget)  # an unknown price is refused before anybody is asked
            folders = augment_all(state, teacher, ledger)
        for setting in state.datasets:
            for name in strategies:
                made = folders[setting, name] if name in ASKING else make_control(state, setting, name)
                filter_candidates(state, setting, name, made, embed, readers, ledger)


def augment_all(state: Run, teacher: Teacher, ledger: Ledger) -> dict[tuple[str, str], Path]:
    """The folder of candidates of every setting and strategy that asks the teacher; its own score beside them.

    Where requests wait in batches at a provider, the others are handed in all the same; then `BatchPending` is raised.
    """
    folders: dict[tuple[str, str], Path] = {}
    pending: list[BatchPending] = []
    scored = [(setting, "") for setting in state.datasets if state.recipe.teacher_scored]
    for setting, name in [*((s, n) for s in state.datasets for n in state.recipe.asking), *scored]:
        try:
            if name:
                folders[setting, name] = augment(state, setting, state.datasets[setting], name, teacher, ledger)
            else:
                score_teacher(state, setting, teacher, ledger)
        except BatchPending as waiting:
            pending.append(waiting)
    if pending:
        raise pending[-1]  # its words count all batches
    return folders


def score_teacher(state: Run, setting: str, teacher: Teacher, ledger: Ledger) -> None:
    """What the teacher says itself to the validation items of a setting."""
    score, asked = read_score(zero_shot(state, setting, teacher, ledger))
    state.teacher_scores[setting] = score
    add_spend(state, asked, price_of(state.recipe.teacher))
    state.progress.say(f"augment: {teacher.name} on {score.n} validation items, {setting}: {score.accuracy.value:.3f}")


def add_spend(state: Run, record: Mapping[str, Any], price: Price | None) -> None:
    """Add what a stage asked of a teacher to what the run has spent on it."""
    old, new = state.spend.get(record["teacher"]), spend_of(record, state.calls, price)
    state.spend[record["teacher"]] = new if old is None else old.plus(new)


def estimate(recipe: Recipe, *, folder: Path, base: Path) -> list[str]:
    """What the run's teachers would take from here on, in sentences. Sends nothing and writes nothing."""
    from preceptor.teachers.estimate import forecast, sentences
    from preceptor.teachers.make import make_teacher

    settings = recipe.teacher
    teacher = make_teacher(settings.model_copy(update={"key_required": False}), folder)
    structured = "schema" in teacher.accepts
    datasets = load_datasets(recipe.data, base).values()
    requests = [
        request
        for dataset in datasets
        for name in recipe.asking
        for request in make_requests(
            make_strategy(name, dataset.task, recipe.augment),
            dataset.train,
            settings.sampling(),
            recipe.augment.draws,
            structured=structured,
        )
    ]
    if recipe.teacher_scored:
        requests += [request for dataset in datasets for request in requests_for(recipe, dataset, teacher)]
    existing = folder / "ledger.sqlite"
    with Ledger(existing if existing.exists() else ":memory:") as ledger:
        made = forecast(teacher, requests, ledger, settings, price_of(settings))
    return sentences(made, recipe.budget.max_usd, recipe.budget.max_tokens)


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


def make_control(state: Run, setting: str, name: str) -> Path:
    """Candidates of a strategy that asks no teacher: the folder that holds them, as `augment` leaves it."""
    dataset, settings = state.datasets[setting], state.recipe.augment
    if name == "edit":
        found = edit_all(dataset.task, dataset.train, settings)
    else:
        own, path = state.recipe.data.own, resolve(str(settings.published), state.base)
        assert own is not None  # the recipe was refused otherwise
        items = read_published(own, dataset.task, path, settings.published_parent)
        found = Candidates(adopted(items, {item.id: item for item in dataset.train}))
    inputs = {"made": fingerprint(found.examples), "train": fingerprint(dataset.train)}
    stage = Stage(state.folder / "augment" / setting / name, identity(VERSIONS["augment"], inputs))
    if not stage.done:
        with stage.build() as folder:
            write_made(folder, found)
    return stage.folder


def filter_candidates(
    state: Run,
    setting: str,
    name: str,
    augmented: Path,
    embed: Embedding,
    readers: Mapping[str, Reader],
    ledger: Ledger,
) -> None:
    """Keep or drop each candidate of one strategy, with its reason."""
    candidates, dataset = read_examples(augmented / CANDIDATES), state.datasets[setting]
    settings = state.recipe.filter.of_strategy(name)
    recipe = state.recipe.model_copy(update={"filter": settings})
    place, version = state.folder / "filter" / setting / "labeller", CELL_VERSIONS["train"]
    asked_by: dict[str, Reader] = {step: reader for step, reader in readers.items() if step in settings.chain}
    opinions = Opinions(recipe, setting, dataset, asked_by, ledger, state.progress, place, version)
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
    if name in ASKING:
        add_spend(state, asked, price_of(state.recipe.teacher))
    for record, its_price in spends(said, asked_by):
        add_spend(state, record, its_price)
    state.progress.say(f"filter: {name}, {setting}: {len(filtered.kept)} of {len(candidates)} candidates kept")
