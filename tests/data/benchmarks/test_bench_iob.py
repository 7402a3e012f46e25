"""Tagged tokens: texts, exact spans, lists of mentions, and how broken tags are named."""

from __future__ import annotations

import re

import pytest
from benchmark_files import Load

from preceptor.data.benchmarks.iob import joined
from preceptor.errors import DataError
from preceptor.records import Outcome


def tagged(*sentences: str) -> str:
    """`token/TAG` pairs as the file has them; a tag O is left out."""
    lines = [
        "\n".join("\t".join(pair.rsplit("|", 1) if "|" in pair else (pair, "O")) for pair in sentence.split())
        for sentence in sentences
    ]
    return "\n\n".join(lines) + "\n\n"


FEVER = "The marsh|B-Disease fever|I-Disease ( MF|B-Disease ) and MF|B-Disease - like coughs|B-Disease ended ."


def test_a_sentence_becomes_a_text_with_exact_spans_and_a_list(load: Load) -> None:
    benchmark = load("iob", {"test.tsv": tagged(FEVER, "Nothing was found .")})
    item, empty = benchmark.test
    assert item.input == "The marsh fever (MF) and MF-like coughs ended."
    assert [item.input[start:end] for start, end in item.spans] == ["marsh fever", "MF", "MF", "coughs"]
    assert item.output == "marsh fever; MF; coughs"
    assert "every disease" in item.instruction
    assert (empty.output, empty.spans) == ("none", ())
    assert (item.id, empty.id) == ("test-1", "test-15")
    assert (benchmark.measured, benchmark.read, benchmark.licence) == ("spans", "generation", "")
    assert benchmark.parse(item, item.output).mentions == ("marsh fever", "MF", "coughs")
    assert benchmark.parse(item, "marsh fever; MF; cou", "length").outcome is Outcome.CUT_OFF


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ("a ( b ) , c ; d : e .", "a (b), c; d: e."),
        ("p53 - null mice and A / B", "p53-null mice and A/B"),
        ('the " odd one " , they said', 'the "odd one", they said'),
        ('it ( " odd " ) is', 'it ("odd") is'),
        ("about 12 . 5 % of 3 . 2 mg", "about 12.5% of 3.2 mg"),
        ("P = . 05 and P < 0 . 05", "P = .05 and P < 0.05"),
        ("Moor ' s cough and Fens ' cough", "Moor's cough and Fens' cough"),
        ("see Fig . 2", "see Fig. 2"),
        ("[ 1 ] { 2 }", "[1] {2}"),
        ("is it ?", "is it?"),
    ],
)
def test_tokens_are_joined_readably_and_can_be_had_back(tokens: str, text: str) -> None:
    words = tokens.split()
    joint, places = joined(words)
    assert joint == text
    assert [joint[start:end] for start, end in places] == words
    assert re.findall(r"\w+|[^\w\s]", joint) == words


def test_adjacent_mentions_stay_two(load: Load) -> None:
    (item,) = load("iob", {"test.tsv": tagged("hill|B-Disease palsy|I-Disease marsh|B-Disease fever|I-Disease")}).test
    assert item.output == "hill palsy; marsh fever"


@pytest.mark.parametrize(
    ("broken", "line", "problem"),
    [
        ("cough|I-Disease", 3, "token before it has the tag O"),
        ("cough|B-Disease wet|I-Drug", 4, "the tag I-Drug continues a mention, but the token before it has the tag B-"),
        ("cough|X-Disease", 3, "the tag 'X-Disease' is not O, B-TYPE or I-TYPE"),
        ("cough|b-disease", 3, "the tag 'b-disease'"),
        ("cough|B", 3, "the tag 'B'"),
        ("cough|wet|O", 3, "no such case"),
    ],
)
def test_a_broken_tag_is_named_with_its_line(load: Load, broken: str, line: int, problem: str) -> None:
    content = tagged("Fine", broken)
    if problem == "no such case":  # three columns
        content, problem = content.replace("cough|wet", "cough\twet"), "3 columns instead of a token and a tag"
    with pytest.raises(DataError) as caught:
        load("iob", {"test.tsv": content})
    assert f"test.tsv, line {line}: " in caught.value.message
    assert problem in caught.value.message
    assert "IOB2" in caught.value.hint


@pytest.mark.parametrize(("lines", "problem"), [("cough O", "1 columns"), ("\tO", "token is empty"), ("\t", "empty")])
def test_a_line_without_its_columns_is_named(load: Load, lines: str, problem: str) -> None:
    with pytest.raises(DataError, match=rf"line 2: .*{problem}"):
        load("iob", {"test.tsv": f"Fine\tO\n{lines}\nFine\tO\n"})


def test_all_broken_lines_are_counted(load: Load) -> None:
    content = tagged("a|I-Disease b|I-Disease", "c", "d|I-Disease", "e|Q")
    with pytest.raises(DataError, match=r"line 1: .*In all 3 lines are broken\."):
        load("iob", {"test.tsv": content})


def test_of_several_types_the_named_one_is_looked_for(load: Load) -> None:
    content = tagged("salt|B-Chemical cures coughs|B-Disease of salt|B-Chemical")
    item = load("iob", {"test.tsv": content}, entity="chemical").test[0]
    assert (item.output, len(item.spans)) == ("salt", 2)
    assert "every chemical" in item.instruction
    with pytest.raises(DataError, match="the tags know Chemical, Disease, but not 'gene'"):
        load("iob", {"test.tsv": content}, entity="gene")


def test_files_may_have_windows_line_ends_and_a_byte_order_mark(load: Load) -> None:
    plain = load("iob", {"test.tsv": tagged(FEVER)}).test
    assert load("iob", {"test.tsv": "\ufeff" + tagged(FEVER).replace("\n", "\r\n")}).test == plain


def test_parts_subsets_and_an_instruction_of_ones_own(load: Load) -> None:
    sentences = [f"Case {n} had coughs|B-Disease ." if n % 4 == 0 else f"Case {n} had none ." for n in range(80)]
    contents = {"train.tsv": tagged(*sentences), "devel.tsv": tagged("ok"), "test.tsv": tagged(*sentences[:40])}
    benchmark = load("iob", contents, max_train=40, max_test=20, instruction="Name each {entity}.")
    assert (len(benchmark.train), len(benchmark.validation), len(benchmark.test)) == (40, 1, 20)
    assert sum(bool(item.spans) for item in benchmark.train) == 10
    assert benchmark.train[0].instruction == "Name each disease."
    assert "Only 40 of 80 training items are used, drawn with seed 0." in benchmark.notes
    assert {item.id for item in benchmark.train} != {
        item.id for item in load("iob", {}, max_train=40, split_seed=1).train
    }
    with pytest.raises(DataError, match="there are no sentences"):
        load("iob", {"test.tsv": "\n\n"})
