"""Packs and labels through the interface: printed after release alone, counted, matched by scan, handed out once."""

from __future__ import annotations

import hashlib
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from released import code_of, release, unit

from api.clinical_site import create_clinical_site
from api.label_desk import MEANING
from api.label_source import LabelSource
from api.settings import load_settings
from audit.errors import LabelRefused
from audit.release.label import released_units
from audit.signatures import verify_signature

JANE = {"name": "Patient of a test", "born": "2019-05-01", "number": "H-1", "contact": "ward 3"}


@pytest.fixture
def batch(bench: Any) -> str:
    return release(bench)


def pack_all(bench: Any, batch: str) -> list[str]:
    answer = bench.ask("operator", "POST", f"/batches/{batch}/packs", {})
    assert answer.status_code == 201, answer.text
    packs: list[str] = answer.json()["packs"]
    return packs


def print_label(bench: Any, pack: str, username: str = "operator", **body: object) -> Any:
    return bench.ask(username, "POST", f"/packs/{pack}/label", body)


def labelled(bench: Any, batch: str) -> str:
    """Pack, print, label and close: ready to be handed out."""
    (pack,) = pack_all(bench, batch)
    assert print_label(bench, pack).status_code == 200
    assert bench.ask("operator", "POST", f"/packs/{pack}/scan", {"scanned": code_of(bench, pack)}).status_code == 200
    assert bench.ask("operator", "POST", f"/batches/{batch}/packing/close").status_code == 200
    return pack


def kinds(bench: Any, prefix: str) -> list[str]:
    return [entry.kind for entry in bench.workstation.store.search(kind=prefix)]


def test_nothing_is_packed_or_printed_before_release(bench: Any) -> None:
    import released

    name = released.PRODUCTION.make_batch(bench)
    answer = bench.ask("operator", "POST", f"/batches/{name}/packs", {})
    assert answer.status_code == 409 and "no disposition yet" in answer.text
    assert bench.ask("operator", "GET", "/batches/B99/packs").status_code == 404
    assert kinds(bench, "pack.") == [] and kinds(bench, "label.") == []


def test_a_new_site_for_patients_has_no_pharmacy_and_makes_no_label(bench: Any, batch: str, tmp_path: Path) -> None:
    create_clinical_site(tmp_path / "ward", site="ward-3", zone="Europe/Vienna", cells=1, port=8080)
    settings = load_settings(tmp_path / "ward")
    assert settings.pharmacy is None and not settings.demonstration
    store = bench.workstation.store
    units = released_units(LabelSource(store, None).record(batch))
    with pytest.raises(LabelRefused, match="name and address of the pharmacy are not set"):
        LabelSource(store, settings.pharmacy).compose(batch, f"{batch}-P01", units)


def test_a_held_or_rejected_batch_has_nothing_to_pack(bench: Any) -> None:
    name = release(bench, disposition="rejected")
    answer = bench.ask("operator", "POST", f"/batches/{name}/packs", {})
    assert answer.status_code == 409 and "no released unit" in answer.text


def test_only_accepted_units_are_packed_and_strengths_are_kept_apart(bench: Any) -> None:
    batch = release(bench, unit(1), unit(2, "rejected"), unit(3, strength="9"), unit(4))
    one, other = pack_all(bench, batch)
    seen = bench.ask("qp", "GET", f"/batches/{batch}/packs").json()
    assert [(row["pack"], row["units"]) for row in seen["packs"]] == [(one, [1, 4]), (other, [3])]
    assert seen["unpacked"] == [] and seen["closed"] is False and len(seen["waits_for"]) == 2
    answer = bench.ask("operator", "POST", f"/batches/{batch}/packs", {"units": [2]})
    assert answer.status_code == 409


def test_units_are_chosen_and_mixed_strengths_refused(bench: Any) -> None:
    batch = release(bench, unit(1), unit(2), unit(3, strength="9"))
    assert bench.ask("operator", "POST", f"/batches/{batch}/packs", {"units": [1, 3]}).status_code == 409
    assert bench.ask("operator", "POST", f"/batches/{batch}/packs", {"units": [2]}).json()["packs"] == [f"{batch}-P01"]
    again = bench.ask("operator", "POST", f"/batches/{batch}/packs", {"units": [2]})
    assert again.status_code == 409 and "in a pack already" in again.text
    assert bench.ask("operator", "GET", f"/batches/{batch}/packs").json()["unpacked"] == [1, 3]


def test_two_people_who_pack_at_once_get_each_unit_once(bench: Any, batch: str) -> None:
    session = {name: bench.workstation.sessions.find(bench.token(name)) for name in ("operator", "pharmacist")}

    def pack(name: str) -> object:
        try:
            return bench.workstation.packs.pack(session[name], batch, ())
        except Exception as error:
            return type(error).__name__

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(pack, ["operator", "pharmacist"]))
    assert "WrongState" in answers and len(bench.workstation.packs.packs(batch)) == 1


def test_the_whole_way_from_release_to_the_patient(bench: Any, batch: str) -> None:
    assert bench.ask("pharmacist", "POST", "/patients/test-1/identity", JANE).status_code == 201
    (pack,) = pack_all(bench, batch)
    printed = print_label(bench, pack)
    assert printed.status_code == 200 and printed.content.startswith(b"%PDF-")
    (entry,) = bench.workstation.store.search(kind="label.copy.printed")
    assert entry.new["file_sha256"] == hashlib.sha256(printed.content).hexdigest()
    assert (entry.new["copy"], entry.reason, entry.actor.username) == (1, "first print", "operator")
    early = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "carer"})
    assert early.status_code == 409 and "packed and cannot be dispensed" in early.text
    assert bench.ask("operator", "POST", f"/batches/{batch}/packing/close").status_code == 409
    assert bench.ask("operator", "POST", f"/packs/{pack}/scan", {"scanned": f"]d2{code_of(bench, pack)}\n"}).status_code == 200
    assert bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "carer"}).status_code == 409
    closed = bench.ask("operator", "POST", f"/batches/{batch}/packing/close").json()
    assert closed["labels"] == {"issued": 1, "applied": 1, "spoiled": 0, "returned": 0, "difference": 0}
    assert bench.ask("operator", "POST", f"/packs/{pack}/dispense", {"scanned": "x", "to": "carer"}).status_code == 403
    given = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "carer"})
    assert given.json()["state"] == "dispensed"
    twice = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "carer"})
    assert twice.status_code == 409
    back = bench.ask("pharmacist", "POST", f"/packs/{pack}/return", {"reason": "therapy ended"})
    assert back.json()["state"] == "returned"
    assert bench.ask("quality", "POST", f"/packs/{pack}/destroy", {"reason": "returned"}).json()["state"] == "destroyed"
    trail = b"".join(bench.workstation.store.lines())
    assert all(text.encode() not in trail for text in JANE.values()), "who the patient is, is nowhere in the trail"


def test_the_digest_of_a_print_does_not_give_the_patient_away(bench: Any, batch: str) -> None:
    (pack,) = pack_all(bench, batch)
    session = bench.workstation.sessions.find(bench.token("operator"))
    from api.interop.label_pdf import PrintJob, render
    from api.label_desk import LabelPrint

    label = bench.workstation.packs.label(pack)
    printed = bench.workstation.labels.print_label(session, pack, LabelPrint())
    (entry,) = bench.workstation.store.search(kind="label.copy.printed")
    guessed = render(label, PrintJob(("test-1",), 1, ""))
    assert hashlib.sha256(guessed).hexdigest() != entry.new["file_sha256"]
    mark = re.search(rb"pdf:Keywords>([0-9a-f]{32})<", printed.data)
    assert mark is not None
    assert render(label, PrintJob(("test-1",), 1, mark.group(1).decode())) == printed.data, "with the file in hand it is checked"


def test_a_wrong_code_is_refused_and_on_record(bench: Any) -> None:
    batch = release(bench, unit(1), unit(2, strength="9"))
    one, other = pack_all(bench, batch)
    for pack in (one, other):
        assert print_label(bench, pack).status_code == 200
    answer = bench.ask("operator", "POST", f"/packs/{one}/scan", {"scanned": code_of(bench, other)})
    assert answer.status_code == 409 and f"pack {other}" in answer.text
    assert bench.ask("operator", "POST", f"/packs/{one}/scan", {"scanned": "Jane Doe 1.5.2019"}).status_code == 409
    found = bench.workstation.store.search(kind="pack.scan.refused")
    assert [entry.new["refused_scan"] for entry in found] == [f"pack {other}", "not a code of a pack"]
    assert bench.workstation.packs.state(one)["state"] == "packed"
    assert "Jane" not in str([entry.new for entry in found])


def test_nothing_is_labelled_before_its_label_was_printed(bench: Any, batch: str) -> None:
    (pack,) = pack_all(bench, batch)
    answer = bench.ask("operator", "POST", f"/packs/{pack}/scan", {"scanned": code_of(bench, pack)})
    assert answer.status_code == 409 and "Print its label first" in answer.text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 422, "State why"),
        ({"reason": " "}, 422, "State why"),
        ({"reason": "smudged"}, 422, "second person"),
        ({"reason": "smudged", "approval": "operator"}, 422, "second person"),
        ({"reason": "smudged", "approval": "qp"}, 403, "may not approve"),
        ({"reason": "smudged", "approval": "second"}, 200, ""),
        ({"reason": "smudged", "approval": "quality", "form": "zpl", "resolution": 300}, 200, ""),
    ],
)
def test_a_further_copy_takes_a_reason_and_a_second_person(bench: Any, batch: str, body: dict[str, Any], status: int, words: str) -> None:
    (pack,) = pack_all(bench, batch)
    assert print_label(bench, pack).status_code == 200
    if "approval" in body:
        body = {**body, "approval": {**bench.signature(body["approval"]), "username": body["approval"]}}
    answer = print_label(bench, pack, **body)
    assert answer.status_code == status and words in answer.text, answer.text
    found = bench.workstation.store.search(kind="label.copy.printed")
    assert len(found) == (2 if status == 200 else 1)
    if status == 200:
        verify_signature(found[1].new["approved"])
        assert found[1].new["approved"]["meaning"] == MEANING and found[1].new["copy"] == 2


def test_a_copy_printed_for_a_labelled_pack_takes_the_first_ones_place(bench: Any, batch: str) -> None:
    pack = labelled(bench, batch)
    body = {"reason": "torn", "approval": {**bench.signature("second"), "username": "second"}}
    assert print_label(bench, pack, **body).status_code == 200
    assert bench.workstation.packs.state(pack)["state"] == "packed"
    given = {"scanned": code_of(bench, pack), "to": "patient"}
    assert bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", given).status_code == 409
    assert bench.ask("operator", "POST", f"/packs/{pack}/scan", {"scanned": code_of(bench, pack)}).status_code == 200
    assert bench.workstation.packs.state(pack)["label"] == f"{pack}/2"
    held = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", given)
    assert held.status_code == 409 and "difference 1" in held.text, "the first label is nowhere"
    for outcome, status in (("spoiled", 200), ("spoiled", 409)):
        body = {"outcome": outcome, "reason": "torn off and shredded"}
        assert bench.ask("operator", "POST", f"/packs/{pack}/labels/1", body).status_code == status
    assert bench.ask("operator", "POST", f"/packs/{pack}/labels/9", {"outcome": "spoiled", "reason": "x"}).status_code == 404
    assert bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", given).status_code == 200


def test_what_is_past_its_use_by_is_not_dispensed(bench: Any) -> None:
    yesterday = (datetime.now(UTC).date() - timedelta(days=2)).isoformat()
    batch = release(bench, use_by=yesterday)
    pack = labelled(bench, batch)
    answer = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "patient"})
    assert answer.status_code == 409 and "was to be used by" in answer.text


def test_what_was_made_for_development_is_labelled_crossed_and_never_dispensed(bench: Any) -> None:
    batch = release(bench, disposition="rejected", purpose="development, not for patients")
    pack = labelled(bench, batch)
    assert bench.workstation.packs.label(pack).crossed == "NOT FOR CLINICAL USE"
    answer = bench.ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code_of(bench, pack), "to": "patient"})
    assert answer.status_code == 409 and "not for clinical use" in answer.text


def test_a_preview_is_no_label_and_names_nobody(bench: Any, batch: str) -> None:
    assert bench.ask("pharmacist", "POST", "/patients/test-1/identity", JANE).status_code == 201
    (pack,) = pack_all(bench, batch)
    answer = bench.ask("engineer", "GET", f"/packs/{pack}/label")
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/svg+xml" and answer.content.startswith(b"<svg")
    assert kinds(bench, "label.") == [] and JANE["name"].encode() not in answer.content


def test_a_record_that_is_not_the_signed_one_makes_no_label(bench: Any, batch: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = bench.workstation.store
    whole = type(store).blob
    monkeypatch.setattr(type(store), "blob", lambda self, sha: whole(self, sha).replace(b'"n":3', b'"n":4'))
    answer = bench.ask("operator", "POST", f"/batches/{batch}/packs", {})
    assert answer.status_code == 503 and "not the one that was signed" in answer.text


def test_a_patient_is_recorded_only_where_an_order_names_them(bench: Any, batch: str) -> None:
    assert bench.ask("pharmacist", "POST", "/patients/nobody/identity", JANE).status_code == 404
    assert bench.ask("operator", "POST", "/patients/test-1/identity", JANE).status_code == 403
    assert bench.ask("pharmacist", "POST", "/patients/test-1/identity", {**JANE, "name": "a\x00b"}).status_code == 422
