"""Recipes of each shape family, made from the demonstration recipes: no medicine, only shapes."""

from __future__ import annotations

import hashlib
from decimal import Decimal

import numpy as np
import trimesh

from recipes.library import load_machine, load_recipe
from recipes.model import Recipe

BOUNDS = {"smallest_side": "0.8 mm", "largest_side": "40 mm", "largest_aspect": "40"}
FAMILIES = {
    "caplet": {"family": "caplet", "length_to_width": "2.0", "height_to_width": "0.6", "crown": "0", "bounds": BOUNDS},
    "caplet, domed": {"family": "caplet", "length_to_width": "2.0", "height_to_width": "0.6", "crown": "0.4", "bounds": BOUNDS},
    "film": {
        "family": "film",
        "thickness": "1.6 mm",
        "length_to_width": "1.5",
        "corner_to_width": "0.15",
        "perimeters": 2,
        "bounds": BOUNDS,
    },
    "film of rings": {"family": "film", "thickness": "2.0 mm", "length_to_width": "1.2", "corner_to_width": "0.2", "bounds": BOUNDS},
    "grid": {"family": "grid", "height_to_width": "0.3", "fill": "0.55", "smallest_opening": "0.3 mm", "bounds": BOUNDS},
}


def stl_bytes(mesh: trimesh.Trimesh) -> bytes:
    """Binary STL."""
    facets = np.zeros(len(mesh.faces), dtype=np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("rest", "<u2")]))
    facets["corners"] = mesh.triangles
    return b"\0" * 80 + len(facets).to_bytes(4, "little") + facets.tobytes()


def hexagon() -> trimesh.Trimesh:
    """A hexagonal tablet with a bevel, 10 mm across and 4 mm high."""
    levels = [(0.0, 5.0), (3.0, 5.0), (4.0, 4.4)]
    turn = np.arange(6) * np.pi / 3
    rings = [np.column_stack([radius * np.cos(turn), radius * np.sin(turn), np.full(6, z)]) for z, radius in levels]
    return _loft(rings)


def _loft(rings: list[np.ndarray]) -> trimesh.Trimesh:
    count = len(rings[0])
    vertices = np.vstack([*rings, [[0, 0, rings[0][0, 2]], [0, 0, rings[-1][0, 2]]]])
    faces = []
    for k in range(count):
        following = (k + 1) % count
        faces.append([len(vertices) - 2, following, k])
        faces.append([len(vertices) - 1, (len(rings) - 1) * count + k, (len(rings) - 1) * count + following])
        for level in range(len(rings) - 1):
            a, b = level * count, (level + 1) * count
            faces += [[a + k, a + following, b + following], [a + k, b + following, b + k]]
    return trimesh.Trimesh(vertices=vertices, faces=faces, process=False)


def stl_geometry(mesh: trimesh.Trimesh, scale: str = "uniform", perimeters: int = 2) -> dict[str, object]:
    """The geometry table of a recipe that binds the STL file of a mesh."""
    centred = mesh.vertices - (mesh.bounds[0] + mesh.bounds[1]) / 2
    sides = {name: f"{side:.4f} mm" for name, side in zip(("length", "width", "height"), mesh.extents, strict=True)}
    return {
        "family": "stl",
        "sha256": hashlib.sha256(stl_bytes(mesh)).hexdigest(),
        **sides,
        "volume": f"{mesh.volume:.4f} uL",
        "reach": f"{np.hypot(centred[:, 0], centred[:, 1]).max():.4f} mm",
        "scale": scale,
        "perimeters": perimeters,
        "bounds": BOUNDS,
    }


def recipe_of(geometry: dict[str, object], case: str = "cyclophosphamide", parameters: dict[str, object] | None = None) -> Recipe:
    """A demonstration recipe with another geometry; the plate of its machine takes units up to 30 mm."""
    base = load_recipe(case)
    record = base.as_record()
    sources = {name: text for name, text in base.sources.items() if not name.startswith("geometry")} | {"geometry": "illustrative"}
    changed = {**record, "geometry": geometry, "sources": sources, "machine_digest": wide_machine(case).digest}
    changed["parameters"] = {**record["parameters"], **(parameters or {})}
    return Recipe.model_validate({name: value for name, value in changed.items() if value is not None})


def wide_machine(case: str = "cyclophosphamide"):
    machine = load_machine(load_recipe(case).machine)
    plate = machine.plate.model_copy(
        update={"pitch_x": type(machine.plate.pitch_x)(40), "pitch_y": type(machine.plate.pitch_y)(40), "columns": 4, "rows": 4}
        | {"largest_unit_diameter": type(machine.plate.largest_unit_diameter)(Decimal(36))}
    )
    return machine.model_copy(update={"plate": plate})


def with_a_solid(toml: bytes) -> tuple[bytes, bytes]:
    """A recipe file that binds the STL file of a hexagonal tablet in place of a cylinder, and that file."""
    geometry = stl_geometry(hexagon())
    rows = [f'{name} = "{value}"' for name, value in geometry.items() if isinstance(value, str)]
    bounds = ", ".join(f'{name} = "{value}"' for name, value in geometry["bounds"].items())
    table = "\n".join([*rows, f"perimeters = {geometry['perimeters']}", f"bounds = {{ {bounds} }}"])
    return toml.decode().replace('family = "cylinder"\nheight_to_diameter = "0.4"', table).encode(), stl_bytes(hexagon())
