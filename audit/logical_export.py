"""A whole store as lines of text, and a store made from them: for a change of engine, and for a reader without SQLite.

The rows that are the record (entries, attachments, sealed rows, checkpoints) are written out; projections are not, they are made
again. Each line is a word, a blank and the row; the last is the SHA-256 of all before it. Format `dosewright-export/1`:

    dosewright-export/1
    meta KEY VALUE
    entry CANONICAL-BYTES
    checkpoint BASE64
    blob SHA256 BASE64
    sealed TABLE BASE64-OF-ID BASE64
    end SHA256
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

from audit.append_statements import INSERT_ENTRY, INSERT_INDEX, PUT_OBJECT
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.chain import GENESIS
from audit.checkpoint import parse_checkpoint, split_note
from audit.database import record_errors as driver_errors
from audit.errors import BackupInvalid, DosewrightError
from audit.events import Entry
from audit.growth import terms_of_entry
from audit.places import Place, database_at
from audit.search_index import BLOCK, rows_of
from audit.sqlite_file import new_store_file, record_errors
from audit.store import checkpoint_link

FORMAT = "dosewright-export/1"
_LONGEST_LINE = 1 << 28


def export_lines(place: Place) -> Iterator[bytes]:
    """Give the export of a store, line by line, from one snapshot. Raises StoreMissing, RecordError."""
    digest = hashlib.sha256()
    for line in _rows(place):
        digest.update(line)
        yield line
    yield f"end {digest.hexdigest()}\n".encode()


def _rows(place: Place) -> Iterator[bytes]:
    database = database_at(place)
    with closing(database.connect_checker()) as connection, driver_errors(database):
        yield f"{FORMAT}\n".encode()
        for key, value in connection.execute("SELECT key, value FROM meta ORDER BY key"):
            yield f"meta {key} {value}\n".encode()
        for (line,) in connection.execute("SELECT canonical FROM entries ORDER BY seq"):
            yield b"entry " + line + b"\n"
        for (note,) in connection.execute("SELECT note FROM checkpoints ORDER BY size"):
            yield b"checkpoint " + base64.b64encode(note.encode()) + b"\n"
        for sha256, data in connection.execute("SELECT sha256, data FROM blobs ORDER BY sha256"):
            yield b"blob " + sha256.encode() + b" " + base64.b64encode(data) + b"\n"
        for table, query in _SEALED.items():
            for id_, sealed in connection.execute(query):
                yield b" ".join([b"sealed", table.encode(), base64.b64encode(id_.encode()), base64.b64encode(sealed)]) + b"\n"


_SEALED = {
    "credentials": "SELECT id, sealed FROM credentials ORDER BY id",
    "patients": "SELECT id, sealed FROM patients ORDER BY id",
}
_PUT_SEALED = {
    "credentials": "INSERT INTO credentials (id, sealed) VALUES (?, ?)",
    "patients": "INSERT INTO patients (id, sealed) VALUES (?, ?)",
}


def rebuild(lines: Iterable[bytes], path: Path) -> None:
    """Make a store at `path` from an export; every projection is made anew. What it holds is for `verify_store` to judge.

    Raises BackupInvalid at the first line that is none, StoreExists, StoreMissing, RecordError.
    """
    with new_store_file(path) as draft, closing(sqlite3.connect(draft, isolation_level=None)) as connection, record_errors(path):
        connection.execute("BEGIN")
        _Rebuilding(connection).take(_checked(lines))
        connection.execute("COMMIT")


def _checked(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes, bytes]]:
    """Give number, word and row of each line between the first and the last, and hold the last against what came before."""
    digest, ended, number = hashlib.sha256(), False, 0
    for number, line in enumerate(lines, 1):
        word, _, row = line.removesuffix(b"\n").partition(b" ")
        if ended or not line.endswith(b"\n") or len(line) > _LONGEST_LINE:
            raise _bad(number, "follows the end, is cut off or too long")
        if word == b"end":
            if row.decode("ascii", "replace") != digest.hexdigest():
                raise _bad(number, "is not the digest of the lines before it")
            ended = True
            continue
        digest.update(line)
        if number == 1 and line != f"{FORMAT}\n".encode():
            raise _bad(number, f"is not {FORMAT}")
        if number > 1:
            yield number, word, row
    if not ended:
        raise _bad(number, "is the last, and not the end")


def _bad(number: int, what: str) -> BackupInvalid:
    return BackupInvalid(f"Line {number} of the export {what}.", remedy="Take another copy of the export.")


class _Rebuilding:
    """The rows of a store as they are read. Lifetime and concurrency: those of its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection, self._execute = connection, connection.execute
        self._objects: dict[tuple[str, str], tuple[int, int, str, JsonObject]] = {}
        self._size, self._checkpoints = 0, GENESIS

    def take(self, rows: Iterable[tuple[int, bytes, bytes]]) -> None:
        for number, word, row in rows:
            try:
                self._row(word, row)
            except (KeyError, ValueError, TypeError, binascii.Error, RecursionError, sqlite3.IntegrityError, DosewrightError) as error:
                raise _bad(number, f"is no row of a store ({error})") from error
        self._write_index()
        for (type_, id_), (version, last, digest, state) in self._objects.items():
            self._execute(PUT_OBJECT, (type_, id_, version, last, digest, canonical(state).decode()))
        self._execute("INSERT INTO head (id, checkpoints) VALUES (0, ?)", (self._checkpoints,))

    def _row(self, word: bytes, row: bytes) -> None:
        match word:
            case b"meta":
                key, _, value = row.decode().partition(" ")
                self._execute("INSERT INTO meta (key, value) VALUES (?, ?)", (key, value))
            case b"entry":
                self._entry(row)
            case b"checkpoint":
                note = base64.b64decode(row, validate=True).decode()
                size = parse_checkpoint(split_note(note)[0]).size
                self._execute("INSERT INTO checkpoints (size, note) VALUES (?, ?)", (size, note))
                self._checkpoints = checkpoint_link(self._checkpoints, note)
            case b"blob":
                sha256, data = row.split(b" ")
                content = base64.b64decode(data, validate=True)
                if sha256_hex(content) != sha256.decode():
                    raise ValueError("an attachment does not have its digest")
                self._execute("INSERT INTO blobs (sha256, bytes, data) VALUES (?, ?, ?)", (sha256.decode(), len(content), content))
            case b"sealed":
                table, id_, data = row.split(b" ")
                values = base64.b64decode(id_, validate=True).decode(), base64.b64decode(data, validate=True)
                self._execute(_PUT_SEALED[table.decode()], values)
            case _:
                raise ValueError("unknown word")

    def _entry(self, row: bytes) -> None:
        entry = Entry(row)
        subject = (entry.subject.type, entry.subject.id)
        self._execute(INSERT_ENTRY, (self._size, row))
        version, _, _, state = self._objects.get(subject, (0, 0, GENESIS, {}))
        self._objects[subject] = (version + 1, self._size, entry.digest, {**state, **entry.new})
        self._size += 1

    def _write_index(self) -> None:
        """Write the search index up to the last checkpoint, as the store that signs the next one expects it."""
        ((reach,),) = self._execute("SELECT coalesce(max(size), 0) FROM checkpoints").fetchall()
        rows = self._execute("SELECT canonical FROM entries WHERE seq < ? ORDER BY seq", (reach,))
        while lines := rows.fetchmany(BLOCK):
            terms = [terms_of_entry(Entry(line)) for (line,) in lines]
            self._connection.executemany(INSERT_INDEX, rows_of(terms))


def lines_in(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """Cut a stream of bytes into lines, each with its line feed; what is left at the end is the last. Raises BackupInvalid (too long)."""
    held = b""
    for block in blocks:
        held += block
        *whole, held = held.split(b"\n")
        yield from (line + b"\n" for line in whole)
        if len(held) > _LONGEST_LINE:
            raise BackupInvalid("A line of the export is too long.", remedy="Take another copy of the export.")
    if held:
        yield held
