"""The writer: sums of E, its formats, and what stands in a unit."""

import re
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit.quantities import Celsius, Microlitre, MicrolitrePerSecond, MillimetrePerSecond, SquareMillimetre
from recipes.gcode_writer import Motion, heat_commands, write_dispense, write_park, write_preamble, write_prime, write_unit
from recipes.shapes import Range, build_solid, slice_solid
from recipes.toolpath import plan_dispense, plan_unit

MOTION = Motion(
    e_area=SquareMillimetre("165.13"),
    flow=MicrolitrePerSecond(7),
    travel=MillimetrePerSecond(80),
    z_travel=MillimetrePerSecond(20),
    print_limit=MillimetrePerSecond(120),
    retraction=Microlitre(3),
    retraction_rate=MicrolitrePerSecond(8),
    increment=Microlitre(2),
    surface_z=0,
    clear_z=7000,
    park=(190_000, 190_000, 60_000),
    purge=(8000, 8000, 2000),
)
E_WORD = re.compile(rb" E(-?[0-9]+\.[0-9]{5})(?: |$)")


def unit_of(volume, n=1):
    layer = Range(Decimal("0.50"), Decimal("0.40"), Decimal("0.60"))
    bead = Range(Decimal("0.65"), Decimal("0.55"), Decimal("0.80"))
    solid = build_solid("cylinder", Microlitre(volume), aspect=Decimal("0.4"), layer_height=layer)
    path = plan_unit(slice_solid(solid), Microlitre(volume), bead_width=bead, speed=MillimetrePerSecond(20))
    return write_unit(f"UNIT {n}", path, (35_000, 60_000), MOTION)


def net(commands):
    return sum(Decimal(word.decode()) for line in commands for word in E_WORD.findall(line))


@settings(max_examples=30, deadline=None)
@given(volume=st.decimals(min_value=90, max_value=1100, places=4))
def test_lines_of_a_unit_add_up_to_the_target(volume):
    written = unit_of(volume)
    assert abs(net(written.commands) - volume / Decimal("165.13")) <= Decimal("0.000005")
    assert written.cumulative_nl[-1] == pytest.approx(float(volume) * 1000, abs=1.5)
    assert len(written.commands) == len(written.cumulative_nl)


def test_a_unit_goes_up_first_and_is_balanced():
    written = unit_of("389.31", n=7)
    assert written.commands[0].startswith(b"G0 Z7.000 F1200.000")
    assert written.commands[-1] == b"M400"
    assert written.commands[-2] == b"G0 X190.000 Y190.000 F4800.000"
    assert written.gcode.startswith(b";UNIT 7\n") and written.gcode.endswith(b"M400\n;END UNIT 7\n")
    pumps = [line for line in written.commands if re.match(rb"G1 E", line)]
    assert [line.split(b" ")[1] for line in pumps] == [b"E0.00908", b"E0.00909", b"E-0.00908", b"E-0.00909"]
    assert min(written.cumulative_nl) == 0


def test_one_format_only():
    allowed = re.compile(rb"M400|G[01](?: X-?\d+\.\d{3} Y-?\d+\.\d{3})?(?: Z-?\d+\.\d{3})?(?: E-?\d+\.\d{5})?(?: F\d+\.\d{3})?")
    written = unit_of("389.31")
    assert all(allowed.fullmatch(line) for line in written.commands)
    assert all(len(line) <= 96 for line in written.commands)


def test_dispensing_moves_little_at_a_time():
    written = write_dispense("UNIT 1", plan_dispense(Microlitre("45.9"), increment=Microlitre(2)), (35_000, 60_000), MOTION)
    moved = [abs(Fraction(word.decode())) * Fraction("165.13") for line in written.commands for word in E_WORD.findall(line)]
    assert max(moved) <= Fraction("2.002")
    assert abs(net(written.commands) * Decimal("165.13") - Decimal("45.9")) <= Decimal("0.001")


def test_priming_ends_retracted():
    written = write_prime(plan_dispense(Microlitre(120), increment=Microlitre(2)), MOTION)
    assert abs(net(written.commands) * Decimal("165.13") - Decimal(117)) <= Decimal("0.002")
    assert written.gcode.startswith(b";PRIME\n") and written.gcode.endswith(b";END PRIME\n")


def test_parking_lifts_before_it_crosses():
    assert write_park(MOTION).commands[:2] == (b"G0 Z60.000 F1200.000", b"G0 X190.000 Y190.000 F4800.000")


def test_header_and_temperatures():
    header = write_preamble(recipe="a@1 00", machine="b@2 11", e_areas=[SquareMillimetre("165.13")], demonstration=True)
    assert header == b";DOSEWRIGHT 1\n;RECIPE a@1 00\n;MACHINE b@2 11\n;E_AREA_MM2 165.13\n;DEMONSTRATION not for patients\n"
    plain = write_preamble(recipe="a@1 00", machine="b@2 11", e_areas=[SquareMillimetre("165.13")], demonstration=False)
    assert b"DEMONSTRATION" not in plain
    assert heat_commands([Celsius("40")], Celsius("20.50")) == ("M104 S40", "M140 S20.5")
