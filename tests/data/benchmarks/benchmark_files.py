"""Loading a benchmark from files that a test writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from preceptor.config import BenchmarkSettings
from preceptor.data.benchmark import Benchmark
from preceptor.data.benchmarks.load import load_benchmark

Load = Callable[..., Any]


def settings(kind: str, **keys: Any) -> BenchmarkSettings:
    return BenchmarkSettings.model_validate({"name": "bench", "kind": kind, "category": "question_answering", **keys})


def loader(folder: Path) -> Load:
    """A function that writes files into `folder` and loads a benchmark from them, by default from the folder."""

    def load(kind: str, contents: dict[str, Any], **keys: Any) -> Benchmark:
        for name, content in contents.items():
            text = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
            (folder / name).write_text(text, encoding="utf-8", newline="")
        return load_benchmark(settings(kind, **{"path": ".", **keys}), folder)

    return load
