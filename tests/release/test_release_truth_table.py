"""Real-time release from real trails: a batch that lacks any one item of evidence is not releasable, and the reason names it.

The table is over the enumeration of items: an item that is added without a batch that lacks it fails here.
"""

from __future__ import annotations

from decimal import Decimal as D
from typing import Any

import pytest
from model_story import ModelStory, fitted, of_sample_batch, rule, spectra_near

from audit.errors import ReleaseBlocked
from audit.events import Actor, EntryDraft, EventKind, Subject
from audit.release.conformity import CONDITIONAL, Item

MASSES = ["467.2", "470.1", "465.8", "468.4", "463.9", "469.3", "466.0", "467.7", "471.2", "464.5"]
MODEL = of_sample_batch(fitted("nir-strength"))
RULES = {
    "release_rules": {"largest_reject_rate_percent": "20", "ink_reconciliation_percent": "5", "process_models": [rule(MODEL)]},
    "prime_volumes_uL": ["300"],
}
CRITICAL = {"name": "pressure high", "priority": "critical", "message": "612 kPa", "unit_n": 2, "acknowledged": False}

LACKS: dict[Item, dict[str, Any]] = {
    Item.ORDER_CONFIRMED: {"omit": "second person"},
    Item.RECIPE_EFFECTIVE: {"omit": "recipe"},
    Item.INK_IN_DATE: {"omit": "date"},
    Item.PROGRAM_PROVED: {"omit": "proof"},
    Item.GATES_PASSED: {"omit": "gates"},
    Item.RUN_ENDED: {"ended": "ABORTED"},
    Item.UNITS_JUDGED: {"more": [("467.2", {"external": "one person"})]},
    Item.REMOVAL_CONFIRMED: {"more": [("431.5", {"verdict": "rejected", "reasons": ("light",), "removed": False})]},
    Item.TRAIL_CLOSED: {"omit": "root"},
    Item.ALARMS_ACKNOWLEDGED: {"alarms": (CRITICAL,)},
    Item.NO_OPEN_DEVIATION: {"deviations": ({"unit_n": 1, "text": "x"},)},
    Item.STATISTIC_WITHIN: {"masses": ["446.0", "467.0", "488.0"]},
    Item.WEIGHTS_GUARDED: {"more": [("467.2", {"readings": "of another unit"})]},
    Item.VERDICTS_STAND: {"more": [("467.2", {"verdict": "rejected", "reasons": ("light",), "later": "accepted"})]},
    Item.TRACES_SEALED: {"more": [("467.2", {"bare": True})]},
    Item.CORRECTIONS_PROVED: {"more": [("467.2", {"flow_factor": "1.02", "corrected": "not proved"})]},
    Item.PEOPLE_ENTITLED: {"omit": "account"},
    Item.EQUIPMENT_STATED: {"omit": "equipment"},
    Item.REJECTS_WITHIN: {"more": [("431.5", {"verdict": "rejected", "reasons": ("light",)})] * 3},
    Item.INK_RECONCILED: {"lost": "700"},
    Item.MODELS_WITHIN: {"story": {"omit": "prediction"}},
}


def batch_that(lacks: dict[str, Any], write_batch: Any, scenario: Any, unit: Any) -> Any:
    """A batch whose evidence is complete, the recipe asking for all of it, but for what is said here."""
    changes = dict(lacks)
    units = [unit(mass) for mass in changes.pop("masses", MASSES)]
    units += [unit(mass, **how) for mass, how in changes.pop("more", [])]
    used = sum((D(unit.mass) for unit in units), D(0)) + D(300) * D("1.2")
    left = D(9000) * D("1.2") - used - D(changes.pop("lost", "0"))
    facts = {**RULES, **changes.pop("facts", {})}
    remaining = changes.pop("remaining_mg", str(left))
    changes["models"] = ModelStory(MODEL, **{"spectra": spectra_near("39.6", len(units)), **changes.pop("story", {})})
    return write_batch(scenario(units=tuple(units), disposition=None, facts=facts, primed=True, remaining_mg=remaining, **changes))


def states(batch: Any) -> dict[str, str]:
    return {found["item"]: found["state"] for found in batch.record()["evidence"]}


def test_the_table_is_over_every_item() -> None:
    assert set(LACKS) == set(Item)


def test_a_batch_that_lacks_nothing_is_released(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that({}, write_batch, scenario, unit)
    assert set(states(batch).values()) == {"met"}
    batch.dispose("released")
    assert batch.record()["disposition"] == "released"


@pytest.mark.parametrize("item", Item)
def test_a_batch_that_lacks_only_this_is_not_released_and_the_reason_names_it(
    item: Item, write_batch: Any, scenario: Any, unit: Any
) -> None:
    batch = batch_that(LACKS[item], write_batch, scenario, unit)
    assert [name for name, state in states(batch).items() if state != "met"] == [item.value]
    for disposition in ("released", "partly released"):
        with pytest.raises(ReleaseBlocked) as error:
            batch.dispose(disposition)
        assert any(reason.startswith(f"{item.value}: ") for reason in error.value.reasons)


def test_every_item_links_to_entries_of_the_record(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = [("431.5", {"verdict": "rejected", "reasons": ("light",)}), ("467.2", {"flow_factor": "1.02", "corrected": "proved"})]
    changes = {"more": units, "alarms": ({**CRITICAL, "acknowledged": True},), "deviations": ({"unit_n": 11, "text": "x"},)}
    record = batch_that(changes, write_batch, scenario, unit).record()
    known = {(entry["trail"], entry["seq"]): entry["kind"] for entry in record["entries"]}
    for found in record["evidence"]:
        links = [(link["trail"], link["seq"]) for link in found["entries"]]
        assert links and set(links) <= set(known), found["item"]
    closed = next(found for found in record["evidence"] if found["item"] == Item.RUN_ENDED.value)
    assert [known[(link["trail"], link["seq"])] for link in closed["entries"]] == ["run.record.closed"]


def test_without_limits_in_the_recipe_three_items_are_not_required(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that({"facts": {"release_rules": None}, "remaining_mg": None}, write_batch, scenario, unit)
    assert {name for name, state in states(batch).items() if state == "not required"} == {item.value for item in CONDITIONAL}
    batch.dispose("released")


def test_rules_that_cannot_be_read_are_missing_evidence(write_batch: Any, scenario: Any, unit: Any) -> None:
    found = states(batch_that({"facts": {"release_rules": {"unknown": 1}}}, write_batch, scenario, unit))
    assert {name for name, state in found.items() if state == "missing"} == {item.value for item in CONDITIONAL}


@pytest.mark.parametrize(
    ("item", "lacks", "words"),
    [
        (Item.WEIGHTS_GUARDED, {"more": [("467.2", {"readings": "none"})]}, "no raw readings: B-1-R1/011"),
        (Item.WEIGHTS_GUARDED, {"more": [("490.2", {})]}, "490.2 ± 0.62 mg is not within"),
        (Item.CORRECTIONS_PROVED, {"more": [("467.2", {"flow_factor": "1.02", "corrected": "other bytes"})]}, "not attached"),
        (Item.CORRECTIONS_PROVED, {"more": [("467.2", {"flow_factor": "1.06", "corrected": "proved"})]}, "beyond ± 5 %"),
        (Item.CORRECTIONS_PROVED, {"more": [("467.2", {"flow_factor": "1.02"})]}, "nobody decided"),
        (Item.INK_RECONCILED, {"remaining_mg": None}, "not weighed back"),
        (Item.INK_RECONCILED, {"facts": {"prime_volumes_uL": []}}, "priming is not stated"),
        (Item.INK_RECONCILED, {"remaining_mg": "-1"}, "below zero"),
        (Item.INK_RECONCILED, {"lost": "-700"}, "difference -700.0"),
        (Item.REJECTS_WITHIN, {"more": [("431.5", {"verdict": "rejected"})] * 3}, "3 of 13 printed units rejected or scrapped, 23.1 %"),
    ],
)
def test_what_is_wrong_is_said(item: Item, lacks: dict[str, Any], words: str, write_batch: Any, scenario: Any, unit: Any) -> None:
    record = batch_that(lacks, write_batch, scenario, unit).record()
    (found,) = [row for row in record["evidence"] if row["item"] == item.value]
    assert found["state"] in ("not met", "missing") and words in found["detail"]


# --- exceptions ---

REJECTS = {"more": [("431.5", {"verdict": "rejected", "reasons": ("light",)})] * 3}
REJECT_FINDING = "3 of 13 printed units rejected or scrapped, 23.1 %, limit 20 %"


def test_a_cause_assigned_by_another_person_resolves_the_reject_rate(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that(REJECTS, write_batch, scenario, unit)
    batch.resolve("reject-rate", REJECT_FINDING)
    batch.dispose("partly released")
    record = batch.record()
    assert record["disposition"] == "partly released"
    (resolved,) = record["exceptions"]
    assert resolved["problem"] == "" and resolved["resolved_by"] == "quentin" and resolved["reason_code"] == "material"
    assert any(entry["kind"] == "batch.exception.resolved" for entry in record["entries"])


@pytest.mark.parametrize(
    ("username", "changes", "words"),
    [
        ("olga", {}, "operated the printer"),
        ("quentin", {"code": "unknown"}, "no reason code"),
        ("quentin", {"cause": "unclear"}, "no cause is stated"),
        ("quentin", {"signed": "2 of 13"}, "given for something else"),
        ("quentin", {"finding": "2 of 13 printed units rejected or scrapped, 15.4 %, limit 20 %"}, "as it stood before"),
        ("quentin", {"actor": "ben"}, "its actor is not its signer"),
    ],
)
def test_a_resolution_that_does_not_count_holds_the_batch(
    username: str, changes: dict[str, str], words: str, write_batch: Any, scenario: Any, unit: Any
) -> None:
    batch = batch_that(REJECTS, write_batch, scenario, unit)
    batch.resolve("reject-rate", changes.get("finding", REJECT_FINDING), username, **{k: v for k, v in changes.items() if k != "finding"})
    with pytest.raises(ReleaseBlocked, match=words):
        batch.dispose("partly released")


def test_ink_that_is_not_accounted_for_waits_for_its_cause(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that({"lost": "700"}, write_batch, scenario, unit)
    (ink,) = batch.record()["ink_use"]
    assert ink["difference_mg"] == "700.0" and ink["unaccounted_percent"] == "6.48"
    (found,) = [row for row in batch.record()["evidence"] if row["item"] == Item.INK_RECONCILED.value]
    batch.resolve("ink/C-77", found["detail"].removesuffix("; no cause is assigned"))
    batch.dispose("released")


@pytest.mark.parametrize(("run", "issued"), [("B-1-R1", "10800.0"), ("B-9-R1", "10200.0")])
def test_ink_is_counted_from_before_the_batchs_own_run(run: str, issued: str, write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that({}, write_batch, scenario, unit)
    new = {"used": "500.000 uL", "usage": {"run": run}}
    batch.workstation.append(
        EntryDraft(EventKind.INK_CARTRIDGE_USED, Subject("cartridge", "C-77"), new, Actor("olga", "Olga", "operator"), "ws")
    )
    (ink,) = batch.record()["ink_use"]
    assert ink["issued_mg"] == issued


def test_a_deviation_that_touches_an_accepted_unit_is_resolved_once_and_for_what_it_says(
    write_batch: Any, scenario: Any, unit: Any
) -> None:
    for text, opened in (("pressure high", True), ("pressure high, again", False)):
        batch = batch_that({"deviations": ({"unit_n": 1, "text": "pressure high"},)}, write_batch, scenario, unit)
        batch.resolve("deviation/B-1-R1/1", f"unit 1: {text}")
        assert ("released" in batch.record()["proposal"]["open"]) is opened


@pytest.mark.parametrize("item", [item for item in Item if item not in {*CONDITIONAL, Item.NO_OPEN_DEVIATION}])
def test_no_resolution_reaches_a_failing_result(item: Item, write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = batch_that(LACKS[item], write_batch, scenario, unit)
    (found,) = [row for row in batch.record()["evidence"] if row["item"] == item.value]
    for key in (item.name, item.value, "reject-rate", "ink/C-77", "deviation/B-1-R1/1"):
        batch.resolve(key, found["detail"])
    assert states(batch)[item.value] != "met" and "released" not in batch.record()["proposal"]["open"]
