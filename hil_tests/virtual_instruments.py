"""Virtual balance (MT-SICS or Sartorius SBI) and pressure hub, without I/O.

Written from the manuals: METTLER TOLEDO "MT-SICS Interface Commands" (weight value of 10 characters, right-justified;
status S, D, +, -, I, L; general errors ES, ET, EL) and the Sartorius data interface (16 characters, blank unit while
unstable, ESC commands). Time is an int of µs; masses are mg.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class BalanceConfig:
    """The balance under the plate. Masses in mg, times in s."""

    driver: str = "mt-sics"
    model: str = "XPR204"
    serial: str = "B000000001"
    software: str = "1.10 12.28.0.493.142"
    readability_mg: float = 0.1
    capacity_mg: float = 220_000.0
    underload_mg: float = -2_000.0
    plate_mg: float = 85_000.0
    settle_tau_s: float = 0.35
    still_s: float = 1.5
    stable_timeout_s: float = 30.0
    noise_mg: float = 0.02
    shake_mg: float = 4.0
    eccentricity_ppm: float = 4.0


_CORNER_FACTOR = {"centre": 0.0, "front left": -1.0, "back left": 0.5, "back right": 1.0, "front right": -0.5}
"""How much of `eccentricity_ppm` a weight in that place of the pan gains; a real pan is tilted like that."""


@dataclass(frozen=True, slots=True)
class PressureConfig:
    """A gauge sensor, so that it never shows less than `floor_kPa`: behind a hub that sends lines, or a Modbus RTU transmitter.

    `unit` (bus address), `register`, `form`, `pressure_unit` and `decimals` are those of the transmitter.
    """

    driver: str = "hub-lines"
    noise_kPa: float = 0.25
    floor_kPa: float = 0.0
    ceiling_kPa: float = 1000.0
    unit: int = 1
    register: int = 0
    form: str = "float32"
    pressure_unit: str = "kPa"
    decimals: int = 0


class LoadCell:
    """The weighing pan: first-order settling, shaking while the axes move, a zero that may drift.

    Fault scripts change `zero_drift`, `extra_mg` and `never_stable`.
    """

    def __init__(self, config: BalanceConfig, seed: int, start_us: int = 0) -> None:
        self._config = config
        self._random = random.Random(f"{seed}:balance")
        self.now = start_us
        self.zero_mg = config.plate_mg
        self.tare_mg = 0.0
        self.zero_drift = 0.0
        self.extra_mg = 0.0
        self.never_stable = False
        self._placed = 0.0
        self._placed_at = start_us - 60_000_000
        self._drifted = 0.0
        self._load = config.plate_mg
        self._settled = config.plate_mg
        self._moved_at = start_us - 60_000_000
        self._span, self._factor = 0, 1.0

    def place(self, position: str, mass_mg: float) -> None:
        """Put a check weight in a place of the pan, or take it off ("empty"). KeyError for a place that is not there."""
        off_centre = 0.0 if position == "empty" else _CORNER_FACTOR[position]
        placed = 0.0 if position == "empty" else mass_mg * (1.0 + off_centre * self._config.eccentricity_ppm / 1e6)
        # at once: a weight asked for in the same moment must find a pan that is not at rest
        self._load += placed - self._placed
        self._placed, self._placed_at = placed, self.now

    def advance(self, to_us: int, on_plate_mg: float, moved_at: int) -> None:
        """Let the pan follow the load up to `to_us`; `moved_at` is when the axes last moved."""
        span = to_us - self.now
        if span != self._span:
            self._span, self._factor = span, math.exp(-span / 1e6 / self._config.settle_tau_s)
        self._load = self._config.plate_mg + on_plate_mg + self.extra_mg + self._placed
        self._settled = self._load + (self._settled - self._load) * self._factor
        self._drifted += self.zero_drift * span / 1e6
        self._moved_at = moved_at
        self.now = to_us

    @property
    def stable(self) -> bool:
        if self.never_stable or self.now - max(self._moved_at, self._placed_at) < self._config.still_s * 1e6:
            return False
        return abs(self._settled - self._load) < self._config.readability_mg

    def gross_mg(self) -> float:
        """Return the load with drift, noise and, after motion, the shaking that dies away."""
        config = self._config
        value = self._settled + self._drifted + self._random.gauss(0.0, config.noise_mg)
        age = (self.now - self._moved_at) / 1e6
        if age < config.still_s:
            value += self._random.gauss(0.0, config.shake_mg * math.exp(-4.0 * max(age, 0.0) / config.still_s))
        return value

    def net_mg(self) -> float:
        return self.gross_mg() - self.zero_mg - self.tare_mg

    def overloaded(self) -> bool:
        return self._load > self._config.capacity_mg

    def underloaded(self) -> bool:
        return self._load + self._drifted - self.zero_mg < self._config.underload_mg


class MtSicsBalance:
    """Command level 0 and 1 of MT-SICS: I0–I4, @, S, SI, SIR, SR is refused, Z, ZI, T, TI, TA, TAC.

    One command waits for stability at a time; a second that wants the same is answered `I` (busy).
    """

    _LISTED = ("0 I0", "0 I1", "0 I2", "0 I3", "0 I4", "0 S", "0 SI", "0 SIR", "0 Z", "0 ZI", "0 @", "1 T", "1 TI", "1 TA", "1 TAC")

    def __init__(self, config: BalanceConfig, cell: LoadCell) -> None:
        self._config = config
        self._cell = cell
        self._in = bytearray()
        self._out = bytearray()
        self._waiting: str | None = None
        self._waiting_until = NEVER
        self._repeat_at = NEVER
        self.silent = False

    def receive(self, data: bytes) -> None:
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end]).rstrip(b"\r").decode("latin-1")
            del self._in[: end + 1]
            if line:
                self._command(line)
        del self._in[:-256]

    def output(self) -> bytes:
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return b"" if self.silent else data

    def advance(self, to_us: int) -> None:
        """Answer what has been waiting for a stable value or for its time. Call after the load cell has moved on."""
        if self._waiting is not None:
            if self._cell.stable or self._cell.overloaded() or self._cell.underloaded():
                waiting, self._waiting = self._waiting, None
                self._answer(waiting)
            elif to_us >= self._waiting_until:
                self._say(f"{self._waiting} I")
                self._waiting = None
        if to_us >= self._repeat_at:
            self._say(self._weight("S"))
            self._repeat_at = to_us + 100_000

    def _say(self, text: str) -> None:
        self._out += text.encode("ascii") + b"\r\n"

    def _command(self, line: str) -> None:
        config = self._config
        self._repeat_at = NEVER
        match line:
            case "S" | "Z" | "T":
                if self._waiting is not None:
                    self._say(f"{line} I")
                    return
                self._waiting, self._waiting_until = line, self._cell.now + round(config.stable_timeout_s * 1e6)
                self.advance(self._cell.now)
            case "SI":
                self._say(self._weight("S"))
            case "SIR":
                self._say(self._weight("S"))
                self._repeat_at = self._cell.now + 100_000
            case "ZI" | "TI":
                self._zero_or_tare(line)
            case "TA":
                self._say(f"TA A {self._number(self._cell.tare_mg)}")
            case "TAC":
                self._cell.tare_mg = 0.0
                self._say("TAC A")
            case "@":
                self._waiting = None
                self._cell.tare_mg = 0.0
                self._say(f'I4 A "{config.serial}"')
            case "I0":
                for index, listed in enumerate(self._LISTED):
                    level, name = listed.split(" ")
                    self._say(f'I0 {"A" if index == len(self._LISTED) - 1 else "B"} {level} "{name}"')
            case "I1":
                self._say('I1 A "01" "2.30" "2.20" "" ""')
            case "I2":
                self._say(f'I2 A "{config.model} Standard {config.capacity_mg / 1000.0:.4f} g"')
            case "I3":
                self._say(f'I3 A "{config.software}"')
            case "I4":
                self._say(f'I4 A "{config.serial}"')
            case _ if line.split(" ", 1)[0] in {listed.split(" ")[1] for listed in self._LISTED}:
                self._say(f"{line.split(' ', 1)[0]} L")
            case _:
                self._say("ES")

    def _answer(self, command: str) -> None:
        if command == "S":
            self._say(self._weight("S"))
        elif self._cell.overloaded():
            self._say(f"{command} +")
        elif self._cell.underloaded():
            self._say(f"{command} -")
        else:
            self._zero_or_tare(command)

    def _zero_or_tare(self, command: str) -> None:
        cell = self._cell
        state = "S" if cell.stable else "D"
        if command in ("Z", "ZI"):
            cell.zero_mg, cell.tare_mg = cell.gross_mg(), 0.0
            self._say("Z A" if command == "Z" else f"ZI {state}")
        else:
            cell.tare_mg = cell.gross_mg() - cell.zero_mg
            self._say(f"{command} {state} {self._number(cell.tare_mg)}")

    def _weight(self, code: str) -> str:
        cell = self._cell
        if cell.overloaded():
            return f"{code} +"
        if cell.underloaded():
            return f"{code} -"
        return f"{code} {'S' if cell.stable else 'D'} {self._number(cell.net_mg())}"

    def _number(self, value_mg: float) -> str:
        return _grams(value_mg, self._config.readability_mg, 10) + " g"


class SbiBalance:
    """Sartorius SBI: ESC P prints 16 characters; the unit is blank while the value is not stable.

    ESC V zero, ESC U or T tare, ESC x1_ model, x2_ serial number, x3_ software; High and Low outside the range.
    """

    def __init__(self, config: BalanceConfig, cell: LoadCell) -> None:
        self._config = config
        self._cell = cell
        self._in = bytearray()
        self._out = bytearray()
        self.silent = False

    def receive(self, data: bytes) -> None:
        self._in += data
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end]).rstrip(b"\r")
            del self._in[: end + 1]
            if line.startswith(b"\x1b"):
                self._command(line[1:].decode("latin-1"))
        del self._in[:-64]

    def output(self) -> bytes:
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return b"" if self.silent else data

    def advance(self, to_us: int) -> None:
        """Nothing here happens by itself."""

    def _command(self, command: str) -> None:
        cell = self._cell
        match command:
            case "P" | "p_":
                self._say(self._printed())
            case "V":
                cell.zero_mg, cell.tare_mg = cell.gross_mg(), 0.0
            case "T" | "U":
                cell.tare_mg = cell.gross_mg() - cell.zero_mg
            case "x1_":
                self._say(self._config.model.rjust(14))
            case "x2_":
                self._say(self._config.serial.rjust(14))
            case "x3_":
                self._say(self._config.software[:14].rjust(14))
            case _:
                return  # the manual names no answer to a command that is not known

    def _say(self, text: str) -> None:
        self._out += text.encode("ascii") + b"\r\n"

    def _printed(self) -> str:
        cell = self._cell
        if cell.overloaded():
            return "High".center(14)
        if cell.underloaded():
            return "Low".center(14)
        value = cell.net_mg()
        digits = _grams(abs(value), self._config.readability_mg, 8)
        return f"{'-' if value < 0 else '+'} {digits} {'g  ' if cell.stable else '   '}"


class PressureHub:
    """100 lines a second, `seq,kPa`, one decimal. Fault scripts change `stuck`, `silent`, `offset_kPa` and `noise_kPa`."""

    def __init__(self, config: PressureConfig, seed: int) -> None:
        generator = random.Random(f"{seed}:pressure")
        # A table of noise is enough for a sensor, and a hundred draws a second are not free.
        self._noise = [generator.gauss(0.0, 1.0) for _ in range(4093)]
        self._config = config
        self.noise_kPa = config.noise_kPa
        self.offset_kPa = 0.0
        self.sequence = 0
        self.silent = False
        self.stuck = False
        self._last = 0.0

    def lines(self, samples: list[float]) -> bytes:
        """Return one line for each sample (kPa); a sequence number is used up even where the hub is silent."""
        noise, scale = self._noise, self.noise_kPa
        low, high = self._config.floor_kPa, self._config.ceiling_kPa
        if not samples:
            return b""
        offset, first = self.offset_kPa, self.sequence + 1
        if self.stuck:
            values = [self._last] * len(samples)
        else:
            values = [value + offset + scale * noise[n % 4093] for n, value in enumerate(samples, first)]
            values = [low if value < low else high if value > high else value for value in values]
        self.sequence, self._last = self.sequence + len(samples), values[-1]
        return b"" if self.silent else "".join([f"{n},{value:.1f}\n" for n, value in enumerate(values, first)]).encode("ascii")


def _grams(value_mg: float, readability_mg: float, width: int) -> str:
    """Return a mass rounded to the readability, in g, right-justified."""
    steps = round(value_mg / readability_mg)
    places = max(0, round(3 - math.log10(readability_mg)))
    text = f"{steps * readability_mg / 1000.0:.{places}f}"
    if float(text) == 0.0:
        text = text.lstrip("-")
    return text.rjust(width)
