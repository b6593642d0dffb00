"""What a run has asked to be put on record, what it waits for, and what could not be recorded."""

from __future__ import annotations

from collections.abc import Callable

from audit.events import EntryDraft, EventKind
from printer.drafts import Drafts
from printer.messages import Record

_UNIT_ENDS = (
    EventKind.UNIT_WEIGHT_JUDGED,
    EventKind.UNIT_PRINT_SCRAPPED,
    EventKind.UNIT_PARTS_JUDGED,
    EventKind.PART_WEIGHT_JUDGED,
    EventKind.PART_PRINT_SCRAPPED,
    EventKind.CALIBRATION_WEIGHT_JUDGED,
    EventKind.CALIBRATION_PRINT_SCRAPPED,
)


class RunRecord:
    """The records of one run: drafted, asked for, awaited, lost.

    Concurrency: owned by the run machine.
    """

    def __init__(self, run: str, device: str, end_lost: Callable[[EntryDraft, str], EntryDraft]) -> None:
        """`end_lost`: how a unit ends whose end could not be recorded."""
        self.drafts = Drafts(run, device)
        self._end_lost = end_lost
        self._awaited: int | None = None
        self._await_next = False
        self._insist = False
        self.unwritten: str | None = None
        self._ends: dict[int, tuple[EntryDraft, ...]] = {}
        self._lost_ends: dict[str, EntryDraft] = {}

    def await_next(self, *, insist: bool = False) -> None:
        """Wait for the record of what is drafted in this step; `insist`: until it is committed, however often that fails."""
        self._await_next, self._insist = True, insist

    def await_nothing(self) -> None:
        self._awaited, self._await_next = None, False

    def commit(self) -> Record | None:
        """Return the record of what was drafted in this step, None if nothing was."""
        drafts = self.drafts.take()
        if not drafts:
            return None
        token = self.drafts.next_token()
        self._ends[token] = tuple(draft for draft in drafts if draft.kind in _UNIT_ENDS)
        insist = self._await_next and self._insist
        if self._await_next:
            self._awaited, self._await_next = token, False
        return Record(token, drafts, insist)

    def recorded(self, token: int) -> bool:
        """Note that a record is committed; return whether it is the awaited one."""
        for draft in self._ends.pop(token, ()):
            self._lost_ends.pop(str(draft.subject), None)
        if token != self._awaited:
            return False
        self._awaited = self.unwritten = None
        return True

    def failed(self, token: int, reason: str) -> None:
        """Note that a record is not committed: the units that ended in it are scrapped, whatever they weighed.

        One that is insisted on is committed in the end: what it says stays as it is, and why it is late is kept.
        """
        if token == self._awaited and self._insist:
            self.unwritten = reason
            return
        for draft in self._ends.pop(token, ()):
            self._lost_ends[str(draft.subject)] = self._end_lost(draft, reason)

    def lost_again(self) -> None:
        """Draft once more the ends that could not be recorded."""
        for draft in self._lost_ends.values():
            self.drafts.again(draft)
