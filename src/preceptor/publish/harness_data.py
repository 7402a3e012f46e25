"""What lm-evaluation-harness runs beside an exported task: it loads the task's items and averages F1 over the labels.

This file is copied next to the task and needs nothing of the package that wrote it. It finds the items beside itself,
so the folder may be moved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def load(task: str, **_others: Any) -> Any:
    """The task's items: `test`, and `fewshot` to draw examples from."""
    from datasets import Dataset, DatasetDict

    here = Path(__file__).resolve().parent
    parts = {}
    for part in ("test", "fewshot"):
        lines = (here / f"{task}.{part}.jsonl").read_text(encoding="utf-8").split("\n")
        parts[part] = Dataset.from_list([json.loads(line) for line in lines if line])
    return DatasetDict(parts)


def macro_f1(items: Sequence[tuple[int, int]]) -> float:
    """Mean over the labels of F1 = 2 TP / (2 TP + FP + FN), from (true label, answer); 0 for a label never answered.

    The labels are those that stand in an answer or are true of an item.
    """
    pairs = [(int(gold), int(said)) for gold, said in items]
    labels = {label for pair in pairs for label in pair}
    scores = []
    for label in sorted(labels):
        right = sum(gold == said == label for gold, said in pairs)
        scores.append(2 * right / sum((gold == label) + (said == label) for gold, said in pairs))
    return sum(scores) / len(scores)
