"""The ledger keeps every answer, says in a sentence why it cannot, and never takes a foreign file for its own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from preceptor.errors import DataError, StorageError
from preceptor.records import Completion, Message, Request, Sampling, TokenLogprob
from preceptor.store.ledger import SCHEMA_VERSION, Entry, Failed, Ledger

TEACHER = "model at http://127.0.0.1:1/v1"


def request(number: int) -> Request:
    return Request((Message("user", f"question {number} é 漢"),), Sampling(temperature=0.8), item=f"item-{number}")


def entry(asked: Request, completion: Completion, **more: int) -> Entry:
    return Entry(asked.key(TEACHER), asked, completion, **more)


def answer(number: int) -> Completion:
    tokens = (TokenLogprob("yes", -0.25, {"yes": -0.25, "no": -1.5}),)
    return Completion(f"answer {number} é\x00漢", "length", 10 + number, 5 + number, "", number, tokens, 0.5)


def pairs(*numbers: int) -> list[Entry]:
    return [entry(request(n), answer(n)) for n in numbers]


def test_what_was_put_is_there_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "that is new" / "ledger.sqlite"
    keys = [request(n).key(TEACHER) for n in range(3)]
    with Ledger(path) as ledger:
        assert ledger.get(keys) == {}
        ledger.put(TEACHER, pairs(0, 1))
        assert ledger.count() == 2
    with Ledger(path) as ledger:
        assert ledger.get(keys) == {keys[n]: replace(answer(n), call=keys[n]) for n in (0, 1)}
        assert ledger.get([]) == {}


def test_a_query_for_more_keys_than_a_statement_takes(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(*range(1200)))
        found = ledger.get([request(n).key(TEACHER) for n in range(2400)])
    assert len(found) == 1200


def test_the_same_question_to_another_teacher_is_another_call(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(0))
        assert ledger.get([request(0).key("another teacher")]) == {}


def test_rows_say_what_was_asked(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(7))
    asked, teacher, created = (
        sqlite3.connect(tmp_path / "ledger").execute("SELECT request, teacher, created FROM calls").fetchone()
    )
    content = json.loads(asked)
    assert content["messages"] == [{"role": "user", "content": "question 7 é 漢"}]
    assert (content["item"], content["draw"], content["sampling"]["temperature"]) == ("item-7", 0, 0.8)
    assert teacher == TEACHER
    assert created.endswith("+00:00")


def test_the_first_answer_to_a_request_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as one, Ledger(tmp_path / "ledger") as other:
        one.put(TEACHER, pairs(0))
        other.put(TEACHER, [entry(request(0), Completion("another answer")), *pairs(1)])
        held = other.get([request(n).key(TEACHER) for n in (0, 1)])
        assert held[request(0).key(TEACHER)].text == "answer 0 é\x00漢"
        assert held[request(1).key(TEACHER)].text == "answer 1 é\x00漢"
        assert one.count() == 2


def test_a_group_is_stored_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(0))
        bad = entry(request(2), Completion(text=None))  # type: ignore[arg-type]
        with pytest.raises(StorageError):
            ledger.put(TEACHER, [*pairs(1), bad])
        assert ledger.count() == 1
        ledger.put(TEACHER, pairs(1))  # and the ledger goes on working
        assert ledger.count() == 2


def test_a_full_disk_is_a_sentence_and_keeps_what_was_stored(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(0))
        pages = ledger._db.execute("PRAGMA page_count").fetchone()[0]
        ledger._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(StorageError, match=r"no space left on the disk.*the same command goes on") as caught:
            ledger.put(TEACHER, pairs(*range(1, 200)))
        assert str(tmp_path / "ledger") in caught.value.message
        assert ledger.count() == 1


@pytest.mark.parametrize("content", [b"PK\x03\x04 certainly not a database " * 40, b'{"key": "value"}\n' * 100])
def test_another_kind_of_file_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"notes\.txt: this is not a ledger"):
        Ledger(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "theirs.sqlite"
    theirs = sqlite3.connect(path)
    theirs.execute("CREATE TABLE songs (title TEXT)")
    theirs.commit()
    theirs.close()
    before = path.read_bytes()
    with pytest.raises(DataError, match="a database of another program"):
        Ledger(path)
    assert path.read_bytes() == before


def test_a_ledger_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(
        DataError, match=f"has version {SCHEMA_VERSION + 1}, this Preceptor reads version {SCHEMA_VERSION}"
    ):
        Ledger(path)


def test_a_folder_in_the_place_of_the_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="it cannot be opened"):
        Ledger(tmp_path)


def test_a_file_in_the_place_of_the_folder_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="Cannot write"):
        Ledger(tmp_path / "file" / "ledger")


def test_a_ledger_that_may_only_be_read_can_be_read(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.put(TEACHER, pairs(0))
        ledger._db.execute("PRAGMA query_only = ON")
        assert ledger.get([request(0).key(TEACHER)])
        with pytest.raises(StorageError, match="may not be written to"):
            ledger.put(TEACHER, pairs(1))


def test_a_writer_waits_for_another_one(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        other = sqlite3.connect(tmp_path / "ledger", isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
        began = time.monotonic()
        ledger.put(TEACHER, pairs(0))
        assert time.monotonic() - began > 0.2
        assert ledger.count() == 1
        other.close()


def test_a_failure_is_kept_with_its_reason_until_an_answer_comes(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        asked, key = request(0), request(0).key(TEACHER)
        for reason in ("Too long.", "Hung up."):
            ledger.put(TEACHER, [Entry(key, asked, failed=Failed(reason, "a hint"))])
        assert ledger.failed([key, "another"]) == {key: Failed("Hung up.", "a hint")}
        assert (ledger.get([key]), ledger.count()) == ({}, 0)
        ledger.put(TEACHER, pairs(0))
        assert ledger.failed([key]) == {}


def test_a_reservation_counts_until_its_answer_is_stored_or_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        tickets = [ledger.reserve("item", 100, n) for n in (1, 20, 300)]
    with Ledger(path) as ledger:  # as after a kill
        assert ledger.outstanding() == (300, 321, 0)
        ledger.put(TEACHER, [entry(request(0), answer(0), picodollars=7, ticket=tickets[1])])
        ledger.release(tickets[0])
        assert ledger.outstanding() == (100, 300, 0)
        assert ledger.spent() == (15, 7, 0)
        ledger.put(TEACHER, pairs(1))
        assert ledger.spent() == (15 + 17, 7, 1)  # one call of unknown price


def test_each_key_is_seen_first_once_in_a_pass(tmp_path: Path) -> None:
    with Ledger(tmp_path / "ledger") as ledger:
        for _ in range(2):
            ledger.forget_seen()
            assert ledger.first_seen(["a", "b", "a"]) == ["a", "b"]
            assert ledger.first_seen(["c", "b"]) == ["c"]


WRITER = """
import sys
from preceptor.records import Completion, Message, Request, Sampling
from preceptor.store.ledger import Entry, Ledger
with Ledger(sys.argv[1]) as ledger:
    for n in range(100000):
        request = Request((Message("user", f"question {n}"),), Sampling(), item=str(n))
        ledger.put("t", [Entry(request.key("t"), request, Completion("x" * 500))])
        print(n, flush=True)
"""


def test_what_was_put_outlives_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        last = [int(child.stdout.readline()) for _ in range(40)][-1]
        os.kill(child.pid, signal.SIGKILL)
        last = max([last, *(int(line) for line in child.stdout.read().split("\n")[:-1])])
    with Ledger(path) as ledger:
        keys = [Request((Message("user", f"question {n}"),), Sampling(), item=str(n)).key("t") for n in range(last + 1)]
        assert len(ledger.get(keys)) == last + 1
