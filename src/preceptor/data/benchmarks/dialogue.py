"""MTS-Dialog (Ben Abacha et al. 2023, EACL): from a conversation to one section of a clinical note.

Source: github.com/abachaa/MTS-Dialog (CC BY 4.0), CSV files with ID, section_header, section_text and dialogue: 1,201
training, 100 validation and 200 test pairs. The published augmented training file holds the 1,201 pairs and 2,402 more,
whose dialogues were translated to French or Spanish and back, with the notes unchanged.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from preceptor.config import BenchmarkSettings
from preceptor.data import files
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.data.benchmarks import parts
from preceptor.data.parsers import unread
from preceptor.errors import DataError, RecipeError
from preceptor.records import Instruction, Outcome, Reading

AUGMENTED = "MTS-Dialog-Augmented-TrainingSet-3-FR-and-ES-3603-Pairs-final.csv"
FILES = {
    "train": ("MTS-Dialog-TrainingSet.csv",),
    "validation": ("MTS-Dialog-ValidationSet.csv",),
    "test": ("MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv",),
}
"""Names of the parts in a folder."""
COLUMNS = ("ID", "section_header", "section_text", "dialogue")
INSTRUCTION = (
    "Write the section of the clinical note named {section} from this conversation of a clinician and a patient."
)
LICENCE = "CC BY 4.0"
SECTIONS = {
    "ALLERGY": "allergies",
    "ASSESSMENT": "assessment",
    "CC": "chief complaint",
    "DIAGNOSIS": "diagnosis",
    "DISPOSITION": "disposition",
    "EDCOURSE": "emergency department course",
    "EXAM": "physical examination",
    "FAM/SOCHX": "family and social history",
    "GENHX": "history of present illness",
    "GYNHX": "gynecologic history",
    "IMAGING": "imaging",
    "IMMUNIZATIONS": "immunizations",
    "LABS": "laboratory results",
    "MEDICATIONS": "medications",
    "OTHER_HISTORY": "other history",
    "PASTMEDICALHX": "past medical history",
    "PASTSURGICAL": "past surgical history",
    "PLAN": "plan",
    "PROCEDURES": "procedures",
    "ROS": "review of systems",
}
"""Section code -> words."""

_TRANSLATED = re.compile(r"TR=(\S+) (\S+)")


@dataclass(frozen=True)
class DialogueBenchmark(Benchmark):
    """Conversations whose note is to be written."""

    measured: ClassVar[Measured] = "text"

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        """What became of the note: nothing is unparsed, a typical refusal refused, what ran into the limit cut off.

        The text itself is scored whatever the outcome.
        """
        outcome = unread(text, finish)
        return Reading(Outcome.ANSWERED if outcome is Outcome.UNPARSED and text.strip() else outcome)


@dataclass(frozen=True, slots=True)
class _Pair:
    id: str
    section: str
    note: str
    dialogue: str

    @property
    def content(self) -> tuple[str, str, str]:
        return self.section, _plain(self.note), _plain(self.dialogue)


def load(settings: BenchmarkSettings, base: Path) -> DialogueBenchmark:
    """The pairs of the published files in the folder `path`, or of files named one by one.

    With `augmented` training items are those of the augmented file in the same folder, once it is sure that it holds
    every original and a whole set of back-translations of each language. Raises `DataError` naming file, line and
    field.
    """
    paths = parts.find_files(settings, base, FILES)
    pairs = {part: _pairs(path) for part, path in paths.items()}
    notes: tuple[str, ...] = ()
    if settings.augmented:
        pairs["train"], notes = _augmented(settings, base, paths, pairs)
    items = {part: tuple(_item(pair, part, settings) for pair in found) for part, found in pairs.items()}
    whole, drawn = parts.with_validation(items, settings, _stratum)
    return parts.built(DialogueBenchmark, settings, whole, stratum=_stratum, notes=(*notes, *drawn), licence=LICENCE)


def _stratum(item: Instruction) -> str:
    return item.instruction  # which names the section


def _item(pair: _Pair, part: str, settings: BenchmarkSettings) -> Instruction:
    instruction = settings.instruction or INSTRUCTION
    return Instruction(
        id=f"{part}-{pair.id}",
        instruction=instruction.replace("{section}", SECTIONS[pair.section]),
        input=pair.dialogue,
        output=pair.note,
        category=settings.category,
    )


def _plain(text: str) -> str:
    return " ".join(text.split())


# Reading


def _pairs(path: Path) -> tuple[_Pair, ...]:
    """The pairs of a file; line ends inside a cell become plain ones, white space around it goes."""
    found: dict[str, _Pair] = {}
    for line, row in _rows(path):
        cells = {column: row[column].strip() for column in COLUMNS}
        empty = [column for column in COLUMNS if not cells[column]]
        if empty:
            raise DataError.at(
                path, f"the field {empty[0]!r} is empty.", line=line, hint="Fill it in or remove the row."
            )
        pair = _Pair(cells["ID"], cells["section_header"], cells["section_text"], cells["dialogue"])
        if pair.section not in SECTIONS:
            raise DataError.at(
                path,
                f"the section_header {pair.section!r} is not known.",
                line=line,
                hint=f"Sections: {', '.join(SECTIONS)}.",
            )
        if pair.id in found:
            raise DataError.at(path, f"the ID {pair.id!r} stands twice.", line=line, hint="Give every row its own ID.")
        found[pair.id] = pair
    if not found:
        raise DataError.at(path, "there are no rows.", hint="Check that the file is complete.")
    return tuple(found.values())


def _rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the line on which it begins."""
    reader = csv.reader(io.StringIO(files.read_text(path)), strict=True)
    start = 1
    try:
        header = next(reader, [])
        missing = [column for column in COLUMNS if column not in header]
        if missing:
            raise DataError.at(
                path,
                f"the column {missing[0]!r} is missing; there are {', '.join(header) or 'none'}.",
                line=1,
                hint=f"Columns: {', '.join(COLUMNS)}.",
            )
        start = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                raise DataError.at(
                    path,
                    f"{len(row)} columns, but the header has {len(header)}.",
                    line=start,
                    hint="Quote cells that hold commas or line ends.",
                )
            if row:
                yield start, dict(zip(header, row, strict=True))
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError.at(path, f"the row is not valid CSV ({error}).", line=start) from error


def _augmented(
    settings: BenchmarkSettings, base: Path, paths: dict[str, Path], pairs: dict[str, tuple[_Pair, ...]]
) -> tuple[tuple[_Pair, ...], tuple[str, ...]]:
    """The pairs of the augmented file, checked against the originals, and a note with their numbers."""
    if settings.path is None or "train" not in paths:
        raise RecipeError(
            f"benchmarks.{settings.name}.augmented needs path: the folder with {FILES['train'][0]} and {AUGMENTED}."
        )
    path = files.resolve(settings.path, base) / AUGMENTED
    found = _pairs(path)
    originals = {pair.id: pair for pair in pairs["train"]}
    routes = _routes(path, found, originals)
    copies = [pair for pair in found if not _TRANSLATED.fullmatch(pair.id)]
    if {pair.content for pair in copies} != {pair.content for pair in originals.values()}:
        raise DataError.at(path, f"its originals are not the pairs of {paths['train']}.", hint=_UNCHANGED)
    for route, number in routes.items():
        if number != len(originals):
            raise DataError.at(
                path, f"{number} pairs were translated as {route}, not {len(originals)}.", hint=_UNCHANGED
            )
    translated = len(found) - len(copies)
    note = (
        f"Training items: {len(copies)} originals and {translated} back-translations of their dialogues "
        f"({', '.join(routes)}), notes unchanged."
    )
    return found, (note,)


_UNCHANGED = "Use the published files unchanged."


def _routes(path: Path, found: Sequence[_Pair], originals: dict[str, _Pair]) -> Counter[str]:
    """How many pairs came by each way of translation; `DataError` for one without its original's note."""
    routes: Counter[str] = Counter()
    for pair in found:
        match = _TRANSLATED.fullmatch(pair.id)
        original = originals.get(match[2] if match else pair.id)
        if original is None or original.content[:2] != pair.content[:2]:
            raise DataError.at(path, f"the pair {pair.id!r} has not section and note of its original.", hint=_UNCHANGED)
        if match:
            routes[match[1]] += 1
    return routes
