"""The report's page and file."""

from __future__ import annotations

import dataclasses
import errno
import html
import html.parser
import itertools
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from invented_runs import MARKUP, TEACHER, asked, full, funnel, hostile, plain, wide

from preceptor.errors import StorageError
from preceptor.records import Estimate, RunSummary
from preceptor.report.build import build, render


class Page(html.parser.HTMLParser):
    """The elements and the text of a page, as the standard library's own parser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text = ""
        self.css = ""
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.css += data
        else:
            self.text += data

    @property
    def words(self) -> str:
        """All text with single spaces."""
        return " ".join(self.text.split())


@pytest.fixture(scope="module")
def full_page() -> Page:
    return Page(render(full()))


def test_what_a_model_or_a_user_wrote_is_text_and_never_markup(full_page: Page) -> None:
    page = Page(render(hostile()))
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in full_page.elements}
    known = {name for _, attrs in full_page.elements for name in attrs}
    assert {name for _, attrs in page.elements for name in attrs} <= known
    summary = full()
    for text in (
        summary.name,
        summary.title,
        summary.notice,
        summary.notes[0],
        summary.task,
        summary.split,
        summary.recipe,
        summary.command,
        TEACHER,
        "minilm",
        "rewrite",
        "LoRA r 8, alpha 16 (alpha/r 2)",
        "0f3c9a7d51",
        "packages",
        "similarity 1.000",
        "rewrite-question.v1",
        "demo-0007",
        "maybe",
    ):
        assert text + MARKUP in page.text
    assert "49 </style>" not in page.text, "a template inside the data was run"


def test_the_samples_marks_stay_markup_while_their_words_are_escaped() -> None:
    page = Page(render(hostile("<b onclick=x>&amp;")))
    assert "<b onclick=x>&amp;" in page.text
    assert {"del", "ins"} <= {tag for tag, _ in page.elements}
    assert not any("onclick" in attrs for _, attrs in page.elements)


@pytest.mark.parametrize("made", [full, plain, wide, hostile])
def test_the_page_asks_for_nothing_from_elsewhere(made: Callable[[], RunSummary]) -> None:
    page = Page(render(made()))
    for tag, attrs in page.elements:
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
    assert page.css
    assert not re.search(r"url\(|@import|@font-face|image-set|https?:", page.css)
    policy = [attrs["content"] for tag, attrs in page.elements if attrs.get("http-equiv") == "Content-Security-Policy"]
    assert len(policy) == 1
    assert "default-src 'none'" in policy[0]
    assert "script" not in policy[0]


def test_links_lead_to_the_pipelines_own_words_and_headings_step_by_one(full_page: Page) -> None:
    ids = {attrs["id"] for _, attrs in full_page.elements if "id" in attrs}
    targets = [attrs["href"][1:] for tag, attrs in full_page.elements if tag == "a"]
    assert targets == ["evaluate", "data", "augment", "filter", "train", "provenance"]
    assert set(targets) <= ids
    levels = [int(tag[1]) for tag, _ in full_page.elements if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert all("scope" in attrs for tag, attrs in full_page.elements if tag == "th")


def test_notice_and_limits_stand_before_any_figure(full_page: Page) -> None:
    words = full_page.words
    assert words.index("no figure on this page was measured") < words.index("Of 3 comparisons")
    assert words.index("not for medical advice") < words.index("Majority floor")
    assert 'class="notice"' not in render(plain())


def test_the_result_table_holds_scores_intervals_spread_and_gains(full_page: Page) -> None:
    words = full_page.words
    assert (
        "smollm2 · rewrite450 real + 61 generated items 0.787 [0.746, 0.828] sd 0.017 0.586 [0.541, 0.631] "
        "sd 0.022 +0.034 [+0.006, +0.062] gainteacher 0.580 [0.442, 0.706] on validation "
        "(50 items) +0.041 [+0.006, +0.076] gain 0.919[0.860, 0.980] 0.811[0.750, 0.870] "
        "0.055[-0.010, 0.110] yes 100 % 3"
    ) in words
    assert "minilm · rewrite450 real + 61 generated items 0.545 [0.504, 0.586] sd 0.017" in words
    assert "−0.002 [−0.023, +0.019] noise" in words
    assert "Majority flooralways the most frequent label 0.552 [0.511, 0.593] 0.237 [0.192, 0.282]" in words
    assert "Humanone person, same conditions 0.782" in words
    assert "88 %10 % unparsed<1 % refused<1 % cut off" in words
    assert "of scores 95 % (wilson, bootstrap); of differences 95 % (paired bootstrap)" in words


def test_floor_and_human_come_first_whatever_the_rows_order() -> None:
    summary = plain()
    page = Page(render(dataclasses.replace(summary, rows=summary.rows[::-1]))).words
    assert (
        page.index("Majority flooralways")
        < page.index("minilm · rewrite450 real")
        < page.index("minilm · nonecontrol: 450 real")
    )


def test_answers_confusion_and_seeds_of_a_row_are_there(full_page: Page) -> None:
    words = full_page.words
    assert "Confusion, summed over 3 seeds true, then predictedyesnomayberecall yes 761 57 10 0.919" in words
    assert "answered44188 % unparsed5210 % refused3<1 % cut off4<1 %" in words
    assert "Scores of each seed SeedAccuracyMacro-F1 10.7680.563 20.7920.589 30.8020.606" in words


def test_items_without_a_label_have_a_column_of_their_own() -> None:
    summary = plain()
    floor, base, helped = summary.rows
    lost = dataclasses.replace(
        base, confusion={"yes": {"yes": 200, "none": 76}, "no": {"no": 169}, "maybe": {"none": 55}}
    )
    words = Page(render(dataclasses.replace(summary, rows=(floor, lost, helped)))).words
    assert "true, then predictedyesnomaybeno labelrecall yes 200 0 0 760.830" in words


def test_absent_things_are_said_and_not_invented() -> None:
    words = Page(render(plain())).words
    assert "Human" not in words
    assert "This data set records no human answers." in words
    assert "unknown the price is not known" in words.replace("unknownthe", "unknown the")
    assert "Nothing was kept: an arm with rewrite alone was not run, and in other arms it adds nothing." in words
    assert "single seeds" in words
    words = Page(render(wide())).words
    assert "no result" in words
    assert "+0.000" not in words, "an estimate without an interval has no value to show"
    assert not re.search(r"\bnan\b", words)
    empty = dataclasses.replace(full(), rows=(), funnels=(), samples=(), spend={}, provenance={}, notes=(), counts={})
    words = Page(render(empty)).words
    for text in (
        "Nothing was scored",
        "No teacher was asked",
        "nothing was filtered",
        "No student was trained",
    ):
        assert text in words


def test_the_funnel_counts_from_asked_to_kept(full_page: Page) -> None:
    assert (
        "asked450 unreadable−19 no marker 15 · empty 4 wellformed−96 not a question 71 · too short 22 · "
        "refusal 3 drift−258 low similarity 168 · copy 41 · lost number 37 · negation changed 12 "
        "duplicates−9 near duplicate 9 leakage−7 ngram in test 7 kept61"
    ) in full_page.words
    assert "yes2393916 % no1441913 % maybe4836 %" in full_page.words
    assert "do not add up" not in full_page.words
    assert "do not add up" in Page(render(wide())).words
    unanswered = Page(render(dataclasses.replace(full(), funnels=(funnel("default", asked=455),)))).words
    assert "asked455 no answer−5 unreadable−19" in unanswered


def test_labels_and_second_opinions_stand_below_their_funnel(full_page: Page) -> None:
    words = full_page.words
    assert "Label by label: what each filter left" in words
    assert "maybe 484288 %2457 %1667 %16100 %" in words.replace("maybe48", "maybe 48")
    assert words.index("agreement−16 disagrees 14") < words.index("A labeller (builtin:smollm2-135m-instruct)")
    assert "may survive" in words
    warned = dataclasses.replace(full(), funnels=(asked("default"),))
    check = warned.funnels[0].agreement
    assert check is not None
    assert check.check is not None
    low = dataclasses.replace(check.check, accuracy=Estimate(0.4))
    weak = dataclasses.replace(warned.funnels[0], agreement=dataclasses.replace(check, check=low))
    page = render(dataclasses.replace(full(), notice="", funnels=(weak,)))
    assert re.search(r'<p class="notice">That is worse than always answering yes', page)


def test_a_sample_shows_the_label_it_came_with_and_its_weight() -> None:
    summary = full()
    kept = summary.samples[0]
    example = dataclasses.replace(kept.example, label="yes", relabelled_from="no", weight=2 / 3)
    changed = dataclasses.replace(summary, samples=(dataclasses.replace(kept, example=example),))
    words = Page(render(changed)).words
    assert "label no yes (came as no, changed by the labeller) · weight 0.67" in words
    assert "weight" not in Page(render(summary)).words


def test_funnel_bars_are_as_long_as_their_counts() -> None:
    page = Page(render(dataclasses.replace(plain(), funnels=(funnel("default"),))))
    left = [float(a["width"][:-1]) for t, a in page.elements if a.get("class") == "left"]
    gone = [float(a["width"][:-1]) for t, a in page.elements if a.get("class") == "gone"]
    assert left == pytest.approx([100 * n / 450 for n in (450, 431, 335, 77, 68, 61, 61)], abs=0.01)
    assert gone == pytest.approx([100 * n / 450 for n in (0, 19, 96, 258, 9, 7, 0)], abs=0.01)


def test_unequal_steps_are_a_warning() -> None:
    assert "did not get the same number" not in render(full())
    *others, last = full().rows
    page = render(dataclasses.replace(full(), rows=(*others, dataclasses.replace(last, steps=999))))
    assert "The arms of smollm2 (reasoning-free) did not get the same number of optimiser steps" in page


def test_samples_stand_beside_their_parents_kept_ones_first(full_page: Page) -> None:
    words = full_page.words
    assert words.index("kept label no") < words.index("dropped lost number by drift: 120, 8")
    assert words.index("1 more kept") < words.index("dropped lost number")
    assert "Generated question (newly written)The participants were asked" in words
    page = render(full())
    assert "Is a short walk after <del>lunch associated with</del> fewer headaches?" in page
    assert "Is a short walk after <ins>the midday meal linked to</ins> fewer headaches?" in page
    assert "Unchanged: context" in words
    assert re.search(r"… \(\d+ more words\)", words), "long unchanged fields are shortened"


def test_provenance_is_flat_and_complete(full_page: Page) -> None:
    words = full_page.words
    for text in (
        "id0f3c9a7d51",
        "dirtyno",
        "acceleratornot recorded",
        "torch2.13.0",
        "seeds1, 2, 3",
        "1 · nameaugment",
    ):
        assert text in words
    assert "preceptor run recipes/pubmedqa.toml" in words
    assert 'settings = ["reasoning-required", "reasoning-free"]' in words


def channels(colour: str) -> list[float]:
    digits = colour[1:] if len(colour) == 7 else "".join(c * 2 for c in colour[1:])
    values = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    return [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]


def contrast(one: str, other: str) -> float:
    """WCAG 2 contrast ratio."""
    light = [0.2126 * r + 0.7152 * g + 0.0722 * b for r, g, b in (channels(one), channels(other))]
    return (max(light) + 0.05) / (min(light) + 0.05)


def test_text_has_enough_contrast_in_light_dark_and_print(full_page: Page) -> None:
    themes = [
        dict(re.findall(r"--([\w-]+): (#\w+)", block)) for block in re.findall(r":root \{(.*?)\}", full_page.css, re.S)
    ]
    assert len(themes) == 3
    for theme in themes:
        pairs = [(ink, ground) for ink in ("ink", "muted", "accent") for ground in ("page", "sheet", "soft")]
        for ink, ground in [*pairs, ("good", "good-soft"), ("bad", "bad-soft"), ("warn", "warn-soft")]:
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground, theme[ink])


def test_the_report_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    target = tmp_path / "run" / "report.html"
    assert build(full(), target) == target
    assert target.read_text(encoding="utf-8") == render(full())
    assert [p.name for p in target.parent.iterdir()] == ["report.html"]


def test_a_full_disk_leaves_the_old_report_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "report.html"
    target.write_text("old", encoding="utf-8")
    write = Path.write_text

    def half(self: Path, data: str, encoding: str) -> int:
        write(self, data[: len(data) // 2], encoding=encoding)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(StorageError, match=r"report\.html: no space left on device") as raised:
        build(full(), target)
    assert raised.value.hint
    assert target.read_text(encoding="utf-8") == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    for target in (tmp_path / "file" / "report.html", tmp_path / "folder"):
        with pytest.raises(StorageError, match="Cannot write"):
            build(plain(), target)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_half_characters_of_a_model_do_not_stop_the_report(tmp_path: Path) -> None:
    path = build(dataclasses.replace(plain(), title="half \ud800 character \x00"), tmp_path / "report.html")
    assert "half ? character" in path.read_text(encoding="utf-8")


def test_requests_whose_end_nobody_knows_are_said_with_what_they_may_have_cost() -> None:
    summary = plain()
    teacher, spend = next(iter(summary.spend.items()))
    told = dataclasses.replace(summary, spend={teacher: dataclasses.replace(spend, unknown=3, unknown_usd=0.25)})
    assert "3 requests to" in Page(render(told)).words
    assert "may have charged for them, at most $0.25" in Page(render(told)).words
    assert "may have charged" not in Page(render(summary)).words
