"""A cell whose key was replaced: the workstation believes the new one when quality assurance has accepted it, with a signature.

What was signed before stays good: the cell's trail names all of its keys. Where the old key did not sign the rotation, nothing that
the cell can send shows that the site made it: the person gives the new key, received another way.
"""

from __future__ import annotations

from api.access import Credentials, actor_of
from api.cells import CellDirectory
from api.errors import CellTrailInvalid, NotFound, WrongState
from api.people import DEVICE, People
from api.release_desk import fetch_trail
from api.security import Permission, Session
from audit.canonical import JsonObject, canonical, sha256_hex
from audit.checkpoint import VerifierKey
from audit.events import EntryDraft, EventKind, Subject
from audit.release.package_keys import history_of
from audit.release.trail_view import TrailView
from audit.store import TrailStore

MEANING_ACCEPTED = "new key of the cell accepted"


class CellKeys:
    """The keys of the cells, as this workstation believes them.

    Lifetime: that of the workstation. Concurrency: under the turn of the cell.
    """

    def __init__(self, store: TrailStore, people: People, cells: CellDirectory) -> None:
        self._store = store
        self._people = people
        self._cells = cells

    def show(self, cell: str) -> JsonObject:
        """Return the key that is believed, the one that the cell signs with, and whether the first vouches for the second.

        Raises NotFound, CellUnreachable, CellTrailInvalid (the trail does not fit even the key that the cell names).
        """
        enrolled, origin = self._enrolled(cell)
        client = self._cells.client(cell)
        named = str(client.describe().get("verifier_key"))
        history = history_of(TrailView(fetch_trail(client, origin, named).lines))
        if history.problems or history.present is None or history.present.text != named:
            words = "; ".join(f"entry {seq} {problem}" for seq, problem in history.problems) or "it does not name this key"
            raise CellTrailInvalid(
                f"The key of {cell} cannot be relied on: {words}.", remedy="Stop using the cell; its store has to be verified."
            )
        continuous = history.present in history.vouched([VerifierKey.parse(enrolled)])
        return {"cell": cell, "origin": origin, "believed": enrolled, "present": named, "continuous": continuous}

    def accept(self, session: Session, cell: str, credentials: Credentials, key: str, reason: str) -> JsonObject:
        """Believe the cell's present key from now on, signed by quality assurance.

        `key` is the new verifier key as the person received it from the site, not from the cell; it may be empty where the old key signed
        the rotation. Raises NotFound, WrongState, CellTrailInvalid, CellUnreachable, and what a signature may.
        """
        actor = actor_of(session, Permission.CHANGE_EQUIPMENT)
        with self._cells.turn(cell):
            found = self.show(cell)
            if found["present"] == found["believed"]:
                raise WrongState(f"{cell} signs with the key that is believed already.", remedy="There is nothing to accept.")
            if (key.strip() and key.strip() != found["present"]) or not (key.strip() or found["continuous"]):
                gap = "" if found["continuous"] else " The old key did not sign its replacement."
                raise WrongState(
                    f"{cell} signs with {found['present']}.{gap}",
                    remedy="Give the new verifier key as the site received it by another way; if it is another one, stop using the cell.",
                )
            subject, digest = Subject("cell", cell), sha256_hex(canonical(found))
            signature = self._people.sign(
                session, credentials, permission=Permission.CHANGE_EQUIPMENT, meaning=MEANING_ACCEPTED, digest=digest, subject=subject
            )
            new: JsonObject = {
                "verifier_key": found["present"],
                "key_continuous": found["continuous"],
                "key_accepted": signature.as_record(),
            }
            self._store.append(EntryDraft(EventKind.CELL_KEY_ACCEPTED, subject, new, actor, DEVICE, reason=reason))
        return {**found, "believed": found["present"]}

    def _enrolled(self, cell: str) -> tuple[str, str]:
        state = self._store.state("cell", cell)
        if state is None:
            raise NotFound(f"The cell {cell} is not enrolled.", remedy="Enrol it with its origin and verifier key.")
        return str(state.get("verifier_key")), str(state.get("origin"))
