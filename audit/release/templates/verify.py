#!/usr/bin/env python3
"""Check a Dosewright review package (format dosewright-review/3) without Dosewright.

    python3 verify.py review-package.zip --key site.vkey

Needs Python 3.9 or newer and the package `cryptography`; one file, no network, writes nothing. site.vkey holds the verifier keys of the
workstation and of the cell, one a line, and must come from the site by another way than the package: whoever forges a package also puts
their own keys into it, and could put another verify.py into it. So take this file too from a place you trust, or read it.

Checked: every byte of the container; the signed manifest and every file's digest; both trails: canonical form, numbers, chain of digests,
states, RFC 6962 tree; the signed checkpoints; every person's signature and role; the tie between the trails; the digests of the record that
was signed and of the document that was sealed; masses and verdicts of the units in the record; the files that the cell's trail names; the
record inside the PDF.
A selective package holds the entries of one batch: each is proved to be in the tree that the checkpoint signs, belongs to the batch, and
each object has as many as the workstation signed for, with no hole between one and the next.
NOT checked: that statistics, evidence and predictions in the record follow from the trails, the seal inside the PDF and what its pages
show (`dosewright verify` does all that), and that what was recorded is true. Format: docs/review-package.md. The answer: 0 verified,
1 a finding, 3 consistent but nothing shows who signed.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import re
import struct
import sys
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT = "dosewright-review/3"
FIXED = {"manifest.json", "manifest.note", "keys.json", "record.json", "record.pdf", "README.txt", "verify.py"}
MEMBERS = sorted(
    "seq prev at zone clock actor name role device kind subject old new unit reason attachments demonstration software".split()
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*\Z")
# objects of which a selective package holds only the entries that set one of these fields, or (balance) single entries
BY_FIELD = {"person": {"active", "roles", "verifier_key"}, "store": {"origin", "verifier_key"}, "balance": set()}
OF_A_RUN, OF_A_BATCH = ("run", "unit", "part", "calibration", "correction", "alarm", "deviation"), ("exception", "ink_return", "prediction")
SHARED = [(name.removeprefix("second_"), name) for name in "ink_lot second_ink_lot cartridge second_cartridge recipe cell".split()]
BLOCK, MOST, LONGEST_LINE = 1 << 20, 10_000, 1 << 22
findings: list[str] = []


def find(place: str, problem: str) -> None:
    if len(findings) < 200 and f"{place}: {problem}" not in findings:
        findings.append(f"{place}: {problem}")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def canonical(value: Any) -> bytes:
    """RFC 8785 for text, booleans, null and integers: sorted ASCII names, no blanks, shortest escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def integer(text: str) -> int:
    if not re.fullmatch("-?[0-9]{1,16}", text) or abs(int(text)) >= 1 << 53:
        raise ValueError(f"the number {text} is not an integer below 2^53")
    return int(text)


def parse(data: bytes, place: str) -> Any:
    """Read JSON that must be in the one canonical form; None and a finding otherwise."""
    try:
        value = json.loads(data, parse_float=integer, parse_int=integer, parse_constant=integer)
        if canonical(value) == data:
            return value
        find(place, "is not in canonical form (RFC 8785)")
    except (ValueError, RecursionError) as error:
        find(place, f"is not canonical JSON: {error}")
    return None


# --- the container -----------------------------------------------------------------------------------------------------------------


def check_container(path: Path, archive: zipfile.ZipFile) -> None:
    """Rebuild every byte of the ZIP file from names and contents, and compare: nothing is hidden between, before or after the files."""
    infos, directory, position = archive.infolist(), b"", 0
    names = [info.filename for info in infos]
    if names != sorted(set(names)) or len(names) > MOST or not all(NAME.match(name) and len(name) <= 200 for name in names):
        find("container", "a name is there twice, out of order, or not a plain relative path")
    with path.open("rb") as stream:
        for info in infos:
            name = info.filename.encode("ascii", "replace")
            common = struct.pack("<4H3L2H", 0, 0, 0, 0x21, info.CRC, info.file_size, info.file_size, len(name), 0)
            header = b"PK\x03\x04" + struct.pack("<H", 20) + common + name
            if stream.read(len(header)) != header:
                find(f"container, {info.filename}", "its header is not what the format prescribes")
                return
            directory += b"PK\x01\x02" + struct.pack("<2H", 0x0314, 20) + common
            directory += struct.pack("<3H2L", 0, 0, 0, 0o100644 << 16, position) + name
            left, crc = info.file_size, 0
            while left and (block := stream.read(min(BLOCK, left))):
                left, crc = left - len(block), zlib.crc32(block, crc)
            if left or crc != info.CRC:
                find(info.filename, "its contents do not have the checksum that the container states")
                return
            position += len(header) + info.file_size
        end = b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, len(infos), len(infos), len(directory), position, 0)
        if stream.read(len(directory) + len(end) + 1) != directory + end:
            find("container, directory", "is not what the format prescribes, or something follows it")


# --- keys and signed notes (C2SP signed-note) ---------------------------------------------------------------------------------------


def read_key(text: str) -> tuple[str, bytes]:
    """Return name and Ed25519 key of `name+hash+base64`; ValueError where it is not one, or its hash is not its own."""
    name, stated, encoded = text.strip().split("+", 2)
    data = base64.b64decode(encoded, validate=True)
    own = hashlib.sha256(name.encode() + b"\n" + data).hexdigest()[:8]
    if len(data) != 33 or data[0] != 1 or own != stated or base64.b64encode(data).decode() != encoded or not name:
        raise ValueError("not an Ed25519 verifier key with its own hash")
    return name, data[1:]


def signed(public: bytes, signature: bytes, data: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def check_note(place: str, note: bytes, keys: list[str]) -> list[str]:
    """Return the lines of a note's text if one of the keys signed it and nothing in it has another form; else an empty list."""
    text, gap, block = note.rpartition(b"\n\n")
    known, proved = {}, False
    for key in keys:
        name, public = read_key(key)
        known[name, hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]] = public
    for line in block.removesuffix(b"\n").split(b"\n") if gap and block.endswith(b"\n") else []:
        match = re.fullmatch("\u2014 ([^ +]+) ([A-Za-z0-9+/=]+)", line.decode("utf-8", "replace"))
        data = base64.b64decode(match[2]) if match and len(match[2]) % 4 == 0 else b""
        if not match or len(data) < 5 or base64.b64encode(data).decode() != match[2]:
            find(place, "has a signature line of another form")
            return []
        if (signer := known.get((match[1], data[:4]))) is not None:
            if not signed(signer, data[4:], text + b"\n"):
                find(place, "its signature does not fit its text")
                return []
            proved = True
    if not proved:
        find(place, "is not signed by the key that must have signed it")
    return text.decode("utf-8", "replace").split("\n") if proved else []


# --- trails -------------------------------------------------------------------------------------------------------------------------


class Trail:
    """One trail, or the entries selected of it: each checked against those before, the RFC 6962 tree, and what is needed later."""

    def __init__(self, origin: str, lines: Iterable[bytes], stated: int, sizes: set[Any], numbers: set[Any], proof: Any = None) -> None:
        self.place, self.origin, self.size, self.last, self.proof = f"trails/{origin}.jsonl", origin, 0, "0" * 64, proof
        self.peaks: list[bytes] = []  # roots of the complete subtrees, largest first
        self.leaves: dict[int, bytes] = {}  # of the entries selected
        self.states: dict[tuple[str, str], dict[str, Any]] = {}
        self.kept: list[dict[str, Any]] = []  # of a whole trail: entries about batches and runs, that attach files or hold signatures
        self.roots: dict[object, str] = {}  # at the sizes that somebody names
        self.digests: dict[object, str] = {}  # of the entries that somebody names
        for line in lines:
            self.add(line)
            if proof is None and self.size in sizes | {stated}:
                self.roots[self.size] = self.root()
            if self.size - 1 in numbers:
                self.digests[self.size - 1] = self.last
        if proof is not None:
            self.prove(stated)
        self.birth = self.states.get(("store", origin), {})
        if self.birth.get("origin") != origin or (proof is not None and 0 not in self.leaves):
            find(self.place, f"does not begin with the origin {origin}")

    def add(self, line: bytes) -> None:
        """Take the next entry; afterwards `size` is its number and one."""
        place = f"{self.place} after entry {self.size - 1}"
        if not line.endswith(b"\n") or len(line) > LONGEST_LINE:
            find(place, "a line does not end with a line feed, or is too long")
        line = line.removesuffix(b"\n")
        entry, number = parse(line, place), self.size
        if isinstance(entry, dict) and sorted(entry) == MEMBERS and all(isinstance(entry[m], dict) for m in ("subject", "old", "new")):
            number = self.check(entry, place)
            wanted = entry["subject"].get("type") in ("batch", "person")
            wanted = wanted or entry["kind"] in ("run.record.created", "site.store.created", "trail.key.rotated")
            if wanted or entry["attachments"] or b'"signer"' in line or self.proof is not None:
                self.kept.append(entry)
        elif entry is not None:
            find(place, "a line does not have exactly the members of an entry")
        node, size = hashlib.sha256(b"\0" + line).digest(), self.size
        self.last = node.hex()
        if self.proof is not None:
            self.leaves[number], self.size = node, number + 1
            return
        while size & 1:
            node, size = hashlib.sha256(b"\1" + self.peaks.pop() + node).digest(), size >> 1
        self.peaks.append(node)
        self.size += 1

    def check(self, entry: dict[str, Any], place: str) -> int:
        """Hold an entry against those before it; return its number."""
        key = (str(entry["subject"].get("type")), str(entry["subject"].get("id")))
        number, state = entry["seq"], self.states.setdefault(key, {})
        if type(number) is not int or number < self.size or (self.proof is None and number != self.size):
            find(place, f"the number {number} follows")
            number = self.size
        if number == self.size and entry["prev"] != self.last:
            find(place, "the next entry's `prev` is not the digest of the entry before")
        followed = set(entry["new"]) if self.proof is None else set(entry["new"]) & BY_FIELD.get(key[0], set(entry["new"]))
        before = {name: state.get(name) for name in followed}
        if entry["old"].keys() != entry["new"].keys() or canonical({name: entry["old"][name] for name in followed}) != canonical(before):
            find(place, f"the history of {key[0]}/{key[1]} has a hole: `old` of entry {number} is not what the entries before lead to")
        state.update({name: entry["new"][name] for name in (entry["new"] if self.proof is None else followed or entry["new"])})
        return number

    def root(self) -> str:
        node = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            node = hashlib.sha256(b"\1" + peak + node).digest()
        return base64.b64encode(node).decode()

    def prove(self, stated: int) -> None:
        """Rebuild the root of the tree of `stated` entries, and those at the proof's sizes, from the entries here and the proof's hashes.

        The hashes are, from left to right, the roots of the largest subtrees that hold none of the entries and that no size cuts.
        """
        given, sizes = [base64.b64decode(text, validate=True) for text in self.proof["hashes"]], self.proof["sizes"]
        well = sizes == sorted(set(sizes)) and all(len(value) == 32 for value in given)
        well = well and [base64.b64encode(value).decode() for value in given] == self.proof["hashes"]
        nodes: dict[tuple[int, int], bytes] = {}
        marks = sorted([*(2 * number + 1 for number in self.leaves), *(2 * size for size in sizes)])  # a size lies between two leaves

        def node(low: int, high: int) -> bytes:
            """Return the root over the entries low to high - 1."""
            at, middle = bisect_right(marks, 2 * low), low + (1 << (high - low - 1).bit_length() - 1) if high - low > 1 else low
            if (low, high) not in nodes:
                if (low, middle) not in nodes and (at == len(marks) or marks[at] >= 2 * high):
                    nodes[low, high] = given.pop(0)
                elif high - low == 1:
                    nodes[low, high] = self.leaves[low]
                else:
                    nodes[low, high] = hashlib.sha256(b"\1" + node(low, middle) + node(middle, high)).digest()
            return nodes[low, high]

        self.size = max(stated, self.size)
        try:
            node(0, self.size)
            self.roots = {size: base64.b64encode(node(0, size)).decode() for size in [*sizes, self.size] if 0 < size <= self.size}
        except (IndexError, KeyError):
            well = False
        if given or not well:
            find(f"proofs/{self.origin}.json", "has fewer or more hashes than its entries and sizes ask for, or another form")

    def state(self, type_: str, id_: object) -> dict[str, Any]:
        return self.states.get((type_, str(id_)), {})


def daily_checks(cell: Trail, run: str) -> Iterator[int]:
    """Give the last daily check before a run of each balance that something of it was weighed on; one that its gates name must be here."""
    mine = [e for e in cell.kept if e["subject"]["id"] == run or e["subject"]["id"].rpartition("/")[0] == run]
    began = min(e["seq"] for e in mine if e["subject"] == {"type": "run", "id": run})
    gates = ([e["new"].get("gates", []) for e in mine if e["kind"] == "run.gates.passed"] or [[]])[-1]
    said = next((str(gate.get("evidence")) for gate in gates if gate.get("gate") == "daily balance check" and gate.get("met") is True), "")
    for serial in {str(e["new"]["balance_serial"]) for e in mine if e["new"].get("balance_serial") is not None}:
        balance = {"type": "balance", "id": serial}
        before = [e for e in cell.kept if (e["subject"], e["kind"]) == (balance, "equipment.check.completed") and e["seq"] < began][-1:]
        yield from (e["seq"] for e in before)
        right = [e for e in before if e["new"].get("passed") is True and said.startswith(f"passed on {e['new'].get('day')} ")]
        if said.startswith("passed on ") and said.endswith(f" {serial}") and not right:
            find(cell.place, f"lacks the daily check of balance {serial} that the gates of {run} name")


def check_selection(batch: str, workstation: Trail, cell: Trail, anchored: dict[str, set[int]]) -> None:
    """A selective package holds the entries of its batch: all that the workstation counted of each object, and no other."""
    state, about = workstation.state("batch", batch), [e for e in workstation.kept if e["subject"] == {"type": "batch", "id": batch}]
    signed = [entry["new"] for entry in about if entry["kind"] == "batch.disposition.signed"][-1:]
    bound = signed[0]["workstation_size"] if signed else workstation.size
    runs = [e["subject"]["id"] for e in cell.kept if e["kind"] == "run.record.created" and e["new"].get("batch") == batch]
    shared = {(type_, state.get(field)) for type_, field in SHARED}
    for entry in cell.kept:
        if entry["kind"] == "run.record.created" and entry["subject"]["id"] in runs:
            shared |= {("model", rule["model"]) for rule in (entry["new"].get("release_rules") or {}).get("process_models", [])}
    people, checks = set(), {seq for run in runs for seq in daily_checks(cell, run)}
    for entry in workstation.kept + cell.kept:
        if entry["subject"]["type"] not in ("recipe", "person", "store"):
            people |= {entry["actor"], *(signature["signer"] for signature in signatures_in(entry["new"]))}

    def belongs(trail: Trail, entry: dict[str, Any], type_: str, id_: str) -> bool:
        if type_ in ("person", "store"):
            return (id_ in people and trail is workstation if type_ == "person" else id_ == trail.origin) and bool(
                BY_FIELD[type_] & set(entry["new"])
            )
        if trail is cell:
            of_run = type_ in OF_A_RUN and (id_ if type_ == "run" else id_.rpartition("/")[0]) in runs
            return of_run or (type_ == "balance" and entry["seq"] in checks)
        own = (type_, id_) in (("batch", batch), ("order", state.get("order"))) or (type_ in OF_A_BATCH and id_.startswith(f"{batch}/"))
        own = own or (type_ == "spectrum" and id_.rpartition("/")[0] in runs)
        return own or ((type_, id_) in shared and entry["seq"] < bound)

    for trail in (workstation, cell):
        counted: dict[str, int] = {}
        for entry in trail.kept:
            type_, id_ = entry["subject"]["type"], entry["subject"]["id"]
            if not belongs(trail, entry, type_, id_):
                find(f"{trail.place} (entry {entry['seq']})", f"is not an entry that batch {batch} rests on")
            elif type_ != "balance":
                counted[f"{type_}/{id_}"] = counted.get(f"{type_}/{id_}", 0) + 1
        sizes = {bound} if trail is workstation else {e["new"].get("cell_size") for e in about if e["kind"] == "batch.run.closed"}
        sizes |= anchored[trail.origin] | {trail.size} | ({signed[0]["cell_size"]} if signed and trail is cell else set())
        place, objects = f"proofs/{trail.origin}.json", trail.proof["objects"]
        for name in sorted(name for name in {*counted, *objects} if counted.get(name) != objects.get(name)):
            find(place, f"counts other entries of {name} than are here: its history is not whole")
        if trail.proof["sizes"] != sorted(sizes) or sorted(trail.proof) != ["hashes", "objects", "sizes"]:
            find(place, f"is not for the sizes {sorted(sizes)}")


def believed_keys(trail: Trail, trusted: list[str]) -> list[str]:
    """Return the trail's keys that a trusted one vouches for: its own, and each next one while the old key signed its rotation.

    A rotation's statement is signed by the old and the new key; by the new one alone where it says that it is not continuous.
    """
    key = next((str(e["new"].get("verifier_key")) for e in trail.kept if e["kind"] == "site.store.created"), "")
    believed = [key] if key in trusted else []
    for entry in trail.kept:
        if entry["kind"] == "trail.key.rotated":
            place, new = f"{trail.place} entry {entry['seq']}", str(entry["new"].get("verifier_key"))
            continuous, note = entry["new"].get("continuous") is True, str(entry["new"].get("statement")).encode()
            wanted = ["dosewright-key-rotation/1", trail.origin, str(entry["seq"]), entry["prev"], key, new]
            if any(check_note(place, note, [signer]) != wanted for signer in ([key, new] if continuous else [new])):
                find(place, "replaces the trail's key by a statement that the old and the new key did not sign")
            elif new in trusted or (continuous and key in believed):
                believed.append(new)
            key = new
    if key != trail.birth.get("verifier_key"):
        find(trail.place, "its verifier key was changed without a rotation")
    return believed


def key_at(trail: Trail, size: int) -> str:
    """Return the key that signs a checkpoint of this size: that of the first entry, or of the last rotation among the entries counted."""
    named = [e for e in trail.kept if e["kind"] in ("site.store.created", "trail.key.rotated") and e["seq"] < size]
    return str(named[-1]["new"].get("verifier_key")) if named else ""


def check_checkpoint(trail: Trail, note: bytes, trusted: list[str]) -> None:
    place, own = f"checkpoints/{trail.origin}", str(trail.birth.get("verifier_key"))
    try:
        named = read_key(own)[0] == trail.origin
    except ValueError:
        find(trail.place, "its first entry holds no verifier key")
        return
    text = check_note(place, note, [own])
    if text and (not named or text != [trail.origin, str(trail.size), str(trail.roots.get(trail.size))]):
        find(place, f"does not state exactly the origin, the {trail.size} entries and the root of {trail.place}")
    if own not in believed_keys(trail, trusted) and trusted:
        find(place, f"is signed by {own}, which is not a trusted key")


# --- people, record, files ----------------------------------------------------------------------------------------------------------


def signatures_in(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        if {"signer", "key", "value", "digest"} <= value.keys():
            yield value
        for item in value.values():
            yield from signatures_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from signatures_in(item)


def check_people(trails: list[Trail]) -> int:
    """Every signature verifies, by a key that the workstation's trail gave the signer before, in a role that the signer held."""
    workstation, count = trails[0], 0
    for trail in trails:
        keys: dict[str, set[str]] = {}
        roles: dict[str, list[str]] = {}
        people = [entry for entry in workstation.kept if entry["subject"].get("type") == "person"]
        for entry in trail.kept:
            while people and (trail is not workstation or people[0]["seq"] < entry["seq"]):
                account = people.pop(0)
                keys.setdefault(account["subject"]["id"], set()).add(str(account["new"].get("verifier_key")))
                roles[account["subject"]["id"]] = account["new"].get("roles", roles.get(account["subject"]["id"], []))
            for found in signatures_in(entry["new"]):
                count += 1
                place, signer = f"{trail.place} line {entry['seq'] + 1} (entry {entry['seq']})", str(found["signer"])
                try:
                    name, public = read_key(str(found["key"]))
                    value = base64.b64decode(str(found["value"]), validate=True)
                except ValueError:
                    find(place, f"the signature of {signer} holds no key or value")
                    continue
                body = canonical({name: value for name, value in found.items() if name != "value"})
                if not signed(public, value, body) or base64.b64encode(value).decode() != found["value"] or name.split("/")[-1] != signer:
                    find(place, f"the signature of {signer} does not match its fields")
                elif entry["subject"].get("type") != "recipe":  # a recipe may come signed from another site
                    if found["key"] not in keys.get(signer, ()) or found.get("role") not in roles.get(signer, ()):
                        find(place, f"the key or role of {signer} is not one that the workstation's trail gave")
    return count


def check_record(record: dict[str, Any], data: bytes, document: str, workstation: Trail, cell: Trail) -> None:
    """The record is the one that was signed, and what it says of entries and units is what the trails hold."""
    batch = str(record.get("batch"))
    for item in record.get("entries", []):
        trail = {"workstation": workstation, "cell": cell}.get(item.get("trail"))
        if trail is None or trail.digests.get(item["seq"]) != item["digest"]:
            find("record.json", f"rests on an entry that is not in the trails: {item.get('trail')} {item.get('seq')}")
    for unit in record.get("units", []):
        state = cell.state("unit", unit.get("unit"))
        if unit.get("mass_mg") != state.get("mass_mg") or unit.get("verdict") != (state.get("verdict") or "scrapped"):
            find("record.json", f"mass or verdict of unit {unit.get('unit')} is not that of the cell's trail")
    about = [entry for entry in workstation.kept if entry["subject"] == {"type": "batch", "id": batch}]
    for entry in about:
        place, new = f"{workstation.place} entry {entry['seq']}", entry["new"]
        if entry["kind"] == "batch.run.closed":
            if new.get("cell_origin") != cell.origin or cell.roots.get(new.get("cell_size")) != new.get("cell_root"):
                find(place, f"origin, size and root are not those of {cell.place}")
        if entry["kind"] == "batch.document.sealed" and new.get("document_sha256") != document:
            find("record.pdf", f"is not the sealed document that {place} names")
        if entry["kind"] == "batch.disposition.signed":
            body = sha256(canonical({name: value for name, value in record.items() if name != "signatures"}))
            signature = new.get("signature", {})
            if not body == new.get("record_sha256") == signature.get("digest") or new.get("disposition") != record.get("disposition"):
                find(place, "signs another record than record.json")
            if sha256(data) not in [item["sha256"] for item in entry["attachments"]] or signature.get("signer") != entry["actor"]:
                find(place, "record.json, or the signer, is not the one that the entry names")
    if sum(entry["kind"] == "batch.disposition.signed" for entry in about) != (record.get("releaser") is not None):
        find("record.json", "does not have the one signed disposition that its trail holds")


def check_files(files: dict[str, str], batch: str, cell: Trail, trails: list[Trail], anchors: dict[str, set[int]]) -> None:
    """What the batch's runs attached is here, as the cell's trail names it, and nothing else is."""
    made = [e for e in cell.kept if e["kind"] == "run.record.created" and e["new"].get("batch") == batch]
    runs, wanted = [entry["subject"]["id"] for entry in made], {}
    for entry in cell.kept:
        subject = entry["subject"]
        run = subject["id"] if subject["type"] == "run" else subject["id"].rpartition("/")[0]
        if run in runs and subject["type"] in ("run", "unit", "part", "calibration", "correction"):
            for item in entry["attachments"]:
                if re.match(
                    r"(program-planned\.gcode|program\.gcode|admission\.json)\Z|journal/|traces/|corrected/|pictures/", item["name"]
                ):
                    wanted[("" if run == runs[-1] else f"runs/{run}/") + item["name"]] = item["sha256"]
    for name in sorted(wanted):
        if files.get(name) != wanted[name]:
            find(name, "is not the file that the cell's trail names, or is missing")
    known = FIXED | set(wanted) | {trail.place for trail in trails} | {f"checkpoints/{trail.origin}" for trail in trails}
    known |= {f"proofs/{trail.origin}.json" for trail in trails if trail.proof is not None}
    known |= {f"anchors/{origin}/{size}.{kind}" for origin, found in anchors.items() for size in found for kind in ("note", "tsr")}
    for name in sorted(set(files) - known):
        find(name, "is not a file that this format has, or that the trails name")


def carries(pdf: bytes, record: bytes) -> bool:
    """Say whether the record is an embedded file of the PDF, stored or deflated."""
    for match in re.finditer(rb"/Type ?/EmbeddedFile\b.{0,1000}?stream\r?\n", pdf, re.DOTALL):
        content = pdf[match.end() :]
        try:
            if content.startswith(record) or zlib.decompressobj().decompress(content, len(record) + 1) == record:
                return True
        except zlib.error:
            continue
    return False


# --- everything, in order -----------------------------------------------------------------------------------------------------------


def check_contents(archive: zipfile.ZipFile, trusted: list[str]) -> None:
    files: dict[str, str] = {}
    for name in archive.namelist():
        digest = hashlib.sha256()
        with archive.open(name) as stream:
            while block := stream.read(BLOCK):
                digest.update(block)
        files[name] = digest.hexdigest()
    for name in sorted(FIXED - {"verify.py"} - set(files)):
        find(name, "is missing")
    if findings:
        return
    manifest, keys, record = (parse(archive.read(name), name) or {} for name in ("manifest.json", "keys.json", "record.json"))
    text = check_note("manifest.note", archive.read("manifest.note"), list(keys.get("keys", [])))
    if text and text[0] != FORMAT:
        find("manifest.note", f"is not of the format {FORMAT}, which this file reads; use the verify.py of a package of that format")
    elif text != [FORMAT, files["manifest.json"]]:
        find("manifest.json", "is not the manifest that manifest.note was signed for")
    named = manifest.get("files", {})
    scope = manifest.get("scope")
    well = manifest.keys() == {"created", "files", "format", "scope"} and manifest["format"] == FORMAT and scope in ("whole", "selective")
    if not well or {"README.txt", "record.pdf"} - set(named):
        find("manifest.json", "does not have the members of this format")
    for name in sorted({*named, *files} - {"manifest.json", "manifest.note"}):
        if files.get(name) != named.get(name):
            find(name, "is not the file that the manifest names, or only one of the two has it")
    origins = [str(record["trails"][side]["origin"]) for side in ("workstation", "cell")]
    numbers = [{item["seq"] for item in record["entries"] if item["trail"] == side} for side in ("workstation", "cell")]
    proofs = [parse(archive.read(f"proofs/{name}.json"), name) if scope == "selective" else None for name in origins]
    stated = [int(archive.read(f"checkpoints/{name}").split(b"\n")[1][:16]) for name in origins]
    found = [re.fullmatch(r"anchors/(.+)/([1-9][0-9]{0,15})\.(?:note|tsr)", name) for name in files]
    anchors = {name: {int(match[2]) for match in found if match and match[1] == name} for name in origins}
    with archive.open(f"trails/{origins[0]}.jsonl") as lines:
        workstation = Trail(origins[0], lines, stated[0], anchors[origins[0]], numbers[0], proofs[0])
    sizes = {entry["new"].get("cell_size") for entry in workstation.kept if entry["kind"] == "batch.run.closed"}
    with archive.open(f"trails/{origins[1]}.jsonl") as lines:
        cell = Trail(origins[1], lines, stated[1], sizes | anchors[origins[1]], numbers[1], proofs[1])
    trails = [workstation, cell]
    for trail in trails:
        check_checkpoint(trail, archive.read(f"checkpoints/{trail.origin}"), trusted)
        for size in anchors[trail.origin]:
            name = f"anchors/{trail.origin}/{size}.note"
            text = check_note(name, archive.read(name), [key_at(trail, size)]) if name in files else []
            if text and text != [trail.origin, str(size), str(trail.roots.get(size))]:
                find(name, "is not a checkpoint of this size and root of its trail")
    if scope == "selective":
        check_selection(str(record.get("batch")), workstation, cell, anchors)
    own = [str(trail.birth.get("verifier_key")) for trail in trails]
    if sorted(keys.get("keys", [])) != sorted(own) or len(set(origins)) != 2:
        find("keys.json", "does not hold exactly the keys of the two trails")
    check_note("manifest.note", archive.read("manifest.note"), own[:1])
    enrolled = workstation.state("cell", record.get("cell", {}).get("name"))
    known = {str(enrolled.get("verifier_key"))}
    if scope == "selective":  # its entries end with the disposition; the cell's key may have been replaced later
        known |= set(believed_keys(cell, sorted(known)))
    if enrolled.get("origin") != cell.origin or own[1] not in known:
        find(workstation.place, "does not enrol the cell with this origin and key")
    count = check_people(trails)
    data = archive.read("record.json")
    check_record(record, data, files["record.pdf"], workstation, cell)
    check_files(files, str(record.get("batch")), cell, trails, anchors)
    if not carries(archive.read("record.pdf"), data):
        find("record.pdf", "does not carry record.json")
    print(f"batch {record.get('batch')}: {record.get('disposition')}; {len(files)} files, {count} signatures of people")
    for trail in trails:
        print(f"  {trail.place}: {trail.size} entries ({scope}), root {trail.roots.get(trail.size)}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Check a Dosewright review package without Dosewright.")
    parser.add_argument("package", type=Path)
    parser.add_argument("--key", type=Path, action="append", default=[], help="file with verifier keys from outside the package")
    options = parser.parse_args()
    trusted = [line.strip() for path in options.key for line in path.read_text("utf-8").splitlines() if line.strip()]
    for key in trusted:
        read_key(key)
    try:
        with zipfile.ZipFile(options.package) as archive:
            check_container(options.package, archive)
            if not findings:
                check_contents(archive, trusted)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error, UnicodeDecodeError) as error:
        find("container", f"cannot be read: {error}")
    except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:
        find("contents", f"have an unexpected shape ({type(error).__name__}: {error})")
    for finding in findings:
        print(f"FINDING  {finding}")
    answer = "FAILED" if findings else "VERIFIED" if trusted else "internally consistent; SIGNER NOT ESTABLISHED: give --key"
    print(answer)
    return 1 if findings else 0 if trusted else 3


if __name__ == "__main__":
    sys.exit(main())
