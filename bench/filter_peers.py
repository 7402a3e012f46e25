"""Runs what `filters.py` compares with; started by it in an environment of its own, where preceptor is not installed.

    python filter_peers.py rouge    FILE   # rouge_score: F of all pairs of the texts
    python filter_peers.py stream   FILE   # rouge_score: candidates one after another against seeds and kept ones
    python filter_peers.py minhash  FILE   # distilabel's MinHashDedup
    python filter_peers.py both     FILE   # distilabel's EmbeddingDedup on a pair of duplicates

FILE is JSON with what the job needs; the result is the last line printed, as JSON. Times are CPU seconds.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any


def rouge(job: dict[str, Any]) -> dict[str, Any]:
    """F-measures of all pairs, row by row."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer, texts = RougeScorer(["rougeL"]), job["texts"]
    begin = time.process_time()
    scores = [
        scorer.score(texts[j], texts[i])["rougeL"].fmeasure for i in range(len(texts)) for j in range(i + 1, len(texts))
    ]
    return {"seconds": time.process_time() - begin, "scores": scores}


def stream(job: dict[str, Any]) -> dict[str, Any]:
    """Self-Instruct's loop: highest F to what is kept, and the candidate is kept if it is not above the bound."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer, kept, nearest = RougeScorer(["rougeL"]), list(job["seeds"]), []
    begin, pairs = time.process_time(), 0
    for text in job["candidates"]:
        nearest.append(max(scorer.score(other, text)["rougeL"].fmeasure for other in kept))
        pairs += len(kept)
        if nearest[-1] <= job["bound"]:
            kept.append(text)
    return {"seconds": time.process_time() - begin, "pairs": pairs, "nearest": nearest}


def minhash(job: dict[str, Any]) -> dict[str, Any]:
    """Which texts MinHashDedup would drop. Its other tokenizer, by words, downloads a model at run time."""
    from distilabel.steps import MinHashDedup

    step = MinHashDedup(name="dedup", tokenizer="ngrams", threshold=job["threshold"])
    step.load()
    rows = [{"text": text} for text in job["texts"]]
    begin = time.process_time()
    for top in range(0, len(rows), 500):
        next(step.process(rows[top : top + 500]))
    seconds = time.process_time() - begin
    return {
        "seconds": seconds,
        "peak_mib": _peak_mib(),
        "dropped": [i for i, row in enumerate(rows) if not row["keep_row_after_minhash_filtering"]],
    }


def both(job: dict[str, Any]) -> dict[str, Any]:
    """What EmbeddingDedup leaves of two texts that are each other's nearest neighbour."""
    from distilabel.steps import EmbeddingDedup

    step = EmbeddingDedup(name="dedup", threshold=job["threshold"])
    rows = [{"nn_indices": [1], "nn_scores": [0.99]}, {"nn_indices": [0], "nn_scores": [0.99]}]
    next(step.process(rows))
    return {"kept": sum(row["keep_row_after_embedding_filtering"] for row in rows)}


def _peak_mib() -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def main() -> None:
    """One job."""
    warnings.simplefilter("ignore")
    job = json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    result = {"rouge": rouge, "stream": stream, "minhash": minhash, "both": both}[sys.argv[1]](job)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
