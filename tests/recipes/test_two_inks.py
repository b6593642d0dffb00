"""Two inks in one unit: what a recipe may say, what follows from an order, and what the proof refuses."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from audit.quantities import Milligram, MilligramPerSquareMetre, Percent
from recipes.compile import compile_program, compile_unit
from recipes.dose import calculate
from recipes.errors import CompileRefused, DoseRefused, ProofRefused, RecipeRefused
from recipes.gcode_check import examine
from recipes.library import load_demonstration, load_machine, load_recipe, load_second, recipe_bytes
from recipes.model import Intake, parse_recipe
from recipes.order import DoseOrder, Prescription, SecondActive
from recipes.program import PrintProgram
from recipes.proof import Proof, UnitTarget

CASE, TODAY = "polypill", "2026-11-20"
RECIPE = load_recipe(CASE)
MACHINE = load_machine(RECIPE.machine)
PRESCRIPTION, INK, CARTRIDGE = load_demonstration(CASE, TODAY)
SECOND = load_second(CASE, TODAY)
assert SECOND is not None


def order_of(prescription: Prescription = PRESCRIPTION) -> DoseOrder:
    return DoseOrder.create("O-1", recipe=RECIPE, ink=INK, cartridge=CARTRIDGE, prescription=prescription, second=SECOND)


def compiled(prescription: Prescription = PRESCRIPTION) -> PrintProgram:
    return compile_program(
        order=order_of(prescription),
        recipe=RECIPE,
        ink=INK,
        cartridge=CARTRIDGE,
        machine=MACHINE,
        today=TODAY,
        demonstration=True,
        second=SECOND,
    )


@functools.cache
def program() -> PrintProgram:
    return compiled(PRESCRIPTION.model_copy(update={"days": 3}))


def proof_of(content: bytes) -> Proof:
    targets = [UnitTarget(u.n, u.strength, u.target_volume, *u.centre, part=u.part) for u in program().units]
    return examine(content, recipe=RECIPE, machine=MACHINE, units=targets, demonstration=True)


def test_a_recipe_of_one_ink_is_what_it_was() -> None:
    recipe, machine = load_recipe("cyclophosphamide"), load_machine("sse-20g-10ml")
    assert recipe.machine_digest == machine.digest == "24e8fb7f7f1865c734386fb0cbd9e20c0b43f59633a2060737c8fcbebb48ef4c"
    assert "second_ink" not in recipe.as_record() and "second_head" not in machine.as_record()
    assert recipe.parts == (recipe,) and machine.heads == (machine,)
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    assert "second" not in order.as_record() and "second" not in prescription.as_record()


def test_the_digest_covers_the_second_ink() -> None:
    text = recipe_bytes(CASE)
    changed = text.replace(b'from_mass = "0 mg"\ntolerance = "5 %"', b'from_mass = "0 mg"\ntolerance = "6 %"')
    assert changed != text
    assert parse_recipe(changed).digest != RECIPE.digest


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b'[second_ink.geometry]\nfamily = "cylinder"', b'[second_ink.geometry]\nfamily = "torus"', "second_ink.geometry"),
        (b'moiety = "hydrochlorothiazide"\nbasis', b'moiety = "spironolactone"\nbasis', "another ink with another active"),
        (
            b'plate_temperature = { set_point = "20 degC", low = "15 degC", high = "25 degC" }\nflow_rate = { set_point = "5.0',
            b'plate_temperature = { set_point = "21 degC", low = "15 degC", high = "25 degC" }\nflow_rate = { set_point = "5.0',
            "one plate",
        ),
    ],
)
def test_what_does_not_go_with_a_second_ink(old: bytes, new: bytes, words: str) -> None:
    text = recipe_bytes(CASE)
    assert old in text
    with pytest.raises(RecipeRefused, match=words):
        parse_recipe(text.replace(old, new))


def test_the_dose_of_each_active() -> None:
    """12.5 mg ÷ 49.6 mg/g = 252.016 mg; 6.25 mg ÷ 39.7 mg/g = 157.431 mg ÷ 1.08 g/mL = 145.769 uL: worked by hand."""
    assert SECOND is not None
    dose = calculate(RECIPE, PRESCRIPTION, INK, SECOND[0])
    one, other = dose.parts
    assert one.strengths[0].target_mass.rounded(3) == Milligram("252.016")
    assert other.strengths[0].target_mass.rounded(3) == Milligram("157.431")
    assert str(other.strengths[0].target_volume.rounded(3).value) == "145.769"
    record = dose.as_record()
    assert isinstance(record["second"], dict) and record["second"]["rounded_mg"] == "6.25"


def test_every_reason_of_both_actives_is_given() -> None:
    assert SECOND is not None
    other = SecondActive(moiety="hydrochlorothiazide", basis="free form", prescribed=Milligram("40"), per="dose")
    wrong = PRESCRIPTION.model_copy(update={"prescribed": Milligram("60"), "second": other})
    with pytest.raises(DoseRefused) as refused:
        calculate(RECIPE, wrong, INK, SECOND[0])
    assert {reason.partition(":")[0] for reason in refused.value.reasons} == {"spironolactone", "hydrochlorothiazide"}
    for prescription, lot, words in (
        (PRESCRIPTION.model_copy(update={"second": None}), SECOND[0], "one is prescribed"),
        (PRESCRIPTION, None, "one lot is named"),
    ):
        with pytest.raises(DoseRefused, match=words):
            calculate(RECIPE, prescription, INK, lot)
    single, ink, _ = load_demonstration("cyclophosphamide", TODAY)
    with pytest.raises(DoseRefused, match="for one active"):
        calculate(load_recipe("cyclophosphamide"), single, ink, SECOND[0])


def test_unequal_times_of_day_are_refused() -> None:
    assert SECOND is not None
    rule = RECIPE.dose.model_copy(update={"per": "day", "basis": "mg/m2", "bsa_formula": "mosteller"})
    recipe = RECIPE.model_copy(update={"dose": rule})
    schedule = (Intake(time="morning", parts=2), Intake(time="evening", parts=1))
    uneven = PRESCRIPTION.model_copy(
        update={"schedule": schedule, "per": "day", "prescribed": MilligramPerSquareMetre("50"), "height": "90 cm"}
    )
    uneven = Prescription.model_validate(uneven.as_record())
    with pytest.raises(DoseRefused, match="one strength of each"):
        calculate(recipe, uneven, INK, SECOND[0])


def test_the_parts_of_a_unit_stand_upon_each_other() -> None:
    found = program()
    assert [(unit.n, unit.part, unit.head) for unit in found.units[:4]] == [(1, 1, 0), (1, 2, 1), (2, 1, 0), (2, 2, 1)]
    first, second = found.units[:2]
    assert first.centre == second.centre
    assert first.commands[0] == b"T0" and second.commands[:2] == (b"T1", b"M400")
    lowest = min(Decimal(word[1:].decode()) for line in second.commands for word in line.split() if word.startswith(b"Z"))
    assert second.proof.layer_height is not None
    thinnest, thickest = second.proof.layer_height
    assert first.height + thinnest <= lowest <= first.height + thickest
    assert abs(second.net_volume.value - second.target_volume.value) < Decimal("0.02")


def test_an_overhang_is_refused() -> None:
    other = SecondActive(moiety="hydrochlorothiazide", basis="free form", prescribed=Milligram("12.5"), per="dose")
    with pytest.raises(CompileRefused, match="overhang"):
        compiled(PRESCRIPTION.model_copy(update={"second": other}))


def test_the_proof_sees_an_overhang_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipes.compile.stacking_reasons", lambda designs: [])
    other = SecondActive(moiety="hydrochlorothiazide", basis="free form", prescribed=Milligram("12.5"), per="dose")
    with pytest.raises(ProofRefused, match="the part that it stands on"):
        compiled(PRESCRIPTION.model_copy(update={"second": other, "days": 2}))


def test_a_machine_with_one_head_is_refused() -> None:
    machine = MACHINE.model_copy(update={"second_head": None})
    recipe = RECIPE.model_copy(update={"machine_digest": machine.digest})
    order = DoseOrder.create("O-1", recipe=recipe, ink=INK, cartridge=CARTRIDGE, prescription=PRESCRIPTION, second=SECOND)
    with pytest.raises(CompileRefused, match="has one head"):
        compile_program(
            order=order, recipe=recipe, ink=INK, cartridge=CARTRIDGE, machine=machine, today=TODAY, demonstration=True, second=SECOND
        )


def test_a_recipe_of_one_ink_on_a_machine_with_two_heads_is_refused() -> None:
    """A head that the run before left in use would print it."""
    single = load_recipe("cyclophosphamide")
    recipe = single.model_copy(update={"machine": MACHINE.id, "machine_digest": MACHINE.digest})
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    with pytest.raises(CompileRefused, match="has two heads"):
        compile_program(order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=MACHINE, today=TODAY, demonstration=True)


def test_cartridges_that_are_swapped_are_refused() -> None:
    assert SECOND is not None
    with pytest.raises((CompileRefused, DoseRefused)) as refused:
        compile_program(
            order=order_of(),
            recipe=RECIPE,
            ink=SECOND[0],
            cartridge=SECOND[1],
            machine=MACHINE,
            today=TODAY,
            demonstration=True,
            second=(INK, CARTRIDGE),
        )
    text = str(refused.value)
    assert "the order names cartridge SPI-DEMO-01-A, found HCT-DEMO-01-A" in text
    assert "the order names second cartridge HCT-DEMO-01-A, found SPI-DEMO-01-A" in text


def test_an_order_for_one_of_the_inks_is_refused() -> None:
    order = DoseOrder.create("O-1", recipe=RECIPE, ink=INK, cartridge=CARTRIDGE, prescription=PRESCRIPTION)
    with pytest.raises(CompileRefused, match="prints 2 inks, the order names 1"):
        compile_program(
            order=order, recipe=RECIPE, ink=INK, cartridge=CARTRIDGE, machine=MACHINE, today=TODAY, demonstration=True, second=SECOND
        )


def _in_part(n: int, part: int, change: Callable[[bytes], bytes]) -> bytes:
    content = program().planned
    start = content.index(f";UNIT {n} PART {part}\n".encode())
    end = content.index(f";END UNIT {n} PART {part}\n".encode())
    changed = change(content[start:end])
    assert changed != content[start:end]
    return content[:start] + changed + content[end:]


def _moved(section: bytes, axis: bytes, by: Decimal) -> bytes:
    lines = []
    for line in section.split(b"\n"):
        words = line.split(b" ")
        if words[0] in (b"G0", b"G1") and not line.startswith(b"G0 X190"):
            words = [axis + str(Decimal(word[1:].decode()) + by).encode() if word.startswith(axis) else word for word in words]
        lines.append(b" ".join(words))
    return b"\n".join(lines)


def test_the_program_holds() -> None:
    assert proof_of(program().planned).refusals == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: _in_part(1, 2, lambda s: s.replace(b"T1\n", b"T0\n")), "takes head T0 into use, and is for T1"),
        (lambda: _in_part(2, 1, lambda s: s.replace(b"T0\n", b"T1\n")), "takes head T1 into use, and is for T0"),
        (lambda: _in_part(1, 2, lambda s: s.replace(b"T1\nM400\n", b"")), "before the section has taken its head into use"),
        (lambda: _in_part(1, 2, lambda s: s.replace(b"T1\nM400\n", b"T1\n")), "before the change of head is waited for"),
        (lambda: _in_part(1, 2, lambda s: s.replace(b"T1\nM400\n", b"T1\nM400\nT0\nM400\n")), "taken into use once"),
        (lambda: _in_part(1, 2, lambda s: _moved(s, b"X", Decimal("1.2"))), "reaches"),
        (lambda: _in_part(1, 2, lambda s: _moved(s, b"X", Decimal(25))), "outside the unit's own place"),
        (lambda: _in_part(1, 2, lambda s: _moved(s, b"Z", Decimal("-1.5"))), "into what is printed"),
        (lambda: _in_part(1, 2, lambda s: _moved(s, b"Z", Decimal("1.5"))), "layer 1 is"),
        (lambda: program().planned.replace(b"M218 T1 X0.350", b"M218 T1 X0.850"), "another offset"),
        (lambda: program().planned.replace(b"M218 T1 X0.350 Y-0.200 Z0.100\n", b""), "M218"),
        (lambda: program().planned.replace(b"M104 T1 S35\n", b""), "each nozzle"),
        (lambda: program().planned.replace(b"M104 T1 S35\n", b"M104 T1 S40\n"), "set point"),
        (lambda: program().planned.replace(b"M104 T1 S0\n", b""), "each nozzle"),
        (lambda: program().planned.replace(b"UNIT 1 PART 1", b"UNIT 1 PART 2"), "no first part to stand on"),
        (lambda: program().planned.replace(b"E_AREA_MM2 165.13 58.90", b"E_AREA_MM2 58.90 165.13"), "header"),
    ],
)
def test_what_the_proof_refuses(content: Callable[[], bytes], words: str) -> None:
    refusals = proof_of(content()).refusals
    assert any(words in refusal for refusal in refusals), refusals


def test_the_sections_of_the_parts_in_another_order_are_refused() -> None:
    found = program()
    first, second = found.units[:2]
    refusals = proof_of(found.planned.replace(first.gcode + second.gcode, second.gcode + first.gcode)).refusals
    assert any("not in order" in refusal for refusal in refusals)


def test_each_part_is_corrected_by_itself() -> None:
    again = compile_unit(program(), 2, Decimal("0.97"), part=2)
    assert (again.n, again.part) == (2, 2)
    planned = program().units[3]
    assert again.target_volume.value == planned.target_volume.value * Decimal("0.97")
    assert compile_unit(program(), 2, Decimal("0.97"), part=1).target_volume.value == program().units[2].target_volume.value * Decimal(
        "0.97"
    )
    with pytest.raises(CompileRefused, match="there is no unit 2 in this program"):
        compile_unit(program(), 2, Decimal("0.97"))


def test_the_closure_of_each_part_is_its_own() -> None:
    """2 % more of the second ink is 0.8 % of the unit: the part is refused."""
    targets = [UnitTarget(u.n, u.strength, u.target_volume, *u.centre, part=u.part) for u in program().units]
    targets[1] = replace(targets[1], volume=targets[1].volume * Percent(98).fraction)
    proof = examine(program().planned, recipe=RECIPE, machine=MACHINE, units=targets, demonstration=True)
    assert any(refusal.startswith("unit 1 part 2: net volume") for refusal in proof.refusals)
    with pytest.raises(ProofRefused, match="has 1 head"):
        examine(
            program().planned,
            recipe=RECIPE,
            machine=MACHINE.model_copy(update={"second_head": None}),
            units=targets,
            demonstration=True,
        )
