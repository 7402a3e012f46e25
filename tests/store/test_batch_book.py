"""The book of batches: what it must never forget, and never allow."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preceptor.errors import DataError, StorageError
from preceptor.store.batches import BatchBook, End


@pytest.fixture
def book(tmp_path: Path) -> Iterator[BatchBook]:
    with BatchBook(tmp_path / "run" / "batches.sqlite", "a teacher") as opened:
        opened.want(["k1", "k2", "k3"])
        yield opened


def submit(book: BatchBook, tag: str, *keys: str) -> None:
    book.intend(tag, keys)
    book.sending(tag)
    book.submitted(tag, f"batch of {tag}")


def test_the_steps_of_a_batch_are_seen_by_the_next_process(book: BatchBook) -> None:
    book.intend("t", ["k1", "k2"])
    with BatchBook(book.path, "a teacher") as other:
        assert [(e.tag, e.state, e.requests) for e in other.unresolved()] == [("t", "intended", 2)]
    before = time.time()
    book.sending("t")
    with BatchBook(book.path, "a teacher") as other:
        (entry,) = other.unresolved()
        assert (entry.state, before <= entry.sent <= time.time()) == ("sending", True)
    book.submitted("t", "batch_1")
    with BatchBook(book.path, "a teacher") as other:
        assert other.unresolved() == []
        other.want(["k2"])
        assert [entry.batch for entry in other.waiting()] == ["batch_1"]
        assert other.known() == {"batch_1"}


def test_a_key_is_open_in_one_batch_at_a_time_and_an_intention_is_whole_or_none(book: BatchBook) -> None:
    submit(book, "t", "k1")
    with pytest.raises(StorageError, match="another process"):
        book.intend("u", ["k2", "k1"])
    assert book.unresolved() == []
    assert book.free(3) == {"k2", "k3"}
    book.void("t")
    book.intend("u", ["k2", "k1"])
    assert book.free(3) == {"k3"}


def test_only_failures_that_may_pass_are_free_again_and_not_for_ever(book: BatchBook) -> None:
    submit(book, "t", "k1", "k2", "k3")
    book.collected("t", {"k1": End("answered"), "k2": End("final", "no"), "k3": End("again", "later")})
    assert book.waiting() == []
    assert book.free(3) == {"k3"}
    assert book.free(1) == set()
    submit(book, "u", "k3")
    book.collected("u", {"k3": End("again", "later still")})
    assert book.free(2) == set()
    assert book.failures() == {"k2": (End("final", "no"), 1), "k3": (End("again", "later still"), 2)}
    book.told()
    assert book.failures() == {}
    assert book.free(1) == {"k2", "k3"}


def test_what_failed_once_and_was_answered_then_is_no_failure(book: BatchBook) -> None:
    submit(book, "t", "k1")
    book.collected("t", {"k1": End("again")})
    submit(book, "u", "k1")
    book.collected("u", {"k1": End("answered")})
    assert book.failures() == {}


def test_a_void_batch_spends_no_try(book: BatchBook) -> None:
    submit(book, "t", "k1", "k2", "k3")
    book.void("t", "full")
    assert book.free(1) == {"k1", "k2", "k3"}
    assert book.smallest("full") == 3
    assert book.smallest("other") is None


def test_an_answer_that_is_wanted_again_is_open_again(book: BatchBook) -> None:
    submit(book, "t", "k1", "k2")
    book.collected("t", {"k1": End("answered"), "k2": End("answered")})
    book.want(["k2"])
    assert [entry.tag for entry in book.waiting()] == ["t"]
    assert book.open_keys("t") == ["k2"]
    assert book.free(3) == set()


def test_teachers_do_not_see_each_others_batches(book: BatchBook) -> None:
    submit(book, "t", "k1")
    book.void("t", "full")
    book.intend("u", ["k2"])
    with BatchBook(book.path, "another teacher") as other:
        other.want(["k1"])
        assert other.unresolved() == []
        assert other.smallest("full") is None


def test_many_keys_are_asked_about_at_once(book: BatchBook) -> None:
    keys = [f"key {n}" for n in range(3000)]
    book.want(keys)
    submit(book, "t", *keys[:2000])
    assert book.free(3) == set(keys[2000:])


def test_another_file_is_not_taken_for_a_book(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database " * 100)
    with pytest.raises(DataError, match="no book of batches"):
        BatchBook(tmp_path / "text", "a teacher")
    with sqlite3.connect(tmp_path / "other") as other:
        other.execute("CREATE TABLE t (x)")
    other.close()
    with pytest.raises(DataError, match="another program"):
        BatchBook(tmp_path / "other", "a teacher")


def test_a_book_of_another_version_is_refused(book: BatchBook) -> None:
    with sqlite3.connect(book.path) as other:
        other.execute("PRAGMA user_version = 2")
    other.close()
    with pytest.raises(DataError, match="version 2, this Preceptor reads version 1"):
        BatchBook(book.path, "a teacher")


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="Cannot write"):
        BatchBook(tmp_path / "file" / "batches.sqlite", "a teacher")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="Cannot use the book of batches"):
        BatchBook(tmp_path / "folder", "a teacher")
