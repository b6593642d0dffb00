"""The one daily check that a cell may have under way: from its beginning on record to its end on record.

Effects are those of a run: bytes for the balance, entries for the recorder. The tokens of a check's records are negative, so
that they are never taken for those of a run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from audit.canonical import JsonObject
from audit.events import Actor, EntryDraft
from printer.check_session import CheckSession
from printer.errors import CellRefused
from printer.messages import (
    Port,
    PortBytes,
    PortLost,
    Record,
    Recorded,
    RecordFailed,
    RecordLate,
    RunEffect,
    Send,
    Tick,
)

CheckInput = PortBytes | PortLost | Tick | Recorded | RecordFailed | RecordLate


class CheckDesk:
    """Holds the session that is under way, and the last one for the page.

    Lifetime: that of the cell. Concurrency: owned by the controller thread.
    """

    def __init__(self) -> None:
        self._session: CheckSession | None = None
        self._awaited: int | None = None
        self._closing = False
        self._problem = ""
        self._token = 0
        self.is_open = False

    def open(self, session: CheckSession) -> list[RunEffect]:
        """Put the beginning on record; nothing is asked of the balance before that."""
        self._session, self.is_open, self._closing, self._problem = session, True, False, ""
        return [self._record(session.beginning())]

    def refuse_if_open(self) -> None:
        """Raise CellRefused while a check is under way."""
        if self.is_open and self._session is not None:
            raise CellRefused(
                [f"a daily check of the balance is under way, begun by {self._session.who.name}"], remedy="Finish or abandon it first."
            )

    def confirm(self, who: Actor, step: str, now: int) -> list[RunEffect]:
        return _send(self._under_way().confirm(who, step, now))

    def abandon(self, who: Actor, reason: str, day: str) -> list[RunEffect]:
        session = self._under_way()
        session.abandon(f"{reason} ({who.name})", who)
        return self._end(session, day)

    def refuse_if_none(self) -> None:
        """Raise CellRefused where no check is under way."""
        self._under_way()

    def refuse_to_confirm(self, who: Actor | None) -> None:
        """Raise CellRefused where no step waits for this person."""
        self._under_way().refuse_to_confirm(who)

    def handle(self, event: CheckInput, now: int, day: Callable[[], str]) -> list[RunEffect]:
        """Take what the devices and the clock say while the check is under way, and the recorder's answers to its own records."""
        session = self._session
        if session is None:
            return []
        match event:
            case PortBytes(Port.BALANCE, data):
                effects = _send(session.receive(data, now))
            case PortLost(Port.BALANCE, reason):
                session.abandon(f"the balance was lost: {reason}")
                effects = []
            case Tick():
                effects = _send(session.tick(now))
            case Recorded(token) if token == self._awaited:
                effects = self._recorded(session, now)
            case RecordFailed(token, reason) | RecordLate(token, reason) if token == self._awaited:
                return self._not_recorded(session, reason)
            case PortBytes() | PortLost() | Recorded() | RecordFailed() | RecordLate():
                return []  # of another device, or an answer that came too late
            case _:
                assert_never(event)
        return effects + (self._end(session, day()) if session.ended else [])

    def view(self) -> JsonObject:
        """Return what a page shows; empty before the first check of this process."""
        if self._session is None:
            return {}
        shown = self._session.view()
        return {**shown, "passed": False if self._problem else shown["passed"], "under_way": self.is_open, "problem": self._problem}

    def _under_way(self) -> CheckSession:
        if self._session is None or not self.is_open or self._closing:
            raise CellRefused(["no daily check is under way"], remedy="Begin one.")
        return self._session

    def _recorded(self, session: CheckSession, now: int) -> list[RunEffect]:
        self._awaited = None
        if self._closing:
            self.is_open = False
            return []
        return _send(session.begin(now))

    def _not_recorded(self, session: CheckSession, reason: str) -> list[RunEffect]:
        """What is not on record was not done: the check ends here, and the gate stays as the trail has it."""
        session.abandon(f"it could not be recorded: {reason}")
        self._problem = f"The check could not be recorded: {reason}. It does not count."
        self._awaited, self.is_open = None, False
        return []

    def _end(self, session: CheckSession, day: str) -> list[RunEffect]:
        if self._closing or not self.is_open:
            return []
        self._closing = True
        return [self._record(session.completion(day))]

    def _record(self, draft: EntryDraft) -> RunEffect:
        self._token -= 1
        self._awaited = self._token
        return Record(self._token, (draft,))


def _send(data: bytes) -> list[RunEffect]:
    return [Send(Port.BALANCE, data)] if data else []
