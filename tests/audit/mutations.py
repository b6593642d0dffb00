"""Ways to change a store, each as the owner of the disk could, without the store's key."""

from __future__ import annotations

import json
import random
import sqlite3
from pathlib import Path

from audit import chain, tables
from audit.canonical import canonical
from audit.chain import GENESIS, entry_digest
from audit.checkpoint import SigningKey, format_checkpoint
from audit.database import Connection
from audit.places import Place
from audit.store import checkpoint_link
from tests.audit.engines import KEYS, TABLES, Engine, rows

KINDS = (
    "bit of the file", "bit of a value", "swapped", "dropped", "repeated", "re-chained", "truncated", "forged signature", "own key",
    "row deleted", "row copied", "edited projection",
)  # fmt: skip
_COLUMNS = [(table.name, column.name) for table in tables.METADATA.sorted_tables for column in table.columns]


def mutate(kind: str, engine: Engine, store: Place, key: SigningKey, generator: random.Random) -> tuple[Place, str | None]:
    """Make a changed copy of a closed store; return it with a word that a report on it must name, None where nothing was changed.

    `key` is the forger's, of the same name as the store's.
    """
    to = engine.copy(store, "changed")
    if kind == "bit of the file":
        return to, _flip(Path(store), Path(to), generator)
    place: str | None
    with engine.tampering(to) as connection:
        try:
            place = _change(kind, connection, key, generator)
        except (*engine.refusals, UnicodeDecodeError):
            place = None  # the changed key is another row's, or the engine holds no such text
    return to, place


def remake_tail(engine: Engine, place: Place, first: int, generator: random.Random) -> None:
    """Change what no projection shows of one entry of a closed store, and link all after it anew; checkpoints stay."""
    with engine.tampering(place) as connection:
        lines = [row[0] for row in connection.execute("SELECT canonical FROM entries ORDER BY seq")]
        _edit(lines, first, generator)
        _put_entries(connection, lines)
        _put_head(connection, lines)


def _flip(store: Path, to: Path, generator: random.Random) -> str | None:
    data = bytearray(store.read_bytes())
    data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    to.write_bytes(bytes(data))
    return "" if _contents(to) != _contents(store) else None


def _contents(path: Path) -> object:
    """Return everything that a reader of the file is told."""
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)
    connection.text_factory = bytes
    try:
        rows = [
            connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in (*TABLES, "sqlite_master") if table != "head"
        ]
        return [*rows, connection.execute("SELECT * FROM head").fetchall(), connection.execute("PRAGMA integrity_check").fetchall()]
    except (sqlite3.Error, UnicodeDecodeError) as error:
        return str(error)
    finally:
        connection.close()


def _change(kind: str, connection: Connection, key: SigningKey, generator: random.Random) -> str:
    lines = [row[0] for row in connection.execute("SELECT canonical FROM entries ORDER BY seq")]
    one, two = sorted(generator.sample(range(1, len(lines)), 2))
    match kind:
        case "bit of a value":
            return _value(connection, generator)
        case "row deleted" | "row copied":
            return _row(kind, connection, generator)
        case "edited projection":
            return _projection(connection, generator)
        case "forged signature":
            size, note = generator.choice(connection.execute("SELECT size, note FROM checkpoints").fetchall())
            forged = key.sign_note(note.partition("\n\n")[0] + "\n")
            connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (forged, size))
            _put_head(connection, lines)
            return "checkpoints"
        case "swapped":
            lines[one], lines[two] = lines[two], lines[one]
        case "dropped":
            del lines[one]
        case "repeated":
            lines.insert(two, lines[one])
        case "truncated":
            del lines[two:]
        case "re-chained" | "own key":
            _edit(lines, one, generator)
    _put_entries(connection, lines)
    if kind == "own key":
        _sign_anew(connection, lines, key)
    _put_head(connection, lines)
    return "entries row seq=0" if kind == "own key" else "checkpoints" if kind in ("re-chained", "truncated") else "entries"


def _value(connection: Connection, generator: random.Random) -> str:
    table, column = generator.choice(_COLUMNS)
    row = generator.choice(rows(connection, table))
    value = row[column]
    where = " AND ".join(f"{key} = ?" for key in KEYS[table])
    if isinstance(value, int):
        changed: object = value ^ 1 << generator.randrange(10, 30)
    else:
        data = bytearray(value if isinstance(value, bytes) else str(value).encode())
        data[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
        changed = bytes(data)
    mark = "?"
    if isinstance(value, str) and isinstance(connection, sqlite3.Connection):
        mark = "CAST(? AS TEXT)"
    elif isinstance(value, str):
        changed = bytes(data).decode()
    connection.execute(f"UPDATE {table} SET {column} = {mark} WHERE {where}", (changed, *(row[key] for key in KEYS[table])))
    return table


def _row(kind: str, connection: Connection, generator: random.Random) -> str:
    table = generator.choice([name for name in TABLES if name != "entries"])
    row = generator.choice(rows(connection, table))
    columns = list(row)
    if kind == "row deleted":
        where = " AND ".join(f"{column} = ?" for column in columns)
        connection.execute(f"DELETE FROM {table} WHERE {where}", tuple(row.values()))
        return table
    name = columns[0] if table != "objects" else "id"
    row[name] = row[name] + 700 if isinstance(row[name], int) else f"{row[name]}x"
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})", tuple(row.values()))
    return table


def _projection(connection: Connection, generator: random.Random) -> str:
    """Change what a reader is shown and leave the trail as it is: the state of an object, or what the search index says of an entry."""
    if generator.randrange(2):
        type_, id_, text = generator.choice(connection.execute("SELECT type, id, state FROM objects").fetchall())
        state = json.loads(text)
        name = generator.choice(sorted(state))
        value = state[name]
        state[name] = not value if isinstance(value, bool) else value + 1 if isinstance(value, int) else f"{value}0"
        connection.execute("UPDATE objects SET state = ? WHERE type = ? AND id = ?", (canonical(state).decode(), type_, id_))
        return f"objects row {type_}/{id_} field state.{name}"
    term, block = generator.choice(connection.execute("SELECT term, block FROM entry_index").fetchall())
    others = {row[0] for row in connection.execute("SELECT term FROM entry_index")} - {term}
    other = generator.choice([*sorted(others), f"{term}x"])
    if generator.randrange(2):
        connection.execute("DELETE FROM entry_index WHERE term = ? AND block = ?", (term, block))
    else:
        connection.execute("UPDATE entry_index SET term = ?, block = ? WHERE term = ? AND block = ?", (other, block + 1, term, block))
    return f"entry_index row {term}/{block}"


def _edit(lines: list[bytes], first: int, generator: random.Random) -> None:
    """Change one entry and link all after it anew, states and index included where they do not change."""
    for seq in range(first, len(lines)):
        entry = json.loads(lines[seq])
        if seq == first:
            member = generator.choice(["reason", "name", "role", "device", "software"])
            entry[member] = f"{entry[member]}x"
        entry["prev"] = entry_digest(lines[seq - 1])
        lines[seq] = canonical(entry)


def _put_entries(connection: Connection, lines: list[bytes]) -> None:
    connection.execute("DELETE FROM entries")
    for seq, line in enumerate(lines):
        connection.execute("INSERT INTO entries VALUES (?, ?)", (seq, line))


def _sign_anew(connection: Connection, lines: list[bytes], key: SigningKey) -> None:
    """Make the whole history the forger's own: key in entry 0 and meta, every link, every checkpoint."""
    entry = json.loads(lines[0])
    for text in (entry["new"],):
        text["verifier_key"] = key.verifier_key
    lines[0] = canonical(entry)
    for seq in range(1, len(lines)):
        following = json.loads(lines[seq])
        following["prev"] = entry_digest(lines[seq - 1])
        lines[seq] = canonical(following)
    _put_entries(connection, lines)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'verifier_key'", (key.verifier_key,))
    connection.execute("UPDATE objects SET state = ? WHERE type = 'store'", (canonical(entry["new"]).decode(),))
    origin = entry["new"]["origin"]
    for (size,) in connection.execute("SELECT size FROM checkpoints").fetchall():
        note = key.sign_note(format_checkpoint(origin, size, chain.root(lines[:size])))
        connection.execute("UPDATE checkpoints SET note = ? WHERE size = ?", (note, size))


def _put_head(connection: Connection, lines: list[bytes]) -> None:
    """Make what names the entries and the checkpoints fit them: the digests in the states of the objects, and the head."""
    link, digests = GENESIS, dict[tuple[str, str], str]()
    for line in lines:
        subject = json.loads(line)["subject"]
        digests[subject["type"], subject["id"]] = entry_digest(line)
    for (type_, id_), digest in digests.items():
        connection.execute("UPDATE objects SET digest = ? WHERE type = ? AND id = ?", (digest, type_, id_))
    for (note,) in connection.execute("SELECT note FROM checkpoints ORDER BY size"):
        link = checkpoint_link(link, note)
    connection.execute("UPDATE head SET checkpoints = ?", (link,))
