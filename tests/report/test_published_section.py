"""The section "Beside the paper's figures"."""

from __future__ import annotations

import dataclasses
import re

from invented_published import NOTES, figure, with_published
from invented_runs import full, plain

from preceptor.records import BesideRow, Estimate, Interval
from preceptor.report.build import render
from preceptor.report.published import published_text, published_views

ROW = BesideRow("small/none", "reasoning-required", 500, 3, Estimate(0.61, Interval(0.57, 0.65), 0.01), None)


def section(page: str) -> str:
    (found,) = re.findall(r'<section id="published".*?</section>', page, flags=re.DOTALL)
    return str(found)


def test_without_figures_there_is_no_section() -> None:
    page = render(full())
    assert 'id="published"' not in page
    assert "#published" not in page
    assert published_text(full()) == ""


def test_no_table_holds_two_splits_in_one_column() -> None:
    summary = with_published(full())
    text = section(render(summary))
    tables = re.findall(r"<table.*?</table>", text, flags=re.DOTALL)
    heads = [re.findall(r"colspan=\"\d\">([^<]+)", table) for table in tables]
    assert heads == [
        ["Ours: split official, reasoning-required", "The paper's: split paper"],
        ["Ours: split official, reasoning-free", "The paper's: split paper"],
        ["Ours: split official", "The paper's: split official"],
    ]
    assert ["A teacher, zero-shot" in table for table in tables] == [False, False, True]
    assert all(note in text for note in NOTES)
    assert 'href="#published"' in render(summary)


def test_each_cell_holds_its_own_figure() -> None:
    summary = dataclasses.replace(full(), published=(figure("Theirs", ours=(ROW,)), figure("Alone")))
    rows = re.findall(r"<tr role=\"row\"><th scope=\"row\".*?</tr>", section(render(summary)), flags=re.DOTALL)
    cells = [[re.sub(r"<[^>]+>|\s+", " ", cell).split() for cell in re.findall(r"<td.*?</td>", r, re.S)] for r in rows]
    assert cells[0] == [
        ["small/none"],
        ["0.610", "[0.570,", "0.650]", "sd", "0.010"],
        ["–"],
        ["500,", "3"],
        ["0.638", "[0.595,", "0.679]"],
        ["0.391"],
        ["500"],
    ]
    assert cells[1][0] == ["not", "run"]
    assert cells[1][4:] == cells[0][4:]


def test_a_sentence_says_what_forbids_a_comparison_and_nothing_where_nothing_does() -> None:
    def warning(split: str, ours: BesideRow | None, **more: object) -> str:
        made = figure("Theirs", split=split, ours=() if ours is None else (ours,), **more)
        (view,) = published_views(dataclasses.replace(full(), published=(made,)))
        return view.warning

    assert full().split == "official"
    assert warning("official", ROW) == ""
    assert warning("paper", None) == ""
    assert warning("official", ROW, setting="", items=None) == ""
    start = "The columns cannot be compared as numbers of one test set: "
    assert warning("paper", ROW) == start + "ours are scored on the split official, the paper's on the split paper."
    other = dataclasses.replace(ROW, setting="reasoning-free", n=1200)
    assert warning("official", other) == (
        start + "ours are read in the setting reasoning-free, the paper's in reasoning-required; "
        "some of ours have 1,200 test items, the paper's beside them 500."
    )


def test_as_text_every_column_says_whose_split_it_is() -> None:
    summary = dataclasses.replace(
        full(), published=(figure("Theirs", ours=(ROW,)), figure("Alone", macro_f1=None)), published_notes=NOTES
    )
    title, _, head, first, second, *rest = published_text(summary).splitlines()
    assert title == "Beside the paper's figures"
    ours, theirs = (
        head.index("ours, split official, reasoning-required: row"),
        head.index("paper's, split paper: accuracy"),
    )
    assert first[:ours].strip() == "Theirs (reasoning-required)"
    assert first[ours:theirs].split() == [
        "small/none",
        "0.610",
        "[0.570,",
        "0.650]",
        "500",
        "3",
    ]
    assert first[theirs:].startswith("0.638 [0.595, 0.679]")
    assert second[ours:theirs].strip() == "not run"
    assert second[theirs:].split()[:4] == ["0.638", "[0.595,", "0.679]", "500"]
    assert rest[0].startswith("Theirs: the best of six values")
    assert "\n\nThe columns cannot be compared" in published_text(summary)
    assert published_text(summary).endswith("\n\n".join(NOTES))


def test_words_of_the_recipe_are_escaped() -> None:
    text = section(render(with_published(plain(), "<script>alert(1)</script>")))
    assert "<script" not in text
    assert text.count("&lt;script&gt;") >= 4


def test_as_text_ours_without_an_interval_are_no_result_and_the_papers_stay() -> None:
    single = dataclasses.replace(ROW, n=1, accuracy=Estimate(1.0), macro_f1=Estimate(0.333))
    printed = dataclasses.replace(figure("Theirs", ours=(single,)), items=None, interval=None)
    text = published_text(dataclasses.replace(full(), published=(printed,)))
    assert text.count("no result") == 2
    assert "1.000" not in text
    assert "0.638" in text
