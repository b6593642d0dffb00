"""A batch and its units as one person may act on them: everything that the desks let or do not let this person do now."""

from __future__ import annotations

from dataclasses import dataclass

from api.allowed import against, allowed_actions
from api.cancel_desk import CancelDesk
from api.exception_desk import ExceptionDesk
from api.model_use import ModelUse
from api.pack_desk import PackDesk
from api.production import Production
from api.release_desk import ReleaseDesk
from api.security import Permission, Session
from api.weighing_desk import WeighingDesk
from audit.canonical import JsonObject
from audit.release.trail_view import as_object


@dataclass(frozen=True, slots=True)
class BatchView:
    """Asks each desk about its own acts. Lifetime and concurrency: those of the desks."""

    production: Production
    release: ReleaseDesk
    weighing: WeighingDesk
    exceptions: ExceptionDesk
    packs: PackDesk
    model_use: ModelUse
    cancelling: CancelDesk

    def batch(self, session: Session, batch_id: str) -> JsonObject:
        """Return a batch with its acts. Raises NotFound."""
        state = self.production.batch(batch_id)
        acts = {
            **self.production.rules.run_acts(session, batch_id),
            **self.cancelling.allowed(session, batch_id),
            **self.release.allowed(session, batch_id),
            **self.packs.allowed_of_batch(session, batch_id),
            **self.model_use.allowed(session, batch_id),
            "cartridge-returns": self.exceptions.against_taking_back(session, batch_id),
            "holds": against(lambda: session.role_for(Permission.HOLD)),
        }
        return {"batch": batch_id, **state, "allowed_actions": allowed_actions(acts)}

    def units(self, session: Session, batch_id: str) -> list[JsonObject]:
        """Return the units of a batch as the cell shows them, purge units first, each with its acts. Raises NotFound, CellUnreachable."""
        found: list[JsonObject] = []
        for unit in self.release.units(session, batch_id):
            number = unit.get("n")
            if unit.get("purge") is not True and isinstance(number, int):
                weighed = allowed_actions(self.weighing.allowed(session, batch_id, number))
                unit = {**unit, "allowed_actions": {**as_object(unit.get("allowed_actions")), **weighed}}
            found.append(unit)
        return found
