"""The entries of one batch, gathered from both trails, and the evidence that they give for its release."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from audit.canonical import JsonObject, JsonValue, digest
from audit.errors import EntryInvalid, RecordError, VerificationError
from audit.events import EventKind
from audit.release.claims import Uniformity
from audit.release.conformity import Evidence, Item, State
from audit.release.exceptions import deviation_finding, deviation_key, resolution_of
from audit.release.legal_routes import REAL_TIME
from audit.release.release_rules import read_rules
from audit.release.trail_view import TrailEntry, TrailView, as_list, as_object, count_of, fold, number_of, text_of
from audit.signatures import removal_digest, verify_signature, weight_digest

_PRINTED = ("unit", "part", "calibration")
_BEGUN = frozenset({EventKind.UNIT_PRINT_INTENDED, EventKind.PART_PRINT_INTENDED, EventKind.CALIBRATION_PRINT_INTENDED})
_MASS_ROUNDING = Decimal("0.005")
"""mg. The mass of a unit is recorded to two decimals; a balance may show three."""


@dataclass(frozen=True)
class BatchEntries:
    """What both trails hold of one batch. Nothing is checked here; the properties are lookups."""

    workstation: TrailView
    cell: TrailView
    batch_id: str

    @cached_property
    def batch(self) -> JsonObject:
        found = self.workstation.state("batch", self.batch_id)
        if not found:
            raise RecordError(f"The workstation trail holds no batch {self.batch_id}.", remedy="Check the batch number.")
        return found

    @cached_property
    def created(self) -> TrailEntry | None:
        return self.workstation.last("batch", self.batch_id, EventKind.BATCH_RECORD_CREATED)

    @cached_property
    def order_id(self) -> str:
        return text_of(self.batch.get("order")) or ""

    @cached_property
    def order(self) -> JsonObject:
        return self.workstation.state("order", self.order_id)

    @cached_property
    def ink(self) -> JsonObject:
        return _nested(self.workstation.state("ink_lot", text_of(self.batch.get("ink_lot")) or ""), "certificate")

    @cached_property
    def cartridge(self) -> JsonObject:
        return _nested(self.workstation.state("cartridge", text_of(self.batch.get("cartridge")) or ""), "cartridge")

    @cached_property
    def second_ink(self) -> JsonObject:
        """The certificate of the second ink of a unit; empty where there is one ink."""
        lot = text_of(self.batch.get("second_ink_lot"))
        return {} if lot is None else _nested(self.workstation.state("ink_lot", lot), "certificate")

    @cached_property
    def second_cartridge(self) -> JsonObject:
        serial = text_of(self.batch.get("second_cartridge"))
        return {} if serial is None else _nested(self.workstation.state("cartridge", serial), "cartridge")

    @cached_property
    def recipe(self) -> JsonObject:
        """The recipe's state when the batch was created: a version superseded later was effective then."""
        before = self.created.seq if self.created else 0
        reference = text_of(self.batch.get("recipe")) or ""
        return fold([entry for entry in self.workstation.of("recipe", reference) if entry.seq < before])

    @cached_property
    def runs(self) -> tuple[str, ...]:
        """The batch's runs in order of creation."""
        return tuple(
            entry.subject[1]
            for entry in self.cell.of_kind(EventKind.RUN_RECORD_CREATED)
            if text_of(entry.new.get("batch")) == self.batch_id
        )

    @cached_property
    def run_states(self) -> dict[str, JsonObject]:
        return {run: self.cell.state("run", run) for run in self.runs}

    @cached_property
    def last_run(self) -> JsonObject:
        return self.run_states[self.runs[-1]] if self.runs else {}

    @cached_property
    def units(self) -> tuple[tuple[str, JsonObject], ...]:
        """Identifier and state of each unit whose print was intended, by run and number."""
        found: list[tuple[str, JsonObject]] = []
        for run in self.runs:
            states = [(id_, fold(entries)) for id_, entries in self.cell.under("unit", run).items()]
            found.extend(sorted(states, key=lambda item: (count_of(item[1].get("n")) or 0, item[0])))
        return tuple(found)

    @cached_property
    def parts(self) -> dict[str, JsonObject]:
        """State of each part of a unit of several inks whose print was intended, by its identifier, in order of printing."""
        return {id_: fold(entries) for run in self.runs for id_, entries in self.cell.under("part", run).items()}

    def parts_of(self, unit: JsonObject) -> tuple[tuple[str, JsonObject], ...]:
        """Return the parts of a unit that its intent names: also those that were never begun."""
        return tuple((text_of(id_) or "", self.parts.get(text_of(id_) or "", {})) for id_ in as_list(unit.get("parts")))

    @cached_property
    def purge_units(self) -> tuple[tuple[str, JsonObject], ...]:
        """Identifier and state of each purge unit whose print was intended, by run and number. They are no units of the batch."""
        found = [(id_, fold(entries)) for run in self.runs for id_, entries in self.cell.under("calibration", run).items()]
        return tuple(sorted(found, key=lambda item: (self.runs.index(item[0].rpartition("/")[0]), item[0])))

    @cached_property
    def begun(self) -> tuple[TrailEntry, ...]:
        """The entries after which ink left a nozzle: each unit, part and purge unit that was begun."""
        of_runs = (found for run in self.runs for type_ in _PRINTED for found in self.cell.under(type_, run).values())
        return tuple(entry for found in of_runs for entry in found if entry.kind in _BEGUN)

    @cached_property
    def corrections(self) -> tuple[tuple[str, JsonObject], ...]:
        """Identifier of the unit or purge unit, and what was decided, for each correction of the dose."""
        return tuple((id_, fold(entries)) for run in self.runs for id_, entries in self.cell.under("correction", run).items())

    @cached_property
    def alarms(self) -> tuple[tuple[str, list[TrailEntry]], ...]:
        return tuple((id_, entries) for run in self.runs for id_, entries in self.cell.under("alarm", run).items())

    @cached_property
    def deviations(self) -> tuple[tuple[str, JsonObject], ...]:
        return tuple((id_, fold(entries)) for run in self.runs for id_, entries in self.cell.under("deviation", run).items())

    @cached_property
    def operators(self) -> tuple[str, ...]:
        """Usernames of those who asked for the run, commanded it, or weighed a unit of it first."""
        asked = [e for e in self.workstation.of("batch", self.batch_id) if e.kind == EventKind.BATCH_RUN_REQUESTED]
        commanded = [e for run in self.runs for e in self.cell.of("run", run) if e.kind == EventKind.RUN_COMMAND_RECEIVED]
        names = [text_of(entry.body.get("actor")) for entry in (*asked, *commanded)]
        for _, unit in self.units:
            attempts = as_list(as_object(unit.get("external_weighing")).get("attempts"))
            names += [text_of(as_object(as_object(attempt).get("first")).get("username")) for attempt in attempts]
        return tuple(dict.fromkeys(name for name in names if name and name != "system"))

    @cached_property
    def purpose(self) -> str | None:
        """What batch, runs or units are marked as made for, where it is not for patients; one mark anywhere is enough."""
        states = (self.batch, self.order, *self.run_states.values(), *(unit for _, unit in self.units))
        return next((mark for state in states if (mark := text_of(state.get("purpose"))) is not None), None)

    @cached_property
    def entered_by(self) -> tuple[str, ...]:
        signer = text_of(as_object(self.order.get("entered")).get("signer"))
        return (signer,) if signer else ()

    @cached_property
    def release(self) -> JsonObject:
        """What the last run states for the release: use-by, uncertainty of the dose, legal route; empty where it states nothing."""
        return as_object(self.last_run.get("release"))

    @property
    def real_time(self) -> bool:
        """Whether the legal route of the recipe lets this place speak of real-time release."""
        return REAL_TIME in (text_of(as_object(self.release.get("legal_route")).get("statement")) or "").split("; ")

    @cached_property
    def releasing_roles(self) -> tuple[str, ...]:
        """The roles that the legal route of the recipe names for a release; none where it states no route."""
        return tuple(text_of(role) or "" for role in as_list(as_object(self.release.get("legal_route")).get("roles")))

    def fact(self, name: str) -> JsonValue:
        """Return a figure that the run, the batch or the recipe entry states; the cell's own statement comes first."""
        return next((source[name] for source in (self.last_run, self.batch, self.recipe) if source.get(name) is not None), None)

    @cached_property
    def relevant(self) -> tuple[tuple[str, TrailEntry], ...]:
        """Every entry that the record rests on, with its trail's name: those about the batch's objects."""
        reference = text_of(self.batch.get("recipe")) or ""
        wanted = {
            ("batch", self.batch_id),
            ("order", self.order_id),
            ("ink_lot", text_of(self.batch.get("ink_lot")) or ""),
            ("cartridge", text_of(self.batch.get("cartridge")) or ""),
            ("ink_lot", text_of(self.batch.get("second_ink_lot")) or ""),
            ("cartridge", text_of(self.batch.get("second_cartridge")) or ""),
            ("recipe", reference),
            ("cell", text_of(self.batch.get("cell")) or ""),
            *(("model", rule.model) for rule in read_rules(self.fact("release_rules")).models),
        }
        mine = [("workstation", entry) for entry in self.workstation if entry.subject in wanted or self._of_this_batch(entry)]
        cell = [("cell", entry) for entry in self.cell if self._of_a_run(entry)]
        return (*mine, *cell)

    def _of_this_batch(self, entry: TrailEntry) -> bool:
        type_, id_ = entry.subject
        if type_ == "spectrum":
            return id_.rpartition("/")[0] in self.runs
        return type_ in ("exception", "ink_return", "prediction") and id_.startswith(f"{self.batch_id}/")

    def _of_a_run(self, entry: TrailEntry) -> bool:
        type_, id_ = entry.subject
        return (type_ == "run" and id_ in self.runs) or (type_ in _OF_A_RUN and id_.rpartition("/")[0] in self.runs)


_OF_A_RUN = frozenset({"unit", "part", "calibration", "correction", "alarm", "deviation"})


def _nested(state: JsonObject, field: str) -> JsonObject:
    inner = state.get(field)
    return inner if isinstance(inner, dict) else state


def gather(entries: BatchEntries, uniformity: Iterable[Uniformity], names: Iterable[str] = ()) -> tuple[Evidence, ...]:
    """Return one piece of evidence for each item of `conformity.Item` up to the statistic; `evidence_further` has the others.

    `names`: the active that each statistic is of, where a unit has several; a claim then names it.
    """
    return (
        _order(entries),
        _recipe(entries),
        _ink(entries),
        _program(entries),
        _gates(entries),
        _ended(entries),
        _judged(entries),
        _removal(entries),
        _trail(entries),
        _alarms(entries),
        _deviations(entries),
        _statistic(tuple(uniformity), tuple(names)),
    )


def _decide(item: Item, met: bool, detail: str) -> Evidence:
    return Evidence(item, State.MET if met else State.NOT_MET, detail)


def _missing(item: Item, detail: str) -> Evidence:
    return Evidence(item, State.MISSING, detail)


def _order(entries: BatchEntries) -> Evidence:
    item = Item.ORDER_CONFIRMED
    order, sha256 = entries.order, text_of(entries.order.get("order_sha256"))
    entered, confirmed = as_object(order.get("entered")), as_object(order.get("confirmed"))
    if not entered or not confirmed:
        return _missing(item, f"order {entries.order_id} has no signature of the person {'who confirmed' if entered else 'who entered'} it")
    try:
        actual = digest(order.get("order"))
    except EntryInvalid as error:
        return _decide(item, False, error.message)
    if not actual == sha256 == text_of(entered.get("digest")) == text_of(confirmed.get("digest")):
        return _decide(item, False, "the signatures are not over this order")
    if entries.last_run and text_of(entries.last_run.get("order_sha256")) != sha256:
        return _decide(item, False, "the cell ran another order")
    first, second = text_of(entered.get("signer")), text_of(confirmed.get("signer"))
    if first == second:
        return _decide(item, False, f"{first} entered and confirmed it")
    return _decide(item, True, f"entered by {first}, confirmed by {second}")


def _recipe(entries: BatchEntries) -> Evidence:
    item, reference = Item.RECIPE_EFFECTIVE, text_of(entries.batch.get("recipe"))
    if entries.purpose is not None:
        return _decide(item, False, f"{reference} was printed for {entries.purpose}: it can never be released")
    if not entries.recipe:
        return _missing(item, f"no entry makes {reference} effective before the batch")
    if text_of(entries.recipe.get("status")) != "effective":
        return _decide(item, False, f"{reference} was {text_of(entries.recipe.get('status'))}")
    digests = {text_of(source.get(name)) for source, name in ((entries.recipe, "digest"), (entries.batch, "recipe_digest"))}
    digests |= {text_of(state.get("recipe_digest")) for state in entries.run_states.values()}
    return _decide(item, len(digests) == 1, f"{reference}" if len(digests) == 1 else f"{reference}: the digests differ between the entries")


def _local_day(entry: TrailEntry) -> str:
    """Return the date at the site, in the zone that the entry states; that of UTC where it states none that is known."""
    try:
        return datetime.fromisoformat(entry.at).astimezone(ZoneInfo(text_of(entry.body.get("zone")) or "UTC")).date().isoformat()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return entry.at[:10]


def _ink(entries: BatchEntries) -> Evidence:
    item = Item.INK_IN_DATE
    days = [_local_day(entry) for entry in entries.begun]
    sources = [("ink_lot", entries.ink, entries.cartridge)]
    if entries.batch.get("second_ink_lot") is not None:
        sources.append(("second_ink_lot", entries.second_ink, entries.second_cartridge))
    found = []
    for name, ink, cartridge in sources:
        expires, in_use = text_of(ink.get("expires")), text_of(cartridge.get("in_use_until"))
        if expires is None or in_use is None or not days:
            return _missing(item, "no certificate, no cartridge entry or nothing was printed")
        lot, last = text_of(entries.batch.get(name)), max(days)
        if text_of(cartridge.get("ink_lot")) != lot:
            return _decide(item, False, f"the cartridge is not of lot {lot}")
        used = [text_of(state.get(name)) for state in entries.run_states.values() if name != "ink_lot" or name in state]
        if any(other != lot for other in used):
            return _decide(item, False, f"the cell ran another lot than {lot}")
        text = f"used {last}; lot expires {expires}, cartridge to be used until {in_use}"
        if last > min(expires[:10], in_use[:10]):
            return _decide(item, False, text)
        found.append(text if len(sources) == 1 else f"{lot}: {text}")
    return _decide(item, True, "; ".join(found))


def _program(entries: BatchEntries) -> Evidence:
    item = Item.PROGRAM_PROVED
    created = [entries.cell.last("run", run, EventKind.RUN_RECORD_CREATED) for run in entries.runs]
    if not created:
        return _missing(item, "no run")
    for entry in created:
        attached = entry.attachments if entry else {}
        if "proof.json" not in attached:
            return _missing(item, "the run has no proof")
        if not entry or attached.get("program-planned.gcode") != text_of(entry.new.get("program_sha256")):
            return _decide(item, False, "the program attached is not the one that the run names")
        if (dose := entries.batch.get("dose")) is not None and attached.get("dose.json") != digest(dose):
            return _decide(item, False, "the cell calculated another dose than the workstation")
    return _decide(item, True, f"program {(text_of(entries.last_run.get('program_sha256')) or '')[:16]}…")


def _gates(entries: BatchEntries) -> Evidence:
    item, passed = Item.GATES_PASSED, 0
    for run in entries.runs:
        outcomes = [e for e in entries.cell.of("run", run) if e.kind in (EventKind.RUN_GATES_PASSED, EventKind.RUN_GATES_REFUSED)]
        if not outcomes:
            return _missing(item, f"run {run} has no gates entry")
        gates = [as_object(gate) for gate in as_list(outcomes[-1].new.get("gates"))]
        unmet = [text_of(gate.get("gate")) or "unnamed" for gate in gates if gate.get("met") is not True]
        printed = any(id_.startswith(f"{run}/") for id_, _ in entries.units)
        if printed and (outcomes[-1].kind != EventKind.RUN_GATES_PASSED or unmet or not gates):
            return _decide(item, False, "not met: " + (", ".join(unmet) or "gates were refused"))
        passed += len(gates) if printed else 0
    return _decide(item, passed > 0, f"{passed} gates") if entries.runs else _missing(item, "no run")


def _ended(entries: BatchEntries) -> Evidence:
    item = Item.RUN_ENDED
    if not entries.runs or any(text_of(state.get("ended")) is None for state in entries.run_states.values()):
        return _missing(item, "a run has not ended" if entries.runs else "no run")
    ended = text_of(entries.last_run.get("ended")) or ""
    if ended == "FINISHED":
        return _decide(item, True, ended)
    permits = entries.fact("partial_release_permitted") is True
    return _decide(item, permits, f"{ended}; the recipe {'permits' if permits else 'does not permit'} partial release of a stopped run")


def _judged(entries: BatchEntries) -> Evidence:
    item = Item.UNITS_JUDGED
    if not entries.units:
        return _missing(item, "no unit was printed")
    unjudged = [id_ for id_, unit in entries.units if text_of(unit.get("verdict")) not in ("accepted", "rejected", "scrapped")]
    unweighed = [id_ for id_, unit in entries.units if unit.get("verdict") == "accepted" and number_of(unit.get("mass_mg")) is None]
    apart = [f"{id_}: {problem}" for id_, unit in entries.units if (problem := _parts_problem(entries, unit))]
    if apart:
        return _decide(item, False, "; ".join(apart))
    elsewhere = [f"{id_}: {problem}" for id_, unit in entries.units if (problem := _external_problem(id_, unit))]
    if elsewhere:
        return _decide(item, False, "; ".join(elsewhere))
    if unjudged or unweighed:
        return _decide(item, False, ", ".join([f"{id_} has no verdict" for id_ in unjudged] + [f"{id_} has no mass" for id_ in unweighed]))
    return _decide(item, True, f"{len(entries.units)} units")


def _parts_problem(entries: BatchEntries, unit: JsonObject) -> str | None:
    """Return what speaks against an accepted unit of several inks: each of its parts must be weighed and accepted by itself."""
    inks = 1 if entries.batch.get("second_ink_lot") is None else 2
    if unit.get("verdict") != "accepted":
        return None
    parts = entries.parts_of(unit)
    if len(parts) != (inks if inks > 1 else 0):
        return f"it has {len(parts)} parts, its order names {inks} ink{'s' if inks > 1 else ''}"
    for id_, part in parts:
        if part.get("verdict") != "accepted" or number_of(part.get("mass_mg")) is None:
            return f"its part {id_} is not weighed and accepted"
    return None


def _external_problem(id_: str, unit: JsonObject) -> str | None:
    """Return what speaks against the weight of an accepted unit that was entered by hand; None for one weighed on the plate."""
    if unit.get("weighed_on") != "external" or unit.get("verdict") != "accepted":
        return None
    weighing = as_object(unit.get("external_weighing"))
    attempts = as_list(weighing.get("attempts"))
    last = as_object(attempts[-1]) if attempts else {}
    first, second = as_object(last.get("first")), as_object(last.get("second"))
    signature, value = as_object(second.get("signature")), text_of(second.get("value_mg")) or ""
    if not first or not second or text_of(first.get("username")) == text_of(second.get("username")):
        return "its weight was not entered by two people"
    mass = number_of(unit.get("mass_mg"))
    agree = text_of(first.get("value_mg")) == value and number_of(value) is not None
    if not agree or mass is None or abs(mass - Decimal(value)) > _MASS_ROUNDING:
        return "the two entries of its weight and its mass are not the same"
    if text_of(signature.get("signer")) != text_of(second.get("username")):
        return "the second entry of its weight is not signed by the one who made it"
    try:
        verify_signature(signature, digest=weight_digest(id_, len(attempts), text_of(weighing.get("balance_serial")) or "", value))
    except VerificationError as error:
        return error.message
    return None


def _removal(entries: BatchEntries) -> Evidence:
    item = Item.REMOVAL_CONFIRMED
    condemned = [(id_, unit) for id_, unit in entries.units if unit.get("verdict") != "accepted"] + list(entries.purge_units)
    problems = [f"{id_}: {problem}" for id_, unit in condemned if (problem := _removal_problem(id_, unit, entries.operators))]
    if problems:
        return _decide(item, False, "; ".join(problems))
    return _decide(
        item, True, f"{len(condemned)} of {len(condemned)} removed" if condemned else "no unit was rejected, scrapped or a purge unit"
    )


def _removal_problem(id_: str, unit: JsonObject, operators: tuple[str, ...]) -> str | None:
    if unit.get("removed") is not True:
        return "its removal is not confirmed"
    confirmed = as_object(unit.get("confirmed"))
    signer = text_of(confirmed.get("signer"))
    if signer is not None and confirmed.get("digest") != removal_digest(id_):
        return f"the signature of {signer} is not over its removal"
    if signer is None and "balance" not in (text_of(unit.get("removal_method")) or ""):
        return "neither the balance nor a second person confirmed its removal"
    return f"{signer} operated the printer and cannot confirm it alone" if signer in operators else None


def _trail(entries: BatchEntries) -> Evidence:
    item = Item.TRAIL_CLOSED
    closed = entries.workstation.last("batch", entries.batch_id, EventKind.BATCH_RUN_CLOSED)
    if closed is None:
        return _missing(item, "the workstation has not closed the run")
    size, root = count_of(closed.new.get("cell_size")), text_of(closed.new.get("cell_root"))
    if text_of(closed.new.get("cell_origin")) != entries.cell.origin:
        return _decide(item, False, f"the trail is of {entries.cell.origin}, the workstation recorded {closed.new.get('cell_origin')}")
    if size is None or not 0 < size <= entries.cell.size or entries.cell.root(size) != root:
        return _decide(item, False, f"the first {size} entries of the cell do not have the root that was recorded")
    ends = [entries.cell.last("run", run, EventKind.RUN_RECORD_CLOSED) for run in entries.runs]
    if any(end is None or end.seq >= size for end in ends):
        return _decide(item, False, "the end of the run is not among the entries that the workstation recorded")
    return _decide(item, True, f"{entries.cell.origin}, {size} entries")


def _alarms(entries: BatchEntries) -> Evidence:
    item = Item.ALARMS_ACKNOWLEDGED
    critical = [(id_, found) for id_, found in entries.alarms if text_of(fold(found).get("priority")) == "critical"]
    silent = [id_ for id_, found in critical if all(entry.kind != EventKind.ALARM_CONDITION_ACKNOWLEDGED for entry in found)]
    detail = f"not acknowledged: {', '.join(silent)}" if silent else f"{len(critical)} raised"
    return _decide(item, not silent, detail)


def _deviations(entries: BatchEntries) -> Evidence:
    accepted = {(id_.rpartition("/")[0], count_of(unit.get("n"))) for id_, unit in entries.units if unit.get("verdict") == "accepted"}

    def touches(id_: str, deviation: JsonObject) -> bool:
        unit = count_of(deviation.get("unit_n"))
        return unit is None or (id_.rpartition("/")[0], unit) in accepted

    def is_open(id_: str, deviation: JsonObject) -> bool:
        finding = deviation_finding(deviation)
        resolution = resolution_of(entries.workstation, entries.batch_id, deviation_key(id_), finding, entries.operators)
        return text_of(deviation.get("status")) != "closed" and (resolution is None or not resolution.counts)

    touching = [id_ for id_, deviation in entries.deviations if touches(id_, deviation)]
    left = [id_ for id_, deviation in entries.deviations if id_ in touching and is_open(id_, deviation)]
    found = f"{len(entries.deviations)} opened"
    if left:
        return _decide(Item.NO_OPEN_DEVIATION, False, f"open: {', '.join(left)}")
    resolved = f"the {len(touching)} that touch an accepted unit are resolved" if touching else "none touches an accepted unit"
    return _decide(Item.NO_OPEN_DEVIATION, True, f"{found}, {resolved}")


def _statistic(uniformity: tuple[Uniformity, ...], names: tuple[str, ...]) -> Evidence:
    item = Item.STATISTIC_WITHIN
    named = zip(uniformity, names or ("",) * len(uniformity), strict=True)
    evaluated = [(result, f"{name}: {result.claim}" if name else result.claim) for result, name in named if result.within is not None]
    if not evaluated or (names and len(evaluated) < len(names)):
        return _missing(item, "no accepted unit to evaluate")
    outside = [claim for result, claim in evaluated if not result.within]
    claims = [claim for _, claim in evaluated]
    return _decide(item, not outside, outside[0] if outside else "; ".join(claims) if names else claims[0])
