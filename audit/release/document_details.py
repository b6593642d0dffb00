"""The pages behind the first: review by exception, then everything, in tables of texts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from audit.canonical import JsonObject, JsonValue
from audit.quantities import plain_text, round_to
from audit.release.batch_record import record_sha256
from audit.release.conformity import State
from audit.release.document_summary import facts
from audit.release.document_text import NONE, label_of, moment, objects, reasons_of, rows, show, weighed, words
from audit.release.evidence_links import links_text
from audit.release.trail_view import as_list, as_object, count_of, number_of, text_of

_MATERIALS = (
    ("Ink", "ink"),
    ("Cartridge", "cartridge"),
    ("Second ink", "second_ink"),
    ("Second cartridge", "second_cartridge"),
    ("Cell", "cell"),
    ("Recipe", "recipe"),
    ("Product", "product"),
)
_DIGEST_SHOWN = 16


def exceptions(record: JsonObject) -> JsonObject:
    """Return what is read first: what is not met, and everything that went otherwise than planned, with how it was resolved."""
    evidence = objects(record.get("evidence"))
    not_met: list[JsonValue] = [
        f"{show(e.get('item'))}: {show(e.get('state'))} ({show(e.get('detail'))})"
        for e in evidence
        if e.get("state") not in (State.MET, State.NOT_REQUIRED)
    ]
    reasons = [show(reason) for reason in as_list(as_object(record.get("proposal")).get("reasons"))]
    return {
        "not_met": not_met,
        "reasons": [reason for reason in reasons if reason not in not_met],
        "bad_units": rows(_bad_unit(unit) for unit in objects(record.get("units")) if unit.get("verdict") != "accepted"),
        "outside": rows(_outside(record)),
        "resolutions": rows(_resolution(found) for found in objects(record.get("exceptions"))),
        "alarms": rows(_alarm(alarm) for alarm in objects(record.get("alarms"))),
        "deviations": rows(
            (show(d.get("deviation")), show(d.get("unit_n")), show(d.get("text")), show(d.get("status")))
            for d in objects(record.get("deviations"))
        ),
        "corrections": rows(_correction(found) for found in objects(record.get("corrections"))),
        "evidence": rows(_evidence(e) for e in evidence),
    }


def full_record(record: JsonObject) -> JsonObject:
    """Return everything else that the record holds, in the order in which the batch came about."""
    runs, strengths = objects(record.get("runs")), objects(record.get("strengths"))
    return {
        "all_facts": rows([*facts(record), *_prescription(record), *_release_terms(record)]),
        "all_arithmetic": [show(line) for line in as_list(as_object(record.get("dose")).get("arithmetic"))],
        "units": rows(_unit(unit) for unit in weighed(record)),
        "readings": rows(_readings(unit) for unit in weighed(record)),
        "purge_units": rows(_purge(purge) for purge in objects(record.get("purge_units"))),
        "uniformity": rows(row for strength in strengths for row in _uniformity(strength)),
        "gates": rows(_gate(gate, run if len(runs) > 1 else {}) for run in runs for gate in objects(run.get("gates"))),
        "states": rows(
            (moment(s.get("at")), show(s.get("state")), show(s.get("reason"))) for run in runs for s in objects(run.get("states"))
        ),
        "materials": rows(
            (f"{what}: {words(name)}", show(value))
            for what, key in _MATERIALS
            for name, value in sorted(as_object(record.get(key)).items())
        ),
        "ink_use": rows(_ink_use(found) for found in objects(record.get("ink_use"))),
        "people": rows(
            (show(p.get("username")), show(p.get("name")), ", ".join(show(role).replace("_", " ") for role in as_list(p.get("roles"))))
            for p in objects(record.get("people"))
        ),
        "all_signatures": rows(_signature(found) for found in objects(record.get("signatures"))),
        "digests": _digests(record, runs),
        "entries": rows(
            (f"{show(e.get('trail'))} {show(e.get('seq'))}", show(e.get("kind")), show(e.get("digest"))[:_DIGEST_SHOWN])
            for e in objects(record.get("entries"))
        ),
    }


def _prescription(record: JsonObject) -> Iterator[tuple[str, str]]:
    yield "Order", show(as_object(record.get("order")).get("id"))
    for name, value in sorted(as_object(record.get("prescription")).items()):
        steps = objects(value) if name == "schedule" else []
        yield f"Prescription: {words(name)}", "; ".join(show(dict(step)) for step in steps) if steps else show(value)


def _release_terms(record: JsonObject) -> Iterator[tuple[str, str]]:
    release = as_object(record.get("release"))
    for row in objects(release.get("uncertainty")):
        expanded = as_object(row.get("expanded"))
        yield (
            f"Uncertainty of {show(row.get('strength_mg'))} mg",
            (
                f"± {show(expanded.get('by_mass_percent'))} % by mass, ± {show(expanded.get('by_volume_percent'))} % by volume "
                f"(expanded, k = {show(expanded.get('k'))})"
            ),
        )
    for name, value in sorted(release.items()):
        if name not in ("uncertainty", "use_by"):
            yield f"Release: {words(name)}", show(value)


def _outside(record: JsonObject) -> Iterator[tuple[str, ...]]:
    """Give what was weighed outside its limits, or so near to one that its uncertainty reaches over it, whatever its verdict."""
    for unit in weighed(record):
        mass, low, high = (number_of(unit.get(name)) for name in ("mass_mg", "low_mg", "high_mg"))
        reach = number_of(unit.get("expanded_uncertainty_mg")) or 0
        if mass is not None and low is not None and high is not None and not low <= mass - reach <= mass + reach <= high:
            found = f"{show(unit.get('mass_mg'), 1)} ± {show(unit.get('expanded_uncertainty_mg'), 2)}"
            limits = f"{show(unit.get('low_mg'), 1)} – {show(unit.get('high_mg'), 1)}"
            yield _number(unit), label_of(unit), found, limits, show(unit.get("verdict"))


def _resolution(found: JsonObject) -> tuple[str, ...]:
    cause = f"{show(found.get('reason_code'))}: {show(found.get('cause'))}"
    by = f"{show(found.get('resolved_by'))}, {moment(found.get('at'))} UTC"
    return show(found.get("exception")), show(found.get("finding")), cause, by, text_of(found.get("problem")) or "counts"


def _number(unit: JsonObject) -> str:
    return show(unit.get("n")) + (f".{show(unit.get('part'))}" if unit.get("part") is not None else "")


def _readings(unit: JsonObject) -> tuple[str, ...]:
    """What the instruments gave for one unit, as it stands in the record."""
    nozzle = [show(unit.get(name)) for name in ("nozzle_min_C", "nozzle_max_C")]
    where = "external" if unit.get("weighed_on") == "external" else show(unit.get("balance_serial"))
    return (
        _number(unit),
        show(unit.get("gross_before_mg")),
        show(unit.get("gross_after_mg")),
        show(unit.get("drift_correction_mg")),
        where,
        show(unit.get("commanded_uL")),
        show(unit.get("reported_uL")),
        show(unit.get("flow_factor")),
        NONE if nozzle == [NONE, NONE] else " – ".join(nozzle),
        show(unit.get("gcode_sha256"))[:_DIGEST_SHOWN],
    )


def _uniformity(row: JsonObject) -> Iterator[tuple[str, ...]]:
    """Both evaluations of a strength, the accepted units and all that were weighed, with every sentence that is said of them."""
    before = ""
    for name, which in (("uniformity", "accepted"), ("uniformity_all", "all weighed")):
        result = as_object(row.get(name))
        applicability = text_of(as_object(result.get("applicability")).get("text")) or ""
        sentences = [text_of(result.get("claim")), text_of(result.get("mass_claim"))]
        if not any(applicability in (sentence or "") for sentence in sentences):
            sentences.append(applicability)
        said = ". ".join(sentence[:1].upper() + sentence[1:] for sentence in sentences if sentence) or NONE
        figures = (show(result.get("mean_percent"), 2), show(result.get("sd_percent"), 2))
        value = show(as_object(result.get("statistic")).get("value_percent"), 1)
        yield label_of(row), which, show(result.get("n")), *figures, value, "The same." if said == before else said
        before = said


def _ink_use(found: JsonObject) -> tuple[str, ...]:
    names = ("issued_mg", "printed_mg", "purged_mg", "rejected_mg", "unweighed_mg", "remaining_mg", "difference_mg", "unaccounted_percent")
    return show(found.get("cartridge")), *(show(found.get(name)) for name in names)


def _signature(found: JsonObject) -> tuple[str, ...]:
    scripted = " (scripted)" if found.get("scripted") is True else ""
    return (
        f"{show(found.get('name'))}, {show(found.get('signer'))}{scripted}",
        (text_of(found.get("role")) or NONE).replace("_", " "),
        show(found.get("meaning")),
        f"{moment(found.get('at'))} UTC, zone {show(found.get('zone'))}",
        f"over {show(found.get('digest'))[:_DIGEST_SHOWN]}, key {'+'.join((text_of(found.get('key')) or NONE).split('+')[:2])}",
    )


def _evidence(found: JsonObject) -> tuple[str, ...]:
    """One item as a row, with the entries that it rests on."""
    links = [(show(link.get("trail")), count_of(link.get("seq")) or 0) for link in objects(found.get("entries"))]
    detail = " ".join(text for text in (show(found.get("detail")), f"[{links_text(links)}]" if links else "") if text)
    return show(found.get("item")), show(found.get("state")), detail


def _unit(unit: JsonObject) -> tuple[str, ...]:
    low, high = show(unit.get("low_mg"), 1), show(unit.get("high_mg"), 1)
    return (
        _number(unit),
        label_of(unit),
        show(unit.get("target_mass_mg"), 2),
        NONE if NONE in (low, high) else f"{low} – {high}",
        show(unit.get("mass_mg"), 1),
        show(unit.get("expanded_uncertainty_mg"), 2),
        show(unit.get("content_percent"), 2),
        show(unit.get("pressure_max_kPa"), 0),
        show(unit.get("verdict")),
    )


def _purge(purge: JsonObject) -> tuple[str, ...]:
    by = text_of(purge.get("removal_confirmed_by")) or text_of(purge.get("removal_method")) or "confirmed"
    return (
        show(purge.get("n")),
        show(purge.get("target_mass_mg"), 2),
        show(purge.get("mass_mg"), 1),
        show(purge.get("expanded_uncertainty_mg"), 2),
        show(purge.get("verdict")),
        reasons_of(purge) or NONE,
        by if purge.get("removed") is True else "not confirmed",
    )


def _correction(found: JsonObject) -> tuple[str, ...]:
    last = as_object(as_list(found.get("evidence"))[-1]) if as_list(found.get("evidence")) else {}
    volume = number_of(found.get("target_volume_uL"))
    return (
        (text_of(found.get("unit")) or NONE).rpartition("/")[2],
        show(found.get("flow_factor")),
        show(found.get("estimate")),
        show(found.get("estimate_uncertainty")),
        show(last.get("gain")),
        NONE if volume is None else plain_text(round_to(volume, 2)),
    )


def _bad_unit(unit: JsonObject) -> tuple[str, ...]:
    by = text_of(unit.get("removal_confirmed_by")) or text_of(unit.get("removal_method")) or "confirmed"
    return (
        show(unit.get("n")),
        " + ".join(label_of(part) for part in objects(unit.get("parts"))) or label_of(unit),
        show(unit.get("verdict")),
        show(unit.get("mass_mg"), 1),
        reasons_of(unit) or NONE,
        by if unit.get("removed") is True else "not confirmed",
    )


def _alarm(alarm: JsonObject) -> tuple[str, ...]:
    sentences = [show(alarm.get(name)).rstrip(".") + "." for name in ("message", "cause", "consequence", "action") if alarm.get(name)]
    by = text_of(alarm.get("acknowledged_by"))
    comment = f": {show(alarm.get('comment'))}" if alarm.get("comment") else ""
    return (
        moment(alarm.get("at")),
        show(alarm.get("priority")),
        show(alarm.get("unit_n")),
        " ".join([f"{show(alarm.get('name'))}:", *sentences]),
        f"{by}, {_delay(alarm)}{comment}" if by else "no",
    )


def _delay(alarm: JsonObject) -> str:
    """Say how long after an alarm it was acknowledged."""
    try:
        raised, seen = (datetime.fromisoformat(text_of(alarm.get(name)) or "") for name in ("at", "acknowledged_at"))
        return f"after {int((seen - raised).total_seconds())} s"
    except (ValueError, TypeError):
        return f"at {moment(alarm.get('acknowledged_at'))}"


def _gate(gate: JsonObject, run: JsonObject) -> tuple[str, ...]:
    """One gate as a row; with the run's number in front where a batch has more than one."""
    found = gate.get("evidence") if gate.get("evidence") is not None else gate.get("reason")
    name = " ".join(text for text in (show(run.get("run")) if run else "", show(gate.get("gate"))) if text)
    return name, "met" if gate.get("met") is True else "not met", show(found)


def _digests(record: JsonObject, runs: list[JsonObject]) -> list[JsonValue]:
    found = [("Record as signed (SHA-256 of the canonical record without its signatures)", record_sha256(record))]
    found.append(("Order", show(as_object(record.get("order")).get("sha256"))))
    found.append(("Recipe", show(as_object(record.get("recipe")).get("digest"))))
    for run in runs:
        for name in ("program_sha256", "program_sent_sha256", "wire_log_sha256", "machine_digest"):
            found.append((f"Run {show(run.get('run'))}: {name.replace('_', ' ').removesuffix(' sha256')}", show(run.get(name))))
    trails = as_object(record.get("trails"))
    for name in ("workstation", "cell"):
        trail = as_object(trails.get(name))
        root = f", root {show(trail.get('root'))}" if trail.get("root") else ""
        found.append((f"Trail of the {name}", f"{show(trail.get('origin'))}, {show(trail.get('size'))} entries{root}"))
    return rows(found)
