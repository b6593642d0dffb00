"""A small batch written into two real trail stores, as the workstation and a cell write it; every part can be left out."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from audit.canonical import JsonObject, JsonValue, canonical, digest, sha256_hex
from audit.checkpoint import SigningKey
from audit.clock import UtcReading, utc_text
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.release import batch_record
from audit.release.exceptions import resolution_digest, resolution_entry
from audit.release.package import TrailExport, write_package
from audit.release.selection import Scope
from audit.signatures import removal_digest, weight_digest
from audit.store import TrailStore

ROLES = {"anna": "pharmacist", "ben": "pharmacist", "olga": "operator", "quinn": "qualified_person", "quentin": "quality_assurance"}
NAMES = {username: f"{username.capitalize()} Demonstration" for username in ROLES}
SOFTWARE = "dosewright 0.1.0"


@dataclass(slots=True)
class CountingClock:
    """A clock that moves one second at each reading, so that every build gives the same bytes."""

    start: str = "2026-11-20T08:00:00Z"
    zone: str = "Europe/Berlin"
    ticks: int = 0
    rate: Decimal = Decimal(60)

    def now(self) -> int:
        return self.ticks * 1_000_000

    def utc(self) -> UtcReading:
        self.ticks += 1
        at = datetime.fromisoformat(self.start) + timedelta(seconds=self.ticks)
        return UtcReading(utc_text(at), self.zone, "synchronised")


@dataclass(frozen=True, slots=True)
class Unit:
    mass: str | None
    strength: str = "18.5"
    verdict: str = "accepted"
    reasons: tuple[str, ...] = ()
    removed: bool = True
    external: str = ""
    """Weighed on an external balance: "" (not), "two people", or what is wrong with it."""
    readings: str = ""
    """Raw readings: "" (those of the mass), "none", "of another unit"."""
    bare: bool = False
    """Without trace and journal."""
    flow_factor: str = "1"
    corrected: str = ""
    """The decision to correct: "" (none), "proved", or what is wrong with it."""
    later: str = ""
    """A verdict that a later entry gives."""


def plain_units(*masses: str) -> tuple[Unit, ...]:
    return tuple(Unit(mass) for mass in masses)


SAMPLE_UNITS = (
    *plain_units("467.2", "470.1", "465.8", "463.9"),
    Unit("431.5", verdict="rejected", reasons=("31.5 mg below the lower limit",)),
)
TARGETS = {"18.5": ("467.17", "389.31"), "2.5": ("63.13", "52.61"), "1.25": ("31.57", "26.30")}


@dataclass
class Scenario:
    """What the sample batch is like. `omit` leaves out the named piece of evidence."""

    units: tuple[Unit, ...] = SAMPLE_UNITS
    planned: int | None = None
    ended: str = "FINISHED"
    omit: str = ""
    patient: str = "P-0001"
    alarms: tuple[JsonObject, ...] = ()
    deviations: tuple[JsonObject, ...] = ()
    disposition: str | None = "partly released"
    releaser: str = "quinn"
    rsd: str | None = None
    facts: JsonObject = field(default_factory=dict)
    batch_facts: JsonObject = field(default_factory=dict)
    seed: bytes = b""
    refused_before: bool = False
    primed: bool = False
    remaining_mg: str | None = None
    """What the cartridge still held, in mg, when it was weighed back."""
    models: Callable[[Any], None] | None = None
    """Writes what process models have to say, before the batch is signed."""
    start: str = "2026-11-20T08:00:00Z"
    zone: str = "Europe/Berlin"


@dataclass
class SampleBatch:
    """The two stores and the keys of a written batch."""

    workstation: TrailStore
    cell: TrailStore
    people: dict[str, SigningKey]
    key: SigningKey
    batch: str = "B-1"

    def lines(self) -> tuple[list[bytes], list[bytes]]:
        return list(self.workstation.lines()), list(self.cell.lines())

    def record(self) -> JsonObject:
        return batch_record.build(*self.lines(), self.batch)

    def sign(self, username: str, meaning: str, sha256: str) -> JsonObject:
        body: JsonObject = {
            "signer": username,
            "name": NAMES[username],
            "role": ROLES[username],
            "meaning": meaning,
            "at": "2026-11-20T09:00:00.000000Z",
            "zone": "Europe/Berlin",
            "digest": sha256,
            "key": self.people[username].verifier_key,
            "scripted": True,
        }
        return {**body, "value": base64.b64encode(self.people[username].sign(canonical(body))).decode()}

    def resolve(self, exception: str, finding: str, username: str = "quentin", **changes: str) -> None:
        """Resolve an exception as the workstation does, with nothing checked."""
        fields = {"finding": finding, "code": "material", "cause": "an air bubble in the cartridge", "signed": finding, **changes}
        sha256 = resolution_digest(self.batch, exception, fields["signed"], fields["code"], fields["cause"])
        signature = self.sign(username, "exception resolved", sha256)
        new = resolution_entry(self.batch, exception, finding, fields["code"], fields["cause"], signature)
        kind, subject = EventKind.BATCH_EXCEPTION_RESOLVED, Subject("exception", f"{self.batch}/{exception}")
        self.workstation.append(EntryDraft(kind, subject, new, person(changes.get("actor", username)), "ws"))

    def dispose(self, disposition: str, username: str = "quinn", meaning: str | None = None) -> None:
        """Sign the batch as the workstation does, or with another `meaning`; raises ReleaseBlocked."""
        body = batch_record.decide(*self.lines(), self.batch, disposition, releaser=username, role=ROLES[username])
        signature = self.sign(username, meaning or batch_record.disposition_meaning(body), batch_record.record_sha256(body))
        # An entry between the reading of the record and its signature: the record must not depend on it.
        note = EntryDraft(
            EventKind.PERSON_SIGNATURE_GIVEN, Subject("person", username), {"digest": signature["digest"]}, person(username), "ws"
        )
        new, attachments = batch_record.disposition_entry(body, signature)
        kind = EventKind.BATCH_DISPOSITION_SIGNED
        self.workstation.append(note, EntryDraft(kind, Subject("batch", self.batch), new, person(username), "ws", attachments=attachments))

    def export(self, path: Path, scope: Scope = Scope.WHOLE, anchors: dict[str, bytes] | None = None) -> Path:
        exports = [TrailExport.from_store(store) for store in (self.workstation, self.cell)]
        return write_package(
            path,
            batch=self.batch,
            workstation=exports[0],
            cell=exports[1],
            blob=self.cell.blob,
            key=self.key,
            created="2026-11-20T10:00:00.000000Z",
            scope=scope,
            anchors=anchors,
        )


def person(username: str) -> Actor:
    return Actor(username, NAMES[username], ROLES[username])


class Writer:
    """Writes the entries of one scenario in the order in which they come about."""

    def __init__(self, folder: Path, scenario: Scenario, stack: ExitStack) -> None:
        clock, self.scenario = CountingClock(scenario.start, scenario.zone), scenario
        key = SigningKey.from_seed("ws.example", scenario.seed.ljust(32, b"w"))
        self.cell_key = SigningKey.from_seed("cell-1.example", scenario.seed.ljust(32, b"c"))
        ws = TrailStore.create(folder / "ws.sqlite", origin="ws.example", key=key, clock=clock, software=SOFTWARE, demonstration=True)
        cell = TrailStore.create(
            folder / "cell.sqlite", origin="cell-1.example", key=self.cell_key, clock=clock, software=SOFTWARE, demonstration=True
        )
        stack.enter_context(ws)
        stack.enter_context(cell)
        people = {name: SigningKey.from_seed(f"ws.example/{name}", (scenario.seed + name.encode()).ljust(32, b"-")) for name in ROLES}
        self.batch = SampleBatch(ws, cell, people, key)

    def ws(self, kind: EventKind, subject: str, new: JsonObject, who: Actor = SYSTEM) -> None:
        type_, _, id_ = subject.partition("/")
        self.batch.workstation.append(EntryDraft(kind, Subject(type_, id_), new, who, "ws"))

    def cell(
        self, kind: EventKind, subject: str, new: JsonObject, who: Actor = SYSTEM, attachments: dict[str, bytes] | None = None
    ) -> None:
        type_, _, id_ = subject.partition("/")
        self.batch.cell.append(EntryDraft(kind, Subject(type_, id_), new, who, "cell-1", attachments=attachments or {}))

    def write(self) -> SampleBatch:
        self._people_and_materials()
        self._order()
        self._run()
        if self.scenario.models is not None:
            self.scenario.models(self.batch)
        if self.scenario.disposition:
            self.batch.dispose(self.scenario.disposition, self.scenario.releaser)
        return self.batch

    def _people_and_materials(self) -> None:
        for name, key in self.batch.people.items():
            if self.scenario.omit == "account" and name == "olga":
                continue
            self.ws(
                EventKind.PERSON_ACCOUNT_CREATED, f"person/{name}", {"username": name, "full_name": NAMES[name], "roles": [ROLES[name]]}
            )
            self.ws(EventKind.PERSON_CREDENTIAL_SET, f"person/{name}", {"verifier_key": key.verifier_key})
        self.ws(EventKind.CELL_RECORD_ENROLLED, "cell/cell-1", {"origin": "cell-1.example", "verifier_key": self.cell_key.verifier_key})
        if self.scenario.omit != "recipe":
            recipe: JsonObject = {
                "id": "cyclophosphamide",
                "version": 1,
                "title": "Cyclophosphamide printlets",
                "digest": "a" * 64,
                "status": "effective",
            }
            self.ws(EventKind.RECIPE_VERSION_EFFECTIVE, "recipe/cyclophosphamide@1", recipe)
        expires = "2026-01-31" if self.scenario.omit == "date" else "2027-06-30"
        lot: JsonObject = {
            "lot": "CYC-0426",
            "ink": "cyclophosphamide-paste",
            "moiety": "cyclophosphamide",
            "basis": "anhydrous",
            "assay": "39.6 mg/g",
            "assay_uncertainty": "0.2 mg/g",
            "density": "1.20 g/mL",
            "density_uncertainty": "0.01 g/mL",
            "certificate": "COA-0426",
            "expires": expires,
        }
        self.ws(EventKind.INK_LOT_RECEIVED, "ink_lot/CYC-0426", lot)
        cartridge: JsonObject = {
            "serial": "C-77",
            "ink_lot": "CYC-0426",
            "filled": "9000 uL",
            "opened": "2026-11-20",
            "in_use_until": "2026-11-27",
        }
        self.ws(EventKind.INK_CARTRIDGE_RECEIVED, "cartridge/C-77", cartridge)

    def _order(self) -> None:
        prescription: JsonObject = {
            "patient": self.scenario.patient,
            "moiety": "cyclophosphamide",
            "basis": "anhydrous",
            "height": "110 cm",
            "weight": "18 kg",
            "prescribed": "25 mg/m2",
            "per": "day",
            "schedule": [{"time": "morning", "parts": 1}],
            "days": 14,
        }
        order: JsonObject = {
            "id": "O-1",
            "recipe": "cyclophosphamide",
            "recipe_version": 1,
            "recipe_digest": "a" * 64,
            "prescription": prescription,
        }
        sha256 = self.order_sha256 = digest(order)
        entered = self.batch.sign("anna", "entered", sha256)
        self.ws(
            EventKind.ORDER_PRESCRIPTION_ENTERED,
            "order/O-1",
            {"status": "entered", "order": order, "order_sha256": sha256, "entered": entered},
            person("anna"),
        )
        if self.scenario.omit != "confirmation":
            second = "anna" if self.scenario.omit == "second person" else "ben"
            confirmed = self.batch.sign(second, "confirmed", sha256)
            self.ws(EventKind.ORDER_PRESCRIPTION_CONFIRMED, "order/O-1", {"status": "confirmed", "confirmed": confirmed}, person(second))
        created: JsonObject = {
            "status": "created",
            "order": "O-1",
            "recipe": "cyclophosphamide@1",
            "recipe_digest": "a" * 64,
            "ink_lot": "CYC-0426",
            "cartridge": "C-77",
            "cell": "cell-1",
            "machine": "sse-10ml@1",
            "demonstration": True,
            **self.scenario.batch_facts,
        }
        self.ws(EventKind.BATCH_RECORD_CREATED, "batch/B-1", created, person("olga"))

    def _run(self) -> None:
        self.ws(EventKind.BATCH_RUN_REQUESTED, "batch/B-1", {"status": "running", "run": "B-1-R1"}, person("olga"))
        if self.scenario.refused_before:
            self._refused_run()
        self._created()
        if self.scenario.omit != "gates":
            met = self.scenario.omit != "gate"
            gates: list[JsonObject] = [
                {"gate": "line clearance", "met": True, "evidence": "signed"},
                {"gate": "balance check", "met": met, "evidence": "0.0 mg"},
            ]
            self.cell(EventKind.RUN_GATES_PASSED if met else EventKind.RUN_GATES_REFUSED, "run/B-1-R1", {"gates": gates})
        if self.scenario.primed:
            self.cell(EventKind.RUN_ACTION_INTENDED, "run/B-1-R1", {"action": "prime", "action_sha256": "0" * 64})
        for state in ("PREFLIGHT", "READY", "PREPARING", "PRINTING"):
            self.cell(EventKind.RUN_STATE_CHANGED, "run/B-1-R1", {"state": state})
        for n, unit in enumerate(self.scenario.units, 1):
            self._unit(n, unit)
        self._alarms()
        if self.scenario.omit != "end":
            sent: JsonObject = {
                "state": "AWAITING_REVIEW",
                "ended": self.scenario.ended,
                "program_sent_sha256": sha256_hex(b"G1 sent\n"),
                "wire_log_sha256": "e" * 64,
            }
            self.cell(
                EventKind.RUN_RECORD_CLOSED,
                "run/B-1-R1",
                sent,
                attachments={"program.gcode": b"G1 sent\n", "journal/run.jsonl": b'{"port":"clock"}\n'},
            )
        if self.scenario.omit != "closed":
            size = self.batch.cell.size
            root = batch_record.TrailView(list(self.batch.cell.lines())).root()
            if self.scenario.omit == "root":
                root = base64.b64encode(b"\x01" * 32).decode()
            closed: JsonObject = {"status": "awaiting review", "cell_origin": "cell-1.example", "cell_size": size, "cell_root": root}
            self.ws(EventKind.BATCH_RUN_CLOSED, "batch/B-1", closed)
        self._removals()
        if self.scenario.remaining_mg is not None:
            back: JsonObject = {"batch": "B-1", "cartridge": "C-77", "remaining_mg": self.scenario.remaining_mg}
            self.ws(EventKind.INK_CARTRIDGE_RETURNED, "ink_return/B-1/C-77", back, person("olga"))

    def _refused_run(self) -> None:
        """A run that its gates refused, before the one that printed."""
        self._created("B-1-R0")
        gates: list[JsonObject] = [{"gate": "balance check", "met": False, "reason": "no balance answers"}]
        self.cell(EventKind.RUN_GATES_REFUSED, "run/B-1-R0", {"gates": gates})
        closed: JsonObject = {
            "state": "AWAITING_REVIEW",
            "ended": "ABORTED",
            "program_sent_sha256": sha256_hex(b""),
            "wire_log_sha256": "e" * 64,
        }
        self.cell(EventKind.RUN_RECORD_CLOSED, "run/B-1-R0", closed, attachments={"program.gcode": b"", "journal/run.jsonl": b"{}\n"})

    def _created(self, run: str = "B-1-R1") -> None:
        planned = b";DOSEWRIGHT 1\nG1 planned\n"
        counts: dict[str, int] = {}
        for unit in self.scenario.units:
            counts[unit.strength] = counts.get(unit.strength, 0) + 1
        if self.scenario.planned is not None:
            counts[self.scenario.units[0].strength] += self.scenario.planned - len(self.scenario.units)
        strengths: list[JsonObject] = [
            {
                "strength_mg": s,
                "units": n,
                "unit_target": {"mass_mg": TARGETS[s][0], "volume_uL": TARGETS[s][1]},
                "family": "cylinder",
                "diameter_mm": "10.7",
                "height_mm": "4.3",
            }
            for s, n in counts.items()
        ]
        dose: JsonObject = {
            "bsa_m2": "0.741620",
            "calculated_mg": "18.5405",
            "rounded_mg": "18.5",
            "strengths": strengths,
            "arithmetic": [
                "Mosteller: √(110 cm × 18 kg / 3600) = 0.741620 m²",
                "25 mg/m² × 0.741620 m² = 18.5405 mg per day",
                "rounded to the grid of 0.5 mg: 18.5 mg (−0.22 %)",
                "18.5 mg / 39.6 mg/g = 467.17 mg of ink per unit",
                "467.17 mg / 1.20 g/mL = 389.31 µL per unit",
            ],
        }
        new: JsonObject = {
            "batch": "B-1",
            "order_sha256": self.order_sha256,
            "recipe": "cyclophosphamide@1",
            "recipe_digest": "a" * 64,
            "ink_lot": "CYC-0426",
            "cartridge": "C-77",
            "machine": "sse-10ml@1",
            "machine_digest": "b" * 64,
            "state": "CREATED",
            "program_sha256": sha256_hex(planned),
            "units": sum(counts.values()),
            "demonstration": True,
            "rate": "60",
            "dose": dose,
            "dosage_form": "tablet",
            "moiety": "cyclophosphamide",
            "basis": "anhydrous",
            "concentration_rsd_validation": self.scenario.rsd,
            "equipment": "cell-1@1",
            "equipment_digest": "f" * 64,
            **self.scenario.facts,
        }
        if self.scenario.omit == "equipment":
            del new["equipment"], new["equipment_digest"]
        attachments = {
            "program-planned.gcode": planned,
            "order.json": b"{}",
            "dose.json": b"{}",
            "recipe.toml": b"x = 1\n",
            "admission.json": b"{}",
        }
        if self.scenario.omit != "proof":
            attachments["proof.json"] = b'{"proved":true}'
        self.cell(EventKind.RUN_RECORD_CREATED, f"run/{run}", new, attachments=attachments)

    def _unit(self, n: int, unit: Unit) -> None:
        subject, target = f"unit/B-1-R1/{n:03d}", TARGETS[unit.strength]
        low, high = (str((Decimal(target[0]) * Decimal(factor)).quantize(Decimal("0.01"))) for factor in ("0.95", "1.05"))
        intended: JsonObject = {
            "run": "B-1-R1",
            "batch": "B-1",
            "n": n,
            "strength_mg": unit.strength,
            "target_mass_mg": target[0],
            "target_volume_uL": target[1],
            "low_mg": low,
            "high_mg": high,
            "gcode_sha256": sha256_hex(b"G1 corrected\n") if unit.corrected else "d" * 64,
            "flow_factor": unit.flow_factor,
            "state": "printing",
        }
        if unit.corrected:
            self._correction(n, unit)
        self.cell(EventKind.UNIT_PRINT_INTENDED, subject, intended)
        if unit.verdict == "":
            return
        files = {
            f"journal/unit-{n:03d}.jsonl": b'{"n":%d}\n' % n,
            f"traces/unit-{n:03d}.csv": b"t_s,pressure_kPa,nozzle_C,commanded_uL\n%d,1,2,3\n" % n,
        }
        judged: JsonObject = {"state": "judged", "verdict": unit.verdict, "reasons": list(unit.reasons), "mass_mg": unit.mass}
        if unit.mass is None and unit.verdict == "scrapped":
            self.cell(EventKind.UNIT_PRINT_SCRAPPED, subject, judged, attachments=files)
            return
        judged |= {"expanded_uncertainty_mg": "0.62", "pressure_max_kPa": "187.4", "nozzle_min_C": "39.6", "nozzle_max_C": "40.3"}
        if unit.mass is not None and unit.readings != "none":
            after = Decimal("87000.0") + Decimal(unit.mass) + (Decimal("5.0") if unit.readings == "of another unit" else 0)
            judged |= {"gross_before_mg": "87000.0", "gross_after_mg": str(after), "drift_correction_mg": "0.00"}
        if unit.bare:
            files = {}
        if unit.external:
            judged |= self._external(f"B-1-R1/{n:03d}", unit)
        self.cell(EventKind.UNIT_WEIGHT_JUDGED, subject, judged, attachments=files)
        if unit.later:
            self.cell(EventKind.UNIT_WEIGHT_JUDGED, subject, {"verdict": unit.later, "reasons": []})

    def _correction(self, n: int, unit: Unit) -> None:
        name = f"corrected/unit-{n:03d}"
        files = {f"{name}.gcode": b"G1 corrected\n", f"{name}-proof.json": b"{}"}
        if unit.corrected == "not proved":
            del files[f"{name}-proof.json"]
        if unit.corrected == "other bytes":
            files[f"{name}.gcode"] = b"G1 something else\n"
        new: JsonObject = {"flow_factor": unit.flow_factor, "largest_percent": "5", "gcode_sha256": sha256_hex(b"G1 corrected\n")}
        self.cell(EventKind.DOSE_CORRECTION_DECIDED, f"correction/B-1-R1/{n:03d}", new, attachments=files)

    def _external(self, id_: str, unit: Unit) -> JsonObject:
        value = unit.mass or ""
        signed = self.batch.sign(
            "ben", "weight entered", weight_digest(id_, 1, "EXT-1", "400.0" if unit.external == "other value" else value)
        )
        who = "ben" if unit.external == "one person" else "olga"
        first: JsonObject = {"username": who, "name": who.title(), "role": "operator", "value_mg": value, "at_us": 1}
        if unit.external == "differ":
            first["value_mg"] = "466.0"
        second: JsonObject = {"username": "ben", "name": "Ben", "role": "operator", "value_mg": value, "at_us": 2, "signature": signed}
        if unit.external == "forged":
            second["signature"] = {**signed, "name": "Somebody else"}
        attempts: list[JsonValue] = [{"first": first, "second": second}]
        return {"weighed_on": "external", "external_weighing": {"balance_serial": "EXT-1", "attempts": attempts}}

    def _alarms(self) -> None:
        for k, alarm in enumerate(self.scenario.alarms, 1):
            acknowledged = alarm.get("acknowledged", True)
            fields = {name: value for name, value in alarm.items() if name != "acknowledged"}
            self.cell(
                EventKind.ALARM_CONDITION_RAISED,
                f"alarm/B-1-R1/{k}",
                {"run": "B-1-R1", "state": "unacknowledged", "unit_n": None, **fields},
            )
            if acknowledged:
                self.cell(
                    EventKind.ALARM_CONDITION_ACKNOWLEDGED,
                    f"alarm/B-1-R1/{k}",
                    {"state": "acknowledged", "comment": "seen"},
                    person("olga"),
                )
        for k, deviation in enumerate(self.scenario.deviations, 1):
            self.cell(EventKind.DEVIATION_RECORD_OPENED, f"deviation/B-1-R1/{k}", {"run": "B-1-R1", "status": "open", **deviation})

    def _removals(self) -> None:
        for n, unit in enumerate(self.scenario.units, 1):
            if unit.verdict not in ("accepted", "") and unit.removed:
                id_ = f"B-1-R1/{n:03d}"
                confirmed = self.batch.sign("ben", "removed", removal_digest(id_))
                new: JsonObject = {"removed": True, "removal_method": "second person", "confirmed": confirmed}
                self.cell(EventKind.UNIT_REMOVAL_CONFIRMED, f"unit/{id_}", new, person("ben"))


@pytest.fixture
def write_batch(tmp_path: Path) -> Iterator[Callable[[Scenario], SampleBatch]]:
    """A function that writes a scenario into new stores."""
    with ExitStack() as stack:
        count = 0

        def write(scenario: Scenario) -> SampleBatch:
            nonlocal count
            count += 1
            folder = tmp_path / str(count)
            folder.mkdir()
            return Writer(folder, scenario, stack).write()

        yield write


@pytest.fixture
def scenario() -> type[Scenario]:
    return Scenario


@pytest.fixture
def unit() -> type[Unit]:
    return Unit
