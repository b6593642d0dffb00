"""The equipment register of a demonstration cell: made-up assets and certificates, illustrative limits, signed like a real one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Literal

from audit.events import Subject
from audit.identity import Identity, Role
from audit.quantities import Milligram
from audit.signatures import sign
from printer.equipment import (
    MEANING_REGISTER,
    BalanceEntry,
    CheckRule,
    CleaningRule,
    EquipmentRegister,
    PrinterEntry,
    SensorEntry,
    Training,
    WeightEntry,
)
from printer.register_file import SignedRegister

BENCH_BALANCE = ("XPR204", "B000000001")
"""Model and serial number that the virtual balance tells of itself."""
CLEANING_METHOD = "demonstration procedure CL-1: residues off, wiped with purified water, then 70 % ethanol"
_YEAR = timedelta(days=364)


def demonstration_register(
    cell: str, *, today: str, recipes: Iterable[str], people: Iterable[str], daily_check: bool, development: bool = False
) -> EquipmentRegister:
    """Return the register of a demonstration cell, everything in date for a year from `today`; without `development` it is locked."""
    until = (date.fromisoformat(today) + _YEAR).isoformat()
    model, serial = BENCH_BALANCE
    weight = WeightEntry(
        identification="demonstration-weight-50g",
        mass=Milligram("50000.0"),
        uncertainty=Milligram("0.03"),
        certificate="demonstration-W-1",
        valid_until=until,
    )
    rule: CheckRule | Literal["not required"] = "not required"
    if daily_check:
        rule = CheckRule(
            weight=weight,
            sensitivity_limit=Milligram("0.5"),
            eccentricity_limit=Milligram("0.5"),
            zero_limit=Milligram("0.3"),
            valid_for="same day",
        )
    trained = dict.fromkeys(recipes, until)
    return EquipmentRegister(
        format="dosewright-equipment/1",
        cell=cell,
        version=1,
        printer=PrinterEntry(asset=f"{cell}-printer", qualification="demonstration-OQ-1", qualified_until=until),
        balance=BalanceEntry(asset=f"{cell}-balance", model=model, serial=serial, certificate="demonstration-B-1", calibrated_until=until),
        pressure_sensor=SensorEntry(asset=f"{cell}-pressure", certificate="demonstration-P-1", calibrated_until=until),
        daily_check=rule,
        cleaning=CleaningRule(procedure="demonstration procedure CL-1", interval_days=7),
        training=tuple(Training(username=username, cell_until=until, recipes=trained) for username in people),
        development="permitted" if development else None,
    )


def sign_register(register: EquipmentRegister, identity: Identity, username: str, password: str, *, scripted: bool) -> SignedRegister:
    """Have a person of quality assurance sign a register. Raises what a signature may."""
    signature = sign(
        identity,
        username,
        password,
        meaning=MEANING_REGISTER,
        digest=register.digest,
        role=Role.QUALITY_ASSURANCE,
        subject=Subject("equipment", register.reference),
        scripted=scripted,
    )
    return SignedRegister(register=register, signature=signature)
