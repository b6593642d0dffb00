"""Where the ink of each cartridge of a batch went, read from both trails in mg."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from audit.canonical import JsonObject
from audit.events import EventKind
from audit.quantities import EXACT
from audit.release.evidence import BatchEntries
from audit.release.reconciliation import InkBalance, balance
from audit.release.trail_view import as_list, as_object, number_of, text_of

_PRIMES = ("prime", "prime_2")


def return_id(batch: str, serial: str) -> str:
    """Return the id of the subject `ink_return`, under which older trails hold that a cartridge was weighed back."""
    return f"{batch}/{serial}"


def balances(entries: BatchEntries) -> tuple[tuple[InkBalance, ...], tuple[str, ...]]:
    """Return the balance of each cartridge, and what is missing for those that have none."""
    cartridges = [(0, entries.ink, entries.cartridge)]
    if entries.second_ink:
        cartridges.append((1, entries.second_ink, entries.second_cartridge))
    found: list[InkBalance] = []
    missing: list[str] = []
    for head, ink, cartridge in cartridges:
        result = _balance(entries, head, ink, cartridge)
        if isinstance(result, str):
            missing.append(result)
        else:
            found.append(result)
    return tuple(found), tuple(missing)


def _balance(entries: BatchEntries, head: int, ink: JsonObject, cartridge: JsonObject) -> InkBalance | str:
    """Return the balance of one cartridge, or what is missing for it."""
    serial = text_of(cartridge.get("serial")) or "a cartridge without a number"
    density, filled = number_of(ink.get("density")), number_of(cartridge.get("filled"))
    if density is None or filled is None:
        return f"{serial}: its filling or the density of its ink is not stated"
    remaining = _weighed_back(entries, serial)
    if remaining is None:
        return f"{serial}: it was not weighed back"
    primed = _primed(entries, head)
    if primed is None:
        return f"{serial}: the volume of priming is not stated"
    rows = list(_units(entries, head))
    weighed = [(verdict, mass) for verdict, mass, _ in rows if mass is not None]
    purges = [unit for _, unit in entries.purge_units] if head == 0 else []
    issued = EXACT.multiply(EXACT.subtract(filled, _used_before(entries, serial)), density)
    try:
        return balance(
            serial,
            issued=issued,
            accepted=[mass for verdict, mass in weighed if verdict == "accepted"],
            rejected=[mass for verdict, mass in weighed if verdict != "accepted"],
            purged=[EXACT.multiply(primed, density), *(mass for unit in purges if (mass := number_of(unit.get("mass_mg"))) is not None)],
            unweighed=[target for _, mass, target in rows if mass is None]
            + [_target(unit) for unit in purges if unit.get("mass_mg") is None],
            remaining=remaining,
        )
    except ValueError as error:
        return f"{serial}: {error}"


def _weighed_back(entries: BatchEntries, serial: str) -> Decimal | None:
    """Return the ink left in a cartridge in mg: by the weighing that settles this batch, in older trails by an entry of its own."""
    for entry in entries.workstation.of("cartridge", serial):
        if entry.kind == EventKind.INK_CARTRIDGE_WEIGHED and text_of(entry.new.get("settles")) == entries.batch_id:
            return number_of(entry.new.get("remaining_mg"))
    returned = entries.workstation.last("ink_return", return_id(entries.batch_id, serial), EventKind.INK_CARTRIDGE_RETURNED)
    return None if returned is None else number_of(returned.new.get("remaining_mg"))


def _used_before(entries: BatchEntries, serial: str) -> Decimal:
    """Return what earlier batches took, in µL: what a run of this batch took is counted with its units."""
    used = Decimal(0)
    for entry in entries.workstation.of("cartridge", serial):
        if entry.kind == EventKind.INK_CARTRIDGE_USED and text_of(as_object(entry.new.get("usage")).get("run")) in entries.runs:
            break
        used = number_of(entry.new.get("used")) or used
    return used


def _primed(entries: BatchEntries, head: int) -> Decimal | None:
    """Return what all primings of a head took, in µL; None where their volume is not stated."""
    total = Decimal(0)
    for run in entries.runs:
        volumes = [number_of(volume) for volume in as_list(entries.run_states[run].get("prime_volumes_uL"))]
        times = sum(text_of(entry.new.get("action")) == _PRIMES[head] for entry in entries.cell.of("run", run))
        if times == 0:
            continue
        volume = volumes[head] if head < len(volumes) else None
        if volume is None:
            return None
        total = EXACT.fma(Decimal(times), volume, total)
    return total


def _units(entries: BatchEntries, head: int) -> Iterator[tuple[str, Decimal | None, Decimal]]:
    """Give verdict, mass and aimed-at mass of each unit, or of its part from this head, that was begun."""
    for _, unit in entries.units:
        parts = entries.parts_of(unit)
        state = unit if not parts else parts[head][1] if head < len(parts) else {}
        if state:
            yield text_of(unit.get("verdict")) or "scrapped", number_of(state.get("mass_mg")), _target(state)


def _target(state: JsonObject) -> Decimal:
    return number_of(state.get("target_mass_mg")) or Decimal(0)
