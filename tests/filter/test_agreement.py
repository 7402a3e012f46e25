"""The round trip: what becomes of agreement, disagreement, split votes and answers that cannot be read."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from decimal import Decimal

import pytest

from preceptor.config import AgreementSettings, BudgetSettings
from preceptor.errors import TeacherError
from preceptor.filter.agreement import Agreement, counts
from preceptor.filter.base import run_chain
from preceptor.filter.labels import Fold, Label, TeacherLabeller, Vote, cross_fitted, majority
from preceptor.progress import Progress
from preceptor.records import Example, Request, Sampling
from preceptor.store.ledger import Ledger
from preceptor.teachers.asker import Asker, sampling_of
from preceptor.teachers.prices import Price
from preceptor.teachers.scripted import ScriptedTeacher

LABELS = ("yes", "no", "maybe")
QUESTION = "Do 40 drivers have a calmer pulse after walks?"


def votes(*words: str) -> Label:
    """A labeller's answers: labels, or the outcomes of answers without one."""
    return majority([Vote("answered", w) if w in LABELS else Vote(w) for w in words], LABELS)


def judge(context, candidate, said, **settings):
    context = replace(context, label=lambda examples: [said for _ in examples])
    (verdict,) = Agreement(AgreementSettings.model_validate(settings)).judge([candidate], context)
    return verdict


# --- votes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "outcome", "label"),
    [
        (["no"], "answered", "no"),
        (["no", "yes", "no"], "answered", "no"),
        (["no", "unparsed", "no"], "answered", "no"),
        (["no", "yes", "maybe"], "answered", None),
        (["no", "no", "yes", "maybe", "unparsed"], "answered", None),
        (["no", "unparsed", "refused", "refused", "yes"], "refused", None),
        (["no", "cut_off", "cut_off"], "cut_off", None),
        (["no_answer"], "no_answer", None),
    ],
)
def test_a_label_needs_more_than_half_of_all_votes(words, outcome, label):
    said = votes(*words)
    assert (said.outcome, said.label) == (outcome, label)
    assert said.shares == {name: words.count(name) / len(words) for name in LABELS}


# --- modes ---------------------------------------------------------------------------------------------------------


def test_drop_names_the_disagreement(context, child):
    assert judge(context, child(), votes("yes")).kept
    verdict = judge(context, child(), votes("no"))
    assert (verdict.kept, verdict.reason) == (False, "disagrees")
    assert verdict.detail == "the labeller says no (votes: no), the item yes"
    verdict = judge(context, child(), votes("no", "yes", "maybe"))
    assert (verdict.reason, verdict.kept) == ("no_majority", False)
    likelihood = Label("answered", "no", {"yes": 0.3, "no": 0.6, "maybe": 0.1})
    assert "probability 0.60" in judge(context, child(), likelihood).detail


@pytest.mark.parametrize("mode", ["drop", "relabel", "weight"])
@pytest.mark.parametrize("outcome", ["unparsed", "refused", "cut_off", "no_answer"])
def test_an_answer_without_a_label_is_dropped_in_every_mode_or_kept_as_it_came(context, child, mode, outcome):
    said = votes("yes", outcome, outcome)
    verdict = judge(context, child(), said, mode=mode)
    assert (verdict.kept, verdict.reason) == (False, outcome)
    assert "yes" in verdict.detail
    verdict = judge(context, child(), said, mode=mode, unread="keep")
    assert (verdict.kept, verdict.reason, verdict.example) == (True, "", None)
    assert outcome in verdict.detail


def test_relabel_shows_both_labels_and_needs_its_share(context, child):
    candidate = child()
    assert judge(context, candidate, votes("yes"), mode="relabel").example is None
    verdict = judge(context, candidate, votes("no", "no", "yes"), mode="relabel", min_share=0.6)
    assert verdict.kept
    assert verdict.example == replace(candidate, label="no", relabelled_from="yes")
    assert verdict.example.given_label == "yes"
    assert "says no" in verdict.detail
    verdict = judge(context, candidate, votes("no", "no", "yes"), mode="relabel", min_share=0.7)
    assert (verdict.kept, verdict.reason, verdict.example) == (False, "disagrees", None)
    assert judge(context, candidate, votes("no", "yes", "maybe"), mode="relabel").reason == "no_majority"


def test_relabelling_does_not_keep_everything(context, child):
    """The fault of a known tool: its filter wrote the other label and then let every item pass."""
    said = [votes("yes"), votes("no"), votes("refused"), votes("unparsed"), votes("no", "yes", "maybe")]
    context = replace(context, label=lambda examples: said)
    candidates = [child() for _ in said]
    result = run_chain([Agreement(AgreementSettings(mode="relabel"))], candidates, context)
    assert [(e.id, e.label, e.relabelled_from) for e in result.kept] == [
        (candidates[0].id, "yes", None),
        (candidates[1].id, "no", "yes"),
    ]
    assert result.counts == {"agreement": {"refused": 1, "unparsed": 1, "no_majority": 1}}


def test_weight_is_the_share_of_the_items_own_label(context, child):
    candidate = child()
    verdict = judge(context, candidate, votes("no", "yes", "no", "unparsed", "yes"), mode="weight")
    assert verdict.kept
    assert verdict.example == replace(candidate, weight=0.4)
    assert judge(context, candidate, votes("yes", "yes", "yes"), mode="weight").example is None
    split = votes("no", "yes", "maybe")
    assert judge(context, candidate, split, mode="weight").example.weight == pytest.approx(1 / 3)
    verdict = judge(context, candidate, votes("no", "maybe", "no"), mode="weight")
    assert (verdict.kept, verdict.reason) == (False, "disagrees")  # a weight of 0 would be a dropped item in disguise


def test_later_filters_and_the_result_get_the_changed_example(context, child):
    class Sees:
        name = "sees"

        def judge(self, candidates, context):
            self.labels = [c.label for c in candidates]
            return Agreement(AgreementSettings(mode="relabel")).judge(candidates, context)

    context = replace(context, label=lambda examples: [votes("maybe")] * len(examples))
    later = Sees()
    result = run_chain([Agreement(AgreementSettings(mode="relabel")), later], [child(), child("t2")], context)
    assert later.labels == ["maybe", "maybe"]
    assert [(e.label, e.relabelled_from) for e in result.kept] == [("maybe", "yes"), ("maybe", "no")]


# --- the filter filters --------------------------------------------------------------------------------------------


def many(child, count):
    return [replace(child(), id=f"c{i}", label=LABELS[i % 3]) for i in range(count)]


def test_a_labeller_that_guesses_keeps_what_chance_keeps_and_one_that_agrees_keeps_all(context, child):
    candidates = many(child, 900)
    rng = random.Random(5)
    guess = replace(context, label=lambda examples: [votes(rng.choice(LABELS)) for _ in examples])
    kept = run_chain([Agreement(AgreementSettings())], candidates, guess).kept
    assert abs(len(kept) - 300) < 60  # more than four standard deviations
    agree = replace(context, label=lambda examples: [votes(e.label) for e in examples])
    assert run_chain([Agreement(AgreementSettings())], candidates, agree).kept == candidates
    never = replace(context, label=lambda examples: [votes(LABELS[LABELS.index(e.label) - 1]) for e in examples])
    assert not run_chain([Agreement(AgreementSettings())], candidates, never).kept


def test_nothing_is_asked_about_nothing_and_a_missing_labeller_is_an_error(context, child):
    assert Agreement(AgreementSettings()).judge([], context) == []
    with pytest.raises(ValueError, match="needs a labeller"):
        Agreement(AgreementSettings()).judge([child()], context)


def test_the_numbers_count_every_vote(child):
    pairs = [(child(), votes("yes", "no", "yes")), (child("t2"), votes("refused", "yes", "cut_off"))]
    found = counts(pairs, [replace(child(), weight=0.5), child()])
    assert found == {
        "asked": {"yes": 1, "no": 1},
        "agreed": {"yes": 1},
        "outcomes": {"answered": 4, "refused": 1, "cut_off": 1},
        "mean_weight": 0.75,
    }
    trained = [(child(), Label("answered", "yes", {"yes": 0.9}))]
    assert counts(trained, [])["outcomes"] == {"answered": 1}


# --- a teacher as labeller -----------------------------------------------------------------------------------------


def labeller(tmp_path, context, script, draws=1, teacher=None):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ask = Asker(
        teacher or ScriptedTeacher(script),
        ledger,
        Price(Decimal(1), Decimal(2)),
        BudgetSettings(),
        None,
        Progress(quiet=True),
        "labels",
    )
    return TeacherLabeller(context.task, Sampling(max_tokens=8, temperature=0.5, seed=7), draws, ask), ask


def test_a_teacher_is_shown_what_a_student_reads_and_never_the_label_or_the_conclusion(tmp_path, context, child):
    seen: list[Request] = []

    def script(request):
        seen.append(request)
        return "Answer: no, it does not."

    label, _ = labeller(tmp_path, context, script)
    candidate = child(question=QUESTION)
    (said,) = label([candidate])
    assert (said.outcome, said.label, said.shares["no"]) == ("answered", "no", 1.0)
    system, user = seen[0].messages
    assert user.content == context.task.render(candidate)
    assert system.content.endswith("yes, no, maybe.")
    assert candidate.fields["conclusion"] not in str(seen)
    label([replace(candidate, label="maybe")])
    assert len(seen) == 1  # another label is the same question: nothing is asked again


def test_answers_are_read_by_the_tasks_strict_parser(tmp_path, context, child):
    answers = {"a": "Yes.", "b": "yes or no", "c": "I am sorry, I cannot answer that.", "d": "It depends."}
    label, _ = labeller(tmp_path, context, lambda request: answers[request.item.removeprefix("label/")])
    said = label([replace(child(), id=name) for name in answers])
    assert [one.outcome for one in said] == ["answered", "unparsed", "refused", "unparsed"]


def test_each_draw_is_a_vote(tmp_path, context, child):
    seen: list[Request] = []

    def script(request):
        seen.append(request)
        return ("no", "yes", "no")[request.draw]

    label, ask = labeller(tmp_path, context, script, draws=3)
    (said,) = label([child()])
    assert (said.label, [vote.word for vote in said.votes]) == ("no", ["no", "yes", "no"])
    assert [r.draw for r in seen] == [0, 1, 2]  # the teacher gives each draw noise of its own
    label([child()])
    assert ask.record()["spend"]["calls"] == 6


def test_a_failed_call_is_no_answer_and_a_teacher_that_never_answers_is_an_error(tmp_path, context, child):
    first, second = child(question="Is it?"), child(question="Was it?")
    known = {context.task.render(first): "yes"}
    label, ask = labeller(tmp_path, context, known)
    assert [one.outcome for one in label([first, second])] == ["answered", "no_answer"]
    record = ask.record()
    assert (record["teacher"], record["spend"]["calls"], record["spend"]["failed"]) == ("scripted", 1, 1)
    ((read, written, _cached),) = record["calls"].values()
    assert record["spend"]["usd"] == pytest.approx((read + 2 * written) / 1e6)
    label, _ = labeller(tmp_path, context, {})
    with pytest.raises(TeacherError, match=r"answered none of 1 requests \(labels\)"):
        label([second])


def test_a_labeller_reads_without_the_writers_penalties():
    writer = Sampling(max_tokens=256, temperature=0.8, top_p=0.9, repetition_penalty=2.0, seed=3)
    assert sampling_of(writer, 0.0, 16).asked() == {"max_tokens": 16, "temperature": 0.0, "seed": 3}


# --- trained labellers ---------------------------------------------------------------------------------------------


def test_nobody_labels_what_it_was_trained_on():
    asked: dict[str, list[Example]] = {"one": [], "two": []}

    def fold(name, *ids):
        def label(examples):
            asked[name] += examples
            return [Label("answered", name) for _ in examples]

        return Fold(frozenset(ids), label)

    label = cross_fitted([fold("one", "p0", "p1", "p2"), fold("two", "p3", "p4")])
    children = [Example(f"p{i}-new-0", {}, "yes", "new", (f"p{i}",)) for i in (3, 0, 4, 1, 2)]
    both = Example("both", {}, "yes", "pair", ("p0", "p3"))
    said = label([*children, both, Example("p1", {}, "yes")])
    assert [one.label for one in said] == ["one", "two", "one", "two", "two", None, "two"]
    assert said[5].outcome == "no_answer"
    assert [e.parents for e in asked["one"]] == [("p3",), ("p4",)]
    foreign = [Example(f"v{i}", {}, "yes") for i in range(40)]
    shared = Counter(one.label for one in label(foreign))
    assert set(shared) == {"one", "two"}  # validation items are no one's: both take a part
