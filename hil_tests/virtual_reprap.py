"""RepRapFirmware on a Duet over native USB in Marlin mode, without I/O.

Sources: its parser (StringParser.cpp, 3.5: a checksum is looked at only where there is one, a line that fails it is dropped without an
answer, line numbers are not compared); M115 in GCodes2.cpp; the Duet3D G-code dictionary for M114: `E` counts absolute extrusion
alone, `E0` every movement, with one decimal, and both are those of the last completed move; M112 until M999.
Not from a source: the words of its refusals, the form of M105 beside `T:` and `B:`, how long homing takes.
"""

from __future__ import annotations

import re
from functools import reduce
from operator import xor

from hil_tests.virtual_firmware import Waiting, words_of
from hil_tests.virtual_printer import VirtualPrinter

VERSION, BOARD = "3.5.4", "Duet 3 MB6HC"
_KNOWN = frozenset(
    (
        "G0", "G1", "G4", "G21", "G28", "G90", "G91", "G92", "M18", "M82", "M83", "M84", "M104", "M105", "M106", "M107", "M109",
        "M110", "M112", "M114", "M115", "M117", "M118", "M140", "M190", "M220", "M221", "M400",
    )
)  # fmt: skip
_M112 = re.compile(rb"(?:N[0-9]+)?\s*M112(?:\D|\Z)")
_HOMING_US = 8_000_000


class RepRapPrinter(VirtualPrinter):
    """The machine. Concurrency: one owner."""

    def _power_on(self) -> None:
        super()._power_on()
        self.busy_interval = 0
        self.pushed = 0.0
        """mm of E0 planned so far, in both directions."""

    def reset(self, *causes: str) -> None:
        """Reset: native USB says nothing."""
        self._power_on()

    def kill(self, *lines: str) -> None:
        self.say("Emergency Stop! Reset the controller to continue.")
        self.power_off()

    def _watch_emergency(self, data: bytes) -> None:
        self._tail += data
        *lines, rest = self._tail.split(b"\n")
        self._tail = bytearray(rest[-96:])
        if any(_M112.match(line) for line in lines):
            self.kill()

    def _take_line(self, line: str) -> None:
        body, star, written = line.partition("*")
        if star and written.strip() != str(reduce(xor, body.encode("latin-1"), 0)):
            return
        command = re.sub(r"^N-?[0-9]+ ?", "", body).strip()
        if command:
            self._queue.append((command, None, line))

    def _finish(self) -> None:
        if self.killed or not self._queue:
            return
        command, _, _ = self._queue.popleft()
        if not command.startswith("M105"):
            self.say("ok")

    def execute(self, command: str) -> Waiting | None:
        code = command.partition(" ")[0]
        match code:
            case "M105":
                nozzle, bed = self.nozzle, self.bed
                self.say(f"ok T:{nozzle.reading():.1f} /{nozzle.target:.1f} B:{bed.reading():.1f} /{bed.target:.1f}")
            case "M110" | "M117" | "M118":
                return None
            case "M112":
                self.kill()
            case "M114":
                self._position()
            case "M115":
                self.say(
                    f"FIRMWARE_NAME: RepRapFirmware for {BOARD} FIRMWARE_VERSION: {VERSION} ELECTRONICS: {BOARD} v1.01 "
                    "FIRMWARE_DATE: 2025-01-24 14:01:25"
                )
            case "G28":
                return self._home()
            case "G90" | "G91":
                self.mover.relative[:3] = [code == "G91"] * 3
            case "G0" | "G1":
                return self._move(command)
            case _ if code not in _KNOWN:
                self.say(f"Error: {code}: Command is not supported")
            case _:
                return super().execute(command)
        return None

    def _position(self) -> None:
        x, y, z, _ = self.mover.planned
        steps = self.mover.planned_steps()
        self.say(
            f"X:{x:.3f} Y:{y:.3f} Z:{z:.3f} E:0.000 E0:{self.pushed:.1f} Count {steps[0]} {steps[1]} {steps[2]} "
            f"Machine {x:.3f} {y:.3f} {z:.3f} Bed comp 0.000"
        )

    def _home(self) -> Waiting:
        end = self.now + _HOMING_US
        while self.now < end:
            yield end
        self.mover.home(["X", "Y", "Z"])

    def _move(self, command: str) -> Waiting | None:
        words = words_of(command)
        if "E" in words:
            if self.nozzle.temperature < self.extrude_min_c:
                self.say("Warning: Tool 0 was not driven because its heater temperatures were not high enough or it has a heater fault")
                return None
            self.pushed += self.mover.extrusion(words["E"])
        return self.linear(command)
