"""The cartridge that somebody scans before a run: whether it is the one of the order, in the head where it belongs, and may be used now.

An order is bound to its cartridges; which one is in the printer nobody knows until a code on it was read. Both answers are on record: a
refused scan is what an inspector asks for first.
"""

from __future__ import annotations

import threading

from pydantic import BaseModel, ConfigDict, Field

from api.access import actor_of
from api.allowed import refuse
from api.errors import InputInvalid, NotFound, ScanRefused
from api.interop.scan_code import ScanCode, read_scan
from api.people import DEVICE
from api.production import Production
from api.security import Permission, Session
from api.shelf import Shelf
from audit.canonical import JsonObject
from audit.events import EntryDraft, EventKind, Subject
from audit.store import TrailStore
from printer.standing import local_day
from recipes.model import Cartridge, DoseOrder


class CartridgeScan(BaseModel):
    """What was scanned (or typed from the label) on the cartridge in a head; heads are counted from 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head: int = Field(default=1, ge=1, le=4)
    scanned: str = Field(min_length=1, max_length=300)


class CartridgeScans:
    """Reads and judges scans. Lifetime: that of the workstation. Concurrency: safe for several threads, as the store is."""

    def __init__(self, store: TrailStore, production: Production, shelf: Shelf) -> None:
        self._store = store
        self._production = production
        self._shelf = shelf
        self._lock = threading.Lock()

    def scan(self, session: Session, order_id: str, scan: CartridgeScan) -> JsonObject:
        """Put a scan on record. Raises ScanRefused with what is wrong and what to do, after that is on record; NotFound, WrongState."""
        actor = actor_of(session, Permission.CREATE_BATCH)
        refuse(self._production.rules.cartridge(session, order_id))
        state = self._production.order(order_id)
        order, subject = DoseOrder.model_validate(state["order"]), Subject("order", order_id)
        if scan.head > len(order.cartridges):
            raise InputInvalid(f"Order {order_id} has no cartridge for head {scan.head}.", remedy="Scan the cartridges that it names.")
        try:
            cartridge = self._judge(order, scan)
        except ScanRefused as refused:
            # what was read may be anything, a wristband too: only what is about a cartridge on the shelf is kept
            known = self._known(scan.scanned)
            new: JsonObject = {"refused_scan": known or "no cartridge that is known here", "head": scan.head}
            new |= {"why": refused.message} if known else {}
            with self._lock:
                new |= self._newest(order, scan.head, "") if "mounted" in self._production.order(order_id) else {}
                self._store.append(EntryDraft(EventKind.ORDER_CARTRIDGE_REFUSED, subject, new, actor, DEVICE))
            raise
        with self._lock:
            new = {**self._newest(order, scan.head, cartridge.serial), "head": scan.head}
            self._store.append(EntryDraft(EventKind.ORDER_CARTRIDGE_SCANNED, subject, new, actor, DEVICE))
        return {"order": order_id, "head": scan.head, "cartridge": cartridge.serial, "mounted": new["mounted"]}

    def _newest(self, order: DoseOrder, head: int, serial: str) -> JsonObject:
        """Return the scans of an order with that of one head made anew; what does not stand any more is left out.

        A scan's number is the size of the trail before it: of two scans the later one has the higher number, whatever the clock says.
        """
        heads = len(order.cartridges)
        mounted = [*self.mounted(order.id, heads)]
        numbers = [scan.number for scan in self._production.underway.look().orders[order.id].scans]
        scans = [*numbers, *[-1] * heads][:heads]
        mounted[head - 1], scans[head - 1] = serial, self._store.size
        return {"mounted": [*mounted], "scans": [*scans]}

    def mounted(self, order_id: str, heads: int) -> tuple[str, ...]:
        """Return the serials that were scanned and stand, in the order of the heads; empty text for a head where none does."""
        return (*self._production.rules.standing(order_id), *[""] * heads)[:heads]

    def wanted(self, order_id: str) -> tuple[str, ...]:
        """Return the serials that the order names, in the order of the heads."""
        return DoseOrder.model_validate(self._production.order(order_id)["order"]).cartridges

    def _judge(self, order: DoseOrder, scan: CartridgeScan) -> Cartridge:
        code = self._read(scan.scanned)
        wanted = order.cartridges[scan.head - 1]
        cartridge = self._on_shelf(code, wanted)
        self._compare(code, cartridge)
        if cartridge.serial != wanted:
            self._another(order, cartridge.serial, scan.head)
        self._usable(cartridge)
        self._as_ordered(order, cartridge, scan.head)
        return cartridge

    @staticmethod
    def _read(scanned: str) -> ScanCode:
        try:
            code = read_scan(scanned)
        except InputInvalid as error:
            raise ScanRefused(error.message, remedy=error.remedy or "Scan it again.") from None
        if not code.name or code.fhir:
            raise ScanRefused(
                "The code that was scanned holds no serial number: it does not say which cartridge this is.",
                remedy="Scan the code with the serial number on the cartridge, or type the serial number.",
            )
        return code

    def _on_shelf(self, code: ScanCode, wanted: str) -> Cartridge:
        try:
            return self._shelf.cartridge(code.name)
        except NotFound:
            raise ScanRefused(
                f"A cartridge {code.name[:64]!r} is not known here.",
                remedy=f"Take cartridge {wanted} of this order; a cartridge that is new is received on the page Inks first.",
            ) from None

    def _compare(self, code: ScanCode, cartridge: Cartridge) -> None:
        """Hold lot and expiry of the code against the shelf's record: a label of another cartridge is a label of another ink."""
        ink = self._shelf.ink(cartridge.ink_lot)
        remedy = "Put the cartridge aside and compare its label with its entry on the page Inks."
        if code.lot is not None and code.lot != cartridge.ink_lot:
            raise ScanRefused(f"The label says lot {code.lot}, cartridge {cartridge.serial} is of lot {cartridge.ink_lot}.", remedy=remedy)
        if code.expiry is not None and code.expiry < self._today:
            raise ScanRefused(
                f"The label of {cartridge.serial} says that it expired on {code.expiry}.", remedy="Discard it and open another."
            )
        if code.expiry is not None and code.expiry > ink.expires:
            raise ScanRefused(f"The label says expiry {code.expiry}, lot {ink.lot} expires on {ink.expires}.", remedy=remedy)

    @staticmethod
    def _another(order: DoseOrder, serial: str, head: int) -> None:
        wanted = order.cartridges[head - 1]
        if serial in order.cartridges:
            place = order.cartridges.index(serial) + 1
            raise ScanRefused(
                f"{serial} belongs in head {place}, not in head {head}.", remedy=f"Put {wanted} into head {head} and scan it."
            )
        raise ScanRefused(
            f"This is cartridge {serial}; the order is for {wanted}.", remedy=f"Take {serial} out, put {wanted} in and scan it."
        )

    def _usable(self, cartridge: Cartridge) -> None:
        serial, ink, today = cartridge.serial, self._shelf.ink(cartridge.ink_lot), self._today
        another = "Take another cartridge of the lot; the order has to be written again for it."
        if (held := self._shelf.held(serial)) is not None:
            raise ScanRefused(f"Cartridge {serial} is held: {held}.", remedy=f"Find out why. {another}")
        if ink.expires < today:
            raise ScanRefused(f"Ink lot {ink.lot} in {serial} expired on {ink.expires}.", remedy=f"Discard it. {another}")
        if cartridge.in_use_until < today:
            raise ScanRefused(f"Cartridge {serial} was to be used until {cartridge.in_use_until}.", remedy=f"Discard it. {another}")
        if cartridge.remaining.value <= 0:
            raise ScanRefused(f"Cartridge {serial} is used up.", remedy=another)

    @staticmethod
    def _as_ordered(order: DoseOrder, cartridge: Cartridge, head: int) -> None:
        bound = order.cartridge_digest if head == 1 or order.second is None else order.second.cartridge_digest
        if cartridge.digest != bound:
            raise ScanRefused(
                f"Cartridge {cartridge.serial} was used since the order was written.",
                remedy="Write the order again and have it confirmed again: what is left in it is another amount now.",
            )

    def _known(self, scanned: str) -> str:
        try:
            name = read_scan(scanned).name
        except InputInvalid:
            return ""
        return f"cartridge {name}" if self._store.state("cartridge", name) is not None else ""

    @property
    def _today(self) -> str:
        return local_day(self._store.clock.utc())
