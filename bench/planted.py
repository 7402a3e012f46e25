"""Plants copies, light edits and real paraphrases of held-out items and counts what the leakage filter catches.

    PRECEPTOR_DATA=... python bench/planted.py [--quick] [--part development]

Candidates are examples as the pipeline makes them: a training item's id as parent, the fields in question changed,
so that only the text can give them away. The filter runs with its default settings. Halves are cut by a hash of the
id, so thresholds can be fixed on one half (`--part development`) and counted on the other (`--part counted`):

- PubMedQA, official split: all 550 validation and test items are held out; planted are those of the half. A third of
  the training items is the training set that the filter knows, a third serves as clean candidates in each half.
- trial abstracts (another collection): clean candidates, by halves.
- MTS dialogues: each half is cut into three folds. The originals of one fold are held out and its back-translations
  are the paraphrases, the originals of the next are the clean candidates, those of the third and of the data set's
  validation and test file the training set; each fold is held out once. Only dialogues count: the notes were not
  translated.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edits import EDITS, LEAST, distance

from preceptor.config import DataSettings, FilterSettings
from preceptor.data import pubmedqa
from preceptor.data.base import Task
from preceptor.data.load import load_datasets
from preceptor.evaluate.statistics import wilson
from preceptor.filter.base import FilterContext
from preceptor.filter.leakage import Leakage
from preceptor.filter.text import normalised, words
from preceptor.models.embed import Embedder, Embedding
from preceptor.records import Example, Source, Verdict
from preceptor.teachers.scripted import paraphrase

PARTS = ("development", "counted")
COPIES, EDITED, QUICK = 100, 100, 25
"""Planted per row; in the quick variant `QUICK`."""
QUICK_CLEAN = 150
FOLDS = 3
LENGTHS = (10, 15, 20, 30, 50, 100)
"""Bounds in words of the rows by length of the paraphrased dialogue."""
DIALOGUES = Task("mts-dialog", "default", ("yes", "no"), ("dialogue",), "{{ dialogue }}")
_AUGMENTED = "MTS-Dialog-Augmented-TrainingSet-3-FR-and-ES-3603-Pairs-final.csv"
_OTHERS = ("MTS-Dialog-ValidationSet.csv", "MTS-Dialog-TestSet-1-MEDIQA-Chat-2023.csv")


@dataclass(frozen=True)
class Planted:
    """A candidate of known origin."""

    group: str
    """`copy`, `edit`, `paraphrase`, `id` or `clean`."""
    kind: str
    """What was done, e.g. `context, synonyms`."""
    example: Example
    origin: str = ""
    """Id of the held-out item it was made from."""
    length: int = 0
    """Words of the text it was made from."""


@dataclass(frozen=True)
class Judged:
    """A candidate with the filter's verdict."""

    planted: Planted
    verdict: Verdict


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    group: str
    kind: str
    n: int
    caught: int
    low: float
    high: float
    """Wilson's 95 % interval of the share."""
    rules: dict[str, int]
    """Reason -> how many it caught, the most frequent first."""

    @property
    def share(self) -> float:
        """Caught of all."""
        return self.caught / self.n


def part_of(key: str, parts: int = 2) -> int:
    """0 to parts - 1, by a hash of the key."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % parts


def leakage_table(data_root: Path, *, part: str = "counted", quick: bool = False) -> list[Row]:
    """All rows: copies, edits by kind, paraphrases by length, ids and clean items, each with its sum.

    `data_root` holds pubmedqa/, rct-abstracts/ and mts-dialog/. Quick: fewer of each, one fold of the dialogues.
    """
    return rows(judge_all(data_root, part=part, quick=quick))


def judge_all(
    data_root: Path, *, part: str = "counted", quick: bool = False, embed: Embedding | None = None
) -> list[Judged]:
    """The filter's verdict on every planted candidate of one half."""
    embed = embed or Embedder()
    judged = []
    for context, planted in scenes(data_root, part, quick, embed):
        verdicts = Leakage(FilterSettings().leakage).judge([p.example for p in planted], context)
        judged += [Judged(p, verdict) for p, verdict in zip(planted, verdicts, strict=True)]
    return judged


def scenes(data_root: Path, part: str, quick: bool, embed: Embedding) -> Iterator[tuple[FilterContext, list[Planted]]]:
    """What the filter knows, and the candidates, of each data set."""
    half = PARTS.index(part)
    yield _pubmedqa(data_root, half, quick, embed)
    for fold in range(1 if quick else FOLDS):
        yield _dialogues(data_root / "mts-dialog", half, fold, quick, embed)


# PubMedQA


def _pubmedqa(root: Path, half: int, quick: bool, embed: Embedding) -> tuple[FilterContext, list[Planted]]:
    settings = DataSettings(task="pubmedqa", path=str(root / "pubmedqa"), settings=(pubmedqa.REQUIRED,))
    data = load_datasets(settings, root)[pubmedqa.REQUIRED]
    known = [item for item in data.train if part_of(f"train {item.id}", 3) == 2]
    left_out = [item for item in data.train if part_of(f"train {item.id}", 3) == half]
    held_out = [*data.validation, *data.test]
    sources = [item for item in data.test if part_of(f"test {item.id}") == half]
    rng = random.Random(f"planted {half}")
    rng.shuffle(sources)
    plant = _Planter(known, rng)
    n = QUICK if quick else COPIES
    made = [
        *plant.copies(sources, n),
        *plant.edits(sources, QUICK if quick else EDITED),
        *plant.ids(left_out, sources, n),
    ]
    clean = [plant.foreign("clean", "training items left out", item, dict(item.fields)) for item in left_out]
    clean += [plant.child("clean", "rewrites of training items", item) for item in known]
    abstracts = [item for item in _abstracts(root / "rct-abstracts") if part_of(item.id) == half]
    clean += [plant.foreign("clean", "other abstracts", item, dict(item.fields)) for item in _some(abstracts, quick)]
    return FilterContext(data.task, {item.id: item for item in known}, held_out, embed), [*made, *clean]


class _Planter:
    """Builds candidates under training items that they have nothing to do with."""

    def __init__(self, parents: Sequence[Example], rng: random.Random) -> None:
        self._parents, self._rng, self._made = parents, rng, 0

    def foreign(self, group: str, kind: str, source: Example, fields: dict[str, str]) -> Planted:
        """A candidate with these fields written anew; what it lacks is its parent's."""
        parent = self._rng.choice(self._parents)
        length = sum(len(words(text)) for text in fields.values())
        return Planted(group, kind, self._example(parent, fields), source.id, length)

    def child(self, group: str, kind: str, parent: Example) -> Planted:
        """An honest rewrite of a training item's question."""
        fields = {"question": paraphrase(parent.fields["question"], self._made)}
        return Planted(group, kind, self._example(parent, fields), parent.id)

    def copies(self, sources: Sequence[Example], n: int) -> Iterator[Planted]:
        """Held-out items word for word: all of them, the question alone, the context alone."""
        for kind, names in _SHAPES.items():
            for source in sources[:n]:
                yield self.foreign("copy", kind, source, {name: source.fields[name] for name in names})

    def edits(self, sources: Sequence[Example], n: int) -> Iterator[Planted]:
        """Held-out items lightly edited; a field that an edit leaves nearly as it was stays the parent's."""
        for shape, names in _SHAPES.items():
            edits = {name: edit for name, edit in EDITS.items() if shape != "question" or name in _FOR_QUESTIONS}
            for place, (kind, edit) in enumerate(edits.items()):
                wanted = (n + place) // len(edits)
                for source in sources:
                    new = {name: edit(source.fields[name], self._rng) for name in names}
                    real = {name: text for name, text in new.items() if distance(source.fields[name], text) >= LEAST}
                    if wanted and names[-1] in real:
                        yield self.foreign("edit", f"{shape}, {kind}", source, real)
                        wanted -= 1

    def ids(self, items: Sequence[Example], sources: Sequence[Example], n: int) -> Iterator[Planted]:
        """Clean text that carries a held-out item's id: as its own, as a parent, before its own, in its text."""
        for place, source in enumerate(sources[:n]):
            item = items[place % len(items)]
            kind = ("own id", "parent", "start of the id", "in the text")[place % 4]
            example = self.foreign("id", kind, source, dict(item.fields)).example
            changes = {
                "own id": {"id": source.id},
                "parent": {"parents": (*example.parents, source.id)},
                "start of the id": {"id": f"{source.id}-{example.id}"},
                "in the text": {
                    "fields": {**example.fields, "context": f"PMID: {source.id}. {item.fields['context']}"}
                },
            }[kind]
            yield Planted("id", kind, _changed(example, changes), source.id)

    def _example(self, parent: Example, fields: dict[str, str]) -> Example:
        self._made += 1
        source = Source("new", "planted", "0" * 16, "nobody", f"call{self._made}", "stop", tuple(fields))
        return Example(
            f"{parent.id}-new-{self._made}",
            {**parent.fields, **fields},
            parent.label,
            "new",
            (parent.id,),
            None,
            source,
        )


_SHAPES = {
    "question": ("question",),
    "context": ("context",),
    "whole item": ("question", "conclusion", "context"),
}
_FOR_QUESTIONS = ("word order", "synonyms", "all four")
"""A question is one sentence, and hardly any has numbers enough."""


def _changed(example: Example, changes: Mapping[str, Any]) -> Example:
    return replace(example, **changes)


def _abstracts(folder: Path) -> list[Example]:
    """Trial abstracts in the shape of PubMedQA's items: the title as question, all but the conclusions as context."""
    items = []
    for line in (folder / "abstracts.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        parts: dict[bool, list[str]] = {True: [], False: []}
        for section in row["sections"]:
            parts[(section["label"] or "").startswith("CONCLUSION")].append(section["text"])
        fields = {"question": row["title"], "context": "\n".join(parts[False]), "conclusion": "\n".join(parts[True])}
        items.append(Example(row["pmcid"], {name: text for name, text in fields.items() if text}, "yes"))
    return items


def _some(items: Sequence[Example], quick: bool) -> Sequence[Example]:
    return items[:QUICK_CLEAN] if quick else items


# MTS dialogues


def _dialogues(
    folder: Path, half: int, fold: int, quick: bool, embed: Embedding
) -> tuple[FilterContext, list[Planted]]:
    originals, translated = _pairs(folder / _AUGMENTED)
    mine = [number for number in originals if part_of(f"dialogue {number}") == half]
    folds = [[number for number in mine if part_of(f"fold {number}", FOLDS) == one] for one in range(FOLDS)]
    held, clean, rest = (folds[(fold + step) % FOLDS] for step in range(FOLDS))
    known = [Example(f"training-{number}", {"dialogue": originals[number]}, "yes") for number in rest]
    known += [
        Example(f"{name}-{row['ID']}", {"dialogue": row["dialogue"]}, "yes")
        for name in _OTHERS
        for row in _table(folder / name)
    ]
    plant = _Planter(known, random.Random(f"dialogues {half} {fold}"))
    planted = []
    for number in held[: QUICK_CLEAN if quick else None]:
        source = Example(str(number), {"dialogue": originals[number]}, "yes")
        for language, text in translated[number]:
            group = "verbatim" if normalised(text) == normalised(originals[number]) else "paraphrase"
            candidate = plant.foreign(group, f"dialogue, by {language}", source, {"dialogue": text})
            planted.append(replace(candidate, length=len(words(originals[number]))))
    for number in clean[: QUICK_CLEAN if quick else None]:
        source = Example(str(number), {"dialogue": originals[number]}, "yes")
        planted.append(plant.foreign("clean", "other dialogues", source, dict(source.fields)))
    held_out = [Example(f"d{number}", {"dialogue": originals[number]}, "yes") for number in held]
    return FilterContext(DIALOGUES, {item.id: item for item in known}, held_out, embed), planted


def _pairs(path: Path) -> tuple[dict[int, str], dict[int, list[tuple[str, str]]]]:
    """Original dialogues by number, and by number their translations: (language, text).

    The rows of the published file are the originals, 0 to 1200, then "TR=EN-FR-EN 0" and on, then "TR=EN-ES-EN 0".
    """
    originals: dict[int, str] = {}
    translated: dict[int, list[tuple[str, str]]] = defaultdict(list)
    for row in _table(path):
        if named := re.fullmatch(r"TR=EN-(FR|ES)-EN (\d+)", row["ID"]):
            language = {"FR": "French", "ES": "Spanish"}[named.group(1)]
            translated[int(named.group(2))].append((language, row["dialogue"]))
        else:
            originals[int(row["ID"])] = row["dialogue"]
    return originals, translated


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# The table


def rows(judged: Iterable[Judged]) -> list[Row]:
    """Counts by group and kind, with a sum for each group and the paraphrases by length."""
    groups: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for one in judged:
        planted = one.planted
        groups[planted.group, planted.kind].append(one)
        if planted.group == "edit":
            groups["edit", planted.kind.partition(",")[0] + ", all"].append(one)
        if planted.group == "paraphrase":
            groups["paraphrase", f"dialogue, {_length(planted.length)}"].append(one)
        groups[planted.group, "all"].append(one)
    return [_row(*key, groups[key]) for key in sorted(groups, key=_order)]


def find(table: Sequence[Row], group: str, kind: str = "all") -> Row:
    """The row of that group and kind."""
    return next(row for row in table if (row.group, row.kind) == (group, kind))


def _row(group: str, kind: str, judged: Sequence[Judged]) -> Row:
    rules = Counter(one.verdict.reason for one in judged if not one.verdict.kept)
    caught = rules.total()
    interval = wilson(caught, len(judged))
    assert interval is not None
    return Row(group, kind, len(judged), caught, interval.low, interval.high, dict(rules.most_common()))


def _length(length: int) -> str:
    above = next((bound for bound in LENGTHS if length < bound), None)
    below = max((bound for bound in LENGTHS if bound <= length), default=0)
    return f"{below} words and more" if above is None else f"{below} to {above - 1} words"


def _order(key: tuple[str, str]) -> tuple[int, bool, int, str]:
    group, kind = key
    number = re.search(r"\d+", kind)
    return _GROUPS.index(group), kind == "all", int(number.group()) if number else -1, kind


_GROUPS = ("copy", "edit", "paraphrase", "verbatim", "id", "clean")


def as_text(table: Sequence[Row]) -> str:
    """The table for a terminal or the lab book."""
    lines = [f"{'group':<11} {'kind':<31} {'n':>5} {'caught':>6}  {'share':<21} rules"]
    for row in table:
        share = f"{row.share:.3f} [{row.low:.3f}, {row.high:.3f}]"
        rules = ", ".join(f"{reason} {n}" for reason, n in row.rules.items())
        lines.append(f"{row.group:<11} {row.kind:<31} {row.n:>5} {row.caught:>6}  {share:<21} {rules}".rstrip())
    return "\n".join(lines)


def main() -> None:
    """Print the table, then one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="fewer of each")
    parser.add_argument("--part", choices=PARTS, default="counted")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRECEPTOR_DATA", "../shared/data")))
    asked = parser.parse_args()
    start = time.process_time()
    table = leakage_table(asked.data, part=asked.part, quick=asked.quick)
    print(as_text(table))
    figures = {f"{row.group}: {row.kind}": [row.caught, row.n] for row in table}
    print(json.dumps({"part": asked.part, "cpu_seconds": round(time.process_time() - start), "caught_of": figures}))


if __name__ == "__main__":
    main()
