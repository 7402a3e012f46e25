"""Items with options of their own: MedQA (Jin et al. 2020), MedMCQA (Pal et al. 2022), or a file in the same spirit.

The options stand as a lettered list in the input, the reference answer is the letter. Read by likelihood, the options
are the letters; generated answers are read by `letters.py`. Sources: github.com/jind11/MedQA and
github.com/medmcqa/medmcqa (both MIT), or their copies on the Hugging Face hub. The answers of MedMCQA's test part are
not published, so its validation part is the test here, as in lm-evaluation-harness.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from preceptor.config import BenchmarkSettings
from preceptor.data import jsonl
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.data.benchmarks import letters, parts
from preceptor.data.benchmarks.layouts import Item, items_of
from preceptor.errors import DataError, MissingPackageError, RecipeError
from preceptor.records import Instruction, Reading

INSTRUCTION = "Answer the multiple-choice question with the letter of the right option."
LICENCES = {"medqa": "MIT", "medmcqa": "MIT"}
FILES = {
    "train": ("train.jsonl", "train.json", "phrases_no_exclude_train.jsonl"),
    "validation": ("validation.jsonl", "validation.json", "dev.jsonl", "dev.json", "phrases_no_exclude_dev.jsonl"),
    "test": ("test.jsonl", "test.json", "phrases_no_exclude_test.jsonl"),
}
"""Names of the parts in a folder; MedQA's files of four options have the longest."""
MEDMCQA_FILES = {"train": FILES["train"], "validation": (), "test": FILES["validation"]}
HUB_PARTS = {"train": "train", "validation": "validation", "test": "test"}
MEDMCQA_HUB_PARTS = {"train": "train", "test": "validation"}
"""Part here -> part on the hub."""
_MEDMCQA_NOTE = "MedMCQA's validation part is the test: the answers of its own test part are not published."


@dataclass(frozen=True)
class ChoiceBenchmark(Benchmark):
    """Every item has options of its own, named by letters."""

    measured: ClassVar[Measured] = "choice"

    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Item -> the texts of its options, in the order of the letters."""

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        """Read a letter, or an option in words, by the rules of `letters.py`."""
        return letters.read(text, self.texts[item.id], finish=finish)


def load(settings: BenchmarkSettings, base: Path) -> ChoiceBenchmark:
    """The items of files (one per part, or `path` alone, which is cut by seed) or of a data set on the hub.

    Raises `DataError` naming file, line and field, `MissingPackageError`, or `RecipeError` for keys that do not fit.
    """
    rows, alone, published = _rows(settings, base)
    found = items_of(rows, settings.kind, settings.first_option, f"benchmarks.{settings.name}")
    instruction = settings.instruction or INSTRUCTION
    items = {
        part: tuple(_instruction(item, instruction, settings.category) for item in group)
        for part, group in found.items()
    }
    texts = {item.id: item.options for group in found.values() for item in group}
    notes = (_MEDMCQA_NOTE,) if published and settings.kind == "medmcqa" else ()
    if alone is None:
        whole, drawn = parts.with_validation(items, settings, _letter)
    else:
        whole, drawn = parts.cut(items[""], settings, _letter, alone), ()
    return parts.built(
        ChoiceBenchmark,
        settings,
        whole,
        stratum=_letter,
        read=settings.read,
        notes=(*notes, *drawn),
        licence=LICENCES.get(settings.kind, ""),
        texts=texts,
    )


def _letter(item: Instruction) -> str:
    return item.output


def _instruction(item: Item, instruction: str, category: str) -> Instruction:
    names = letters.LETTERS[: len(item.options)]
    options = "\n".join(f"{name}. {option}" for name, option in zip(names, item.options, strict=True))
    context = f"{item.context}\n\n" if item.context else ""
    return Instruction(
        id=item.id,
        instruction=instruction,
        input=f"{context}Question: {item.question}\n{options}",
        output=names[item.answer],
        category=category,
        options=tuple(names),
    )


Rows = dict[str, Sequence[jsonl.Row]]


def _rows(settings: BenchmarkSettings, base: Path) -> tuple[Rows, str | None, bool]:
    """The rows by part; the one file that is still to be cut; whether the parts are those of the publishers."""
    if settings.hub is not None:
        if any(getattr(settings, key) is not None for key in ("path", "train_path", "validation_path", "test_path")):
            raise RecipeError(f"benchmarks.{settings.name}: hub and paths exclude each other.", "Remove one of them.")
        if settings.split not in (None, "files"):
            raise RecipeError(f"benchmarks.{settings.name}.split: a data set on the hub has its own parts.")
        return _from_hub(settings), None, True
    alone = parts.one_file(settings, base)
    if alone is not None:
        return {"": tuple(jsonl.rows(alone))}, str(alone), False
    names = MEDMCQA_FILES if settings.kind == "medmcqa" else FILES
    paths = parts.find_files(settings, base, names)
    return {part: tuple(jsonl.rows(path)) for part, path in paths.items()}, None, settings.test_path is None


def _from_hub(settings: BenchmarkSettings) -> Rows:
    name = str(settings.hub)
    try:
        import datasets
    except ImportError as error:
        raise MissingPackageError.of(
            "datasets", f"benchmarks.{settings.name}.hub", "pip install 'preceptor[hub]'"
        ) from error
    try:
        tables: Mapping[str, Any] = datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"The data set {name} cannot be loaded from the hub ({type(error).__name__}).",
            f"Check benchmarks.{settings.name}.hub and the network, or download the files and use path.",
        ) from error
    wanted = MEDMCQA_HUB_PARTS if settings.kind == "medmcqa" else HUB_PARTS
    needed = "test" if settings.scored else "train"
    if wanted[needed] not in tables:
        raise DataError(
            f"The data set {name} has no part {wanted[needed]!r}.", f"Its parts: {', '.join(map(str, tables))}."
        )
    return {
        part: tuple(jsonl.Row(row, f"{name}, {there}", number) for number, row in enumerate(tables[there], start=1))
        for part, there in wanted.items()
        if there in tables and (settings.scored or part == "train")
    }
