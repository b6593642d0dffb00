"""The batch record as PDF/A-3b, with the machine-readable record attached.

Typeset by typst from a template of ours; every text of the record reaches it as JSON data and is never markup. The
document's time stamp is taken from the record, so that the same record gives the same bytes (one typst version).
Source: ISO 19005-3 (PDF/A-3, level B); attachment with relationship *Source*.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import cache
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

import typst

from audit.canonical import JsonObject, JsonValue, sha256_hex
from audit.errors import RecordError
from audit.quantities import plain_text, round_to
from audit.release.batch_record import record_sha256
from audit.release.conformity import State
from audit.release.document_chart import chart, shape
from audit.release.document_picture import chosen_pictures
from audit.release.evidence_links import links_text
from audit.release.trail_view import as_list, as_object, count_of, number_of, text_of

NONE = "–"
_EXTRA_GLYPHS = frozenset("–—‘’“”…·×÷−±√≤≥≈→←µ‰°²³⌀ΣΔαβγμσχ")
_LONGEST_TEXT = 600


def render_record(record: JsonObject, record_json: bytes, pictures: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
    """Return the PDF of a record; `record_json` (its canonical bytes) is attached as record.json.

    `pictures` are attachments of the run's creation by name (`pictures/…svg`); only drawings of a plain form are drawn.

    Raises RecordError where the record lacks what a document needs or typst cannot set it.
    """
    with tempfile.TemporaryDirectory(prefix="dosewright-record-") as folder:
        root = Path(folder)
        template = resources.files("audit.release").joinpath("templates", "record.typ").read_bytes()
        (root / "record.typ").write_bytes(template)
        (root / "record.json").write_bytes(record_json)
        drawn, rows, left_out = chosen_pictures(pictures)
        for name, data in drawn.items():
            (root / name).write_bytes(data)
        view = _view(record) | {"pictures": rows, "pictures_left_out": left_out}
        (root / "data.json").write_text(json.dumps(_printable(view), ensure_ascii=False), encoding="utf-8")
        try:
            return typst.compile(
                root / "record.typ", root=root, ignore_system_fonts=True, pdf_standards=["a-3b"], timestamp=_timestamp(record)
            )
        except typst.TypstError as error:
            raise RecordError(f"The batch record could not be typeset: {error.message}.", remedy="Report it with record.json.") from error


@cache
def layout() -> str:
    """Return what decides the bytes of a document beside its record: typst's version, and the SHA-256 of template and layout here.

    Another layout makes another document of the same record; both are right.
    """
    folder = resources.files("audit.release")
    sources = sorted(item.name for item in folder.iterdir() if item.name.startswith("document") and item.name.endswith(".py"))
    parts = [folder.joinpath(name).read_bytes() for name in sources] + [folder.joinpath("templates", "record.typ").read_bytes()]
    return f"typst {version('typst')}, layout {sha256_hex(b''.join(parts))[:16]}"


def _timestamp(record: JsonObject) -> int:
    signatures = [text_of(as_object(signature).get("at")) for signature in as_list(record.get("signatures"))]
    moments = [moment for moment in (*signatures, text_of(as_object(record.get("times")).get("last_entry"))) if moment]
    try:
        return int(max(datetime.fromisoformat(moment) for moment in moments).timestamp())
    except (ValueError, TypeError) as error:
        raise RecordError("The record has no time to date its document with.", remedy="Build the record from its trails again.") from error


def _printable(value: JsonValue) -> JsonValue:
    """Write characters that the fonts do not hold as <U+XXXX>: a document without a glyph is not PDF/A."""
    if isinstance(value, str):
        return "".join(character if _in_fonts(character) else f"<U+{ord(character):04X}>" for character in value[:_LONGEST_TEXT])
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


def _in_fonts(character: str) -> bool:
    return " " <= character <= "~" or ("\u00a1" <= character <= "\u017f" and character != "\u00ad") or character in _EXTRA_GLYPHS


def _show(value: JsonValue, places: int | None = None) -> str:
    """Return a value for print; a number is rounded to `places` where given."""
    number = number_of(value) if places is not None else None
    if number is not None and places is not None:
        return plain_text(round_to(number, places)).replace("-", "−")
    if value is None or value == "":
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        # Units are ASCII in records; on paper they are written as a pharmacist writes them.
        return value.replace("mg/m2", "mg/m²").removesuffix(" uL") + (" µL" if value.endswith(" uL") else "")
    return str(value) if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


def _moment(value: JsonValue) -> str:
    text = text_of(value)
    return text[:19].replace("T", " ") if text else NONE


def _objects(value: JsonValue) -> list[JsonObject]:
    return [as_object(item) for item in as_list(value)]


def _rows(rows: Iterable[Iterable[str]]) -> list[JsonValue]:
    return [list(row) for row in rows]


def _view(record: JsonObject) -> JsonObject:
    product, disposition = as_object(record.get("product")), _show(record.get("disposition"))
    strengths = _objects(record.get("strengths"))
    labels = ", ".join(_label(row) for row in strengths)
    named = None if any(row.get("moiety") for row in strengths) else text_of(product.get("moiety"))
    moiety = " ".join(part for part in (named, labels) if part)
    basis = text_of(product.get("basis"))
    return {
        "title": f"Batch record {_show(record.get('batch'))}",
        "description": "Batch release record with the machine-readable record attached"
        + (". DEMONSTRATION" if record.get("notice") else ""),
        "batch": _show(record.get("batch")),
        "notice": record.get("notice"),
        "disposition": disposition,
        "record_sha256": record_sha256(record),
        "product_title": moiety[:1].upper() + moiety[1:] if moiety else "Unnamed product",
        "subtitle": ", ".join(part for part in (f"stated as {basis}" if basis else None, text_of(product.get("dosage_form"))) if part),
        "facts": _facts(record),
        "arithmetic": _arithmetic(record)[:9],
        "shape": shape(strengths),
        "chart": chart(sorted(_weighed(record), key=lambda row: count_of(row.get("part")) or 0)),
        "strengths": [_strength(row) for row in strengths],
        "claims": _claims(strengths),
        "exceptions": _exceptions(record),
        **_disposition(record, disposition),
        "signatures": _signatures(_objects(record.get("signatures"))),
        **_details(record),
    }


def _arithmetic(record: JsonObject) -> list[JsonValue]:
    """Return the lines of the dose; of two actives those that lead to the masses, the rest is in the attached record."""
    lines = [_show(line) for line in as_list(as_object(record.get("dose")).get("arithmetic"))]
    if record.get("second_ink"):
        lines = [line for line in lines if ": Rounding: " not in line and ": Prescribed: " not in line]
    return list(lines)


def _label(row: JsonObject) -> str:
    """Return a strength as it is shown; the active is named where a unit has several."""
    return " ".join(text for text in (text_of(row.get("moiety")), f"{_show(row.get('strength_mg'))} mg") if text)


def _weighed(record: JsonObject) -> list[JsonObject]:
    """Return what was weighed and judged by itself: the units, or the parts of units of several inks, with their unit's number."""
    rows: list[JsonObject] = []
    for unit in _objects(record.get("units")):
        parts = _objects(unit.get("parts"))
        rows.extend({**part, "n": unit.get("n"), "whole": unit.get("verdict")} for part in parts)
        if not parts:
            rows.append(unit)
    return rows


def _ink(ink: JsonObject) -> str:
    """Return an ink lot with how its strength is known: nobody has assayed one that was prepared on site."""
    known = "assay" if ink.get("preparation") is None else "prepared on site, theoretical strength"
    return f"{_show(ink.get('lot'))}, {known} {_show(ink.get('assay'))}, {_show(ink.get('density'))}"


def _release(record: JsonObject) -> list[tuple[str, str]]:
    """Return use-by and the words of the legal route, where the run states them."""
    release = as_object(record.get("release"))
    end, route = as_object(release.get("use_by")), as_object(release.get("legal_route"))
    facts = [("Use by", f"{_show(end.get('day'))} ({_show(end.get('because'))})")] if end else []
    return [*facts, *([("Release as", f"{_show(route.get('title'))}: {_show(route.get('statement'))}")] if route else [])]


def _second(record: JsonObject) -> list[tuple[str, str]]:
    """Return the facts of the second ink, where there is one."""
    second, ink = as_object(as_object(record.get("prescription")).get("second")), as_object(record.get("second_ink"))
    if not ink:
        return []
    prescribed = " per ".join(_show(second.get(name)) for name in ("prescribed", "per") if second.get(name) is not None)
    return [
        ("Second active", f"{_show(second.get('moiety'))} {prescribed}"),
        ("Second ink lot", _ink(ink)),
        ("Second cartridge", _show(as_object(record.get("second_cartridge")).get("serial"))),
    ]


def _facts(record: JsonObject) -> list[JsonValue]:
    prescription, ink = as_object(record.get("prescription")), as_object(record.get("ink"))
    recipe, cell = as_object(record.get("recipe")), as_object(record.get("cell"))
    body = [_show(prescription.get(name)) for name in ("sex", "age", "height", "weight") if prescription.get(name) is not None]
    days = count_of(prescription.get("days"))
    course = "" if days is None else f" for {days} day{'' if days == 1 else 's'}"
    runs = _objects(record.get("runs"))
    rate = _show(runs[-1].get("rate")) if runs else "1"
    prescribed = " per ".join(_show(prescription.get(name)) for name in ("prescribed", "per") if prescription.get(name) is not None)
    return _rows(
        [
            ("Batch", _show(record.get("batch"))),
            ("Patient", ", ".join([_show(prescription.get("patient")), *body])),
            ("Prescribed", (prescribed or NONE) + course),
            ("Recipe", _show(recipe.get("reference"))),
            ("Ink lot", _ink(ink)),
            ("Cartridge", _show(as_object(record.get("cartridge")).get("serial"))),
            *_second(record),
            ("Cell", f"{_show(cell.get('name'))}, {_show(cell.get('machine'))}" + ("" if rate in ("1", NONE) else f", clock rate {rate}")),
            *_release(record),
            ("Units", f"{_show(record.get('units_accepted'))} accepted of {_show(record.get('units_planned'))} planned"),
            ("Run", "; ".join(f"{_moment(run.get('began'))} – {_moment(run.get('last'))[11:]} UTC" for run in runs) or NONE),
        ]
    )


def _strength(row: JsonObject) -> JsonObject:
    result = as_object(row.get("uniformity"))
    statistic = as_object(result.get("statistic"))
    within = result.get("within_limit")
    return {
        "strength": _label(row),
        "planned": _show(row.get("units_planned")),
        "accepted": _show(row.get("units_accepted")),
        "mean": _show(result.get("mean_percent"), 2),
        "sd": _show(result.get("sd_percent"), 2),
        "statistic": _show(statistic.get("value_percent"), 1),
        "limit": f"≤ {_show(statistic.get('limit_percent'))}" if statistic.get("limit_percent") else NONE,
        "verdict": "" if within is None else "within limit" if within else "outside limit",
        "tone": "plain" if within is None else "good" if within else "bad",
    }


def _claims(strengths: list[JsonObject]) -> list[JsonValue]:
    """Return the claims, each once, with the strengths that it is made for where they differ."""
    found: dict[str, list[str]] = {}
    for row in strengths:
        result = as_object(row.get("uniformity"))
        sentences = [_show(result.get(name)) for name in ("claim", "mass_claim")]
        text = " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)
        found.setdefault(text, []).append(_label(row))
    return [claim if len(found) == 1 else f"{', '.join(names)}: {claim}" for claim, names in found.items()]


def _exceptions(record: JsonObject) -> list[JsonValue]:
    units = [unit for unit in _objects(record.get("units")) if unit.get("verdict") != "accepted"]
    alarms, deviations = _objects(record.get("alarms")), _objects(record.get("deviations"))
    lines: list[tuple[str, str]] = []
    if not (units or alarms or deviations):
        lines.append(("good", "No alarm, no deviation; no unit rejected or scrapped."))
    for alarm in alarms[:2]:
        where = f", unit {_show(alarm.get('unit_n'))}" if alarm.get("unit_n") is not None else ""
        lines.append(("bad", f"Alarm, {_show(alarm.get('priority'))}{where}: {_short(_show(alarm.get('message')), 90)}"))
    if len(alarms) > 2:
        lines.append(("bad", f"and {len(alarms) - 2} more alarms: see review by exception"))
    purges, corrections = _objects(record.get("purge_units")), _objects(record.get("corrections"))
    factors = sorted(number for c in corrections if (number := number_of(c.get("flow_factor"))) is not None)
    if factors:
        lines.append(
            ("warn", f"Dose corrected {len(corrections)} times: flow factor {plain_text(factors[0])} to {plain_text(factors[-1])}")
        )
    if elsewhere := [unit for unit in _objects(record.get("units")) if unit.get("weighed_on") == "external"]:
        lines.append(("warn", _weighed_elsewhere(elsewhere)))
    for purge in purges:
        removed = "removed" if purge.get("removed") is True else "removal not confirmed"
        lines.append(("warn", f"Purge unit {_show(purge.get('n'))} (waste), {removed}: {_show(purge.get('verdict'))}"))
    for unit in units[:2]:
        reasons = _short("; ".join(_show(reason) for reason in as_list(unit.get("reasons"))), 80)
        removed = "removed" if unit.get("removed") is True else "removal not confirmed"
        lines.append(("bad", f"Unit {_show(unit.get('n'))} {_show(unit.get('verdict'))}, {removed}: {reasons or 'no reason recorded'}"))
    if len(units) > 2:
        lines.append(("bad", f"and {len(units) - 2} more units not accepted: see review by exception"))
    if deviations:
        lines.append(("warn", f"{len(deviations)} deviation{'s' if len(deviations) > 1 else ''} opened"))
    return [{"tone": tone, "text": text} for tone, text in lines]


def _weighed_elsewhere(units: Sequence[JsonObject]) -> str:
    """Say which units were weighed on which external balance, and that their masses were entered by hand, by whom."""
    serials, people = dict[str, None](), dict[str, None]()
    for unit in units:
        weighing = as_object(unit.get("external_weighing"))
        serials[_show(weighing.get("balance_serial"))] = None
        for attempt in as_list(weighing.get("attempts")):
            for entry in ("first", "second"):
                if name := text_of(as_object(as_object(attempt).get(entry)).get("name")):
                    people[name] = None
    many = "s" if len(units) > 1 else ""
    return (
        f"{len(units)} unit{many} weighed on external balance {', '.join(serials)}, "
        f"entered by hand, twice and blind: {', '.join(people) or 'nobody'}"
    )


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def _disposition(record: JsonObject, disposition: str) -> JsonObject:
    proposal = as_object(record.get("proposal"))
    reasons: list[JsonValue] = [_short(_show(reason), 96) for reason in as_list(proposal.get("reasons"))]
    releaser = text_of(record.get("releaser"))
    words = f"by {releaser}; the evidence proposed {_show(proposal.get('disposition'))}." if releaser else "Not signed."
    more: list[JsonValue] = [f"and {len(reasons) - 4} more: see review by exception"] if len(reasons) > 4 else []
    return {"disposition_text": words, "blocking": reasons[:4] + more}


def _signatures(signatures: list[JsonObject]) -> list[JsonValue]:
    """Return one line for each signer and meaning; several removals by one person are one line with their number."""
    found: dict[tuple[str, str], list[JsonObject]] = {}
    for signature in signatures:
        found.setdefault((_show(signature.get("signer")), _show(signature.get("meaning"))), []).append(signature)
    lines: list[JsonValue] = []
    for group in found.values():
        line = _signature(group[-1])
        lines.append(line if len(group) == 1 else {**line, "meaning": f"{line['meaning']} ({len(group)} times)"})
    return lines if len(lines) <= 6 else [*lines[:2], *lines[-4:]]


def _signature(signature: JsonObject) -> JsonObject:
    role = (text_of(signature.get("role")) or NONE).replace("_", " ")
    return {
        "name": _show(signature.get("name")),
        "signer": _show(signature.get("signer")),
        "role": role,
        "meaning": _show(signature.get("meaning")),
        "at": _moment(signature.get("at")),
        "scripted": signature.get("scripted") is True,
    }


def _details(record: JsonObject) -> JsonObject:
    units, runs = _objects(record.get("units")), _objects(record.get("runs"))
    evidence = _objects(record.get("evidence"))
    return {
        "not_met": [
            f"{_show(e.get('item'))}: {_show(e.get('state'))} ({_show(e.get('detail'))})"
            for e in evidence
            if e.get("state") not in (State.MET, State.NOT_REQUIRED)
        ],
        "bad_units": _rows(_bad_unit(unit) for unit in units if unit.get("verdict") != "accepted"),
        "alarms": _rows(_alarm(alarm) for alarm in _objects(record.get("alarms"))),
        "deviations": _rows(
            (_show(d.get("deviation")), _show(d.get("unit_n")), _show(d.get("text")), _show(d.get("status")))
            for d in _objects(record.get("deviations"))
        ),
        "evidence": _rows(_evidence(e) for e in evidence),
        "units": _rows(_unit(unit) for unit in _weighed(record)),
        "purge_units": _rows(_purge(purge) for purge in _objects(record.get("purge_units"))),
        "corrections": _rows(_correction(found) for found in _objects(record.get("corrections"))),
        "uniformity_all": _rows(_all_weighed(row) for row in _objects(record.get("strengths"))),
        "gates": _rows(_gate(gate, run if len(runs) > 1 else {}) for run in runs for gate in _objects(run.get("gates"))),
        "states": _rows(
            (_moment(s.get("at")), _show(s.get("state")), _show(s.get("reason"))) for run in runs for s in _objects(run.get("states"))
        ),
        "materials": _rows(
            (f"{what}: {name.replace('_', ' ')}", _show(value))
            for what, key in (
                ("Ink", "ink"),
                ("Cartridge", "cartridge"),
                ("Second ink", "second_ink"),
                ("Second cartridge", "second_cartridge"),
                ("Cell", "cell"),
                ("Recipe", "recipe"),
            )
            for name, value in sorted(as_object(record.get(key)).items())
        ),
        "people": _rows(
            (_show(p.get("username")), _show(p.get("name")), ", ".join(_show(role).replace("_", " ") for role in as_list(p.get("roles"))))
            for p in _objects(record.get("people"))
        ),
        "digests": _digests(record, runs),
    }


def _evidence(found: JsonObject) -> tuple[str, ...]:
    """One item as a row, with the entries that it rests on."""
    links = [(_show(link.get("trail")), count_of(link.get("seq")) or 0) for link in _objects(found.get("entries"))]
    detail = " ".join(text for text in (_show(found.get("detail")), f"[{links_text(links)}]" if links else "") if text)
    return _show(found.get("item")), _show(found.get("state")), detail


def _unit(unit: JsonObject) -> tuple[str, ...]:
    low, high = _show(unit.get("low_mg"), 1), _show(unit.get("high_mg"), 1)
    return (
        _show(unit.get("n")) + (f".{_show(unit.get('part'))}" if unit.get("part") is not None else ""),
        _label(unit),
        _show(unit.get("target_mass_mg"), 2),
        NONE if NONE in (low, high) else f"{low} – {high}",
        _show(unit.get("mass_mg"), 1),
        _show(unit.get("expanded_uncertainty_mg"), 2),
        _show(unit.get("content_percent"), 2),
        _show(unit.get("pressure_max_kPa"), 0),
        _show(unit.get("verdict")),
    )


def _purge(purge: JsonObject) -> tuple[str, ...]:
    by = text_of(purge.get("removal_confirmed_by")) or text_of(purge.get("removal_method")) or "confirmed"
    return (
        _show(purge.get("n")),
        _show(purge.get("target_mass_mg"), 2),
        _show(purge.get("mass_mg"), 1),
        _show(purge.get("expanded_uncertainty_mg"), 2),
        _show(purge.get("verdict")),
        "; ".join(_show(reason) for reason in as_list(purge.get("reasons"))) or NONE,
        by if purge.get("removed") is True else "not confirmed",
    )


def _correction(found: JsonObject) -> tuple[str, ...]:
    last = as_object(as_list(found.get("evidence"))[-1]) if as_list(found.get("evidence")) else {}
    volume = number_of(found.get("target_volume_uL"))
    return (
        (text_of(found.get("unit")) or NONE).rpartition("/")[2],
        _show(found.get("flow_factor")),
        _show(found.get("estimate")),
        _show(found.get("estimate_uncertainty")),
        _show(last.get("gain")),
        NONE if volume is None else plain_text(round_to(volume, 2)),
    )


def _bad_unit(unit: JsonObject) -> tuple[str, ...]:
    by = text_of(unit.get("removal_confirmed_by")) or text_of(unit.get("removal_method")) or "confirmed"
    return (
        _show(unit.get("n")),
        " + ".join(_label(part) for part in _objects(unit.get("parts"))) or _label(unit),
        _show(unit.get("verdict")),
        _show(unit.get("mass_mg"), 1),
        "; ".join(_show(reason) for reason in as_list(unit.get("reasons"))) or NONE,
        by if unit.get("removed") is True else "not confirmed",
    )


def _alarm(alarm: JsonObject) -> tuple[str, ...]:
    words = [_show(alarm.get(name)).rstrip(".") + "." for name in ("message", "cause", "consequence", "action") if alarm.get(name)]
    by = text_of(alarm.get("acknowledged_by"))
    comment = f": {_show(alarm.get('comment'))}" if alarm.get("comment") else ""
    return (
        _moment(alarm.get("at")),
        _show(alarm.get("priority")),
        _show(alarm.get("unit_n")),
        " ".join(words),
        f"{by}{comment}" if by else "no",
    )


def _gate(gate: JsonObject, run: JsonObject) -> tuple[str, ...]:
    """One gate as a row; with the run's number in front where a batch has more than one."""
    found = gate.get("evidence") if gate.get("evidence") is not None else gate.get("reason")
    name = " ".join(text for text in (_show(run.get("run")) if run else "", _show(gate.get("gate"))) if text)
    return name, "met" if gate.get("met") is True else "not met", _show(found)


def _all_weighed(row: JsonObject) -> tuple[str, ...]:
    result = as_object(row.get("uniformity_all"))
    value = as_object(result.get("statistic")).get("value_percent")
    return (
        _label(row),
        _show(result.get("n")),
        _show(result.get("mean_percent"), 2),
        _show(result.get("sd_percent"), 2),
        _show(value, 1),
        _show(result.get("claim")),
    )


def _digests(record: JsonObject, runs: list[JsonObject]) -> list[JsonValue]:
    rows = [("Record as signed (SHA-256 of the canonical record without its signatures)", record_sha256(record))]
    rows.append(("Order", _show(as_object(record.get("order")).get("sha256"))))
    rows.append(("Recipe", _show(as_object(record.get("recipe")).get("digest"))))
    for run in runs:
        for name in ("program_sha256", "program_sent_sha256", "wire_log_sha256", "machine_digest"):
            rows.append((f"Run {_show(run.get('run'))}: {name.replace('_', ' ').removesuffix(' sha256')}", _show(run.get(name))))
    trails = as_object(record.get("trails"))
    for name in ("workstation", "cell"):
        trail = as_object(trails.get(name))
        root = f", root {_show(trail.get('root'))}" if trail.get("root") else ""
        rows.append((f"Trail of the {name}", f"{_show(trail.get('origin'))}, {_show(trail.get('size'))} entries{root}"))
    return _rows(rows)
