"""The proof: what it finds in a valid program, and single deviations, each refused by name."""

import re
from functools import cache

import pytest

from recipes.compile import compile_program
from recipes.errors import ProofRefused
from recipes.gcode_check import examine, prove
from recipes.gcode_values import nanometres
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import DoseOrder
from recipes.proof import UnitTarget

TODAY = "2026-11-20"
CASES = ("cyclophosphamide", "hydrocortisone", "minoxidil", "sildenafil")


@cache
def program_of(case):
    recipe = load_recipe(case)
    machine = load_machine(recipe.machine)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    prescription = prescription.model_copy(update={"days": 2 if case in ("cyclophosphamide", "minoxidil") else 1})
    order = DoseOrder.create("O1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    program = compile_program(order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True)
    targets = tuple(UnitTarget(unit.n, unit.strength, unit.target_volume, *unit.centre) for unit in program.units)
    return recipe, machine, program, targets


def purges_of(case):
    return tuple(UnitTarget(unit.n, None, unit.target_volume, *unit.centre) for unit in program_of(case)[2].purges)


def refusals(case, content, demonstration=True):
    recipe, machine, _, targets = program_of(case)
    purges = purges_of(case)
    return examine(content, recipe=recipe, machine=machine, units=targets, demonstration=demonstration, purges=purges).refusals


def changed(case, old, new, count=1):
    planned = program_of(case)[2].planned
    assert old in planned
    return planned.replace(old, new, count)


@pytest.mark.parametrize("case", CASES)
def test_the_compiled_program_is_proved_and_its_record_is_text(case):
    recipe, machine, program, targets = program_of(case)
    proof = prove(program.planned, recipe=recipe, machine=machine, units=targets, demonstration=True, purges=purges_of(case))
    record = proof.as_record()
    assert [purge["strength_mg"] for purge in record["purge_units"]] == [None] * len(program.purges)
    assert record["holds"] is True and record["program_sha256"] == program.sha256
    assert [unit["n"] for unit in record["units"]] == [unit.n for unit in targets]
    assert {margin["limit"] for margin in record["margins"]} >= {"flow rate", "envelope x", "net volume per unit"}
    assert all(float(margin["margin_percent"]) >= 0 for margin in record["margins"])


def test_a_purge_unit_is_proved_at_its_own_place_and_counts_as_no_unit():
    recipe, machine, program, targets = program_of("sildenafil")
    (purge,) = program.purges
    assert purge.centre == machine.plate.positions[-1]
    assert purge.centre not in [unit.centre for unit in program.units]
    assert purge.target_volume == recipe.control.start_up_calibration.volume
    without = program.planned.replace(purge.gcode, b"")
    as_unit = program.planned.replace(b"PURGE 1\n", b"UNIT 1\n")
    last = program.units[-1]
    behind = program.planned.replace(purge.gcode, b"").replace(last.gcode, last.gcode + purge.gcode)
    weaker = program.planned.replace(purge.gcode, purge.gcode.replace(b"E0.00", b"E0.01", 3))
    for content in (without, as_unit, behind, weaker):
        assert content != program.planned
        assert refusals("sildenafil", content)
    assert examine(program.planned, recipe=recipe, machine=machine, units=targets, demonstration=True).refusals


def test_numbers_are_read_exactly():
    assert nanometres("12.345") == 12_345_000
    assert nanometres("-0.00001") == -10
    assert nanometres("0.5") == 500_000


SINGLE = [
    ("cyclophosphamide", b"M104 S40\n", b"M104 S60\n", "M104"),
    ("cyclophosphamide", b"M104 S40\n", b"M109 S40\n", "closed set"),
    ("cyclophosphamide", b"M83\n", b"M82\n", "closed set"),
    ("cyclophosphamide", b"M83\n", b"M83\nM221 S110\n", "closed set"),
    ("cyclophosphamide", b"G90\nM83\n", b"M83\nG90\n", "makes E absolute"),
    ("cyclophosphamide", b"G28\n", b"", "motion before"),
    ("cyclophosphamide", b"G28\n", b"g28\n", "closed set"),
    ("cyclophosphamide", b";UNIT 2\n", b"", "outside every section"),
    ("cyclophosphamide", b";E_AREA_MM2 165.13", b";E_AREA_MM2 160.00", "header"),
    ("cyclophosphamide", b";DEMONSTRATION not for patients\n", b"", "header lacks"),
    ("cyclophosphamide", b";E_AREA_MM2 165.13\n", b";E_AREA_MM2 165.13\n" * 2, "repeats"),
    ("cyclophosphamide", b"M400\n;END UNIT 1", b";END UNIT 1", "M400"),
    ("cyclophosphamide", b"X190.000 Y190.000", b"X290.000 Y190.000", "envelope"),
    ("cyclophosphamide", b"G1 E0.00908 F2.906\nG1 E0.00909\n", b"", "retract"),
    ("cyclophosphamide", b"G28\n", b"G28 ;home\n", "closed set"),
    ("cyclophosphamide", b";HOME\n", b";HOME\n;note\n", "comment"),
    ("cyclophosphamide", b"G21\n", b"G21\n\xc3\xa9\n", "ASCII"),
    ("cyclophosphamide", b"G21\n", b"G21" + b" " * 100 + b"\n", "96"),
    ("cyclophosphamide", b"M140 S0\n", b"", "nozzle and plate once each"),
    ("cyclophosphamide", b"G1 X", b"G1 Y", "four forms"),
    ("cyclophosphamide", b"X190.000 Y190.000", b"X190.000", "four forms"),
    ("cyclophosphamide", b"X190.000 Y190.000", b"X190.00 Y190.000", "four forms"),
    ("cyclophosphamide", b"G0 Z", b"G1 Z", "four forms"),
    ("minoxidil", b"G1 E0.03395\n", b"G1 E0.00000\n", "moves nothing"),
    ("minoxidil", b"G0 Z14.000", b"G0 Z13.000", "plate"),
    ("minoxidil", b"F3.056", b"F9.056", "flow"),
]


@pytest.mark.parametrize(("case", "old", "new", "said"), SINGLE)
def test_one_deviation_is_refused_and_named(case, old, new, said):
    found = refusals(case, changed(case, old, new))
    assert any(said in reason for reason in found), found


def test_a_last_line_without_its_end_is_refused():
    assert refusals("minoxidil", program_of("minoxidil")[2].planned[:-1])


def test_a_demonstration_is_not_a_real_program():
    assert any("not of this order" in reason for reason in refusals("minoxidil", program_of("minoxidil")[2].planned, demonstration=False))


def test_prove_raises_with_reasons():
    recipe, machine, program, targets = program_of("minoxidil")
    with pytest.raises(ProofRefused, match="PARK was expected"):
        prove(program.planned, recipe=recipe, machine=machine, units=targets[:1], demonstration=True)


def test_travel_stays_above_what_is_printed():
    recipe, machine, program, targets = program_of("cyclophosphamide")
    low = re.sub(rb"(;UNIT 2\n)G0 Z[0-9.]+", rb"\1G0 Z3.000", program.planned)
    found = examine(low, recipe=recipe, machine=machine, units=targets, demonstration=True).refusals
    assert any("clear height" in reason for reason in found)
