"""Tiny random models with a word-level tokenizer, saved like real ones: what is tested on them holds for large ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BioGptConfig,
    BioGptForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from preceptor.config import DataSettings
from preceptor.data import demo
from preceptor.data.base import Task
from preceptor.models.student import Student, open_student
from preceptor.records import Example, Instruction

ARCHITECTURES = ("llama", "gpt2", "bert")
MORE_ARCHITECTURES = ("biogpt", "qwen2", "qwen3")
"""Those on which methods alone are tested."""
WINDOW = 64
"""Positions of each tiny model."""

SPECIAL = ("<pad>", "<unk>", "<s>", "</s>", "<cls>", "<sep>")
TEXT = """
question context answer does did the drug diet device improve worsen change pain sleep fever weight rose fell stayed
same more less better worse in of with after before day days patients group trial a b c d e f g h yes no maybe not
sure one two three four five six seven eight nine ten word from text : ? . ,
"""
WORDS = tuple(TEXT.split())

TASK = Task(
    name="tiny",
    setting="default",
    labels=("yes", "no", "maybe"),
    inputs=("question", "context"),
    template="context: {{ context }} question: {{ question }} answer:",
    rationale="conclusion",
    shorten="context",
    teacher_hidden=("conclusion",),
)


def tokenizer(kind: str, words: Iterable[str] = WORDS) -> PreTrainedTokenizerFast:
    """One token per word, lower-cased; special tokens stand as the architecture has them.

    Except for Qwen2, whose tokenizer transformers 5 always takes for a byte-level one: a space goes with its word.
    """
    if kind == "qwen2":
        return byte_level(words)
    vocabulary = {word: i for i, word in enumerate(dict.fromkeys((*SPECIAL, *words)))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    inner.normalizer = normalizers.Lowercase()
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    around = {"llama": "<s> $A", "biogpt": "</s> $A", "bert": "<cls> $A <sep>"}.get(kind, "$A")
    inner.post_processor = processors.TemplateProcessing(
        single=around, special_tokens=[(name, vocabulary[name]) for name in SPECIAL]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        cls_token="<cls>",
        sep_token="<sep>",
        model_max_length=10**9,  # so that only the config tells the window
    )


def byte_level(words: Iterable[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE that has learnt these words, with the space before them."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=list(SPECIAL), initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([" ".join(words), *(f" {word}" for word in words)], trainer)
    return Qwen2TokenizerFast(
        tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", bos_token="<s>", eos_token="</s>"
    )


def model(kind: str, vocabulary: int, seed: int = 0, window: int = WINDOW) -> torch.nn.Module:
    """A random model of 2 layers, 32 wide, without dropout. Drawn wider than usual, so that its answers differ."""
    torch.manual_seed(seed)
    ids = {"pad_token_id": 0, "bos_token_id": 2, "eos_token_id": 3}
    if kind == "llama":
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=vocabulary,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                max_position_embeddings=window,
                initializer_range=0.2,
                **ids,
            )
        )
    if kind == "gpt2":
        return GPT2LMHeadModel(
            GPT2Config(
                vocab_size=vocabulary,
                n_embd=32,
                n_layer=2,
                n_head=4,
                n_positions=window,
                initializer_range=0.2,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                **ids,
            )
        )
    if kind in MORE_ARCHITECTURES:
        return more_models(kind, vocabulary, window, ids)
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=vocabulary,
            hidden_size=32,
            num_hidden_layers=2,
            num_attention_heads=4,
            intermediate_size=64,
            max_position_embeddings=window,
            initializer_range=0.2,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            num_labels=3,
            **ids,
        )
    )


def more_models(kind: str, vocabulary: int, window: int, ids: dict[str, int]) -> torch.nn.Module:
    """Language models that tie input and output embeddings; BioGPT's are scaled and its positions are learnt."""
    shape = {
        "vocab_size": vocabulary,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": window,
        "initializer_range": 0.2,
        "tie_word_embeddings": True,
        **ids,
    }
    if kind == "biogpt":
        still = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "activation_dropout"), 0.0)
        return BioGptForCausalLM(BioGptConfig(**shape, **still, layerdrop=0.0))
    if kind == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(**shape, num_key_value_heads=2))
    return Qwen3ForCausalLM(Qwen3Config(**shape, num_key_value_heads=2, head_dim=16))


def save_model(folder: Path, kind: str, words: Iterable[str] = WORDS, window: int = WINDOW) -> Path:
    """Model and tokenizer in a folder, as transformers writes them."""
    known = tokenizer(kind, words)
    known.save_pretrained(folder)
    model(kind, len(known), window=window).save_pretrained(folder)
    return folder


def demo_words() -> list[str]:
    """All words of the demo data, so that a tiny student can tell its items apart."""
    dataset = demo.load(DataSettings(task="demo"), Path())["default"]
    texts = [text for part in dataset.parts.values() for item in part for text in item.fields.values()]
    found = {word for text in texts for word in re.findall(r"\w+|[^\w\s]+", text.lower())}
    return sorted(found | {"abstract", "question", "answer", *demo.LABELS})


def open_tiny(
    folder: Path,
    labels: tuple[str, ...] = TASK.labels,
    *,
    max_length: int = 48,
    reserve: int = 0,
    dtype: str = "float32",
) -> Student:
    """A fresh student from one of the folders."""
    head = "encoder" if folder.name == "bert" else "causal"
    targets = [f" {label}" for label in labels]
    return open_student(str(folder), head, labels, targets, max_length=max_length, reserve=reserve, dtype=dtype, seed=0)


def examples(count: int, name: str = "item") -> list[Example]:
    """Items whose label follows from one word of the context, so that a tiny model can learn them."""
    endings = {"yes": "pain fell", "no": "pain rose", "maybe": "pain stayed the same"}
    made = []
    for i in range(count):
        label = TASK.labels[i % 3]
        filler = " ".join(WORDS[10 + (i * 7 + k) % 20] for k in range(1 + i % 6))
        fields = {
            "question": "does the drug improve pain ?",
            "context": f"{filler} {endings[label]}",
            "conclusion": f"the drug {label}",
        }
        made.append(Example(f"{name}-{i}", fields, label))
    return made


TEMPLATE = (
    "{% for m in messages %}{{ '<s>' + m['role'] + ' ' + m['content'] + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant ' }}{% endif %}"
)
"""A chat template in the manner of real ones: a mark that ends each turn, and a line break after it."""


def save_follower(folder: Path, kind: str, template: str | None = TEMPLATE, window: int = 160) -> Path:
    """A tiny language model whose tokenizer has a chat template (or none)."""
    save_model(folder, kind, (*WORDS, "user", "assistant", "instruction", "input", "response", "###", "yes-"), window)
    if template is not None:
        known = PreTrainedTokenizerFast.from_pretrained(folder)
        known.chat_template = template
        known.save_pretrained(folder)
    return folder


def tasks(count: int, name: str = "task") -> list[Instruction]:
    """Instructions of different lengths whose answer follows from one word of the input."""
    endings = {"yes": "pain fell", "no": "pain rose", "maybe not sure": "pain stayed the same"}
    made = []
    for i in range(count):
        answer, ending = list(endings.items())[i % 3]
        filler = " ".join(WORDS[10 + (i * 7 + k) % 20] for k in range(1 + i % 6))
        made.append(Instruction(f"{name}-{i}", "does the drug improve pain ?", f"{filler} {ending}", answer, "other"))
    return made
