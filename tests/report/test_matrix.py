"""The matrix: what stands in a cell, what is called a gain, and what the sentences and the text table say of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
from invented_instruct import (
    ARMS,
    FEW,
    GEN,
    IE,
    QA,
    entry,
    full_instruct,
    interval,
    noise_only,
    only_tasks,
    wide_instruct,
)

from preceptor.records import Estimate, InstructSummary, MatrixEntry
from preceptor.report.instruct_sentences import MEANING, instruct_headlines, instruct_sentences
from preceptor.report.matrix import (
    FULL_TINT,
    Cell,
    category_of,
    diagonal,
    kind_of,
    lost,
    mark,
    primaries,
    primary,
    views,
)
from preceptor.report.panels import axes, panels
from preceptor.report.table import instruct_table


def gained(value: float, half: float, p_holm: float | None, arm: str = "qa") -> MatrixEntry:
    made = entry("s", arm, "teas", "accuracy")
    return dataclasses.replace(made, gain=Estimate(value, interval(value, half, "b")), p=p_holm, p_holm=p_holm)


def with_entries(entries: Sequence[MatrixEntry]) -> InstructSummary:
    return dataclasses.replace(full_instruct(), entries=tuple(entries))


def cell(summary: InstructSummary, arm: str, benchmark: str) -> Cell:
    view = views(summary)[0]
    place = [column.benchmark for column in view.columns].index(benchmark)
    return next(row.cells[place] for block in view.blocks for row in block.rows if row.arm == arm)


@pytest.mark.parametrize(
    ("value", "half", "p_holm", "kind"),
    [
        (0.03, 0.02, 0.049, "gain"),
        (0.03, 0.05, 0.049, "gain"),
        (-0.03, 0.02, 0.001, "loss"),
        (0.03, 0.02, 0.05, "before"),
        (0.03, 0.05, 0.2, "noise"),
        (0.03, 0.02, None, "untested"),
        (0.0, 0.0, 0.01, "noise"),
    ],
)
def test_a_gain_is_called_one_only_after_correction(value: float, half: float, p_holm: float | None, kind: str) -> None:
    said = mark(gained(value, half, p_holm))
    assert said is not None
    assert said.kind == kind
    assert said.holds == (kind in ("gain", "loss"))


def test_without_a_gain_nothing_is_said_about_one() -> None:
    assert mark(entry("s", "none", "teas", "accuracy")) is None
    assert mark(dataclasses.replace(gained(0.1, 0.1, 0.01), gain=Estimate(0.1))) is None
    assert mark(dataclasses.replace(gained(0.1, 0.1, 0.01), gain=None)) is None


def test_the_primary_metric_stands_for_a_benchmark() -> None:
    assert primary(["macro_f1", "accuracy"]) == "accuracy"
    assert primary(["relaxed_f1", "strict_f1"]) == "strict_f1"
    assert primary(["rouge1", "rougeL", "embedding"]) == "rougeL"
    assert primary(["something", "else"]) == "something"
    metrics = {(e.benchmark, e.metric) for e in primaries(full_instruct().entries)}
    assert metrics == {
        ("teas", "accuracy"),
        ("riddles", "accuracy"),
        ("boards", "accuracy"),
        ("ailments", "strict_f1"),
        ("visits", "rougeL"),
    }


def test_sources_say_who_wrote_the_tasks_and_which_category_they_have() -> None:
    assert kind_of(["generated", f"generated:{QA}"]) == "generated"
    assert kind_of(["teas"]) == "human"
    assert kind_of(["generated", "teas"]) == "both"
    known = {"teas": QA, "riddles": QA, "ailments": IE}
    assert category_of([f"generated:{QA}", "teas"], known) == QA
    assert category_of(["teas", "riddles"], known) == QA
    assert category_of(["generated"], known) is None
    assert category_of(["teas", "ailments"], known) is None
    assert category_of(["unheard-of"], known) is None


def test_arms_stand_in_blocks_by_who_wrote_their_tasks_and_columns_by_category() -> None:
    first, second = views(full_instruct())
    assert [block.kind for block in first.blocks] == ["generated", "human", "both"]
    assert [[row.arm for row in block.rows] for block in first.blocks] == [
        ["none", "all", "qa", "ie", "gen"],
        ["none", "people-qa", "people-ie"],
        ["none", "mixed"],
    ]
    assert [block.kind for block in second.blocks] == ["generated", "human"]
    assert first.groups == (("Question answering", 3), ("Information extraction", 1), ("Generation", 1))
    assert [column.metrics[0] for column in first.columns] == ["accuracy"] * 3 + ["strict_f1", "rougeL"]
    assert first.columns[-1].metrics == ("rougeL", "rouge1", "embedding")
    last = views(with_entries(full_instruct().entries[::-1]))[-1]
    assert last.groups == first.groups
    assert [row.arm for row in last.blocks[0].rows] == ["none", "all", "qa", "ie", "gen"]


def test_a_category_that_nobody_knows_comes_last() -> None:
    assert [title for title, _ in views(wide_instruct())[0].groups][-1] == "Law"


def test_a_student_without_arms_is_shown_before_tuning() -> None:
    only = [e for e in full_instruct().entries if e.arm == "none"]
    view = views(with_entries(only))[0]
    assert [(block.kind, [row.arm for row in block.rows]) for block in view.blocks] == [("none", ["none"])]


def test_an_arm_that_was_not_run_says_why_and_has_no_marks() -> None:
    row = next(row for row in views(full_instruct())[0].blocks[0].rows if row.arm == "ie")
    assert row.note == FEW
    assert all(cell.main.mark is None and not cell.tint for cell in row.cells)
    half = [dataclasses.replace(e, note="") if e.benchmark == "teas" else e for e in full_instruct().entries]
    assert not next(row for row in views(with_entries(half))[0].blocks[0].rows if row.arm == "ie").note


def test_the_tint_follows_the_gain_and_is_paler_where_the_correction_leaves_noise() -> None:
    summary = full_instruct()
    assert (cell(summary, "qa", "boards").tint, cell(summary, "qa", "boards").strength) == ("gain", FULL_TINT)
    assert cell(summary, "people-qa", "ailments").tint == "loss"
    assert cell(summary, "none", "teas").tint == ""
    sure, unsure = (
        cell(with_entries([entry("s", "none", "teas", "accuracy"), gained(0.1, 0.05, p)]), "qa", "teas")
        for p in (0.01, 0.2)
    )
    assert sure.strength == FULL_TINT
    assert unsure.strength == FULL_TINT / 3
    weak = cell(with_entries([gained(0.01, 0.005, 0.01)]), "qa", "teas")
    assert weak.strength == round(FULL_TINT * 0.01 / 0.05), "a small gain is never made to look large"


def test_a_cell_says_what_became_of_answers_and_mentions() -> None:
    summary = full_instruct()
    assert cell(summary, "none", "boards").lost == ("90\N{NO-BREAK SPACE}% unparsed",)
    assert cell(summary, "none", "teas").lost == ()
    assert lost(entry("s", "qa", "ailments", "strict_f1"))[1:] == ("37 mentions not in the text",)
    few = dataclasses.replace(entry("s", "qa", "visits", "rougeL"), counts={"hallucinated": 1, "cut_prompts": 30})
    assert lost(few)[1:] == ("0.3 mentions not in the text", "10 prompts cut"), "means over three seeds"
    counts = {"judge_unread": 6, "judge_decided": 30, "judge_order_flips": 12}
    judged = dataclasses.replace(few, metric="judge", counts=counts, outcomes={})
    assert lost(judged) == ("2 pairs not judged", "4 of 10 preferences swapped with the order")
    assert lost(dataclasses.replace(judged, metric="rougeL")) == ()
    assert cell(summary, "qa", "teas").own
    assert not cell(summary, "qa", "visits").own
    assert not cell(summary, "all", "teas").own


def test_the_diagonal_is_the_mean_over_own_and_other_categories() -> None:
    arms = {"qa": (f"generated:{QA}",), "gen": (f"generated:{GEN}",), "all": ("generated",)}
    pairs = [("qa", "teas"), ("qa", "visits"), ("gen", "teas"), ("gen", "visits"), ("all", "teas")]
    found = [entry("s", arm, name, "accuracy" if name == "teas" else "rougeL") for arm, name in pairs]
    means = (0.034 + 0.071) / 2, (-0.012 - 0.01) / 2
    assert diagonal(found, arms, {}) == (
        f"arms of a single category changed the score by {means[0]:+.3f} on benchmarks of their own category (mean of "
        f"2) and by {means[1]:+.3f} on those of other categories (mean of 2)"
    )
    seen = [entry("s", "people-qa", name, "accuracy") for name in ("teas", "boards")]
    seen.append(entry("s", "people-qa", "visits", "rougeL"))
    words = diagonal(seen, {"people-qa": ("teas",)}, {"teas": QA})
    assert "by +0.092 on the benchmark whose training items they saw (mean of 1)" in words
    assert "by +0.240 on other benchmarks of their own category (mean of 1)" in words
    assert "and by +0.003 on those of other categories (mean of 1)" in words


def test_there_is_no_diagonal_without_arms_of_one_category_or_without_other_categories() -> None:
    assert diagonal([entry("s", "all", "teas", "accuracy")], {"all": ("generated",)}, {}) == ""
    assert diagonal([entry("s", "qa", "teas", "accuracy")], {"qa": (f"generated:{QA}",)}, {}) == ""
    lost_gain = dataclasses.replace(entry("s", "qa", "visits", "rougeL"), gain=None)
    assert diagonal([entry("s", "qa", "teas", "accuracy"), lost_gain], {"qa": (f"generated:{QA}",)}, {}) == ""


def test_the_picture_has_a_panel_for_each_category_and_a_line_for_each_arm_with_a_gain() -> None:
    students = views(full_instruct())
    axis_of = axes(students)
    found = panels(students[0], students[0].blocks[0], axis_of)
    assert [panel.title for panel in found] == ["Question answering", "Information extraction", "Generation"]
    assert [group.benchmark for group in found[0].groups] == ["teas", "riddles", "boards"]
    assert [(line.label, line.value) for line in found[0].groups[0].lines] == [
        ("all", "+0.021"),
        ("qa", "+0.034 *"),
        ("gen", "−0.010"),
    ]
    assert 'class="dot arm"' in found[0].groups[0].lines[1].picture
    assert 'class="dot base"' in found[0].groups[0].lines[0].picture
    assert axis_of[QA].high >= 0.384
    assert panels(students[0], dataclasses.replace(students[0].blocks[0], rows=()), axis_of) == ()


def test_sentences_name_unreadable_benchmarks_first_and_then_what_holds() -> None:
    lines = instruct_sentences(full_instruct())
    assert lines[0] == (
        "Most answers were cut off or could not be read on boards (smollm2 before tuning 90 %, tinier before tuning "
        "90 %): its score says little, and so does a gain over a score before tuning."
    )
    assert lines[1] == (
        "smollm2, tasks written by the teacher: of 15 comparisons 5 gains hold (qa on boards, accuracy +0.220 "
        "[+0.088, +0.352]; all on boards, accuracy +0.190 [+0.076, +0.304]; and 3 more)."
    )
    assert "and 1 loss holds (people-qa on ailments, strict F1 -0.050 [-0.080, -0.020])" in lines[2]
    assert lines[instruct_headlines(full_instruct()) - 1] == MEANING
    text = "\n".join(lines)
    assert "smollm2, tasks written by the teacher: arms of a single category changed the score by +0.086" in text
    assert (
        "of 3,900 tasks that could be read 1,204 were kept (31 %: QA 700, IE 37, GEN 380, other 87). Why it ended: "
        "fewer than 2 % of the last 1,024 requests' tasks were kept." in text
    )
    assert f"Not run: arm ie of smollm2, arm ie of tinier ({FEW})." in text
    assert "Each arm was tuned 3 times, with different seeds; between seeds, scores varied" in text


def test_many_unreadable_benchmarks_are_one_sentence() -> None:
    line, *others = instruct_sentences(wide_instruct())
    assert line.startswith(
        "Most answers were cut off or could not be read on boards (before tuning 90 %), bench-number-0- (before"
    )
    assert line.endswith("and 7 more: their scores say little, and so do gains over a score before tuning.")
    assert not any("could not be read on" in other for other in others)
    tuned = dataclasses.replace(entry("s", "qa", "visits", "rougeL"), outcomes={"answered": 1, "cut_off": 2})
    assert instruct_sentences(with_entries([tuned]))[0] == (
        "Most answers were cut off or could not be read on visits (arm qa 67 %): its score says little."
    )
    half = dataclasses.replace(tuned, outcomes={"answered": 2, "cut_off": 2})
    assert "could not be read" not in instruct_sentences(with_entries([half]))[0]


def test_what_is_noise_is_called_noise_and_missing_results_are_said() -> None:
    lines = instruct_sentences(noise_only())
    assert lines[0] == "tinier: no gain can be told from noise, in 4 comparisons."
    assert "Nothing was generated in this run; training tasks: generated 1,204" in "\n".join(lines)
    assert "No result: arm people-qa on visits (the student wrote nothing)." in lines
    assert "With a single seed, how much training itself varies is not known." in lines
    assert instruct_sentences(only_tasks())[0].startswith("No student was scored")
    bare = dataclasses.replace(full_instruct().entries[0], estimate=None, outcomes={})
    assert "smollm2 has no result." in instruct_sentences(with_entries([bare]))


def test_gains_in_other_metrics_alone_are_not_hidden() -> None:
    main = dataclasses.replace(entry("s", "qa", "teas", "accuracy"), p_holm=1.0)
    other = dataclasses.replace(entry("s", "qa", "teas", "macro_f1"), p_holm=0.01)
    assert instruct_sentences(with_entries([main, other]))[0] == (
        "s: no gain can be told from noise, in 1 comparison, while of all 2 metrics 1 gain holds (qa on teas, "
        "macro-F1 +0.017 [+0.007, +0.027])."
    )


@pytest.mark.parametrize("made", [full_instruct, noise_only, only_tasks, wide_instruct])
def test_sentences_have_characters_of_every_terminal(made: object) -> None:
    lines = instruct_sentences(made())  # type: ignore[operator]
    assert lines
    assert all(line.isascii() and line.endswith(".") for line in lines)


def test_the_text_table_has_every_entry_aligned_primary_metrics_and_none_first() -> None:
    summary = full_instruct()
    first, second = instruct_table(summary.entries).split("\n\n")
    title, head, *lines = first.splitlines()
    assert (title, second.splitlines()[0]) == ("smollm2", "tinier")
    assert len(lines) == sum(e.student == "smollm2" for e in summary.entries)
    assert lines[0].startswith("teas       accuracy             none       0.552 [0.511, 0.593]")
    assert lines[-1].startswith("visits     nearness in meaning  mixed")
    qa = next(line for line in lines if line.startswith("teas") and " qa " in line)
    assert head.index("gain over none") == qa.index("+0.034 [+0.014, +0.054]")
    assert "0.0006  0.0120  gain" in qa
    assert next(line for line in lines if " ie " in line).endswith(FEW)
    boards = next(line for line in lines if line.startswith("boards"))
    assert boards.endswith("90 % unparsed")
    assert next(line.split()[1] for line in lines if line.startswith("visits")) == "ROUGE-L"
    assert instruct_table([]) == ""
    assert "nan" not in instruct_table(noise_only().entries)


def test_every_arm_of_the_recipe_is_in_the_invented_run() -> None:
    assert {e.arm for e in full_instruct().entries} == {"none", *ARMS}
