"""Packages of real demonstrations against the verifier that a stranger wrote from docs/review-package.md."""

from __future__ import annotations

import base64
import json
import re
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import demo_runs
import pytest
import stranger_verifier as stranger

from audit.checkpoint import SigningKey
from audit.multiproof import prove
from audit.reader import TrailReader

pytestmark = pytest.mark.stack

RUNS: dict[str, Callable[[], Path]] = {
    "minoxidil, released": demo_runs.released,
    "minoxidil, clogged": demo_runs.stopped,
    "cyclophosphamide": lambda: demo_runs.demonstration("--units", "3"),
    "sildenafil": lambda: demo_runs.demonstration("--case", "sildenafil"),
    "hydrocortisone": lambda: demo_runs.demonstration("--case", "hydrocortisone"),
    "bubble": lambda: demo_runs.demonstration("--units", "3", "--fault", "bubble:2", status=3),
    "drift": lambda: demo_runs.demonstration("--fault", "drift", status=3),
    "unplug": lambda: demo_runs.demonstration("--fault", "unplug", status=3),
}
QUICK = ("minoxidil, released", "minoxidil, clogged")


@pytest.fixture(params=[*QUICK, *(pytest.param(name, marks=pytest.mark.deep) for name in RUNS if name not in QUICK)])
def folder(request: pytest.FixtureRequest) -> Path:
    return RUNS[request.param]()


def test_verifies(folder: Path) -> None:
    data = (folder / demo_runs.PACKAGE).read_bytes()
    assert stranger.verify(data, (folder / demo_runs.KEYS).read_text().split())
    assert not stranger.verify(data), "without keys from outside the signer is not established"


def test_finds_a_change(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The stranger's verifier is no rubber stamp: it fails where ours fails."""
    data = (folder / demo_runs.PACKAGE).read_bytes()
    for position in (10, len(data) // 3, len(data) // 2, len(data) - 3):
        damaged = tmp_path / "damaged.zip"
        damaged.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        assert stranger.main([str(damaged), str(folder / demo_runs.KEYS)]) == 1
        assert capsys.readouterr().out


def test_verifies_a_whole_package_with_the_same_record(folder: Path, tmp_path: Path) -> None:
    path = demo_runs.whole(folder, tmp_path / "whole.zip")
    assert stranger.verify(path.read_bytes(), (folder / demo_runs.KEYS).read_text().split())
    with zipfile.ZipFile(path) as one, zipfile.ZipFile(folder / demo_runs.PACKAGE) as other:
        assert one.read("record.json") == other.read("record.json")
        assert len(one.read(f"trails/{CELL}.jsonl")) > len(other.read(f"trails/{CELL}.jsonl"))


CELL, WORKSTATION = "cell-1.demonstration", "workstation.demonstration"


def drop(files: dict[str, bytes], origin: str, place: int) -> None:
    lines = files[f"trails/{origin}.jsonl"].splitlines(keepends=True)
    files[f"trails/{origin}.jsonl"] = b"".join(line for number, line in enumerate(lines) if number != place)


def edit_proof(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, bytes], dict[str, list[bytes]]], None]:
    def edit(files: dict[str, bytes], _: dict[str, list[bytes]]) -> None:
        proof = json.loads(files[f"proofs/{CELL}.json"])
        change(proof)
        files[f"proofs/{CELL}.json"] = stranger.canonical(proof)

    return edit


def reprove(files: dict[str, bytes], lines: list[bytes], seqs: list[int]) -> None:
    """Put other entries of the cell's trail in, with a proof that holds and counts as they were."""
    proof = json.loads(files[f"proofs/{CELL}.json"])
    hashes = prove(lines, len(lines), seqs, proof["sizes"])
    proof["hashes"] = [base64.b64encode(value).decode() for value in hashes]
    files[f"proofs/{CELL}.json"] = stranger.canonical(proof)
    files[f"trails/{CELL}.jsonl"] = b"".join(lines[seq] + b"\n" for seq in seqs)


def seqs_in(files: dict[str, bytes]) -> list[int]:
    return [json.loads(line)["seq"] for line in files[f"trails/{CELL}.jsonl"].splitlines()]


SELECTED: dict[str, Callable[[dict[str, bytes], dict[str, list[bytes]]], object]] = {
    "an entry dropped": lambda files, _: drop(files, WORKSTATION, 5),
    "a hole, with a proof that holds": lambda files, trails: reprove(
        files, trails[CELL], [seq for seq in seqs_in(files) if seq != seqs_in(files)[7]]
    ),
    "an entry more, with a proof that holds": lambda files, trails: reprove(
        files, trails[CELL], sorted({*seqs_in(files), next(s for s in range(len(trails[CELL])) if s not in seqs_in(files))})
    ),
    "a forged hash": edit_proof(lambda proof: proof["hashes"].__setitem__(0, base64.b64encode(bytes(32)).decode())),
    "a hash more": edit_proof(lambda proof: proof["hashes"].append(base64.b64encode(bytes(32)).decode())),
    "another size": edit_proof(lambda proof: proof.update(sizes=proof["sizes"][1:])),
    "another count": edit_proof(lambda proof: proof["objects"].update({next(iter(proof["objects"])): 99})),
}


@pytest.mark.parametrize("name", SELECTED)
def test_finds_what_is_wrong_with_a_selection(name: str, tmp_path: Path) -> None:
    """Each change with a manifest that the workstation's own key signs anew."""
    folder = demo_runs.released()
    with zipfile.ZipFile(folder / demo_runs.PACKAGE) as archive:
        files = {member: archive.read(member) for member in archive.namelist()}
    trails = {}
    for origin, store in ((WORKSTATION, demo_runs.STORES[0]), (CELL, demo_runs.STORES[1])):
        with TrailReader(folder / store) as reader:
            size = int(files[f"checkpoints/{origin}"].split(b"\n")[1])
            trails[origin] = list(reader.lines(0, size))
    SELECTED[name](files, trails)
    key = SigningKey.load(folder / "keys" / "workstation.key")
    manifest = json.loads(files.pop("manifest.json"))
    files.pop("manifest.note")
    manifest["files"] = {member: stranger.sha256(data) for member, data in files.items()}
    data = stranger.canonical(manifest)
    note = key.sign_note(f"dosewright-review/3\n{stranger.sha256(data)}\n").encode()
    changed = stranger.rebuild_container(dict(sorted({**files, "manifest.json": data, "manifest.note": note}.items())))
    with pytest.raises(stranger.Wrong):
        stranger.verify(changed, (folder / demo_runs.KEYS).read_text().split())


def test_tolerance_factors_are_those_of_the_document() -> None:
    """The four factors printed in the document come out of the definition beside them."""
    assert [stranger.tolerance_factor(n) for n in (3, 5, 14, 20)] == ["9.7888", "5.0769", "3.0241", "2.7603"]


DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?\Z")


def test_the_record_has_the_names_and_types_of_the_format(folder: Path) -> None:
    with zipfile.ZipFile(folder / demo_runs.PACKAGE) as archive:
        record = json.loads(archive.read("record.json"))
        manifest = json.loads(archive.read("manifest.json"))
        names = set(archive.namelist())
    assert set(manifest) == {"format", "scope", "created", "files"} and manifest["format"] == "dosewright-review/3"
    assert manifest["scope"] == "selective"
    assert set(manifest["files"]) == names - {"manifest.json", "manifest.note"}
    for name in ["batch", "prescription", "dose", "strengths", "units", "alarms", "deviations", "disposition", "signatures"]:
        assert name in record
    assert record["disposition"] in {"released", "partly released", "rejected", "held"}
    dose = record["dose"]
    assert all(dose[name] is None or DECIMAL.match(dose[name]) for name in ("bsa_m2", "calculated_mg", "rounded_mg"))
    for strength in record["strengths"]:
        assert all(DECIMAL.match(strength["unit_target"][name]) for name in ("mass_mg", "volume_uL"))
        uniformity = strength["uniformity"]
        assert isinstance(uniformity["n"], int) and {"mean_percent", "statistic", "claim"} <= set(uniformity)
        assert uniformity["mean_percent"] is None or DECIMAL.match(uniformity["mean_percent"])
    for unit in record["units"]:
        assert isinstance(unit["n"], int) and unit["verdict"] in {"accepted", "rejected", "scrapped"} and isinstance(unit["reasons"], list)
        assert unit["verdict"] == "accepted" or unit["reasons"], "a unit that is not accepted says why"
        for name, value in unit.items():
            if name.endswith(("_mg", "_uL", "_percent", "_kPa", "_C")):
                assert value is None or (isinstance(value, str) and DECIMAL.match(value)), name
    assert_no_float(record)


def assert_no_float(value: Any) -> None:
    assert not isinstance(value, float)
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        assert_no_float(inner)


def test_the_program_can_be_read_by_a_stranger(folder: Path) -> None:
    """Net extruded volume of each unit, from the header's area and the bracketed lines alone."""
    with zipfile.ZipFile(folder / demo_runs.PACKAGE) as archive:
        program = archive.read("program-planned.gcode").decode()
        record = json.loads(archive.read("record.json"))
        again = {
            int(name[-9:-6]): archive.read(name).decode() for name in archive.namelist() if re.fullmatch(r"corrected/.*[.]gcode", name)
        }
    area = Decimal(re.search(r"^;E_AREA_MM2 (\S+)$", program, re.MULTILINE)[1])  # type: ignore[index]
    assert re.search(r"^M83\b", program, re.MULTILINE) and not re.search(r"^M82\b", program, re.MULTILINE)
    blocks = re.findall(r"^;UNIT (\d+)\n(.*?)^;END UNIT \1$", program, re.MULTILINE | re.DOTALL)
    assert len(blocks) == record["units_planned"]
    wanted = {unit["n"]: Decimal(unit["target_volume_uL"]) for unit in record["units"]}
    for number, block in blocks:
        text = again.get(int(number), block)  # a unit that was compiled anew is in a file of its own
        net = sum(Decimal(match) for match in re.findall(r"^G[01] [^;\n]*?E(-?[0-9.]+)", text, re.MULTILINE))
        if int(number) in wanted:
            assert abs(net * area / wanted[int(number)] - 1) < Decimal("0.0005") or abs(net * area - wanted[int(number)]) < Decimal("0.3")
