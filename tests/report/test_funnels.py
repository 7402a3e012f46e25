"""What the report says of each label, of the labeller and of the judge."""

from __future__ import annotations

import dataclasses

import pytest
from invented_runs import LABELS, asked, funnel

from preceptor.records import Agreement, Estimate, Funnel, Interval
from preceptor.report.funnels import label_rows, remarks


def words(made: Funnel, *, warnings: bool = False) -> str:
    found = remarks(made, LABELS)
    return " ".join(r.text for r in found if r.warning or not warnings).replace("\N{NO-BREAK SPACE}", " ")


def agreement(**more: object) -> Funnel:
    made = asked("default")
    assert made.agreement is not None
    changed = dataclasses.replace(made.agreement, **more)  # type: ignore[arg-type]
    return dataclasses.replace(made, agreement=changed, judgement=None)


def checked(accuracy: float) -> Funnel:
    said = agreement().agreement
    assert isinstance(said, Agreement)
    assert said.check is not None
    check = dataclasses.replace(said.check, accuracy=Estimate(accuracy, Interval(accuracy - 0.1, accuracy + 0.1)))
    return agreement(check=check)


def test_each_label_is_followed_through_each_filter() -> None:
    rows = {row.label: row for row in label_rows(asked("default"), LABELS)}
    assert [(cell.filter, cell.left) for cell in rows["no"].cells] == [
        ("wellformed", 94),
        ("drift", 43),
        ("agreement", 39),
        ("judge", 39),
    ]
    assert rows["no"].read == 144
    shares = {label: row.cells[2].share.replace("\N{NO-BREAK SPACE}", " ") for label, row in rows.items()}
    assert shares == {"yes": "93 %", "no": "91 %", "maybe": "67 %"}  # of those that reached the labeller
    assert label_rows(funnel("default"), LABELS) == ()  # an older run counted no labels


def test_agreement_is_said_by_label_with_what_was_unread_and_the_warning_about_easy_items() -> None:
    said = words(agreement())
    assert (
        "asked about 61 candidates, from what a student sees, and gave the same label to 45 (74 %): "
        "yes 33 of 39 (85 %), no 12 of 19 (63 %), maybe 0 of 3 (0 %)."
    ) in said
    assert "Of its 61 answers these gave no label: 2 unparsed." in said
    assert "Only items that the labeller finds easy may survive" in said
    assert "no label" not in words(agreement(outcomes={"answered": 61, "refused": 0}))


def test_the_labeller_is_measured_on_validation_items() -> None:
    said = words(agreement())
    assert (
        "Asked about 50 validation items, the labeller agrees with the experts on 72 % [58 %, 83 %]: "
        "yes 20 of 28 (71 %), no 15 of 17 (88 %), maybe 1 of 5 (20 %)."
    ) in said
    assert "validation" not in words(agreement(check=None))


@pytest.mark.parametrize(
    ("accuracy", "warning"),
    [
        (0.7, ""),
        (0.69, "That cannot be told from always answering yes, 56 % [42 %, 69 %]"),
        (0.42, "That cannot be told from always answering yes"),
        (0.41, "That is worse than always answering yes, 56 % [42 %, 69 %]"),
    ],
)
def test_a_labeller_at_the_floor_is_a_warning(accuracy: float, warning: str) -> None:
    said = words(checked(accuracy), warnings=True)
    assert said.startswith(warning)
    assert bool(said) == bool(warning)


def test_what_became_of_disagreements() -> None:
    relabelled = dataclasses.replace(agreement(mode="relabel"), relabelled={"yes": {"no": 3, "maybe": 1}})
    assert "its label was taken: yes to no 3, yes to maybe 1." in words(relabelled)
    assert "no kept item was relabelled" in words(agreement(mode="relabel"))
    assert "their own label got, 0.72 on average." in words(agreement(mode="weight", mean_weight=0.7181))
    assert "taken" not in words(agreement())


def test_the_judges_order_flips_are_said() -> None:
    made = dataclasses.replace(asked("default"), agreement=None)
    said = words(made)
    assert "compared 45 candidates with their parents, each pair in both orders; 41 pairs could be read" in said
    assert "by more than the tolerance in 5 of 41 pairs (12 %)" in said
    assert "swapped its preference with the order in 3 of them (15 %); 55 % of these preferences went to" in said
    assert "faithful 4.2 against 4.0, answerable 3.5 against 4.8, well written 4.0 against 4.5" in said
    assert not words(made, warnings=True)
    assert made.judgement is not None
    led = dataclasses.replace(made, judgement=dataclasses.replace(made.judgement, flips=11))
    assert "The order of the texts decided more often than the texts" in words(led, warnings=True)
    mute = dataclasses.replace(made.judgement, read=0, decided=0, flips=0, candidate_scores={})
    assert "tolerance" not in words(dataclasses.replace(made, judgement=mute))


def test_nobody_asked_nothing_said() -> None:
    assert remarks(funnel("default"), LABELS) == ()


def test_what_became_of_the_teacher_s_answers_is_said_where_some_gave_nothing() -> None:
    made = dataclasses.replace(asked("default"), outcomes={"answered": 440, "refused": 2, "cut_off": 5, "unparsed": 0})
    assert "Of the teacher's 447 answers these gave no example: 2 refused, 5 cut off." in words(made)
    assert "gave no example" not in words(dataclasses.replace(made, outcomes={"answered": 447}))
