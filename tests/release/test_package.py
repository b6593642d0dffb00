"""The review package: nothing in it can be changed unseen, by accident or by hand."""

from __future__ import annotations

import base64
import io
import json
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from audit.canonical import canonical, sha256_hex
from audit.chain import entry_digest
from audit.checkpoint import SigningKey, format_checkpoint
from audit.errors import RecordError, StoreReadOnly, VerificationError
from audit.release import batch_record
from audit.release.archive import _serialise, check_name, read_archive, write_archive
from audit.release.package import FORMAT, TrailExport, read_package, write_package
from audit.release.package_check import verify_package
from audit.release.selection import Scope
from audit.report import VerificationStatus

WS, CELL = "trails/ws.example.jsonl", "trails/cell-1.example.jsonl"


@pytest.fixture
def batch(write_batch: Any, scenario: Any) -> Any:
    return write_batch(scenario())


@pytest.fixture
def package(batch: Any, tmp_path: Path) -> Path:
    return batch.export(tmp_path / "review-package.zip")


@pytest.fixture
def trusted(batch: Any) -> list[Any]:
    return [batch.workstation.key, batch.cell.key]


def places(report: Any) -> str:
    return "\n".join(str(finding) for finding in report.findings)


def repack(path: Path, files: dict[str, bytes], key: SigningKey) -> Path:
    """Write changed files with a new manifest, signed by a key that the attacker holds."""
    named = {name: sha256_hex(data) for name, data in files.items() if name not in ("manifest.json", "manifest.note")}
    scope = "selective" if any(name.startswith("proofs/") for name in files) else "whole"
    manifest = canonical({"format": FORMAT, "scope": scope, "created": "2026-11-20T10:00:00.000000Z", "files": named})
    note = key.sign_note(f"{FORMAT}\n{sha256_hex(manifest)}\n").encode()
    path.write_bytes(write_archive({**files, "manifest.json": manifest, "manifest.note": note}))
    return path


def test_a_whole_package_verifies(package: Path, trusted: list[Any]) -> None:
    report = verify_package(package, trusted)
    assert report.status is VerificationStatus.VERIFIED and report.exit_status == 0, places(report)
    assert [line.split()[0] for line in report.checked] == ["1", "2", "3", "5", "6", "7", "8", "9", "10", "11"]
    assert verify_package(package).exit_status == verify_package(package, []).exit_status == 3


def test_an_unsigned_batch_can_be_packaged_and_says_so(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario(disposition=None))
    report = verify_package(batch.export(tmp_path / "p.zip"), [batch.workstation.key, batch.cell.key])
    assert report.exit_status == 0 and any("not signed" in line for line in report.checked)


def test_the_same_batch_gives_the_same_bytes(batch: Any, package: Path, tmp_path: Path) -> None:
    assert batch.export(tmp_path / "again.zip").read_bytes() == package.read_bytes()


def test_holds_what_the_format_says(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        assert archive.testzip() is None
        names = set(archive.namelist())
    assert {"README.txt", "manifest.json", "manifest.note", "keys.json", "record.json", "record.pdf", "program.gcode"} < names
    assert {
        WS,
        CELL,
        "checkpoints/ws.example",
        "program-planned.gcode",
        "admission.json",
        "journal/unit-001.jsonl",
        "traces/unit-005.csv",
        "journal/run.jsonl",
    } < names
    assert read_package(package).record["batch"] == "B-1" and len(read_package(package).keys) == 2


def test_an_earlier_refused_run_travels_along(write_batch: Any, scenario: Any, tmp_path: Path) -> None:
    batch = write_batch(scenario(refused_before=True))
    path = batch.export(tmp_path / "p.zip")
    report = verify_package(path, [batch.workstation.key, batch.cell.key])
    assert report.exit_status == 0, places(report)
    assert {"runs/B-1-R0/program.gcode", "runs/B-1-R0/journal/run.jsonl", "program.gcode"} < read_package(path).files.keys()
    assert [run["ended"] for run in read_package(path).record["runs"]] == ["ABORTED", "FINISHED"]


def spans(data: bytes) -> list[tuple[int, int, str]]:
    """Where each member's content lies, by Python's own reader."""
    found = []
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for info in archive.infolist():
            start = info.header_offset + 30 + len(info.filename)
            found.append((start, start + info.file_size, info.filename))
    return found


def flip(path: Path, data: bytes, position: int, value: int) -> Path:
    changed = bytearray(data)
    changed[position] ^= value
    path.write_bytes(changed)
    return path


def test_one_flipped_byte_anywhere_is_found_and_its_place_named(package: Path, trusted: list[Any], tmp_path: Path) -> None:
    data, generator = package.read_bytes(), random.Random(20261120)
    members = spans(data)
    positions = [generator.randrange(len(data)) for _ in range(300)]
    positions += [generator.randrange(start, end) for start, end, _ in members for _ in range(3)]
    headers = members[-1][1]
    positions += list(range(30)) + [generator.randrange(headers, len(data)) for _ in range(60)] + list(range(len(data) - 22, len(data)))
    for position in positions:
        report = verify_package(flip(tmp_path / "flipped.zip", data, position, generator.randrange(1, 256)), trusted)
        assert report.exit_status == 1, position
        name = next((name for start, end, name in members if start <= position < end), None)
        assert (name or "container") in places(report), (position, name, places(report))


def test_each_content_is_bound_even_where_the_container_is_made_anew(package: Path, trusted: list[Any], tmp_path: Path) -> None:
    files, generator = dict(read_package(package).files), random.Random(7)
    for name, data in files.items():
        for _ in range(4):
            changed = bytearray(data)
            changed[generator.randrange(len(data))] ^= generator.randrange(1, 256)
            (tmp_path / "p.zip").write_bytes(write_archive({**files, name: bytes(changed)}))
            report = verify_package(tmp_path / "p.zip", trusted)
            assert report.exit_status == 1 and name in places(report), name


def test_a_forgery_with_other_keys_needs_the_trusted_key_to_be_seen(
    write_batch: Any, scenario: Any, trusted: list[Any], tmp_path: Path
) -> None:
    forged = write_batch(scenario(seed=b"forged")).export(tmp_path / "forged.zip")
    assert verify_package(forged).status is VerificationStatus.SIGNER_NOT_ESTABLISHED
    report = verify_package(forged, trusted)
    assert report.exit_status == 1
    for place in ("manifest.note", "checkpoints/ws.example", "checkpoints/cell-1.example"):
        assert f"{place}: is signed by a key that is not the trusted one" in places(report)


def test_the_key_of_one_trail_cannot_stand_for_another(package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    report = verify_package(package, trusted[1:])
    assert report.exit_status == 1 and "manifest.note" in places(report)
    # An insider with the cell's key signs the manifest with it: trusted, but not the workstation's.
    files = dict(read_package(package).files)
    cell_key = SigningKey.from_seed("cell-1.example", b"c" * 32)
    report = verify_package(repack(tmp_path / "p.zip", files, cell_key), trusted)
    assert "manifest.note: is not signed by the workstation's key" in places(report)


def edit_record(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(files: dict[str, bytes]) -> None:
        record = json.loads(files["record.json"])
        change(record)
        files["record.json"] = canonical(record)

    return edit


def edit_line(name: str, seq: int, change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], None]:
    def edit(files: dict[str, bytes]) -> None:
        lines = files[name].split(b"\n")
        entry = json.loads(lines[seq])
        change(entry)
        lines[seq] = canonical(entry)
        files[name] = b"\n".join(lines)

    return edit


def drop_last(files: dict[str, bytes]) -> None:
    files[CELL] = b"\n".join(files[CELL].split(b"\n")[:-2]) + b"\n"


def replace(name: str, data: bytes) -> Callable[[dict[str, bytes]], None]:
    return lambda files: files.update({name: data})


EDITS: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a mass in the record": (edit_record(lambda r: r["units"][0].update(mass_mg="460.0")), "record.json: is not the record"),
    "the disposition": (edit_record(lambda r: r.update(disposition="released")), "fields differ: disposition"),
    "a statistic": (edit_record(lambda r: r["strengths"][0]["uniformity"].update(mean_percent="100")), "fields differ: strengths"),
    "an alarm left out": (edit_record(lambda r: r.update(alarms=[{}])), "fields differ: alarms"),
    "another batch number": (edit_record(lambda r: r.update(batch="B-9")), "cannot be rebuilt"),
    "no origins": (edit_record(lambda r: r.update(trails={})), "does not name the origins"),
    "an entry of the cell": (edit_line(CELL, 8, lambda e: e["new"].update(mass_mg="466.0")), "entry 9): its `prev`"),
    "a person in the workstation trail": (edit_line(WS, 3, lambda e: e.update(name="X")), "entry 4): its `prev`"),
    "an old value": (edit_line(CELL, 3, lambda e: e["old"].update(state="X")), "entry 3): its `old`"),
    "a number": (edit_line(CELL, 3, lambda e: e.update(seq=30)), "entry 3): its number"),
    "an entry with a member more": (edit_line(CELL, 3, lambda e: e.update(more=1)), "does not have exactly the members"),
    "a trail cut short": (drop_last, "counts 19 entries"),
    "a trail without its last line feed": (lambda f: f.update({CELL: f[CELL][:-1]}), "does not end with a line feed"),
    "an empty trail": (replace(CELL, b""), "does not end with a line feed"),
    "a trail missing": (lambda f: f.pop(CELL), f"{CELL}: is missing"),
    "checkpoints exchanged": (
        lambda f: f.update({"checkpoints/ws.example": f["checkpoints/cell-1.example"]}),
        "checkpoints/ws.example: is not a note",
    ),
    "a checkpoint missing": (lambda f: f.pop("checkpoints/ws.example"), "checkpoints/ws.example: is missing"),
    "a checkpoint that is no text": (replace("checkpoints/ws.example", b"\xff\n"), "checkpoints/ws.example"),
    "a key more": (replace("keys.json", canonical({"keys": [SigningKey.generate("x").verifier_key]})), "keys.json: does not hold exactly"),
    "no keys": (replace("keys.json", b"[]"), "keys.json: is not an object"),
    "a key that is none": (replace("keys.json", canonical({"keys": ["x"]})), "keys.json"),
    "keys not canonical": (replace("keys.json", b'{ "keys": []}'), "keys.json: is not in canonical form"),
    "an admission missing": (lambda f: f.pop("admission.json"), "admission.json: is missing"),
    "a journal missing": (lambda f: f.pop("journal/unit-002.jsonl"), "journal/unit-002.jsonl: is missing"),
    "a trace of another unit": (
        lambda f: f.update({"traces/unit-001.csv": f["traces/unit-002.csv"]}),
        "traces/unit-001.csv: is not the file",
    ),
    "another program": (replace("program.gcode", b"G1 X1\n"), "program.gcode: is not the file"),
    "a file more": (replace("notes.txt", b"trust me"), "notes.txt: is not a file of this format"),
    "a document without the record": (replace("record.pdf", b"%PDF-1.7\n"), "record.pdf: does not carry record.json"),
    "no README": (lambda f: f.pop("README.txt"), "README.txt: is not named"),
    "a record that is no JSON": (replace("record.json", b"{"), "record.json: is not canonical JSON"),
    "no record": (lambda f: f.pop("record.json"), "record.json: is missing"),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_insider_with_the_manifest_key_is_found_out(name: str, package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    files = dict(read_package(package).files)
    edit, expected = EDITS[name]
    edit(files)
    report = verify_package(repack(tmp_path / "p.zip", files, batch.key), trusted)
    assert report.exit_status == 1 and expected in places(report), places(report)


def rewrite(files: dict[str, bytes], name: str, origin: str, key: SigningKey, change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Rewrite a trail as one who holds its key can: every link, state and the checkpoint made anew."""
    entries = [json.loads(line) for line in files[name].splitlines()]
    change(entries)
    lines: list[bytes] = []
    states: dict[tuple[str, str], dict[str, Any]] = {}
    for seq, entry in enumerate(entries):
        state = states.setdefault((entry["subject"]["type"], entry["subject"]["id"]), {})
        entry |= {
            "seq": seq,
            "prev": entry_digest(lines[-1]) if lines else "0" * 64,
            "old": {field: state.get(field) for field in entry["new"]},
        }
        state.update(entry["new"])
        lines.append(canonical(entry))
    files[name] = b"".join(line + b"\n" for line in lines)
    root = batch_record.TrailView(lines).root()
    files[f"checkpoints/{origin}"] = key.sign_note(format_checkpoint(origin, len(lines), base64.b64decode(root))).encode()


def of_kind(entries: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["kind"] == kind)


REWRITES: dict[str, tuple[str, Callable[[list[dict[str, Any]]], object], str]] = {
    "a mass in the cell's trail": (
        CELL,
        lambda e: of_kind(e, "unit.weight.judged")["new"].update(mass_mg="466.9"),
        "its size and root are not those of",
    ),
    "another origin in the tie": (
        WS,
        lambda e: of_kind(e, "batch.run.closed")["new"].update(cell_origin="cell-2"),
        "closes a run of cell-2",
    ),
    "another cell key": (WS, lambda e: of_kind(e, "cell.record.enrolled")["new"].update(verifier_key="x"), "with another key or origin"),
    "a cell never enrolled": (WS, lambda e: e.remove(of_kind(e, "cell.record.enrolled")), "does not enrol the cell"),
    "a signature's name": (
        WS,
        lambda e: of_kind(e, "batch.disposition.signed")["new"]["signature"].update(name="X"),
        "does not match its fields",
    ),
    "a person's key": (WS, lambda e: e[2]["new"].update(verifier_key="x"), "is not enrolled for that person"),
    "a person's role": (WS, lambda e: e[1]["new"].update(roles=["operator"]), "which that person does not hold"),
    "the entry's actor": (WS, lambda e: of_kind(e, "batch.disposition.signed").update(actor="olga"), "its actor is not its signer"),
    "the disposition in the entry": (
        WS,
        lambda e: of_kind(e, "batch.disposition.signed")["new"].update(disposition="released"),
        "was not open",
    ),
    "the order": (
        WS,
        lambda e: of_kind(e, "order.prescription.entered")["new"]["order"].update(id="O-2"),
        "its signature is not over the record",
    ),
    "the ink's assay": (
        WS,
        lambda e: of_kind(e, "ink.lot.received")["new"].update(assay="41.0 mg/g"),
        "its signature is not over the record",
    ),
    "a second disposition": (WS, lambda e: e.append(json.loads(json.dumps(e[-1]))), "signs a batch that was signed before"),
    "the record that was signed": (
        WS,
        lambda e: of_kind(e, "batch.disposition.signed")["attachments"][0].update(sha256="0" * 64),
        "is not the record.json that",
    ),
    "a root in the disposition": (
        WS,
        lambda e: of_kind(e, "batch.disposition.signed")["new"].update(cell_root="x"),
        "its cell_root is not",
    ),
    "an entry of odd shape": (CELL, lambda e: of_kind(e, "unit.weight.judged").update(new={"verdict": ["accepted"]}), "cell-1.example"),
}


@pytest.mark.parametrize("name", REWRITES)
def test_rewriting_a_trail_with_its_own_key_is_found_out(name: str, package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    files = dict(read_package(package).files)
    trail, change, expected = REWRITES[name]
    origin = trail.removeprefix("trails/").removesuffix(".jsonl")
    key = batch.key if trail == WS else SigningKey.from_seed(origin, b"c" * 32)
    rewrite(files, trail, origin, key, change)
    report = verify_package(repack(tmp_path / "p.zip", files, batch.key), trusted)
    assert report.exit_status == 1 and expected in places(report), places(report)


ODD: list[Any] = [None, True, 0, -1, 2**52, "", "x", "1e9", "9" * 24, "0", "-1 mg", [], ["x"], [None], {}, {"a": 1}]


def test_no_content_of_an_entry_makes_the_check_fall_over(package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    original, generator = dict(read_package(package).files), random.Random(42)
    for _ in range(150):
        trail = generator.choice([WS, CELL])

        def change(entries: list[dict[str, Any]]) -> None:
            for _ in range(generator.randrange(1, 4)):
                # The disposition signs both trails up to itself; the two entries of the signing itself are bound by their own content.
                seq = generator.randrange(1, len(entries) - 2 if entries[0]["new"]["origin"] == "ws.example" else len(entries))
                entry = entries[seq]
                if entry["new"] and generator.random() < 0.8:
                    entry["new"][generator.choice(sorted(entry["new"]))] = generator.choice(ODD)
                else:
                    entry[generator.choice(["attachments", "at", "actor", "role", "zone", "kind", "name", "clock"])] = generator.choice(ODD)

        files = dict(original)
        origin = trail.removeprefix("trails/").removesuffix(".jsonl")
        key = batch.key if trail == WS else SigningKey.from_seed(origin, b"c" * 32)
        before = files[trail]
        rewrite(files, trail, origin, key, change)
        if files[trail] != before:
            assert verify_package(repack(tmp_path / "p.zip", files, batch.key), trusted).exit_status == 1


def test_manifest_and_note_in_other_forms(package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    files = dict(read_package(package).files)

    def check(manifest: bytes, text: str, expected: str, tail: str = "") -> None:
        changed = {**files, "manifest.json": manifest, "manifest.note": (batch.key.sign_note(text) + tail).encode()}
        (tmp_path / "p.zip").write_bytes(write_archive(changed))
        report = verify_package(tmp_path / "p.zip", trusted)
        assert report.exit_status == 1 and expected in places(report), places(report)

    manifest = json.loads(files["manifest.json"])
    spaced = json.dumps(manifest).encode()
    check(spaced, f"{FORMAT}\n{sha256_hex(spaced)}\n", "manifest.json: is not in canonical form")
    other = canonical({**manifest, "more": 1})
    check(other, f"{FORMAT}\n{sha256_hex(other)}\n", "does not have exactly the members")
    itself = canonical({**manifest, "files": {**manifest["files"], "manifest.json": "0" * 64}})
    check(itself, f"{FORMAT}\n{sha256_hex(itself)}\n", "names manifest.json, which it must not")
    gone = canonical({**manifest, "files": {**manifest["files"], "gone.txt": "0" * 64}})
    check(gone, f"{FORMAT}\n{sha256_hex(gone)}\n", "gone.txt: is named in the manifest but missing")
    check(files["manifest.json"], f"dosewright-review/9\n{sha256_hex(files['manifest.json'])}\n", "is of the format 'dosewright-review/9'")


def zipped(**options: Any) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", **options) as archive:
        archive.writestr("manifest.json", b"{}")
    return stream.getvalue()


def test_containers_that_are_not_ours(package: Path, tmp_path: Path) -> None:
    data = package.read_bytes()
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("record.json", b"0" * 50_000_000)
    cases = {
        "prefix": b"#!/bin/sh\n" + data,
        "tail": data + b"\n",
        "comment": data[:-2] + b"\x01\x00!",
        "cut": data[:-100],
        "empty": b"",
        "text": b"not a zip",
        "deflated": zipped(compression=zipfile.ZIP_DEFLATED),
        "dated": zipped(),
        "bomb": bomb.getvalue(),
        "half": data[: len(data) // 2],
    }
    for name, content in cases.items():
        (tmp_path / "p.zip").write_bytes(content)
        with pytest.raises(VerificationError, match="not a sound review package"):
            read_package(tmp_path / "p.zip")
        assert verify_package(tmp_path / "p.zip").exit_status == 1, name


def test_a_repacked_archive_is_still_read_for_what_else_is_wrong(package: Path, trusted: list[Any], tmp_path: Path) -> None:
    files = {**read_package(package).files, "program.gcode": b"G1\n"}
    with zipfile.ZipFile(tmp_path / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    found = places(verify_package(tmp_path / "p.zip", trusted))
    assert "container" in found and "program.gcode: is not the file that the manifest names" in found


def test_names_twice_out_of_order_or_outside(tmp_path: Path) -> None:
    assert any("twice" in str(f) for f in read_archive(_serialise([(b"a", b"1"), (b"a", b"2")])).findings)
    assert any("order" in str(f) for f in read_archive(_serialise([(b"b", b"1"), (b"a", b"2")])).findings)
    for name in ("../a", "/a", "a/../b", "a//b", ".a", "a b", "a\\b", "", "a/", "C:a", "a\nb", "x" * 201):
        assert check_name(name)
        assert any("plain relative path" in str(f) for f in read_archive(_serialise([(name.encode(), b"1")])).findings) or not name
        with pytest.raises(RecordError):
            write_archive({name: b""})
    assert check_name("trails/site.example/cell-1.jsonl") is None


def test_reading_and_writing_refusals(batch: Any, package: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_package(tmp_path / "none.zip")
    (tmp_path / "p.zip").write_bytes(write_archive({"README.txt": b"x"}))
    with pytest.raises(VerificationError, match="is missing"):
        read_package(tmp_path / "p.zip")
    workstation, cell = (TrailExport.from_store(store) for store in (batch.workstation, batch.cell))

    def write(path: Path, blob: Callable[[str], bytes]) -> Path:
        created = "2026-11-20T10:00:00.000000Z"
        return write_package(path, batch="B-1", workstation=workstation, cell=cell, blob=blob, key=batch.key, created=created)

    with pytest.raises(RecordError, match="is not the one"):
        write(tmp_path / "x.zip", lambda _: b"other")
    with pytest.raises(StoreReadOnly, match="cannot be written"):
        write(tmp_path / "no" / "x.zip", batch.cell.blob)
    assert not (tmp_path / "x.zip").exists()
    with pytest.raises(RecordError, match="its checkpoint counts"):
        TrailExport.from_lines(cell.lines[:3], cell.checkpoint, cell.key)
    assert TrailExport.from_reader(batch.cell).origin == "cell-1.example"


TOOLS = ("sh", "unzip", "sha256sum", "jq", "openssl", "base64", "sed")


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in TOOLS), reason="not run: needs " + ", ".join(TOOLS))
@pytest.mark.parametrize("scope", Scope)
def test_the_package_can_be_checked_by_hand_as_its_readme_says(scope: Scope, batch: Any, tmp_path: Path) -> None:
    folder = tmp_path / "hand"
    folder.mkdir()
    package = batch.export(folder / "review-package.zip", scope)
    text = read_package(package).files["README.txt"].decode()
    commands = [line.removeprefix("       ") for line in text.splitlines() if line.startswith("       ")]
    script = "\n".join(commands).replace("'name+hash+base64'", f"'{batch.workstation.verifier_key}'")
    done = subprocess.run(["sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False)
    output = done.stdout.splitlines()
    assert done.returncode == 0 and "Signature Verified Successfully" in done.stdout, done.stderr + done.stdout
    assert not [line for line in output if "broken" in line or "not in a trail" in line or "FAILED" in line]
    manifest = next(line.split()[0] for line in output if line.endswith("  manifest.json"))
    assert output[-1] == output[-2] and len(output[-1]) == 64 and output.count(manifest) == 1
