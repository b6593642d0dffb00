"""STL files from hostile hands: each refused by name, within seconds and little memory; and what a good one becomes."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from shape_cases import hexagon, stl_bytes, stl_geometry

from audit.quantities import Microlitre
from recipes.errors import GeometryRefused, SolidFileRefused
from recipes.shape_families import StlSolid
from recipes.shapes import Range
from recipes.stl_checks import solid_of
from recipes.stl_file import LARGEST_FILE, MOST_FACETS, check_size, read_stl
from recipes.stl_solid import bound_solid, implausible, read_solid, scale_solid, slice_body

LAYER = Range(Decimal("0.50"), Decimal("0.40"), Decimal("0.60"))


def box(size=(8.0, 8.0, 4.0), at=(0.0, 0.0, 0.0)):
    mesh = trimesh.creation.box(extents=size)
    mesh.apply_translation(at)
    return mesh


def both(*meshes):
    return trimesh.util.concatenate(meshes)


def with_facets(mesh, faces):
    return trimesh.Trimesh(vertices=mesh.vertices, faces=faces, process=False)


def ascii_of(mesh):
    lines = ["solid tablet"]
    for triangle in mesh.triangles:
        lines += [
            "facet normal 0 0 0",
            " outer loop",
            *(f"  vertex {x:.6e} {y:.6e} {z:.6e}" for x, y, z in triangle),
            " endloop",
            "endfacet",
        ]
    return ("\n".join(lines) + "\nendsolid tablet\n").encode()


def changed_corner(value):
    content = bytearray(stl_bytes(box()))
    content[96:100] = struct.pack("<f", value)
    return bytes(content)


def spikes(count):
    """Closed, and every facet lies across very many others: long slivers through one middle."""
    turn = np.linspace(0, np.pi, count, endpoint=False)
    meshes = []
    for angle in turn:
        sliver = trimesh.creation.box(extents=(10, 0.01, 0.01))
        sliver.apply_transform(trimesh.transformations.rotation_matrix(angle, [0, 0, 1]))
        meshes.append(sliver)
    return both(*meshes)


def tangle(around, turned):
    """Closed and of one piece, its points strewn about: every facet lies across nearly every other."""
    torus = trimesh.creation.torus(5, 2, major_sections=around, minor_sections=around)
    points = np.random.default_rng(turned).uniform(-8, 8, torus.vertices.shape)
    mesh = trimesh.Trimesh(vertices=points, faces=torus.faces, process=False)
    return mesh if mesh.volume > 0 else with_facets(mesh, mesh.faces[:, ::-1])


def bent():
    """A closed body of one piece that goes through itself: a bar whose far end is drawn back through its own side."""
    mesh = box((10, 2, 2)).subdivide().subdivide()
    vertices = mesh.vertices.copy()
    far = vertices[:, 0] > 4.9
    vertices[far] += [-7.5, 0.3, 2.2]
    vertices[far] += np.array([0.0, 0.0, -2.0])
    return trimesh.Trimesh(vertices=vertices, faces=mesh.faces, process=False)


GOOD = stl_bytes(hexagon())
COUNT_LIES = GOOD[:80] + (4_000_000_000).to_bytes(4, "little") + GOOD[84:]
FACET = b"facet normal 0 0 1\nouter loop\nvertex 0 0 0\nvertex 1 0 0\nvertex 0 1 0\nendloop\nendfacet\n"
HOSTILE = {
    "empty": (b"", "is empty"),
    "a few bytes": (b"solid", "0 facets"),
    "a header alone": (b"\0" * 60, "header"),
    "too large": (b"\0" * (LARGEST_FILE + 1), "bytes"),
    "lying count": (COUNT_LIES, "4000000000 facets"),
    "truncated": (GOOD[:-7], "part of one"),
    "one facet short": (GOOD[:-50], "facets"),
    "trailing bytes": (GOOD + b"\0" * 13, "part of one"),
    "no facets": (GOOD[:80] + b"\0\0\0\0", "0 facets"),
    "not a number": (changed_corner(float("nan")), "facet 1 has a coordinate that is not a number"),
    "infinite": (changed_corner(float("-inf")), "not a number"),
    "huge coordinate": (changed_corner(1e30), "10000 mm"),
    "text of not a number": (ascii_of(box()).replace(b"4.000000e+00", b"nan", 1), "not a number"),
    "text of exponents": (ascii_of(box()).replace(b"4.000000e+00", b"1e999", 1), "not a number"),
    "text bomb": (b"solid a\n" + FACET * (LARGEST_FILE // len(FACET) - 1), f"{MOST_FACETS} are the most"),
    "text of blank lines": (b"solid a\n" + b"\n" * 2_000_000, "0 facets"),
    "text of one line": (b"solid " + b"facet " * 300_000, "0 facets"),
    "text of endfacets": (b"solid a\n" + b"endfacet\n" * 10_000, "line 2"),
    "text in lines without end": (b"solid a\n" + b"facet normal " + b"9" * 1_500_000 + FACET * 9, "line 2"),
    "two solids in a text": (ascii_of(box()) + ascii_of(box(at=(20, 0, 0))), "end of the one solid"),
    "text not ASCII": (ascii_of(box()).replace(b"tablet", "täblet".encode()), "not ASCII"),
    "not closed": (stl_bytes(with_facets(box(), box().faces[1:])), "not closed"),
    "inverted": (stl_bytes(with_facets(box(), box().faces[:, ::-1])), "inside out"),
    "one facet turned": (stl_bytes(with_facets(box(), np.vstack([box().faces[:1, ::-1], box().faces[1:]]))), "against their neighbours"),
    "a facet twice": (stl_bytes(with_facets(box(), np.vstack([box().faces, box().faces[:1]]))), "neighbours|more than two"),
    "two bodies": (stl_bytes(both(box(), box(at=(20, 0, 0)))), "2 bodies"),
    "bodies through each other": (stl_bytes(both(box(), box(at=(3, 3, 1)))), "bodies"),
    "a void inside": (stl_bytes(both(box(), with_facets(box((2, 2, 2)), box((2, 2, 2)).faces[:, ::-1]))), "2 bodies"),
    "through itself": (stl_bytes(bent()), "goes through itself"),
    "flat": (stl_bytes(box((8, 8, 0.00001))), "no volume"),
    "metres": (stl_bytes(box((0.00004, 0.00004, 0.00002))), "metres"),
    "many slivers": (stl_bytes(spikes(1600)), "bodies|too many"),
    "a tangle": (stl_bytes(tangle(30, 3)), "goes through itself|too many"),
    "a large tangle": (stl_bytes(tangle(99, 4)), "too many"),
    "noise": (np.random.default_rng(1).integers(0, 256, 900_084, dtype=np.uint8).tobytes(), "facets"),
    "noise as facets": (
        b"\0" * 80
        + (18_000).to_bytes(4, "little")
        + np.random.default_rng(2).normal(0, 3, 18_000 * 12 + 9_000).astype("<f4").tobytes()[: 50 * 18_000],
        "not closed|not a number|10000 mm",
    ),
}

_JUDGE = """
import json, resource, sys, time
from recipes.errors import SolidFileRefused
from recipes.stl_solid import read_solid
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
answers = {}
for line in sys.stdin:
    name, path = json.loads(line)
    with open(path, "rb") as file:
        content = file.read()
    started = time.perf_counter()
    try:
        read_solid(content)
        said = "accepted"
    except SolidFileRefused as refused:
        said = refused.message + " | " + refused.remedy
    answers[name] = [said, time.perf_counter() - started]
print(json.dumps([answers, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before]))
"""


def test_hostile_files_are_refused_in_time_and_memory(tmp_path):
    """All in one process of their own: what each says, how long it took, and the most memory that any took, in KiB."""
    lines = []
    for number, (name, (content, _)) in enumerate(HOSTILE.items()):
        path = tmp_path / f"{number}.stl"
        path.write_bytes(content)
        lines.append(json.dumps([name, str(path)]))
    done = subprocess.run([sys.executable, "-c", _JUDGE], input="\n".join(lines), capture_output=True, text=True, check=True)
    answers, grown = json.loads(done.stdout)
    for name, (_, words) in HOSTILE.items():
        said, seconds = answers[name]
        assert any(word in said for word in words.split("|")), (name, said)
        assert " | " in said and len(said.split(" | ")[1]) > 20, (name, said)
        assert seconds < 5, (name, seconds)
    assert grown < 300 * 1024, f"{grown} KiB"


def test_a_gigabyte_is_refused_by_its_size_alone():
    with pytest.raises(SolidFileRefused, match="1073741824 bytes") as refused:
        check_size(1 << 30)
    assert refused.value.code == "RE-038"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_an_answer(data):
    """Any bytes are read, or refused as what they are: no other error comes out."""
    content = bytearray(data.draw(st.sampled_from([GOOD, ascii_of(hexagon())])))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        solid = read_solid(bytes(content))
        assert solid.mesh.is_watertight and solid.mesh.volume > 0
    except SolidFileRefused:
        pass


def test_binary_and_text_are_the_same_solid():
    binary, text = read_solid(GOOD).measures, read_solid(ascii_of(hexagon())).measures
    assert (binary.length, binary.height, binary.facets) == pytest.approx((text.length, text.height, text.facets), rel=1e-4)
    assert binary.volume == pytest.approx(hexagon().volume, rel=1e-4)


def test_a_binary_file_that_begins_with_solid_is_binary():
    assert len(read_stl(b"solid".ljust(80, b"\0") + GOOD[80:])) == len(hexagon().faces)


def test_crossing_is_found_wherever_the_body_bends():
    with pytest.raises(SolidFileRefused, match="through itself"):
        solid_of(bent().triangles)
    # The same bar, its end lifted but not drawn through itself.
    mesh = box((10, 2, 2)).subdivide().subdivide()
    vertices = mesh.vertices.copy()
    vertices[vertices[:, 0] > 4.9] += [0.0, 0.3, 0.8]
    assert solid_of(vertices[mesh.faces]).volume > 0


def geometry(mesh, **changed):
    return StlSolid.model_validate(stl_geometry(mesh) | changed)


def test_the_file_is_the_one_that_the_recipe_binds():
    mesh = hexagon()
    assert bound_solid(geometry(mesh), stl_bytes(mesh)).measures.volume == pytest.approx(mesh.volume, rel=1e-3)
    for content, said in ((None, "not at hand"), (ascii_of(mesh), "not the one that the recipe binds")):
        with pytest.raises(SolidFileRefused, match=said):
            bound_solid(geometry(mesh), content)


def shrunk(mesh, by):
    return trimesh.Trimesh(vertices=mesh.vertices / by, faces=mesh.faces, process=False)


@pytest.mark.parametrize(("by", "unit"), [(25.4, "inches"), (10, "centimetres"), (1000, "metres")])
def test_a_file_in_other_units_is_named(by, unit):
    small = shrunk(hexagon(), by)
    stated = stl_geometry(hexagon()) | {"sha256": stl_geometry(small)["sha256"]}
    with pytest.raises(SolidFileRefused, match=f"in {unit}"):
        bound_solid(StlSolid.model_validate(stated), stl_bytes(small))


def test_a_size_that_is_no_dosage_form_is_said_before_a_recipe_states_it():
    assert implausible(read_solid(stl_bytes(hexagon())).measures) == []
    assert "in inches it would be 10.0 mm" in implausible(read_solid(stl_bytes(shrunk(hexagon(), 25.4))).measures)[0]
    assert implausible(read_solid(stl_bytes(shrunk(hexagon(), 0.1))).measures)


@pytest.mark.parametrize("name", ["length", "width", "height", "reach", "volume"])
def test_a_measure_that_is_not_the_files_is_refused(name):
    mesh = hexagon()
    unit = "uL" if name == "volume" else "mm"
    with pytest.raises(SolidFileRefused, match=r"measures|holds"):
        bound_solid(geometry(mesh, **{name: f"11.0 {unit}"}), stl_bytes(mesh))


def scaled(mesh, volume, scale="uniform"):
    content = stl_bytes(mesh)
    stated = StlSolid.model_validate(stl_geometry(mesh, scale))
    return scale_solid(stated, bound_solid(stated, content), Microlitre(volume), layer_height=LAYER)


@settings(max_examples=15, deadline=None)
@given(volume=st.decimals(150, 900, places=3), scale=st.sampled_from(["uniform", "height"]))
def test_a_solid_is_scaled_to_the_volume_as_told(volume, scale):
    mesh = hexagon()
    body = scaled(mesh, volume, scale)
    assert body.mesh_volume == pytest.approx(float(volume), rel=1e-9)
    ratios = [float(side) / have for side, have in zip(body.sides, mesh.extents, strict=True)]
    assert ratios[0] == pytest.approx(ratios[1], rel=1e-4)
    assert ratios[2] == pytest.approx(ratios[0] if scale == "uniform" else float(volume) / mesh.volume, rel=1e-3)
    slices, deviation = slice_body(body, nozzle=0.6, overhang=0.33)
    assert len(slices) == body.layers
    assert abs(deviation) < 0.02
    areas = sum(entry.region.area for entry in slices) * float(body.layer_height)
    assert areas == pytest.approx(float(volume) * (1 + deviation), rel=1e-9)


def test_a_hole_through_the_solid_stays_a_hole():
    ring = trimesh.creation.annulus(r_min=2.0, r_max=5.0, height=3.0, sections=48)
    slices, _ = slice_body(scaled(ring, "180"), nozzle=0.6, overhang=0.33)
    assert all(len(entry.region.interiors) == 1 for entry in slices)


def mushroom():
    """A cap on a thin stem: the cap's rim would hang in the air."""
    turn = np.arange(24) * np.pi / 12
    profile = [(0.0, 2.0), (2.0, 2.0), (2.001, 6.0), (4.0, 6.0)]
    from shape_cases import _loft

    return _loft([np.column_stack([r * np.cos(turn), r * np.sin(turn), np.full(24, z)]) for z, r in profile])


@pytest.mark.parametrize(
    ("mesh", "volume", "said"), [(mushroom(), "250", "hang in the air"), (box((10, 0.4, 4)), "16", "finer than the nozzle")]
)
def test_what_cannot_be_printed_is_refused_by_its_layer(mesh, volume, said):
    with pytest.raises(GeometryRefused, match=said):
        slice_body(scaled(mesh, volume), nozzle=0.6, overhang=0.33)


def test_no_whole_layer_fits():
    with pytest.raises(GeometryRefused, match="no whole number of layers"):
        scaled(box((20, 20, 0.7)), str(20 * 20 * 0.3), "height")
