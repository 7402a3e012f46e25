"""Arms in sentences: which are controls, what they tell, and that an arm without data is not passed off as run."""

from __future__ import annotations

import dataclasses

from invented_runs import KNOWS, MARKUP, full, plain, trained

from preceptor.records import Arm, Row, RunSummary
from preceptor.report.arms import controls, notes_on, teacher_note
from preceptor.report.build import render
from preceptor.report.sentences import sentences
from preceptor.report.table import as_table, teacher_words

ARMS = {
    "none": Arm(),
    "rewrite": Arm(("rewrite",)),
    "combined": Arm(("rewrite", "new")),
    "edit": Arm(("edit",)),
    "published": Arm(("published",)),
    "synthetic-only": Arm(("rewrite",), real=False),
    "shuffled": Arm(("rewrite", "new"), shuffled=True),
}


def with_arms(*rows: Row) -> RunSummary:
    base = plain()
    return dataclasses.replace(base, arms=ARMS, rows=(*base.rows, *rows))


def test_controls_are_told_from_what_they_control_and_name_it() -> None:
    summary = with_arms()
    assert controls(summary) == ("none", "edit", "published", "synthetic-only", "shuffled")
    said = {note.arm: note.text for note in notes_on(summary)}
    assert "if shuffled does as well as combined, the labels of the generated part carried nothing" in said["shuffled"]
    assert "if synthetic-only does as well as rewrite, the real items were not needed" in said["synthetic-only"]
    assert "if edit does as well as rewrite or combined, what the teacher wrote was not needed" in said["edit"]
    assert "no synonyms" in said["edit"]
    assert "if none does as well" in said["none"]
    assert said["rewrite"] == "The real items and rewritten items."
    assert {note.arm for note in notes_on(summary) if note.control} == set(controls(summary))


def test_a_control_without_its_twin_says_what_it_would_be_compared_with() -> None:
    summary = dataclasses.replace(plain(), arms={"none": Arm(), "mixed": Arm(("new",), shuffled=True)})
    assert "as well as the same arm with real items and its own labels" in notes_on(summary)[1].text


def test_a_control_is_held_against_arms_of_its_own_settings() -> None:
    arms = {
        "none": Arm(),
        "rewrite": Arm(("rewrite",), settings=("required",)),
        "rewrite-free": Arm(("rewrite",), settings=("default",)),
        "new": Arm(("new",)),
        "edit": Arm(("edit",), settings=("default",)),
        "mixed": Arm(("rewrite",), shuffled=True, settings=("default",)),
    }
    said = {note.arm: note.text for note in notes_on(dataclasses.replace(plain(), arms=arms))}
    assert "as well as rewrite-free or new, what the teacher wrote" in said["edit"]
    assert "if mixed does as well as rewrite-free, the labels" in said["mixed"]
    assert said["rewrite"] == "The real items and rewritten items. Trained only in required."
    assert "Trained only" not in said["edit"]  # the run has no other setting


def test_an_arm_that_was_not_run_is_said_everywhere_and_has_no_numbers() -> None:
    summary = with_arms(Row("arm", "default", "minilm", "edit", missing="not run: nothing was kept"))
    assert "The arm edit was not run: nothing was kept." in sentences(summary)
    table = as_table(summary.rows, controls(summary)).partition("\n\n")[0].splitlines()
    assert table[-1].startswith("default: minilm, edit (control)  ")
    assert table[-1].count("no result") == 2
    assert table[-1].endswith("not run: nothing was kept")
    assert table[-2].startswith("default: minilm, rewrite (1 seed)  ")
    assert table[-3].startswith("default: minilm, none (control, 1 seed)  ")
    page = render(summary)
    assert "control: not run: nothing was kept" in page
    assert page.count("minilm · edit") == 1  # in the table of results, and neither in pictures nor among the trained
    assert "did not get the same number of optimiser steps" not in page


def test_what_the_teacher_knows_stands_beside_the_gain() -> None:
    assert teacher_words(KNOWS) == "0.580 [0.442, 0.706] on 50 items, 1 unparsed"
    summary = full()
    head, *rows = as_table(summary.rows).partition("\n\n")[0].splitlines()
    assert "teacher on validation" in head
    assert [teacher_words(KNOWS) in line for line in rows] == [row.arm == "rewrite" for row in summary.rows]
    said = teacher_note(summary, "reasoning-free")
    assert "(likelihood of the labels); always answering yes gives 0.560" in said
    page = render(summary)
    assert page.count("on validation (50 items)") == 3
    assert "The teacher itself, " in page
    assert teacher_note(plain(), "default") == ""
    assert "teacher on validation" not in as_table(plain().rows[:1])


def test_remarks_on_an_arm_are_text_and_never_markup() -> None:
    row = dataclasses.replace(trained("default", "minilm", "shuffled", (0.8, 0.6, 0.1)), remark=f"few {MARKUP}")
    summary = with_arms(row, Row("arm", "default", "minilm", "edit", missing=MARKUP))
    assert "Few <script>" in notes_on(summary)[-1].text
    assert "<script>" not in render(summary)
