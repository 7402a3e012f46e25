"""From `[[benchmarks]]` to a benchmark's items: the one place that knows every kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from preceptor.config import BenchmarkSettings
from preceptor.data.benchmark import Benchmark
from preceptor.data.benchmarks import choice, dialogue, iob, labels, parts
from preceptor.errors import RecipeError, SplitError
from preceptor.records import Instruction

_COMMON = (
    "name", "kind", "category", "instruction", "max_train", "max_validation", "max_test", "split_seed", "max_tokens",
    "scored",
)  # fmt: skip
_FILES = ("path", "train_path", "validation_path", "test_path")
_KEYS = {
    "pubmedqa": ("path", "hub", "split", "setting", "read"),
    "labels": (*_FILES, "split", "own", "read"),
    "medqa": (*_FILES, "hub", "split", "read"),
    "medmcqa": (*_FILES, "hub", "split", "first_option", "read"),
    "choice": (*_FILES, "hub", "split", "first_option", "read"),
    "iob": (*_FILES, "entity"),
    "dialogue-note": (*_FILES, "augmented"),
}
_LOADERS: dict[str, Callable[[BenchmarkSettings, Path], Benchmark]] = {
    "pubmedqa": labels.load_pubmedqa,
    "labels": labels.load_labels,
    "medqa": choice.load,
    "medmcqa": choice.load,
    "choice": choice.load,
    "iob": iob.load,
    "dialogue-note": dialogue.load,
}


def load_benchmark(settings: BenchmarkSettings, base: Path) -> Benchmark:
    """The items of one benchmark. Paths in `settings` are relative to `base`, the recipe's folder.

    Raises `DataError` (file, line, field), `SplitError`, `MissingPackageError`, or `RecipeError` for a key that the
    kind has no use for.
    """
    known = (*_COMMON, *_KEYS[settings.kind])
    for key in sorted(settings.model_fields_set.difference(known)):
        if getattr(settings, key) != type(settings).model_fields[key].default:
            raise RecipeError(
                f"benchmarks.{settings.name}.{key} has no meaning for kind = {settings.kind!r}.",
                f"Remove it. Keys for this kind: {', '.join(known)}.",
            )
    return _LOADERS[settings.kind](settings, base)


def refuse_shared(source: Benchmark, scored: Benchmark) -> None:
    """Raise `SplitError` when training or validation items of `source` are test items of `scored`.

    Items are the same when they show the same text; two of PubMedQA also when they have the same id, whatever a
    student sees of them. What the publishers themselves left both in the training and the test part of `scored` is
    noted there, and not refused.
    """
    by_id = isinstance(source, labels.PubMedQA) and isinstance(scored, labels.PubMedQA)

    def key(item: Instruction) -> str:
        return item.id if by_id else parts.shown(item)

    kept_out = {key(item) for item in scored.test} - {key(item) for item in (*scored.train, *scored.validation)}
    train = sum(key(item) in kept_out for item in source.train)
    validation = sum(key(item) in kept_out for item in source.validation)
    if train or validation:
        raise SplitError(
            f"{train} training items and {validation} validation items of the benchmark {source.name!r} are test "
            f"items of {scored.name!r}; a score would be worthless.",
            "Train and score on parts of the same split, or leave one of the two out.",
        )
