"""Scans on a page, from a scanner that types and from one on the workstation's serial port: both are told to the page in the same way."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from importlib.resources import files

from nicegui import context, ui
from nicegui.events import GenericEventArguments

from api.errors import NotLoggedIn
from api.interop.scan_code import LONGEST
from api.workstation.visitor import Visitor

_SCRIPT = f"<script>{(files('api.workstation') / 'style' / 'scanner.js').read_text(encoding='utf-8')}</script>"
_HERE = frozenset({"127.0.0.1", "::1"})
_POLL_S = 0.2

Placed = Callable[[str, str], Awaitable[None] | None]
"""Puts a scan where it belongs: what was scanned, and the name of the scan field that had the focus, or empty text."""


class Scans:
    """Hears every scan for one page and has it placed. A scan fills a field; it never presses a button.

    Lifetime: that of the page. The serial scanner speaks to pages in browsers of the workstation's own computer alone.
    """

    def __init__(self, visitor: Visitor, placed: Placed) -> None:
        self._visitor = visitor
        self._placed = placed
        self._scanner = visitor.workstation.scanner
        self._page = uuid.uuid4().hex
        ui.add_body_html(_SCRIPT)
        ui.on("dw-scan", self._typed)
        if visitor.workstation.settings.scanner_port is not None and context.client.ip in _HERE:
            self._scanner.used(self._page)
            ui.on("dw-activity", lambda: self._scanner.used(self._page))
            context.client.on_disconnect(lambda: self._scanner.gone(self._page))
            ui.timer(_POLL_S, self._ask)

    async def _typed(self, event: GenericEventArguments) -> None:
        args = event.args if isinstance(event.args, dict) else {}
        await self._place(str(args.get("text", ""))[: LONGEST + 1], str(args.get("field", ""))[:64])
        self._visitor.run_script("dwScanPlaced()")

    async def _ask(self) -> None:
        for text in self._scanner.take(self._page):
            await self._place(text, "")

    async def _place(self, text: str, field: str) -> None:
        try:
            self._visitor.session()
        except NotLoggedIn:
            return
        self._visitor.touch()
        waited = self._placed(text, field)
        if waited is not None:
            await waited
