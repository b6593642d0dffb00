"""What of this cell is open to a person now: asked of the same functions that refuse the acts themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from pydantic import JsonValue

from audit.canonical import JsonObject
from audit.canonical import JsonValue as Answer
from audit.events import Actor
from printer.admission import JobActor
from printer.alarm_register import Alarm, from_record
from printer.care_door import CareDoor, as_listed
from printer.cell import Cell
from printer.messages import CELL, Command, Operation
from printer.run import RunMachine
from printer.run_alarms import alarm_refusal
from printer.server import Handler

RUN_ACTIONS = {
    "start": Operation.START,
    "pause": Operation.PAUSE,
    "resume": Operation.RESUME,
    "stop": Operation.STOP_KILL,
}
ALARM_ACTIONS = {
    "acknowledge": Operation.ACKNOWLEDGE,
    "reset": Operation.RESET,
    "shelve": Operation.SHELVE,
    "unshelve": Operation.UNSHELVE,
}
GOING = ("start", "resume")
"""Commands that set a run going: it matters who gives them, and how the cell stands then."""
NO_RUN = "no run is live on this cell"


class AllowedDoor:
    """The handler `allowed`. Concurrency: called from connection threads."""

    def __init__(
        self,
        cell: Cell,
        care: CareDoor,
        stranger: Callable[[str, Actor], Sequence[str]],
        going: Callable[[Operation, str], Sequence[str]],
        started_by: Callable[[str], str | None],
    ) -> None:
        """`stranger` says why a person may not run a run, `going` why nobody may start or resume it now, `started_by` who started it."""
        self._cell = cell
        self._care = care
        self._stranger = stranger
        self._going = going
        self._started_by = started_by

    def handlers(self) -> dict[str, Handler]:
        return {"allowed": self._allowed}

    def _allowed(self, body: Mapping[str, JsonValue]) -> Answer:
        """Return for each act why it is refused now; an empty list, it is open. Without an actor, as far as the person does not matter."""
        given = body.get("actor")
        who = None if given is None else JobActor.model_validate(given)
        actor = None if who is None else who.actor()
        who_asks = actor or CELL
        heard = self._cell.refusals(lambda machine: _commands(machine, who_asks))
        run, reasons = heard.get("run"), heard.get("reasons")
        live = reasons if isinstance(reasons, dict) else None
        acts = {name: as_listed((live or {}).get(name)) if live is not None else [NO_RUN] for name in RUN_ACTIONS}
        persons: list[Answer] = [] if actor is None or not isinstance(run, str) else [*self._stranger(run, actor)]
        for name in GOING:
            # a run that is in no state for it says that alone
            judged = () if acts[name] or not isinstance(run, str) else self._going(RUN_ACTIONS[name], run)
            acts[name] += [*persons, *judged]
        return {
            "run": run,
            "run_actions": {name: [*listed] for name, listed in acts.items()},
            "weight": persons,
            "started_by": self._started_by(run) if isinstance(run, str) else None,
            "alarms": _of_alarms(live) if live is not None else self._recorded(run, who_asks),
            "care": self._care.allowed(who),
        }

    def _recorded(self, run: Answer, who: Actor) -> JsonObject:
        """What stands against each act on each alarm of a run that only the record knows."""
        found: JsonObject = {}
        for key, state in self._cell.store.objects("alarm"):
            if key.rpartition("/")[0] == run:
                alarm, asked = from_record(key, state), _asked_of(key, who)
                found[key] = {name: [*recorded_refusal(alarm, command)] for name, command in asked.items()}
        return found


def recorded_refusal(alarm: Alarm, command: Command) -> tuple[str, ...]:
    """Return why a command about an alarm of a run that has ended would be refused."""
    if command.operation in (Operation.SHELVE, Operation.UNSHELVE):
        return (f"run {command.target.rpartition('/')[0]} has ended: the shelf ends with its run",)
    return alarm_refusal(alarm, command)


def _commands(machine: RunMachine, who: Actor) -> dict[str, Command]:
    of_run = {name: Command(operation, who) for name, operation in RUN_ACTIONS.items()}
    of_alarms = {f"{alarm.key} {name}": asked for alarm in machine.alarms.alarms for name, asked in _asked_of(alarm.key, who).items()}
    return {**of_run, **of_alarms}


def _asked_of(alarm: str, who: Actor) -> dict[str, Command]:
    """Return every command about an alarm, with a reason and a time that fit: only what stands against the act itself is listed."""
    return {name: Command(operation, who, "asked whether it is open", alarm, 1) for name, operation in ALARM_ACTIONS.items()}


def _of_alarms(reasons: JsonObject) -> JsonObject:
    found: dict[str, JsonObject] = {}
    for name, listed in reasons.items():
        alarm, _, act = name.partition(" ")
        if act:
            found.setdefault(alarm, {})[act] = listed
    return {**found}
