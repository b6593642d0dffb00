"""The truth table of real-time release: lack of any one item of evidence closes release, and the reason names it."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from audit.errors import ReleaseBlocked
from audit.release.conformity import CONDITIONAL, Evidence, Item, State, propose, releaser_refusals
from audit.release.conformity import Disposition as Di


def evidence(lacking: Item | None = None, state: State = State.MET) -> list[Evidence]:
    return [Evidence(item, state if item is lacking else State.MET, "detail") for item in Item]


def test_everything_met() -> None:
    assert propose(evidence(), planned=14, accepted=14).disposition is Di.RELEASED
    partly = propose(evidence(), planned=14, accepted=13)
    assert partly.disposition is Di.PARTLY_RELEASED and "13 of 14" in partly.reasons[0] and Di.RELEASED not in partly.open


@pytest.mark.parametrize(("item", "state"), list(itertools.product(Item, (State.NOT_MET, State.MISSING))))
def test_any_one_item_lacking_closes_release(item: Item, state: State) -> None:
    proposal = propose(evidence(item, state), planned=14, accepted=14)
    assert proposal.disposition is Di.HELD
    assert not {Di.RELEASED, Di.PARTLY_RELEASED} & proposal.open
    assert proposal.reasons == (f"{item.value}: {state.value} (detail)",)


@pytest.mark.parametrize("item", Item)
def test_an_item_not_given_counts_as_missing(item: Item) -> None:
    proposal = propose([entry for entry in evidence() if entry.item is not item], planned=1, accepted=1)
    assert proposal.disposition is Di.HELD and item.value in proposal.reasons[0] and "missing" in proposal.reasons[0]


@pytest.mark.parametrize("item", Item)
def test_only_what_a_recipe_may_leave_out_can_be_not_required(item: Item) -> None:
    opened = propose(evidence(item, State.NOT_REQUIRED), planned=1, accepted=1).open
    assert (Di.RELEASED in opened) is (item in CONDITIONAL)


def test_rejection_is_open_once_the_run_has_ended_and_only_then() -> None:
    for item in Item:
        opened = propose(evidence(item, State.MISSING), planned=2, accepted=1).open
        assert opened == (frozenset() if item is Item.RUN_ENDED else {Di.REJECTED})
    nothing = propose(evidence(Item.STATISTIC_WITHIN, State.MISSING), planned=2, accepted=0)
    assert nothing.disposition is Di.REJECTED and nothing.open == {Di.REJECTED}


def test_who_may_sign() -> None:
    own = {"operators": ["olga"], "entered_by": ["anna"]}
    assert not releaser_refusals(Di.RELEASED, "quinn", "qualified_person", **own)
    assert "operated" in releaser_refusals(Di.RELEASED, "olga", "pharmacist", **own)[0]
    assert "entered" in releaser_refusals(Di.PARTLY_RELEASED, "anna", "pharmacist", **own)[0]
    assert "role" in releaser_refusals(Di.RELEASED, "otto", "operator", **own)[0]
    assert not releaser_refusals(Di.REJECTED, "quentin", "quality_assurance", **own)
    assert "role" in releaser_refusals(Di.RELEASED, "quentin", "quality_assurance", **own)[0]
    assert releaser_refusals(Di.HELD, "quinn", "qualified_person", **own)


OMISSIONS = {
    "confirmation": Item.ORDER_CONFIRMED,
    "second person": Item.ORDER_CONFIRMED,
    "recipe": Item.RECIPE_EFFECTIVE,
    "date": Item.INK_IN_DATE,
    "proof": Item.PROGRAM_PROVED,
    "gates": Item.GATES_PASSED,
    "gate": Item.GATES_PASSED,
    "end": Item.RUN_ENDED,
    "closed": Item.TRAIL_CLOSED,
    "root": Item.TRAIL_CLOSED,
}


@pytest.mark.parametrize("omit", OMISSIONS)
def test_a_trail_without_the_evidence_blocks_release(omit: str, write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit("467.2"), unit("468.0")), omit=omit, disposition=None))
    with pytest.raises(ReleaseBlocked) as error:
        batch.dispose("released")
    assert any(reason.startswith(OMISSIONS[omit].value) for reason in error.value.reasons)


CRITICAL = {"name": "pressure high", "priority": "critical", "message": "612 kPa", "unit_n": 2}


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({"alarms": ({**CRITICAL, "acknowledged": False},)}, Item.ALARMS_ACKNOWLEDGED),
        ({"deviations": ({"unit_n": 1, "text": "x"},)}, Item.NO_OPEN_DEVIATION),
        ({"deviations": ({"unit_n": None, "text": "x"},)}, Item.NO_OPEN_DEVIATION),
        ({"ended": "ABORTED"}, Item.RUN_ENDED),
        ({"batch_facts": {"dose": {"rounded_mg": "20"}}}, Item.PROGRAM_PROVED),
    ],
)
def test_alarms_deviations_and_stopped_runs_block(changes: dict[str, Any], item: Item, write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit("467.2"), unit("468.0")), disposition=None, **changes))
    with pytest.raises(ReleaseBlocked) as error:
        batch.dispose("released")
    assert any(reason.startswith(item.value) for reason in error.value.reasons)
    batch.dispose("rejected")
    assert batch.record()["disposition"] == "rejected"


def test_removal_unlocks_release_of_the_others(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = (unit("467.2"), unit("468.0"), unit("400.0", verdict="rejected", reasons=("light",), removed=False))
    batch = write_batch(scenario(units=units, disposition=None))
    with pytest.raises(ReleaseBlocked, match="removal"):
        batch.dispose("partly released")
    open_ = write_batch(scenario(units=(*units[:2], unit("400.0", verdict="rejected")), disposition=None))
    with pytest.raises(ReleaseBlocked, match="2 of 3"):
        open_.dispose("released")
    open_.dispose("partly released")
    assert open_.record()["disposition"] == "partly released"


def test_a_unit_without_a_verdict_or_a_mass_blocks(write_batch: Any, scenario: Any, unit: Any) -> None:
    for bad in (unit(None, verdict=""), unit(None, verdict="accepted")):
        batch = write_batch(scenario(units=(unit("467.2"), bad), disposition=None))
        assert any(Item.UNITS_JUDGED.value in reason for reason in batch.record()["proposal"]["reasons"])


def test_a_light_batch_is_not_released(write_batch: Any, scenario: Any, unit: Any) -> None:
    light = tuple(unit(mass) for mass in ("388.2", "390.1", "385.8", "387.0", "389.3"))
    batch = write_batch(scenario(units=light, disposition=None))
    with pytest.raises(ReleaseBlocked, match="uniformity statistic"):
        batch.dispose("released")


@pytest.mark.parametrize("username", ["olga", "anna"])
def test_own_part_in_the_batch_closes_release(username: str, write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit("467.2"),), disposition=None))
    with pytest.raises(ReleaseBlocked, match=username):
        batch.dispose("released", username)


def test_nothing_is_signed_twice(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit("467.2"),), disposition="released"))
    with pytest.raises(ReleaseBlocked, match="signed already"):
        batch.dispose("rejected")


def test_a_stopped_run_may_be_partly_released_where_the_recipe_permits(write_batch: Any, scenario: Any, unit: Any) -> None:
    facts = {"partial_release_permitted": True}
    units = (unit("467.2"), unit(None, verdict="scrapped", reasons=("clog",)))
    batch = write_batch(scenario(units=units, planned=14, ended="ABORTED", facts=facts, disposition="partly released"))
    assert batch.record()["units_planned"] == 14 and batch.record()["units_accepted"] == 1


def test_units_weighed_on_an_external_balance_by_two_people_are_released(write_batch: Any, scenario: Any, unit: Any) -> None:
    record = write_batch(
        scenario(units=tuple(unit(mass, external="two people") for mass in ("467.2", "470.1", "465.8")), disposition=None)
    ).record()
    assert record["proposal"]["disposition"] == "released"
    assert {found["weighed_on"] for found in record["units"]} == {"external"}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("one person", "not entered by two people"),
        ("differ", "are not the same"),
        ("other value", "given for something else"),
        ("forged", "does not match its fields"),
    ],
)
def test_an_external_weight_that_two_people_did_not_vouch_for_blocks(
    wrong: str, words: str, write_batch: Any, scenario: Any, unit: Any
) -> None:
    record = write_batch(scenario(units=(unit("467.2"), unit("466.9", external=wrong), unit("465.8")), disposition=None)).record()
    (found,) = [item for item in record["evidence"] if item["item"] == Item.UNITS_JUDGED.value]
    assert found["state"] == "not met" and "B-1-R1/002" in found["detail"] and words in found["detail"]
    assert "released" not in record["proposal"]["open"]
