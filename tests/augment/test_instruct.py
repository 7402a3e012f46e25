"""What a teacher is shown and asked when it writes tasks."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from importlib.resources import files
from typing import Any

import pytest

from preceptor.augment.instruct import (
    KINDS,
    OPENINGS,
    Shown,
    TaskWriter,
    category_prompt,
    kinds_of,
    output_prompt,
    read_output,
    short_enough,
)
from preceptor.config import InstructSettings
from preceptor.errors import RecipeError
from preceptor.filter.categories import category_of
from preceptor.records import CATEGORIES, Completion, Instruction, Sampling

SEEDS = [
    Instruction(f"s{n}", f"Do number {n}.", f"Input {n}" if n % 2 else "", f"Done {n}", CATEGORIES[n % 3], "seed")
    for n in range(9)
]

THREE = Shown(tuple(SEEDS[:3]))


def writer(*, structured: bool = False, **settings: Any) -> TaskWriter:
    return TaskWriter(InstructSettings(**settings), Sampling(max_tokens=99), structured)


def test_shown_tasks_are_drawn_by_seed_and_number_alone() -> None:
    def drawn(number: int, **settings: Any) -> list[str]:
        return [seed.id for seed in writer(**settings).draw(number, SEEDS).tasks]

    assert drawn(5) == drawn(5)
    assert len({tuple(drawn(n)) for n in range(50)}) > 40
    assert drawn(5) != drawn(5, seed=1)
    assert all(len(set(drawn(n, shown=9))) == 9 for n in range(20))  # without replacement
    counts = Counter(one for n in range(900) for one in drawn(n))
    assert min(counts.values()) > 200
    assert max(counts.values()) < 400


def test_a_plain_request_is_a_conversation_in_which_the_teacher_wrote_the_shown_tasks() -> None:
    request = writer().request(7, THREE)
    assert [m.role for m in request.messages] == ["system", *["user", "assistant"] * 3, "user"]
    assert request.messages[2].content == "Instruction: Do number 0.\nInput: <none>\nOutput: Done 0"
    assert request.messages[4].content == "Instruction: Do number 1.\nInput: Input 1\nOutput: Done 1"
    assert request.messages[1] == request.messages[7]
    assert request.item == "instruct/7"
    assert request.sampling.max_tokens == 99
    assert request.schema == ""


def test_several_tasks_are_asked_for_in_one_answer() -> None:
    request = writer(tasks_per_answer=5).request(0, THREE)
    assert [m.role for m in request.messages] == ["system", "user", "assistant", "user"]
    assert "3 more tasks" in request.messages[1].content
    assert request.messages[2].content.startswith("### Task 1\nInstruction: Do number 0.")
    assert "### Task 3" in request.messages[2].content
    assert "5 more tasks" in request.messages[3].content
    assert "5 new tasks" in writer(tasks_per_answer=5, structured=True).request(0, THREE).messages[1].content


def test_a_structured_request_shows_tasks_as_json_and_has_a_schema() -> None:
    request = writer(structured=True).request(0, THREE)
    assert [m.role for m in request.messages] == ["system", "user"]
    shown = json.loads(request.messages[1].content.split("\n")[1])
    assert [task["instruction"] for task in shown] == [seed.instruction for seed in SEEDS[:3]]
    assert set(json.loads(request.schema)["properties"]["tasks"]["items"]["properties"]) == {
        "instruction",
        "input",
        "output",
    }


@pytest.mark.parametrize("structured", [False, True])
def test_field_and_kind_are_named_where_they_are_known(structured: bool) -> None:
    plain = writer(structured=structured).request(0, THREE).messages[-1].content
    assert "from the same field" in plain
    named = writer(structured=structured, field="old boats").request(0, replace(THREE, kind="information_extraction"))
    assert "about old boats" in named.messages[-1].content
    assert "about old boats" in named.messages[0].content
    assert "find pieces of information" in named.messages[-1].content


@pytest.mark.parametrize("structured", [False, True])
def test_as_many_first_words_are_asked_for_as_tasks(structured: bool) -> None:
    made = writer(structured=structured, mix="by_opening", tasks_per_answer=15)
    drawn = made.draw(3, SEEDS[:3], "information_extraction")
    assert len(drawn.openings) == 15  # of 13 words
    assert set(drawn.openings) <= set(OPENINGS["information_extraction"])
    assert drawn == made.draw(3, SEEDS[:3], "information_extraction")
    asked = made.request(3, drawn).messages[-1].content
    assert "Their instructions begin with " + ", ".join(f'"{word}"' for word in drawn.openings) + "." in asked
    assert "find pieces of information" not in asked
    assert "begin" not in writer(structured=structured).request(0, THREE).messages[-1].content


def test_first_words_are_those_by_which_the_rules_know_a_category() -> None:
    assert set(OPENINGS) == set(KINDS) == set(CATEGORIES)
    for category, openings in OPENINGS.items():
        assert {category_of(f"{word} what the text says of boats.", "A text.") for word in openings} == {category}


@pytest.mark.parametrize("structured", [False, True])
def test_separate_outputs_are_neither_shown_nor_asked_for(structured: bool) -> None:
    made = writer(structured=structured, outputs="separate")
    text = " ".join(message.content for message in made.request(0, THREE).messages)
    assert "Done" not in text
    assert "output" not in text.lower()
    assert "output" not in made.request(0, THREE).schema
    request = made.output_request("x-1", "Do it.", "On this.")
    assert request.messages[-1].content == "Do it.\n\nOn this."
    assert made.output_request("x-1", "Do it.", "").messages[-1].content == "Do it."
    assert request.item == "output/x-1"


def test_a_category_request_has_the_fixed_vocabulary() -> None:
    cold = Sampling(max_tokens=9, temperature=0.0)
    request = writer().category_request("x-1", "Do it.", "", cold)
    assert all(name in request.messages[0].content for name in CATEGORIES)
    assert request.messages[1].content.startswith("Instruction: Do it.\nInput: <none>")
    assert (request.sampling, request.item, request.schema) == (cold, "category/x-1", "")
    schema = json.loads(writer(structured=True).category_request("x-1", "Do it.", "", cold).schema)
    assert schema["properties"]["category"]["enum"] == list(CATEGORIES)


def test_what_is_asked_for_decides_how_an_answer_is_read() -> None:
    answer = Completion("Instruction: Do it.\nInput: <none>")
    assert writer().read(answer).unreadable == {"no_output": 1}
    assert len(writer(outputs="separate").read(answer).drafts) == 1


def test_an_output_loses_its_label() -> None:
    assert read_output("  Output: red\nOutput: blue ") == "red\nOutput: blue"
    assert read_output("The output: is red") == "The output: is red"


def test_categories_take_turns_where_there_are_enough_seeds_of_them() -> None:
    assert kinds_of(SEEDS, InstructSettings()) == ()
    assert kinds_of(SEEDS, InstructSettings(mix="by_category")) == CATEGORIES[:3]
    assert kinds_of(SEEDS[:7], InstructSettings(mix="by_category")) == CATEGORIES[:1]
    with pytest.raises(RecipeError, match="none has so many"):
        kinds_of(SEEDS, InstructSettings(mix="by_category", shown=4))
    with pytest.raises(RecipeError, match="only 2 seeds"):
        kinds_of(SEEDS[:2], InstructSettings())
    with pytest.raises(RecipeError, match="only 0 seeds of at most 3 words"):
        kinds_of(SEEDS, InstructSettings(shown_words=3))


def test_long_tasks_are_not_shown() -> None:
    # "Do number 0." and "Done 0" are five words, an input of "Input 1" makes it seven.
    assert short_enough(SEEDS, InstructSettings()) == SEEDS
    assert short_enough(SEEDS, InstructSettings(shown_words=7)) == SEEDS
    assert short_enough(SEEDS, InstructSettings(shown_words=6)) == SEEDS[::2]
    assert kinds_of(SEEDS, InstructSettings(mix="by_category", shown_words=6, shown=2)) == (
        CATEGORIES[0],
        CATEGORIES[2],
    )


def test_the_prompts_of_this_part_are_those_that_ship() -> None:
    shipped = {path.name.removesuffix(".jinja") for path in (files("preceptor.augment") / "prompts").iterdir()}
    used = {writer().prompt, writer(structured=True).prompt, output_prompt(), category_prompt()}
    assert {prompt.name for prompt in used} == {name for name in shipped if name.startswith("instruct-")}
