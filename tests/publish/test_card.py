"""The data card: its head is what the hub reads, its numbers are the run's, and no text breaks it."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from invented_tasks import card, hostile_tasks, task, tasks

from preceptor.publish.card import code, fence, plain, render, size_category
from preceptor.publish.diversity import diversity_of
from preceptor.publish.forms import publish
from preceptor.records import Example, Spend


def rendered(kept: Sequence[Example], **changes: Any) -> str:
    made = card(kept, **changes)
    assert made.funnel is not None or "funnel" in changes
    nearest = made.funnel.nearest_f if made.funnel else ()
    return render(card(kept, **{**changes, "diversity": diversity_of(kept, nearest)}), kept)


def outside_fences(text: str) -> str:
    """The Markdown that is not inside a fence, by the rule of CommonMark: a fence ends with as many backticks."""
    kept, bar = [], ""
    for line in text.split("\n"):
        found = re.match(r"(`{3,})([^`]*)$", line)
        if bar:
            if found and len(found[1]) >= len(bar) and not found[2].strip():
                bar = ""
        elif found:
            bar = found[1]
        else:
            kept.append(line)
    assert not bar, "a fence is open at the end"
    return "\n".join(kept)


@pytest.mark.parametrize(
    "title",
    [
        "Tasks",
        'a "quoted": title',
        "---\nlicense: mit",
        "‘naïve’ 日本語 😀",
        "- [x] *y* `z` # {a: b}",
        "\u2028\x85\x7f",
        "true",
        "null",
    ],
)
def test_the_head_is_yaml_that_the_hub_reads_whatever_the_title(title: str) -> None:
    from huggingface_hub import DatasetCard

    kept = tasks(3)
    head = DatasetCard(rendered(kept, title=title, licence="cc-by-4.0")).data.to_dict()
    assert head["pretty_name"] == title
    assert head["license"] == "cc-by-4.0"
    assert head["language"] == ["en"]
    assert head["task_categories"][0] == "text-generation"
    assert head["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in head["configs"]] == ["default", "alpaca", "chat"]


def test_the_hub_finds_nothing_to_object_to_in_the_head() -> None:
    """The hub's own check needs its server; these are the values that it allows."""
    from huggingface_hub import DatasetCard

    head = DatasetCard(rendered([task("What is a gene?", label="question_answering")])).data.to_dict()
    assert head["task_categories"] == ["text-generation", "question-answering"]
    assert head["license"] == "unknown"
    assert "question-answering" not in rendered([task("List it.", label="other")])
    assert "language" not in DatasetCard(rendered(tasks(2), language="")).data.to_dict()


@pytest.mark.parametrize(
    ("count", "name"),
    [(1, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (25_005, "10K<n<100K"), (200_000, "100K<n<1M"), (10**7, "n>10M")],
)
def test_sizes_have_the_hubs_names(count: int, name: str) -> None:
    assert size_category(count) == name


def test_every_number_comes_from_the_records() -> None:
    kept = [task("List the drugs.", "", "aspirin", n, "generation") for n in range(3)]
    kept.append(task("Why?", "x", "so", 3, "other"))
    text = " ".join(rendered(kept).split())
    for words in (
        "4 instruction tasks that `scripted` wrote from 80 seed tasks",
        "(empty in 3)",
        "| generation (GEN) | 3 | 75.0 % |",
        "temperature 0.8",
        "hash `fedcba9876543210`",
        "`instruct.v1`, hash `0123456789abcdef`",
        "| requests | 11 |",
        "| unreadable: no json | 2 |",
        "| candidates read from the answers | 9 |",
        "| dropped: too short | −3 |",
        "| **kept** | **4** |",
        "Why no more were written: the target was reached.",
        "Asked: 112 calls (12 of them answered before), 45,678 tokens in, 12,345 out, 0 failed. Spent: 1.25 US dollars",
        "A verb was found in 3 instructions (75.0 %), 1 different ones; 1 are questions (25.0 %); in 0 (0.0 %)",
        "| list | 3 | drug 3 |",
        "Questions: why 1.",
        "least 0.00, median 0.30, 90 % below 0.60, most 0.70",
        "```sh preceptor run invented.toml ```",
    ):
        assert words in text, words


def test_samples_are_named_where_there_were_any() -> None:
    assert "the mean over 20 samples of 200 tasks." in rendered(tasks(201))
    assert "both figures are the same" in rendered(tasks(200))


def test_what_is_not_known_is_said_and_not_made_up() -> None:
    kept = tasks(2)
    text = rendered(kept, funnel=None, spend=None)
    assert "what was dropped before is not known here" in text
    assert "Asked:" not in text
    assert "ROUGE" not in text
    spent = rendered(kept, spend=Spend(calls=3, usd=None, unknown=2))
    assert "Spent: unknown, and 2 requests whose end nobody knows" in spent


def test_what_the_set_is_not_for_and_who_decides_the_licence_is_said() -> None:
    text = rendered(tasks(2), notice="Written by rules.", notes=("About the seeds.",))
    for words in ("No medical", "Machine-written", "Not checked by people", "no legal advice", "Not chosen yet"):
        assert words in text
    assert "**Written by rules.**" in text
    assert "- About the seeds." in text


def test_examples_are_drawn_by_seed_and_stand_there_as_they_are() -> None:
    kept = hostile_tasks()
    for size in (1, 2, 3, 6):
        text = rendered(kept[:size])
        shown = [one for one in kept[:size] if f"### {one.id}," in text]
        assert len(shown) == min(3, size)
        for one in shown:
            assert f"\n{one.fields['instruction']}\n" in text
            assert f"\n{one.fields['output']}\n" in text
        assert text == rendered(kept[:size])


def test_examples_come_from_the_whole_set_and_not_from_its_head() -> None:
    kept = tasks(50)
    shown = re.findall(r"^### (task-\d+),", rendered(kept), re.MULTILINE)
    assert shown == [one.id for one in random.Random(0).sample(kept, 3)]
    assert shown != [one.id for one in kept[:3]]


@pytest.mark.parametrize("number", range(6))
def test_no_text_of_a_model_leaves_its_fence(number: int) -> None:
    one = hostile_tasks()[number]
    around = outside_fences(rendered([one]))
    lines = {line.strip() for line in around.split("---", 2)[2].split("\n")} - {""}
    for text in one.fields.values():
        assert not lines & {line.strip() for line in text.splitlines()}
    headings = [line for line in around.split("\n") if line.startswith("#")]
    assert headings[-2:] == ["## 1 example", f"### {one.id}, {one.label.replace('_', ' ')}"]


def test_marks_of_users_and_models_are_escaped_in_running_text() -> None:
    assert plain("a | b\n# <b> [x](y) *z* $1$") == r"a \| b \# \<b\> \[x\](y) \*z\* \$1\$"
    assert code("a `` b") == "```a `` b```"
    assert code("`a") == "`` `a ``"
    assert fence("x\n````\ny") == "`````\nx\n````\ny\n`````"
    text = rendered(tasks(2), title="# <script> | [x](y)", notes=("*bold* <i>",), settings={"a|b": "<c>"})
    assert "\n# \\# \\<script\\> \\| \\[x\\](y)\n" in text
    assert "\\*bold\\* \\<i\\>" in text
    assert "a\\|b \\<c\\>" in text


def test_the_pictures_that_the_card_names_lie_beside_it(tmp_path: Path) -> None:
    kept = tasks(3)
    publish(tmp_path / "set", kept, card(kept))
    named = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", (tmp_path / "set" / "README.md").read_text(encoding="utf-8"))
    assert named == ["diversity.svg", "lengths.svg"]
    assert all((tmp_path / "set" / name).is_file() for name in named)
