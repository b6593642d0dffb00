"""The equipment of a cell as its signed register has it: each device with its dates, and how it stands today. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum

from api.today_needs import SOON_DAYS
from audit.canonical import JsonObject
from printer.equipment import BalanceEntry, CheckRule, EquipmentRegister


class Standing(StrEnum):
    """How a date stands; its last day is included."""

    IN_DATE = "in date"
    ENDS_SOON = "ends soon"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Device:
    """One device. `serial` and `model` are empty where the register states none; `paper` is its certificate or report; `until` ISO."""

    what: str
    asset: str
    model: str
    serial: str
    paper: str
    until: str
    days: int
    standing: Standing
    detail: str = ""

    def as_record(self) -> JsonObject:
        return {
            "what": self.what, "asset": self.asset, "model": self.model or None, "serial": self.serial or None, "paper": self.paper,
            "until": self.until, "days_left": self.days, "standing": self.standing.value, "detail": self.detail or None,
        }  # fmt: skip


def devices_of(register: EquipmentRegister, today: str) -> tuple[Device, ...]:
    """Return every device and the check weight, in the order in which an inspector goes round a cell. `today`: ISO, the cell's own date."""
    printer, sensor = register.printer, register.pressure_sensor
    found = [
        _device("printer", printer.asset, "", "", printer.qualification, printer.qualified_until, today),
        _balance("balance", register.balance, today),
        _device("pressure sensor", sensor.asset, "", "", sensor.certificate, sensor.calibrated_until, today),
    ]
    if isinstance(register.daily_check, CheckRule):
        weight = register.daily_check.weight
        detail = f"{weight.mass} ± {weight.uncertainty} (k = 2)"
        found.append(_device("check weight", weight.identification, "", "", weight.certificate, weight.valid_until, today, detail))
    if (external := register.external_balance) is not None:
        detail = f"readability {external.readability}, expanded uncertainty {external.expanded_uncertainty} (k = 2)"
        found.append(_balance("external balance", external, today, detail))
    return tuple(found)


def standing(until: str, today: str) -> tuple[Standing, int]:
    """Return how a last day stands, and the days that are left, this one included; below zero once it is over."""
    days = (date.fromisoformat(until) - date.fromisoformat(today)).days
    if days < 0:
        return Standing.OVER, days
    return Standing.ENDS_SOON if days <= SOON_DAYS else Standing.IN_DATE, days + 1


def _balance(what: str, entry: BalanceEntry, today: str, detail: str = "") -> Device:
    return _device(what, entry.asset, entry.model, entry.serial, entry.certificate, entry.calibrated_until, today, detail)


def _device(what: str, asset: str, model: str, serial: str, paper: str, until: str, today: str, detail: str = "") -> Device:
    how, days = standing(until, today)
    return Device(what, asset, model, serial, paper, until, days, how, detail)
