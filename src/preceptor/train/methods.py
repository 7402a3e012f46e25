"""From a loaded base model to a trainable one: LoRA, prefix tuning, or all weights, by stock peft."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

from peft import LoraConfig, PrefixTuningConfig, TaskType, get_peft_model, initialize_kv_prefix_from_text
from transformers.pytorch_utils import Conv1D

from preceptor.config import TrainSettings
from preceptor.errors import ModelError, RecipeError
from preceptor.models.layers import check_count, layers_of, modules_of_last
from preceptor.models.student import Kind, Trainable


def reserved(settings: TrainSettings) -> int:
    """Positions of the model's window that the method takes away from the text."""
    return settings.virtual_tokens if settings.method == "prefix" else 0


def describe(settings: TrainSettings) -> str:
    """The method in words, for tables. alpha/r is shown because it scales every step that LoRA takes."""
    if settings.method == "lora":
        scale = settings.alpha / settings.rank
        return f"LoRA r {settings.rank}, alpha {settings.alpha:g} (alpha/r {scale:g}), lr {settings.learning_rate:g}"
    if settings.method == "prefix":
        return f"prefix {settings.virtual_tokens}, from {settings.initialisation}, lr {settings.learning_rate:g}"
    return f"all weights, lr {settings.learning_rate:g}"


def attach(student: Kind, settings: TrainSettings) -> Kind:
    """Wrap the student's model so that only the method's own weights are trained.

    Raises `RecipeError` when the architecture cannot take the method or its targets. Values that are drawn come from
    torch's global generator: seed it before the call.
    """
    if settings.method == "full":
        _unfreeze(student, settings)
        return student
    kind = TaskType.SEQ_CLS if student.head == "encoder" else TaskType.CAUSAL_LM
    config = _lora(student, settings, kind) if settings.method == "lora" else _prefix(student, settings, kind)
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that transformers is retiring; no user can act on that.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            # Adapters stay in the model's own dtype: float32 adapters inside a bfloat16 model make every product of
            # theirs a slow mixed one. The optimiser keeps float32 copies instead (loop.py).
            model = get_peft_model(student.model, config, autocast_adapter_dtype=settings.method == "prefix")
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise RecipeError(
            f"{student.loaded.name} cannot take method {settings.method!r}: {str(error).splitlines()[0][:200]}",
            'For LoRA set train.targets to module names of this architecture or to "all-linear".',
        ) from error
    model.peft_config["default"].base_model_name_or_path = student.loaded.name
    if settings.method == "prefix" and settings.initialisation == "text":
        _start_from_text(model, student, settings)
    model.to(student.loaded.device)
    model.eval()
    return replace(student, model=model)


def _lora(student: Trainable, settings: TrainSettings, kind: TaskType) -> LoraConfig:
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    if settings.last_layers is not None:
        targets = modules_of_last(student.model, settings.last_layers)
    return LoraConfig(
        task_type=kind,
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        # GPT-2 and its kin keep their weights transposed; peft would put it right too, but with a warning each time.
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in student.model.modules()),
    )


def _unfreeze(student: Trainable, settings: TrainSettings) -> None:
    """All weights, or those from the last layers on: them, and the head."""
    student.model.requires_grad_(True)
    if settings.last_layers is None:
        return
    check_count(student.model, settings.last_layers)
    _, layers = layers_of(student.model)
    student.model.base_model.requires_grad_(False)
    for layer in layers[len(layers) - settings.last_layers :]:
        layer.requires_grad_(True)


def _prefix(student: Trainable, settings: TrainSettings, kind: TaskType) -> PrefixTuningConfig:
    if settings.initialisation == "text" and student.head == "encoder":
        raise RecipeError(
            'train.initialisation = "text" needs a language model; an encoder keeps no cache to start a prefix from.',
            'Use "zero" or "random" for encoders.',
        )
    return PrefixTuningConfig(
        task_type=kind,
        num_virtual_tokens=settings.virtual_tokens,
        init_weights="zero" if settings.initialisation == "zero" else None,
    )


def _start_from_text(model: Any, student: Trainable, settings: TrainSettings) -> None:
    text = settings.initial_text.strip()
    # What one more copy adds: a single text also has the tokens that stand around it.
    per_copy = max(student.length(f"{text} {text}") - student.length(text), 1)
    copies = -(-settings.virtual_tokens // per_copy) + 1
    try:
        initialize_kv_prefix_from_text(
            model,
            student.loaded.tokenizer,
            text=" ".join([text] * copies),
            num_virtual_tokens=settings.virtual_tokens,
            use_chat_template=False,
        )
    except (ValueError, RuntimeError, IndexError) as error:
        raise ModelError(
            f"The prefix cannot start from text on {student.loaded.name}: {str(error).splitlines()[0][:200]}",
            'Use train.initialisation = "zero".',
        ) from error
