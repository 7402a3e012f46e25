"""Loading models: what cannot be loaded is one sentence, and nothing but safetensors is ever read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast, RobertaConfig, RobertaForSequenceClassification

import tiny
from preceptor.errors import ModelError
from preceptor.models import load


@pytest.fixture
def folder(tiny_models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the tiny LLaMA that a test may spoil."""
    return Path(shutil.copytree(tiny_models["llama"], tmp_path / "llama"))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_folder_loads_with_its_own_weights(kind: str, tiny_models: dict[str, Path]) -> None:
    loaded = load.load_causal(str(tiny_models[kind]), "float32")
    saved = load_file(tiny_models[kind] / "model.safetensors")
    state = loaded.model.state_dict()
    assert saved
    assert all(torch.equal(state[name], value) for name, value in saved.items())
    assert not loaded.model.training
    assert loaded.window == tiny.WINDOW
    assert loaded.dtype == torch.float32 == next(loaded.model.parameters()).dtype


def test_bfloat16_is_what_was_asked_for(tiny_models: dict[str, Path]) -> None:
    loaded = load.load_causal(str(tiny_models["llama"]), "bfloat16")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}


def test_a_tokenizer_without_padding_gets_a_token_for_it(folder: Path) -> None:
    inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>").save_pretrained(folder)
    loaded = load.load_causal(str(folder), "float32")
    assert loaded.tokenizer.pad_token == "</s>"
    assert loaded.model.config.pad_token_id == loaded.tokenizer.pad_token_id


@pytest.mark.parametrize(
    ("tokens", "problem"),
    [({}, "no padding, end-of-text or unknown token"), ({"unk_token": "<unk>"}, "no end-of-text token")],
)
def test_a_tokenizer_without_needed_tokens_is_refused(folder: Path, tokens: dict[str, str], problem: str) -> None:
    inner = Tokenizer.from_file(str(folder / "tokenizer.json"))
    PreTrainedTokenizerFast(tokenizer_object=inner, **tokens).save_pretrained(folder)
    with pytest.raises(ModelError, match=problem):
        load.load_causal(str(folder))


@pytest.mark.parametrize("name", ["/no/such/folder", "./nothing", "~/no-such-model-folder", "a/b/c"])
def test_a_missing_folder_is_named_and_the_hub_is_not_asked(name: str) -> None:
    with pytest.raises(ModelError, match=r"^There is no model folder .*") as caught:
        load.load_causal(name)
    assert Path(name).expanduser().name in caught.value.message


def test_a_name_below_a_folder_here_or_below_runs_is_no_hub_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "models").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("runs/tuned", "models/tuned", "../tuned"):
        with pytest.raises(
            ModelError, match=rf"^There is no model folder {name} in {tmp_path}\. If a command"
        ) as caught:
            load.source_of(name)
        assert ("a hub name where there is no folder models" in caught.value.hint) == name.startswith("models")
    assert load.source_of("other/tuned") == "other/tuned"
    with pytest.raises(ModelError, match=r"^There is no model folder ~nobody-of-that-name/x"):
        load.source_of("~nobody-of-that-name/x")


def test_a_hub_name_that_cannot_be_reached_is_one_sentence() -> None:
    with pytest.raises(ModelError, match=r"^The model nobody/nothing cannot be loaded: .*"):
        load.load_causal("nobody/nothing")


def test_a_folder_without_config_is_no_model(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(ModelError, match=r"is not a model folder: it has no config\.json"):
        load.load_causal(str(folder))


class Trap:
    """Unpickled, it leaves a file behind."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def test_pickled_weights_are_refused_unread(folder: Path, tmp_path: Path) -> None:
    torch.save(
        {**load_file(folder / "model.safetensors"), "trap": Trap(tmp_path / "ran")}, folder / "pytorch_model.bin"
    )
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load.load_causal(str(folder))
    assert not (tmp_path / "ran").exists()


def test_a_models_own_code_is_refused_unrun(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config.update(model_type="own", auto_map={"AutoConfig": "own.Config", "AutoModelForCausalLM": "own.Model"})
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="contains custom code"):
        load.load_causal(str(folder))
    assert not (tmp_path / "ran").exists()


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:400])


def lose_one_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.0.mlp.down_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def change_width(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 48}))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (cut_short, "header"),
        (lose_one_weight, r"1 of its weights .* first model\.layers\.0\.mlp\.down_proj\.weight"),
        (change_width, "6 of its weights .* another shape"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a valid JSON"),
        (lambda folder: (folder / "config.json").write_text("[]"), "mapping"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "nothing"}'), "nothing"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "line 1 column 2"),
        (
            lambda folder: (folder / "tokenizer.json").write_text('{"added_tokens": [], "model": {"type": "X"}}'),
            "did not match",
        ),
    ],
    ids=[
        "cut-short",
        "weight-lost",
        "width",
        "config-no-json",
        "config-list",
        "unknown-type",
        "tokenizer",
        "tokenizer-model",
    ],
)
def test_a_spoilt_folder_is_one_sentence(folder: Path, spoil: Callable[[Path], object], problem: str) -> None:
    spoil(folder)
    with pytest.raises(ModelError, match=f"^The model {folder} cannot be loaded: .*{problem}") as caught:
        load.load_causal(str(folder))
    assert "\n" not in caught.value.message


def test_an_encoder_gets_a_head_for_the_labels_drawn_from_the_seed(tiny_models: dict[str, Path]) -> None:
    heads = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        loaded = load.load_encoder(str(tiny_models["bert"]), ("good", "bad"), "float32")
        heads.append(loaded.model.classifier.weight)
        body = load_file(tiny_models["bert"] / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
        assert torch.equal(loaded.model.bert.embeddings.word_embeddings.weight, body)
        assert loaded.model.config.id2label == {0: "good", 1: "bad"}
    assert heads[0].shape == (2, 32)
    assert torch.equal(heads[0], heads[1])
    assert not torch.equal(heads[0], heads[2])


def test_an_encoder_whose_body_is_missing_is_refused(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_models["bert"], tmp_path / "bert"))
    weights = load_file(folder / "model.safetensors")
    save_file({k: v for k, v in weights.items() if "layer.1." not in k}, folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"16 of its weights are missing .* bert\.encoder\.layer\.1\."):
        load.load_encoder(str(folder), ("yes", "no"))


def test_the_window_of_roberta_leaves_out_positions_that_do_not_exist(tmp_path: Path) -> None:
    words = tiny.tokenizer("bert")
    words.save_pretrained(tmp_path)
    config = RobertaConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        pad_token_id=0,
        num_labels=2,
    )
    RobertaForSequenceClassification(config).save_pretrained(tmp_path)
    loaded = load.load_encoder(str(tmp_path), ("yes", "no"), "float32")
    loaded.model(input_ids=torch.full((1, loaded.window), 7))
    with pytest.raises(RuntimeError, match="out of bounds"):
        loaded.model(input_ids=torch.full((1, loaded.window + 1), 7))


def test_the_head_is_read_from_the_config(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    found = {kind: load.head_of(str(folder), "auto") for kind, folder in tiny_models.items()}
    assert found == {"llama": "causal", "gpt2": "causal", "bert": "encoder"}
    assert load.head_of("builtin:minilm-l6", "auto") == "encoder"
    assert load.head_of("builtin:smollm2-135m-instruct", "auto") == "causal"
    assert load.head_of("not looked at", "encoder") == "encoder"
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ModelError, match="is a t5, which is neither") as caught:
        load.head_of(str(tmp_path), "auto")
    assert 'head = "causal" or "encoder"' in caught.value.hint


@pytest.fixture
def unpacking(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Reading the real GGUF takes half a minute; here its place is taken by one small file. Returns the folders."""
    folders: list[Path] = []

    def unpack(_folder: Path, _file: str, target: Path) -> None:
        folders.append(target)
        (target / "model.safetensors").write_text("weights")
        if len(folders) == 1:
            raise RuntimeError("no memory")
        (target / "config.json").write_text("{}")

    monkeypatch.setattr(load, "_unpack", unpack)
    monkeypatch.setenv("PRECEPTOR_CACHE", str(tmp_path / "cache"))
    return folders


def test_the_gguf_is_unpacked_once_and_never_half(unpacking: list[Path]) -> None:
    with pytest.raises(RuntimeError):
        load.source_of("builtin:smollm2-135m-instruct")
    assert not list(load.cache_folder().iterdir())
    found = [Path(load.source_of("builtin:smollm2-135m-instruct")) for _ in range(2)]
    assert len(unpacking) == 2
    assert found[0] == found[1]
    assert sorted(p.name for p in found[0].iterdir()) == ["config.json", "model.safetensors"]
    assert [p.name for p in load.cache_folder().iterdir()] == [found[0].name]
