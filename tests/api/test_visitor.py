"""A page that looks by itself, and whose session ends at some moment."""

from __future__ import annotations

import asyncio
import threading
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any, cast

import pytest
from nicegui import Client
from nicegui.page import page

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
