"""Dialogues and notes: CSV as published, sections in words, and the augmented file."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from benchmark_files import Load

from preceptor.data.benchmarks import dialogue
from preceptor.errors import DataError, RecipeError
from preceptor.records import Outcome

TRAIN, VALIDATION, TEST = (dialogue.FILES[part][0] for part in ("train", "validation", "test"))
SECTIONS = ("CC", "FAM/SOCHX")


def row(n: int, **changes: str) -> dict[str, str]:
    return {
        "ID": str(n),
        "section_header": SECTIONS[n % 2],
        "section_text": f"Itchy elbow number {n},\nsince spring.",
        "dialogue": f'Doctor: "What is it, {n}?"\nPatient: My elbow itches.',
        **changes,
    }


def table(rows: list[dict[str, str]], line_end: str = "\n") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, dialogue.COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().replace("\n", line_end)


def published(**more: str) -> dict[str, str]:
    return {
        TRAIN: table([row(n) for n in range(8)]),
        VALIDATION: table([row(n) for n in range(8, 10)]),
        TEST: table([row(n) for n in range(10, 14)]),
        **more,
    }


def test_a_pair_becomes_an_instruction_that_names_the_section(load: Load) -> None:
    benchmark = load("dialogue-note", published())
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (8, 2, 4)
    first, second = benchmark.test[:2]
    assert "named chief complaint from" in first.instruction
    assert "named family and social history from" in second.instruction
    assert first.input == 'Doctor: "What is it, 10?"\nPatient: My elbow itches.'
    assert first.output == "Itchy elbow number 10,\nsince spring."
    assert (first.id, first.options, first.spans) == ("test-10", (), ())
    assert (benchmark.measured, benchmark.licence) == ("text", "CC BY 4.0")


def test_every_section_has_words_of_its_own() -> None:
    assert len(dialogue.SECTIONS) == len(set(dialogue.SECTIONS.values())) == 20


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(load: Load) -> None:
    plain = load("dialogue-note", published())
    windows = {TRAIN: "\ufeff" + table([row(n) for n in range(8)], "\r\n")}
    assert load("dialogue-note", windows).train == plain.train


@pytest.mark.parametrize(
    ("content", "line", "problem"),
    [
        (table([row(0), row(1, section_text=" \n")]), 5, "the field 'section_text' is empty"),
        (table([row(0), row(1, section_header="NONSENSE")]), 5, "section_header 'NONSENSE' is not known"),
        (table([row(0), row(0)]), 5, "the ID '0' stands twice"),
        ("ID,section_header,dialogue\n1,CC,x\n", 1, "the column 'section_text' is missing"),
        (table([row(0)]) + "1,CC,only three\n", 5, "3 columns, but the header has 4"),
        (table([row(0)]) + '1,CC,"a note,"x"\n', 5, "the row is not valid CSV"),
    ],
)
def test_a_broken_row_is_named_with_the_line_on_which_it_begins(
    load: Load, content: str, line: int, problem: str
) -> None:
    with pytest.raises(DataError) as caught:
        load("dialogue-note", published(**{TEST: content}))
    assert f"{TEST}, line {line}: " in caught.value.message
    assert problem in caught.value.message


def test_missing_and_empty_files_are_named(load: Load) -> None:
    with pytest.raises(DataError, match="no file of test items") as caught:
        load("dialogue-note", {TRAIN: table([row(0)])})
    assert TEST in caught.value.hint
    with pytest.raises(DataError, match="there are no rows"):
        load("dialogue-note", published(**{TEST: table([])}))


def test_what_became_of_a_note(load: Load) -> None:
    benchmark = load("dialogue-note", published())
    item = benchmark.test[0]
    outcomes = {
        "Itchy elbow.": Outcome.ANSWERED,
        " \n": Outcome.UNPARSED,
        "I'm sorry, I can't help with that.": Outcome.REFUSED,
    }
    assert {text: benchmark.parse(item, text).outcome for text in outcomes} == outcomes
    assert benchmark.parse(item, "Itchy el", "length").outcome is Outcome.CUT_OFF


def test_subsets_keep_the_sections_and_a_validation_part_is_drawn_where_there_is_none(load: Load) -> None:
    contents = {"a.csv": table([row(n) for n in range(40)]), "b.csv": table([row(n) for n in range(40, 60)])}
    benchmark = load("dialogue-note", contents, path=None, train_path="a.csv", test_path="b.csv", max_test=10)
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (36, 4, 10)
    assert sum("chief complaint" in item.instruction for item in benchmark.test) == 5
    assert [item.id for item in benchmark.test] != [f"test-{n}" for n in range(40, 50)]
    assert "The 4 validation items are drawn from the training items with seed 0." in benchmark.notes


def augmented(**changes: Any) -> str:
    rows = [row(n) for n in range(8)]
    for route in ("EN-FR-EN", "EN-ES-EN"):
        rows += [row(n, ID=f"TR={route} {n}", dialogue=f"{route}: elbow {n}") for n in range(8)]
    for position, change in changes.get("at", {}).items():
        rows[position] = {**rows[position], **change}
    return table([r for i, r in enumerate(rows) if i not in changes.get("without", ())])


def test_the_augmented_file_replaces_the_training_items(load: Load) -> None:
    plain = load("dialogue-note", published())
    benchmark = load("dialogue-note", published(**{dialogue.AUGMENTED: augmented()}), augmented=True)
    assert len(benchmark.train) == 24
    assert set(plain.train) < set(benchmark.train)
    assert benchmark.test == plain.test
    assert "8 originals and 16 back-translations" in benchmark.notes[0]
    assert "EN-FR-EN, EN-ES-EN" in benchmark.notes[0]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"without": (3,)}, "its originals are not the pairs"),
        ({"at": {3: {"dialogue": "another"}}}, "its originals are not the pairs"),
        ({"without": (9,)}, "7 pairs were translated as EN-FR-EN, not 8"),
        ({"at": {9: {"section_text": "another"}}}, "'TR=EN-FR-EN 1' has not section and note of its original"),
        ({"at": {9: {"ID": "TR=EN-FR-EN 99"}}}, "'TR=EN-FR-EN 99' has not section and note"),
        ({"at": {3: {"ID": "99"}}}, "'99' has not section and note"),
    ],
)
def test_an_augmented_file_that_is_not_whole_is_refused(load: Load, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        load("dialogue-note", published(**{dialogue.AUGMENTED: augmented(**changes)}), augmented=True)
    assert problem in caught.value.message


def test_augmented_needs_both_files(load: Load) -> None:
    with pytest.raises(DataError, match="There is no file"):
        load("dialogue-note", published(), augmented=True)
    with pytest.raises(RecipeError, match="augmented needs path"):
        load("dialogue-note", {}, augmented=True, path=None, train_path=TRAIN, test_path=TEST)
