"""Care for a cell between runs: the daily check of its balance, its cleaning. The cell decides, and keeps the record."""

from __future__ import annotations

from pydantic import JsonValue

from api.access import actor_of, actor_record
from api.cells import CellDirectory
from api.security import Permission, Session

CellAnswer = dict[str, JsonValue]


class Care:
    """Every method is one act of one person, in the role that allows it. All of them may raise CellUnreachable or CellRefused.

    Concurrency: safe for several threads; of two people who ask at once, the cell refuses the second.
    """

    def __init__(self, cells: CellDirectory) -> None:
        self._cells = cells

    def readiness(self, cell: str) -> CellAnswer:
        """Return the gates that can be judged without a job."""
        return self._cells.client(cell).readiness()

    def begin_check(self, session: Session, cell: str) -> CellAnswer:
        return self._cells.client(cell).begin_check(_actor(session))

    def confirm_check(self, session: Session, cell: str, step: str) -> CellAnswer:
        """Say that what the instruction of this step asks for is done."""
        return self._cells.client(cell).confirm_check(_actor(session), step)

    def abandon_check(self, session: Session, cell: str, reason: str) -> CellAnswer:
        return self._cells.client(cell).abandon_check(_actor(session), reason)

    def record_cleaning(self, session: Session, cell: str, method: str) -> CellAnswer:
        """Put on record that the person cleaned the cell."""
        return self._cells.client(cell).record_cleaning(_actor(session), method)


def _actor(session: Session) -> dict[str, str]:
    return actor_record(actor_of(session, Permission.CARE))
