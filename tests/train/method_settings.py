"""Every method with small settings, and a tiny student opened for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tiny
from preceptor.config import TrainSettings
from preceptor.models.student import Student
from preceptor.train.methods import reserved, with_tokens

PREFIX = {"method": "prefix", "virtual_tokens": 5, "learning_rate": 1e-2}
METHODS = {
    "lora": {"method": "lora", "rank": 2, "learning_rate": 1e-2},
    "prefix-random": {**PREFIX, "initialisation": "random"},
    "prefix-zero": {**PREFIX, "initialisation": "zero"},
    "prefix-text": {**PREFIX, "initialisation": "text", "initial_text": "answer the question with yes or no"},
    "rslora": {"method": "rslora", "rank": 2, "learning_rate": 1e-2},
    "dora": {"method": "dora", "rank": 2, "learning_rate": 1e-2},
    "prefix-projected": {**PREFIX, "initialisation": "random", "projection": True},
    "prompt": {**PREFIX, "method": "prompt", "initial_text": "answer the question with yes or no"},
    "before-answer": {**PREFIX, "method": "prompt", "prompt_position": "before-answer"},
    "p-tuning": {**PREFIX, "method": "p-tuning"},
    "ia3": {"method": "ia3", "learning_rate": 1e-1},
    "full": {"method": "full", "learning_rate": 1e-3},
}


def settings(**keys: Any) -> TrainSettings:
    return TrainSettings.model_validate({"batch_size": 4, "max_length": 48, "select": "last", **keys})


def opened(folder: Path, chosen: TrainSettings, dtype: str) -> Student:
    plain = tiny.open_tiny(folder, max_length=chosen.max_length, reserve=reserved(chosen), dtype=dtype)
    return with_tokens(plain, chosen)
