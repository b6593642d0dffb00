"""What satisfies each gate before a print, and where it is done. One table; a gate that is not in it has its own words only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from api.workstation.places import PLACES
from api.workstation.words import said, told


@dataclass(frozen=True, slots=True)
class Remedy:
    """One way on: a sentence, and the page where it is done with the words of the link to it; `{cell}` stands for the cell."""

    text: str
    path: str = ""
    link: str = ""


_CELL = "/?cell={cell}"
_EQUIPMENT = "/equipment"
_REGISTER = "Have quality assurance sign the equipment register anew; this page sees it within seconds."

REMEDIES: Mapping[str, Remedy] = {
    "order confirmed by two people": Remedy("Have a second person enter the prescription again, above."),
    "operator": Remedy(
        "Let an operator who is on the cell's list of trusted people go through the gates.", "/people", "Look at the people"
    ),
    "training": Remedy("Let a trained person do it, or have the training done and the register signed.", "/people", "Look at the people"),
    "equipment register": Remedy(_REGISTER, _EQUIPMENT, "Look at the equipment"),
    "printer qualified": Remedy(f"Have the printer qualified. {_REGISTER}", _EQUIPMENT, "Look at the equipment"),
    "balance calibrated": Remedy(f"Have the balance calibrated. {_REGISTER}", _EQUIPMENT, "Look at the equipment"),
    "pressure sensor calibrated": Remedy(f"Have the pressure sensor calibrated. {_REGISTER}", _EQUIPMENT, "Look at the equipment"),
    "external balance calibrated": Remedy(f"Have the external balance calibrated. {_REGISTER}", _EQUIPMENT, "Look at the equipment"),
    "balance can judge the tolerance": Remedy(
        "Choose a higher strength, or a cell whose balance is finer; or have a finer external balance named in the equipment register.",
        _EQUIPMENT,
        "Look at the equipment",
    ),
    "daily balance check": Remedy("Do the daily check of the balance. It takes about a minute.", _CELL, "Do the daily check"),
    "cleaning": Remedy("Clean the cell by its procedure and record it.", _CELL, "Record the cleaning"),
    "line clearance": Remedy("Look at plate, purge tray and cell, empty and clean them, and confirm it with the button below."),
    "ink lot and cartridge": Remedy(
        "Take a cartridge that may be used longer, or have a shorter course prescribed.", "/inks", "Look at the inks"
    ),
    "cartridge in each head": Remedy("Put each cartridge into its head and scan both again, above."),
    "recipe effective": Remedy(
        "Have the recipe made effective, or write the order for the version that is.", "/recipes", "Look at the recipes"
    ),
    "recipe opened for development": Remedy("Have a process engineer open the version for development.", "/recipes", "Look at the recipes"),
    "program proved": Remedy("Nothing can be done here: keep the message and tell the process engineer."),
    "printer identified": Remedy(
        "Switch the printer on and look at its cable, then go through the gates again.", _CELL, "Look at the cell"
    ),
    "balance identified": Remedy(
        "Switch the balance on, connect the one that is registered, then go through the gates again.", _CELL, "Look at the cell"
    ),
    "pressure sensor live": Remedy("Look at the sensor hub and its cable, then go through the gates again.", _CELL, "Look at the cell"),
}


def remedy_of(gate: str, cell: str) -> tuple[str, str, str]:
    """Return the sentence, the path and the words of the link for a gate; an empty path where there is no page for it."""
    found = REMEDIES.get(gate)
    if found is None:
        return said("Do what the gate says, then go through the gates again."), "", ""
    path = found.path.replace("{cell}", quote(cell, safe=""))
    if path and not path.startswith("/?") and path not in {place.path for place in PLACES}:
        path = ""
    return told(found.text), path, told(found.link) if path else ""
