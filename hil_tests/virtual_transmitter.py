"""A Modbus RTU pressure transmitter, without I/O: it answers when it is asked, and only then.

Source: Modbus application protocol V1.1b3 (functions 3 and 4, §§6.3 and 6.4, exceptions §7) and Modbus over serial line V1.02 (§2.5.1:
frames are parted by silence; §2.4: a frame with a wrong CRC or for another address gets no answer). The CRC is the table form of its
appendix B. Holding and input registers show the same. Its serial number register and its baud rate are nobody's standard.
"""

from __future__ import annotations

import random
import struct

from hil_tests.virtual_instruments import PressureConfig

_SILENCE_US = 20_000
_FORMS = {
    "int16": ">h",
    "uint16": ">H",
    "int32": ">i",
    "int32, low word first": ">i",
    "float32": ">f",
    "float32, low word first": ">f",
}
_PER_KILOPASCAL = {"Pa": 1000.0, "hPa": 10.0, "mbar": 10.0, "kPa": 1.0, "bar": 0.01, "MPa": 0.001}


def _table() -> tuple[int, ...]:
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
        rows.append(value)
    return tuple(rows)


_TABLE = _table()


def check(frame: bytes) -> bytes:
    """Return the two CRC bytes of a frame, low byte first."""
    crc = 0xFFFF
    for byte in frame:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return struct.pack("<H", crc)


class Transmitter:
    """One transmitter. Fault scripts change `stuck`, `silent`, `offset_kPa` and `noise_kPa`. Concurrency: one owner."""

    def __init__(self, config: PressureConfig, seed: int) -> None:
        self._random = random.Random(f"{seed}:pressure")
        self._config = config
        self.noise_kPa = config.noise_kPa
        self.offset_kPa = 0.0
        self.silent = False
        self.stuck = False
        self.answered = 0
        self._in = b""
        self._heard_at = 0
        self._out = bytearray()
        self._true = 0.0
        self._shown = 0.0

    def lines(self, samples: list[float]) -> bytes:
        """Take the samples (kPa) of the last stretch of time; return what has been answered."""
        if samples:
            self._true = samples[-1]
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes, now: int) -> None:
        """Take bytes of the bus; a pause longer than a frame's begins a new frame."""
        if now - self._heard_at > _SILENCE_US:
            self._in = b""
        self._heard_at = now
        self._in += data
        while len(self._in) >= 8:
            frame, self._in = self._in[:8], self._in[8:]
            self._frame(frame)

    def _frame(self, frame: bytes) -> None:
        unit, function, first, count = struct.unpack(">BBHH", frame[:6])
        if check(frame[:6]) != frame[6:] or unit != self._config.unit or self.silent:
            return
        if function not in (3, 4):
            self._answer(bytes((unit, function | 0x80, 1)))
            return
        words = self._words()
        if first != self._config.register or count != len(words) // 2:
            self._answer(bytes((unit, function | 0x80, 2)))
            return
        self._answer(bytes((unit, function, len(words))) + words)

    def _answer(self, body: bytes) -> None:
        self.answered += 1
        self._out += body + check(body)

    def _words(self) -> bytes:
        config = self._config
        if not self.stuck:
            shown = self._true + self.offset_kPa + self._random.gauss(0.0, self.noise_kPa)
            self._shown = min(max(shown, config.floor_kPa), config.ceiling_kPa)
        value = self._shown * _PER_KILOPASCAL[config.pressure_unit]
        if "float" in config.form:
            raw = struct.pack(_FORMS[config.form], value)
        else:
            raw = struct.pack(_FORMS[config.form], round(value * 10.0**config.decimals))
        return raw[2:] + raw[:2] if "low word first" in config.form else raw
