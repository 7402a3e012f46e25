"""The round trip: somebody else answers each generated item from what a student would see, and should agree.

Reasons: disagrees, no_majority (no label has more than half of the votes), and for an answer without a label
unparsed, refused, cut_off, no_answer (the call failed).

What it cannot see: whether the labeller is right. A weak one drops good items; one that wrote the item repeats its
own mistake; and where both find only easy items easy, only easy items survive. So the report shows the kept rate of
each label and how the labeller does on validation items.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from preceptor.config import AgreementSettings
from preceptor.filter.base import FilterContext
from preceptor.filter.labels import Label
from preceptor.records import KEEP, Example, Outcome, Verdict, drop


class Agreement:
    """Compares each candidate's label with the labeller's (reasons: see above).

    On a disagreement the mode `drop` drops, and `relabel` gives the example the labeller's label if that has
    `min_share` of the votes. `weight` asks how much rather than whether: the example's weight is the share that its
    own label got, and only without any it is dropped. An item without a readable answer is never relabelled or
    weighted: `unread` says whether it is dropped or stays as it came.
    """

    name = "agreement"

    def __init__(self, settings: AgreementSettings) -> None:
        self._settings = settings

    def judge(self, candidates: Sequence[Example], context: FilterContext) -> list[Verdict]:
        """One verdict per candidate, in the same order."""
        if not candidates:
            return []
        if context.label is None:
            raise ValueError("the filter agreement needs a labeller in its context")
        labels = context.label(candidates)
        return [self._one(example, said) for example, said in zip(candidates, labels, strict=True)]

    def _one(self, example: Example, said: Label) -> Verdict:
        if said.outcome != Outcome.ANSWERED:
            return self._unread(said)
        if self._settings.mode == "weight":
            return _weighted(example, said)
        if said.label == example.label:
            return KEEP
        if said.label is None:
            return drop("no_majority", _evidence(example, said))
        if self._settings.mode == "relabel" and said.shares.get(said.label, 0.0) >= self._settings.min_share:
            changed = replace(example, label=said.label, relabelled_from=example.given_label)
            return Verdict(kept=True, detail=_evidence(example, said), example=changed)
        return drop("disagrees", _evidence(example, said))

    def _unread(self, said: Label) -> Verdict:
        detail = f"votes: {_words(said)}" if said.votes else "nobody could be asked"
        if self._settings.unread == "keep":
            return Verdict(kept=True, detail=f"the labeller gave no label ({said.outcome}; {detail})")
        return drop(said.outcome, detail)


def _weighted(example: Example, said: Label) -> Verdict:
    share = said.shares.get(example.label, 0.0)
    if not share:
        return drop("disagrees", _evidence(example, said))
    return KEEP if share == 1.0 else Verdict(kept=True, example=replace(example, weight=example.weight * share))


def _evidence(example: Example, said: Label) -> str:
    how = f"votes: {_words(said)}" if said.votes else f"probability {said.shares.get(said.label or '', 0.0):.2f}"
    return f"the labeller says {said.label or 'no label by majority'} ({how}), the item {example.label}"


def _words(said: Label) -> str:
    return ", ".join(vote.word for vote in said.votes)


def counts(pairs: Sequence[tuple[Example, Label]], kept: Sequence[Example]) -> dict[str, Any]:
    """What a labeller said about candidates as they came to it, in numbers; `kept` gives the weights in the end."""
    return {
        "asked": dict(Counter(example.label for example, _ in pairs)),
        "agreed": dict(Counter(example.label for example, said in pairs if said.label == example.label)),
        "outcomes": dict(Counter(o for _, said in pairs for o in [v.outcome for v in said.votes] or [said.outcome])),
        "mean_weight": sum(e.weight for e in kept) / len(kept) if kept else None,
    }
