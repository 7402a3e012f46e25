"""What the check for identifiers of people finds, and what it takes for one by mistake.

    PRECEPTOR_DATA=/my/data python bench/phi.py

Prompts of all 1,000 PubMedQA items, as the pipeline makes them, hold no patient's identifiers: what is flagged there is
a mistake (or a date of the study). 200 made-up identifiers planted into PubMedQA contexts are to be found; their
spellings are other ones than those that the patterns were written with (`phi_planted.py`). Names are counted apart, by
patterns alone and with a language model where one is installed (or named on the command line: a folder or a package).
Prints a table and one line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from phi_planted import KINDS, NAMES, Planted, plant

from preceptor.augment.base import make_requests
from preceptor.augment.new import New
from preceptor.augment.rewrite import Rewrite
from preceptor.config import DataSettings, PhiSettings
from preceptor.data.base import Dataset
from preceptor.data.pubmedqa import load
from preceptor.records import Request, Sampling
from preceptor.store.provenance import machine
from preceptor.teachers.phi import Finding, PhiGate

Find = Callable[[str], Sequence[Finding]]

PLANTED = 200
SEED = 20261125


def pubmedqa(root: Path) -> Dataset:
    """The official split: training, validation and test items are all 1,000."""
    settings = DataSettings(task="pubmedqa", path=str(root / "pubmedqa"), settings=("reasoning-required",))
    return load(settings, root)["reasoning-required"]


def prompts(dataset: Dataset) -> dict[str, list[Request]]:
    """The requests that three strategies make of every item."""
    items = [item for part in (dataset.train, dataset.validation, dataset.test) for item in part]
    strategies = {
        "rewrite question": Rewrite(dataset.task, "question"),
        "rewrite context": Rewrite(dataset.task, "context"),
        "new question": New(dataset.task),
    }
    return {name: make_requests(strategy, items, Sampling(), 1) for name, strategy in strategies.items()}


def contexts(dataset: Dataset) -> list[str]:
    """Texts into which identifiers are planted."""
    return [item.fields["context"] for part in (dataset.train, dataset.validation, dataset.test) for item in part]


def flagged(requests: Sequence[Request], find: Find) -> tuple[int, Counter[str]]:
    """How many requests hold a finding, and the findings by kind."""
    found = [[f.kind for message in r.messages for f in find(message.content)] for r in requests]
    return sum(map(bool, found)), Counter(kind for kinds in found for kind in kinds)


def recall(planted: Sequence[Planted], find: Find) -> dict[str, tuple[int, int, int]]:
    """By kind: planted, found under any kind, found under its own."""
    counts = {kind: [0, 0, 0] for kind in dict.fromkeys(p.kind for p in planted)}
    for item in planted:
        hits = [f.kind for f in find(item.text) if f.start < item.end and f.end > item.start]
        counts[item.kind][0] += 1
        counts[item.kind][1] += bool(hits)
        counts[item.kind][2] += item.kind in hits
    return {kind: (n, any_kind, own) for kind, (n, any_kind, own) in counts.items()}


def measure(root: Path, find: Find, number: int = PLANTED, seed: int = SEED) -> dict[str, object]:
    """Both shares, with their counts."""
    dataset = pubmedqa(root)
    texts = contexts(dataset)
    by_strategy = {name: flagged(requests, find) for name, requests in prompts(dataset).items()}
    kinds = recall(plant(texts, KINDS, number, "counted", seed), find)
    names = recall(plant(texts, NAMES, 150, "counted", seed), find)
    return {
        "items": len(texts),
        "flagged": {name: count for name, (count, _) in by_strategy.items()},
        "flagged_kinds": {name: dict(found) for name, (_, found) in by_strategy.items()},
        "planted": number,
        "found": sum(found for _, found, _ in kinds.values()),
        "right_kind": sum(own for *_, own in kinds.values()),
        "by_kind": kinds,
        "names": {style: (n, found) for style, (n, found, _) in names.items()},
    }


def table(title: str, result: dict[str, object]) -> str:
    """One measurement for people."""
    lines = [title]
    for name, count in result["flagged"].items():  # type: ignore[attr-defined]
        kinds = result["flagged_kinds"][name]  # type: ignore[index]
        lines.append(f"  {name:<18} {count:>4} of {result['items']} prompts flagged  {kinds or ''}")
    lines.append(f"  planted: {result['found']} of {result['planted']} found, {result['right_kind']} as their kind")
    for kind, (n, found, own) in result["by_kind"].items():  # type: ignore[attr-defined]
        lines.append(f"    {kind:<10} {found:>4} of {n}, {own} as {kind}")
    for style, (n, found) in result["names"].items():  # type: ignore[attr-defined]
        lines.append(f"  names {style:<13} {found:>4} of {n}")
    return "\n".join(lines)


def main() -> None:
    """Measure by patterns alone, with presidio's numbers, and with a model for names where there is one."""
    root = Path(os.environ.get("PRECEPTOR_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    results: dict[str, object] = {}
    model = sys.argv[1] if len(sys.argv) > 1 else None
    for title, gate in (
        ("without a language model", PhiGate("warn", PhiSettings(names=False))),
        ("with a language model", PhiGate("warn", PhiSettings(model=model))),
    ):
        if title.startswith("with a") and not gate.finds_names:
            print("with a language model: not measured, none is installed")
            continue
        started = time.process_time()
        results[title] = measure(root, gate.check)
        print(table(title, results[title]), f"\n  {time.process_time() - started:.0f} s of processor time")  # type: ignore[arg-type]
    print(json.dumps({**results, "seed": SEED, "machine": machine()}))


if __name__ == "__main__":
    main()
