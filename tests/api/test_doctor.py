"""The doctor: each check on facts alone, and whole examinations of sound, served and broken sites, which leave no trace."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from api import cli
from api.certificates import make_certificates
from api.doctor import gather_keys, gather_machine, gather_trails
from api.doctor.clocks import ClockFacts, judge_clock, judge_order
from api.doctor.disk import DiskFacts, judge_disk
from api.doctor.examine import examine
from api.doctor.finding import Finding, Outcome, failed, not_checked, passed, span_text, warning, worst
from api.doctor.gather_ports import cell_process, port
from api.doctor.gather_web import web
from api.doctor.keys import (
    CertificateFacts,
    KeyFacts,
    SignerFacts,
    TokenFacts,
    judge_certificate,
    judge_key,
    judge_signer,
    judge_token,
)
from api.doctor.ports import PortFacts, judge_port
from api.doctor.rights import AccountFacts, FolderFacts, judge_account, judge_folder
from api.doctor.section import guarded
from api.doctor.software import judge_imports, judge_python, judge_versions
from api.doctor.trails import Anchor, TrailFacts, WriterFacts, judge_anchors, judge_trail, judge_writer
from api.doctor.web import Answer, WebFacts, judge_web
from audit.checkpoint import SigningKey
from audit.clock import SystemClock, UtcReading
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.signer import TokenEntry
from audit.store import TrailStore
from audit.version import SOFTWARE
from audit.writer_lock import WriterLock
from firmware_bridge import transport
from firmware_bridge.port_discovery import PortIdentity

ROOT = Path(__file__).resolve().parent.parent.parent
DAY = 86_400
PRUSA = PortIdentity("/dev/ttyACM0", "Original Prusa i3", "2c99:0002", "CZPX0000", "Prusa Research", "1-1.2")
linux = pytest.mark.skipif(sys.platform != "linux", reason="locks and open files of other processes are read from /proc")


def outcomes(findings: Iterator[Finding]) -> dict[str, str]:
    return {finding.check: finding.outcome.value for finding in findings}


# Each check on facts alone


def test_a_finding_that_is_wrong_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"a\.b"):
        Finding("a.b", "", Outcome.FAILED, "found")
    with pytest.raises(ValueError, match=r"a\.b"):
        Finding("a.b", "", Outcome.NOT_CHECKED, "")


def test_the_worst_outcome_is_that_of_all() -> None:
    found = [passed("a.a", "x"), not_checked("a.b", "x"), warning("a.c", "x", "y"), failed("a.d", "x", "y")]
    assert [worst(found[:n]).value for n in range(5)] == ["not checked", "passed", "not checked", "warning", "failed"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_200, "2 h"), (172_800, "2 days"), (172_799, "47 h")]
)
def test_a_span_is_told_in_its_largest_unit(seconds: int, text: str) -> None:
    assert span_text(seconds) == text


@pytest.mark.parametrize(("version", "outcome"), [((3, 10, 9), "failed"), ((3, 11, 0), "passed"), ((3, 13, 1), "passed")])
def test_python(version: tuple[int, int, int], outcome: str) -> None:
    assert judge_python(version).outcome.value == outcome


@pytest.mark.parametrize(
    ("installed", "outcome", "words"),
    [
        ({"a": "1", "b": "2"}, "passed", "2 packages"),
        ({"a": "1", "b": "2.1", "c": "3"}, "passed", "2 packages"),
        ({"a": "1", "b": "3"}, "warning", "b 3 instead of 2 or 2.1"),
        ({"a": "1"}, "failed", "b is not installed"),
        ({"b": "2"}, "passed", "2 packages"),  # a is for another platform
    ],
)
def test_versions_are_held_against_the_lock(installed: dict[str, str], outcome: str, words: str) -> None:
    found = judge_versions({"a": ["1"], "b": ["2", "2.1"]}, installed, frozenset({"a"}))
    assert found.outcome.value == outcome and words in found.found
    assert judge_versions(None, installed).outcome is Outcome.NOT_CHECKED


def test_what_cannot_be_loaded_is_named_with_its_error() -> None:
    def load(name: str) -> object:
        raise {"a": ImportError("libgomp.so.1"), "b": RuntimeError("AVX2")}[name]

    found = judge_imports(2, gather_machine.import_problems(("a", "b"), load))
    assert found.outcome is Outcome.FAILED and "a: ImportError: libgomp.so.1; b: RuntimeError: AVX2" in found.found
    assert judge_imports(2, gather_machine.import_problems(("json",))).outcome is Outcome.PASSED


def test_the_lock_beside_the_program_is_read() -> None:
    found = gather_machine.locked_versions(gather_machine.LOCK)
    assert found is not None
    versions, elsewhere = found
    assert versions["pyserial"] == ["3.5"] and "tzdata" in elsewhere and "pyserial" not in elsewhere
    assert len(versions["numpy"]) == 2  # one for Python 3.11, one for later
    assert sum(len(found) for found in versions.values()) == sum(
        "==" in line for line in gather_machine.LOCK.read_text("utf-8").splitlines()
    )


def test_every_package_that_the_product_asks_for_is_loaded() -> None:
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    names = {entry.partition(">")[0].lower() for entry in asked}
    owners = metadata.packages_distributions()
    found = {owner.lower().replace("_", "-") for name in gather_machine.NEEDED for owner in owners[name.split(".")[0]]}
    assert names <= found | {"argon2-cffi"} and len(gather_machine.NEEDED) == len(names)


TRAIL = TrailFacts(
    "w", "w.db", revision="1", expected_revision="1", origin="o", size=9, named_digest="d", last_digest="d", checkpoint_size=8
)


def changed(facts: Any, **values: object) -> Any:
    return replace(facts, **values)


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"problem": "damaged"}, "store.readable"),
        ({"revision": "2"}, "store.schema"),
        ({"schema_differs": ("trigger x",)}, "store.schema"),
        ({"last_digest": "e"}, "store.end"),
        ({"checkpoint_problem": "not signed"}, "store.checkpoint"),
        ({"checkpoint_size": None}, "store.checkpoint"),
        ({"checkpoint_size": 10}, "store.checkpoint"),
    ],
)
def test_what_is_wrong_with_a_trail(change: dict[str, object], check: str) -> None:
    assert set(outcomes(judge_trail(TRAIL)).values()) == {"passed"}
    found = outcomes(judge_trail(changed(TRAIL, **change)))
    assert {name for name, outcome in found.items() if outcome == "failed"} == {check}


@pytest.mark.parametrize(
    ("anchor", "size", "outcome"),
    [
        (Anchor("w", 9, 30 * 3600, ""), 9, "passed"),  # nothing came since
        (Anchor("w", 8, 24 * 3600, ""), 9, "passed"),
        (Anchor("w", 8, 26 * 3600, ""), 9, "warning"),
        (Anchor("w", 0, None, ""), 9, "warning"),
        (Anchor("w", 8, 60, "has seen a longer trail"), 9, "failed"),
    ],
)
def test_how_old_a_proof_from_outside_may_be(anchor: Anchor, size: int, outcome: str) -> None:
    assert outcomes(judge_anchors("w", (anchor,), configured=True, size=size)) == {"store.anchors": outcome}


def test_a_trail_that_nobody_outside_knows_is_said() -> None:
    assert outcomes(judge_anchors("w", (), configured=False, size=1)) == {"store.anchors": "warning"}
    assert outcomes(judge_anchors("w", (), configured=True, size=1)) == {"store.anchors": "warning"}


def test_who_writes_a_trail() -> None:
    assert judge_writer("w", WriterFacts(known=False, why_unknown="ask it")).outcome is Outcome.NOT_CHECKED
    assert "process 7" in judge_writer("w", WriterFacts(known=True, process=7)).found
    assert "nobody" in judge_writer("w", WriterFacts(known=True)).found


KEY = KeyFacts("signing", "/k", exists=True, mode=0o600, owner=5, account=5)


@pytest.mark.parametrize(
    ("change", "outcome"),
    [
        ({}, "passed"),
        ({"mode": 0o400}, "passed"),
        ({"mode": 0o640}, "failed"),
        ({"mode": 0o604}, "failed"),
        ({"owner": 6}, "warning"),
        ({"problem": "no key"}, "failed"),
        ({"exists": False}, "failed"),
        ({"exists": False, "absent_is_fine": "made later"}, "passed"),
    ],
)
def test_a_key_file(change: dict[str, object], outcome: str) -> None:
    assert judge_key(changed(KEY, **change)).outcome.value == outcome


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (SignerFacts("w", "a", "a"), {"keys.signer": "passed"}),
        (SignerFacts("w", "a", "b"), {"keys.signer": "failed"}),
        (SignerFacts("w", "a", "b", waiting=True), {"keys.replacement": "warning"}),
        (SignerFacts("w", "", "b"), {"keys.signer": "not checked"}),
        (SignerFacts("w", "a", ""), {"keys.signer": "not checked"}),
    ],
)
def test_the_key_here_is_the_key_of_the_trail(facts: SignerFacts, wanted: dict[str, str]) -> None:
    assert outcomes(judge_signer(facts)) == wanted


CERTIFICATE = CertificateFacts("page", "/c", not_before_s=0, not_after_s=100 * DAY, until="2030-01-01", key_fits=True, issuer_fits=True)


@pytest.mark.parametrize(
    ("change", "now", "outcome"),
    [
        ({}, DAY, "passed"),
        ({}, 70 * DAY, "passed"),
        ({}, 70 * DAY + 1, "warning"),
        ({}, 100 * DAY, "failed"),
        ({}, -1, "failed"),
        ({"key_fits": False}, DAY, "failed"),
        ({"issuer_fits": False}, DAY, "failed"),
        ({"key_fits": None, "issuer_fits": None}, DAY, "passed"),
        ({"problem": "cannot be read"}, DAY, "failed"),
        ({"names": ("a",), "wanted_names": ("a", "b")}, DAY, "warning"),
        ({"names": ("a", "b"), "wanted_names": ("b",)}, DAY, "passed"),
    ],
)
def test_a_certificate(change: dict[str, object], now: int, outcome: str) -> None:
    assert judge_certificate(changed(CERTIFICATE, **change), now).outcome.value == outcome


DISK = DiskFacts("site", "/s", free=1 << 40, least=1 << 26, inodes=10_000, inodes_free=9_000, probe_us=3_000)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"free": (1 << 26) - 1}, {"disk.room": "failed"}),
        ({"free": 1 << 26}, {"disk.room": "warning"}),
        ({"inodes_free": 999}, {"disk.files": "failed"}),
        ({"inodes": 0, "inodes_free": 0}, {}),
        ({"probe_us": 100_001}, {"disk.write": "warning"}),
        ({"probe_us": 2_000_001}, {"disk.write": "failed"}),
        ({"probe_us": None}, {"disk.write": "not checked"}),
        ({"probe_us": None, "probe_problem": "read-only"}, {"disk.write": "failed"}),
    ],
)
def test_a_disk(change: dict[str, object], wanted: dict[str, str]) -> None:
    sound = {"disk.room": "passed", "disk.files": "passed", "disk.write": "passed"}
    assert outcomes(judge_disk(DISK)) == sound
    assert outcomes(judge_disk(changed(DISK, **change))) == {**sound, **wanted}


def test_a_disk_that_is_not_there() -> None:
    assert outcomes(judge_disk(DiskFacts("archive", "/a", problem="gone"))) == {"disk.room": "failed"}


@pytest.mark.parametrize(
    ("facts", "clinical", "wanted"),
    [
        (AccountFacts("root", 0, "dialout"), True, ("warning", "passed")),
        (AccountFacts("dose", 7, "dialout", True), True, ("passed", "passed")),
        (AccountFacts("dose", 7, "dialout"), True, ("passed", "warning")),
        (AccountFacts("dose", 7, "dialout"), False, ("passed", "passed")),
        (AccountFacts("dose", 7), True, ("passed", "passed")),
    ],
)
def test_the_account(facts: AccountFacts, clinical: bool, wanted: tuple[str, str]) -> None:
    assert tuple(outcomes(judge_account(facts, clinical=clinical)).values()) == wanted


@pytest.mark.parametrize(
    ("facts", "wanted"),
    [
        (FolderFacts("/s", 0o700, 7, True), ("passed", "passed")),
        (FolderFacts("/s", 0o750, 7, True), ("warning", "passed")),
        (FolderFacts("/s", 0o701, 7, True), ("failed", "passed")),
        (FolderFacts("/s", 0o700, 8, True), ("passed", "warning")),
        (FolderFacts("/s", 0o500, 7, False), ("passed", "failed")),
    ],
)
def test_the_folder(facts: FolderFacts, wanted: tuple[str, str]) -> None:
    assert tuple(outcomes(judge_folder(facts, 7)).values()) == wanted


@pytest.mark.parametrize(
    ("synchronised", "stated", "outcome"),
    [
        (True, "ntp", "passed"),
        (True, "", "passed"),
        (True, "unknown", "warning"),
        (False, "unknown", "warning"),
        (False, "", "warning"),
        (False, "ntp", "failed"),  # every entry would say what is not so
        (None, "ntp", "not checked"),
    ],
)
def test_what_entries_say_of_the_clock_is_held_against_the_machine(synchronised: bool | None, stated: str, outcome: str) -> None:
    facts = ClockFacts("now", synchronised, 2_000, stated, "Europe/Berlin")
    assert outcomes(judge_clock(facts)) == {"clock.synchronised": outcome, "clock.zone": "passed"}
    assert outcomes(judge_clock(changed(facts, zone_known=False)))["clock.zone"] == "failed"


@pytest.mark.parametrize(("behind", "outcome"), [(-5_000_000, "passed"), (1_000_000, "passed"), (1_000_001, "failed"), (10**12, "failed")])
def test_the_clock_is_not_behind_the_record(behind: int, outcome: str) -> None:
    assert outcomes(judge_order({"w": behind})) == {"clock.order": outcome}


PORT = PortFacts("p", "usb:2c99:0002:C", "/dev/ttyACM0", exists=True, readable=True, writable=True, group="dialout")
SOUND = {"ports.present": "passed", "ports.rights": "passed", "ports.free": "passed", "ports.name": "passed"}


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({}, SOUND),
        ({"exists": False}, {"ports.present": "failed"}),
        ({"problem": "no such port", "exists": False}, {"ports.present": "failed"}),
        ({"is_network": True}, {"ports.present": "not checked"}),
        ({"exists": False, "is_bench": True}, {"ports.present": "not checked"}),
        ({"exists": False, "is_bench": True, "own": 5}, {"ports.present": "failed"}),
        ({"writable": False}, {**SOUND, "ports.rights": "failed"}),
        ({"holders": (5,)}, {**SOUND, "ports.free": "failed"}),
        ({"holders": (5,), "own": 5}, SOUND),
        ({"address": "/dev/ttyACM0", "steady_name": "usb:1"}, {**SOUND, "ports.name": "warning"}),
        ({"address": "/dev/ttyS0"}, SOUND),
        ({"address": "/dev/serial/by-id/x", "steady_name": "usb:1"}, SOUND),
    ],
)
def test_a_port(change: dict[str, object], wanted: dict[str, str]) -> None:
    assert outcomes(judge_port(changed(PORT, **change))) == wanted


@pytest.mark.parametrize(
    ("facts", "outcome"),
    [
        (WebFacts("127.0.0.1", 0), "not checked"),
        (WebFacts("127.0.0.1", 8080), "passed"),
        (WebFacts("127.0.0.1", 80, lowest=1024), "failed"),
        (WebFacts("127.0.0.1", 8080, serving=True), "failed"),
        (WebFacts("127.0.0.1", 8080, Answer.WORKSTATION), "passed"),
        (WebFacts("127.0.0.1", 8080, Answer.WORKSTATION, served_certificate_is_the_file=False), "failed"),
        (WebFacts("127.0.0.1", 8080, Answer.OTHER), "failed"),
        (WebFacts("10.9.9.9", 8080, Answer.NO_ADDRESS), "failed"),
    ],
)
def test_the_page(facts: WebFacts, outcome: str) -> None:
    assert judge_web(facts).outcome.value == outcome


# Facts of the machine


@linux
def test_the_kernel_says_whether_its_clock_is_synchronised() -> None:
    synchronised, error = gather_machine.kernel_clock()
    assert synchronised in (True, False, None) and error >= 0


def test_the_probe_has_no_name_while_it_is_there_and_is_gone_when_it_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []

    def interrupted(descriptor: int) -> None:
        seen.append([path.name for path in tmp_path.iterdir()])
        raise KeyboardInterrupt

    assert gather_machine.disk("site", tmp_path, 1, probe=True).probe_us is not None
    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gather_machine.disk("site", tmp_path, 1, probe=True)
    assert seen == [[]] and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said() -> None:
    assert "cannot be written" in gather_machine.disk("site", Path("/proc"), 1, probe=True).probe_problem


def test_a_certificate_with_another_key_or_authority_is_found_out(tmp_path: Path) -> None:
    ca, peers = make_certificates(tmp_path / "a", site="x", workstation="workstation", cells=("cell-1",))
    other, _ = make_certificates(tmp_path / "b", site="x", workstation="workstation", cells=())
    own, cell = peers["workstation"], peers["cell-1"]
    found = gather_keys.certificate("w", own.certificate, key=own.key, issuer=ca)
    assert (found.key_fits, found.issuer_fits, found.problem) == (True, True, "") and "localhost" in found.names
    assert gather_keys.certificate("w", own.certificate, key=cell.key).key_fits is False
    assert gather_keys.certificate("w", own.certificate, issuer=other).issuer_fits is False
    assert gather_keys.certificate("w", tmp_path / "none").problem
    assert gather_keys.certificate("w", own.key).problem
    shown = gather_keys.ssl.PEM_cert_to_DER_cert(own.certificate.read_text())
    assert gather_keys.same_certificate(shown, own.certificate) and not gather_keys.same_certificate(shown, cell.certificate)


def test_a_token_is_looked_for_and_its_pin_never_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = TokenEntry(module=Path("none.so"), token="t", key="k", name="n")
    assert "no PKCS#11 module" in gather_keys.token("w", entry, tmp_path).problem
    (tmp_path / "none.so").write_bytes(b"no library")
    monkeypatch.delenv("DOSEWRIGHT_TOKEN_PIN", raising=False)
    assert "no PIN" in gather_keys.token("w", entry, tmp_path).problem
    monkeypatch.setenv("DOSEWRIGHT_TOKEN_PIN", "1234")
    found = gather_keys.token("w", entry, tmp_path)
    assert found.problem and judge_token(found).outcome is Outcome.FAILED
    assert judge_token(TokenFacts("w", "t")).outcome is Outcome.PASSED


@pytest.fixture
def held() -> Iterator[tuple[Path, int]]:
    """A pseudo-terminal that another process has open: its path, and the process."""
    ours, theirs = os.openpty()
    path = Path(os.ttyname(theirs))
    code = f"import os, sys\nos.open({str(path)!r}, os.O_RDWR | os.O_NOCTTY)\nprint('open', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "open\n"
    yield path, process.pid
    process.communicate("")
    os.close(ours)
    os.close(theirs)


@linux
def test_who_has_a_port_open_is_seen_and_nothing_is_opened(held: tuple[Path, int], monkeypatch: pytest.MonkeyPatch) -> None:
    path, process = held
    monkeypatch.setattr(transport, "_open_serial", lambda *_: pytest.fail("a port was opened"))
    found = port("p", str(path), [], is_bench=False, own=0)
    assert (found.exists, found.readable, found.writable, found.holders) == (True, True, True, (process,))
    assert outcomes(judge_port(found))["ports.free"] == "failed"
    assert outcomes(judge_port(port("p", str(path), [], is_bench=False, own=process)))["ports.free"] == "passed"


def test_an_identity_that_leads_nowhere_is_said() -> None:
    found = port("p", "usb:2c99:0002:OTHER", [PRUSA], is_bench=False, own=0)
    assert not found.exists and "CZPX0000" in found.problem + found.remedy
    assert port("p", "/dev/ttyACM0", [PRUSA], is_bench=False, own=0).steady_name == "usb:2c99:0002:CZPX0000"
    assert port("p", "socket://127.0.0.1:9", [], is_bench=False, own=0).is_network


@linux
def test_a_cell_that_was_killed_does_not_run(tmp_path: Path) -> None:
    file = tmp_path / "address.json"
    assert cell_process(file) == 0
    file.write_text(json.dumps({"process": os.getpid()}), "utf-8")
    assert cell_process(file) == os.getpid()
    for text in ('{"process": 4194305}', "{}", "[]", "rubbish"):
        file.write_text(text, "utf-8")
        assert cell_process(file) == 0


def answering(status: int, body: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            return

    return Handler


@pytest.mark.parametrize(
    ("status", "body", "answer"),
    [
        (200, b'{"status":"up"}', Answer.WORKSTATION),
        (200, b"<html>", Answer.OTHER),
        (200, b"[1]", Answer.OTHER),
        (404, b'{"status":"up"}', Answer.OTHER),
    ],
)
def test_who_answers_at_the_port(status: int, body: bytes, answer: Answer) -> None:
    with HTTPServer(("127.0.0.1", 0), answering(status, body)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            found = web("127.0.0.1", server.server_port, named="localhost", certificate=None, serving=None, is_root=True)
        finally:
            server.shutdown()
            thread.join()
    assert found.answer is answer


def test_a_port_that_nobody_answers_at_and_an_address_of_another_machine() -> None:
    with HTTPServer(("127.0.0.1", 0), answering(200, b"")) as server:
        free = server.server_port
    assert web("127.0.0.1", free, named="localhost", certificate=None, serving=None, is_root=True).answer is Answer.NOBODY
    assert web("192.0.2.1", free, named="localhost", certificate=None, serving=None, is_root=True).answer is Answer.NO_ADDRESS


# Whole examinations


@pytest.fixture
def site(laid_out: Any, tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    shutil.copytree(laid_out.folder, folder)
    return folder


def state(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Every file with its mode, the time of its last change, and its digest."""
    found = {}
    for path in sorted(folder.rglob("*")):
        seen = path.stat()
        found[str(path)] = (seen.st_mode, seen.st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "")
    return found


def wrong(folder: Path | None, port_number: int | None = None) -> dict[str, str]:
    """What failed, by check; what is of the machine and not of the site is left out."""
    findings = list(examine(folder, port_number))
    return {
        f"{finding.check} {finding.subject}".strip(): finding.found
        for finding in findings
        if finding.outcome is Outcome.FAILED and finding.area != "software"
    }


def test_a_sound_site_at_rest_has_nothing_wrong_and_is_left_as_it_was(site: Path) -> None:
    before = state(site)
    findings = list(examine(site))
    assert wrong(site) == {}
    assert state(site) == before
    areas = {finding.area for finding in findings}
    assert areas == {"software", "site", "rights", "disk", "clock", "store", "keys", "ports", "web"}
    assert {finding.subject for finding in findings if finding.check == "store.end"} == {"workstation", "cell-1"}


def test_a_site_that_is_being_written_is_examined_beside_its_process(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = SigningKey.load(site / "keys" / "workstation.key")
    with TrailStore.open(site / "workstation.db", key=key, clock=SystemClock(), software=SOFTWARE) as store:
        store.append(EntryDraft(EventKind.SITE_CLOCK_STEPPED, Subject("workstation", store.origin), {"step_ms": 5}, SYSTEM, "workstation"))
        before = state(site)
        monkeypatch.setattr(WriterLock, "take", lambda *_: pytest.fail("the lock was tried"))
        findings = list(examine(site))
        assert state(site).keys() == before.keys()
        monkeypatch.undo()
        said = {f"{finding.check} {finding.subject}": finding.found for finding in findings}
        assert f"{store.size} entries" in said["store.readable workstation"]
        if sys.platform == "linux":
            assert f"process {os.getpid()}" in said["store.writer workstation"]
            assert "nobody" in said["store.writer cell-1"]
        assert [finding for finding in findings if finding.outcome is Outcome.FAILED and finding.area == "store"] == []
        store.append(EntryDraft(EventKind.SITE_CLOCK_STEPPED, Subject("workstation", store.origin), {"step_ms": 6}, SYSTEM, "workstation"))


def test_a_store_whose_process_was_killed_is_read_with_its_log(site: Path, tmp_path: Path) -> None:
    key = SigningKey.load(site / "keys" / "workstation.key")
    with TrailStore.open(site / "workstation.db", key=key, clock=SystemClock(), software=SOFTWARE) as store:
        store.append(EntryDraft(EventKind.SITE_CLOCK_STEPPED, Subject("workstation", store.origin), {"step_ms": 5}, SYSTEM, "workstation"))
        size = store.size
        shutil.copytree(site, tmp_path / "killed")
    before = set(state(tmp_path / "killed"))
    look = gather_trails.look("workstation", tmp_path / "killed" / "workstation.db")
    assert (look.facts.problem, look.facts.size, look.facts.named_digest) == ("", size, look.facts.last_digest)
    assert set(state(tmp_path / "killed")) == before


class Ahead:
    """A clock that was a day ahead when it made its entries."""

    rate = SystemClock().rate

    def now(self) -> int:
        return time.monotonic_ns() // 1000

    def utc(self) -> UtcReading:
        ahead = datetime.fromtimestamp(time.time() + DAY, UTC)
        return UtcReading(ahead.isoformat(timespec="microseconds").replace("+00:00", "Z"), "UTC", "unknown")


def jump(folder: Path) -> None:
    key = SigningKey.load(folder / "keys" / "workstation.key")
    with TrailStore.open(folder / "workstation.db", key=key, clock=Ahead(), software=SOFTWARE) as store:
        store.append(EntryDraft(EventKind.SITE_CLOCK_STEPPED, Subject("workstation", store.origin), {"step_ms": 5}, SYSTEM, "workstation"))


def cut(folder: Path) -> None:
    content = (folder / "workstation.db").read_bytes()
    (folder / "workstation.db").write_bytes(content[: len(content) // 3])


def sql(statement: str) -> Callable[[Path], None]:
    """Change a store behind the back of its triggers, as whoever owns the disk can."""

    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "cell-1.db")) as connection, connection:
            for (trigger,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f'DROP TRIGGER "{trigger}"')
            connection.execute(statement)

    return change


def settings_with(text: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "workstation.toml"
        file.write_text(f"{text}\n{file.read_text('utf-8')}", "utf-8")

    return change


CHANGED_ENTRY = "UPDATE entries SET canonical = CAST(replace(canonical, 'demonstration', 'demonstratiom') AS BLOB)"
CHANGED_NOTE = "UPDATE checkpoints SET note = replace(note, 'cell-1', 'cell-2')"
BROKEN: list[tuple[str, Callable[[Path], object], set[str]]] = [
    ("the settings are gone", lambda f: (f / "workstation.toml").unlink(), {"site.settings"}),
    ("the settings are no TOML", lambda f: (f / "workstation.toml").write_text("[["), {"site.settings"}),
    ("the settings are no text", lambda f: (f / "workstation.toml").write_bytes(b"\xff\xfe"), {"site.settings"}),
    ("three settings are wrong", settings_with('zone = 5\nport = 99999\nnonsense = "x"'), {"site.settings"}),
    ("the zone is none", settings_with('zone = "Europe/Atlantis"'), {"clock.zone"}),
    ("the store is gone", lambda f: (f / "workstation.db").unlink(), {"store.readable workstation"}),
    ("the store is cut off", cut, {"store.readable workstation"}),
    ("the store is empty", lambda f: (f / "workstation.db").write_bytes(b""), {"store.readable workstation"}),
    ("the store is a text", lambda f: (f / "workstation.db").write_text("hello"), {"store.readable workstation"}),
    ("the clock jumped back", jump, {"clock.order workstation"}),
    ("an entry was changed", sql(CHANGED_ENTRY), {"store.schema cell-1", "store.end cell-1"}),
    ("the checkpoint was changed", sql(CHANGED_NOTE), {"store.schema cell-1", "store.checkpoint cell-1"}),
    ("the schema is of tomorrow", sql("UPDATE alembic_version SET version_num = '9999'"), {"store.schema cell-1"}),
    ("the meta is empty", sql("DELETE FROM meta"), {"store.readable cell-1"}),
    ("others may read the key", lambda f: (f / "keys/workstation.key").chmod(0o644), {"keys.file workstation signing"}),
    ("the key is gone", lambda f: (f / "keys/workstation.key").unlink(), {"keys.file workstation signing"}),
    ("the key is another", lambda f: shutil.copy(f / "cell-1/cell.key", f / "keys/workstation.key"), {"keys.signer workstation"}),
    ("the patients' key is short", lambda f: (f / "keys/patients.key").write_text("abcd"), {"keys.file patients"}),
    ("the seal is rubbish", lambda f: (f / "tls/seal.pem").write_text("x"), {"keys.certificate seal of documents"}),
    ("a key of another", lambda f: shutil.copy(f / "tls/cell-1.key", f / "tls/workstation.key"), {"keys.certificate workstation to cells"}),
    ("everybody may look in", lambda f: f.chmod(0o755), {"rights.folder"}),
    ("the cell's settings are rubbish", lambda f: (f / "cell-1/cell.toml").write_text("[["), {"site.cell cell-1"}),
]  # fmt: skip


@pytest.mark.parametrize(("what", "spoil", "checks"), BROKEN, ids=[what for what, _, _ in BROKEN])
def test_a_broken_site_is_told_what_is_broken_and_nothing_else(
    site: Path, what: str, spoil: Callable[[Path], object], checks: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather_machine, "NEEDED", ("json",))
    spoil(site)
    before = state(site)
    assert set(wrong(site)) == checks
    assert state(site) == before


def test_each_wrong_setting_is_a_finding_of_its_own(site: Path) -> None:
    settings_with('zone = 5\nport = 99999\nnonsense = "x"')(site)
    found = [finding.found.partition(":")[0] for finding in examine(site) if finding.check == "site.settings"]
    assert sorted(found) == ["nonsense", "port", "zone"]


@pytest.mark.parametrize("place", ["none", "file", "file/below", "x" * 5000])
def test_a_folder_that_is_none(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("x")
    assert set(wrong(tmp_path / place)) == {"site.settings"}


def test_without_a_site_the_machine_is_looked_at() -> None:
    assert {finding.area for finding in examine(None)} == {"software", "site", "rights", "clock"}
    assert wrong(None) == {}


def test_an_error_that_nobody_foresaw_is_a_finding_and_the_others_are_made(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(gather_trails, "look", broken)
    found = wrong(site)
    assert found["store.check"] == "cannot be looked at: ZeroDivisionError: a bug"
    assert {finding.area for finding in examine(site)} >= {"keys", "ports", "web"}
    assert [finding.check for finding in guarded("x", lambda: iter([passed("x.y", "z")]))] == ["x.y"]


# The command


def test_the_command_says_what_to_do_and_its_status(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["doctor", "--site", str(site)]) == 0
    said = capsys.readouterr().out
    assert "✓ end cell-1: the last of 1 entries is the one that its object names" in said and "checks: " in said
    (site / "keys" / "patients.key").unlink()
    assert cli.run(["doctor", "--site", str(site), "--quiet"]) == 1
    said = capsys.readouterr().out
    assert "✓" not in said
    line, remedy = said[said.index("✕ file patients") :].splitlines()[:2]
    assert line.endswith("patients.key is not there") and remedy == "      → Restore it from its safe place: docs/backup.md."


def test_the_answer_for_a_program_has_each_check_with_a_stable_name(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut(site)
    assert cli.run(["doctor", "--site", str(site), "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["outcome"] == "failed" and answer["counts"]["failed"] == 1 and answer["software"] == SOFTWARE
    assert sum(answer["counts"].values()) == len(answer["checks"])
    assert all(set(check) == {"check", "subject", "outcome", "found", "remedy"} for check in answer["checks"])
    broken = [check for check in answer["checks"] if check["outcome"] == "failed"]
    assert [(check["check"], check["subject"]) for check in broken] == [("store.readable", "workstation")]


def test_a_terminal_is_not_commanded_by_what_was_found(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings_with('host = "\\u001b[2J"')(site)
    cli.run(["doctor", "--site", str(site)])
    assert "\x1b" not in capsys.readouterr().out
