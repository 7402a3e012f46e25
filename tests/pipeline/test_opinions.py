"""Second opinions in a whole run: a teacher and trained students as labellers, in every mode, and a judge."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from test_labels import forbid_teacher, go, marks, recipe

from preceptor.config import check_recipe
from preceptor.data.load import load_datasets
from preceptor.errors import RecipeError
from preceptor.pipeline.opinions import FOLDS, LABELS, Opinions
from preceptor.records import Example, Funnel, Request, RunSummary, content_hash, fingerprint
from preceptor.store.stages import read_json
from preceptor.store.tables import read_dropped, read_examples, read_rows
from preceptor.teachers.scripted import ScriptedTeacher, follow_rules
from preceptor.train import cell

CHAIN = ["wellformed", "duplicates"]  # without the embedder, which takes seconds to load


@dataclass
class Outcome:
    folder: Path
    raw: dict[str, Any]
    summary: RunSummary

    @property
    def funnels(self) -> dict[str, Funnel]:
        return {f.strategy: f for f in self.summary.funnels}

    def again(self, **filters: Any) -> RunSummary:
        return go(check_recipe({**self.raw, "filter": {**self.raw["filter"], **filters}}, "test"), self.folder)


Runner = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, demo_models: dict[str, Path]) -> Runner:
    """Runs a job of one student and one seed with these filters."""

    def start(chain: list[str], **filters: Any) -> Outcome:
        raw = recipe(
            {"bert": demo_models["bert"]},
            seeds=[1],
            arms={"combined": ["rewrite", "new"]},
            filter={"chain": [*CHAIN, *chain], **filters},
        )
        raw["train"]["steps"] = 2
        raw["evaluate"]["teacher"] = False  # so that all requests are those of writing and of the filters
        folder = tmp_path / "run"
        return Outcome(folder, raw, go(check_recipe(raw, "test"), folder))

    return start


def checked(outcome: Outcome) -> None:
    """What holds of every run with a labeller: everything is accounted for, and the labels add up."""
    for name, funnel in outcome.funnels.items():
        place = outcome.folder / "filter" / "default" / name
        kept, dropped = read_examples(place / "kept.parquet"), read_dropped(place / "dropped.parquet")
        assert len(kept) + len(dropped) == funnel.candidates
        assert funnel.agreement is not None
        labels = read_rows(place / LABELS)
        gone = {e.id for e, step, _ in dropped if step in CHAIN}
        assert {row["id"] for row in labels} == {e.id for e in (*kept, *(d[0] for d in dropped))} - gone
        assert sum(funnel.agreement.asked.values()) == len(labels)
        assert sum(funnel.agreement.agreed.values()) == sum(row["given"] == row["label"] for row in labels)
        for label, count in funnel.candidates_by_label.items():
            lost = sum(n.get(label, 0) for found in funnel.dropped_by_label.values() for n in found.values())
            assert count - lost == funnel.kept_by_label.get(label, 0)
        check = funnel.agreement.check
        assert check is not None
        assert check.n == sum(check.items.values()) == 5
        assert check.accuracy.interval is not None


SEEN: list[Request] = []


def listen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Note every request; the rules answer."""
    SEEN.clear()
    real = ScriptedTeacher._answer

    def noting(self: ScriptedTeacher, request: Request) -> Any:
        SEEN.append(request)
        return real(self, request)

    monkeypatch.setattr(ScriptedTeacher, "_answer", noting)


def scripted(self: ScriptedTeacher, script: Callable[[Request], str]) -> None:
    """In place of a scripted teacher's own beginning: one that follows this script."""
    self._script = script


def test_dropping_what_a_teacher_does_not_agree_with(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(monkeypatch)
    outcome = run(["agreement"], agreement={"check_items": 5})
    checked(outcome)
    # The rules know the answers to their own new questions, and label everything else by chance.
    new, rewrite = outcome.funnels["new"], outcome.funnels["rewrite"]
    assert not new.dropped["agreement"]
    assert new.kept
    assert set(rewrite.dropped["agreement"]) == {"disagrees"}
    assert 0 < rewrite.kept < rewrite.candidates
    test_items = read_examples(outcome.folder / "data" / "default" / "test.parquet")
    asked = [r for r in SEEN if r.item.startswith("label/")]
    assert not {f"label/{item.id}" for item in test_items} & {r.item for r in asked}
    assert outcome.summary.spend["scripted"].calls == len(SEEN) == 24 + len(asked)
    assert len({r.key("") for r in SEEN}) == len(SEEN)  # the validation items are asked about once, not per strategy
    page = (outcome.folder / "report.html").read_text(encoding="utf-8")
    assert "Asked about 5 validation items" in page
    forbid_teacher(monkeypatch)
    before = marks(outcome.folder)
    assert outcome.again().funnels == outcome.summary.funnels
    assert outcome.again().spend == outcome.summary.spend
    assert marks(outcome.folder) == before


def test_relabelling_shows_both_labels_and_trains_on_the_labellers(run: Runner) -> None:
    outcome = run(["agreement"], agreement={"mode": "relabel", "check_items": 5})
    checked(outcome)
    place = outcome.folder / "filter" / "default" / "rewrite"
    said = {row["id"]: row for row in read_rows(place / LABELS)}
    kept = read_examples(place / "kept.parquet")
    changed = [e for e in kept if e.relabelled_from is not None]
    assert 0 < len(changed) < len(kept)
    for example in kept:
        assert example.label == said[example.id]["label"]
        assert example.given_label == said[example.id]["given"]
    relabelled = outcome.funnels["rewrite"].relabelled
    assert sum(n for counts in relabelled.values() for n in counts.values()) == len(changed)
    assert "changed by the labeller" in (outcome.folder / "report.html").read_text(encoding="utf-8")


def test_relabelling_drops_what_cannot_be_read(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def mute(request: Request) -> str:
        return "I am sorry, I cannot answer that." if request.item.startswith("label/") else follow_rules(request)

    monkeypatch.setattr(
        "preceptor.teachers.scripted.ScriptedTeacher.__init__", lambda self: setattr(self, "_script", mute)
    )
    outcome = run(["agreement"], agreement={"mode": "relabel", "check_items": 5})
    checked(outcome)
    for funnel in outcome.funnels.values():
        assert funnel.kept == 0
        assert set(funnel.dropped["agreement"]) == {"refused"}
        assert funnel.agreement is not None
        assert set(funnel.agreement.outcomes) == {"refused"}
    summary = outcome.again(agreement={"mode": "relabel", "check_items": 5, "unread": "keep"})
    assert all(funnel.kept and not funnel.relabelled for funnel in summary.funnels)


def test_weights_come_from_votes_and_reach_training(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    def torn(request: Request) -> str:
        return ("yes", "no", "no")[request.draw] if request.item.startswith("label/") else follow_rules(request)

    trained: list[float] = []
    real = cell.train_cell

    def noting(*arguments: Any, **keywords: Any) -> None:
        trained.extend(e.weight for e in keywords["generated"])
        real(*arguments, **keywords)

    monkeypatch.setattr(cell, "train_cell", noting)
    monkeypatch.setattr(
        "preceptor.teachers.scripted.ScriptedTeacher.__init__", lambda self: setattr(self, "_script", torn)
    )
    votes = {"mode": "weight", "draws": 3, "temperature": 0.7, "check_items": 5}
    outcome = run(["agreement"], agreement=votes)
    checked(outcome)
    kept = [e for n in ("rewrite", "new") for e in read_examples(outcome.folder / f"filter/default/{n}/kept.parquet")]
    shares = {"yes": pytest.approx(1 / 3), "no": pytest.approx(2 / 3)}
    assert {e.label for e in kept} == {"yes", "no"}  # nobody voted for "maybe"
    assert all(e.weight == shares[e.label] for e in kept)
    assert trained == [e.weight for e in kept]
    before = marks(outcome.folder)
    outcome.again(agreement={**votes, "mode": "drop"})  # keeps other examples, of weight 1
    touched = {stage for stage, time in marks(outcome.folder).items() if time != before.get(stage)}
    assert {stage.split("/")[0] for stage in touched} == {"filter", "train", "evaluate"}


def test_another_teacher_has_its_own_settings_and_what_cannot_change_its_answers_redoes_nothing(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"labeller": "other", "teacher": {"kind": "scripted", "concurrency": 2}, "check_items": 5}
    outcome = run(["agreement"], agreement=other)
    checked(outcome)
    before = marks(outcome.folder)
    forbid_teacher(monkeypatch)
    outcome.again(agreement={**other, "teacher": {"kind": "scripted", "concurrency": 3}})
    assert marks(outcome.folder) == before
    with pytest.raises(AssertionError, match="asked again"):
        outcome.again(agreement={**other, "max_tokens": 5})


def test_students_label_what_they_have_not_learnt_from(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    taught: list[set[str]] = []
    shown: list[tuple[int, list[str]]] = []
    train, predict = cell.train_cell, Opinions._predict

    def teaching(folder: Path, *arguments: Any, **keywords: Any) -> None:
        if "labeller" in folder.parts:
            assert not keywords["generated"]
            assert arguments[1].select == "last"
            taught.append({e.id for e in keywords["real"]})
        train(folder, *arguments, **keywords)

    def showing(self: Opinions, stage: Any, examples: Any) -> Any:
        assert stage.done
        shown.append((int(stage.folder.name[-1]) - 1, [p for e in examples for p in (e.id, *e.parents)]))
        return predict(self, stage, examples)

    monkeypatch.setattr(cell, "train_cell", teaching)
    monkeypatch.setattr(Opinions, "_predict", showing)
    outcome = run(["agreement"], agreement={"labeller": "student", "check_items": 5})
    checked(outcome)
    everything = {e.id for e in read_examples(outcome.folder / "data" / "default" / "train.parquet")}
    assert len(taught) == FOLDS
    assert taught[0] | taught[1] == everything
    assert not taught[0] & taught[1]
    halves = [read_json(outcome.folder / f"filter/default/labeller/half-{n}/fit.json")["real"] for n in (1, 2)]
    assert halves == [len(half) for half in taught]
    assert all(not taught[number] & set(ids) for number, ids in shown)
    assert {i for _, ids in shown for i in ids} & everything  # children of training items were shown
    assert outcome.summary.spend["scripted"].calls == 24  # nobody was paid to label
    before = marks(outcome.folder)
    outcome.again(agreement={"labeller": "student", "check_items": 5, "mode": "weight"})
    assert len(taught) == FOLDS  # another mode asks the same students
    assert {s for s in before if marks(outcome.folder)[s] != before[s]} >= {"filter/default/new"}
    kept = read_examples(outcome.folder / "filter/default/rewrite/kept.parquet")
    assert kept
    assert all(0 < e.weight < 1 for e in kept)


def test_a_judge_is_asked_twice_for_each_pair_and_reported(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(monkeypatch)
    outcome = run(["judge"], judge={"min_score": 3.5})
    asked = [r for r in SEEN if r.item.startswith("judge/")]
    for funnel in outcome.funnels.values():
        said = funnel.judgement
        assert said is not None
        assert said.pairs == said.read == funnel.candidates - sum(sum(funnel.dropped[n].values()) for n in CHAIN)
        assert said.flips == said.inconsistent == 0  # its scores belong to the text, wherever that stands
        assert set(funnel.dropped["judge"]) <= {"unfaithful", "unanswerable", "badly_written"}
        assert 0 < sum(funnel.dropped["judge"].values()) < said.pairs
        assert funnel.agreement is None
    pairs = sum(f.judgement.pairs for f in outcome.summary.funnels if f.judgement)
    assert len(asked) == 2 * pairs
    assert outcome.summary.spend["scripted"].calls == 24 + 2 * pairs
    assert "each pair in both orders" in (outcome.folder / "report.html").read_text(encoding="utf-8")


def test_a_labeller_killed_half_way_is_not_paid_twice(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    listen(monkeypatch)
    outcome = run(["agreement"], agreement={"check_items": 5})
    shutil.rmtree(outcome.folder / "filter")
    count = len(SEEN)
    summary = outcome.again()
    assert len(SEEN) == count
    assert summary.funnels == outcome.summary.funnels
    assert summary.spend["scripted"].calls == outcome.summary.spend["scripted"].calls


def test_too_few_items_for_two_halves_is_one_sentence(demo_models: dict[str, Path], tmp_path: Path) -> None:
    from preceptor.errors import DataError

    raw = recipe(
        {"bert": demo_models["bert"]},
        data={"task": "demo", "max_train": 1, "max_test": 3},
        filter={"chain": ["agreement"], "agreement": {"labeller": "student"}},
    )
    checked = check_recipe(raw, "test")
    assert len(load_datasets(checked.data, tmp_path)["default"].train) == 1
    with pytest.raises(DataError, match="two halves of the training items, and there are only 1"):
        go(checked, tmp_path / "run")


def test_a_weight_makes_other_training_data_and_a_weight_of_one_does_not() -> None:
    example = Example("1", {"question": "Is it?"}, "yes")
    assert fingerprint([example]) == content_hash(
        [["1", {"question": "Is it?"}, "yes"]]
    )  # as before there were weights
    assert fingerprint([replace(example, weight=0.5)]) != fingerprint([example])


def test_a_labeller_of_unknown_price_is_refused_under_a_budget_before_anybody_is_asked(
    tmp_path: Path, demo_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    listen(monkeypatch)
    other = {"kind": "openai", "model": "my-model", "base_url": "http://127.0.0.1:9/v1", "key_required": False}
    raw = recipe(
        {"bert": demo_models["bert"]},
        seeds=[1],
        filter={"chain": [*CHAIN, "agreement"], "agreement": {"labeller": "other", "teacher": other}},
        budget={"max_usd": 1.0},
    )
    with pytest.raises(RecipeError, match="price of the teacher's tokens is not known"):
        go(check_recipe(raw, "test"), tmp_path / "run")
    assert SEEN == []
