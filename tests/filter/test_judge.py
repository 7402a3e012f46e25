"""The judge: scores, both orders, and what becomes of answers that cannot be read."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from preceptor.config import JudgeSettings
from preceptor.filter.base import run_chain
from preceptor.filter.judge import Judge, counts
from preceptor.filter.rubric import CRITERIA, Rating, TeacherJudge, read_rating
from preceptor.records import Completion, Sampling
from preceptor.teachers.base import Answer

QUESTION = "Do 40 drivers have a calmer pulse after walks?"
GOOD = dict.fromkeys(CRITERIA, 4.0)


def rated(candidate=GOOD, parent=GOOD, *, first=True):
    return Rating("answered", first, candidate, parent)


def judge(context, candidate, both, **settings):
    context = replace(context, compare=lambda pairs: [both for _ in pairs])
    (verdict,) = Judge(JudgeSettings.model_validate(settings)).judge([candidate], context)
    return verdict


@pytest.mark.parametrize(
    ("name", "reason"),
    [("faithful", "unfaithful"), ("answerable", "unanswerable"), ("well_written", "badly_written")],
)
def test_each_criterion_has_its_reason(context, child, name, reason):
    poor = (rated({**GOOD, name: 2.0}), rated({**GOOD, name: 3.0}, first=False))
    verdict = judge(context, child(), poor)
    assert (verdict.kept, verdict.reason) == (False, reason)
    assert verdict.detail == f"{name} 2 and 3 of 5 in the two orders"
    assert judge(context, child(), poor, min_score=2.5).kept
    assert judge(context, child(), (rated(), rated(first=False))).kept


def test_a_verdict_counts_only_when_both_orders_agree(context, child):
    both = (rated({**GOOD, "answerable": 5.0}), rated({**GOOD, "answerable": 3.0}, first=False))
    verdict = judge(context, child(), both)
    assert (verdict.kept, verdict.reason) == (False, "judge_inconsistent")
    assert verdict.detail == "answerable 5 in one order, 3 in the other"
    assert judge(context, child(), both, tolerance=2).kept
    verdict = judge(context, child(), both, inconsistent="keep")
    assert verdict.kept
    assert verdict.detail.startswith("judge_inconsistent")


@pytest.mark.parametrize("outcome", ["unparsed", "refused", "cut_off", "no_answer"])
def test_one_unread_order_is_enough_to_know_nothing(context, child, outcome):
    both = (rated(), Rating(outcome, False, {}, {}))
    verdict = judge(context, child(), both)
    assert (verdict.kept, verdict.reason) == (False, outcome)
    assert judge(context, child(), both, unread="keep").kept


def test_a_candidate_without_a_known_parent_is_dropped_and_the_others_keep_their_own_ratings(context, child):
    lost = replace(child(), parents=("nobody",))
    poor = {**GOOD, "faithful": 1.0}
    ratings = [(rated(), rated(first=False)), (rated(poor), rated(poor, first=False))]
    context = replace(context, compare=lambda pairs: ratings[: len(pairs)])
    result = run_chain([Judge(JudgeSettings())], [child(), lost, child("t2")], context)
    assert len(result.kept) == 1
    assert result.counts == {"judge": {"parent_unknown": 1, "unfaithful": 1}}


def test_order_flips_are_counted(child):
    better, worse = {**GOOD, "well_written": 5.0}, {**GOOD, "well_written": 3.0}
    ratings = [
        (rated(better), rated(worse, first=False)),  # whatever stands first is the better one
        (rated(better), rated(better, first=False)),  # the candidate in both
        (rated(worse), rated(worse, first=False)),  # the parent in both
        (rated(), rated(better, first=False)),  # undecided once
        (rated(better), Rating("refused", False, {}, {})),
    ]
    found = counts(ratings, JudgeSettings())
    assert {k: found[k] for k in ("pairs", "read", "inconsistent", "decided", "flips", "first")} == {
        "pairs": 5,
        "read": 4,
        "inconsistent": 1,
        "decided": 3,
        "flips": 1,
        "first": 4,
    }
    assert found["outcomes"] == {"answered": 9, "refused": 1}
    assert found["parent_scores"] == GOOD
    assert found["candidate_scores"]["well_written"] == pytest.approx((5 + 3 + 5 + 5 + 3 + 3 + 4 + 5) / 8)
    assert counts([], JudgeSettings())["candidate_scores"] == {}


# --- asking --------------------------------------------------------------------------------------------------------


def teacher_judge(context, script, seen=None, seed=0):
    def ask(requests):
        if seen is not None:
            seen.extend(requests)
        return [Answer(request, completion=Completion(script(request))) for request in requests]

    return TeacherJudge(context.task, Sampling(), seed, ask)


def shown(request):
    """The two versions as the judge reads them."""
    return re.search(r"Version A:\n(.*)\nVersion B:\n(.*)\nScore", request.messages[-1].content, re.DOTALL).groups()


def test_each_pair_is_asked_in_both_orders_and_the_texts_change_places(context, child):
    seen = []
    perfect = json.dumps({"A": GOOD, "B": GOOD})
    candidates = [child(question=QUESTION) for _ in range(20)]
    pairs = [(candidate, context.parents["t1"]) for candidate in candidates]
    ratings = teacher_judge(context, lambda request: perfect, seen)(pairs)
    assert len(seen) == 40
    assert len({request.key("x") for request in seen}) == 40
    for (one, other), first, second in zip(ratings, seen[::2], seen[1::2], strict=True):
        assert {one.candidate_first, other.candidate_first} == {True, False}
        assert [t.strip() for t in shown(first)] == [t.strip() for t in shown(second)[::-1]]
        assert (QUESTION in shown(first)[0]) == one.candidate_first
    assert {both[0].candidate_first for both in ratings} == {True, False}  # which is asked first is drawn
    other = teacher_judge(context, lambda request: perfect, seed=1)(pairs)
    assert [both[0].candidate_first for both in other] != [both[0].candidate_first for both in ratings]
    text = seen[0].messages[-1].content
    assert text.count(context.parents["t1"].fields["context"]) == 1
    assert context.parents["t1"].fields["conclusion"] not in text


def test_scores_follow_the_text_and_not_its_place(context, child):
    def by_text(request):
        scores = [{**GOOD, "faithful": 5 if QUESTION in version else 2} for version in shown(request)]
        return json.dumps(dict(zip("AB", scores, strict=True)))

    ((one, other),) = teacher_judge(context, by_text)([(child(question=QUESTION), context.parents["t1"])])
    assert one.candidate["faithful"] == other.candidate["faithful"] == 5
    assert one.parent["faithful"] == other.parent["faithful"] == 2


def test_a_rewrite_must_mean_the_same_and_a_new_question_must_fit_the_source(context, child):
    seen = []
    asked = teacher_judge(context, lambda request: "", seen)
    asked([(child(question=QUESTION), context.parents["t1"])])
    asked([(child(question=QUESTION, origin="new", label="no"), context.parents["t1"])])
    rewrite, new = seen[0].messages[-1].content, seen[2].messages[-1].content
    assert "what the other version says" in rewrite
    assert "the two versions need not ask the same" in new
    assert "its answer: no" in new
    assert "its answer: yes" in new


# --- reading -------------------------------------------------------------------------------------------------------

A, B = (dict(zip(CRITERIA, scores, strict=True)) for scores in ((4.0, 5.0, 3.0), (2.0, 1.0, 5.0)))


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"A": A, "B": B}),
        json.dumps({"B": B, "A": A}),
        f"Here are my scores:\n```json\n{json.dumps({'A': A, 'B': B}, indent=1)}\n```\nI hope that helps.",
        "{'A': {'faithful': 4, 'answerable': '5/5', 'well_written': 3,}, 'B': {faithful: 2, answerable: 1, "
        "well_written: 5",
        "Version A: faithful: 4, answerable: 5, well written: 3.\nVersion B: faithful: 2, answerable: 1, "
        "well-written: 5.",
    ],
    ids=["json", "other-order", "fenced", "broken", "text"],
)
def test_scores_are_read_from_json_however_broken_and_from_text(text):
    found = read_rating(Completion(text), candidate_first=True)
    assert (found.outcome, found.candidate, found.parent) == ("answered", A, B)
    found = read_rating(Completion(text), candidate_first=False)
    assert (found.candidate, found.parent) == (B, A)


@pytest.mark.parametrize(
    ("text", "finish", "outcome"),
    [
        ("Both are good.", "stop", "unparsed"),
        ("", "stop", "unparsed"),
        (json.dumps({"A": A}), "stop", "unparsed"),
        (json.dumps({"A": {**A, "faithful": 6}, "B": B}), "stop", "unparsed"),
        (json.dumps({"A": {**A, "faithful": True}, "B": B}), "stop", "unparsed"),
        (json.dumps({"A": A, "B": {"faithful": 2}}), "length", "cut_off"),
        ("I am sorry, I cannot help with that.", "stop", "refused"),
        (json.dumps({"A": A, "B": B}), "content_filter", "refused"),
        ("Version B: faithful: 4, answerable: 5, well written: 3. Version A: faithful: 4, answerable: 5, "
         "well written: 3.", "stop", "unparsed"),
    ],
)  # fmt: skip
def test_what_holds_no_scores_has_an_outcome(text, finish, outcome):
    found = read_rating(Completion(text, finish), candidate_first=True)
    assert (found.outcome, found.candidate) == (outcome, {})
    assert read_rating(None, candidate_first=True).outcome == "no_answer"


def test_nothing_is_asked_about_nothing_and_a_missing_judge_is_an_error(context, child):
    assert Judge(JudgeSettings()).judge([], context) == []
    with pytest.raises(ValueError, match="needs a judge"):
        Judge(JudgeSettings()).judge([child()], context)
