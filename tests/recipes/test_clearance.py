"""Places on the plate: several strengths, blister cavities, neighbours, and how many fit."""

from decimal import Decimal

import pytest
from pydantic import ValidationError
from shape_cases import FAMILIES, recipe_of, wide_machine

from audit.quantities import Milligram
from recipes.compile import compile_program
from recipes.errors import CompileRefused
from recipes.gcode_check import UnitTarget, examine
from recipes.library import load_demonstration, load_machine
from recipes.machine import MachineProfile, Plate
from recipes.model import DoseOrder, Intake
from recipes.plate import lay_out

TODAY = "2026-11-20"
CAVITY = {"length": "24 mm", "width": "16 mm", "depth": "6 mm", "wall": "1.5 mm"}


def machine_with(plate=None, **changed):
    record = wide_machine().as_record()
    sources = dict(wide_machine().sources) | dict.fromkeys(changed, "illustrative")
    return MachineProfile.model_validate({**record, **changed, "plate": {**record["plate"], **(plate or {})}, "sources": sources})


def blister(**cavity):
    return machine_with({"surface": "blister", "cavity": CAVITY | cavity})


TWICE = (Intake(time="morning", parts=2), Intake(time="evening"))


def compiled(machine, dose="20", schedule=TWICE, days=3, per="day", family="caplet"):
    recipe = recipe_of(FAMILIES[family])
    rule = recipe.dose.model_copy(update={"basis": "mg", "bsa_formula": None, "per": per})
    recipe = recipe.model_copy(update={"dose": rule, "machine_digest": machine.digest})
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    prescription = prescription.model_copy(update={"prescribed": Milligram(dose), "schedule": schedule, "days": days, "per": per})
    order = DoseOrder.create("O", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return compile_program(order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True)


def test_existing_profiles_keep_their_digest():
    for name in ("sse-20g-10ml", "sse-18g-3ml"):
        record = load_machine(name).as_record()
        assert "clearance" not in record and "cavity" not in record["plate"]


def test_several_strengths_lie_in_their_own_rows_of_the_blister():
    program = compiled(blister(), dose="19.5")
    by_strength = {}
    for unit in program.units:
        by_strength.setdefault(unit.strength, []).append(unit.centre)
    assert [strength.text for strength in by_strength] == ["13", "6.5"]
    rows = [{y for _, y in places} for places in by_strength.values()]
    assert not rows[0] & rows[1]
    # Between cavities the nozzle is above the rim, by the lift at least.
    heights = [Decimal(line.split(b" Z")[1].split()[0].decode()) for line in program.units[0].commands if b" Z" in line]
    assert max(heights) >= Decimal(6) + 2


@pytest.mark.parametrize(
    ("cavity", "said"),
    [({"width": "6 mm"}, "the nozzle has"), ({"length": "12 mm"}, "larger cavities"), ({"depth": "2 mm"}, "cavity 2 mm deep")],
)
def test_a_unit_that_no_cavity_holds_is_refused(cavity, said):
    with pytest.raises(CompileRefused, match=said):
        compiled(blister(**cavity))


def test_the_proof_holds_the_nozzle_off_the_walls():
    program = compiled(blister())
    recipe, machine = program.basis.recipe, program.basis.machine
    targets = [UnitTarget(unit.n, unit.strength, unit.target_volume, *unit.centre) for unit in program.units]
    assert not examine(program.planned, recipe=recipe, machine=machine, units=targets, demonstration=True).refusals
    narrow = machine.model_copy(update={"plate": Plate.model_validate({**machine.plate.as_record(), "cavity": CAVITY | {"width": "5 mm"}})})
    shallow = machine.model_copy(
        update={"plate": Plate.model_validate({**machine.plate.as_record(), "cavity": CAVITY | {"depth": "2 mm"}})}
    )
    for other, said in ((narrow, "nearer to the wall"), (shallow, "stands out")):
        content = program.planned.replace(machine.digest.encode(), other.digest.encode())
        found = examine(content, recipe=recipe, machine=other, units=targets, demonstration=True).refusals
        assert any(said in reason for reason in found), found
    deeper = machine.model_copy(
        update={"plate": Plate.model_validate({**machine.plate.as_record(), "cavity": CAVITY | {"depth": "20 mm"}})}
    )
    content = program.planned.replace(machine.digest.encode(), deeper.digest.encode())
    found = examine(content, recipe=recipe, machine=deeper, units=targets, demonstration=True).refusals
    assert any("below the clear height" in reason for reason in found), found


def head(outside="4 mm", free="20 mm", above="30 mm"):
    return machine_with(clearance={"outside_diameter": outside, "free_length": free, "reach_above": above})


def test_the_nozzle_keeps_off_finished_neighbours():
    assert compiled(head()).units
    with pytest.raises(CompileRefused, match=r"the nozzle does not meet.*2 of 4 places"):
        compiled(head(outside="60 mm"))


def test_a_unit_higher_than_the_nozzle_is_free_keeps_off_what_is_above():
    with pytest.raises(CompileRefused, match="what stands above the nozzle"):
        compiled(head(free="2 mm"))
    assert compiled(head(free="2 mm", above="10 mm")).units


def test_how_many_fit_is_said():
    plate = load_machine("sse-20g-10ml").plate
    with pytest.raises(CompileRefused, match="36 of them fit"):
        lay_out(plate, [40])
    with pytest.raises(CompileRefused, match="32 of them fit"):
        lay_out(plate, [20, 20])
    with pytest.raises(CompileRefused, match="34 of the units fit"):
        lay_out(plate, [36], kept_free=2)


@pytest.mark.parametrize(
    "plate", [{"surface": "blister"}, {"cavity": CAVITY}, {"surface": "blister", "cavity": CAVITY | {"length": "45 mm"}}]
)
def test_a_profile_whose_cavities_make_no_sense_is_not_read(plate):
    with pytest.raises(ValidationError):
        machine_with(plate)
