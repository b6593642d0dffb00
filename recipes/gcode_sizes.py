"""The size that the proof demands of a unit: from its volume and the height that was printed, by formulas of its own.

It catches a unit that is moved, spread out or of another shape. Nothing here is shared with what sizes the solids. Lengths mm, volumes µL.
"""

from __future__ import annotations

from decimal import Decimal
from typing import assert_never

from audit.quantities import EXACT, Microlitre
from recipes.model import Caplet, Cylinder, Dispense, Film, Geometry, Grid, StlSolid, Torus

PI = Decimal("3.141592653589793238462643383")
HEIGHT_AGREES = Decimal("0.03")


def expected_reach(geometry: Geometry, volume: Microlitre, height: Decimal) -> Decimal | None:
    """Return how far a unit of this volume and height reaches from its place; None where its family has no reach (dispense)."""
    over = EXACT.divide(volume.value, height)
    match geometry:
        case Cylinder():
            return EXACT.sqrt(EXACT.divide(volume.value, PI * height))
        case Torus():
            # V = 2 π² R a b with tube half-width a = t R and half-height b, so the outer radius is R (1 + t).
            ring = EXACT.divide(volume.value, 2 * PI * PI * geometry.tube_to_ring * height / 2)
            return EXACT.sqrt(ring) * (1 + geometry.tube_to_ring)
        case Caplet():
            return EXACT.sqrt(EXACT.divide(over, _plan_share(geometry))) * geometry.length_to_width / 2
        case Film():
            ratio = geometry.corner_to_width
            width = EXACT.sqrt(EXACT.divide(over, geometry.length_to_width - (4 - PI) * ratio * ratio))
            x, y = geometry.length_to_width / 2 - ratio, Decimal("0.5") - ratio
            return width * (EXACT.sqrt(x * x + y * y) + ratio)
        case Grid():
            return EXACT.sqrt(EXACT.divide(over, geometry.fill) / 2)
        case StlSolid():
            return geometry.reach.value * (EXACT.divide(height, geometry.height.value) if geometry.scale == "uniform" else 1)
        case Dispense():
            return None
        case _:
            assert_never(geometry)


def family_reasons(geometry: Geometry, volume: Microlitre, height: Decimal, bead: Decimal, layers: int, reach: Decimal) -> list[str]:
    """Return what of a unit's height, or of its beads, is not as its family demands beside its reach (that of the path, mm)."""
    if isinstance(geometry, StlSolid):
        grown = EXACT.divide(height, geometry.height.value)
        expected = grown * grown * grown if geometry.scale == "uniform" else grown
        if abs(EXACT.divide(expected * geometry.volume.value, volume.value) - 1) > 4 * HEIGHT_AGREES:
            return [f"its height of {height:.3f} mm is not that of the recipe's solid scaled to its volume"]
    if isinstance(geometry, Film):
        off = abs(height - geometry.thickness.value)
        if off > EXACT.divide(height, Decimal(layers)) / 2 + Decimal("0.002"):
            return [f"it is {height:.3f} mm thick, the recipe states {geometry.thickness}"]
    if isinstance(geometry, Caplet | Grid) and not _proportioned(geometry, volume, height, EXACT.divide(height, Decimal(layers))):
        return [f"its height of {height:.3f} mm and its volume have not the proportions of the recipe's {geometry.family}"]
    if isinstance(geometry, Grid):
        # The path's corner is half a side and half a side less half a strand from the middle; a layer is (n + 1)(S − b) + b long.
        side = EXACT.add(bead / 2, EXACT.sqrt(max(Decimal(0), 8 * reach * reach - bead * bead)) / 2)
        long = EXACT.divide(volume.value, height * bead)
        strands = (EXACT.divide(long - bead, max(side - bead, bead)) - 1).to_integral_value()
        if strands < 2 or EXACT.divide(side - bead, strands - 1) - bead < geometry.smallest_opening.value * (1 - HEIGHT_AGREES):
            return [f"its openings are finer than {geometry.smallest_opening}"]
    return []


def _plan_share(geometry: Caplet) -> Decimal:
    """Mean area over width². Plan: π/4 + (a − 1); under the dome two thirds of the one and π/4 of the other."""
    straight = geometry.length_to_width - 1
    domed = EXACT.divide(PI, Decimal(6)) + PI / 4 * straight
    return (1 - geometry.crown) * (PI / 4 + straight) + geometry.crown * domed


def _proportioned(geometry: Caplet | Grid, volume: Microlitre, height: Decimal, layer: Decimal) -> bool:
    """Say whether a height is, to a layer, that of the volume: V = share · w² h and h = k w, so h³ = V k² / share."""
    share = _plan_share(geometry) if isinstance(geometry, Caplet) else geometry.fill
    cubed = EXACT.divide(volume.value * geometry.height_to_width * geometry.height_to_width, share)
    low, high = max(height - layer, Decimal(0)), height + layer
    return low * low * low <= cubed <= high * high * high
