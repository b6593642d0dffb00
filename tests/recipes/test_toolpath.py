"""Tool paths: covering, sums, chords, determinism."""

import math
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely import MultiLineString, box
from shapely.affinity import translate

from audit.quantities import Microlitre, MillimetrePerSecond
from recipes.errors import GeometryRefused
from recipes.shapes import Range, Slice, build_solid, slice_solid
from recipes.toolpath import CHORD_HIGH, plan_dispense, plan_unit

LAYER = Range(Decimal("0.50"), Decimal("0.40"), Decimal("0.60"))
BEAD = Range(Decimal("0.65"), Decimal("0.55"), Decimal("0.80"))
RING_BEAD = Range(Decimal("0.65"), Decimal("0.40"), Decimal("0.95"))
SPEED = MillimetrePerSecond(20)


def path_of(volume, family="cylinder", aspect="0.4", bead=BEAD, perimeters=None):
    solid = build_solid(family, Microlitre(volume), aspect=Decimal(aspect), layer_height=LAYER)
    return plan_unit(slice_solid(solid), Microlitre(volume), bead_width=bead, speed=SPEED, perimeters=perimeters)


@settings(max_examples=30, deadline=None)
@given(volume=st.decimals(min_value=90, max_value=1100, places=3))
def test_volumes_of_layers_are_the_target_exactly(volume):
    path = path_of(volume)
    assert sum(layer.volume for layer in path.layers) == Fraction(volume)
    assert all(float(BEAD.low) <= layer.bead_width <= float(BEAD.high) for layer in path.layers)


def test_a_disc_is_one_stroke_and_layers_follow_without_travel():
    path = path_of("389.31")
    assert [len(layer.strokes) for layer in path.layers] == [1] * len(path.layers)
    for lower, upper in pairwise(path.layers):
        gap = math.dist(lower.strokes[-1].points[-1], upper.strokes[0].points[0])
        assert gap <= 1.0


@pytest.mark.parametrize("perimeters", [None, 2])
def test_beads_cover_the_disc_and_stay_inside(perimeters):
    solid = build_solid("cylinder", Microlitre("389.31"), aspect=Decimal("0.4"), layer_height=LAYER)
    region = slice_solid(solid)[0].region
    layer = path_of("389.31", perimeters=perimeters).layers[0]
    lines = MultiLineString([[(x / 1000, y / 1000) for x, y in stroke.points] for stroke in layer.strokes])
    swept = lines.buffer(layer.bead_width / 2)
    # Chords of neighbouring rings are not in step; a paste closes the slivers between them.
    assert swept.intersection(region).area >= 0.93 * region.area
    assert swept.difference(region.buffer(0.1)).area <= 0.01 * region.area


def test_a_ring_is_filled_and_its_hole_is_left_open():
    path = path_of("389.31", family="torus", aspect="2.5", bead=RING_BEAD)
    middle = path.layers[len(path.layers) // 2]
    nearest = min(math.hypot(x, y) for stroke in middle.strokes for x, y in stroke.points)
    assert nearest > 1000
    assert sum(layer.volume for layer in path.layers) == Fraction("389.31")
    assert all(len(layer.strokes) == 1 for layer in path.layers)


def test_corners_are_kept_and_infill_turns_from_layer_to_layer():
    film = [Slice(z=Decimal("0.5") * n, thickness=0.5, region=box(-6, -6, 6, 6)) for n in (1, 2)]
    path = plan_unit(film, Microlitre(144), bead_width=BEAD, speed=SPEED, perimeters=2)
    corner = max(abs(x) + abs(y) for stroke in path.layers[0].strokes for x, y in stroke.points)
    assert corner == pytest.approx(2 * (6000 - path.layers[0].bead_width * 500), abs=60)
    vertical, horizontal = 0, 0
    for stroke in path.layers[0].strokes:
        for a, b in pairwise(stroke.points):
            horizontal += a[1] == b[1] and abs(a[0]) < 3000
    for stroke in path.layers[1].strokes:
        for a, b in pairwise(stroke.points):
            vertical += a[0] == b[0] and abs(a[1]) < 3000
    assert horizontal > 20 and vertical > 20


def test_chords_are_long_enough_to_stream():
    path = path_of("389.31")
    commands = sum(len(stroke.points) for layer in path.layers for stroke in layer.strokes)
    seconds = sum(layer.length for layer in path.layers) / 21.5
    assert commands / seconds <= 14
    longest = max(math.dist(a, b) for layer in path.layers for stroke in layer.strokes for a, b in pairwise(stroke.points))
    assert longest <= 1.5 * CHORD_HIGH * 1000


def test_equal_inputs_give_equal_paths():
    assert path_of("389.31") == path_of("389.31")


def test_a_size_that_no_bead_spans_is_refused():
    with pytest.raises(GeometryRefused, match="bead"):
        path_of("389.31", bead=Range(Decimal("0.65"), Decimal("0.649"), Decimal("0.651")))


def test_a_region_away_from_the_centre_is_filled_where_it_is():
    spot = [Slice(z=Decimal("0.5"), thickness=0.5, region=translate(box(-2, -2, 2, 2), 20, 0))]
    path = plan_unit(spot, Microlitre(8), bead_width=BEAD, speed=SPEED)
    assert min(x for stroke in path.layers[0].strokes for x, _ in stroke.points) > 18_000


@given(volume=st.decimals(min_value="0.01", max_value=300, places=6), increment=st.decimals(min_value="0.5", max_value=4, places=1))
def test_increments_are_bounded_and_add_up(volume, increment):
    pieces = plan_dispense(Microlitre(volume), increment=Microlitre(increment))
    assert sum(pieces) == Fraction(volume)
    assert max(pieces) <= Fraction(increment)


def test_nothing_to_dispense_is_refused():
    with pytest.raises(GeometryRefused):
        plan_dispense(Microlitre(0), increment=Microlitre(2))
