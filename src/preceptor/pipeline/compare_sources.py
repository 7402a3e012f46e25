"""Where `preceptor compare` finds answers and true labels.

Read are: a run's folder, or the `results.json` in it; a folder of cells' results as a recipe's key `results` makes it,
or single files of it; files of predictions as `preceptor score` takes them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from preceptor.errors import DataError
from preceptor.evaluate.compare import Contender
from preceptor.evaluate.submission import read_submission
from preceptor.records import Example, Outcome, Prediction
from preceptor.store.stages import read_json
from preceptor.store.tables import read_predictions

UNTRAINED = "untrained"
SHOTS = re.compile(r"\d+-shot")
"""Arms of baselines: so many solved examples, and no training."""
MARKER = "answer:"
"""What stands before the label in an answer, as in `Task.marker`."""
_CELL = re.compile(
    r"(?P<student>.+)-(?P<setting>reasoning-required|reasoning-free|default)-(?P<arm>.+?)(-seed-(?P<seed>\d+))?"
)
"""Name of a file of results, for those that do not say more than that."""
_UNSURE = 1e-9  # between an accuracy of the results and that of the predictions on disk


@dataclass(frozen=True)
class Reference:
    """The items of one split, for files that hold answers alone."""

    task: str
    split: str
    labels: tuple[str, ...]
    gold: Mapping[str, str]
    """Id -> true label."""
    order: Sequence[str]
    """Ids in the order in which a plain list is read."""


def pubmedqa_reference(data: Path, split: str) -> Reference:
    """The test items of PubMedQA, as `preceptor score` scores them."""
    from preceptor.config import DataSettings
    from preceptor.data import pubmedqa
    from preceptor.data.load import load_datasets

    settings = DataSettings.model_validate(
        {"task": "pubmedqa", "path": str(data.resolve()), "split": split, "settings": ["reasoning-required"]}
    )
    dataset = load_datasets(settings, Path())["reasoning-required"]
    gold = {item.id: item.label for item in dataset.test}
    return Reference(dataset.task.name, split, dataset.task.labels, gold, pubmedqa.order(settings, Path()))


def read_source(path: Path, reference: Reference | None = None, parser: str = "strict") -> list[Contender]:
    """All students and arms of which a run's folder, cells' results or a file of predictions holds the answers.

    `reference`: the items, for files that do not say true labels. Raises `DataError` in one sentence.
    """
    if path.is_dir():
        if (path / "evaluate").is_dir() or (path / "results.json").exists():
            return _run_folder(path, str(path))
        return _cells(sorted(path.glob("*.json")), str(path), reference)
    if path.suffix == ".json" and path.is_file():
        value = _json_object(path)
        if path.name == "results.json" and "rows" in value:
            return _run_folder(path.parent, str(path))
        if isinstance(value.get("predictions"), Mapping) or "benchmarks" in value:
            return _cells([path], str(path), reference)
    return [_submission(path, reference, parser)]


def _json_object(path: Path) -> Mapping[str, Any]:
    """What a JSON file holds; nothing where that is no object, or no JSON at all (a plain list of answers)."""
    try:
        value = read_json(path)
    except (DataError, UnicodeDecodeError):
        return {}  # the reader of predictions says what is wrong
    return value if isinstance(value, Mapping) else {}


def _run_folder(folder: Path, source: str) -> list[Contender]:
    if not (folder / "results.json").exists():
        raise DataError.at(source, "the run is not finished: it has no results.json.", hint="Finish it first.")
    results = read_json(folder / "results.json")
    if not isinstance(results, Mapping) or not isinstance(results.get("labels"), list):
        raise DataError.at(
            source,
            "is no run on a task with labels, so it holds no predictions of labels.",
            hint="A run of instructions compares its arms in its own report.",
        )
    try:
        found = [
            _of_row(folder, source, row, results)
            for row in results["rows"]
            if row["kind"] in ("arm", UNTRAINED, "baseline")
        ]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError.at(source, "its results.json is not as a run writes it.", hint="Run it again.") from error
    if not found:
        raise DataError.at(source, "the run scored no student.", hint="Give a run that did.")
    return found


def _of_row(folder: Path, source: str, row: Mapping[str, Any], results: Mapping[str, Any]) -> Contender:
    """A row of a run's results with the predictions that it was made of."""
    arm = row["arm"] or UNTRAINED
    point = row.get("point", "")  # of a swept student
    place = folder / "evaluate" / row["setting"] / (point or row["student"]) / arm
    if point and not place.exists():
        place = folder / "sweep" / "points" / point / "evaluate" / row["setting"] / point / arm
    named = [int(seed) for seed, _, _ in row["seed_scores"]]  # also where a row counts no seeds
    seeds = row["seeds"] or named or sorted(int(one.name.removeprefix("seed-")) for one in place.glob("seed-*"))
    runs = {}
    for seed in seeds:
        file = place / f"seed-{seed}" / "predictions.parquet"
        if not file.exists():
            raise DataError.at(
                source,
                f"the predictions of {row['student']}, {arm}, seed {seed}, are not in its folder.",
                hint="Where its recipe has the key results, they are there: give that folder instead.",
            )
        runs[seed] = read_predictions(file)
    if not runs:
        raise DataError.at(source, f"the predictions of {row['student']}, {arm}, are gone.", hint="Run it again.")
    for seed, accuracy, _ in row["seed_scores"]:
        said = runs.get(seed, [])
        if said and abs(sum(p.label == p.gold for p in said) / len(said) - accuracy) > _UNSURE:
            raise DataError.at(
                source,
                f"the predictions of {row['student']}, {arm}, seed {seed}, are not those of its results.json.",
                hint="A later run that is not finished may have replaced them: finish it.",
            )
    return Contender(
        source=source,
        labels=tuple(results["labels"]),
        runs=runs,
        task=results["task"],
        split=results["split"],
        setting=row["setting"],
        student=row["student"],
        arm=arm,
        shared=results.get("shared_contexts", {}).get(row["setting"], {}),
    )


def _cells(files: Sequence[Path], source: str, reference: Reference | None) -> list[Contender]:
    """The cells of a folder of results, seeds of one student and arm together."""
    values = [(file, read_json(file)) for file in files]  # one that is broken must not be missing without a word
    found = [(file, value.get("predictions")) for file, value in values if isinstance(value, Mapping)]
    cells = [(file, entry) for file, entry in found if isinstance(entry, Mapping)]
    if not cells:
        raise DataError.at(
            source,
            "holds no predictions of labels.",
            hint="Give a run's folder, a folder of its results, or a file of predictions.",
        )
    groups: dict[tuple[str, ...], Contender] = {}
    for file, entry in cells:
        one = _cell(file, entry, source, reference)
        key = (one.task, one.split, one.setting, one.student, one.arm)
        if key in groups:
            one = replace(groups[key], runs={**groups[key].runs, **one.runs})
        groups[key] = one
    return list(groups.values())


def _cell(file: Path, entry: Mapping[str, Any], source: str, reference: Reference | None) -> Contender:
    extra = entry.get("extra") or {}
    try:
        about, gold = extra.get("cell"), extra.get("gold")
        if about is None or gold is None:
            about, gold = _unsaid(file, entry, reference)
        columns = zip(entry["ids"], gold, entry["said"], entry["outcomes"], entry["probabilities"], strict=True)
        predictions = [Prediction(i, g, s, Outcome(o), tuple(p)) for i, g, s, o, p in columns]
        return Contender(
            source=source,
            labels=tuple(about["labels"]),
            runs={int(about["seed"]): predictions},
            shared=extra.get("shared_contexts", {}),
            **{name: about[name] for name in ("task", "split", "setting", "student", "arm")},
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError.at(file, "is not a file of results", hint="Delete it; its cell is run again.") from error


def _unsaid(file: Path, entry: Mapping[str, Any], reference: Reference | None) -> tuple[dict[str, Any], list[str]]:
    """What a file of an older version does not say: its name stands for student and arm."""
    if reference is None:
        raise DataError.at(
            file,
            "does not say the true labels of its items.",
            hint="Give --data with the data set, or a run's folder before it.",
        )
    missing = [item for item in entry["ids"] if item not in reference.gold]
    if missing:
        raise DataError.at(
            file,
            f"{len(missing)} of its {len(entry['ids'])} items are not among those compared, first {missing[0]!r}.",
            hint="Is it another task or split?",
        )
    about = {"labels": reference.labels, "task": reference.task, "split": reference.split}
    named = _CELL.fullmatch(file.stem)
    parts = named.groupdict("0") if named else {"student": "", "setting": "", "arm": file.stem, "seed": "0"}
    return {**about, **parts}, [reference.gold[item] for item in entry["ids"]]


def _submission(path: Path, reference: Reference | None, parser: str) -> Contender:
    if reference is None:
        if not path.exists():
            raise DataError.at(path, "there is no such run or file.", hint="Check the path.")
        raise DataError.at(
            path,
            "a file of predictions says no true labels.",
            hint="Give --data with the data set, or a run's folder before it.",
        )
    items = [Example(item, {}, label) for item, label in reference.gold.items()]
    predictions = read_submission(path, items, reference.order, reference.labels, marker=MARKER, parser=parser)
    if not any(prediction.label for prediction in predictions):
        raise DataError.at(
            path, f"no answer holds one of the labels {', '.join(reference.labels)}.", hint="Is it another task?"
        )
    return Contender(
        source=str(path), labels=reference.labels, runs={0: predictions}, task=reference.task, split=reference.split
    )


def reference_of(known: Iterable[Contender]) -> Reference | None:
    """The items of what was read before, in its order."""
    first = next(iter(known), None)
    if first is None:
        return None
    gold = {p.id: p.gold for p in next(iter(first.runs.values()))}
    return Reference(first.task, first.split, first.labels, gold, list(gold))
