"""Multiple-choice files: every layout, what numbers mean, and how every mistake is named."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from benchmark_files import Load, settings

from preceptor.data.benchmarks.load import load_benchmark
from preceptor.errors import DataError, MissingPackageError, RecipeError, SplitError
from preceptor.records import Outcome

DRUGS = ("quilastat", "mordivane", "tresoline", "vexamide")


def medqa(n: int, **changes: Any) -> dict[str, Any]:
    row = {
        "question": f"Patient {n} took too much of a drug. Of which?",
        "options": dict(zip("ABCD", DRUGS, strict=True)),
        "answer_idx": "ABCD"[n % 4],
        "answer": DRUGS[n % 4],
    }
    return {**row, **changes}


def medmcqa(n: int, cop: int, **changes: Any) -> dict[str, Any]:
    options = dict(zip(("opa", "opb", "opc", "opd"), DRUGS, strict=True))
    return {"id": f"q{n}", "question": f"Question {n}?", **options, "cop": cop, "choice_type": "single", **changes}


def test_medqa_shows_a_lettered_list_and_asks_for_the_letter(load: Load) -> None:
    benchmark = load("medqa", {"test.jsonl": [medqa(1)]})
    (item,) = benchmark.test
    assert item.input == (
        "Question: Patient 1 took too much of a drug. Of which?\nA. quilastat\nB. mordivane\nC. tresoline\nD. vexamide"
    )
    assert (item.output, item.options, item.id) == ("B", ("A", "B", "C", "D"), "test-1")
    assert "letter" in item.instruction
    assert (benchmark.measured, benchmark.read, benchmark.labels, benchmark.licence) == (
        "choice",
        "likelihood",
        (),
        "MIT",
    )
    assert benchmark.parse(item, "The answer is B.").choice == 1
    assert benchmark.parse(item, "tresoline").choice == 2
    assert benchmark.parse(item, "A or B").outcome is Outcome.UNPARSED


def test_the_layouts_of_medqa_give_the_same_item(load: Load) -> None:
    harness = {
        "id": "x",
        "sent1": "Patient 1 took too much of a drug. Of which?",
        "sent2": "",
        **{f"ending{n}": drug for n, drug in enumerate(DRUGS)},
        "label": 1,
    }
    listed = medqa(1, options=[{"key": key, "value": drug} for key, drug in zip("ABCD", DRUGS, strict=True)])
    shown = {
        (item.input, item.output)
        for row in (medqa(1), harness, listed)
        for item in load("medqa", {"test.jsonl": [row]}).test
    }
    assert len(shown) == 1


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (medqa(1, answer_idx="E"), "'answer_idx' 'E' is not the letter"),
        (medqa(1, answer="vexamide"), "'answer' is not the option 'B'"),
        (medqa(1, options={"A": "one", "C": "two"}), "not lettered A, B and so on: A, C"),
        (medqa(1, options={"A": "one"}, answer_idx="A", answer="one"), "2 to 26 options"),
        (medqa(1, options=dict(zip("ABCD", (*DRUGS[:3], " "), strict=True))), "option 'D' is empty"),
        (medqa(1, question=" "), "'question' is empty"),
        ({"question": "Why?", "answer_idx": "A"}, "'options' is missing"),
        ({"sent1": "Why?", "ending0": "a", "ending2": "b", "label": 0}, "not ending0, ending1"),
        ({"sent1": "Why?", "ending0": "a", "ending1": "b", "label": 2}, "answer 2 in 'label' is none of 2 options"),
        ({"sent1": "Why?", "ending0": "a", "ending1": "b", "label": "0"}, "'label' is not a whole number"),
    ],
)
def test_a_broken_item_is_named_with_file_and_line(load: Load, row: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        load("medqa", {"test.jsonl": [medqa(0), row]})
    assert "test.jsonl, line 2: " in caught.value.message
    assert problem in caught.value.message


def test_the_authors_medmcqa_counts_from_one_and_the_hubs_from_zero(load: Load) -> None:
    authors = load("medmcqa", {"dev.json": [medmcqa(n, n) for n in (1, 2, 3, 4)]})
    hub = load("medmcqa", {"dev.json": [medmcqa(n, n - 1) for n in (1, 2, 3, 4)]})
    assert [item.output for item in authors.test] == [item.output for item in hub.test] == ["A", "B", "C", "D"]
    assert [item.id for item in hub.test] == ["q1", "q2", "q3", "q4"]


def test_the_base_is_decided_from_all_parts_together(load: Load) -> None:
    parts = {"dev.json": [medmcqa(1, 1), medmcqa(2, 2)], "train.json": [medmcqa(n, 1 + n % 4) for n in range(3, 43)]}
    assert [item.output for item in load("medmcqa", parts).test] == ["A", "B"]


@pytest.mark.parametrize(("values", "problem"), [((1, 2, 3), "neither a 0"), ((0, 2, 4), "hold a 0 (line 1)")])
def test_numbers_that_could_count_from_either_are_refused_until_a_key_says(
    load: Load, values: tuple[int, ...], problem: str
) -> None:
    rows = [medmcqa(n, cop) for n, cop in enumerate(values)]
    with pytest.raises(DataError) as caught:
        load("medmcqa", {"dev.json": rows})
    assert problem in caught.value.message
    assert "benchmarks.bench.first_option" in caught.value.hint
    if values == (1, 2, 3):
        assert [item.output for item in load("medmcqa", {}, first_option=1).test] == ["A", "B", "C"]
        assert [item.output for item in load("medmcqa", {}, first_option=0).test] == ["B", "C", "D"]
    else:
        with pytest.raises(DataError, match=r"line 1: the answer 0 in 'cop' is none of 4 options counted from 1"):
            load("medmcqa", {}, first_option=1)


@pytest.mark.parametrize("hidden", [medmcqa(2, -1), {k: v for k, v in medmcqa(2, 0).items() if k != "cop"}])
def test_hidden_answers_are_refused_with_what_to_do(load: Load, hidden: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="hidden") as caught:
        load("medmcqa", {"hidden.json": [medmcqa(1, 0), hidden]}, path=None, test_path="hidden.json")
    assert "validation part" in caught.value.hint


def test_a_folder_of_medmcqa_is_scored_on_its_validation_part(load: Load) -> None:
    rows = {
        "train.json": [medmcqa(n, n % 4) for n in range(40)],
        "dev.json": [medmcqa(n, n % 4) for n in range(40, 50)],
        "test.json": [medmcqa(50, -1)],
    }
    benchmark = load("medmcqa", rows)
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (36, 4, 10)
    assert any("validation part is the test" in note for note in benchmark.notes)
    assert any("4 validation items are drawn" in note for note in benchmark.notes)
    assert Counter(item.output for item in benchmark.validation) == dict.fromkeys("ABCD", 1)


def choice(answer: Any, options: Any = DRUGS, **changes: Any) -> dict[str, Any]:
    return {"question": "Which?", "options": list(options), "answer": answer, **changes}


@pytest.mark.parametrize(("answer", "letter"), [("C", "C"), ("tresoline", "C"), (" Tresoline", "C"), ("VEXAMIDE", "D")])
def test_a_choice_file_may_name_the_answer_by_letter_or_in_words(load: Load, answer: str, letter: str) -> None:
    assert load("choice", {"test.jsonl": [choice(answer)]}).test[0].output == letter


def test_items_may_have_different_numbers_of_options_and_a_context(load: Load) -> None:
    many = [f"option {n}" for n in range(26)]
    rows = [choice("B", ["yes", "no"], context="It rained."), choice("option 25", many, id=7)]
    first, second = load("choice", {"test.jsonl": rows}).test
    assert first.options == ("A", "B")
    assert first.input.startswith("It rained.\n\nQuestion: Which?\nA. yes\nB. no")
    assert (second.output, second.id, len(second.options)) == ("Z", "7", 26)


def test_numbers_in_a_choice_file_count_from_what_the_items_show(load: Load) -> None:
    assert [item.output for item in load("choice", {"test.jsonl": [choice(0), choice(2)]}).test] == ["A", "C"]
    assert [item.output for item in load("choice", {"test.jsonl": [choice(4), choice(2)]}).test] == ["D", "B"]
    mixed = [choice(2, ["yes", "no"]), choice(1)]  # 2 is the number of that item's options
    assert [item.output for item in load("choice", {"test.jsonl": mixed}).test] == ["B", "A"]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (choice("A", ["B", "A"]), "'A' means more than one option"),
        (choice("same", ["same", "Same "]), "'same' means more than one option"),
        (choice("E"), "'E' is none of 4 options"),
        (choice("2"), "'2' is none of 4 options"),
        (choice(-1), "-1 is hidden"),
        (choice(True), "neither a number nor a text"),
        (choice(None), "'answer' is missing"),
        (choice("A", [str(n) for n in range(27)]), "2 to 26 options"),
        (choice("A", ["one"]), "2 to 26 options"),
        (choice("A", ["one", 2]), "option 'B' is not a text"),
        ({**choice("A"), "options": "one, two"}, "neither a list nor an object"),
    ],
)
def test_an_ambiguous_or_broken_choice_is_refused(load: Load, row: dict[str, Any], problem: str) -> None:
    with pytest.raises(DataError) as caught:
        load("choice", {"test.jsonl": [choice("A"), row]})
    assert "line 2: " in caught.value.message
    assert problem in caught.value.message


def test_one_file_is_cut_by_seed_and_letter(load: Load) -> None:
    rows = {"all.jsonl": [medqa(n) for n in range(200)]}
    benchmark = load("medqa", rows, path="all.jsonl")
    sizes = {part: len(getattr(benchmark, part)) for part in ("train", "validation", "test")}
    assert sizes == {"train": 120, "validation": 20, "test": 60}
    assert set(Counter(item.output for item in benchmark.test).values()) == {15}
    ids = [item.id for item in benchmark.test]
    assert ids != [str(n) for n in range(1, 61)]
    assert ids != [item.id for item in load("medqa", rows, path="all.jsonl", split_seed=1).test]
    source = load("medqa", rows, path="all.jsonl", scored=False)
    assert source.train == benchmark.train
    assert len(load("medqa", rows, path=None, train_path="all.jsonl", scored=False).train) == 200


def test_subsets_are_drawn_in_proportion_and_never_a_prefix(load: Load) -> None:
    rows = sorted((medqa(n) for n in range(80)), key=lambda row: str(row["answer_idx"]))
    benchmark = load("medqa", {"test.jsonl": rows}, max_test=20)
    assert set(Counter(item.output for item in benchmark.test).values()) == {5}
    assert [item.id for item in benchmark.test] != [f"test-{n}" for n in range(1, 21)]
    assert "Only 20 of 80 test items are used, drawn with seed 0." in benchmark.notes
    assert benchmark.identity != load("medqa", {}, max_test=20, split_seed=5).identity
    assert benchmark.identity == load("medqa", {}, max_test=20).identity
    assert benchmark.identity != load("medqa", {}, max_test=20, read="generation").identity


def test_a_source_of_training_items_alone_reads_no_other_part(load: Load) -> None:
    rows = {"train.jsonl": [medqa(n) for n in range(20)], "test.jsonl": "not JSON"}
    benchmark = load("medqa", rows, scored=False)
    assert (len(benchmark.train), benchmark.validation, benchmark.test) == (20, (), ())
    with pytest.raises(DataError, match="no file of training items"):
        load("medqa", {}, path=None, test_path="test.jsonl", scored=False)


def test_paths_that_do_not_fit_are_named(load: Load, tmp_path: Path) -> None:
    rows = {"a.jsonl": [medqa(1)], "b.jsonl": [medqa(2)]}
    with pytest.raises(DataError, match="no file of test items"):
        load("medqa", rows)
    with pytest.raises(DataError, match="There is no file or folder"):
        load("medqa", rows, path="absent")
    with pytest.raises(DataError, match=r"There is no file .*absent\.jsonl"):
        load("medqa", rows, path=None, test_path="absent.jsonl")
    with pytest.raises(SplitError, match="named twice"):
        load("medqa", rows, path="a.jsonl", test_path="a.jsonl")
    with pytest.raises(RecipeError, match="both name the training items"):
        load("medqa", rows, path="a.jsonl", train_path="b.jsonl", test_path="b.jsonl")
    with pytest.raises(RecipeError, match=r"bench\.split = 'official' does not exist"):
        load("medqa", rows, split="official")
    with pytest.raises(RecipeError, match="cuts one file"):
        load("medqa", rows, split="seeded")
    with pytest.raises(RecipeError, match=r"bench\.entity has no meaning for kind = 'medqa'"):
        load("medqa", rows, entity="drug")
    with pytest.raises(DataError, match="'q1' stands twice"):
        load("medmcqa", {"dev.json": [medmcqa(1, 0), medmcqa(1, 1)]})


def test_shared_texts_are_noted(load: Load) -> None:
    rows = {"train.jsonl": [medqa(n) for n in range(30)], "test.jsonl": [medqa(3), medqa(99)]}
    seen = [note for note in load("medqa", rows).notes if "same text" in note]
    assert seen == ["1 of 2 test items have the same text as a training item."]


def test_the_hub_gives_the_same_items_and_says_what_is_missing(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    train, test = [medmcqa(n, n % 4) for n in range(40)], [medmcqa(n, n % 4) for n in range(40, 50)]
    files = load("medmcqa", {"train.json": train, "dev.json": test})

    def table(rows: list[dict[str, Any]]) -> Any:
        return datasets.Dataset.from_list(rows)

    tables = datasets.DatasetDict(train=table(train), validation=table(test), test=table([medmcqa(50, -1)]))
    monkeypatch.setattr(datasets, "load_dataset", lambda name: tables)
    hub = load("medmcqa", {}, path=None, hub="someone/medmcqa")
    assert (hub.train, hub.validation, hub.test) == (files.train, files.validation, files.test)
    assert hub.notes == files.notes

    monkeypatch.setattr(datasets, "load_dataset", lambda name: {"train": table(train)})
    with pytest.raises(DataError, match="someone/medmcqa has no part 'validation'"):
        load("medmcqa", {}, path=None, hub="someone/medmcqa")
    with pytest.raises(RecipeError, match="exclude each other"):
        load("medmcqa", {}, hub="someone/medmcqa")

    def unreachable(name: str) -> Any:
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(DataError, match=r"cannot be loaded from the hub \(ConnectionError\)"):
        load("medmcqa", {}, path=None, hub="someone/medmcqa")
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(MissingPackageError, match=r"datasets is not installed; benchmarks\.bench\.hub"):
        load_benchmark(settings("medmcqa", hub="someone/medmcqa"), Path())
