"""A site whose bench and cell are processes, with the workstation's services in the process of the test."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from stack import Stack

from api.access import Credentials
from api.cases import Changes, load_case
from api.production import OrderRequest, SecondEntry
from api.wiring import Workstation, build_workstation


class Site:
    """A site with bench and cell as processes, and the workstation's services in this one."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.workstation: Workstation = build_workstation(stack.folder)
        self._sessions: dict[str, Any] = {}

    def session(self, username: str) -> Any:
        if username not in self._sessions:
            token, _ = self.workstation.people.log_in(username, (self.stack.passwords or {})[username])
            self._sessions[username] = self.workstation.sessions.find(token)
        return self._sessions[username]

    def credentials(self, username: str) -> Credentials:
        return Credentials(password=(self.stack.passwords or {})[username], scripted=True)

    def order(self, units: str = "3", cartridge: str = "") -> str:
        """Enter and confirm an order; return its number."""
        demonstration = load_case(self.stack.case, Changes(units=units), datetime.now(UTC).date())
        entry, production = demonstration.entry, self.workstation.production
        fields = {name: getattr(entry, name) for name in entry.__dataclass_fields__}
        request = OrderRequest.model_validate(
            {
                **fields,
                "number": f"RX-{len(production.orders()) + 1}",
                "recipe": demonstration.recipe.id,
                "ink_lot": demonstration.ink.lot,
                "cartridge": cartridge or demonstration.cartridge.serial,
            }
        )
        order = str(production.enter_order(self.session("pharmacist"), request, self.credentials("pharmacist"))["order"])
        again = SecondEntry(**{name: getattr(request, name) for name in SecondEntry.model_fields})
        production.confirm_order(self.session("second"), order, again, self.credentials("second"))
        return order

    def batch(self, units: str = "3", cell: str = "cell-1", cartridge: str = "") -> str:
        """Enter, confirm and open a batch on a cell."""
        order = self.order(units, cartridge)
        return str(self.workstation.production.create_batch(self.session("operator"), order, cell)["batch"])

    def print(self, batch: str, cell: str = "cell-1") -> None:
        self.workstation.production.request_run(self.session("operator"), batch)
        self.stack.until(lambda status: status["state"] == "READY", cell=cell)
        self.workstation.production.start(self.session("operator"), batch)

    def dispose(self, batch: str, disposition: str) -> None:
        self.workstation.release.dispose(self.session("qp"), batch, disposition, self.credentials("qp"))

    def close(self) -> None:
        self.workstation.close()
        self.stack.close()
