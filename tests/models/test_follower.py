"""Followers: long inputs lose words from their start, never the instruction or the answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

import tiny
from preceptor.errors import DataError, RecipeError
from preceptor.models.follower import Follower, open_follower
from preceptor.records import Instruction

LINES = "\n".join(f"{word} pain rose" for word in ("one", "two", "three", "four", "five", "six"))
LONG = Instruction("long", "does the drug improve pain ?", f"{LINES}\npain fell", "yes", "other")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_follower(tmp_path_factory.mktemp("follower") / "llama", "llama")


def opened(folder: Path, form: str = "auto", max_length: int = 120, reserve: int = 0) -> Follower:
    return open_follower(str(folder), form, max_length=max_length, reserve=reserve, dtype="float32", seed=0)


def test_an_item_that_fits_is_shown_whole(folder: Path) -> None:
    follower = opened(folder)
    (shown,) = follower.show([LONG], [4])
    assert (shown.item, shown.cut) == (LONG, False)
    assert list(shown.prompt) == follower.form.prompt_ids([LONG])[0]


@pytest.mark.parametrize("form", ["chat", "alpaca"])
def test_a_long_input_loses_as_few_words_as_needed_from_its_start(folder: Path, form: str) -> None:
    whole = len(opened(folder, form).form.prompt_ids([LONG])[0])
    for less in range(1, 20):
        follower = opened(folder, form, max_length=whole + 4 - less)
        (shown,) = follower.show([LONG], [4])
        assert shown.cut
        assert len(shown.prompt) == whole - less  # one token per word
        assert LONG.input.endswith(shown.item.input)  # line breaks included
        assert shown.item.instruction == LONG.instruction
        assert list(shown.prompt) == follower.form.prompt_ids([shown.item])[0]
        assert len(shown.item.input.split()) == len(LONG.input.split()) - less


def test_when_nothing_is_left_of_the_input_the_instruction_stands_alone(folder: Path) -> None:
    bare = replace(LONG, input="")
    least = len(opened(folder).form.prompt_ids([bare])[0])
    (shown,) = opened(folder, max_length=least + 4).show([LONG], [4])
    assert (shown.item.input, shown.cut) == ("", True)
    with pytest.raises(DataError, match="Item long: the instruction and 5 tokens of answer do not fit") as caught:
        opened(folder, max_length=least + 4).show([LONG], [5])
    assert "train.max_length" in caught.value.hint


def test_virtual_tokens_take_their_room_from_the_text(folder: Path) -> None:
    assert opened(folder, max_length=150, reserve=10).limit == 150
    assert opened(folder, max_length=1000).limit == 160
    with pytest.raises(RecipeError, match=r"20 virtual tokens and train\.max_length = 150 .* 160 positions"):
        opened(folder, max_length=150, reserve=20)


def test_the_likelihood_of_an_answer_is_a_mean_over_its_tokens(folder: Path) -> None:
    follower = opened(folder)
    shown = follower.show(tiny.tasks(3), [6] * 3)
    targets = [said.target for said in follower.said(shown, ["yes", "no", "maybe not sure"])]
    found = follower.logprobs([s.prompt for s in shown], targets)
    assert found.shape == (3, 1)
    # A random model finds every word about equally unlikely, however many there are.
    assert (abs(found - found.mean()) < 3).all()
