"""Stages on disk: done once, found again, never half written.

A stage is a folder whose identity is the hash of its inputs, its settings and its code's version. It is built under a
temporary name beside its place and renamed into it, so a folder that exists is complete.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.errors import DataError, StorageError
from preceptor.records import content_hash

MARK = "stage.json"
"""File in each stage's folder that holds its identity."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage's folder and identity."""

    folder: Path
    identity: str
    """Hash of all that can change the stage's result."""

    @property
    def done(self) -> bool:
        """Whether the folder holds the finished result of exactly this stage."""
        try:
            mark = json.loads((self.folder / MARK).read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: not UTF-8, or not JSON
            return False
        return isinstance(mark, dict) and bool(mark.get("identity") == self.identity)

    @property
    def checkpoints(self) -> Path:
        """A folder beside its place for what must outlive a build that was broken off; gone once the stage is done."""
        return self.folder.with_name(f".checkpoints-{self.folder.name}")

    @contextlib.contextmanager
    def build(self) -> Iterator[Path]:
        """Yield an empty folder to write into; on success it takes the stage's place, on error it vanishes."""
        with writing(self.folder):
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            # What a killed run left: only one run at a time writes here (`sole_writer`).
            for left in self.folder.parent.glob(f".{glob.escape(self.folder.name)}-????????"):
                shutil.rmtree(left, ignore_errors=True)
            fresh = Path(tempfile.mkdtemp(prefix=f".{self.folder.name}-", dir=self.folder.parent))
            try:
                yield fresh
                write_json(fresh / MARK, {"identity": self.identity})
                fresh.chmod(0o755)
                if self.folder.exists():
                    shutil.rmtree(self.folder)  # the result of other inputs; killed here, the stage is just not done
                fresh.rename(self.folder)
                shutil.rmtree(self.checkpoints, ignore_errors=True)
            finally:
                shutil.rmtree(fresh, ignore_errors=True)


def made_by(model: str) -> dict[str, str]:
    """The identity of the run that made a model, where `model` is a folder that a run made; else nothing.

    It belongs to the identity of whatever is made from the model: made anew, the folder keeps its name.
    """
    try:
        mark = json.loads((Path(model).expanduser() / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # no such folder, no mark, or a ~ that means nobody
        return {}
    found = mark.get("identity") if isinstance(mark, dict) else None
    return {"made_by": found} if isinstance(found, str) else {}


def identity(version: int, inputs: Mapping[str, Any]) -> str:
    """Identity of a stage: `version` is that of its code, `inputs` all that can change its result."""
    return content_hash({"version": version, **inputs})


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one sentence about `path`."""
    try:
        yield
    except OSError as error:
        raise StorageError.of(error.filename or path, error) from error


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to write in, which becomes `target` when all went well; else nothing is left.

    Raises `DataError` where `target` is a file or holds something.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise DataError.at(target, "is not empty.", hint="Give a new folder: nothing is overwritten.")
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as temporary:
            made = Path(temporary) / "made"
            made.mkdir()
            yield made
            if target.exists():
                target.rmdir()
            made.rename(target)


def write_text(path: Path, text: str) -> None:
    """Write a whole file or nothing: to a temporary name, then renamed."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, sort_keys=True) + "\n")


def read_json(path: Path) -> Any:
    """Read JSON; `DataError` with the line if it is malformed, or in one sentence if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError.at(path, f"is not valid JSON ({error.msg})", line=error.lineno) from error
    except UnicodeDecodeError as error:
        raise DataError.at(path, f"is not valid JSON (byte {error.start} is not UTF-8)") from error
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({(error.strerror or 'unknown cause').lower()})") from error


LOCK = ".lock"
"""File in a run's folder that its one writer holds; it also tells a run's folder from any other."""


def refuse_foreign(folder: Path) -> None:
    """Raise `StorageError` when `folder` is a file or holds something else than a run: a run replaces what it finds."""
    if folder.exists() and not folder.is_dir():
        raise StorageError(f"{folder} is a file; a run needs a folder.", "Choose another one with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / LOCK).exists():
        raise StorageError(f"{folder} is not empty and holds no run.", "Choose another folder with --out.")


@contextlib.contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Hold a run's folder: a second `run` on it at the same time is refused, and a killed one leaves no lock behind."""
    import fcntl

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StorageError(
                f"Another run is writing to {folder}.",
                "Wait for it, stop it, or choose another folder with --out.",
            ) from None
        yield
