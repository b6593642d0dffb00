"""The package and the stores of a real demonstration in the hands of a forger: what `dosewright verify` says, and with which status."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import demo_runs
import pytest
import stranger_verifier as stranger

from api import cli
from audit.checkpoint import SigningKey
from audit.release import batch_record
from audit.signatures import removal_digest

pytestmark = pytest.mark.stack

Verify = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def demo() -> Path:
    return demo_runs.released()


@pytest.fixture
def verify(demo: Path, capsys: pytest.CaptureFixture[str]) -> Verify:
    def check(path: Path, *, keys: Path = demo / demo_runs.KEYS, trusted: bool = True) -> tuple[int, str]:
        status = cli.run(["verify", str(path), *(["--trusted-key", str(keys)] if trusted else [])])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return status, out + err

    return check


def files_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def write(path: Path, files: dict[str, bytes]) -> Path:
    path.write_bytes(stranger.rebuild_container(dict(sorted(files.items()))))
    return path


def redigest(files: dict[str, bytes], key: SigningKey | None = None) -> dict[str, bytes]:
    """Make manifest and note fit the files again; without a key the old signature is kept."""
    manifest = json.loads(files["manifest.json"])
    manifest["files"] = {name: stranger.sha256(data) for name, data in files.items() if name not in ("manifest.json", "manifest.note")}
    files["manifest.json"] = stranger.canonical(manifest)
    text = f"{manifest['format']}\n{stranger.sha256(files['manifest.json'])}\n"
    old = files["manifest.note"].decode().partition("\n\n")[2]
    files["manifest.note"] = (key.sign_note(text) if key else f"{text}\n{old}").encode()
    return files


def test_untouched(demo: Path, verify: Verify) -> None:
    for name in (demo_runs.PACKAGE, *demo_runs.STORES):
        assert verify(demo / name)[0] == 0
        assert verify(demo / name, trusted=False)[0] == 3


# -- bytes -----------------------------------------------------------------------------------------------------------


def spans(path: Path) -> list[tuple[int, int, str]]:
    """Where the content of each file lies, and the structure between and behind."""
    found, at = [], 0
    with zipfile.ZipFile(path) as archive:
        for info in sorted(archive.infolist(), key=lambda item: item.header_offset):
            start = info.header_offset + 30 + len(info.filename)
            found += [(at, start, "container"), (start, start + info.file_size, info.filename)]
            at = start + info.file_size
    return [*found, (at, path.stat().st_size, "container")]


def positions(path: Path, count: int, seed: int) -> Iterator[tuple[int, str]]:
    """First, last and some byte of every span, then as many anywhere as make up the count."""
    chance, all_spans = random.Random(seed), spans(path)
    chosen = [(at, name) for start, end, name in all_spans if end > start for at in (start, end - 1, chance.randrange(start, end))]
    while len(chosen) < count:
        start, end, name = chance.choice(all_spans)
        if end > start:
            chosen.append((chance.randrange(start, end), name))
    yield from chosen


def flip_all(demo: Path, verify: Verify, folder: Path, count: int, seed: int) -> int:
    path, chance, done = folder / "package.zip", random.Random(seed), 0
    data = (demo / demo_runs.PACKAGE).read_bytes()
    path.write_bytes(data)
    with path.open("r+b") as stream:
        for at, name in positions(demo / demo_runs.PACKAGE, count, seed):
            changed = data[at] ^ chance.randrange(1, 256)
            stream.seek(at)
            stream.write(bytes([changed]))
            stream.flush()
            status, text = verify(path)
            assert status == 1, f"byte {at} in {name}: status {status}"
            assert name in text, f"byte {at} in {name} is not named:\n{text[:2000]}"
            stream.seek(at)
            stream.write(data[at : at + 1])
            done += 1
    stream_status, _ = verify(path)
    assert stream_status == 0, "the package is as before"
    return done


def test_one_flipped_byte_fails_and_its_place_is_named(demo: Path, verify: Verify, tmp_path: Path) -> None:
    assert flip_all(demo, verify, tmp_path, 220, 1) >= 200


@pytest.mark.deep
def test_thousands_of_flipped_bytes(demo: Path, verify: Verify, tmp_path: Path) -> None:
    assert flip_all(demo, verify, tmp_path, 2200, 2) >= 2000


@pytest.mark.parametrize("cut", [1, 21, 22, 5000, -1])
def test_cut_or_extended(demo: Path, verify: Verify, tmp_path: Path, cut: int) -> None:
    data = (demo / demo_runs.PACKAGE).read_bytes()
    path = tmp_path / "package.zip"
    path.write_bytes(data[:-cut] if cut > 0 else data + b"\0")
    status, text = verify(path)
    assert status == 1 and "container" in text


# -- forgers ---------------------------------------------------------------------------------------------------------


def heavier(record: dict[str, Any]) -> None:
    record["units"][0]["mass_mg"] = "61.00"


def other_dose(record: dict[str, Any]) -> None:
    record["dose"]["rounded_mg"] = "2.5"


def other_disposition(record: dict[str, Any]) -> None:
    record["disposition"] = "partly released"


def without_signature(record: dict[str, Any]) -> None:
    record["signatures"].pop()


@pytest.mark.parametrize("change", [heavier, other_dose, other_disposition, without_signature])
def test_a_changed_record_with_every_digest_made_anew(demo: Path, verify: Verify, tmp_path: Path, change: Callable[..., None]) -> None:
    files = files_of(demo / demo_runs.PACKAGE)
    record = json.loads(files["record.json"])
    change(record)
    files["record.json"] = stranger.canonical(record)
    status, text = verify(write(tmp_path / "forged.zip", redigest(files)))
    assert status == 1 and "manifest.note" in text and "record.json" in text


def test_notes_signed_with_other_keys_of_the_same_names(demo: Path, verify: Verify, tmp_path: Path) -> None:
    files, keys = files_of(demo / demo_runs.PACKAGE), {}
    for name in [name for name in files if name.startswith("checkpoints/")]:
        origin = name.partition("/")[2]
        keys[origin] = SigningKey.generate(origin)
        files[name] = keys[origin].sign_note(files[name].decode().rpartition("\n\n")[0] + "\n").encode()
    files["keys.json"] = stranger.canonical({"keys": [key.verifier_key for key in keys.values()]})
    workstation = next(key for origin, key in keys.items() if origin.startswith("workstation"))
    path = write(tmp_path / "resigned.zip", redigest(files, workstation))
    status, text = verify(path)
    assert status == 1 and "manifest.note: is signed by a key that is not the trusted one" in text
    assert verify(path, trusted=False)[0] == 1, "the trails name their own keys"


def test_a_whole_site_with_other_keys(verify: Verify) -> None:
    """Another site of the same names is a package wholly re-signed: consistent in itself, and not of the trusted site."""
    other = demo_runs.stopped()
    status, text = verify(other / demo_runs.PACKAGE)
    assert status == 1
    for name in ("manifest.note", "checkpoints/workstation.demonstration", "checkpoints/cell-1.demonstration"):
        assert f"{name}: is signed by a key that is not the trusted one" in text
    status, text = verify(other / demo_runs.PACKAGE, trusted=False)
    assert status == 3 and "signer not established" in text
    for store in demo_runs.STORES:
        status, text = verify(other / store)
        assert status == 1 and "not among the trusted keys" in text


def test_a_trail_of_another_site_under_this_manifest(demo: Path, verify: Verify, tmp_path: Path) -> None:
    files, other = files_of(demo / demo_runs.PACKAGE), files_of(demo_runs.stopped() / demo_runs.PACKAGE)
    for name in ("trails/cell-1.demonstration.jsonl", "checkpoints/cell-1.demonstration"):
        files[name] = other[name]
    key = SigningKey.load(demo / "keys" / "workstation.key")
    status, text = verify(write(tmp_path / "mixed.zip", redigest(files, key)))
    assert status == 1 and "cell-1.demonstration" in text


def test_the_signature_of_one_removal_does_not_serve_for_another_unit() -> None:
    """Who holds the cell's key can write an entry, and copy a second person's signature into it: it says which unit it is for."""
    with tempfile.TemporaryDirectory() as place:
        files = files_of(demo_runs.whole(demo_runs.stopped(), Path(place) / "whole.zip"))
    record = json.loads(files["record.json"])
    workstation, cell = (files[f"trails/{record['trails'][side]['origin']}.jsonl"].splitlines() for side in ("workstation", "cell"))
    unsigned = workstation[: record["trails"]["workstation"]["size"]]
    (at,) = [number for number, line in enumerate(cell) if b'"kind":"unit.removal.confirmed"' in line]
    entry = json.loads(cell[at])
    unit = entry["subject"]["id"]

    def removal() -> str:
        built: Any = batch_record.build(unsigned, [*cell[:at], stranger.canonical(entry), *cell[at + 1 :]], record["batch"])
        (found,) = [item for item in built["evidence"] if item["item"].startswith("removal")]
        return f"{found['state']}: {found['detail']}"

    assert removal() == "met: 1 of 1 removed"
    entry["new"]["confirmed"]["digest"] = removal_digest(unit[:-1] + "9")
    assert removal() == f"not met: {unit}: the signature of second is not over its removal"


# -- stores ----------------------------------------------------------------------------------------------------------

# What the demonstrations leave empty can only be added to.
EMPTY = {("workstation.db", "patients"), ("cell-1.db", "patients"), ("cell-1.db", "credentials")}
TABLES = ["entries", "entry_index", "objects", "blobs", "credentials", "patients", "checkpoints", "meta", "head", "alembic_version"]
ROWS = [(store, table) for store in demo_runs.STORES for table in TABLES]


def forge(source: Path, target: Path, act: Callable[[sqlite3.Connection], None]) -> Path:
    """Drop every trigger, act, and put the triggers back, so that only the row can tell."""
    shutil.copyfile(source, target)
    connection = sqlite3.connect(target, isolation_level=None)
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    act(connection)
    for _, sql in triggers:
        connection.execute(sql)
    connection.close()
    return target


def altered(value: object) -> object:
    match value:
        case int():
            return value + 1
        case bytes():
            return value[:-2] + bytes([value[-2] ^ 1]) + value[-1:]
        case _:
            text = str(value)
            return text[:-2] + ("b" if text[-2] != "b" else "c") + text[-1]


def columns(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]


def test_the_tables_are_all_there_are(demo: Path) -> None:
    for store in demo_runs.STORES:
        connection = sqlite3.connect(f"file:{demo / store}?mode=ro", uri=True)
        found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        empty = {(store, table) for table in found if not connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]}
        connection.close()
        assert found == set(TABLES) and empty == {pair for pair in EMPTY if pair[0] == store}


@pytest.mark.parametrize(("store", "table"), [pair for pair in ROWS if pair not in EMPTY])
def test_one_changed_row(demo: Path, verify: Verify, tmp_path: Path, store: str, table: str) -> None:
    connection = sqlite3.connect(f"file:{demo / store}?mode=ro", uri=True)
    names = columns(connection, table)
    row = connection.execute(f"SELECT * FROM {table} ORDER BY 1 LIMIT 1 OFFSET (SELECT count(*) / 2 FROM {table})").fetchone()
    connection.close()
    where = " AND ".join(f"{name} IS ?" for name in names)
    for name, value in zip(names, row, strict=True):
        new = 10**9 if isinstance(value, int) else altered(value)
        path = forge(
            demo / store, tmp_path / store, lambda c, n=name, v=new: c.execute(f"UPDATE {table} SET {n} = ? WHERE {where}", (v, *row))
        )
        status, text = verify(path)
        assert status == 1 and f"{table} row" in text, f"{store} {table}.{name}"


@pytest.mark.parametrize(("store", "table"), [pair for pair in ROWS if pair not in EMPTY])
def test_one_deleted_row(demo: Path, verify: Verify, tmp_path: Path, store: str, table: str) -> None:
    key = {"objects": "type || id", "entry_index": "term || block"}.get(table, "rowid")
    for order in ("ASC", "DESC"):
        path = forge(
            demo / store,
            tmp_path / store,
            lambda c, o=order: c.execute(f"DELETE FROM {table} WHERE {key} = (SELECT {key} FROM {table} ORDER BY 1 {o} LIMIT 1)"),
        )
        status, text = verify(path)
        assert status == 1 and table in text, f"{store} {table} {order}"


@pytest.mark.parametrize(("store", "table"), ROWS)
def test_one_inserted_row(demo: Path, verify: Verify, tmp_path: Path, store: str, table: str) -> None:
    def insert(connection: sqlite3.Connection) -> None:
        names = columns(connection, table)
        row = connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchone()
        if row is None:
            row = ("somebody", b"sealed")
        values = [
            value + 10**6 if isinstance(value, int) else altered(value) if position == 0 else value for position, value in enumerate(row)
        ]
        connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", values)

    status, text = verify(forge(demo / store, tmp_path / store, insert))
    assert status == 1 and table in text


@pytest.mark.parametrize("store", demo_runs.STORES)
def test_a_whole_entry_rewritten_with_all_that_hangs_on_it(demo: Path, verify: Verify, tmp_path: Path, store: str) -> None:
    """A forger with the file and no key: the last entry changed, the index and the state of its object made to fit."""

    def act(connection: sqlite3.Connection) -> None:
        seq, line = connection.execute("SELECT seq, canonical FROM entries ORDER BY seq DESC LIMIT 1").fetchone()
        body = json.loads(line)
        body["at"] = body["at"].replace("2", "3", 1)
        new = stranger.canonical(body)
        connection.execute("UPDATE entries SET canonical = ? WHERE seq = ?", (new, seq))
        connection.execute("INSERT OR IGNORE INTO entry_index VALUES (?, ?)", (f"hour:{body['at'][:13]}", seq // 256))
        subject = body["subject"]["type"], body["subject"]["id"]
        connection.execute("UPDATE objects SET digest = ? WHERE type = ? AND id = ?", (stranger.entry_digest(new), *subject))

    status, text = verify(forge(demo / store, tmp_path / store, act))
    assert status == 1 and "checkpoints row size=" in text


def test_dropped_triggers_alone_are_named(demo: Path, verify: Verify, tmp_path: Path) -> None:
    path = tmp_path / "cell-1.db"
    shutil.copyfile(demo / "cell-1.db", path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER entries_no_update")
    connection.close()
    status, text = verify(path)
    assert status == 1 and "schema trigger entries_no_update" in text


# -- as a command ----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "api.cli", "verify", *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_the_command_itself(demo: Path, tmp_path: Path) -> None:
    keys = ("--trusted-key", str(demo / demo_runs.KEYS))
    everything = [str(demo / name) for name in (demo_runs.PACKAGE, *demo_runs.STORES)]
    assert command(*everything, *keys).returncode == 0
    assert command(*everything).returncode == 3
    data = bytearray((demo / demo_runs.PACKAGE).read_bytes())
    data[len(data) // 2] ^= 1
    damaged = tmp_path / "damaged.zip"
    damaged.write_bytes(data)
    answer = command(*everything, str(damaged), *keys)
    assert answer.returncode == 1 and answer.stderr == "" and "✕" in answer.stdout
