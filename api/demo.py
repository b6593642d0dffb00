"""The demonstration: bench, cell and workstation as processes of their own, and four accounts that do the whole job.

Everything goes through the workstation's interface; nothing here reaches into a store or a cell. Signatures are marked
as scripted, and every record says that it is a demonstration.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from pydantic import JsonValue
from rich.console import Console

from api.bench_hand import find_hand
from api.cases import Changes, Demonstration, load_case
from api.certificates import write_private
from api.demo_care import care_for_cell
from api.demo_desk import Desk, Refused
from api.demo_progress import Progress
from api.errors import FolderNotOurs, InputInvalid, ProcessFailed
from api.label_files import print_labels
from api.processes import Children, free_port, read_bench, start_bench, start_cell, start_workstation, wait_for_file, wait_for_port
from api.site import CELL, Site, create_site, write_cell_configuration
from api.status import CellStatus
from audit.errors import StoreReadOnly
from audit.release.selection import Scope
from recipes.dose import calculate
from recipes.prescription import PrescriptionEntry

MARKER = ".dosewright-demonstration"
PACKAGE, RECORD_PDF, PROGRAM = "review-package.zip", "release-record.pdf", "program.gcode"
_ENTERED_AGAIN = (
    "patient", "number", "moiety", "height_cm", "weight_kg", "sex", "age_years", "prescribed", "unit", "per", "schedule", "days",
    "second_prescribed",
)  # fmt: skip
_POLL_S = 0.1
_PATIENCE_S = 900.0


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What a demonstration is asked to do. `ports` replaces addresses of the bench's ports, to show a missing device."""

    folder: Path
    case: str
    fault: str | None
    rate: str
    seed: int
    changes: Changes
    ports: dict[str, str]
    scope: Scope = Scope.SELECTIVE


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a demonstration ended: the record as signed, what a premature release was refused with, and the files."""

    record: dict[str, JsonValue]
    refusal: tuple[str, ...]
    removed: tuple[str, ...]
    folder: Path
    labels: tuple[str, ...] = ()

    @property
    def disposition(self) -> str:
        return str(self.record.get("disposition"))


def prepare_folder(folder: Path) -> None:
    """Make the folder fresh. Raises FolderNotOurs where it holds something that no demonstration made, StoreReadOnly where it cannot."""
    if folder.exists() and not folder.is_dir():
        raise FolderNotOurs(f"{folder} is not a folder.", remedy="Choose another with --dir.")
    if folder.exists() and any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise FolderNotOurs(f"{folder} is not empty and was not made by a demonstration.", remedy="Choose another folder with --dir.")
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / MARKER).write_text("Made by `dosewright demo`, which deletes this folder when it runs again.\n", encoding="utf-8")
    except OSError as error:
        raise StoreReadOnly(
            f"{folder} cannot be written: {error.strerror}.", remedy="Choose a folder that you may write with --dir."
        ) from None


def run_demo(options: DemoOptions, console: Console) -> Outcome:
    """Do the whole job and leave its files in the folder. Raises what stands in the way; all children end in any case."""
    demonstration = load_case(options.case, options.changes, datetime.now(UTC).date())
    check_fault(options.fault, check_prescription(demonstration))
    prepare_folder(options.folder)
    folder = options.folder.resolve()
    with Children(folder / "logs") as children:
        bench_child, ready = start_bench(
            children,
            folder / "bench.json",
            case=options.case,
            fault=options.fault,
            rate=options.rate,
            seed=options.seed,
            truth=folder / "bench-truth.json",
        )
        # the site is laid out while the bench comes up
        site = create_site(folder, inks=list(demonstration.sources))
        _write_accounts(folder, site)
        port = free_port()
        workstation = start_workstation(children, folder, port, page=True)
        bench = read_bench(bench_child, ready)
        bench = replace(bench, ports={**bench.ports, **options.ports})
        write_cell_configuration(folder, machine=demonstration.recipe.machine, bench=bench)
        cell = start_cell(children, folder)
        wait_for_file(folder / CELL / "address.json", cell, 20.0)
        wait_for_port(port, workstation, 20.0)
        base = f"http://127.0.0.1:{port}"
        console.print(f"Bench, cell and workstation are up: {base} (accounts in {folder / 'accounts.txt'})", markup=False)
        job = _Job(site, base, demonstration, console, children)
        try:
            return job.do(folder, options.scope)
        finally:
            job.close()


def check_prescription(demonstration: Demonstration) -> int:
    """Refuse what cannot become a dose before anything is made or started; return the number of units.

    Raises PrescriptionRefused, DoseRefused.
    """
    second = None if demonstration.second is None else demonstration.second[0]
    dose = calculate(demonstration.recipe, demonstration.prescription, demonstration.ink, second)
    return sum(strength.units for strength in dose.strengths)


def check_fault(fault: str | None, units: int) -> None:
    """Refuse a fault at a unit that will not be printed: it would be shown by nothing. Raises InputInvalid."""
    place = next((part for part in (fault or "").split(":")[1:] if part.isascii() and part.isdigit()), "")
    if place and not 1 <= int(place) <= units:
        raise InputInvalid(f"fault: {fault} is at unit {place}, and {units} units are printed.", remedy=f"Name a unit from 1 to {units}.")


def _write_accounts(folder: Path, site: Site) -> None:
    lines = [f"{username}  {password}" for username, password in site.passwords.items()]
    write_private(folder / "accounts.txt", ("\n".join(lines) + "\n").encode())


class _Job:
    """The four accounts at work: pharmacist, second pharmacist, operator, qualified person."""

    def __init__(self, site: Site, base: str, demonstration: Demonstration, console: Console, children: Children) -> None:
        self._demonstration = demonstration
        self._console = console
        self._children = children
        self._desks = {name: Desk.log_in(base, name, site.passwords[name]) for name in ("pharmacist", "second", "operator", "qp")}

    def close(self) -> None:
        for desk in self._desks.values():
            desk.close()

    def do(self, folder: Path, scope: Scope) -> Outcome:
        """Order, run, review, disposition, package."""
        care_for_cell(self._desks["operator"], CELL, find_hand(folder), self._console)
        batch = self._order()
        self._start(batch)
        status = self._follow()
        self._desks["qp"].post(f"/batches/{batch}/close")
        self._acknowledge(status)
        outcome = self._decide(batch, status, folder)
        package = self._desks["qp"].download(f"/batches/{batch}/package?scope={scope}")
        (folder / PACKAGE).write_bytes(package)
        _unpack(folder)
        if outcome.disposition in {"released", "partly released"}:
            outcome = replace(outcome, labels=tuple(path.name for path in self._label(batch, folder)))
        return outcome

    def _label(self, batch: str, folder: Path) -> list[Path]:
        """Pack the released units and print their labels: after release, and not before."""
        return print_labels(self._desks["operator"], batch, {"form": "pdf"}, folder)

    def _order(self) -> str:
        entry, demonstration = self._demonstration.entry, self._demonstration
        order: dict[str, JsonValue] = {
            **_fields(entry),
            "recipe": demonstration.recipe.id,
            "ink_lot": demonstration.ink.lot,
            "cartridge": demonstration.cartridge.serial,
        }
        if demonstration.second is not None:
            lot, cartridge = demonstration.second
            order |= {"second_ink_lot": lot.lot, "second_cartridge": cartridge.serial}
        pharmacist, second = self._desks["pharmacist"], self._desks["second"]
        entered = pharmacist.post("/orders", {"order": order, "signature": pharmacist.signature})
        arithmetic = entered["arithmetic"]
        self._console.print("Dose", style="bold")
        for line in arithmetic if isinstance(arithmetic, list) else []:
            self._console.print(f"  {line}", markup=False)
        again: dict[str, JsonValue] = {name: getattr(entry, name) for name in _ENTERED_AGAIN}
        second.post(f"/orders/{entered['order']}/confirm", {"entry": again, "signature": second.signature})
        self._console.print("Entered by the pharmacist, entered again blind and confirmed by a second one (scripted signatures).")
        return str(self._desks["operator"].post("/batches", {"order": str(entered["order"]), "cell": CELL})["batch"])

    def _start(self, batch: str) -> None:
        operator = self._desks["operator"]
        sources = self._demonstration.sources
        # With one head the cartridge is the one of the order; with two, which is in which head is scanned.
        scanned: list[JsonValue] = [cartridge.serial for _, cartridge in sources] if len(sources) > 1 else []
        operator.post(f"/batches/{batch}/run", {"cartridges": scanned})
        limit = time.monotonic() + 60.0
        while time.monotonic() < limit:
            self._children.check()
            status = operator.status(CELL)
            if status.may("start").allowed:
                break
            unmet = [f"{gate.gate}: {gate.reason}" for gate in status.gates if not gate.met]
            if status.ended or (unmet and status.state == "CREATED"):
                raise Refused(
                    "The gates before the print are not met: " + "; ".join(unmet or [status.state]) + ". Nothing was printed.",
                    remedy="Correct what they name and start again.",
                    code="",
                    reasons=tuple(unmet),
                )
            time.sleep(_POLL_S)
        operator.post(f"/batches/{batch}/start")
        self._console.print(f"Batch {batch}: every gate met, started.", style="bold", markup=False)
        for gate in status.gates:
            self._console.print(f"  ✓ {gate.gate}: {gate.evidence}", markup=False, style="dim")

    def _follow(self) -> CellStatus:
        """Watch the run until it awaits review."""
        operator, since = self._desks["operator"], 0
        pressures: list[float] = []
        limit = time.monotonic() + _PATIENCE_S
        with Progress(self._console) as progress:
            while time.monotonic() < limit:
                self._children.check()
                status = operator.status(CELL, since)
                if status.trace:
                    since = status.trace[-1][0]
                    pressures = [*pressures, *(float(value) for _, value in status.trace)][-400:]
                progress.show(status, pressures[::4])
                if status.ended:
                    return status
                time.sleep(_POLL_S)
        raise ProcessFailed(f"The run did not end within {_PATIENCE_S:g} s.", remedy="Look at the logs in the demonstration's folder.")

    def _acknowledge(self, status: CellStatus) -> None:
        for alarm in status.alarms:
            if alarm.is_open:
                self._desks["operator"].post(
                    f"/cells/{CELL}/alarms/acknowledge", {"alarm": alarm.alarm, "comment": "scripted: seen, plate left as it is"}
                )

    def _decide(self, batch: str, status: CellStatus, folder: Path) -> Outcome:
        """Sign what the evidence proposes. Where units were rejected, first show that release is refused while they are on the plate."""
        qp = self._desks["qp"]
        refusal: tuple[str, ...] = ()
        removed: list[str] = []
        if any(unit.needs_removal for unit in status.units) or any(purge.needs_removal for purge in status.purge_units):
            refusal = self._refused(batch)
            for purge in status.purge_units:
                if purge.needs_removal:
                    self._desks["second"].post(f"/batches/{batch}/purge-units/{purge.n}/removal", self._desks["second"].signature)
                    removed.append(f"purge unit {purge.n}")
            for unit in status.units:
                if unit.needs_removal:
                    self._desks["second"].post(f"/batches/{batch}/units/{unit.n}/removal", self._desks["second"].signature)
                    removed.append(f"unit {unit.n}")
        proposal = qp.get(f"/batches/{batch}/review").get("proposal")
        proposed = str(proposal.get("disposition")) if isinstance(proposal, dict) else "held"
        disposition = proposed if proposed in {"released", "partly released"} else "rejected"
        qp.post(f"/batches/{batch}/disposition", {"disposition": disposition, "comment": "", "signature": qp.signature})
        return Outcome(qp.get(f"/batches/{batch}/review"), refusal, tuple(removed), folder)

    def _refused(self, batch: str) -> tuple[str, ...]:
        qp = self._desks["qp"]
        try:
            qp.post(f"/batches/{batch}/disposition", {"disposition": "released", "comment": "", "signature": qp.signature})
        except Refused as refused:
            return refused.reasons or (refused.message,)
        raise ProcessFailed(
            "A release was accepted with a rejected unit on the plate.", remedy="This is a defect: do not use this version."
        )


def _fields(entry: PrescriptionEntry) -> dict[str, JsonValue]:
    second: dict[str, JsonValue] = {}
    if entry.second_moiety:
        second = {
            "second_moiety": entry.second_moiety,
            "second_basis": entry.second_basis,
            "second_prescribed": entry.second_prescribed,
            "second_unit": entry.second_unit,
            "second_per": entry.second_per,
        }
    return {
        **second,
        "patient": entry.patient,
        "moiety": entry.moiety,
        "basis": entry.basis,
        "height_cm": entry.height_cm,
        "weight_kg": entry.weight_kg,
        "sex": entry.sex,
        "age_years": entry.age_years,
        "prescribed": entry.prescribed,
        "unit": entry.unit,
        "per": entry.per,
        "schedule": entry.schedule,
        "days": entry.days,
        "measured": entry.measured,
        "prescriber": entry.prescriber,
        "number": entry.number,
        "body_confirmed": entry.body_confirmed,
    }


def _unpack(folder: Path) -> None:
    """Put the program and the document beside the package, as the package holds them."""
    from audit.release.package import read_package

    files = read_package(folder / PACKAGE).files
    for name, target in (("program.gcode", PROGRAM), ("record.pdf", RECORD_PDF)):
        if name in files:
            (folder / target).write_bytes(files[name])
