"""Documents: read from every kind of file, split by seed; what cannot be read is one sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preceptor.config import AdaptSettings, SourceSettings
from preceptor.data.documents import Document, read_documents, split_documents
from preceptor.errors import DataError


def read(base: Path, *entries: dict[str, Any]) -> list[Document]:
    return list(read_documents([SourceSettings.model_validate(entry) for entry in entries], base))


def write_lines(path: Path, *rows: Any) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_a_folder_is_read_with_all_its_kinds_of_files(tmp_path: Path) -> None:
    below = tmp_path / "texts" / "more"
    below.mkdir(parents=True)
    write_lines(tmp_path / "texts" / "b.jsonl", {"text": "one", "other": 1}, {"text": "two"})
    (below / "a.txt").write_text("three\n\nwith two paragraphs\n", encoding="utf-8")
    pq.write_table(pa.table({"text": ["four", "five"], "n": [1, 2]}), tmp_path / "texts" / "c.parquet")
    (tmp_path / "texts" / "notes.md").write_text("not read")
    found = read(tmp_path, {"path": "texts"})
    assert [(d.id, d.text) for d in found] == [
        ("b.jsonl:1", "one"),
        ("b.jsonl:2", "two"),
        ("c.parquet:1", "four"),
        ("c.parquet:2", "five"),
        ("more/a.txt", "three\n\nwith two paragraphs\n"),
    ]
    assert read(tmp_path, {"path": "texts/b.jsonl"}) == found[:2]


def test_an_abstract_is_its_title_and_its_sections(tmp_path: Path) -> None:
    sections = [{"label": "AIM", "text": "To see."}, {"label": None, "text": "It was seen."}]
    write_lines(tmp_path / "abstracts.jsonl", {"pmcid": "12", "title": "A trial", "sections": sections})
    (document,) = read(tmp_path, {"kind": "rct-abstracts", "path": "."})
    assert document == Document("PMC12", "A trial\n\nAIM: To see.\nIt was seen.")


def test_the_real_abstracts_are_read(data_root: Path) -> None:
    found = read(data_root, {"kind": "rct-abstracts", "path": "rct-abstracts"})
    assert len({document.id for document in found}) == len(found) == 2961
    assert all(document.text.split("\n")[1] == "" for document in found)


@pytest.mark.parametrize(
    ("content", "entry", "words"),
    [
        ('{"txt": "a"}\n', {"path": "a.jsonl"}, ["a.jsonl, line 1", "the key 'text' is missing", "sources.text"]),
        ('{"text": "a"}\n{"text": 5}\n', {"path": "a.jsonl"}, ["line 2", "the key 'text' is no text"]),
        ('{"text": "a"}\n{"text": \n', {"path": "a.jsonl"}, ["line 2", "not a JSON object on one line"]),
        ("[1]\n", {"path": "a.jsonl"}, ["line 1", "not a JSON object on one line"]),
        ('{"a": 1}\n', {"path": "a.csv"}, ["a.csv is of no kind", ".jsonl, .parquet, .txt"]),
        ("no parquet", {"path": "a.parquet"}, ["a.parquet: cannot be read as parquet"]),
        ('{"title": "a"}\n', {"path": "a.jsonl", "kind": "rct-abstracts"}, ["line 1", "'sections' is not a list"]),
        (
            '{"title": "a", "sections": [{"text": "b"}]}\n',
            {"path": "a.jsonl", "kind": "rct-abstracts"},
            ["line 1", "the key 'pmcid' is missing"],
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    content: str, entry: dict[str, Any], words: list[str], tmp_path: Path
) -> None:
    (tmp_path / entry["path"]).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read(tmp_path, entry)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    pq.write_table(pa.table({"body": ["a"], "n": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"there is no column 'text'.*body, n"):
        read(tmp_path, {"path": "a.parquet"})
    assert read(tmp_path, {"path": "a.parquet", "text": "body"}) == [Document("a.parquet:1", "a")]


def test_an_empty_folder_a_missing_one_and_one_read_twice_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no file of the kinds \.jsonl, \.parquet, \.txt"):
        read(tmp_path, {"path": "empty"})
    with pytest.raises(DataError, match="There is no file or folder"):
        read(tmp_path, {"path": "nowhere"})
    write_lines(tmp_path / "a.jsonl", {"text": "one"})
    with pytest.raises(DataError, match=r"The document a\.jsonl:1 is read twice"):
        read(tmp_path, {"path": "a.jsonl"}, {"path": "a.jsonl"})


def settings(**keys: Any) -> AdaptSettings:
    return AdaptSettings(model="m", **{"test_documents": 5, "validation_documents": 3, **keys})


def test_a_split_takes_each_document_once_and_follows_its_seed() -> None:
    documents = [Document(str(i), f"text {i}") for i in range(40)]
    split = split_documents(documents, settings())
    assert [len(part) for part in (split.train, split.validation, split.test)] == [32, 3, 5]
    assert {d.id for d in (*split.train, *split.held_out)} == {d.id for d in documents}
    assert split == split_documents(documents, settings())
    other = split_documents(documents, settings(split_seed=1))
    assert set(other.test) != set(split.test)
    fewer = split_documents(documents, settings(max_documents=20))
    assert [len(part) for part in (fewer.train, fewer.validation, fewer.test)] == [12, 3, 5]
    assert fewer.test == split.test  # with fewer documents the same ones are held out


def test_too_few_documents_are_refused() -> None:
    documents = [Document(str(i), f"text {i}") for i in range(15)]
    with pytest.raises(DataError, match="There are 15 different documents; 8 are held out") as caught:
        split_documents(documents, settings())
    assert "adapt.test_documents" in caught.value.hint
