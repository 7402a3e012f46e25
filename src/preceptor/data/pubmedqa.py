"""PubMedQA (Jin et al. 2019, arXiv 1909.06146): 1,000 yes / no / maybe questions on PubMed abstracts.

Two splits. `official` is the authors': half of the items, stratified by label with seed 0, is the test; the
other half falls into ten folds, of which one is validation. `paper` is that of Dr. LLaMA (arXiv 2305.07804):
file order, 450 training, 50 validation, 500 test. Two settings. In `reasoning-required` the student reads
question and abstract without its conclusion; in `reasoning-free` it reads question and conclusion.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.config import DataSettings
from preceptor.data import files, splits
from preceptor.data.base import Dataset, Task
from preceptor.errors import DataError, MissingPackageError, RecipeError
from preceptor.records import Example

LABELS = ("yes", "no", "maybe")
REQUIRED, FREE = "reasoning-required", "reasoning-free"
SETTINGS = (REQUIRED, FREE)
ITEMS_FILE, TRUTH_FILE = "ori_pqal.json", "test_ground_truth.json"
LICENCE = "MIT"

PUBLISHED_TOTAL = 1000
_PUBLISHED_IDS = "7a6c316c94747ae97a9f55b7d28908884db6bf7cf13fcce4b969943c9cb1cf94"
_PUBLISHED_TEST = "406e3b89eff577ed38571eca5a5819734a6f49ac0437d171b6c64e5c3cd195f8"
"""SHA-256 over the sorted ids, one per line: of all published items, and of the official test."""

_HUMAN = {REQUIRED: "reasoning_required_pred", FREE: "reasoning_free_pred"}

TASKS: Mapping[str, Task] = {
    REQUIRED: Task(
        name="pubmedqa",
        setting=REQUIRED,
        labels=LABELS,
        inputs=("question", "context"),
        template="Abstract: {{ context }}\nQuestion: {{ question }}\nAnswer:",
        rationale="conclusion",
        shorten="context",
        teacher_hidden=("conclusion",),
    ),
    FREE: Task(
        name="pubmedqa",
        setting=FREE,
        labels=LABELS,
        inputs=("question", "conclusion"),
        template="Question: {{ question }}\nConclusion: {{ conclusion }}\nAnswer:",
        shorten="conclusion",
        explanation="conclusion",
    ),
}
"""The task by setting."""

_PRETRAINING = "PubMed abstracts are in most pretraining corpora, so a model may have read the test."
_NO_HUMANS = "This copy of the data records no human answers, so there is no human row."


@dataclass(frozen=True)
class _Source:
    """The items as read, in file order, and the official test's labels where they are at hand."""

    where: str
    rows: tuple[Mapping[str, Any], ...]
    truth: Mapping[str, str] | None

    @property
    def labels(self) -> dict[str, str]:
        return {row["id"]: row["final_decision"] for row in self.rows}


def load(settings: DataSettings, base: Path) -> dict[str, Dataset]:
    """The items under each asked-for setting (default: both), by setting.

    `settings.path` is the folder with `ori_pqal.json` (and `test_ground_truth.json`, which is checked when
    there) or the JSON file itself, relative to `base`; or `settings.hub` names a data set on the hub. Raises
    `DataError` for a missing or malformed file, `SplitError` when training items of one split are test items
    of the other, `RecipeError` for an unknown setting or split.
    """
    asked = settings.settings or SETTINGS
    for name in asked:
        if name not in SETTINGS:
            raise RecipeError(
                f"data.settings: {name!r} is not a setting of pubmedqa.", f"Settings: {', '.join(SETTINGS)}."
            )
    split = _split_name(settings)
    source = _read(settings, base)
    ids = _split_ids(source, split, settings.fold)
    trained = settings.train_split or split
    if trained != split:
        others = _split_ids(source, trained, settings.fold)
        splits.refuse_shared(others["train"], others["validation"], ids["test"], trained, split)
        ids = {**others, "test": ids["test"]}
    named = split if trained == split else f"{split} (training: {trained})"
    return {name: _dataset(name, source, ids, named, settings) for name in asked}


def order(settings: DataSettings, base: Path) -> tuple[str, ...]:
    """The test ids in the order of a plain list of predictions.

    Official split: the key order of `test_ground_truth.json`; paper split: file order. Always the whole test.
    """
    return tuple(_split_ids(_read(settings, base), _split_name(settings), settings.fold)["test"])


def is_official_test(ids: Iterable[str]) -> bool:
    """Whether these are the ids of the published official test, in any order."""
    return _digest(ids) == _PUBLISHED_TEST


def examples(rows: Iterable[Mapping[str, Any]], setting: str, where: str) -> tuple[Example, ...]:
    """Turn rows with the published keys, and their PMID under `id`, into items of one setting.

    `human` is the prediction of the annotator who saw what the model sees. Raises `DataError` naming `where`
    and the id.
    """
    return tuple(_example(row, setting, where) for row in rows)


def hub_rows(table: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Rows of the hub's `pqa_labeled` table under the published keys.

    The hub keeps a list under `context` for what belongs to the abstract. The two human predictions stand
    there as lists of letters, because they were declared as sequences; without them `human` stays empty.
    """
    return tuple(
        {
            "id": str(row["pubid"]),
            "QUESTION": row["question"],
            "CONTEXTS": row["context"]["contexts"],
            "LONG_ANSWER": row["long_answer"],
            "final_decision": row["final_decision"],
            **{key: "".join(row["context"].get(key) or ()) for key in _HUMAN.values()},
        }
        for row in table
    )


def _split_name(settings: DataSettings) -> str:
    split = settings.split or "official"
    if split not in ("official", "paper"):
        raise RecipeError(f"data.split = {split!r} does not exist for pubmedqa.", "Splits: official, paper.")
    return split


def _dataset(
    setting: str, source: _Source, ids: Mapping[str, Sequence[str]], split: str, settings: DataSettings
) -> Dataset:
    task = TASKS[setting]
    by_id = {item.id: item for item in examples(source.rows, setting, source.where)}
    whole = {part: tuple(by_id[item] for item in ids[part]) for part in ("train", "validation", "test")}
    parts = splits.limited(whole, settings.max_train, settings.max_test, settings.split_seed)
    notes = [_PRETRAINING, *splits.limit_notes(whole, parts, settings.split_seed)]
    if all(item.human is None for item in parts["test"]):
        notes.append(_NO_HUMANS)
    if not _is_published(source):
        notes.append(f"{source.where} does not hold the published items, so figures are not comparable.")
    return Dataset(
        task=task,
        split=split,
        train=parts["train"],
        validation=parts["validation"],
        test=parts["test"],
        identity=splits.identity(task, split, parts),
        notes=tuple(notes),
        licence=LICENCE,
    )


# Splits


def _split_ids(source: _Source, split: str, fold: int) -> dict[str, list[str]]:
    if split == "paper":
        return _paper(source)
    return _official(source, fold)


def _paper(source: _Source) -> dict[str, list[str]]:
    ids = list(source.labels)
    if len(ids) != PUBLISHED_TOTAL:
        raise DataError.at(
            source.where,
            f'the split "paper" is the order of {PUBLISHED_TOTAL:,} items, but there are {len(ids)}.',
            hint=f'Use the published {ITEMS_FILE}, or data.split = "official".',
        )
    return {"train": ids[:450], "validation": ids[450:500], "test": ids[500:]}


def _official(source: _Source, fold: int) -> dict[str, list[str]]:
    labels = source.labels
    generator = random.Random(0)
    half, test = splits.published_parts(labels, LABELS, 2, generator)
    folds = splits.published_parts({item: labels[item] for item in half}, LABELS, 10, generator)
    if source.truth is not None:
        _check_truth(source, test)
        test = list(source.truth)
    elif _is_published(source) and _digest(test) != _PUBLISHED_TEST:
        raise DataError.at(
            source.where,
            "the items stand in another order than published, so the official split cannot be reproduced.",
            hint=f"Put {TRUTH_FILE} beside the published {ITEMS_FILE} and use data.path.",
        )
    validation = set(folds[fold])
    used = validation.union(test)
    return {
        "train": [item for item in labels if item not in used],
        "validation": [item for item in labels if item in validation],
        "test": test,
    }


def _check_truth(source: _Source, test: Sequence[str]) -> None:
    """Raise `DataError` unless the reproduced test has exactly the published ids and labels."""
    truth, labels = source.truth or {}, source.labels
    for item, label in truth.items():
        if item not in labels:
            raise DataError.at(
                source.where, f"the item {item} of {TRUTH_FILE} is missing.", hint="Use the complete file."
            )
        if labels[item] != label:
            raise DataError.at(
                source.where,
                f"item {item} has the final_decision {labels[item]!r}, but {TRUTH_FILE} says {label!r}.",
                hint="Use the published files unchanged.",
            )
    different = len(set(truth).symmetric_difference(test))
    if different:
        raise DataError.at(
            source.where,
            f"the official split cannot be reproduced: {different} ids differ from {TRUTH_FILE}.",
            hint="Use the published files unchanged and in their order.",
        )


def _digest(ids: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()


def _is_published(source: _Source) -> bool:
    return _digest(source.labels) == _PUBLISHED_IDS


# Reading


def _read(settings: DataSettings, base: Path) -> _Source:
    if settings.hub is not None:
        rows = _from_hub(settings.hub)
        return _Source(settings.hub, _checked(rows, settings.hub), None)
    if settings.path is None:
        raise RecipeError('data.task = "pubmedqa" needs exactly one of data.path and data.hub.')
    given = files.resolve(settings.path, base)
    path = given / ITEMS_FILE if given.is_dir() else given
    if not path.exists():
        raise DataError(
            f"There is no file {path}.",
            f"data.path must be the folder with {ITEMS_FILE} (from github.com/pubmedqa), or that file.",
        )
    rows = tuple({**row, "id": key} for key, row in _objects(path).items())
    truth_path = path.with_name(TRUTH_FILE)
    truth = files.read_object(truth_path) if truth_path.exists() else None
    return _Source(str(path), _checked(rows, str(path)), truth)


def _from_hub(name: str) -> tuple[dict[str, Any], ...]:
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError.of("datasets", "data.hub", "pip install 'preceptor[hub]'") from error
    try:
        table = datasets.load_dataset(name, "pqa_labeled", split="train")
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"The data set {name} cannot be loaded from the hub ({type(error).__name__}).",
            "Check data.hub and the network, or download the files and use data.path.",
        ) from error
    try:
        return hub_rows(table)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"The data set {name} does not have the columns of PubMedQA ({error}).",
            "Expected: pubid, question, context, long_answer, final_decision.",
        ) from error


def _objects(path: Path) -> dict[str, Mapping[str, Any]]:
    items = files.read_object(path)
    for item, value in items.items():
        if not isinstance(value, files.Pairs):
            raise DataError.at(path, f"item {item} is not a JSON object.")
        if value.twice:
            raise DataError.at(path, f"item {item} has the field {value.twice[0]!r} twice.", hint="Remove one of them.")
    return items


def _checked(rows: Sequence[Mapping[str, Any]], where: str) -> tuple[Mapping[str, Any], ...]:
    """The rows, once ids are known to be unique and every label to be one of the three."""
    seen: set[str] = set()
    for row in rows:
        item = row["id"]
        if item in seen:
            raise DataError.at(where, f"the id {item!r} stands twice.", hint="Remove one of the two items.")
        seen.add(item)
        if "final_decision" not in row:
            raise DataError.at(where, f"item {item} has no field 'final_decision'.")
        if row["final_decision"] not in LABELS:
            raise DataError.at(
                where,
                f"item {item}: final_decision {row['final_decision']!r} is not one of {', '.join(LABELS)}.",
                hint="Correct the label or remove the item.",
            )
    return tuple(rows)


def _example(row: Mapping[str, Any], setting: str, where: str) -> Example:
    item = row["id"]
    contexts = row.get("CONTEXTS")
    if not isinstance(contexts, list) or not all(files.is_text(part) for part in contexts):
        raise DataError.at(where, f"item {item} has no field 'CONTEXTS' with a list of texts.")
    fields = {
        "question": _text(row, "QUESTION", where),
        "context": "\n".join(part.strip() for part in contexts if part.strip()),
        "conclusion": _text(row, "LONG_ANSWER", where) if setting == FREE or "LONG_ANSWER" in row else "",
    }
    if not fields["context"]:
        raise DataError.at(where, f"item {item}: the field 'CONTEXTS' is empty.", hint="Fill it in or remove the item.")
    return Example(id=item, fields=fields, label=row["final_decision"], human=_human(row, setting, where))


def _text(row: Mapping[str, Any], key: str, where: str) -> str:
    value = row.get(key)
    if not files.is_text(value):
        raise DataError.at(where, f"item {row['id']} has no text in the field {key!r}.")
    if not value.strip():
        raise DataError.at(
            where, f"item {row['id']}: the field {key!r} is empty.", hint="Fill it in or remove the item."
        )
    return str(value)


def _human(row: Mapping[str, Any], setting: str, where: str) -> str | None:
    key = _HUMAN[setting]
    value = row.get(key)
    if value is None or value == "":
        return None
    if value not in LABELS:
        raise DataError.at(where, f"item {row['id']}: {key} {value!r} is not one of {', '.join(LABELS)}.")
    return str(value)
