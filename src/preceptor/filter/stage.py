"""The stage `filter`: run the chain, keep both the kept and the dropped, and describe what happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preceptor.filter.base import ChainResult
from preceptor.records import KEEP, Example, Funnel, Sample, Verdict
from preceptor.store.stages import write_json
from preceptor.store.tables import read_dropped, read_examples, write_dropped, write_examples

KEPT, DROPPED, FUNNEL = "kept.parquet", "dropped.parquet", "funnel.json"
SAMPLES_KEPT, SAMPLES_PER_REASON = 6, 2
"""How many samples of each strategy the report shows: kept ones, and dropped ones for each reason."""


@dataclass(frozen=True)
class Filtered:
    """What the stage left on disk."""

    candidates: tuple[Example, ...]
    kept: tuple[Example, ...]
    dropped: list[tuple[Example, str, Verdict]]
    """Example, name of the filter, verdict."""


def write_filtered(folder: Path, result: ChainResult) -> None:
    """Write the stage's files."""
    write_examples(folder / KEPT, result.kept)
    write_dropped(folder / DROPPED, [(d.example, d.filter, d.verdict) for d in result.dropped])
    write_json(folder / FUNNEL, {"dropped": result.counts, "remarked": result.remarked})


def read_filtered(folder: Path, candidates: Sequence[Example]) -> Filtered:
    """Read what `write_filtered` wrote."""
    return Filtered(tuple(candidates), read_examples(folder / KEPT), read_dropped(folder / DROPPED))


def funnel(setting: str, strategy: str, asked: Mapping[str, Any], filtered: Filtered, chain: Sequence[str]) -> Funnel:
    """Counts from request to kept example; `asked` is the augment stage's record."""
    reasons: dict[str, Counter[str]] = {step: Counter() for step in chain}
    by_label: dict[str, dict[str, Counter[str]]] = {step: {} for step in chain}
    for example, step, verdict in filtered.dropped:
        reasons[step][verdict.reason] += 1
        by_label[step].setdefault(verdict.reason, Counter())[example.given_label] += 1
    relabelled: dict[str, Counter[str]] = {}
    for example in filtered.kept:
        if example.relabelled_from is not None:
            relabelled.setdefault(example.relabelled_from, Counter())[example.label] += 1
    return Funnel(
        setting=setting,
        strategy=strategy,
        asked=asked["asked"],
        candidates=len(filtered.candidates),
        unreadable=asked["unreadable"],
        outcomes=asked.get("outcomes", {}),
        dropped={step: dict(counts) for step, counts in reasons.items()},
        kept=len(filtered.kept),
        kept_by_label=dict(Counter(e.given_label for e in filtered.kept)),
        candidates_by_label=dict(Counter(e.label for e in filtered.candidates)),
        dropped_by_label={s: {r: dict(n) for r, n in found.items()} for s, found in by_label.items()},
        relabelled={given: dict(n) for given, n in relabelled.items()},
    )


def samples(setting: str, strategy: str, filtered: Filtered, parents: Mapping[str, Example]) -> list[Sample]:
    """The first few kept examples, and the first few dropped for each reason, beside their parents.

    What names no training item as its parent has none to stand beside.
    """
    shown: Counter[str] = Counter()
    chosen = []
    for example, step, verdict in [*((e, "", KEEP) for e in filtered.kept), *filtered.dropped]:
        known = example.parents and example.parents[0] in parents
        if known and shown[verdict.reason] < (SAMPLES_KEPT if verdict.kept else SAMPLES_PER_REASON):
            shown[verdict.reason] += 1
            chosen.append(Sample(setting, strategy, verdict, step, example, parents[example.parents[0]]))
    return chosen
