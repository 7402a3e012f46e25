"""How rare words are counted, and what two texts share of them."""

from __future__ import annotations

from math import log

import pytest

from preceptor.filter.overlap import COMMON, PRIOR, Overlap, Rarity, plain

ITEMS = [
    "the grey crane sleeps",
    "the grey heron sleeps",
    "the white heron wakes",
    "the black stork eats",
    "the brown stork drinks",
    "the small gull dives",
    "the tern dives",
    "the puffin walks",
]


@pytest.fixture
def rarity() -> Rarity:
    return Rarity([[plain(text)] for text in ITEMS])


def test_rarity_falls_from_one_to_nothing_whatever_the_number_of_items(rarity):
    weights = rarity.weights(plain("the grey crane flies"))
    assert "the" not in weights  # in all items
    assert weights["crane"] == 1.0  # in one
    assert weights["flies"] == 1.0  # in none
    assert weights["grey"] == pytest.approx(log(9 / 3) / log(9 / 2))
    twice = Rarity([[plain(text)] for text in [*ITEMS, *ITEMS]])
    assert twice.total(["the"]) == rarity.total(["the"]) == 0.0


def test_the_words_of_an_item_count_once_however_often_it_says_them():
    said = Rarity([[plain("heron heron"), plain("heron")], [plain("gull")], [plain("tern")]])
    assert said.total(["heron", "heron"]) == 1.0


def test_neighbours_are_pairs_of_rare_words_in_any_order(rarity):
    there = set(rarity.weights(plain("puffin of the white gull")))
    back = set(rarity.weights(plain("gull the of white puffin")))
    assert ("puffin", "white") in there & back
    far = set(rarity.weights(plain("puffin a b c white")))
    assert ("puffin", "white") not in far


def test_endings_do_not_matter(rarity):
    assert set(rarity.weights(plain("comparing twenty herons"))) == set(rarity.weights(plain("compared 20 herons")))


def test_shares_are_the_common_weight_over_the_mean_of_both(rarity):
    known = [plain("crane tern"), plain("puffin"), plain("the")]
    text = plain("tern crane gull")
    weights, first = rarity.weights(text), rarity.weights(known[0])
    found = Overlap(known, rarity).shares(text)
    common = sum(first.values())  # crane, tern and their pair
    assert found[0] == pytest.approx(common / ((common * sum(weights.values())) ** 0.5 + PRIOR))
    assert found[1:].tolist() == [0.0, 0.0]


def test_a_short_text_must_be_shared_in_larger_part():
    long = [f"{a}{b}ing" for a in "bcdfgh" for b in "klmnpr"]
    rarity = Rarity([[long], [["other"]], [["words"]]])
    overlap = Overlap([long, long[:3]], rarity)
    assert overlap.shares(long)[0] > 0.7
    assert overlap.shares(long[:3])[1] < 0.3
    assert overlap.shares(long[: len(long) // 2])[0] > 0.45  # half of it left out


def test_one_item_or_nothing_to_compare_with():
    alone = Rarity([[["heron"]]])
    assert alone.total(["heron", "tern"]) == 2.0
    assert Overlap([], alone).shares(["heron"]).shape == (0,)
    assert Overlap([["heron"]], alone).shares([]).tolist() == [0.0]
    assert 0 < COMMON < 1
