"""Generated examples of an experiment on a task with labels: candidates of every strategy, and filters.

augment   a teacher, rules or a file give candidates                       augment/<setting>/<strategy>/
filter    each candidate is kept, or dropped with a reason                 filter/<setting>/<strategy>/

What a further teacher of `[teachers]` wrote lies in `<strategy>@<teacher>/`. Whoever wrote a candidate, the same reader
judges it in a filter: the filter's own teacher, or else the usual one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.augment.base import Candidates, make_requests
from preceptor.augment.controls import adopted, edit_all
from preceptor.augment.make import make_strategy
from preceptor.augment.stage import ASKED, CANDIDATES, ask_all, read_answers, write_candidates, write_made
from preceptor.config import ASKING, strategy_of
from preceptor.data.files import resolve
from preceptor.data.jsonl import read_published
from preceptor.errors import BatchPending
from preceptor.filter.base import FilterContext, run_chain
from preceptor.filter.chain import make_chain
from preceptor.filter.stage import funnel, read_filtered, samples, write_filtered
from preceptor.pipeline.label_cells import VERSIONS as CELL_VERSIONS
from preceptor.pipeline.label_run import Run, count_spend, fingerprint_of
from preceptor.pipeline.label_teachers import Writer, make_writers
from preceptor.pipeline.opinions import Opinions, Reader, make_readers, plain_settings, read_opinions, spends
from preceptor.pipeline.zero_shot import read_score, zero_shot
from preceptor.records import fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.stages import Stage, identity, read_json
from preceptor.store.tables import read_examples
from preceptor.teachers.phi import make_gate

if TYPE_CHECKING:
    from preceptor.models.embed import Embedding

VERSIONS = {"augment": 3, "filter": 2}
"""Raise a stage's number when its code gives other results, so that finished folders of older code are redone."""


def augment_or_wait(state: Run) -> BatchPending | None:
    """`augment_and_filter`; where requests wait in batches, what says so, so that others are handed in beside them."""
    try:
        augment_and_filter(state)
    except BatchPending as waiting:
        return waiting
    return None


def augment_and_filter(state: Run) -> None:
    """Make and filter candidates of every strategy that an arm uses in a setting; ask the teachers what they know."""
    if not state.recipe.strategies:
        return
    from preceptor.models.embed import Embedder
    from preceptor.teachers.budget import Budget

    with Ledger(state.root / "ledger.sqlite") as ledger:
        embed, readers, folders = Embedder().embed, dict[str, Reader](), dict[tuple[str, str], Path]()
        writers = make_writers(state.recipe, state.root, state.progress.say)
        if writers:
            usual = writers[""].teacher if "" in writers else None
            readers = make_readers(state.recipe, usual, state.root)
            for price in (*(one.price for one in writers.values()), *(reader.price for reader in readers.values())):
                Budget(ledger, price, state.recipe.budget)  # an unknown price is refused before anybody is asked
            folders = augment_all(state, list(writers.values()), ledger)
        for setting in state.datasets:
            for name in state.recipe.strategies_in(setting):
                strategy, teacher = strategy_of(name)
                writer = writers[teacher] if strategy in ASKING else None
                made = make_control(state, setting, name) if writer is None else folders[setting, name]
                filter_candidates(state, setting, name, made, embed, readers, ledger, writer)


def augment_all(state: Run, writers: Sequence[Writer], ledger: Ledger) -> dict[tuple[str, str], Path]:
    """The folder of candidates of every setting and strategy that asks a teacher; the teachers' own scores beside them.

    A teacher is asked, and scored, in the settings of the arms that it writes for.

    One teacher after the other, so that no two models on this machine need memory at the same time.

    Where requests wait in batches at a provider, the others are handed in all the same; then `BatchPending` is raised.
    """
    folders: dict[tuple[str, str], Path] = {}
    pending: list[BatchPending] = []
    for writer in writers:
        wanted = {setting: writer.strategies(state.recipe, setting) for setting in state.datasets}
        scored = [(setting, "") for setting, names in wanted.items() if names and state.recipe.teacher_scored]
        for setting, name in [*((s, name) for s, names in wanted.items() for name in names), *scored]:
            try:
                if name:
                    folders[setting, writer.makes(name)] = augment(state, setting, name, writer, ledger)
                else:
                    score_teacher(state, setting, writer, ledger)
            except BatchPending as waiting:
                pending.append(waiting)
        if len(writers) > 1:
            writer.rest()
    if pending:
        raise pending[-1]  # its words count all batches
    return folders


def score_teacher(state: Run, setting: str, writer: Writer, ledger: Ledger) -> None:
    """What a teacher says itself to the validation items of a setting."""
    score, asked = read_score(zero_shot(state, setting, writer, ledger), state.recipe, state.datasets[setting])
    state.teacher_scores[setting, writer.name] = writer.scored(score)
    count_spend(state, writer.asked(asked), writer.price)
    state.progress.say(f"augment: {writer.label} on {score.n} validation items, {setting}: {score.accuracy.value:.3f}")


def augment(state: Run, setting: str, name: str, writer: Writer, ledger: Ledger) -> Path:
    """One teacher's candidates of one strategy under one setting: the folder that holds them."""
    recipe, dataset, teacher = state.recipe, state.datasets[setting], writer.teacher
    strategy = make_strategy(name, dataset.task, recipe.augment)
    sampling, structured = writer.settings.sampling(), "schema" in teacher.accepts
    requests = make_requests(strategy, dataset.train, sampling, recipe.augment.draws, structured=structured)
    inputs = {"requests": [teacher.key(r) for r in requests], "train": fingerprint(dataset.train)}
    if writer.settings.phi_mode == "mask":
        inputs["phi"] = "mask"  # the teacher reads placeholders then
    stage = Stage(state.folder / "augment" / setting / writer.folder(name), identity(VERSIONS["augment"], inputs))
    if not stage.done:
        with state.progress.task(f"augment: {writer.label}, {name}, {setting}", len(requests)) as advance:
            asked = ask_all(
                teacher,
                requests,
                ledger,
                writer.price,
                recipe.budget,
                make_gate(writer.settings),
                lambda tally: advance(tally.done, tally.words),
                state.deadline,
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
    writer: Writer | None = None,
) -> None:
    """Keep or drop each candidate of one strategy, with its reason. `writer`: who wrote them, if a teacher did."""
    candidates, dataset = read_examples(augmented / CANDIDATES), state.datasets[setting]
    strategy = strategy_of(name)[0]
    settings = state.recipe.filter.of_strategy(strategy)
    recipe = state.recipe.model_copy(update={"filter": settings})
    place, version = state.folder / "filter" / setting / "labeller", CELL_VERSIONS["train"]
    asked_by: dict[str, Reader] = {step: reader for step, reader in readers.items() if step in settings.chain}
    opinions = Opinions(recipe, setting, dataset, asked_by, ledger, state.progress, place, version, state.deadline)
    inputs = {
        "candidates": fingerprint(candidates),
        "data": fingerprint_of(dataset),
        "settings": plain_settings(settings),
        "opinions": opinions.identity,
    }
    stage = Stage(state.folder / "filter" / setting / name, identity(VERSIONS["filter"], inputs))
    parents = {item.id: item for item in dataset.train}
    if not stage.done:
        state.deadline.check(len(candidates), f"Candidates to filter ({name}, {setting})")
        held_out = (*dataset.validation, *dataset.test)
        context = FilterContext(dataset.task, parents, held_out, embed, opinions.label, opinions.compare)
        result = run_chain(make_chain(settings), candidates, context)
        with stage.build() as folder:
            write_filtered(folder, result)
            opinions.write(folder, result.kept)
    filtered, asked = read_filtered(stage.folder, candidates), read_json(augmented / ASKED)
    said = read_opinions(stage.folder)
    state.kept[setting, name] = filtered.kept
    by = writer.label if writer is not None and state.recipe.teachers else ""
    counts = funnel(setting, strategy, asked, filtered, settings.chain)
    state.funnels.append(replace(counts, teacher=by, agreement=said.agreement, judgement=said.judgement))
    state.samples.extend(replace(one, teacher=by) for one in samples(setting, strategy, filtered, parents))
    if writer is not None:
        count_spend(state, writer.asked(asked), writer.price)
    for record, its_price in spends(said, asked_by):
        count_spend(state, record, its_price)
    state.progress.say(f"filter: {name}, {setting}: {len(filtered.kept)} of {len(candidates)} candidates kept")
