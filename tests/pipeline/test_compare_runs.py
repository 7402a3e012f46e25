"""What `preceptor compare` finds in folders and files, what it pairs, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preceptor import cli
from preceptor.config import EvaluateSettings
from preceptor.errors import DataError
from preceptor.evaluate.results import Measured, reference_rows, result_rows
from preceptor.pipeline.compare import Chosen, compare_runs
from preceptor.pipeline.compare_sources import pubmedqa_reference
from preceptor.records import Example, Prediction
from preceptor.store.results import ResultsBook
from preceptor.store.stages import write_json
from preceptor.store.tables import write_predictions

LABELS = ("yes", "no", "maybe")
N = 60
GOLDS = np.random.default_rng(0).choice(3, N, p=(0.55, 0.34, 0.11))


def answers(right: float, seed: int, prefix: str = "i") -> list[Prediction]:
    rng = np.random.default_rng(seed)
    said = np.where(rng.random(N) < right, GOLDS, (GOLDS + 1) % 3)
    return [
        Prediction(f"{prefix}{i}", LABELS[g], LABELS[s], probabilities=(0.5, 0.3, 0.2))
        for i, (g, s) in enumerate(zip(GOLDS, said, strict=True))
    ]


Cells = dict[tuple[str, str, str], list[list[Prediction]]]
"""(setting, student, arm) -> predictions of each seed."""


def run_folder(folder: Path, cells: Cells, task: str = "t", split: str = "official", **more: Any) -> Path:
    """A finished run's folder, with what `compare` reads of it."""
    settings, rows = EvaluateSettings(resamples=100), []
    for setting in dict.fromkeys(name for name, _, _ in cells):
        some = next(iter(cells.values()))[0]
        test = [Example(p.id, {}, p.gold) for p in some]
        measured = [
            Measured(s, student, "" if arm == "untrained" else arm, "m", dict(enumerate(runs, 1)))
            for (s, student, arm), runs in cells.items()
            if s == setting
        ]
        floor = reference_rows(setting, test, LABELS, settings)
        rows += [*floor, *result_rows(measured, floor[0], LABELS, settings)]
    for (setting, student, arm), runs in cells.items():
        for seed, predictions in enumerate(runs, 1):
            place = folder / "evaluate" / setting / student / arm / f"seed-{seed}"
            place.mkdir(parents=True)
            write_predictions(place / "predictions.parquet", predictions)
    results = {"labels": LABELS, "task": task, "split": split, "rows": [asdict(row) for row in rows], **more}
    write_json(folder / "results.json", results)
    return folder


def usual(prefix: str = "i", offset: int = 0) -> Cells:
    return {
        ("free", "minilm", "none"): [answers(0.5, offset + seed, prefix) for seed in (1, 2)],
        ("free", "minilm", "rewrite"): [answers(0.9, offset + seed, prefix) for seed in (3, 4)],
        ("free", "minilm", "new"): [answers(0.5, offset + seed, prefix) for seed in (5, 6)],
        ("free", "smol", "untrained"): [answers(0.4, offset + 7, prefix)],
        ("free", "smol", "none"): [answers(0.6, offset + seed, prefix) for seed in (8, 9)],
        ("free", "smol", "rewrite"): [answers(0.6, offset + seed, prefix) for seed in (10, 11)],
    }


@pytest.fixture
def one(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "one", usual())


def pairs(paths: Sequence[Path], chosen: Chosen | None = None) -> list[tuple[str, str]]:
    return [(c.baseline, c.arm) for c in compare_runs(paths, chosen, resamples=100).comparisons]


def test_within_a_run_every_arm_stands_against_none_of_its_student(one: Path) -> None:
    trained = [("minilm, none", "minilm, rewrite"), ("minilm, none", "minilm, new"), ("smol, none", "smol, rewrite")]
    assert pairs([one]) == pairs([one / "results.json"]) == trained
    assert pairs([one], Chosen(students=["smol"])) == trained[2:]
    assert pairs([one], Chosen(arms=["rewrite"])) == [trained[0], trained[2]]
    assert pairs([one], Chosen(arms=["untrained"])) == [("smol, none", "smol, untrained")]
    assert pairs([one], Chosen(baseline="rewrite", students=["minilm"])) == [
        ("minilm, rewrite", "minilm, none"),
        ("minilm, rewrite", "minilm, new"),
    ]
    found = compare_runs([one], resamples=100).comparisons
    assert [c.verdict for c in found] == ["gain", "noise", "noise"]
    assert [(p.baseline_seed, p.arm_seed) for p in found[0].pairs] == [(1, 1), (2, 2)]


def test_within_a_run_students_stand_against_one_of_them(one: Path, tmp_path: Path) -> None:
    against = [("minilm, none", "smol, none"), ("minilm, rewrite", "smol, rewrite")]
    assert pairs([one], Chosen(baseline_student="minilm")) == against
    assert pairs([one], Chosen(baseline_student="minilm", students=["smol"], arms=["rewrite"])) == against[1:]
    assert pairs([one], Chosen(baseline_student="minilm", baseline="new")) == [
        ("minilm, new", "smol, none"),
        ("minilm, new", "smol, rewrite"),
    ]
    assert pairs([one], Chosen(baseline_student="minilm", baseline="none", arms=["untrained"])) == [
        ("minilm, none", "smol, untrained"),
    ]
    two = run_folder(tmp_path / "two", {("free", "third", "none"): [answers(0.5, 77)]})
    assert pairs([one, two], Chosen(baseline_student="smol")) == [(f"{one} (smol, none)", f"{two} (third, none)")]
    with pytest.raises(DataError, match="There is no student 'big'"):
        compare_runs([one], Chosen(baseline_student="big"))
    with pytest.raises(DataError, match="no other student has an arm and setting in common with 'third'"):
        compare_runs([two], Chosen(baseline_student="third"))
    with pytest.raises(DataError, match=r"nothing to compare: 'minilm' has no arm 'old'\."):
        compare_runs([one], Chosen(baseline_student="minilm", baseline="old"))
    with pytest.raises(DataError, match="has no student 'third'"):
        compare_runs([one, two], Chosen(baseline_student="third"))


def test_across_runs_like_stands_against_like(one: Path, tmp_path: Path) -> None:
    cells = usual(offset=50)
    cells["required", "minilm", "none"] = [answers(0.5, 99)]
    two = run_folder(tmp_path / "two", cells)
    found = compare_runs([one, two], resamples=100)
    assert len(found.comparisons) == 6
    assert (found.comparisons[0].baseline, found.comparisons[0].arm) == (
        f"{one} (minilm, none)",
        f"{two} (minilm, none)",
    )
    assert found.notes == [f"{two}: minilm, none (required) has no like in {one} and was left out."]
    against = pairs([one, two], Chosen(baseline="none", students=["minilm"]))
    assert {base for base, _ in against} == {f"{one} (minilm, none)"}
    assert len(against) == 3


def test_a_folder_of_results_says_all_itself(one: Path, tmp_path: Path) -> None:
    book = ResultsBook(tmp_path / "book")
    about = {"task": "t", "split": "official", "labels": LABELS, "setting": "free", "student": "minilm"}
    for arm, seed, right in (("none", 1, 0.5), ("none", 2, 0.5), ("rewrite", 1, 0.9), ("rewrite", 2, 0.9)):
        predictions = answers(right, seed * 10 + len(arm))
        extra = {"cell": {**about, "arm": arm, "seed": seed}, "gold": [p.gold for p in predictions]}
        book.add_predictions(f"minilm-free-{arm}-seed-{seed}", "x", predictions, None, extra)
    (book.folder / "other.json").write_text('{"benchmarks": {}}')
    found = compare_runs([book.folder], resamples=100).comparisons
    assert [(c.baseline, c.arm, c.baseline_seeds, c.arm_seeds) for c in found] == [
        ("minilm, none", "minilm, rewrite", 2, 2)
    ]
    single = compare_runs([one, book.folder / "minilm-free-none-seed-1.json"], resamples=100).comparisons
    assert [(c.baseline_seeds, c.arm_seeds) for c in single] == [(2, 1)]


def test_results_of_an_older_version_take_the_true_labels_from_elsewhere(one: Path, tmp_path: Path) -> None:
    book = ResultsBook(tmp_path / "book")
    predictions = answers(0.9, 5)
    book.add_predictions("minilm-reasoning-free-none-seed-3", "x", predictions, None, {"cut_prompts": 0})
    cells = {("reasoning-free", "minilm", "none"): [answers(0.5, 1)]}
    run = run_folder(tmp_path / "run", cells)
    found = compare_runs([run, book.folder], resamples=100).comparisons[0]
    assert found.arm == f"{book.folder} (minilm, none)"
    assert found.pairs[0].arm_seed == 3
    with pytest.raises(DataError, match="does not say the true labels"):
        compare_runs([book.folder, run])
    other = run_folder(tmp_path / "other", {("free", "minilm", "none"): [answers(0.5, 1, "other")]})
    with pytest.raises(DataError, match="60 of its 60 items are not among those compared, first 'i0'"):
        compare_runs([other, book.folder])


def test_a_file_is_read_as_for_score_and_stands_against_the_one_arm_that_is_named(one: Path, tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", {("free", "minilm", "none"): [answers(0.5, 1), answers(0.5, 2)]})
    file = tmp_path / "theirs.json"
    said = {p.id: f"Answer: {p.label}." for p in answers(0.9, 5)}
    file.write_text(json.dumps(said))
    found = compare_runs([run, file], resamples=100)
    assert [(c.baseline, c.arm, c.arm_seeds, c.setting) for c in found.comparisons] == [
        (f"{run} (minilm, none)", str(file), 1, "free")
    ]
    assert found.comparisons[0].verdict == "gain"
    assert found.notes == []
    by_name = compare_runs([one, file], Chosen(students=["minilm"], arms=["none"]), resamples=100).comparisons
    assert [(c.baseline, c.arm) for c in by_name] == [(f"{one} (minilm, none)", str(file))]
    file.write_text(json.dumps({**said, "i0": "I cannot tell", "i1": ""}))
    assert compare_runs([run, file], resamples=100).notes == [f"{file}: 2 answers hold no label and count as wrong."]
    order = tmp_path / "list.txt"
    order.write_text("\n".join(p.label or "" for p in answers(0.9, 5)))
    listed = compare_runs([run, order], resamples=100).comparisons[0]
    assert listed.gain_accuracy.value == found.comparisons[0].gain_accuracy.value


def test_shared_contexts_of_a_run_are_heeded(tmp_path: Path) -> None:
    shared = {f"i{i}": i // 4 for i in range(N)}
    cells = {key: runs for key, runs in usual().items() if key[1] == "minilm"}
    run = run_folder(tmp_path / "run", cells, shared_contexts={"free": shared})
    found = compare_runs([run], resamples=100).comparisons[0]
    assert (found.n, found.contexts) == (60, 15)
    assert found.gain_accuracy.interval is not None
    assert found.gain_accuracy.interval.method == "bootstrap of whole contexts"


# --- bad input ----------------------------------------------------------------------------------------------------


def refused(*paths: Path, **more: Any) -> str:
    with pytest.raises(DataError) as error:
        compare_runs(paths, resamples=100, **more)
    assert error.value.hint
    return error.value.message


def test_what_cannot_be_compared_is_said_in_one_sentence(one: Path, tmp_path: Path) -> None:
    for what, made in (
        ("task is t and other", {"task": "other"}),
        ("split is official and paper", {"split": "paper"}),
    ):
        two = run_folder(tmp_path / what.replace(" ", "-"), usual(), **made)
        assert refused(one, two) == f"{one} and {two} cannot be compared: their {what}."
    elsewhere = {("required", *key[1:]): runs for key, runs in usual().items()}
    two = run_folder(tmp_path / "required", elsewhere)
    assert refused(one, two) == f"{one} and {two} cannot be compared: their setting is free and required."
    two = run_folder(tmp_path / "others", usual("j"))
    assert "60 items only in" in refused(one, two)
    assert "('i0', 'i1', 'i2' and 57 more)" in refused(one, two)
    cells = usual()
    cells["free", "minilm", "none"][0][0] = Prediction("i0", LABELS[GOLDS[0]], "yes")
    two = run_folder(tmp_path / "unknown", cells)
    place = two / "evaluate/free/minilm/none/seed-1/predictions.parquet"
    write_predictions(
        place, [Prediction(p.id, p.gold, "perhaps" if p.label != p.gold else p.label) for p in answers(0.5, 1)]
    )
    results = json.loads((two / "results.json").read_text())
    for row in results["rows"]:
        row["seed_scores"] = []
    write_json(two / "results.json", results)
    assert "'perhaps' is not one of the labels yes, no, maybe" in refused(two)


def test_what_holds_no_predictions_is_said_in_one_sentence(one: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refused(empty) == f"{empty}: holds no predictions of labels."
    assert refused(tmp_path / "nowhere") == f"{tmp_path / 'nowhere'}: there is no such run or file."
    (empty / "evaluate").mkdir()
    assert "the run is not finished" in refused(empty)
    write_json(empty / "results.json", {"benchmarks": {}})
    assert "is no run on a task with labels" in refused(empty)
    write_json(empty / "results.json", {"labels": LABELS, "task": "t", "split": "s", "rows": []})
    assert "scored no student" in refused(empty)
    file = tmp_path / "empty.json"
    file.write_text("")
    assert refused(one, file) == f"{file}: the file is empty."
    assert refused(file).endswith("a file of predictions says no true labels.")
    file.write_text(json.dumps({f"i{i}": "perhaps" for i in range(N)}))
    unknown = "'perhaps' is none of the labels yes, no, maybe (nor are 59 more answers); nothing was scored."
    assert refused(one, file) == f"{file}, id 'i0': {unknown}"
    for nothing in (None, "It is hard to tell."):
        file.write_text(json.dumps({f"i{i}": nothing for i in range(N)}))
        assert refused(one, file) == f"{file}: no answer holds one of the labels yes, no, maybe."
    file.write_text('{"i0": "yes"}')
    assert "59 ids are missing" in refused(one, file)
    broken = tmp_path / "broken.json"
    write_json(broken, {"predictions": {"ids": ["i0"], "extra": {}}})
    assert refused(one, broken) == f"{broken}: is not a file of results"
    write_json(broken, {"predictions": {"ids": ["i0"], "extra": ["cell"]}})
    assert refused(one, broken) == f"{broken}: is not a file of results"


def test_a_results_json_that_lacks_something_is_said_in_one_sentence(one: Path) -> None:
    whole = json.loads((one / "results.json").read_text())
    row = next(row for row in whole["rows"] if row["kind"] == "arm")
    for changed in (
        {key: value for key, value in whole.items() if key != "rows"},
        {**whole, "rows": [{key: value for key, value in row.items() if key != "seed_scores"}]},
        {**whole, "rows": "none"},
        {key: value for key, value in whole.items() if key != "split"},
    ):
        write_json(one / "results.json", changed)
        assert refused(one) == f"{one}: its results.json is not as a run writes it."


def test_a_broken_file_among_results_is_not_left_out_without_a_word(tmp_path: Path) -> None:
    book, cell = ResultsBook(tmp_path), {"task": "t", "split": "s", "labels": LABELS, "setting": "", "student": "a"}
    for arm in ("none", "rewrite"):
        for seed in (1, 2):
            said = answers(0.6, seed)
            extra = {"cell": {**cell, "arm": arm, "seed": seed}, "gold": [p.gold for p in said]}
            book.add_predictions(f"a-plain-{arm}-seed-{seed}", f"{arm} {seed}", said, None, extra)
    write_json(tmp_path / "foreign.json", {"predictions": ["of", "another", "kind"]})
    found = compare_runs([tmp_path], resamples=100).comparisons
    assert [(one.baseline_seeds, one.arm_seeds) for one in found] == [(2, 2)]
    (tmp_path / "a-plain-none-seed-2.json").write_text("{\n<<<<<<< ours")
    with pytest.raises(DataError, match=r"a-plain-none-seed-2\.json, line 2: is not valid JSON"):
        compare_runs([tmp_path], resamples=100)
    (tmp_path / "a-plain-none-seed-2.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match="byte 0 is not UTF-8"):
        compare_runs([tmp_path], resamples=100)


def test_a_run_whose_folder_holds_other_predictions_than_its_results_is_refused(one: Path) -> None:
    place = one / "evaluate/free/minilm/none/seed-1/predictions.parquet"
    write_predictions(place, answers(0.9, 1))
    assert "minilm, none, seed 1, are not those of its results.json" in refused(one)
    place.unlink()
    assert "minilm, none, seed 1, are not in its folder" in refused(one)


def test_names_that_are_not_there_are_told(one: Path, tmp_path: Path) -> None:
    assert refused(one, chosen=Chosen(arms=["old"])) == "There is no arm 'old' in what is compared."
    assert "no student 'x'" in refused(one, chosen=Chosen(students=["x"]))
    assert "no arm stands beside an arm 'old'" in refused(one, chosen=Chosen(baseline="old"))
    assert refused(one, one).startswith("There is only one run")
    two = run_folder(tmp_path / "two", usual())
    assert "has no arm 'old'" in refused(one, two, chosen=Chosen(baseline="old"))
    file = tmp_path / "theirs.json"
    file.write_text(json.dumps({p.id: p.label for p in answers(0.9, 5)}))
    assert refused(one, file).startswith(f"Nothing in {file} has its like in {one}")


# --- the command --------------------------------------------------------------------------------------------------


def command(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["preceptor", "compare", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_prints_table_sentences_json_and_a_page(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert command(monkeypatch, one, "--students", "minilm", "--resamples", "200", "--html", page) == 0
    said = capsys.readouterr().out
    assert "free: minilm, rewrite against minilm, none" in said
    assert "is a gain beyond noise (exact McNemar over all seeds p <.0001, " in said
    assert "after Holm over 2 comparisons)" in said
    assert "With 60 items and 2 seeds a gap under " in said
    assert "minilm, rewrite" in page.read_text()
    assert command(monkeypatch, one, "--json", "--resamples", "200", "--seed", "3") == 0
    first = capsys.readouterr().out
    assert {c["verdict"] for c in json.loads(first)["comparisons"]} == {"gain", "noise"}
    assert command(monkeypatch, one, "--json", "--resamples", "200", "--seed", "3") == 0
    assert capsys.readouterr().out == first


def test_the_command_fails_in_one_sentence(
    one: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    two = run_folder(tmp_path / "two", usual("j"))
    assert command(monkeypatch, one, two) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert len(said.err.strip().splitlines()) == 2  # the sentence and what to do


def test_files_alone_are_compared_on_pubmedqa(data_root: Path, tmp_path: Path) -> None:
    reference = pubmedqa_reference(data_root / "pubmedqa", "official")
    assert len(reference.gold) == 500
    always, truth = tmp_path / "always.json", tmp_path / "truth.json"
    always.write_text(json.dumps(dict.fromkeys(reference.gold, "yes")))
    truth.write_text(json.dumps(dict(reference.gold)))
    found = compare_runs([always, truth], reference=reference, resamples=100).comparisons[0]
    assert (found.n, found.verdict) == (500, "gain")
    assert found.gain_accuracy.value == pytest.approx(0.448)
    assert (found.pairs[0].lost, found.pairs[0].won) == (0, 224)
