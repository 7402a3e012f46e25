"""Unlabelled text of a domain, as documents: read from files, and cut into training and held-out documents.

`texts`: JSON Lines and parquet with a text in each row, or plain text files; a folder is searched for them all.
`rct-abstracts`: 2,961 structured abstracts of randomised trials (repository jayded/evidence-inference, MIT licence),
one JSON object per line with `pmcid`, `title` and `sections`, each of these with `label` and `text`. A document is the
title, an empty line, and a line "LABEL: text" for each section, or the text alone where there is no label. There is no
official split.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.config import AdaptSettings, SourceSettings
from preceptor.data import files
from preceptor.errors import DataError

KINDS = (".jsonl", ".parquet", ".txt")
RCT_FILE = "abstracts.jsonl"
NAME_IT = "Name the key of the text, or the column, as sources.text in the recipe."


@dataclass(frozen=True, slots=True)
class Document:
    """One text."""

    id: str
    """`PMC` and number for an abstract, else the file's name, with the number of the row where a file has rows."""
    text: str


@dataclass(frozen=True, slots=True)
class Split:
    """Documents by what they are for."""

    train: tuple[Document, ...]
    validation: tuple[Document, ...]
    test: tuple[Document, ...]

    @property
    def held_out(self) -> tuple[Document, ...]:
        """Those that must not be trained on."""
        return (*self.test, *self.validation)


def read_documents(sources: Sequence[SourceSettings], base: Path) -> tuple[Document, ...]:
    """All documents of the sources in a fixed order, the empty ones too. `base` is the recipe's folder.

    Raises `DataError` naming file, row and key.
    """
    found: dict[str, Document] = {}
    for source in sources:
        path = files.resolve(source.path, base)
        read = _abstracts(path) if source.kind == "rct-abstracts" else _texts(path, source.text)
        for document in read:
            if document.id in found:
                raise DataError(
                    f"The document {document.id} is read twice.", "Name each file in one entry of [[sources]] alone."
                )
            found[document.id] = document
    return tuple(found.values())


def split_documents(documents: Sequence[Document], settings: AdaptSettings) -> Split:
    """Draw the held-out documents by `settings.split_seed`; the order of the documents stays.

    Raises `DataError` where fewer documents would be left to train on than are held out.
    """
    order = list(range(len(documents)))
    random.Random(f"documents-{settings.split_seed}").shuffle(order)
    order = order[: settings.max_documents]
    test, both = settings.test_documents, settings.test_documents + settings.validation_documents
    if len(order) < 2 * both:
        raise DataError(
            f"There are {len(order)} different documents; {both} are held out, and at least as many must be left to "
            "train on.",
            "Lower adapt.test_documents and adapt.validation_documents, or add documents.",
        )
    parts = (order[both:], order[test:both], order[:test])
    return Split(*(tuple(documents[i] for i in sorted(part)) for part in parts))


def _texts(path: Path, key: str) -> Iterator[Document]:
    if not path.exists():
        raise DataError(f"There is no file or folder {path}.", "Check sources.path in the recipe.")
    top = path if path.is_dir() else path.parent
    found = sorted(p for p in path.rglob("*") if p.suffix in KINDS and p.is_file()) if path.is_dir() else [path]
    if not found:
        raise DataError(f"{path} holds no file of the kinds {', '.join(KINDS)}.", "Check sources.path in the recipe.")
    for file in found:
        name = file.relative_to(top).as_posix()
        if file.suffix not in KINDS:
            raise DataError(f"{file} is of no kind that can be read.", f"Kinds: {', '.join(KINDS)}.")
        if file.suffix == ".txt":
            yield Document(name, files.read_text(file))
            continue
        for number, row in _parquet(file, key) if file.suffix == ".parquet" else _lines(file):
            yield Document(f"{name}:{number}", _text(row, key, file, number, NAME_IT))


def _abstracts(path: Path) -> Iterator[Document]:
    file = path / RCT_FILE if path.is_dir() else path
    for number, row in _lines(file):
        sections = row.get("sections")
        if not isinstance(sections, list) or not all(isinstance(section, Mapping) for section in sections):
            raise DataError.at(file, "the key 'sections' is not a list of objects.", line=number)
        lines = [_section(section, file, number) for section in sections]
        title, identity = (_text(row, key, file, number) for key in ("title", "pmcid"))
        yield Document(f"PMC{identity}", "\n".join([title, "", *lines]))


def _section(section: Mapping[str, Any], path: Path, line: int) -> str:
    text = _text(section, "text", path, line)
    return text if section.get("label") is None else f"{_text(section, 'label', path, line)}: {text}"


def _lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(files.read_text(path).split("\n"), 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise DataError.at(path, "is not a JSON object on one line.", line=number) from error
            if not isinstance(row, Mapping):
                raise DataError.at(path, "is not a JSON object on one line.", line=number)
            yield number, row


def _parquet(path: Path, key: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            if key not in file.schema_arrow.names:
                raise DataError.at(
                    path,
                    f"there is no column {key!r} (there are {', '.join(file.schema_arrow.names)}).",
                    hint=NAME_IT,
                )
            number = 0
            for batch in file.iter_batches(columns=[key]):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (OSError, pa.ArrowInvalid) as error:
        raise DataError.at(path, f"cannot be read as parquet ({error}).") from error


def _text(row: Mapping[str, Any], key: str, path: Path, line: int, hint: str = "") -> str:
    value = row.get(key)
    if files.is_text(value):
        return value
    problem = f"the key {key!r} {'is missing' if value is None else 'is no text'}."
    raise DataError.at(path, problem, line=line, hint=hint)
