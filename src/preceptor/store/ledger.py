"""The ledger: one SQLite file with every answer that a teacher gave, so that nothing is asked or paid twice.

    calls         an answer, by the key of its call, with its tokens and what it cost
    failures      calls that ended without an answer, with the reason; a later run asks them again
    reservations  requests sent under a budget (or lost on the way) whose cost is not known: each counts in full

A call's key is the hash of everything that decides the answer (`Teacher.key`). Keys of endpoints, in the sense of
passwords, never come here: the ledger knows a teacher only by its name.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from preceptor.errors import DataError, PreceptorError, StorageError
from preceptor.records import Completion, Request, TokenLogprob

SCHEMA_VERSION = 2
"""Stands in the file as `user_version`. A change of the tables raises it and says here how old files are read.

1 had the answers alone, under keys made otherwise; it is refused.
"""

APPLICATION_ID = 0x50524350
"""Stands in the file as `application_id` ("PRCP"), so that another program's database is not taken for a ledger."""

BUSY_SECONDS = 30.0
"""How long to wait for another process that is writing; a group is written within milliseconds."""

KEYS_PER_QUERY = 500
"""Older SQLite builds take at most 999 parameters in a statement."""

PICO = 10**12
"""Money is stored in whole picodollars: the cheapest token known costs some 10,000 of them, and sums stay exact."""

# With row ids: rows of a WITHOUT ROWID table live in the index, where each of over a kilobyte drags a page of its own
# along; that took 28 us more of a request and twice the disk.
TABLES = (
    """
CREATE TABLE calls (
    key           TEXT PRIMARY KEY NOT NULL,
    teacher       TEXT NOT NULL,
    request       TEXT NOT NULL,     -- JSON: messages, sampling, item, draw, schema
    text          TEXT NOT NULL,
    finish        TEXT NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    logprobs      TEXT,              -- JSON, where they were asked for
    seconds       REAL NOT NULL,
    picodollars   INTEGER,           -- NULL: the price was not known
    created       TEXT NOT NULL      -- ISO 8601, UTC
)
""",
    """
CREATE TABLE failures (
    key           TEXT PRIMARY KEY NOT NULL,
    teacher       TEXT NOT NULL,
    item          TEXT NOT NULL,
    reason        TEXT NOT NULL,
    hint          TEXT NOT NULL,
    created       TEXT NOT NULL
) WITHOUT ROWID
""",
    """
CREATE TABLE reservations (
    ticket        INTEGER PRIMARY KEY,
    item          TEXT NOT NULL,     -- what the request was about
    tokens        INTEGER NOT NULL,  -- bound of input and output together
    picodollars   INTEGER            -- bound of the cost; NULL: the price was not known
)
""",
)

COLUMNS = "key, text, finish, input_tokens, output_tokens, cached_tokens, logprobs, seconds"
INSERT = "INSERT INTO calls VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"


class Failed(NamedTuple):
    """Why a call has no answer."""

    reason: str
    hint: str


class Spent(NamedTuple):
    """What a ledger's calls come to."""

    tokens: int
    """Input and output together."""
    picodollars: int
    """Of the calls whose price was known."""
    unpriced: int
    """Number of calls without a price."""


class Pace(NamedTuple):
    """What a teacher's answers took, on the average."""

    answers: int
    seconds: float
    """From sending to the whole answer; 0 where nobody measured it."""
    output_tokens: float
    tokens_per_byte: float
    """Input tokens for each byte of the messages."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One end of a call, to be stored: an answer or a failure."""

    key: str
    request: Request
    completion: Completion | None = None
    failed: Failed | None = None
    picodollars: int | None = None
    ticket: int | None = None
    """The reservation that this answer settles: it vanishes in the same transaction."""
    settles: str = ""
    """The same by the reservation's name."""


class Ledger:
    """Every answer that was ever received, by key. A context manager; use it from one thread at a time.

    Opening creates the file and its folder. Several processes may use one ledger. Raises `StorageError` when the file
    cannot be opened or written, `DataError` when it is no ledger or one of another version.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(self.path.parent, error) from error
        try:
            self._db = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._db.close()
            raise self._sentence(error) from error
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
        """Close the file. Everything that `put` returned from is already in it."""
        self._db.close()

    def get(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The answers that are there, by key; keys that were never answered are left out."""
        rows = self._where_key(f"SELECT {COLUMNS} FROM calls", keys)  # noqa: S608 - column names of this module
        return {row[0]: _completion(row) for row in rows}

    def failed(self, keys: Sequence[str]) -> dict[str, Failed]:
        """Why calls have no answer, by key; keys that did not fail are left out."""
        rows = self._where_key("SELECT key, reason, hint FROM failures", keys)
        return {key: Failed(reason, hint) for key, reason, hint in rows}

    def _where_key(self, select: str, keys: Sequence[str], column: str = "key") -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        try:
            for start in range(0, len(keys), KEYS_PER_QUERY):
                part = keys[start : start + KEYS_PER_QUERY]
                found += self._db.execute(f"{select} WHERE {column} IN ({','.join('?' * len(part))})", part)
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        return found

    def forget_seen(self) -> None:
        """Begin a new pass for `first_seen`."""
        try:
            self._db.execute("CREATE TEMP TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY NOT NULL) WITHOUT ROWID")
            self._db.execute("DELETE FROM temp.seen")
        except sqlite3.Error as error:
            raise self._sentence(error) from error

    def first_seen(self, keys: Sequence[str]) -> list[str]:
        """Those of the keys that this pass has not had before, in order.

        They are kept in a temporary table, which SQLite moves to disk when it grows: memory stays flat.
        """
        known = {row[0] for row in self._where_key("SELECT key FROM temp.seen", keys)}
        fresh = [key for key in dict.fromkeys(keys) if key not in known]
        try:
            self._db.execute("BEGIN")
            with self._db:
                self._db.executemany("INSERT INTO temp.seen VALUES (?)", [(key,) for key in fresh])
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        return fresh

    def put(self, teacher: str, entries: Sequence[Entry]) -> None:
        """Store a group in one transaction: all of it or, after an error, nothing.

        Where another run stored an answer to the same call first, that one stays: whoever reads the ledger later sees
        one answer per key. An answer removes an earlier failure of the same call.
        """
        created = datetime.now(UTC).isoformat(timespec="seconds")
        answered = [(e, e.completion) for e in entries if e.completion is not None]
        failed = [(e, e.failed) for e in entries if e.failed is not None]
        with self._transaction():
            self._db.executemany(INSERT, [_row(teacher, e, completion, created) for e, completion in answered])
            self._db.executemany("DELETE FROM failures WHERE key = ?", [(e.key,) for e, _ in answered])
            self._db.executemany(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?, ?)",
                [(e.key, teacher, e.request.item, f.reason, f.hint, created) for e, f in failed],
            )
            self._db.executemany(
                "DELETE FROM reservations WHERE ticket = ?", [(e.ticket,) for e in entries if e.ticket is not None]
            )
            self._db.executemany(
                "DELETE FROM reservations WHERE item = ?", [(e.settles,) for e in entries if e.settles]
            )

    def reserve(self, item: str, tokens: int, picodollars: int | None) -> int:
        """Note that a request is about to be sent that costs so much at most; returns the reservation's number."""
        with self._transaction():
            insert = "INSERT INTO reservations (item, tokens, picodollars) VALUES (?, ?, ?)"
            return int(self._db.execute(insert, (item, tokens, picodollars)).lastrowid or 0)

    def reserved(self, item: str) -> bool:
        """Whether there is a reservation of this name."""
        return bool(self._where_key("SELECT item FROM reservations", [item], "item"))

    def release(self, ticket: int) -> None:
        """Forget a reservation: the request is known to have cost nothing."""
        with self._transaction():
            self._db.execute("DELETE FROM reservations WHERE ticket = ?", (ticket,))

    def spent(self) -> Spent:
        """What all answers cost."""
        return self._total("SELECT sum(input_tokens + output_tokens), sum(picodollars), count(*) FROM calls", "calls")

    def outstanding(self) -> Spent:
        """What the requests may have cost whose end is not known. Between two runs nothing is in flight any more."""
        return self._total("SELECT sum(tokens), sum(picodollars), count(*) FROM reservations", "reservations")

    def _total(self, select: str, table: str) -> Spent:
        try:
            tokens, picodollars, _ = self._db.execute(select).fetchone()
            unpriced = self._db.execute(f"SELECT count(*) FROM {table} WHERE picodollars IS NULL").fetchone()[0]  # noqa: S608
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        return Spent(tokens or 0, picodollars or 0, unpriced)

    def count(self) -> int:
        """Number of answers."""
        try:
            return int(self._db.execute("SELECT count(*) FROM calls").fetchone()[0])
        except sqlite3.Error as error:
            raise self._sentence(error) from error

    def pace(self, teacher: str) -> Pace:
        """What a teacher's answers took so far."""
        bytes_read = (
            "(SELECT sum(length(CAST(json_extract(value, '$.content') AS BLOB))) FROM json_each(request, '$.messages'))"
        )
        select = f"SELECT count(*), avg(seconds), avg(output_tokens), sum(input_tokens) * 1.0 / sum({bytes_read})"
        try:
            where = f"{select} FROM calls WHERE teacher = ? AND input_tokens > 0"
            count, *means = self._db.execute(where, (teacher,)).fetchone()
        except sqlite3.Error as error:
            raise self._sentence(error) from error
        return Pace(count, *(mean or 0.0 for mean in means))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            with self._db:  # commits, or rolls back when a statement fails
                yield
        except sqlite3.Error as error:
            raise self._sentence(error) from error

    def _prepare(self) -> None:
        application, version = self._pragma("application_id"), self._pragma("user_version")
        if (application, version) == (0, 0) and not self._has_tables():
            self._create()
            version = self._pragma("user_version")
        elif application != APPLICATION_ID:
            raise DataError(
                f"{self.path}: this is a database of another program, not a ledger.",
                "Name another file for the ledger.",
            )
        if version != SCHEMA_VERSION:
            raise DataError(
                f"{self.path}: this ledger has version {version}, this Preceptor reads version {SCHEMA_VERSION}.",
                "Use the Preceptor that wrote it, or name another file for the ledger.",
            )
        # An answer survives the death of the process; a power cut may lose the last few, which are then asked again.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")

    def _create(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            if not self._has_tables():  # another process may have been quicker
                for table in TABLES:
                    self._db.execute(table)
                self._db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _has_tables(self) -> bool:
        return bool(self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])

    def _pragma(self, name: str) -> int:
        return int(self._db.execute(f"PRAGMA {name}").fetchone()[0])

    def _sentence(self, error: sqlite3.Error) -> PreceptorError:
        code = getattr(error, "sqlite_errorcode", None)
        primary = code & 0xFF if code is not None else None  # the low byte names the class of the error
        if primary in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return DataError(
                f"{self.path}: this is not a ledger, or it is damaged ({error}).",
                "Name another file for the ledger, or restore this one from a copy.",
            )
        reason, hint = SENTENCES.get(primary or 0, (str(error), GO_ON))
        return StorageError(f"Cannot use the ledger {self.path}: {reason}.", hint)


GO_ON = "What was answered before is kept; the same command goes on from there."
SENTENCES: Mapping[int, tuple[str, str]] = {
    sqlite3.SQLITE_FULL: ("no space left on the disk", f"Free some space. {GO_ON}"),
    sqlite3.SQLITE_READONLY: ("it may not be written to", "Change its permissions or choose another folder."),
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "Check that the folder exists and may be written to."),
    sqlite3.SQLITE_PERM: ("permission denied", "Change its permissions or choose another folder."),
    sqlite3.SQLITE_BUSY: ("another process is writing to it", "Wait for the other run to end, or stop it."),
    sqlite3.SQLITE_IOERR: ("the disk reports an error, or is full", f"Check the disk. {GO_ON}"),
}


_encode = json.JSONEncoder(ensure_ascii=False).encode  # made once: json.dumps makes one for every call


def _row(teacher: str, entry: Entry, answer: Completion, created: str) -> tuple[Any, ...]:
    asked = _encode(entry.request.plain())
    logprobs = json.dumps([[t.token, t.logprob, dict(t.top)] for t in answer.logprobs]) if answer.logprobs else None
    tokens = (answer.input_tokens, answer.output_tokens, answer.cached_tokens)
    end = (logprobs, answer.seconds, entry.picodollars, created)
    return (entry.key, teacher, asked, answer.text, answer.finish, *tokens, *end)


def _completion(row: tuple[Any, ...]) -> Completion:
    key, text, finish, read, written, cached, logprobs, seconds = row
    tokens = tuple(TokenLogprob(*token) for token in json.loads(logprobs)) if logprobs else ()
    return Completion(text, finish, read, written, key, cached, tokens, seconds)
