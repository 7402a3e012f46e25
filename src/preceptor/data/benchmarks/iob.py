"""Mentions in tagged tokens (IOB2), e.g. the diseases of NCBI-disease (Dogan et al. 2014), as lists to be written.

Source of the NCBI files: github.com/cambridgeltl/MTL-Bioinformatics-2016, data/NCBI-disease-IOB (CC BY 4.0): a token, a
tab and a tag on each line, an empty line after each sentence; 5,424 training, 923 validation, 940 test sentences.

A sentence is put together again from its tokens by `joined`; every mention is a span of exactly that text. The
reference answer lists each distinct mention once (`mentions.py`), `spans` holds every occurrence.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from preceptor.config import BenchmarkSettings
from preceptor.data import files
from preceptor.data.benchmark import Benchmark, Measured
from preceptor.data.benchmarks import mentions, parts
from preceptor.errors import DataError
from preceptor.records import Instruction, Reading

FILES = {
    "train": ("train.tsv",),
    "validation": ("devel.tsv", "dev.tsv", "validation.tsv"),
    "test": ("test.tsv",),
}
"""Names of the parts in a folder."""
INSTRUCTION = (
    "List every {entity} mentioned in the text, exactly as it is written there, separated by semicolons. "
    "If there is none, answer: none."
)
PUBLISHED = {
    "train": "58379baf4614b8d757d93dd7a21b202849ca99f9b9d71b49185523ff5443300c",
    "validation": "b4e1e7efcc2a35047bf2f3d281648357470e674f555d4a26a0049ac37d59cc61",
    "test": "8f088ce45dc4746592188f9e69de3d89d87f3bb8f0ed8c4a287d018123fa148d",
}
"""SHA-256 of the NCBI files, whose licence is known."""
LICENCE = "CC BY 4.0"

_TAG = re.compile(r"O|[BI]-(\S+)")
Span = tuple[int, int]


@dataclass(frozen=True)
class IobBenchmark(Benchmark):
    """Texts whose mentions of one kind are to be listed."""

    measured: ClassVar[Measured] = "spans"

    entity: str = "disease"
    """What is looked for, in words."""

    def parse(self, item: Instruction, text: str, finish: str = "stop") -> Reading:
        """The mentions that the answer lists, as it spells them; the rules are those of `mentions.py`.

        `cut_off` keeps the mentions that were complete; "none" is answered and has no mentions.
        """
        return mentions.read(text, text=item.input, entity=self.entity, finish=finish)


@dataclass(frozen=True, slots=True)
class _Sentence:
    line: int
    """Where it begins in its file, from 1."""
    tokens: tuple[str, ...]
    spans: tuple[tuple[int, int, str], ...]
    """First token, token after the last, and type of each mention."""


def load(settings: BenchmarkSettings, base: Path) -> IobBenchmark:
    """The sentences of `train.tsv`, `devel.tsv` and `test.tsv` in `path`, or of the files named one by one.

    Where the tags have several types, `entity` is the type that is looked for. Raises `DataError` naming file, line and
    the number of broken lines.
    """
    paths = parts.find_files(settings, base, FILES)
    read = {part: tuple(_sentences(path)) for part, path in paths.items()}
    types = sorted({kind for sentences in read.values() for sentence in sentences for *_, kind in sentence.spans})
    wanted = _wanted(types, settings)
    instruction = (settings.instruction or INSTRUCTION).replace("{entity}", settings.entity)
    items = {
        part: tuple(_item(sentence, part, wanted, instruction, settings.category) for sentence in sentences)
        for part, sentences in read.items()
    }
    whole, notes = parts.with_validation(items, settings, _stratum)
    known = all(hashlib.sha256(path.read_bytes()).hexdigest() == PUBLISHED[part] for part, path in paths.items())
    licence = LICENCE if known else ""
    return parts.built(
        IobBenchmark, settings, whole, stratum=_stratum, notes=notes, licence=licence, entity=settings.entity
    )


def _stratum(item: Instruction) -> str:
    return "mentions" if item.spans else "none"


def _wanted(types: Sequence[str], settings: BenchmarkSettings) -> str:
    if len(types) == 1:
        return types[0]
    named = [kind for kind in types if kind.casefold() == settings.entity.casefold()]
    if not named:
        raise DataError(
            f"Benchmark {settings.name}: the tags know {', '.join(types) or 'no type'}, but not {settings.entity!r}.",
            "Name one of the types in entity.",
        )
    return named[0]


def _item(sentence: _Sentence, part: str, wanted: str, instruction: str, category: str) -> Instruction:
    text, places = joined(sentence.tokens)
    spans = tuple((places[first][0], places[end - 1][1]) for first, end, kind in sentence.spans if kind == wanted)
    return Instruction(
        id=f"{part}-{sentence.line}",
        instruction=instruction,
        input=text,
        output=mentions.written(text[start:end] for start, end in spans),
        category=category,
        spans=spans,
    )


# From tokens to text

_NO_SPACE_BEFORE = frozenset(",.;:)]}%?!-/'")
_NO_SPACE_AFTER = frozenset("([{#$-/")
_OPENING = frozenset("([{")


def joined(tokens: Sequence[str]) -> tuple[str, list[Span]]:
    """A readable text of the tokens, and start and end of each in it.

    A space stands between two tokens, except before , . ; : ) ] } % ? ! ', after ( [ { # $, around - and /, inside
    double quotes, in decimals and before a possessive s. How the source was written is not known: a dash between
    words loses its spaces too. Words are never joined to words, so that splitting at every sign gives the tokens back.
    """
    text = ""
    places: list[Span] = []
    quoted = False  # inside double quotes
    for position, word in enumerate(tokens):
        before = tokens[position - 1] if position else ""
        after = tokens[position + 1] if position + 1 < len(tokens) else ""
        earlier = tokens[position - 2] if position > 1 else ""
        if text and not _touch(earlier, before, word, after, quoted=quoted):
            text += " "
        places.append((len(text), len(text) + len(word)))
        text += word
        quoted ^= word == '"'
    return text, places


def _touch(earlier: str, before: str, word: str, after: str, *, quoted: bool) -> bool:
    """Whether no space stands between the tokens `before` and `word`."""
    if word == '"':
        return quoted or before in _OPENING
    if before == '"':
        return quoted or word in _NO_SPACE_BEFORE
    if word == "." and after.isdigit() and not before[-1].isalnum() and before not in ")]}%":
        return before in _NO_SPACE_AFTER  # ".05" after "=" begins a number
    if before == "." and word.isdigit():
        return not earlier[-1:].isalpha()
    if before == "'" and word in ("s", "t"):
        return True
    return word in _NO_SPACE_BEFORE or before in _NO_SPACE_AFTER


# Reading


def _sentences(path: Path) -> Iterator[_Sentence]:
    lines = files.read_text(path).split("\n")
    rows: list[tuple[int, str, str]] = []
    broken: list[tuple[int, str]] = []
    found: list[list[tuple[int, str, str]]] = []
    for number, line in enumerate([*lines, ""], start=1):
        if line.strip(" \r"):
            row = _row(line, rows[-1][2] if rows else "O")
            if isinstance(row, str):
                broken.append((number, row))
                row = ("", line.rpartition("\t")[2])  # what follows is judged by the tag that stands here
            rows.append((number, *row))
        elif rows:
            found.append(rows)
            rows = []
    if broken:
        line_number, problem = broken[0]
        more = f" In all {len(broken)} lines are broken." if len(broken) > 1 else ""
        raise DataError.at(
            path, f"{problem}{more}", line=line_number, hint="Write token, tab and tag, with tags in the scheme IOB2."
        )
    if not found:
        raise DataError.at(path, "there are no sentences.", hint="Check that the file is complete.")
    for sentence in found:
        yield _Sentence(sentence[0][0], tuple(token for _, token, _ in sentence), tuple(_spans(sentence)))


def _row(line: str, previous: str) -> tuple[str, str] | str:
    """Token and tag of a line, or what is wrong with it; `previous` is the tag of the token before it."""
    columns = line.rstrip("\r").split("\t")
    if len(columns) != 2:
        return f"{len(columns)} columns instead of a token and a tag."
    token, tag = columns
    if not token.strip() or token != "".join(token.split()):
        return "the token is empty or holds white space."
    known = _TAG.fullmatch(tag)
    if known is None:
        return f"the tag {tag!r} is not O, B-TYPE or I-TYPE."
    if tag.startswith("I-") and previous not in (f"B-{known[1]}", tag):
        return (
            f"the tag {tag} continues a mention, but the token before it has the tag {previous}; "
            "in IOB2 every mention begins with B."
        )
    return token, tag


def _spans(sentence: Sequence[tuple[int, str, str]]) -> Iterator[tuple[int, int, str]]:
    tags = [tag for _, _, tag in sentence]
    for first, tag in enumerate(tags):
        if tag.startswith("B-"):
            end = first + 1
            while end < len(tags) and tags[end] == f"I-{tag[2:]}":
                end += 1
            yield first, end, tag[2:]
