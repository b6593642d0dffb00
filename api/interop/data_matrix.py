"""The symbol on a pack: GS1 DataMatrix (ECC 200) as modules and as vector drawing.

Source: ISO/IEC 16022:2006; GS1 General Specifications 24.0 section 5.6 (FNC1 in the first place marks a GS1 symbol).
"""

from __future__ import annotations

from functools import reduce

from pystrich.datamatrix import FNC1, DataMatrixData, DataMatrixEncoder

from audit.release.gs1 import PackCode

QUIET_ZONE = 1
"""Modules of white around the symbol, as ISO/IEC 16022 asks at least."""


def modules(code: PackCode) -> tuple[tuple[bool, ...], ...]:
    """Return the rows of the symbol, finder pattern included, without quiet zone; True is dark."""
    first, *others = code.segments
    data: DataMatrixData = reduce(lambda done, segment: done + FNC1 + segment, others, FNC1 + first)
    renderer = DataMatrixEncoder(data, quiet_zone=0).init_renderer()
    return tuple(tuple(cell == 1 for cell in row) for row in renderer.matrix)


def svg(code: PackCode) -> bytes:
    """Return the symbol with its quiet zone as one path; one unit is one module, runs of dark modules are one rectangle."""
    rows = modules(code)
    size = len(rows) + 2 * QUIET_ZONE
    steps = []
    for y, row in enumerate(rows, QUIET_ZONE):
        x = 0
        while x < len(row):
            end = x
            while end < len(row) and row[end]:
                end += 1
            if end > x:
                steps.append(f"M{x + QUIET_ZONE} {y}h{end - x}v1h-{end - x}z")
            x = max(end, x + 1)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size} {size}" width="{size}" height="{size}" shape-rendering="crispEdges">'
        f'<rect width="{size}" height="{size}" fill="#fff"/><path d="{"".join(steps)}" fill="#000"/></svg>'
    ).encode()
