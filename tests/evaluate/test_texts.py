"""ROUGE against the package and a count of its own, nearness of embeddings, BERTScore by a stand-in for its package."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from preceptor.errors import MissingPackageError
from preceptor.evaluate import texts
from preceptor.evaluate.texts import BERTSCORE_MODEL, bertscore_measure, embedding_measure, rouge_measures
from preceptor.models.embed import Embedder

REFERENCES = [
    "The patient reports two weeks of dry cough. No fever.",
    "Takes 5 mg of ramipril daily; denies chest pain.",
    "Family history of diabetes.",
    "Tired.",
]
TEXTS = [
    "Patient has had a dry cough for two weeks and reports no fever.",
    "Denies chest pains and takes ramipril 5 mg.",
    "",
    "Tired.",
]


def grams(text: str, n: int) -> Counter[tuple[str, ...]]:
    words = re.findall("[a-z0-9]+", text.lower())
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def longest(one: Sequence[object], other: Sequence[object]) -> int:
    if not one or not other:
        return 0
    if one[0] == other[0]:
        return 1 + longest(one[1:], other[1:])
    return max(longest(one[1:], other), longest(one, other[1:]))


def f1(common: int, said: int, gold: int) -> float:
    return 2 * common / (said + gold) if said + gold else 0.0


def test_rouge_is_that_of_a_plain_count_without_stemming() -> None:
    measures = {measure.name: [row[0] for row in measure.rows] for measure in rouge_measures(TEXTS, REFERENCES)}
    assert list(measures) == ["rouge1", "rouge2", "rougeL"]
    for n in (1, 2):
        pairs = [(grams(text, n), grams(other, n)) for text, other in zip(TEXTS, REFERENCES, strict=True)]
        expected = [f1((a & b).total(), a.total(), b.total()) for a, b in pairs]
        assert measures[f"rouge{n}"] == pytest.approx(expected)
    for text, other, value in zip(TEXTS[1:], REFERENCES[1:], measures["rougeL"][1:], strict=True):
        words, theirs = list(grams(text, 1).elements()), re.findall("[a-z0-9]+", other.lower())
        words = [(word,) for word in re.findall("[a-z0-9]+", text.lower())]
        common = longest(words, [(word,) for word in theirs])
        assert value == pytest.approx(f1(common, len(words), len(theirs)))
    # "pain" and "pains" have one stem and are two words.
    assert rouge_measures(["pains"], ["pain"])[0].rows == ((0.0, 1.0),)


def test_rouge_is_that_of_the_package() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    for measure in rouge_measures(TEXTS, REFERENCES):
        assert measure.kind == "mean"
        assert measure.rows == tuple(
            (scorer.score(reference, text)[measure.name].fmeasure, 1.0)
            for text, reference in zip(TEXTS, REFERENCES, strict=True)
        )


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "rouge_score"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rouge_score", None)
    with pytest.raises(MissingPackageError, match=r'rouge-score is not installed.*pip install "preceptor\[train\]"'):
        rouge_measures(["a"], ["b"])


def spread(some: Sequence[str]) -> np.ndarray:
    """Unit vectors by the first letter: a is opposite to z, at right angles to b."""
    directions = {"a": (1.0, 0.0), "b": (0.0, 1.0), "z": (-1.0, 0.0), "m": (0.6, 0.8)}
    return np.array([directions[text[0]] for text in some], dtype=np.float32).reshape(-1, 2)


def test_the_embedding_score_is_the_cosine_and_never_below_that_of_silence() -> None:
    asked: list[str] = []

    def embed(some: Sequence[str]) -> np.ndarray:
        asked.extend(some)
        return spread(some)

    measure = embedding_measure(["a", "m", "b", "z", " ", "a"], ["a", "a", "a", "a", "a", ""], embed)
    assert (measure.name, measure.kind) == ("embedding", "mean")
    assert [row[0] for row in measure.rows] == pytest.approx([1.0, 0.6, 0.0, 0.0, 0.0, 0.0])
    assert {row[1] for row in measure.rows} == {1.0}
    assert "" not in asked
    assert embedding_measure([], [], spread).rows == ()


def test_the_built_in_model_finds_the_same_meaning_nearer_than_another() -> None:
    embed = Embedder()
    same, other = embedding_measure(["No fever was present."] * 2, ["Without fever.", "He drives a bus."], embed).rows
    assert same[0] > other[0] + 0.3
    vectors = embed(["No fever was present.", "Without fever."]).astype(float)
    assert same[0] == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """What a stand-in for the package bert-score 0.3.13 is asked."""
    asked: list[object] = []

    class BERTScorer:
        def __init__(self, model_type: str | None = None, num_layers: int | None = None) -> None:
            asked.append((model_type, num_layers))
            self._tokenizer = SimpleNamespace(model_max_length=int(1e30))

        def score(self, cands: list[str], refs: list[str]) -> tuple[list[float], list[float], np.ndarray]:
            asked.append((cands, refs, self._tokenizer.model_max_length))
            return [0.0] * len(cands), [0.0] * len(cands), np.array([len(text) / 10 for text in cands])

    module = ModuleType("bert_score")
    module.BERTScorer = BERTScorer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bert_score", module)
    texts._bert_scorer.cache_clear()
    yield asked
    texts._bert_scorer.cache_clear()


def test_bertscore_is_the_packages_f1_and_0_where_nothing_was_written(asked: list[object]) -> None:
    measure = bertscore_measure(["abc", " ", "abcde"], ["x", "y", "z"])
    assert (measure.name, measure.rows) == ("bertscore", ((0.3, 1.0), (0.0, 1.0), (0.5, 1.0)))
    assert asked == [(BERTSCORE_MODEL, None), (["abc", "abcde"], ["x", "z"], 512)]
    bertscore_measure(["a"], ["b"])
    assert len(asked) == 3  # the model is loaded once


def test_bertscore_loads_nothing_for_nothing(asked: list[object]) -> None:
    assert bertscore_measure(["", ""], ["x", "y"]).rows == ((0.0, 1.0), (0.0, 1.0))
    assert not asked


def test_without_bert_score_one_sentence_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bert_score", None)
    texts._bert_scorer.cache_clear()
    with pytest.raises(MissingPackageError, match=r"bert-score is not installed.*Install it with: pip install bert-sc"):
        bertscore_measure(["a"], ["b"])
