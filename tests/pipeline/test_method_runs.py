"""A whole run with tokens inside the prompt: trained, scored and generated through one door, and told beforehand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from preceptor.config import check_recipe
from preceptor.errors import RecipeError
from preceptor.pipeline import labels as pipeline
from preceptor.progress import Progress
from preceptor.records import RunSummary
from preceptor.store.tables import read_predictions


def go(folder: Path, model: Path, train: dict[str, Any], **more: Any) -> RunSummary:
    raw = {
        "name": "job",
        "title": "Methods",
        "seeds": [1],
        "data": {"task": "demo", "max_train": 12, "max_test": 8},
        "arms": {"none": []},
        "train": {"learning_rate": 1e-2, "epochs": 1, "batch_size": 6, "max_length": 290, "dtype": "float32", **train},
        "students": [{"name": "small", "model": str(model)}],
        "evaluate": {"resamples": 100},
        **more,
    }
    return pipeline.run(check_recipe(raw, "here"), folder=folder, base=folder, command="c", progress=Progress())


PROMPT = {"method": "prompt", "virtual_tokens": 4}


def test_the_untrained_student_is_scored_as_it_came(demo_models: dict[str, Path], tmp_path: Path) -> None:
    go(tmp_path / "run", demo_models["llama"], {**PROMPT, "prompt_position": "before-question"})
    (tmp_path / "plain").mkdir()
    go(tmp_path / "plain" / "run", demo_models["llama"], {"method": "lora"})
    first, second = (
        read_predictions(folder / "evaluate" / "default" / "small" / "untrained" / "seed-1" / "predictions.parquet")
        for folder in (tmp_path / "run", tmp_path / "plain" / "run")
    )
    assert first == second


@pytest.mark.parametrize("position", ["before-question", "before-answer"])
@pytest.mark.parametrize("read", ["likelihood", "generation"])
def test_tokens_inside_the_prompt_from_training_to_the_report(
    position: str, read: str, demo_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = {**PROMPT, "prompt_position": position}
    evaluate = {"resamples": 100, "read": read, "decoding": "beam", "max_tokens": 3}
    summary = go(tmp_path / "run", demo_models["llama"], train, evaluate=evaluate)
    assert "train: small, default, none, seed 1: 12 items make 2 updates. Warning" in capsys.readouterr().err
    methods = {row.method for row in summary.rows if row.student == "small"}
    before = "question" if position == "before-question" else "answer"
    assert methods == {"as it came", f"prompt 4 before the {before}, from text, lr 0.01"}


def test_the_papers_preset_is_told_to_make_few_updates(
    demo_models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    summary = go(tmp_path / "run", demo_models["llama"], {"preset": "paper", "alpha": 256, "batch_size": 3})
    assert "12 items make 1 update. Warning: fewer than 20" in capsys.readouterr().err
    assert "LoRA r 4, alpha 256 (alpha/r 64), lr 0.01" in {row.method for row in summary.rows}
    assert "accumulation = 32" in summary.recipe


@pytest.mark.parametrize(
    ("model", "train", "said"),
    [
        ("bert", {**PROMPT, "prompt_position": "before-question"}, "needs a language model"),
        ("llama", {**PROMPT, "prompt_position": "before-question", "prompt_field": "claim"}, "not among the inputs"),
        ("llama", {"method": "ia3", "targets": ["nothing"]}, "cannot take method 'ia3'"),
        ("llama", {**PROMPT, "virtual_tokens": 40}, "40 virtual tokens and train.max_length = 290 do not fit"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is(
    model: str, train: dict[str, Any], said: str, demo_models: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=said):
        go(tmp_path / "run", demo_models[model], train)
    assert not (tmp_path / "run" / "train").exists()
