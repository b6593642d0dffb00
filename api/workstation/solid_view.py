"""The unit and the plate in three dimensions, and the same in words for who cannot see it or has no WebGL."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from nicegui.element import Element
from nicegui.elements.scene import scene

from api.workstation.words import said, told
from audit.canonical import JsonObject, JsonValue

_BRINGS_THREE = scene.__name__
"""Loading NiceGUI's scene puts its three.js under the name by which the view asks for it: nothing is fetched from outside."""


class SolidView(Element, component="style/solid_view.js"):
    """Solids of one batch. `preview` as `SolidDesk.preview` gives it."""

    def __init__(self, batch: str, preview: JsonObject) -> None:
        super().__init__()
        solid = [piece for piece in objects(preview.get("pieces")) if isinstance(piece.get("solid"), str)]
        place = f"/api/v1/batches/{quote(batch, safe='')}/solids/"
        self._props["pieces"] = [
            {
                "url": place + quote(str(piece["solid"]), safe=""),
                "part": piece.get("part"),
                "unit": piece.get("unit_mg"),
                "base": float(str(piece.get("base_mm", "0"))),
            }
            for piece in solid
        ]
        self._props["places"] = [
            {"x": float(str(item["x"])), "y": float(str(item["y"])), "unit": item.get("strength_mg")}
            for item in objects(preview.get("places"))
            if item.get("x") is not None and item.get("y") is not None
        ]
        plate = preview.get("plate")
        self._props["plate"] = (
            {name: float(str(plate[name])) for name in ("left", "front", "width", "depth")} if isinstance(plate, dict) else {}
        )
        self._props["label"] = said("The unit in three dimensions; arrow keys turn it, plus and minus bring it nearer or farther.")
        self._props["words"] = {
            "turn": said("Turn the unit"),
            "left": said("Turn left"),
            "right": said("Turn right"),
            "up": said("Tilt up"),
            "down": said("Tilt down"),
            "nearer": said("Nearer"),
            "farther": said("Farther"),
            "plate": said("Show the plate"),
            "unit": said("Show one unit"),
            "failed": said("This browser draws nothing in three dimensions: the drawing and the figures say the same."),
        }


def figures_html(preview: JsonObject) -> str:
    """Sizes, volume, mass and number of units of each strength and part, in words."""
    return "".join(_figures(piece) for piece in objects(preview.get("pieces")))


def _figures(piece: JsonObject) -> str:
    facts = (
        (said("Units"), str(piece.get("units"))),
        (said("Solid"), _solid(piece)),
        (said("Volume"), f"{piece.get('volume_uL')} µL"),
        (said("Target mass"), f"{piece.get('mass_mg')} mg"),
    )
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts)
    name = escape(f"{piece.get('strength_mg')} mg {piece.get('active')}")
    return f'<div class="dw-figures"><h3>{name}</h3><dl class="dw-facts">{rows}</dl></div>'


def _solid(piece: JsonObject) -> str:
    if piece.get("solid") is None:
        return said("dispensed into a capsule: it has no solid of its own") if piece.get("form") == "capsule" else said("none to show")
    length, width, height = (str(piece.get(f"{name}_mm")) for name in ("length", "width", "height"))
    round_in_plan = piece.get("family") in ("cylinder", "torus")
    sides = f"⌀ {length} × {height}" if round_in_plan else f"{length} × {width} × {height}"
    return f"{told(str(piece.get('family')))}, {sides} mm"


def objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
