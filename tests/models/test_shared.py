"""Shared work gives what whole rows give: on several architectures, with adapters, and where nothing can be shared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import MistralConfig, MistralForCausalLM, Qwen2Config, Qwen2ForCausalLM

import tiny
from preceptor.models import answers, shared
from preceptor.models.answers import answer_logits, label_logprobs, option_logprobs, plain_logprobs
from preceptor.models.lean import lean_training
from preceptor.models.load import Loaded, load_causal
from preceptor.models.score import pad
from preceptor.models.shared import can_share, common_beginning, tree_of
from preceptor.models.trunk import Trunk

KINDS = ("llama", "gpt2", "biogpt", "qwen2", "qwen3")
SHOTS = [2, *(7 + (5 * k) % 41 for k in range(39))]
"""What the prompts below begin with: 40 tokens."""
ENDS = [[7, 8, 9], [30, 31, 32, 33, 34, 35, 36], [12], [12, 13]]
LABELS = [[20], [21], [22]]
OWN = [
    [[20, 21, 22, 23], [20, 21, 24, 25], [26, 27], [28]],
    [[40, 41, 42, 43, 44, 45], [41, 42], [40, 46, 47], [40, 41, 48]],
    [[30, 31], [30, 31, 32, 33], [30]],
    [[40], [41], [42], [43]],
]
"""Options that branch early and late, that begin one another, and that are single tokens."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("windows")
    return {kind: tiny.save_model(root / kind, kind, window=96) for kind in KINDS}


@pytest.fixture(params=KINDS)
def loaded(request: pytest.FixtureRequest, models: dict[str, Path]) -> Loaded:
    return load_causal(str(models[request.param]), "float32")


def wrapped(loaded: Loaded, method: str) -> Any:
    torch.manual_seed(3)
    kind = loaded.model.config.model_type
    config: Any = None
    if method == "lora":
        names = {"gpt2": ["c_attn", "c_proj"], "biogpt": ["q_proj", "v_proj"]}
        config = LoraConfig(
            r=4,
            target_modules=names.get(kind, "all-linear"),
            init_lora_weights=False,
            task_type="CAUSAL_LM",
            fan_in_fan_out=kind == "gpt2",
        )
    elif method == "prefix":
        config = PrefixTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM")
    elif method == "prompt":
        config = PromptTuningConfig(num_virtual_tokens=6, task_type="CAUSAL_LM")
    return loaded.model if config is None else get_peft_model(loaded.model, config).eval()


def prompts(beginning: list[int]) -> list[list[int]]:
    return [[*beginning, *end] for end in ENDS]


def counted(loaded: Loaded) -> list[int]:
    """Filled with the tokens, padding included, that each later pass reads."""
    read: list[int] = []
    loaded.model.get_input_embeddings().register_forward_hook(lambda _m, args, _o: read.append(args[0].numel()))
    return read


@pytest.mark.parametrize("method", ["none", "lora", "prefix", "prompt"])
@pytest.mark.parametrize("beginning", [SHOTS, SHOTS[:3]], ids=["shots", "zero-shot"])
def test_shared_and_whole_rows_agree(loaded: Loaded, method: str, beginning: list[int]) -> None:
    model = wrapped(loaded, method)
    rows = prompts(beginning)
    assert can_share(model) == (method in ("none", "lora"))
    found = label_logprobs(model, loaded, rows, LABELS)
    plain = np.stack(plain_logprobs(model, loaded, rows, [LABELS] * len(rows)))
    np.testing.assert_allclose(found, plain, atol=1e-5)
    assert (found.argmax(1) == plain.argmax(1)).all()
    assert found.std() > 0.3  # the answers differ, or the comparison would say little
    pairs = zip(option_logprobs(model, loaded, rows, OWN), plain_logprobs(model, loaded, rows, OWN), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_rows_without_a_mask_are_those_with_one(loaded: Loaded) -> None:
    padded = pad(prompts(SHOTS[:3]), loaded.tokenizer.pad_token_id, loaded.device)
    rows = torch.arange(len(ENDS))
    last = padded.mask.sum(1) - 1
    with torch.inference_mode():
        with_mask = answer_logits(loaded.model, padded, rows, last)
        without = answer_logits(loaded.model, padded, rows, last, masked=False)
    torch.testing.assert_close(without, with_mask, atol=1e-5, rtol=0)


def test_batches_do_not_matter(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    together = option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN)
    monkeypatch.setattr(shared, "batch_tokens", lambda _device: 9)
    for one, other in zip(option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN), together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_what_all_prompts_begin_with_is_read_once(loaded: Loaded) -> None:
    read = counted(loaded)
    label_logprobs(loaded.model, loaded, prompts(SHOTS), LABELS)
    longest = max(map(len, ENDS))
    # The last two ends begin alike, but the first does not: all share the shots alone.
    assert read == [len(SHOTS), len(ENDS) * longest]


def test_an_items_options_are_read_behind_one_prompt(loaded: Loaded) -> None:
    read = counted(loaded)
    option_logprobs(loaded.model, loaded, [SHOTS], [OWN[0]])
    assert read == [len(SHOTS) + 5]  # 20, 21 before 22 and 24, which stand before a last token; and 26
    read.clear()
    plain_logprobs(loaded.model, loaded, [SHOTS], [OWN[0]])
    assert sum(read) > 3 * len(SHOTS)


def test_the_output_layer_sees_needed_positions_alone(loaded: Loaded) -> None:
    shapes = []
    loaded.model.get_output_embeddings().register_forward_hook(lambda _m, args, _o: shapes.append(args[0].shape[:2]))
    label_logprobs(loaded.model, loaded, prompts(SHOTS), LABELS)
    assert shapes == [(1, len(ENDS))]


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_a_sliding_window_is_left_to_whole_rows(kind: str, models: dict[str, Path]) -> None:
    loaded = load_causal(str(models["llama"]), "float32")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    usual = {**size, "vocab_size": loaded.model.config.vocab_size, "num_key_value_heads": 2, "initializer_range": 0.2}
    torch.manual_seed(0)
    make: Callable[[int | None], Any] = {
        "mistral": lambda window: MistralForCausalLM(MistralConfig(**usual, sliding_window=window)),
        "qwen2": lambda window: Qwen2ForCausalLM(
            Qwen2Config(**usual, use_sliding_window=window is not None, sliding_window=window, max_window_layers=1)
        ),
    }[kind]
    assert can_share(make(None).eval())
    model = make(8).eval()
    assert not can_share(model)
    found = label_logprobs(model, loaded, prompts(SHOTS), LABELS)
    alone = np.concatenate([label_logprobs(model, loaded, [row], LABELS) for row in prompts(SHOTS)])
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_kept_hidden_states_stay_in_use(models: dict[str, Path], tmp_path: Path) -> None:
    loaded = load_causal(str(models["llama"]), "float32")
    before = option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN)
    trunk = Trunk(loaded, 1, tmp_path)
    try:
        assert not can_share(loaded.model)
        found = option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN)
    finally:
        trunk.remove()
    for one, other in zip(found, before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_validation_during_lean_training_agrees(models: dict[str, Path]) -> None:
    loaded = load_causal(str(models["llama"]), "float32")
    before = option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN)
    with lean_training(loaded.model, loaded.model):
        found = option_logprobs(loaded.model, loaded, prompts(SHOTS), OWN)
    for one, other in zip(found, before, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_a_common_beginning_leaves_each_prompt_its_last_token() -> None:
    assert common_beginning([]) == common_beginning([[1, 2, 3]]) == 0
    assert common_beginning([[1, 2, 3], [1, 2, 4], [1, 2]]) == 1
    assert common_beginning([[1, 2, 3], [1, 2, 3]]) == 2
    assert common_beginning([[1], [2]]) == 0


def test_a_tree_merges_beginnings_and_knows_a_chain() -> None:
    tree = tree_of([[5, 6, 7], [5, 6, 8], [9, 1]])
    assert tree.tokens == (5, 6, 9)
    assert tree.parents == (-1, 0, -1)
    assert tree.steps[1] == ((-1, 5), (0, 6), (1, 8))
    assert tree.branches
    assert not tree_of([[5, 6, 7], [5], [5, 6]]).branches
    assert tree_of([[5], [6]]).tokens == ()


def test_no_prompts_give_no_rows(models: dict[str, Path]) -> None:
    loaded = load_causal(str(models["llama"]), "float32")
    assert label_logprobs(loaded.model, loaded, [], LABELS).shape == (0, 3)
    assert answers.option_logprobs(loaded.model, loaded, [], []) == []
