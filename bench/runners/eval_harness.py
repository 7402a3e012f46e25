"""lm-evaluation-harness scores the items of an exported task; runs in the harness's own environment."""

from __future__ import annotations

import time
from typing import Any

import lm_eval
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from runners import eval_work as work


def score(job: work.EvalJob) -> dict[str, Any]:
    """Log-probabilities of each item's choices; seconds are those of the model's `loglikelihood`."""
    seconds = cpu = 0.0
    model = HFLM(
        pretrained=job.model,
        dtype=job.dtype,
        device="cpu",
        batch_size=job.batch_size if job.batch_size == "auto" else int(job.batch_size),
    )
    stock = model.loglikelihood

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal seconds, cpu
        started, worked = time.monotonic(), time.process_time()
        found = stock(*args, **kwargs)
        seconds += time.monotonic() - started
        cpu += time.process_time() - worked
        return found

    model.loglikelihood = timed
    results = lm_eval.simple_evaluate(
        model=model,
        tasks=[job.task],
        task_manager=TaskManager(include_path=job.folder, include_defaults=False),
        num_fewshot=job.shots,
        log_samples=True,
        bootstrap_iters=0,
    )
    rows = {
        sample["doc"]["id"]: [float(answer[0]) for answer in sample["filtered_resps"]]
        for sample in results["samples"][job.task]
    }
    scores = results["results"][job.task]
    return {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "logprobs": rows,
        "accuracy": scores["acc,none"],
        "macro_f1": scores["f1,none"],
    }


if __name__ == "__main__":
    work.main(score, ["torch", "transformers", "lm_eval"])
