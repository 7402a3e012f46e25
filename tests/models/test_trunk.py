"""Kept hidden states: the same answers and gradients as the whole model's, and the lower layers run once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

import tiny
from preceptor.errors import RecipeError
from preceptor.models.layers import layers_of, modules_of_last
from preceptor.models.score import logits_at, pad
from preceptor.models.student import Student
from preceptor.models.trunk import Trunk

ROWS = ([5, 9, 12, 7, 30, 11], [8, 6, 21], [5, 9, 12, 40])


def opened(folder: Path, kind: str) -> Student:
    return tiny.open_tiny(tiny.save_model(folder / kind, kind))


def answers(student: Student, model: Any) -> torch.Tensor:
    padded = pad(ROWS, student.loaded.tokenizer.pad_token_id, student.loaded.device)
    if student.head == "encoder":
        return model(input_ids=padded.ids, attention_mask=padded.mask).logits
    return logits_at(model, padded, torch.tensor([[len(row) - 1] for row in ROWS]))


def with_lora(student: Student) -> Any:
    torch.manual_seed(1)
    config = LoraConfig(
        r=4,
        target_modules=modules_of_last(student.loaded.model, 1),
        init_lora_weights=False,
        fan_in_fan_out="gpt2" in student.loaded.name,
    )
    return get_peft_model(student.loaded.model, config)


def gradients(model: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["llama", "bert"])
def test_answers_and_gradients_are_those_of_the_whole_model(tmp_path: Path, kind: str) -> None:
    student = opened(tmp_path / "model", kind)
    model = with_lora(student)
    plain = answers(student, model)
    plain.logsumexp(-1).sum().backward()
    wanted = gradients(model)
    model.zero_grad()
    trunk = Trunk(student.loaded, 1, tmp_path / "kept")
    for _ in range(2):  # computed, then read
        found = answers(student, model)
        assert torch.allclose(found, plain, atol=1e-5)
        found.logsumexp(-1).sum().backward()
        for name, gradient in gradients(model).items():
            assert torch.allclose(gradient, wanted[name], atol=1e-5), name
        assert len(gradients(model)) == len(wanted) > 0
        model.zero_grad()
    trunk.remove()
    assert torch.equal(answers(student, model), plain)


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_the_lower_layers_run_once_for_a_row_and_never_for_a_second_student(tmp_path: Path, kind: str) -> None:
    student = opened(tmp_path / "model", kind)
    ran: list[int] = []
    _, layers = layers_of(student.loaded.model)
    original = layers[0].forward

    def counted(states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        ran.append(len(states))
        return original(states, *args, **kwargs)

    layers[0].forward = counted
    plain = answers(student, student.model)
    for _ in range(2):
        trunk = Trunk(student.loaded, 1, tmp_path / "kept")
        with torch.inference_mode():
            assert torch.allclose(answers(student, student.model), plain, atol=1e-5)
        assert torch.allclose(answers(student, student.model), plain, atol=1e-5)
        trunk.remove()
    assert sum(ran) == 2 * len(ROWS)  # once without the trunk, once for it


def test_other_weights_have_a_folder_of_their_own(tmp_path: Path) -> None:
    student = opened(tmp_path / "model", "llama")
    Trunk(student.loaded, 1, tmp_path / "kept").remove()
    first = Trunk(student.loaded, 1, tmp_path / "kept")
    first.remove()
    with torch.no_grad():
        layers_of(student.loaded.model)[1][1].mlp.up_proj.weight.add_(1.0)  # a trained layer: does not matter
        same = Trunk(student.loaded, 1, tmp_path / "kept")
        same.remove()
        student.loaded.model.get_input_embeddings().weight.add_(1.0)
    other = Trunk(student.loaded, 1, tmp_path / "kept")
    other.remove()
    assert first.kept.folder == same.kept.folder != other.kept.folder


def test_writing_with_a_cache_uses_the_whole_model(tmp_path: Path) -> None:
    student = opened(tmp_path / "model", "llama")
    ids = torch.tensor([ROWS[0]])
    wanted = student.loaded.model.generate(ids, max_new_tokens=5, do_sample=False)
    trunk = Trunk(student.loaded, 1, tmp_path / "kept")
    assert torch.equal(student.loaded.model.generate(ids, max_new_tokens=5, do_sample=False), wanted)
    trunk.remove()
    assert not list((tmp_path / "kept").rglob("*.bin"))


def test_a_fault_inside_the_model_leaves_no_state_behind(tmp_path: Path) -> None:
    student = opened(tmp_path / "model", "llama")
    plain = answers(student, student.model)
    trunk = Trunk(student.loaded, 1, tmp_path / "kept")
    _, layers = layers_of(student.loaded.model)
    broken = layers[1].register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        answers(student, student.model)
    broken.remove()
    trunk.remove()
    assert torch.equal(answers(student, student.model), plain)


def test_more_layers_than_there_are(tmp_path: Path) -> None:
    student = opened(tmp_path / "model", "llama")
    with pytest.raises(RecipeError, match="last_layers = 3, but the model has 2 layers"):
        Trunk(student.loaded, 3, tmp_path / "kept")
    with pytest.raises(RecipeError, match="no stack of layers"):
        layers_of(torch.nn.Linear(2, 2))


def test_lora_on_the_last_layers_only_is_saved_for_stock_peft(tmp_path: Path) -> None:
    from peft import PeftModel

    student = opened(tmp_path / "model", "gpt2")
    model = with_lora(student)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained
    assert all(".h.1." in name for name in trained)
    wanted = answers(student, model)
    model.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tmp_path / "model" / "gpt2", dtype=torch.float32), tmp_path / "adapter"
    ).eval()
    assert torch.allclose(answers(student, again), wanted, atol=1e-5)
