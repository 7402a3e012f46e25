"""From a loaded base model to a trainable one by stock peft."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from typing import Any

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PrefixTuningConfig,
    PromptEncoderConfig,
    PromptTuningConfig,
    PromptTuningInit,
    TaskType,
    get_peft_model,
    initialize_kv_prefix_from_text,
)
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_FEEDFORWARD_MODULES_MAPPING as FEEDFORWARD
from peft.utils.constants import TRANSFORMERS_MODELS_TO_IA3_TARGET_MODULES_MAPPING as SCALED
from transformers.pytorch_utils import Conv1D

from preceptor.config import LORA, VIRTUAL, TrainSettings
from preceptor.errors import ModelError, RecipeError
from preceptor.models.layers import check_count, layers_of, modules_of_last
from preceptor.models.student import Kind, Student, Trainable
from preceptor.train.methods.describe import in_text
from preceptor.train.methods.tokens import repeated, text_ids, tokens_config

IA3_TARGETS = {"biogpt": (("k_proj", "v_proj", "fc2"), ("fc2",))}
"""What IA3 scales where peft has no default: modules, and which of them are scaled at their input. As in Liu et al.
2022 (arXiv 2205.05638): keys, values, and what goes into the second layer of the feed-forward part."""

INNER = {name for names in (*FEEDFORWARD.values(), *(inner for _, inner in IA3_TARGETS.values())) for name in names}
"""Names of modules that IA3 scales at their input, in any architecture."""

FLOAT32 = VIRTUAL | {"ia3"}
"""Methods whose few weights stay float32 in a bfloat16 model: prefixes and tokens are read once, and a factor near 1,
as IA3 has them, cannot take a step below 1/256 in bfloat16."""


def attach(student: Kind, settings: TrainSettings) -> Kind:
    """Wrap the student's model so that only the method's own weights are trained.

    Raises `RecipeError` when the architecture cannot take the method or its targets. Values that are drawn come from
    torch's global generator: seed it before the call.
    """
    if settings.preset is not None or settings.reference_scale is not None:
        raise RecipeError(
            "train.preset and train.reference_scale are worked out for a whole recipe, before a student is trained.",
            "Pass the recipe through preceptor.pipeline.presets.settled.",
        )
    if settings.last_layers is not None and settings.method not in LORA | {"full"}:
        raise RecipeError(
            f"train.last_layers is for LoRA and its kin and for full, not for {settings.method}.",
            "Leave train.last_layers out, or choose one of these methods.",
        )
    if settings.method == "full":
        _unfreeze(student, settings)
        return student
    config = _config(student, settings)
    try:
        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that transformers is retiring; no user can act on that.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            # Adapters stay in the model's own dtype: float32 adapters inside a bfloat16 model make every product of
            # theirs a slow mixed one. The optimiser keeps float32 copies instead (loop.py).
            model = get_peft_model(student.model, config, autocast_adapter_dtype=settings.method in FLOAT32)
    except (ValueError, TypeError, AttributeError, KeyError, re.error) as error:
        raise RecipeError(
            f"{student.loaded.name} cannot take method {settings.method!r}: {str(error).splitlines()[0][:200]}",
            'Set train.targets to module names of this architecture; "all-linear" fits most for LoRA.'
            if settings.method == "ia3" or settings.method in LORA
            else "Choose another method for this student.",
        ) from error
    model.peft_config["default"].base_model_name_or_path = student.loaded.name
    if settings.initialisation == "text":
        _start_from_text(model, student, settings)
    model.to(student.loaded.device)
    model.eval()
    return replace(student, model=model)


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


def _config(student: Trainable, settings: TrainSettings) -> PeftConfig:
    kind = TaskType.SEQ_CLS if student.head == "encoder" else TaskType.CAUSAL_LM
    match settings.method:
        case "prefix":
            return _prefix(student, settings, kind)
        case "prompt":
            return _prompt(student, settings, kind)
        case "p-tuning":
            return PromptEncoderConfig(task_type=kind, num_virtual_tokens=settings.virtual_tokens)
        case "ia3":
            return _ia3(student, settings, kind)
        case _:
            return _lora(student, settings, kind)


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
        use_rslora=settings.method == "rslora",
        use_dora=settings.method == "dora",
        fan_in_fan_out=_transposed(student),
    )


def _transposed(student: Trainable) -> bool:
    """GPT-2 and its kin keep their weights transposed; peft would put it right too, but with a warning each time."""
    return any(isinstance(module, Conv1D) for module in student.model.modules())


def _ia3(student: Trainable, settings: TrainSettings, kind: TaskType) -> IA3Config:
    architecture = student.loaded.model.config.model_type
    usual = IA3_TARGETS.get(architecture, (SCALED.get(architecture), FEEDFORWARD.get(architecture)))
    if settings.targets == "all-linear":
        targets, inner = usual
        if targets is None or inner is None:
            raise RecipeError(
                f"{student.loaded.name} cannot take method 'ia3': nobody has said what it scales in the architecture "
                f"{architecture!r}.",
                "Set train.targets to the names of its modules for keys, values and the end of the feed-forward part.",
            )
    else:
        targets = [settings.targets] if isinstance(settings.targets, str) else settings.targets
        inner = [name for name in targets if name in INNER]
    return IA3Config(
        task_type=kind,
        target_modules=list(targets),
        feedforward_modules=list(inner),
        fan_in_fan_out=_transposed(student),
    )


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
        prefix_projection=settings.projection,
    )


def _prompt(student: Trainable, settings: TrainSettings, kind: TaskType) -> PeftConfig:
    if not in_text(settings):
        # Random values that no token has are far from what a model knows; random tokens are not.
        return PromptTuningConfig(
            task_type=kind,
            num_virtual_tokens=settings.virtual_tokens,
            prompt_tuning_init=PromptTuningInit.SAMPLE_VOCAB,
        )
    if not isinstance(student, Student) or student.virtual is None:
        raise RecipeError(
            f'train.prompt_position = "{settings.prompt_position}" needs a task with labels, whose prompts say where '
            "question and answer begin.",
            'Use "start" for students that follow instructions.',
        )
    return tokens_config(student, settings)


def _start_from_text(model: Any, student: Trainable, settings: TrainSettings) -> None:
    """Put the values that a text has into the prefix or into the tokens at the start."""
    if settings.method == "prefix":
        _prefix_from_text(model, student, settings)
    elif settings.method == "prompt" and not in_text(settings):
        ids = repeated(text_ids(student, settings), settings.virtual_tokens)
        rows = torch.tensor(ids, device=model.word_embeddings.weight.device)
        with torch.no_grad():
            model.prompt_encoder["default"].embedding.weight.copy_(model.word_embeddings(rows))


def _prefix_from_text(model: Any, student: Trainable, settings: TrainSettings) -> None:
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
