"""What a run has asked to be put on record, what it waits for, and what could not be recorded."""

from __future__ import annotations

from collections.abc import Callable

from audit.events import EntryDraft, EventKind
from printer.drafts import Drafts
from printer.messages import Record

_UNIT_ENDS = frozenset(
    {
        EventKind.UNIT_WEIGHT_JUDGED,
        EventKind.UNIT_PRINT_SCRAPPED,
        EventKind.UNIT_PARTS_JUDGED,
        EventKind.PART_WEIGHT_JUDGED,
        EventKind.PART_PRINT_SCRAPPED,
        EventKind.CALIBRATION_WEIGHT_JUDGED,
        EventKind.CALIBRATION_PRINT_SCRAPPED,
    }
)
_INTENTS = frozenset(
    {
        EventKind.RUN_ACTION_INTENDED,
        EventKind.UNIT_PRINT_INTENDED,
        EventKind.PART_PRINT_INTENDED,
        EventKind.CALIBRATION_PRINT_INTENDED,
    }
)


class RunRecord:
    """The records of one run: drafted, asked for, awaited, lost.

    A record that fails while the run goes on is drafted again, ahead of what its failure leads to; one that is asked for once
    the run has ended is insisted on, for nothing is left to stop. So what happened is in the trail, in its order.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: str, device: str, end_lost: Callable[[EntryDraft, str], EntryDraft]) -> None:
        """`end_lost`: how a unit ends whose end could not be recorded."""
        self.drafts = Drafts(run, device)
        self._end_lost = end_lost
        self._awaited: int | None = None
        self._await_next = False
        self._asked: dict[int, Record] = {}
        self.unwritten: str | None = None

    @property
    def settled(self) -> bool:
        """Whether every record asked for is answered."""
        return not self._asked

    def await_next(self) -> None:
        """Wait for the record of what is drafted in this step."""
        self._await_next = True

    def await_nothing(self) -> None:
        self._awaited, self._await_next = None, False

    def commit(self, *, insist: bool) -> Record | None:
        """Return the record of what was drafted in this step, None if nothing was.

        `insist`: it is tried until it is committed, however often that fails.
        """
        drafts = self.drafts.take()
        if not drafts:
            return None
        asked = Record(self.drafts.next_token(), drafts, insist)
        self._asked[asked.token] = asked
        if self._await_next:
            self._awaited, self._await_next = asked.token, False
        return asked

    def recorded(self, token: int) -> bool:
        """Note that a record is committed; return whether it is the awaited one."""
        self._asked.pop(token, None)
        if self.settled:
            self.unwritten = None
        if token != self._awaited:
            return False
        self._awaited = None
        return True

    def late(self, reason: str) -> None:
        """Note why a record is not committed yet: it may still be."""
        self.unwritten = reason

    def failed(self, token: int, reason: str) -> None:
        """Note that a record is not committed, and draft it again: the units that ended in it are scrapped, whatever they weighed.

        What was only intended never began, so it is left out. A record that is insisted on is committed in the end as it is.
        """
        asked = self._asked.get(token)
        if asked is None:
            return
        if asked.insist:
            self.unwritten = reason
            return
        del self._asked[token]
        for draft in asked.drafts:
            if draft.kind in _UNIT_ENDS:
                self.drafts.again(self._end_lost(draft, reason))
            elif draft.kind not in _INTENTS:
                self.drafts.again(draft)
