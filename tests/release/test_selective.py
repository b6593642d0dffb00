"""The selective package: one batch among many, each entry proved, nobody else's data, and every change found."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from audit.anchor_check import Trusted
from audit.canonical import canonical, sha256_hex
from audit.checkpoint import SigningKey, format_checkpoint
from audit.cosignature import CosignerKey
from audit.errors import RecordError
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.release import batch_record
from audit.release.archive import write_archive
from audit.release.package import FORMAT, read_package
from audit.release.package_check import verify_package
from audit.release.package_runs import recorded_runs
from audit.release.selection import Scope, select
from audit.release.trail_view import TrailView
from tests.release.conftest import Scenario, Writer, person
from tests.release.mutations import Forger
from tests.release.selective import CELL, KINDS, ORIGINS, OTHER_PATIENT, WS, CrowdedWriter, Maker, crowded, entries_of, mutate, seqs_of
from tests.release.test_package import EDITS, places, repack
from tests.release.test_verifier import run


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with ExitStack() as stack:
        yield crowded(tmp_path_factory.mktemp("crowd"), stack)


@pytest.fixture(scope="module")
def package(batch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return batch.export(tmp_path_factory.mktemp("p") / "review-package.zip", Scope.SELECTIVE)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def trusted(batch: Any) -> list[Any]:
    return [batch.workstation.key, batch.cell.key]


@pytest.fixture(scope="module")
def vkey(batch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "site.vkey"
    path.write_text(f"{batch.workstation.key}\n{batch.cell.key}\n")
    return path


def test_verifies_and_holds_the_same_record_as_the_whole_one(batch: Any, package: Path, trusted: list[Any], tmp_path: Path) -> None:
    report = verify_package(package, trusted)
    assert report.exit_status == 0, places(report)
    assert verify_package(package).exit_status == 3
    whole = batch.export(tmp_path / "whole.zip", Scope.WHOLE)
    one, other = read_package(package).files, read_package(whole).files
    same = set(other) - {"manifest.json", "manifest.note", WS, CELL}
    assert {name for name in same if one[name] != other[name]} == set()
    assert set(one) - set(other) == {f"proofs/{origin}.json" for origin in ORIGINS}
    assert one["record.json"] == canonical(batch.record())


def test_holds_nothing_of_another_patient_and_of_another_batch_only_what_the_cartridge_gave(batch: Any, package: Path) -> None:
    assert OTHER_PATIENT.encode() in b"".join(batch.lines()[0]) and OTHER_PATIENT.encode() in b"".join(batch.lines()[1])
    assert OTHER_PATIENT.encode() not in package.read_bytes()
    files = read_package(package).files
    about_others = [e for origin in ORIGINS for e in entries_of(dict(files), origin) if "B-OTHER" in json.dumps(e)]
    assert {entry["kind"] for entry in about_others} == {"ink.cartridge.used"}
    signed_at = next(e for e in entries_of(dict(files), "ws.example") if e["kind"] == "batch.disposition.signed")["seq"]
    assert all(entry["seq"] < signed_at for entry in about_others)
    kinds = {entry["kind"] for entry in entries_of(dict(files), "ws.example")}
    assert "person.session.opened" not in kinds and {"person.account.created", "site.store.created"} < kinds


def test_its_size_does_not_grow_with_the_trail(batch: Any, package: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        folder = tmp_path / "long"
        folder.mkdir()
        long = crowded(folder, stack)
        for group in range(8):
            drafts = [
                EntryDraft(EventKind.UNIT_WEIGHT_JUDGED, Subject("unit", f"X-{group}-R1/{n}"), {"mass_mg": "1"}, person("olga"), "cell-1")
                for n in range(256)
            ]
            long.cell.append(*drafts)
        grown = long.export(tmp_path / "long.zip", Scope.SELECTIVE)
        whole = long.export(tmp_path / "whole.zip", Scope.WHOLE)
    assert grown.stat().st_size - package.stat().st_size < 1500  # some hashes of the proof; the trail grew by a megabyte
    assert whole.stat().st_size - grown.stat().st_size > 1_000_000


def test_the_last_check_of_the_balance_before_the_run_travels_along(package: Path, batch: Any) -> None:
    assert {unit["balance_serial"] for unit in batch.record()["units"]} == {"BAL-1"}
    checks = [e for e in entries_of(dict(read_package(package).files), "cell-1.example") if e["kind"] == "equipment.check.completed"]
    assert [entry["new"]["number"] for entry in checks] == [4]


class CheckedLate(CrowdedWriter):
    """A crowd in which the gates of the run are passed twice: first they name a check of an earlier day, then the last one."""

    def cell(self, kind: EventKind, subject: str, new: Any, who: Actor = SYSTEM, attachments: dict[str, bytes] | None = None) -> None:
        if kind is EventKind.RUN_GATES_PASSED:
            said = "passed on 2026-04-01 by Olga with weight W-1, balance serial number BAL-1"
            first = {"gates": [*new["gates"], {"gate": "daily balance check", "met": True, "evidence": said}]}
            Writer.cell(self, kind, subject, first, who, attachments)
        super().cell(kind, subject, new, who, attachments)


def test_the_gates_that_were_passed_last_name_the_check(tmp_path: Path, vkey: Path) -> None:
    with ExitStack() as stack:
        batch = CheckedLate(tmp_path, Scenario(), stack).write()
        path = batch.export(tmp_path / "p.zip", Scope.SELECTIVE)
        report = verify_package(path, [batch.workstation.key, batch.cell.key])
        assert report.exit_status == 0, places(report)
        assert run(path, vkey)[0] == 0, run(path, vkey)[1]


class CheckedByDora(CrowdedWriter):
    """A crowd in which the daily checks are made by a person who does nothing else."""

    def _people_and_materials(self) -> None:
        super()._people_and_materials()
        self.ws(EventKind.PERSON_ACCOUNT_CREATED, "person/dora", {"username": "dora", "roles": ["operator"]})

    def cell(self, kind: EventKind, subject: str, new: Any, who: Actor = SYSTEM, attachments: dict[str, bytes] | None = None) -> None:
        dora = Actor("dora", "Dora Demonstration", "operator")
        super().cell(kind, subject, new, dora if kind is EventKind.EQUIPMENT_CHECK_COMPLETED else who, attachments)


def test_who_made_the_daily_check_travels_along(tmp_path: Path, vkey: Path) -> None:
    with ExitStack() as stack:
        batch = CheckedByDora(tmp_path, Scenario(), stack).write()
        path = batch.export(tmp_path / "p.zip", Scope.SELECTIVE)
        assert "dora" in {e["subject"]["id"] for e in entries_of(dict(read_package(path).files), "ws.example")}
        report = verify_package(path, [batch.workstation.key, batch.cell.key])
        assert report.exit_status == 0, places(report)
        assert run(path, vkey)[0] == 0, run(path, vkey)[1]


def test_an_unsigned_batch_and_one_with_a_refused_run(tmp_path: Path) -> None:
    for number, changes in enumerate(({"disposition": None}, {"refused_before": True})):
        with ExitStack() as stack:
            folder = tmp_path / str(number)
            folder.mkdir()
            batch = crowded(folder, stack, **changes)
            path = batch.export(folder / "p.zip", Scope.SELECTIVE)
            report = verify_package(path, [batch.workstation.key, batch.cell.key])
            assert report.exit_status == 0, places(report)
            (folder / "k").write_text(f"{batch.workstation.key}\n{batch.cell.key}\n")
            assert run(path, folder / "k")[0] == 0, run(path, folder / "k")[1]


def test_what_comes_after_the_disposition_breaks_nothing(tmp_path: Path, vkey: Path) -> None:
    """Later entries of the batch travel along, outside the record; later ones of its ink and its people do not."""
    with ExitStack() as stack:
        batch = crowded(tmp_path, stack)
        before = batch.record()
        batch.workstation.append(
            EntryDraft(EventKind.BATCH_PACKAGE_EXPORTED, Subject("batch", "B-1"), {"package_sha256": "0" * 64}, person("quinn"), "ws"),
            EntryDraft(EventKind.INK_LOT_RECEIVED, Subject("ink_lot", "CYC-0426"), {"recalled": True}, person("quinn"), "ws"),
        )
        path = batch.export(tmp_path / "p.zip", Scope.SELECTIVE)
        report = verify_package(path, [batch.workstation.key, batch.cell.key])
        assert report.exit_status == 0, places(report)
        files = dict(read_package(path).files)
        assert files["record.json"] == canonical(before)
        kinds = [entry["kind"] for entry in entries_of(files, "ws.example")]
        assert kinds.count("batch.package.exported") == 1 and kinds.count("ink.lot.received") == 1
        (tmp_path / "k").write_text(f"{batch.workstation.key}\n{batch.cell.key}\n")
        assert run(path, tmp_path / "k")[0] == 0


def test_a_run_can_be_read_from_it(package: Path) -> None:
    recorded = recorded_runs(read_package(package))
    assert [found.run for found in recorded] == ["B-1-R1"] and recorded[0].journal


def test_the_rule_applied_to_what_was_selected_gives_it_again(batch: Any) -> None:
    views = [TrailView(lines) for lines in batch.lines()]
    for selected, view in zip(select(*views, "B-1"), views, strict=True):
        assert selected.seqs[0] == 0 and selected.sizes[-1] == view.size
        assert sum(selected.objects.values()) <= len(selected.seqs) < view.size


HISTORY = {
    "the first entry of an object": ("unit/B-1-R1/001", 0),
    "an entry in the middle": ("run/B-1-R1", 2),
    "the last entry of a unit": ("unit/B-1-R1/002", -1),
    "a confirmation of the order": ("order/O-1", 1),
    "the roles of a person": ("person/quinn", 0),
    "the key of a person": ("person/anna", 1),
    "the enrolment of the cell": ("cell/cell-1", 0),
    "what another batch took from the cartridge": ("cartridge/C-77", 2),
}


@pytest.mark.parametrize("name", HISTORY)
@pytest.mark.parametrize("recounted", [False, True])
def test_a_history_with_a_hole_is_found(
    name: str, recounted: bool, batch: Any, package: Path, trusted: list[Any], vkey: Path, tmp_path: Path
) -> None:
    """By whoever holds the workstation's key and makes the proof anew: also where the counts are made to fit."""
    files, (object_, place) = dict(read_package(package).files), HISTORY[name]
    origin = next(o for o in ORIGINS if object_ in json.loads(files[f"proofs/{o}.json"])["objects"])
    mine = [e["seq"] for e in entries_of(files, origin) if f"{e['subject']['type']}/{e['subject']['id']}" == object_]
    seqs = [seq for seq in seqs_of(files, origin) if seq != mine[place]]
    objects = json.loads(files[f"proofs/{origin}.json"])["objects"]
    counts = {**objects, object_: objects[object_] - 1} if recounted else objects
    Maker(batch).remake(files, origin, seqs, objects={name: count for name, count in counts.items() if count})
    report = verify_package(repack(tmp_path / "p.zip", files, batch.key), trusted)
    assert report.exit_status == 1, name
    if not recounted:
        assert f"entries of {object_}, the package holds" in places(report)
    code, said = run(tmp_path / "p.zip", vkey)
    assert code == 1, said


@pytest.mark.parametrize(
    "name", sorted(set(EDITS) - {"a trail cut short", "an entry of the cell", "an old value", "a number", "a key more"})
)
def test_an_insider_with_the_manifest_key_is_found_out(name: str, package: Path, batch: Any, trusted: list[Any], tmp_path: Path) -> None:
    files = dict(read_package(package).files)
    EDITS[name][0](files)
    report = verify_package(repack(tmp_path / "p.zip", files, batch.key), trusted)
    assert report.exit_status == 1, name


def test_one_flipped_byte_anywhere_is_found(package: Path, trusted: list[Any], tmp_path: Path) -> None:
    data, generator = bytearray(package.read_bytes()), random.Random(3)
    for position in [generator.randrange(len(data)) for _ in range(150)]:
        data[position] ^= 1
        (tmp_path / "p.zip").write_bytes(data)
        data[position] ^= 1
        assert verify_package(tmp_path / "p.zip", trusted).exit_status == 1, position


@pytest.mark.parametrize("count", [190, pytest.param(4000, marks=pytest.mark.deep)])
def test_every_change_is_found_and_named(batch: Any, package: Path, trusted: list[Any], tmp_path: Path, count: int) -> None:
    generator, forger, maker, missed = random.Random(count), Forger(batch), Maker(batch), []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        place = mutate(kind, package, tmp_path / "m.zip", maker, forger, generator)
        report = verify_package(tmp_path / "m.zip", trusted)
        if report.exit_status != 1 or place not in places(report):
            missed.append(f"{number} {kind} at {place}: {places(report) or report.status}")
    assert missed == []


@pytest.mark.parametrize("count", [57, pytest.param(570, marks=pytest.mark.deep)])
def test_verify_py_finds_every_change_too(batch: Any, package: Path, vkey: Path, tmp_path: Path, count: int) -> None:
    generator, forger, maker = random.Random(11), Forger(batch), Maker(batch)
    assert run(package, vkey)[0] == 0
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        place = mutate(kind, package, tmp_path / "m.zip", maker, forger, generator)
        code, said = run(tmp_path / "m.zip", vkey)
        assert code == 1, f"{kind} at {place}: {said}"


def test_a_forgery_signed_anew_needs_the_key_from_outside(trusted: list[Any], vkey: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        forged = crowded(tmp_path, stack, seed=b"forger").export(tmp_path / "forged.zip", Scope.SELECTIVE)
    assert verify_package(forged).exit_status == 3 and run(forged)[0] == 3
    assert "is signed by a key that is not the trusted one" in places(verify_package(forged, trusted))
    assert run(forged, vkey)[0] == 1


@pytest.mark.parametrize("format_", ["dosewright-review/2", "dosewright-review/4", ""])
def test_a_package_of_another_format_is_not_taken_for_one_of_this(
    batch: Any, trusted: list[Any], vkey: Path, tmp_path: Path, format_: str
) -> None:
    files = dict(read_package(batch.export(tmp_path / "p.zip", Scope.WHOLE)).files)
    files["manifest.json"] = canonical({**json.loads(files["manifest.json"]), "format": format_})
    files["manifest.note"] = batch.key.sign_note(f"{format_}\n{sha256_hex(files['manifest.json'])}\n").encode()
    (tmp_path / "other.zip").write_bytes(write_archive(files))
    report = verify_package(tmp_path / "other.zip", trusted)
    assert report.exit_status == 1 and any(f"of the format {format_!r}; this verifier reads {FORMAT}" in str(f) for f in report.findings)
    status, said = run(tmp_path / "other.zip", vkey)
    assert status == 1 and f"manifest.note: is not of the format {FORMAT}" in said


def cosigned(batch: Any, store: Any, size: int, witness: SigningKey, time: int = 1_800_000_000) -> tuple[str, bytes]:
    """A checkpoint of the store with the cosignature of a witness, as C2SP tlog-cosignature has it."""
    lines = list(store.lines(0, size))
    note = SigningKey.from_seed(store.origin, (b"w" if store is batch.workstation else b"c") * 32).sign_note(
        format_checkpoint(store.origin, size, base64.b64decode(TrailView(lines).root()))
    )
    text = note.partition("\n\n")[0] + "\n"
    value = witness.sign(f"cosignature/v1\ntime {time}\n{text}".encode())
    data = witness_id(witness) + time.to_bytes(8, "big") + value
    return f"anchors/{store.origin}/{size}.note", f"{note}— {witness.name} {base64.b64encode(data).decode()}\n".encode()


def witness_id(witness: SigningKey) -> bytes:
    return bytes.fromhex(sha256_hex(witness.name.encode() + b"\n\x04" + witness.verifier.public)[:8])


def test_anchors_travel_along_and_are_checked_against_the_keys_of_witnesses(
    batch: Any, trusted: list[Any], vkey: Path, tmp_path: Path
) -> None:
    witness = SigningKey.from_seed("witness.example", b"n" * 32)
    key = CosignerKey.parse(
        f"witness.example+{witness_id(witness).hex()}+{base64.b64encode(bytes([4]) + witness.verifier.public).decode()}"
    )
    anchors = dict(cosigned(batch, store, size, witness) for store, size in ((batch.workstation, 7), (batch.cell, 9), (batch.cell, 11)))
    anchors["anchors/cell-1.example/11.tsr"] = b"a token"
    for scope in Scope:
        path = batch.export(tmp_path / f"{scope}.zip", scope, anchors)
        report = verify_package(path, trusted, Trusted((key,)))
        assert report.exit_status == 0, places(report)
        assert (
            "6 anchors: 4 files; witness.example saw 7 entries of ws.example; witness.example saw 11 entries of cell-1.example"
            in report.checked
        )
        assert run(path, vkey)[0] == 0, run(path, vkey)[1]
    name, note = cosigned(batch, batch.cell, 9, witness)
    forged = note.replace(b"\n9\n", b"\n9\n")[:-20] + b"A" * 16 + note[-4:]
    for changed, says in (
        ({name: forged}, "anchors/cell-1.example/9.note"),
        ({name.replace("9.", "10."): note}, "is not a checkpoint of this size"),
        ({}, "holds no checkpoint that the witness witness.example cosigned"),
    ):
        path = batch.export(tmp_path / "x.zip", Scope.SELECTIVE, changed)
        report = verify_package(path, trusted, Trusted((key,)))
        assert report.exit_status == 1 and says in places(report), places(report)
    with pytest.raises(RecordError, match="is no anchor"):
        batch.export(tmp_path / "x.zip", Scope.SELECTIVE, {"anchors/else.example/3.note": b""})


def test_the_record_is_the_one_of_the_whole_trails(batch: Any, package: Path) -> None:
    """What the selected entries give, built by the same code from whole trails."""
    assert read_package(package).files["record.json"] == canonical(batch_record.build(*batch.lines(), "B-1"))
