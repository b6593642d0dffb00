"""The commands of the virtual printer beside G0 and G1: one function each, and the table of them.

A command that Marlin blocks on is a generator; what it yields is the time (µs) at which it wants to look again, or
NEVER where the end of a move will wake it.
"""

from __future__ import annotations

from collections.abc import Callable

from hil_tests.plant import Heater
from hil_tests.virtual_firmware import NEVER, FirmwareCore, Waiting, axis_words, words_of

_CAPABILITIES = {
    "SERIAL_XON_XOFF": 0,
    "BINARY_FILE_TRANSFER": 0,
    "EEPROM": 1,
    "VOLUMETRIC": 0,
    "AUTOREPORT_POS": 0,
    "AUTOREPORT_TEMP": 1,
    "PROGRESS": 0,
    "PRINT_JOB": 0,
    "AUTOLEVEL": 0,
    "RUNOUT": 0,
    "Z_PROBE": 0,
    "LEVELING_DATA": 0,
    "BUILD_PERCENT": 0,
    "SOFTWARE_POWER": 0,
    "TOGGLE_LIGHTS": 0,
    "CASE_LIGHT_BRIGHTNESS": 0,
    "EMERGENCY_PARSER": 1,
    "HOST_ACTION_COMMANDS": 1,
    "PROMPT_SUPPORT": 1,
    "SDCARD": 0,
    "AUTOREPORT_SD_STATUS": 0,
    "LONG_FILENAME": 0,
    "THERMAL_PROTECTION": 1,
    "MOTION_MODES": 0,
    "ARCS": 0,
    "BABYSTEPPING": 0,
    "CHAMBER_TEMPERATURE": 0,
    "COOLER_TEMPERATURE": 0,
    "MEATPACK": 0,
}
_HOMING_US = 2_500_000
_RESIDENCY_US = 10_000_000

Handler = Callable[[FirmwareCore, str], Waiting | None]


def _nothing(printer: FirmwareCore, command: str) -> Waiting | None:
    return None


def _drain(printer: FirmwareCore) -> Waiting:
    while printer.mover.blocks:
        yield NEVER


def _m400(printer: FirmwareCore, command: str) -> Waiting | None:
    return _drain(printer) if printer.mover.blocks else None


def _g4(printer: FirmwareCore, command: str) -> Waiting:
    words = words_of(command)
    yield from _drain(printer)
    end = printer.now + round(words.get("S", 0.0) * 1e6 + words.get("P", 0.0) * 1e3)
    while printer.now < end:
        yield end


def _g28(printer: FirmwareCore, command: str) -> Waiting:
    yield from _drain(printer)
    end = printer.now + _HOMING_US
    while printer.now < end:
        yield end
    axes = [axis for axis in "XYZ" if axis in command[3:]]
    printer.mover.home(axes or list("XYZ"))
    printer.say(printer.position_line())


def _g90(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.mover.relative = [command.startswith("G91")] * 4
    return None


def _g92(printer: FirmwareCore, command: str) -> Waiting:
    yield from _drain(printer)
    words = words_of(command)
    printer.mover.set_position(words if axis_words(words) else dict.fromkeys("XYZE", 0.0))
    printer.say(printer.position_line())


def _m82(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.mover.relative[3] = command.startswith("M83")
    return None


def _heater(printer: FirmwareCore, command: str, words: dict[str, float]) -> Heater | None:
    """Return the heater that a command names: the bed's, that of `T`, or that of the head in use."""
    if command.startswith(("M140", "M190")):
        return printer.bed
    if "T" not in words:
        return printer.nozzle
    tool = int(words["T"])
    if tool >= len(printer.nozzles):
        printer.say(f"echo:{command[:4]} Invalid extruder {tool}")
        return None
    return printer.nozzles[tool]


def _tool(printer: FirmwareCore, command: str) -> Waiting:
    """T0, T1: wait for motion, dock one head, take the other, say which one is in use; also where it was in use already."""
    tool = int(command[1:])
    if len(printer.nozzles) == 1 or tool >= len(printer.nozzles):
        if tool:
            printer.say(f"echo:T{tool} Invalid extruder")
        return
    yield from _drain(printer)
    mover, config = printer.mover, printer.config
    if tool != mover.tool:
        end = printer.now + round(config.tool_change_s * 1e6)
        while printer.now < end:
            yield end
        real = (config.second_offset_x_mm, config.second_offset_y_mm, config.second_offset_z_mm)
        x, y, z = (there - stated for there, stated in zip(real, printer.offset, strict=True))
        steps = config.second_e_steps_per_mm if tool else config.e_steps_per_mm
        mover.take(tool, steps, (x, y, z) if tool else (0.0, 0.0, 0.0))
    printer.say(f"echo:Active Extruder: {tool}")


def _m218(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if int(words.get("T", 0.0)) == 1 and len(printer.nozzles) > 1:
        x, y, z = (words.get(axis, stated) for axis, stated in zip("XYZ", printer.offset, strict=True))
        printer.offset = (x, y, z)
    return None


def _m104(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    heater = _heater(printer, command, words)
    if heater is not None and "S" in words:
        heater.target = words["S"]
    return None


def _m109(printer: FirmwareCore, command: str) -> Waiting:
    words = words_of(command)
    heater = _heater(printer, command, words)
    if heater is None:
        return
    heater.target = words.get("R", words.get("S", heater.target))
    printer.break_heating = False
    yield from _hold_until_warm(printer, heater, "R" in words)


def _hold_until_warm(printer: FirmwareCore, heater: Heater, cooling: bool) -> Waiting:
    inside_since: int | None = None
    report_at = printer.now + 1_000_000
    while not printer.break_heating:
        near = abs(heater.temperature - heater.target) <= 1.0 or (not cooling and heater.temperature > heater.target)
        inside_since = (inside_since if inside_since is not None else printer.now) if near else None
        if inside_since is not None and printer.now - inside_since >= _RESIDENCY_US:
            return
        if printer.now >= report_at:
            left = "?" if inside_since is None else str((_RESIDENCY_US - (printer.now - inside_since)) // 1_000_000)
            printer.say(" " + printer.temperatures(left))
            report_at += 1_000_000
        yield min(report_at, printer.now + 100_000)


def _m105(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.say("ok " + printer.temperatures())
    return None


def _m106(printer: FirmwareCore, command: str) -> Waiting | None:
    speed = 0 if command.startswith("M107") else round(words_of(command).get("S", 255.0))
    printer.say(f"M106 P0 S{speed}")
    return None


def _m110(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "N" in words:
        printer.last_line = int(words["N"])
    else:
        printer.say(f"Line: {printer.last_line}")
    return None


def _m111(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "S" in words:
        printer.debug_echo = bool(int(words["S"]) & 1)
    printer.say("echo:DEBUG:" + ("ECHO" if printer.debug_echo else "Off"))
    return None


def _m112(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.kill("echo:M112 Shutdown")
    return None


def _m113(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "S" in words:
        printer.busy_interval = int(min(words["S"], 60.0)) * 1_000_000
    else:
        printer.say(f"echo:M113 S{printer.busy_interval // 1_000_000}")
    return None


def _m114(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.say(printer.position_line())
    return None


def _m115(printer: FirmwareCore, command: str) -> Waiting | None:
    config = printer.config
    printer.say(
        f"FIRMWARE_NAME:{config.firmware_name} SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin PROTOCOL_VERSION:1.0 "
        f"MACHINE_TYPE:{config.machine_type} KINEMATICS:Cartesian EXTRUDER_COUNT:{len(printer.nozzles)} "
        f"UUID:{config.uuid}"
    )
    for name, value in _CAPABILITIES.items():
        printer.say(f"Cap:{name}:{value}")
    corner = f"{{x:{config.size_xy_mm:.2f},y:{config.size_xy_mm:.2f},z:{config.size_z_mm:.2f}}}"
    box = f"{{min:{{x:0.00,y:0.00,z:0.00}},max:{corner}}}"
    printer.say(f"area:{{full:{box},work:{box}}}")
    return None


def _m118(printer: FirmwareCore, command: str) -> Waiting | None:
    text = command[4:].lstrip(" ")
    prefix = ""
    for flag, shown in (("E1", "echo:"), ("A1", "//")):
        if text.startswith(flag):
            prefix, text = shown, text[2:].lstrip(" ")
    printer.say(prefix + text)
    return None


def _m155(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.report_temperatures(int(words_of(command).get("S", 0.0)))
    return None


def _m220(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "S" in words:
        printer.mover.feed_percent = max(1.0, words["S"])
    else:
        printer.say(f"FR:{printer.mover.feed_percent:.0f}%")
    return None


def _m221(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "S" in words:
        printer.mover.flow_percent = words["S"]
    else:
        printer.say(f"echo:E0 Flow: {printer.mover.flow_percent:.0f}%")
    return None


def _m302(printer: FirmwareCore, command: str) -> Waiting | None:
    words = words_of(command)
    if "P" in words:
        printer.extrude_min_c = 0.0 if words["P"] else printer.config.extrude_min_c
    elif "S" in words:
        printer.extrude_min_c = words["S"]
    else:
        state = "enabled" if printer.extrude_min_c <= 0.0 else "disabled"
        printer.say(f"echo:Cold extrudes are {state} (min temp {printer.extrude_min_c:.0f}C)")
    return None


def _m410(printer: FirmwareCore, command: str) -> Waiting | None:
    printer.quickstop()
    return None


def _linear(printer: FirmwareCore, command: str) -> Waiting | None:
    return printer.linear(command)


HANDLERS: dict[str, Handler] = {
    "G0": _linear,
    "G1": _linear,
    "G4": _g4,
    "G21": _nothing,
    "G28": _g28,
    "G90": _g90,
    "G91": _g90,
    "G92": _g92,
    "M17": _nothing,
    "M18": _m400,
    "M82": _m82,
    "M83": _m82,
    "M84": _m400,
    "M104": _m104,
    "M105": _m105,
    "M106": _m106,
    "M107": _m106,
    "M108": _nothing,
    "M109": _m109,
    "M110": _m110,
    "M111": _m111,
    "M112": _m112,
    "M113": _m113,
    "M114": _m114,
    "M115": _m115,
    "M117": _nothing,
    "M118": _m118,
    "M140": _m104,
    "M155": _m155,
    "M218": _m218,
    "M190": _m109,
    "M220": _m220,
    "M221": _m221,
    "M302": _m302,
    "M400": _m400,
    "M410": _m410,
    "M876": _nothing,
    **{f"T{tool}": _tool for tool in range(4)},
}
