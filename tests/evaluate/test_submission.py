"""Scoring a file that somebody handed in: every accepted form, and every fault that must be named."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from preceptor.data.base import Task
from preceptor.errors import DataError, RecipeError
from preceptor.evaluate.submission import read_submission, score_submission
from preceptor.records import Example, Outcome, Prediction

LABELS = ("yes", "no", "maybe")
TASK = Task("toy", "default", LABELS, ("question",), "question: {{ question }}\nanswer:")
GOLD = {"11": "yes", "22": "no", "33": "maybe", "44": "yes"}
EXAMPLES = [Example(name, {"question": "Is it?"}, label) for name, label in GOLD.items()]
ORDER = ["44", "33", "22", "11"]
ANSWERS = {"11": "yes", "22": "No.", "33": "I cannot answer.", "44": "no"}
SAID = {"11": "yes", "22": "No.", "33": "", "44": "no"}
"""What may stand under `label`: 33 was not answered."""


def written(folder: Path, text: str, name: str = "said.json") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def rows(field: str) -> str:
    said = SAID if field == "label" else ANSWERS
    return "\n".join(json.dumps({"id": name, field: answer}) for name, answer in said.items())


def read(path: Path, parser: str = "strict", examples: Sequence[Example] = EXAMPLES) -> list[Prediction]:
    order = ORDER if examples is EXAMPLES else [example.id for example in examples]
    return read_submission(path, examples, order, LABELS, marker="answer:", parser=parser)


FORMS = {
    "object": ("said.json", json.dumps(ANSWERS, indent=1)),
    "object in any order and suffix": ("said.txt", json.dumps(dict(reversed(ANSWERS.items())))),
    "byte order mark": ("said.json", "\ufeff" + json.dumps(ANSWERS)),
    "lines, label": ("said.jsonl", rows("label") + "\n\n"),
    "lines, prediction": ("said.jsonl", rows("prediction")),
    "lines, text": ("said.txt", "\n" + rows("text")),
    "lines, answer": ("said.ndjson", rows("answer").replace("\n", "\r\n")),
    "lines, further fields": ("said.jsonl", rows("text").replace("}", ', "model": "m"}')),
    "lines, numbers as ids": (
        "said.jsonl",
        "\n".join(json.dumps({"id": int(name), "label": answer}) for name, answer in SAID.items()),
    ),
    "list of objects": ("said.json", f"[{rows('label').replace(chr(10), ',')}]"),
    "list": ("said.json", json.dumps([ANSWERS[name] for name in ORDER])),
    "one per line": ("said.txt", "\n".join(ANSWERS[name] for name in ORDER) + "\n"),
    "one per line, Windows": ("said.txt", "\r\n".join(ANSWERS[name] for name in ORDER) + "\r\n\r\n"),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read(form: str, tmp_path: Path) -> None:
    name, text = FORMS[form]
    found = read(written(tmp_path, text, name))
    assert [one.id for one in found] == list(GOLD)
    assert [one.label for one in found] == ["yes", "no", None, "no"]
    assert [one.text for one in found] == list((SAID if "label" in text else ANSWERS).values())


def test_one_item_can_be_handed_in_as_lines(tmp_path: Path) -> None:
    path = written(tmp_path, '{"id": "11", "label": "yes"}', "said.json")
    assert read(path, examples=EXAMPLES[:1]) == [Prediction("11", "yes", "yes", text="yes")]


def test_answers_are_parsed_counted_and_scored(tmp_path: Path) -> None:
    result, said = score_submission(written(tmp_path, json.dumps(ANSWERS)), TASK, EXAMPLES, ORDER, "strict")
    assert [prediction.label for prediction in said] == ["yes", "no", None, "no"]
    assert [prediction.id for prediction in said] == list(GOLD)
    assert said[2].outcome is Outcome.REFUSED
    assert said[2].text == "I cannot answer."
    assert result.accuracy == 0.5
    assert result.outcomes == {"answered": 3, "unparsed": 0, "refused": 1, "cut_off": 0}


def test_the_parser_decides_what_a_text_means(tmp_path: Path) -> None:
    said = ["Diagnosis.", "The answer is no.", "yes", "maybe"]
    text = "\n".join(json.dumps({"id": name, "text": one}) for name, one in zip(ORDER, said, strict=True))
    path = written(tmp_path, text)
    for parser, labels in (
        ("strict", ["maybe", "yes", "no", None]),
        ("paper", ["maybe", "yes", "maybe", "no"]),
    ):
        _, said = score_submission(path, TASK, EXAMPLES, ORDER, parser)
        assert [prediction.label for prediction in said] == labels


def test_an_empty_line_is_an_empty_answer(tmp_path: Path) -> None:
    _, said = score_submission(written(tmp_path, "yes\n\nno\nno\n", "said.txt"), TASK, EXAMPLES, ORDER)
    assert [prediction.label for prediction in said] == ["no", "no", None, "yes"]
    assert said[2].outcome is Outcome.UNPARSED


def test_an_exact_label_counts_even_where_a_sentence_would_not(tmp_path: Path) -> None:
    task = Task("toy", "default", ("St. Paul", "elsewhere"), ("question",), "{{ question }}")
    examples = [Example("11", {"question": "?"}, "St. Paul"), Example("22", {"question": "?"}, "elsewhere")]
    path = written(tmp_path, json.dumps({"11": "St. Paul ", "22": "elsewhere"}))
    assert score_submission(path, task, examples, ["11", "22"])[0].accuracy == 1


def test_the_paper_parser_is_refused_for_other_labels(tmp_path: Path) -> None:
    task = Task("toy", "default", ("true", "false"), ("question",), "{{ question }}")
    examples = [Example("11", {"question": "?"}, "true")]
    with pytest.raises(RecipeError, match="only the labels yes, no and maybe"):
        score_submission(written(tmp_path, '["true"]'), task, examples, ["11"], "paper")


FOREIGN = {
    "under label": (rows("label").replace('"No."', '"perhaps"'), "line 2, id '22': 'perhaps' is none of"),
    "a sentence under label": (
        rows("label").replace('"No."', '"no answer"'),
        "line 2, id '22': 'no answer' is none of",
    ),
    "under prediction": (rows("prediction").replace('"No."', '"perhaps"'), "line 2, id '22': 'perhaps' is none of"),
    "by id": (json.dumps({**ANSWERS, "22": "Perhaps."}), "said.json, id '22': 'Perhaps.' is none of"),
    "in a list": ('["yes", "no", "?", "no"]', "item 3, id '22': '\\?' is none of"),
    "in a list of rows": ('[{"id": "11", "label": "true"}]', "item 1, id '11': 'true' is none of"),
    "one per line": ("yes\nno\nunclear\nno\n", "line 3, id '22': 'unclear' is none of"),
}


@pytest.mark.parametrize("form", FOREIGN)
def test_a_label_that_the_task_does_not_have_is_named(form: str, tmp_path: Path) -> None:
    text, sentence = FOREIGN[form]
    examples = EXAMPLES if text.count("11") == 0 or "44" in text else EXAMPLES[:1]
    for parser in ("strict", "paper") if "label" in text else ("strict",):
        with pytest.raises(DataError, match=f"{sentence} the labels yes, no, maybe; nothing was scored") as caught:
            read(written(tmp_path, text), parser, examples)
        assert 'null or "": it counts as unread' in caught.value.hint


def test_further_labels_that_the_task_does_not_have_are_counted(tmp_path: Path) -> None:
    said = dict.fromkeys(GOLD, "perhaps")
    with pytest.raises(DataError, match=r"id '11': 'perhaps' is none .* maybe \(nor are 3 more answers\); nothing"):
        read(written(tmp_path, json.dumps(said)))
    with pytest.raises(DataError, match=r"maybe \(nor is one more answer\); nothing"):
        read(written(tmp_path, json.dumps({**said, "11": "yes", "22": "no"})))


@pytest.mark.parametrize("nothing", ["null", '""', '" "'])
@pytest.mark.parametrize("form", ['{"11": %s}', '[{"id": 11, "label": %s}]', '{"id": 11, "text": %s}\n', "[%s]"])
def test_an_answer_that_was_not_given_is_unread(form: str, nothing: str, tmp_path: Path) -> None:
    path = written(tmp_path, form % nothing)
    (said,) = read(path, examples=EXAMPLES[:1])
    assert (said.label, said.outcome) == (None, Outcome.UNPARSED)
    if nothing == "null" or "label" in form:  # the paper's parser reads any text
        assert read(path, "paper", EXAMPLES[:1])[0].label is None


@pytest.mark.parametrize("text", ["perhaps", "Unclear.", "It is hard to tell."])
def test_texts_that_cannot_be_read_are_unread(text: str, tmp_path: Path) -> None:
    for name in ("text", "answer"):
        (said,) = read(written(tmp_path, json.dumps({"id": "11", name: text})), examples=EXAMPLES[:1])
        assert (said.label, said.outcome, said.text) == (None, Outcome.UNPARSED, text)
    by_id = read(written(tmp_path, json.dumps({"11": "It is hard to tell."})), examples=EXAMPLES[:1])
    assert by_id[0].outcome is Outcome.UNPARSED


def with_answers(**changes: str) -> str:
    return json.dumps({**ANSWERS, **changes})


FAULTS = {
    "missing": ('{"11": "yes", "22": "no"}', r"2 ids are missing \('33', '44'\); nothing was scored"),
    "foreign": (with_answers(x="yes"), r"1 id is not in the split \('x'\)"),
    "repeated key": (
        '{"11": "yes", "22": "no", "33": "no", "44": "no", "11": "no"}',
        r"1 id is given more than once \('11'\)",
    ),
    "repeated row": (
        rows("label") + '\n{"id": "22", "label": "no"}',
        r"1 id is given more than once \('22'\)",
    ),
    "all three at once": (
        '{"11": "yes", "11": "yes", "22": "no", "33": "no", "7": "no"}',
        r"1 id is missing \('44'\); 1 id is not in the split \('7'\); 1 id is given more than once \('11'\)",
    ),
    "many": (
        with_answers(**{f"x{n}": "no" for n in range(9)}),
        r"9 ids are not in the split \('x0', .*'x4', \.\.\.\)",
    ),
    "short list": ('["yes"]', "the list has 1 answers, the split has 4 items; nothing was scored"),
    "long text list": ("yes\n" * 5, "the list has 5 answers, the split has 4 items"),
    "empty list": ("[]", "the list has 0 answers"),
    "true": (json.dumps({**ANSWERS, "22": True}), "said.json, id '22': the answer is true, not text"),
    "number": (json.dumps({**ANSWERS, "33": 1}), "id '33': the answer is 1, not text"),
    "object": (json.dumps({**ANSWERS, "33": {"label": "no"}}), "id '33': the answer is an object, not text"),
    "number in a row": (rows("label").replace('"No."', "2"), "line 2, id '22': the answer is 2, not text"),
    "two answers": (
        rows("label").replace('"No."', '"No.", "text": "yes"'),
        "line 2: needs exactly one of label, prediction, text, answer, has label and text",
    ),
    "no answer": (rows("says"), "line 1: needs exactly one of .* has none of them"),
    "a field twice": (
        rows("label").replace('"No."', '"No.", "label": "yes"'),
        "line 2: the field 'label' stands",
    ),
    "no id": (rows("label").replace('"id": "22"', '"key": "22"'), "line 2: the field `id` is missing"),
    "true as id": (
        rows("label").replace('"id": "22"', '"id": true'),
        "line 2: the field `id` is missing or neither",
    ),
    "row is a list": (rows("label") + "\n[1]", "line 5: expected an object"),
    "row is a list in a list": ('[{"id": "11", "label": "yes"}, 3]', "item 2: expected an object"),
    "broken object": ('{\n "11": "yes",\n "22" "no"}', "said.json, line 3: not valid JSON"),
    "broken row": (rows("label").replace('"22",', '"22"'), "line 2: not valid JSON"),
    "empty": (" \n", "the file is empty"),
    "thousands of brackets": ("[" * 200_000, "not a list or object of answers|not valid JSON"),
    "a number of thousands of digits": ("[" + "1" * 10_000 + "]", "not a list or object of answers"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_is_named_and_nothing_is_scored(fault: str, tmp_path: Path) -> None:
    text, sentence = FAULTS[fault]
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=sentence) as caught:
        score_submission(path, TASK, EXAMPLES, ORDER)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600 + len(str(path))


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such file"):
        read(tmp_path / "none.json")
    with pytest.raises(DataError, match="cannot be read: is a directory"):
        read(tmp_path)
    path = tmp_path / "latin.txt"
    path.write_bytes(b"yes\nno\nna\xefve\nno\n")
    with pytest.raises(DataError, match=r"latin.txt, line 3: the text is not UTF-8"):
        read(path)


def test_scores_on_the_real_test_equal_scikit_learn(data_root: Path, tmp_path: Path) -> None:
    truth = json.loads((data_root / "pubmedqa" / "test_ground_truth.json").read_text())
    examples = [Example(name, {"question": "?"}, label) for name, label in truth.items()]
    said = [str(label) for label in np.random.default_rng(0).choice(["yes", "no", "maybe", ""], len(truth))]
    result, _ = score_submission(written(tmp_path, json.dumps(said)), TASK, examples, list(truth))
    golds = list(truth.values())
    assert result.n == 500
    assert result.accuracy == pytest.approx(accuracy_score(golds, said), abs=1e-12)
    assert result.macro_f1 == pytest.approx(
        f1_score(golds, said, average="macro", labels=list(LABELS), zero_division=0), abs=1e-12
    )
