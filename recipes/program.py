"""A compiled print program: its actions, its units, the whole file, its proof, and what it was compiled from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from audit.quantities import Microlitre, Milligram, SquareMillimetre
from recipes.designs import Design
from recipes.dose import DoseResult
from recipes.gcode_writer import Motion, ProcedureName
from recipes.model import MachineProfile, Recipe
from recipes.plate import Place
from recipes.proof import Proof, UnitProof

BEFORE: tuple[ProcedureName, ...] = ("prepare", "heat", "home", "prime", "prime_2")
"""The actions before the units, in order; the last one is there only where a second ink is printed."""

AFTER: tuple[ProcedureName, ...] = ("park", "heat_off")
"""The actions after the units, in order."""


@dataclass(frozen=True, slots=True)
class ActionProgram:
    """One action outside units. `commands` and `cumulative_nl` as in a unit."""

    name: ProcedureName
    gcode: bytes
    sha256: str
    commands: tuple[bytes, ...]
    cumulative_nl: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnitProgram:
    """One unit, one part of a unit of two inks, or one purge unit (`purge`, of strength 0).

    `part` is 1 or 2 for a part of a unit of two inks, 0 for a unit of one ink.

    `commands` are its lines without comments and line ends; `cumulative_nl` the net commanded volume in nanolitres after
    each. `centre` and `height` in mm, `shape` family and dimensions as text; `duration_us` is an estimate without
    accelerations.
    """

    n: int
    strength: Milligram
    target_mass: Milligram
    target_volume: Microlitre
    net_volume: Microlitre
    gcode: bytes
    sha256: str
    commands: tuple[bytes, ...]
    cumulative_nl: tuple[int, ...]
    duration_us: int
    centre: Place
    height: Decimal
    shape: Mapping[str, str]
    proof: UnitProof
    purge: bool = False
    part: int = 0

    @property
    def head(self) -> int:
        """Which of the machine's heads prints it, from 0; its tool number in G-code."""
        return head_of(self.part)

    @property
    def exposure_nl(self) -> tuple[int, ...]:
        """Nanolitres that each command moves, without sign."""
        return _exposure(self.cumulative_nl)


def head_of(part: int) -> int:
    """Return which of the machine's heads, from 0, prints a part; a unit of one ink (part 0) is the first one's."""
    return max(part - 1, 0)


@dataclass(frozen=True, slots=True)
class Piece:
    """One section of the file: unit `n` (or purge unit `n`), or a part of it, by its design and place."""

    n: int
    design: Design
    place: Place
    part: int = 0
    purge: bool = False

    @property
    def section(self) -> str:
        return f"{'PURGE' if self.purge else 'UNIT'} {self.n}{f' PART {self.part}' if self.part else ''}"


@dataclass(frozen=True, slots=True)
class Basis:
    """What a program was compiled from: enough to compile one of its units anew. `motions`: one for each part of a unit."""

    recipe: Recipe
    machine: MachineProfile
    motions: tuple[Motion, ...]
    demonstration: bool
    pieces: tuple[Piece, ...]
    purges: tuple[Piece, ...] = ()


@dataclass(frozen=True, slots=True)
class PrintProgram:
    """A proved program: the dose it serves, its actions and units, the whole file and the proof.

    `units` are in order of printing; a unit of two inks is two of them, with one number.
    """

    dose: DoseResult
    preamble: bytes
    actions: Mapping[ProcedureName, ActionProgram]
    purges: tuple[UnitProgram, ...]
    units: tuple[UnitProgram, ...]
    planned: bytes
    sha256: str
    proof: Proof
    e_area: SquareMillimetre
    basis: Basis

    @property
    def procedures(self) -> Mapping[ProcedureName, bytes]:
        """The bytes of each action outside units."""
        return MappingProxyType({name: action.gcode for name, action in self.actions.items()})


def procedure_bytes(program: PrintProgram) -> tuple[bytes, bytes]:
    """Return what stands before and after the units in the planned file, header not included."""
    procedures = program.procedures
    return b"".join(procedures[name] for name in BEFORE if name in procedures), b"".join(procedures[name] for name in AFTER)


def _exposure(cumulative: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(abs(after - before) for before, after in zip((0, *cumulative), cumulative, strict=False))
