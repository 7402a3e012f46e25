"""Second opinions on generated examples: the labeller of the filter `agreement` and the judge of the filter `judge`.

A part of the pipeline, like which it knows all stages: filters take both as plain functions, and a trained labeller
needs the stages `train` and `evaluate`, which no filter knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from preceptor.config import EvaluateSettings, FilterSettings, Recipe, StudentSettings, TeacherSettings, TrainSettings
from preceptor.data.base import Dataset
from preceptor.data.splits import draw
from preceptor.errors import DataError
from preceptor.filter import agreement, judge, labels, rubric
from preceptor.filter.labels import Fold, Label, Labeller, TeacherLabeller, cross_fitted
from preceptor.filter.rubric import Pair, Rating, TeacherJudge
from preceptor.pipeline.accompany import accompany
from preceptor.pipeline.deadline import Deadline
from preceptor.progress import Progress
from preceptor.records import Agreement, Estimate, Example, Judgement, LabellerCheck, Sampling, fingerprint
from preceptor.store.ledger import Ledger
from preceptor.store.stages import Stage, identity, made_by, read_json, write_json
from preceptor.store.tables import write_rows
from preceptor.teachers.asker import Asker, sampling_of
from preceptor.teachers.base import Teacher
from preceptor.teachers.make import make_teacher
from preceptor.teachers.phi import make_gate
from preceptor.teachers.prices import Price, price_of

OPINIONS, LABELS = "opinions.json", "labels.parquet"
"""What was said in numbers, and at what cost; and what the labeller said about each candidate that reached it."""
FOLDS = 2


@dataclass(frozen=True)
class Reader:
    """A teacher that reads for a filter."""

    teacher: Teacher
    settings: TeacherSettings
    price: Price | None


def make_readers(recipe: Recipe, usual: Teacher | None, folder: Path) -> dict[str, Reader]:
    """The teachers that the chain's filters ask, by filter; made before anything is asked, so that a missing key shows.

    A filter without a teacher of its own asks the recipe's usual one: `usual`, made here where no arm needs it.
    """
    own = {"agreement": recipe.filter.agreement.teacher, "judge": recipe.filter.judge.teacher}
    readers: dict[str, Reader] = {}
    for name in own:
        if name in recipe.filter.chain and not (name == "agreement" and recipe.filter.labelling_student):
            settings = own[name] or recipe.teacher
            teacher = usual if own[name] is None and usual is not None else make_teacher(settings, folder)
            readers[name] = Reader(teacher, settings, price_of(settings))
    return readers


def plain_settings(settings: FilterSettings) -> dict[str, Any]:
    """The filters' settings without their teachers: of those only what `Opinions.identity` names changes a result."""
    return settings.model_dump(mode="json", exclude={"agreement": {"teacher"}, "judge": {"teacher"}})


@dataclass
class Opinions:
    """Labeller and judge for the candidates of one strategy under one setting, and what they said."""

    recipe: Recipe
    setting: str
    dataset: Dataset
    readers: Mapping[str, Reader]
    ledger: Ledger
    progress: Progress
    folder: Path
    """Where the folders of trained labellers go."""
    version: int
    """Of the code that trains."""
    deadline: Deadline
    labelled: list[tuple[Example, Label]] = field(default_factory=list)
    rated: list[tuple[Rating, Rating]] = field(default_factory=list)

    # --- what the filters are given --------------------------------------------------------------------------------

    def label(self, examples: Sequence[Example]) -> list[Label]:
        """For `FilterContext.label`."""
        said = self._labeller(examples)
        self.labelled += zip(examples, said, strict=True)
        return said

    def compare(self, pairs: Sequence[Pair]) -> list[tuple[Rating, Rating]]:
        """For `FilterContext.compare`."""
        settings = self.recipe.filter.judge
        ask = self._askers["judge"]
        rated = TeacherJudge(self.dataset.task, self._sampling("judge"), settings.seed, ask)(pairs)
        self.rated += rated
        return rated

    @property
    def identity(self) -> dict[str, Any]:
        """All that can change what they say, besides the candidates, the items and the filters' own settings."""
        prompts = {"agreement": labels.prompt, "judge": rubric.prompt}
        found: dict[str, Any] = {
            name: {
                "teacher": reader.teacher.name,
                "sampling": asdict(self._sampling(name)),
                "prompt": prompts[name]().hash,
            }
            for name, reader in self.readers.items()
        }
        if self.recipe.filter.labelling_student:
            found["agreement"] = [stage.identity for stage, _ in self._folds]
        if "agreement" in self.recipe.filter.chain:
            found["check"] = [item.id for item in self._check_items]
        return found

    # --- the labeller ----------------------------------------------------------------------------------------------

    @cached_property
    def _askers(self) -> dict[str, Asker]:
        words = {"agreement": "labels", "judge": "judgements"}
        return {
            name: Asker(
                reader.teacher,
                self.ledger,
                reader.price,
                self.recipe.budget,
                make_gate(reader.settings),
                self.progress,
                f"filter: {words[name]} by {reader.teacher.name}, {self.setting}",
                until=self.deadline,
            )
            for name, reader in self.readers.items()
        }

    def _sampling(self, name: str) -> Sampling:
        settings = self.recipe.filter.agreement if name == "agreement" else self.recipe.filter.judge
        return sampling_of(self.readers[name].settings.sampling(), settings.temperature, settings.max_tokens)

    @cached_property
    def _labeller(self) -> Labeller:
        if self.recipe.filter.labelling_student:
            return cross_fitted([self._fold(stage, real) for stage, real in self._folds])
        draws = self.recipe.filter.agreement.draws
        return TeacherLabeller(self.dataset.task, self._sampling("agreement"), draws, self._askers["agreement"])

    @property
    def _named(self) -> str:
        if self.recipe.filter.labelling_student:
            return f"{self._student[0].name}, trained on the real items without the item's own parent"
        draws = self.recipe.filter.agreement.draws
        return self.readers["agreement"].teacher.name + (f", the majority of {draws} answers" if draws > 1 else "")

    @cached_property
    def _student(self) -> tuple[StudentSettings, TrainSettings]:
        """The labelling student, always in its last state: one chosen on validation items would flatter its check."""
        student = self.recipe.labelling_student(self.setting)
        settings = self.recipe.training_of(student).on_labels_alone()
        return student, settings.model_copy(update={"select": "last"})

    @cached_property
    def _folds(self) -> list[tuple[Stage, tuple[Example, ...]]]:
        """Each fold's stage and the real items that it is trained on: those that it does not label the children of."""
        student, settings = self._student
        half = draw(self.dataset.train, len(self.dataset.train) // FOLDS, self.recipe.data.split_seed, "labeller")
        if not all(half):
            raise DataError(
                f"{self.setting}: a trained labeller is made of two halves of the training items, and there are only "
                f"{len(self.dataset.train)}.",
                'Use more items, or another filter.agreement.labeller than "student".',
            )
        return [
            (
                Stage(
                    self.folder / f"half-{number}",
                    identity(
                        self.version,
                        {
                            "model": student.model,
                            **made_by(student.model),
                            "head": student.head,
                            "settings": settings.deciding(),
                            "task": asdict(self.dataset.task),
                            "real": fingerprint(real),
                            "validation": fingerprint(self.dataset.validation),
                            "seed": self.recipe.seeds[0],
                        },
                    ),
                ),
                real,
            )
            for number, real in enumerate(half, start=1)
        ]

    def _fold(self, stage: Stage, real: Sequence[Example]) -> Fold:
        def label(examples: Sequence[Example]) -> list[Label]:
            if not stage.done:
                self._train(stage, real)
            return self._predict(stage, examples)

        return Fold(frozenset(item.id for item in real), label)

    def _train(self, stage: Stage, real: Sequence[Example]) -> None:
        from preceptor.train.cell import train_cell

        student, settings = self._student
        words = f"filter: training the labeller {student.name}, {self.setting}, {stage.folder.name}"
        names = (self.recipe.name, f"labeller-{student.name}-{self.setting}-{stage.folder.name}")
        with stage.build() as folder, self.progress.task(words, 1000) as advance:
            train_cell(
                folder,
                student,
                settings,
                self.dataset.task,
                real=real,
                generated=(),
                validation=self.dataset.validation,
                seed=self.recipe.seeds[0],
                upkeep=accompany(stage, settings, names, self.folder, self.deadline, self.progress, advance),
            )

    def _predict(self, stage: Stage, examples: Sequence[Example]) -> list[Label]:
        from preceptor.evaluate.predict import predict
        from preceptor.models.student import restore
        from preceptor.train.cell import open_for

        student, settings = self._student
        task = self.dataset.task
        trained = restore(open_for(student, settings, task, self.recipe.seeds[0]), stage.folder)
        predicted = predict(trained, task, examples, EvaluateSettings(read="likelihood"))
        return [
            Label(str(p.outcome), p.label, dict(zip(task.labels, p.probabilities, strict=True)))
            for p in predicted.predictions
        ]

    @cached_property
    def _check_items(self) -> tuple[Example, ...]:
        count, seed = self.recipe.filter.agreement.check_items, self.recipe.data.split_seed
        return draw(self.dataset.validation, count, seed, "labeller check")[0]

    # --- what the stage keeps --------------------------------------------------------------------------------------

    def write(self, folder: Path, kept: Sequence[Example]) -> None:
        """Write what was said and spent into the stage's folder; asks about the validation items before that."""
        settings, said = self.recipe.filter, {}
        if self.labelled:
            write_labels(folder / LABELS, self.labelled)
            said["agreement"] = {
                "labeller": self._named,
                "mode": settings.agreement.mode,
                **agreement.counts(self.labelled, kept if settings.agreement.mode == "weight" else ()),
                "check": _checked(self._check_items, self._labeller),
            }
        if self.rated:
            said["judge"] = {"judge": self.readers["judge"].teacher.name, **judge.counts(self.rated, settings.judge)}
        asked = {name: asker.record() for name, asker in self._askers.items()}
        write_json(folder / OPINIONS, {**said, "asked": asked})


def write_labels(path: Path, pairs: Sequence[tuple[Example, Label]]) -> None:
    """One row per candidate: its label when it was asked about, the labeller's, the shares and the votes."""
    rows = [
        {
            "id": example.id,
            "given": example.label,
            "label": said.label,
            "outcome": said.outcome,
            "share_of_given": said.shares.get(example.label, 0.0),
            "votes": ", ".join(vote.word for vote in said.votes),
        }
        for example, said in pairs
    ]
    write_rows(path, rows, list(rows[0]), numbers=["share_of_given"])


def _checked(items: Sequence[Example], labeller: Labeller) -> dict[str, dict[str, int]] | None:
    if not items:
        return None
    said = labeller(items)
    right = Counter(item.label for item, one in zip(items, said, strict=True) if one.label == item.label)
    return {"items": dict(Counter(item.label for item in items)), "right": dict(right)}


@dataclass(frozen=True)
class Said:
    """What `Opinions.write` wrote."""

    agreement: Agreement | None
    judgement: Judgement | None
    asked: Mapping[str, Mapping[str, Any]]
    """By filter: who was asked and what it cost, as the stage `augment` writes it."""


def read_opinions(folder: Path) -> Said:
    """Read what was said, with the intervals that belong to it."""
    said = read_json(folder / OPINIONS)
    agreed, judged = said.get("agreement"), said.get("judge")
    return Said(
        Agreement(**{**agreed, "check": _check(agreed["check"])}) if agreed else None,
        Judgement(**judged) if judged else None,
        said["asked"],
    )


def _check(found: Mapping[str, Mapping[str, int]] | None) -> LabellerCheck | None:
    if found is None:
        return None
    from preceptor.evaluate.statistics import wilson

    items, right = found["items"], found["right"]
    n = sum(items.values())
    label = max(items, key=lambda name: items[name])
    accuracy, floor = (Estimate(k / n, wilson(k, n)) for k in (sum(right.values()), items[label]))
    return LabellerCheck(n, items, right, accuracy, label, floor)


def spends(said: Said, readers: Mapping[str, Reader]) -> Iterator[tuple[Mapping[str, Any], Price | None]]:
    """What each teacher was asked for a filter, with its price."""
    for name, asked in said.asked.items():
        yield asked, readers[name].price
