"""Methods by architectures: each cell trains, saves, is read by stock peft, writes with beams and scores, or says no.

After reloading by `PeftModel.from_pretrained` the logits are those in memory to the last bit (float32), and they are
not those from before the training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, GenerationConfig

import tiny
from preceptor.config import EvaluateSettings, StudentSettings, TrainSettings
from preceptor.data.base import Task, marked, render_all
from preceptor.errors import MissingPackageError, RecipeError
from preceptor.evaluate.predict import predict
from preceptor.models.builtin import locate
from preceptor.models.generate import decode
from preceptor.models.score import pad
from preceptor.models.student import Probe, Student, restore, save
from preceptor.records import Example
from preceptor.train.batches import make_items
from preceptor.train.cell import open_for
from preceptor.train.methods import attach
from preceptor.train.objectives import fit

KINDS = ("biogpt", "llama", "gpt2", "qwen2", "qwen3", "bert")
RANK = {"rank": 2, "learning_rate": 1e-2}
TOKENS = {"virtual_tokens": 5, "learning_rate": 1e-2, "initial_text": "answer the question with yes or no"}
METHODS: dict[str, dict[str, Any]] = {
    "lora": {"method": "lora", **RANK},
    "rslora": {"method": "rslora", **RANK},
    "dora": {"method": "dora", **RANK},
    "prefix-random": {"method": "prefix", "initialisation": "random", **TOKENS},
    "prefix-projected": {"method": "prefix", "initialisation": "random", "projection": True, **TOKENS},
    "prefix-zero": {"method": "prefix", "initialisation": "zero", **TOKENS},
    "prefix-text": {"method": "prefix", "initialisation": "text", **TOKENS},
    "prompt-text": {"method": "prompt", "initialisation": "text", **TOKENS},
    "prompt-random": {"method": "prompt", "initialisation": "random", **TOKENS},
    "before-question": {"method": "prompt", "prompt_position": "before-question", **TOKENS},
    "before-answer": {"method": "prompt", "prompt_position": "before-answer", "initialisation": "random", **TOKENS},
    "p-tuning": {"method": "p-tuning", **TOKENS},
    "ia3": {"method": "ia3", "learning_rate": 1e-1},
    "full": {"method": "full", "learning_rate": 1e-3},
}
REFUSED = {
    ("bert", "prefix-text"): r'^train\.initialisation = "text" needs a language model; an encoder keeps no cache',
    ("bert", "before-question"): r'^train\.prompt_position = "before-question" needs a language model',
    ("bert", "before-answer"): r'^train\.prompt_position = "before-answer" needs a language model',
}
ITEMS = tiny.examples(12)


@dataclass
class Trained:
    """A student in memory, what it is made from, and what it answered before its training."""

    student: Student
    task: Task
    settings: TrainSettings
    entry: StudentSettings
    ids: torch.Tensor
    mask: torch.Tensor
    logits_before: torch.Tensor

    def logits(self, model: Any) -> torch.Tensor:
        with torch.no_grad():
            return model(input_ids=self.ids, attention_mask=self.mask).logits


@pytest.fixture(scope="module")
def folders(tiny_models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("more-tiny-models")
    return {**tiny_models, **{kind: tiny.save_model(root / kind, kind) for kind in tiny.MORE_ARCHITECTURES}}


def trained(
    model: str, settings: TrainSettings, folder: Path, items: Sequence[Example] = ITEMS, steps: int = 3
) -> Trained:
    """As `train_cell` does it, with the model kept for comparison."""
    entry = StudentSettings(name="some", model=model)
    student = open_for(entry, settings, tiny.TASK, seed=1)
    shown = marked(tiny.TASK, student.virtual)
    held_out = make_items(student, shown, items[:4])
    prompts = [list(item.prompt) for item in held_out]
    before = student.logprobs(prompts)
    torch.manual_seed(1)
    attached = attach(student, settings)
    padded = pad(prompts, attached.loaded.tokenizer.pad_token_id, attached.loaded.device)
    made = Trained(attached, shown, settings, entry, padded.ids, padded.mask, torch.empty(0))
    made.logits_before = made.logits(attached.model)
    fit(attached, make_items(attached, shown, items), held_out, settings, steps=steps, seed=1)
    save(attached, folder, Probe(prompts, before.tolist(), attached.logprobs(prompts).tolist()))
    return made


def reloaded(made: Trained, source: Path, folder: Path) -> Any:
    """What stock libraries make of the folder: no code of this package."""
    auto = AutoModelForSequenceClassification if made.student.head == "encoder" else AutoModelForCausalLM
    if made.settings.method == "full":
        return auto.from_pretrained(folder).eval()
    base = auto.from_pretrained(source)
    if (folder / "tokenizer_config.json").is_file():  # as peft's AutoPeftModel does
        base.resize_token_embeddings(len(AutoTokenizer.from_pretrained(folder)))
        base.generation_config = GenerationConfig.from_pretrained(folder)
    return peft.PeftModel.from_pretrained(base, folder).eval()


def settings_of(method: str) -> TrainSettings:
    common = {"batch_size": 4, "max_length": 48, "select": "last", "dtype": "float32"}
    return TrainSettings.model_validate({**common, **METHODS[method]})


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")  # peft 0.21 on transformers 5.23
@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("kind", KINDS)
def test_every_method_on_every_architecture(kind: str, method: str, folders: dict[str, Path], tmp_path: Path) -> None:
    if (kind, method) in REFUSED:
        with pytest.raises(RecipeError, match=REFUSED[kind, method]) as caught:
            trained(str(folders[kind]), settings_of(method), tmp_path)
        assert caught.value.hint.startswith("Use ")
        assert not list(tmp_path.iterdir())
        return
    made = trained(str(folders[kind]), settings_of(method), tmp_path)
    logits = made.logits(made.student.model)
    stock = reloaded(made, folders[kind], tmp_path)
    assert torch.equal(made.logits(stock), logits)
    assert (logits - made.logits_before).abs().max() > 1e-3
    assert {path.suffix for path in tmp_path.iterdir()} <= {".json", ".safetensors"}
    restored = restore(open_for(made.entry, made.settings, tiny.TASK, seed=1), tmp_path)
    scores(made, restored)
    if made.student.head == "causal":
        writes(made, restored, stock)


def scores(made: Trained, restored: Student) -> None:
    """Evaluation gives what the trained student says of the items, one by one as well as together."""
    found = predict(restored, tiny.TASK, ITEMS[:4], EvaluateSettings()).predictions
    prompts = made.student.encode(render_all(made.task, ITEMS[:4], made.student.length, made.student.limit).prompts)
    for prediction, prompt in zip(found, prompts, strict=True):
        alone = made.student.logprobs([prompt])[0]
        np.testing.assert_allclose(
            prediction.probabilities, np.exp(alone) / np.exp(alone).sum(), atol=2e-6
        )  # rounded to six digits


def argmax(student: Student, prompt: str, count: int) -> list[int]:
    """Greedy decoding written out: a whole forward pass for each token, no cache, nothing of `generate`."""
    ids, forbidden = student.encode([prompt])[0], student.loaded.model.generation_config.suppress_tokens or []
    written: list[int] = []
    while len(written) < count and student.loaded.tokenizer.eos_token_id not in written:
        row = torch.tensor([[*ids, *written]])
        with torch.no_grad():
            logits = student.model(input_ids=row, attention_mask=torch.ones_like(row)).logits[0, -1]
        logits[forbidden] = -torch.inf
        written.append(int(logits.argmax()))
    return written


def writes(made: Trained, restored: Student, stock: Any) -> None:
    """Five beams write the same from memory, from disk and through stock peft, together and one by one."""
    prompts = render_all(made.task, ITEMS[:4], restored.length, restored.limit).prompts
    beams = {"decoding": "beam", "beams": 5, "max_tokens": 4}
    expected = decode(replace(made.student.loaded, model=made.student.model), prompts, **beams)
    for model in (restored.model, stock):
        assert decode(replace(restored.loaded, model=model), prompts, **beams) == expected
    alone = [decode(replace(restored.loaded, model=restored.model), [prompt], **beams)[0] for prompt in prompts]
    assert alone == expected
    greedy = decode(replace(restored.loaded, model=restored.model), prompts[:1], max_tokens=4)[0]
    assert greedy.text == restored.loaded.tokenizer.decode(argmax(restored, prompts[0], 4), skip_special_tokens=True)
    settings = EvaluateSettings(read="generation", decoding="beam", beams=5, max_tokens=4)
    said = predict(restored, tiny.TASK, ITEMS[:4], settings).predictions
    assert [p.text for p in said] == [answer.text for answer in expected]
    assert not any("virtual" in answer.text for answer in expected)


# --- the built-in models -------------------------------------------------------------------------------------------

BUILTIN = {
    "builtin:minilm-l6": ("lora", "rslora", "dora", "prefix-zero", "prompt-text", "p-tuning", "ia3", "full"),
    "builtin:smollm2-135m-instruct": (
        *("lora", "rslora", "dora", "prefix-text", "prefix-projected", "prompt-text"),
        *("before-question", "before-answer", "p-tuning", "ia3", "full"),
    ),
}
OFTEN = {"builtin:minilm-l6": BUILTIN["builtin:minilm-l6"], "builtin:smollm2-135m-instruct": ("before-question",)}
"""What is run with every change; the others of SmolLM2, about 10 s each, with `make test-long`."""
CASES = [
    pytest.param(model, method, marks=() if method in OFTEN[model] else pytest.mark.long)
    for model, methods in BUILTIN.items()
    for method in methods
]


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing.*:FutureWarning")
@pytest.mark.parametrize(("model", "method"), CASES)
def test_every_method_on_the_built_in_models(model: str, method: str, tmp_path: Path) -> None:
    """One step each, restored by this package and proven by the probe; SmolLM2 also writes with five beams."""
    try:
        locate(model)
    except MissingPackageError as missing:
        pytest.skip(str(missing))
    chosen = settings_of(method).model_copy(update={"dtype": "bfloat16", "batch_size": 2})
    made = trained(model, chosen, tmp_path, items=ITEMS[:2], steps=1)
    restored = restore(open_for(made.entry, chosen, tiny.TASK, seed=1), tmp_path)
    assert (made.logits(made.student.model) - made.logits_before).abs().max() > 0
    prompts = render_all(made.task, ITEMS[:2], restored.length, restored.limit).prompts
    np.testing.assert_array_equal(
        restored.logprobs(restored.encode(prompts)), made.student.logprobs(made.student.encode(prompts))
    )
    if made.student.head == "causal":
        beams = {"decoding": "beam", "beams": 5, "max_tokens": 2}
        written = decode(replace(restored.loaded, model=restored.model), prompts, **beams)
        assert written == decode(replace(made.student.loaded, model=made.student.model), prompts, **beams)
