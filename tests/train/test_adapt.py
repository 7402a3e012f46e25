"""Continued training: windows hold every token once, what is learnt is the text, what is merged is what was learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from torch.nn import functional
from transformers import AutoModelForCausalLM, AutoTokenizer

import tiny
from preceptor.config import TrainSettings
from preceptor.errors import InactiveAdapterError, ModelError, RecipeError
from preceptor.models.documents import text_ids
from preceptor.store.stages import read_json
from preceptor.train.adapt import adapt, merge, open_reader, pack, window_loss
from preceptor.train.cell import FIT

TEXTS = [" ".join(tiny.WORDS[(7 * i + k) % 40] for k in range(6 + i % 9)) for i in range(40)]
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 4, "learning_rate": 2e-2},
    "full": {"method": "full", "learning_rate": 5e-3},
}


def settings(method: str = "lora", **keys: Any) -> TrainSettings:
    return TrainSettings.model_validate({"steps": 8, "batch_size": 4, "dtype": "float32", **METHODS[method], **keys})


def train(folder: Path, model: Path, chosen: TrainSettings, length: int = 16, seed: int = 1) -> dict[str, Any]:
    folder.mkdir()
    adapt(folder, str(model), chosen, TEXTS[8:], TEXTS[:8], length=length, seed=seed)
    return read_json(folder / FIT)


def make(folder: Path, trained: Path, model: Path, chosen: TrainSettings) -> None:
    folder.mkdir()
    merge(trained, folder, str(model), chosen, length=16, seed=1, made={"documents": 32})


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("length", [5, 16, 1000])
def test_windows_hold_every_token_once_with_end_of_text_between_documents(kind: str, length: int) -> None:
    tokenizer = tiny.tokenizer(kind)
    end, begin = tokenizer.eos_token_id, [tokenizer.bos_token_id] if kind == "llama" else []
    windows = pack(tokenizer, TEXTS[:7], length)
    wanted = [token for window in windows for token in (*window.prompt[1:], *window.target)]
    assert wanted == [t for ids in text_ids(tokenizer, TEXTS[:7]) for t in (*begin, *ids, end)]
    read = [token for window in windows for token in window.prompt]
    assert read == [end, *wanted[:-1]]
    assert {window.length for window in windows[:-1]} <= {length}
    assert 1 <= windows[-1].length <= length


def test_the_loss_of_windows_is_that_of_all_their_tokens(tiny_models: dict[str, Path]) -> None:
    reader = open_reader(str(tiny_models["llama"]), length=16, dtype="float32", seed=0)
    windows = pack(reader.loaded.tokenizer, TEXTS[:5], 16)
    batch = [windows[0], windows[-1]]
    assert windows[-1].length < 16
    expected = 0.0
    for window in batch:
        with torch.inference_mode():
            logits = reader.model(input_ids=torch.tensor([window.prompt])).logits[0]
        expected += float(
            functional.cross_entropy(logits, torch.tensor([*window.prompt[1:], *window.target]), reduction="sum")
        )
    assert float(window_loss(reader, batch).detach()) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
@pytest.mark.parametrize("method", list(METHODS))
def test_the_merged_model_is_the_trained_one(
    method: str, kind: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    """By stock peft and transformers; and it has learnt something."""
    fit = train(tmp_path / "train", tiny_models[kind], settings(method))
    make(tmp_path / "model", tmp_path / "train", tiny_models[kind], settings(method))
    assert fit["checks"][-1]["loss"] < fit["checks"][0]["loss"]
    assert fit["losses"][-1] < fit["losses"][0]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids = torch.tensor([AutoTokenizer.from_pretrained(tmp_path / "model")(TEXTS[3])["input_ids"]])
    base = AutoModelForCausalLM.from_pretrained(tiny_models[kind]).eval()
    with torch.inference_mode():
        untrained = base(input_ids=ids).logits
        if method == "lora":
            apart = peft.PeftModel.from_pretrained(base, tmp_path / "train").eval()
        else:
            apart = AutoModelForCausalLM.from_pretrained(tmp_path / "train").eval()
        torch.testing.assert_close(merged(input_ids=ids).logits, apart(input_ids=ids).logits, rtol=1e-4, atol=1e-4)
        assert (merged(input_ids=ids).logits - untrained).abs().max() > 0.1
    assert not list((tmp_path / "model").glob("adapter*"))
    assert read_json(tmp_path / "model" / "adapted.json")["model"] == str(tiny_models[kind])


def test_in_bfloat16_the_adapter_is_merged_in_float32(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    chosen = settings(dtype="bfloat16", learning_rate=1e-3)  # steps that bfloat16 weights would round away in part
    train(tmp_path / "train", tiny_models["llama"], chosen)
    make(tmp_path / "model", tmp_path / "train", tiny_models["llama"], chosen)
    base = AutoModelForCausalLM.from_pretrained(tiny_models["llama"])
    exact = peft.PeftModel.from_pretrained(base, tmp_path / "train", autocast_adapter_dtype=False).merge_and_unload()
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    for (name, found), expected in zip(merged.named_parameters(), exact.parameters(), strict=True):
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, msg=name)


def test_training_is_the_same_twice_and_other_with_another_seed(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    fits = [train(tmp_path / str(i), tiny_models["llama"], settings(), seed=seed) for i, seed in enumerate((1, 1, 2))]
    assert fits[0]["losses"] == fits[1]["losses"] != fits[2]["losses"]


def test_what_training_did_is_counted(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    fit = train(tmp_path / "train", tiny_models["llama"], settings(steps=3, batch_size=2))
    windows = pack(tiny.tokenizer("llama"), TEXTS[8:], 16)
    assert (fit["windows"], fit["pass_tokens"]) == (len(windows), sum(window.length for window in windows))
    assert fit["tokens"] == 3 * 2 * 16
    passes = train(tmp_path / "passes", tiny_models["llama"], settings(steps=None, epochs=1))
    assert passes["tokens"] == passes["pass_tokens"]


def test_with_select_last_validation_is_read_once(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    fit = train(tmp_path / "train", tiny_models["llama"], settings(select="last"))
    assert [check["step"] for check in fit["checks"]] == [8] == [fit["selected"]]


def test_an_encoder_and_a_window_that_is_too_long_are_refused(tiny_models: dict[str, Path]) -> None:
    with pytest.raises(RecipeError, match="is an encoder; continued training on text needs a causal language model"):
        open_reader(str(tiny_models["bert"]), length=16, dtype="float32", seed=0)
    with pytest.raises(RecipeError, match=r"adapt\.length = 65 is more than .* can see, 64 tokens") as caught:
        open_reader(str(tiny_models["llama"]), length=65, dtype="float32", seed=0)
    assert "64 or less" in caught.value.hint
    open_reader(str(tiny_models["llama"]), length=64, dtype="float32", seed=0)


def test_weights_that_change_nothing_are_refused(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    train(tmp_path / "train", tiny_models["llama"], settings(learning_rate=1e-30))
    with pytest.raises(InactiveAdapterError):
        make(tmp_path / "model", tmp_path / "train", tiny_models["llama"], settings())


def test_a_merge_that_goes_wrong_is_seen(
    tiny_models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tmp_path / "train", tiny_models["llama"], settings())
    monkeypatch.setattr(peft.tuners.lora.Linear, "merge", lambda self, *a, **k: None)
    with pytest.raises(ModelError, match="with its adapter merged answers differently from the two apart"):
        make(tmp_path / "model", tmp_path / "train", tiny_models["llama"], settings())


def test_probes_are_whole_for_the_shortest_texts(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    adapt(tmp_path / "train", str(tiny_models["gpt2"]), settings(), TEXTS, ["pain", "pain fell"], length=16, seed=1)
    probe = read_json(tmp_path / "train" / "probe.json")
    assert all(probe["prompts"])
    assert all(probe["targets"])
    assert np.isfinite(probe["after"]).all()
