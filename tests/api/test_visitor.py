"""A page that looks by itself, and whose session ends at some moment."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client
from nicegui.page import page
from pydantic import BaseModel, Field, ValidationError

from api.errors import NotLoggedIn
from api.security import Sessions
from api.workstation.visitor import Visitor
from audit.clock import SystemClock
from audit.errors import RecordError
from audit.identity import Role


@pytest.mark.parametrize("ends", ["before", "within", "never"])
def test_a_page_is_left_whenever_its_session_ends(ends: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(SystemClock(), minutes=5)
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    seen: list[str] = []
    gone: list[str] = []
    with Client(page("")) as client:
        visitor = Visitor(cast("Any", SimpleNamespace(sessions=sessions)), token, "cell-1")
        monkeypatch.setattr("nicegui.ui.navigate.to", gone.append)

        async def look() -> None:
            seen.append(visitor.session().username)
            await asyncio.sleep(0)
            if ends == "within":
                sessions.close_person("operator")
            seen.append(visitor.session().username)

        if ends == "before":
            sessions.close_person("operator")
        asyncio.run(visitor.look(look))
        if ends != "never":
            with pytest.raises(NotLoggedIn):
                visitor.session()
    client.delete()
    assert seen == {"before": [], "within": ["operator"], "never": ["operator", "operator"]}[ends]
    assert gone == ([] if ends == "never" else ["/login"])


@pytest.mark.parametrize("closing", [True, False])
def test_a_look_that_fails_is_told_unless_the_process_ends(closing: bool) -> None:
    sessions, ends = Sessions(SystemClock(), minutes=5), threading.Event()
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    if closing:
        ends.set()

    async def look() -> None:
        raise RecordError("The store is closed.", remedy="Open it again.")

    with Client(page("")) as client:
        visitor = Visitor(cast("Any", SimpleNamespace(sessions=sessions, closing=ends)), token, "cell-1")
        with nullcontext() if closing else pytest.raises(RecordError):
            asyncio.run(visitor.look(look))
    client.delete()


class _Typed(BaseModel):
    value_mg: str = Field(max_length=5)


def _wrong_value(session: object) -> object:
    return _Typed(value_mg="14 days of treatment")


def _unforeseen(session: object) -> object:
    return {"answer": 1}["run"]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the page says at its lower edge."""
    said: list[str] = []
    monkeypatch.setattr("nicegui.ui.notify", lambda text, **_: said.append(text))
    return said


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    sessions = Sessions(SystemClock(), minutes=5)
    token = sessions.open("operator", "Operator", [Role.OPERATOR])
    with Client(page("")) as client:
        yield Visitor(cast("Any", SimpleNamespace(sessions=sessions)), token, "cell-1")
    client.delete()


@pytest.mark.parametrize(
    ("action", "code", "words", "logged"),
    [
        (_unforeseen, "DW-000", "The workstation met an error that it did not foresee.", True),
        (_wrong_value, "AP-014", "value mg: at most 5 characters", False),
    ],
)
def test_an_act_that_fails_in_a_way_that_nobody_foresaw_is_answered(
    action: Any, code: str, words: str, logged: bool, visitor: Visitor, told: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    error = asyncio.run(visitor.attempt(action))
    assert error is not None and error.code == code
    assert not asyncio.run(visitor.act(action, "Done."))
    assert [text for text in told if words in text] == told and len(told) == 1
    assert ("An act on a page failed." in caplog.text) is logged
    assert "14 days" not in caplog.text


def test_what_fails_outside_an_act_is_told_and_not_again_and_again(visitor: Visitor, told: list[str]) -> None:
    with pytest.raises(ValidationError) as wrong:
        _wrong_value(None)
    cast("Client", visitor.page()).handle_exception(wrong.value)
    cast("Client", visitor.page()).handle_exception(ValueError("again"))
    assert len(told) == 1 and "value mg" in told[0]


def test_an_act_that_begins_while_the_process_ends_is_not_called_done(
    visitor: Visitor, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nicegui.core.app", SimpleNamespace(is_stopping=True))
    done: list[object] = []
    assert not asyncio.run(visitor.act(done.append, "Done."))
    assert done == [] and "not known" in told[0]
