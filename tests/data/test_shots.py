"""Solved examples: drawn by a seed, balanced over labels, shown as training shows items."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

import tiny
from preceptor.data.shots import BETWEEN, Room, Shots, draw_shots, text_prompts
from preceptor.errors import DataError, RecipeError
from preceptor.records import Example

TRAIN = tuple(tiny.examples(30, "train"))
TEST = tuple(tiny.examples(4, "test"))


def words(text: str) -> int:
    return len(text.split())


def shots(count: int, seed: int = 0, *, per_item: bool = False) -> Shots:
    return Shots(tiny.TASK, TRAIN, count, seed, per_item=per_item, where="baselines.it")


def test_labels_take_turns_until_there_are_enough() -> None:
    for count in range(31):
        labels = Counter(one.label for one in draw_shots(TRAIN, tiny.TASK.labels, count, 0))
        assert labels.total() == count
        assert max(labels[label] for label in tiny.TASK.labels) - min(labels[lab] for lab in tiny.TASK.labels) <= 1


def test_a_label_that_has_run_out_is_passed_over() -> None:
    few = [one for one in TRAIN if one.label != "maybe" or one.id == "train-2"]
    labels = Counter(one.label for one in draw_shots(few, tiny.TASK.labels, 7, 0))
    assert labels == {"yes": 3, "no": 3, "maybe": 1}


def test_the_seed_alone_decides_not_the_order_of_the_items() -> None:
    drawn = [draw_shots(TRAIN, tiny.TASK.labels, 5, seed) for seed in range(20)]
    assert drawn[0] == draw_shots(tuple(reversed(TRAIN)), ("maybe", "no", "yes"), 5, 0)
    assert len({tuple(one.id for one in one_draw) for one_draw in drawn}) == 20
    # No label is always the last before the item, nor the one that is shown more often.
    assert {one_draw[-1].label for one_draw in drawn} == set(tiny.TASK.labels)
    assert {min(tiny.TASK.labels, key=[o.label for o in d].count) for d in drawn} == set(tiny.TASK.labels)


def test_more_shots_hold_the_fewer_ones() -> None:
    fewer, more = ({one.id for one in draw_shots(TRAIN, tiny.TASK.labels, count, 3)} for count in (4, 5))
    assert fewer < more


def test_fixed_shots_are_the_same_for_all_items_and_others_are_not() -> None:
    assert len({tuple(o.id for o in shots(3).before(item)) for item in TEST}) == 1
    assert len({tuple(o.id for o in shots(3, per_item=True).before(item)) for item in TEST}) == len(TEST)
    again = shots(3, per_item=True).before(TEST[2])
    assert again == shots(3, per_item=True).before(replace(TEST[2], label="no"))  # never by the item's label


def test_what_stands_before_each_answer_is_the_prompt_of_training() -> None:
    limit = 12  # cuts the longer contexts
    rendered = text_prompts(shots(4), TEST, words, limit, Room("it", 200, 2))
    shown = shots(4).before(TEST[0])
    expected = [tiny.TASK.render_within(one, words, limit)[0] + tiny.TASK.target(one.label) for one in shown]
    assert any(tiny.TASK.render_within(one, words, limit)[1] for one in shown)
    assert {shots(4).text(item, words, limit) for item in TEST} == {"".join(one + BETWEEN for one in expected)}
    for item, prompt in zip(TEST, rendered.prompts, strict=True):
        assert prompt == BETWEEN.join([*expected, tiny.TASK.render_within(item, words, limit)[0]])


def test_no_shots_are_the_prompts_of_training() -> None:
    rendered = text_prompts(shots(0), TEST, words, 12, Room("it", 200, 2))
    assert rendered.prompts == tuple(tiny.TASK.render_within(item, words, 12)[0] for item in TEST)
    assert shots(0).text(TEST[0], words, 12) == ""


def test_a_long_item_is_shortened_and_the_shots_stay_whole() -> None:
    long = Example("long", {**TEST[0].fields, "context": " ".join(["word"] * 100 + ["end"])}, "yes")
    before = shots(2).text(long, words, 500)
    free = text_prompts(shots(2), [long, TEST[1]], words, 500, Room("it", 500, 2))
    window = words(free.prompts[0]) - 20
    tight = text_prompts(shots(2), [long, TEST[1]], words, 500, Room("it", window, 2))
    assert (free.cut, tight.cut) == (0, 1)
    assert free.prompts[0].startswith(before)
    assert tight.prompts[0].startswith(before)
    assert words(tight.prompts[0]) == window - 2
    assert "end question:" in tight.prompts[0]  # cut from its start
    assert tight.prompts[1] == free.prompts[1]


def test_shots_that_leave_no_room_are_one_sentence() -> None:
    with pytest.raises(RecipeError) as refused:
        text_prompts(shots(5), TEST, words, 40, Room("small", 60, 2))
    assert refused.value.message.startswith("baselines.it: shots = 5 needs ")
    assert refused.value.message.endswith(" tokens, the window of small holds 60.")
    assert refused.value.hint == "Use fewer shots."
    needed = int(refused.value.message.split(" needs ")[1].split()[0])
    text_prompts(shots(5), TEST, words, 40, Room("large", needed, 2))
    with pytest.raises(RecipeError):
        text_prompts(shots(5), TEST, words, 40, Room("small", needed - 1, 2))


def test_a_shot_that_training_could_not_read_is_refused_as_there() -> None:
    with pytest.raises(DataError, match=r"Item train-\d+: the prompt does not fit into 5 tokens"):
        text_prompts(shots(1), TEST, words, 5, Room("it", 200, 2))


def test_more_shots_than_training_items_are_one_sentence() -> None:
    with pytest.raises(RecipeError, match=r"^baselines\.it: shots = 31 are more than the 30 training items"):
        shots(31)
    assert len(shots(30).before(TEST[0])) == 30


def test_a_chat_reads_the_same_prompts_as_turns() -> None:
    turns = shots(2).turns(TEST[0])
    assert [turn.role for turn in turns] == ["user", "assistant"] * 2
    for question, said, one in zip(turns[::2], turns[1::2], shots(2).before(TEST[0]), strict=True):
        assert (question.content, said.content) == (tiny.TASK.render(one), one.label)
