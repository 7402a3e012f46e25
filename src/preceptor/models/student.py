"""`Student`: a small model with its method attached, scored the same way in training, evaluation and export."""

from __future__ import annotations

import errno
import json
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError

from preceptor.errors import InactiveAdapterError, ModelError, RecipeError, StorageError
from preceptor.models.answers import label_logprobs
from preceptor.models.load import Loaded, load_causal, load_encoder, quiet
from preceptor.models.score import encode, encode_target, head_logprobs
from preceptor.records import VirtualTokens

PROBE = "probe.json"
ADAPTER = "adapter_config.json"
"""Stands in a folder with an adapter, and not in one with a whole model."""
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Largest difference of a log-probability between a trained model in memory and reloaded from disk. The same machine
gives 0; another build of the matrix library reorders sums, and a bfloat16 logit then moves by about one part in 128."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A few prompts and what the model said to them: goes with trained weights, so that loading can be proven."""

    prompts: list[list[int]]
    """Token ids."""
    before: list[list[float]]
    """Log-likelihood of each label before training, [prompts][labels]; of the one answer where there are targets."""
    after: list[list[float]]
    """The same after training, before saving."""
    targets: list[list[int]] = field(default_factory=list)
    """The answer to each prompt as token ids, for models without labels."""
    labels: list[str] = field(default_factory=list)
    """The labels in the order of the columns; empty for models without, and in folders of earlier versions."""


class Trainable(Protocol):
    """What a method is attached to: a student, or a model that follows instructions."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    loaded: Loaded
    model: Any

    @property
    def head(self) -> str:
        """`causal` or `encoder`."""

    def length(self, text: str) -> int:
        """Tokens of a text, special tokens included."""


Kind = TypeVar("Kind", bound=Trainable)


@dataclass
class Student:
    """A model that answers with one of `labels`."""

    loaded: Loaded
    """The base model, its tokenizer and its device."""
    model: Any
    """What is called: the base model itself, or a peft model around it."""
    head: str
    """`causal` or `encoder`."""
    labels: tuple[str, ...]
    targets: list[list[int]]
    """Token ids of each label as it follows a prompt; empty for an encoder."""
    limit: int
    """Tokens that a prompt may have, so that prompt, answer and virtual tokens fit."""
    virtual: VirtualTokens | None = None
    """Trained tokens that stand in its prompts (see `marked` in data/base.py); None for most methods."""

    def length(self, text: str) -> int:
        """Tokens of a prompt, special tokens included."""
        # Not verbose: a text that is too long is what this is asked about, not something to warn of.
        return len(self.loaded.tokenizer(text, add_special_tokens=True, verbose=False)["input_ids"])

    def encode(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of prompts. Raises `ModelError` for a prompt in which the student's virtual tokens do not stand."""
        if self.virtual is not None and any(prompt.count(self.virtual.text) != 1 for prompt in prompts):
            raise ModelError(
                f"A prompt for {self.loaded.name} does not hold its virtual tokens exactly once.",
                "Render prompts by the task as this student reads it.",
            )
        return encode(self.loaded.tokenizer, prompts)

    def logprobs(self, prompts: Sequence[Sequence[int]]) -> np.ndarray:
        """Log-likelihood of each label: float64 [prompts, labels]; higher is likelier."""
        if self.head == "encoder":
            return head_logprobs(self.model, self.loaded, prompts)
        return label_logprobs(self.model, self.loaded, prompts, self.targets)


def open_student(
    name: str,
    head: str,
    labels: Sequence[str],
    targets: Sequence[str],
    *,
    max_length: int,
    reserve: int,
    dtype: str,
    seed: int,
) -> Student:
    """Load an untrained student.

    `targets` are the texts that follow a prompt, one per label; `reserve` counts positions that the method takes
    (virtual tokens). Raises `RecipeError` when `max_length` and `reserve` do not fit the model's window together.
    `seed` fixes the values of a fresh classification head.
    """
    torch.manual_seed(seed)
    if head == "encoder":
        loaded = load_encoder(name, tuple(labels), dtype)
        tokens: list[list[int]] = []
    else:
        loaded = load_causal(name, dtype)
        tokens = [encode_target(loaded.tokenizer, target) for target in targets]
        _check_targets(labels, tokens)
    room = room_beside(loaded, max_length, reserve)
    answer = max((len(t) for t in tokens), default=0) + (
        1 if tokens else 0
    )  # the answer ends with an end-of-text token
    return Student(loaded, loaded.model, head, tuple(labels), tokens, room - answer)


def reader_of(loaded: Loaded, labels: Sequence[str], targets: Sequence[str]) -> Student:
    """A language model that is loaded already, to be read by the likelihood of labels; prompts may fill its window."""
    tokens = [encode_target(loaded.tokenizer, target) for target in targets]
    _check_targets(labels, tokens)
    limit = loaded.window - max(map(len, tokens)) - 1  # as `open_student` leaves room for an end-of-text token
    return Student(loaded, loaded.model, "causal", tuple(labels), tokens, limit)


def room_beside(loaded: Loaded, max_length: int, reserve: int) -> int:
    """Tokens that text may have beside `reserve` virtual ones; raises `RecipeError` when they do not fit together."""
    window = loaded.window
    if reserve and reserve + max_length > window:
        raise RecipeError(
            f"{reserve} virtual tokens and train.max_length = {max_length} do not fit the window of {loaded.name}, "
            f"{window} positions.",
            f"Lower train.max_length to {window - reserve} or less, or use fewer virtual tokens."
            if window - reserve >= 16  # the least that a recipe may say
            else "Use fewer virtual tokens.",
        )
    return min(max_length, window - reserve)


def _check_targets(labels: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
    for i, ids in enumerate(tokens):
        for j in range(i):
            if list(ids) == list(tokens[j]):
                raise ModelError(
                    f"The labels {labels[j]!r} and {labels[i]!r} are the same tokens to this model.",
                    "Rename one of them.",
                )


def save(student: Trainable, folder: Path, probe: Probe) -> None:
    """Write adapter (or full model) as safetensors that stock peft and transformers read, and the probe.

    Raises `StorageError` when the disk is full.
    """
    if getattr(student, "virtual", None) is None:
        save_weights(student.model, folder)
    else:
        # The adapter holds the rows of the added tokens; peft would add the whole table. With the tokenizer beside it,
        # stock peft (AutoPeftModel) makes the base model's table large enough by itself. The generation settings say
        # that the added tokens are never written.
        save_weights(student.model, folder, save_embedding_layers=False)
        student.loaded.tokenizer.save_pretrained(folder)
        student.loaded.model.generation_config.save_pretrained(folder)
    (folder / PROBE).write_text(json.dumps(asdict(probe)), encoding="utf-8")


def save_weights(model: Any, folder: Path, **options: Any) -> None:
    """Write adapter (or full model) as safetensors, with `options` of `save_pretrained`.

    Raises `StorageError` when the disk is full.
    """
    with quiet(), warnings.catch_warnings():
        # peft looks for the base model's config by name; a built-in's name is none that it can look up.
        warnings.filterwarnings("ignore", message="Could not find a config file.*", category=UserWarning)
        try:
            model.save_pretrained(folder, **options)
        except SafetensorError as error:
            # The library hides a full disk in the text of its own error.
            found = re.search(r"os error (\d+)", str(error))
            raise StorageError.of(folder, OSError(int(found.group(1)) if found else errno.EIO, "")) from error
    # peft writes an empty template of a model card; a card without content is worse than none.
    (folder / "README.md").unlink(missing_ok=True)


def restore(student: Student, folder: Path) -> Student:
    """Put what `save` wrote onto a freshly opened student, through stock peft or transformers, and prove it works.

    Raises `InactiveAdapterError` if the student then answers the probe exactly as it did before training, and
    `ModelError` if it does not answer as the trained model did in memory.
    """
    return restored(student, folder, lambda found, probe: found.logprobs(probe.prompts))


def restored(opened: Kind, folder: Path, answers: Callable[[Kind, Probe], np.ndarray]) -> Kind:
    """The same for whatever has weights: `answers` says what it answers to a probe, as the probe's own figures are."""
    try:
        found = replace(opened, model=with_weights(opened.loaded, folder))
        probe = read_probe(folder)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError, SafetensorError) as error:
        raise ModelError(
            f"The trained weights in {folder} cannot be loaded: {(str(error).splitlines() or [''])[0][:200]}",
            "Delete the folder and run again.",
        ) from error
    _prove(found.loaded, answers(found, probe), probe, folder)
    return found


def read_probe(folder: Path) -> Probe:
    """The probe that `save` wrote."""
    return Probe(**json.loads((folder / PROBE).read_text(encoding="utf-8")))


def with_weights(loaded: Loaded, folder: Path) -> Any:
    """The model with the adapter of a folder around it, or the whole model that the folder holds."""
    if (folder / ADAPTER).is_file():
        from peft import PeftConfig, PeftModel

        with warnings.catch_warnings():
            # peft 0.21 asks transformers 5.23 by a name that transformers is retiring.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
            factors = PeftConfig.from_pretrained(folder).peft_type == "IA3"  # float32 in any model, see attach.py
            model = PeftModel.from_pretrained(loaded.model, folder, is_trainable=False, autocast_adapter_dtype=factors)
    else:
        with quiet():
            model = type(loaded.model).from_pretrained(
                folder, use_safetensors=True, trust_remote_code=False, dtype=loaded.dtype
            )
    model.to(loaded.device)
    model.eval()
    return model


def _prove(loaded: Loaded, now: np.ndarray, probe: Probe, folder: Path) -> None:
    if np.array_equal(now, np.array(probe.before)):
        raise InactiveAdapterError(
            f"The trained weights in {folder} do not change the output of {loaded.name}.",
            "Scoring it would score the untrained model. Check method, targets and learning rate.",
        )
    difference = float(np.abs(now - np.array(probe.after)).max())
    if not difference <= PROBE_TOLERANCE[loaded.dtype]:
        raise ModelError(
            f"The weights reloaded from {folder} answer differently from the model that was trained "
            f"(largest difference of a log-probability {difference:.3g}).",
            "Delete the folder and run again.",
        )
