"""A whole cell in virtual time: the run machine against the virtual bench, without processes, ports or clocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from api.demo_register import demonstration_register
from audit.checkpoint import SigningKey
from audit.events import Actor, EntryDraft
from audit.signatures import Signature, sign_with_key
from hil_tests.cases import BenchConfig, bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Admitted, Job, JobActor, LineClearance, admit
from printer.alarms import AlarmName
from printer.equipment import MEANING_REGISTER, EquipmentRegister, LastCheck, LastCleaning, Standing
from printer.messages import (
    Command,
    Compile,
    EmergencySend,
    Operation,
    Port,
    PortBytes,
    PortLost,
    Record,
    Recorded,
    RecordFailed,
    RunEffect,
    RunInput,
    SealWireLog,
    Send,
    Tick,
    UnitRefused,
    WireSealed,
)
from printer.plan import RunPlan
from printer.planned_units import compile_corrected
from printer.register_file import SignedRegister
from printer.run import Phase, RunMachine
from recipes.effectivity import MEANING_EFFECTIVE, SignedStatement, demonstration_statement
from recipes.library import load_demonstration, load_machine, load_recipe, load_second, recipe_bytes, recipe_ids
from recipes.model import parse_recipe
from recipes.order import DoseOrder
from recipes.program import PrintProgram
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, RecipeBundle, bundle_recipe

TODAY = "2026-11-20"
OPERATOR = Actor("operator", "Demo Operator", "operator")
STEP_US = 100_000
ROLES = {
    "engineer": "process_engineer",
    "quality": "quality_assurance",
    "pharmacist": "pharmacist",
    "operator": "operator",
}
KEYS = {name: SigningKey.generate(f"people/{name}") for name in ROLES}
TRUSTED = {KEYS[name].verifier_key: frozenset({role}) for name, role in ROLES.items()}


def signature(person: str, meaning: str, digest: str) -> Signature:
    return sign_with_key(
        KEYS[person],
        signer=person,
        name=f"Demo {person}",
        role=ROLES[person],
        meaning=meaning,
        digest=digest,
        at="2026-11-20T08:00:00.000000Z",
        zone="UTC",
        scripted=True,
    )


def signed_bundle(content: bytes) -> RecipeBundle:
    """A recipe file as it comes to a cell: signed by its author and its approver, and made effective."""
    recipe = parse_recipe(content)
    statement = demonstration_statement(recipe, TODAY)
    return bundle_recipe(
        content,
        signature("engineer", MEANING_AUTHOR, recipe.digest),
        signature("quality", MEANING_APPROVER, recipe.digest),
        effective=SignedStatement(statement=statement, signature=signature("quality", MEANING_EFFECTIVE, statement.digest)),
    )


def demonstration_job(case: str, **changes: object) -> Job:
    recipe = load_recipe(case)
    prescription, ink, cartridge = load_demonstration(case, TODAY)
    second = load_second(case, TODAY)
    order = DoseOrder.create("O-1", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription, second=second)
    bundle = signed_bundle(recipe_bytes(case))
    job = Job(
        batch="B-1",
        order=order,
        entered=signature("pharmacist", MEANING_ENTERED, order.sha256),
        confirmed=signature("operator", MEANING_CONFIRMED, order.sha256),
        recipe_bundle=bundle,
        ink_lot=ink,
        cartridge=cartridge,
        second_ink_lot=None if second is None else second[0],
        second_cartridge=None if second is None else second[1],
        mounted=() if second is None else (cartridge.serial, second[1].serial),
        line_clearance=LineClearance(done_by="Demo operator"),
        actor=JobActor(username="operator", name="Demo operator", role="operator"),
    )
    return job.model_copy(update=changes)


REGISTER = demonstration_register(
    "cell-1", today=TODAY, recipes=[load_recipe(name).reference for name in recipe_ids()], people=["operator"], daily_check=True
)


def signed_register(register: EquipmentRegister = REGISTER, by: str = "quality") -> str:
    return SignedRegister(register=register, signature=signature(by, MEANING_REGISTER, register.digest)).text()


STANDING = Standing(
    today=TODAY,
    register_file=signed_register(),
    last_check=LastCheck(status="closed", serial=REGISTER.balance.serial, day=TODAY, passed=True, by="Demo Operator"),
    last_cleaning=LastCleaning(day=TODAY, days_ago=0, method="procedure CL-1", by="Demo Operator"),
)
"""A cell that is ready: registered, checked and cleaned today."""


def admitted(job: Job, standing: Standing = STANDING) -> Admitted:
    machine = load_machine(job.order.recipe and load_recipe(job.order.recipe).machine)
    return admit(
        job,
        run=f"{job.batch}-R1",
        device="cell-1",
        machine=machine,
        trusted_people=TRUSTED,
        today=TODAY,
        standing=standing,
        demonstration=True,
        rate="1",
    )


def plan_of(job: Job) -> RunPlan:
    return admitted(job).plan


@dataclass
class SimulatedCell:
    """Drives one run. `refuse_record` says of which records the commit fails, `step_us` how long a byte is on its way at most."""

    machine: RunMachine
    bench: VirtualBench
    refuse_record: Callable[[Record], bool] = lambda record: False
    entries: list[EntryDraft] = field(default_factory=list)
    inputs: list[tuple[int, RunInput]] = field(default_factory=list)
    written: list[tuple[int, Port, bytes, bool]] = field(default_factory=list)
    program: PrintProgram | None = None
    now: int = 0
    step_us: int = STEP_US
    _lost: set[str] = field(default_factory=set)
    _owed: list[Record] = field(default_factory=list)

    def give(self, event: RunInput) -> None:
        pending = [event]
        while pending:
            current = pending.pop(0)
            self.inputs.append((self.now, current))
            for effect in self.machine.handle(current, self.now):
                pending += self._execute(effect)

    def _execute(self, effect: RunEffect) -> list[RunInput]:
        match effect:
            case EmergencySend(port, data):
                self.written.append((self.now, port, data, True))
                self.bench.receive(port.value, data)
            case Send(port, data):
                self.written.append((self.now, port, data, False))
                self.bench.receive(port, data)
            case Record():
                return [self._recorded(effect)]
            case Compile(n, factor, purge, part):
                if self.program is None:
                    return [UnitRefused(n, "this simulation has no compiler", purge, part)]
                return [compile_corrected(self.program, n, factor, purge, part)]
            case SealWireLog():
                return [WireSealed("0" * 64)]
        return []

    def commit(self, record: Record) -> Recorded | RecordFailed:
        if self.refuse_record(record):
            return RecordFailed(record.token, "the disk is full")
        self.entries += record.drafts
        return Recorded(record.token)

    def _recorded(self, record: Record) -> Recorded | RecordFailed:
        """Commit as the recorder does: nothing overtakes what is insisted on and not committed."""
        answer = RecordFailed(record.token, "a record before it is not committed yet") if self._owed else self.commit(record)
        if record.insist and isinstance(answer, RecordFailed):
            self._owed.append(record)
        return answer

    def _pay(self) -> None:
        owed, self._owed = self._owed, []
        for at, record in enumerate(owed):
            answer = self.commit(record)
            if isinstance(answer, RecordFailed):
                self._owed = [*owed[at:], *self._owed]
            self.give(answer)
            if self._owed:
                return

    def step(self) -> None:
        self.now += self.step_us
        self._pay()
        sent = self.bench.step(self.now)
        for port in (Port.PRESSURE, Port.BALANCE, Port.PRINTER):
            if port in self.bench.unplugged:
                if port not in self._lost:
                    self._lost.add(port)
                    self.give(PortLost(port, "device unplugged"))
            elif sent[port]:
                self.give(PortBytes(port, sent[port]))
        self.give(Tick())

    def command(self, operation: Operation, reason: str = "", target: str = "") -> None:
        self.give(Command(operation, OPERATOR, reason, target))

    def until(self, condition: Callable[[RunMachine], bool], limit_s: int = 10_000) -> None:
        end = self.now + limit_s * 1_000_000
        while not condition(self.machine):
            if self.now > end:
                raise AssertionError(f"not reached by {self.now / 1e6:.0f} s: {self.machine.state} {self.machine.phase}")
            self.step()

    def run(self) -> None:
        """From creation to the end of the run."""
        self.command(Operation.PREPARE)
        self.until(lambda machine: machine.phase is Phase.START or machine.phase is Phase.DONE)
        self.command(Operation.START)
        self.until(lambda machine: machine.phase is Phase.DONE)

    def kinds(self, kind: str) -> list[EntryDraft]:
        return [entry for entry in self.entries if entry.kind == kind]

    def verdicts(self) -> Mapping[int, str]:
        return {n: verdict.value for n, (verdict, _, _) in self.machine.cycle.verdicts.items()}


def simulated(
    case: str,
    *faults: str,
    seed: int = 1,
    refuse_record: Callable[[Record], bool] | None = None,
    job: Job | None = None,
    standing: Standing = STANDING,
) -> SimulatedCell:
    found = admitted(job or demonstration_job(case), standing)
    config: BenchConfig = bench_for(case, faults=faults, seed=seed)
    cell = SimulatedCell(RunMachine(found.plan), VirtualBench(config), program=found.program)
    if refuse_record is not None:
        cell.refuse_record = refuse_record
    return cell


def seconds_to_alarm(cell: SimulatedCell) -> tuple[AlarmName | None, float]:
    """Run to the end; return the first alarm and how long after the fault began it was raised, None where either is missing."""
    onset = None
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.DONE:
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        cell.step()
        if onset is None and cell.bench.script.begun:
            onset = cell.now
    alarms = cell.machine.alarms.alarms
    if not alarms or onset is None:
        return None, 0.0
    return alarms[0].definition.name, (alarms[0].raised_at - onset) / 1e6
