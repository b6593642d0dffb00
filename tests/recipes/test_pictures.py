"""Pictures: what they show of the exact solid and of the path, and that equal inputs give equal bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
import test_shape_families as families
from test_compile import compiled as compiled_case

from audit.release.document_picture import drawable
from recipes.compile import compile_program
from recipes.library import load_demonstration, load_machine, load_recipe, load_second
from recipes.model import DoseOrder
from recipes.outlines import outlines_of
from recipes.picture_files import picture_files
from recipes.pictures import draw_layers, draw_unit
from recipes.stl_solid import bound_solid

SVG = "{http://www.w3.org/2000/svg}"


def drawn(name):
    program = families.compiled(name)
    design, basis = program.basis.pieces[0].design, program.basis
    file = bound_solid(basis.recipe.geometry, families.geometry_of(name)[1]) if name.startswith("stl") else None
    return design, outlines_of(design, basis.recipe, basis.machine, file)


@pytest.mark.parametrize("name", families.ALL)
def test_the_drawing_is_of_the_solid_and_of_the_path(name):
    design, outlines = drawn(name)
    assert len(outlines) == len(design.body.layers)
    assert outlines[-1].high == pytest.approx(design.body.height, abs=2)
    box = [max(point[axis] for o in outlines for ring in o.rings for point in ring) for axis in (0, 1)]
    assert 2 * box[0] / 1000 == pytest.approx(float(design.shape["length_mm"]), abs=0.03)
    # Every bead lies on its layer: no further out than the outline.
    for outline, layer in zip(outlines, design.body.layers, strict=True):
        reach = max(abs(x) for ring in outline.rings for x, _ in ring)
        assert max(abs(x) for stroke in layer.strokes for x, _ in stroke.points) <= reach + 20
    unit, layers = draw_unit(outlines, design.shape, "20 mg"), draw_layers(outlines, design.body, "20 mg")
    words = [text.text for text in ElementTree.fromstring(unit).iter(f"{SVG}text")]
    assert f"{design.shape['length_mm']} mm" in words and f"{design.shape['height_mm']} mm" in words
    assert any(word.startswith(f"{len(outlines)} layer") for word in words)
    shown = ElementTree.fromstring(layers)
    captions = [text.text for text in shown.iter(f"{SVG}text")]
    assert f"Layer {len(outlines)} of {len(outlines)}" in captions and "travel" in captions
    chosen = sorted({0, 1, len(outlines) // 2, len(outlines) - 1})
    strokes = sum(len(design.body.layers[index].strokes) for index in chosen)
    # A start and a stop for each bead, and one of each in the legend.
    assert len(list(shown.iter(f"{SVG}circle"))) == len(list(shown.iter(f"{SVG}rect"))) == strokes + 1
    assert drawable(unit) and drawable(layers)
    assert draw_unit(outlines, design.shape, "20 mg") == unit


def test_travel_is_drawn_where_the_nozzle_travels():
    design, outlines = drawn("stl")
    dashed = re.compile(rb"<path d=\"(M[^\"]*)\"[^>]*stroke-dasharray")
    found = dashed.findall(draw_layers(outlines, design.body, "x"))
    chosen = sorted({0, 1, len(outlines) // 2, len(outlines) - 1})
    travels = 0
    for index in chosen:
        ends = [] if index == 0 else [design.body.layers[index - 1].strokes[-1].points[-1]]
        for stroke in design.body.layers[index].strokes:
            travels += bool(ends) and ends[-1] != stroke.points[0]
            ends.append(stroke.points[-1])
    assert sum(data.count(b"M") for data in found) == travels + 1


@pytest.mark.parametrize(("case", "names"), [("hydrocortisone", ["1.25-mg", "2.5-mg"]), ("minoxidil", [])])
def test_each_strength_has_its_pictures_and_what_is_dispensed_has_none(case, names):
    files = picture_files(compiled_case(case))
    assert sorted(files) == sorted(f"pictures/{name}-{kind}.svg" for name in names for kind in ("unit", "layers"))
    assert picture_files(compiled_case(case)) == files


def test_each_part_of_a_unit_of_two_inks_has_its_pictures():
    recipe = load_recipe("polypill")
    prescription, ink, cartridge = load_demonstration("polypill", "2026-11-20")
    second = load_second("polypill", "2026-11-20")
    order = DoseOrder.create("O", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
    machine = load_machine(recipe.machine)
    program = compile_program(
        order=order, recipe=recipe, ink=ink, cartridge=cartridge, machine=machine, today="2026-11-20", demonstration=True, second=second
    )
    files = picture_files(program)
    assert {name.split("-part-")[1][0] for name in files} == {"1", "2"}
    assert all(drawable(data) for data in files.values())
