"""Pieces of a page that stay the elements they are, so that a press is never lost and what a person types stays.

A press is two events, down and up. An element that is built anew between them never hears of either.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from importlib.resources import files

from nicegui import ui

from api.process_facts import process_name

INERT = "inert"
_CONNECTION = (files("api.workstation") / "style" / "connection.js").read_text(encoding="utf-8")


def connection_script() -> str:
    """Return what makes columns and dialogs inert while the page is not connected: what is pressed then would be done later, or never.

    It loads the page anew when the workstation was started again, and asks for a log-in when the session has ended.
    """
    return f'<script>window.dwProcess = "{process_name()}";{_CONNECTION}</script>'


class Changing:
    """A piece of the page that is sent again only when its text changes."""

    def __init__(self, classes: str = "") -> None:
        self._element = ui.html("", sanitize=False).classes(f"w-full {classes}")
        self._shown = ""

    def show(self, html: str) -> None:
        """Show this text, where the piece is still on the page: an act may end after the part that it began on is gone."""
        if html != self._shown and not self._element.is_deleted:
            self._shown = html
            self._element.set_content(html)


class Parts:
    """One part for each thing that is offered, in order. A part is built when its key comes and taken away when it goes.

    The key names everything that pressing the part's controls would act on: a person never acts on what was not shown.
    """

    def __init__(self, classes: str = "dw-stack") -> None:
        self._place = ui.element("div").classes(classes)
        self._parts: dict[Hashable, ui.element] = {}
        self._held: list[ui.button] = []

    @property
    def gone(self) -> bool:
        """Whether the page was left while something was asked for it."""
        return self._place.is_deleted

    def show(self, wanted: Iterable[tuple[Hashable, Callable[[], object]]]) -> None:
        """Show these parts, each a key with what builds it, and no others; nothing on a page that was left meanwhile."""
        if self.gone:
            return
        self.release()
        parts = dict(wanted)
        for key in [key for key in self._parts if key not in parts]:
            self._parts.pop(key).delete()
        for at, (key, build) in enumerate(parts.items()):
            if key not in self._parts:
                with self._place, ui.element("div").classes("dw-part") as part:
                    build()
                self._parts[key] = part
            if self._place.default_slot.children[at] is not self._parts[key]:
                self._parts[key].move(target_index=at)

    def hold(self) -> None:
        """Keep what is shown while it is not known what is offered: what is typed stays, and no button takes a press until `release`."""
        if self.gone or self._held:
            return
        self._held = [button for button in self._place.descendants() if isinstance(button, ui.button) and button.enabled]
        for button in self._held:
            button.disable()

    def release(self) -> None:
        """Let the buttons take presses again: what is shown is what is offered."""
        for button in self._held:
            if not button.is_deleted:
                button.enable()
        self._held = []
