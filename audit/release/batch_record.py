"""The batch record, built from the two trails alone, so that anyone who holds them can build it again.

What is signed is the record without `signatures`: its canonical bytes, which hold the disposition and the sizes of the
trails that it rests on. Entries written later (the signature itself, the export) change nothing in it.

The order of work: `build` for review; `decide` for the record with a disposition; a person signs `record_sha256`;
`disposition_entry` gives what the entry `batch.disposition.signed` must hold; `build` then returns the signed record.

Computed values (contents, statistics) are decimal strings with six decimals, rounded half away from zero; measured values
are as the trail holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue, canonical, sha256_hex
from audit.errors import ReleaseBlocked
from audit.events import EventKind
from audit.quantities import plain_text, round_to
from audit.release.conformity import RELEASING, Disposition, Evidence, Proposal, propose, releaser_refusals
from audit.release.evidence import BatchEntries, gather
from audit.release.evidence_further import further, resolutions
from audit.release.evidence_links import links_of
from audit.release.evidence_models import model_rows
from audit.release.ink_use import balances
from audit.release.strengths import content_of, either, strengths_of
from audit.release.trail_view import TrailEntry, TrailView, as_list, as_object, count_of, fold, number_of, text_of, view_of

FORMAT = "dosewright-record/1"
NOTICE = "Demonstration, not for patients"
_PLACES = 6
_UNIT_FIELDS = (
    "target_mass_mg", "target_volume_uL", "low_mg", "high_mg", "mass_mg", "expanded_uncertainty_mg", "gross_before_mg", "gross_after_mg",
    "drift_mg_per_s", "drift_correction_mg", "commanded_uL", "reported_uL", "pressure_max_kPa", "nozzle_min_C", "nozzle_max_C",
    "plate_min_C", "plate_max_C", "balance_serial", "gcode_sha256", "flow_factor", "shape", "x", "y",
)  # fmt: skip
_EXTERNAL_FIELDS = ("weighed_on", "external_weighing")
"""Of a unit whose mass was read on an external balance; the plate balance's units have none of them."""
_PURGE_FIELDS = tuple(name for name in _UNIT_FIELDS if name != "shape")
_CORRECTION_FIELDS = (
    "flow_factor", "estimate", "estimate_uncertainty", "evidence", "largest_percent", "ink_limit_percent", "target_volume_uL",
    "planned_gcode_sha256", "gcode_sha256",
)  # fmt: skip
_RUN_FIELDS = (
    "state", "ended", "program_sha256", "program_sent_sha256", "wire_log_sha256", "units", "rate", "machine", "machine_digest",
    "recipe_digest", "order_sha256", "demonstration",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """A disposition and the person who gives it (username)."""

    disposition: Disposition
    releaser: str


def build(workstation_lines: Sequence[bytes] | TrailView, cell_lines: Sequence[bytes] | TrailView, batch_id: str) -> JsonObject:
    """Return the record of a batch as the trails (each from entry 0, or a view of it) show it.

    Signed: the record as it was signed, with all signatures. Not signed: disposition `held`, with the proposal and its
    reasons. Raises RecordError for an unknown batch, VerificationError for lines that are not entries.
    """
    workstation, cell = view_of(workstation_lines), view_of(cell_lines)
    signed = workstation.last("batch", batch_id, EventKind.BATCH_DISPOSITION_SIGNED)
    if signed is None:
        body = _body(BatchEntries(workstation, cell, batch_id), None)
        return {**body, "signatures": _signatures(BatchEntries(workstation, cell, batch_id), None)}
    # Cut back to what was there when the body was made: the signature binds that state, and no later one.
    size = count_of(signed.new.get("workstation_size"))
    cell_size = count_of(signed.new.get("cell_size"))
    earlier = workstation.first(signed.seq if size is None else min(size, signed.seq))
    entries = BatchEntries(earlier, cell if cell_size is None else cell.first(cell_size), batch_id)
    signature = as_object(signed.new.get("signature"))
    decision = Decision(_disposition(signed.new.get("disposition")), text_of(signature.get("signer")) or "")
    return {**_body(entries, decision), "signatures": _signatures(entries, signature)}


def decide(
    workstation_lines: Sequence[bytes], cell_lines: Sequence[bytes], batch_id: str, disposition: str, *, releaser: str, role: str
) -> JsonObject:
    """Return the record with a disposition, ready to be signed by `releaser` acting in `role`.

    Raises ReleaseBlocked with every reason where the evidence or the person's own part in the batch closes it.
    """
    entries = BatchEntries(TrailView(workstation_lines), TrailView(cell_lines), batch_id)
    decision = Decision(_disposition(disposition), releaser)
    body = _body(entries, decision)
    proposal = as_object(body.get("proposal"))
    closed = decision.disposition.value not in as_list(proposal.get("open"))
    reasons = [text_of(reason) or "" for reason in as_list(proposal.get("reasons"))] if closed else []
    if closed and not reasons:
        reasons = [f"the evidence opens {', '.join(text_of(value) or '' for value in as_list(proposal.get('open')))}, not {disposition}"]
    reasons += releaser_refusals(
        decision.disposition,
        releaser,
        role,
        operators=entries.operators,
        entered_by=entries.entered_by,
        roles=entries.releasing_roles,
    )
    if entries.workstation.last("batch", batch_id, EventKind.BATCH_DISPOSITION_SIGNED):
        reasons.append("the batch has been signed already")
    if reasons:
        raise ReleaseBlocked(reasons, remedy="Supply what is missing, let another person sign, or reject the batch.")
    return {**body, "signatures": _signatures(entries, None)}


def signed_body(record: JsonObject) -> bytes:
    """Return the bytes that are signed: the canonical record without `signatures`."""
    return canonical({name: value for name, value in record.items() if name != "signatures"})


def record_sha256(record: JsonObject) -> str:
    """Return the SHA-256 hex of `signed_body`."""
    return sha256_hex(signed_body(record))


def disposition_meaning(record: JsonObject) -> str:
    """Return what the signature under a disposition means: a release under a legal route has that route's words."""
    disposition = text_of(record.get("disposition")) or ""
    statement = text_of(as_object(as_object(record.get("release")).get("legal_route")).get("statement"))
    return f"{disposition}: {statement}" if statement and _disposition(disposition) in RELEASING else disposition


def disposition_entry(record: JsonObject, signature: JsonObject) -> tuple[JsonObject, dict[str, bytes]]:
    """Return `new` and `attachments` for `batch.disposition.signed`, from what `decide` returned and its signature."""
    trails = as_object(record.get("trails"))
    workstation, cell = as_object(trails.get("workstation")), as_object(trails.get("cell"))
    new: JsonObject = {
        "status": record["disposition"],
        "disposition": record["disposition"],
        "record_sha256": record_sha256(record),
        "signature": signature,
        "workstation_size": workstation["size"],
        "cell_size": cell["size"],
        "cell_root": cell["root"],
    }
    complete = {**record, "signatures": [*as_list(record.get("signatures")), signature]}
    return new, {"record.json": canonical(complete)}


def _disposition(value: JsonValue) -> Disposition:
    try:
        return Disposition(text_of(value) or "")
    except ValueError:
        return Disposition.HELD


def _body(entries: BatchEntries, decision: Decision | None) -> JsonObject:
    batch, order = entries.batch, as_object(entries.order.get("order"))
    units = [_unit(entries, id_, state) for id_, state in entries.units]
    strengths, results, names = strengths_of(entries, units)
    planned = sum(count_of(as_object(strength)["units_planned"]) or 0 for strength in strengths if as_object(strength).get("part") != 2)
    accepted = sum(as_object(unit)["verdict"] == "accepted" for unit in units)
    found = (*gather(entries, results, names), *further(entries))
    evidence = [replace(item, entries=links_of(item.item, entries.relevant)) for item in found]
    proposal = propose(evidence, planned=planned, accepted=accepted)
    demonstration = any(entry.body.get("demonstration") is not False for _, entry in entries.relevant)
    return {
        "format": FORMAT,
        "batch": entries.batch_id,
        "demonstration": demonstration,
        "notice": _notice(entries.purpose, demonstration=demonstration),
        **({} if entries.purpose is None else {"purpose": entries.purpose}),
        "product": {name: entries.fact(name) for name in ("title", "moiety", "basis", "dosage_form", "process", "route")}
        | {name: entries.ink.get(name) for name in ("moiety", "basis") if entries.fact(name) is None}
        | {name: entries.fact(name) for name in ("second_moiety", "second_basis") if entries.fact(name) is not None},
        "recipe": {"reference": batch.get("recipe"), "digest": batch.get("recipe_digest"), "title": entries.recipe.get("title")},
        "order": {"id": entries.order_id, "sha256": entries.order.get("order_sha256")},
        "prescription": as_object(order.get("prescription")),
        "dose": _dose(entries, units),
        "ink": entries.ink,
        "cartridge": entries.cartridge,
        **({"second_ink": entries.second_ink, "second_cartridge": entries.second_cartridge} if entries.second_ink else {}),
        **({"release": entries.release} if entries.release else {}),
        "cell": {"name": batch.get("cell"), "origin": entries.cell.origin, "machine": batch.get("machine")},
        "runs": [_run(entries, run) for run in entries.runs],
        "units_planned": planned,
        "units_accepted": accepted,
        "strengths": strengths,
        "purge_units": [_purge(id_, state) for id_, state in entries.purge_units],
        "corrections": [{"unit": id_, **{name: state.get(name) for name in _CORRECTION_FIELDS}} for id_, state in entries.corrections],
        "units": list[JsonValue](units),
        "alarms": [_alarm(id_, found) for id_, found in entries.alarms],
        "deviations": [{"deviation": id_, **state} for id_, state in entries.deviations],
        "exceptions": list[JsonValue](resolutions(entries)),
        "ink_use": [ink.as_record() for ink in balances(entries)[0]],
        **({"models": list[JsonValue](models)} if (models := model_rows(entries)) else {}),
        "evidence": [_evidence(item) for item in evidence],
        "proposal": _proposal(proposal),
        "disposition": decision.disposition.value if decision else Disposition.HELD.value,
        "releaser": decision.releaser if decision else None,
        "people": _people(entries),
        "times": _times(entries),
        "trails": {
            "workstation": {"origin": entries.workstation.origin, "size": entries.workstation.size, "root": entries.workstation.root()},
            "cell": {"origin": entries.cell.origin, "size": entries.cell.size, "root": entries.cell.root()},
        },
        "entries": [{"trail": trail, "seq": e.seq, "kind": e.kind, "digest": e.digest} for trail, e in entries.relevant],
    }


def _evidence(found: Evidence) -> JsonObject:
    links: list[JsonValue] = [{"trail": link.trail, "seq": link.seq} for link in found.entries]
    return {"item": found.item.value, "state": found.state.value, "detail": found.detail, "entries": links}


def _notice(purpose: str | None, *, demonstration: bool) -> str | None:
    """Return what every page of the record is marked with."""
    marks = [*([NOTICE] if demonstration else []), *([] if purpose is None else [f"Made for {purpose}"])]
    return "; ".join(marks) or None


def _proposal(proposal: Proposal) -> JsonObject:
    return {
        "disposition": proposal.disposition.value,
        "reasons": list(proposal.reasons),
        "open": sorted(disposition.value for disposition in proposal.open),
    }


def _figure(value: Decimal | None) -> str | None:
    return None if value is None else plain_text(round_to(value, _PLACES))


def _unit(entries: BatchEntries, id_: str, state: JsonObject) -> JsonObject:
    """Return a unit; of one of several inks the parts stand in it, each with its own mass, limits and content."""
    row = _row(id_, state, number_of(entries.ink.get("assay")))
    if "parts" not in state:
        return row
    parts: list[JsonValue] = []
    for number, (part_id, part) in enumerate(entries.parts_of(state), start=1):
        assay = number_of((entries.ink if number == 1 else entries.second_ink).get("assay"))
        named = {name: part.get(name) for name in ("moiety", "basis", "ink_lot", "cartridge")}
        of_part = {name: value for name, value in _row(part_id, part, assay).items() if name not in _OF_A_WHOLE}
        parts.append({**of_part, "part": number, **named, "verdict": part.get("verdict") or "not printed"})
    return {**row, "parts": parts}


_OF_A_WHOLE = frozenset({"unit", "run", "n", "removed", "removal_method", "removal_confirmed_by", "x", "y"})


def _row(id_: str, state: JsonObject, assay: Decimal | None) -> JsonObject:
    verdict = text_of(state.get("verdict"))
    judged = verdict in ("accepted", "rejected", "scrapped")
    reasons = as_list(state.get("reasons")) if judged else ["no verdict was recorded"]
    confirmed = as_object(state.get("confirmed"))
    return {
        "unit": id_,
        "run": id_.rpartition("/")[0],
        "n": count_of(state.get("n")),
        "strength_mg": text_of(state.get("strength_mg")),
        **{name: state.get(name) for name in _UNIT_FIELDS},
        **{name: state[name] for name in _EXTERNAL_FIELDS if name in state},
        "content_percent": _figure(content_of(state, assay)),
        "verdict": verdict if judged else "scrapped",
        "reasons": reasons,
        "removed": state.get("removed") is True,
        "removal_method": state.get("removal_method"),
        "removal_confirmed_by": confirmed.get("signer"),
    }


def _purge(id_: str, state: JsonObject) -> JsonObject:
    """Return a purge unit: waste, with no strength, no content and no part in any statistic."""
    return {
        "unit": id_,
        "n": count_of(state.get("n")),
        **{name: state.get(name) for name in _PURGE_FIELDS},
        "verdict": text_of(state.get("verdict")) or "scrapped",
        "reasons": as_list(state.get("reasons")),
        "removed": state.get("removed") is True,
        "removal_method": state.get("removal_method"),
        "removal_confirmed_by": as_object(state.get("confirmed")).get("signer"),
    }


def _dose(entries: BatchEntries, units: Sequence[JsonObject]) -> JsonObject:
    dose = as_object(entries.fact("dose"))
    strengths = {text_of(unit["strength_mg"]) for unit in units if unit["strength_mg"] is not None}
    single: JsonValue = next(iter(strengths)) if len(strengths) == 1 else None
    return {
        **{name: value for name, value in dose.items() if name != "strengths"},
        "bsa_m2": either(dose, ("bsa_m2", "bsa"), None),
        "calculated_mg": either(dose, ("calculated_mg", "calculated"), None),
        "rounded_mg": either(dose, ("rounded_mg", "rounded"), single),
        "arithmetic": as_list(dose.get("arithmetic")),
    }


def _run(entries: BatchEntries, run: str) -> JsonObject:
    found = entries.cell.of("run", run)
    state = fold(found)
    return {
        "run": run,
        **{name: state.get(name) for name in _RUN_FIELDS},
        "gates": as_list(state.get("gates")),
        "began": found[0].at,
        "last": found[-1].at,
        "states": [{"state": e.new.get("state"), "at": e.at, "reason": e.body.get("reason")} for e in found if "state" in e.new],
    }


def _alarm(id_: str, found: Sequence[TrailEntry]) -> JsonObject:
    acknowledged = next((entry for entry in found if entry.kind == EventKind.ALARM_CONDITION_ACKNOWLEDGED), None)
    return {
        "alarm": id_,
        **fold(found),
        "at": found[0].at,
        "acknowledged_by": acknowledged.who["username"] if acknowledged else None,
        "acknowledged_at": acknowledged.at if acknowledged else None,
    }


def _people(entries: BatchEntries) -> list[JsonValue]:
    found: dict[str, JsonObject] = {}
    for _, entry in entries.relevant:
        who = entry.who
        if who["username"] != "system":
            person = found.setdefault(text_of(who["username"]) or "", {**who, "roles": []})
            person["roles"] = sorted({text_of(role) or "" for role in [*as_list(person["roles"]), who["role"]]})
    return [{name: value for name, value in found[username].items() if name != "role"} for username in sorted(found)]


def _times(entries: BatchEntries) -> JsonObject:
    created = entries.created
    last = max((entry.at for _, entry in entries.relevant), default="")
    return {
        "zone": created.body.get("zone") if created else None,
        "created": created.at if created else None,
        "last_entry": last,
        "clock": created.body.get("clock") if created else None,
    }


def _signatures(entries: BatchEntries, disposition: JsonObject | None) -> list[JsonValue]:
    removals = [state.get("confirmed") for _, state in (*entries.purge_units, *entries.units)]
    found = [entries.order.get("entered"), entries.order.get("confirmed"), *removals]
    return [as_object(signature) for signature in (*found, disposition) if as_object(signature)]
