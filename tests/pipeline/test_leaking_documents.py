"""Documents that must not be learnt: held-out and excluded texts are caught, what is merely common stays."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_adaptation import VOCABULARY, recipe, text

from preceptor.config import AdaptRecipe, read_recipe
from preceptor.data.documents import Document, Split
from preceptor.models.embed import Embedding, Vectors
from preceptor.pipeline import documents
from preceptor.pipeline.documents import Forbidden, without_copies, without_leaks
from preceptor.records import Example


def changed(given: str, words: int = 4) -> str:
    """The text with a few words replaced."""
    parts, draws = given.split(), random.Random(7)
    for place in draws.sample(range(len(parts)), words):
        parts[place] = draws.choice(VOCABULARY)
    return " ".join(parts)


def documents_of(texts: list[str], name: str) -> tuple[Document, ...]:
    return tuple(Document(f"{name}:{i}", one) for i, one in enumerate(texts))


def unlike(texts: Sequence[str]) -> Vectors:
    """An embedding in which no text is like another: of words without a meaning the real one says nothing."""
    rows = np.stack([np.random.default_rng(zlib.crc32(one.encode())).normal(size=384) for one in texts])
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def clear(
    planted: list[str], *forbidden: Forbidden, common: str = "", embed: Embedding = unlike
) -> dict[str, tuple[str, str]]:
    """Clean documents and planted ones beside held-out ones 100 to 109: what is dropped, against what and why."""
    clean = [f"{text(i)} {common if i < 10 else ''}".strip() for i in range(30)]
    held_out = documents_of([f"{text(i)} {common if i < 102 else ''}".strip() for i in range(100, 110)], "corpus2024a")
    split = Split((*documents_of(clean, "corpus2024"), *documents_of(planted, "planted")), held_out[:4], held_out[4:])
    settings = recipe(Path("m")).adapt
    left, dropped = without_leaks(split, forbidden, settings, embed)
    assert left.held_out == split.held_out
    assert len(left.train) + len(dropped) == len(split.train)
    return {one.document.id: (one.against, one.reason) for one in dropped}


def test_clean_documents_stay_though_their_names_are_like_those_held_out() -> None:
    assert clear([text(200), text(201)]) == {}


@pytest.mark.parametrize(
    ("planted", "reason"),
    [
        (text(103).upper(), "exact"),  # other case: the same words (a plain copy goes before documents are split)
        (changed(text(103), 1), "near"),
        (changed(text(103), 6), "ngram"),
        (f"{text(300)} {' '.join(text(103).split()[10:40])} {text(301)}", "ngram"),
    ],
)
def test_a_held_out_text_in_a_training_document_is_caught(planted: str, reason: str) -> None:
    found = clear([planted])
    assert set(found) == {"planted:0"}
    assert found["planted:0"][0] == "held-out"
    assert found["planted:0"][1] in {reason, "near"} if reason == "exact" else found["planted:0"][1] == reason


def test_what_a_publisher_writes_below_every_text_is_no_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    note = " ".join(f"zyx{chr(97 + i)}" for i in range(20, 0, -1))  # words that stand nowhere else
    assert clear([text(200)], common=note) == {}
    monkeypatch.setattr(documents, "COMMON", 1000)
    assert len(clear([text(200)], common=note)) > 5


def test_one_excluded_text_does_not_make_common_words_rare(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = Forbidden("secret", [Example("a", {"text": text(400)}, "yes")])

    def alike(texts: Sequence[str]) -> Vectors:
        return np.full((len(texts), 384), 384**-0.5, dtype=np.float32)

    assert clear([text(200)], alone, embed=alike) == {}
    monkeypatch.setattr(documents, "ENOUGH", 0)
    assert len(clear([text(200)], alone, embed=alike)) > 5


def test_a_training_document_that_nearly_is_another_goes_too() -> None:
    assert clear([text(200), changed(text(200), 1)]) == {"planted:1": ("training", "near")}


def test_an_excluded_text_is_caught_and_named() -> None:
    secret = Forbidden("secret", [Example("12345678", {"question": text(400, 12), "context": text(401)}, "yes")])
    inside = f"{text(300)} {' '.join(text(401).split()[5:35])}"
    found = clear([inside, changed(text(401), 3), f"{text(302)} see 12345678", text(303)], secret)
    assert found == {f"planted:{i}": ("secret", found[f"planted:{i}"][1]) for i in range(3)}
    assert found["planted:2"][1] == "document_id"


def test_copies_go_before_documents_are_held_out() -> None:
    whole, dropped = without_copies(documents_of(["One two.", "one, two", " .", "three"], "a"))
    assert [d.text for d in whole] == ["One two.", "three"]
    assert [(d.document.id, d.reason) for d in dropped] == [("a:1", "copy"), ("a:2", "empty")]


def test_a_task_is_excluded_by_its_validation_and_test_items(data_root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRECEPTOR_DATA", str(data_root))
    shipped = read_recipe(Path(__file__).resolve().parents[2] / "recipes" / "adapt.toml")
    assert isinstance(shipped, AdaptRecipe)
    excluded = documents._forbidden("pubmedqa", shipped.exclude["pubmedqa"], Path())
    assert (len(excluded.items), len(excluded.known)) == (550, 450)
    item = excluded.items[3]
    planted = f"{text(1)} {item.fields['context']}"
    assert clear([planted, text(2000)], excluded) == {"planted:0": ("pubmedqa", "ngram")}
