"""Seed tasks: what ships keeps its own rules, and every mistake in a user's file is named or counted."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preceptor.config.instruct import RuleSettings
from preceptor.data.seeds import SeedSet, load_seeds, shipped_sets
from preceptor.errors import DataError
from preceptor.filter.novelty import Novelty
from preceptor.filter.rouge import rouge_l
from preceptor.language import looks_cut_off, looks_english
from preceptor.records import CATEGORIES, Instruction
from preceptor.teachers.phi import find_patterns

SHIPPED = ("biomedicine", "contracts")


def shipped(name: str) -> tuple[Instruction, ...]:
    return load_seeds(name, Path()).tasks


def words(text: str) -> int:
    return len(text.split())


def row(n: int = 1, **changes: Any) -> dict[str, Any]:
    made = {
        "id": f"own-{n}",
        "category": "other",
        "instruction": f"Count the coins in box {n}.",
        "input": f"box {n}",
        "output": f"There are {n} coins.",
        **changes,
    }
    return {key: value for key, value in made.items() if value is not ...}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., SeedSet]:
    """Write one file `own.jsonl` and load it."""

    def load(content: list[Any] | str, **keys: Any) -> SeedSet:
        text = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
        (tmp_path / "own.jsonl").write_text(text, encoding="utf-8")
        return load_seeds("own.jsonl", tmp_path, **keys)

    return load


def with_line_two(line: Any) -> str:
    lines = [json.dumps(row(n)) for n in range(1, 5)]
    lines[1] = line if isinstance(line, str) else json.dumps(line)
    return "\n".join(lines)


# What ships.


def test_the_sets_of_the_package() -> None:
    assert shipped_sets() == SHIPPED


def test_biomedicine_has_the_papers_number_of_seeds_in_all_categories() -> None:
    tasks = shipped("biomedicine")
    assert Counter(task.category for task in tasks) == dict(zip(CATEGORIES, (26, 20, 20, 14), strict=True))
    assert [task.id for task in tasks] == [f"seed-{n:03d}" for n in range(1, 81)]
    assert {task.origin for task in tasks} == {"seed"}
    assert 15 <= sum(not task.input for task in tasks) <= 25


def test_another_domain_needs_a_file_alone() -> None:
    assert Counter(task.category for task in shipped("contracts")) == dict(zip(CATEGORIES, (7, 6, 6, 5), strict=True))


def test_seeds_are_short_and_long() -> None:
    tasks = shipped("biomedicine")
    assert min(words(task.instruction) for task in tasks) == 5
    assert 50 <= max(words(task.instruction) for task in tasks) <= 65
    assert 100 <= max(words(task.input) for task in tasks) <= 125
    assert min(words(task.output) for task in tasks) == 1
    assert 100 <= max(words(task.output) for task in tasks) <= 125


@pytest.mark.parametrize("name", SHIPPED)
def test_seeds_keep_the_rules_for_written_tasks(name: str) -> None:
    rules = RuleSettings()
    blocked = re.compile(rf"\b(?:{'|'.join(map(re.escape, rules.blocked_words))})\b", re.IGNORECASE)
    for task in shipped(name):
        assert rules.min_words <= words(task.instruction) <= rules.max_words, task.id
        assert words(task.output) <= rules.max_output_words, task.id
        assert not blocked.search(task.instruction), task.id
        assert not task.instruction.casefold().startswith(rules.blocked_starts), task.id
        assert all(map(looks_english, (task.instruction, task.input, task.output))), task.id
        assert not looks_cut_off(task.output), task.id
        assert task.output not in (task.input, task.instruction), task.id


@pytest.mark.parametrize("name", SHIPPED)
def test_no_two_instructions_are_alike(name: str) -> None:
    """Self-Instruct lets 0.7 pass; these are hand-written and further apart."""
    pool = Novelty(0.4)
    for task in shipped(name):
        assert pool.too_close(task.instruction) is None, task.id
        pool.add(task.instruction)


def test_instructions_do_not_begin_all_alike() -> None:
    first = Counter(task.instruction.split()[0] for task in shipped("biomedicine"))
    assert len(first) >= 35
    assert max(first.values()) <= 6


@pytest.mark.parametrize("name", SHIPPED)
def test_seeds_hold_nothing_that_identifies_people(name: str) -> None:
    """A teacher sees them, and a run with `phi = "block"` must not stop at them."""
    for task in shipped(name):
        for text in (task.instruction, task.input, task.output):
            assert not find_patterns(text), task.id


def test_json_outputs_are_json() -> None:
    parsed = [json.loads(task.output) for task in shipped("biomedicine") if task.output[:1] in "{["]
    assert len(parsed) == 2
    assert parsed[0][3] == {"drug": "vitamin D", "dose": None, "route": None, "frequency": "daily"}


SUM = re.compile(
    r"(\(?\d+(?:\.\d+)?\)?(?: ?[-+×/] ?\(?\d+(?:\.\d+)?\)?)+) = (\d+(?:\.\d+)?)(?![.\d]*\d)(?! [-+×/])(%?)"
)


def test_sums_in_the_outputs_are_right() -> None:
    """Each "a - b / c = d" is computed; the result may be rounded to the digits that are given."""
    found = 0
    for name in SHIPPED:
        for task in shipped(name):
            plain = re.sub(r" (?:mL/h|mL|h|kg|m|drops/mL|min/h|points?)\b", "", task.output)
            for left, result, percent in SUM.findall(plain):
                value = eval(left.replace("×", "*"), {"__builtins__": {}}) * (100 if percent else 1)
                places = len(result.partition(".")[2])
                assert abs(value - float(result)) <= 0.5001 * 10**-places, (task.id, left, result)
                found += 1
    assert found >= 15


def grams(text: str, length: int = 8) -> set[tuple[str, ...]]:
    found = re.findall(r"[a-z0-9]+", text.casefold())
    return {tuple(found[i : i + length]) for i in range(len(found) - length + 1)}


def test_nothing_is_copied_from_public_data(data_root: Path) -> None:
    """No eight words in a row stand in PubMedQA, MTS-Dialog or Self-Instruct's seeds, and none of these is near."""
    selfinstruct = data_root / "self-instruct" / "seed_tasks.jsonl"
    notes = sorted((data_root / "mts-dialog").glob("MTS-Dialog-T*Set*.csv"))
    if not selfinstruct.is_file() or not notes:
        pytest.skip(f"no self-instruct or mts-dialog at {data_root}")
    theirs = [json.loads(line)["instruction"] for line in selfinstruct.read_text(encoding="utf-8").splitlines()]
    public = grams(selfinstruct.read_text(encoding="utf-8"))
    items = json.loads((data_root / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    for item in items.values():
        public |= grams(" ".join((item["QUESTION"], *item["CONTEXTS"], item["LONG_ANSWER"])))
    for path in notes:
        with path.open(encoding="utf-8", newline="") as file:
            for entry in csv.DictReader(file):
                public |= grams(entry["section_text"]) | grams(entry["dialogue"])
    for name in SHIPPED:
        tasks = shipped(name)
        for task in tasks:
            assert not public & (grams(task.instruction) | grams(task.input) | grams(task.output)), task.id
        assert rouge_l([task.instruction for task in tasks], theirs).max() < 0.5


# A user's own file.


def test_a_file_is_relative_and_variables_are_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\ufeff" + "\r\n\n".join(json.dumps(row(n, output=" Coins.\u2028Three. ")) for n in range(3)) + "\n\n"
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own").write_text(text, encoding="utf-8")
    relative = load_seeds("sub/own", tmp_path)
    assert (relative.name, len(relative.tasks)) == ("own", 3)
    assert relative.where == str(tmp_path / "sub" / "own")
    assert relative.tasks[0] == Instruction(
        "own-0", "Count the coins in box 0.", "box 0", "Coins.\u2028Three.", "other", "seed"
    )
    monkeypatch.setenv("SEEDS", str(tmp_path / "sub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for path in ("$SEEDS/own", "~/sub/own", str(tmp_path / "sub" / "own")):
        assert load_seeds(path, Path("elsewhere")) == relative
    with pytest.raises(DataError, match="the environment variable NOWHERE is not set"):
        load_seeds("$NOWHERE", tmp_path)


def test_a_name_is_never_a_file_and_a_file_never_a_name(tmp_path: Path) -> None:
    (tmp_path / "contracts").write_text("x")
    assert len(load_seeds("contracts", tmp_path).tasks) == 24
    with pytest.raises(DataError, match=r"no seed set 'contract'.*biomedicine, contracts; .*contract\.jsonl"):
        load_seeds("contract", tmp_path)
    with pytest.raises(DataError, match=r"no file .*contracts\.jsonl\. .*biomedicine, contracts"):
        load_seeds("contracts.jsonl", tmp_path)
    with pytest.raises(DataError, match="cannot be read: is a directory"):
        load_seeds(".", tmp_path)
    with pytest.raises(DataError, match="is no path"):
        load_seeds(" ", tmp_path)


def test_the_identity_follows_the_tasks(load: Callable[..., SeedSet]) -> None:
    rows = [row(n) for n in range(4)]
    first = load(rows)
    assert load([dict(reversed(item.items())) for item in rows]).identity == first.identity
    assert load([*rows[1:], rows[0]]).identity != first.identity
    assert load([*rows[:3], row(3, output="None.")]).identity != first.identity
    assert load_seeds("contracts", Path()).identity != load_seeds("biomedicine", Path()).identity


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("QA", 0), ("qa", 0), ("question answering", 0), ("Question-Answering", 0), ("IE", 1), ("ie", 1),
        ("information_extraction", 1), ("GEN", 2), ("gen", 2), ("generation", 2), ("Other", 3),
    ],
)  # fmt: skip
def test_short_forms_of_categories(load: Callable[..., SeedSet], given: str, meant: int) -> None:
    assert load([row(n, category=given) for n in range(3)]).tasks[0].category == CATEGORIES[meant]


def test_ids_may_be_missing_or_numbers(load: Callable[..., SeedSet]) -> None:
    rows = [row(1, id=...), row(2, id=77), row(3)]
    tasks = load("\n" + "\n".join(map(json.dumps, rows))).tasks
    assert [task.id for task in tasks] == ["2", "77", "own-3"]


def test_the_layout_of_self_instruct(load: Callable[..., SeedSet]) -> None:
    pairs = [{"input": "red", "output": "A colour."}, {"input": "", "output": "Nothing."}]
    old = {"id": "s0", "name": "x", "is_classification": False, "instruction": "What is it?", "category": "qa"}
    alone = {**old, "id": "s1", "instruction": "What else is it?", "instances": pairs[:1]}
    tasks = load([{**old, "instances": pairs}, alone]).tasks
    assert [(task.id, task.input, task.output) for task in tasks] == [
        ("s0-1", "red", "A colour."), ("s0-2", "", "Nothing."), ("s1", "red", "A colour."),
    ]  # fmt: skip
    del alone["category"]
    with pytest.raises(DataError, match=r"own\.jsonl, line 2: the field 'category' is missing; add one of question_an"):
        load([{**old, "instances": pairs}, alone])


def test_fields_of_published_sets_that_are_not_used_do_no_harm(load: Callable[..., SeedSet]) -> None:
    plain = load([row(n) for n in range(3)])
    noise = {"name": "x", "is_classification": True, "topic": "y", "type": 1, "view": None, "difficulty": 3}
    assert load([row(n, **noise) for n in range(3)]).tasks == plain.tasks


CUT = "The coins lie in three boxes of wood that stand in the cellar. There are more of them in the ol"
FRENCH = "Il y a trois pièces dans la boîte qui est sur la table."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"instruction": ', r"not valid JSON at column 1\d \("),
        ("[" * 100_000, "the JSON is nested too deeply"),
        ('{"id": ' + "1" * 5000 + "}", "the JSON is nested too deeply, or .* too long"),
        ([row()], "not a JSON object; write one task per line"),
        (row(2, instruction=...), "the field 'instruction' is missing"),
        (row(2, input=...), r"the field 'input' is missing \(it may be empty\)"),
        (row(2, output=...), "the field 'output' is missing"),
        (row(2, input=None), "the field 'input' is not a text"),
        (row(2, output=["x"]), "the field 'output' is not a text"),
        (row(2, instruction="\ud800"), "the field 'instruction' is not a text in UTF-8"),
        (row(2, instruction=" \n"), "the field 'instruction' is empty"),
        (row(2, output=""), "the field 'output' is empty"),
        (row(2, category=...), "the field 'category' is missing; add one of question_answering, information_extr"),
        (row(2, category=3), "the field 'category' is not a text"),
        (row(2, category="summary"), "the category 'summary' is not one of question_answering, .*, other"),
        (row(2, id=" "), "the field 'id' is neither a text nor a whole number"),
        (row(2, id=True), "the field 'id' is neither"),
        (row(2, answer="x", label="y"), "unknown field 'answer', 'label'; there are id, .* difficulty are ignored"),
        (json.dumps(row(2))[:-1] + ', "output": "x"}', "the field 'output' stands twice"),
        (row(1, instruction="Another one."), "the id 'own-1' stands twice, first on line 1"),
        (row(2, instruction="count THE  coins in box 1.", input="Box 1"), "the same instruction and input .* line 1"),
        (row(2, instances=[{"input": "", "output": "x"}]), "the fields 'instances' and 'input' exclude each other"),
        (row(2, input=..., output=..., instances=[]), "the field 'instances' is not a list of objects"),
        (row(2, input=..., output=..., instances="x"), "the field 'instances' is not a list of objects"),
        (row(2, input=..., output=..., instances=["x"]), "the field 'instances' is not a list of objects"),
        (row(2, input=..., output=..., instances=[{"input": ""}]), "the field 'output' of instance 1 is missing"),
        (row(2, output=CUT), r"the field 'output' breaks off \('them in the ol'\)"),
        (row(2, output="There are three coins,"), "the field 'output' breaks off"),
        (row(2, output=FRENCH), r'the field \'output\' is not English; instruct\.rules\.language = "any"'),
        (row(2, instruction=FRENCH), "the field 'instruction' is not English"),
    ],
)
def test_a_wrong_line_is_named(load: Callable[..., SeedSet], line: Any, said: str) -> None:
    with pytest.raises(DataError, match=rf"own\.jsonl, line 2: {said}") as raised:
        load(with_line_two(line))
    assert "more problem" not in raised.value.message
    assert "Line" not in raised.value.message


def test_other_languages_are_taken_where_they_are_meant(load: Callable[..., SeedSet]) -> None:
    text = with_line_two(row(2, instruction=FRENCH, input=FRENCH, output=FRENCH))
    assert load(text, language="any").tasks[1].output == FRENCH
    assert load(with_line_two(row(2, input=FRENCH))).tasks[1].input == FRENCH
    with pytest.raises(DataError, match="breaks off"):
        load(with_line_two(row(2, output=FRENCH[:-1] + " (")), language="any")


def test_all_problems_are_counted_and_the_first_three_kinds_told(load: Callable[..., SeedSet]) -> None:
    rows = [
        row(1),
        row(2, output=""),
        row(3, output="", category="x"),
        row(4, input=..., category="y"),
        row(5, id="own-1"),
        row(6, category="x"),
    ]
    with pytest.raises(DataError) as raised:
        load(rows)
    said = raised.value.message
    start, one, two, three = re.split(r"(?: Line |, line )\d: ", said)
    assert start.endswith("own.jsonl")
    assert re.findall(r"[Ll]ine (\d):", said) == ["2", "3", "4"]
    assert one == "the field 'output' is empty. The same on 1 more line."
    assert two.startswith("the category 'x' is not one of")
    assert two.endswith("The same on 1 more line.")
    assert "And 2 more problems." in three
    assert raised.value.hint == "Correct the seed tasks; none of them was used."


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_seeds(load: Callable[..., SeedSet], count: int) -> None:
    with pytest.raises(DataError, match=rf"own\.jsonl: {count} seed tasks are too few\. Write at least 3"):
        load([row(n) for n in range(count)])
    assert len(load([row(n) for n in range(3)]).tasks) == 3
