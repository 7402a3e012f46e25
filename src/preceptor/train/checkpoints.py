"""Checkpoints of a training: what a killed one goes on from, bit for bit.

    FOLDER/step-00000120/tensors.safetensors    trained weights, the optimiser's moments, the best weights so far
    FOLDER/step-00000120/state.json             losses, checks, schedule, random states, and the hash of the tensors

A checkpoint is written under a temporary name, forced to the disk and renamed, so one that has its name is whole. The
last two are kept: where the newest does not have the hash that it was written with, the one before takes its place.
Nothing is pickled: a checkpoint that somebody else wrote can be wrong, but cannot run anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

KEPT = 2
"""How many checkpoints stay."""
SHARE = 0.02
"""Checkpoints that are due by time take at most about this share of it, however slow the disk is."""
STATE = "state.json"
TENSORS = "tensors.safetensors"
FORMAT = 1
"""Raise it when checkpoints of older code cannot be gone on from; they are then discarded."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A training after a step, as tensors and plain values."""

    step: int
    tensors: dict[str, torch.Tensor]
    record: dict[str, Any]
    """What JSON can hold; floats come back exactly."""


class _BrokenError(Exception):
    """A checkpoint is not what was written; the text says why."""


class Checkpoints:
    """The checkpoints of one training, in a folder of their own.

    `identity` is the hash of all that decides the training: checkpoints of another one are discarded. A checkpoint is
    due after `every` steps or, without `every`, after `seconds`. `say` tells people what they must know.
    """

    def __init__(
        self, folder: Path, identity: str, *, seconds: float, every: int | None, say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.identity = identity
        self.seconds = seconds
        self.every = every
        self.say = say
        self.last: int | None = None
        """Step of the newest checkpoint that is known to be whole."""
        self._next = time.monotonic() + seconds
        self._refused = False

    def place(self, step: int) -> Path:
        """The folder of the checkpoint after a step."""
        return self.folder / f"step-{step:08d}"

    def due(self, step: int) -> bool:
        """Whether the state after `step` is to be saved."""
        if self.every is not None:
            return step % self.every == 0
        return time.monotonic() >= self._next

    def save(self, snapshot: Snapshot) -> bool:
        """Write a checkpoint and delete all but the last two. Says once, and goes on, when it cannot be written."""
        started = time.monotonic()
        try:
            self._write(snapshot)
        except (OSError, SafetensorError) as error:
            if not self._refused:
                reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
                self.say(f"No checkpoint can be written to {self.folder} ({reason.lower()}); training goes on without.")
            self._refused = True
            return False
        finally:
            now = time.monotonic()
            self._next = now + max(self.seconds, (now - started) / SHARE)
        self.last = snapshot.step
        for old in self._steps()[KEPT:]:
            shutil.rmtree(self.place(old), ignore_errors=True)
        return True

    def _write(self, snapshot: Snapshot) -> None:
        place = self.place(snapshot.step)
        fresh = place.with_name(f".{place.name}")
        shutil.rmtree(fresh, ignore_errors=True)  # what a killed process left
        fresh.mkdir(parents=True)
        # On the processor and each in memory of its own, as the format wants them.
        tensors = {name: value.detach().cpu().contiguous() for name, value in snapshot.tensors.items()}
        save_file(tensors, fresh / TENSORS)
        written = {"format": FORMAT, "identity": self.identity, "step": snapshot.step, "hash": _hash(fresh / TENSORS)}
        (fresh / STATE).write_text(json.dumps({**written, "record": snapshot.record}), encoding="utf-8")
        for path in (fresh / TENSORS, fresh / STATE, fresh):
            _to_disk(path)
        shutil.rmtree(place, ignore_errors=True)  # a broken one that was passed over
        fresh.rename(place)
        _to_disk(self.folder)

    def newest(self) -> Snapshot | None:
        """The newest checkpoint of this training that is whole, or None. What is broken or foreign is deleted."""
        for step in self._steps():
            place = self.place(step)
            try:
                found = self._read(place)
            except _BrokenError as error:
                self.say(f"The checkpoint {place} is broken ({error}) and passed over.")
                found = None
            if found is not None:
                self.last = step
                return found
            shutil.rmtree(place, ignore_errors=True)
        return None

    def _read(self, place: Path) -> Snapshot | None:
        """The checkpoint at `place`; None when it is one of another training."""
        try:
            state = json.loads((place / STATE).read_text(encoding="utf-8"))
            if (state["format"], state["identity"]) != (FORMAT, self.identity):
                return None
            if state["hash"] != _hash(place / TENSORS):
                raise _BrokenError("its tensors do not have the hash that they were written with")
            return Snapshot(int(state["step"]), load_file(place / TENSORS), state["record"])
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            raise _BrokenError(f"{type(error).__name__}: {str(error)[:100]}") from error

    def _steps(self) -> list[int]:
        """Steps with a checkpoint, the newest first."""
        found = (path.name.removeprefix("step-") for path in self.folder.glob("step-*"))
        return sorted((int(number) for number in found if number.isdigit()), reverse=True)

    def discard(self) -> None:
        """Delete all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.last = None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    """Force a file, or a folder's list of names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- random states ------------------------------------------------------------------------------------------------


def random_tensors() -> dict[str, torch.Tensor]:
    """The states of torch's generators, by name: of the processor and of the device in use."""
    found = {"random/cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        found["random/cuda"] = torch.cuda.get_rng_state()
    return found


def random_record() -> dict[str, Any]:
    """The states of numpy's and Python's global generators: nothing here draws from them, but a library may."""
    kind, keys, *rest = np.random.get_state(legacy=True)
    return {"numpy": [kind, np.asarray(keys).tolist(), *rest], "python": random.getstate()}


def restore_random(snapshot: Snapshot) -> None:
    """Put all generators back to where they were."""
    torch.set_rng_state(snapshot.tensors["random/cpu"])
    if torch.cuda.is_available() and "random/cuda" in snapshot.tensors:
        torch.cuda.set_rng_state(snapshot.tensors["random/cuda"])
    record = snapshot.record["random"]
    kind, keys, *rest = record["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    version, numbers, gauss = record["python"]
    random.setstate((version, tuple(numbers), gauss))
