"""Care for a cell between runs: the daily check of its balance, its cleaning. The cell decides, and keeps the record."""

from __future__ import annotations

import json
from collections.abc import Mapping

from pydantic import JsonValue, ValidationError

from api.access import Credentials, actor_of, actor_record
from api.cells import CellDirectory
from api.errors import InputInvalid
from api.people import People
from api.security import Permission, Session
from audit.events import Subject
from printer.equipment import MEANING_REGISTER, EquipmentRegister
from printer.register_file import SignedRegister

CellAnswer = dict[str, JsonValue]


def signed_register(people: People, session: Session, register: EquipmentRegister, credentials: Credentials) -> SignedRegister:
    """Have an equipment register signed as quality assurance. Raises what a signature may."""
    signature = people.sign(
        session,
        credentials,
        permission=Permission.CHANGE_EQUIPMENT,
        meaning=MEANING_REGISTER,
        digest=register.digest,
        subject=Subject("equipment", register.reference),
    )
    return SignedRegister(register=register, signature=signature)


class Care:
    """Every method is one act of one person, in the role that allows it. All of them may raise CellUnreachable or CellRefused.

    Concurrency: safe for several threads; of two people who ask at once, the cell refuses the second.
    """

    def __init__(self, cells: CellDirectory, people: People) -> None:
        self._cells = cells
        self._people = people

    def sign_register(self, session: Session, fields: Mapping[str, JsonValue], credentials: Credentials) -> CellAnswer:
        """Sign an equipment register as quality assurance; the answer is the file for the cell's folder.

        Raises InputInvalid for fields that do not fit, and what a signature may.
        """
        try:
            register = EquipmentRegister.model_validate_json(json.dumps(dict(fields)))
        except ValidationError as error:
            places = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)[:5]]
            remedy = "See docs/engineer.md for the fields of an equipment register."
            raise InputInvalid(f"This is no equipment register: {'; '.join(places)}.", remedy=remedy) from error
        signed: CellAnswer = signed_register(self._people, session, register, credentials).model_dump(mode="json", by_alias=True)
        return signed

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
