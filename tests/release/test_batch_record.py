"""The batch record is what the trails say, now and when it is built again later."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from audit.canonical import canonical, sha256_hex
from audit.errors import RecordError, VerificationError
from audit.events import SYSTEM, EntryDraft, EventKind, Subject
from audit.release import batch_record


def test_fields_of_the_worked_prescription(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario()).record()
    assert record["dose"]["bsa_m2"] == "0.741620" and record["dose"]["rounded_mg"] == "18.5"
    (strength,) = record["strengths"]
    assert strength["unit_target"] == {"mass_mg": "467.17", "volume_uL": "389.31"}
    assert strength["uniformity"]["n"] == 4 and "not a 2.9.40 test" in strength["uniformity"]["claim"]
    assert [unit["verdict"] for unit in record["units"]] == ["accepted"] * 4 + ["rejected"]
    first = record["units"][0]
    assert first["mass_mg"] == "467.2" and Decimal(first["content_percent"]) == round(Decimal("467.2") * Decimal("39.6") / 185, 6)
    assert record["demonstration"] is True and record["notice"] == "Demonstration, not for patients"
    assert [signature["signer"] for signature in record["signatures"]] == ["anna", "ben", "ben", "quinn"]
    assert record["disposition"] == "partly released" and all(signature["scripted"] for signature in record["signatures"])


def test_oracle_of_content_by_mass_and_a_light_batch(write_batch: Any, scenario: Any, unit: Any) -> None:
    masses = ["467.2", "470.1", "465.8", "468.4", "463.9", "469.3", "466.0", "467.7", "471.2", "464.5"]
    record = write_batch(scenario(units=tuple(unit(mass) for mass in masses), disposition=None)).record()
    uniformity = record["strengths"][0]["uniformity"]
    assert (uniformity["mean_percent"], uniformity["sd_percent"], uniformity["statistic"]["value_percent"]) == (
        "100.051005",
        "0.512782",
        "1.230678",
    )
    light = tuple(unit(str(Decimal(mass) * Decimal("0.92"))) for mass in masses)
    uniformity = write_batch(scenario(units=light, disposition=None)).record()["strengths"][0]["uniformity"]
    assert uniformity["mean_percent"] == "92.046925" and uniformity["statistic"]["value_percent"] == "7.585299"


def test_strengths_are_never_pooled(write_batch: Any, scenario: Any, unit: Any) -> None:
    units = tuple(unit("63.0", "2.5") for _ in range(10)) + tuple(unit("31.0", "1.25") for _ in range(20))
    record = write_batch(scenario(units=units, disposition=None)).record()
    assert [(row["strength_mg"], row["uniformity"]["n"]) for row in record["strengths"]] == [("2.5", 10), ("1.25", 20)]
    assert record["units_planned"] == 30


def test_statistics_of_accepted_and_of_all_weighed(write_batch: Any, scenario: Any) -> None:
    (strength,) = write_batch(scenario()).record()["strengths"]
    assert (strength["uniformity"]["n"], strength["uniformity_all"]["n"]) == (4, 5)
    assert Decimal(strength["uniformity_all"]["minimum_percent"]) < Decimal(strength["uniformity"]["minimum_percent"])


def test_later_entries_do_not_change_a_signed_record(write_batch: Any, scenario: Any) -> None:
    batch = write_batch(scenario())
    before = canonical(batch.record())
    batch.workstation.append(EntryDraft(EventKind.BATCH_PACKAGE_EXPORTED, Subject("batch", "B-1"), {"package": "x"}, SYSTEM, "ws"))
    batch.cell.append(EntryDraft(EventKind.RUN_STATE_CHANGED, Subject("run", "B-1-R1"), {"state": "later"}, SYSTEM, "cell-1"))
    assert canonical(batch.record()) == before


def test_the_signature_is_over_the_record_without_signatures(write_batch: Any, scenario: Any) -> None:
    batch = write_batch(scenario())
    record = batch.record()
    body = {name: value for name, value in record.items() if name != "signatures"}
    assert record["signatures"][-1]["digest"] == sha256_hex(canonical(body)) == batch_record.record_sha256(record)
    entry = batch_record.TrailView(batch.lines()[0]).last("batch", "B-1", EventKind.BATCH_DISPOSITION_SIGNED)
    assert entry is not None and entry.attachments["record.json"] == sha256_hex(canonical(record))


def test_unsigned_batch_is_held_with_a_proposal(write_batch: Any, scenario: Any) -> None:
    record = write_batch(scenario(disposition=None)).record()
    assert record["disposition"] == "held" and record["proposal"]["disposition"] == "partly released"
    assert record["proposal"]["open"] == ["partly released", "rejected"]


def test_interrupted_unit_is_scrapped_and_the_batch_can_be_rejected(write_batch: Any, scenario: Any, unit: Any) -> None:
    batch = write_batch(scenario(units=(unit(None, verdict=""),), planned=14, ended="INTERRUPTED", disposition="rejected"))
    record = batch.record()
    (printed,) = record["units"]
    assert printed["verdict"] == "scrapped" and printed["mass_mg"] is None and printed["content_percent"] is None
    assert record["disposition"] == "rejected" and record["strengths"][0]["uniformity"]["n"] == 0


def ink_in_date(record: Any) -> Any:
    (found,) = (row for row in record["evidence"] if row["item"] == "ink lot and cartridge in date")
    return found


def test_ink_is_in_date_on_the_day_of_the_site_on_which_it_was_printed(write_batch: Any, scenario: Any) -> None:
    """The cartridge is to be used until 27 November, of which Mexico City has some hours left when UTC has none."""
    for start, state, used in (("01:30", "met", "2026-11-27"), ("06:00", "not met", "2026-11-28")):
        made = scenario(start=f"2026-11-28T{start}:00Z", zone="America/Mexico_City", disposition=None)
        found = ink_in_date(write_batch(made).record())
        assert found["state"] == state and f"used {used};" in found["detail"]


@pytest.mark.parametrize(("start", "state", "used"), [("23:59:24", "met", "2026-11-27"), ("23:59:25", "not met", "2026-11-28")])
def test_ink_is_used_when_a_unit_is_begun_not_when_its_run_is_closed(
    write_batch: Any, scenario: Any, start: str, state: str, used: str
) -> None:
    """The last unit is begun in the last second of the last day, or in the first of the next; its run is closed after midnight."""
    batch = write_batch(scenario(disposition=None, zone="UTC", start=f"2026-11-27T{start}Z"))
    entries = list(batch_record.TrailView(batch.lines()[1]))
    begun = max(entry.at[:10] for entry in entries if entry.kind == EventKind.UNIT_PRINT_INTENDED)
    closed = max(entry.at[:10] for entry in entries if entry.kind == EventKind.RUN_RECORD_CLOSED)
    assert (begun, closed) == (used, "2026-11-28")
    found = ink_in_date(batch.record())
    assert found["state"] == state and f"used {used};" in found["detail"]


def test_a_batch_without_a_run_reads(write_batch: Any, scenario: Any) -> None:
    batch = write_batch(scenario(disposition=None))
    workstation, cell = batch.lines()
    record = batch_record.build(workstation, cell[:1], "B-1")
    assert record["runs"] == [] and record["proposal"]["open"] == [] and record["disposition"] == "held"


def test_refusals(write_batch: Any, scenario: Any) -> None:
    workstation, cell = write_batch(scenario(disposition=None)).lines()
    with pytest.raises(RecordError, match="no batch B-2"):
        batch_record.build(workstation, cell, "B-2")
    with pytest.raises(VerificationError, match="not JSON"):
        batch_record.build([b"{"], cell, "B-1")
    with pytest.raises(VerificationError, match="not an object"):
        batch_record.build([b"[]"], cell, "B-1")
