"""Each rule for written tasks, and what must not trigger it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from preceptor.augment.reading_tasks import Draft
from preceptor.config import RuleSettings
from preceptor.filter.tasks import REASONS, KnownTasks, TaskRules

SEED = Draft(
    "Say when the ferry leaves in summer.",
    "In summer the ferry to the island leaves at noon and at six.",
    "The ferry leaves at noon and at six in summer.",
)
GOOD = Draft("List the animals that the farmer keeps.", "On the hill there are nine goats and a mule.", "goats; mule")


def rules(**settings: Any) -> TaskRules:
    return TaskRules(RuleSettings(**settings), [SEED])


def judged(finish: str = "stop", settings: dict[str, Any] | None = None, **changed: str) -> str:
    task, made = replace(GOOD, **changed), rules(**(settings or {}))
    return made.judge_request(task).reason or made.judge_output(task, finish).reason


def test_a_good_task_stays() -> None:
    assert judged() == ""
    assert judged(input="") == ""


@pytest.mark.parametrize(
    ("reason", "changed"),
    [
        ("bad_start", {"instruction": "- List the animals that he keeps."}),
        ("bad_start", {"instruction": "“List the animals that he keeps."}),
        ("too_short", {"instruction": "List the animals."}),
        ("too_long", {"instruction": "List the animals " * 51}),
        ("blocked_word", {"instruction": "Draw the animals that the farmer keeps."}),
        ("blocked_word", {"instruction": "Describe what the Image of the farm shows."}),
        ("blocked_word", {"instruction": "Say why people go to the farm."}),
        ("blocked_start", {"instruction": "Write a  program that counts animals."}),
        ("not_english", {"instruction": "Nenne bitte alle Tiere, die der Bauer auf dem Hof hat."}),
        ("not_english", {"input": "Auf dem Hof gibt es neun Ziegen und einen Esel, die der Bauer nicht mag."}),
        ("not_english", {"output": "Der Bauer hat neun Ziegen und auch einen Esel, aber er mag sie nicht."}),
        ("input_is_instruction", {"input": "list the animals that the farmer keeps"}),
        ("empty_output", {"output": " \n"}),
        ("empty_output", {"output": "..."}),
        ("output_too_long", {"output": "goats and more " * 134}),
        ("output_cut_off", {"output": "The animals are:"}),
        ("output_cut_off", {"output": "goats, mules,"}),
        ("output_cut_off", {"output": "goats ("}),
        ("repeated_output", {"output": "the goats\nthe mule\nthe goats\nthe goats"}),
        ("repeated_output", {"output": "he has goats and so " * 6}),
        ("repeated_output", {"output": "goats " * 12}),
        ("output_is_input", {"output": "on the hill there are nine goats and a mule"}),
        ("output_is_instruction", {"output": "List the animals that the farmer keeps"}),
        ("copied_seed", {"input": "Note: in summer the ferry to the island leaves at noon, and at six."}),
        ("copied_seed", {"output": "The ferry leaves at noon and at six in summer!"}),
    ],
)  # fmt: skip
def test_reasons(reason: str, changed: dict[str, str]) -> None:
    assert judged(**changed) == reason
    assert reason in REASONS


@pytest.mark.parametrize(
    "changed",
    [
        {"instruction": "3 animals live there: which ones?"},
        {"instruction": "Summarise the paragraph about photographs and mapping."},  # no whole blocked word
        {"instruction": "What is a computer program used for on farms?"},
        {"output": "goats\nmule\ngoats"},
        {"output": "yes\nno\nyes\nno\nyes\nno"},
        {"output": "He keeps goats. " + "On the other hand there is a mule, which he does not keep. " * 2},
        {"output": "42"},
        {"input": "The ferry leaves at noon."},  # in a seed, but too short to be a copy
    ],
)
def test_what_stays(changed: dict[str, str]) -> None:
    assert judged(**changed) == ""


def test_an_output_at_the_limit_is_cut_off_only_where_it_ends_openly() -> None:
    whole = "He keeps nine goats on the hill and one old mule in the stable beside it."
    broken = "He keeps nine goats on the hill and one old mule that is usually kept in the"
    assert judged("length", output=whole) == ""
    assert judged("length", output=broken) == "output_cut_off"
    assert judged("stop", output=broken) == ""


def test_bounds_and_words_are_the_recipes() -> None:
    assert judged(settings={"min_words": 8}) == "too_short"
    assert judged(settings={"max_words": 5}) == "too_long"
    assert judged(settings={"max_output_words": 1}) == "output_too_long"
    assert judged(settings={"blocked_words": ("farmer",)}) == "blocked_word"
    assert judged(settings={"blocked_words": ()}, instruction="Draw the animals that he keeps.") == ""
    assert judged(settings={"blocked_starts": ("list the",)}) == "blocked_start"
    german = "Nenne bitte alle Tiere, die der Bauer auf dem Hof hat."
    assert judged(settings={"language": "any"}, instruction=german) == ""


def test_equal_requests_with_equal_and_other_outputs() -> None:
    known = KnownTasks(0.7, [SEED])
    known.add(GOOD)
    assert known.judge(replace(GOOD, output="goats")).reason == "same_input_other_output"
    assert known.judge(replace(GOOD, output="Goats, mule")).reason == "duplicate"
    assert known.judge(replace(GOOD, output="")).reason == "same_input_other_output"
    assert known.judge(replace(GOOD, output=""), with_output=False).reason == "duplicate"
    assert known.judge(replace(SEED, output="never")).reason == "same_input_other_output"
    assert known.judge(replace(GOOD, input="Another hill.")).reason == "rouge_l"


def test_novelty_is_looked_for_among_seeds_and_known_tasks() -> None:
    known = KnownTasks(0.7, [SEED])
    near_seed = Draft("Say when the bus leaves in summer.", "x", "y")
    near_good = Draft("List the animals that the baker keeps.", "x", "y")
    assert known.judge(near_seed).reason == "rouge_l"
    assert "0.8571" in known.judge(near_seed).detail
    assert known.judge(near_good).kept
    known.add(GOOD)
    assert known.judge(near_good).reason == "rouge_l"
    assert known.nearest_f(near_good) == pytest.approx(6 / 7)
    assert KnownTasks(0.9, [SEED]).judge(near_seed).kept


def test_a_forgotten_task_stands_in_nobodys_way() -> None:
    known = KnownTasks(0.7, [SEED])
    first, second = known.add(GOOD), known.add(replace(GOOD, instruction="Count the goats on the hill by colour."))
    known.forget(first, GOOD)
    assert known.judge(GOOD).kept
    assert known.nearest_f(GOOD) < 0.5
    assert known.judge(Draft("Count the goats on the hill by colour.", "x", "y")).reason == "rouge_l"
    assert known.add(GOOD) == second + 1


def test_published_seed_tasks_are_hardly_ever_refused(data_root: Any) -> None:
    with (data_root / "self-instruct" / "seed_tasks.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    made, counts = TaskRules(RuleSettings(), []), dict[str, int]()
    for row in rows:
        for pair in row["instances"]:
            task = Draft(row["instruction"], pair["input"], pair["output"])
            reason = made.judge_request(task).reason or made.judge_output(task).reason
            counts[reason] = counts.get(reason, 0) + 1
    assert sum(counts.values()) == 175
    assert counts[""] >= 168
    assert not {"repeated_output", "output_is_input", "output_cut_off", "bad_start"} & counts.keys()
