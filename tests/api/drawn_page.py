"""A page as the workstation builds it, without a browser: its fields by their labels, and its buttons by their words."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest
from nicegui import Client, core, ui
from nicegui.element import Element
from nicegui.page import page

from api.workstation.visitor import Visitor
from audit.identity import Role

E = TypeVar("E", bound=Element)


@dataclass
class DrawnPage:
    """What a person does on a page. Lifetime: that of `drawn`."""

    client: Client
    visitor: Visitor

    def elements(self, kind: type[E]) -> list[E]:
        return [element for element in self.client.layout.descendants() if isinstance(element, kind)]

    def html(self) -> str:
        """All that the page shows as HTML."""
        return "\n".join(element.content for element in self.elements(ui.html))

    def field(self, label: str) -> Any:
        found = [element for element in self.client.layout.descendants() if element.props.get("label") == label]
        assert len(found) == 1, f"{label!r}: {len(found)} fields of {[e.props.get('label') for e in self.client.layout.descendants()]}"
        return found[0]

    def button(self, words: str) -> ui.button:
        (found,) = [element for element in self.elements(ui.button) if element.text == words]
        return found

    def press(self, words: str) -> None:
        """Press a button; one of a form carries out the form."""
        button = self.button(words)
        sender, event = button, "click"
        if button.props.get("type") == "submit":
            sender, event = self.form_of(button), "submit.prevent"
        (listener,) = [item for item in sender._event_listeners.values() if item.type == event]
        asyncio.run(_carried_out(listener.handler))

    def wait(self, work: Callable[[], Awaitable[object]]) -> None:
        """Have the page do something by itself, and wait for it."""

        async def on_page() -> None:
            with self.client:
                await work()

        asyncio.run(on_page())

    @staticmethod
    def form_of(element: Element) -> Element:
        """The form that an element stands in."""
        while element.tag != "form":
            assert element.parent_slot is not None
            element = element.parent_slot.parent
        return element


async def _carried_out(handler: Any) -> None:
    """Call a handler of an event, and wait for what it begins."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(core, "loop", asyncio.get_running_loop())
        parameters = inspect.signature(handler).parameters.values()
        result = handler(None) if any(item.default is item.empty for item in parameters) else handler()
        if inspect.isawaitable(result):
            await result
        while begun := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*begun)


@contextmanager
def drawn(bench: Any, username: str, *roles: Role, remote: bool = False) -> Iterator[DrawnPage]:
    """Give the empty page of a person with these roles; what is built within stands on it."""
    token = bench.workstation.sessions.open(username, username.title(), roles, remote=remote)
    with Client(page("")) as client:
        yield DrawnPage(client, Visitor(bench.workstation, token, "cell-1"))
    client.delete()
