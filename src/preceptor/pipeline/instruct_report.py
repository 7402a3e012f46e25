"""What came of an experiment on instructions, from the results of its cells."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from preceptor.evaluate.measure import entries, with_holm
from preceptor.pipeline.instruct_cells import InstructRun, cells, reason_not_to_run, scores_of, train_identity
from preceptor.pipeline.instruct_looks import looks_at_benchmarks
from preceptor.pipeline.resolve import resolved
from preceptor.publish.pictures import length_picture, picture
from preceptor.records import (
    CATEGORIES,
    Course,
    Instruction,
    InstructSummary,
    MatrixEntry,
    Spend,
    course_of,
    instruction_of,
)
from preceptor.report.build_instruct import build_instruct
from preceptor.report.looks import looks_sentence
from preceptor.report.table import instruct_table
from preceptor.store.provenance import provenance
from preceptor.store.stages import write_json, write_text
from preceptor.train.methods import describe

if TYPE_CHECKING:
    from preceptor.config import FollowerSettings

SAMPLES = 3
"""Tasks that the report shows of each category, and of each reason for which tasks were dropped."""


def instruct_report(state: InstructRun) -> InstructSummary:
    """Write `results.json`, `results.txt` and `report.html`; returns what they show."""
    recipe, tasks = state.recipe, state.tasks
    matrix = with_holm([entry for student in recipe.students for entry in _student(state, student)])
    summary = InstructSummary(
        name=recipe.name,
        title=recipe.title,
        notice=recipe.notice,
        notes=tuple(dict.fromkeys(note for b in state.benchmarks.values() for note in b.notes)),
        funnel=tasks.funnel if tasks else None,
        samples=_samples(state),
        dropped=_dropped(state),
        diversity=_diversity(state),
        sources={source: len(state.items_of(source)) for arm in recipe.arms.values() for source in arm},
        benchmarks={settings.name: _about(state, settings.name) for settings in recipe.benchmarks},
        arms=recipe.arms,
        entries=matrix,
        training=_training(state),
        spend=_spend(state),
        provenance={**provenance(), "seeds": list(recipe.seeds), "results": str(recipe.results or "in the run")},
        recipe=resolved(recipe),
        command=state.command,
        courses=tuple(_courses(state)),
        looks=looks_at_benchmarks(state),
    )
    write_json(state.folder / "results.json", asdict(summary))
    said = [instruct_table(matrix), *map(looks_sentence, summary.looks)]
    write_text(state.folder / "results.txt", "\n\n".join(said) + "\n")
    build_instruct(summary, state.folder / "report.html")
    return summary


def _student(state: InstructRun, student: FollowerSettings) -> Iterator[MatrixEntry]:
    mine = [cell for cell in cells(state) if cell.student.name == student.name]
    for benchmark in state.scored:
        runs: dict[str, dict[int, Any]] = {}
        for cell in mine:
            if (scores := scores_of(state, cell, benchmark)) is not None:
                runs.setdefault(cell.arm, {})[cell.seed] = scores
        yield from entries(student.name, runs, benchmark, state.recipe.evaluate)
        for arm in state.recipe.arms_of(student):
            if reason := reason_not_to_run(state, arm):
                metric = {"choice": "accuracy", "spans": "strict_f1", "text": "rougeL"}[benchmark.measured]
                yield MatrixEntry(student.name, arm, benchmark.name, benchmark.category, metric, note=reason)


def _samples(state: InstructRun) -> tuple[Instruction, ...]:
    """The same few tasks of each category, drawn, not chosen."""
    if state.tasks is None:
        return ()
    chosen: list[Instruction] = []
    for category in CATEGORIES:
        mine = [instruction_of(task) for task in state.tasks.kept if task.label == category]
        chosen += random.Random(category).sample(mine, min(SAMPLES, len(mine)))
    return tuple(chosen)


def _dropped(state: InstructRun) -> tuple[tuple[str, Instruction], ...]:
    if state.tasks is None:
        return ()
    by_reason: dict[str, list[Instruction]] = {}
    for reason, task in state.tasks.dropped:
        by_reason.setdefault(reason, []).append(instruction_of(task))
    return tuple(
        (reason, task)
        for reason, mine in by_reason.items()
        for task in random.Random(reason).sample(mine, min(SAMPLES, len(mine)))
    )


def _diversity(state: InstructRun) -> dict[str, Any]:
    found = state.tasks.diversity if state.tasks else {}
    return {**found, "picture": picture(found), "length_picture": length_picture(found)} if found else {}


def _about(state: InstructRun, name: str) -> dict[str, Any]:
    benchmark = state.benchmarks[name]
    settings = next(settings for settings in state.recipe.benchmarks if settings.name == name)
    return {
        "category": benchmark.category,
        "kind": settings.kind,
        "read": benchmark.read if settings.scored else "not scored, training items only",
        "items": {
            "train": len(benchmark.train),
            "validation": len(benchmark.validation),
            "test": len(benchmark.test) if settings.scored else 0,
        },
        "licence": benchmark.licence,
        "notes": list(benchmark.notes),
        "identity": benchmark.identity[:16],
    }


def _training(state: InstructRun) -> dict[str, dict[str, Any]]:
    """Of each student and arm: method, and what training did, as means over seeds."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    told: dict[str, dict[str, Any]] = {}
    for cell in cells(state):
        fit = state.book.training(cell.name, train_identity(state, cell)) if cell.tuned else None
        if fit is not None:
            name = f"{cell.student.name}/{cell.arm}"
            found.setdefault(name, []).append(fit)
            told[name] = {"method": describe(cell.settings)}
    for name, fits in found.items():
        told[name] |= {
            "steps": fits[0]["steps"],
            "seconds": _mean(fits, "seconds"),
            "tokens": round(_mean(fits, "tokens")),
            "trainable": fits[0]["trainable"],
            "last_loss": round(sum(fit["losses"][-1] for fit in fits) / len(fits), 3),
            "seeds": len(fits),
        }
    return told


def _courses(state: InstructRun) -> Iterator[Course]:
    for cell in cells(state):
        fit = state.book.training(cell.name, train_identity(state, cell)) if cell.tuned else None
        if fit is not None:
            yield course_of("", cell.student.name, cell.arm, cell.seed, fit)


def _mean(fits: Sequence[Mapping[str, Any]], key: str) -> float:
    return float(sum(fit[key] for fit in fits)) / len(fits)


def _spend(state: InstructRun) -> dict[str, Spend]:
    spend = dict(state.tasks.spend) if state.tasks else {}
    asker = state.judge.ask if state.judge is not None else None
    if asker is not None and asker.spend.calls:
        name = asker.teacher.name
        spend[name] = spend[name].plus(asker.spend) if name in spend else asker.spend
    return spend
