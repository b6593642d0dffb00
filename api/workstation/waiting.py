"""What has been begun and is not printed yet: orders and batches, each with what it waits for and the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from nicegui import ui

from api.production import Production
from api.status import CellStatus
from api.underway import BatchInShort, OrderInShort
from api.workstation.pieces import Changing
from api.workstation.visitor import Visitor
from api.workstation.words import said


@dataclass(frozen=True, slots=True)
class Waiting:
    """One order or batch: its name, its address, what it waits for, and the cell that it belongs to, if there is one."""

    name: str
    path: str
    text: str
    cell: str | None = None


def waiting(production: Production, username: str) -> tuple[Waiting, ...]:
    """Return what waits, the oldest first, as this person sees it. No figure of an order is in it."""
    underway = production.underway.look()
    batches = {batch.order: batch for batch in underway.batches.values() if not batch.is_cancelled}
    found = []
    for name, order in underway.orders.items():
        batch = batches.get(name)
        if batch is None:
            found.append(Waiting(name, f"/new?order={quote(name, safe='')}", _order_text(order, username)))
        elif batch.status == "created":
            found.append(_of_batch(batch, said("waits at its gates")))
    return tuple(found)


def _of_batch(batch: BatchInShort, text: str) -> Waiting:
    return Waiting(batch.batch, f"/new?batch={quote(batch.batch, safe='')}", text, batch.cell)


def _order_text(order: OrderInShort, username: str) -> str:
    if order.status != "entered":
        return said("is confirmed: cartridge and gates come next")
    if order.entered_by == username:
        return said("waits for a second person, who is not you")
    return said("waits for a second person")


def waiting_html(items: Sequence[Waiting], none: str, here: str = "") -> str:
    """A list of what waits, each with its link; `here` is the address of the one that is shown."""
    if not items:
        return f'<p class="dw-quiet">{escape(none)}</p>'
    rows = "".join(
        f'<li><a href="{escape(item.path)}"{" aria-current=page" if item.path == here else ""}><b>{escape(item.name)}</b> '
        f"<span>{escape(item.text)}</span></a></li>"
        for item in items
    )
    return f'<ul class="dw-waiting">{rows}</ul>'


class WaitingPanel:
    """On the page of a cell that is free: what waits to be printed, and the way to begin something new. Lifetime: that of the page."""

    def __init__(self, visitor: Visitor) -> None:
        self._visitor = visitor
        self._shown: tuple[bool, int] | None = None
        with ui.element("section").classes("dw-card") as self._card:
            ui.html(f"<h2>{escape(said('New batch'))}</h2>", sanitize=False)
            self._list = Changing()
            ui.html(f'<a class="dw-plain dw-go" href="/new">{escape(said("New prescription"))}</a>', sanitize=False)
        self._card.set_visibility(False)

    def update(self, status: CellStatus) -> None:
        """Show the panel while the cell is free: nothing is on it, or what was printed on it has a disposition."""
        store = self._visitor.workstation.store
        disposed = None if status.batch is None else (store.state("batch", status.batch) or {}).get("disposition")
        free = status.state != "UNKNOWN" and (status.run is None or (status.ended and (disposed is not None or bool(status.unmet))))
        now = (free, store.size)
        if now == self._shown:
            return  # nothing is on record since it was drawn
        self._shown = now
        self._card.set_visibility(free)
        if free:
            items = waiting(self._visitor.workstation.production, self._visitor.session().username)
            here = [item for item in items if item.cell in (None, self._visitor.cell)]
            self._list.show(waiting_html(here, said("Nothing waits.")))
