"""`preceptor export model`: stock transformers reads what it writes, and it says what model and adapter say apart."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from preceptor import cli
from preceptor.config import TrainSettings
from preceptor.models.student import Probe, save
from preceptor.store.stages import MARK, made_by, write_json
from preceptor.train.batches import make_items
from preceptor.train.methods import attach
from preceptor.train.objectives import fit

METHODS = {
    "lora": {"method": "lora", "rank": 2, "learning_rate": 5e-2},
    "dora": {"method": "dora", "rank": 2, "learning_rate": 5e-2},
    "ia3": {"method": "ia3", "learning_rate": 5e-1},
}


def trained(base: Path, folder: Path, **keys: object) -> Path:
    """Weights of a student that two steps have moved."""
    given = {"batch_size": 4, "max_length": 48, "select": "last", "dtype": "float32", **keys}
    settings = TrainSettings.model_validate(given)
    opened = tiny.open_tiny(base, max_length=48, reserve=8 if settings.method == "prefix" else 0)
    items = make_items(opened, tiny.TASK, tiny.examples(8))
    prompts = [list(item.prompt) for item in items[:3]]
    before = opened.logprobs(prompts).tolist()
    student = attach(opened, settings)
    fit(student, items, items, settings, steps=2, seed=1)
    folder.mkdir()
    save(student, folder, Probe(prompts, before, student.logprobs(prompts).tolist()))
    write_json(folder / MARK, {"identity": f"of {folder.name}"})
    return folder


def export(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["preceptor", "export", "model", *map(str, words)])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("method", list(METHODS))
def test_the_folder_answers_as_the_trained_student(
    method: str, tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = trained(tiny_models["llama"], tmp_path / "weights", **METHODS[method])
    assert export(monkeypatch, weights, "--out", tmp_path / "model") == 0
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", use_safetensors=True)
    base = AutoModelForCausalLM.from_pretrained(tiny_models["llama"], use_safetensors=True)
    ids = AutoTokenizer.from_pretrained(tmp_path / "model")("pain fell answer:", return_tensors="pt").input_ids
    with torch.no_grad():
        untrained = base(ids).logits
        apart = PeftModel.from_pretrained(base, weights)(ids).logits
        found = plain(ids).logits
    torch.testing.assert_close(found, apart, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(found, untrained, atol=1e-3)
    assert made_by(str(tmp_path / "model")) == {"made_by": "of weights"}  # other weights would be another student
    assert "not for medical advice" in (tmp_path / "model" / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_what_cannot_be_merged_is_one_sentence_and_leaves_nothing(
    tiny_models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    prefix = trained(tiny_models["llama"], tmp_path / "prefix", method="prefix", virtual_tokens=4, learning_rate=1e-2)
    encoder = trained(tiny_models["bert"], tmp_path / "encoder", **METHODS["lora"])
    empty = tmp_path / "empty"
    empty.mkdir()
    for weights, said in (
        (prefix, "are trained tokens"),
        (encoder, "belong to an encoder"),
        (empty, "no trained adapter"),
    ):
        assert export(monkeypatch, weights, "--out", tmp_path / "model") == 1
        assert said in capsys.readouterr().err
        assert not (tmp_path / "model").exists()
    good = trained(tiny_models["llama"], tmp_path / "weights", **METHODS["lora"])
    (empty / "mine.txt").write_text("mine", encoding="utf-8")
    assert export(monkeypatch, good, "--out", empty) == 1
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in empty.iterdir()] == ["mine.txt"]
