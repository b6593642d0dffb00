"""The mutation test of the proof: seeded corruptions of valid programs, judged by a simulated printer that shares nothing with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cache

from recipes.compile import compile_program
from recipes.gcode_check import examine
from recipes.library import CASES, TWO_INK_CASES, load_demonstration, load_machine, load_recipe, load_second
from recipes.machine import MachineProfile
from recipes.model import DoseOrder, Recipe
from recipes.proof import UnitTarget
from tests.recipes.gcode_simulator import Printer, Target, targets_of
from tests.recipes.program_mutations import CORRUPTIONS, corrupt

TODAY = "2026-11-20"
ALL = (*CASES, *TWO_INK_CASES)


@dataclass(frozen=True, slots=True)
class Subject:
    """A valid program of a case, with what the proof and the simulated printer need to judge it."""

    recipe: Recipe
    machine: MachineProfile
    planned: bytes
    units: tuple[UnitTarget, ...]
    purges: tuple[UnitTarget, ...]

    @property
    def targets(self) -> tuple[Target, ...]:
        return targets_of([(float(unit.x), float(unit.y), max(unit.part - 1, 0), unit.volume) for unit in (*self.units, *self.purges)])

    def refused(self, content: bytes) -> bool:
        found = examine(content, recipe=self.recipe, machine=self.machine, units=self.units, demonstration=True, purges=self.purges)
        return bool(found.refusals)

    def harms(self, content: bytes) -> set[str]:
        return Printer(self.recipe, self.machine, self.targets).run(content)


@cache
def subject(case: str) -> Subject:
    recipe = load_recipe(case)
    machine = load_machine(recipe.machine)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    second = load_second(case, TODAY) if case in TWO_INK_CASES else None
    prescription = prescription.model_copy(update={"days": 2 if len(prescription.schedule) == 1 else 1})
    order = DoseOrder.create("O1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
    program = compile_program(
        order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True, second=second
    )
    units = tuple(UnitTarget(unit.n, unit.strength, unit.target_volume, *unit.centre, unit.part) for unit in program.units)
    purges = tuple(UnitTarget(unit.n, None, unit.target_volume, *unit.centre) for unit in program.purges)
    return Subject(recipe, machine, program.planned, units, purges)


@dataclass(slots=True)
class Survey:
    """What became of corrupted programs, by kind. `missed`: harmful, not refused; `harmless`: not refused, and nothing wrong with it."""

    corrupted: int = 0
    harmful: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    harmless: Counter[str] = field(default_factory=Counter)
    missed: list[tuple[str, int, str, list[str]]] = field(default_factory=list)

    @property
    def text(self) -> str:
        """One line for each kind."""
        kinds = sorted({*self.harmful, *self.refused, *self.harmless})
        rows = [f"{kind}: {self.harmful[kind]} harmful, {self.refused[kind]} refused, {self.harmless[kind]} let through" for kind in kinds]
        total = f"{self.corrupted} corrupted, {self.harmful.total()} harmful, {self.refused.total()} refused"
        return "\n".join([f"{total}, {self.harmless.total()} let through as harmless, {len(self.missed)} missed", *rows])


def survey(count: int, first: int = 0) -> Survey:
    """Corrupt programs of every case in turn with seeds from `first` on, until `count` differ from what they were."""
    found = Survey()
    seed = first
    while found.corrupted < count:
        case = ALL[(seed // len(CORRUPTIONS)) % len(ALL)]
        valid = subject(case)
        corrupted = corrupt(valid.planned, seed)
        if corrupted.content != valid.planned:
            found.corrupted += 1
            harms, refused = valid.harms(corrupted.content), valid.refused(corrupted.content)
            found.harmful[corrupted.how] += bool(harms)
            found.refused[corrupted.how] += refused
            if not refused and harms:
                found.missed.append((case, seed, corrupted.how, sorted(harms)))
            elif not refused:
                found.harmless[corrupted.how] += 1
        seed += 1
    return found
