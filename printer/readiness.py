"""The gates before a print, in order. Each says what was met by, or what is missing and what to do."""

from __future__ import annotations

from dataclasses import dataclass

from printer.snapshot import Quality


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
    """What preflight found of the devices; None where a device did not answer in time."""

    printer: str | None
    printer_refusal: str | None
    balance: str | None
    pressure: Quality


def device_gates(found: DeviceFindings) -> tuple[Gate, ...]:
    if found.printer is not None:
        printer = Gate("printer identified", True, found.printer)
    else:
        refusal = found.printer_refusal or "the printer did not answer; check that it is on and its cable is in, then prepare the run again"
        printer = Gate("printer identified", False, refusal)
    if found.balance is not None:
        balance = Gate("balance identified", True, found.balance)
    else:
        balance = Gate("balance identified", False, "the balance did not answer; check that it is on and connected, then prepare the run")
    if found.pressure is Quality.GOOD:
        pressure = Gate("pressure sensor live", True, "readings arrive")
    else:
        pressure = Gate("pressure sensor live", False, f"readings are {found.pressure}; check the sensor hub, then prepare the run again")
    return printer, balance, pressure


def unmet(gates: tuple[Gate, ...]) -> tuple[str, ...]:
    return tuple(f"{gate.name}: {gate.text}" for gate in gates if not gate.met)
