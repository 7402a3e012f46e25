"""What the report of an experiment on a task with labels says: all predictions scored, and the page written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from preceptor.pipeline.label_cells import Cell, Run, cells, found, shared_of
from preceptor.pipeline.published import published_figures
from preceptor.pipeline.resolve import resolved
from preceptor.records import Course, Row, RunSummary, content_hash, course_of
from preceptor.report.build import build
from preceptor.report.published import published_text
from preceptor.report.table import as_table
from preceptor.store.provenance import provenance
from preceptor.store.stages import write_json, write_text


def report(state: Run) -> RunSummary:
    """Score all predictions and write `results.json`, `results.txt` and `report.html`."""
    recipe = state.recipe
    some = next(iter(state.datasets.values()))
    rows = [row for setting in state.datasets for row in _rows(state, setting)]
    summary = RunSummary(
        name=recipe.name,
        title=recipe.title,
        notice=recipe.notice,
        notes=tuple(dict.fromkeys(note for d in state.datasets.values() for note in d.notes)),
        published=published_figures(recipe, rows),
        published_notes=recipe.published_notes,
        task=some.task.name,
        split=some.split,
        labels=some.task.labels,
        counts={name: dict(Counter(e.label for e in part)) for name, part in some.parts.items()},
        rows=tuple(rows),
        shared_contexts={name: shared for name in state.datasets if (shared := shared_of(state, name))},
        funnels=tuple(state.funnels),
        samples=tuple(state.samples),
        spend=state.spend,
        provenance={**provenance(), "seeds": list(recipe.seeds), "data": _data_provenance(state)},
        recipe=resolved(recipe),
        command=state.command,
        courses=tuple(_courses(state)),
    )
    write_json(state.folder / "results.json", asdict(summary))
    tables = filter(None, (as_table(rows), published_text(summary)))
    write_text(state.folder / "results.txt", "\n\n".join(tables) + "\n")
    build(summary, state.folder / "report.html")
    return summary


def _courses(state: Run) -> Iterator[Course]:
    for cell in sorted(cells(state), key=lambda cell: list(state.datasets).index(cell.setting)):
        fit = found(state, cell).fit
        if fit is not None:
            yield course_of(cell.setting, cell.student.name, cell.arm, cell.seed, fit)


def _data_provenance(state: Run) -> dict[str, Any]:
    return {
        setting: {
            "identity": d.identity,
            "licence": d.licence or "not stated",
            "prompt": content_hash(d.task.template)[:16],
        }
        for setting, d in state.datasets.items()
    }


def _rows(state: Run, setting: str) -> list[Row]:
    from preceptor.evaluate.contexts import clusters_of
    from preceptor.evaluate.results import Measured, reference_rows, result_rows
    from preceptor.train.methods import describe

    dataset, settings = state.datasets[setting], state.recipe.evaluate
    labels = dataset.task.labels
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(state):
        if cell.setting == setting:
            groups.setdefault((cell.student.name, cell.arm), []).append(cell)
    measured = []
    for (student, arm), members in groups.items():
        known = [found(state, cell) for cell in members]
        measured.append(
            Measured(
                setting=setting,
                student=student,
                arm=arm,
                method=describe(members[0].settings) if arm else "as it came",
                runs={cell.seed: one.predictions for cell, one in zip(members, known, strict=True)},
                fits=[one.fit for one in known if one.fit is not None],
                cut_prompts=known[0].cut_prompts,
                validation={cell.seed: one.validation for cell, one in zip(members, known, strict=True)},
            )
        )
    clusters = clusters_of([item.id for item in dataset.test], shared_of(state, setting))
    references = reference_rows(setting, dataset.test, labels, settings, clusters)
    return references + result_rows(measured, references[0], labels, settings, clusters)
