"""Near duplicates among very many documents, by the script that measures them: decisions and memory, not time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "filters.py"


@pytest.mark.parametrize(
    "documents", [2_000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(1800)])]
)
def test_every_planted_duplicate_goes_and_the_first_stays(documents):
    command = [sys.executable, str(BENCH), "--only", "duplicates", "--no-peers", "--documents", str(documents)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])["duplicates"]["made_up"]
    assert found["documents"] == documents
    assert found["planted"] > documents / 20
    assert found["recall"] == 1
    assert found["first_kept"]
    assert found["wrongly_dropped"] == 0
    assert (found["audited"], found["missed"]) == (500, 0)
    assert 20 < found["mean_words"] < 60
    assert found["peak_mib"] < 1024
