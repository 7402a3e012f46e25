"""What the report of an experiment on a task with labels says: all predictions scored, and the page written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from preceptor.config import ASKING
from preceptor.pipeline.baselines import baseline_cells, measured_baselines, stage_of
from preceptor.pipeline.label_arms import missing, nothing_kept, remark_on
from preceptor.pipeline.label_cells import cells, evaluate_stage, found
from preceptor.pipeline.label_run import Cell, Run, shared_of
from preceptor.pipeline.published import published_figures
from preceptor.pipeline.sweep_report import looks_at, sweep_findings
from preceptor.pipeline.sweeping import Sweep, Trial
from preceptor.records import Arm, Course, Row, RunSummary, content_hash, course_of
from preceptor.report.arms import controls
from preceptor.report.build import build
from preceptor.report.looks import looks_sentence
from preceptor.report.published import published_text
from preceptor.report.table import as_table, sweep_table
from preceptor.store.provenance import provenance
from preceptor.store.stages import write_json, write_text

if TYPE_CHECKING:
    from preceptor.evaluate.results import Measured


def report(state: Run, sweep: Sweep | None = None) -> RunSummary:
    """Score all predictions and write `results.json`, `results.txt` and `report.html`."""
    recipe = state.recipe
    some = next(iter(state.datasets.values()))
    chosen = [trial for trial in sweep.trials if sweep.is_chosen(trial) and sweep.scored(trial)] if sweep else []
    rows = [row for setting in state.datasets for row in _rows(state, setting, chosen)]
    looks, (swept, spreads) = looks_at(state, _shown(state, sweep)), sweep_findings(state, sweep) if sweep else ((), ())
    summary = RunSummary(
        name=recipe.name,
        title=recipe.title,
        notice=recipe.notice,
        notes=tuple(dict.fromkeys(note for d in state.datasets.values() for note in d.notes)),
        published=published_figures(recipe, rows, swept),
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
        recipe=state.written,
        command=state.command,
        courses=tuple(_courses(state, chosen)),
        sweeps=swept,
        spreads=spreads,
        looks=looks,
        arms={
            name: Arm(arm.use, arm.real, arm.labels == "shuffled", arm.teacher or "", arm.settings)
            for name, arm in recipe.arms.items()
        },
    )
    write_json(state.folder / "results.json", asdict(summary))
    tables = [as_table(rows, controls(summary)), published_text(summary), *map(sweep_table, summary.sweeps)]
    write_text(state.folder / "results.txt", "\n\n".join(filter(None, [*tables, *map(looks_sentence, looks)])) + "\n")
    build(summary, state.folder / "report.html")
    return summary


def _shown(state: Run, sweep: Sweep | None) -> list[tuple[str, str]]:
    """Setting and identity of all answers to test items that the report is made of."""
    scored = [trial for trial in sweep.trials if sweep.scored(trial)] if sweep else []
    of_cells = [(state, cell) for cell in cells(state) if not nothing_kept(state, cell)]
    of_cells += [(trial.run, cell) for trial in scored for cell in trial.cells]
    of_baselines = [(cell.setting, stage_of(state, cell).identity) for cell in baseline_cells(state)]
    return [*((cell.setting, evaluate_stage(run, cell).identity) for run, cell in of_cells), *of_baselines]


def _courses(state: Run, chosen: Sequence[Trial]) -> Iterator[Course]:
    order = list(state.datasets)
    plain = [(state, cell, cell.student.name) for cell in cells(state) if not nothing_kept(state, cell)]
    swept = [(trial.run, cell, trial.point.base.name) for trial in chosen for cell in trial.cells]
    for run, cell, name in sorted([*plain, *swept], key=lambda entry: order.index(entry[1].setting)):
        fit = found(run, cell).fit
        if fit is not None:
            yield course_of(cell.setting, name, cell.arm, cell.seed, fit)


def _data_provenance(state: Run) -> dict[str, Any]:
    return {
        setting: {
            "identity": d.identity,
            "licence": d.licence or "not stated",
            "prompt": content_hash(d.task.template)[:16],
        }
        for setting, d in state.datasets.items()
    }


def _rows(state: Run, setting: str, chosen: Sequence[Trial]) -> list[Row]:
    """The rows of one setting. Of a swept student those of the chosen points, under its own name."""
    from preceptor.evaluate.contexts import clusters_of
    from preceptor.evaluate.results import reference_rows, result_rows

    dataset, settings = state.datasets[setting], state.recipe.evaluate
    labels = dataset.task.labels
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells(state):
        if cell.setting == setting:
            groups.setdefault((cell.student.name, cell.arm), []).append(cell)
    measured, absent, points = [], [], dict[tuple[str, str], str]()
    for (student, arm), members in groups.items():
        if nothing_kept(state, members[0]):
            absent.append(Row("arm", setting, student, arm, missing=missing(state, members[0])))
        else:
            measured.append(_measured(state, student, members))
    members_of = {key: (state, members) for key, members in groups.items()}
    for trial in chosen:
        if trial.setting == setting:
            key = (trial.point.base.name, trial.arm)
            measured.append(_measured(trial.run, key[0], trial.cells))
            points[key], members_of[key] = trial.point.student.name, (trial.run, list(trial.cells))
    clusters = clusters_of([item.id for item in dataset.test], shared_of(state, setting))
    references = reference_rows(setting, dataset.test, labels, settings, clusters)
    baselines = measured_baselines(state, setting)
    rows = [*result_rows(baselines + measured, references[0], labels, settings, clusters), *absent]
    order = [*((one.student, one.arm) for one in baselines), *members_of]
    rows.sort(key=lambda row: order.index((row.student, row.arm)))
    return references + [
        replace(_with_arm(*members_of[key], row), point=points.get(key, "")) if key in members_of else row
        for row in rows
        for key in [(row.student, row.arm)]
    ]


def _with_arm(state: Run, members: Sequence[Cell], row: Row) -> Row:
    """The row with what its arm's training data and teacher must be known by."""
    if row.kind != "arm":
        return row
    arm = state.recipe.arms[row.arm]
    asked = any(name in ASKING for name in arm.use)
    teacher = state.teacher_scores.get((row.setting, arm.teacher or "")) if asked else None
    return replace(row, remark=remark_on(state, members), teacher=teacher)


def _measured(run: Run, student: str, members: Sequence[Cell]) -> Measured:
    from preceptor.evaluate.results import Measured
    from preceptor.train.methods import describe

    known = [found(run, cell) for cell in members]
    return Measured(
        setting=members[0].setting,
        student=student,
        arm=members[0].arm,
        method=describe(members[0].settings) if members[0].arm else "as it came",
        runs={cell.seed: one.predictions for cell, one in zip(members, known, strict=True)},
        fits=[one.fit for one in known if one.fit is not None],
        cut_prompts=known[0].cut_prompts,
        validation={cell.seed: one.validation for cell, one in zip(members, known, strict=True)},
    )
