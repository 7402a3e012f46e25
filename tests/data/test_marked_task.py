"""Virtual tokens in a prompt: in the task's own place, whatever is cut, and refused where there is no such place."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from preceptor.data.base import Task, marked, render_all
from preceptor.errors import RecipeError
from preceptor.records import Example, VirtualTokens

TASK = Task(
    name="toy",
    setting="default",
    labels=("yes", "no"),
    inputs=("question", "context"),
    template="Abstract: {{ context }}\nQuestion: {{ question }}\nAnswer:",
    shorten="context",
)
ITEM = Example("1", {"question": "Did it work?", "context": "one two three four"}, "yes")
BEFORE_QUESTION, BEFORE_ANSWER = VirtualTokens("<0><1>", "question"), VirtualTokens("<0><1>", None)


def words(text: str) -> int:
    return len(text.replace("<0><1>", " t t ").split())


def test_tokens_stand_before_the_question_and_its_space_stays_with_it() -> None:
    assert marked(TASK, BEFORE_QUESTION).render(ITEM).endswith("\nQuestion:<0><1> Did it work?\nAnswer:")


def test_tokens_stand_before_the_answer() -> None:
    assert marked(TASK, BEFORE_ANSWER).render(ITEM) == TASK.render(ITEM) + "<0><1>"


def test_a_field_that_begins_the_prompt_or_a_line_has_no_space_to_move() -> None:
    first = replace(TASK, template="{{ question }}\n{{ context }}")
    assert marked(first, BEFORE_QUESTION).render(ITEM) == "<0><1>Did it work?\none two three four"
    assert marked(first, VirtualTokens("<0>", "context")).render(ITEM) == "Did it work?\n<0>one two three four"


@pytest.mark.parametrize("virtual", [BEFORE_QUESTION, BEFORE_ANSWER, VirtualTokens("<0><1>", "context")])
def test_a_shortened_prompt_keeps_them(virtual: VirtualTokens) -> None:
    found = render_all(marked(TASK, virtual), [ITEM], words, 10)
    assert found.cut == 1
    assert words(found.prompts[0]) == 10
    assert found.prompts[0].count("<0><1>") == 1
    plain = render_all(TASK, [ITEM], words, 8).prompts[0]
    assert found.prompts[0].replace("<0><1>", "") == plain  # the same words are cut as without them


def test_all_else_is_the_task_as_it_was() -> None:
    shown = marked(TASK, BEFORE_QUESTION)
    assert {k: v for k, v in asdict(shown).items() if k != "virtual"} == asdict(TASK)
    assert marked(shown, BEFORE_QUESTION) is shown
    assert marked(TASK, None) is TASK


def test_a_task_without_the_field_is_refused() -> None:
    own = replace(TASK, inputs=("claim", "context"), template="{{ context }} {{ claim }}")
    with pytest.raises(RecipeError, match=r"before the field 'question', which is not among the inputs") as caught:
        marked(own, BEFORE_QUESTION)
    assert "train.prompt_field to one of claim, context" in caught.value.hint
    assert marked(own, VirtualTokens("<0>", "claim")).render(replace(ITEM, fields={"claim": "a", "context": "b"})) == (
        "b<0> a"
    )


@pytest.mark.parametrize(
    "template",
    [
        "{{ context }} Answer:",
        "{{ question }} {{ context }} {{ question }}",
        "{{ context }} {{ question | capitalize }}",
        "{{ context }} {{ question[:3] }}",
    ],
)
def test_a_prompt_that_does_not_show_the_field_once_and_whole_is_refused(template: str) -> None:
    with pytest.raises(RecipeError, match="does not show it once and as it is") as caught:
        marked(replace(TASK, template=template), BEFORE_QUESTION)
    assert "before-answer" in caught.value.hint
