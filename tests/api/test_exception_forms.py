"""The forms for exceptions: what is signed is what was shown, nothing is chosen for the person, a password does not stay."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from nicegui import Client
from nicegui.page import page

from api.workstation import exceptions as forms_of_exceptions
from api.workstation.exceptions import CartridgeForm, ExceptionForm, exception_html, offers
from audit.errors import DosewrightError

FINDING = "3 of 13 printed units rejected or scrapped, 23.1 %, limit 20 %"


@pytest.fixture
def canvas() -> Iterator[Client]:
    with Client(page("")) as client:
        yield client
    client.delete()


class FakeVisitor:
    """Hands acts to a desk that keeps what it was asked; `answer` is whether an act is done."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, Any]] = []
        self.answer = True
        self.refused: list[str] = []
        desk = SimpleNamespace(
            resolve=lambda session, batch, cause, credentials: self.asked.append(("resolve", batch, cause, credentials)),
            take_back=lambda session, batch, cartridge: self.asked.append(("take back", batch, cartridge, None)),
        )
        self.workstation = SimpleNamespace(exceptions=desk)

    def session(self) -> Any:
        return SimpleNamespace(username="quality", remote=False)

    async def act(self, action: Callable[[Any], object], done: str = "") -> bool:
        try:
            action(self.session())
        except DosewrightError as error:
            self.refused.append(error.message)
            return False
        return self.answer


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(forms_of_exceptions.ui, "notify", lambda text, **_: found.append(text))
    return found


def test_the_finding_that_is_shown_is_the_one_that_is_signed(canvas: Client, said: list[str]) -> None:
    visitor, reviewed = FakeVisitor(), []

    async def done() -> None:
        reviewed.append(True)

    form = ExceptionForm(visitor, "B00001", "reject-rate", FINDING, done)  # type: ignore[arg-type]
    form.password.value = "secret"
    asyncio.run(form.sign())
    assert visitor.asked == [] and said and form.code.value is None and form.password.value == ""
    form.code.value, form.cause.value, form.password.value = "material", "an air bubble in the cartridge", "secret"
    visitor.answer = False
    asyncio.run(form.sign())
    assert reviewed == [], "what was refused leaves the form as it is"
    form.password.value = "secret"
    visitor.answer = True
    asyncio.run(form.sign())
    (_, batch, cause, credentials) = visitor.asked[-1]
    assert (batch, cause.exception, cause.finding, cause.reason_code, credentials.password) == (
        "B00001",
        "reject-rate",
        FINDING,
        "material",
        "secret",
    )
    assert reviewed == [True] and form.password.value == ""


@pytest.mark.parametrize(("units", "cause", "refused"), [(10_000, "a lamp that went out", False), (1, "x" * 2001, True)])
def test_a_finding_may_be_long_and_a_cause_that_is_too_long_is_refused_in_words(
    canvas: Client, said: list[str], units: int, cause: str, refused: bool
) -> None:
    visitor = FakeVisitor()
    held = "held: T² 14.2345678 is above 12.345: unlike the training data, Q 0.0123456789 is above 0.009: holds what they do not"
    finding = "mass-sensor@1: " + "; ".join(f"B00042-R1/{n:05d} {held}" for n in range(units)) + " "

    async def done() -> None:
        pass

    form = ExceptionForm(visitor, "B00042", "model/mass-sensor@1", finding, done)  # type: ignore[arg-type]
    form.code.value, form.cause.value, form.password.value = "equipment", cause, "secret"
    asyncio.run(form.sign())
    assert [asked[2].finding for asked in visitor.asked] == ([] if refused else [finding])
    assert any("cause" in text for text in visitor.refused) is refused


def test_a_cartridge_is_recorded_only_with_all_of_it(canvas: Client, said: list[str]) -> None:
    visitor = FakeVisitor()

    async def done() -> None:
        pass

    form = CartridgeForm(visitor, "B00001", done)  # type: ignore[arg-type]
    form.serial.value, form.gross.value, form.uncertainty.value = " C-77 ", "28000.0", "2"
    asyncio.run(form.take_back())
    assert visitor.asked == [] and said
    form.balance.value = "B-7"
    asyncio.run(form.take_back())
    assert visitor.asked[0][2].model_dump() == {
        "serial": "C-77",
        "gross_mg": "28000.0",
        "uncertainty_mg": "2",
        "balance": "B-7",
        "empty_mg": "",
    }


@pytest.mark.parametrize(("detail", "count"), [("C-77: it was not weighed back", 1), ("the recipe's control strategy sets no limit", 0)])
def test_the_cartridge_is_asked_for_where_it_is_missing(detail: str, count: int, canvas: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr(forms_of_exceptions, "CartridgeForm", lambda *_: shown.append("cartridge"))
    monkeypatch.setattr(forms_of_exceptions, "ExceptionForm", lambda *given: shown.append(given[2]))
    record: Any = {"evidence": [{"detail": detail}]}
    offered = offers(FakeVisitor(), "B1", [{"exception": "reject-rate", "finding": FINDING}], record, None)  # type: ignore[arg-type]
    assert len({key for key, _ in offered}) == len(offered)
    for _, build in offered:
        build()
    assert shown == ["cartridge"] * count + ["reject-rate"]


def test_a_finding_is_text_and_never_markup() -> None:
    assert "<script>" not in exception_html("<script>", "<script>alert(1)</script>")
