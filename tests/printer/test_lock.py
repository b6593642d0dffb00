"""The lock: whichever way a recipe comes to a cell that is not as it was signed, effective and newest, the cell refuses and says why."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from simulated_cell import KEYS, REGISTER, STANDING, TODAY, TRUSTED, SimulatedCell, admitted, demonstration_job, signature, signed_register

from audit.checkpoint import SigningKey
from audit.errors import DosewrightError
from audit.events import Actor
from audit.signatures import Signature, sign_with_key
from hil_tests.cases import bench_for
from hil_tests.virtual_bench import VirtualBench
from printer.admission import Job, JobActor, read_job
from printer.equipment import KnownRecipe, Standing
from printer.errors import CellRefused
from printer.messages import Command, Operation
from printer.people_gates import person_gates
from printer.readiness import unmet
from printer.recipe_lock import DEVELOPMENT
from printer.run import Phase, RunMachine
from recipes.effectivity import MEANING_EFFECTIVE, MEANING_WITHDRAWN, SignedStatement, SignedWithdrawal, Withdrawal, check_withdrawal
from recipes.errors import CompileRefused, RecipeRefused, Refusal
from recipes.model import parse_recipe
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, MEANING_DEVELOPMENT, DevelopmentRecipe, RecipeBundle

CASE = "hydrocortisone"
JOB = demonstration_job(CASE)
BUNDLE = JOB.recipe_bundle
assert isinstance(BUNDLE, RecipeBundle) and BUNDLE.effective is not None
STATEMENT = BUNDLE.effective.statement
RECIPE = parse_recipe(BUNDLE.recipe_toml.encode())
OPEN = STANDING.model_copy(
    update={
        "register_file": signed_register(
            REGISTER.model_copy(
                update={
                    "development": "permitted",
                    "training": (*REGISTER.training, REGISTER.training[0].model_copy(update={"username": "engineer"})),
                }
            )
        )
    }
)
ENGINEER = JobActor(username="engineer", name="Demo engineer", role="process_engineer")


def with_bundle(**changes: object) -> Job:
    return JOB.model_copy(update={"recipe_bundle": BUNDLE.model_copy(update=changes)})


def effective(by: str = "quality", meaning: str = MEANING_EFFECTIVE, **changes: object) -> SignedStatement:
    statement = STATEMENT.model_copy(update=changes)
    return SignedStatement(statement=statement, signature=signature(by, meaning, statement.digest))


def stranger(person: str, role: str, meaning: str, digest: str) -> Signature:
    return sign_with_key(
        SigningKey.generate(f"elsewhere/{person}"),
        signer=person,
        name=person,
        role=role,
        meaning=meaning,
        digest=digest,
        at="2026-11-20T08:00:00.000000Z",
        zone="UTC",
    )


def day(offset: int) -> str:
    return (date.fromisoformat(TODAY) + timedelta(days=offset)).isoformat()


def swapped(old: str, new: str) -> str:
    assert old in BUNDLE.recipe_toml
    return BUNDLE.recipe_toml.replace(old, new, 1)


def both(toml: str) -> tuple[Signature, Signature]:
    digest = parse_recipe(toml.encode()).digest
    return signature("engineer", MEANING_AUTHOR, digest), signature("quality", MEANING_APPROVER, digest)


HOTTER = swapped("170 degC", "174 degC")
AUTHOR, APPROVER = BUNDLE.signatures
STRANGE = SignedStatement(statement=STATEMENT, signature=stranger("quality", "quality_assurance", MEANING_EFFECTIVE, STATEMENT.digest))

REFUSED = {
    "a changed recipe": (with_bundle(recipe_toml=HOTTER), RecipeRefused, "was changed after it"),
    "a changed recipe, signed anew, not made effective anew": (
        with_bundle(recipe_toml=HOTTER, signatures=both(HOTTER)),
        RecipeRefused,
        "with other content",
    ),
    "an approved recipe that nobody made effective": (with_bundle(effective=None), RecipeRefused, "is approved, not effective"),
    "an unsigned statement": (
        with_bundle(effective=BUNDLE.effective.model_copy(update={"statement": STATEMENT.model_copy(update={"review_by": day(900)})})),
        RecipeRefused,
        "given for something else",
    ),
    "an expired approval": (with_bundle(effective=effective(review_by=day(-1), effective_from=day(-9))), RecipeRefused, "has expired"),
    "a recipe before its day": (with_bundle(effective=effective(effective_from=day(1))), RecipeRefused, "effective from"),
    "made effective by its author": (with_bundle(effective=effective("engineer")), RecipeRefused, "not trusted here"),
    "made effective by an operator": (with_bundle(effective=effective("operator")), RecipeRefused, "not trusted here"),
    "an approval used as a making effective": (with_bundle(effective=effective(meaning=MEANING_APPROVER)), RecipeRefused, "meaning"),
    "made effective by a stranger": (with_bundle(effective=STRANGE), RecipeRefused, "not trusted here"),
    "effective on no ground": (with_bundle(effective=effective(exemption=None)), RecipeRefused, "without ground"),
    "effective on another excuse": (with_bundle(effective=effective(exemption="in a hurry")), RecipeRefused, "without ground"),
    "self-approved": (
        with_bundle(signatures=(AUTHOR, signature("engineer", MEANING_APPROVER, RECIPE.digest))),
        RecipeRefused,
        "as author and as approver",
    ),
    "an unknown author": (
        with_bundle(signatures=(stranger("engineer", "process_engineer", MEANING_AUTHOR, RECIPE.digest), APPROVER)),
        RecipeRefused,
        "not a signer this place trusts",
    ),
    "an unknown approver": (
        with_bundle(signatures=(AUTHOR, stranger("quality", "quality_assurance", MEANING_APPROVER, RECIPE.digest))),
        RecipeRefused,
        "not a signer this place trusts",
    ),
    "another recipe than the one ordered": (
        JOB.model_copy(update={"recipe_bundle": demonstration_job("sildenafil").recipe_bundle}),
        CompileRefused,
        "the order is for recipe hydrocortisone@1",
    ),
}


@pytest.mark.parametrize("how", REFUSED)
def test_what_is_not_as_signed_is_refused_with_a_way_on(how: str) -> None:
    job, kind, words = REFUSED[how]
    with pytest.raises(kind, match=words) as refusal:
        admitted(job)
    assert refusal.value.remedy or isinstance(refusal.value, Refusal)  # each reason of a list has its own


def test_as_it_was_signed_it_is_admitted() -> None:
    gate = next(gate for gate in admitted(JOB).plan.static_gates if gate.name == "recipe effective")
    assert gate.met and STATEMENT.review_by in gate.text


def known(version: int, status: str = "effective", content: str = RECIPE.digest) -> Standing:
    item = KnownRecipe(id=RECIPE.id, version=version, recipe_digest=content, status=status)  # type: ignore[arg-type]
    return STANDING.model_copy(update={"recipes": (item,)})


@pytest.mark.parametrize(
    ("standing", "words"),
    [
        (known(2), "is stale: this cell knows hydrocortisone@2"),
        (known(1, "retired"), "was withdrawn"),
        (known(1, content="0" * 64), "never used again"),
    ],
)
def test_a_cell_does_not_go_back(standing: Standing, words: str) -> None:
    with pytest.raises(CellRefused, match=words):
        admitted(JOB, standing)
    assert admitted(JOB, known(1)).plan.units


def test_a_changed_program_has_no_way_in() -> None:
    """A job has no field for G-code: what is sent is compiled by the cell."""
    body = JOB.model_dump(mode="json")
    for name in ("program", "gcode", "purpose", "development"):
        with pytest.raises(CellRefused, match=name):
            read_job({**body, name: "G1 E999"})


def test_a_withdrawal_is_believed_for_its_signature_alone() -> None:
    withdrawal = Withdrawal(recipe="hydrocortisone@1", recipe_digest=RECIPE.digest, reason="wrong density")
    good = SignedWithdrawal(withdrawal=withdrawal, signature=signature("quality", MEANING_WITHDRAWN, withdrawal.digest))
    assert check_withdrawal(good, TRUSTED) == withdrawal
    for bad in (
        stranger("quality", "quality_assurance", MEANING_WITHDRAWN, withdrawal.digest),
        signature("engineer", MEANING_WITHDRAWN, withdrawal.digest),
        signature("quality", MEANING_EFFECTIVE, withdrawal.digest),
        signature("quality", MEANING_WITHDRAWN, "0" * 64),
    ):
        with pytest.raises(RecipeRefused):
            check_withdrawal(SignedWithdrawal(withdrawal=withdrawal, signature=bad), TRUSTED)


# -- development mode ------------------------------------------------------------------------------------------------


def development(by: str = "engineer", meaning: str = MEANING_DEVELOPMENT, toml: str = BUNDLE.recipe_toml) -> Job:
    digest = parse_recipe(toml.encode()).digest
    opened = DevelopmentRecipe(recipe_toml=toml, development=signature(by, meaning, digest))
    return JOB.model_copy(update={"recipe_bundle": opened, "actor": ENGINEER})


def test_a_locked_cell_makes_no_development_run() -> None:
    with pytest.raises(CellRefused, match="is locked"):
        admitted(development())
    nobody = STANDING.model_copy(update={"register_file": None})
    with pytest.raises(CellRefused, match="is locked"):
        admitted(development(), nobody)
    unsigned = OPEN.model_copy(update={"register_file": (OPEN.register_file or "").replace("cell-1-printer", "cell-1-other")})
    with pytest.raises(CellRefused, match="is locked"):
        admitted(development(), unsigned)


def test_a_development_run_needs_an_engineer_who_is_known() -> None:
    opened = DevelopmentRecipe(
        recipe_toml=BUNDLE.recipe_toml, development=stranger("engineer", "process_engineer", MEANING_DEVELOPMENT, RECIPE.digest)
    )
    for job in (
        development("quality"),
        development("operator"),
        development(meaning=MEANING_AUTHOR),
        JOB.model_copy(update={"recipe_bundle": opened}),
        JOB.model_copy(update={"recipe_bundle": development().recipe_bundle.model_copy(update={"recipe_toml": HOTTER})}),
    ):
        with pytest.raises(RecipeRefused) as refusal:
            admitted(job, OPEN)
        assert refusal.value.remedy or isinstance(refusal.value, Refusal)  # each reason of a list has its own


@pytest.mark.parametrize(
    ("field", "changed", "words"),
    [
        ("nozzle_temperature", '{ set_point = "600 degC", low = "590 degC", high = "610 degC" }', "600 degC"),
        ("plate_temperature", '{ set_point = "200 degC", low = "190 degC", high = "210 degC" }', "200 degC"),
        ("flow_rate", '{ set_point = "50 uL/s", low = "1 uL/s", high = "60 uL/s" }', "50 uL/s"),
        ("retraction_rate", '{ set_point = "50 uL/s", low = "1 uL/s", high = "60 uL/s" }', "50 uL/s"),
    ],
)
def test_development_stays_inside_the_machine(field: str, changed: str, words: str) -> None:
    """Parameters are free, the machine's limits are not; and the order still binds the content."""
    beyond = re.sub(rf"(?m)^{field} = .*$", f"{field} = {changed}", BUNDLE.recipe_toml)
    assert parse_recipe(beyond.encode()).digest != RECIPE.digest
    with pytest.raises(CompileRefused, match="not as it was when the order was written"):
        admitted(development(toml=beyond), OPEN)
    order = JOB.order.model_copy(update={"recipe_digest": parse_recipe(beyond.encode()).digest})
    job = development(toml=beyond).model_copy(
        update={
            "order": order,
            "entered": signature("pharmacist", "prescription entered", order.sha256),
            "confirmed": signature("operator", "prescription confirmed", order.sha256),
        }
    )
    with pytest.raises(DosewrightError, match=words):
        admitted(job, OPEN)


def test_a_development_run_is_marked_from_the_first_entry_on() -> None:
    found = admitted(development(), OPEN)
    assert unmet(found.plan.static_gates) == ()
    cell = SimulatedCell(RunMachine(found.plan), VirtualBench(bench_for(CASE)), program=found.program)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START or machine.phase is Phase.DONE)
    cell.give(Command(Operation.START, Actor("engineer", "Demo engineer", "process_engineer")))
    cell.until(lambda machine: len(machine.cycle.verdicts) >= 2)
    created, *_ = cell.kinds("run.record.created")
    units = cell.kinds("unit.print.intended")
    assert created.new["purpose"] == DEVELOPMENT and units
    assert {unit.new["purpose"] for unit in units} == {DEVELOPMENT}
    assert "purpose" not in admitted(JOB).plan.created


def test_only_a_development_run_is_for_an_engineer() -> None:
    who = ENGINEER.actor()
    training = REGISTER.training[0].model_copy(update={"username": "engineer"})
    register = REGISTER.model_copy(update={"training": (training,)})
    assert unmet(person_gates(who, TRUSTED, register, RECIPE.reference, TODAY, development=True)) == ()
    assert "may not run this cell" in unmet(person_gates(who, TRUSTED, register, RECIPE.reference, TODAY, development=False))[0]
    assert set(KEYS) >= {"engineer"}


def test_an_engineers_order_is_for_development_alone() -> None:
    entered = signature("engineer", "prescription entered", JOB.order.sha256)
    assert admitted(development().model_copy(update={"entered": entered}), OPEN).plan.units
    with pytest.raises(CellRefused, match="not trusted for orders"):
        admitted(JOB.model_copy(update={"entered": entered}), OPEN)
