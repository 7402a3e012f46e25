"""Every error a user can meet.

    PreceptorError
    ├── RecipeError          a key or value of a recipe is wrong or impossible
    ├── DataError            a data file is missing, malformed or unusable
    │   └── SplitError       training and test items of different splits would mix
    ├── MissingPackageError  an optional package is not installed
    ├── ModelError           a model cannot be loaded, or is not what it should be
    │   └── InactiveAdapterError   a trained adapter does not change the model's output
    ├── TeacherError         a teacher could not answer
    │   ├── UnsupportedSettingError  the teacher cannot take a setting; nothing was sent
    │   ├── CredentialsError         the key is missing or was refused
    │   ├── UnreachableError         nobody answers at the address (retryable)
    │   ├── PrivacyError             a prompt holds identifiers of people; nothing was sent
    │   └── BudgetError              the budget is used up; what was answered is kept
    ├── StorageError         a file cannot be written: disk full, no permission
    ├── KilledError          a process that worked on a cell died
    └── Later                nothing is wrong: the same command goes on later
        ├── BatchPending     requests wait in batches at a provider
        └── PartFinished     the time that was given is over

Each error is one sentence for people plus a `hint` that says what to do. All survive pickling, because workers
send them across processes. The command line prints them without a traceback and exits with `exit_status`: 1, or
75 where the same command is to be given again later.
"""

from __future__ import annotations

import os
from pathlib import Path


class PreceptorError(Exception):
    """Root of all errors that are shown to people as one sentence.

    `message` says what is wrong and where, `hint` what to do about it. `retryable` is true when the same call may
    succeed later without any change.
    """

    retryable: bool = False
    exit_status: int = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type[PreceptorError], tuple[str, str]]:
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class RecipeError(PreceptorError):
    """A key or value of a recipe is unknown, of the wrong type, or impossible together with another."""


class DataError(PreceptorError):
    """A data file is missing, malformed or unusable; the message names file, line and field."""

    @classmethod
    def at(cls, path: Path | str, problem: str, *, line: int | None = None, hint: str = "") -> DataError:
        """Build the sentence "FILE, line N: PROBLEM"."""
        where = f"{path}, line {line}" if line is not None else str(path)
        return cls(f"{where}: {problem}", hint)


class SplitError(DataError):
    """Items of one split's test part would be used for training."""


class MissingPackageError(PreceptorError):
    """An optional package is not installed."""

    @classmethod
    def of(cls, package: str, purpose: str, install: str) -> MissingPackageError:
        """Name the package, what it is needed for, and the line that installs it."""
        return cls(f"The package {package} is not installed; {purpose} needs it.", f"Install it with: {install}")


class ModelError(PreceptorError):
    """A model cannot be loaded, or is not what it should be."""


class InactiveAdapterError(ModelError):
    """A trained adapter leaves the model's output as it was, so scoring it would score the base model."""


class TeacherError(PreceptorError):
    """A teacher could not answer."""


class UnsupportedSettingError(TeacherError):
    """The teacher's endpoint cannot take a generation setting; nothing was sent."""


class CredentialsError(TeacherError):
    """The key is missing from the environment or was refused. The message never contains the key."""


class PrivacyError(TeacherError):
    """A prompt holds what identifies people; nothing was sent. The message never contains an identifier."""


class UnreachableError(TeacherError):
    """Nobody answers at the teacher's address."""

    retryable = True


class BudgetError(TeacherError):
    """The run's budget is used up."""


class StorageError(PreceptorError):
    """A file cannot be written: the disk is full, or the folder may not be written to."""

    @classmethod
    def of(cls, path: Path | str, cause: OSError) -> StorageError:
        """Turn the operating system's error about `path` into a sentence."""
        # By number: the text of an error that comes from pyarrow is a report, not a reason.
        reason = os.strerror(cause.errno) if cause.errno is not None else type(cause).__name__
        return cls(
            f"Cannot write {path}: {reason.lower()}.",
            "Free space or choose another folder with --out. Finished stages are kept; the same command goes on.",
        )


class KilledError(PreceptorError):
    """A process that worked on a cell died; the cell is done again by the same command."""

    retryable = True


class Later(PreceptorError):  # noqa: N818 - nothing is wrong
    """The run ended before its end; the same command goes on from there."""

    retryable = True
    exit_status = 75
    """EX_TEMPFAIL of sysexits.h: a temporary state, try again."""


class BatchPending(Later):
    """Requests wait in batches at a provider; the same command comes back for them."""


class PartFinished(Later):
    """The time that was given to a run is over; what is finished is kept."""
