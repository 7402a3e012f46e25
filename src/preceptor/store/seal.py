"""The seal on the test split: a line for each time that a student answered the test items, and what was chosen before.

    looks.jsonl    in the run's folder, and in the folder of the recipe's results where it has one

A score on test items is only worth what its history is: the more often they were looked at, and the more was chosen
by looking, the less. The record cannot prevent a choice by the test. It says how often there was an occasion.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from preceptor.errors import DataError, StorageError
from preceptor.records import Looks
from preceptor.store.stages import writing

LOOKS = "looks.jsonl"
"""Name of the record."""
NOTHING = "nothing chosen"


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen before a look at the test items, and by what."""

    chosen: Mapping[str, Any] = field(default_factory=dict)
    """Key of the recipe -> value; empty where none was."""
    by: str = NOTHING
    """E.g. `validation accuracy 0.610`; after it which state of the student, where validation chose that."""


UNCHOSEN = Choice()


def with_state(choice: Choice, select: str, fit: Mapping[str, Any]) -> Choice:
    """The choice, and in words that of the student's state in its training, where there was one among several.

    `select`: the key `train.select`; `fit`: what training did, as `Fitted` has it. `chosen` stays: that a state was
    chosen is no choice of settings, and looks of before this was written down are counted alike.
    """
    if select == "last" or len(fit["checks"]) < 2:
        return choice
    kept = next(check for check in fit["checks"] if check["step"] == fit["selected"])
    what = "macro-F1" if select == "macro_f1" else select
    state = f"state after step {kept['step']} of {fit['steps']} by validation {what} {kept[select]:.3f}"
    return Choice(choice.chosen, state if choice.by == NOTHING else f"{choice.by}; {state}")


@dataclass(frozen=True, slots=True)
class Look:
    """One look: a student answered the test items."""

    recipe: str
    """Name of the recipe."""
    recipe_hash: str
    """Hash of the resolved recipe."""
    cell: str
    identity: str
    """Hash of all that can change the answers."""
    test: str
    """Fingerprint of the test items."""
    student: str
    """The model that was trained, or came untrained."""
    settings: str
    """Hash of model, arm and training, without the seed."""
    chosen: Mapping[str, Any]
    by: str
    time: str = ""
    """UTC, ISO 8601; filled in when it is written down."""


def record(folders: Sequence[Path], look: Look) -> None:
    """Append the look as one line to the record of each folder: the whole line or nothing.

    Raises `StorageError` when it cannot be written.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({**asdict(look), "time": look.time or time}, ensure_ascii=False, sort_keys=True) + "\n"
    for folder in dict.fromkeys(folders):
        _append(folder / LOOKS, line.encode("utf-8"))


def _append(path: Path, line: bytes) -> None:
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            before = os.fstat(handle).st_size
            try:
                written = os.write(handle, line)
            except OSError:
                os.ftruncate(handle, before)
                raise
            if written < len(line):  # the disk is full
                os.ftruncate(handle, before)
                raise StorageError(f"Cannot write {path}: no space left on device.", "Free space; run it again.")
            os.fsync(handle)
        finally:
            os.close(handle)


def read_looks(folder: Path) -> list[Look]:
    """All looks in a folder's record; none where there is no record. `DataError` names a line that is none."""
    path = folder / LOOKS
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        try:
            found.append(Look(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise DataError.at(
                path, "is no look at test items", line=number, hint="Lines are only ever added; take this one out."
            ) from error
    return found


def looks_in(folders: Sequence[Path]) -> list[Look]:
    """All looks in the records of several folders; one that is written in more of them is one."""
    looks = {json.dumps(asdict(look), sort_keys=True): look for folder in folders for look in read_looks(folder)}
    return list(looks.values())


def count(looks: Sequence[Look], setting: str, test: str, items: int, shown: Sequence[str] = ()) -> Looks:
    """What the record says of the test items with this fingerprint.

    `shown`: identities of the answers that a report is made of; those without a line are counted as unrecorded.
    """
    mine = [look for look in looks if look.test == test]
    known = {look.identity for look in mine}
    return Looks(
        setting=setting,
        items=items,
        times=len(mine),
        students=len({look.student for look in mine}),
        settings=len({look.settings for look in mine}),
        chosen=sum(bool(look.chosen) for look in mine),
        unrecorded=sum(identity not in known for identity in shown),
    )
