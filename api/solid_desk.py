"""What a batch will look like: the solid of each strength, its figures, and where the units stand, before anything is printed.

The solids are built from the signed order by the functions that the cell compiles with; the places are those that the cell says of its own
program. The record stays the cell's drawing (`api.pictures`): nothing is decided from what is shown here.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.cell_feed import CellFeeds
from api.errors import NotFound
from api.order_recipe import recipe_name
from api.production import Production
from api.shelf import Shelf
from audit.canonical import JsonObject, JsonValue
from audit.quantities import plain_text
from recipes.dose import calculate
from recipes.errors import GeometryRefused
from recipes.library import load_machine
from recipes.model import DoseOrder, MachineProfile
from recipes.store import solid_file

_KEPT = 8


@dataclass(frozen=True, slots=True)
class _Shape:
    """The solids of one batch: what is said of them, and their STL by name."""

    pieces: tuple[JsonObject, ...]
    files: dict[str, bytes]
    plate: JsonObject


class SolidDesk:
    """Builds solids when somebody looks, and keeps the last few. Concurrency: safe for several threads; an order never changes."""

    def __init__(self, production: Production, shelf: Shelf, feeds: CellFeeds) -> None:
        self._production = production
        self._shelf = shelf
        self._feeds = feeds
        self._known: dict[str, _Shape] = {}

    def preview(self, batch: str) -> JsonObject:
        """Return pieces (each with sizes in mm, volume in µL, target mass in mg, number of units), the plate, and the places of the units.

        Raises NotFound, WrongState where the recipe is not the one that is printed now.
        """
        shape = self._shape(batch)
        return {"pieces": list(shape.pieces), "plate": shape.plate, "places": self._places(batch)}

    def stl(self, batch: str, name: str) -> bytes:
        """Return one solid as binary STL. Raises NotFound."""
        found = self._shape(batch).files.get(name)
        if found is None:
            raise NotFound(f"Batch {batch} has no solid {name[:80]!r}.", remedy="Choose one of those that its preview names.")
        return found

    def _places(self, batch: str) -> list[JsonValue]:
        cell = str(self._production.batch(batch).get("cell"))
        if cell not in self._feeds.names:
            return []
        status = self._feeds.of(cell).view().status
        if status.batch != batch:
            return []
        return [{"n": unit.n, "strength_mg": unit.strength_mg, "x": unit.x, "y": unit.y} for unit in status.units]

    def _shape(self, batch: str) -> _Shape:
        order_id = str(self._production.batch(batch)["order"])
        if order_id not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[order_id] = self._built(order_id)
        return self._known[order_id]

    def _built(self, order_id: str) -> _Shape:
        from recipes.unit_mesh import unit_mesh  # numerical kernels load only when somebody looks

        state = self._production.order(order_id)
        order, recipe = DoseOrder.model_validate(state["order"]), self._production.recipe_of(order_id)
        machine = load_machine(recipe.machine)
        printable = self._shelf.printable(recipe_name(order, state))
        text = printable.get("solid")
        file = solid_file(text if isinstance(text, str) else None)
        second = None if order.second is None else self._shelf.ink(order.second.ink_lot)
        dose = calculate(recipe, order.prescription, self._shelf.ink(order.ink_lot), second)
        pieces: list[JsonObject] = []
        files: dict[str, bytes] = {}
        below: dict[int, str] = {}
        for part, (own, head, plans) in enumerate(zip(recipe.parts, machine.heads, dose.parts, strict=False), 1):
            for number, plan in enumerate(plans.strengths):
                try:
                    mesh = unit_mesh(plan, own, head, file)
                except GeometryRefused:
                    mesh = None  # it shows and decides nothing: the cell says why it cannot be printed
                name = f"{part}-{plan.label.text}.stl"
                piece: JsonObject = {
                    "part": part,
                    "active": own.active.moiety,
                    "strength_mg": plain_text(plan.label.value),
                    "units": plan.units,
                    "mass_mg": plan.target_mass.rounded(2).text,
                    "volume_uL": plan.target_volume.rounded(2).text,
                    "unit_mg": plain_text(dose.strengths[number].label.value),
                    "form": recipe.dosage_form,
                    "solid": None,
                }
                if mesh is not None:
                    files[name] = mesh.stl
                    sides: JsonObject = {"length_mm": f"{mesh.length}", "width_mm": f"{mesh.width}", "height_mm": f"{mesh.height}"}
                    piece |= {"solid": name, "family": mesh.family, "facets": mesh.facets, "base_mm": below.get(number, "0"), **sides}
                    below[number] = f"{mesh.height}"
                pieces.append(piece)
        return _Shape(tuple(pieces), files, _plate(machine))


def _plate(machine: MachineProfile) -> JsonObject:
    """Return the area of the places in mm, half a pitch beyond the outer ones."""
    plate = machine.plate
    half_x, half_y = plate.pitch_x / 2, plate.pitch_y / 2
    return {
        "surface": plate.surface,
        "left": (plate.first_x - half_x).text,
        "front": (plate.first_y - half_y).text,
        "width": (plate.pitch_x * plate.columns).text,
        "depth": (plate.pitch_y * plate.rows).text,
    }
