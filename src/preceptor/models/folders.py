"""Which names of models are folders on this machine, and what is said of one that is not there. Loads nothing."""

from __future__ import annotations

from pathlib import Path

from preceptor.errors import ModelError
from preceptor.models.builtin import PREFIX

RUNS = "runs"
"""Folder in which runs lie by default: a model below it was made by one, or is yet to be."""


def folder_of(name: str) -> Path | None:
    """The folder with a model that a name means, relative to the working directory; None for a built-in or a hub name.

    Raises `ModelError` where the folder is not there or holds no model.
    """
    if name.startswith(PREFIX):
        return None
    path = _expanded(name)
    if path.exists():
        if not (path / "config.json").is_file():
            raise ModelError(
                f"{path} is not a model folder: it has no config.json.", "Name a folder saved by transformers."
            )
        return path
    if _means_folder(name):
        raise ModelError(f"There is no model folder {path}{_looked_for(path)}.", _hint(name))
    return None


def _expanded(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # a ~ that means nobody
        return Path(name)


def _means_folder(name: str) -> bool:
    """Whether a name is taken for a folder's. One like `runs/tuned` could be a hub name, but is none in a recipe."""
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or _below_a_folder(name)


def _below_a_folder(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return bool(slash) and (first == RUNS or Path(first).is_dir())


def _looked_for(path: Path) -> str:
    return "" if path.is_absolute() else f" in {Path.cwd()}"


def _hint(name: str) -> str:
    first = name.partition("/")[0]
    maybe = f", or a hub name where there is no folder {first}" if name.count("/") == 1 and first != RUNS else ""
    return (
        "If a command makes it, give that command first, in the same folder: the head of the recipe says which. Or "
        f"name another folder, or a built-in model{maybe}."
    )
