"""What needs presidio: names by a language model, and numbers with check digits of many countries.

Nothing is downloaded. Presidio's own engine would fetch a spaCy model that is missing, and its patterns for mail and
web addresses ask the network for a list of domains, so neither is used: the model is loaded from a folder that is
there, and only recognisers that compute are asked. Presidio's DATE_TIME is not used either: it takes years for dates.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from preceptor.config import PhiSettings
from preceptor.errors import MissingPackageError, ModelError

INSTALL = 'pip install "preceptor[phi]"'
INSTALL_MODEL = "python -m spacy download en_core_web_sm"

CHECKED = {
    "CreditCardRecognizer": "record",
    "IbanRecognizer": "record",
    "CryptoRecognizer": "record",
    "MacAddressRecognizer": "device",
    "AuMedicareRecognizer": "record",
    "AuTfnRecognizer": "ssn",
    "CaSinRecognizer": "ssn",
    "UsNpiRecognizer": "record",
    "UsItinRecognizer": "ssn",
    "UsMbiRecognizer": "record",
}
"""Presidio's recognisers whose numbers have a check digit or a fixed form, and the kind they find.

Left out: MEDICAL_LICENSE, whose check digit 29 trial numbers of 1,000 abstracts pass; PHONE_NUMBER, which takes
intervals for numbers; plates, driving licences and bank accounts, which take words like "m2 for" for theirs.
"""

_SIZES = ("_lg", "_trf", "_md", "_sm")
_PERSON_WORD = re.compile(r"[A-Z]\.|[A-Z](?:'[A-Z])?(?![A-Z]+\b)[^\W\d_]+(?:[-'][^\W\d_]+)*")
_THING = (
    r"(?:scales?|tests?|scores?|index|indices|questionnaires?|inventory|syndrome|diseases?|disorders?|criteria|classification"
    r"|methods?|ratings?|rule|equation|formula|models?|analys[ie]s|technique|procedure|operation|repair|sign|stain\w*|trials?"
    r"|study|hospitals?|universit\w+|cent(?:re|er)s?|clinics?|institutes?|foundation|college|school|district|regression"
    r"|curves?|plots?|therapy|virus|tumou?rs?|factors?)"
)
_IS_THING = re.compile(_THING, re.IGNORECASE)
_THING_AFTER = re.compile(rf"(?:'s)?[\s-]+(?:\w+[\s-]+){{0,2}}?{_THING}\b", re.IGNORECASE)
"""Behind a person's name these speak of a thing that is called after one."""
_OPENERS = frozenset(
    {
        "A",
        "After",
        "And",
        "As",
        "At",
        "Before",
        "But",
        "By",
        "For",
        "From",
        "I",
        "In",
        "On",
        "Since",
        "So",
        "The",
        "Then",
    }
    | {"This", "Today", "When", "While", "With", "Yesterday"}
)
"""Words with a capital only because a sentence begins with them; a name may follow."""


def has_presidio() -> bool:
    """Whether presidio is installed; imports nothing."""
    return importlib.util.find_spec("presidio_analyzer") is not None


def model_folder(settings: PhiSettings) -> Path | None:
    """Folder of the language model for names, or None where there is none. Imports and downloads nothing."""
    if settings.model is None:
        return next(iter(installed_models()), None)
    if Path(settings.model).expanduser().is_dir():
        return Path(settings.model).expanduser()
    return _folder_of(settings.model)


def installed_models() -> list[Path]:
    """Folders of the installed English spaCy models, the largest first."""
    names = [entry.value for entry in entry_points(group="spacy_models") if entry.value.startswith("en_")]
    size = {name: next((i for i, mark in enumerate(_SIZES) if mark in name), len(_SIZES)) for name in names}
    return [folder for name in sorted(set(names), key=lambda n: (size[n], n)) if (folder := _folder_of(name))]


def _folder_of(package: str) -> Path | None:
    """The model's data inside its package; the package itself is not imported, so none of its code runs."""
    if not package.isidentifier():
        return None
    spec = importlib.util.find_spec(package)
    roots = [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []
    return next((found.parent for root in roots for found in sorted(root.glob("*/config.cfg"))), None)


class Presidio:
    """Presidio's recognisers that compute, and a language model for names where there is one."""

    def __init__(self, model: Path | None) -> None:
        self._recognisers = _recognisers()
        self._engine = None if model is None else _engine(model)
        self._people = None if model is None else _people()

    @property
    def finds_names(self) -> bool:
        """Whether a language model looks for names."""
        return self._engine is not None

    def find(self, text: str) -> Iterator[tuple[str, int, int]]:
        """(kind, start, end) of each finding."""
        for recogniser, kind in self._recognisers:
            for hit in recogniser.analyze(text, recogniser.supported_entities, None):
                if hit.score >= 1:  # presidio's word for: the check digit is right
                    yield kind, hit.start, hit.end
        if self._engine is not None and self._people is not None:
            artifacts = self._engine.process_text(text, "en")
            for hit in self._people.analyze(text, ["PERSON"], artifacts):
                if is_person(text, hit.start, hit.end):
                    yield "name", hit.start, hit.end


def is_person(text: str, start: int, end: int) -> bool:
    """Whether what a model takes for a person has the form of a full name and is no thing called after somebody.

    General models take half of all abstracts for full of people ("Vitamin C", "Overall Survival"). What is asked here:
    two or three words of a capital and small letters or initials, not in a line of such words, and no "scale", "test"
    or "syndrome" behind them. A single word is not enough; the patterns find it behind a title or a cue.
    """
    words = text[start:end].removesuffix("'s").split()
    if not 2 <= len(words) <= 3 or not all(_PERSON_WORD.fullmatch(word) for word in words):
        return False
    if any(map(_IS_THING.fullmatch, words)) or _THING_AFTER.match(text, end):
        return False
    before = re.search(r"\b([A-Z]\w*)\s+$", text[max(0, start - 40) : start])
    if re.match(r"\s+[A-Z]\w+", text[end : end + 40]) or (before and before[1] not in _OPENERS):
        return False  # a title or a longer proper name
    # A word that the text also writes small is a word, not a name.
    return not any(len(w) > 2 and re.search(rf"\b{re.escape(w.lower())}\b", text) for w in words)


def open_presidio(settings: PhiSettings) -> Presidio | None:
    """Presidio with what is installed, or None. Raises `MissingPackageError` or `ModelError` for `names = true`."""
    if not has_presidio():
        if settings.names is True:
            raise MissingPackageError.of("presidio-analyzer", "teacher.phi.names", INSTALL)
        return None
    model = None if settings.names is False or "name" not in settings.kinds else model_folder(settings)
    if model is None and (settings.names is True or settings.model is not None) and settings.names is not False:
        what = (
            "no spaCy model for English is installed" if settings.model is None else f"there is no {settings.model!r}"
        )
        raise ModelError(f"teacher.phi.names needs a language model, and {what}.", f"Install one with: {INSTALL_MODEL}")
    return _opened(model)


@cache
def _opened(model: Path | None) -> Presidio:
    return Presidio(model)


def _recognisers() -> list[tuple[Any, str]]:
    import presidio_analyzer.predefined_recognizers as known

    return [(getattr(known, name)(), kind) for name, kind in CHECKED.items()]


def _people() -> Any:
    from presidio_analyzer.predefined_recognizers import SpacyRecognizer

    return SpacyRecognizer()


def _engine(model: Path) -> Any:
    """Presidio's engine around a model that is loaded here: its own loader downloads what it does not find."""
    import spacy
    from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine

    try:
        # Names need no grammar, and without it the model is twice as fast.
        nlp = spacy.load(model, exclude=["tagger", "parser", "lemmatizer", "attribute_ruler", "senter"])
    except (OSError, ValueError) as error:
        raise ModelError(
            f"The language model for names in {model} cannot be loaded: {type(error).__name__}.",
            f"Install one with: {INSTALL_MODEL}",
        ) from error
    labels = {label for name in nlp.pipe_names for label in getattr(nlp.get_pipe(name), "labels", ())}
    ignored = sorted(labels - {"PERSON"})
    engine: Any = SpacyNlpEngine(ner_model_configuration=NerModelConfiguration(labels_to_ignore=ignored))
    engine.nlp = {"en": nlp}
    return engine
