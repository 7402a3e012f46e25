"""Models that exist only as `pytorch_model.bin`, written once as safetensors.

A `.bin` is a pickle, which can hold a program. It is read by torch with `weights_only`, which builds tensors and plain
containers and refuses everything else, and only here: what is converted is loaded like any other model afterwards.
"""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from preceptor.errors import ModelError
from preceptor.models.folders import folder_of
from preceptor.store.stages import new_folder

PICKLE = "pytorch_model.bin"
INDEX = f"{PICKLE}.index.json"
BESIDE = ("*.json", "*.txt", "*.model", "*.jinja", "README*", "LICENSE*", "LICENCE*", "NOTICE*")
"""Files that go along: configuration, tokenizer, words on origin and licence. No Python."""


def convert(source: str, target: Path) -> int:
    """Write the model `source`, a folder or a hub name, with safetensors in place of its `.bin` into the new folder
    `target`. Returns the number of tensors; they keep their names, types and values.

    Tensors that share memory are written once for each of their names, so that a loader finds all of them. Raises
    `ModelError` for what is no model, for a folder with safetensors, and for a `.bin` that holds anything but weights,
    and `DataError` where `target` holds something; then nothing is left behind.
    """
    with new_folder(target) as made:
        folder = folder_of(source) or _from_hub(source)
        weights = _weights(folder)
        save_torch_state_dict(_apart(weights), made, metadata={"format": "pt"})
        for file in _beside(folder):
            shutil.copyfile(file, made / file.name)
    return len(weights)


def _from_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=[*BESIDE, "pytorch_model*.bin"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ModelError(
            f"The model {name} is no folder here, and the hub did not give it: {why}", "Check the path or the name."
        ) from error


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    if any(folder.glob("*.safetensors*")):
        raise ModelError(f"{folder} has safetensors and needs no conversion.", "Use it as it is.")
    if not any((folder / name).is_file() for name in (PICKLE, INDEX)):
        raise ModelError(f"{folder} has neither {PICKLE} nor {INDEX}.", "Name a folder with one of them.")
    found: dict[str, torch.Tensor] = {}
    for file in _files(folder):
        found |= _read(file)
    return found


def _files(folder: Path) -> list[Path]:
    if (folder / PICKLE).is_file():
        return [folder / PICKLE]
    try:
        parts = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{folder / INDEX} does not say where the weights are.", "Get it anew.") from error
    # A name with a path in it would read files elsewhere.
    files = [folder / Path(str(part)).name for part in sorted(parts)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(f"{folder} lacks {missing[0]}, which {INDEX} names.", "Get it anew.")
    return files


def _read(file: Path) -> dict[str, torch.Tensor]:
    try:
        # Mapped where the format allows it: 7 billion weights need not fit into memory twice.
        loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{file} is not read: it holds more than weights, or is damaged.",
            "What else a .bin holds could run as a program. Look for the model as safetensors.",
        ) from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, AttributeError) as error:
        raise ModelError(f"{file} cannot be read as weights: {(str(error).splitlines() or [''])[0][:200]}.") from error
    if not isinstance(loaded, dict) or not all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor) for name, tensor in loaded.items()
    ):
        raise ModelError(f"{file} is no table of weights by name.", "It may be a checkpoint of a trainer.")
    return dict(loaded)


def _apart(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, none of which shares memory with another."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in weights.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def _beside(folder: Path) -> Iterator[Path]:
    for pattern in BESIDE:
        yield from (file for file in sorted(folder.glob(pattern)) if file.is_file() and not file.name.endswith(INDEX))
