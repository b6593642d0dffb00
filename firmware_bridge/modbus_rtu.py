"""Modbus RTU frames for reading registers: CRC-16, request, response. Pure.

Source: Modbus application protocol specification V1.1b3 (functions 3 and 4, §§6.3 and 6.4, exceptions §7), Modbus over
serial line V1.02 §2.5.1 (RTU framing) and §6.2.2 (CRC). The CRC goes out low byte first, all other words high byte first.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from audit.quantities import EXACT
from firmware_bridge.errors import LocalProtocolError

READ_HOLDING, READ_INPUT = 3, 4
_EXCEPTIONS = {
    1: "illegal function",
    2: "illegal data address",
    3: "illegal data value",
    4: "device failure",
    5: "acknowledged, not finished",
    6: "device busy",
    8: "memory parity error",
    10: "gateway path not available",
    11: "gateway target does not respond",
}


class NumberForm(StrEnum):
    """How registers hold a number. FLOAT32 is IEEE 754 binary32; the swapped forms have the low word first."""

    INT16 = "int16"
    UINT16 = "uint16"
    INT32 = "int32"
    INT32_SWAPPED = "int32, low word first"
    FLOAT32 = "float32"
    FLOAT32_SWAPPED = "float32, low word first"

    @property
    def registers(self) -> int:
        return 1 if self in (NumberForm.INT16, NumberForm.UINT16) else 2


@dataclass(frozen=True, slots=True)
class Registers:
    """The words of a good response."""

    words: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModbusException:
    """The device refused: exception code and its meaning."""

    code: int
    text: str


def crc16(data: bytes) -> int:
    """Return the Modbus CRC: polynomial 0xA001 (reflected 0x8005), start 0xFFFF."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return crc


def with_crc(body: bytes) -> bytes:
    return body + crc16(body).to_bytes(2, "little")


def read_request(unit: int, function: int, address: int, count: int) -> bytes:
    """Return the frame that asks for `count` registers from `address` (counted from 0). Raises LocalProtocolError."""
    if not (
        1 <= unit <= 247 and function in (READ_HOLDING, READ_INPUT) and address >= 0 and 1 <= count <= 125 and address + count <= 65536
    ):
        raise LocalProtocolError(f"Unit {unit}, function {function}, registers {address} and {count}: not a Modbus read request.")
    return with_crc(bytes((unit, function)) + address.to_bytes(2, "big") + count.to_bytes(2, "big"))


def response_length(head: bytes, count: int) -> int:
    """Return the length of the response whose first two bytes are `head`, if `count` registers were asked for: 5 is an exception."""
    return 5 if head[1] & 0x80 else 5 + 2 * count


def read_response(frame: bytes, unit: int, function: int, count: int) -> Registers | ModbusException | None:
    """Read a whole response; None if it is damaged or answers something else."""
    if len(frame) < 5 or crc16(frame[:-2]).to_bytes(2, "little") != frame[-2:] or frame[0] != unit:
        return None
    if frame[1] == function | 0x80 and len(frame) == 5:
        return ModbusException(frame[2], _EXCEPTIONS.get(frame[2], "unknown exception"))
    if frame[1] != function or frame[2] != 2 * count or len(frame) != 5 + 2 * count:
        return None
    data = frame[3:-2]
    return Registers(tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2)))


def decode_number(words: tuple[int, ...], form: NumberForm) -> Decimal | None:
    """Return the number; None for NaN and infinity. FLOAT32 goes by integers, to 28 digits: no float is made."""
    if form is NumberForm.UINT16:
        return Decimal(words[0])
    if form is NumberForm.INT16:
        return Decimal(words[0] - 0x10000 if words[0] & 0x8000 else words[0])
    high, low = (words[1], words[0]) if form in (NumberForm.INT32_SWAPPED, NumberForm.FLOAT32_SWAPPED) else words
    bits = high << 16 | low
    if form in (NumberForm.INT32, NumberForm.INT32_SWAPPED):
        return Decimal(bits - (1 << 32) if bits & 0x8000_0000 else bits)
    exponent, fraction = bits >> 23 & 0xFF, bits & 0x7FFFFF
    if exponent == 0xFF:
        return None
    mantissa = fraction if exponent == 0 else fraction | 0x800000
    power = max(exponent, 1) - 150
    value = EXACT.multiply(Decimal(mantissa), EXACT.power(Decimal(2), power))
    return EXACT.minus(value) if bits & 0x8000_0000 else value
