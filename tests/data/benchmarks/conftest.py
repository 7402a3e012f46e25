"""The fixture `load` of all tests of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmark_files import Load, loader


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """`load(kind, {"train.tsv": content}, **keys)`: write the files, load the benchmark. Lists become JSONL."""
    return loader(tmp_path)
