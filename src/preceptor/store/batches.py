"""What was handed in to a provider's batch interface: one small SQLite file, so that nothing is handed in twice.

A batch is paid for once it is handed in, and collected hours later, perhaps by another process. So the book holds

1. the *intention*, with a tag of its own and the keys of its requests, before anything is sent;
2. that the provider is about to be called (`sending`): from here on the batch may exist;
3. the provider's id of the batch, once it is known (`submitted`);
4. what became of each request, once whoever asked has stored the answers.

A process that dies in 1 has submitted nothing; one that dies in 2 leaves the question to the provider, by the tag.
Until it is answered the keys stay taken: an index of the database lets no key be open in two batches. Messages, answers
and keys of endpoints never come here.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from preceptor.errors import DataError, PreceptorError, StorageError

VERSION = 1
"""Stands in the file as `user_version`."""

APPLICATION_ID = 0x50524342
"""Stands in the file as `application_id` ("PRCB"), so that another program's database is not taken for a book."""

BUSY_SECONDS = 30.0

TABLES = """
CREATE TABLE batches (
    tag      TEXT PRIMARY KEY NOT NULL,
    teacher  TEXT NOT NULL,
    state    TEXT NOT NULL,            -- intended, sending, submitted, void
    requests INTEGER NOT NULL,
    sent     REAL NOT NULL DEFAULT 0,  -- Unix time at which the provider was called
    batch    TEXT NOT NULL DEFAULT '', -- the provider's id
    note     TEXT NOT NULL DEFAULT ''
);
CREATE TABLE items (
    tag    TEXT NOT NULL REFERENCES batches,
    key    TEXT NOT NULL,              -- the request's key in the ledger
    state  TEXT NOT NULL,              -- open, answered, again, final, told, void
    reason TEXT NOT NULL DEFAULT '',
    said   TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (tag, key)
) WITHOUT ROWID;
CREATE UNIQUE INDEX open_once ON items (key) WHERE state = 'open';
CREATE INDEX items_by_key ON items (key, state);
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch, or the intention of one."""

    tag: str
    state: str
    requests: int
    sent: float
    batch: str


@dataclass(frozen=True, slots=True)
class End:
    """What became of one request in one batch."""

    state: str
    """`answered`; `again` (worth another try); `final` (it would fail again); `void` (nothing it could help)."""
    reason: str = ""
    said: str = ""
    """What the provider said."""


class BatchBook:
    """The batches of one run, by teacher. A context manager; use it from the thread that opened it.

    Every method is one transaction, on the disk when it returns. Raises `StorageError` when the file cannot be opened
    or written, `DataError` when it is something else.
    """

    def __init__(self, path: Path | str, teacher: str) -> None:
        self.path = Path(path)
        self._teacher = teacher
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(self.path.parent, error) from error
        with self._sentences():
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            with self._sentences():
                self._prepare()
        except PreceptorError:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    # --- the life of a batch --------------------------------------------------------------------------------------

    def intend(self, tag: str, keys: Sequence[str]) -> None:
        """Write down a batch of these keys before anything of it is sent.

        Raises `StorageError` when one of them is open in another batch: another process was quicker.
        """
        try:
            with self._writing() as db:
                db.execute(
                    "INSERT INTO batches (tag, teacher, state, requests) VALUES (?, ?, 'intended', ?)",
                    (tag, self._teacher, len(keys)),
                )
                db.executemany("INSERT INTO items (tag, key, state) VALUES (?, ?, 'open')", [(tag, k) for k in keys])
        except sqlite3.IntegrityError as error:
            raise StorageError(
                f"{self.path}: another process has handed in some of these requests.",
                "Let one run at a time use a folder.",
            ) from error

    def sending(self, tag: str) -> None:
        """The provider is called now: from here on the batch may exist."""
        with self._writing() as db:
            db.execute("UPDATE batches SET state = 'sending', sent = ? WHERE tag = ?", (time.time(), tag))

    def submitted(self, tag: str, batch: str) -> None:
        """The batch exists, under the provider's id."""
        with self._writing() as db:
            db.execute("UPDATE batches SET state = 'submitted', batch = ? WHERE tag = ?", (batch, tag))

    def void(self, tag: str, note: str = "") -> None:
        """Nothing of the batch was or will be worked on: its requests are free again, and no try was spent."""
        with self._writing() as db:
            db.execute("UPDATE batches SET state = 'void', note = ? WHERE tag = ?", (note, tag))
            db.execute("UPDATE items SET state = 'void' WHERE tag = ? AND state = 'open'", (tag,))

    def collected(self, tag: str, ends: Mapping[str, End]) -> None:
        """What became of the open requests of a batch, by key; those that are not named stay open."""
        rows = [(end.state, end.reason, end.said, tag, key) for key, end in ends.items()]
        with self._writing() as db:
            db.executemany(
                "UPDATE items SET state = ?, reason = ?, said = ? WHERE tag = ? AND key = ? AND state = 'open'", rows
            )

    # --- questions about the wanted requests ----------------------------------------------------------------------

    def want(self, keys: Sequence[str]) -> None:
        """The requests that the questions below are about. What was answered before is open again.

        Whoever asks again has lost the answer, and a batch may be downloaded as often as one likes.
        """
        with self._writing() as db:
            db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (key TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID")
            db.execute("DELETE FROM wanted")
            db.executemany("INSERT INTO wanted VALUES (?)", [(key,) for key in keys])
            db.execute("UPDATE items SET state = 'open' WHERE state = 'answered' AND key IN (SELECT key FROM wanted)")

    def unresolved(self) -> list[Entry]:
        """Intentions of which it is not known here whether they became batches, of any keys, the oldest first."""
        return self._entries("state IN ('intended', 'sending')")

    def waiting(self) -> list[Entry]:
        """Submitted batches with a wanted request that is still open, the oldest first."""
        return self._entries(
            "state = 'submitted' AND tag IN (SELECT tag FROM items WHERE state = 'open' AND key IN "
            "(SELECT key FROM wanted))"
        )

    def open_keys(self, tag: str) -> list[str]:
        """Keys of the batch whose end is not known yet."""
        rows = self._rows("SELECT key FROM items WHERE tag = ? AND state = 'open'", tag)
        return [str(key) for (key,) in rows]

    def free(self, rounds: int) -> set[str]:
        """Wanted keys that may be handed in: not open, not at their end, and in fewer than `rounds` batches yet."""
        rows = self._rows(
            "SELECT key FROM wanted WHERE "
            "NOT EXISTS (SELECT 1 FROM items i WHERE i.key = wanted.key AND i.state IN ('open', 'answered', 'final')) "
            "AND (SELECT count(*) FROM items i WHERE i.key = wanted.key AND i.state = 'again') < ?",
            rounds,
        )
        return {str(key) for (key,) in rows}

    def failures(self) -> dict[str, tuple[End, int]]:
        """Wanted keys that failed -> how, the last time, and in how many batches."""
        rows = self._rows(
            "SELECT i.key, i.state, i.reason, i.said FROM items i JOIN batches b USING (tag) JOIN wanted w USING (key) "
            "WHERE i.state IN ('again', 'final') AND NOT EXISTS "
            "(SELECT 1 FROM items a WHERE a.key = i.key AND a.state = 'answered') ORDER BY b.rowid"
        )
        found: dict[str, tuple[End, int]] = {}
        for key, state, reason, said in rows:
            found[key] = (End(state, reason, said), found[key][1] + 1 if key in found else 1)
        return found

    def told(self) -> None:
        """Whoever asked knows of the failures: asked again, these requests begin anew."""
        with self._writing() as db:
            db.execute(
                "UPDATE items SET state = 'told' WHERE state IN ('again', 'final') AND key IN (SELECT key FROM wanted)"
            )

    def known(self) -> set[str]:
        """The provider's ids of all batches that are accounted for."""
        return {str(batch) for (batch,) in self._rows("SELECT batch FROM batches WHERE batch <> ''")}

    def smallest(self, note: str) -> int | None:
        """Requests of the smallest void batch with this note; None when there is none."""
        ((count,),) = self._rows(
            "SELECT min(requests) FROM batches WHERE state = 'void' AND note = ? AND teacher = ?", note, self._teacher
        )
        return None if count is None else int(count)

    # --- SQLite ---------------------------------------------------------------------------------------------------

    def _entries(self, where: str) -> list[Entry]:
        rows = self._rows(
            f"SELECT tag, state, requests, sent, batch FROM batches WHERE teacher = ? AND {where} ORDER BY rowid",  # noqa: S608 - `where` is a constant of this class
            self._teacher,
        )
        return [
            Entry(str(tag), str(state), int(count), float(sent), str(batch)) for tag, state, count, sent, batch in rows
        ]

    def _rows(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        with self._sentences():
            return list(self._db.execute(query, values))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._sentences():
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:  # commits, or rolls back when a statement fails
                yield self._db

    def _prepare(self) -> None:
        # SQLite's default journal with synchronous = FULL: what is written here survives a power cut too.
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not tables:
            self._db.executescript(
                f"BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
        found = tuple(self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if found[0] != APPLICATION_ID:
            raise DataError(f"{self.path}: this is a database of another program, not a book of batches.")
        if found[1] != VERSION:
            raise DataError(
                f"{self.path}: this book of batches has version {found[1]}, this Preceptor reads version {VERSION}.",
                "Use the Preceptor that wrote it until its batches are collected.",
            )

    @contextlib.contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF  # the low byte names the class of the error
            if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise DataError(f"{self.path}: this is no book of batches, or it is damaged ({error}).") from error
            raise StorageError(
                f"Cannot use the book of batches {self.path}: {error}.",
                "Nothing is lost: the same command goes on from there.",
            ) from error
