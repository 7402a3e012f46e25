"""The search for pairs that may be near: it may find too many, and must not miss one."""

from __future__ import annotations

import random

import numpy as np
import pytest
from rapidfuzz.distance import Levenshtein

from preceptor.filter import pieces
from preceptor.filter.duplicates import near_earlier
from preceptor.filter.pieces import EveryPair, SharedPieces, Texts, allowed_edits, make_index, piece_size

LETTERS = "abcdefgh "


def altered(rng, text, edits):
    """The text after so many insertions, deletions and replacements, anywhere."""
    letters = list(text)
    for _ in range(edits):
        place = rng.randrange(len(letters) + 1)
        letters[place : place + rng.randrange(2)] = rng.choices(LETTERS, k=rng.randrange(2))
    return "".join(letters)


def families(seed, bound, count=120, longest=160):
    """Different texts of every length from 0 on, each with relatives about as far away as the bound allows."""
    rng = random.Random(seed)
    made = {"": None}
    for _ in range(count):
        text = "".join(rng.choices(LETTERS, k=rng.randrange(longest)))
        most = int(len(text) * (1 - bound) / bound)
        for _ in range(3):
            made[altered(rng, text, rng.randint(max(most - 2, 0), most + 1))] = None
        made[text] = None
    return list(made)


def similarities(left, right):
    return [Levenshtein.normalized_similarity(a, b) for a, b in zip(left, right, strict=True)]


@pytest.mark.parametrize("bound", [0.875, 0.9, 0.95, 0.97, 0.99])
def test_no_near_pair_is_missed(bound):
    texts = families(3, bound)
    index = make_index([texts], bound)()
    assert isinstance(index, SharedPieces)
    index.store(np.arange(len(texts)))
    found = {
        pair for part in index.ask(np.arange(len(texts))) for pair in zip(*map(np.ndarray.tolist, part), strict=True)
    }
    near = {
        (i, j)
        for i, one in enumerate(texts)
        for j, other in enumerate(texts)
        if Levenshtein.normalized_similarity(one, other) >= bound
    }
    assert len(near) > len(texts) + 50
    assert near <= found
    assert len(found) < len(texts) ** 2 / 4


def test_edits_at_the_very_bound_in_the_worst_places():
    """One edit in every twentieth character leaves whole only what lies between: the pieces must fit there."""
    rng = random.Random(1)
    for length in (20, 40, 200, 380):
        text = "".join(rng.choices(LETTERS[:-1], k=length))
        spoiled = "".join("z" if i % 20 == 10 else letter for i, letter in enumerate(text))
        assert Levenshtein.normalized_similarity(text, spoiled) == 0.95
        assert list(near_earlier([(text,), (spoiled,)], 0.95)) == [1]
        assert near_earlier([(text,), (spoiled + "y",)], 0.951) == {}


@pytest.mark.parametrize("bound", [0.3, 0.6, 0.8, 0.9, 0.95, 1.0])
def test_several_fields_equal_a_plain_double_loop(bound):
    """Each item is stored under one of its fields, and yet every field counts."""
    rng = random.Random(5)
    short, long = families(6, min(bound, 0.95), 12, 50), families(7, min(bound, 0.95), 12, 120)
    texts = list(dict.fromkeys((rng.choice(short), rng.choice(long), rng.choice(["", "the same"])) for _ in range(700)))
    expected: dict[int, tuple[int, float]] = {}
    for i, item in enumerate(texts):
        for j in range(i):
            lowest = min(similarities(item, texts[j]))
            if i >= 9 and j not in expected and lowest >= bound:
                expected[i] = (j, lowest)
                break
    assert near_earlier(texts, bound, start=9) == expected
    assert bool(expected) == (bound < 1)


@pytest.mark.parametrize("bound", [0.3, 0.55, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95])
def test_exactly_at_the_bound_is_near(bound):
    """Where rapidfuzz's own cut-off is a hair too high, too."""
    text, edits = "abcdefghij" * 2, round(20 * (1 - bound))
    other = "z" * edits + text[edits:]
    assert Levenshtein.normalized_similarity(text, other) >= bound
    assert near_earlier([(text,), (other,)], bound) == {1: (0, Levenshtein.normalized_similarity(text, other))}
    assert near_earlier([(text,), ("z" + other[1:-1] + "y",)], bound + 0.001) == {}


def test_neither_blocks_nor_parts_change_the_result(monkeypatch):
    texts = [(text,) for text in families(8, 0.95)]
    whole = near_earlier(texts, 0.95)
    assert len(whole) > 50
    monkeypatch.setattr(pieces, "_MOST", 7)
    monkeypatch.setattr(pieces, "_AT_A_TIME", 5)
    assert near_earlier(texts, 0.95) == whole
    monkeypatch.setattr(pieces, "_LETTERS", 1)
    assert near_earlier(texts, 0.95) == whole


def test_common_phrases_bring_no_pairs_together():
    """Texts that share half of their characters, but not their rare pieces, are not compared."""
    rng = random.Random(2)
    phrase = "the aim of this study was to determine whether there is a relation between "
    texts = [phrase + "".join(rng.choices("abcdefghijklmnop", k=90)) for _ in range(300)]
    index = SharedPieces(Texts([texts], 0.95))
    index.store(np.arange(300))
    pairs = {pair for part in index.ask(np.arange(300)) for pair in zip(*map(np.ndarray.tolist, part), strict=True)}
    assert pairs == {(i, i) for i in range(300)}


def test_items_with_very_many_hits_are_compared_with_everything(monkeypatch):
    """The result stays, and so does the time: nothing is expanded for texts that are nearly all the same."""
    rng = random.Random(9)
    phrase = "seen in the ward on a tuesday and again on the friday after that and no change was noted "
    texts = [(phrase + "".join(rng.choices(LETTERS, k=rng.randrange(9, 14))),) for _ in range(200)]
    texts = list(dict.fromkeys(texts))
    monkeypatch.setattr(pieces, "CROWDED", float("inf"))
    expanded = near_earlier(texts, 0.95)
    assert 0 < len(expanded) < len(texts) - 20
    monkeypatch.undo()
    monkeypatch.setattr(SharedPieces, "_possible", None)
    assert near_earlier(texts, 0.95) == expanded


def test_any_character_is_a_character():
    texts = [
        ("\ud800 \U0010ffff " * 9,),
        ("\ud800 \U0010ffff " * 9 + "\0",),
        ("喝茶好吗" * 9,),
        ("喝茶好吗" * 9 + "\n",),
    ]
    assert {i: hit[0] for i, hit in near_earlier(texts, 0.95).items()} == {1: 0, 3: 2}


def test_sizes():
    assert [piece_size(bound) for bound in (0.5, 0.8, 0.9, 0.95, 1.0)] == [1, 3, 6, 8, 8]
    assert isinstance(make_index([["a"]], 0.8)(), EveryPair)
    # A text of 19 characters and one of 20 with one edit are 0.95 similar; shorter ones must be equal.
    assert allowed_edits(np.array([0, 18, 19, 37, 38]), 0.95).tolist() == [0, 0, 1, 1, 2]
