"""Which scans of cartridges still say what is in the heads of a cell; pure."""

from __future__ import annotations

from collections.abc import Sequence

from api.underway import InShort, Scan


def standing(short: InShort, order: str, cells: Sequence[str]) -> tuple[str, ...]:
    """Return the serials that were scanned for an order and stand, in the order of the heads; empty text where none does.

    A scan stands while it is the newest of its head: a newer one that named another cartridge says that this one was taken out. The
    cell is that of an order's batch, or the only one of the site; where that of the other scan is not known, it may be this one. The
    run of a batch that was closed ends the scans that it was asked for with, a batch that was cancelled those made until then.
    """
    found = short.orders.get(order)
    if found is None:
        return ()
    only = cells[0] if len(cells) == 1 else None
    places = {batch.order: batch.cell for batch in short.batches.values()}
    here = places.get(order, only)
    spent = max((batch.scanned for batch in short.of(order) if not batch.is_open), default=None)
    others = [
        other.scans
        for name, other in short.orders.items()
        if other.scans and name != order and here is not None and places.get(name, only) in (None, here)
    ]
    return tuple(
        "" if (spent is not None and scan.number <= spent) or _displaced(scan, head, others) else scan.serial
        for head, scan in enumerate(found.scans)
    )


def _displaced(scan: Scan, head: int, others: Sequence[tuple[Scan, ...]]) -> bool:
    newer = [scans[head] for scans in others if head < len(scans) and scans[head].serial and scans[head].number > scan.number]
    return bool(newer) and max(newer, key=lambda other: other.number).serial != scan.serial
