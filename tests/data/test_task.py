"""`Task`: only inputs reach a prompt, long prompts lose words at the right place, labels are checked."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import pytest

from preceptor.data.base import Dataset, Task
from preceptor.errors import DataError, RecipeError
from preceptor.records import Example, Outcome, ParsedAnswer

TASK = Task(
    name="toy",
    setting="default",
    labels=("yes", "no"),
    inputs=("question", "context"),
    template="Abstract: {{ context }}\nQuestion: {{ question }}\nAnswer:",
    rationale="conclusion",
    shorten="context",
)
ITEM = Example(
    id="1",
    fields={"question": "Did it work?", "context": "one two three four five six", "conclusion": "SECRET"},
    label="yes",
)


def words(text: str) -> int:
    return len(text.split())


def test_prompt_is_the_template_over_the_inputs() -> None:
    assert TASK.render(ITEM) == "Abstract: one two three four five six\nQuestion: Did it work?\nAnswer:"


def test_another_process_gets_it_whole_once_it_was_used() -> None:
    used = replace(TASK)
    used.render(ITEM)
    sent = pickle.loads(pickle.dumps(used))
    assert sent == used
    assert sent.render(ITEM) == used.render(ITEM)


def test_a_template_cannot_ask_for_a_hidden_field() -> None:
    with pytest.raises(RecipeError, match="'conclusion' is undefined") as caught:
        replace(TASK, template="{{ question }} {{ conclusion }}")
    assert "question, context" in caught.value.hint


def test_a_hidden_field_cannot_reach_the_prompt_even_through_a_filter() -> None:
    sly = replace(TASK, template="{{ question }} {{ context }} {{ conclusion | default('nothing') }}")
    assert "SECRET" not in sly.render(ITEM)
    assert "SECRET" not in sly.render_within(ITEM, words, 8)[0]


def test_markup_in_a_text_is_not_escaped_and_not_run() -> None:
    item = replace(ITEM, fields={**ITEM.fields, "context": "a < b {{ question }}"})
    assert "a < b {{ question }}" in TASK.render(item)


def test_a_prompt_that_fits_is_left_alone() -> None:
    full = TASK.render(ITEM)
    assert TASK.render_within(ITEM, words, words(full)) == (full, False)


@pytest.mark.parametrize(("limit", "left"), [(11, "two three four five six"), (8, "five six"), (6, "")])
def test_words_are_cut_from_the_start_and_as_few_as_possible(limit: int, left: str) -> None:
    prompt, cut = TASK.render_within(ITEM, words, limit)
    assert cut
    assert prompt == f"Abstract: {left}\nQuestion: Did it work?\nAnswer:"
    assert words(prompt) == limit


def test_the_cut_prompt_is_the_longest_that_fits_whatever_counts() -> None:
    text = " ".join("x" * (n % 7 + 1) for n in range(200))
    item = replace(ITEM, fields={**ITEM.fields, "context": text})
    for limit in range(60, 700, 37):
        prompt, _ = TASK.render_within(item, len, limit)
        kept = prompt.split("\n")[0].removeprefix("Abstract: ")
        assert text.endswith(kept)
        assert len(prompt) <= limit
        one_more = text.split()[-len(kept.split()) - 1 :] if kept else text.split()[-1:]
        assert len(prompt) + len(" ".join(one_more)) - len(kept) > limit


def test_a_prompt_that_cannot_be_cut_enough_is_refused_with_the_id() -> None:
    with pytest.raises(DataError, match=r"Item 1: .* 5 tokens, even with an empty context"):
        TASK.render_within(ITEM, words, 5)
    with pytest.raises(DataError, match=r"Item 1: .* no field may be shortened"):
        replace(TASK, shorten=None).render_within(ITEM, words, 11)


def test_target_follows_the_prompt_and_knows_its_labels() -> None:
    assert TASK.target("no") == " no"
    with pytest.raises(DataError, match="'maybe' is not a label of task toy"):
        TASK.target("maybe")


def test_an_answer_without_a_label_is_wrong() -> None:
    assert TASK.grade(ITEM, ParsedAnswer(Outcome.ANSWERED, "yes"))
    assert not TASK.grade(ITEM, ParsedAnswer(Outcome.ANSWERED, "no"))
    assert not TASK.grade(ITEM, ParsedAnswer(Outcome.UNPARSED))


def test_the_task_that_asks_also_parses() -> None:
    assert TASK.parse("Answer: yes.") == ParsedAnswer(Outcome.ANSWERED, "yes")
    assert TASK.parse("hard to tell").label is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"labels": ("yes", "yes")}, "at least two labels"),
        ({"template": "{{ question"}, "not valid"),
        ({"shorten": "conclusion"}, "'conclusion', is not among the inputs"),
    ],
)
def test_an_impossible_task_is_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        replace(TASK, **change)  # type: ignore[arg-type]


def parts(**changes: Example) -> dict[str, tuple[Example, ...]]:
    items = {name: replace(ITEM, id=name) for name in ("train", "validation", "test")} | changes
    return {name: (item,) for name, item in items.items()}


def dataset(items: dict[str, tuple[Example, ...]]) -> Dataset:
    return Dataset(TASK, items["train"], items["validation"], items["test"], split="toy", identity="0")


def test_a_data_set_checks_labels_inputs_and_ids() -> None:
    assert dataset(parts()).parts["test"][0].id == "test"
    with pytest.raises(DataError, match="item 9: label 'perhaps' is not one of yes, no"):
        dataset(parts(train=replace(ITEM, id="9", label="perhaps")))
    with pytest.raises(DataError, match="item 9: the field 'context' is empty"):
        dataset(parts(test=replace(ITEM, id="9", fields={**ITEM.fields, "context": " \n"})))
    with pytest.raises(DataError, match="more than one part or twice, first 'test'"):
        dataset(parts(train=replace(ITEM, id="test")))
    with pytest.raises(DataError, match="The validation part of task toy, split toy, is empty"):
        dataset({**parts(), "validation": ()})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"labels": ("yes", "no", "no")}, "all different"),
        ({"labels": ("yes", "")}, "none empty"),
        ({"labels": ("yes", "none")}, "'none' cannot be a label"),
        ({"template": "x"}, "shows none of the inputs"),
        ({"template": "{{ question }} {{ 1 / 0 }}"}, "not valid"),
        ({"template": "{{ question }} {{ question.upper(1, 2) }}"}, "not valid"),
        ({"template": "{{ question }} {% include 'x' %}"}, "not valid"),
        ({"template": "{{ question.__class__.__base__.__subclasses__() }}"}, "unsafe|not valid|none of the inputs"),
    ],
)
def test_a_task_that_cannot_work_is_refused(changed: dict[str, Any], said: str) -> None:
    description: dict[str, Any] = {
        "name": "t",
        "setting": "default",
        "labels": ("yes", "no"),
        "inputs": ("question",),
        "template": "{{ question }}",
    }
    with pytest.raises(RecipeError, match=said):
        Task(**{**description, **changed})
