"""The first page of a record's document: what a reviewer sees before anything else.

The template tries it from its full form to its shortest until it fits the page. What a form leaves out, and every text that ends with an
ellipsis, stands whole on the pages behind, and the page says so.
"""

from __future__ import annotations

from collections.abc import Sequence

from audit.canonical import JsonObject, JsonValue
from audit.quantities import plain_text
from audit.release.document_chart import chart, shape
from audit.release.document_text import NONE, brief, label_of, moment, objects, reasons_of, show, weighed
from audit.release.trail_view import as_list, as_object, count_of, number_of, text_of

_TITLE, _FACT, _LINE, _REASON = 90, 220, 170, 110
_SHORT = 56
"""The longest text of the shortest form."""
_MOST_STRENGTHS = 6
_MOST_SIGNATURES, _LEAST_SIGNATURES = 6, 4
SHORT_CLAIM = (
    "What these figures say of uniformity, and what they do not, stands under *Uniformity* in the full record. "
    "Nothing on this page is a statement on Ph. Eur. 2.9.40."
)


def summary(record: JsonObject, disposition: str) -> JsonObject:
    """Return the data of the first page."""
    product, strengths = as_object(record.get("product")), objects(record.get("strengths"))
    labels = ", ".join(label_of(row) for row in strengths)
    named = None if any(row.get("moiety") for row in strengths) else text_of(product.get("moiety"))
    title = " ".join(part for part in (named, labels) if part)
    basis = text_of(product.get("basis"))
    subtitle = ", ".join(part for part in (f"stated as {basis}" if basis else None, text_of(product.get("dosage_form"))) if part)
    arithmetic = _arithmetic(record)
    drawn = chart(sorted(weighed(record), key=lambda row: count_of(row.get("part")) or 0))
    return {
        "product_title": brief(title[:1].upper() + title[1:], _TITLE) if title else "Unnamed product",
        "subtitle": brief(subtitle, _TITLE),
        "facts": [[name, brief(value, _FACT)] for name, value in facts(record)],
        "facts_few": [[name, brief(value, _SHORT)] for name, value in facts(record)],
        "arithmetic": [brief(line, _LINE) for line in arithmetic[:14]] + _more(len(arithmetic) - 14, "lines", "Dose"),
        "arithmetic_few": _few_lines(arithmetic, _LINE),
        "arithmetic_least": _few_lines(arithmetic, 2 * _SHORT, 3),
        "shape": shape(strengths),
        "chart": drawn,
        "strengths": _strengths(strengths, _MOST_STRENGTHS),
        "strengths_least": _strengths(strengths, _MOST_STRENGTHS // 2),
        "claims": claims(strengths),
        "claims_short": [SHORT_CLAIM] if strengths else [],
        "exceptions": _exceptions(record),
        "exceptions_few": _counts(record),
        **_disposition(record, disposition),
        "signatures": _signatures(objects(record.get("signatures"))),
    }


def _strengths(strengths: list[JsonObject], most: int) -> JsonObject:
    found: list[JsonValue] = [strength_row(row) for row in strengths[:most]]
    return {"rows": found, "more": _more(len(strengths) - most, "strengths", "Uniformity")}


def _more(count: int, what: str, section: str) -> list[JsonValue]:
    return [f"… and {count} more {what}: see *{section}* in the full record"] if count > 0 else []


def _few_lines(arithmetic: list[str], length: int, most: int = 6) -> list[JsonValue]:
    """Return the lines that lead to the mass of a unit and the number of units."""
    chosen = [line for line in arithmetic if "Fill mass: " in line or "Units of " in line][:most] or arithmetic[:3]
    left = len(arithmetic) - len(chosen)
    return [brief(line, length) for line in chosen] + _more(left, "lines", "Dose")


def _arithmetic(record: JsonObject) -> list[str]:
    """Return the lines of the dose, from the prescription to the mass of a unit."""
    return [show(line) for line in as_list(as_object(record.get("dose")).get("arithmetic"))]


def ink_text(ink: JsonObject) -> str:
    """Return an ink lot with how its strength is known: nobody has assayed one that was prepared on site."""
    known = "assay" if ink.get("preparation") is None else "prepared on site, theoretical strength"
    return f"{show(ink.get('lot'))}, {known} {show(ink.get('assay'))}, {show(ink.get('density'))}"


def _release(record: JsonObject) -> list[tuple[str, str]]:
    """Return use-by and the words of the legal route, where the run states them."""
    release = as_object(record.get("release"))
    end, route = as_object(release.get("use_by")), as_object(release.get("legal_route"))
    facts = [("Use by", f"{show(end.get('day'))} ({show(end.get('because'))})")] if end else []
    return [*facts, *([("Release as", f"{show(route.get('title'))}: {show(route.get('statement'))}")] if route else [])]


def _second(record: JsonObject) -> list[tuple[str, str]]:
    """Return the facts of the second ink, where there is one."""
    second, ink = as_object(as_object(record.get("prescription")).get("second")), as_object(record.get("second_ink"))
    if not ink:
        return []
    prescribed = " per ".join(show(second.get(name)) for name in ("prescribed", "per") if second.get(name) is not None)
    return [
        ("Second active", f"{show(second.get('moiety'))} {prescribed}"),
        ("Second ink lot", ink_text(ink)),
        ("Second cartridge", show(as_object(record.get("second_cartridge")).get("serial"))),
    ]


def facts(record: JsonObject) -> list[tuple[str, str]]:
    """Return what the batch is: names and values."""
    prescription, ink = as_object(record.get("prescription")), as_object(record.get("ink"))
    recipe, cell = as_object(record.get("recipe")), as_object(record.get("cell"))
    body = [show(prescription.get(name)) for name in ("sex", "age", "height", "weight") if prescription.get(name) is not None]
    days = count_of(prescription.get("days"))
    course = "" if days is None else f" for {days} day{'' if days == 1 else 's'}"
    runs = objects(record.get("runs"))
    rate = show(runs[-1].get("rate")) if runs else "1"
    prescribed = " per ".join(show(prescription.get(name)) for name in ("prescribed", "per") if prescription.get(name) is not None)
    return [
        ("Batch", show(record.get("batch"))),
        ("Patient", ", ".join([show(prescription.get("patient")), *body])),
        ("Prescribed", (prescribed or NONE) + course),
        ("Recipe", show(recipe.get("reference"))),
        ("Ink lot", ink_text(ink)),
        ("Cartridge", show(as_object(record.get("cartridge")).get("serial"))),
        *_second(record),
        ("Cell", f"{show(cell.get('name'))}, {show(cell.get('machine'))}" + ("" if rate in ("1", NONE) else f", clock rate {rate}")),
        *_release(record),
        ("Units", f"{show(record.get('units_accepted'))} accepted of {show(record.get('units_planned'))} planned"),
        ("Run", "; ".join(f"{moment(run.get('began'))} – {moment(run.get('last'))[11:]} UTC" for run in runs) or NONE),
    ]


def strength_row(row: JsonObject) -> JsonObject:
    result = as_object(row.get("uniformity"))
    statistic = as_object(result.get("statistic"))
    within = result.get("within_limit")
    return {
        "strength": brief(label_of(row), 60),
        "planned": show(row.get("units_planned")),
        "accepted": show(row.get("units_accepted")),
        "mean": show(result.get("mean_percent"), 2),
        "sd": show(result.get("sd_percent"), 2),
        "statistic": show(statistic.get("value_percent"), 1),
        "limit": f"≤ {show(statistic.get('limit_percent'))}" if statistic.get("limit_percent") else NONE,
        "verdict": "" if within is None else "within limit" if within else "outside limit",
        "tone": "plain" if within is None else "good" if within else "bad",
    }


def claims(strengths: list[JsonObject]) -> list[JsonValue]:
    """Return the claims, each once, with the strengths that it is made for where they differ."""
    found: dict[str, list[str]] = {}
    for row in strengths:
        result = as_object(row.get("uniformity"))
        sentences = [show(result.get(name)) for name in ("claim", "mass_claim")]
        text = " ".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)
        found.setdefault(text, []).append(label_of(row))
    return [claim if len(found) == 1 else f"{', '.join(names)}: {claim}" for claim, names in found.items()]


def _exceptions(record: JsonObject) -> list[JsonValue]:
    """Return what went otherwise than planned, a line each; of many the first two and how many more."""
    units = [unit for unit in objects(record.get("units")) if unit.get("verdict") != "accepted"]
    alarms, deviations, resolved = (objects(record.get(name)) for name in ("alarms", "deviations", "exceptions"))
    lines: list[tuple[str, str]] = []
    if not (units or alarms or deviations):
        lines.append(("good", "No alarm, no deviation; no unit rejected or scrapped."))
    for alarm in alarms[:2]:
        where = f", unit {show(alarm.get('unit_n'))}" if alarm.get("unit_n") is not None else ""
        acknowledged = "" if alarm.get("acknowledged_by") else ", not acknowledged"
        lines.append(("bad", f"Alarm, {show(alarm.get('priority'))}{where}{acknowledged}: {brief(show(alarm.get('message')), 90)}"))
    if len(alarms) > 2:
        lines.append(("bad", f"and {len(alarms) - 2} more alarms: see review by exception"))
    lines += [("warn", line) for line in _changed(record)]
    for unit in units[:2]:
        why = brief(reasons_of(unit), 80) or "no reason recorded"
        lines.append(("bad", f"Unit {show(unit.get('n'))} {show(unit.get('verdict'))}, {_removed(unit)}: {why}"))
    if len(units) > 2:
        lines.append(("bad", f"and {len(units) - 2} more units not accepted: see review by exception"))
    if deviations:
        lines.append(("warn", f"{_count(len(deviations), 'deviation')} opened"))
    if resolved:
        lines.append(("warn", f"{_count(len(resolved), 'exception')} with a cause assigned: see review by exception"))
    return [{"tone": tone, "text": text} for tone, text in lines]


def _changed(record: JsonObject) -> list[str]:
    """Return lines on doses that were corrected, units weighed elsewhere, and purge units."""
    lines: list[str] = []
    corrections, purges = objects(record.get("corrections")), objects(record.get("purge_units"))
    factors = sorted(number for c in corrections if (number := number_of(c.get("flow_factor"))) is not None)
    if factors:
        span = f"flow factor {plain_text(factors[0])} to {plain_text(factors[-1])}"
        lines.append(f"Dose corrected {_count(len(corrections), 'time')}: {span}")
    if elsewhere := [unit for unit in objects(record.get("units")) if unit.get("weighed_on") == "external"]:
        lines.append(brief(_weighed_elsewhere(elsewhere), 220))
    lines += [f"Purge unit {show(purge.get('n'))} (waste), {_removed(purge)}: {show(purge.get('verdict'))}" for purge in purges[:2]]
    if len(purges) > 2:
        lines.append(f"and {len(purges) - 2} more purge units: see the full record")
    return lines


def _counts(record: JsonObject) -> list[JsonValue]:
    """Return the exceptions as numbers alone, for a page that is full."""
    units = sum(unit.get("verdict") != "accepted" for unit in objects(record.get("units")))
    counts = [(len(objects(record.get(name))), name[:-1]) for name in ("alarms", "deviations", "exceptions")]
    text = "; ".join([_count(units, "unit") + " not accepted", *(_count(number, name) for number, name in counts)])
    clean = units == 0 and not any(number for number, _ in counts)
    return [{"tone": "good" if clean else "bad", "text": f"{text}. See review by exception."}]


def _count(number: int, name: str) -> str:
    return f"{number or 'no'} {name}{'' if number == 1 else 's'}"


def _removed(unit: JsonObject) -> str:
    return "removed" if unit.get("removed") is True else "removal not confirmed"


def _weighed_elsewhere(units: Sequence[JsonObject]) -> str:
    """Say which units were weighed on which external balance, and that their masses were entered by hand, by whom."""
    serials, people = dict[str, None](), dict[str, None]()
    for unit in units:
        weighing = as_object(unit.get("external_weighing"))
        serials[show(weighing.get("balance_serial"))] = None
        for attempt in as_list(weighing.get("attempts")):
            for entry in ("first", "second"):
                if name := text_of(as_object(as_object(attempt).get(entry)).get("name")):
                    people[name] = None
    many = "s" if len(units) > 1 else ""
    return (
        f"{len(units)} unit{many} weighed on external balance {', '.join(serials)}, "
        f"entered by hand, twice and blind: {', '.join(people) or 'nobody'}"
    )


def _disposition(record: JsonObject, disposition: str) -> JsonObject:
    proposal = as_object(record.get("proposal"))
    reasons: list[JsonValue] = [brief(show(reason), _REASON) for reason in as_list(proposal.get("reasons"))]
    releaser = text_of(record.get("releaser"))
    words = f"by {releaser}; the evidence proposed {show(proposal.get('disposition'))}." if releaser else "Not signed."
    more: list[JsonValue] = [f"and {len(reasons) - 4} more: see review by exception"] if len(reasons) > 4 else []
    least: list[JsonValue] = [f"{len(reasons)} reasons: see review by exception"] if len(reasons) > 1 else reasons
    return {"disposition_text": words, "blocking": reasons[:4] + more, "blocking_least": least}


def _signatures(signatures: list[JsonObject]) -> JsonObject:
    """Return one line for each signer and meaning; several removals by one person are one line with their number."""
    found: dict[tuple[str, str], list[JsonObject]] = {}
    for signature in signatures:
        found.setdefault((show(signature.get("signer")), show(signature.get("meaning"))), []).append(signature)
    lines: list[JsonValue] = []
    for group in found.values():
        line = _signature(group[-1])
        lines.append(line if len(group) == 1 else {**line, "meaning": f"{line['meaning']} ({len(group)} times, the last)"})
    left = len(lines) - _MOST_SIGNATURES
    kept = lines if left <= 0 else [*lines[:2], *lines[-(_MOST_SIGNATURES - 2) :]]
    fewest = kept if len(kept) <= _LEAST_SIGNATURES else [*kept[:1], *kept[-(_LEAST_SIGNATURES - 1) :]]
    return {
        "full": {"rows": kept, "more": _more(left, "signatures", "Signatures")},
        "least": {
            "rows": [_least(as_object(line)) for line in fewest],
            "more": _more(len(lines) - len(fewest), "signatures", "Signatures"),
        },
    }


def _least(line: JsonObject) -> JsonObject:
    return {**line, "name": brief(show(line.get("name")), 28), "meaning": brief(show(line.get("meaning")), 32)}


def _signature(signature: JsonObject) -> JsonObject:
    return {
        "name": brief(show(signature.get("name")), 60),
        "signer": brief(show(signature.get("signer")), 40),
        "role": (text_of(signature.get("role")) or NONE).replace("_", " "),
        "meaning": brief(show(signature.get("meaning")), 90),
        "at": moment(signature.get("at")),
        "zone": show(signature.get("zone")),
        "scripted": signature.get("scripted") is True,
    }
