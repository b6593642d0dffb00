"""Admission: a job from the workstation becomes a run plan, or is refused with every reason.

The cell believes nothing that it can check: people's signatures against its own list of trusted keys, the recipe against those of
its author, its approver and the one who made it effective (for a development run: that of a process engineer), the ink
certificate and the cartridge against the digests in the signed order; it calculates the dose anew, compiles the program itself and
proves the final bytes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, SerializerFunctionWrapHandler, ValidationError, model_serializer

from audit.canonical import JsonObject, canonical, sha256_hex
from audit.errors import DosewrightError
from audit.events import Actor
from audit.quantities import Milligram, Percent
from audit.signatures import Signature, verify_signature
from printer.equipment import EquipmentRegister, RegisterFound, Standing
from printer.errors import CellConfiguration, CellRefused
from printer.external_weighing import ExternalBalance
from printer.firmware import firmware_profile
from printer.ink_gates import mounting_gates
from printer.instruments import pressure_source
from printer.people_gates import person_gates
from printer.plan import Action, PlannedUnit, RunPlan, SecondHead, Supply, commands_of, out_lines
from printer.planned_units import correction_rule, limits_of, planned_purge, planned_unit
from printer.readiness import Gate, cleaning_gate, equipment_gates, judging_gates
from printer.recipe_lock import DEVELOPMENT, printable_recipe, recipe_gate
from printer.register_file import judge_register
from printer.release_facts import release_facts
from printer.supply_gate import supply_gate, supply_of
from recipes.capability import balance_reasons, external_reasons
from recipes.compile import compile_program
from recipes.machine import MachineProfile
from recipes.model import Recipe
from recipes.order import Cartridge, DoseOrder, InkLot
from recipes.picture_files import picture_files
from recipes.program import PrintProgram
from recipes.proof_text import proof_text
from recipes.store import DEVELOPER_ROLE, DevelopmentRecipe, RecipeBundle

ADMISSION = "admission.json"
"""The name under which a run keeps what it was admitted from: enough to admit it again."""
MEANING_ENTERED = "prescription entered"
MEANING_CONFIRMED = "prescription confirmed"
_ORDER_ROLES = frozenset({"pharmacist", "operator", "qualified_person"})


class LineClearance(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    done_by: str = Field(min_length=1, max_length=100)
    signature: Signature | None = None


class JobActor(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    username: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1, max_length=200)
    role: str = Field(min_length=1, max_length=64)

    def actor(self) -> Actor:
        return Actor(self.username, self.name, self.role)


class Job(BaseModel):
    """What the workstation hands over for one batch.

    `second_ink_lot` and `second_cartridge`: of the second ink, where the units have two. `mounted`: the serials of the cartridges as
    somebody has scanned them in the heads, in the order of the heads. The run is a development run where the recipe is one that a
    process engineer signed for that: there is no word beside the signature that could say otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    batch: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    order: DoseOrder
    entered: Signature
    confirmed: Signature
    recipe_bundle: RecipeBundle | DevelopmentRecipe
    ink_lot: InkLot
    cartridge: Cartridge
    second_ink_lot: InkLot | None = None
    second_cartridge: Cartridge | None = None
    mounted: tuple[str, ...] = Field(default=(), max_length=4)
    line_clearance: LineClearance | None = None
    actor: JobActor

    @property
    def development(self) -> bool:
        """Whether this is a development run: nothing of it is for patients."""
        return isinstance(self.recipe_bundle, DevelopmentRecipe)

    @property
    def second(self) -> tuple[InkLot, Cartridge] | None:
        """What the second ink of a unit is printed from; None where either is missing."""
        lot, cartridge = self.second_ink_lot, self.second_cartridge
        return None if lot is None or cartridge is None else (lot, cartridge)

    @model_serializer(mode="wrap")
    def _without_a_second(self, handler: SerializerFunctionWrapHandler) -> dict[str, object]:
        tree: dict[str, object] = handler(self)
        return {name: value for name, value in tree.items() if value or name not in ("second_ink_lot", "second_cartridge", "mounted")}


class Admission(BaseModel):
    """All that a plan is made from: the job and what the cell added to it. A run can be admitted anew from this alone.

    `trusted_people`: verifier key → roles, as the cell's list stood; `today` ISO date; `standing` what the gates read of the cell;
    `rate` of process time, decimal text.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["dosewright-admission/1"] = "dosewright-admission/1"
    run: str = Field(min_length=1, max_length=100)
    device: str = Field(min_length=1, max_length=64)
    today: str = Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
    standing: Standing
    demonstration: bool
    rate: str = Field(min_length=1, max_length=40)
    machine: MachineProfile
    trusted_people: dict[str, tuple[str, ...]]
    job: Job


@dataclass(frozen=True, slots=True)
class Admitted:
    """What admission made of a job: the plan, what the workstation is told, and what the gates are judged anew from."""

    plan: RunPlan
    program: PrintProgram
    admission: Admission
    recipe: Recipe


def read_trusted_people(path: Path) -> dict[str, frozenset[str]]:
    """Read the cell's list of trusted people: verifier key → roles. Raises CellConfiguration."""
    try:
        people = json.loads(path.read_text("utf-8"))
        return {str(key): frozenset(str(role) for role in person["roles"]) for key, person in people.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        text = f"{path}: the list of trusted people cannot be read ({error})."
        raise CellConfiguration(text, remedy="Enrol the people of this cell.") from error


def read_job(body: Mapping[str, JsonValue]) -> Job:
    """Check the shape of a job. Raises CellRefused naming each place that does not fit."""
    try:
        return Job.model_validate_json(json.dumps(body))
    except ValidationError as error:
        places = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise CellRefused(places, remedy="Send a job of this version's form.") from error


def read_admission(data: bytes) -> Admission:
    """Read what a run was admitted from. Raises CellRefused naming each place that does not fit."""
    try:
        return Admission.model_validate_json(data)
    except ValidationError as error:
        places = [f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors(include_url=False)]
        raise CellRefused(places, remedy="Read it with the version that recorded the run.") from error


def admit_again(admission: Admission) -> Admitted:
    """Check, calculate, compile and prove once more what a cell admitted. Raises what `admit` raises."""
    return admit(
        admission.job,
        run=admission.run,
        device=admission.device,
        machine=admission.machine,
        trusted_people=admission.trusted_people,
        today=admission.today,
        standing=admission.standing,
        demonstration=admission.demonstration,
        rate=admission.rate,
    )


def admit(
    job: Job,
    *,
    run: str,
    device: str,
    machine: MachineProfile,
    trusted_people: Mapping[str, Collection[str]],
    today: str,
    standing: Standing,
    demonstration: bool,
    rate: str,
) -> Admitted:
    """Check, calculate, compile and prove a job. Raises CellRefused or a recipes refusal, with all reasons.

    What the gates read of the cell itself comes in `standing`; a gate that it does not meet is in the plan, and preflight
    refuses the run with all gates on record.
    """
    reasons = _order_reasons(job, trusted_people)
    if reasons:
        raise CellRefused(reasons, remedy="Nothing was printed. Correct the order and have it signed again.")
    recipe = printable_recipe(job.recipe_bundle, trusted_people, standing, device)
    program = compile_program(
        order=job.order,
        recipe=recipe,
        ink=job.ink_lot,
        cartridge=job.cartridge,
        machine=machine,
        today=today,
        demonstration=demonstration,
        second=job.second,
        solid=job.recipe_bundle.solid_file,
    )
    admission = Admission(
        run=run,
        device=device,
        today=today,
        standing=standing,
        demonstration=demonstration,
        rate=rate,
        machine=machine,
        trusted_people={key: tuple(sorted(roles)) for key, roles in trusted_people.items()},
        job=job,
    )
    return Admitted(_plan(admission, recipe, program), program, admission, recipe)


def _order_reasons(job: Job, trusted: Mapping[str, Collection[str]]) -> list[str]:
    """Two different trusted people, in roles that may, must have signed exactly this order."""
    reasons = []
    may = _ORDER_ROLES | {DEVELOPER_ROLE} if job.development else _ORDER_ROLES
    for signature, meaning in ((job.entered, MEANING_ENTERED), (job.confirmed, MEANING_CONFIRMED)):
        try:
            verify_signature(signature, digest=job.order.sha256)
        except DosewrightError as error:
            reasons.append(f"order {job.order.id}: {error.message}")
            continue
        if signature.meaning != meaning:
            reasons.append(f"order {job.order.id}: {signature.signer} signed with the meaning {signature.meaning!r}, not {meaning!r}")
        roles = trusted.get(signature.key, ())
        if signature.role not in roles or signature.role not in may:
            reasons.append(f"order {job.order.id}: {signature.signer} as {signature.role} is not trusted for orders on this cell")
    if job.entered.signer == job.confirmed.signer or job.entered.key == job.confirmed.key:
        reasons.append(f"order {job.order.id}: entered and confirmed by the same person; a second person must confirm")
    return reasons


def _plan(admission: Admission, recipe: Recipe, program: PrintProgram) -> RunPlan:
    job, machine = admission.job, admission.machine
    found = judge_register(admission.standing.register_file, cell=admission.device, trusted=admission.trusted_people)
    register = found.register
    order = job.order
    second = job.second
    units = tuple(planned_unit(unit, recipe, machine, sources=_sources(job)) for unit in program.units)
    purges = tuple(planned_purge(unit, program, recipe, machine) for unit in program.purges)
    supplies = _supplies(admission, recipe)
    external = external_balance(recipe, program, machine, register)
    return RunPlan(
        run=admission.run,
        batch=job.batch,
        device=admission.device,
        created={
            "batch": job.batch,
            "order_sha256": order.sha256,
            "recipe": recipe.reference,
            "recipe_digest": recipe.digest,
            "ink_lot": job.ink_lot.lot,
            "cartridge": job.cartridge.serial,
            **({} if second is None else {"second_ink_lot": second[0].lot, "second_cartridge": second[1].serial}),
            "machine": machine.reference,
            "machine_digest": machine.digest,
            "equipment": None if register is None else register.reference,
            "equipment_digest": None if register is None else register.digest,
            "program_sha256": program.sha256,
            "units": len({unit.n for unit in program.units}),
            "dosage_form": recipe.dosage_form,
            "concentration_rsd_validation": _number(recipe.concentration_rsd_validation),
            **(
                {}
                if recipe.second_ink is None
                else {"second_concentration_rsd_validation": _number(recipe.second_ink.concentration_rsd_validation)}
            ),
            "partial_release_permitted": recipe.control.partial_release,
            "release": release_facts(recipe, program, _sources(job), machine, admission.today, external),
            **({"purpose": DEVELOPMENT} if job.development else {}),
            **_release_facts(recipe),
            "demonstration": admission.demonstration,
            "rate": admission.rate,
        },
        attachments={
            ADMISSION: canonical(admission.model_dump(mode="json")),
            "order.json": canonical(order.model_dump(mode="json")),
            "recipe.toml": job.recipe_bundle.recipe_toml.encode("utf-8"),
            "program-planned.gcode": program.planned,
            "proof.json": canonical(program.proof.as_record()),
            "proof.txt": proof_text(program.proof).encode("utf-8"),
            "dose.json": canonical(program.dose.as_record()),
            **picture_files(program, job.recipe_bundle.solid_file),
        },
        header=program.preamble,
        actions=_actions(program, machine),
        units=units,
        limits=replace(limits_of(recipe), heating_limit_us=max(part.alarms.heat_timeout.microseconds for part in recipe.parts)),
        second=_second_head(recipe, machine, job),
        e_area=machine.e_area,
        firmware=firmware_profile(machine),
        exposure_limit_nl=int(machine.bounded_exposure.value * 1000),
        balance_driver=machine.balance.driver,
        pressure=pressure_source(machine),
        static_gates=static_gates(admission, recipe, program, found, purges + units),
        external=external,
        balance_serial=None if register is None else register.balance.serial,
        correction=correction_rule(recipe, job.ink_lot),
        purges=purges,
        supplies=supplies,
    )


def _supplies(admission: Admission, recipe: Recipe) -> tuple[Supply, ...]:
    """Return what each cartridge can give and for how long; nothing where the cell does not know its time of day."""
    left = admission.standing.left_of_day_s
    if left is None:
        return ()
    return tuple(
        supply_of(
            ink,
            cartridge,
            heel=head.cartridge_heel,
            prime=part.parameters.prime_volume.set_point,
            rate=admission.rate,
            today=admission.standing.today,
            left_of_day_s=left,
            longest_warm=part.ink.longest_at_temperature,
        )
        for (ink, cartridge), head, part in zip(_sources(admission.job), admission.machine.heads, recipe.parts, strict=False)
    )


def _actions(program: PrintProgram, machine: MachineProfile) -> dict[str, Action]:
    """Return the actions outside units; on a machine with several heads each priming is for one of them."""
    several = len(program.basis.recipe.parts) > 1
    found = {}
    for name, gcode in program.procedures.items():
        head = {"prime": 0, "prime_2": 1}.get(name) if several else None
        lines = out_lines(commands_of(gcode), machine.heads[head or 0].e_area)
        found[str(name)] = Action(name, sha256_hex(gcode), lines, head)
    return found


def _second_head(recipe: Recipe, machine: MachineProfile, job: Job) -> SecondHead | None:
    second = job.second
    if second is None or recipe.second_ink is None:
        return None
    part = recipe.parts[1]
    return SecondHead(limits_of(part), machine.heads[1].e_area, correction_rule(part, second[0]))


def _release_facts(recipe: Recipe) -> JsonObject:
    """Return what release rests on beyond what is stated of every run; nothing where the recipe sets no rules of release."""
    if recipe.control.release is None:
        return {}
    primes = [part.parameters.prime_volume.set_point.text for part in recipe.parts]
    return {"release_rules": recipe.control.release.as_rules(), "prime_volumes_uL": [*primes]}


def _number(value: Percent | None) -> str | None:
    return None if value is None else value.text


def static_gates(
    admission: Admission, recipe: Recipe, program: PrintProgram, found: RegisterFound, units: Iterable[PlannedUnit]
) -> tuple[Gate, ...]:
    """Judge the gates for which no device is asked, in order, each with its evidence or what is missing; `units` are all to be printed."""
    job, standing, trusted = admission.job, admission.standing, admission.trusted_people
    clearance = job.line_clearance
    if clearance is None:
        cleared = Gate("line clearance", False, "nobody has confirmed that plate, purge tray and cell are empty and clean; confirm it")
    else:
        cleared = Gate("line clearance", True, f"plate, purge tray and cell empty and clean, confirmed by {clearance.done_by}")
    actor, register = job.actor, found.register
    return (
        Gate("order confirmed by two people", True, f"entered by {job.entered.name}, confirmed by {job.confirmed.name}"),
        *person_gates(actor.actor(), trusted, register, recipe.reference, standing.today, development=job.development),
        *equipment_gates(found, standing),
        *_judging(recipe, program, admission.machine, register, standing.today),
        cleaning_gate(register, standing, recipe.reference, " and ".join(lot.lot for lot, _ in _sources(job))),
        cleared,
        supply_gate(_sources(job), _supplies(admission, recipe), units),
        *mounting_gates([cartridge.serial for _, cartridge in _sources(job)], job.mounted),
        recipe_gate(job.recipe_bundle, recipe),
        Gate("program proved", True, f"{len({unit.n for unit in program.units})} units, SHA-256 {program.sha256[:12]}"),
    )


def _sources(job: Job) -> tuple[tuple[InkLot, Cartridge], ...]:
    return ((job.ink_lot, job.cartridge), *([job.second] if job.second is not None else []))


def _targets(program: PrintProgram) -> list[Milligram]:
    return [plan.target_mass for plan in program.dose.strengths]


def _judging(
    recipe: Recipe, program: PrintProgram, machine: MachineProfile, register: EquipmentRegister | None, today: str
) -> tuple[Gate, ...]:
    targets, external = _targets(program), None if register is None else register.external_balance
    reasons = balance_reasons(recipe, machine, targets)
    if (second := program.dose.second) is not None:
        targets_2 = [plan.target_mass for plan in second.strengths]
        reasons = tuple(dict.fromkeys((*reasons, *balance_reasons(recipe.parts[1], machine, targets_2))))
    spoken = () if external is None else external_reasons(recipe, external.readability, external.expanded_uncertainty, targets)
    plate = f"balance of {machine.id}, expanded uncertainty {machine.balance.expanded_uncertainty}: at most a quarter of every tolerance"
    return judging_gates(plate, reasons, register, spoken, today)


def external_balance(
    recipe: Recipe, program: PrintProgram, machine: MachineProfile, register: EquipmentRegister | None
) -> ExternalBalance | None:
    """Return the balance that weighs the units where the plate balance cannot judge them; the gates say whether it may."""
    timeout, balance = recipe.weighing.external_timeout, None if register is None else register.external_balance
    if timeout is None or balance is None or not balance_reasons(recipe, machine, _targets(program)):
        return None
    return ExternalBalance(
        asset=balance.asset,
        model=balance.model,
        serial=balance.serial,
        certificate=balance.certificate,
        readability=balance.readability,
        expanded_uncertainty=balance.expanded_uncertainty,
        removal=balance.removal,
        timeout_us=timeout.microseconds,
    )
