"""An order of two inks through the interface, with a fake cell: both actives, both lots, both cartridges."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from api.production import SecondEntry
from api.shelf import Shelf
from api.site import SYSTEM
from recipes.library import load_demonstration, load_second
from recipes.order import DoseOrder

TODAY = datetime.now(UTC).date().isoformat()
ORDER = {
    "recipe": "polypill",
    "ink_lot": "SPI-DEMO-01",
    "cartridge": "SPI-DEMO-01-A",
    "patient": "test-5",
    "moiety": "spironolactone",
    "basis": "free form",
    "prescribed": "12.5",
    "unit": "mg",
    "per": "dose",
    "schedule": "morning",
    "days": "3",
    "second_ink_lot": "HCT-DEMO-01",
    "second_cartridge": "HCT-DEMO-01-A",
    "second_moiety": "hydrochlorothiazide",
    "second_basis": "free form",
    "second_prescribed": "6.25",
    "second_unit": "mg",
    "second_per": "dose",
}


@pytest.fixture
def stocked(bench: Any) -> Any:
    """A workstation that has received both inks."""
    shelf, second = Shelf(bench.workstation.store), load_second("polypill", TODAY)
    assert second is not None
    for ink, cartridge in (load_demonstration("polypill", TODAY)[1:], second):
        shelf.receive_ink(ink, SYSTEM)
        shelf.receive_cartridge(cartridge, SYSTEM)
    return bench


def enter(bench: Any, **changes: str) -> Any:
    return bench.ask("pharmacist", "POST", "/orders", {"order": {**ORDER, **changes}, "signature": bench.signature("pharmacist")})


def confirm(bench: Any, order: str, **entry: str) -> Any:
    same = {name: ORDER[name] for name in SecondEntry.model_fields if name in ORDER}
    return bench.ask("second", "POST", f"/orders/{order}/confirm", {"entry": same | entry, "signature": bench.signature("second")})


def test_both_actives_are_calculated_signed_and_bound(stocked: Any) -> None:
    answer = enter(stocked)
    assert answer.status_code == 201, answer.text
    assert (answer.json()["dose"]["rounded_mg"], answer.json()["dose"]["second"]["rounded_mg"]) == ("12.5", "6.25")
    order = DoseOrder.model_validate(stocked.workstation.store.state("order", answer.json()["order"])["order"])
    assert order.cartridges == ("SPI-DEMO-01-A", "HCT-DEMO-01-A")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"second_ink_lot": "", "second_cartridge": ""}, "one lot is named"),
        ({"second_moiety": "", "second_prescribed": ""}, "one is prescribed"),
        ({"second_prescribed": "6.250,5"}, "hydrochlorothiazide"),
        ({"second_unit": "mg/kg"}, "hydrochlorothiazide"),
        ({"second_ink_lot": "SPI-DEMO-01", "second_cartridge": "SPI-DEMO-01-A"}, "hydrochlorothiazide"),
        ({"second_basis": ""}, "second active"),
    ],
)
def test_what_is_missing_or_wrong_of_the_second_is_named(stocked: Any, changes: dict[str, str], words: str) -> None:
    answer = enter(stocked, **changes)
    assert answer.status_code == 422 and words in answer.text, answer.text
    assert list(stocked.workstation.store.objects("order")) == []


def test_the_second_person_enters_both_amounts(stocked: Any) -> None:
    order = enter(stocked).json()["order"]
    differing = confirm(stocked, order, prescribed="12.5", second_prescribed="6.5")
    assert differing.status_code == 409 and "second" in differing.json()["detail"] and "6.25" not in differing.json()["detail"]
    assert confirm(stocked, order, prescribed="12.5", second_prescribed="").status_code == 422
    assert confirm(stocked, order, prescribed="12.5", second_prescribed="6.25").status_code == 200


def test_a_cell_is_handed_both_sources_and_what_was_scanned(stocked: Any) -> None:
    production = stocked.workstation.production
    order = enter(stocked).json()["order"]
    confirm(stocked, order, prescribed="12.5", second_prescribed="6.25")
    state = production.order(order)
    job = production._job("B1", state, DoseOrder.model_validate(state["order"]), SYSTEM)
    assert job["second_ink_lot"]["lot"] == "HCT-DEMO-01" and job["second_cartridge"]["serial"] == "HCT-DEMO-01-A"
    assert "second_prescribed" in production.asked_again(order)
