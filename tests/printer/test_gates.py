"""Every gate before a print: unmet alone, unmet all together, at midnight, and with a register that somebody forged."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from simulated_cell import (
    KEYS,
    REGISTER,
    STANDING,
    TODAY,
    TRUSTED,
    SimulatedCell,
    admitted,
    demonstration_job,
    signature,
    signed_register,
    simulated,
)

from audit.checkpoint import SigningKey
from audit.clock import UtcReading
from audit.quantities import Milligram
from audit.signatures import sign_with_key
from hil_tests.virtual_instruments import BalanceConfig
from printer.admission import ADMISSION, JobActor, read_admission
from printer.alarms import AlarmName
from printer.equipment import MEANING_REGISTER, EquipmentRegister, LastCheck, LastCleaning, Product, Standing
from printer.errors import CellConfiguration
from printer.messages import Operation
from printer.readiness import Gate
from printer.register_file import SignedRegister, judge_register
from printer.run import Phase
from printer.standing import check_zone, local_day
from printer.states import RunState
from printer.unit_cycle import Step

JOB = demonstration_job("minoxidil")
YESTERDAY, TOMORROW = "2026-11-19", "2026-11-21"
CHECK, CLEANING = STANDING.last_check, STANDING.last_cleaning
assert CHECK is not None and CLEANING is not None
LOT = JOB.ink_lot.lot

ORDER = (
    "order confirmed by two people", "operator", "training", "equipment register", "printer qualified", "balance calibrated",
    "pressure sensor calibrated", "daily balance check", "balance can judge the tolerance", "cleaning", "line clearance",
    "ink lot and cartridge", "recipe effective", "program proved",
)  # fmt: skip


def standing(**changes: object) -> Standing:
    return STANDING.model_copy(update=changes)


def registered(change: Callable[[dict[str, object]], None]) -> Standing:
    """A standing whose register was changed and signed again by quality assurance."""
    body = REGISTER.as_record()
    change(body)  # type: ignore[arg-type]
    return standing(register_file=signed_register(EquipmentRegister.model_validate(body)))


def gates(standing: Standing = STANDING, **job: object) -> dict[str, Gate]:
    return {gate.name: gate for gate in admitted(JOB.model_copy(update=job), standing).plan.static_gates}


def unmet(found: dict[str, Gate]) -> list[str]:
    return [name for name, gate in found.items() if not gate.met]


def test_a_ready_cell_meets_every_gate_in_order_and_says_by_what() -> None:
    found = gates()
    assert tuple(found) == ORDER and unmet(found) == []
    assert "B000000001" in found["daily balance check"].text and REGISTER.digest[:12] in found["equipment register"].text
    assert "demonstration-B-1" in found["balance calibrated"].text


def put(table: str, name: str, value: str) -> Callable[[dict[str, object]], None]:
    def change(body: dict[str, object]) -> None:
        body[table][name] = value  # type: ignore[index]

    return change


def untrained(recipe: str | None) -> Callable[[dict[str, object]], None]:
    def change(body: dict[str, object]) -> None:
        record = body["training"][0]  # type: ignore[index]
        if recipe is None:
            record["cell_until"] = YESTERDAY
        else:
            record["recipes"][recipe] = YESTERDAY

    return change


ALONE = [
    ("operator", STANDING, {"actor": JobActor(username="engineer", name="E", role="process_engineer")}, "may not run"),
    ("operator", STANDING, {"actor": JobActor(username="pharmacist", name="P", role="operator")}, "may not run"),
    ("training", registered(untrained(None)), {}, f"training on cell-1 ended on {YESTERDAY}"),
    ("training", registered(untrained("minoxidil@1")), {}, f"training for minoxidil@1 ended on {YESTERDAY}"),
    ("training", registered(lambda body: body.update(training=[])), {}, "no training on cell-1 is on record"),
    ("printer qualified", registered(put("printer", "qualified_until", YESTERDAY)), {}, "qualify the printer"),
    ("balance calibrated", registered(put("balance", "calibrated_until", YESTERDAY)), {}, "have the balance calibrated"),
    ("pressure sensor calibrated", registered(put("pressure_sensor", "calibrated_until", YESTERDAY)), {}, "have the sensor calibrated"),
    ("daily balance check", standing(last_check=None), {}, "no check of the balance B000000001 is on record"),
    ("daily balance check", standing(last_check=CHECK.model_copy(update={"day": YESTERDAY})), {}, "last passed on"),
    ("daily balance check", standing(last_check=CHECK.model_copy(update={"day": TOMORROW})), {}, "last passed on"),
    (
        "daily balance check",
        standing(last_check=CHECK.model_copy(update={"passed": False, "reasons": ("sensitivity: 1 mg",)})),
        {},
        "not passed: sensitivity: 1 mg",
    ),
    ("daily balance check", standing(last_check=CHECK.model_copy(update={"status": "under way"})), {}, "is not finished"),
    ("daily balance check", standing(last_check=CHECK.model_copy(update={"serial": "B000000002"})), {}, "no check of the balance"),
    ("cleaning", standing(last_cleaning=None), {}, "no cleaning of this cell is on record"),
    ("cleaning", standing(last_cleaning=CLEANING.model_copy(update={"days_ago": 8})), {}, "the interval is 7 days"),
    ("cleaning", standing(last_cleaning=CLEANING.model_copy(update={"days_ago": -1})), {}, "the interval is 7 days"),
    ("cleaning", standing(printed=(Product(run="B-0-R1", recipe="sildenafil@1", ink_lot="S-1"),)), {}, "run B-0-R1 printed sildenafil@1"),
    ("cleaning", standing(printed=(Product(run="B-0-R1", recipe="minoxidil@1", ink_lot="OLD"),)), {}, "from ink lot OLD"),
    ("line clearance", STANDING, {"line_clearance": None}, "nobody has confirmed"),
]


@pytest.mark.parametrize(("name", "at", "job", "why"), ALONE)
def test_each_gate_alone(name: str, at: Standing, job: dict[str, object], why: str) -> None:
    found = gates(at, **job)
    wanted = {name, "training"} if name == "operator" else {name}  # who may not run was not trained to
    assert set(unmet(found)) == wanted and why in found[name].text


def test_all_gates_that_can_be_open_are_open_together_and_none_hides_another() -> None:
    def late(body: dict[str, object]) -> None:
        for table, name in (("printer", "qualified_until"), ("balance", "calibrated_until"), ("pressure_sensor", "calibrated_until")):
            put(table, name, YESTERDAY)(body)
        untrained(None)(body)

    at = registered(late).model_copy(update={"last_check": None, "last_cleaning": None})
    found = gates(at, line_clearance=None)
    assert unmet(found) == [name for name in ORDER if name in unmet(found)] and len(unmet(found)) == 7
    cell = simulated("minoxidil", job=JOB.model_copy(update={"line_clearance": None}), standing=at)
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    (refused,) = cell.kinds("run.gates.refused")
    assert [gate["gate"] for gate in refused.new["gates"] if not gate["met"]] == unmet(found)  # type: ignore[union-attr, index, call-overload, misc]
    assert len(refused.new["gates"]) == len(ORDER) + 3  # type: ignore[arg-type]
    assert not cell.kinds("run.action.intended") and b"G28" not in b"".join(data for _, _, data, _ in cell.written)


def test_the_same_ink_lot_needs_no_cleaning_between_its_batches() -> None:
    found = gates(standing(printed=(Product(run="B-0-R1", recipe="minoxidil@1", ink_lot=LOT),)))
    assert found["cleaning"].met and "since then only minoxidil@1" in found["cleaning"].text


@pytest.mark.parametrize("table", ["printer", "balance", "pressure_sensor"])
def test_the_last_day_counts_and_the_day_after_does_not(table: str) -> None:
    field = "qualified_until" if table == "printer" else "calibrated_until"
    assert unmet(gates(registered(put(table, field, TODAY)))) == []
    assert len(unmet(gates(registered(put(table, field, YESTERDAY))))) == 1


def test_an_expired_check_weight_makes_the_check_of_today_worthless() -> None:
    at = registered(lambda body: body["daily_check"]["weight"].update(valid_until=YESTERDAY))  # type: ignore[index]
    found = gates(at)
    assert unmet(found) == ["daily balance check"] and f"ended on {YESTERDAY}" in found["daily balance check"].text
    with pytest.raises(CellConfiguration, match="ended on"):
        SignedRegister.model_validate_json(at.register_file or "").contents.check_plan(TODAY)


def test_a_register_may_say_that_no_check_is_required_and_every_gate_shows_the_choice() -> None:
    at = registered(lambda body: body.update(daily_check="not required")).model_copy(update={"last_check": None})
    found = gates(at)
    assert unmet(found) == [] and found["daily balance check"].text.startswith("not required: a choice of the signed equipment register")
    with pytest.raises(CellConfiguration, match="requires no daily check"):
        SignedRegister.model_validate_json(at.register_file or "").contents.check_plan(TODAY)


@pytest.mark.parametrize(
    ("moment", "zone", "day"),
    [
        ("2026-11-20T23:59:59.999999Z", "UTC", "2026-11-20"),
        ("2026-11-21T00:00:00.000000Z", "UTC", "2026-11-21"),
        ("2026-11-20T22:59:59.999999Z", "Europe/Paris", "2026-11-20"),
        ("2026-11-20T23:00:00.000000Z", "Europe/Paris", "2026-11-21"),
        ("2026-07-20T22:00:00.000000Z", "Europe/Paris", "2026-07-21"),
        ("2026-11-21T04:59:59.999999Z", "America/New_York", "2026-11-20"),
        ("2026-11-21T05:00:00.000000Z", "America/New_York", "2026-11-21"),
    ],
)
def test_the_day_is_that_of_the_cell(moment: str, zone: str, day: str) -> None:
    assert local_day(UtcReading(moment, zone, "unknown")) == day


@pytest.mark.parametrize("zone", ["Nowhere/Here", "", "../etc/passwd", "UTC\0"])
def test_a_cell_does_not_start_in_a_zone_without_a_date(zone: str) -> None:
    check_zone("Europe/Paris")
    with pytest.raises(CellConfiguration, match="no time zone"):
        check_zone(zone)


def forged(change: Callable[[dict[str, object]], None]) -> str:
    body = json.loads(STANDING.register_file or "")
    change(body)
    return json.dumps(body)


def by_stranger() -> str:
    key = SigningKey.generate("people/quality")
    given = sign_with_key(
        key, signer="quality", name="Q", role="quality_assurance", meaning=MEANING_REGISTER, digest=REGISTER.digest,
        at="2026-11-20T08:00:00.000000Z", zone="UTC",
    )  # fmt: skip
    return SignedRegister(register=REGISTER, signature=given).text()


FORGED = [
    (None, "has no equipment register"),
    ("", "does not fit its form"),
    ("[]", "does not fit its form"),
    ("{" * 5000, "does not fit its form"),
    (forged(lambda body: body["register"]["balance"].update(calibrated_until="2099-01-01")), "changed after it was signed"),  # type: ignore[index, attr-defined]
    (forged(lambda body: body["register"].update(version=2)), "changed after it was signed"),  # type: ignore[attr-defined]
    (forged(lambda body: body["register"].update(more="x")), "does not fit its form"),  # type: ignore[attr-defined]
    (forged(lambda body: body["register"]["printer"].update(qualified_until="2026-13-01")), "does not fit its form"),  # type: ignore[index, attr-defined]
    (forged(lambda body: body["signature"].update(role="operator")), "changed after it was signed"),  # type: ignore[attr-defined]
    (forged(lambda body: body.pop("signature")), "does not fit its form"),
    (by_stranger(), "not quality assurance of this cell"),
    (signed_register(REGISTER, by="operator"), "not quality assurance of this cell"),
    (signed_register(REGISTER.model_copy(update={"cell": "cell-2"})), "is that of cell-2"),
    (
        SignedRegister(register=REGISTER, signature=signature("quality", "recipe approved", REGISTER.digest)).text(),
        "not quality assurance of this cell",
    ),
]


@pytest.mark.parametrize(("text", "why"), FORGED)
def test_a_register_that_quality_assurance_did_not_sign_so_is_none(text: str | None, why: str) -> None:
    assert why in judge_register(text, cell="cell-1", trusted=TRUSTED).refusal
    found = gates(standing(register_file=text))
    needing = ["training", "equipment register", "printer qualified", "balance calibrated", "pressure sensor calibrated",
               "daily balance check", "cleaning"]  # fmt: skip
    assert unmet(found) == needing and why in found["equipment register"].text


def test_a_register_of_someone_who_left_quality_assurance_is_none() -> None:
    trusted = {**TRUSTED, KEYS["quality"].verifier_key: frozenset({"pharmacist"})}
    assert judge_register(signed_register(), cell="cell-1", trusted=trusted).register is None


def test_the_wrong_balance_is_found_before_anything_moves() -> None:
    other = registered(put("balance", "serial", "B999"))
    check = LastCheck(status="closed", serial="B999", day=TODAY, passed=True, by="D")
    cell = simulated("minoxidil", standing=other.model_copy(update={"last_check": check}))
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert [gate.name for gate in cell.machine.gates if not gate.met] == ["balance identified"]
    text = next(gate.text for gate in cell.machine.gates if not gate.met)
    assert "serial number B000000001, the register names B999" in text
    assert cell.machine.ended == RunState.ABORTED.value and not cell.kinds("run.action.intended")


def test_the_demonstration_register_names_the_virtual_balance() -> None:
    config = BalanceConfig()
    assert (REGISTER.balance.model, REGISTER.balance.serial) == (config.model, config.serial)
    assert isinstance(REGISTER.check_plan(TODAY).weight.mass, Milligram)


def test_a_run_names_its_register_and_keeps_what_its_gates_read() -> None:
    plan = admitted(JOB).plan
    assert plan.created["equipment"] == "cell-1@1" and plan.created["equipment_digest"] == REGISTER.digest
    assert read_admission(plan.attachments[ADMISSION]).standing == STANDING
    assert LastCleaning.model_validate(CLEANING.as_record()) == CLEANING


def broken_wire(case: str) -> SimulatedCell:
    """A cell whose sensor can show far less than it measures: what a broken wire looks like."""
    cell = simulated(case)
    cell.bench.hub._config = replace(cell.bench.hub._config, floor_kPa=-999.0)
    return cell


def test_a_pressure_below_what_the_sensor_measures_is_no_reading() -> None:
    cell = broken_wire("minoxidil")
    cell.bench.hub.offset_kPa = -900.0
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.DONE)
    assert cell.machine.ended == "ABORTED"
    assert [gate.text for gate in cell.machine.gates if gate.name == "pressure sensor live"] == [
        "readings are unknown; check the sensor hub, then prepare the run again"
    ]


def test_a_wire_that_breaks_in_mid_unit_stops_the_run_as_silence_does() -> None:
    cell = broken_wire("minoxidil")
    cell.command(Operation.PREPARE)
    cell.until(lambda machine: machine.phase is Phase.START)
    cell.command(Operation.START)
    cell.until(lambda machine: machine.cycle.step is Step.PRINT and machine.cycle.commanded_nl > 5_000)
    broken = cell.now
    cell.bench.hub.offset_kPa = -900.0
    cell.until(lambda machine: machine.over)
    assert cell.machine.alarms.alarms[0].definition.name is AlarmName.PRESSURE_STALE
    assert cell.now - broken <= cell.machine.plan.limits.pressure_stale_us + 200_000
