"""One cell from untrained model to saved weights: equal steps for all arms, and weights that can be proven."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiny
from preceptor.config import StudentSettings, TrainSettings
from preceptor.data.base import Task
from preceptor.errors import RecipeError
from preceptor.models.student import Probe, restore
from preceptor.records import Example
from preceptor.store.stages import read_json
from preceptor.train.cell import FIT, PROBES, open_for, train_cell

SETTINGS = TrainSettings(method="lora", rank=2, batch_size=4, epochs=1, max_length=48, dtype="float32")
REAL, GENERATED, VALIDATION = tiny.examples(12), tiny.examples(8, "written"), tiny.examples(6, "held-out")


def entry(folder: Path) -> StudentSettings:
    return StudentSettings(name="tiny", model=str(folder))


def train(
    folder: Path,
    model: Path,
    settings: TrainSettings = SETTINGS,
    *,
    generated: list[Example] | None = None,
    seed: int = 1,
    task: Task = tiny.TASK,
    trunk: Path | None = None,
) -> dict[str, Any]:
    folder.mkdir()
    train_cell(
        folder,
        entry(model),
        settings,
        task,
        real=REAL,
        generated=generated or [],
        validation=VALIDATION,
        seed=seed,
        trunk=trunk,
    )
    return read_json(folder / FIT)


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_what_was_trained_is_what_is_restored(kind: str, tiny_models: dict[str, Path], tmp_path: Path) -> None:
    fitted = train(tmp_path / "cell", tiny_models[kind], generated=GENERATED)
    assert (fitted["real"], fitted["generated"], fitted["steps"]) == (12, 8, 3)
    assert len(fitted["losses"]) == 3
    fresh = open_for(entry(tiny_models[kind]), SETTINGS, tiny.TASK, seed=1)
    probe = Probe(**json.loads((tmp_path / "cell" / "probe.json").read_text()))
    assert len(probe.prompts) == PROBES
    np.testing.assert_array_equal(fresh.logprobs(probe.prompts), np.array(probe.before))
    restored = restore(fresh, tmp_path / "cell")
    np.testing.assert_array_equal(restored.logprobs(probe.prompts), np.array(probe.after))


def test_arms_get_equal_steps_and_read_the_generated_items(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    alone = train(tmp_path / "none", tiny_models["llama"])
    joined = train(tmp_path / "rewrite", tiny_models["llama"], generated=GENERATED)
    assert alone["steps"] == joined["steps"] == 3
    assert alone["losses"] != joined["losses"]
    many = train(tmp_path / "passes", tiny_models["llama"], SETTINGS.model_copy(update={"epochs": 2}))
    assert many["steps"] == 6


def test_items_that_were_shortened_are_counted(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    long = [replace(e, fields={**e.fields, "context": "sleep " * 60 + e.fields["context"]}) for e in GENERATED[:3]]
    assert train(tmp_path / "none", tiny_models["llama"])["cut"] == 0
    assert train(tmp_path / "rewrite", tiny_models["llama"], generated=[*GENERATED[3:], *long])["cut"] == 3


def test_the_seed_fixes_the_weights(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(tmp_path / name, tiny_models["bert"], seed=seed)
    written = {name: (tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "abc"}
    assert written["a"] == written["b"]
    assert written["a"] != written["c"]


def test_a_prefix_that_does_not_fit_is_refused_before_training(tiny_models: dict[str, Path], tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"method": "prefix", "virtual_tokens": 32})
    with pytest.raises(RecipeError, match="32 virtual tokens"):
        train(tmp_path / "cell", tiny_models["llama"], settings)
    assert not list((tmp_path / "cell").iterdir())


@pytest.mark.parametrize("kind", tiny.ARCHITECTURES)
def test_lower_layers_that_are_kept_change_nothing_and_serve_the_next_seed(
    kind: str, tiny_models: dict[str, Path], tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"last_layers": 1, "epochs": 3})
    plain = train(tmp_path / "plain", tiny_models[kind], settings)
    kept = train(tmp_path / "kept", tiny_models[kind], settings, trunk=tmp_path / "trunk")
    assert kept["losses"] == pytest.approx(plain["losses"], abs=1e-4)
    assert [c["loss"] for c in kept["checks"]] == pytest.approx([c["loss"] for c in plain["checks"]], abs=1e-4)
    files = set((tmp_path / "trunk").rglob("*.bin"))
    assert files
    train(tmp_path / "next", tiny_models[kind], settings, seed=2, trunk=tmp_path / "trunk")
    assert set((tmp_path / "trunk").rglob("*.bin")) == files
    train(tmp_path / "all-layers", tiny_models[kind], trunk=tmp_path / "unused")
    assert not (tmp_path / "unused").exists()
