"""Training: tokens a second and peak memory beside TRL, transformers' Trainer and the machine's own rate.

    PRECEPTOR_DATA=/my/data python bench/training.py [--quick] [--only PART ...] [--no-peers] [--gpu]

    trl      SmolLM2-135M, bfloat16, LoRA r 8 on all linear layers, real PubMedQA prompts with their abstracts, batch 8:
             Preceptor, TRL's SFTTrainer as it comes, and the same without gradient checkpointing
    losses   the same on conclusions: the mean loss of each 10 of 100 steps beside a plain float32 loop on equal
             batches, ours in both types of numbers and a stock loop in bfloat16
    encoder  MiniLM, all weights: Preceptor, transformers' Trainer as it comes (float32, dropout), and the same Trainer
             with our dtype, no dropout and our batches
    cached   LoRA on the last 4 of 30 layers, a sweep of 12 points: the lower layers kept, beside computed each time;
             the limit is (L + K) / 2 K
    gpu      only where asked for, on a CUDA device: a LLaMA architecture of about 1 B random weights against TRL, in
             several batch sizes;
             `vs_trl` is then the lowest of their ratios, `of_matmul_limit` the highest of their fractions

Each training is a process of its own, one after the other. Seconds are those of the steps; tokens are real ones,
without padding. Prints tables and ends with one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments import DEFAULT, python_with
from runners.apart import run_apart
from runners.train_work import Job

from preceptor.config import DataSettings, TrainSettings
from preceptor.data.base import Dataset, render_all
from preceptor.data.load import load_datasets
from preceptor.errors import PreceptorError
from preceptor.models.load import load_causal, load_encoder, source_of
from preceptor.store.provenance import machine
from preceptor.train.batches import TrainingItem, one_pass

HERE = Path(__file__).resolve().parent
TRL = ("trl==1.16.0", "torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0")
CAUSAL, ENCODER = "builtin:smollm2-135m-instruct", "builtin:minilm-l6"
PARTS = ("trl", "losses", "encoder", "cached")
LAST = 4
"""Trained layers of the part `cached`."""
GPU_BATCHES = (4, 8, 16, 32)
LAYERS = 30
"""Layers of SmolLM2-135M."""


def items_of(dataset: Dataset, count: int, *, encoder: bool = False) -> list[dict[str, Any]]:
    """The first training items as prompt, completion and label number; the prompts at full length."""
    examples = dataset.train[:count]
    task = dataset.task
    prompts = render_all(task, examples, len, 10**9).prompts
    labels = [task.labels.index(example.label) for example in examples]
    completions = {} if encoder else {"completion": ""}
    return [
        {"prompt": p, "label": n, **({key: task.target(e.label) for key in completions})}
        for p, n, e in zip(prompts, labels, examples, strict=True)
    ]


class Bench:
    """Runs the runners in a folder of its own."""

    def __init__(self, folder: Path, peers: bool) -> None:
        self.folder = folder
        self.trl = python_with(TRL, DEFAULT) if peers else None

    def run(self, runner: str, job: Job, python: Path | None = None) -> dict[str, Any]:
        """One training's result. Exits with the runner's last words when it fails."""
        found = run_apart(self.folder, runner, job, python)
        found["tokens_per_s"] = round(found["tokens"] / found["seconds"], 1) if found.get("seconds") else None
        return found


def say(name: str, found: dict[str, Any]) -> None:
    """One line of a table."""
    print(f"  {name:44} {found['tokens_per_s'] or 0:9.1f} tok/s  {peak_of(found):7d} MiB", flush=True)


def peak_of(found: dict[str, Any]) -> int:
    """The peak of the memory in which the model lay: the device's where there was one."""
    return int(found.get("device_peak_mib") or found["peak_mib"])


def beside_trl(bench: Bench, dataset: Dataset, labels: Sequence[str], steps: int) -> dict[str, Any]:
    """Part `trl`."""
    job = Job(source_of(CAUSAL), items_of(dataset, 8 * steps), batch_size=8, labels=tuple(labels))
    print(f"SmolLM2-135M, bfloat16, LoRA r 8, batch 8, {steps} steps on PubMedQA with abstracts")
    ours = bench.run("train_ours", job)
    # 4 operations a weight and token: 2 forward and 2 for the gradient of what came in; frozen weights need no more.
    limit = ours["products_per_s"] / (4 * ours["body_weights"])
    say("Preceptor", ours)
    print(f"  {'limit by the rate of matrix products':44} {limit:9.1f} tok/s")
    found = {"ours": ours, "limit_tokens_per_s": round(limit, 1), "of_matmul_limit": ours["tokens_per_s"] / limit}
    found |= beside(bench, job, ours)
    return found


def losses(bench: Bench, dataset: Dataset, labels: Sequence[str], steps: int) -> dict[str, Any]:
    """Part `losses`. A stock loop in bfloat16 says what that type of numbers does by itself."""
    items = items_of(dataset, len(dataset.train))
    jobs = {
        name: (runner, Job(source_of(CAUSAL), items, 8, dtype=dtype, labels=tuple(labels), settings={"steps": steps}))
        for name, runner, dtype in (
            ("plain float32", "train_plain", "float32"),
            ("ours float32", "train_ours", "float32"),
            ("ours bfloat16", "train_ours", "bfloat16"),
            ("plain bfloat16", "train_plain", "bfloat16"),
        )
    }
    tens: dict[str, list[float]] = {}
    for name, (runner, job) in jobs.items():
        kept = bench.run(runner, job)["losses"]
        kept = kept[0] if runner == "train_ours" else kept
        tens[name] = [sum(kept[i : i + 10]) / len(kept[i : i + 10]) for i in range(0, steps, 10)]
    plain, *others = tens
    apart = {name: [one / want - 1 for one, want in zip(tens[name], tens[plain], strict=True)] for name in others}
    print(f"mean loss of each 10 of {steps} steps: a {plain} loop, and how far others are from it")
    print(f"  {'steps':9} {plain:>14}" + "".join(f" {name:>15}" for name in others))
    for number, loss in enumerate(tens[plain]):
        said = "".join(f" {100 * apart[name][number]:+13.2f} %" for name in others)
        print(f"  {10 * number + 1:4d}-{10 * number + 10:<4d} {loss:14.4f}{said}")
    largest = {f"largest_difference_{name.replace(' ', '_')}": max(map(abs, apart[name])) for name in others}
    return {"tens": {name: [round(loss, 5) for loss in means] for name, means in tens.items()}, **largest}


def encoders(bench: Bench, dataset: Dataset, labels: Sequence[str], epochs: int, peers: bool) -> dict[str, Any]:
    """Part `encoder`."""
    items = items_of(dataset, len(dataset.train) // 8 * 8, encoder=True)
    job = Job(source_of(ENCODER), items, 8, epochs=epochs, learning_rate=1e-4, labels=tuple(labels))
    print(f"MiniLM, all weights, batch 8, {len(items)} conclusions of PubMedQA, {epochs} epochs")
    ours = bench.run("train_ours", Job(**{**vars(job), "settings": {"method": "full"}}))
    say("Preceptor", ours)
    found: dict[str, Any] = {"ours": ours}
    if peers:
        usual = {"dtype": "float32", "dropout": True, "batches": None}
        found["trainer"] = bench.run("train_trainer", Job(**{**vars(job), "settings": usual}))
        say("Trainer as it comes (float32, dropout)", found["trainer"])
        same = {"dtype": job.dtype, "dropout": False, "batches": our_batches(items, epochs)}
        found["trainer_same"] = bench.run("train_trainer", Job(**{**vars(job), "settings": same}))
        say("Trainer, our dtype, dropout and batches", found["trainer_same"])
        found["encoder_vs_trainer"] = ours["tokens_per_s"] / found["trainer"]["tokens_per_s"]
        found["encoder_vs_trainer_same_dtype"] = ours["tokens_per_s"] / found["trainer_same"]["tokens_per_s"]
    return found


def our_batches(items: Sequence[dict[str, Any]], epochs: int) -> list[list[int]]:
    """The batches that `fit` makes of these items, as item numbers."""
    tokenizer = load_encoder(ENCODER, ("a", "b")).tokenizer
    lengths = [len(ids) for ids in tokenizer([item["prompt"] for item in items])["input_ids"]]
    marked = [TrainingItem((0,) * length, (), source=str(i)) for i, length in enumerate(lengths)]
    settings = TrainSettings(batch_size=8)
    return [[int(i.source) for i in batch] for n in range(epochs) for batch in one_pass(marked, settings, 1, n)]


def cached(bench: Bench, dataset: Dataset, labels: Sequence[str], count: int, points: int) -> dict[str, Any]:
    """Part `cached`."""
    alphas = [float(2**n) for n in range(2, 2 + points)]
    settings = {"last_layers": LAST, "sweep": alphas}
    job = Job(source_of(CAUSAL), items_of(dataset, count), 8, epochs=2, labels=tuple(labels), settings=settings)
    print(f"SmolLM2-135M, LoRA on the last {LAST} of {LAYERS} layers, {points} points of 2 epochs over {count} items")
    plain = bench.run("train_ours", job)
    say("lower layers computed each time", plain)
    kept = bench.run("train_ours", Job(**{**vars(job), "settings": {**settings, "trunk": str(bench.folder / "trunk")}}))
    say("lower layers kept", kept)
    limit = (LAYERS + LAST) / (2 * LAST)
    ratio = plain["seconds"] / kept["seconds"]
    pairs = [
        (a, b) for one, two in zip(plain["losses"], kept["losses"], strict=True) for a, b in zip(one, two, strict=True)
    ]
    apart = sum(abs(a - b) for a, b in pairs) / sum(a for a, _ in pairs)
    print(f"  {ratio:.2f} times faster; the limit is {limit:.2f}; mean difference of a loss {100 * apart:.2f} %")
    return {"plain": plain, "kept": kept, "ratio": ratio, "cached_of_limit": ratio / limit, "loss_difference": apart}


def gpu(bench: Bench, dataset: Dataset, labels: Sequence[str], quick: bool) -> dict[str, Any]:
    """Part `gpu`: about 1 B random weights, equal items for both, several batch sizes. `quick` takes few weights, and
    any device.
    """
    folder = random_llama(bench.folder / "llama", quick)
    found: dict[str, Any] = {}
    for size in GPU_BATCHES[:1] if quick else GPU_BATCHES:
        job = Job(str(folder), items_of(dataset, (2 if quick else 12) * size), size, labels=tuple(labels))
        print(f"LLaMA of random weights, bfloat16, LoRA r 8, batch {size}")
        ours = bench.run("train_ours", job)
        say("Preceptor", ours)
        limit = ours["products_per_s"] / (4 * ours["body_weights"])
        print(f"  {'limit by the rate of matrix products':44} {limit:9.1f} tok/s")
        found[str(size)] = {"ours": ours, "of_limit": ours["tokens_per_s"] / limit, **beside(bench, job, ours)}
    known = [one["vs_trl"] for one in found.values() if "vs_trl" in one]
    fractions = [one["of_limit"] for one in found.values()]
    return {"sizes": found, "of_matmul_limit": max(fractions), **({"vs_trl": min(known)} if known else {})}


def beside(bench: Bench, job: Job, ours: dict[str, Any]) -> dict[str, Any]:
    """TRL on a job, as it comes and without checkpointing, and how many times as fast we are; empty without peers."""
    if bench.trl is None:
        return {}
    found = {"trl": bench.run("train_trl", job, bench.trl)}
    say("TRL SFTTrainer as it comes", found["trl"])
    plain = Job(**{**vars(job), "settings": {"gradient_checkpointing": False}})
    found["trl_plain"] = bench.run("train_trl", plain, bench.trl)
    say("TRL SFTTrainer without checkpointing", found["trl_plain"])
    ratios = {f"vs_{name}": ours["tokens_per_s"] / one["tokens_per_s"] for name, one in found.items()}
    return {**found, **ratios, "memory_vs_trl": peak_of(ours) / peak_of(found["trl"])}


def random_llama(folder: Path, quick: bool) -> Path:
    """A model folder of the LLaMA architecture with about 1 B random weights (`quick`: about 34 M)."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = load_causal(CAUSAL).tokenizer
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=512 if quick else 2048,
        intermediate_size=5632,
        num_hidden_layers=1 if quick else 22,
        num_attention_heads=32,
        num_key_value_heads=4,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def refuse_without_device() -> None:
    """Exit where the part for an accelerator would be measured on cores."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("--gpu measures a CUDA device, and torch finds none here. With --quick it only tries the script out.")


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it works")
    parser.add_argument("--no-peers", action="store_true", help="install and run no peer")
    parser.add_argument("--gpu", action="store_true", help="the part for an accelerator, alone")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    if given.gpu and not given.quick:
        refuse_without_device()
    root = os.environ.get("PRECEPTOR_DATA")
    if root is None:
        sys.exit("Set PRECEPTOR_DATA to the folder that holds pubmedqa/.")
    settings = ("reasoning-required", "reasoning-free")
    data = DataSettings(task="pubmedqa", path=f"{root}/pubmedqa", split="official", settings=settings)
    try:
        loaded = load_datasets(data, Path())
    except PreceptorError as error:
        sys.exit(str(error))
    long, short = loaded["reasoning-required"], loaded["reasoning-free"]
    labels, quick, peers = long.task.labels, given.quick, not given.no_peers
    result: dict[str, Any] = {"bench": "training", "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), peers)
        if given.gpu:
            result["gpu"] = gpu(bench, long, labels, quick)
        else:
            runs = {
                "trl": lambda: beside_trl(bench, long, labels, 2 if quick else 12),
                "losses": lambda: losses(bench, short, labels, 10 if quick else 100),
                "encoder": lambda: encoders(bench, short, labels, 1 if quick else 2, peers),
                "cached": lambda: cached(bench, short, labels, 16 if quick else 96, 2 if quick else 12),
            }
            result |= {part: runs[part]() for part in given.only}
    keys = ("vs_trl", "of_matmul_limit", "encoder_vs_trainer", "encoder_vs_trainer_same_dtype", "cached_of_limit")
    for key in keys:
        values = [round(part[key], 3) for part in result.values() if isinstance(part, dict) and key in part]
        result[key] = values[0] if values else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
