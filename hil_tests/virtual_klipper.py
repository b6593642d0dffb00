"""Klipper's G-code port, without I/O: what a real one answered, and what its sources (klippy/gcode.py, extras/gcode_move.py) say.

Line numbers and checksums are taken off and not looked at; a failure is `!! ..` and then `ok`; nothing says `busy`; M155 and M410 are
not known; M114 counts relative extrusion, with three decimals. M112 acts as soon as its line is read, past the queue. After a
shutdown M105 and M115 still answer, everything else is `!!` and `ok`. Not from a source: how long homing takes here.
"""

from __future__ import annotations

import re

from hil_tests.virtual_firmware import NEVER, Waiting, words_of
from hil_tests.virtual_printer import VirtualPrinter

VERSION = "v0.12.0-316-g84104bbf"
_M112 = re.compile(rb"(?:[nN][0-9]+)?\s*[mM]112(?:\s|\Z)")
_KNOWN = frozenset(
    (
        "G0", "G1", "G4", "G21", "G28", "G90", "G91", "G92", "M18", "M82", "M83", "M84", "M104", "M105", "M106", "M107", "M109",
        "M110", "M112", "M114", "M115", "M117", "M118", "M140", "M190", "M220", "M221", "M400",
    )
)  # fmt: skip
_IN_SHUTDOWN = frozenset({"M105", "M110", "M112", "M115"})
_HOMING_US = 11_600_000


class KlipperPrinter(VirtualPrinter):
    """The machine: host program and board in one. Concurrency: one owner."""

    def _power_on(self) -> None:
        super()._power_on()
        self.busy_interval = 0
        self.down = ""
        self.homed = False

    def reset(self, *causes: str) -> None:
        """Restart the host program."""
        self._power_on()
        self.say("// Klipper state: Disconnect")
        self.say("// Klipper state: Ready")

    def kill(self, *lines: str) -> None:
        """Shut down: motion and heat go, the port goes on answering."""
        if self.down:
            return
        self.down = "Shutdown due to M112 command" if any("M112" in line for line in lines) else "MCU 'mcu' shutdown: ADC out of range"
        self.nozzle.target = self.bed.target = 0.0
        self.mover.drop()
        self.say("// Klipper state: Shutdown")
        if self._running is not None:
            # What waited for motion ends with the reason.
            self._running, self._wake, self._busy_at = None, NEVER, NEVER
            self._fail(self.down)
            self._finish()

    def _watch_emergency(self, data: bytes) -> None:
        self._tail += data
        *lines, rest = self._tail.split(b"\n")
        self._tail = bytearray(rest[-96:])
        if any(_M112.match(line) for line in lines):
            self.kill("M112")

    def _take_line(self, line: str) -> None:
        command = re.sub(r"^N-?[0-9]+ ?", "", line).partition("*")[0].strip()
        if command:
            self._queue.append((command, None, line))

    def _finish(self) -> None:
        if not self._queue:
            return
        command, _, _ = self._queue.popleft()
        if not command.startswith(("M105", "M115")):
            self.say("ok")

    def _fail(self, reason: str) -> None:
        self.say(f"!! {reason}")

    def execute(self, command: str) -> Waiting | None:
        code = command.partition(" ")[0]
        if self.down and code not in _IN_SHUTDOWN:
            self.say(
                f'// {self.down}\n// Once the underlying issue is corrected, use the\n// "FIRMWARE_RESTART" command to reset the firmware.'
            )
            self._fail(self.down)
            return None
        match code:
            case "M105":
                self.say(f"ok {self.temperatures()}")
            case "M112":
                self.kill("M112")
            case "M114":
                x, y, z, e = self.mover.planned
                self.say(f"X:{x:.3f} Y:{y:.3f} Z:{z:.3f} E:{e:.3f}")
            case "M115":
                self.say(f"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:{VERSION}")
            case "M117" | "M118" | "M110":
                return None
            case "G28":
                return self._home()
            case "G90" | "G91":
                self.mover.relative[:3] = [code == "G91"] * 3  # E has a mode of its own
            case "G0" | "G1":
                return self._move(command)
            case _ if code not in _KNOWN:
                self.say(f'// Unknown command:"{code}"')
            case _:
                return super().execute(command)
        return None

    def temperatures(self, wait: str | None = None) -> str:
        nozzle, bed = self.nozzle, self.bed
        return f"B:{bed.reading():.1f} /{bed.target:.1f} T0:{nozzle.reading():.1f} /{nozzle.target:.1f}"

    def _home(self) -> Waiting:
        end = self.now + _HOMING_US
        while self.now < end:
            yield end
        self.mover.home(["X", "Y", "Z"])
        self.homed = True

    def _move(self, command: str) -> Waiting | None:
        words = words_of(command)
        if not self.homed and {"X", "Y", "Z"} & set(words):
            self._fail("Must home axis first: 0.000 0.000 0.000 [0.000]")
            return None
        for index, axis in enumerate("XYZ"):
            limit = self.config.size_z_mm if axis == "Z" else self.config.size_xy_mm
            target = words.get(axis, 0.0) + (self.mover.planned[index] if self.mover.relative[index] else 0.0)
            if axis in words and not 0.0 <= target <= limit:
                self._fail(f"Move out of range: {target:.3f}")
                return None
        if "E" in words and self.nozzle.temperature < self.extrude_min_c and self.mover.extrusion(words["E"]) != 0.0:
            self.say("// Extrude below minimum temp\n// See the 'min_extrude_temp' config option for details")
            self._fail("Extrude below minimum temp")
            return None
        return self.linear(command)
