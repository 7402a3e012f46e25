"""lm-evaluation-harness itself runs what we export, and decides as we do. It gets an environment of its own."""

from __future__ import annotations

import importlib
import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from preceptor.config import DataSettings
from preceptor.data.load import load_datasets
from preceptor.models.load import source_of
from preceptor.publish.harness import write_harness

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]
BENCH = Path(__file__).resolve().parents[2] / "bench"
MODEL = "builtin:smollm2-135m-instruct"


@pytest.fixture
def evaluation(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module("evaluation")


@pytest.fixture
def python(evaluation: ModuleType) -> Path:
    """The interpreter of the harness's environment."""
    try:
        found = evaluation.python_with(evaluation.HARNESS, evaluation.DEFAULT)
    except SystemExit as error:
        pytest.skip(f"the harness cannot be installed here: {str(error.code)[-300:]}")
    assert isinstance(found, Path)
    return found


def scored(evaluation: ModuleType, folder: Path, job: Any, python: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our result and the harness's."""
    bench = evaluation.Bench(folder, peers=False)
    return bench.run("eval_ours", job), bench.run("eval_harness", replace(job, batch_size="4"), python)


def test_the_same_500_decisions_on_the_official_test(
    evaluation: ModuleType,
    python: Path,
    data_root: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    setting = "reasoning-required"
    data = DataSettings(task="pubmedqa", path=str(data_root / "pubmedqa"), split="official", settings=(setting,))
    dataset = load_datasets(data, Path())[setting]
    # The harness's own prompt for this task (lm_eval/tasks/pubmedqa), its data set being out of reach.
    for item in dataset.test:
        shown = f"Abstract: {item.fields['context']}\nQuestion: {item.fields['question']}\nAnswer:"
        assert dataset.task.render(item) == shown
    name = write_harness(tmp_path / "task", dataset)
    for dtype, close in evaluation.CLOSE.items():
        job = evaluation.EvalJob(source_of(MODEL), str(tmp_path / "task"), name, dtype=dtype)
        ours, theirs = scored(evaluation, tmp_path, job, python)
        assert len(ours["logprobs"]) == len(theirs["logprobs"]) == 500
        found = evaluation.compared(ours["logprobs"], theirs["logprobs"], close)
        record_property(f"{dtype}: decisions that differ, with their margins", found["differ"])
        assert found["same"], found["differ"]
        if dtype == "float32":
            assert not found["differ"]
            assert ours["accuracy"] == pytest.approx(theirs["accuracy"])
            assert found["largest_difference"] < 1e-3


@pytest.mark.parametrize("shots", [0, 2])
def test_the_command_line_of_the_harness_runs_an_exported_task(
    evaluation: ModuleType, python: Path, demo_models: dict[str, Path], tmp_path: Path, shots: int
) -> None:
    dataset = load_datasets(DataSettings(task="demo", max_test=30), Path())["default"]
    name = write_harness(tmp_path / "task", dataset)
    moved = (tmp_path / "task").rename(tmp_path / "moved")
    model = f"pretrained={demo_models['llama']},dtype=float32"
    command = [python, "-m", "lm_eval", "--model", "hf", "--model_args", model, "--device", "cpu"]
    command += [
        "--include_path",
        moved,
        "--tasks",
        name,
        "--num_fewshot",
        str(shots),
        "--output_path",
        tmp_path / "out",
    ]
    done = subprocess.run([*map(str, command)], cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads(next((tmp_path / "out").rglob("results_*.json")).read_text(encoding="utf-8"))
    scores = results["results"][name]
    job = evaluation.EvalJob(str(demo_models["llama"]), str(moved), name, shots=shots, dtype="float32")
    ours, theirs = scored(evaluation, tmp_path, job, python)
    found = evaluation.compared(ours["logprobs"], theirs["logprobs"], 0.0)
    assert not found["differ"]
    assert found["largest_difference"] < 1e-4
    assert scores["acc,none"] == pytest.approx(ours["accuracy"])
    assert 0 <= scores["f1,none"] <= 1
    assert results["n-samples"][name]["effective"] == 30
