"""What the workstation may ask of this cell, question by question."""

from __future__ import annotations

import base64
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import JsonValue, ValidationError

from audit.canonical import JsonObject, canonical
from audit.canonical import JsonValue as Answer
from audit.errors import DosewrightError
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.signatures import Signature, removal_digest, verify_signature, weight_digest
from printer.admission import Admitted, Job, JobActor, admit, read_job, read_trusted_people
from printer.alarm_figures import events_of, figures
from printer.alarm_register import AlarmRegister, as_record, from_record
from printer.allowed_door import AllowedDoor, recorded_refusal
from printer.care_door import CareDoor, as_listed
from printer.cell import Cell
from printer.drafts import kind_for, printed
from printer.errors import CellRefused, RunMissing
from printer.going_gates import REMEDIES, going_reasons
from printer.messages import CELL, ON_ALARMS, Command, EnteredWeight, Operation
from printer.people_gates import person_gates, removal_refusals
from printer.planned_units import compile_corrected
from printer.readiness import unmet
from printer.recipe_door import RecipeDoor
from printer.recipe_lock import DEVELOPMENT
from printer.server import Handler
from recipes.machine import MachineProfile
from recipes.picture_files import FOLDER as PICTURES

_TRAIL_LIMIT = 5000
_ALARM_ENTRIES = 20_000
_SECOND_WEIGHER = frozenset({"operator", "pharmacist", "quality_assurance", "qualified_person"})
_SEE_STATUS = "Ask for the cell's status to see which there are."


class Door:
    """The handlers of a cell's server.

    Concurrency: called from connection threads; one `create_run` at a time. A run is begun, started or resumed in the turn of the recipe
    door, so that no notice about a recipe comes between the judgement and the act; a stop waits for neither.
    """

    def __init__(
        self,
        cell: Cell,
        name: str,
        machine: MachineProfile,
        trusted: Path,
        equipment: Path,
        *,
        demonstration: bool,
        rate: str,
        notices: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._cell = cell
        self._name = name
        self._machine = machine
        self._trusted = trusted
        self._demonstration = demonstration
        self._rate = rate
        self._notices = notices
        self._creating = threading.Lock()
        self._care = CareDoor(cell, name, machine, trusted, equipment)
        self._recipes = RecipeDoor(cell, name, trusted)
        self._allowed = AllowedDoor(cell, self._care, self._stranger_reasons, self._going_reasons, self._started_by)
        self._admitted: Admitted | None = None

    def handlers(self) -> dict[str, Handler]:
        return {
            "describe": self._describe,
            "create_run": self._create_run,
            "command": self._command,
            "alarm": self._alarm,
            "alarm_figures": self._alarm_figures,
            "confirm_removal": self._confirm_removal,
            "enter_weight": self._enter_weight,
            "status": self._status,
            **self._care.handlers(),
            **self._recipes.handlers(),
            **self._allowed.handlers(),
            "trail": self._trail,
            "checkpoint": lambda _: self._cell.store.checkpoint(),
            "pictures": self._pictures,
            "blob": lambda body: base64.b64encode(self._cell.store.blob(str(body["sha256"]))).decode("ascii"),
        }

    def _describe(self, _: Mapping[str, JsonValue]) -> Answer:
        store = self._cell.store
        return {
            "cell": self._name,
            "origin": store.origin,
            "verifier_key": store.verifier_key,
            "machine": self._machine_record(),
            "demonstration": self._demonstration,
            "rate": self._rate,
            "software": store.software,
        }

    def _create_run(self, body: Mapping[str, JsonValue]) -> Answer:
        """Admit a job or refuse it; either is on record."""
        asked = _mapping(body["job"])
        try:
            return self._begin_run(read_job(asked))
        except DosewrightError as error:
            self._recipes.refused(error, _asker(asked), asked)
            raise

    def _begin_run(self, job: Job) -> Answer:
        with self._creating:
            run = self._next_run(job)
            standing = self._care.standing()
            admitted = admit(
                job,
                run=run,
                device=self._name,
                machine=self._machine,
                trusted_people=read_trusted_people(self._trusted),
                today=standing.today,
                standing=standing,
                demonstration=self._demonstration,
                rate=self._rate,
            )
            program = admitted.program
            compiler = functools.partial(compile_corrected, program)
            with self._recipes.turn:
                self._recipes.admitted(job, admitted.recipe)
                created = self._cell.create(admitted.plan, Command(Operation.PREPARE, job.actor.actor()), compiler)
                self._admitted = admitted
        return {
            "run": run,
            "state": created["state"],
            "program_sha256": program.sha256,
            "dose": program.dose.as_record(),
            "units": [
                {
                    "n": unit.n,
                    **({"part": unit.part} if unit.part else {}),
                    "strength_mg": unit.strength.text,
                    "target_mass_mg": unit.target_mass.rounded(2).text,
                    "target_volume_uL": unit.target_volume.rounded(2).text,
                    "x": str(unit.centre[0]),
                    "y": str(unit.centre[1]),
                }
                for unit in program.units
            ],
            "gates": [dict(gate.as_record()) for gate in admitted.plan.static_gates],
        }

    def _pictures(self, body: Mapping[str, JsonValue]) -> Answer:
        """Return the pictures that were recorded with a run, by their file name."""
        store, run = self._cell.store, str(body["run"])
        created = store.search(kind=EventKind.RUN_RECORD_CREATED, subject_type="run", subject_id=run, limit=1)
        return {
            item["name"].removeprefix(PICTURES): store.blob(item["sha256"]).decode("ascii", errors="replace")
            for entry in created
            for item in entry.attachments
            if item["name"].startswith(PICTURES)
        }

    def _next_run(self, job: Job) -> str:
        """One order is printed once: a batch that has printed units does not get another run of the same order."""
        store = self._cell.store
        number = 1
        for key, state in store.objects("run"):
            if state.get("order_sha256") == job.order.sha256 and any(unit.get("run") == key for _, unit in store.objects("unit")):
                raise CellRefused(
                    [f"order {job.order.id} was already printed in run {key}"], remedy="Review that run; a new batch needs a new order."
                )
            if state.get("batch") == job.batch:
                number += 1
        return f"{job.batch}-R{number}"

    def _command(self, body: Mapping[str, JsonValue]) -> Answer:
        operation = Operation(str(body["operation"]))
        if operation in (Operation.PREPARE, Operation.ENTER_WEIGHT) or operation in ON_ALARMS:
            raise CellRefused([f"{operation} is not a command of a person to a run"])
        command = Command(operation, _actor(body), str(body.get("reason") or "")[:500])
        run = str(body["run"])
        if operation in (Operation.START, Operation.RESUME):
            return self._set_going(run, command)
        return dict(self._cell.command(run, command))

    def _set_going(self, run: str, command: Command) -> Answer:
        """Start or resume a run if it may be as the cell stands now, whatever its preflight found."""
        self._refuse_stranger(run, command.who)
        with self._recipes.turn:
            if reasons := self._going_reasons(command.operation, run):
                self._refuse_by_state(command)
                raise CellRefused(reasons, remedy=REMEDIES[command.operation])
            return dict(self._cell.command(run, command))

    def _refuse_by_state(self, command: Command) -> None:
        """A run that is in no state for a command says that, rather than what its gates would say."""
        heard = self._cell.refusals(lambda machine: {"asked": command}).get("reasons")
        if isinstance(heard, dict) and (reasons := as_listed(heard.get("asked"))):
            raise CellRefused([str(reason) for reason in reasons])

    def _going_reasons(self, operation: Operation, run: str) -> Sequence[str]:
        admitted = self._admitted
        if admitted is None or admitted.plan.run != run:
            return ()  # it is not live here, which is for the cell to say
        return going_reasons(admitted, operation, self._care.standing(), read_trusted_people(self._trusted))

    def _refuse_stranger(self, run: str, who: Actor) -> None:
        """The one who starts or resumes need not be the one who asked for the run: the same two gates are judged anew."""
        if reasons := self._stranger_reasons(run, who):
            raise CellRefused(reasons, remedy="Let a trained operator do it.")

    def _stranger_reasons(self, run: str, who: Actor) -> Sequence[str]:
        found, standing = self._care.register(), self._care.standing()
        state = self._cell.store.state("run", run) or {}
        recipe, development = str(state.get("recipe")), state.get("purpose") == DEVELOPMENT
        trusted = read_trusted_people(self._trusted)
        return unmet(person_gates(who, trusted, found.register, recipe, standing.today, development=development))

    def _started_by(self, run: str) -> str | None:
        """Return the user name of who started a run, None where nobody has."""
        commands = self._cell.store.search(kind=EventKind.RUN_COMMAND_RECEIVED.value, subject_id=run)
        return next((entry.actor.username for entry in commands if entry.new.get("command") == Operation.START), None)

    def _alarm(self, body: Mapping[str, JsonValue]) -> Answer:
        """Acknowledge, reset, shelve or unshelve one alarm."""
        operation, key = Operation(str(body["operation"])), str(body["alarm"])
        if operation not in ON_ALARMS:
            raise CellRefused([f"{operation} is not a command about an alarm"])
        reason, minutes = str(body.get("reason") or "")[:500], int(str(body.get("minutes") or 0))
        command = Command(operation, _actor(body), reason, key, minutes)
        state = self._cell.store.state("alarm", key)
        if state is None:
            raise RunMissing(f"There is no alarm {key!r} on this cell.", remedy=_SEE_STATUS)
        try:
            self._cell.command(key.rpartition("/")[0], command)
        except RunMissing:
            # A run from before this process: its machine is gone, its record is not.
            self._recorded_alarm(command, state)
        return True

    def _recorded_alarm(self, command: Command, state: JsonObject) -> None:
        """Acknowledge or reset an alarm of a run that only the record knows."""
        key, run = command.target, command.target.rpartition("/")[0]
        alarm = from_record(key, state)
        if reasons := recorded_refusal(alarm, command):
            raise CellRefused(reasons)
        register = AlarmRegister(run, [alarm])
        change = register.acknowledge(key, command.reason) if command.operation is Operation.ACKNOWLEDGE else register.reset(key)
        if change is not None:
            kind = EventKind(f"alarm.condition.{change.event}")
            new, subject = as_record(change, run), Subject("alarm", key)
            self._cell.recorder.append(EntryDraft(kind, subject, new, command.who, self._name, reason=command.reason or None))

    def _alarm_figures(self, body: Mapping[str, JsonValue]) -> Answer:
        """The figures of one run, or of all that this cell has on record."""
        run = str(body.get("run") or "")
        entries = self._cell.store.search(kind="alarm.", limit=_ALARM_ENTRIES, newest_first=True)
        wanted = [entry for entry in reversed(entries) if not run or entry.subject.id.startswith(f"{run}/")]
        return figures(events_of(wanted), self._cell.clock.utc().at).as_record()

    def _confirm_removal(self, body: Mapping[str, JsonValue]) -> Answer:
        unit, actor = str(body["unit"]), _actor(body)
        subject = printed(unit)
        state = self._cell.store.state(subject.type, unit)
        if state is None or state.get("state") != "judged":
            raise RunMissing(f"Unit {unit!r} is not a judged unit of this cell.", remedy=_SEE_STATUS)
        signature = Signature.model_validate(body["signature"])
        self._check_removal(unit, signature, str(state["run"]))
        new: JsonObject = {
            "removed": True,
            "removal_method": "second person",
            "confirmed": signature.model_dump(mode="json"),
        }
        kind = kind_for(subject, EventKind.UNIT_REMOVAL_CONFIRMED)
        self._cell.recorder.append(EntryDraft(kind, subject, new, actor, self._name))
        self._cell.unit_removed(unit)
        return True

    def _check_removal(self, unit: str, signature: Signature, run: str) -> None:
        reasons = []
        try:
            verify_signature(signature, digest=removal_digest(unit))
        except DosewrightError as error:
            reasons.append(error.message)
        roles = read_trusted_people(self._trusted).get(signature.key)
        if roles is None or signature.role not in roles:
            reasons.append(f"{signature.signer} as {signature.role} is not trusted on this cell")
        reasons += removal_refusals(signature.signer, self._started_by(run))
        if reasons:
            raise CellRefused(reasons, remedy="Have a second, enrolled person confirm that the unit is off the plate.")

    def _enter_weight(self, body: Mapping[str, JsonValue]) -> Answer:
        """Take what was read on the external balance: from a trained operator, then blind from a second person, signed."""
        unit, given = str(body["unit"]), body.get("signature")
        run = unit.rpartition("/")[0]
        entry, attempt = int(str(body["entry"])), int(str(body["attempt"]))
        weight = EnteredWeight(entry, attempt, str(body["value_mg"])[:40], str(body["balance_serial"])[:200])
        who = _actor(body)
        if entry == 1:
            self._refuse_stranger(run, who)
        else:
            signature = Signature.model_validate(given)
            self._check_weight(unit, weight, signature)
            # The second person is who signed, whoever is logged in at the workstation.
            who = Actor(signature.signer, signature.name, signature.role)
            weight = replace(weight, signature=canonical(signature.as_record()).decode("utf-8"))
        return dict(self._cell.command(run, Command(Operation.ENTER_WEIGHT, who, target=unit, weight=weight)))

    def _check_weight(self, unit: str, weight: EnteredWeight, signature: Signature) -> None:
        reasons = []
        try:
            verify_signature(signature, digest=weight_digest(unit, weight.attempt, weight.serial, weight.value))
        except DosewrightError as error:
            reasons.append(error.message)
        roles = read_trusted_people(self._trusted).get(signature.key)
        if roles is None or signature.role not in roles or signature.role not in _SECOND_WEIGHER:
            reasons.append(f"{signature.signer} as {signature.role} is not trusted on this cell to weigh as the second person")
        if reasons:
            raise CellRefused(reasons, remedy="Have a second, enrolled person read the balance, enter the weight and sign.")

    def _status(self, body: Mapping[str, JsonValue]) -> Answer:
        view = self._cell.status(int(str(body.get("trace_since_us") or 0)))
        own: JsonObject = {"cell": self._name, "machine": self._machine_record()}
        found = view.get("notices")
        notices: list[JsonValue] = [*self._notices(), *(found if isinstance(found, list) else ())]
        return {**own, "demonstration": self._demonstration, "rate": self._rate, **view, "notices": notices}

    def _machine_record(self) -> JsonObject:
        return {"id": self._machine.id, "version": self._machine.version, "digest": self._machine.digest}

    def _trail(self, body: Mapping[str, JsonValue]) -> Answer:
        start, limit = int(str(body["start"])), min(int(str(body["limit"])), _TRAIL_LIMIT)
        return [line.decode("utf-8") for line in self._cell.store.lines(start, start + limit)]


def _mapping(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, dict):
        raise CellRefused(["the job is not an object"])
    return value


def _asker(job: Mapping[str, JsonValue]) -> Actor:
    """Return who a job says it is from; the cell itself where that cannot be read."""
    try:
        return JobActor.model_validate(job.get("actor")).actor()
    except ValidationError:
        return CELL


def _actor(body: Mapping[str, JsonValue]) -> Actor:
    return JobActor.model_validate(body["actor"]).actor()
