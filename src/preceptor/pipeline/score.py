"""Scoring predictions that somebody hands in."""

from __future__ import annotations

from pathlib import Path

from preceptor.config import DataSettings, EvaluateSettings
from preceptor.data.load import load_datasets
from preceptor.records import Row


def score_file(file: Path, *, data: Path, split: str, parser: str) -> list[Row]:
    """Score somebody's predictions on PubMedQA's test items.

    Returns their row, the majority floor and the human ceiling, all computed from the same items. Raises `DataError`
    naming missing, extra or duplicate ids, and labels that are none; then nothing is scored.
    """
    from preceptor.data import pubmedqa
    from preceptor.evaluate.results import reference_rows, submission_row
    from preceptor.evaluate.submission import score_submission

    settings = DataSettings.model_validate(
        {"task": "pubmedqa", "path": str(data.resolve()), "split": split, "settings": ["reasoning-required"]}
    )
    dataset = load_datasets(settings, Path())["reasoning-required"]
    order = pubmedqa.order(settings, Path())
    _, predictions = score_submission(file, dataset.task, dataset.test, order, parser)
    labels, evaluation = dataset.task.labels, EvaluateSettings()
    ours = submission_row(predictions, labels, evaluation)
    return [ours, *reference_rows("reasoning-required", dataset.test, labels, evaluation)]
