"""The gates before a print, in order. Each says what was met by, or what is missing and what to do.

All of them are judged, never just the first. Pure; dates are ISO dates in the cell's own time zone, the last day included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from printer.equipment import CheckRule, EquipmentRegister, Product, RegisterFound, Standing, Training
from printer.snapshot import Quality

_NO_REGISTER = "not known without a valid equipment register; see that gate"


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate: `text` is the evidence where it is met, else the reason and the way on."""

    name: str
    met: bool
    text: str

    def as_record(self) -> dict[str, str | bool]:
        return {"gate": self.name, "met": self.met, ("evidence" if self.met else "reason"): self.text}


@dataclass(frozen=True, slots=True)
class DeviceFindings:
    """What preflight found of the devices; None where a device did not answer in time.

    `expected_serial` is that of the equipment register, None where there is no valid one (a gate of its own says so).
    """

    printer: str | None
    printer_refusal: str | None
    balance: str | None
    pressure: Quality
    balance_serial: str | None = None
    expected_serial: str | None = None


def device_gates(found: DeviceFindings) -> tuple[Gate, ...]:
    if found.printer is not None:
        printer = Gate("printer identified", True, found.printer)
    else:
        refusal = found.printer_refusal or "the printer did not answer; check that it is on and its cable is in, then prepare the run again"
        printer = Gate("printer identified", False, refusal)
    if found.pressure is Quality.GOOD:
        pressure = Gate("pressure sensor live", True, "readings arrive")
    else:
        pressure = Gate("pressure sensor live", False, f"readings are {found.pressure}; check the sensor hub, then prepare the run again")
    return printer, _balance(found), pressure


def _balance(found: DeviceFindings) -> Gate:
    name = "balance identified"
    if found.balance is None:
        return Gate(name, False, "the balance did not answer; check that it is on and connected, then prepare the run")
    if _wrong_balance(found):
        text = f"the balance that answers has serial number {found.balance_serial}, the register names {found.expected_serial}"
        return Gate(name, False, f"{text}; connect the registered balance, or have the register changed and signed")
    known = "as registered" if found.expected_serial is not None else "not compared with a register"
    return Gate(name, True, f"{found.balance}, {known}")


def _wrong_balance(found: DeviceFindings) -> bool:
    return found.balance_serial is not None and found.expected_serial is not None and found.balance_serial != found.expected_serial


def unmet(gates: tuple[Gate, ...]) -> tuple[str, ...]:
    return tuple(f"{gate.name}: {gate.text}" for gate in gates if not gate.met)


def training_gate(register: EquipmentRegister | None, person: str, name: str, recipe: str, today: str) -> Gate:
    """Judge one person's training for this cell and this recipe version."""
    title = "training"
    if register is None:
        return Gate(title, False, _NO_REGISTER)
    record = next((item for item in register.training if item.username == person), None)
    missing = _missing_training(record, register.cell, recipe, today)
    if record is None or missing:
        return Gate(title, False, f"{name}: {'; '.join(missing)}; train the person and have quality assurance sign the register")
    return Gate(title, True, f"{name}: cell {register.cell} until {record.cell_until}, {recipe} until {record.recipes[recipe]}")


def training_on_cell(register: EquipmentRegister, person: str, name: str, today: str) -> Gate:
    """Judge whether a person may care for the cell: trained on it, in date."""
    record = next((item for item in register.training if item.username == person), None)
    if record is None or record.cell_until < today:
        reason = "no training is on record" if record is None else f"training ended on {record.cell_until}"
        return Gate(
            "training", False, f"{name} on {register.cell}: {reason}; train the person and have quality assurance sign the register"
        )
    return Gate("training", True, f"{name}: cell {register.cell} until {record.cell_until}")


def _missing_training(record: Training | None, cell: str, recipe: str, today: str) -> list[str]:
    if record is None:
        return [f"no training on {cell} is on record"]
    reasons = []
    if record.cell_until < today:
        reasons.append(f"training on {cell} ended on {record.cell_until}")
    until = record.recipes.get(recipe)
    if until is None:
        reasons.append(f"no training for {recipe} is on record")
    elif until < today:
        reasons.append(f"training for {recipe} ended on {until}")
    return reasons


def equipment_gates(found: RegisterFound, standing: Standing) -> tuple[Gate, ...]:
    """Judge the register, every device's dates, and the daily check."""
    register, today = found.register, standing.today
    if register is None:
        names = ("printer qualified", "balance calibrated", "pressure sensor calibrated", "daily balance check")
        return Gate("equipment register", False, found.refusal), *(Gate(name, False, _NO_REGISTER) for name in names)
    printer, balance, sensor = register.printer, register.balance, register.pressure_sensor
    return (
        Gate("equipment register", True, found.evidence),
        _dated("printer qualified", f"{printer.asset}, {printer.qualification}", printer.qualified_until, today, "qualify the printer"),
        _dated(
            "balance calibrated",
            f"{balance.asset}, {balance.model}, serial number {balance.serial}, certificate {balance.certificate}",
            balance.calibrated_until,
            today,
            "have the balance calibrated",
        ),
        _dated(
            "pressure sensor calibrated",
            f"{sensor.asset}, certificate {sensor.certificate}",
            sensor.calibrated_until,
            today,
            "have the sensor calibrated",
        ),
        check_gate(register, standing),
    )


def judging_gates(
    plate: str, plate_reasons: Sequence[str], register: EquipmentRegister | None, external_reasons: Sequence[str], today: str
) -> tuple[Gate, ...]:
    """Judge whether a balance of this cell can judge the tolerance: the plate's, or the external one that the register names.

    `plate` is the evidence where nothing speaks against the plate balance, `external_reasons` what speaks against the
    external one's figures. Where the external balance is called for, its calibration is a gate of its own.
    """
    name, dated = "balance can judge the tolerance", "external balance calibrated"
    if not plate_reasons:
        return (Gate(name, True, plate),)
    why = "; ".join(plate_reasons)
    if register is None:
        return Gate(name, False, f"{why}; {_NO_REGISTER}"), Gate(dated, False, _NO_REGISTER)
    balance = register.external_balance
    if balance is None:
        missing = f"the equipment register {register.reference} names no external balance; have one named and the register signed anew"
        return Gate(name, False, f"{why}; {missing}"), Gate(dated, False, missing)
    what = f"{balance.asset}, {balance.model}, serial number {balance.serial}, certificate {balance.certificate}"
    if external_reasons:
        judges = Gate(name, False, f"{'; '.join((why, *external_reasons))}; use a finer external balance")
    else:
        text = f"external balance {what}, expanded uncertainty {balance.expanded_uncertainty}; the plate balance cannot judge it"
        judges = Gate(name, True, text)
    return judges, _dated(dated, what, balance.calibrated_until, today, "have the external balance calibrated")


def _dated(name: str, what: str, until: str, today: str, remedy: str) -> Gate:
    if until < today:
        return Gate(name, False, f"{what}: ended on {until}, today is {today}; {remedy} and have the register signed anew")
    return Gate(name, True, f"{what}, until {until}")


def check_gate(register: EquipmentRegister, standing: Standing) -> Gate:
    """Judge the daily check of the balance: passed today, with a weight that is in date, on the registered balance."""
    name, rule, last, today = "daily balance check", register.daily_check, standing.last_check, standing.today
    serial = register.balance.serial
    if not isinstance(rule, CheckRule):
        return Gate(name, True, f"not required: a choice of the signed equipment register {register.reference}")
    do = "do the daily check on the page of the cell"
    weight = rule.weight
    if weight.valid_until < today:
        text = f"the certificate {weight.certificate} of check weight {weight.identification} ended on {weight.valid_until}"
        return Gate(name, False, f"{text}; have the weight calibrated and the register signed anew")
    if last is None or last.serial != serial:
        return Gate(name, False, f"no check of the balance {serial} is on record; {do}")
    if last.status == "under way":
        return Gate(name, False, f"the check begun by {last.by} is not finished; finish or abandon it")
    if not last.passed:
        return Gate(name, False, f"the last check, on {last.day}, was not passed: {'; '.join(last.reasons)}; find out why, then {do}")
    if last.day != today:
        return Gate(name, False, f"last passed on {last.day}, today is {today}; {do}")
    return Gate(name, True, f"passed on {last.day} by {last.by} with {weight.identification}, balance serial number {serial}")


def cleaning_gate(register: EquipmentRegister | None, standing: Standing, recipe: str | None, ink_lot: str | None) -> Gate:
    """Judge the cleaning: in its interval, and after the last run of another recipe or ink lot (None: not known yet which comes next)."""
    name, last = "cleaning", standing.last_cleaning
    if register is None:
        return Gate(name, False, _NO_REGISTER)
    rule = register.cleaning
    do = f"clean the cell by {rule.procedure} and record it"
    if last is None:
        return Gate(name, False, f"no cleaning of this cell is on record; {do}")
    if not 0 <= last.days_ago <= rule.interval_days:
        return Gate(name, False, f"last cleaned on {last.day}, the interval is {rule.interval_days} days; {do}")
    others = (item for item in standing.printed if recipe is not None and (item.recipe, item.ink_lot) != (recipe, ink_lot))
    other: Product | None = next(others, None)
    if other is not None:
        return Gate(name, False, f"run {other.run} printed {other.recipe} from ink lot {other.ink_lot} since the last cleaning; {do}")
    used = sorted({f"{item.recipe} from ink lot {item.ink_lot}" for item in standing.printed})
    since = f"; since then only {', '.join(used)}" if used else ""
    return Gate(name, True, f"cleaned on {last.day} by {last.by}, {last.method}{since}")
