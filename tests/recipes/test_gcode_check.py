"""The proof: single deviations, and seeded corruptions judged by a reading in floats that shares nothing with it."""

import math
import random
import re
import sys
from functools import cache

import pytest

from recipes.compile import compile_program
from recipes.errors import ProofRefused
from recipes.gcode_check import UnitTarget, examine, prove
from recipes.gcode_values import nanometres
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import DoseOrder

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


# A stranger's reading in floats: what is certainly harmful.


def harm(case, content):
    """Reasons for which a program must be refused: volume off by 0.5 %, outside the envelope or a validated range."""
    recipe, machine, _, targets = program_of(case)
    area, reasons, net = float(machine.e_area.value), set(), {}
    box = machine.envelope
    sides = {"X": (box.x_min, box.x_max), "Y": (box.y_min, box.y_max), "Z": (box.z_min, box.z_max)}
    flow, travel, layer = recipe.parameters.flow_rate, recipe.parameters.travel_speed, recipe.parameters.layer_height
    at, feed, unit, last_z, heats = {"X": None, "Y": None, "Z": None}, None, None, None, []
    for line in content.decode("ascii").split("\n"):
        if match := re.fullmatch(r";UNIT (\d+)", line):
            unit, feed, last_z = int(match[1]), None, float(machine.plate.surface_z.value)
        elif line.startswith(";END"):
            unit = None
        elif match := re.fullmatch(r"(M104|M140) S([\d.]+)", line):
            heats.append((match[1], float(match[2])))
        words = {word[0]: float(word[1:]) for word in line.split(" ")[1:]} if re.match(r"G[01] ", line) else {}
        if not words:
            continue
        feed = words.get("F", feed)
        before = dict(at)
        for axis in "XYZ":
            if axis in words:
                at[axis] = words[axis]
                low, high = sides[axis]
                if not float(low.value) <= words[axis] <= float(high.value):
                    reasons.add("envelope")
        known = None not in before.values()
        length = math.dist([before[a] for a in "XYZ"], [at[a] for a in "XYZ"]) if known else 0
        e = words.get("E", 0.0)
        if unit is not None:
            net[unit] = net.get(unit, 0.0) + e * area
        if e > 0 and length > 0 and feed:
            rate = e * area / (length / feed * 60)
            slack = 2e-5 * area / (length / feed * 60)
            if not float(flow.low.value) - slack <= rate <= float(flow.high.value) + slack:
                reasons.add("flow")
            if unit is not None and last_z is not None and at["Z"] != last_z:
                step = at["Z"] - last_z
                if not float(layer.low.value) - 0.0015 <= step <= float(layer.high.value) + 0.0015:
                    reasons.add("layer height")
                last_z = at["Z"]
        if not e and ("X" in words or "Y" in words) and feed and feed / 60 > float(travel.high.value) + 0.001:
            reasons.add("travel speed")
    for target in targets:
        if abs(net.get(target.n, 0.0) / float(target.volume.value) - 1) > 0.005:
            reasons.add("volume")
    nozzle, plate = (float(p.set_point.value) for p in (recipe.parameters.nozzle_temperature, recipe.parameters.plate_temperature))
    if sorted(heats) != sorted([("M104", nozzle), ("M140", plate), ("M104", 0.0), ("M140", 0.0)]):
        reasons.add("temperature")
    return reasons


def unit_span(lines, n):
    return lines.index(f";UNIT {n}"), lines.index(f";END UNIT {n}")


def drop(rng, lines, units):
    del lines[rng.randrange(len(lines) - 1)]


def drop_several(rng, lines, units):
    start = rng.randrange(len(lines) - 30)
    del lines[start : start + rng.randrange(2, 30)]


def scale_e(rng, lines, units):
    where = rng.choice([i for i, line in enumerate(lines) if " E" in line])
    factor = rng.choice([-1, 0.1, 0.5, 0.9, 1.05, 1.5, 3, 20])
    lines[where] = re.sub(r"E(-?[\d.]+)", lambda m: f"E{float(m[1]) * factor:.5f}", lines[where])


def scale_all_e(rng, lines, units):
    start, stop = unit_span(lines, rng.randint(1, units))
    factor = rng.choice([0.9, 0.97, 0.99, 1.01, 1.029, 1.1])
    for i in range(start, stop):
        lines[i] = re.sub(r"E([\d.]+)", lambda m: f"E{float(m[1]) * factor:.5f}", lines[i])


def no_unretract(rng, lines, units):
    start, stop = unit_span(lines, rng.randint(1, units))
    first = next(i for i in range(start, stop) if lines[i].startswith("G1 E"))
    del lines[first : first + rng.randint(1, 2)]


def move_unit(rng, lines, units):
    start, stop = unit_span(lines, rng.randint(1, units))
    by, axis = rng.choice([-40, -25, -3, -0.8, 0.8, 3, 25, 40]), rng.choice("XY")
    for i in range(start, stop):
        if "190.000" not in lines[i]:
            lines[i] = re.sub(rf"{axis}(-?[\d.]+)", lambda m: f"{axis}{float(m[1]) + by:.3f}", lines[i])


def heat(rng, lines, units):
    where = rng.choice([i for i, line in enumerate(lines) if line.startswith(("M104", "M140"))])
    lines[where] = lines[where].split("S")[0] + f"S{rng.choice([0, 5, 41, 90, 240])}"


def swap(rng, lines, units):
    a, b = rng.randrange(5, len(lines) - 1), rng.randrange(5, len(lines) - 1)
    lines[a], lines[b] = lines[b], lines[a]


def swap_neighbours(rng, lines, units):
    a = rng.randrange(5, len(lines) - 2)
    lines[a], lines[a + 1] = lines[a + 1], lines[a]


def swap_layers(rng, lines, units):
    heights = [i for i, line in enumerate(lines) if line.startswith("G0 Z")]
    a, b = rng.choice(heights), rng.choice(heights)
    lines[a], lines[b] = lines[b], lines[a]


def double(rng, lines, units):
    a = rng.randrange(len(lines) - 1)
    lines.insert(a, lines[a])


def digit(rng, lines, units):
    where = rng.choice([i for i, line in enumerate(lines) if line and line[0] in "GM"])
    places = [i for i, letter in enumerate(lines[where]) if letter.isdigit()]
    place = rng.choice(places)
    lines[where] = lines[where][:place] + rng.choice("0123456789") + lines[where][place + 1 :]


def feed(rng, lines, units):
    where = rng.choice([i for i, line in enumerate(lines) if " F" in line])
    factor = rng.choice([0.1, 0.4, 0.8, 1.2, 2, 10])
    lines[where] = re.sub(r"F([\d.]+)", lambda m: f"F{float(m[1]) * factor:.3f}", lines[where])


def foreign(rng, lines, units):
    word = rng.choice(
        ["M221 S105", "M82", "G92 E0", "G91", "M302 S0", "M500", "G2 X10.000 Y10.000 I1 J1", "M104 S200", "T1", "G1 E5.00000 F30.000"]
    )
    lines.insert(rng.randrange(len(lines) - 1), word)


def swap_units(rng, lines, units):
    first, second = unit_span(lines, 1), unit_span(lines, 2)
    a, b = lines[first[0] : first[1] + 1], lines[second[0] : second[1] + 1]
    lines[first[0] : second[1] + 1] = b + a if rng.random() < 0.5 else a + a


CORRUPTIONS = (
    drop,
    drop_several,
    scale_e,
    scale_all_e,
    no_unretract,
    move_unit,
    heat,
    swap,
    swap_neighbours,
    swap_layers,
    double,
    digit,
    feed,
    foreign,
    swap_units,
)


def corrupt(case, seed):
    rng = random.Random(seed)
    _, _, program, targets = program_of(case)
    lines = program.planned.decode("ascii").split("\n")
    how = CORRUPTIONS[seed % len(CORRUPTIONS)]
    how(rng, lines, len(targets))
    return how.__name__, "\n".join(lines).encode("ascii")


def survey(count):
    """Corrupt programs; return the harmful ones that were not refused, and what was let through as harmless."""
    missed, let_through, harmful = [], {}, 0
    for seed in range(count):
        case = CASES[(seed // len(CORRUPTIONS)) % len(CASES)]
        name, content = corrupt(case, seed)
        if content == program_of(case)[2].planned:
            continue
        why, refused = harm(case, content), refusals(case, content)
        harmful += bool(why)
        if why and not refused:
            missed.append((case, seed, name, sorted(why)))
        elif not refused:
            let_through[name] = let_through.get(name, 0) + 1
    return missed, let_through, harmful


def test_harmful_corruptions_are_refused():
    missed, let_through, harmful = survey(600)
    sys.stdout.write(f"harmful {harmful}; let through as harmless: {let_through}\n")
    assert missed == []
    assert harmful >= 250


@pytest.mark.deep
def test_many_harmful_corruptions_are_refused():
    missed, let_through, harmful = survey(4000)
    sys.stdout.write(f"harmful {harmful}; let through as harmless: {let_through}\n")
    assert missed == []
    assert harmful >= 2000


def test_foreign_words_are_refused_anywhere():
    for seed in range(13, 13 + 15 * 40, 15):
        name, content = corrupt("cyclophosphamide", seed)
        assert name == "foreign"
        assert refusals("cyclophosphamide", content)
