"""The pictures of a program as files: for each strength, and each part of it, the unit and its layers."""

from __future__ import annotations

from recipes.errors import GeometryRefused
from recipes.model import StlSolid
from recipes.outlines import outlines_of
from recipes.pictures import draw_layers, draw_unit
from recipes.program import PrintProgram, head_of
from recipes.stl_solid import bound_solid
from recipes.toolpath import UnitPath

FOLDER = "pictures/"


def picture_files(program: PrintProgram, solid: bytes | None = None) -> dict[str, bytes]:
    """Return SVG files by name (`pictures/18.5-mg-unit.svg`, `…-layers.svg`); nothing for what has no solid. `solid` as in compiling."""
    basis = program.basis
    geometry = basis.recipe.geometry
    file = bound_solid(geometry, solid) if isinstance(geometry, StlSolid) else None
    files: dict[str, bytes] = {}
    for piece in basis.pieces:
        design = piece.design
        label = f"{design.plan.label.text} mg" + (f" part {piece.part}" if piece.part else "")
        name = FOLDER + label.replace(" ", "-")
        if f"{name}-unit.svg" in files or not isinstance(design.body, UnitPath):
            continue
        head = head_of(piece.part)
        try:
            outlines = outlines_of(design, basis.recipe.parts[head], basis.machine.heads[head], file)
        except GeometryRefused:
            # A picture shows and decides nothing: what could be compiled is printed without one.
            continue
        files[f"{name}-unit.svg"] = draw_unit(outlines, design.shape, label)
        files[f"{name}-layers.svg"] = draw_layers(outlines, design.body, label)
    return files
