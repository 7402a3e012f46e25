"""Predictions in the form of PubMedQA's leaderboard: a JSON object {PMID: yes, no or maybe} (https://pubmedqa.github.io).

Nothing is written unless there is exactly one label for each of the test ids.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from preceptor.errors import DataError
from preceptor.records import Outcome, Prediction
from preceptor.store.stages import write_text

SIZE = 500
"""Test items of the official split."""
LABELS = ("yes", "no", "maybe")


def write_leaderboard(
    path: Path, predictions: Sequence[Prediction], source: str, is_test: Callable[[Sequence[str]], bool]
) -> None:
    """Write the predictions to `path`. `is_test` says whether ids are the published test; `source` names the run.

    Raises `DataError` saying how many answers are missing, foreign or without a label, and what to do.
    """
    ids = [prediction.id for prediction in predictions]
    if len(set(ids)) < len(ids):
        raise DataError.at(source, f"{len(ids) - len(set(ids))} ids stand there twice.", hint="Run it again.")
    if len(ids) < SIZE:
        raise DataError.at(
            source,
            f"{SIZE - len(ids)} of the {SIZE} test ids are missing.",
            hint="Remove data.max_test from the recipe and run again.",
        )
    if not is_test(ids):
        raise DataError.at(
            source,
            f"its {len(ids)} ids are not the {SIZE} of the official test.",
            hint='Use the published files and data.split = "official".',
        )
    unread = [prediction for prediction in predictions if prediction.label is None]
    if unread:
        kinds = Counter(p.outcome.value.replace("_", " ") for p in unread if p.outcome is not Outcome.ANSWERED)
        raise DataError.at(
            source,
            f"{len(unread)} of {len(ids)} answers hold no label "
            f"({', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}).",
            hint='Give the student evaluate.read = "likelihood", which always has a label, and run again.',
        )
    unknown = sorted({str(p.label) for p in predictions} - set(LABELS))
    if unknown:
        count = sum(str(p.label) in unknown for p in predictions)
        raise DataError.at(
            source,
            f"{count} of {len(ids)} answers are none of {', '.join(LABELS)}, first {unknown[0]!r}.",
            hint="The leaderboard knows these three labels alone.",
        )
    write_text(path, json.dumps({p.id: p.label for p in predictions}, indent=0) + "\n")
