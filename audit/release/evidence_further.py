"""Evidence judged again from what was recorded: weights, verdicts, traces, corrections, people, equipment, rejected units, ink."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from audit.canonical import JsonObject
from audit.events import EventKind
from audit.quantities import EXACT, plain_text, round_to
from audit.release.conformity import Evidence, Item, State
from audit.release.evidence import BatchEntries
from audit.release.evidence_models import judge_models, model_exceptions
from audit.release.exceptions import REJECT_RATE, deviation_finding, deviation_key, ink_key, resolution_of
from audit.release.ink_use import balances
from audit.release.release_rules import read_rules
from audit.release.trail_view import TrailEntry, as_list, fold, number_of, text_of

_MASS_ROUNDING = Decimal("0.01")
"""mg. A mass and the drift taken off it are each recorded to two decimals."""

_GUARD_ROUNDING = Decimal("0.015")
"""mg. Mass, uncertainty and limit are each recorded to two decimals."""

_VERDICTS = frozenset({"accepted", "rejected", "scrapped"})
_HUNDRED = Decimal(100)


def further(entries: BatchEntries) -> tuple[Evidence, ...]:
    """Return the evidence of these items, in the order of `conformity.Item`."""
    return (
        _weights(entries),
        _verdicts(entries),
        _traces(entries),
        _corrections(entries),
        _people(entries),
        _equipment(entries),
        _rejects(entries),
        _ink(entries),
        _models(entries),
    )


def _decide(item: Item, problems: list[str], detail: str) -> Evidence:
    return Evidence(item, State.NOT_MET, "; ".join(problems)) if problems else Evidence(item, State.MET, detail)


def _accepted(entries: BatchEntries) -> Iterator[tuple[str, str, JsonObject]]:
    """Give type, id and state of what was weighed by itself of each accepted unit: the unit, or its parts."""
    for id_, unit in entries.units:
        if unit.get("verdict") != "accepted":
            continue
        parts = entries.parts_of(unit)
        if not parts:
            yield "unit", id_, unit
        for part_id, part in parts:
            yield "part", part_id, part


def _weights(entries: BatchEntries) -> Evidence:
    item = Item.WEIGHTS_GUARDED
    rows = list(_accepted(entries))
    missing = [id_ for _, id_, state in rows if _lacks(state)]
    if missing or not rows:
        return Evidence(item, State.MISSING, f"no raw readings: {', '.join(missing)}" if missing else "no unit was accepted")
    problems = [f"{id_}: {problem}" for _, id_, state in rows if (problem := _weight_problem(state))]
    return _decide(item, problems, f"{len(rows)} masses computed again from their readings")


def _lacks(state: JsonObject) -> bool:
    names = ["mass_mg", "low_mg", "high_mg", "expanded_uncertainty_mg"]
    if state.get("weighed_on") != "external":
        names += ["gross_before_mg", "gross_after_mg", "drift_correction_mg"]
    return any(number_of(state.get(name)) is None for name in names)


def _weight_problem(state: JsonObject) -> str:
    def figure(name: str) -> Decimal:
        return number_of(state.get(name)) or Decimal(0)

    mass, uncertainty = figure("mass_mg"), figure("expanded_uncertainty_mg")
    if state.get("weighed_on") != "external":
        net = EXACT.subtract(figure("gross_after_mg"), figure("gross_before_mg"))
        if abs(EXACT.subtract(EXACT.subtract(net, figure("drift_correction_mg")), mass)) > _MASS_ROUNDING:
            return f"its readings give another mass than {plain_text(mass)} mg"
    if mass - uncertainty < figure("low_mg") - _GUARD_ROUNDING or mass + uncertainty > figure("high_mg") + _GUARD_ROUNDING:
        return f"{plain_text(mass)} ± {plain_text(uncertainty)} mg is not within {state.get('low_mg')} to {state.get('high_mg')} mg"
    return ""


def _verdicts(entries: BatchEntries) -> Evidence:
    """A failing result is the last word: what was rejected or scrapped stays so, whatever a later entry says."""
    units = [("unit", id_) for id_, _ in entries.units] + [("part", id_) for id_ in entries.parts]
    problems = []
    for type_, id_ in units:
        given = [verdict for entry in entries.cell.of(type_, id_) if (verdict := text_of(entry.new.get("verdict"))) in _VERDICTS]
        failed = next((verdict for verdict in given if verdict != "accepted"), None)
        if failed is not None and "accepted" in given[given.index(failed) :]:
            problems.append(f"{id_} was {failed} and later accepted")
    return _decide(Item.VERDICTS_STAND, problems, f"{len(units)} units and parts keep their first failing verdict")


def _traces(entries: BatchEntries) -> Evidence:
    item, rows = Item.TRACES_SEALED, list(_accepted(entries))
    bare = [id_ for type_, id_, _ in rows if not {"traces", "journal"} <= _folders(entries.cell.of(type_, id_))]
    if bare or not rows:
        return Evidence(item, State.MISSING, f"no trace or journal: {', '.join(bare)}" if bare else "no unit was accepted")
    return Evidence(item, State.MET, f"{len(rows)} sealed")


def _folders(found: list[TrailEntry]) -> set[str]:
    return {name.partition("/")[0] for entry in found for name, sha256 in entry.attachments.items() if sha256}


def _corrections(entries: BatchEntries) -> Evidence:
    decided = dict(entries.corrections)
    printed = {id_: state for id_, state in (*entries.units, *entries.parts.items(), *entries.purge_units) if "parts" not in state}
    problems = [f"{id_}: {problem}" for id_, state in decided.items() if (problem := _correction_problem(entries, id_, state, printed))]
    for id_, state in printed.items():
        factor = number_of(state.get("flow_factor"))
        if factor is not None and factor != 1 and id_ not in decided:
            problems.append(f"{id_}: printed with flow factor {plain_text(factor)} that nobody decided")
    return _decide(Item.CORRECTIONS_PROVED, problems, f"{len(decided)} corrections" if decided else "the dose was not corrected")


def _correction_problem(entries: BatchEntries, id_: str, state: JsonObject, printed: dict[str, JsonObject]) -> str:
    entry = entries.cell.last("correction", id_, EventKind.DOSE_CORRECTION_DECIDED)
    attached = entry.attachments if entry else {}
    sha256 = text_of(state.get("gcode_sha256"))
    if sha256 not in [value for name, value in attached.items() if name.endswith(".gcode")]:
        return "its bytes are not attached"
    if not any(name.endswith("-proof.json") for name in attached):
        return "its bytes are not proved"
    if id_ in printed and text_of(printed[id_].get("gcode_sha256")) != sha256:
        return "printed from other bytes than were proved"
    factor, largest = number_of(state.get("flow_factor")), number_of(state.get("largest_percent"))
    if factor is None or largest is None:
        return "factor or bound is not stated"
    beyond = EXACT.multiply(abs(EXACT.subtract(factor, Decimal(1))), _HUNDRED) > largest
    return f"flow factor {plain_text(factor)} is beyond ± {plain_text(largest)} %" if beyond else ""


def _people(entries: BatchEntries) -> Evidence:
    item = Item.PEOPLE_ENTITLED
    acted: dict[tuple[str, str], None] = {}
    for _, entry in entries.relevant:
        who = entry.who
        # A recipe may come signed from another site; its digest, not its signers, ties it to the batch.
        if who["username"] != "system" and entry.subject[0] != "recipe":
            acted[(text_of(who["username"]) or "nobody", text_of(who["role"]) or "no role")] = None
    if not acted:
        return Evidence(item, State.MISSING, "nobody acted")
    problems = []
    for username, role in acted:
        account = entries.workstation.of("person", username)
        held = {text_of(name) for entry in account for name in as_list(entry.new.get("roles"))}
        if not account:
            problems.append(f"{username} has no account")
        elif role not in held:
            problems.append(f"{username} acted as {role}, a role that this account never had")
    return _decide(item, problems, f"{len({username for username, _ in acted})} people")


def _equipment(entries: BatchEntries) -> Evidence:
    item = Item.EQUIPMENT_STATED
    printed = [run for run in entries.runs if any(id_.startswith(f"{run}/") for id_, _ in entries.units)]
    bare = [run for run in printed if not (text_of(entries.run_states[run].get("equipment_digest")) and _register(entries, run))]
    if bare or not printed:
        return Evidence(item, State.MISSING, f"no equipment register: {', '.join(bare)}" if bare else "no run printed")
    return Evidence(item, State.MET, ", ".join(dict.fromkeys(_register(entries, run) for run in printed)))


def _register(entries: BatchEntries, run: str) -> str:
    return text_of(entries.run_states[run].get("equipment")) or ""


def _rejects(entries: BatchEntries) -> Evidence:
    item, rules = Item.REJECTS_WITHIN, read_rules(entries.fact("release_rules"))
    if rules.problem:
        return Evidence(item, State.MISSING, rules.problem)
    if rules.largest_reject_rate is None:
        return Evidence(item, State.NOT_REQUIRED, "the recipe's control strategy sets no limit")
    finding, within = reject_finding(entries, rules.largest_reject_rate)
    return _resolvable(entries, item, {} if within else {REJECT_RATE: finding}, finding)


def reject_finding(entries: BatchEntries, limit: Decimal) -> tuple[str, bool]:
    """Return what was found of rejected and scrapped units against the limit in %, and whether it lies within."""
    printed, against = len(entries.units), sum(unit.get("verdict") != "accepted" for _, unit in entries.units)
    share = EXACT.divide(Decimal(100 * against), Decimal(printed)) if printed else Decimal(0)
    shown = plain_text(round_to(share, 1))
    return f"{against} of {printed} printed units rejected or scrapped, {shown} %, limit {plain_text(limit)} %", share <= limit


def _ink(entries: BatchEntries) -> Evidence:
    item, rules = Item.INK_RECONCILED, read_rules(entries.fact("release_rules"))
    if rules.problem:
        return Evidence(item, State.MISSING, rules.problem)
    limit = rules.ink_reconciliation
    if limit is None:
        return Evidence(item, State.NOT_REQUIRED, "the recipe's control strategy sets no limit")
    found, missing = balances(entries)
    if missing:
        return Evidence(item, State.MISSING, "; ".join(missing))
    return _resolvable(
        entries,
        item,
        {ink_key(ink.serial): ink.text for ink in found if not ink.within(limit)},
        f"{'; '.join(ink.text for ink in found)}, limit {plain_text(limit)} %",
    )


def _models(entries: BatchEntries) -> Evidence:
    item, rules = Item.MODELS_WITHIN, read_rules(entries.fact("release_rules"))
    if rules.problem:
        return Evidence(item, State.MISSING, rules.problem)
    judged = judge_models(entries)
    if judged is None:
        return Evidence(item, State.NOT_REQUIRED, "the recipe's control strategy names no model")
    if judged.failing:
        return Evidence(item, State.NOT_MET, "; ".join([*judged.failing, *judged.missing, *judged.exceptions.values()]))
    if judged.missing:
        return Evidence(item, State.MISSING, "; ".join([*judged.missing, *judged.exceptions.values()]))
    return _resolvable(entries, item, judged.exceptions, "; ".join([*judged.well, *judged.exceptions.values()]))


def _resolvable(entries: BatchEntries, item: Item, exceptions: dict[str, str], detail: str) -> Evidence:
    """Return an item that is met where each of its exceptions is resolved by a person who did not run the batch."""
    problems, resolved = [], []
    for key, finding in exceptions.items():
        resolution = resolution_of(entries.workstation, entries.batch_id, key, finding, entries.operators)
        if resolution is None:
            problems.append(f"{finding}; no cause is assigned")
        elif not resolution.counts:
            problems.append(f"{finding}; {resolution.problem}")
        else:
            resolved.append(resolution.text)
    return _decide(item, problems, "; ".join([detail, *resolved]))


def open_exceptions(entries: BatchEntries) -> dict[str, str]:
    """Return each exception of the batch that a person may resolve and nobody has: its key and its finding."""
    found: dict[str, str] = {}
    for id_, deviation in entries.deviations:
        if text_of(deviation.get("status")) != "closed":
            found[deviation_key(id_)] = deviation_finding(deviation)
    rules = read_rules(entries.fact("release_rules"))
    if rules.largest_reject_rate is not None:
        finding, within = reject_finding(entries, rules.largest_reject_rate)
        found |= {} if within else {REJECT_RATE: finding}
    if rules.ink_reconciliation is not None:
        balanced, _ = balances(entries)
        found |= {ink_key(ink.serial): ink.text for ink in balanced if not ink.within(rules.ink_reconciliation)}
    found |= model_exceptions(entries)
    return {key: finding for key, finding in found.items() if not is_resolved(entries, key, finding)}


def is_resolved(entries: BatchEntries, key: str, finding: str) -> bool:
    """Return whether a resolution of this finding counts."""
    resolution = resolution_of(entries.workstation, entries.batch_id, key, finding, entries.operators)
    return resolution is not None and resolution.counts


def resolutions(entries: BatchEntries) -> list[JsonObject]:
    """Return every resolution of the batch for its record, with what speaks against it."""
    rows: list[JsonObject] = []
    for subject, found in _resolved(entries).items():
        new = fold(found)
        key, finding = text_of(new.get("exception")) or "", text_of(new.get("finding")) or ""
        resolution = resolution_of(entries.workstation, entries.batch_id, key, finding, entries.operators)
        rows.append(
            {
                "exception": subject.removeprefix(f"{entries.batch_id}/"),
                **{name: new.get(name) for name in ("finding", "reason_code", "cause")},
                "resolved_by": found[-1].who["username"],
                "at": found[-1].at,
                "problem": resolution.problem if resolution is not None else "it is not an entry of its own exception",
            }
        )
    return rows


def _resolved(entries: BatchEntries) -> dict[str, list[TrailEntry]]:
    return entries.workstation.under("exception", entries.batch_id)
