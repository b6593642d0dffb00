"""A batch that is released, without a print: its signed record is put where a disposition puts it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from audit.canonical import canonical
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release.batch_record import record_sha256

_SPEC = importlib.util.spec_from_file_location("orders_for_packs", Path(__file__).with_name("test_production.py"))
assert _SPEC is not None and _SPEC.loader is not None
PRODUCTION = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(PRODUCTION)
RUN = "B00001-R1"


def unit(n: int, verdict: str = "accepted", strength: str = "18.5") -> dict[str, Any]:
    return {"unit": f"{RUN}/{n:03d}", "n": n, "strength_mg": strength, "verdict": verdict, "removed": verdict != "accepted"}


def release(bench: Any, *units: dict[str, Any], use_by: str = "2099-12-31", **changes: Any) -> str:
    """Make a batch, run and close it on the fake cell, and release it with these units; return its number."""
    batch: str = PRODUCTION.make_batch(bench)
    assert bench.ask("operator", "POST", f"/batches/{batch}/run").status_code == 200
    cell = bench.cell
    made = units or tuple(unit(n) for n in (1, 2, 3))
    for item in made:
        cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", item["unit"], {"n": item["n"], "strength_mg": item["strength_mg"]})
        cell.record(EventKind.UNIT_WEIGHT_JUDGED, "unit", item["unit"], {"verdict": item["verdict"], "balance_serial": "BAL-7"})
    cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    cell.status_now = {**cell.status_now, "run": RUN, "batch": batch, "state": "AWAITING_REVIEW"}
    assert bench.ask("qp", "POST", f"/batches/{batch}/close").status_code == 200
    sign_record(bench, batch, made, use_by=use_by, **changes)
    return batch


def sign_record(bench: Any, batch: str, units: tuple[dict[str, Any], ...], *, use_by: str, **changes: Any) -> None:
    record: dict[str, Any] = {
        "batch": batch,
        "disposition": "released",
        "demonstration": True,
        "units": list(units),
        "prescription": {"patient": "test-1", "days": 14, "schedule": [{"time": "morning", "parts": 1}]},
        "release": {"use_by": {"day": use_by, "because": "test"}},
        **changes,
    }
    new = {"status": record["disposition"], "disposition": record["disposition"], "record_sha256": record_sha256(record)}
    kind, subject = EventKind.BATCH_DISPOSITION_SIGNED, Subject("batch", batch)
    attached = {"record.json": canonical(record)}
    bench.workstation.store.append(EntryDraft(kind, subject, new, SYSTEM, "workstation", attachments=attached))


def code_of(bench: Any, pack: str) -> str:
    """What a scanner reads off the pack."""
    return str(bench.workstation.packs.label(pack).code.text)
