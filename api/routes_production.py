"""Orders, batches and runs."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field

from api import answers
from api.access import Credentials
from api.cartridge_scan import CartridgeScan
from api.dependencies import Answer, Answers, Services
from api.paging import PAGED, Key, Page, by, paged, the_text
from api.production import OrderRequest, SecondEntry
from api.security import Permission, Session, guard
from api.weighing_desk import ReadWeight
from audit.events import EventKind

router = APIRouter(prefix="/api/v1", tags=["production"])


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class EnterOrder(_Body):
    order: OrderRequest
    signature: Credentials


class ConfirmOrder(_Body):
    entry: SecondEntry
    signature: Credentials


class NewBatch(_Body):
    order: str = Field(max_length=64)
    cell: str = Field(max_length=64)


class Mounted(_Body):
    """The serials of the cartridges as they were scanned in the heads, in the order of the heads; needed where there are two."""

    cartridges: tuple[str, ...] = Field(default=(), max_length=4)


class SecondWeight(_Body):
    weight: ReadWeight
    signature: Credentials


class Reason(_Body):
    reason: str = Field(min_length=1, max_length=500)


_See = Annotated[Session, Depends(guard(Permission.SEE))]
_Enter = Annotated[Session, Depends(guard(Permission.ENTER_ORDER, EventKind.ORDER_PRESCRIPTION_ENTERED))]
_Preview = Annotated[Session, Depends(guard(Permission.ENTER_ORDER))]
_Confirm = Annotated[Session, Depends(guard(Permission.CONFIRM_ORDER, EventKind.ORDER_PRESCRIPTION_CONFIRMED))]
_ScanCartridge = Annotated[
    Session, Depends(guard(Permission.CREATE_BATCH, EventKind.ORDER_CARTRIDGE_SCANNED, EventKind.ORDER_CARTRIDGE_REFUSED))
]
_Create = Annotated[Session, Depends(guard(Permission.CREATE_BATCH, EventKind.BATCH_RECORD_CREATED))]
_Cancel = Annotated[Session, Depends(guard(Permission.CANCEL_BATCH, EventKind.BATCH_RECORD_CANCELLED))]
_Request = Annotated[Session, Depends(guard(Permission.RUN, EventKind.BATCH_RUN_REQUESTED))]
_Weigh = Annotated[Session, Depends(guard(Permission.RUN, EventKind.UNIT_WEIGHT_ENTERED))]
_WeighAgain = Annotated[Session, Depends(guard(Permission.CONFIRM_WEIGHT, EventKind.UNIT_WEIGHT_ENTERED))]
_Command = Annotated[Session, Depends(guard(Permission.RUN, EventKind.RUN_COMMAND_RECEIVED))]


@router.get("/orders", responses=paged(answers.OrderRow))
def orders(services: Services, session: _See, page: Page) -> Answers:
    """List orders; figures are not shown, so that the second entry stays blind."""
    return page.page(services.production.orders(), by("order"))


@router.post("/doses")
def preview(services: Services, session: _Preview, order: OrderRequest) -> Answer:
    """Calculate a dose with its arithmetic; nothing is entered."""
    return services.production.preview(order)


@router.post("/orders", status_code=HTTPStatus.CREATED)
def enter_order(services: Services, session: _Enter, body: EnterOrder) -> Answer:
    """Enter and sign a prescription."""
    return services.production.enter_order(session, body.order, body.signature)


@router.post("/orders/{order}/confirm")
def confirm_order(services: Services, session: _Confirm, order: str, body: ConfirmOrder) -> Answer:
    """Enter the figures again, blind, as a second person, and sign."""
    return services.production.confirm_order(session, order, body.entry, body.signature)


@router.get("/orders/{order}", responses={200: {"model": answers.Order}})
def order(services: Services, session: _See, order: str) -> Answer:
    """Return an order with its batches and what the person who asks may do to it; figures are not shown."""
    return services.production.allowed_order(session, order)


@router.get("/orders/{order}/cells", responses=paged(answers.CellOffer))
def cells_for(services: Services, session: _See, order: str, page: Page) -> Answers:
    """List the cells of the site with the reasons why they cannot take a batch of this order; no reason, it can."""
    offers = services.allocation.offers(order, services.feeds.views())
    return page.page(({"cell": offer.cell, "reasons": list(offer.reasons)} for offer in offers), by("cell"))


@router.post("/orders/{order}/cartridge")
def scan_cartridge(services: Services, session: _ScanCartridge, order: str, body: CartridgeScan) -> Answer:
    """Say by scan which cartridge is in a head; one that is not the order's, or may not be used, is refused and on record."""
    return services.scans.scan(session, order, body)


@router.get("/batches", responses=paged(answers.BatchRow))
def batches(services: Services, session: _See, page: Page) -> Answers:
    return page.page(services.production.batches(), by("batch"))


@router.get("/batches/{batch}", responses={200: {"model": answers.Batch}})
def batch(services: Services, session: _See, batch: str) -> Answer:
    """Return a batch with what the person who asks may do to it."""
    return services.batch_view.batch(session, batch)


@router.get("/batches/{batch}/units", responses=paged(answers.Unit))
def units(services: Services, session: _See, batch: str, page: Page) -> Answers:
    """List the units of a batch as its cell shows them, purge units first, each with what the person who asks may do to it."""
    return page.page(services.batch_view.units(session, batch), _unit_key)


@router.get("/batches/{batch}/pictures", responses=PAGED)
def pictures(services: Services, session: _See, batch: str, page: Page) -> Sequence[str]:
    """Name the pictures of the batch's units: the solid of each strength, and its layers."""
    return page.page(services.pictures.names(batch), the_text)


@router.get("/batches/{batch}/pictures/{name}", response_class=Response, responses={200: {"content": {"image/svg+xml": {}}}})
def picture(services: Services, session: _See, batch: str, name: str) -> Response:
    """Return one picture as SVG; it is what the cell recorded before anything was printed."""
    headers = {"Content-Security-Policy": "default-src 'none'", "Cache-Control": "private, max-age=300"}
    return Response(services.pictures.picture(batch, name), media_type="image/svg+xml", headers=headers)


@router.get("/batches/{batch}/solids")
def solids(services: Services, session: _See, batch: str) -> Answer:
    """Return what the units are as solids: sizes, volumes, masses, numbers, and where each stands on the plate, in mm."""
    return services.solids.preview(batch)


@router.get("/batches/{batch}/solids/{name}", response_class=Response, responses={200: {"content": {"model/stl": {}}}})
def solid(services: Services, session: _See, batch: str, name: str) -> Response:
    """Return one solid as binary STL, in mm, standing on z = 0."""
    return Response(
        services.solids.stl(batch, name), media_type="model/stl", headers={"Content-Disposition": 'inline; filename="solid.stl"'}
    )


@router.post("/batches", status_code=HTTPStatus.CREATED)
def create_batch(services: Services, session: _Create, body: NewBatch) -> Answer:
    """Open a batch for a confirmed order on a cell."""
    return services.production.create_batch(session, body.order, body.cell)


@router.post("/batches/{batch}/cancel")
def cancel_batch(services: Services, session: _Cancel, batch: str, body: Reason) -> Answer:
    """Cancel a batch whose run was never asked for, with the reason; its order may be made in another."""
    return services.cancelling.cancel(session, batch, body.reason)


@router.post("/batches/{batch}/run")
def request_run(services: Services, session: _Request, batch: str, body: Mounted | None = None) -> Answer:
    """Ask the cell for a run; it checks, compiles, proves and goes through its gates."""
    return services.production.request_run(session, batch, () if body is None else body.cartridges)


@router.post("/batches/{batch}/start")
def start(services: Services, session: _Command, batch: str) -> Answer:
    return services.production.start(session, batch)


@router.post("/batches/{batch}/pause")
def pause(services: Services, session: _Command, batch: str, body: Reason) -> Answer:
    """Pause after the unit in progress."""
    return services.production.pause(session, batch, body.reason)


@router.post("/batches/{batch}/resume")
def resume(services: Services, session: _Command, batch: str, body: Reason) -> Answer:
    return services.production.resume(session, batch, body.reason)


@router.post("/batches/{batch}/units/{number}/weight")
def enter_weight(services: Services, session: _Weigh, batch: str, number: int, body: ReadWeight) -> Answer:
    """Enter the net mass of a unit as the external balance shows it: the first of two entries."""
    return services.weighing.enter_first(session, batch, number, body)


@router.post("/batches/{batch}/units/{number}/weight/second")
def enter_second_weight(services: Services, session: _WeighAgain, batch: str, number: int, body: SecondWeight) -> Answer:
    """Enter the net mass again, blind, as a second person, and sign."""
    return services.weighing.enter_second(session, batch, number, body.weight, body.signature)


def _unit_key(unit: Answer) -> Key:
    """Purge units come first."""
    number = unit.get("n")
    return 0 if unit.get("purge") else 1, number if isinstance(number, int) else 0
