"""What one weighing of a cartridge says: how much ink is left in it, and which batch left that."""

from __future__ import annotations

from api.errors import InputInvalid, NotFound, WrongState
from audit.canonical import JsonObject
from audit.events import EventKind
from audit.quantities import EXACT, GramPerMillilitre, Microlitre, Milligram, decimal_from_text
from audit.release.ink_use import return_id
from audit.store import TrailStore
from recipes.model import Cartridge

_SUBJECT = "cartridge"


def known_empty(serial: str, state: JsonObject, typed: str) -> Milligram | None:
    """Return the mass of the empty cartridge, as stated now or before; None where nobody stated it. Raises InputInvalid, QuantityError."""
    before = state.get("empty_mg")
    known = Milligram(before) if isinstance(before, str) else None
    if not typed.strip():
        return known
    stated = Milligram(decimal_from_text(typed.strip(), "mass of the empty cartridge in mg"))
    if stated.value <= 0:
        raise InputInvalid("The mass of the empty cartridge is not above zero.", remedy="Enter it as it was weighed, or leave it out.")
    if known is not None and known != stated:
        raise InputInvalid(
            f"The empty cartridge {serial} was entered with {known}, and now with {stated}.", remedy="Leave it out, or correct it."
        )
    return stated


def remaining_mass(
    cartridge: Cartridge, state: JsonObject, gross: Milligram, empty: Milligram | None, density: GramPerMillilitre
) -> Milligram | None:
    """Return the ink left in a cartridge: gross less empty; without that, what was in it at its last weighing less what it lost since.

    None where it is its first weighing and the empty mass is not known, and where it lost more than was in it: that weighing is on
    record and the cartridge is held. Raises InputInvalid where it weighs less than when it is empty.
    """
    before = state.get("gross_mg")
    if empty is not None:
        left = gross - empty
        if left.value < 0:
            raise InputInvalid(
                f"{gross} would leave {left} of ink in {cartridge.serial}.", remedy="Weigh it again, and read the empty mass on it."
            )
        return left
    if isinstance(before, str):
        stated = state.get("remaining_mg")
        held = cartridge.filled - Microlitre.parse(str(state["used_at_weighing"]))
        then = Milligram(stated) if isinstance(stated, str) else Milligram(EXACT.multiply(held.value, density.value))
        left = then - (Milligram(before) - gross)
        return left if left.value >= 0 else None
    return None


class CartridgeReturns:
    """Which batch the next weighing of a cartridge settles, by the workstation's trail."""

    def __init__(self, store: TrailStore) -> None:
        self._store = store

    def settled_by(self, serial: str, batch: str | None) -> str | None:
        """Return the batch that a weighing of this cartridge now settles; None where none waits for it.

        With `batch` it has to be that one: raises NotFound, WrongState where it is not.
        """
        if batch is None:
            waiting = (name for name, state in self._store.objects("batch") if state.get("status") == "awaiting review")
            return next((name for name in waiting if not self._reason(serial, name)), None)
        if reason := self._reason(serial, batch):
            state = self._store.state("batch", batch) or {}
            used = serial in (state.get("cartridge"), state.get("second_cartridge"))
            error = WrongState if used else NotFound
            raise error(f"{reason}.", remedy="A difference is resolved as an exception." if used else "Scan the cartridge of this batch.")
        return batch

    def _reason(self, serial: str, batch: str) -> str:
        """Say why a weighing now does not settle this batch; empty where it does."""
        state = self._store.state("batch", batch) or {}
        if serial not in (state.get("cartridge"), state.get("second_cartridge")):
            return f"Batch {batch} was not printed from {serial}"
        weighings = self._store.search(kind=EventKind.INK_CARTRIDGE_WEIGHED.value, subject_type=_SUBJECT, subject_id=serial, limit=_MANY)
        if any(entry.new.get("settles") == batch for entry in weighings) or self._store.state("ink_return", return_id(batch, serial)):
            return f"{serial} was weighed back already"
        used = self._store.search(
            kind=EventKind.INK_CARTRIDGE_USED.value, subject_type=_SUBJECT, subject_id=serial, newest_first=True, limit=1
        )
        usage = used[0].new.get("usage") if used else None
        last = usage.get("run") if isinstance(usage, dict) else None
        if last is not None and last != state.get("run") and used[0].seq > self._requested(batch):
            return f"{serial} was used by run {last} since"
        return ""

    def _requested(self, batch: str) -> int:
        found = self._store.search(
            kind=EventKind.BATCH_RUN_REQUESTED.value, subject_type="batch", subject_id=batch, newest_first=True, limit=1
        )
        return found[0].seq if found else -1


_MANY = 10_000
"""More weighings than any cartridge has."""
