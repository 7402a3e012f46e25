"""The page of a recipe of instructions, as the standard library's own parser reads it."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from invented_instruct import (
    FEW,
    PICTURE,
    full_instruct,
    hostile_instruct,
    noise_only,
    only_tasks,
    task,
    wide_instruct,
)
from invented_runs import MARKUP, full
from test_build import Page, channels, contrast

from preceptor.errors import StorageError
from preceptor.records import InstructSummary
from preceptor.report.build import render
from preceptor.report.build_instruct import build_instruct, render_instruct
from preceptor.report.matrix import FULL_TINT
from preceptor.report.page import inline_picture

ALL = [full_instruct, noise_only, only_tasks, hostile_instruct, wide_instruct]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_instruct(full_instruct()))


def test_what_a_model_or_a_user_wrote_is_text_and_never_markup(page: Page) -> None:
    swapped = Page(render_instruct(hostile_instruct()))
    assert {tag for tag, _ in swapped.elements} <= {tag for tag, _ in page.elements}
    known = {name for _, attrs in page.elements for name in attrs}
    assert {name for _, attrs in swapped.elements for name in attrs} <= known
    given = full_instruct()
    told = (given.name, given.title, given.notice, given.notes[0], given.recipe, given.command, "smollm2", "boards")
    for text in (*told, "task-0001", "near_duplicate".replace("_", " "), "LoRA r 16, alpha 32", "Invented items."):
        assert text + MARKUP.replace("_", " ") in swapped.text or text + MARKUP in swapped.text, text
    assert "49 </style>" not in swapped.text, "a template inside the data was run"


@pytest.mark.parametrize(
    "text", ["]]>", "</script><b>x</b>", "**bold** [a](javascript:b) `c`", "<!-- -->", "&lt;i&gt;"]
)
def test_texts_of_tasks_are_shown_as_they_are(text: str) -> None:
    def of_tasks(words: str) -> Page:
        kept, dropped = (task(1, "other", words, words, words),), ((words, task(2, "other", words)),)
        return Page(render_instruct(dataclasses.replace(full_instruct(), samples=kept, dropped=dropped)))

    shown = of_tasks(text)
    assert shown.text.count(text) == 6
    assert [tag for tag, _ in shown.elements] == [tag for tag, _ in of_tasks("plain").elements]


@pytest.mark.parametrize("made", ALL)
def test_the_page_asks_for_nothing_from_elsewhere(made: Callable[[], InstructSummary]) -> None:
    found = Page(render_instruct(made()))
    for tag, attrs in found.elements:
        assert tag not in {
            "script",
            "link",
            "iframe",
            "object",
            "embed",
            "form",
            "base",
            "img",
            "image",
            "use",
            "video",
        }
        assert not {"src", "srcset", "action", "data", "poster", "xlink:href", "ping"} & set(attrs)
        assert not any(name.startswith("on") for name in attrs)
        assert attrs.get("href", "#").startswith("#")
        assert "url(" not in attrs.get("style", "")
    assert not re.search(r"url\(|@import|@font-face|image-set|https?:", found.css)
    policy = [attrs["content"] for tag, attrs in found.elements if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]


def test_links_lead_to_sections_and_headings_step_by_one(page: Page) -> None:
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    targets = [attrs["href"][1:] for tag, attrs in page.elements if tag == "a"]
    assert targets == ["evaluate", "limits", "data", "instruct", "train", "provenance"]
    assert set(targets) <= ids
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attrs for tag, attrs in page.elements if tag == "th")


def test_the_answer_stands_before_everything_else(page: Page) -> None:
    words = page.words
    order = [
        "no figure on this page was measured",
        "Most answers were cut off or could not be read on boards",
        "of 15 comparisons 5 gains hold",
        "Tuned on",
        "From 80 seed tasks",
        "not for medical advice",
        "Which training tasks help",
    ]
    places = [words.index(text) for text in order]
    assert places == sorted(places)
    assert "qa ▲ +0.034 +0.018 ▲ +0.220 +0.003 −0.012" in words.replace("\N{NO-BREAK SPACE}", " ")
    assert "mostly cut off or unread" in words
    assert "boardsmostly cut off or unread" not in Page(render_instruct(noise_only())).words


def test_a_cell_holds_score_gain_words_and_what_was_not_read(page: Page) -> None:
    words = page.words
    assert "0.450 [0.409, 0.491] +0.220 [+0.088, +0.352] ▲ gain 4 % unparsed" in words.replace(
        "gain4", "gain 4"
    ).replace("]▲", "] ▲")
    assert "0.586 [0.545, 0.627]" in words
    assert "macro-F1 0.327 (+0.017 ▲ gain)" in words
    assert "+0.110 [+0.044, +0.176]▲ gain4 % unparsed37 mentions not in the text" in words.replace("] ▲", "]▲")
    assert "+0.018 [−0.020, +0.056]noise" in words
    assert "▼ loss" in words
    assert words.count(f"not run: {FEW}") == 2


def test_two_kinds_of_arms_are_two_tables_with_a_word_on_how_to_read_them(page: Page) -> None:
    words = page.words
    pair = "is lost in what the teacher wrote, not in the method"
    assert pair in words
    assert words.index(pair) < words.index("In this table")
    tables = [attrs.get("aria-label", "") for _, attrs in page.elements if attrs.get("role") == "region"]
    assert [label for label in tables if label.endswith("smollm2")] == [
        "Tasks written by the teacher: smollm2",
        "Tasks written by people: smollm2",
        "Tasks of both kinds together: smollm2",
    ]
    alone = Page(render_instruct(noise_only())).words
    assert pair not in alone
    assert "In this table arms of a single category changed the score by +0.086 on benchmarks" in words


def test_values_that_are_missing_are_said_and_never_numbers() -> None:
    words = Page(render_instruct(noise_only())).words
    assert "no result" in words
    assert "the student wrote nothing" in words
    assert not re.search(r"\bnan\b|\bNone\b", words)
    for text in ("Nothing was generated in this run.", "No teacher was asked."):
        assert text in words
    words = Page(render_instruct(only_tasks())).words
    for text in ("No student was scored in this run.", "There was no arm.", "There was no benchmark."):
        assert text in words
    assert "1 picture held more than shapes and words and is not shown." in words


def test_the_funnel_counts_from_what_was_found_to_what_was_kept(page: Page) -> None:
    words = page.words
    assert (
        "found in answers4,096 unreadable: no output−130 unreadable: empty−66 too short−310 "
        "asks for what cannot be seen−55 near duplicate−2,290 not english−41 kept1,204"
    ) in words
    assert "Question answering70058 %" in words
    assert "Who said the category: teacher 1,100, rules 104." in words
    assert "0.00 0.21 0.28" in words.replace("0.000.21", "0.00 0.21 ").replace("0.28", " 0.28").replace("  ", " ")
    assert "these gave no task: 80 cut off, 6 refused." in words
    assert "do not add up" not in words
    assert "do not add up" in Page(render_instruct(wide_instruct())).words


def test_tasks_sources_training_and_limits_are_there(page: Page) -> None:
    words = page.words
    assert "Question answering (2 shown)" in words
    assert words.index("Other (1 shown)") < words.index("near duplicate (2 shown)")
    assert re.search(r"… \(\d+ more words\)", words), "long inputs are shortened"
    assert "mixedTasks of both kinds together75 % all of the teacher's tasks (1,204), 25 % ailments (1,200)" in words
    assert "smollm2 · qa" in words
    assert "LoRA r 16, alpha 3240012 min 11 s4,884,480" in words
    assert "list120symptom 30, cause 12 write95note 41" in words
    assert "train 1,200, validation 100, test 300" in words
    assert "not of other benchmarks, prompts, seed tasks, teachers or settings of training" in words
    assert "not for medical advice, for patients or clinicians" in words
    assert "preceptor run recipes/bioinstruct/ablation.toml" in words
    assert "did not get the same number" not in words
    training = dict(full_instruct().training)
    training["smollm2/qa"] = {**training["smollm2/qa"], "steps": 999}
    page_text = render_instruct(dataclasses.replace(full_instruct(), training=training))
    assert "The arms of smollm2 did not get the same number of optimiser steps" in page_text


def test_the_pictures_of_the_tasks_are_drawn(page: Page) -> None:
    assert sum(attrs.get("fill") == "#1d5f8a" for _, attrs in page.elements) == 2
    assert "write <note>" in page.text


@pytest.mark.parametrize(
    "svg",
    [
        "<svg><script>a()</script></svg>",
        "<svg onload='a()'/>",
        "<svg><a href='http://127.0.0.1'/></svg>",
        "<svg><rect style='fill:url(http://127.0.0.1/a)'/></svg>",
        "<svg><foreignObject/></svg>",
        "<svg><title><b>x</b></title></svg>",
        "<svg><![CDATA[<script>]]></svg>",
        "<svg><!-- --></svg>",
        "<svg><text>a & b</text></svg>",
        "<svg/><script/>",
        "<p/>",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]><svg/>",
        "<svg/>" + MARKUP,
    ],
)
def test_a_picture_that_is_more_than_shapes_and_words_is_not_inlined(svg: str) -> None:
    assert inline_picture(svg) is None


def test_a_picture_of_shapes_and_words_is_inlined_as_it_is() -> None:
    assert inline_picture(PICTURE) == PICTURE
    assert inline_picture('<svg><rect fill="url(#a)"/></svg>') is not None


def mixed(one: str, other: str, share: float) -> str:
    """Both colours mixed in sRGB, as the page does."""
    pairs = zip(*(([int(c[i : i + 2], 16) for i in (1, 3, 5)]) for c in (one, other)), strict=True)
    return "#" + "".join(f"{round(share * a + (1 - share) * b):02x}" for a, b in pairs)


def test_text_has_enough_contrast_on_the_full_tint_in_light_dark_and_print(page: Page) -> None:
    blocks = re.findall(r":root \{(.*?)\}", page.css, re.S)
    assert len(blocks) == 3
    for block in blocks:
        theme = {
            name: value if len(value) == 7 else "#" + "".join(c * 2 for c in value[1:])
            for name, value in re.findall(r"--([\w-]+): (#\w+)", block)
        }
        for tint in ("accent", "warn-line"):
            for ground in ("page", "soft"):
                behind = mixed(theme[tint], theme[ground], FULL_TINT / 100)
                assert contrast(theme["ink"], behind) >= 4.5, (tint, ground, channels(behind))


def test_both_pages_share_one_style(page: Page) -> None:
    assert Page(render(full())).css.strip() in page.css
    assert ".heat" not in render(full())


def test_the_report_is_written_whole(tmp_path: Path) -> None:
    target = tmp_path / "run" / "report.html"
    assert build_instruct(full_instruct(), target) == target
    assert target.read_text(encoding="utf-8") == render_instruct(full_instruct())
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]
    half = dataclasses.replace(full_instruct(), title="half \ud800 character")
    assert "half ? character" in build_instruct(half, target).read_text(encoding="utf-8")
    with pytest.raises(StorageError, match="Cannot write"):
        build_instruct(full_instruct(), target.parent)
