"""Generated examples of an experiment on a task with labels: candidates of every strategy, and filters.

augment   a teacher, rules or a file give candidates                       augment/<setting>/<strategy>/
filter    each candidate is kept, or dropped with a reason                 filter/<setting>/<strategy>/
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from preceptor.augment.base import Candidates, make_requests, make_strategy
from preceptor.augment.controls import adopted, edit_all
from preceptor.augment.stage import ASKED, CANDIDATES, ask_all, read_answers, write_candidates, write_made
from preceptor.config import ASKING
from preceptor.data.base import Dataset
from preceptor.data.files import resolve
from preceptor.data.jsonl import read_published
from preceptor.errors import BatchPending
from preceptor.filter.base import FilterContext, run_chain
from preceptor.filter.chain import make_chain
from preceptor.filter.stage import funnel, read_filtered, samples, write_filtered
from preceptor.pipeline.label_cells import VERSIONS as CELL_VERSIONS
from preceptor.pipeline.label_run import Run, count_spend, fingerprint_of
from preceptor.pipeline.opinions import Opinions, Reader, make_readers, plain_settings, read_opinions, spends
from preceptor.pipeline.zero_shot import read_score, zero_shot
from preceptor.records import fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.stages import Stage, identity, read_json
from preceptor.store.tables import read_examples
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import price_of

if TYPE_CHECKING:
    from preceptor.models.embed import Embedding
    from preceptor.teachers.base import Teacher

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
    count_spend(state, asked, price_of(state.recipe.teacher))
    state.progress.say(f"augment: {teacher.name} on {score.n} validation items, {setting}: {score.accuracy.value:.3f}")


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
        count_spend(state, asked, price_of(state.recipe.teacher))
    for record, its_price in spends(said, asked_by):
        count_spend(state, record, its_price)
    state.progress.say(f"filter: {name}, {setting}: {len(filtered.kept)} of {len(candidates)} candidates kept")
