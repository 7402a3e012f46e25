"""The instruction tasks of a run: written by a teacher or read from elsewhere, less what leaks, then published.

instruct/   kept.parquet, dropped.parquet with reasons, written.json: what was asked and why it ended
leakage/    kept.parquet, dropped.parquet: what would carry a benchmark's items into training
publish/    the kept tasks in the forms that others read, with a data card
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import preceptor
from preceptor.augment.instruct import TaskWriter, category_prompt, output_prompt
from preceptor.config import GENERATED, InstructRecipe, InstructSettings, LeakageSettings
from preceptor.data.base import Task
from preceptor.data.benchmark import Benchmark
from preceptor.data.seeds import SeedSet, load_seeds
from preceptor.data.tasks import read_tasks
from preceptor.filter.base import FilterContext, run_chain
from preceptor.filter.leakage import Leakage
from preceptor.models.embed import Embedder
from preceptor.pipeline.deadline import Deadline
from preceptor.pipeline.writing import write_tasks
from preceptor.pipeline.writing_forecast import forecast_writing
from preceptor.pipeline.writing_records import Asking, Written
from preceptor.progress import Progress
from preceptor.publish.card import Card
from preceptor.publish.diversity import diversity_of
from preceptor.publish.forms import write_published
from preceptor.records import (
    CATEGORIES,
    Example,
    Instruction,
    Spend,
    TasksFunnel,
    fingerprint,
    instruction_of,
    instructions_hash,
)
from preceptor.store.ledger import Ledger
from preceptor.store.stages import Stage, identity, read_json, write_json
from preceptor.store.tables import read_dropped, read_examples, write_dropped, write_examples
from preceptor.teachers.budget import Budget
from preceptor.teachers.make import make_teacher
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import price_of

VERSIONS = {"instruct": 1, "leakage": 1, "publish": 1}
"""Raise a stage's number when its code gives other results."""

KEPT, DROPPED, WRITTEN = "kept.parquet", "dropped.parquet", "written.json"
LEAKS = "leakage"
"""Reason in the funnel for tasks that would carry a benchmark's items into training."""


@dataclass(frozen=True)
class Tasks:
    """The tasks that arms may be made of."""

    kept: tuple[Example, ...]
    dropped: tuple[tuple[str, Example], ...]
    """Each with its reason."""
    funnel: TasksFunnel | None
    """None when the tasks were read from elsewhere."""
    spend: dict[str, Spend]
    diversity: dict[str, Any]
    seeds: str
    """Where they come from, in words."""

    def of(self, source: str) -> list[Instruction]:
        """The tasks of `generated`, or of `generated:CATEGORY`."""
        category = source.removeprefix(GENERATED).removeprefix(":")
        return [instruction_of(task) for task in self.kept if category in ("", task.label)]


def obtain_tasks(
    recipe: InstructRecipe,
    benchmarks: Iterable[Benchmark],
    folder: Path,
    base: Path,
    command: str,
    progress: Progress,
    deadline: Deadline,
) -> Tasks:
    """Write the tasks, or read them; drop what leaks; publish the rest.

    Raises `PartFinished` when the time is over while a teacher writes.
    """
    settings = recipe.instruct
    assert settings is not None
    seeds = load_seeds(settings.seeds, base, settings.rules.language)
    if settings.source is None:
        tasks = _written(recipe, settings, seeds, folder, progress, deadline)
    else:
        kept = read_tasks(settings.source, base)
        progress.say(f"instruct: {len(kept):,} tasks from {settings.source}")
        tasks = Tasks(kept, (), None, {}, {}, settings.source)
    tasks = _without_leaks(tasks, list(benchmarks), folder, progress)
    return _published(recipe, settings, tasks, seeds, folder, command)


# --- instruct -----------------------------------------------------------------------------------------------------


def _written(
    recipe: InstructRecipe,
    settings: InstructSettings,
    seeds: SeedSet,
    folder: Path,
    progress: Progress,
    deadline: Deadline,
) -> Tasks:
    teacher = make_teacher(recipe.teacher, folder, progress.say)
    sampling = recipe.teacher.sampling()
    inputs = {
        "settings": settings.model_dump(mode="json", exclude={"seeds", "source"}),
        "seeds": instructions_hash(seeds.tasks),
        "prompts": [
            p.hash
            for p in (
                TaskWriter(settings, sampling, "schema" in teacher.accepts).prompt,
                output_prompt(),
                category_prompt(),
            )
        ],
        "teacher": teacher.name,
        "sampling": sampling.asked(),
        "phi": recipe.teacher.phi_mode,
        # A larger budget goes on where a smaller one ended; the ledger knows what was answered.
        "budget": recipe.budget.model_dump(mode="json"),
    }
    stage = Stage(folder / "instruct", identity(VERSIONS["instruct"], inputs))
    if not stage.done or read_json(stage.folder / WRITTEN)["again"]:
        with (
            Ledger(folder / "ledger.sqlite") as ledger,
            progress.task(f"instruct: {teacher.name}", settings.target) as advance,
        ):
            price = price_of(recipe.teacher)
            Budget(ledger, price, recipe.budget)  # an unknown price is refused before anybody is asked
            asking = Asking(teacher, sampling, ledger, price, recipe.budget, make_gate(recipe.teacher), deadline)
            written = write_tasks(settings, seeds.tasks, asking, lambda now: advance(now.kept, now.words))
        with stage.build() as place:
            _write(place, written)
    record = read_json(stage.folder / WRITTEN)
    funnel = TasksFunnel(**{**record["funnel"], "nearest_f": tuple(record["funnel"]["nearest_f"])})
    progress.say(f"instruct: {funnel.kept:,} of {funnel.candidates:,} tasks kept; {funnel.stopped}")
    dropped = tuple((verdict.reason, example) for example, _, verdict in read_dropped(stage.folder / DROPPED))
    spend = {teacher.name: Spend(**record["spend"])}
    return Tasks(read_examples(stage.folder / KEPT), dropped, funnel, spend, {}, seeds.name)


def _write(place: Path, written: Written) -> None:
    write_examples(place / KEPT, written.kept)
    write_dropped(place / DROPPED, [(example, "instruct", verdict) for example, verdict in written.dropped])
    record = {"funnel": asdict(written.funnel), "spend": asdict(written.spend), "again": written.again}
    write_json(place / WRITTEN, record)


def estimate_tasks(recipe: InstructRecipe, *, folder: Path, base: Path) -> list[str]:
    """What writing the tasks would take from here on, in sentences. Sends nothing and writes nothing."""
    settings = recipe.instruct
    if settings is None or settings.source is not None:
        return ["Nothing is written by a teacher in this recipe."]
    seeds = load_seeds(settings.seeds, base, settings.rules.language)
    teacher = make_teacher(recipe.teacher.model_copy(update={"key_required": False}), folder)
    existing = folder / "ledger.sqlite"
    with Ledger(existing if existing.exists() else ":memory:") as ledger:
        price = price_of(recipe.teacher)
        return forecast_writing(settings, seeds.tasks, teacher, ledger, recipe.teacher, price, recipe.budget)


# --- leakage ------------------------------------------------------------------------------------------------------


def _without_leaks(tasks: Tasks, benchmarks: Sequence[Benchmark], folder: Path, progress: Progress) -> Tasks:
    """Drop tasks that would carry validation or test items of the benchmarks into training."""
    if not benchmarks:
        return tasks
    inputs = {"tasks": fingerprint(tasks.kept), "benchmarks": sorted(b.identity for b in benchmarks)}
    stage = Stage(folder / LEAKS, identity(VERSIONS["leakage"], inputs))
    if not stage.done:
        result = run_chain([Leakage(LeakageSettings(require_parent=False))], tasks.kept, _held_out(benchmarks))
        with stage.build() as place:
            write_examples(place / KEPT, result.kept)
            write_dropped(place / DROPPED, [(d.example, d.filter, d.verdict) for d in result.dropped])
    gone = read_dropped(stage.folder / DROPPED)
    progress.say(f"leakage: {len(gone):,} of {len(tasks.kept):,} tasks would carry items of benchmarks; dropped")
    kept = read_examples(stage.folder / KEPT)
    dropped = (*tasks.dropped, *((LEAKS, example) for example, _, _ in gone))
    return replace(tasks, kept=kept, dropped=dropped, funnel=_less(tasks.funnel, kept, len(gone)))


def _held_out(benchmarks: Sequence[Benchmark]) -> FilterContext:
    # The wording of a benchmark's instruction is not secret, its items are. What its training items have too is no
    # leak; they are trained on anyway.
    def examples(items: Iterable[Instruction], name: str) -> list[Example]:
        return [
            Example(f"{name}/{item.id}", {"input": item.input, "output": item.output}, item.category) for item in items
        ]

    parents = {e.id: e for b in benchmarks for e in examples(b.train, b.name)}
    held_out = [e for b in benchmarks for e in examples((*b.validation, *b.test), b.name)]
    task = Task("instructions", "default", CATEGORIES, ("input", "output"), "{{ input }} {{ output }}")
    return FilterContext(task, parents, held_out, Embedder().embed)


def _less(funnel: TasksFunnel | None, kept: Sequence[Example], gone: int) -> TasksFunnel | None:
    """The funnel with the leaks among the dropped."""
    if funnel is None or not gone:
        return funnel
    counts = {name: sum(task.label == name for task in kept) for name in CATEGORIES}
    return replace(
        funnel,
        dropped={**funnel.dropped, LEAKS: gone},
        kept=len(kept),
        kept_by_category={name: n for name, n in counts.items() if n},
    )


# --- publish ------------------------------------------------------------------------------------------------------


def _published(
    recipe: InstructRecipe, settings: InstructSettings, tasks: Tasks, seeds: SeedSet, folder: Path, command: str
) -> Tasks:
    """Write the tasks for others, and say how varied they are."""
    if not tasks.kept:
        return tasks
    diversity = diversity_of(tasks.kept, tasks.funnel.nearest_f if tasks.funnel else ())
    teachers = sorted({task.source.teacher for task in tasks.kept if task.source})
    given = settings.source is not None
    card = Card(
        name=recipe.name,
        title=recipe.title,
        teacher=", ".join(teachers) or "unknown",
        settings={} if given else recipe.teacher.sampling().asked(),
        prompts={task.source.prompt: task.source.prompt_hash for task in tasks.kept if task.source},
        seeds=tasks.seeds,
        seeds_hash=fingerprint(tasks.kept)[:16] if given else seeds.identity[:16],
        seeds_count=len(tasks.kept) if given else len(seeds.tasks),
        funnel=tasks.funnel,
        spend=next(iter(tasks.spend.values()), None),
        command=command,
        version=preceptor.__version__,
        diversity=diversity,
        notice=recipe.notice,
    )
    stage = Stage(folder / "publish", identity(VERSIONS["publish"], {"card": _plain(card)}))
    if not stage.done:
        with stage.build() as place:
            write_published(place, tasks.kept, card)
    return replace(tasks, diversity=diversity)


def _plain(card: Card) -> dict[str, Any]:
    return {**asdict(card), "diversity": ""}  # it follows from the tasks
