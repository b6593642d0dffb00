"""The approved firmware of a machine profile, as the printer link compares it and speaks to it. Pure."""

from __future__ import annotations

from typing import assert_never

from firmware_bridge.firmware_profile import FirmwareProfile, Match, klipper_profile, marlin_profile, reprap_profile
from recipes.machine import MachineProfile
from recipes.machine_devices import KlipperFirmware, MarlinFirmware, RepRapFirmware


def firmware_profile(machine: MachineProfile) -> FirmwareProfile:
    """Return the link's profile of a machine's firmware.

    What a run needs of each: the temperatures (reported by `M155` or asked for by `M105`), an end of motion (`M400`), and an
    extruder total that counts relative extrusion (`M114`); how fine that total is stands in the firmware's `total_step`.
    """
    firmware = machine.firmware
    match firmware:
        case MarlinFirmware():
            return marlin_profile(
                machine.reference,
                firmware_name=firmware.name,
                versions=firmware.versions,
                required=firmware.capabilities,
                advanced_ok=firmware.advanced_ok,
                heads=len(machine.heads),
            )
        case KlipperFirmware():
            return klipper_profile(machine.reference, firmware_version=firmware.version, match=Match(firmware.match))
        case RepRapFirmware():
            return reprap_profile(machine.reference, firmware_version=firmware.version, board=firmware.board, match=Match(firmware.match))
        case _:
            assert_never(firmware)
