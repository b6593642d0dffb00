"""A second verifier for review packages, written from docs/review-package.md alone, with the standard library and cryptography.

It shares no code with the product. `python stranger_verifier.py PACKAGE [KEYFILE]` prints findings, one a line.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import math
import re
import struct
import sys
import zlib
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
ENTRY_MEMBERS = {
    "seq",
    "prev",
    "at",
    "zone",
    "clock",
    "actor",
    "name",
    "role",
    "device",
    "kind",
    "subject",
    "old",
    "new",
    "unit",
    "reason",
    "attachments",
    "demonstration",
    "software",
}
SIGNATURE_MEMBERS = {"signer", "name", "role", "meaning", "at", "zone", "digest", "key", "scripted", "value"}
RECORD_MEMBERS = {
    "format",
    "batch",
    "demonstration",
    "notice",
    "product",
    "recipe",
    "order",
    "prescription",
    "dose",
    "ink",
    "cartridge",
    "cell",
    "runs",
    "units_planned",
    "units_accepted",
    "strengths",
    "purge_units",
    "corrections",
    "units",
    "alarms",
    "deviations",
    "exceptions",
    "ink_use",
    "evidence",
    "proposal",
    "disposition",
    "releaser",
    "people",
    "times",
    "trails",
    "entries",
    "signatures",
}
OF_A_RUN = ("unit", "part", "calibration", "correction", "alarm", "deviation")
PRINTED = ("unit", "part", "calibration", "correction")
EXACT = Context(prec=28, rounding=ROUND_HALF_UP)


class Wrong(Exception):
    """A finding: place and problem."""

    def __init__(self, place, problem):
        super().__init__(f"{place}: {problem}")


def need(condition, place, problem):
    if not condition:
        raise Wrong(place, problem)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def entry_digest(line):
    return sha256(b"\0" + line)


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse(data, place):
    need(len(data) <= 16 << 20, place, "too large")

    def no_float(text):
        raise Wrong(place, f"a float {text}")

    try:
        value = json.loads(data.decode(), parse_float=no_float, parse_constant=no_float)
        again = canonical(value)
    except (ValueError, RecursionError) as error:
        raise Wrong(place, f"not JSON: {error}") from None
    need(again == data, place, "not canonical")
    return value


def unbase64(text, place):
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise Wrong(place, "not base64") from None
    need(base64.b64encode(data).decode() == text, place, "base64 in another form")
    return data


# -- container -------------------------------------------------------------------------------------------------------


def container(data):
    """Read the files, then rebuild the archive from them and compare."""
    need(len(data) <= 2**30 + 2**24, "zip", "too large")
    need(len(data) >= 22 and data[-22:-18] == b"PK\x05\x06", "zip", "no end record")
    count, length, offset = struct.unpack("<H2L", data[-12:-2])
    need(count <= 10000 and offset + length + 22 == len(data), "zip", "directory not where it should be")
    files, at = {}, offset
    for _ in range(count):
        head = data[at : at + 46]
        need(len(head) == 46 and head[:4] == b"PK\x01\x02", "zip", "directory damaged")
        size, name_length, local = (
            struct.unpack("<L", head[24:28])[0],
            struct.unpack("<H", head[28:30])[0],
            struct.unpack("<L", head[42:46])[0],
        )
        raw = data[at + 46 : at + 46 + name_length]
        need(raw.isascii(), "zip", "name")
        name = raw.decode()
        need(NAME.fullmatch(name) and len(name) <= 200, "zip", f"name {name!r}")
        need(name not in files, "zip", f"{name} twice")
        start = local + 30 + name_length
        need(start + size <= offset, "zip", f"{name} outside the file")
        files[name] = data[start : start + size]
        need(sum(map(len, files.values())) <= len(data), "zip", "files overlap")
        at += 46 + name_length
    need(list(files) == sorted(files), "zip", "not in order")
    need(rebuild_container(files) == data, "zip", "bytes other than prescribed")
    return files


def rebuild_container(files):
    out, directory = bytearray(), bytearray()
    for name, content in files.items():
        fixed = struct.pack("<HHHHHLLLHH", 20, 0, 0, 0, 0x21, zlib.crc32(content), len(content), len(content), len(name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 0x0314) + fixed + struct.pack("<HHHLL", 0, 0, 0, 0x81A40000, len(out)) + name.encode()
        )
        out += b"PK\x03\x04" + fixed + name.encode() + content
    return bytes(out + directory) + b"PK\x05\x06" + struct.pack("<HHHHLLH", 0, 0, len(files), len(files), len(directory), len(out), 0)


# -- keys and notes --------------------------------------------------------------------------------------------------


def parse_key(text, place):
    parts = text.split("+", 2)
    need(len(parts) == 3, place, "not a verifier key")
    name, hashed, blob = parts[0], parts[1], unbase64(parts[2], place)
    need(len(blob) == 33 and blob[0] == 1, place, "not an Ed25519 key")
    identity = hashlib.sha256(name.encode() + b"\n" + blob).digest()[:4]
    need(identity.hex() == hashed, place, "key hash")
    return name, identity, Ed25519PublicKey.from_public_bytes(blob[1:])


def open_note(data, place, lengths=(68,)):
    """Return text and [(name, identity, signature)]."""
    try:
        whole = data.decode()
    except UnicodeDecodeError:
        raise Wrong(place, "not UTF-8") from None
    text, gap, tail = whole.rpartition("\n\n")
    need(gap and tail.endswith("\n"), place, "not a note")
    found = []
    for line in tail[:-1].split("\n"):
        match = re.fullmatch(r"— ([^ +]+) (\S+)", line)
        need(match, place, "signature line")
        blob = unbase64(match[2], place)
        need(len(blob) in lengths, place, "signature length")
        found.append((match[1], blob[:4], blob[4:]))
    return text + "\n", found


def signed_by(text, signatures, keys):
    """Return the texts of the keys that really signed."""
    found = set()
    for key_text in keys:
        name, identity, public = parse_key(key_text, key_text)
        for signer, stated, signature in signatures:
            if (signer, stated) == (name, identity):
                try:
                    public.verify(signature, text.encode())
                except InvalidSignature:
                    continue
                found.add(key_text)
    return found


# -- trails ----------------------------------------------------------------------------------------------------------


def root(leaves):
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\0" + leaves[0]).digest()
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


class Trail:
    """A whole trail, from entry 0."""

    selective = False

    def __init__(self, origin, data):
        place = f"trails/{origin}.jsonl"
        need(data.endswith(b"\n"), place, "no line feed at the end")
        self.origin, self.lines = origin, data[:-1].split(b"\n")
        self.size = len(self.lines)
        self.entries, states, before = [], {}, "0" * 64
        for number, line in enumerate(self.lines):
            where = f"{place} entry {number}"
            need(len(line) <= 4 << 20, where, "too long")
            entry = parse(line, where)
            need(isinstance(entry, dict) and set(entry) == ENTRY_MEMBERS, where, "members")
            need(type(entry["seq"]) is int and entry["seq"] == number, where, "seq")
            need(entry["prev"] == before, where, "prev")
            need(set(entry["subject"]) == {"id", "type"}, where, "subject")
            state = states.setdefault((entry["subject"]["type"], entry["subject"]["id"]), {})
            need(entry["old"] == {field: state.get(field) for field in entry["new"]}, where, "old")
            for item in entry["attachments"]:
                need(set(item) == {"name", "sha256", "bytes"}, where, "attachment")
            state.update(entry["new"])
            before = entry_digest(line)
            self.entries.append(entry)
        first = self.entries[0]["new"]
        need(first.get("origin") == origin, f"{place} entry 0", "origin")
        self.key, self.demonstration = first["verifier_key"], first["demonstration"]
        need(parse_key(self.key, f"{place} entry 0")[0] == origin, f"{place} entry 0", "name of the key")

    def root(self, size=None):
        return base64.b64encode(root(self.lines[:size])).decode()

    def line(self, entry):
        return self.lines[entry["seq"]]

    def first(self, size):
        return self.entries[:size]

    def state(self, kind, identity, size=None):
        state = {}
        for entry in self.first(size):
            if entry["subject"] == {"id": identity, "type": kind}:
                state.update(entry["new"])
        return state

    def of(self, kind, identity=None, size=None):
        return [e for e in self.first(size) if e["kind"] == kind and identity in (None, e["subject"]["id"])]


FOLLOWED = {"person": {"active", "roles", "verifier_key"}, "store": {"origin", "verifier_key"}, "balance": set()}


class Selection(Trail):
    """Some entries of a trail, and the proof file that says where they are in it."""

    selective = True

    def __init__(self, origin, data, checkpoint, proof):
        place = f"trails/{origin}.jsonl"
        need(data.endswith(b"\n"), place, "no line feed at the end")
        self.origin, self.entries, self.at, states = origin, [], {}, {}
        before = (-1, "0" * 64)
        for line in data[:-1].split(b"\n"):
            need(len(line) <= 4 << 20, place, "line too long")
            entry = parse(line, place)
            need(isinstance(entry, dict) and set(entry) == ENTRY_MEMBERS, place, "members")
            number, where = entry["seq"], f"{place} entry {entry['seq']}"
            need(type(number) is int and number > before[0], where, "not ascending")
            need(number != before[0] + 1 or entry["prev"] == before[1], where, "prev")
            need(set(entry["subject"]) == {"id", "type"} and set(entry["old"]) == set(entry["new"]), where, "subject or old")
            state = states.setdefault((entry["subject"]["type"], entry["subject"]["id"]), {})
            for field in set(entry["new"]) & FOLLOWED.get(entry["subject"]["type"], set(entry["new"])):
                need(canonical(entry["old"][field]) == canonical(state.get(field)), where, f"a hole in the history: old {field}")
                state[field] = entry["new"][field]
            before = number, entry_digest(line)
            self.entries.append(entry)
            self.at[number] = line
        need(0 in self.at, place, "entry 0")
        first = self.entries[0]["new"]
        need(first.get("origin") == origin, f"{place} entry 0", "origin")
        self.key, self.demonstration = first["verifier_key"], first["demonstration"]
        need(parse_key(self.key, f"{place} entry 0")[0] == origin, f"{place} entry 0", "name of the key")
        self.size = int(checkpoint.decode().split("\n")[1])
        need(max(self.at) < self.size, place, "an entry beyond the checkpoint")
        self.proof = parse(proof, f"proofs/{origin}.json")
        need(set(self.proof) == {"hashes", "objects", "sizes"}, f"proofs/{origin}.json", "members")
        self.roots = self.prove()

    def prove(self):
        place = f"proofs/{self.origin}.json"
        hashes, sizes = [unbase64(text, place) for text in self.proof["hashes"]], self.proof["sizes"]
        need(all(len(value) == 32 for value in hashes), place, "length of a hash")
        need(sizes == sorted(set(sizes)) and all(0 < size <= self.size for size in sizes), place, "sizes")
        tree = {}

        def walk(low, high):
            touched = any(low <= number < high for number in self.at) or any(low < size < high for size in sizes)
            if not touched:
                need(hashes, place, "too few hashes")
                tree[low, high] = hashes.pop(0)
            elif high - low == 1:
                tree[low, high] = hashlib.sha256(b"\0" + self.at[low]).digest()
            else:
                cut = low + (1 << ((high - low - 1).bit_length() - 1))
                walk(low, cut)
                walk(cut, high)
                tree[low, high] = hashlib.sha256(b"\1" + tree[low, cut] + tree[cut, high]).digest()

        def up_to(low, size):
            if (low, size) in tree:
                return tree[low, size]
            cut = low + (1 << ((size - low - 1).bit_length() - 1))
            return hashlib.sha256(b"\1" + tree[low, cut] + up_to(cut, size)).digest()

        walk(0, self.size)
        need(not hashes, place, "too many hashes")
        return {size: base64.b64encode(up_to(0, size)).decode() for size in [*sizes, self.size]}

    def root(self, size=None):
        size = self.size if size is None else size
        need(size in self.roots, f"proofs/{self.origin}.json", f"no root for {size}")
        return self.roots[size]

    def line(self, entry):
        return self.at[entry["seq"]]

    def first(self, size):
        return [entry for entry in self.entries if size is None or entry["seq"] < size]


def check_selection(record, workstation, cell, anchored):
    """The entries are those that the document names, as many of each object as the proof file counts."""
    batch = record["batch"]
    state = workstation.state("batch", batch)
    signed = workstation.of("batch.disposition.signed", batch)
    bound = signed[-1]["new"]["workstation_size"] if signed else workstation.size
    of_batch, of_cell = [], []
    shared = ("ink_lot", "second_ink_lot", "cartridge", "second_cartridge", "recipe", "cell")
    pairs = {(name.replace("second_", ""), state[name]) for name in shared if name in state}
    for entry in workstation.entries:
        kind, identity = entry["subject"]["type"], entry["subject"]["id"]
        mine = (kind, identity) in {("batch", batch), ("order", state["order"])}
        mine |= kind in ("exception", "ink_return") and identity.startswith(f"{batch}/")
        if mine or ((kind, identity) in pairs and entry["seq"] < bound):
            of_batch.append(entry)
    runs = [e["subject"]["id"] for e in cell.of("run.record.created") if e["new"].get("batch") == batch]
    for entry in cell.entries:
        kind, identity = entry["subject"]["type"], entry["subject"]["id"]
        if (kind == "run" and identity in runs) or (kind in OF_A_RUN and identity.rpartition("/")[0] in runs):
            of_cell.append(entry)
    checks = []
    for run in runs:
        began = cell.of("run.record.created", run)[0]["seq"]
        printed = [
            e for e in of_cell if e["subject"]["type"] in ("unit", "part", "calibration") and e["subject"]["id"].startswith(run + "/")
        ]
        for serial in {e["new"].get("balance_serial") for e in printed} - {None}:
            checks += [e for e in cell.of("equipment.check.completed", serial) if e["seq"] < began][-1:]
    people = set()
    for entry in of_batch + of_cell:
        if entry["subject"]["type"] != "recipe":
            people |= {entry["actor"]} - {"system"} | {signature["signer"] for signature in signatures_in(entry["new"])}
    accounts = [
        e
        for e in workstation.entries
        if e["subject"]["type"] == "person" and e["subject"]["id"] in people and FOLLOWED["person"] & set(e["new"])
    ]
    closed = [e["new"]["cell_size"] for e in workstation.of("batch.run.closed", batch)]
    sizes = ({bound}, {*closed, *(e["new"]["cell_size"] for e in signed[-1:])})
    for trail, chosen, single, marks in ((workstation, of_batch + accounts, [], sizes[0]), (cell, of_cell, checks, sizes[1])):
        chosen = chosen + [
            e for e in trail.entries if e["subject"] == {"type": "store", "id": trail.origin} and FOLLOWED["store"] & set(e["new"])
        ]
        numbers = {e["seq"] for e in chosen + single}
        for entry in trail.entries:
            need(entry["seq"] in numbers, f"trails/{trail.origin}.jsonl entry {entry['seq']}", "not of this batch")
        counts = {}
        for entry in chosen:
            name = f"{entry['subject']['type']}/{entry['subject']['id']}"
            counts[name] = counts.get(name, 0) + 1
        place = f"proofs/{trail.origin}.json"
        need(counts == trail.proof["objects"], place, "another number of entries of an object")
        need(trail.proof["sizes"] == sorted(marks | {trail.size} | anchored[trail.origin]), place, "sizes")


def check_anchors(files, trail):
    for name in files:
        match = re.fullmatch(rf"anchors/{re.escape(trail.origin)}/([1-9][0-9]*)\.note", name)
        if match:
            text, signatures = open_note(files[name], name, lengths=(68, 76))
            need(signed_by(text, signatures, [trail.key]), name, "not signed by its trail")
            need(text == f"{trail.origin}\n{match[1]}\n{trail.root(int(match[1]))}\n", name, "origin, size or root")


def signatures_in(value):
    if isinstance(value, dict):
        if set(value) == SIGNATURE_MEMBERS:
            yield value
        else:
            for inner in value.values():
                yield from signatures_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from signatures_in(inner)


def check_signature(signature, place):
    name, _, public = parse_key(signature["key"], place)
    need(name.rpartition("/")[2] == signature["signer"], place, "key of another person")
    rest = {member: value for member, value in signature.items() if member != "value"}
    try:
        public.verify(unbase64(signature["value"], place), canonical(rest))
    except InvalidSignature:
        raise Wrong(place, f"signature of {signature['signer']}") from None


def check_people(workstation, cell):
    keys, roles = {}, {}
    for trail in (workstation, cell):
        for entry in trail.entries:
            place = f"trails/{trail.origin}.jsonl entry {entry['seq']}"
            if trail is workstation and entry["subject"]["type"] == "person":
                person = entry["subject"]["id"]
                keys.setdefault(person, set()).update([entry["new"]["verifier_key"]] if "verifier_key" in entry["new"] else [])
                roles[person] = entry["new"].get("roles", roles.get(person, []))
            for signature in signatures_in(entry["new"]):
                check_signature(signature, place)
                if entry["subject"]["type"] != "recipe":
                    need(signature["key"] in keys.get(signature["signer"], ()), place, "key not of the site")
                    need(signature["role"] in roles[signature["signer"]], place, "role not held")


# -- the record ------------------------------------------------------------------------------------------------------


def six(value):
    return str(value.quantize(Decimal("0.000001"), rounding=ROUND_HALF_UP, context=Context(prec=60)))


def content(mass, strength, assay):
    return EXACT.divide(Decimal(100) * Decimal(mass) * assay, Decimal(1000) * Decimal(strength))


def upper_chi_square(x, degrees):
    """P(chi-square > x) by the series of the lower incomplete gamma function."""
    if x <= 0:
        return 1.0
    a, half = degrees / 2, x / 2
    term = total = 1 / a
    step = a
    while term > total * 1e-17:
        step += 1
        term *= half / step
        total += term
    return 1 - total * math.exp(-half + a * math.log(half) - math.lgamma(a))


def tolerance_factor(n):
    """Two-sided 95/95: the k for which, over the sampling of mean and deviation, 95 % of samples cover 95 % of the population."""
    top, panels = 8 / math.sqrt(n), 400
    points = []
    for i in range(panels + 1):
        x, low, high = top * i / panels, 0.0, 20.0
        for _ in range(80):
            r = (low + high) / 2
            low, high = (r, high) if (math.erf((x + r) / math.sqrt(2)) - math.erf((x - r) / math.sqrt(2))) / 2 < 0.95 else (low, r)
        weight = (1 if i in (0, panels) else 4 if i % 2 else 2) * math.sqrt(n / (2 * math.pi)) * math.exp(-n * x * x / 2)
        points.append((weight * 2 * top / panels / 3, low))
    small, large = 1.0, 100.0
    for _ in range(60):
        k = (small + large) / 2
        confidence = sum(weight * upper_chi_square((n - 1) * r * r / k / k, n - 1) for weight, r in points)
        small, large = (k, large) if confidence < 0.95 else (small, k)
    return f"{small:.4f}"


def check_uniformity(found, contents, place):
    n = len(contents)
    need(found["n"] == n, place, "n")
    if not n:
        need(found["mean_percent"] is None, place, "a mean of nothing")
        return None
    mean = EXACT.divide(sum(contents, Decimal(0)), Decimal(n))
    need(found["mean_percent"] == six(mean), place, "mean_percent")
    need((found["minimum_percent"], found["maximum_percent"]) == (six(min(contents)), six(max(contents))), place, "range")
    if n < 3:
        need(not (found["statistic"] or {}).get("value_percent"), place, "a statistic of fewer than three")
        within = all(Decimal("85.0") <= value <= Decimal("115.0") for value in contents)
    else:
        deviation = EXACT.sqrt(EXACT.divide(sum(((c - mean) ** 2 for c in contents), Decimal(0)), Decimal(n - 1)))
        k = {10: "2.4", 30: "2.0"}.get(n) or tolerance_factor(n)
        reference = min(max(mean, Decimal("98.5")), Decimal("101.5"))
        value = abs(reference - mean) + Decimal(k) * deviation
        statistic = found["statistic"]
        need(found["sd_percent"] == six(deviation), place, "sd_percent")
        need(
            (statistic["k"], statistic["reference_percent"], statistic["limit_percent"]) == (k, six(reference), "15.0"),
            place,
            "k, M or limit",
        )
        need(abs(Decimal(statistic["value_percent"]) - value) <= Decimal("0.000001"), place, "statistic")
        far = sum(abs(content - reference) > reference / 4 for content in contents)
        need(found["outside_l2"] == far, place, "outside_l2")
        within = value.quantize(Decimal("0.1"), rounding=ROUND_HALF_UP) <= Decimal("15.0") and not far
    if n not in (10, 30):
        need("not a 2.9.40 test" in found["claim"], place, "claims too much")
    need(found["within_limit"] is within, place, "within_limit")
    return within


def check_part(unit, state, number, part, cell, size, assay, ink):
    """One ink's part of a unit: what the cell's trail says of it, and its own content. It must be accepted where its unit is."""
    identity, place = state["parts"][number - 1], f"record.json unit {unit['n']} part {number}"
    found = cell.state("part", identity, size)
    need(part["part"] == number and identity == f"{unit['unit']}.{number}", place, "part")
    need(part["verdict"] == found.get("verdict", "not printed"), place, "verdict")
    if unit["verdict"] == "accepted":
        need(part["verdict"] == "accepted" and part["mass_mg"] is not None, place, "an accepted unit with a part that is not")
        low, high = Decimal(part["low_mg"]), Decimal(part["high_mg"])
        need(low <= Decimal(part["mass_mg"]) <= high, place, "accepted outside its own limits")
        need(part["ink_lot"] == ink["lot"] and part["moiety"] == ink["moiety"], place, "printed from another ink")
    for field, value in part.items():
        if field not in ("part", "verdict", "reasons", "content_percent"):
            need(value == found.get(field), place, field)
    mass = part["mass_mg"]
    need(part["content_percent"] == (six(content(mass, part["strength_mg"], assay)) if mass else None), place, "content_percent")


def check_units(record, cell, runs, size, assay, second):
    subjects = sorted(
        {e["subject"]["id"] for e in cell.first(size) if e["subject"]["type"] == "unit" and e["subject"]["id"].rpartition("/")[0] in runs},
        key=lambda identity: (runs.index(identity.rpartition("/")[0]), cell.state("unit", identity, size)["n"]),
    )
    need([unit["unit"] for unit in record["units"]] == subjects, "record.json", "units")
    for unit in record["units"]:
        state, place = cell.state("unit", unit["unit"], size), f"record.json unit {unit['n']}"
        need(unit["verdict"] == state.get("verdict", "scrapped"), place, "verdict")
        need(unit["verdict"] in ("accepted", "rejected", "scrapped"), place, "verdict")
        need(unit["removed"] == state.get("removed", False), place, "removed")
        need(unit["removal_confirmed_by"] == ((state.get("confirmed") or {}).get("signer")), place, "removal_confirmed_by")
        for field, value in unit.items():
            if field in ("unit", "verdict", "removed", "removal_confirmed_by", "content_percent", "reasons", "parts"):
                continue
            need(value == state.get(field), place, field)
        need(len(unit.get("parts", ())) == len(state.get("parts", ())) == (2 if second else 0), place, "number of parts")
        for number, part in enumerate(unit.get("parts", ()), start=1):
            of_ink, ink = (assay, record["ink"]) if number == 1 else (second, record["second_ink"])
            check_part(unit, state, number, part, cell, size, of_ink, ink)
        if "reasons" in state:
            need(unit["reasons"] == state["reasons"], place, "reasons")
        if state.get("weighed_on") == "external" and unit["verdict"] == "accepted":
            check_external(unit, place)
        mass = unit["mass_mg"]
        label = unit["strength_mg"]
        need(unit["content_percent"] == (six(content(mass, label, assay)) if mass and label else None), place, "content_percent")


def check_external(unit, place):
    """A mass that was read on an external balance: two people, one value, signed by the second."""
    weighing = unit["external_weighing"]
    last = weighing["attempts"][-1]
    first, second = last["first"], last["second"]
    need(first["username"] != second["username"], place, "one person weighed it alone")
    need(first["value_mg"] == second["value_mg"], place, "two entries that differ")
    need(abs(Decimal(unit["mass_mg"]) - Decimal(second["value_mg"])) <= Decimal("0.005"), place, "mass is not what was entered")
    signature = second["signature"]
    statement = canonical(
        {
            "statement": "unit weighed on an external balance",
            "unit": unit["unit"],
            "attempt": len(weighing["attempts"]),
            "balance": weighing["balance_serial"],
            "value_mg": second["value_mg"],
        }
    )
    need(signature["signer"] == second["username"], place, "second entry signed by someone else")
    need(signature["digest"] == sha256(statement), place, "a weight signed for something else")


def check_purge_units(record, cell, runs, size):
    """Purge units are waste: each is listed, none is counted, and each has left the plate before anything is released."""
    printed = [e["subject"] for e in cell.first(size) if e["subject"]["id"].rpartition("/")[0] in runs]
    for kind, member in (("calibration", "purge_units"), ("correction", "corrections")):
        wanted = {subject["id"] for subject in printed if subject["type"] == kind}
        need(
            [found["unit"] for found in record[member]] == list(dict.fromkeys(s["id"] for s in printed if s["type"] == kind)),
            member,
            "which",
        )
        need(len(record[member]) == len(wanted), member, "twice")
        for found in record[member]:
            state = cell.state(kind, found["unit"], size)
            for field, value in found.items():
                if field in ("unit", "verdict", "reasons", "removed", "removal_confirmed_by"):
                    continue
                need(value == state.get(field), f"record.json {member} {found['unit']}", field)
    for purge in record["purge_units"]:
        state, place = cell.state("calibration", purge["unit"], size), f"record.json purge unit {purge['unit']}"
        need(purge["verdict"] == state.get("verdict", "scrapped") and purge["reasons"] == state.get("reasons", []), place, "verdict")
        need(purge["removed"] == state.get("removed", False), place, "removed")
        need(purge["removal_confirmed_by"] == ((state.get("confirmed") or {}).get("signer")), place, "removal_confirmed_by")
        need(purge["removed"] or record["disposition"] not in ("released", "partly released"), place, "released with it on the plate")


def check_strengths(record, batch, assay, second):
    if second is None:
        check_strengths_of(record["strengths"], record["units"], batch["dose"], assay)
        return
    need([s["part"] for s in record["strengths"]] == sorted(s["part"] for s in record["strengths"]), "record.json", "strengths")
    for number, dose, of_ink in ((1, batch["dose"], assay), (2, batch["dose"]["second"], second)):
        parts = [
            {**part, "verdict": unit["verdict"] if unit["verdict"] == "accepted" else "rejected"}
            for unit in record["units"]
            for part in unit["parts"]
            if part["part"] == number and part["strength_mg"] is not None
        ]
        check_strengths_of([s for s in record["strengths"] if s["part"] == number], parts, dose, of_ink)


def check_strengths_of(strengths, printed, dose, assay):
    targets = {item["strength_mg"]: item for item in dose["strengths"]}
    need({s["strength_mg"] for s in strengths} == set(targets), "record.json", "strengths")
    for strength in strengths:
        label = strength["strength_mg"]
        place = f"record.json strength {label} mg"
        need(strength["unit_target"] == targets[label]["unit_target"], place, "unit_target")
        need(strength["units_planned"] == targets[label]["units"], place, "units_planned")
        units = [unit for unit in printed if unit["strength_mg"] == label]
        accepted = [unit for unit in units if unit["verdict"] == "accepted"]
        need((strength["units_printed"], strength["units_accepted"]) == (len(units), len(accepted)), place, "numbers of units")
        for member, chosen in (("uniformity", accepted), ("uniformity_all", units)):
            check_uniformity(strength[member], [content(u["mass_mg"], label, assay) for u in chosen if u["mass_mg"]], f"{place} {member}")


def check_states(record, workstation, cell, runs, sizes):
    """Members that are states of subjects."""
    size, cell_size = sizes
    batch = workstation.state("batch", record["batch"], size)
    order = workstation.state("order", batch["order"], size)
    need(record["prescription"] == order["order"]["prescription"], "record.json", "prescription")
    need(record["order"] == {"id": batch["order"], "sha256": order["order_sha256"]}, "record.json", "order")
    need(order["order_sha256"] == sha256(canonical(order["order"])), "record.json", "order digest")
    dose = {member: value for member, value in batch["dose"].items() if member != "strengths"}
    need(record["dose"] == dose, "record.json", "dose")
    sources = [("ink", "ink_lot", batch["ink_lot"]), ("cartridge", "cartridge", batch["cartridge"])]
    if "second_ink_lot" in batch:
        sources += [("second_ink", "ink_lot", batch["second_ink_lot"]), ("second_cartridge", "cartridge", batch["second_cartridge"])]
    need(("second_ink" in record) is ("second_ink_lot" in batch), "record.json", "second ink")
    for member, kind, identity in sources:
        need(record[member] == workstation.state(kind, identity, size), "record.json", member)
    recipe = workstation.state("recipe", batch["recipe"], size)
    need(
        record["recipe"] == {"digest": batch["recipe_digest"], "reference": batch["recipe"], "title": recipe["title"]},
        "record.json",
        "recipe",
    )
    for member in record["product"]:
        need(record["product"][member] == recipe[member], "record.json", f"product {member}")
    need(
        record["demonstration"] is (workstation.demonstration or cell.demonstration or batch["demonstration"]),
        "record.json",
        "demonstration",
    )
    for member in ("alarm", "deviation"):
        found = {
            e["subject"]["id"]
            for e in cell.first(cell_size)
            if e["subject"]["type"] == member
            and e["subject"]["id"].rpartition("/")[0] in runs
            and e["kind"].rpartition(".")[2] in ("raised", "opened")
        }
        need(len(record[member + "s"]) == len(found), "record.json", member + "s")
    need([run["run"] for run in record["runs"]] == runs, "record.json", "runs")
    for run in record["runs"]:
        state = cell.state("run", run["run"], cell_size)
        for field in set(run) & set(state):
            need(run[field] == state[field], f"record.json run {run['run']}", field)
    created = workstation.of("batch.record.created", record["batch"], size)[-1]
    times = {member: record["times"][member] for member in ("zone", "clock", "created")}
    need(times == {"zone": created["zone"], "clock": created["clock"], "created": created["at"]}, "record.json", "times")
    check_entries(record, batch, workstation, cell, runs, sizes)
    return batch, recipe


def check_entries(record, batch, workstation, cell, runs, sizes):
    """The entries used are all there are, and what is said of them together."""
    members = ("order", "ink_lot", "cartridge", "recipe", "cell")
    subjects = {("batch", record["batch"])} | {(member, batch[member]) for member in members}
    subjects |= {(member, batch[f"second_{member}"]) for member in ("ink_lot", "cartridge") if f"second_{member}" in batch}
    rules = (cell.state("run", runs[-1], sizes[1]).get("release_rules") if runs else None) or {}
    subjects |= {("model", rule["model"]) for rule in rules.get("process_models", [])}
    used = [
        ("workstation", e, workstation.line(e))
        for e in workstation.first(sizes[0])
        if (e["subject"]["type"], e["subject"]["id"]) in subjects
        or (e["subject"]["type"] in ("exception", "ink_return", "prediction") and e["subject"]["id"].startswith(f"{record['batch']}/"))
        or (e["subject"]["type"] == "spectrum" and e["subject"]["id"].rpartition("/")[0] in runs)
    ]
    for entry in cell.first(sizes[1]):
        kind, identity = entry["subject"]["type"], entry["subject"]["id"]
        if (kind == "run" and identity in runs) or (kind in OF_A_RUN and identity.rpartition("/")[0] in runs):
            used.append(("cell", entry, cell.line(entry)))
    listed = [{"trail": trail, "seq": entry["seq"], "kind": entry["kind"], "digest": entry_digest(line)} for trail, entry, line in used]
    need(record["entries"] == listed, "record.json", "entries")
    need(record["demonstration"] is any(entry["demonstration"] is not False for _, entry, _ in used), "record.json", "demonstration")
    need((record["notice"] is not None) is (record["demonstration"] or "purpose" in record), "record.json", "notice")
    need(record["times"]["last_entry"] == max(entry["at"] for _, entry, _ in used), "record.json", "times")
    acted = {}
    for _, entry, _ in used:
        if entry["actor"] != "system":
            acted.setdefault(entry["actor"], (entry["name"], set()))[1].add(entry["role"])
    people = [{"username": name, "name": acted[name][0], "roles": sorted(acted[name][1])} for name in sorted(acted)]
    need(record["people"] == people, "record.json", "people")


def check_record(record, workstation, cell):
    members = set(record) - {"release", "purpose", "models"}
    need(members in (RECORD_MEMBERS, RECORD_MEMBERS | {"second_ink", "second_cartridge"}), "record.json", "members")
    need(record["format"] == "dosewright-record/1", "record.json", "format")
    dispositions = workstation.of("batch.disposition.signed", record["batch"])
    need(len(dispositions) <= 1, "record.json", "two dispositions")
    signed = dispositions[0]["new"] if dispositions else None
    sizes = (signed["workstation_size"], signed["cell_size"]) if signed else (workstation.size, cell.size)
    for member, trail, size in (("workstation", workstation, sizes[0]), ("cell", cell, sizes[1])):
        need(
            record["trails"][member] == {"origin": trail.origin, "root": trail.root(size), "size": size}, "record.json", f"trails {member}"
        )
    runs = [e["subject"]["id"] for e in cell.of("run.record.created", size=sizes[1]) if e["new"].get("batch") == record["batch"]]
    batch, _ = check_states(record, workstation, cell, runs, sizes)
    stated = cell.state("run", runs[-1], sizes[1]).get("release") if runs else None
    need(record.get("release") == (stated or None), "record.json", "release")
    number, _, unit = record["ink"]["assay"].partition(" ")
    need(unit == "mg/g", "record.json", "unit of the assay")
    second = None
    if "second_ink" in record:
        of_second, _, unit = record["second_ink"]["assay"].partition(" ")
        need(unit == "mg/g", "record.json", "unit of the second assay")
        second = Decimal(of_second)
    check_units(record, cell, runs, sizes[1], Decimal(number), second)
    check_purge_units(record, cell, runs, sizes[1])
    check_strengths(record, batch, Decimal(number), second)
    check_proposal(record)
    check_disposition(record, workstation, cell, signed, dispositions, runs)
    return runs


def check_proposal(record):
    accepted = sum(unit["verdict"] == "accepted" for unit in record["units"])
    need(record["units_accepted"] == accepted, "record.json", "units_accepted")
    may_be_left_out = [item for item in record["evidence"] if item["state"] == "not required"]
    need(
        len(record["evidence"]) == 21
        and all(i["state"] in ("met", "not met", "missing", "not required") for i in record["evidence"])
        and all(i["item"].startswith(("share of rejected units", "ink issued", "process models")) for i in may_be_left_out),
        "record.json",
        "evidence",
    )
    used = {(entry["trail"], entry["seq"]) for entry in record["entries"]}
    need(
        all((link["trail"], link["seq"]) in used for i in record["evidence"] for link in i["entries"]),
        "record.json",
        "links of the evidence",
    )
    met = all(item["state"] in ("met", "not required") for item in record["evidence"])
    ended = all(run["ended"] for run in record["runs"]) and record["runs"]
    may = set()
    if ended:
        may = {"rejected"}
        if met and accepted:
            may.add("released" if accepted == record["units_planned"] else "partly released")
    need(set(record["proposal"]["open"]) == may, "record.json", "proposal.open")


def check_disposition(record, workstation, cell, signed, dispositions, runs):
    signatures = []
    order = workstation.state("order", record["order"]["id"])
    signatures += [order["entered"], order["confirmed"]]
    printed = [("calibration", unit) for unit in record["purge_units"]] + [("unit", unit) for unit in record["units"]]
    for kind, unit in printed:
        confirmed = cell.state(kind, unit["unit"], record["trails"]["cell"]["size"]).get("confirmed")
        if confirmed:
            statement = canonical({"statement": "unit removed from the plate", "unit": unit["unit"]})
            need(confirmed["digest"] == sha256(statement), f"record.json {kind} {unit['n']}", "a removal signed for something else")
            signatures.append(confirmed)
    for signature in signatures[:2]:
        need(signature["digest"] == record["order"]["sha256"], "record.json", "an order signed for something else")
    if signed is None:
        need(record["disposition"] == "held" and record["releaser"] is None, "record.json", "a disposition that nobody signed")
        need(record["signatures"] == signatures, "record.json", "signatures")
        return
    entry, place = dispositions[0], f"trails/{workstation.origin}.jsonl entry {dispositions[0]['seq']}"
    body = sha256(canonical({member: value for member, value in record.items() if member != "signatures"}))
    need(signed["record_sha256"] == body == signed["signature"]["digest"], place, "record_sha256")
    need(record["signatures"] == [*signatures, signed["signature"]], "record.json", "signatures")
    need(
        {"name": "record.json", "sha256": sha256(canonical(record)), "bytes": len(canonical(record))} in entry["attachments"],
        place,
        "attachment",
    )
    signer = signed["signature"]
    need(entry["actor"] == signer["signer"] == record["releaser"], place, "signer")
    need(record["disposition"] == signed["disposition"] == signed["status"], place, "disposition")
    need(signed["disposition"] in record["proposal"]["open"], place, "not open")
    need(signed["cell_root"] == cell.root(signed["cell_size"]), place, "cell_root")
    route = record.get("release", {}).get("legal_route") if signed["disposition"] != "rejected" else None
    may = set(route["roles"]) if route else {"qualified_person", "pharmacist"}
    may |= {"quality_assurance"} if signed["disposition"] == "rejected" else set()
    need(signer["role"] in may, place, "role")
    means = f"{signed['disposition']}: {route['statement']}" if route else signed["disposition"]
    need(signer["meaning"] == means, place, "meaning")
    if signed["disposition"] != "rejected":
        makers = {e["actor"] for e in workstation.of("batch.run.requested", record["batch"])}
        makers |= {e["actor"] for run in runs for e in cell.of("run.command.received", run)}
        need(signer["signer"] not in makers | {order["entered"]["signer"]}, place, "the releaser made or entered it")


# -- the whole -------------------------------------------------------------------------------------------------------


def check_manifest(files):
    for name in ("manifest.json", "manifest.note", "keys.json", "record.json", "record.pdf", "README.txt"):
        need(name in files, name, "missing")
    keys = parse(files["keys.json"], "keys.json")
    need(set(keys) == {"keys"} and len(set(keys["keys"])) == 2 == len(keys["keys"]), "keys.json", "members")
    text, signatures = open_note(files["manifest.note"], "manifest.note")
    need(len(signatures) == 1 and signed_by(text, signatures, keys["keys"]), "manifest.note", "signature")
    manifest = parse(files["manifest.json"], "manifest.json")
    need(text == f"{manifest['format']}\n{sha256(files['manifest.json'])}\n", "manifest.note", "text")
    need(manifest["format"] == "dosewright-review/3", "manifest.json", "format")
    need(set(manifest) == {"created", "files", "format", "scope"}, "manifest.json", "members")
    need(manifest["scope"] in ("selective", "whole"), "manifest.json", "scope")
    need(set(manifest["files"]) == set(files) - {"manifest.json", "manifest.note"}, "manifest.json", "names")
    for name, digest in manifest["files"].items():
        need(sha256(files[name]) == digest, name, "digest")
    return keys["keys"], manifest["scope"] == "selective"


def check_checkpoint(files, trail):
    place = f"checkpoints/{trail.origin}"
    text, signatures = open_note(files[place], place)
    need(len(signatures) == 1 and signed_by(text, signatures, [trail.key]), place, "signature")
    need(text == f"{trail.origin}\n{trail.size}\n{trail.root()}\n", place, "origin, size or root")


def check_attachments(files, record, workstation, cell, runs):
    want = {}
    for run in runs:
        prefix = "" if run == runs[-1] else f"runs/{run}/"
        for entry in cell.entries:
            subject = entry["subject"]
            if subject == {"id": run, "type": "run"} or (subject["type"] in PRINTED and subject["id"].startswith(run + "/")):
                for item in entry["attachments"]:
                    name, kinds = item["name"], ("journal/", "traces/", "corrected/", "pictures/")
                    if name.endswith((".gcode", "admission.json")) or name.startswith(kinds):
                        want[prefix + name] = item["sha256"]
        state = cell.state("run", run)
        need(want.get(prefix + "program-planned.gcode") == state["program_sha256"], "program-planned.gcode", "not the proved one")
        if want.get(prefix + "program.gcode"):
            need(want[prefix + "program.gcode"] == state["program_sent_sha256"], "program.gcode", "not what was sent")
    fixed = {"manifest.json", "manifest.note", "keys.json", "record.json", "record.pdf", "README.txt", "verify.py"}
    fixed |= {f"trails/{t.origin}.jsonl" for t in (workstation, cell)} | {f"checkpoints/{t.origin}" for t in (workstation, cell)}
    fixed |= {f"proofs/{t.origin}.json" for t in (workstation, cell) if t.selective}
    fixed |= {name for name in files if re.fullmatch(r"anchors/.+/[1-9][0-9]*\.(note|tsr)", name)}
    for name in sorted(set(want) ^ (set(files) - fixed)):
        raise Wrong(name, "missing, or in no trail")
    for name, digest in want.items():
        need(sha256(files[name]) == digest, name, "not what the cell recorded")
    for entry in workstation.of("batch.run.closed", record["batch"]):
        new = entry["new"]
        need(
            new["cell_origin"] == cell.origin and new["cell_root"] == cell.root(new["cell_size"]),
            f"entry {entry['seq']}",
            "tie to the cell",
        )


def check_pdf(pdf, record_bytes):
    for match in re.finditer(rb"stream\r?\n", pdf):
        rest = pdf[match.end() :]
        if rest.startswith(record_bytes):
            return
        try:
            if zlib.decompressobj().decompress(rest, len(record_bytes) + 1) == record_bytes:
                return
        except zlib.error:
            continue
    raise Wrong("record.pdf", "does not carry record.json")


def verify(data, trusted=()):
    """Check a package. Raises Wrong; returns whether the signer is established."""
    files = container(data)
    keys, selective = check_manifest(files)
    record = parse(files["record.json"], "record.json")
    trails = {}
    for member in ("workstation", "cell"):
        origin = record["trails"][member]["origin"]
        need(f"trails/{origin}.jsonl" in files and f"checkpoints/{origin}" in files, origin, "missing")
        trail = files[f"trails/{origin}.jsonl"]
        if selective:
            need(f"proofs/{origin}.json" in files, f"proofs/{origin}.json", "missing")
            trails[member] = Selection(origin, trail, files[f"checkpoints/{origin}"], files[f"proofs/{origin}.json"])
        else:
            trails[member] = Trail(origin, trail)
        check_checkpoint(files, trails[member])
    workstation, cell = trails["workstation"], trails["cell"]
    need(workstation.origin != cell.origin and set(keys) == {workstation.key, cell.key}, "keys.json", "keys of others")
    enrolled = workstation.state("cell", record["cell"]["name"])
    need((enrolled.get("origin"), enrolled.get("verifier_key")) == (cell.origin, cell.key), "record.json", "the cell is not enrolled")
    text, signatures = open_note(files["manifest.note"], "manifest.note")
    need(signed_by(text, signatures, [workstation.key]), "manifest.note", "not by the workstation")
    check_people(workstation, cell)
    if selective:
        names = [re.fullmatch(r"anchors/(.+)/([1-9][0-9]*)\.(note|tsr)", name) for name in files]
        anchored = {trail.origin: {int(m[2]) for m in names if m and m[1] == trail.origin} for trail in (workstation, cell)}
        check_selection(record, workstation, cell, anchored)
    for trail in (workstation, cell):
        check_anchors(files, trail)
    runs = check_record(record, workstation, cell)
    check_attachments(files, record, workstation, cell, runs)
    check_pdf(files["record.pdf"], files["record.json"])
    if not trusted:
        return False
    for name in ("manifest.note", f"checkpoints/{workstation.origin}", f"checkpoints/{cell.origin}"):
        text, signatures = open_note(files[name], name)
        need(signed_by(text, signatures, trusted), name, "not signed by a trusted key")
    return True


def main(arguments):
    trusted = [line for path in arguments[1:] for line in Path(path).read_text().split()]
    try:
        established = verify(Path(arguments[0]).read_bytes(), trusted)
    except Wrong as wrong:
        sys.stdout.write(f"{wrong}\n")
        return 1
    except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
        sys.stdout.write(f"something has another form than the document says: {error!r}\n")
        return 1
    sys.stdout.write("verified\n" if established else "consistent, signer not established\n")
    return 0 if established else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
