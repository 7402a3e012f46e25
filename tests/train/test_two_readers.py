"""Continued training in two processes makes the steps of one, sees the same on validation, and saves whole weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import two_readers
from safetensors.torch import load_file
from test_parallel import TESTS, torchrun

import tiny
from preceptor.store.stages import read_json
from preceptor.train.cell import FIT
from shared_folders import made_once


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what two processes trained, by the way they shared it and the case; and with the models."""

    def launch(root: Path) -> None:
        for kind in ("llama", "gpt2"):
            tiny.save_model(root / kind, kind)
        done = torchrun(str(TESTS / "train" / "two_readers.py"), str(root))
        assert done.returncode == 0, done.stderr[-3000:]

    return made_once(tmp_path_factory, "two-readers", launch)


@pytest.mark.parametrize("processes", ["ddp", "fsdp"])
@pytest.mark.parametrize("case", list(two_readers.CASES))
def test_two_processes_read_as_one(case: str, processes: str, shared: Path, tmp_path: Path) -> None:
    two_readers.train(shared, tmp_path / "one", case, processes)
    one, two = (read_json(folder / FIT) for folder in (tmp_path / "one", shared / processes / case))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
    assert len(two["checks"]) > 1
    for mine, theirs in zip(two["checks"], one["checks"], strict=True):
        assert (mine["step"], mine["loss"]) == pytest.approx((theirs["step"], theirs["loss"]), rel=1e-4)
    for key in ("selected", "tokens", "windows", "pass_tokens", "trainable"):
        assert two[key] == one[key], key
    name = "model.safetensors" if case.endswith("full") else "adapter_model.safetensors"
    alone, together = (load_file(folder / name) for folder in (tmp_path / "one", shared / processes / case))
    assert alone.keys() == together.keys()
    for weight, values in alone.items():
        assert together[weight].flatten().tolist() == pytest.approx(values.flatten().tolist(), abs=3e-4), weight
