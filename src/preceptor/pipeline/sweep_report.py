"""What the report says of a sweep: its points in tables, how far they lie apart, and who looked at the test items."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from preceptor.evaluate.aggregate import holm
from preceptor.evaluate.calibration import estimates_of
from preceptor.evaluate.contexts import clusters_of
from preceptor.evaluate.metrics import floor_predictions, score
from preceptor.evaluate.sweeps import METRICS, Spreads, choosing_score, spreads
from preceptor.pipeline.label_cells import found
from preceptor.pipeline.label_run import Run, shared_of
from preceptor.pipeline.sweeping import Sweep, Trial
from preceptor.records import Estimate, Looks, PointResult, Prediction, SpreadDifference, SweepResult, fingerprint
from preceptor.store.seal import count, looks_in


def sweep_findings(state: Run, sweep: Sweep) -> tuple[tuple[SweepResult, ...], tuple[SpreadDifference, ...]]:
    """All points of every student, setting and arm with their scores, and every two swept students compared."""
    places = dict.fromkeys((trial.setting, trial.arm) for trial in sweep.trials)
    apart = {place: _spreads(state, sweep, *place) for place in places}
    results = []
    for (setting, student, arm), trials in sweep.groups().items():
        dataset = state.datasets[setting]
        floor = score(floor_predictions(dataset.test, dataset.task.labels), dataset.task.labels)
        asked = next((sweep.asked[trial.key] for trial in trials if trial.key in sweep.asked), {})
        results.append(
            SweepResult(
                setting=setting,
                student=student,
                arm=arm,
                keys=tuple(trials[0].point.values),
                select=sweep.settings.select,
                by=sweep.settings.by,
                points=tuple(_point(state, sweep, trial) for trial in trials),
                items=len(next(iter(asked.values()), ())),
                floor={"accuracy": floor.accuracy, "macro_f1": floor.macro_f1},
                spread=apart[setting, arm].of.get(student, {}),
                model=trials[0].point.base.model,
            )
        )
    differences = [
        SpreadDifference(setting, arm, first, second, metric, *apart_by)
        for (setting, arm), found_there in apart.items()
        for (first, second), by_metric in found_there.differences.items()
        for metric, apart_by in by_metric.items()
    ]
    models = {trial.point.base.name: trial.point.base.model for trial in sweep.trials}
    return tuple(results), _corrected(differences, models)


def _corrected(differences: Sequence[SpreadDifference], models: Mapping[str, str]) -> tuple[SpreadDifference, ...]:
    """With p after Holm's correction over all pairs that are compared, by metric.

    Compared are students of the same model (`models`: student -> model), which differ in how they are trained; where
    no two students have one model, all.
    """
    alike = {number for number, one in enumerate(differences) if models[one.first] == models[one.second]}
    done = list(differences)
    for metric in METRICS:
        compared = [n for n, one in enumerate(done) if one.metric == metric and (not alike or n in alike)]
        known = {n: p for n in compared if (p := done[n].p) is not None}
        for n, p in zip(known, holm(list(known.values())).tolist(), strict=True):
            done[n] = replace(done[n], p_holm=p)
    return tuple(done)


def _answered(trial: Trial) -> dict[int, Sequence[Prediction]]:
    return {cell.seed: found(trial.run, cell).predictions for cell in trial.cells}


def _clusters(state: Run, setting: str) -> Sequence[int] | None:
    return clusters_of([item.id for item in state.datasets[setting].test], shared_of(state, setting))


def _spreads(state: Run, sweep: Sweep, setting: str, arm: str) -> Spreads:
    points: dict[str, list[dict[int, Sequence[Prediction]]]] = {}
    for trial in sweep.trials:
        if (trial.setting, trial.arm) == (setting, arm) and sweep.scored(trial):
            points.setdefault(trial.point.base.name, []).append(_answered(trial))
    settings, labels = state.recipe.evaluate, state.datasets[setting].task.labels
    return spreads(points, labels, settings.resamples, settings.interval_seed, clusters_I=_clusters(state, setting))


def _point(state: Run, sweep: Sweep, trial: Trial) -> PointResult:
    labels, settings = state.datasets[trial.setting].task.labels, state.recipe.evaluate
    asked = sweep.asked.get(trial.key)
    choosing, seeds = choosing_score(asked, labels, sweep.settings.by) if asked else (None, ())
    tested: dict[str, Estimate | None] = dict.fromkeys(METRICS)
    if sweep.scored(trial):
        runs = list(_answered(trial).values())
        estimates = estimates_of(
            runs, labels, settings.resamples, settings.interval_seed, _clusters(state, trial.setting)
        )
        tested = {"accuracy": estimates.accuracy, "macro_f1": estimates.macro_f1}
    return PointResult(
        name=trial.point.student.name,
        values=dict(trial.point.values),
        scale=trial.settings.scale,
        learning_rate=trial.settings.learning_rate,
        choosing=choosing,
        choosing_seeds=seeds,
        accuracy=tested["accuracy"],
        macro_f1=tested["macro_f1"],
        chosen=sweep.is_chosen(trial),
        failed=sweep.failures.get(trial.key, ""),
    )


def looks_at(state: Run, shown: Sequence[tuple[str, str]]) -> tuple[Looks, ...]:
    """How often the test items were looked at, once for settings that have the same ones.

    `shown`: setting and identity of the answers that the report is made of.
    """
    looks = looks_in([state.root, *([state.book.folder] if state.book is not None else [])])
    settings: dict[str, list[str]] = {}
    for setting, dataset in state.datasets.items():
        settings.setdefault(fingerprint(dataset.test), []).append(setting)
    return tuple(
        count(
            looks,
            ", ".join(names),
            test,
            len(state.datasets[names[0]].test),
            [identity for setting, identity in shown if setting in names],
        )
        for test, names in settings.items()
    )
