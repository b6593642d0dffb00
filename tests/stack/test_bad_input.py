"""What a careless person types, and what they point the command at: one clear message each, and nothing printed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import demo_runs
import pytest
import stranger_verifier as stranger

from api import cli
from api.site import create_site
from audit.release.package_check import verify_package
from recipes.library import load_demonstration
from tests.audit.conftest import CHEAP

Answer = tuple[int, str, str]
Command = Callable[..., Answer]


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> Answer:
        status = cli.run(list(arguments))
        out, err = capsys.readouterr()
        return status, out, err

    return run


def assert_one_message(err: str, *words: str) -> None:
    assert err.startswith("error ") and err.count("\n") == 1 and "Traceback" not in err
    assert ".." not in err.replace("...", "") or "../" in err, "two full stops in a row"
    for word in words:
        assert word in err, err


NUMBERS = ["0", "NaN", "nan", "inf", "-Infinity", "1e5", "-5", "1,250", "1_000", "1 000", "0x10", "٣", "12cm", "--1", "1.2.3", "9" * 200]


@pytest.mark.parametrize("option", ["--height", "--weight", "--dose", "--ink-assay", "--cartridge-ml"])
@pytest.mark.parametrize("text", NUMBERS)
def test_no_number(command: Command, tmp_path: Path, option: str, text: str) -> None:
    out = tmp_path / "program.gcode"
    status, shown, err = command("plan", "--out", str(out), f"{option}={text}")
    assert status == 2 and shown == "" and not out.exists()
    assert_one_message(err)
    assert err.rstrip().endswith("."), err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--height", ""], ["height"]),
        (["--weight", ""], ["weight"]),
        (["--dose", ""], ["prescribed amount"]),
        (["--basis", ""], ["basis"]),
        (["--recipe", ""], ["Choose one of"]),
        (["--recipe", "../minoxidil"], ["Choose one of"]),
        (["--case", "../../etc/passwd"], ["Choose one of"]),
        (["--ink-expires", "20991120"], ["YYYY-MM-DD"]),
        (["--ink-expires", "2099-W47-5"], ["YYYY-MM-DD"]),
        (["--ink-expires", "2026-13-01"], ["calendar"]),
        (["--ink-expires", ""], ["YYYY-MM-DD"]),
        (["--units", "1000000"], ["days"]),
        (["--units", "²"], ["whole number"]),
        (["--basis", "monohydrate"], ["restated as anhydrous", "not converted"]),
        (["--case", "sildenafil", "--basis", "citrate"], ["restated as base"]),
        (["--recipe", "sildenafil"], ["cyclophosphamide", "sildenafil"]),
        (["--dose", "200"], ["outside the range of recipe cyclophosphamide@1, 5 mg to 40 mg"]),
        (["--dose", "1"], ["outside the range"]),
        (["--height", "1.1"], ["40 to 230 cm"]),
        (["--ink-expires", "2020-01-01"], ["expired"]),
        (["--cartridge-ml", "2"], ["fuller cartridge"]),
        (["--out", "/"], ["cannot be written"]),
    ],
)
def test_options_that_cannot_be(command: Command, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    out = tmp_path / "program.gcode"
    status, shown, err = command("plan", *([] if "--out" in arguments else ["--out", str(out)]), *arguments)
    assert status == 2 and shown == "" and not out.exists()
    assert_one_message(err, *words)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--fault", "clog:99"], ["unit 99", "1 to 14"]),
        (["--fault", "clog:0"], ["unit 0"]),
        (["--rate", "NaN"], ["rate"]),
        (["--rate", "1e3"], ["rate"]),
        (["--rate", "0.5"], ["between 1 and 1000"]),
        (["--basis", ""], ["basis"]),
    ],
)
def test_demo_refuses_before_it_touches_the_folder(command: Command, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    status, _, err = command("demo", "--dir", str(tmp_path / "demo"), *arguments)
    assert status == 2 and not (tmp_path / "demo").exists()
    assert_one_message(err, *words)


@pytest.mark.parametrize("arguments", [["--rate", "x"], ["--rate", "0"], ["--case", "none"]])
def test_serve_refuses_before_it_lays_out_a_site(command: Command, tmp_path: Path, arguments: list[str]) -> None:
    status, _, err = command("serve", "--site", str(tmp_path / "site"), *arguments)
    assert status == 2 and not (tmp_path / "site").exists()
    assert_one_message(err)


# -- devices and stores ----------------------------------------------------------------------------------------------


def kinds(store: Path) -> list[str]:
    connection = sqlite3.connect(f"file:{store}?mode=ro", uri=True)
    try:
        return [json.loads(line)["kind"] for (line,) in connection.execute("SELECT canonical FROM entries ORDER BY seq")]
    finally:
        connection.close()


@pytest.mark.stack
@pytest.mark.parametrize(
    "port", ["balance", pytest.param("printer", marks=pytest.mark.deep), pytest.param("pressure", marks=pytest.mark.deep)]
)
def test_a_device_that_is_not_there(command: Command, tmp_path: Path, port: str) -> None:
    folder = tmp_path / "demo"
    status, _, err = command(
        "demo", "--dir", str(folder), "--case", "minoxidil", "--units", "3", "--rate", "400", f"--port-{port}", "/dev/none"
    )
    assert status == 2
    assert_one_message(err, f"{port} port", "/dev/none", "Connect the device")
    assert not any(kind.startswith("unit.") for kind in kinds(folder / "cell-1.db")), "nothing was printed"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "site"
    _, ink, cartridge = load_demonstration("minoxidil", datetime.now(UTC).date().isoformat())
    create_site(folder, inks=[(ink, cartridge)], cost=CHEAP)
    return folder


def marked_read_only(store: Path) -> Callable[[], None]:
    store.chmod(0o400)
    return lambda: store.chmod(0o600)


def log_cannot_be_made(store: Path) -> Callable[[], None]:
    """A condition that holds for any account: where the write-ahead log belongs there is a folder."""
    log = store.with_name(store.name + "-wal")
    log.unlink(missing_ok=True)
    log.mkdir()
    return log.rmdir


@pytest.mark.stack
@pytest.mark.parametrize("condition", [marked_read_only, log_cannot_be_made])
def test_a_store_that_cannot_be_written(site: Path, condition: Callable[[Path], Callable[[], None]]) -> None:
    before = (site / "workstation.db").read_bytes()
    undo = condition(site / "workstation.db")
    try:
        arguments = [sys.executable, "-m", "api.app_process", "--site", str(site), "--port", "0", "--no-page"]
        answer = subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60, stdin=subprocess.DEVNULL)
    finally:
        undo()
    assert answer.returncode not in (0, None)
    message = answer.stderr.strip()
    assert "AU-002" in message and "workstation.db" in message and "permissions" in message and "Traceback" not in message
    assert message.count("\n") == 0
    assert (site / "workstation.db").read_bytes() == before


# -- what verify is pointed at ---------------------------------------------------------------------------------------


def plain_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("holiday.txt", "x" * 10_000_000)


NO_PACKAGES: dict[str, Callable[[Path], object]] = {
    "ten megabytes of noise": lambda path: path.write_bytes(zlib.compress(b"x")[:4] + os.urandom(10_000_000)),
    "a text": lambda path: path.write_text("hello\n" * 100),
    "an empty file": lambda path: path.write_bytes(b""),
    "another zip": plain_zip,
    "line feeds after a header": lambda path: path.write_bytes(stranger.rebuild_container({"trails/x.jsonl": b"\n" * 1_000_000})),
}


@pytest.mark.parametrize("what", NO_PACKAGES)
def test_verify_something_else(command: Command, tmp_path: Path, what: str) -> None:
    path = tmp_path / "argument.zip"
    NO_PACKAGES[what](path)
    status, out, err = command("verify", str(path))
    assert status == 1 and err == ""
    assert "is not a review package" in out and out.count("\n") <= 4, out


def test_verify_a_folder_a_pipe_and_nothing(command: Command, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, word in (
        (tmp_path, "a folder"),
        (tmp_path / "none.zip", "cannot be read"),
        (pipe, "not a file"),
        (Path("/dev/zero"), "not a file"),
    ):
        status, out, err = command("verify", str(path))
        assert status == 2 and out == ""
        assert_one_message(err, word)


def test_verify_databases_that_are_no_stores(command: Command, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE holidays (day TEXT)")
    connection.commit()
    connection.close()
    (tmp_path / "cut.db").write_bytes(b"SQLite format 3\0" + b"x" * 100)
    (tmp_path / "empty.db").write_bytes(b"")
    for name, word in (("other.db", "not a trail store"), ("cut.db", "not a trail store"), ("empty.db", "empty")):
        status, out, err = command("verify", str(tmp_path / name))
        assert status == 1 and err == "" and word in out and out.count("\n") == 2, out


@pytest.mark.parametrize(
    ("data", "word"),
    [(b"hello", "line 1"), (b"", "holds no key"), (b"\xff\xfe", "cannot be read"), (b"x" * 100_000, "not a file of"), (None, "missing")],
)
def test_keys_that_are_none(command: Command, tmp_path: Path, data: bytes | None, word: str) -> None:
    keys = tmp_path / "site.vkey"
    if data is not None:
        keys.write_bytes(data)
    package = tmp_path / "package.zip"
    package.write_bytes(b"")
    status, out, err = command("verify", str(package), "--trusted-key", str(keys))
    assert status == 2 and out == ""
    assert_one_message(err, word, "site.vkey")


# -- packages made to hurt -------------------------------------------------------------------------------------------

MIB = 1 << 20


def bomb(path: Path) -> None:
    """A megabyte that wants to be a gigabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.json", b"0" * 700 * MIB)


def contents(name: str, data: bytes) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        record = stranger.canonical({"trails": {"cell": {"origin": "c"}, "workstation": {"origin": "w"}}})
        files = {"manifest.json": b"{}", "record.json": record, "trails/c.jsonl": b"{}\n", name: data}
        path.write_bytes(stranger.rebuild_container(dict(sorted(files.items()))))

    return write


HOSTILE: dict[str, Callable[[Path], None]] = {
    "deflated bomb": bomb,
    "empty lists in a record": contents("record.json", b"[" + b"[]," * (8 * MIB) + b"[]]"),
    "empty lists in one line": contents("trails/c.jsonl", b"[" + b"[]," * (8 * MIB) + b"[]]\n"),
    "line feeds": contents("trails/c.jsonl", b"\n" * (32 * MIB)),
    "deep nesting": contents("trails/c.jsonl", b'{"a":' * 100_000 + b"0" + b"}" * 100_000 + b"\n"),
    "long number": contents("trails/c.jsonl", b"9" * MIB + b"\n"),
    "attachments without an end": contents("record.pdf", b"/Type /EmbeddedFile " * MIB),
    "attachments that inflate": contents("record.pdf", (b"/Type /EmbeddedFile stream\n" + zlib.compress(bytes(64 * MIB))) * 32),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_package_takes_neither_memory_nor_time(tmp_path: Path, what: str) -> None:
    path = tmp_path / "hostile.zip"
    HOSTILE[what](path)
    tracemalloc.start()
    try:
        report = verify_package(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert report.findings
    assert peak < 4 * path.stat().st_size + 64 * MIB, f"{peak / MIB:.0f} MiB for a file of {path.stat().st_size / MIB:.0f} MiB"


@pytest.mark.deep
@pytest.mark.stack
def test_a_large_journal_costs_a_small_multiple_of_its_size(tmp_path: Path) -> None:
    """Memory grows with the file, not with a power of it: 64 MiB more in the package."""
    with zipfile.ZipFile(demo_runs.released() / demo_runs.PACKAGE) as archive:
        files = {info.filename: archive.read(info) for info in archive.infolist()}
    files["journal/unit-999.jsonl"] = b'{"at_us":1,"bytes":"00","port":"printer"}\n' * (64 * MIB // 42)
    path = tmp_path / "large.zip"
    path.write_bytes(stranger.rebuild_container(dict(sorted(files.items()))))
    tracemalloc.start()
    try:
        report = verify_package(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert any(finding.place == "journal/unit-999.jsonl" for finding in report.findings)
    assert peak < 3 * path.stat().st_size
