"""One open page: its session, asked for anew at every event."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from nicegui import context, run, ui
from pydantic import ValidationError

from api.access import GivenFactor
from api.errors import NotLoggedIn, WorkstationError
from api.read_form import does_not_fit
from api.security import Session
from api.wiring import Workstation
from api.workstation.refusal import refusal_text
from api.workstation.words import marked, said, speak, spoken
from audit.errors import DosewrightError

_log = logging.getLogger(__name__)
_TELLS_S = 9.0
"""How long a message stays on a page."""


class Visitor:
    """Who looks at a page, and the only way in which a page does anything. `address` is the path of the page and what was asked of it.

    Lifetime: that of the page. Concurrency: the event loop's thread; acts run in worker threads.
    """

    def __init__(self, workstation: Workstation, token: str, cell: str, address: str = "/") -> None:
        self.workstation = workstation
        self.cell = cell
        self.address = address
        self._token = token
        # an act may remove the very element it began on; what it came to is said to the page
        self._client = context.client
        self._language = spoken()
        self._failed_at = -_TELLS_S
        self._client.on_exception(self._tell_failure)
        ui.on("dw-activity", self.touch)

    def touch(self) -> None:
        """Note that a person types or presses on the page; what the page asks by itself does not count."""
        self.workstation.sessions.touch(self._token)

    def session(self) -> Session:
        """Return the session, or raise NotLoggedIn when it has ended since the page was opened."""
        session = self.workstation.sessions.find(self._token)
        if session is None:
            raise NotLoggedIn("The session has ended.", remedy="Log in again.")
        return replace(session, at_page=True)

    async def look(self, look: Callable[[], Awaitable[object]]) -> None:
        """Have the page look at something by itself; leave it where the session has ended, be that in the midst of the look.

        A look that meets the end of the process shows nothing more.
        """
        try:
            self.session()
            await look()
        except NotLoggedIn:
            self.leave()
        except DosewrightError:
            if not self.workstation.closing.is_set():
                raise

    def leave(self) -> None:
        """Go to the log-in, as whoever opens the page without a session does."""
        with self._client:
            ui.navigate.to("/login")

    def load_anew(self) -> None:
        """Have the browser ask for the page again; nothing of this one stays."""
        with self._client:
            ui.navigate.reload()

    def change_password(self, session: Session, password: str, new_password: str, given: GivenFactor) -> None:
        """Set an own new password; this page's session goes on with it."""
        self.workstation.people.change_password(session, password, new_password, token=self._token, given=given)

    def go_to(self, cell: str) -> None:
        """Open the page of another cell in place of this one."""
        with self._client:
            ui.navigate.to(f"/?cell={cell}")

    def download(self, data: bytes, name: str) -> None:
        """Hand a file to the browser."""
        with self._client:
            ui.download.content(data, name)

    def page(self) -> AbstractContextManager[object]:
        """The page itself as the place for what outlives the element that an act began on."""
        return self._client

    def run_script(self, code: str) -> None:
        """Have the browser run a line of the page's own script."""
        with self._client:
            ui.run_javascript(code)

    async def attempt(self, action: Callable[[Session], object]) -> DosewrightError | None:
        """Carry out one act off the event loop; return why it was not done, for the page to show beside what was pressed.

        What nobody foresaw is kept in the log and returned like a refusal: a press is always answered.
        """
        self.touch()
        speak(self._language)  # the element that was pressed may be gone when the act is over

        def carry_out(session: Session) -> bool:
            action(session)
            return True

        try:
            if await run.io_bound(carry_out, self.session()):
                return None
        except (DosewrightError, ValidationError) as error:
            return refusal_of(error)
        except Exception as error:  # an act may meet anything; who pressed hears of it
            _log.exception("An act on a page failed.")
            return refusal_of(error)
        return WorkstationError("The workstation is ending: whether this was done is not known.", remedy="Look at its state, then decide.")

    async def act(self, action: Callable[[Session], object], done: str = "") -> bool:
        """Carry out one act off the event loop; show why it was refused. Returns whether it was done."""
        error = await self.attempt(action)
        if error is not None:
            self._tell(error)
            return False
        if done:
            with self._client:
                ui.notify(done, type="positive", position="bottom")
        return True

    def _tell(self, error: DosewrightError) -> None:
        with self._client:
            ui.notify(
                refusal_text(error),
                type="negative",
                position="bottom",
                multi_line=True,
                timeout=_TELLS_S * 1000,
                close_button=said("Close"),
            )

    def _tell_failure(self, error: Exception) -> None:
        """Say that something on the page failed outside every act. What fails again and again is said once while the message stands."""
        if (now := time.monotonic()) - self._failed_at >= _TELLS_S:
            self._failed_at = now
            self._tell(refusal_of(error))


def refusal_of(error: Exception) -> DosewrightError:
    """Return any error as a refusal: one about what was typed names the field, and all else says that it was not foreseen."""
    match error:
        case DosewrightError():
            return error
        case ValidationError():
            return does_not_fit(error)
        case _:
            return DosewrightError(
                marked("The workstation met an error that it did not foresee."),
                remedy=marked("Look whether it was done, then call whoever looks after the workstation; its log names the cause."),
            )
