"""How ready each cell is, asked once for all pages that show it: its gates, its equipment register, its own date."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass

from pydantic import JsonValue, ValidationError

from api.cells import CellDirectory
from api.status import GateStatus
from audit.errors import DosewrightError
from printer.equipment import EquipmentRegister

_FRESH_S = 3.0
_PATIENCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Readiness:
    """What a cell said of itself. `gates` is None, and `problem` says why, where it did not answer.

    `register` is None where the cell has none that it believes; `evidence` says who signed it, `refusal` why there is none.
    `today` is the cell's own date, ISO.
    """

    gates: tuple[GateStatus, ...] | None = None
    register: EquipmentRegister | None = None
    evidence: str = ""
    refusal: str = ""
    today: str = ""
    problem: str = "The cell has not been asked yet."


class ReadinessFeed:
    """Asks one cell when somebody looks. Lifetime: that of the workstation.

    Concurrency: one question at a time. Who comes while it is asked is given what was known before; for the first answer they wait
    half a second.
    """

    def __init__(self, cells: CellDirectory, name: str) -> None:
        self._cells = cells
        self._name = name
        self._lock = threading.Lock()
        self._asked: float | None = None
        self._found = Readiness()

    def view(self) -> Readiness:
        """Return what the cell said at most 3 s ago; blocks while it is asked."""
        if not self._lock.acquire(timeout=0.0 if self._asked is not None else _PATIENCE_S):
            return self._found
        try:
            if self._asked is None or time.monotonic() - self._asked >= _FRESH_S:
                self._found = self._ask()
                self._asked = time.monotonic()
            return self._found
        finally:
            self._lock.release()

    def _ask(self) -> Readiness:
        try:
            answer = self._cells.client(self._name, watching=True).readiness()
            gates = answer.get("gates")
            register, evidence = _register(answer.get("register"))
            return Readiness(
                gates=tuple(GateStatus.model_validate(gate) for gate in gates) if isinstance(gates, list) else (),
                register=register,
                evidence=evidence,
                refusal=str(answer.get("refusal") or ""),
                today=str(answer.get("today") or ""),
                problem="",
            )
        except DosewrightError as error:
            return Readiness(problem=str(error))
        except ValidationError as error:
            return Readiness(problem=f"The cell's answer cannot be read ({error.error_count()} faults).")


class ReadinessFeeds:
    """The feeds of all cells of a site."""

    def __init__(self, cells: CellDirectory) -> None:
        self._feeds = {name: ReadinessFeed(cells, name) for name in cells.names}

    def of(self, name: str) -> ReadinessFeed:
        return self._feeds[name]

    def views(self) -> dict[str, Readiness]:
        """Return the readiness of every cell; blocks while they are asked, one after the other."""
        return {name: feed.view() for name, feed in self._feeds.items()}


def _register(value: JsonValue) -> tuple[EquipmentRegister | None, str]:
    if not isinstance(value, dict):
        return None, ""
    return EquipmentRegister.model_validate_json(json.dumps(value.get("contents"))), str(value.get("evidence") or "")
