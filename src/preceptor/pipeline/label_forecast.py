"""What the teachers of an experiment on a task with labels would take, before anything is sent: `preceptor estimate`.

Counted are the teachers that write for the arms, what they are asked to know what they know themselves, the baselines
that ask a teacher, and the points of a sweep. What several of them ask alike is asked once, and counted once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from preceptor.augment.base import make_requests
from preceptor.augment.make import make_strategy
from preceptor.config import Point, Recipe, TeacherSettings, points_of
from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.pipeline.baselines import baseline_cells, requests_of, terms_of
from preceptor.pipeline.label_run import Run
from preceptor.pipeline.label_teachers import Writer
from preceptor.pipeline.zero_shot import requests_for
from preceptor.progress import Progress
from preceptor.records import Request
from preceptor.store.ledger import Ledger
from preceptor.teachers.estimate import Forecast, forecast, sentences, together
from preceptor.teachers.make import make_teacher
from preceptor.teachers.prices import price_of


@dataclass
class _Asked:
    """What one teacher with one set of settings is asked."""

    title: str
    """Empty for `[teacher]` as it stands."""
    writer: Writer
    requests: dict[str, Request] = field(default_factory=dict)
    """By what decides an answer."""

    def add(self, requests: list[Request]) -> None:
        """Each request counts once."""
        self.requests |= {self.writer.teacher.key(request): request for request in requests}


def estimate(recipe: Recipe, *, folder: Path, base: Path) -> list[str]:
    """What the run's teachers would take from here on, in sentences. Sends nothing and writes nothing."""
    state = Run(recipe, folder, base, Progress(quiet=True), "", datasets=load_datasets(recipe.data, base))
    written = {name: _asked(_table(name), name, terms, folder) for name, terms in _writing(recipe).items()}
    for one in written.values():
        one.add(_requests(one.writer, recipe, state.datasets))
    read = _asked_by_baselines(state, written)
    swept = _asked_by_points(state, written)
    # One that is asked nothing is named only where nobody is asked anything.
    parts = [one for one in (*written.values(), *swept, *read) if one.requests] or [written[""]]
    lines, forecasts = list[str](), list[Forecast]()
    budget, existing = recipe.budget, folder / "ledger.sqlite"
    with Ledger(existing if existing.exists() else ":memory:") as ledger:
        for one in parts:
            terms = one.writer.settings
            made = forecast(one.writer.teacher, one.requests.values(), ledger, terms, price_of(terms))
            forecasts.append(made)
            lines += [*([one.title] if one.title else []), *sentences(made, budget.max_usd, budget.max_tokens)]
    return lines + (together(forecasts, budget.max_usd, budget.max_tokens) if recipe.teachers or swept else [])


def _writing(recipe: Recipe) -> dict[str, TeacherSettings]:
    """The usual teacher, also where it writes for no arm, and the further ones that write."""
    return {"": recipe.teacher, **recipe.writers}


def _table(name: str) -> str:
    """How a teacher's part is headed; the usual one's has no heading."""
    return f"Of [teachers.{name}]" if name else ""


def _asked(title: str, name: str, terms: TeacherSettings, folder: Path) -> _Asked:
    # To name a teacher and count what it reads needs no key.
    return _Asked(title, Writer(name, make_teacher(terms.model_copy(update={"key_required": False}), folder), terms))


def _requests(writer: Writer, recipe: Recipe, datasets: Mapping[str, Dataset]) -> list[Request]:
    """What a teacher is asked for the arms, and to know what it knows itself."""
    found: list[Request] = []
    for setting, dataset in datasets.items():
        for name in (strategies := writer.strategies(recipe, setting)):
            strategy, structured = make_strategy(name, dataset.task, recipe.augment), "schema" in writer.teacher.accepts
            sampling = writer.settings.sampling()
            found += make_requests(strategy, dataset.train, sampling, recipe.augment.draws, structured=structured)
        if recipe.teacher_scored and strategies:
            found += requests_for(recipe, dataset, writer.teacher, writer.settings)
    return found


def _asked_by_baselines(state: Run, written: dict[str, _Asked]) -> list[_Asked]:
    """What baselines ask teachers of their own; what they ask the recipe's is added to `written`."""
    found = []
    for cell in baseline_cells(state):
        settings, name = cell.settings, cell.settings.named
        if settings.teacher is None:
            continue
        if name and name not in written:
            written[name] = _asked(_table(name), name, terms_of(state, cell), state.folder)
        if name or settings.teacher is True:
            asked = written[name]
        else:
            asked = _asked(f"Baseline {cell.words}", "", terms_of(state, cell), state.folder)
            found.append(asked)
        asked.add(requests_of(state, cell, asked.writer.teacher, fit=False)[0])
    return found


def _asked_by_points(state: Run, written: Mapping[str, _Asked]) -> list[_Asked]:
    """What the points of a sweep ask under other settings of a teacher, as far as nobody else asks it.

    What they ask under the settings of `written`, about other training items or in another way, is added there.
    """
    found, datasets = dict[str, _Asked](), dict[str, Mapping[str, Dataset]]()
    counted = {(one.title, _deciding(state.recipe)) for one in written.values()}
    for point in points_of(state.recipe):
        for name, terms in point.recipe.writers.items() if point.apart else ():
            asked, title = written[name], _titled(name, point)
            if asked.writer.settings != terms:
                asked = found[title] = found.get(title) or _asked(title, name, terms, state.folder)
            if (same := (asked.title, _deciding(point.recipe))) not in counted:
                if (read := point.recipe.data.model_dump_json()) not in datasets:
                    datasets[read] = load_datasets(point.recipe.data, state.base)
                asked.add(_requests(asked.writer, point.recipe, datasets[read]))
                counted.add(same)
    elsewhere = {key for one in written.values() for key in one.requests}
    for one in found.values():
        one.requests = {key: request for key, request in one.requests.items() if key not in elsewhere}
        elsewhere |= set(one.requests)
    return [one for one in found.values() if one.requests]


def _deciding(recipe: Recipe) -> str:
    """What decides a teacher's requests beside its own settings."""
    return recipe.model_dump_json(include={"data", "augment", "evaluate"})


def _titled(name: str, point: Point) -> str:
    """The heading of a teacher's part whose settings differ at a point of a sweep: which table, and how it differs."""
    table = f"teachers.{name}" if name else "teacher"
    own = [(key.removeprefix(f"{table}."), value) for key, value in point.values.items() if key.startswith(f"{table}.")]
    return f"Of [{table}] with {', '.join(f'{key} = {value!r}' for key, value in own)}"
