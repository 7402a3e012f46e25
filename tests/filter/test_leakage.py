"""Each reason of the leakage filter on made-up items, then recall and false alarms on the real data set."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from preceptor.config import LeakageSettings
from preceptor.filter.base import FilterContext
from preceptor.filter.leakage import Leakage
from preceptor.models.embed import Embedder
from preceptor.records import Example, Source

LONG = (
    "Forty grey cranes flew over our harbour while fishermen mended nets, counted barrels, sang old songs and waited "
    "until evening fog had lifted. Nobody hurried, since boats leave late and return when lamps burn low. "
)
HELD_QUESTION = "Do weekly piano lessons improve the spelling of children who learn two languages at home?"


def judge(context, *candidates, **settings):
    return Leakage(LeakageSettings(**settings)).judge(candidates, context)


def reason(context, candidate, **settings):
    return judge(context, candidate, **settings)[0].reason


def blind(texts):
    """An embedding in which nothing is like anything else."""
    return np.zeros((len(texts), 2), dtype=np.float32)


def test_a_clean_rewrite_stays_without_remark(context, child):
    (verdict,) = judge(context, child(question="Is the heart rate of 40 retired bus drivers lower after walks?"))
    assert (verdict.kept, verdict.detail) == (True, "")


def test_ids(context, child):
    rewrite = child("h1", question="Are pupils who play the piano better at spelling?")
    assert reason(context, rewrite) == "parent_held_out"
    assert "h1" in judge(context, rewrite)[0].detail
    assert reason(context, replace(child(question="Are old men well?"), id="h2")) == "parent_held_out"
    second = replace(child(question="Are old men well?"), parents=("t1", "h2"))
    assert reason(context, second) == "parent_held_out"
    assert reason(context, child("elsewhere", question="Are old men well?")) == "parent_unknown"
    assert reason(context, replace(child(question="Are old men well?"), parents=())) == "parent_unknown"


def test_runs_of_words_survive_wrapping_case_and_punctuation(context, child):
    context = replace(context, embed=blind)
    asked = "Tell me: do WEEKLY piano-lessons\n  impro\u00adve\nthe spelling\tof children in my town?"
    (verdict,) = judge(context, child(question=asked))
    assert verdict.reason == "ngram"
    assert "'do weekly piano lessons improve the spelling of'" in verdict.detail
    assert "h1" in verdict.detail


def test_any_changed_field_against_any_held_out_text(context, child):
    stolen = "It was seen that lessons made no difference to how the pupils spelled words in class."
    assert reason(context, child(context=stolen)) == "ngram"
    assert reason(context, child(conclusion=stolen)) == "ngram"


def test_the_length_of_the_run(context, child):
    nine = child(context=LONG + "Do weekly piano lessons improve the spelling of children?")
    assert reason(context, nine) == "ngram"
    assert reason(context, nine, ngram=10) == ""


def test_a_run_of_common_words_is_no_leak(context, child):
    """How rare the words are is counted among all items: the same run leaks once no training item has its words."""
    run = child(context=LONG + "Lessons made no difference to how the pupils spelled it.")
    assert reason(context, run) == "ngram"
    often = {
        f"o{n}": replace(context.parents["t2"], id=f"o{n}", fields={"context": "Pupils spelled how no lessons made."})
        for n in range(9)
    }
    assert reason(replace(context, parents={**context.parents, **often}), run) == ""


def test_a_short_held_out_text_counts_as_a_whole(context, child):
    assert reason(context, child(context=LONG + "Sir, is tea good for tired sailors at all?")) == "ngram"
    assert reason(context, child(context=LONG + "Sir, is tea good for tired people at all?")) == ""
    assert reason(context, child(context="We met on a Monday and they felt rested afterwards.")) == ""


def test_what_training_items_have_anyway_is_no_leak(context, child):
    boilerplate = child("t1", context=LONG + "The aim of this study was to determine how cranes sleep.")
    assert reason(context, boilerplate, ngram=4) == ""
    without = replace(context, parents={k: v for k, v in context.parents.items() if k != "t3"})
    assert reason(without, boilerplate, ngram=4) == "ngram"


def test_the_same_words_are_exact_in_any_field(context, child):
    wrapped = "DO weekly piano-lessons\n improve the spelling of children who learn 2 languages at home"
    for candidate in (child(question=wrapped + "?"), child(context=wrapped), child(conclusion=wrapped)):
        (verdict,) = judge(context, candidate)
        assert verdict.reason == "exact"
        assert "question of held-out item h1" in verdict.detail


def test_a_training_items_own_text_is_no_copy(context, child):
    """An item that is in both parts is in the training data anyway."""
    shared = context.held_out[1].fields
    twin = replace(context.parents["t2"], id="t4", fields={**shared})
    copy = child("t1", **shared)
    assert reason(context, copy) == "exact"
    assert reason(replace(context, parents={**context.parents, "t4": twin}), copy) == ""


EDITED = (
    "Got lessons pupils, or none. To determine whether music supports spelling was the goal of this work.",
    "None or lessons: pupils got them. Whether spelling is helped by music was to be determined in this study.",
)


@pytest.mark.parametrize("text", EDITED)
def test_an_edited_context_overlaps(context, child, text):
    context = replace(context, embed=blind)
    (verdict,) = judge(context, child(context=text))
    assert verdict.reason == "overlap"
    assert "context: shared part 0." in verdict.detail
    assert "h1" in verdict.detail


def test_an_edited_text_overlaps_in_another_field_too(context, child):
    assert reason(replace(context, embed=blind), child(conclusion=EDITED[0])) == "overlap"


def test_numbers_in_words_are_the_same_words(context, child):
    item = replace(context.held_out[1], fields={"question": "Did 17 of 45 cooks leave 12 ships within 30 days?"})
    context = replace(context, embed=blind, held_out=[*context.held_out, replace(item, id="h3")])
    spelled = "Did seventeen of forty-five cooks leave twelve ships within thirty days?"
    assert reason(context, child(question=spelled)) == "exact"


def test_an_overlap_that_the_parent_has_is_kept_and_remarked(context, child):
    parent = replace(context.parents["t1"], fields={**context.parents["t1"].fields, "context": EDITED[0]})
    candidate = replace(child(context="x"), fields={**parent.fields, "context": EDITED[0].replace("goal", "aim")})
    context = replace(context, embed=blind)
    assert reason(context, candidate) == "overlap"
    (verdict,) = judge(replace(context, parents={**context.parents, "t1": parent}), candidate)
    assert verdict.kept
    assert "its parent is close too" in verdict.detail


@pytest.mark.parametrize("field", ["context", "question"])
def test_the_number_of_a_document(context, child, field):
    numbered = replace(context.held_out[0], id="31415926")
    context = replace(context, held_out=[numbered, *context.held_out])
    named = child(**{field: f"As seen in PMID:31415926, do {LONG.lower()}?"})
    (verdict,) = judge(context, named)
    assert verdict.reason == "document_id"
    assert verdict.detail == f"{field}: names held-out item 31415926"
    assert reason(context, replace(child(context=LONG), id="31415926-rewrite-0")) == "document_id"
    assert reason(context, child(context=LONG + "There were 314159 cranes.")) == ""
    known = replace(context.parents["t2"], fields={"context": "See 31415926."})
    assert reason(replace(context, parents={**context.parents, "t2": known}), named) == ""


def test_a_line_number_is_no_document(context, child):
    context = replace(context, held_out=[replace(context.held_out[0], id="17"), *context.held_out])
    assert reason(context, child(context=LONG + "There were 17 cranes.")) == ""


def test_a_candidate_without_a_parent_is_compared_in_all_fields(context, child):
    made = child("t1", question="Are old men well?", context=LONG, conclusion="Cranes rest at noon.")
    orphan = replace(made, parents=(), source=None)
    stolen = replace(orphan, fields={**orphan.fields, "context": EDITED[0]})
    named = replace(stolen, parents=("elsewhere",), source=replace(made.source, changed=("question",)))
    assert [v.reason for v in judge(context, orphan, stolen, named)] == ["parent_unknown", "overlap", "overlap"]
    kept = judge(context, orphan, stolen, named, require_parent=False)
    assert [v.reason for v in kept] == ["", "overlap", "overlap"]


def test_near_a_held_out_question(context, child):
    one_word_changed = HELD_QUESTION.replace(" of ", " in ")
    assert reason(replace(context, embed=blind), child(question=one_word_changed)) == "near"
    (verdict,) = judge(context, child(question=one_word_changed))
    assert verdict.reason == "near"
    assert "h1" in verdict.detail


def piano(texts):
    """An embedding that knows three meanings: weekly piano lessons, something with a piano, and all else."""
    rows = [[1.0, 0.0] if "weekly" in t.lower() else [0.8, 0.6] if "piano" in t else [0.0, 1.0] for t in texts]
    return np.array(rows, dtype=np.float32)


def test_same_meaning_as_a_held_out_question(context, child):
    context = replace(context, embed=piano)
    (verdict,) = judge(context, child(question="Are bilingual pupils who practise weekly quicker to write?"))
    assert verdict.reason == "embedding"
    assert verdict.detail == "question: cosine 1.0000 to held-out item h1"
    related = child(question="Would an hour at the piano help bilingual pupils to write?")
    assert reason(context, related) == ""
    assert reason(context, related, max_similarity=0.75) == "embedding"


def test_what_the_parent_already_has_is_kept_and_remarked(context, child):
    close = "At home who learn two languages, do children improve the spelling of weekly piano lessons?"
    parent = replace(context.parents["t1"], fields={**context.parents["t1"].fields, "question": close})
    context = replace(context, parents={**context.parents, "t1": parent})
    rewrite = replace(child(question="x"), fields={**parent.fields, "question": "So " + close.lower()})
    (verdict,) = judge(context, rewrite)
    assert verdict.kept
    assert "h1" in verdict.detail
    assert "parent" in verdict.detail


SUSPECT = LONG + "Pupils got lessons and so on, and it was seen whether music helps spelling after the piano."


def test_a_context_is_compared_by_meaning_where_it_shares_something(context, child):
    asked = []

    def embed(texts):
        asked.extend(texts)
        return np.ones((len(texts), 1), dtype=np.float32)

    (verdict,) = judge(replace(context, embed=embed), child(context=SUSPECT))
    assert verdict.reason == "embedding"
    assert "context: cosine 1.0000 to held-out item h1" in verdict.detail
    assert reason(replace(context, embed=blind), child(context=SUSPECT)) == ""
    asked.clear()
    assert reason(replace(context, embed=embed), child(context=LONG)) == ""
    assert asked == []


def test_the_conclusion_must_not_reach_the_context(context, child):
    told = "Drivers walked. So exercise late in the day seems to calm the pulse of people like them."
    (verdict,) = judge(context, child("t1", context=told))
    assert verdict.reason == "rationale_leak"
    assert "conclusion" in verdict.detail
    one_run = "Drivers walked. All this was done to calm the pulse of the group."
    assert reason(context, child("t1", context=one_run)) == ""


def test_a_short_conclusion_is_leaked_as_a_whole(context, child):
    assert (
        reason(
            context,
            child("t2", context="In the end readers did not prefer either lamp. Two lamps were used."),
        )
        == "rationale_leak"
    )


def test_what_the_parents_own_context_says_is_no_leak(context, child):
    told = "Drivers walked. So exercise late in the day seems to calm the pulse of people like them."
    parent = replace(context.parents["t1"], fields={**context.parents["t1"].fields, "context": told})
    context = replace(context, parents={**context.parents, "t1": parent})
    assert reason(context, child("t1", context=told + " They were men.")) == ""


def test_where_the_student_reads_the_conclusion_it_cannot_leak(context, child):
    told = "Can exercise late in the day calm the pulse of people who sat at work for decades?"
    candidate = child("t1", question=told)
    assert reason(context, candidate) == "rationale_leak"
    free = replace(context.task, inputs=("question", "conclusion"), template="{{ question }}{{ conclusion }}")
    assert reason(replace(context, task=free), candidate) == ""


@pytest.fixture(scope="module")
def real(data_root) -> tuple[list[Example], list[Example]]:
    """The items of the official test, and the others: (train, test)."""
    folder = data_root / "pubmedqa"
    raw = json.loads((folder / "ori_pqal.json").read_text(encoding="utf-8"))
    test_ids = json.loads((folder / "test_ground_truth.json").read_text(encoding="utf-8"))
    items = [
        Example(
            identity,
            {
                "question": one["QUESTION"],
                "context": " ".join(one["CONTEXTS"]),
                "conclusion": one["LONG_ANSWER"],
            },
            one["final_decision"],
        )
        for identity, one in raw.items()
    ]
    return [i for i in items if i.id not in test_ids][:450], [i for i in items if i.id in test_ids]


def written(parent: Example, number: int, **fields: str) -> Example:
    source = Source("rewrite", "rewrite.v1", "0" * 16, "scripted", "call", "stop", tuple(fields))
    return replace(
        parent,
        id=f"r{number}",
        fields={**parent.fields, **fields},
        origin="rewrite",
        parents=(parent.id,),
        source=source,
    )


def test_every_real_test_question_is_caught_however_it_is_wrapped(context, real):
    train, test = real
    context = FilterContext(context.task, {i.id: i for i in train}, test, blind)
    copies = [
        written(train[n % len(train)], n, question=item.fields["question"].upper().replace(" ", "\n  ", 3))
        for n, item in enumerate(test)
    ]
    assert {v.kept for v in judge(context, *copies)} == {False}
    contexts = [written(train[n % len(train)], n, context=item.fields["context"]) for n, item in enumerate(test)]
    assert {v.reason for v in judge(context, *contexts)} == {"exact"}


def test_no_false_alarm_on_real_training_items(context, real):
    """Neither the real training items nor trivial rewrites of them, taken as candidates, are flagged."""
    train, test = real
    context = FilterContext(context.task, {i.id: i for i in train}, test, blind)
    same = [written(item, n, **item.fields) for n, item in enumerate(train)]
    led = [written(i, n, question="In this report, " + i.fields["question"]) for n, i in enumerate(train)]
    assert {v.reason for v in judge(context, *same)} == {""}
    assert {v.reason for v in judge(context, *led)} == {""}


def test_no_false_alarm_from_the_real_embedding(context, real):
    train, test = real
    train, test = train[::10], test[::10]
    context = FilterContext(context.task, {i.id: i for i in train[:1]}, test, Embedder())
    # Under a foreign parent, so that nothing is excused by what the parent already has.
    strangers = [written(train[0], n, question=item.fields["question"]) for n, item in enumerate(train[1:])]
    assert {v.reason for v in judge(context, *strangers)} == {""}
    turned = [
        written(train[0], n, question=f"Tell us: {' '.join(i.fields['question'].split()[::-1])}")
        for n, i in enumerate(test)
    ]
    assert [v.kept for v in judge(context, *turned)].count(False) > 0.9 * len(test)


def test_without_held_out_items_nothing_leaks(context, child):
    candidates = [child(question=HELD_QUESTION), child(context=SUSPECT)]
    assert [v.kept for v in judge(replace(context, held_out=()), *candidates)] == [True, True]
