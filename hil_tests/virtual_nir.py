"""A near-infrared probe over the plate, without I/O: it is placed over a unit, and answers a scan with a spectrum.

Absorbance is Beer's law over the mass fractions of drug, water and excipient in the patch as the plant has it, times an effective path
that scatters from place to place (particles), plus a baseline that drifts, plus noise; the detector saturates. Bands are Gaussian and
illustrative, at wavelengths where such groups absorb: O–H of water 1450 and 1940 nm (Büning-Pfaue, Food Chem. 82 (2003) 107), aromatic
C–H 1660 and 2140 nm, sugars 1490, 2090 and 2270 nm. The protocol is nobody's standard: lines in ASCII, each reply ending in `*` and the
XOR of what stands before it.

    ID                     NIR,<model>,<serial>,<first nm>,<step nm>,<places>
    SCAN <x mm> <y mm>     SPC,<scan number>,<OK|SAT|NOTHING>,<absorbance>,…
    anything else          ERR,<what>
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

from hil_tests.plant import Patch, Plant

FIRST_NM, STEP_NM, PLACES = 1100, 20, 61
WAVELENGTHS = tuple(FIRST_NM + STEP_NM * k for k in range(PLACES))
MODEL = "BENCH-NIR"

Bands = tuple[tuple[float, float, float], ...]
"""Centre (nm), width (standard deviation, nm), height (absorbance of the pure substance at unit path)."""

DRUG: Bands = ((1660.0, 22.0, 6.0), (2140.0, 30.0, 8.0), (1180.0, 25.0, 2.0))
WATER: Bands = ((1450.0, 45.0, 2.6), (1940.0, 40.0, 7.0))
SUGAR: Bands = ((1490.0, 60.0, 0.50), (1580.0, 40.0, 0.25), (2090.0, 55.0, 0.95), (2270.0, 35.0, 0.60))
POLYOL: Bands = ((1410.0, 25.0, 0.45), (1555.0, 30.0, 0.60), (2075.0, 35.0, 1.10), (2215.0, 30.0, 0.70))
GREASE: Bands = ((1215.0, 30.0, 0.10), (1725.0, 18.0, 0.22), (1760.0, 16.0, 0.14), (2310.0, 22.0, 0.30))
"""What a dirty window shows: C–H of fats."""


@dataclass(frozen=True, slots=True)
class InkConfig:
    """What an ink holds beside the drug: its water when it is fresh (mass fraction), and whether its excipient is the usual one."""

    water: float = 0.10
    other_excipient: bool = False


@dataclass(frozen=True, slots=True)
class NirConfig:
    """The probe. `scatter_rsd`: of the effective path from place to place; `noise`: of one absorbance; `drift`: of the baseline from scan
    to scan; `ceiling`: where the detector saturates; `water_shift`: of its bands in nm per °C from 25 °C; `air_c`: of the unit."""

    serial: str = "N000000001"
    scatter_rsd: float = 0.06
    noise: float = 0.0004
    drift: float = 0.004
    slope: float = 0.010
    ceiling: float = 3.0
    water_shift: float = -0.25
    air_c: float = 22.0
    ink: InkConfig = field(default_factory=InkConfig)


class NirProbe:
    """One probe over one plant. Faults: `dirty` (0 clean, 1 thick), `gain` (1; large: saturated). Concurrency: one owner."""

    def __init__(self, config: NirConfig, plant: Plant, seed: int) -> None:
        self._config = config
        self._plant = plant
        self._random = random.Random(f"{seed}:nir")
        self.dirty = 0.0
        self.gain = 1.0
        self._scans = 0
        self._base = 0.05
        self._in = b""
        self._out = bytearray()

    def receive(self, data: bytes) -> None:
        """Take bytes from the host; each whole line is answered."""
        self._in += data
        while b"\n" in self._in:
            line, _, self._in = self._in.partition(b"\n")
            self._answer(line.strip().decode("ascii", "replace"))
        self._in = self._in[-256:]

    def output(self) -> bytes:
        """Return and clear what has been answered."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def _answer(self, line: str) -> None:
        words = line.split()
        if words == ["ID"]:
            self._say(f"NIR,{MODEL},{self._config.serial},{FIRST_NM},{STEP_NM},{PLACES}")
            return
        try:
            if words[:1] != ["SCAN"] or len(words) != 3:
                raise ValueError
            x, y = float(words[1]), float(words[2])
        except ValueError:
            self._say("ERR,unknown request")
            return
        self._scans += 1
        patch = next((found for found in self._plant.patches if found.holds(x, y, 0.5)), None)
        if patch is None:
            self._say(f"SPC,{self._scans},NOTHING")
            return
        values = self.scan(patch)
        status = "SAT" if max(values) >= self._config.ceiling else "OK"
        self._say(f"SPC,{self._scans},{status},{','.join(f'{value:.5f}' for value in values)}")

    def _say(self, text: str) -> None:
        total = 0
        for byte in text.encode("ascii"):
            total ^= byte
        self._out += f"{text}*{total:02X}\r\n".encode("ascii")

    def scan(self, patch: Patch) -> list[float]:
        """Return the absorbance of a patch at each wavelength, as the detector gives it."""
        config, draw = self._config, self._random
        mass = patch.wet_mg - patch.dried_mg
        drug = patch.active_mg / mass
        water = max(config.ink.water * patch.wet_mg - patch.dried_mg, 0.0) / mass
        rest = max(1.0 - drug - water, 0.0)
        path = 1.0 + draw.gauss(0.0, config.scatter_rsd)
        self._base += draw.gauss(0.0, config.drift)
        tilt = draw.gauss(0.0, config.slope)
        shift = config.water_shift * (config.air_c - 25.0)
        excipient = POLYOL if config.ink.other_excipient else SUGAR
        found = []
        for at, nm in enumerate(WAVELENGTHS):
            pure = drug * _height(DRUG, nm) + water * _height(WATER, nm - shift) + rest * _height(excipient, nm)
            value = path * self.gain * pure + self.dirty * _height(GREASE, nm) + self._base + tilt * at / PLACES
            found.append(min(value + draw.gauss(0.0, config.noise), config.ceiling))
        return found


def _height(bands: Bands, nm: float) -> float:
    return math.fsum(height * math.exp(-0.5 * ((nm - centre) / width) ** 2) for centre, width, height in bands)
