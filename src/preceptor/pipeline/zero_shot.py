"""What a teacher that writes the data says itself to the validation items: does it know what it teaches?

    augment/<setting>/zero-shot/    labels.parquet, said.json; of a further teacher zero-shot@<teacher>/

The first paper's claim is that the teacher's knowledge of the domain decides whether its new pairs help, so this score
stands beside each arm's gain. Never a test item. A teacher on this machine is read by the likelihood of the labels
after the task's prompt, as an untrained student is; any other is asked as the labeller of the filter `agreement` asks
it, and its answer is read by the strict parser.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preceptor.config import EvaluateSettings, Recipe, TeacherSettings
from preceptor.data.base import Dataset, Task
from preceptor.data.splits import draw
from preceptor.filter.labels import Label, TeacherLabeller, prompt
from preceptor.pipeline.opinions import write_labels
from preceptor.records import Estimate, Example, Prediction, Request, Sampling, TeacherScore, fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.stages import Stage, identity, made_by, read_json, write_json
from preceptor.store.tables import read_rows
from preceptor.teachers.asker import Asker, sampling_of
from preceptor.teachers.local import LocalTeacher
from preceptor.teachers.phi import make_gate

if TYPE_CHECKING:
    from preceptor.pipeline.label_run import Run
    from preceptor.pipeline.label_teachers import Writer
    from preceptor.teachers.base import Teacher

VERSION = 1
"""Raise it when the code gives other answers."""
SAID, LABELS = "said.json", "labels.parquet"
MAX_TOKENS = 32
LIKELIHOOD, GENERATION = "likelihood of the labels", "generated and parsed strictly"


def zero_shot(state: Run, setting: str, writer: Writer, ledger: Ledger) -> Path:
    """Ask a teacher the validation items of one setting, unless that is done: the folder with what it said.

    Raises `PartFinished` when the run's time is over: between two answers where the ledger holds them, else only before
    the first item, since a score by likelihood is kept as a whole.
    """
    dataset, teacher, terms = state.datasets[setting], writer.teacher, writer.settings
    items = _items(state.recipe, dataset)
    place = state.folder / "augment" / setting / writer.folder("zero-shot")
    stage = Stage(place, identity(VERSION, _inputs(state.recipe, dataset, teacher, terms)))
    if stage.done:
        return stage.folder
    asker = Asker(
        teacher,
        ledger,
        writer.price,
        state.recipe.budget,
        make_gate(terms),
        state.progress,
        f"augment: {writer.label} on validation items, {setting}",
        until=state.deadline,
    )
    if isinstance(teacher, LocalTeacher):
        state.deadline.check(len(items), f"Validation items for {writer.label}")
        said = _by_likelihood(teacher, dataset.task, items)
    else:
        said = TeacherLabeller(dataset.task, _sampling(terms, teacher), 1, asker)(items)
    pairs = list(zip(items, said, strict=True))
    with stage.build() as folder:
        write_labels(folder / LABELS, pairs)
        write_json(
            folder / SAID,
            {
                "reading": LIKELIHOOD if isinstance(teacher, LocalTeacher) else GENERATION,
                "items": Counter(item.label for item in items),
                "right": sum(one.label == item.label for item, one in pairs),
                "outcomes": Counter(one.outcome for one in said),
                "asked": asker.record(),
            },
        )
    return stage.folder


def _items(recipe: Recipe, dataset: Dataset) -> tuple[Example, ...]:
    # Drawn as the items that a labeller is checked on: asked the same way, they are in the ledger already.
    return draw(dataset.validation, recipe.evaluate.teacher_items, recipe.data.split_seed, "labeller check")[0]


def _inputs(recipe: Recipe, dataset: Dataset, teacher: Teacher, terms: TeacherSettings) -> dict[str, Any]:
    inputs: dict[str, Any] = {"task": asdict(dataset.task), "items": fingerprint(_items(recipe, dataset))}
    if isinstance(teacher, LocalTeacher):
        return {**inputs, "read": LIKELIHOOD, "model": teacher.name, **made_by(teacher.name)}
    keys = [teacher.key(request) for request in requests_for(recipe, dataset, teacher, terms)]
    return {**inputs, "read": GENERATION, "requests": keys, "prompt": prompt().hash}


def requests_for(recipe: Recipe, dataset: Dataset, teacher: Teacher, terms: TeacherSettings) -> list[Request]:
    """What would be asked of a teacher with these settings; nothing of one that is read by likelihood."""
    if isinstance(teacher, LocalTeacher):
        return []
    labeller = TeacherLabeller(dataset.task, _sampling(terms, teacher), 1, lambda requests: [])
    return [labeller.request(item) for item in _items(recipe, dataset)]


def _sampling(terms: TeacherSettings, teacher: Teacher) -> Sampling:
    sampling = sampling_of(terms.sampling(), 0.0, MAX_TOKENS)
    return sampling if "temperature" in teacher.accepts else replace(sampling, temperature=None)


def _by_likelihood(teacher: LocalTeacher, task: Task, items: Sequence[Example]) -> list[Label]:
    from preceptor.evaluate.predict import predict
    from preceptor.models.student import reader_of

    reader = reader_of(teacher.loaded(), task.labels, [task.target(label) for label in task.labels])
    predicted = predict(reader, task, items, EvaluateSettings(read="likelihood")).predictions
    return [Label(str(p.outcome), p.label, dict(zip(task.labels, p.probabilities, strict=True))) for p in predicted]


def read_score(folder: Path, recipe: Recipe, dataset: Dataset) -> tuple[TeacherScore, dict[str, Any]]:
    """The score that the stage's folder holds, and what was asked for it, as the stage `augment` writes it.

    Intervals as all scores have them: whole contexts are drawn where the items share some, else Wilson's.
    """
    said, rows = read_json(folder / SAID), read_rows(folder / LABELS)
    items, asked = said["items"], said["asked"]
    label = max(items, key=lambda name: items[name])
    answers = [Prediction(row["id"], row["given"], row["label"]) for row in rows]
    accuracy = _accuracy(answers, recipe, dataset)
    floor = _accuracy([replace(answer, label=label) for answer in answers], recipe, dataset)
    return TeacherScore(asked["teacher"], said["reading"], len(rows), accuracy, said["outcomes"], label, floor), asked


def _accuracy(answers: Sequence[Prediction], recipe: Recipe, dataset: Dataset) -> Estimate:
    """Of answers to the items that a teacher is asked."""
    from preceptor.evaluate.calibration import estimates_of
    from preceptor.evaluate.contexts import clusters_of, shared_contexts

    task, settings = dataset.task, recipe.evaluate
    shared = shared_contexts(_items(recipe, dataset), task)
    clusters = clusters_of([answer.id for answer in answers], shared)
    return estimates_of([answers], task.labels, settings.resamples, settings.interval_seed, clusters).accuracy
