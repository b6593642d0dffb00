"""The cells of a site, as the workstation sees them: it can only ask."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from pydantic import JsonValue

from api.errors import CellNotStarted, NotFound
from api.settings import CellEntry, Settings


class CellPort(Protocol):
    """What a cell answers; `printer.cell_client.CellClient` is the real one. All calls block.

    They may raise CellUnreachable or CellRefused.
    """

    def describe(self) -> dict[str, JsonValue]: ...

    def create_run(self, job: Mapping[str, JsonValue]) -> dict[str, JsonValue]: ...

    def start(self, run: str, actor: Mapping[str, str]) -> None: ...

    def pause(self, run: str, actor: Mapping[str, str], reason: str) -> None: ...

    def resume(self, run: str, actor: Mapping[str, str], reason: str) -> None: ...

    def stop(self, run: str, strength: str, actor: Mapping[str, str], reason: str) -> None: ...

    def alarm(self, operation: str, alarm: str, actor: Mapping[str, str], reason: str, minutes: int = 0) -> None: ...

    def alarm_figures(self, run: str | None = None) -> dict[str, JsonValue]: ...

    def confirm_removal(self, unit: str, actor: Mapping[str, str], signature: Mapping[str, JsonValue]) -> None: ...

    def enter_weight(
        self,
        unit: str,
        *,
        entry: int,
        attempt: int,
        value_mg: str,
        balance_serial: str,
        actor: Mapping[str, str],
        signature: Mapping[str, JsonValue] | None,
    ) -> None: ...

    def begin_check(self, actor: Mapping[str, str]) -> dict[str, JsonValue]: ...

    def confirm_check(self, actor: Mapping[str, str], step: str) -> dict[str, JsonValue]: ...

    def abandon_check(self, actor: Mapping[str, str], reason: str) -> dict[str, JsonValue]: ...

    def record_cleaning(self, actor: Mapping[str, str], method: str) -> dict[str, JsonValue]: ...

    def recipe_effective(self, bundle: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None: ...

    def recipe_withdrawn(self, withdrawal: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None: ...

    def readiness(self) -> dict[str, JsonValue]: ...

    def status(self, trace_since_us: int = 0) -> dict[str, JsonValue]: ...

    def allowed(self, actor: Mapping[str, str] | None = None) -> dict[str, JsonValue]: ...

    def trail(self, start: int, limit: int = 2000) -> list[str]: ...

    def checkpoint(self) -> str: ...

    def blob(self, sha256: str) -> bytes: ...

    def pictures(self, run: str) -> dict[str, JsonValue]: ...

    def close(self) -> None: ...


Connector = Callable[[CellEntry, Settings, str, int], CellPort]


def connect(entry: CellEntry, settings: Settings, host: str, port: int) -> CellPort:
    """Return a client of the cell at an address, with the certificates of this installation."""
    from printer.cell_client import CellAddress, CellClient  # the client is wanted only where there is a cell

    return CellClient(
        CellAddress(
            host=host,
            port=port,
            name=entry.name,
            ca=settings.path(entry.ca),
            certificate=settings.path(entry.certificate),
            key=settings.path(entry.key),
        )
    )


class CellDirectory:
    """Finds the cells of a site by name; follows a cell that came back at another port.

    A client answers one question at a time, so there are three for each cell: STOP never waits behind the fetching of a trail,
    and the pages do not stand still while a program is compiled.

    Lifetime: that of the workstation process. Concurrency: safe for several threads.
    """

    def __init__(self, settings: Settings, connector: Connector = connect) -> None:
        self._settings = settings
        self._entries: Mapping[str, CellEntry] = {entry.name: entry for entry in settings.cells}
        self._connector = connector
        self._clients: dict[tuple[str, bool, bool], tuple[str, int, CellPort]] = {}
        self._turns = {name: threading.RLock() for name in self._entries}
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def turn(self, name: str) -> threading.RLock:
        """Return the lock under which the acts on one cell's batches follow each other; those on other cells do not wait.

        Raises NotFound.
        """
        turn = self._turns.get(name)
        if turn is None:
            raise self._unknown(name)
        return turn

    def _unknown(self, name: str) -> NotFound:
        return NotFound(f"There is no cell {name!r} at this site.", remedy=f"The cells are: {', '.join(self._entries) or 'none'}.")

    def client(self, name: str, *, urgent: bool = False, watching: bool = False) -> CellPort:
        """Return a client of a cell. Raises NotFound, or CellNotStarted where the cell has written no address."""
        entry = self._entries.get(name)
        if entry is None:
            raise self._unknown(name)
        host, port = self._address(name, self._settings.path(entry.address_file))
        with self._lock:
            known = self._clients.get((name, urgent, watching))
            if known is not None and known[:2] == (host, port):
                return known[2]
            if known is not None:
                # the cell came back elsewhere; the old connection may still wait for its last answer, and nobody waits for that
                threading.Thread(target=known[2].close, name="old connection", daemon=True).start()
            client = self._connector(entry, self._settings, host, port)
            self._clients[name, urgent, watching] = (host, port, client)
            return client

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for _, _, client in self._clients.values():
                client.close()
            self._clients.clear()

    @staticmethod
    def _address(name: str, path: Path) -> tuple[str, int]:
        try:
            address = json.loads(path.read_text(encoding="utf-8"))
            return str(address["host"]), int(address["port"])
        except (OSError, ValueError, KeyError, TypeError):
            raise CellNotStarted(
                f"The cell {name} has no address yet ({path} cannot be read).", remedy="Start the cell's process, then try again."
            ) from None
