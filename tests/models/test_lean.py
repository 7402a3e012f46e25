"""The lean steps: the same values and gradients as the stock model's, and nothing left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft.tuners.lora.dora import DoraLinearLayer
from torch.nn import functional

import tiny
from preceptor.config import TrainSettings
from preceptor.models import lean as module
from preceptor.models.lean import ATTENTION, lean
from preceptor.models.score import logits_at, pad
from preceptor.models.student import Student
from preceptor.train.methods import attach

ROWS = ([5, 9, 12, 7, 30, 11, 22], [8, 6, 21], [5, 9, 12, 40, 41])


@pytest.fixture(autouse=True, params=[3, 128], ids=["blocks", "rows-together"])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks of queries even in the short rows of these tests, and whole rows, two at a time."""
    monkeypatch.setattr(module, "BLOCK", request.param)
    length = max(map(len, ROWS))
    monkeypatch.setattr(module, "SCORES", 2 * 4 * length * (length + 4))


def opened(folder: Path, kind: str, **keys: Any) -> Student:
    student = tiny.open_tiny(tiny.save_model(folder / kind, kind), reserve=keys.get("virtual_tokens", 0))
    torch.manual_seed(3)
    attached = attach(student, TrainSettings(rank=3, dtype="float32", **keys))
    with torch.no_grad():
        for name, weight in attached.model.named_parameters():
            if "lora_B" in name:  # zero at first, and so would be half of all gradients
                weight.normal_(std=0.3)
            if "magnitude" in name:  # no longer the norm itself
                weight.mul_(torch.rand_like(weight) + 0.5)
    return attached


def loss_and_gradients(student: Student) -> tuple[float, dict[str, torch.Tensor]]:
    padded = pad(ROWS, student.loaded.tokenizer.pad_token_id, student.loaded.device)
    if student.head == "encoder":
        logits = student.model(input_ids=padded.ids, attention_mask=padded.mask).logits
    else:
        logits = logits_at(student.model, padded, torch.tensor([[len(row) - 1] for row in ROWS]))
    student.model.zero_grad()
    loss = logits.logsumexp(-1).square().sum()
    loss.backward()
    found = {n: p.grad.clone() for n, p in student.model.named_parameters() if p.grad is not None}
    return loss.item(), found


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
@pytest.mark.parametrize("method", ["lora", "dora", "full", "prefix"])
def test_losses_and_gradients_are_those_of_the_stock_model(tmp_path: Path, kind: str, method: str) -> None:
    keys = {"virtual_tokens": 4, "initialisation": "zero"} if method == "prefix" else {}
    student = opened(tmp_path, kind, method=method, **keys)
    loss, wanted = loss_and_gradients(student)
    student.loaded.model.set_attn_implementation(ATTENTION)
    with lean(student.model) as count:
        found, gradients = loss_and_gradients(student)
    assert found == pytest.approx(loss, rel=1e-5)
    assert gradients.keys() == wanted.keys()
    largest = max(float(gradient.abs().max()) for gradient in wanted.values())
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-3, atol=1e-5 * largest, msg=name)
    if kind == "llama":
        # 2 layers: 7 linear modules with LoRA, 2 norms and an MLP each, and the last norm
        assert count == (7 if method in ("lora", "dora") else 0) * 2 + 2 * 2 + 1 + 2


def test_doras_norms_are_made_again_when_a_step_has_changed_the_weights(tmp_path: Path) -> None:
    student = opened(tmp_path, "llama", method="dora")
    with lean(student.model):
        before, _ = loss_and_gradients(student)
        same, _ = loss_and_gradients(student)
        with torch.no_grad():
            for name, weight in student.model.named_parameters():
                if "lora_" in name:
                    weight.add_(0.3 * torch.randn_like(weight))
        found, _ = loss_and_gradients(student)
    wanted, _ = loss_and_gradients(student)
    assert same == before
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found != pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_of_adapted_rows_are_those_of_peft(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weight, down, up = (torch.randn(shape, dtype=dtype) for shape in ((40, 30), (4, 30), (40, 4)))
    norms = module._RowNorms(0.5)
    layer = DoraLinearLayer(fan_in_fan_out=False)
    start = norms.of(weight, down, torch.zeros_like(up))
    assert start.dtype == dtype
    torch.testing.assert_close(start, layer.get_weight_norm(weight, 0 * weight, 0.5), rtol=1e-6, atol=0)  # a share of 1
    exact = torch.linalg.norm(weight.double() + 0.5 * up.double() @ down.double(), dim=1)
    spacing = 2**-8 if dtype == torch.bfloat16 else 1e-6
    torch.testing.assert_close(norms.of(weight, down, up).double(), exact, rtol=spacing, atol=0)
    torch.testing.assert_close(layer.get_weight_norm(weight, up @ down, 0.5).double(), exact, rtol=2 * spacing, atol=0)


def test_gradients_of_dora_are_those_of_finite_differences() -> None:
    torch.manual_seed(0)
    shapes = {"x": (2, 3, 5), "down": (2, 5), "up": (4, 2), "share": (4,)}
    x, down, up, share = (torch.randn(s, dtype=torch.float64, requires_grad=True) for s in shapes.values())
    weight, bias = torch.randn(4, 5, dtype=torch.float64), torch.randn(4, dtype=torch.float64)

    def step(*given: torch.Tensor) -> Any:
        x, down, up, share = given
        return module._Dora.apply(x, weight, bias, down, up, share, 0.7)

    torch.testing.assert_close(step(x, down, up, share), x @ ((weight + 0.7 * up @ down) * share[:, None]).T + bias)
    assert torch.autograd.gradcheck(step, (x, down, up, share))


def test_afterwards_the_model_is_the_stock_one(tmp_path: Path) -> None:
    student = opened(tmp_path, "llama", method="lora")
    before = {name: part.forward.__func__ for name, part in student.model.named_modules()}
    with pytest.raises(RuntimeError, match="in between"), lean(student.model):
        raise RuntimeError("in between")
    assert {name: part.forward.__func__ for name, part in student.model.named_modules()} == before


def test_what_is_more_than_a_plain_adapter_is_left_alone(tmp_path: Path) -> None:
    student = opened(tmp_path, "llama", method="lora", dropout=0.5)
    with lean(student.model) as count:
        assert count == 2 * 2 + 1 + 2


def test_an_adapter_that_is_switched_off_stays_off(tmp_path: Path) -> None:
    student = opened(tmp_path, "llama", method="lora")
    with student.model.disable_adapter():
        loss, _ = loss_and_gradients_without(student)
        with lean(student.model):
            found, _ = loss_and_gradients_without(student)
    assert found == pytest.approx(loss, rel=1e-5)


def loss_and_gradients_without(student: Student) -> tuple[float, None]:
    with torch.no_grad():
        padded = pad(ROWS, student.loaded.tokenizer.pad_token_id, student.loaded.device)
        logits = logits_at(student.model, padded, torch.tensor([[len(row) - 1] for row in ROWS]))
    return float(logits.logsumexp(-1).square().sum()), None


@pytest.mark.parametrize(("heads", "groups"), [(4, 4), (6, 2)])
@pytest.mark.parametrize("causal", [True, False])
def test_gradients_of_attention_beside_torchs_own(heads: int, groups: int, causal: bool) -> None:
    torch.manual_seed(0)
    asked, known, width = 7, 9, 5
    query = torch.randn(2, heads, asked, width, dtype=torch.float64, requires_grad=True)
    key, value = (torch.randn(2, groups, known, width, dtype=torch.float64, requires_grad=True) for _ in range(2))
    later = torch.ones(asked, known, dtype=torch.bool).tril(known - asked)
    allowed = (later if causal else torch.ones_like(later)).expand(2, 1, asked, known).clone()
    allowed[1, :, :, 0] = False
    mask = torch.zeros(allowed.shape, dtype=torch.float64).masked_fill(~allowed, -1e9)
    wanted = functional.scaled_dot_product_attention(query, key, value, mask, enable_gqa=True)
    found = module._Attention.apply(query, key, value, mask, width**-0.5, causal)
    torch.testing.assert_close(found, wanted)
    weights = torch.randn_like(wanted)
    for one, other in zip(
        torch.autograd.grad((found * weights).sum(), [query, key, value]),
        torch.autograd.grad((wanted * weights).sum(), [query, key, value]),
        strict=True,
    ):
        torch.testing.assert_close(one, other)
