"""`preceptor convert`: a .bin becomes safetensors with the same tensors, and a program in it is not run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

import tiny
from preceptor.errors import DataError, ModelError
from preceptor.models.convert import convert
from preceptor.models.load import load_causal, load_encoder


def pickled(folder: Path, model: Any, source: Path, *, parts: int = 1, legacy: bool = False) -> Path:
    """`model` as it was saved before safetensors, in one file or several, with the tokenizer of `source`."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    weights = model.state_dict()
    names = (
        [f"pytorch_model-{n + 1:05d}-of-{parts:05d}.bin" for n in range(parts)] if parts > 1 else ["pytorch_model.bin"]
    )
    for number, name in enumerate(names):
        part = {key: tensor for n, (key, tensor) in enumerate(weights.items()) if n % parts == number}
        torch.save(part, folder / name, _use_new_zipfile_serialization=not legacy)
    if parts > 1:
        where = {key: names[n % parts] for n, key in enumerate(weights)}
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder


@pytest.mark.parametrize(("parts", "legacy"), [(1, False), (1, True), (3, False)])
@pytest.mark.parametrize("kind", ["llama", "biogpt", "bert"])
def test_a_converted_model_is_the_same_model(
    kind: str, parts: int, legacy: bool, tmp_path: Path, demo_models: dict[str, Path]
) -> None:
    words = tiny.demo_words()
    source = demo_models.get(kind) or tiny.save_model(tmp_path / kind, kind, words, window=320)
    loaded = load_encoder(str(source), ("a", "b"), "float32") if kind == "bert" else load_causal(str(source), "float32")
    old = pickled(tmp_path / "old", loaded.model, source, parts=parts, legacy=legacy)
    (old / "modeling_own.py").write_text("raise SystemExit")
    count = convert(str(old), tmp_path / "new")
    assert count == len(loaded.model.state_dict())
    new = str(tmp_path / "new")
    again = load_encoder(new, ("a", "b"), "float32") if kind == "bert" else load_causal(new, "float32")
    for name, tensor in loaded.model.state_dict().items():
        assert torch.equal(again.model.state_dict()[name], tensor), name
    if kind != "bert":
        stock = AutoModelForCausalLM.from_pretrained(tmp_path / "new", dtype=torch.float32)
        assert all(torch.equal(stock.state_dict()[name], t) for name, t in loaded.model.state_dict().items())
    assert not list((tmp_path / "new").glob("*.bin*"))
    assert not list((tmp_path / "new").glob("*.py"))
    assert sorted({p.name for p in tmp_path.iterdir()} - {kind}) == ["new", "old"]


class Program:
    """What a pickle can hold: something that is called when it is read."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def folder_with(tmp_path: Path, demo_models: dict[str, Path], content: object) -> Path:
    folder = tmp_path / "model"
    shutil.copytree(demo_models["llama"], folder, ignore=shutil.ignore_patterns("*.safetensors*"))
    torch.save(content, folder / "pytorch_model.bin")
    return folder


def test_a_program_in_a_pickle_is_refused_and_not_run(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    folder = folder_with(tmp_path, demo_models, {"a": torch.zeros(2), "b": Program(tmp_path / "mark")})
    with pytest.raises(ModelError, match="holds more than weights") as caught:
        convert(str(folder), tmp_path / "new")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "mark").exists()
    assert not (tmp_path / "new").exists()


def test_what_cannot_be_converted_is_one_sentence(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    new = tmp_path / "new"
    with pytest.raises(ModelError, match="has safetensors and needs no conversion"):
        convert(str(demo_models["llama"]), new)
    folder = folder_with(tmp_path, demo_models, {"epoch": 3})
    with pytest.raises(ModelError, match="is no table of weights by name"):
        convert(str(folder), new)
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 not a zip file")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
        convert(str(folder), new)
    (folder / "pytorch_model.bin").unlink()
    with pytest.raises(ModelError, match=r"has neither pytorch_model\.bin nor"):
        convert(str(folder), new)
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../../part.bin"}}')
    with pytest.raises(ModelError, match=r"lacks part\.bin"):
        convert(str(folder), new)
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"has no config\.json"):
        convert(str(folder), new)
    with pytest.raises(ModelError, match="There is no model folder /not/there"):
        convert("/not/there", new)
    assert not new.exists()
    new.mkdir()
    (new / "mine.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty"):
        convert(str(folder), new)
    assert (new / "mine.txt").read_text() == "mine"


def test_a_model_without_safetensors_names_the_command(tmp_path: Path, demo_models: dict[str, Path]) -> None:
    model = load_causal(str(demo_models["llama"]), "float32").model
    old = pickled(tmp_path / "old", model, demo_models["llama"])
    with pytest.raises(ModelError) as caught:
        load_causal(str(old))
    assert f"preceptor convert {old} --out FOLDER" in caught.value.hint
