"""Copies, light edits and paraphrases planted in real data: what the leakage filter catches, and what it spares.

The thresholds were fixed on the development half; counted here is the other half (see `bench/planted.py`).
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in ("planted", "edits"):
        sys.modules.pop(name, None)


def check(table) -> None:
    """The four rates that are promised."""
    from planted import as_text, find

    shown = "\n" + as_text(table)
    assert find(table, "copy").share >= 0.95, shown
    assert find(table, "edit").share >= 0.95, shown
    assert find(table, "edit", "whole item, all").share >= 0.95, shown
    assert find(table, "paraphrase").share >= 0.80, shown
    for row in table:
        if row.group == "clean":
            assert row.share <= 0.01, shown
    assert find(table, "id").share == 1.0, shown


def test_planted_leaks_are_caught_and_clean_items_kept(data_root):
    """A quarter of the planted items and one fold of the dialogues."""
    from planted import find, leakage_table

    table = leakage_table(data_root, quick=True)
    check(table)
    assert find(table, "copy", "whole item").n == 25
    assert find(table, "paraphrase").n > 250
    assert find(table, "clean").n > 500


@pytest.mark.long
def test_all_planted_leaks_are_caught_and_clean_items_kept(data_root):
    from planted import find, leakage_table

    table = leakage_table(data_root)
    check(table)
    assert find(table, "copy", "whole item").n == find(table, "edit", "whole item, all").n == 100
    assert find(table, "paraphrase").n > 1100
    assert find(table, "clean").n > 2300


def test_the_halves_share_no_item(data_root):
    """What is counted was not looked at when thresholds were fixed."""
    from planted import scenes

    seen = [
        {p.origin for context, planted in scenes(data_root, part, False, len) for p in planted
         if p.kind != "rewrites of training items"}
        for part in ("development", "counted")
    ]  # fmt: skip
    assert not seen[0] & seen[1]
    assert min(map(len, seen)) > 1000


def test_candidates_carry_no_trace_of_their_origin_but_the_text(data_root):
    from planted import scenes

    for context, planted in scenes(data_root, "counted", True, len):
        held = context.held_out_by_id
        for one in planted:
            if one.group != "id":
                assert one.example.parents[0] in context.parents
                assert one.example.id not in held
                assert not one.origin or not one.example.id.startswith(f"{one.origin}-") or one.group == "clean"


TEXT = "In 2011 we saw 45 herons at 3.5 sites. None of the 1,250 eggs broke (12%). Herons slept. All storks left."


def test_each_edit_does_what_it_says():
    from edits import EDITS, distance, spelled

    rng = random.Random(0)
    assert [spelled(n) for n in (0, 17, 40, 45, 100, 101, 250, 1000, 1250, 12_005)] == [
        *("zero", "seventeen", "forty", "forty-five", "one hundred", "one hundred and one", "two hundred and fifty"),
        *("one thousand", "one thousand two hundred and fifty", "twelve thousand and five"),
    ]
    words = EDITS["numbers in words"](TEXT, rng)
    assert "saw forty-five herons at three point five sites" in words
    assert "(twelve percent)" in words
    assert not any(character.isdigit() for character in words)
    assert EDITS["sentences dropped"](TEXT, rng).count(".") == TEXT.count(".") - 1
    moved = EDITS["word order"](TEXT, rng)
    assert sorted(moved.replace(".", " ").split()) == sorted(TEXT.replace(".", " ").split())
    assert moved != TEXT
    assert EDITS["synonyms"]("A study of patients showed an effect.", rng).startswith("A investigation from sick")
    assert all(
        distance(TEXT, edit(TEXT, random.Random(1))) >= 0.1 for name, edit in EDITS.items() if name != "synonyms"
    )


def test_the_same_seed_plants_the_same(data_root):
    from planted import scenes

    first, again = (next(scenes(data_root, "counted", True, len))[1] for _ in range(2))
    assert first == again
