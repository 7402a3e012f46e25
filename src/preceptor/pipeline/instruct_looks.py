"""Looks at the test items of benchmarks: a line for each student that answered them, and how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from preceptor.data.benchmark import Benchmark
from preceptor.pipeline.instruct_cells import Cell, InstructRun, cells, evaluate_identity, scores_of, train_identity
from preceptor.pipeline.resolve import resolved
from preceptor.records import Looks, content_hash, instructions_hash
from preceptor.store.seal import UNCHOSEN, Look, count, looks_in, record, with_state


def record_answers(state: InstructRun, cell: Cell, benchmark: Benchmark) -> None:
    """Write down that a cell's student answers a benchmark's test items, in the run and beside shared results.

    Called before anybody can read the answers: a run that is killed then has looked, and its next one looks again.
    Nothing is written where the benchmark has no test items.
    """
    if not benchmark.test:
        return
    fit = state.book.training(cell.name, train_identity(state, cell)) if cell.tuned else None
    choice = UNCHOSEN if fit is None else with_state(UNCHOSEN, cell.settings.select, fit)
    settings = {
        "model": cell.student.model,
        "form": cell.student.form,
        "arm": cell.arm,
        "sources": dict(state.recipe.arms.get(cell.arm, {})),
        "training": cell.settings.deciding(),
    }
    look = Look(
        recipe=state.recipe.name,
        recipe_hash=content_hash(resolved(state.recipe)),
        cell=f"{cell.name}-{benchmark.name}",
        identity=evaluate_identity(state, cell, benchmark),
        test=instructions_hash(benchmark.test),
        student=cell.student.model,
        settings=content_hash(settings)[:16],
        chosen=choice.chosen,
        by=choice.by,
    )
    record(_folders(state), look)


def looks_at_benchmarks(state: InstructRun) -> tuple[Looks, ...]:
    """How often the test items of each benchmark were answered, once for benchmarks that have the same ones."""
    looks, same = looks_in(_folders(state)), dict[str, list[Benchmark]]()
    for benchmark in state.scored:
        if benchmark.test:
            same.setdefault(instructions_hash(benchmark.test), []).append(benchmark)
    return tuple(
        count(
            looks,
            ", ".join(benchmark.name for benchmark in found),
            test,
            len(found[0].test),
            [identity for benchmark in found for identity in _shown(state, benchmark)],
        )
        for test, found in same.items()
    )


def _folders(state: InstructRun) -> list[Path]:
    """The run's own, and that of the results where the recipe names one: other runs find them there."""
    return [state.folder, *([state.book.folder] if state.recipe.results is not None else [])]


def _shown(state: InstructRun, benchmark: Benchmark) -> Sequence[str]:
    """Identities of the answers to a benchmark that the report is made of."""
    known = (cell for cell in cells(state) if scores_of(state, cell, benchmark) is not None)
    return [evaluate_identity(state, cell, benchmark) for cell in known]
