"""Preceptor scores the items of an exported task."""

from __future__ import annotations

import time
from typing import Any

from runners import eval_work as work

from preceptor.models.answers import label_logprobs, option_logprobs
from preceptor.models.load import load_causal
from preceptor.models.score import encode, encode_target


def score(job: work.EvalJob) -> dict[str, Any]:
    """Log-probabilities of each item's choices: the labels, or its own `choices`."""
    loaded = load_causal(job.model, job.dtype)
    items, pool = work.rows_of(job, "test"), work.rows_of(job, "fewshot")
    shots = "".join(f"{row['prompt']} {row['label']}\n\n" for row in pool[: job.shots])
    labels = work.labels_of(job)
    started, worked = time.monotonic(), time.process_time()
    prompts = encode(loaded.tokenizer, [shots + row["prompt"] for row in items])
    if labels is None:
        own = [[encode_target(loaded.tokenizer, f" {choice}") for choice in row["choices"]] for row in items]
        found = option_logprobs(loaded.model, loaded, prompts, own)
    else:
        targets = [encode_target(loaded.tokenizer, f" {label}") for label in labels]
        found = list(label_logprobs(loaded.model, loaded, prompts, targets))
    seconds, cpu = time.monotonic() - started, time.process_time() - worked
    rows = {row["id"]: [float(value) for value in values] for row, values in zip(items, found, strict=True)}
    right = sum(max(range(len(rows[row["id"]])), key=rows[row["id"]].__getitem__) == row["gold"] for row in items)
    return {"seconds": seconds, "cpu_seconds": cpu, "logprobs": rows, "accuracy": right / len(items)}


if __name__ == "__main__":
    work.main(score, ["torch", "transformers"])
