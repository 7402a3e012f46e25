"""Tasks in answers as small and large teachers write them, and what each unreadable part is counted as."""

from __future__ import annotations

import json

import pytest

from preceptor.augment.reading_tasks import Draft, read_category, read_tasks
from preceptor.augment.structured import objects, schema_of_list
from preceptor.records import CATEGORIES

ONE = Draft("Name the colour of the boat.", "The red boat left at noon.", "red")
OBJECT = {"instruction": ONE.instruction, "input": ONE.input, "output": ONE.output}
PLAIN = "Instruction: Name the colour of the boat.\nInput: The red boat left at noon.\nOutput: red"


def read(text: str, finish: str = "stop", *, with_output: bool = True) -> tuple[list[Draft], dict[str, int]]:
    found = read_tasks(text, finish, with_output=with_output)
    return found.drafts, dict(found.unreadable)


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        PLAIN.replace("Instruction", "Instructions").replace("Output", "outputs"),
        PLAIN.lower().replace("name", "Name").replace("the red", "The red"),
        "Here is a task:\n\n" + PLAIN,
        PLAIN.replace("Instruction:", "**Instruction:**").replace("Input:", "**Input**:"),
        PLAIN.replace("Output", "### Output"),
        "### Task 4\n" + PLAIN,
        "Task 2:\n" + PLAIN,
        PLAIN.replace("Instruction:", "1. Instruction:").replace("Input:", "2. Input:"),
        PLAIN.replace("Instruction:", "Instruction 1:"),
        PLAIN + "\nOutput: red",
        PLAIN + "\n\n---",
        json.dumps({"tasks": [OBJECT]}),
        json.dumps([{name.capitalize(): text for name, text in OBJECT.items()}]),
        json.dumps(OBJECT),
        f"```json\n{json.dumps({'tasks': [OBJECT]})}\n```",
        json.dumps({"tasks": [OBJECT]}) + " I hope it helps.",
    ],
)
def test_one_task_is_read(text: str) -> None:
    drafts, unreadable = read(text)
    assert unreadable == {}
    assert [
        Draft(d.instruction.replace("colour of the Boat", "colour of the boat"), d.input, d.output) for d in drafts
    ] == [ONE]


@pytest.mark.parametrize("nothing", ["<none>", "None", "N/A", "", "<noinput>", "no input.", "-"])
def test_an_input_that_is_not_needed_is_empty(nothing: str) -> None:
    assert read(f"Instruction: Name a colour.\nInput: {nothing}\nOutput: red") == (
        [Draft("Name a colour.", "", "red")],
        {},
    )


def test_an_input_may_be_left_out_and_hold_several_lines() -> None:
    assert read("Instruction: Name a colour.\nOutput: red\nor blue") == (
        [Draft("Name a colour.", "", "red\nor blue")],
        {},
    )
    text = "Instruction: Answer.\nInput: Text: The boat is red.\nQuestion: Which colour?\nOutput: red"
    assert read(text)[0][0].input == "Text: The boat is red.\nQuestion: Which colour?"


def test_the_output_none_of_a_search_is_an_answer() -> None:
    assert read("Instruction: List all boats.\nInput: A car.\nOutput: none")[0][0].output == "none"


@pytest.mark.parametrize("text", [f"### Task 1\n{PLAIN}\n\n### Task 2\n{PLAIN}", f"{PLAIN}\n\n{PLAIN}"])
def test_several_tasks_are_read_with_and_without_headings(text: str) -> None:
    assert read(text) == ([ONE, ONE], {})


@pytest.mark.parametrize(
    ("reason", "text", "finish"),
    [
        ("no_instruction", "What a day.", "stop"),
        ("no_instruction", "Input: a boat\nOutput: red", "stop"),
        ("no_instruction", "Instruction:\nInput: a boat\nOutput: red", "stop"),
        ("no_output", "Instruction: Name a colour.\nInput: a boat", "stop"),
        ("label_twice", PLAIN + "\nOutput: blue", "stop"),
        ("label_twice", "Instruction: Name it.\nInput: a\nInput: b\nOutput: red", "stop"),
        ("cut_off", PLAIN, "length"),
        ("cut_off", "There was once a boat that", "length"),
        ("refused", "I'm sorry, but I cannot help with that.", "stop"),
        ("refused", PLAIN, "content_filter"),
        ("not_text", '{"tasks": [{"instruction": "Name a colour.", "input": "", "output": ["red"]}]}', "stop"),
        ("no_instruction", '{"tasks": [{"input": "", "output": "red"}]}', "stop"),
        ("no_output", '{"tasks": [{"instruction": "Name a colour.", "input": ""}]}', "stop"),
        ("no_instruction", "", "stop"),
    ],
)
def test_what_gives_no_task_is_counted(reason: str, text: str, finish: str) -> None:
    assert read(text, finish) == ([], {reason: 1})


def test_parts_of_an_answer_are_counted_one_by_one() -> None:
    text = f"{PLAIN}\n\nInstruction: Name a colour.\nInput: a boat\n\nInstruction:\nOutput: blue\n\n{PLAIN}"
    assert read(text) == ([ONE, ONE], {"no_output": 1, "no_instruction": 1})


def test_of_an_answer_that_was_cut_off_only_the_last_part_goes() -> None:
    assert read(f"{PLAIN}\n\n{PLAIN}\n\nInstruction: Na", "length") == ([ONE, ONE], {"cut_off": 1})
    assert read(json.dumps({"tasks": [OBJECT, OBJECT, OBJECT]})[:-20], "length") == ([ONE, ONE], {"cut_off": 1})


def test_without_outputs_a_task_is_an_instruction_and_an_input() -> None:
    expected = Draft(ONE.instruction, ONE.input)
    assert read(PLAIN.rsplit("\n", 1)[0], with_output=False) == ([expected], {})
    assert read(PLAIN, with_output=False) == ([expected], {})  # an output that nobody asked for is not used
    assert read(PLAIN + "\nOutput: blue", with_output=False) == ([expected], {})


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("generation", "generation"),
        ("Information extraction.", "information_extraction"),
        ("**question_answering**\nbecause a question is answered", "question_answering"),
        ("This is a question-answering task", "question_answering"),
        ('{"category": "other"}', "other"),
        ("generation, as no other fits", "generation"),
        ("generation or question_answering", None),
        ("a poem", None),
        ("regeneration", None),
        ("", None),
    ],
)
def test_a_category_is_read_only_where_one_is_named(text: str, category: str | None) -> None:
    assert read_category(text, CATEGORIES) == category


def test_a_schema_asks_for_a_list_of_objects() -> None:
    schema = json.loads(schema_of_list("tasks", {"instruction": (), "kind": ("a", "b")}))
    assert schema["required"] == ["tasks"]
    assert schema["additionalProperties"] is False
    entry = schema["properties"]["tasks"]["items"]
    assert entry["required"] == ["instruction", "kind"]
    assert entry["properties"]["kind"]["enum"] == ["a", "b"]
    assert entry["additionalProperties"] is False


def test_what_is_no_object_in_a_list_still_counts() -> None:
    assert objects('{"tasks": [{"A": 1}, "b"]}', "tasks") == [{"a": 1}, {}]
    assert objects("no JSON at all", "tasks") is None
    assert objects("[1, 2]", "tasks") is None
