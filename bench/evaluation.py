"""Scoring labels and options: items a second and peak memory beside lm-evaluation-harness 0.4.13, on the same items.

    PRECEPTOR_DATA=/my/data python bench/evaluation.py [--items N] [--quick] [--threads N] [--no-peers]

    zero_shot  the official test of PubMedQA, question and abstract, three labels
    five_shot  the same behind five fixed training items (the harness's sampler `first_n`)
    options    the same abstracts with four options of 4 to 10 tokens, drawn from other items' abstracts, a set per item

SmolLM2-135M in the same number format and with the same number of threads. The harness runs at batch sizes 1, 8 and
auto, and its best is taken. Each run is a process of its own, one after the other; seconds are those of tokenising and
scoring; CPU seconds stand beside them, for machines on which something else runs. Decisions must be the same where the
two best choices are further apart than 1/16 in bfloat16 (always in float32). Prints a table and ends with one line of
JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from environments import DEFAULT, python_with
from runners.apart import run_apart
from runners.eval_work import EvalJob

from preceptor.config import DataSettings
from preceptor.data.base import Dataset
from preceptor.data.load import load_datasets
from preceptor.errors import PreceptorError
from preceptor.models.load import choose_dtype, load_causal, quiet
from preceptor.publish.harness import write_harness
from preceptor.store.provenance import machine

HERE = Path(__file__).resolve().parent
HARNESS = (
    "lm-eval[hf]==0.4.13",
    *("torch==2.13.0", "transformers==5.23.0", "peft==0.21.2", "accelerate==1.15.0", "datasets==5.2.0"),
)
MODEL = "builtin:smollm2-135m-instruct"
PARTS = ("zero_shot", "five_shot", "options")
SIZES = ("1", "8", "auto")
SEED = 0
CLOSE = {"bfloat16": 1 / 16, "float32": 0.0}
"""How far apart the two best choices may be where another order of sums may decide."""


def write_model(folder: Path, dtype: str) -> str:
    """The model as plain safetensors in the numbers in which it runs, so that loading it takes no more than it does."""
    loaded = load_causal(MODEL, dtype)
    with quiet():
        loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return str(folder)


def write_task(folder: Path, dataset: Dataset, count: int) -> str:
    """The exported task with `count` test items, drawn by seed: the file is sorted by label."""
    name = write_harness(folder, dataset)
    path = folder / f"{name}.test.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    chosen = sorted(random.Random(SEED).sample(range(len(lines)), min(count, len(lines))))
    path.write_text("".join(f"{lines[i]}\n" for i in chosen), encoding="utf-8")
    return name


def write_options(folder: Path, name: str, made: str) -> None:
    """The same items as a task `made` with four options each: spans of 4 to 10 tokens of other items' prompts."""
    tokenizer, rng = load_causal(MODEL).tokenizer, random.Random(SEED)
    rows = [json.loads(line) for line in (folder / f"{name}.test.jsonl").read_text(encoding="utf-8").splitlines()]
    words = [row["prompt"].split() for row in rows]

    def option() -> str:
        while True:
            source = rng.choice(words)
            start = rng.randrange(len(source) - 10)
            text = " ".join(source[start : start + rng.randint(2, 8)])
            if 4 <= len(tokenizer(f" {text}", add_special_tokens=False)["input_ids"]) <= 10:
                return text

    for part in ("test", "fewshot"):
        some = [{**row, "choices": [option() for _ in range(4)], "gold": 0} for row in rows]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in some)
        (folder / f"{made}.{part}.jsonl").write_text(lines, encoding="utf-8")
    task = (folder / f"{name}.yaml").read_text(encoding="utf-8").replace(f'"{name}"', f'"{made}"').split("\n")
    task = ["doc_to_choice: choices" if line.startswith("doc_to_choice:") else line for line in task]
    (folder / f"{made}.yaml").write_text("\n".join(task), encoding="utf-8")


class Bench:
    """Runs the runners in a folder of its own."""

    def __init__(self, folder: Path, peers: bool, sizes: Sequence[str] = SIZES) -> None:
        self.folder, self.sizes = folder, sizes
        self.harness = python_with(HARNESS, DEFAULT) if peers else None

    def run(self, runner: str, job: EvalJob, python: Path | None = None) -> dict[str, Any]:
        """One runner's result. Exits with its last words when it fails."""
        found = run_apart(self.folder, runner, job, python, HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1")
        count = len(found["logprobs"])
        found["items_per_s"] = round(count / found["seconds"], 3)
        found["cpu_s_per_item"] = round(found["cpu_seconds"] / count, 4)
        return found


def say(name: str, found: dict[str, Any]) -> None:
    """One line of a table."""
    print(
        f"  {name:40} {found['items_per_s']:9.2f} items/s  {found['cpu_s_per_item']:8.3f} CPU-s an item  "
        f"{found['peak_mib']:7d} MiB",
        flush=True,
    )


def compared(ours: dict[str, list[float]], theirs: dict[str, list[float]], close: float) -> dict[str, Any]:
    """Which decisions differ, with the smaller of both margins: one of the two could not tell its best choices apart.
    `same` allows for those within `close`.
    """
    assert set(ours) == set(theirs)
    differ = {}
    for item, own in ours.items():
        other = theirs[item]
        mine, other_best = (max(range(len(row)), key=row.__getitem__) for row in (own, other))
        if mine != other_best:
            differ[item] = min(own[mine] - own[other_best], other[other_best] - other[mine])
    apart = max(abs(a - b) for item in ours for a, b in zip(ours[item], theirs[item], strict=True))
    return {"differ": differ, "same": all(margin <= close for margin in differ.values()), "largest_difference": apart}


def part(bench: Bench, name: str, job: EvalJob) -> dict[str, Any]:
    """One part: Preceptor, the harness at each batch size, and its best."""
    print(f"{name}: SmolLM2-135M, {job.dtype}, {job.shots} examples before each item")
    ours = bench.run("eval_ours", job)
    say("Preceptor", ours)
    found: dict[str, Any] = {"ours": _short(ours), "harness": {}}
    if bench.harness is None:
        return found
    every = {}
    for size in bench.sizes:
        every[size] = bench.run("eval_harness", EvalJob(**{**vars(job), "batch_size": size}), bench.harness)
        say(f"lm-evaluation-harness, batch size {size}", every[size])
        found["harness"][size] = _short(every[size])
    best = max(every.values(), key=lambda one: one["items_per_s"])
    found["decisions"] = {
        size: compared(ours["logprobs"], one["logprobs"], CLOSE[job.dtype]) for size, one in every.items()
    }
    found["same"] = all(one["same"] for one in found["decisions"].values())
    found["cpu_ratio"] = round(min(one["cpu_s_per_item"] for one in every.values()) / ours["cpu_s_per_item"], 3)
    found["ratio"] = round(ours["items_per_s"] / best["items_per_s"], 3)
    found["peaks"] = {"ours": ours["peak_mib"], "harness": best["peak_mib"]}
    print(f"  {found['ratio']:.2f} times the harness at its best; decisions the same: {found['same']}")
    return found


def _short(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key != "logprobs"}


def main() -> None:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="a few items, to see that it works")
    parser.add_argument("--threads", type=int, default=0, help="default: as torch chooses")
    parser.add_argument("--dtype", choices=("auto", "bfloat16", "float32"), default="auto")
    parser.add_argument("--no-peers", action="store_true", help="install and run no peer")
    parser.add_argument("--batch-sizes", nargs="+", default=SIZES, help="of the harness")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    root = os.environ.get("PRECEPTOR_DATA")
    if root is None:
        sys.exit("Set PRECEPTOR_DATA to the folder that holds pubmedqa/.")
    setting = "reasoning-required"
    data = DataSettings(task="pubmedqa", path=f"{root}/pubmedqa", split="official", settings=(setting,))
    try:
        dataset = load_datasets(data, Path())[setting]
    except PreceptorError as error:
        sys.exit(str(error))
    items = min(given.items, 8) if given.quick else given.items
    dtype = str(choose_dtype(given.dtype)).removeprefix("torch.")
    result: dict[str, Any] = {"bench": "evaluation", "items": items, "dtype": dtype, "machine": machine()}
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "tasks"
        name, made = write_task(tasks, dataset, items), "preceptor_options"
        write_options(tasks, name, made)
        bench = Bench(Path(folder), not given.no_peers, given.batch_sizes)
        usual = EvalJob(
            write_model(Path(folder) / "model", dtype), str(tasks), name, dtype=dtype, threads=given.threads
        )
        jobs = {
            "zero_shot": usual,
            "five_shot": EvalJob(**{**vars(usual), "shots": 5}),
            "options": EvalJob(**{**vars(usual), "task": made}),
        }
        parts = {key: part(bench, key, jobs[key]) for key in given.only}
    for key in PARTS:
        result[f"{key}_vs_lm_eval"] = parts.get(key, {}).get("ratio")
    same = [one["same"] for one in parts.values() if "same" in one]
    result["same_decisions"] = all(same) if same else None
    result["peak_mib"] = {key: one.get("peaks", {"ours": one["ours"]["peak_mib"]}) for key, one in parts.items()}
    result["versions"] = next(iter(parts.values()))["ours"]["versions"] | {"lm_eval": HARNESS[0].partition("==")[2]}
    print(json.dumps({**result, "parts": parts}))


if __name__ == "__main__":
    main()
