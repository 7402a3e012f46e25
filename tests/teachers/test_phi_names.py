"""Names by presidio and a spaCy model: used where they are installed, never fetched."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from preceptor.config import PhiSettings
from preceptor.errors import MissingPackageError, ModelError
from preceptor.teachers import phi_names
from preceptor.teachers.phi import PhiGate

PEOPLE = ("Rosa Alvarez", "Vitamin Kowalczyk", "Ingrid Hamilton")


@pytest.fixture(scope="module")
def ruled_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A spaCy pipeline of rules instead of weights, in a folder: it knows three people and a town."""
    import spacy

    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": name} for name in PEOPLE])  # type: ignore[attr-defined]
    ruler.add_patterns([{"label": "GPE", "pattern": "Springfield"}, {"label": "DATE", "pattern": "2004"}])  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("spacy") / "people"
    nlp.to_disk(folder)
    return folder


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    import spacy.cli

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a model was to be downloaded")

    monkeypatch.setattr(spacy.cli, "download", refuse)


def test_a_model_finds_names_that_nothing_announces(ruled_model: Path) -> None:
    gate = PhiGate("mask", PhiSettings(model=str(ruled_model), names=True))
    assert gate.finds_names
    text = "Then Rosa Alvarez went to Springfield in 2004."
    assert [(f.kind, f.text) for f in gate.check(text)] == [("name", "Rosa Alvarez")]
    assert gate.mask(text).text == "Then [NAME_1] went to Springfield in 2004."
    assert PhiGate("mask", PhiSettings(names=False)).check(text) == ()


def test_a_thing_that_is_called_after_a_person_is_no_name(ruled_model: Path) -> None:
    gate = PhiGate("warn", PhiSettings(model=str(ruled_model)))
    assert gate.check("the Ingrid Hamilton Scale was used") == ()
    assert gate.check("Ingrid Hamilton's depression rating scale was used") == ()
    assert gate.check("A Study Of Rosa Alvarez In Title Case") == ()
    assert gate.check("the vitamin of Vitamin Kowalczyk") == ()
    assert [f.text for f in gate.check("As Ingrid Hamilton said, it was so")] == ["Ingrid Hamilton"]


def test_numbers_with_check_digits_are_found_without_a_cue() -> None:
    gate = PhiGate("warn", PhiSettings(names=False))
    assert [(f.kind, f.text) for f in gate.check("it says 2123 45670 1 there")] == [("record", "2123 45670 1")]
    assert gate.check("it says 2123 45671 1 there") == ()


def test_without_a_model_the_patterns_go_on_alone_and_insisting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phi_names, "installed_models", list)
    gate = PhiGate("warn", PhiSettings())
    assert not gate.finds_names
    assert [f.text for f in gate.check("Dr Osei saw Rosa Alvarez")] == ["Osei"]
    with pytest.raises(ModelError, match="no spaCy model for English is installed") as caught:
        PhiGate("warn", PhiSettings(names=True))
    assert "python -m spacy download en_core_web_sm" in caught.value.hint
    with pytest.raises(ModelError, match="there is no 'en_core_web_xx'"):
        PhiGate("warn", PhiSettings(model="en_core_web_xx"))


def test_without_presidio_the_patterns_go_on_alone_and_insisting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "presidio_analyzer" else find(name))
    assert [f.kind for f in PhiGate("warn", PhiSettings()).check("MRN: 0081234")] == ["record"]
    with pytest.raises(MissingPackageError, match="presidio-analyzer is not installed"):
        PhiGate("warn", PhiSettings(names=True))


def test_a_folder_that_is_no_model_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be loaded"):
        PhiGate("warn", PhiSettings(model=str(tmp_path)))


def test_installed_models_are_found_without_running_their_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The largest first; a package that would run code when imported is only looked into."""
    for name in ("en_made_up_sm", "en_made_up_lg"):
        data = tmp_path / name / f"{name}-1.0.0"
        data.mkdir(parents=True)
        (tmp_path / name / "__init__.py").write_text("raise AssertionError('imported')")
        (data / "config.cfg").write_text("")
        info = tmp_path / f"{name}-1.0.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0.0\n")
        (info / "entry_points.txt").write_text(f"[spacy_models]\n{name} = {name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = [folder.name for folder in phi_names.installed_models() if "made_up" in folder.name]
    assert found == ["en_made_up_lg-1.0.0", "en_made_up_sm-1.0.0"]


@pytest.mark.skipif(not phi_names.installed_models(), reason="no spaCy model for English is installed")
def test_an_installed_model_finds_a_person() -> None:
    gate = PhiGate("warn", PhiSettings(names=True))
    text = "George Whitcombe lives alone, and the pain that Rosa Alvarez described was dull."
    assert {f.text for f in gate.check(text)} & {"George Whitcombe", "Rosa Alvarez"}
