"""The unit and the plate in three dimensions, and the same in words for who cannot see it or has no WebGL."""

from __future__ import annotations

from html import escape
from urllib.parse import quote

from nicegui.element import Element
from nicegui.elements.scene import scene

from api.workstation.words import said
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
    """Sizes, volume, mass and number of units of each strength and part, as a table."""
    rows = "".join(_row(piece) for piece in objects(preview.get("pieces")))
    head = "".join(f"<th>{escape(said(text))}</th>" for text in ("Strength", "Solid", "Volume", "Target mass", "Units"))
    return f'<table class="dw-table dw-figures"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _row(piece: JsonObject) -> str:
    if piece.get("solid") is None:
        solid = said("dispensed into a capsule: it has no solid of its own") if piece.get("form") == "capsule" else said("no solid to show")
    else:
        sides = " × ".join(str(piece.get(f"{name}_mm")) for name in ("length", "width", "height"))
        solid = f"{piece.get('family')}, {sides} mm"
    active = f"<span class='dw-quiet'>{escape(str(piece.get('active')))}</span>"
    return (
        f"<tr><td><b>{escape(str(piece.get('strength_mg')))} mg</b><br>{active}</td>"
        f"<td>{escape(solid)}</td><td class='dw-keep'>{escape(str(piece.get('volume_uL')))} µL</td>"
        f"<td class='dw-keep'>{escape(str(piece.get('mass_mg')))} mg</td><td>{escape(str(piece.get('units')))}</td></tr>"
    )


def objects(value: JsonValue) -> list[JsonObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
