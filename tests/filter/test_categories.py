"""The kind of a task by rules, on sentences of our own."""

from __future__ import annotations

import pytest

from preceptor.filter.categories import category_of

QA, IE, GEN, OTHER = "question_answering", "information_extraction", "generation", "other"

TASKS = [
    (QA, "What keeps the lamp from going out?", ""),
    (QA, "Is the claim about the bridge supported by the letter?", "The letter."),
    (QA, "Answer the question with one word.", "Who came?"),
    (QA, "Please choose the best option: A, B, C or D.", "Which? A) ... B) ..."),
    (QA, "Given the diary entry, decide whether the writer was content.", "A diary."),
    (QA, "Name three uses of a rope.", ""),
    (QA, "Read the notice and say when the shop opens.", "A notice."),
    (QA, "Does the second sentence follow from the first? Reply yes or no.", "Two sentences."),
    (QA, "How long does it take to boil an egg?", ""),
    (QA, "You are a librarian. Tell the visitor which shelf to try.", "A visitor asks."),
    (IE, "List every tool that the text names.", "A text."),
    (IE, "Extract the dates.", "A letter of May 3."),
    (IE, "Read the report and identify all persons in it.", "A report."),
    (IE, "Carefully find the sentence that mentions a price.", "An advertisement."),
    (IE, "Which places are mentioned in the passage?", "A passage."),
    (IE, "Make a table with the columns Name and Age.", "Ann is nine, Ben is ten."),
    (IE, "From the timetable below, pull out all trains before noon.", "A timetable."),
    (IE, "Who brought what? Answer with one item per line.", "Ann brought bread."),
    (GEN, "Summarise the meeting in two sentences.", "Minutes."),
    (GEN, "Explain why bread rises.", ""),
    (GEN, "Write a letter to a neighbour about the hedge.", ""),
    (GEN, "Using the notes below, draft a short speech.", "Notes."),
    (GEN, "Could you please rewrite this sentence politely?", "Go away."),
    (GEN, "To a child of six, explain what a contract is.", ""),
    (GEN, "The house is old. Describe how it might look inside.", ""),
    (OTHER, "Classify each fruit as sweet or sour.", "lemon"),
    (OTHER, "Calculate the area of a room of three by four metres.", ""),
    (OTHER, "The weather was fine and nobody came.", ""),
]


@pytest.mark.parametrize(("category", "instruction", "given"), TASKS)
def test_the_category_of_a_task(category: str, instruction: str, given: str) -> None:
    assert category_of(instruction, given) == category
