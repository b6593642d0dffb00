"""What a cell shows of itself: the state of its run as one JSON object, from the machine or from the record."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from audit.canonical import JsonObject, JsonValue
from audit.quantities import Milligram, plain_text, round_to
from audit.reader import TrailReader
from printer.acceptance import Verdict, limits
from printer.alarm_register import Alarm
from printer.alarm_states import AlarmState
from printer.drafts import purge_id, unit_id
from printer.interlocks import blocked
from printer.messages import Operation, Port
from printer.plan import PlannedUnit, limits_of_heads
from printer.run import Phase, RunMachine
from printer.snapshot import Reading
from printer.states import RunState
from printer.supply import WEIGHING_US, time_needed_us
from printer.unit_cycle import Step

_OPERATIONS = {
    "start": Operation.START,
    "pause": Operation.PAUSE,
    "resume": Operation.RESUME,
    "stop": Operation.STOP_KILL,
}
_RECORDED_ALARM = ("name", "priority", "class", "message", "cause", "consequence", "action", "unit_n", "state", "first_out", "follows")


def idle_view(now: int) -> JsonObject:
    unknown: JsonObject = {"value": None, "age_ms": None, "quality": "unknown"}
    return {
        "at_us": now,
        "state": "IDLE",
        "run": None,
        "batch": None,
        "link": {"state": "unknown", "age_ms": None, "quality": "unknown"},
        "sensors": {
            "pressure": {**unknown, "unit": "kPa"},
            "nozzle": {**unknown, "unit": "degC"},
            "plate": {**unknown, "unit": "degC"},
            "balance": {**unknown, "unit": "mg"},
        },
        "purge_units": [],
        "units": [],
        "alarms": [],
        "gates": [],
        "trace": [],
        "time_left_s": None,
        "allowed_actions": {name: {"allowed": False, "reasons": ["no run on this cell"]} for name in _OPERATIONS},
    }


def run_view(machine: RunMachine, now: int, removed: frozenset[str], trace_since_us: int) -> JsonObject:
    """Return the status of a live run. `removed`: ids of the units whose removal is confirmed."""
    plan, snapshot, limit = machine.plan, machine.watch.snapshot, machine.watch.limits
    silent = machine.over or Port.PRINTER in machine.devices.lost
    return {
        "at_us": now,
        "state": machine.state.value,
        "phase": machine.cycle.step.value if machine.phase is Phase.UNIT else machine.phase.value,
        "run": plan.run,
        "batch": plan.batch,
        "purpose": plan.created.get("purpose"),
        "external_weighing": _external(machine, now),
        "ended": machine.ended if machine.over else None,
        "link": {
            "state": "unknown" if silent else machine.devices.link.state.value,
            "age_ms": _milliseconds(snapshot.link.age_us(now)),
            "quality": "unknown" if silent else snapshot.link.quality(now).value,
        },
        "sensors": {
            "pressure": _sensor(snapshot.pressure, now, "0", limit.pressure_high.text),
            **_nozzles(machine, now),
            "plate": _sensor(snapshot.plate, now, limit.plate_low.text, limit.plate_high.text),
            "balance": _sensor(snapshot.balance, now, None, None),
        },
        "purge_units": [_purge(machine, unit, removed) for unit in plan.purges],
        "units": [_unit(machine, unit, removed) if not unit.part else _whole(machine, unit, removed) for unit in plan.units if unit.last],
        "alarms": [_alarm(alarm, now, live=not machine.over) for alarm in machine.alarms.alarms],
        "gates": [gate.as_record() for gate in machine.gates],
        "trace": [[at, value] for at, value in machine.watch.recent if at > trace_since_us],
        "time_left_s": _time_left(machine),
        "allowed_actions": {
            name: _allowed(blocked(operation, machine.state, guard_open=machine.guard_open)) for name, operation in _OPERATIONS.items()
        },
    }


def recorded_view(store: TrailReader, run: str, now: int) -> JsonObject:
    """Return the status of a run that this process did not live through, from the cell's record alone."""
    view, state = idle_view(now), store.state("run", run) or {}
    units: list[JsonValue] = []
    for key, unit in _of_run(store, "unit", run):
        target = Milligram(str(unit["target_mass_mg"]))
        units.append(
            {
                "unit": key,
                "n": unit["n"],
                "strength_mg": _strengths(unit),
                "target_mass_mg": plain_text(round_to(target.value, 2)),
                "low_mg": None,
                "high_mg": None,
                "mass_mg": unit.get("mass_mg"),
                "state": "judged",
                "verdict": unit.get("verdict"),
                "reasons": unit.get("reasons") or [],
                "removed": unit.get("removed") is True,
                "x": None,
                "y": None,
                **({"parts": _recorded_parts(store, run, unit["n"])} if "parts" in unit else {}),
            }
        )
    purges: list[JsonValue] = [
        {
            "unit": key,
            "n": purge.get("n"),
            "mass_mg": purge.get("mass_mg"),
            "target_mass_mg": purge.get("target_mass_mg"),
            "state": "judged",
            "verdict": purge.get("verdict"),
            "reasons": purge.get("reasons") or [],
            "removed": purge.get("removed") is True,
        }
        for key, purge in _of_run(store, "calibration", run)
    ]
    alarms: list[JsonValue] = [
        {field: alarm.get(field) for field in _RECORDED_ALARM} | {"alarm": key} for key, alarm in _of_run(store, "alarm", run)
    ]
    reasons = [f"the run is {state.get('state')}: a stopped run never sends again; create a new run"]
    view |= {
        "state": str(state.get("state", RunState.AWAITING_REVIEW.value)),
        "ended": state.get("ended"),
        "run": run,
        "batch": state.get("batch"),
        "purpose": state.get("purpose"),
        "purge_units": purges,
        "units": units,
        "alarms": alarms,
        "allowed_actions": {name: {"allowed": False, "reasons": reasons} for name in _OPERATIONS},
    }
    return view


def _of_run(store: TrailReader, type_: str, run: str) -> Iterator[tuple[str, JsonObject]]:
    for key, state in store.objects(type_):
        if state.get("run") == run:
            yield key, state


def _alarm(alarm: Alarm, now: int, *, live: bool) -> JsonObject:
    definition, until = alarm.definition, alarm.shelved_until
    return {
        "alarm": alarm.key,
        "name": definition.name.value,
        "priority": definition.priority.value,
        "class": definition.alarm_class.value,
        "message": alarm.message,
        "cause": definition.cause,
        "consequence": definition.consequence,
        "action": definition.action,
        "unit_n": alarm.unit_n,
        "state": alarm.state.value,
        "first_out": alarm.first_out,
        "follows": alarm.follows,
        "shelvable": live and definition.shelving_permitted and alarm.state is not AlarmState.SHELVED,
        "shelf_ends_in_s": None if until is None else max(0, until - now) // 1_000_000,
        "shelved_by": alarm.shelved_by,
        "shelf_reason": alarm.shelf_reason,
    }


_Outcome = tuple[Verdict | None, Milligram | None, tuple[str, ...]]
_OPEN: _Outcome = (None, None, ())


def _weighed(machine: RunMachine, unit: PlannedUnit, outcome: _Outcome) -> JsonObject:
    """Return what is printed and weighed by itself: a unit, or a part of one."""
    low, high = limits(unit.criteria)
    verdict, mass, reasons = outcome
    return {
        "strength_mg": unit.strength.text,
        "target_mass_mg": unit.target_mass.rounded(2).text,
        "low_mg": low.rounded(1).text,
        "high_mg": high.rounded(1).text,
        "mass_mg": None if mass is None else mass.rounded(2).text,
        "state": _unit_state(machine, unit, verdict),
        "verdict": None if verdict is None else verdict.value,
        "reasons": list(reasons),
    }


def _unit(machine: RunMachine, unit: PlannedUnit, removed: frozenset[str]) -> JsonObject:
    key = unit_id(machine.plan.run, unit.n)
    return {
        "unit": key,
        "n": unit.n,
        **_weighed(machine, unit, machine.cycle.verdicts.get(unit.n, _OPEN)),
        "removed": key in removed,
        "x": plain_text(unit.x),
        "y": plain_text(unit.y),
    }


def _whole(machine: RunMachine, last: PlannedUnit, removed: frozenset[str]) -> JsonObject:
    """Return a unit of several inks with its parts; it has no tolerance of its own, each part has."""
    plan, cycle = machine.plan, machine.cycle
    parts = [unit for unit in plan.units if unit.n == last.n]
    verdict, mass, reasons = cycle.verdicts.get(last.n, _OPEN)
    known = cycle.whole_parts.get(last.n, {} if cycle.whole is None or cycle.whole.n != last.n else cycle.whole.parts)
    shown = [_part(machine, unit, known.get(unit.part, _OPEN)) for unit in parts]
    under_way = next((str(part["state"]) for part in shown if part["state"] in ("printing", "weighing")), "planned")
    begun = cycle.whole is not None and cycle.whole.n == last.n
    key = unit_id(plan.run, last.n)
    return {
        "unit": key,
        "n": last.n,
        "strength_mg": " + ".join(unit.strength.text for unit in parts),
        "target_mass_mg": Milligram(sum((unit.target_mass.value for unit in parts), Decimal(0))).rounded(2).text,
        "low_mg": None,
        "high_mg": None,
        "mass_mg": None if mass is None else mass.rounded(2).text,
        "state": "judged" if verdict is not None else "printing" if begun and under_way == "planned" else under_way,
        "verdict": None if verdict is None else verdict.value,
        "reasons": list(reasons),
        "removed": key in removed,
        "x": plain_text(last.x),
        "y": plain_text(last.y),
        "parts": list[JsonValue](shown),
    }


def _part(machine: RunMachine, unit: PlannedUnit, outcome: _Outcome) -> JsonObject:
    return {"part": unit.part, "moiety": unit.source.get("moiety", ""), **_weighed(machine, unit, outcome)}


def _recorded_parts(store: TrailReader, run: str, n: JsonValue) -> list[JsonValue]:
    return [
        {
            "part": part.get("part"),
            "moiety": part.get("moiety"),
            "strength_mg": part.get("strength_mg"),
            "target_mass_mg": plain_text(round_to(Milligram(str(part["target_mass_mg"])).value, 2)),
            "low_mg": part.get("low_mg"),
            "high_mg": part.get("high_mg"),
            "mass_mg": part.get("mass_mg"),
            "state": "judged",
            "verdict": part.get("verdict"),
            "reasons": part.get("reasons") or [],
        }
        for _, part in _of_run(store, "part", run)
        if part.get("n") == n
    ]


def _strengths(unit: JsonObject) -> JsonValue:
    """Return the strength of a unit as it is shown: of several inks one beside the other."""
    several = unit.get("strengths_mg")
    return " + ".join(str(strength) for strength in several) if isinstance(several, list) else unit["strength_mg"]


def _purge(machine: RunMachine, unit: PlannedUnit, removed: frozenset[str]) -> JsonObject:
    verdict, mass, reasons = machine.cycle.purge_verdicts.get(unit.n, (None, None, ()))
    key = purge_id(machine.plan.run, unit.n)
    return {
        "unit": key,
        "n": unit.n,
        "mass_mg": None if mass is None else mass.rounded(2).text,
        "target_mass_mg": unit.target_mass.rounded(2).text,
        "state": _unit_state(machine, unit, verdict),
        "verdict": None if verdict is None else verdict.value,
        "reasons": list(reasons),
        "removed": key in removed,
    }


def _external(machine: RunMachine, now: int) -> JsonObject | None:
    """Return what is awaited of the people at the external balance, None where nothing is; never a value that was entered."""
    cycle = machine.cycle
    if cycle.step is not Step.EXTERNAL_WEIGHING or cycle.external is None or cycle.unit is None or machine.over:
        return None
    return {"n": cycle.unit.n, **cycle.external.as_view(now)}


def _unit_state(machine: RunMachine, unit: PlannedUnit, verdict: Verdict | None) -> str:
    if verdict is not None:
        return "judged"
    cycle = machine.cycle
    now = cycle.unit
    if now is None or (now.n, now.purge, now.part) != (unit.n, unit.purge, unit.part) or cycle.step is Step.NONE:
        return "planned"
    return "printing" if cycle.step in (Step.INTENT, Step.HEAD, Step.PRINT) else "weighing"


def _time_left(machine: RunMachine) -> int | None:
    if machine.over:
        return 0
    cycle = machine.cycle
    left = time_needed_us(machine.plan.purges[machine.units.purged :])
    for unit in machine.plan.units[machine.units.done :]:
        if unit.n in cycle.verdicts:
            continue
        left += unit.duration_us + WEIGHING_US
        if cycle.unit is not None and (cycle.unit.n, cycle.unit.purge, cycle.unit.part) == (unit.n, False, unit.part):
            left -= int(unit.duration_us * Decimal(cycle.commanded_nl) / max(1, unit.cumulative_nl[-1]))
    return left // 1_000_000


def _nozzles(machine: RunMachine, now: int) -> JsonObject:
    """Return the nozzle of each head with its own limits; with one head it is `nozzle`, the second of two is `nozzle_2`."""
    heads = limits_of_heads(machine.plan)
    return {
        "nozzle" if head == 0 else f"nozzle_{head + 1}": _sensor(
            machine.watch.nozzle_of(head), now, limits.nozzle_low.text, limits.nozzle_high.text
        )
        for head, limits in enumerate(heads)
    }


def _sensor(reading: Reading, now: int, low: str | None, high: str | None) -> JsonObject:
    return {
        "value": None if reading.value is None else plain_text(reading.value),
        "unit": reading.unit,
        "age_ms": _milliseconds(reading.age_us(now)),
        "quality": reading.quality(now).value,
        "low": low,
        "high": high,
    }


def _milliseconds(age_us: int | None) -> int | None:
    return None if age_us is None else age_us // 1000


def _allowed(reasons: tuple[str, ...]) -> JsonObject:
    return {"allowed": not reasons, "reasons": list(reasons)}
