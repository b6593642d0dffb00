"""Caplet, film, grid and solids from a file: closure over dose, assay, density, nozzle and layer, by the proof and an outside reader."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import gcodeparser
import numpy as np
import pytest
import shapely
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from shape_cases import FAMILIES, hexagon, recipe_of, stl_bytes, stl_geometry, wide_machine
from shapely import MultiLineString
from trimesh.intersections import mesh_multiplane

from audit.quantities import Microlitre, Milligram, Millimetre, MillimetrePerSecond, Year
from recipes.compile import compile_program, compile_unit
from recipes.errors import CompileRefused, GeometryRefused, ProofRefused
from recipes.gcode_check import UnitTarget, examine
from recipes.infill import layer_weights, plan_body
from recipes.library import load_demonstration
from recipes.model import DoseOrder, Intake
from recipes.shape_families import Caplet, Film, Grid, SizeBounds
from recipes.shapes import Range
from recipes.solids import PI, build_body
from recipes.toolpath import CHORD_HIGH

TODAY = "2026-11-20"
LAYER = Range(Decimal("0.50"), Decimal("0.40"), Decimal("0.60"))
BEAD = Range(Decimal("0.65"), Decimal("0.55"), Decimal("0.80"))
SPEED = MillimetrePerSecond(20)
ALL = [*FAMILIES, "stl", "stl by height"]


def geometry_of(name):
    if name.startswith("stl"):
        return stl_geometry(hexagon(), "height" if name == "stl by height" else "uniform"), stl_bytes(hexagon())
    return FAMILIES[name], None


def compiled(name, dose="20", *, days=1, changes=None, parameters=None, age=None):
    geometry, solid = geometry_of(name)
    recipe, machine = recipe_of(geometry, parameters=parameters), wide_machine()
    prescription, ink, cartridge = load_demonstration("cyclophosphamide", TODAY)
    rule = recipe.dose.model_copy(update={"basis": "mg", "bsa_formula": None, "body": None})
    sources = {name: source for name, source in recipe.sources.items() if name != "dose.body"}
    recipe = recipe.model_copy(update={"dose": rule, "sources": sources})
    prescription = prescription.model_copy(
        update={"prescribed": Milligram(dose), "schedule": (Intake(time="once"),), "days": days, "age": age}
    )
    ink = ink.model_copy(update=changes or {})
    order = DoseOrder.create("O", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    return compile_program(
        order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today=TODAY, demonstration=True, solid=solid
    )


def read_by_a_stranger(planned):
    """Net µL, laid-down µL of each height, and furthest point from the mean place, per unit, by a parser from outside."""
    area, unit, z, found = None, None, None, {}
    for line in gcodeparser.parse_gcode_lines(planned.decode("ascii"), include_comments=True):
        word = line.comment.split()
        if line.command[0] == ";":
            if word[0] == "E_AREA_MM2":
                area = Decimal(word[1])
            elif word[0] == "UNIT":
                unit = found.setdefault(int(word[1]), {"net": Decimal(0), "layers": {}})
            elif word[:2] == ["END", "UNIT"]:
                unit = None
        elif line.command in (("G", 0), ("G", 1)) and unit is not None:
            z = line.get_param("Z", default=z)
            e = Decimal(str(line.get_param("E", default=0))) * area
            unit["net"] += e
            if line.get_param("X") is not None and e:
                unit["layers"][z] = unit["layers"].get(z, 0) + e
    return found


def closes(name, data):
    """Compile one unit of drawn dose, assay, density, nozzle and layer, and hold both readings of it against the target."""
    dose = Decimal(data.draw(st.integers(20, 80), label="dose in half mg")) / 2
    assay = data.draw(st.decimals("38", "42", places=2), label="assay")
    density = data.draw(st.decimals("1.17", "1.23", places=3), label="density")
    bead = Decimal(data.draw(st.sampled_from(["0.55", "0.65", "0.80"]), label="bead of the nozzle"))
    layer = data.draw(st.decimals("0.40", "0.55", places=2), label="layer")
    parameters = {
        "layer_height": {"set_point": f"{layer} mm", "low": f"{layer - Decimal('0.08')} mm", "high": f"{layer + Decimal('0.10')} mm"},
        "bead_width": {"set_point": f"{bead} mm", "low": f"{bead * Decimal('0.72')} mm", "high": f"{bead * Decimal('1.35')} mm"},
    }
    _, lot, _ = load_demonstration("cyclophosphamide", TODAY)
    program = compiled(name, dose, changes={"assay": type(lot.assay)(assay), "density": type(lot.density)(density)}, parameters=parameters)
    target = dose * 1000 / assay / density
    (seen,) = read_by_a_stranger(program.planned).values()
    assert abs(seen["net"] - target) <= target * Decimal("0.0001")
    (unit,) = program.proof.units
    assert abs(unit.net.value - seen["net"]) <= Decimal("1e-9")
    assert abs(unit.closure) <= Decimal("0.01")
    half_step = Decimal("165.13") / 3200 / 2
    # The step that the end is rounded to is judged against what was written.
    assert abs(unit.step_closure) * target / 100 <= max(target * Decimal("0.0001"), half_step + abs(seen["net"] - target))
    assert abs(sum(seen["layers"].values()) - target) <= target * Decimal("0.0001")


@pytest.mark.parametrize("name", ALL)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_dose_closure_over_dose_assay_density_nozzle_and_layer(name, data):
    closes(name, data)


@pytest.mark.deep
@pytest.mark.parametrize("name", ALL)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_dose_closure_at_length(name, data):
    closes(name, data)


@pytest.mark.parametrize("name", ALL)
def test_equal_inputs_give_equal_bytes(name):
    assert compiled(name, days=3).planned == compiled(name, days=3).planned


@pytest.mark.parametrize("name", ALL)
def test_beads_are_drawn_in_chords_and_the_next_one_is_near(name):
    """No bead is drawn across what is filled already: nowhere is a step longer than a chord."""
    for dose in ("12", "20", "33"):
        path = compiled(name, dose).basis.pieces[0].design.body
        strokes = [stroke.points for layer in path.layers for stroke in layer.strokes]
        assert max(math.dist(a, b) for points in strokes for a, b in pairwise(points)) <= 1.6 * CHORD_HIGH * 1000
        if not name.startswith("stl"):
            assert [len(layer.strokes) for layer in path.layers] == [1] * len(path.layers)
            for below, above in pairwise(path.layers):
                assert math.dist(below.strokes[-1].points[-1], above.strokes[0].points[0]) <= 3000


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=15, deadline=None)
@given(volume=st.decimals(250, 1000, places=3).map(Microlitre))
def test_formula_target_and_trimesh_agree(name, volume):
    model = {"caplet": Caplet, "film": Film, "grid": Grid}[FAMILIES[name]["family"]]
    body = build_body(model.model_validate(FAMILIES[name]), volume, layer_height=LAYER, bead_width=BEAD)
    assert abs(body.formula_volume - volume.value) <= volume.value * Decimal("1e-20")
    assert body.mesh.is_watertight and body.mesh.is_winding_consistent
    assert body.mesh_volume == pytest.approx(float(volume.value), rel=body.facet_bound)
    assert [float(side) for side in body.sides] == pytest.approx(body.mesh.extents, rel=2e-3)
    assert LAYER.low <= body.layer_height <= LAYER.high
    assert abs(body.layer_height * body.layers - body.height) < Decimal("1e-24")


def test_a_flat_caplet_is_a_stadium_by_the_textbook():
    body = build_body(Caplet.model_validate(FAMILIES["caplet"]), Microlitre("400"), layer_height=LAYER, bead_width=BEAD)
    by_hand = (PI / 4 * body.width**2 + body.width * body.straight) * body.height
    assert abs(by_hand - 400) < Decimal("1e-20")
    assert abs(body.length - 2 * body.width) < Decimal("1e-24")


def test_layers_of_a_dome_are_its_integrals():
    body = build_body(Caplet.model_validate(FAMILIES["caplet, domed"]), Microlitre("400"), layer_height=LAYER, bead_width=BEAD)
    weights = layer_weights(body)
    assert math.fsum(weights) == pytest.approx(400, rel=1e-12)
    # Outside figure: trimesh's body of facets, cut at the layers' boundaries.
    cuts = 50
    each = float(body.layer_height)
    for index, weight in enumerate(weights):
        heights = [each * (index + (k + 0.5) / cuts) for k in range(cuts)]
        found, _, _ = mesh_multiplane(body.mesh, plane_origin=[0, 0, 0], plane_normal=[0, 0, 1], heights=heights)
        by_facets = sum(shapely.build_area(shapely.multilinestrings(np.round(cut, 6))).area for cut in found) * each / cuts
        assert weight == pytest.approx(by_facets, rel=1.5e-2)
    assert [round(weight, 9) for weight in weights] == sorted((round(weight, 9) for weight in weights), reverse=True)
    assert sum(layer.volume for layer in plan_body(body, bead_width=BEAD, speed=SPEED).layers) == Fraction(400)


@pytest.mark.parametrize("name", ["caplet", "caplet, domed", "film", "film of rings", "grid"])
def test_beads_cover_what_the_body_covers(name):
    model = {"caplet": Caplet, "film": Film, "grid": Grid}[FAMILIES[name]["family"]]
    body = build_body(model.model_validate(FAMILIES[name]), Microlitre("389.31"), layer_height=LAYER, bead_width=BEAD)
    path = plan_body(body, bead_width=BEAD, speed=SPEED, perimeters=2 if name == "film" else None)
    for index in (0, 1, len(path.layers) - 1):
        layer = path.layers[index]
        # One bead without a stop; the next layer begins within two beads of where this one ends.
        assert len(layer.strokes) == 1
        lines = MultiLineString([[(x / 1000, y / 1000) for x, y in stroke.points] for stroke in layer.strokes])
        swept = lines.buffer(layer.bead_width / 2, cap_style="flat")
        area = float(layer.volume) / layer.thickness
        assert swept.area == pytest.approx(area, rel=0.06)
    for below, above in zip(path.layers, path.layers[1:], strict=False):
        assert math.dist(below.strokes[-1].points[-1], above.strokes[0].points[0]) <= 1500


def test_a_grid_is_open():
    body = build_body(Grid.model_validate(FAMILIES["grid"]), Microlitre("389.31"), layer_height=LAYER, bead_width=BEAD)
    opening = (body.width - body.strand) / (body.strands - 1) - body.strand
    assert opening >= Decimal("0.3")
    assert float(body.strand * ((body.strands + 1) * body.width - body.strands * body.strand) / body.width**2) == pytest.approx(0.55)


BAD_GEOMETRY = [
    ("caplet", {"length_to_width": "1"}, "longer than wide"),
    ("caplet", {"crown": "1"}, "share"),
    ("caplet", {"height_to_width": "0"}, "above zero"),
    ("film", {"corner_to_width": "0.6"}, "0.45"),
    ("grid", {"fill": "0.95"}, "fill"),
    ("grid", {"bounds": {**FAMILIES["grid"]["bounds"], "smallest_side": "50 mm"}}, "below largest_side"),
]


@pytest.mark.parametrize(("name", "changed", "said"), BAD_GEOMETRY)
def test_a_geometry_that_is_no_shape_is_not_read(name, changed, said):
    model = {"caplet": Caplet, "film": Film, "grid": Grid}[name]
    with pytest.raises(ValidationError, match=said):
        model.model_validate(FAMILIES[name] | changed)


REFUSED = [
    ("caplet", {"largest_side": "10 mm"}, "largest side"),
    ("caplet", {"smallest_side": "8 mm"}, "smallest side"),
    ("caplet", {"largest_aspect": "1.5"}, "times as long"),
    ("caplet", {"swallowable": [{"from_age": "6 years", "largest": "8 mm"}]}, "no age is stated"),
]


@pytest.mark.parametrize(("name", "bound", "said"), REFUSED)
def test_a_unit_out_of_bounds_is_refused(monkeypatch, name, bound, said):
    monkeypatch.setitem(FAMILIES, name, FAMILIES[name] | {"bounds": FAMILIES[name]["bounds"] | bound})
    with pytest.raises(CompileRefused, match=said):
        compiled(name)


def test_what_can_be_swallowed_goes_by_age():
    bounds = SizeBounds.model_validate(
        {
            "smallest_side": "1 mm",
            "largest_side": "20 mm",
            "largest_aspect": "9",
            "swallowable": [{"from_age": "6 years", "largest": "8 mm"}, {"from_age": "12 years", "largest": "16 mm"}],
        }
    )
    sides = (Decimal(12), Decimal(6), Decimal(4))
    assert bounds.reasons(sides, Year(12)) == []
    assert "8 mm at most" in bounds.reasons(sides, Year(11))[0]
    assert "bands begin at 6 years" in bounds.reasons(sides, Year(3))[0]


def test_the_proof_knows_each_shape_by_its_own_formula():
    """A program of one family is refused under the recipe of another, all other figures being alike."""
    for name in ALL:
        program = compiled(name)
        recipe, machine = program.basis.recipe, program.basis.machine
        targets = [UnitTarget(unit.n, unit.strength, unit.target_volume, *unit.centre) for unit in program.units]
        for other in ("caplet", "grid", "stl"):
            geometry = (
                type(recipe).model_validate({**recipe.as_record(), "geometry": geometry_of(other)[0]} | {"second_ink": None}).geometry
            )
            if geometry == recipe.geometry or {name, other} <= {"caplet", "caplet, domed"}:
                continue
            foreign = recipe.model_copy(update={"geometry": geometry})
            content = program.planned.replace(recipe.digest.encode(), foreign.digest.encode())
            assert examine(content, recipe=foreign, machine=machine, units=targets, demonstration=True).refusals, (name, other)


@pytest.mark.parametrize("name", ALL)
def test_a_unit_that_is_moved_or_spread_is_refused(name):
    program = compiled(name)
    recipe, machine = program.basis.recipe, program.basis.machine
    targets = [UnitTarget(unit.n, unit.strength, unit.target_volume, unit.centre[0] + 3, unit.centre[1]) for unit in program.units]
    assert examine(program.planned, recipe=recipe, machine=machine, units=targets, demonstration=True).refusals
    half = [UnitTarget(unit.n, unit.strength, Microlitre(unit.target_volume.value * 2), *unit.centre) for unit in program.units]
    with pytest.raises(ProofRefused):
        raise ProofRefused(examine(program.planned, recipe=recipe, machine=machine, units=half, demonstration=True).refusals)


def test_a_grid_whose_openings_would_close_is_refused():
    grid = FAMILIES["grid"] | {"smallest_opening": "3 mm"}
    with pytest.raises(GeometryRefused, match="openings of 3 mm"):
        build_body(Grid.model_validate(grid), Microlitre("389.31"), layer_height=LAYER, bead_width=BEAD)


def test_a_corrected_unit_of_each_family_is_proved():
    rule = {"method": "kalman", "prior": "4 %", "repeatability": "1 %", "drift": "0.3 %", "largest": "4 %", "ink_limit": "7 %"}
    for name in ALL:
        program = compiled(name)
        recipe = program.basis.recipe
        control = type(recipe.control).model_validate({**recipe.control.as_record(), "dose_correction": rule})
        basis = program.basis
        changed = recipe.model_copy(update={"control": control})
        preamble = program.preamble.replace(recipe.digest.encode(), changed.digest.encode())
        corrected = compile_unit(replace(program, preamble=preamble, basis=replace(basis, recipe=changed)), 1, Decimal("1.03"))
        assert corrected.net_volume.value == pytest.approx(program.units[0].target_volume.value * Decimal("1.03"), rel=Decimal("0.0001"))


@example(volume=Decimal("0"))
@given(volume=st.decimals("-5", "0", places=2))
def test_no_volume_has_no_shape(volume):
    for name in FAMILIES:
        model = {"caplet": Caplet, "film": Film, "grid": Grid}[FAMILIES[name]["family"]]
        with pytest.raises(GeometryRefused):
            build_body(model.model_validate(FAMILIES[name]), Microlitre(volume), layer_height=LAYER, bead_width=BEAD)


def test_a_film_keeps_its_thickness():
    thin, thick = compiled("film", "15"), compiled("film", "30")
    assert thin.units[0].shape["height_mm"] == thick.units[0].shape["height_mm"] == "1.60"
    assert Millimetre(thick.units[0].shape["length_mm"]) > Millimetre(thin.units[0].shape["length_mm"])
