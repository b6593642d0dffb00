"""A Marlin 2.1-like machine without I/O: bytes in, bytes out, stretches of motion for the plant.

`receive(bytes)`, `advance(to_us)`, `output() -> bytes`; the stretches collect in `motions`. The firmware core is in
virtual_firmware, the commands in virtual_gcode, planner and steppers in virtual_motion.
"""

from __future__ import annotations

import re

from hil_tests.virtual_firmware import FirmwareCore, PrinterConfig, Waiting
from hil_tests.virtual_gcode import HANDLERS

__all__ = ["PrinterConfig", "VirtualPrinter"]

_CODE = re.compile(r"([GMT]) ?0*([0-9]+)")


class VirtualPrinter(FirmwareCore):
    """The machine with its table of commands. Concurrency: one owner."""

    def execute(self, command: str) -> Waiting | None:
        found = _CODE.match(command)
        handler = HANDLERS.get(found.group(1) + found.group(2)) if found else None
        if handler is None:
            self.say(f'echo:Unknown command: "{command}"')
            return None
        return handler(self, command)
