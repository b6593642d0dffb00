"""The bar of a locked session: STOP works, and the password opens it again. What shows the run stays; any other page shows nothing more.

A plain form, like STOP: it needs neither script nor websocket. As long as it is there, columns and dialogs are inert
(`connection.js`), and every act is refused by the services besides.
"""

from __future__ import annotations

from html import escape

from nicegui import ui

from api.errors import NotLoggedIn
from api.security import Session
from api.workstation.pieces import Changing
from api.workstation.places import way_back
from api.workstation.visitor import Visitor
from api.workstation.words import said

_LOOK_S = 2.0


def locked_html(session: Session, back: str) -> str:
    """Return the form that opens a locked session again, or nothing where it is not locked."""
    if not session.locked:
        return ""
    code = (
        f'<label>{said("One-time or recovery code")} <input name="code" autocomplete="one-time-code" autocapitalize="none"></label>'
        if session.remote
        else ""
    )
    return (
        f'<section class="dw-locked" role="alert"><b>'
        f"{said('Locked: nobody used this session for too long, or the workstation started again.')}</b> "
        f"{said('STOP works. To go on, give the password again.')}</section>"
        '<form class="dw-unlock" method="post" action="/api/v1/session/resume">'
        f'<input type="hidden" name="back" value="{escape(back)}">'
        f'<input type="text" autocomplete="username" value="{escape(session.username)}" readonly hidden>'
        f"<label>{said('Password of {person}', person=escape(session.username))} "
        '<input name="password" type="password" autocomplete="current-password" required></label>'
        f'{code}<button class="dw-plain">{said("Go on")}</button></form>'
    )


class LockBar:
    """Shows the bar when the session is locked. Lifetime: that of the page; `watch` begins to look by itself.

    `stays`: what the page shows may be seen by whoever comes by. Any other is loaded anew when the session is locked, and when it is opened
    again elsewhere: what it is built with says what it may show.
    """

    def __init__(self, visitor: Visitor, *, stays: bool) -> None:
        self._visitor = visitor
        self._back = way_back(visitor.address)
        self._stays = stays
        self._built_locked = visitor.session().locked
        self._bar = Changing("dw-lockbar")
        self.look()

    def look(self) -> None:
        """Show whether the session is locked; leave the page where it has ended."""
        try:
            session = self._visitor.session()
        except NotLoggedIn:
            self._visitor.leave()
            return
        self._bar.show(locked_html(session, self._back))
        if not self._stays and session.locked != self._built_locked:
            self._visitor.load_anew()

    def watch(self) -> None:
        """Look again and again, on a page that does not refresh itself."""
        ui.timer(_LOOK_S, self.look)
