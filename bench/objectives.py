"""What each objective promises, on the real PubMedQA: official split, over seeds, beside training on the label alone.

    PRECEPTOR_DATA=... python bench/objectives.py [--student minilm|smollm2] [--seeds 1 2 3] [--out FOLDER]
        [--objectives distillation tokens contrastive rationale weights] [--weight distillation=1 ...] [--epochs N]
        [--items N]
        [--teacher MODEL] [--teacher-weights FOLDER] [--teacher-epochs N]

`distillation` (over the labels) and `tokens` (over the likeliest tokens of the answer; a student of the teacher's
vocabulary) promise a lower divergence from the teacher on items that were not trained on, `contrastive` a higher
accuracy of the nearest neighbours of the pooled states (10 by cosine, held-out items among the training items); both in
the reasoning-free setting. `rationale` promises a better label at equal steps, in the reasoning-required setting, where
the conclusion is kept from the student; language models only. `weights` promises a better label where some of the
labels are wrong: 30 % of the training items get another one, and an item's weight is the probability of its label, as
`agreement` weights, by the same student trained on the other half (two more trainings of half the items); beside it
stands `corrupted`, the same labels without weights; reasoning-free. Every cell keeps its last state, so that neither
validation nor test chose anything. The teacher is trained here on the labels, unless --teacher-weights names one or
--teacher-epochs is 0. Each cell's figures are kept in --out: the same command goes on where it was stopped.

Prints a table and ends with one line of JSON. Intervals are 95 % by Student's t over seeds, of the paired differences
from the label alone (`weights`: from `corrupted`).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from objective_tables import PROMISES, Figures, against, beside, kept, print_table
from sklearn.metrics import f1_score
from sklearn.neighbors import KNeighborsClassifier

from preceptor.config import DataSettings, StudentSettings, TrainSettings
from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.models.score import normalised
from preceptor.models.student import Student, restore
from preceptor.records import Example, content_hash, fingerprint
from preceptor.store.provenance import machine, provenance
from preceptor.store.stages import Stage, read_json, write_json
from preceptor.train.batches import make_items
from preceptor.train.cell import FIT, open_for, train_cell
from preceptor.train.contrastive import pooled_states
from preceptor.train.teaching import check_teacher, identity_of, open_teacher, write_labels, write_tokens

FREE, REQUIRED = "reasoning-free", "reasoning-required"
MODELS = {"minilm": "builtin:minilm-l6", "smollm2": "builtin:smollm2-135m-instruct"}
TRAIN: dict[str, dict[str, Any]] = {
    "minilm": {"learning_rate": 1e-3, "epochs": 5},
    "smollm2": {"learning_rate": 3e-4, "epochs": 2},
}
COMMON = {"method": "lora", "rank": 8, "alpha": 16, "batch_size": 8, "max_length": 512, "select": "last"}
WEIGHTS = {"distillation": 1.0, "tokens": 1.0, "contrastive": 0.5, "rationale": 0.5}
"""Beside the label's 1."""
WRONG = 0.3
"""Share of the training items whose label is changed for `weights`."""
NEIGHBOURS = 10
TEACHER_SEED = 1000


@dataclass(frozen=True)
class Bench:
    """What all cells share."""

    student: str
    datasets: dict[str, Dataset]
    settings: TrainSettings
    """Of the label alone, with the teacher's name in it."""
    weights: dict[str, float]
    out: Path

    @property
    def entry(self) -> StudentSettings:
        """The student as a recipe names it."""
        return StudentSettings(name=self.student, model=MODELS[self.student])

    def settings_of(self, objective: str) -> TrainSettings:
        """How a student is trained for an objective."""
        key = "distillation" if objective == "tokens" else objective
        weights = {key: self.weights[objective]} if objective in self.weights else {}
        targets = {"targets": "tokens"} if objective == "tokens" else {}
        return self.settings.model_copy(
            update={
                "objectives": self.settings.objectives.model_copy(update=weights),
                "distillation": self.settings.distillation.model_copy(update=targets),
            },
        )


def main(arguments: Iterable[str] | None = None) -> None:
    """Run the cells that are missing, then print the table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRECEPTOR_DATA", "../shared/data")))
    parser.add_argument("--student", choices=list(MODELS), default="minilm")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--objectives", nargs="+", choices=list(PROMISES), default=["distillation", "contrastive"])
    parser.add_argument("--weight", nargs="+", default=[], metavar="NAME=VALUE")
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--items", type=int, help="training items, drawn by seed (450)")
    parser.add_argument("--test-items", type=int, help="test items, drawn by seed (500)")
    parser.add_argument("--teacher", default=MODELS["smollm2"])
    parser.add_argument("--teacher-weights", type=Path)
    parser.add_argument("--teacher-epochs", type=float, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/bench-objectives"))
    asked = parser.parse_args(None if arguments is None else list(arguments))
    if {"rationale", "tokens"} & {*asked.objectives} and asked.student == "minilm":
        parser.error("rationale and tokens need a language model: --student smollm2")
    bench = prepare(asked)
    wanted = [(FREE, name) for name in asked.objectives if name != "rationale"]
    wanted += [(REQUIRED, name) for name in asked.objectives if name == "rationale"]
    planned = sorted({*wanted, *((setting, beside(name)) for setting, name in wanted)})
    found = {
        (setting, objective): [cell(bench, setting, objective, seed) for seed in asked.seeds]
        for setting, objective in planned
    }
    compared = {name: against(found[setting, name], found[setting, beside(name)]) for setting, name in wanted}
    print_table(found, compared)
    print(json.dumps(line(bench, asked, found, compared)))


def prepare(asked: argparse.Namespace) -> Bench:
    """Data, settings and, where the divergence from a teacher is asked about, the teacher."""
    settings = DataSettings(
        task="pubmedqa",
        path=str((asked.data / "pubmedqa").resolve()),
        settings=(FREE, REQUIRED),
        max_train=asked.items,
        max_test=asked.test_items,
    )
    datasets = load_datasets(settings, Path())
    epochs = {} if asked.epochs is None else {"epochs": asked.epochs}
    given = {**COMMON, **TRAIN[asked.student], **epochs}
    if {"distillation", "tokens"} & {*asked.objectives}:
        weights = asked.teacher_weights
        if weights is None and asked.teacher_epochs:
            weights = trained_teacher(asked.out, asked.teacher, asked.teacher_epochs, datasets[FREE])
        given["distillation"] = {
            "teacher": asked.teacher,
            "weights": None if weights is None else str(weights.resolve()),
        }
    changed = weights_of(asked.weight)
    return Bench(asked.student, datasets, TrainSettings.model_validate(given), {**WEIGHTS, **changed}, asked.out)


def weights_of(given: Sequence[str]) -> dict[str, float]:
    """`NAME=VALUE` as numbers; exits for a name that has no weight beside the label's."""
    pairs = dict(one.partition("=")[::2] for one in given)
    if unknown := set(pairs) - set(WEIGHTS):
        sys.exit(f"--weight: {min(unknown)!r} is none of {', '.join(WEIGHTS)}.")
    return {name: float(value) for name, value in pairs.items()}


def trained_teacher(out: Path, model: str, epochs: float, dataset: Dataset) -> Path:
    """The folder of the teacher, trained on the labels with a seed of its own; done once."""
    name = next((name for name, known in MODELS.items() if known == model), "smollm2")
    settings = TrainSettings.model_validate({**COMMON, **TRAIN[name], "epochs": epochs})
    inputs = {"model": model, "settings": settings.deciding(), "train": fingerprint(dataset.train)}
    stage = Stage(out / "teacher", content_hash(inputs))
    if not stage.done:
        with stage.build() as folder:
            entry = StudentSettings(name="teacher", model=model)
            fit_cell(folder, entry, settings, dataset, dataset.train, TEACHER_SEED)
    return stage.folder


def fit_cell(
    folder: Path,
    student: StudentSettings,
    settings: TrainSettings,
    dataset: Dataset,
    items: Sequence[Example],
    seed: int,
    taught: Sequence[Path] = (),
) -> None:
    """Train on `items`."""
    train_cell(
        folder,
        student,
        settings,
        dataset.task,
        real=items,
        generated=(),
        validation=dataset.validation,
        seed=seed,
        taught=taught,
    )


def cell(bench: Bench, setting: str, objective: str, seed: int) -> Figures:
    """The figures of one cell: from its file, or by training and measuring it now."""
    settings, dataset = bench.settings_of(objective), bench.datasets[setting]
    items = corrupted(dataset, seed) if beside(objective) == "corrupted" or objective == "corrupted" else dataset.train
    inputs = {
        "model": MODELS[bench.student],
        "settings": settings.deciding(),
        "teacher": identity_of(settings.distillation, Path()) if settings.distillation.teacher else None,
        "items": [fingerprint(part) for part in {**dataset.parts, "train": items}.values()],
        "seed": seed,
    }
    inputs["settings"].pop("distillation", None)  # a path; what it leads to is the teacher's identity
    inputs |= {"objective": objective} if objective in ("tokens", "weights") else {}
    if objective == "tokens":
        inputs |= {"temperature": settings.distillation.temperature, "top_k": settings.distillation.top_k}
    path = bench.out / bench.student / f"{setting}-{objective}-seed-{seed}.json"
    if path.exists() and read_json(path).get("identity") == content_hash(inputs):
        return read_json(path)["figures"]
    started = time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        items = weighted(bench, dataset, items, seed) if objective == "weights" else items
        taught = [taught_by(bench, setting, settings)] if settings.objectives.distillation else []
        fit_cell(folder, bench.entry, settings, dataset, items, seed, taught)
        student = restore(open_for(bench.entry, settings, dataset.task, seed), folder)
        fitted = read_json(folder / FIT)
    figures = {
        "steps": fitted["steps"],
        "tokens": fitted["tokens"],
        "cpu_seconds": round(time.process_time() - started),
        **measure(bench, setting, student, neighbours=items is dataset.train),
    }
    write_json(path, {"identity": content_hash(inputs), "figures": figures})
    print(f"{bench.student} {setting} {objective} seed {seed}: {figures}", flush=True)
    return figures


def corrupted(dataset: Dataset, seed: int) -> tuple[Example, ...]:
    """The training items, of which a share drawn by `seed` has another label."""
    generator = np.random.default_rng([seed, 30])
    wrong = set(generator.permutation(len(dataset.train))[: round(WRONG * len(dataset.train))].tolist())
    return tuple(
        replace(item, label=str(generator.choice([label for label in dataset.task.labels if label != item.label])))
        if i in wrong
        else item
        for i, item in enumerate(dataset.train)
    )


def weighted(bench: Bench, dataset: Dataset, items: Sequence[Example], seed: int) -> list[Example]:
    """The items with the probability of their label as weight, by a student that was trained on the other half."""
    found: dict[str, Example] = {}
    for half, other in ((items[::2], items[1::2]), (items[1::2], items[::2])):
        with tempfile.TemporaryDirectory() as scratch:
            fit_cell(Path(scratch), bench.entry, bench.settings, dataset, half, seed)
            labeller = restore(open_for(bench.entry, bench.settings, dataset.task, seed), Path(scratch))
        chances = normalised(labeller.logprobs(prompts_of(labeller, dataset, other)))
        for item, row in zip(other, chances, strict=True):
            found[item.id] = replace(item, weight=float(row[dataset.task.labels.index(item.label)]))
    return [found[item.id] for item in items]


def taught_by(bench: Bench, setting: str, settings: TrainSettings) -> Path:
    """The folder with what a student learns from the teacher: of the labels, or of the tokens of its own answers."""
    if settings.distillation.targets == "labels":
        return thoughts(bench, setting)
    dataset = bench.datasets[setting]
    inputs = {
        "teacher": identity_of(settings.distillation, Path()),
        "items": fingerprint(dataset.train),
        "student": bench.entry.model,
        "settings": settings.deciding(),
    }
    stage = Stage(bench.out / "thoughts" / setting / "tokens", content_hash(inputs))
    if not stage.done:
        student = open_for(bench.entry, settings, dataset.task, 0)
        check_teacher(student, settings.distillation, Path())
        rows = make_items(student, dataset.task, dataset.train)
        teacher = open_teacher(
            settings.distillation, dataset.task, Path(), max_length=settings.max_length, dtype="auto"
        )
        with stage.build() as folder:
            write_tokens(folder, teacher, rows, settings.distillation)
    return stage.folder


def thoughts(bench: Bench, setting: str, part: str = "train") -> Path:
    """The folder with what the teacher thinks of a part's items; asked once."""
    dataset, settings = bench.datasets[setting], bench.settings
    items = dataset.parts[part]
    inputs = {"teacher": identity_of(settings.distillation, Path()), "items": fingerprint(items)}
    stage = Stage(bench.out / "thoughts" / setting / part, content_hash(inputs))
    if not stage.done:
        teacher = open_teacher(
            settings.distillation, dataset.task, Path(), max_length=settings.max_length, dtype="auto"
        )
        with stage.build() as folder:
            write_labels(folder, teacher, dataset.task, items)
    return stage.folder


def measure(bench: Bench, setting: str, student: Student, neighbours: bool) -> Figures:
    """Label, divergence from the teacher where there is one, and where asked for neighbours, on validation and test."""
    dataset, pooling = bench.datasets[setting], bench.settings.contrastive.pooling
    nearest = fitted_neighbours(student, dataset, pooling) if neighbours else None
    figures: Figures = {}
    for part in ("validation", "test"):
        examples = dataset.parts[part]
        prompts, gold = prompts_of(student, dataset, examples), [e.label for e in examples]
        logprobs = student.logprobs(prompts)
        given = np.log(normalised(logprobs))
        said = [dataset.task.labels[i] for i in given.argmax(1)]
        found = {
            "accuracy": float(np.mean([a == b for a, b in zip(said, gold, strict=True)])),
            "macro_f1": float(f1_score(gold, said, labels=dataset.task.labels, average="macro", zero_division=0)),
        }
        if nearest is not None:
            found["knn"] = float(nearest.score(pooled_states(student, prompts, pooling), gold))
        if bench.settings.distillation.teacher is not None and setting == FREE:
            wanted = normalised(np.load(thoughts(bench, setting, part) / "labels.npy").astype(float))
            found["kl"] = float((wanted * (np.log(wanted) - given)).sum(1).mean())
            found["teacher_accuracy"] = float(
                np.mean([dataset.task.labels[i] for i in wanted.argmax(1)] == np.array(gold))
            )
        figures[part] = {name: round(value, 4) for name, value in found.items()}
    return figures


def fitted_neighbours(student: Student, dataset: Dataset, pooling: str) -> Any:
    """Nearest neighbours among the training items by the student's pooled states."""
    train = prompts_of(student, dataset, dataset.train)
    nearest = KNeighborsClassifier(min(NEIGHBOURS, len(train)), metric="cosine")
    return nearest.fit(pooled_states(student, train, pooling), [e.label for e in dataset.train])


def prompts_of(student: Student, dataset: Dataset, examples: Sequence[Example]) -> list[tuple[int, ...]]:
    """The prompts as they are trained and scored."""
    return [item.prompt for item in make_items(student, dataset.task, examples)]


def line(
    bench: Bench,
    asked: argparse.Namespace,
    found: dict[tuple[str, str], list[Figures]],
    compared: dict[str, Figures],
) -> Figures:
    """Everything, for a machine to read."""
    packages = provenance()["packages"]
    return {
        "student": MODELS[bench.student],
        "teacher": bench.settings.distillation.teacher,
        "seeds": asked.seeds,
        "settings": bench.settings.on_labels_alone().deciding(),
        "weights": bench.weights,
        "cells": {f"{setting} {objective}": cells for (setting, objective), cells in found.items()},
        "against": {name: {"beside": beside(name), **parts} for name, parts in compared.items()},
        "as_promised": {
            name: {part: kept(name, parts[part][PROMISES[name][0]]) for part in parts}
            for name, parts in compared.items()
        },
        "versions": {name: packages.get(name) for name in ("torch", "transformers", "peft")},
        "machine": machine(),
    }


if __name__ == "__main__":
    main()
