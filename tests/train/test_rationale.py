"""The second task: its prompt, its target, whom it is refused, and that it is learnt."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import tiny
from preceptor.config import RationaleSettings, TrainSettings
from preceptor.data import pubmedqa
from preceptor.errors import DataError, RecipeError
from preceptor.models.answers import answer_logprobs
from preceptor.models.student import Student
from preceptor.train.batches import TrainingItem, make_items
from preceptor.train.objectives import fit
from preceptor.train.rationale import check_rationale, second_form, with_rationales

SETTINGS = RationaleSettings(cue="word:")


def explained(student: Student, count: int = 6) -> list[TrainingItem]:
    examples = tiny.examples(count)
    return with_rationales(student, tiny.TASK, examples, make_items(student, tiny.TASK, examples), SETTINGS)


def test_the_second_form_has_another_cue_in_the_markers_place() -> None:
    example = dataclasses.replace(
        tiny.examples(1)[0], fields={"question": "Why?", "context": "So.", "conclusion": "Yes."}
    )
    required = pubmedqa.TASKS[pubmedqa.REQUIRED]
    prompt = required.render(example)
    assert second_form(required, prompt, RationaleSettings()) == "Abstract: So.\nQuestion: Why?\nExplanation:"
    bare = dataclasses.replace(required, template="{{ context }}")
    assert second_form(bare, bare.render(example), RationaleSettings()) == "So.\nExplanation:"


def test_the_target_is_the_rationale_that_ends_and_no_prompt_shows_it(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    words = student.loaded.tokenizer
    for item, example in zip(explained(student), tiny.examples(6), strict=True):
        assert item.rationale is not None
        said = words.convert_ids_to_tokens(list(item.rationale.target))
        assert said == [*example.fields["conclusion"].split(), "</s>"]
        first, second = (words.decode(row.prompt) for row in (item, item.rationale))
        assert second == first.removesuffix("answer :") + "word :"
        assert example.fields["conclusion"] not in second
        assert item.label == tiny.TASK.labels.index(example.label)


def test_the_context_is_shortened_for_a_long_rationale_and_the_rationale_never(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"], max_length=26)
    made = tiny.examples(3)
    lengths = {"fits": 2, "cuts": 10, "leaves no room": 40}
    made = [
        dataclasses.replace(e, fields={**e.fields, "conclusion": "pain " * n})
        for e, n in zip(made, lengths.values(), strict=True)
    ]
    found = with_rationales(student, tiny.TASK, made, make_items(student, tiny.TASK, made), SETTINGS)
    fits, cuts, none = (item.rationale for item in found)
    assert fits is not None
    assert cuts is not None
    assert none is None
    assert (len(fits.target), len(cuts.target)) == (3, 11)
    assert len(cuts.prompt) + len(cuts.target) <= 26
    assert len(cuts.prompt) < len(found[1].prompt)


def test_an_item_without_a_rationale_has_no_second_task(tiny_models: dict[str, Path]) -> None:
    student = tiny.open_tiny(tiny_models["llama"])
    made = tiny.examples(2)
    made[0] = dataclasses.replace(made[0], fields={k: v for k, v in made[0].fields.items() if k != "conclusion"})
    made[1] = dataclasses.replace(made[1], fields={**made[1].fields, "conclusion": "  "})
    found = with_rationales(student, tiny.TASK, made, make_items(student, tiny.TASK, made), SETTINGS)
    assert [item.rationale for item in found] == [None, None]
    with pytest.raises(DataError, match="no training item of tiny has a text in the field 'conclusion'"):
        check_rationale("causal", tiny.TASK, made)


def test_encoders_and_settings_that_show_the_rationale_are_refused() -> None:
    with pytest.raises(RecipeError, match="an encoder has no words"):
        check_rationale("encoder", tiny.TASK, tiny.examples(1))
    with pytest.raises(
        RecipeError, match="no rationale in the setting 'reasoning-free', where the student reads the con"
    ):
        check_rationale("causal", pubmedqa.TASKS[pubmedqa.FREE], tiny.examples(1))
    check_rationale("causal", pubmedqa.TASKS[pubmedqa.REQUIRED], tiny.examples(1))


def test_both_tasks_are_learnt_and_with_the_label_alone_the_second_is_not(tiny_models: dict[str, Path]) -> None:
    said = {}
    for weight in (0.0, 1.0):
        student = tiny.open_tiny(tiny_models["llama"])
        items = explained(student, 24)
        held_out = make_items(student, tiny.TASK, tiny.examples(6, "other"))
        chosen = TrainSettings.model_validate(
            {
                "method": "full",
                "dtype": "float32",
                "batch_size": 6,
                "learning_rate": 3e-3,
                "objectives": {"rationale": weight},
            }
        )
        given = items if weight else [dataclasses.replace(item, rationale=None) for item in items]
        fitted = fit(student, given, held_out, chosen, steps=60, seed=1)
        second = [item.rationale for item in items if item.rationale is not None]
        sums = answer_logprobs(student.model, student.loaded, [i.prompt for i in second], [i.target for i in second])
        said[weight] = (fitted.checks[-1].accuracy, -sums.mean())
    assert said[1.0][0] == 1.0
    assert said[1.0][1] < 1 < 5 < said[0.0][1]
