"""A batch among other patients' batches, and ways to change a selective package of it."""

from __future__ import annotations

import base64
import json
import random
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from audit.canonical import JsonObject, canonical
from audit.chain import leaf_hash
from audit.checkpoint import SigningKey, format_checkpoint
from audit.events import SYSTEM, Actor, EventKind
from audit.multiproof import prove
from audit.release.archive import write_archive
from audit.release.package import read_package
from audit.release.trail_view import TrailView
from tests.release.conftest import Scenario, Writer, person
from tests.release.mutations import CELL, WS, Forger

OTHER_PATIENT = "P-ANOTHER-PATIENT"
ORIGINS = ("ws.example", "cell-1.example")


class CrowdedWriter(Writer):
    """Writes the scenario's batch between the work of a site: other patients' orders and batches, log-ins, daily checks, alarms at rest."""

    number = 0

    @property
    def _day(self) -> str:
        """Of the last check."""
        return f"2026-04-{self.number:02}"

    def crowd(self) -> None:
        self.number += 1
        other = f"B-OTHER-{self.number}"
        order = {"order": {"patient": OTHER_PATIENT}, "patient": OTHER_PATIENT}
        self.ws(EventKind.PERSON_SESSION_OPENED, "person/olga", {"failures": 0}, person("olga"))
        self.ws(EventKind.ORDER_PRESCRIPTION_ENTERED, f"order/O-{other}", order, person("anna"))
        self.ws(EventKind.BATCH_RECORD_CREATED, f"batch/{other}", {"order": f"O-{other}", "ink_lot": "CYC-0426"}, person("anna"))
        self.ws(
            EventKind.INK_CARTRIDGE_USED, "cartridge/C-77", {"used": f"{self.number} uL", "usage": {"run": f"{other}-R1"}}, person("olga")
        )
        self.cell(EventKind.EQUIPMENT_CHECK_COMPLETED, "balance/BAL-1", {"passed": True, "day": self._day, "number": self.number})
        self.cell(EventKind.RUN_RECORD_CREATED, f"run/{other}-R1", {"batch": other, "patient": OTHER_PATIENT})
        self.cell(EventKind.UNIT_WEIGHT_JUDGED, f"unit/{other}-R1/001", {"verdict": "accepted", "mass_mg": "100.0"})

    def cell(
        self, kind: EventKind, subject: str, new: JsonObject, who: Actor = SYSTEM, attachments: dict[str, bytes] | None = None
    ) -> None:
        if kind is EventKind.RUN_GATES_PASSED and isinstance(gates := new["gates"], list):
            evidence = f"passed on {self._day} by Olga with weight W-1, balance serial number BAL-1"
            new = {"gates": [*gates, {"gate": "daily balance check", "met": True, "evidence": evidence}]}
        weighed = {"balance_serial": "BAL-1"} if kind is EventKind.UNIT_WEIGHT_JUDGED else {}
        super().cell(kind, subject, {**new, **weighed}, who, attachments)

    def _order(self) -> None:
        for _ in range(3):
            self.crowd()
        super()._order()
        self.crowd()

    def _run(self) -> None:
        super()._run()
        self.crowd()


def crowded(folder: Path, stack: ExitStack, **changes: Any) -> Any:
    """Return the stores of a batch in a crowd, which goes on after its disposition."""
    writer = CrowdedWriter(folder, replace(Scenario(), **changes), stack)
    batch = writer.write()
    writer.crowd()
    return batch


class Maker:
    """Somebody who holds the two stores, and can make the selected lines, the proofs and the counts of a package anew."""

    def __init__(self, batch: Any) -> None:
        self.lines = dict(zip(ORIGINS, batch.lines(), strict=True))

    def remake(
        self, files: dict[str, bytes], origin: str, seqs: list[int], size: int | None = None, objects: dict[str, int] | None = None
    ) -> None:
        """Put these entries of a trail in the package, with a proof that holds."""
        lines, proof = self.lines[origin], json.loads(files[f"proofs/{origin}.json"])
        size = len(lines) if size is None else size
        sizes = [stated for stated in proof["sizes"] if stated <= size]
        hashes = prove(lines, size, seqs, sizes)
        files[f"trails/{origin}.jsonl"] = b"".join(lines[seq] + b"\n" for seq in seqs)
        files[f"proofs/{origin}.json"] = canonical(
            {
                **proof,
                "sizes": sizes,
                "hashes": [base64.b64encode(value).decode() for value in hashes],
                "objects": objects or proof["objects"],
            }
        )


def seqs_of(files: dict[str, bytes], origin: str) -> list[int]:
    return [json.loads(line)["seq"] for line in files[f"trails/{origin}.jsonl"].splitlines()]


def entries_of(files: dict[str, bytes], origin: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in files[f"trails/{origin}.jsonl"].splitlines()]


KINDS = (
    "bit", "file", "left out", "exchanged", "swapped", "dropped", "hole", "repeated", "added", "edited", "forged hash", "hash left out",
    "hash more", "hashes exchanged", "other checkpoint", "other size", "count", "resigned", "resigned by the cell",
)  # fmt: skip


def mutate(kind: str, package: Path, to: Path, maker: Maker, forger: Forger, generator: random.Random) -> str:
    """Write a changed copy of a selective package, its manifest signed with the workstation's key; return what a report must name."""
    data, files = package.read_bytes(), dict(read_package(package).files)
    origin = generator.choice(ORIGINS)
    trail, proof_file = f"trails/{origin}.jsonl", f"proofs/{origin}.json"
    lines, proof, seqs = files[trail].splitlines(keepends=True), json.loads(files[proof_file]), seqs_of(files, origin)
    one, two = sorted(generator.sample(range(len(lines)), 2))
    expected = origin
    match kind:
        case "bit":
            place = generator.randrange(len(data))
            to.write_bytes(data[:place] + bytes([data[place] ^ 1 << generator.randrange(8)]) + data[place + 1 :])
            return ""
        case "file" | "left out" | "exchanged":
            return _files(kind, files, to, generator)
        case "swapped":
            lines[one], lines[two] = lines[two], lines[one]
        case "repeated":
            lines.insert(two, lines[one])
        case "dropped":  # the proof as it was: it asks for the entry
            del lines[one]
        case "hole":  # a proof that holds, and only the histories, the counts and the record speak against it
            maker.remake(files, origin, seqs[:one] + seqs[one + 1 :])
        case "added":
            others = [seq for seq in range(len(maker.lines[origin])) if seq not in seqs]
            maker.remake(files, origin, sorted([*seqs, generator.choice(others)]))
        case "edited":
            entry = json.loads(lines[two])
            entry[generator.choice(["at", "actor", "reason", "role", "device", "software"])] = "x"
            lines[two] = canonical(entry) + b"\n"
        case "other checkpoint":
            maker.remake(files, origin, [seq for seq in seqs if seq < max(seqs[-1], 2)], size=max(seqs[-1], 2))
        case "resigned" | "resigned by the cell":
            return _resigned(kind, files, to, maker, forger, origin, one)
        case _:
            _proof(kind, proof, generator)
            files[proof_file], expected = canonical(proof), proof_file
    if kind in ("swapped", "repeated", "dropped", "edited"):
        files[trail] = b"".join(lines)
    forger.pack(to, files, forger.site.key)
    return expected


def _files(kind: str, files: dict[str, bytes], to: Path, generator: random.Random) -> str:
    name, other = generator.sample(sorted(files), 2)
    if kind == "left out":
        del files[name]
    elif kind == "file":
        position = generator.randrange(len(files[name]) + 1)
        files[name] = files[name][:position] + generator.randbytes(2) + files[name][position:]
    else:
        files[name], files[other] = files[other] + (b" " if files[name] == files[other] else b""), files[name]
    to.write_bytes(write_archive(files))
    return "" if "manifest" in name or (kind == "exchanged" and "manifest" in other) else name


def _proof(kind: str, proof: dict[str, Any], generator: random.Random) -> None:
    hashes: list[str] = proof["hashes"]
    one, two = sorted(generator.sample(range(len(hashes)), 2))
    match kind:
        case "forged hash":
            hashes[one] = base64.b64encode(leaf_hash(generator.randbytes(8))).decode()
        case "hash left out":
            del hashes[one]
        case "hash more":
            hashes.insert(one, base64.b64encode(generator.randbytes(32)).decode())
        case "hashes exchanged":
            hashes[one], hashes[two] = hashes[two], hashes[one]
        case "other size":
            proof["sizes"][generator.randrange(len(proof["sizes"]))] += 1
        case "count":
            proof["objects"][generator.choice(sorted(proof["objects"]))] += generator.choice([-1, 1, 2])


def _resigned(kind: str, files: dict[str, bytes], to: Path, maker: Maker, forger: Forger, origin: str, one: int) -> str:
    """Change an entry and sign everything anew: with keys of one's own, or with the cell's own key for its checkpoint."""
    origin = "cell-1.example" if kind == "resigned by the cell" else origin
    seqs = seqs_of(files, origin)
    seq = seqs[min(one, len(seqs) - 1)]
    lines = list(maker.lines[origin])
    lines[seq] = canonical({**json.loads(lines[seq]), "device": "another"})
    made = Maker.__new__(Maker)
    made.lines = {**maker.lines, origin: lines}
    made.remake(files, origin, seqs)
    for name, trail in made.lines.items():
        key = SigningKey.from_seed(name, b"c" * 32) if kind == "resigned by the cell" and name == origin else forger.keys[name]
        if kind == "resigned" or name == origin:
            text = format_checkpoint(name, len(trail), base64.b64decode(TrailView(trail).root()))
            files[f"checkpoints/{name}"] = key.sign_note(text).encode()
    forger.pack(to, files, forger.site.key if kind == "resigned by the cell" else None)
    return origin


__all__ = ["CELL", "KINDS", "ORIGINS", "OTHER_PATIENT", "WS", "CrowdedWriter", "Maker", "crowded", "entries_of", "mutate", "seqs_of"]
