"""Which pictures of the pages there are, and the page of the documents that shows them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from api.workstation.places import PLACES, Place

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "docs" / "images" / "pages"
PAGE = ROOT / "docs" / "pages.md"
SIZES = ((1280, 800), (1920, 1080))
SCHEMES = ("light", "dark")


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture, four times: the name of its files, what it shows, and what is to be seen on it."""

    name: str
    title: str
    what: str


SCENES = (
    Scene(
        "set-up", "Set-up", "The first administrator is made with the token that the terminal showed. No password comes with the product."
    ),
    Scene("login", "Log-in", "Nothing of the site is shown before log-in."),
    Scene("new-prescription", "New batch: prescription and dose", "The dose with its arithmetic, before it is signed."),
    Scene("new-second", "New batch: second person", "Entered again, blind."),
    Scene("new-gates", "New batch: gates", "Each gate that is not met says how it is satisfied, and leads there."),
    Scene("new-start", "New batch: preview and start", "Unit and plate as they will be printed; nothing moves before the last press."),
    Scene("cell", "Cell, while a batch is printed", "Units with their masses against tolerance, pressure, readings, STOP."),
    Scene("alarm", "Cell, with an alarm", "Cause, consequence, what to do, and the unit to take off."),
    Scene("review", "Cell, review", "Exceptions first, then the evidence; what may be signed follows from it."),
)
_OF_PLACES = {
    "/today": "What needs you, the queue, the cells and their readiness.",
    "/new": "Seven steps from a prescription to the start.",
    "/batches": "One batch after its print, whatever its cell does now: review, disposition, packs, labels.",
    "/inks": "What is left of each cartridge, lots with their certificates, and what is received.",
    "/recipes": "Versions of recipes: state, difference, signatures, and the steps from here.",
    "/equipment": "What stands in a cell and until when it is in date.",
    "/models": "Process models: their data, tests, limits and states.",
    "/trends": "Capability and control charts across batches, lots and cells.",
    "/trail": "Who did what, when and why; searched and taken out.",
    "/recall": "What a search finds, and a recall that is followed.",
    "/people": "Accounts, roles, the access review, the policy.",
    "/account": "The own password and second factors.",
}


def scene_of(place: Place) -> Scene:
    return Scene(place.path.strip("/"), place.title, _OF_PLACES.get(place.path, ""))


def all_scenes() -> tuple[Scene, ...]:
    """Return every picture there is: the scenes, then each page of the list."""
    return (*SCENES, *(scene_of(place) for place in PLACES))


def file_name(name: str, width: int, scheme: str) -> str:
    return f"{name}-{width}-{scheme}.webp"


def page_text() -> str:
    """Return docs/pages.md."""
    parts = [
        "# The pages\n\nEvery page of the workstation, of a demonstration site. Each is shown at 1280 × 800, light and dark; the links "
        "lead to the same at 1920 × 1080. Made by `make pictures`; not edited by hand.\n"
    ]
    for scene in all_scenes():
        small, large = ([f"images/pages/{file_name(scene.name, width, scheme)}" for scheme in SCHEMES] for width, _ in SIZES)
        shown = " ".join(
            f'<img src="{name}" width="49%" alt="{scene.title}, {scheme}">' for name, scheme in zip(small, SCHEMES, strict=True)
        )
        links = " · ".join(f"[1920 × 1080, {scheme}]({name})" for name, scheme in zip(large, SCHEMES, strict=True))
        parts.append(f"## {scene.title}\n\n{scene.what}\n\n{shown}\n\n{links}\n")
    return "\n".join(parts)
