"""Devices that were away, looked for again while no run is live.

Each look is a thread of its own: opening a port and waiting for an answer may take half a minute, and the controller waits
for neither. A device is asked who it is, and nothing else; of a printer that is owed a stop the port is opened alone, for that
comes first. The answer comes back through `deliver`; the next run asks again in its preflight.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from audit.errors import DosewrightError
from firmware_bridge.reconnect import Question, reconnect
from firmware_bridge.transport import Transport, open_transport
from printer.messages import Port
from printer.ports import Place
from printer.priority import step_down

_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look at a port found: the transport of the identified device, or None. `unasked`: it is owed a stop before that."""

    port: Port
    transport: Transport | None
    words: str
    unasked: bool = False


class Reconnection:
    """Looks for devices; every look has its answer, whatever becomes of it.

    Lifetime: that of the cell. Concurrency: owned by the controller thread; looks run on threads of their own.
    """

    def __init__(self, question: Callable[[Port], Question | None], *, clock: Callable[[], int], deliver: Callable[[Looked], None]) -> None:
        self._question, self._clock, self._deliver = question, clock, deliver
        self.busy: set[Port] = set()
        self.words: dict[Port, str] = {}
        self._next: dict[Port, float] = {}

    def look(self, port: Port, place: Place, *, stop: bool) -> None:
        """Begin to look at a port, unless that is going on or was done a moment ago."""
        if port in self.busy or time.monotonic() < self._next.get(port, 0.0):
            return
        self.busy.add(port)
        arguments = (port, place, stop and port is Port.PRINTER)
        threading.Thread(target=self._run, args=arguments, name=f"looking for {port}", daemon=True).start()

    def done(self, looked: Looked) -> None:
        """Take note of what was found."""
        self.busy.discard(looked.port)
        self.words[looked.port] = looked.words
        self._next[looked.port] = time.monotonic() + _EVERY_S

    def _run(self, port: Port, place: Place, stop: bool) -> None:
        step_down()
        try:
            found = self._opened(port, place) if stop else self._identified(port, place)
        except DosewrightError as error:
            found = Looked(port, None, str(error))
        except Exception as error:
            found = Looked(port, None, f"Port {place.address}: {error} ({type(error).__name__})")
        self._deliver(found)

    def _opened(self, port: Port, place: Place) -> Looked:
        transport = open_transport(place.address, place.baud, framing=place.framing)
        return Looked(port, transport, "was told to stop when it came back; reset it", unasked=True)

    def _identified(self, port: Port, place: Place) -> Looked:
        question = self._question(port)
        if question is None:
            transport = open_transport(place.address, place.baud, framing=place.framing)
            return Looked(port, transport, "is there again")
        transport = reconnect(place.address, question, clock=self._clock, baud=place.baud, framing=place.framing)
        return Looked(port, transport, f"is there again: {question.words}")
