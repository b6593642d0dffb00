"""A Marlin 2.0.5 as it answered on a simulated AVR board: no line number in its `ok`, no emergency parser, repeated lines are errors.

Source: the recorded conversation of Marlin 2.0.5.3 (capabilities, plain `ok`, `Line Number is not ..` for a repeated line). Without an
emergency parser M108, M112 and M410 act when their line is read, which is when the command queue has room.
"""

from __future__ import annotations

from hil_tests.virtual_firmware import Waiting
from hil_tests.virtual_printer import VirtualPrinter

NAME = "Marlin 2.0.5.3 (GitHub)"
_ABLE = ("EEPROM", "VOLUMETRIC", "AUTOREPORT_TEMP", "PRINT_JOB", "THERMAL_PROTECTION")
_UNABLE = (
    "SERIAL_XON_XOFF", "BINARY_FILE_TRANSFER", "PROGRESS", "AUTOLEVEL", "Z_PROBE", "LEVELING_DATA", "BUILD_PERCENT", "SOFTWARE_POWER",
    "TOGGLE_LIGHTS", "CASE_LIGHT_BRIGHTNESS", "EMERGENCY_PARSER", "PROMPT_SUPPORT", "AUTOREPORT_SD_STATUS", "MOTION_MODES",
    "CHAMBER_TEMPERATURE",
)  # fmt: skip


class Marlin20Printer(VirtualPrinter):
    """The machine. Concurrency: one owner."""

    def _watch_emergency(self, data: bytes) -> None:
        """There is no emergency parser."""

    def _take_line(self, line: str) -> None:
        before = self.last_line
        if line.startswith("N") and "M110" not in line:
            number = int(line[1:].partition(" ")[0]) if line[1:].partition(" ")[0].isdigit() else -1
            if before - 1 <= number <= before:
                self._refuse("Line Number is not Last Line Number+1")
                return
        waiting = len(self._queue)
        super()._take_line(line)
        if len(self._queue) > waiting:
            code = self._queue[-1][0].partition(" ")[0]
            if code == "M112":
                self.kill("echo:M112 Shutdown")
            elif code == "M410":
                self.quickstop()
            elif code == "M108":
                self.break_heating = True

    def _finish(self) -> None:
        if self.killed or not self._queue:
            return
        command, _, _ = self._queue.popleft()
        if not command.startswith("M105"):
            self.say("ok")

    def execute(self, command: str) -> Waiting | None:
        if command.startswith("M115"):
            self.say(
                f"FIRMWARE_NAME:{NAME} SOURCE_CODE_URL:https://github.com/MarlinFirmware/Marlin PROTOCOL_VERSION:1.0 "
                f"MACHINE_TYPE:{self.config.machine_type} EXTRUDER_COUNT:1 UUID:{self.config.uuid}"
            )
            for name in (*_ABLE, *_UNABLE):
                self.say(f"Cap:{name}:{int(name in _ABLE)}")
            return None
        return super().execute(command)
