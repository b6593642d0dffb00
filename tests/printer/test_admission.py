"""The lock: nothing is admitted but what two trusted people signed, as they signed it, for this cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import JsonValue
from simulated_cell import STANDING, TODAY, TRUSTED, admitted, demonstration_job, signature

from audit.checkpoint import SigningKey
from audit.errors import DosewrightError
from audit.quantities import MilligramPerGram, MillimetrePerSecond
from audit.signatures import sign_with_key
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED, Job, admit, read_job, read_trusted_people
from printer.errors import CellConfiguration, CellRefused
from recipes.errors import CompileRefused, RecipeRefused
from recipes.library import load_machine
from recipes.order import DoseOrder

JOB = demonstration_job("cyclophosphamide")


def signed_again(job: Job, order: DoseOrder) -> Job:
    return job.model_copy(
        update={
            "order": order,
            "entered": signature("pharmacist", MEANING_ENTERED, order.sha256),
            "confirmed": signature("operator", MEANING_CONFIRMED, order.sha256),
        }
    )


def test_the_worked_prescription_is_admitted_with_its_figures() -> None:
    plan = admitted(JOB).plan
    assert len(plan.units) == 14
    unit = plan.units[0]
    assert (unit.strength.text, unit.target_mass.rounded(2).text, unit.target_volume.rounded(2).text) == ("18.5", "467.17", "389.31")
    assert abs(unit.cumulative_nl[-1] - 389_310) < 195  # 0.05 %
    assert sum(line.exposure_nl for line in unit.lines) > 389_310


def test_a_changed_assay_is_not_what_was_signed() -> None:
    stronger = JOB.ink_lot.model_copy(update={"assay": MilligramPerGram("30.0")})
    with pytest.raises(CompileRefused, match="not as it was when the order was written"):
        admitted(JOB.model_copy(update={"ink_lot": stronger}))


def test_a_changed_order_is_not_what_was_signed() -> None:
    order = JOB.order.model_copy(update={"prescription": JOB.order.prescription.model_copy(update={"days": 7})})
    with pytest.raises(CellRefused, match="given for something else"):
        admitted(JOB.model_copy(update={"order": order}))


def test_one_person_is_not_two() -> None:
    again = signature("pharmacist", MEANING_CONFIRMED, JOB.order.sha256)
    with pytest.raises(CellRefused, match="second person"):
        admitted(JOB.model_copy(update={"confirmed": again}))


def test_a_role_without_the_right_does_not_confirm() -> None:
    engineer = signature("engineer", MEANING_CONFIRMED, JOB.order.sha256)
    with pytest.raises(CellRefused, match="not trusted for orders"):
        admitted(JOB.model_copy(update={"confirmed": engineer}))


def test_a_meaning_cannot_be_swapped() -> None:
    swapped = signature("operator", MEANING_ENTERED, JOB.order.sha256)
    with pytest.raises(CellRefused, match="signed with the meaning"):
        admitted(JOB.model_copy(update={"confirmed": swapped}))


def test_a_stranger_with_a_good_signature_is_a_stranger() -> None:
    stranger = sign_with_key(
        SigningKey.generate("people/second"),
        signer="second",
        name="Second",
        role="pharmacist",
        meaning=MEANING_CONFIRMED,
        digest=JOB.order.sha256,
        at="2026-11-20T08:00:00.000000Z",
        zone="UTC",
    )
    with pytest.raises(CellRefused, match="not trusted"):
        admitted(JOB.model_copy(update={"confirmed": stranger}))


def test_a_changed_recipe_is_refused() -> None:
    bundle = JOB.recipe_bundle
    changed = bundle.recipe_toml.replace("2.5 %", "4.5 %", 1)
    assert changed != bundle.recipe_toml
    with pytest.raises(RecipeRefused, match="changed after it"):
        admitted(JOB.model_copy(update={"recipe_bundle": bundle.model_copy(update={"recipe_toml": changed})}))


def test_another_cell_does_not_print_it() -> None:
    with pytest.raises(CompileRefused, match="print on a cell with that machine"):
        admit(
            JOB,
            run="R",
            device="cell-2",
            machine=load_machine("fdm-0.4"),
            trusted_people=TRUSTED,
            today=TODAY,
            standing=STANDING,
            demonstration=True,
            rate="1",
        )


def test_a_changed_machine_profile_is_not_what_the_recipe_was_signed_for() -> None:
    wider = load_machine("sse-20g-10ml").model_copy(update={"max_travel": MillimetrePerSecond("999")})
    with pytest.raises(CompileRefused, match="not the one that recipe cyclophosphamide@1 was signed for"):
        admit(
            JOB,
            run="R",
            device="cell-1",
            machine=wider,
            trusted_people=TRUSTED,
            today=TODAY,
            standing=STANDING,
            demonstration=True,
            rate="1",
        )


def test_expired_ink_is_refused_even_if_signed() -> None:
    expired = JOB.ink_lot.model_copy(update={"expires": "2026-11-19"})
    order = JOB.order.model_copy(update={"ink_lot_digest": expired.digest})
    with pytest.raises(CompileRefused, match="expired"):
        admitted(signed_again(JOB.model_copy(update={"ink_lot": expired}), order))


@pytest.mark.parametrize("missing", ["order", "entered", "confirmed", "recipe_bundle", "ink_lot", "cartridge", "actor", "batch"])
def test_a_job_without_a_part_is_refused_by_name(missing: str) -> None:
    body: dict[str, JsonValue] = JOB.model_dump(mode="json")
    assert read_job(body) == JOB
    del body[missing]
    with pytest.raises(CellRefused, match=missing):
        read_job(body)
    body[missing] = "../../etc/passwd"
    with pytest.raises(CellRefused):
        read_job(body)


def test_an_unreadable_list_of_people_is_an_error_of_the_cell(tmp_path: Path) -> None:
    path = tmp_path / "people.json"
    with pytest.raises(CellConfiguration, match=r"people\.json"):
        read_trusted_people(path)
    path.write_text('{"key": {"username": "x"}}')
    with pytest.raises(DosewrightError, match="cannot be read"):
        read_trusted_people(path)


def test_what_a_run_sends_is_read_from_the_proved_bytes() -> None:
    result = admitted(JOB)
    proved = result.program.planned
    for planned, unit in zip(result.plan.units, result.program.units, strict=True):
        assert unit.gcode in proved
        sent = [line.command for line in planned.lines]
        assert sent == [line for line in unit.gcode.splitlines() if line and not line.startswith(b";")]
        assert len(sent) == len(planned.cumulative_nl)
