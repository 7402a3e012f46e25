"""Loading students, teachers and encoders: built-in, from a folder, or from the hub by name.

Only safetensors (or a built-in's verified GGUF) are read; never pickle, never a model's own code.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from preceptor.errors import ModelError, StorageError
from preceptor.models.builtin import PREFIX, describe, locate
from preceptor.models.folders import folder_of

ENCODERS = frozenset(
    {"bert", "roberta", "distilbert", "electra", "deberta", "deberta-v2", "mpnet", "modernbert", "albert"}
)
"""Architectures that `head = "auto"` treats as encoders; several of them also have a causal variant in transformers."""

POSITIONS_AFTER_PADDING = frozenset({"roberta", "mpnet"})
"""Architectures that number positions from the padding token's id + 1, so that many rows of their table stay unused."""

UNLOADABLE = (OSError, ValueError, LookupError, RuntimeError, ImportError, TypeError, AttributeError, SafetensorError)
"""What the libraries raise for folders and names that are no model."""


@dataclass(frozen=True)
class Loaded:
    """A model with its tokenizer, on its device, in evaluation mode."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    """`pad_token` is set."""
    name: str
    device: torch.device
    dtype: torch.dtype

    @property
    def window(self) -> int:
        """Positions the model can see, in tokens."""
        return _window(self.model.config, self.tokenizer)


def _window(config: Any, tokenizer: PreTrainedTokenizerBase) -> int:
    for name in ("max_position_embeddings", "n_positions", "n_ctx"):
        value = getattr(config, name, None)
        if isinstance(value, int):
            offset = config.model_type in POSITIONS_AFTER_PADDING
            return value - (int(tokenizer.pad_token_id or 0) + 1 if offset else 0)
    return int(min(tokenizer.model_max_length, 10**6))


def device() -> torch.device:
    """CUDA when it is there, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_bfloat16() -> bool:
    """Whether this machine multiplies bfloat16 natively; elsewhere it is emulated and slower than float32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    supported = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in supported and bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_dtype(asked: str) -> torch.dtype:
    """Resolve `auto`, `float32` or `bfloat16`."""
    if asked == "auto":
        return torch.bfloat16 if fast_bfloat16() else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[asked]


def load_causal(name: str, dtype: str = "auto") -> Loaded:
    """Load a causal language model. `name` is built-in, a folder, or a hub name; raises `ModelError`."""
    loaded = _load(name, AutoModelForCausalLM, dtype, {})
    if loaded.tokenizer.eos_token_id is None:
        raise ModelError(
            f"The tokenizer of {name} has no end-of-text token, so an answer could not end.",
            "Add eos_token to its tokenizer_config.json.",
        )
    return loaded


def load_encoder(name: str, labels: tuple[str, ...], dtype: str = "auto") -> Loaded:
    """Load an encoder with a classification head over `labels`.

    A head that the checkpoint does not have is drawn from torch's global generator: seed it before the call.
    """
    names = dict(enumerate(labels))
    extra = {"num_labels": len(labels), "id2label": names, "label2id": {v: k for k, v in names.items()}}
    return _load(name, AutoModelForSequenceClassification, dtype, extra)


def load_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer alone; raises `ModelError`."""
    with _explained(name), quiet():
        return AutoTokenizer.from_pretrained(source_of(name), trust_remote_code=False)


def window_of(name: str) -> int:
    """Positions that a model can see, in tokens, from its config and tokenizer alone; raises `ModelError`."""
    tokenizer = load_tokenizer(name)
    with _explained(name):
        return _window(AutoConfig.from_pretrained(source_of(name), trust_remote_code=False), tokenizer)


def head_of(name: str, asked: str) -> str:
    """`causal` or `encoder`: as asked, or read from the model's config."""
    if asked != "auto":
        return asked
    if name.startswith(PREFIX):
        return describe(name).kind
    with _explained(name):
        config = AutoConfig.from_pretrained(source_of(name), trust_remote_code=False)
    if config.model_type in ENCODERS:
        return "encoder"
    if config.model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return "causal"
    raise ModelError(
        f"{name} is a {config.model_type}, which is neither a causal language model nor a known encoder.",
        'Set head = "causal" or "encoder" for this student if you know better.',
    )


def count_weights(name: str) -> int:
    """Number of a model's weights without its head, from its config alone: nothing is loaded."""
    with _explained(name), quiet():
        source = source_of(name)  # a built-in model may have to be unpacked first, which needs a real device
    with _explained(name), torch.device("meta"), quiet():
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        body = AutoModel.from_config(config, trust_remote_code=False)
    return sum(weight.numel() for weight in body.parameters())


def _load(name: str, auto_class: Any, dtype: str, extra: dict[str, Any]) -> Loaded:
    source = source_of(name)
    chosen = choose_dtype(dtype)
    with _explained(name), quiet():
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
        model, loading = auto_class.from_pretrained(
            source,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=chosen,
            ignore_mismatched_sizes=True,  # a head for other labels is drawn afresh; anything else is refused below
            output_loading_info=True,
            **extra,
        )
    _check_complete(name, model, loading, fresh_head=auto_class is AutoModelForSequenceClassification)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    if tokenizer.pad_token is None:
        raise ModelError(
            f"The tokenizer of {name} has no padding, end-of-text or unknown token.",
            "Add one to its tokenizer_config.json.",
        )
    model.config.pad_token_id = tokenizer.pad_token_id
    place = device()
    model.to(place)
    model.eval()
    return Loaded(model, tokenizer, name, place, chosen)


def _check_complete(name: str, model: Any, loading: dict[str, Any], *, fresh_head: bool) -> None:
    """Refuse a checkpoint that lacks weights: transformers would draw them at random and only log it."""
    drawn = {*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])}
    if fresh_head:
        body = f"{model.base_model_prefix}."
        drawn = {key for key in drawn if key.startswith(body) and ".pooler." not in key}
    if drawn:
        raise ModelError(
            f"The model {name} cannot be loaded: {len(drawn)} of its weights are missing from the file or have another "
            f"shape, first {min(drawn)}.",
            "Its config.json and its safetensors do not belong together, or it was saved for another head.",
        )


def source_of(name: str) -> str:
    """The folder or hub name from which transformers loads a model; a built-in one is unpacked first.

    Raises `ModelError` for a folder that is not there: the hub is not asked for it.
    """
    if name.startswith(PREFIX):
        folder = locate(name)
        return str(_unpacked(name, folder) if describe(name).gguf else folder)
    path = folder_of(name)
    return name if path is None else str(path)


def cache_folder() -> Path:
    """Where converted models are kept: $PRECEPTOR_CACHE, else the user's cache folder."""
    return Path(os.environ.get("PRECEPTOR_CACHE", Path.home() / ".cache" / "preceptor"))


def _unpacked(name: str, folder: Path) -> Path:
    """The GGUF of a built-in model as plain float32 safetensors, made once and kept in the cache.

    Reading the GGUF takes about 10 s on two cores, reading safetensors under one.
    """
    builtin = describe(name)
    kept = cache_folder() / f"{builtin.module}-{builtin.sha256[:16]}"
    if (kept / "config.json").is_file():
        return kept
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=kept.parent))
        try:
            with (
                quiet(),
                contextlib.redirect_stderr(io.StringIO()),
            ):  # its bars ignore the library's own switch
                _unpack(folder, str(builtin.gguf), fresh)
            if not kept.exists():  # another process may have been quicker
                fresh.rename(kept)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    except OSError as error:
        raise StorageError.of(kept, error) from error
    return kept


def _unpack(folder: Path, file: str, target: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, trust_remote_code=False, dtype=torch.float32)
    # The weights are full tensors now; the leftover note of a quantisation would make saving refuse.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    tokenizer.save_pretrained(target)
    model.save_pretrained(target)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn the loader's errors into one sentence."""
    try:
        yield
    except Exception as error:
        # The tokenizers library raises the class `Exception` itself for a file that it cannot read.
        if type(error) is not Exception and not isinstance(error, UNLOADABLE):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        first = lines[0] if lines else type(error).__name__
        lacks = "model.safetensors" in first  # how transformers says that there is at most a pickle
        raise ModelError(
            f"The model {name} cannot be loaded: {first[:300]}",
            f"If its weights are pytorch_model.bin, write them as safetensors: preceptor convert {name} --out FOLDER."
            if lacks
            else "Name a built-in model, a folder with config.json and safetensors, or a hub name that this machine "
            "can reach.",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hide the library's loading bars and its note about a fresh classification head, which is expected here."""
    logger = logging.getLogger("transformers")
    level = logger.level
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
