"""The results of finished cells as small JSON files, so that an experiment may be run in parts and on several machines.

    results/smollm2-qa-seed-1.json    training, and the scores on each benchmark or the predictions on the test items,
                                      each with the hash of all that made it

The files hold ids, labels, probabilities and counts per item and no text of any item, so that they may be committed
where the data may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from preceptor.errors import DataError, RecipeError
from preceptor.records import BenchmarkScores, Measure, Prediction
from preceptor.store.provenance import machine, provenance
from preceptor.store.stages import read_json, write_text

CALCULATING = ("torch", "transformers", "peft")
"""Packages whose version can move a score."""


@dataclass(frozen=True, slots=True)
class ResultsBook:
    """A folder with a file for each cell. What is found under another identity is the result of other inputs."""

    folder: Path

    def check(self, given: str | None) -> None:
        """Raise `RecipeError` where a file lies in the folder's place; `given` is what the recipe says."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RecipeError(f"results = {given!r}: {self.folder} is a file.", "Name a folder.")

    def training(self, cell: str, identity: str) -> Mapping[str, Any] | None:
        """What training did in this cell, if it is known for these inputs."""
        found = self._read(cell).get("training", {})
        return found["fit"] if found.get("identity") == identity else None

    def scores(self, cell: str, benchmark: str, identity: str) -> BenchmarkScores | None:
        """The scores of this cell on a benchmark, if they are known for these inputs."""
        found = self._read(cell).get("benchmarks", {}).get(benchmark, {})
        if found.get("identity") != identity:
            return None
        try:
            return _scores(found["scores"])
        except (KeyError, TypeError) as error:
            raise self.broken(cell) from error

    def add_training(self, cell: str, identity: str, fit: Mapping[str, Any]) -> None:
        """Write down what training did. Scores of earlier weights go with them."""
        self._write(cell, {"training": {"identity": identity, "fit": dict(fit), **_made_with()}, "benchmarks": {}})

    def add_scores(self, cell: str, benchmark: str, identity: str, scores: BenchmarkScores) -> None:
        """Write down the scores on one benchmark."""
        found = self._read(cell)
        entry = {"identity": identity, "scores": asdict(scores), **_made_with()}
        self._write(cell, {**found, "benchmarks": {**found.get("benchmarks", {}), benchmark: entry}})

    def predictions(self, cell: str, identity: str, part: str = "predictions") -> Mapping[str, Any] | None:
        """What `add_predictions` wrote down for these inputs: `ids`, `said`, `outcomes`, `probabilities`, `extra`."""
        found: dict[str, Any] = self._read(cell).get(part, {})
        if found.get("identity") != identity:
            return None
        if not _whole(found):
            raise self.broken(cell)
        return found

    def add_predictions(
        self,
        cell: str,
        identity: str,
        predictions: Sequence[Prediction],
        fit: Mapping[str, Any] | None,
        extra: Mapping[str, Any],
        part: str = "predictions",
    ) -> None:
        """Write down what a student said to the test items, by id and without the text of its answers.

        With the part `choosing` of a sweep's points: what it said to the items that choose. One part stays when the
        other is written.
        """
        entry = {
            "identity": identity,
            "ids": [p.id for p in predictions],
            "said": [p.label for p in predictions],
            "outcomes": [p.outcome.value for p in predictions],
            "probabilities": [[round(value, 5) for value in p.probabilities] for p in predictions],
            "fit": None if fit is None else dict(fit),
            "extra": dict(extra),
        }
        kept = {name: value for name, value in self._read(cell).items() if name in ("predictions", "choosing")}
        self._write(cell, {**kept, part: {**entry, **_made_with()}})

    def known(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Identity and entry of all predictions in the folder; files that are no results are passed over.

        Raises `DataError` naming a file that cannot be read, or lacks something.
        """
        for path in sorted(self.folder.glob("*.json")):
            value = read_json(path)
            entry = value.get("predictions") if isinstance(value, dict) else None
            if isinstance(entry, dict) and isinstance(entry.get("identity"), str):
                if not _whole(entry):
                    raise self.broken(path.stem)
                yield entry["identity"], entry

    def adopt(self, cell: str, entry: Mapping[str, Any], about: Mapping[str, Any]) -> None:
        """Write another book's entry of predictions down as this cell's; `about` takes the place of what it was there.

        Where and with what it was computed stays as it is.
        """
        extra = {**entry["extra"], "cell": {**entry["extra"].get("cell", {}), **about}}
        self._write(cell, {**self._read(cell), "predictions": {**entry, "extra": extra}})

    def _path(self, cell: str) -> Path:
        return self.folder / f"{cell}.json"

    def _read(self, cell: str) -> dict[str, Any]:
        path = self._path(cell)
        if not path.exists():
            return {}
        found = read_json(path)
        parts = ("training", "benchmarks", "predictions", "choosing")
        if not isinstance(found, dict) or not all(isinstance(found.get(part, {}), dict) for part in parts):
            raise self.broken(cell)
        return found

    def _write(self, cell: str, value: Mapping[str, Any]) -> None:
        write_text(self._path(cell), _lines(value) + "\n")

    def broken(self, cell: str) -> DataError:
        """What to raise for a cell's file that does not hold what was written."""
        return DataError.at(self._path(cell), "is not a file of results", hint="Delete it; its cell is run again.")


def _whole(entry: Mapping[str, Any]) -> bool:
    """Whether an entry of predictions has all that `ResultsBook.add_predictions` writes, one of each for every item."""
    columns = [entry.get(key) for key in ("ids", "said", "outcomes", "probabilities")]
    if not all(isinstance(column, list) for column in columns) or len({len(c) for c in columns if c is not None}) > 1:
        return False
    extra = entry.get("extra")
    return isinstance(extra, dict) and isinstance(extra.get("cell", {}), dict) and "fit" in entry


def _scores(value: Mapping[str, Any]) -> BenchmarkScores:
    measures = tuple(
        Measure(m["name"], m["kind"], tuple(tuple(float(x) for x in row) for row in m["rows"]))
        for m in value["measures"]
    )
    return BenchmarkScores(value["benchmark"], tuple(value["ids"]), measures, value["outcomes"], value["counts"])


def _made_with() -> dict[str, Any]:
    packages = provenance()["packages"]
    return {
        "machine": machine(),
        "packages": {n: v for n, v in packages.items() if n in ("torch", "transformers", "peft")},
    }


def _lines(value: Any, indent: str = "") -> str:
    """JSON with a line for each entry of a table, and lists on one line: thousands of rows stay readable in a diff."""
    if not isinstance(value, Mapping) or not value:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    deeper = indent + " "
    entries = (f"{deeper}{json.dumps(name)}: {_lines(inner, deeper)}" for name, inner in sorted(value.items()))
    return "{\n" + ",\n".join(entries) + f"\n{indent}}}"
