"""The inputs of a run, as sealed lines: the whole of what the run machine saw, enough to replay it.

One JSON object a line: `at_us` (process time of handling, µs), `port` and `bytes` (hex). For a device port the bytes
are those received; for the other sources (`clock`, `operator`, `recorder`, `compiler`, `guard`, `lost`, `time`, `wire`) they are the
canonical JSON of the input.
"""

from __future__ import annotations

import json
import re
from binascii import a2b_hex
from dataclasses import asdict
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue, canonical
from audit.events import Actor
from audit.quantities import Microlitre, plain_text
from printer.messages import (
    ClockCompared,
    Command,
    EnteredWeight,
    GuardChanged,
    Operation,
    Port,
    PortBytes,
    PortLost,
    Recorded,
    RecordFailed,
    RecordLate,
    RunInput,
    Tick,
    UnitCompiled,
    UnitRefused,
    WireSealed,
)

FULL_BYTES = 4_000_000
"""A segment is sealed when it has so many bytes: while a run waits for a person, however long, its inputs go on."""

# A line as `add` writes it; one that is written otherwise is read as any JSON is.
_PLAIN = re.compile(rb'\{"at_us":([1-9][0-9]{0,18}|0),"bytes":"([0-9a-f]*)","port":"([a-z]+)"\}')
_PORTS = {port.value: port for port in Port}


class Journal:
    """Collects the inputs since the last seal.

    Concurrency: owned by the run machine.
    """

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._bytes = 0

    @property
    def full(self) -> bool:
        """Whether what was added since the last seal is to be sealed, whatever else happens."""
        return self._bytes >= FULL_BYTES

    def add(self, event: RunInput, now: int) -> None:
        if isinstance(event, Tick):
            line = f'{{"at_us":{now},"bytes":"","port":"clock"}}\n'
        else:
            source, data = _encode(event)
            line = f'{{"at_us":{now},"bytes":"{data.hex()}","port":"{source}"}}\n'
        self._lines.append(line)
        self._bytes += len(line)

    def seal(self) -> bytes:
        """Return the lines since the last seal and begin a new segment."""
        data = "".join(self._lines).encode("ascii")
        self._lines.clear()
        self._bytes = 0
        return data


def _encode(event: RunInput) -> tuple[str, bytes]:
    match event:
        case PortBytes(port, data):
            return port, data
        case Tick():
            return "clock", b""
        case Recorded(token):
            return "recorder", canonical({"recorded": token})
        case RecordFailed(token, reason):
            return "recorder", canonical({"failed": token, "reason": reason})
        case RecordLate(token, reason):
            return "recorder", canonical({"late": token, "reason": reason})
        case Command(operation, who, reason, target, minutes, weight):
            body: JsonObject = {
                "operation": operation.value,
                "who": {"username": who.username, "name": who.name, "role": who.role},
                "reason": reason,
                "target": target,
            }
            if minutes:
                body["minutes"] = minutes
            if weight is not None:
                body["weight"] = dict[str, JsonValue](asdict(weight))
            return "operator", canonical(body)
        case PortLost(port, reason):
            return "lost", canonical({"port": port.value, "reason": reason})
        case GuardChanged(is_open):
            return "guard", canonical({"open": is_open})
        case ClockCompared(offset_ms, step_ms):
            return "time", canonical({"offset_ms": offset_ms, "step_ms": step_ms})
        case WireSealed(sha256):
            return "wire", canonical({"sha256": sha256})
        case UnitCompiled():
            return "compiler", canonical(_compiled(event))
        case UnitRefused(n, reason, purge, part):
            return "compiler", canonical({"n": n, "refused": reason, "purge": purge, **_part(part)})


def _part(part: int) -> JsonObject:
    """Name the part of a unit of several inks; a unit of one ink has none."""
    return {"part": part} if part else {}


def _compiled(event: UnitCompiled) -> JsonObject:
    return {
        **_part(event.part),
        "n": event.n,
        "factor": plain_text(event.factor),
        "gcode": event.gcode.decode("ascii"),
        "sha256": event.sha256,
        "target_volume_uL": event.target_volume.text,
        "cumulative_nl": list[JsonValue](event.cumulative_nl),
        "duration_us": event.duration_us,
        "proof": event.proof.decode("utf-8"),
        "purge": event.purge,
    }


def _answer(body: dict[str, JsonValue]) -> Recorded | RecordFailed | RecordLate:
    if "recorded" in body:
        return Recorded(int(str(body["recorded"])))
    reason = str(body["reason"])
    return RecordLate(int(str(body["late"])), reason) if "late" in body else RecordFailed(int(str(body["failed"])), reason)


def _read_compiled(raw: bytes) -> UnitCompiled | UnitRefused:
    body = json.loads(raw)
    if "refused" in body:
        return UnitRefused(body["n"], body["refused"], body["purge"], body.get("part", 0))
    return UnitCompiled(
        n=body["n"],
        factor=Decimal(body["factor"]),
        gcode=body["gcode"].encode("ascii"),
        sha256=body["sha256"],
        target_volume=Microlitre(body["target_volume_uL"]),
        cumulative_nl=tuple(body["cumulative_nl"]),
        duration_us=body["duration_us"],
        proof=body["proof"].encode("utf-8"),
        purge=body["purge"],
        part=body.get("part", 0),
    )


def read_journal(data: bytes) -> list[tuple[int, RunInput]]:
    """Read sealed lines back as (process time, input). Raises ValueError on anything that is not such a line."""
    inputs: list[tuple[int, RunInput]] = []
    for line in data.splitlines():
        if plain := _PLAIN.fullmatch(line):
            at, hexadecimal, source = plain.groups()
            inputs.append((int(at), _decode(source.decode("ascii"), a2b_hex(hexadecimal))))
            continue
        record = json.loads(line)
        inputs.append((int(record["at_us"]), _decode(str(record["port"]), bytes.fromhex(record["bytes"]))))
    return inputs


def _decode(source: str, raw: bytes) -> RunInput:
    if port := _PORTS.get(source):
        return PortBytes(port, raw)
    if source == "clock":
        return Tick()
    body = json.loads(raw)
    match source:
        case "recorder":
            return _answer(body)
        case "operator":
            weight = EnteredWeight(**body["weight"]) if "weight" in body else None
            who, minutes = Actor(**body["who"]), body.get("minutes", 0)
            return Command(Operation(body["operation"]), who, body["reason"], body["target"], minutes, weight)
        case "lost":
            return PortLost(Port(body["port"]), body["reason"])
        case "guard":
            return GuardChanged(body["open"])
        case "time":
            return ClockCompared(body["offset_ms"], body["step_ms"])
        case "wire":
            return WireSealed(body["sha256"])
        case "compiler":
            return _read_compiled(raw)
        case _:
            raise ValueError(f"unknown journal source {source!r}")
