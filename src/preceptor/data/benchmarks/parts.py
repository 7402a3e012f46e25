"""What all benchmarks share: finding the file of each part, drawing subsets, and what a reader must know of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from preceptor.config import BenchmarkSettings
from preceptor.data import files, splits
from preceptor.data.benchmark import Benchmark
from preceptor.errors import DataError, RecipeError, SplitError
from preceptor.records import Example, Instruction, content_hash

PARTS = ("train", "validation", "test")
WORDS = {"train": "training", "validation": "validation", "test": "test"}
VALIDATION_SHARE, TEST_SHARE = 0.1, 0.3
"""Of the items, where a source has no such part of its own."""

Parts = Mapping[str, Sequence[Instruction]]
Stratum = Callable[[Instruction], str]
"""What a drawn subset keeps the proportions of."""
B = TypeVar("B", bound=Benchmark)


def find_files(settings: BenchmarkSettings, base: Path, names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
    """The file of each part: the one that `train_path` and its like name, else the first of `names` in the folder
    `path`. A file in `path` holds the training items.

    A benchmark that is only a source of training items needs no other part. Raises `DataError` where the part that
    is needed is missing, `SplitError` where two parts are one file, `RecipeError` where two keys name the same part.
    """
    given = {part: getattr(settings, f"{part}_path") for part in PARTS}
    found = {part: files.resolve(path, base) for part, path in given.items() if path is not None}
    if settings.path is not None:
        path = files.resolve(settings.path, base)
        if not path.exists():
            raise DataError(f"There is no file or folder {path}.", f"Check benchmarks.{settings.name}.path.")
        if path.is_file() and "train" in found:
            raise RecipeError(f"benchmarks.{settings.name}: path and train_path both name the training items.")
        inside = {part: [path / name for name in names[part] if (path / name).is_file()] for part in PARTS}
        here = {part: known[0] for part, known in inside.items() if known} if path.is_dir() else {"train": path}
        found = {**here, **found}
    needed = "test" if settings.scored else "train"
    if needed not in found:
        raise DataError(
            f"Benchmark {settings.name} has no file of {WORDS[needed]} items.",
            f"Name a file in benchmarks.{settings.name}.{needed}_path, or a folder with {' or '.join(names[needed])} "
            "in its path.",
        )
    used = {part: found[part] for part in PARTS if part in found and (settings.scored or part == "train")}
    real = [path.resolve() for path in used.values()]
    if len(set(real)) < len(real):
        raise SplitError(
            f"The same file is named twice: {', '.join(f'{part} {path}' for part, path in used.items())}.",
            "Name a file of its own for each part.",
        )
    return used


def one_file(settings: BenchmarkSettings, base: Path) -> Path | None:
    """The one file that is to be cut by seed; None where each part has a file.

    Raises `RecipeError` for a split that does not exist or does not fit the paths.
    """
    key = f"benchmarks.{settings.name}.split"
    if settings.split not in (None, "files", "seeded"):
        raise RecipeError(f"{key} = {settings.split!r} does not exist for this kind.", "Splits: files, seeded.")
    alone = settings.path is not None and not any(getattr(settings, f"{part}_path") for part in PARTS)
    path = files.resolve(str(settings.path), base) if alone else None
    if settings.split == "seeded" and (path is None or path.is_dir()):
        raise RecipeError(
            f'{key} = "seeded" cuts one file, named in path; other files are not used.',
            "Name it there and remove the other paths, or name a file for each part.",
        )
    return path if path is not None and settings.split != "files" and path.is_file() else None


def draw(
    items: Sequence[Instruction], count: int, seed: int, purpose: str, stratum: Stratum
) -> tuple[tuple[Instruction, ...], tuple[Instruction, ...]]:
    """As `splits.draw`, each stratum in proportion: (drawn, rest), both in the given order."""
    by_id = {item.id: item for item in items}
    examples = [Example(id=item.id, fields={}, label=stratum(item)) for item in items]
    drawn, rest = splits.draw(examples, count, seed, purpose)
    return tuple(by_id[example.id] for example in drawn), tuple(by_id[example.id] for example in rest)


def cut(items: Sequence[Instruction], settings: BenchmarkSettings, stratum: Stratum, where: str) -> Parts:
    """One file's items as three parts, by the shares and draws of `splits.seeded_parts`; `where` is for errors.

    A source that is not scored is cut in the same way, so that a scored benchmark of the same file and seed shares no
    test item with it; the whole file trains when it is named in `train_path`.
    """
    refuse_repeated_ids(items, where)
    test, rest = draw(items, round(len(items) * TEST_SHARE), settings.split_seed, "test", stratum)
    validation, train = draw(rest, round(len(items) * VALIDATION_SHARE), settings.split_seed, "validation", stratum)
    return {"train": train, "validation": validation, "test": test}


def with_validation(parts: Parts, settings: BenchmarkSettings, stratum: Stratum) -> tuple[Parts, tuple[str, ...]]:
    """The parts, and a note: where a scored benchmark has no validation items, a share of its training items."""
    train = parts.get("train", ())
    count = round(len(train) * VALIDATION_SHARE)
    if parts.get("validation") or not settings.scored or not count:
        return parts, ()
    validation, rest = draw(train, count, settings.split_seed, "validation", stratum)
    note = f"The {count} validation items are drawn from the training items with seed {settings.split_seed}."
    return {**parts, "train": rest, "validation": validation}, (note,)


def built(
    kind: Callable[..., B],
    settings: BenchmarkSettings,
    whole: Parts,
    *,
    stratum: Stratum,
    read: str = "generation",
    notes: Sequence[str] = (),
    licence: str = "",
    **own: Any,
) -> B:
    """The benchmark of class `kind` with at most so many items of each part as the settings say.

    `own` are the fields of that class. Raises `DataError` when a needed part is empty or an id stands twice.
    """
    complete = {part: tuple(whole.get(part, ())) for part in PARTS}
    refuse_repeated_ids([item for items in complete.values() for item in items], f"Benchmark {settings.name}")
    needed = "test" if settings.scored else "train"
    if not complete[needed]:
        raise DataError(
            f"Benchmark {settings.name} has no {WORDS[needed]} items.", "Check that its files are complete."
        )
    used = {part: _limited(part, items, settings, stratum) for part, items in complete.items()}
    return kind(
        name=settings.name,
        category=settings.category,
        **used,
        max_tokens=settings.max_tokens,
        identity=identity(settings.kind, used, [settings.max_tokens, read, own]),
        read=read,
        licence=licence,
        notes=(*notes, *_limit_notes(complete, used, settings.split_seed), *_shared_notes(used)),
        **own,
    )


def _limited(
    part: str, items: tuple[Instruction, ...], settings: BenchmarkSettings, stratum: Stratum
) -> tuple[Instruction, ...]:
    most: int | None = getattr(settings, f"max_{part}")
    if most is None or most >= len(items):
        return items
    return draw(items, most, settings.split_seed, f"max_{part}", stratum)[0]


def refuse_repeated_ids(items: Sequence[Instruction], where: str) -> None:
    """Raise `DataError` naming `where` and an id that more than one item has."""
    twice = [item for item, count in Counter(item.id for item in items).items() if count > 1]
    if twice:
        raise DataError(f"{where}: the id {twice[0]!r} stands twice.", "Give every item an id of its own.")


def identity(kind: str, parts: Parts, choices: Any) -> str:
    """Hash over all items in order and what decides how they are asked and read."""
    return content_hash([kind, {part: [asdict(item) for item in items] for part, items in parts.items()}, choices])


def shown(item: Instruction) -> str:
    """What an item is about, without its white space and case: two items that show the same are the same question."""
    return " ".join((item.input or item.instruction).split()).casefold()


def _limit_notes(before: Parts, after: Parts, seed: int) -> list[str]:
    return [
        f"Only {len(after[part])} of {len(before[part])} {WORDS[part]} items are used, drawn with seed {seed}."
        for part in PARTS
        if len(after[part]) < len(before[part])
    ]


def _shared_notes(parts: Parts) -> list[str]:
    test = [shown(item) for item in parts["test"]]
    found = []
    for part in ("train", "validation"):
        seen = {shown(item) for item in parts[part]}
        same = sum(text in seen for text in test)
        if same:
            found.append(f"{same} of {len(test)} test items have the same text as a {WORDS[part]} item.")
    return found
