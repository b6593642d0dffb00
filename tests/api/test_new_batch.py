"""What the page of a new batch stands on: the blind entry in every field, the scan of a cartridge, the solids, how far a batch is."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import test_production as orders
import trimesh

from api.interop.fhir_request import FhirPrescription
from api.interop.fhir_rest import not_taken_over
from api.production import OrderRequest
from api.production_rules import ProductionRules
from api.recall_holds import RecallHolds
from api.site import SYSTEM
from api.standing_scans import standing
from api.status import CellStatus
from api.underway import BatchInShort, InShort, OrderInShort, Scan
from api.workstation import words
from api.workstation.batch_progress import Step, progress
from api.workstation.entry_steps import arithmetic_html, taken_html, without_trailing_zeros
from api.workstation.fhir_panel import TakenOver
from api.workstation.run_steps import Press, press_of
from printer.errors import CellRefused, CellUnreachable
from printer.interlocks import blocked
from printer.messages import Operation
from printer.states import RunState
from recipes.library import load_demonstration

_TODAY = datetime.now(UTC).date()


GS1 = "]d2010950110102091717{expires}10CYC-DEMO-01\x1d21CYC-DEMO-01-A"


def confirmed(bench: Any) -> str:
    order = orders.enter(bench).json()["order"]
    assert orders.confirm(bench, order).status_code == 200
    return str(order)


def scan(bench: Any, order: str, text: str, head: int = 1) -> Any:
    return bench.ask("operator", "POST", f"/orders/{order}/cartridge", {"head": head, "scanned": text})


def expiry(days: int = 0) -> str:
    _, ink, _ = load_demonstration("cyclophosphamide", _TODAY.isoformat())
    return (datetime.fromisoformat(ink.expires) + timedelta(days=days)).strftime("%y%m%d")


@pytest.mark.parametrize(
    ("field", "value"), [("unit", "mg/kg"), ("per", "dose"), ("days", "41"), ("prescribed", "2.5"), ("height_cm", "101")]
)
def test_a_difference_in_any_field_is_named_and_never_what_was_typed_first(bench: Any, field: str, value: str) -> None:
    order = orders.enter(bench).json()["order"]
    same = {"unit": "mg/m2", "per": "day", "days": "14"}
    refused = orders.confirm(bench, order, **{**same, field: value})
    assert refused.status_code == 409 and refused.json()["code"] == "AP-012"
    named = refused.json()["detail"].split("differ in: ")[1].split(".")[0]
    assert named == {"unit": "prescribed", "height_cm": "height"}.get(field, field)
    first = {"unit": "mg/m2", "per": "day", "days": "14", "prescribed": "25", "height_cm": "110"}[field]
    assert first not in refused.json()["detail"]
    assert orders.confirm(bench, order, **same).status_code == 200


def test_a_decimal_comma_is_the_same_amount_for_both_people(bench: Any) -> None:
    answer = orders.enter(bench, weight_kg="18,0", prescribed="25,0")
    assert answer.status_code == 201 and answer.json()["dose"]["rounded_mg"] == "18.5"
    assert orders.confirm(bench, answer.json()["order"]).status_code == 200


def test_the_cartridge_of_the_order_is_taken_however_it_is_scanned(bench: Any) -> None:
    order = confirmed(bench)
    for text in ("CYC-DEMO-01-A", "]C0CYC-DEMO-01-A\r\n", GS1.format(expires=expiry())):
        assert scan(bench, order, text).json()["mounted"] == ["CYC-DEMO-01-A"], text
    entry = list(bench.workstation.store.entries(0))[-1]
    assert entry.kind == "order.cartridge.scanned" and entry.actor.username == "operator"


def test_on_a_site_for_patients_no_run_is_asked_for_before_the_cartridge_is_scanned(bench: Any) -> None:
    services = bench.workstation
    order = confirmed(bench)
    batch = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]
    parts = services.store, services.production, services.shelf, services.cells, RecallHolds(services.store)
    session = services.sessions.find(bench.token("operator"))
    found = {kind: [str(error) for error in ProductionRules(*parts, demonstration=kind).run(session, batch)] for kind in (True, False)}
    assert found[True] == []
    assert found[False] == [
        f"Cartridge CYC-DEMO-01-A of order {order} has not been scanned in its head. Scan the code on it: page New batch, step 4."
    ]
    assert scan(bench, order, "CYC-DEMO-01-B").status_code == 409
    assert ProductionRules(*parts, demonstration=False).run(session, batch)
    assert scan(bench, order, "CYC-DEMO-01-A").status_code == 200
    assert not ProductionRules(*parts, demonstration=False).run(session, batch)


@pytest.mark.parametrize(
    ("text", "because", "to_do"),
    [
        ("CYC-DEMO-01-Z", "not known here", "page Inks"),
        ("]d2" + "0109501101020917" + "17991331", "cannot be read", "again"),
        ("]d20109501101020917" + "10CYC-DEMO-01", "no serial number", "type the serial number"),
        (GS1.format(expires="200131"), "expired on 2020-01-31", "open another"),
        (GS1.format(expires="{late}"), "says expiry", "compare its label"),
        (GS1.format(expires="{good}").replace("10CYC-DEMO-01\x1d", "10CYC-DEMO-02\x1d"), "label says lot CYC-DEMO-02", "compare its label"),
    ],
)
def test_any_other_scan_is_refused_with_what_to_do_and_is_on_record(bench: Any, text: str, because: str, to_do: str) -> None:
    order = confirmed(bench)
    answer = scan(bench, order, text.replace("{late}", expiry(1)).replace("{good}", expiry()))
    assert answer.status_code == 409 and answer.json()["code"] == "AP-015", answer.text
    assert because in answer.json()["detail"] and to_do in answer.json()["remedy"], answer.text
    entry = list(bench.workstation.store.entries(0))[-1]
    assert entry.kind == "order.cartridge.refused" and "CYC-DEMO-01-Z" not in entry.canonical.decode()
    assert "mounted" not in bench.workstation.store.state("order", order)


def test_another_cartridge_one_in_use_too_long_and_one_used_meanwhile_are_refused(bench: Any) -> None:
    from audit.events import SYSTEM
    from recipes.model import Cartridge

    order, shelf = confirmed(bench), bench.workstation.shelf
    cartridge = shelf.cartridge("CYC-DEMO-01-A")
    shelf.receive_cartridge(cartridge.model_copy(update={"serial": "CYC-DEMO-01-B"}), SYSTEM)
    answer = scan(bench, order, "CYC-DEMO-01-B").json()
    assert "the order is for CYC-DEMO-01-A" in answer["detail"] and "Take CYC-DEMO-01-B out" in answer["remedy"]
    over = (_TODAY - timedelta(days=1)).isoformat()
    for changes, because in (
        ({"used": str(cartridge.filled)}, "used up"),
        ({"used": "1 uL"}, "was used since the order was written"),
        ({"opened": over, "in_use_until": over}, f"to be used until {over}"),
    ):
        changed = Cartridge.model_validate({**cartridge.as_record(), **changes})
        shelf.receive_cartridge(changed, SYSTEM)
        assert because in scan(bench, order, "CYC-DEMO-01-A").json()["detail"]


def test_nothing_is_scanned_for_an_order_that_is_not_confirmed_or_a_head_that_is_not_there(bench: Any) -> None:
    order = orders.enter(bench).json()["order"]
    assert scan(bench, order, "CYC-DEMO-01-A").status_code == 409
    assert scan(bench, "O99999", "CYC-DEMO-01-A").status_code == 404
    assert orders.confirm(bench, order).status_code == 200
    assert scan(bench, order, "CYC-DEMO-01-A", head=2).status_code == 422
    assert bench.ask("qp", "POST", f"/orders/{order}/cartridge", {"scanned": "x"}).status_code == 403


def test_the_solid_is_the_one_of_the_dose_and_closed(bench: Any) -> None:
    batch = str(bench.ask("operator", "POST", "/batches", {"order": confirmed(bench), "cell": "cell-1"}).json()["batch"])
    preview = bench.ask("qp", "GET", f"/batches/{batch}/solids").json()
    (piece,) = preview["pieces"]
    assert (piece["strength_mg"], piece["units"], piece["mass_mg"], piece["volume_uL"]) == ("18.5", 14, "467.17", "389.31")
    answer = bench.ask("qp", "GET", f"/batches/{batch}/solids/{piece['solid']}")
    assert answer.headers["content-type"] == "model/stl"
    mesh = trimesh.load(io.BytesIO(answer.content), file_type="stl")
    # read by trimesh from the bytes that the browser gets: µL are mm³, facets cut off less than a percent
    assert mesh.is_watertight and float(mesh.volume) == pytest.approx(389.31, rel=0.01)
    assert [f"{side:.2f}" for side in mesh.extents][2] == piece["height_mm"] and mesh.bounds[0][2] == pytest.approx(0.0, abs=1e-6)
    assert bench.ask("qp", "GET", f"/batches/{batch}/solids/2-18.5.stl").status_code == 404
    assert bench.client.get(f"/api/v1/batches/{batch}/solids/{piece['solid']}").status_code == 401


def test_what_a_request_says_besides_is_named() -> None:
    request = b"""{"resourceType": "Bundle", "entry": [
      {"resource": {"resourceType": "MedicationRequest", "status": "active", "intent": "order", "subject": {},
        "note": [{"text": "allergic to x"}],
        "substitution": {"allowedBoolean": false}, "dosageInstruction": [{"text": "at bedtime", "timing": {}, "doseAndRate": []}],
        "dispenseRequest": {"expectedSupplyDuration": {}, "numberOfRepeatsAllowed": 3}}},
      {"resource": {"resourceType": "AllergyIntolerance", "id": "a1"}},
      {"resource": {"resourceType": "Patient", "gender": "female", "telecom": [{"value": "+41"}]}}]}"""
    assert not_taken_over(request) == (
        "MedicationRequest.note: allergic to x",
        "MedicationRequest.substitution: False",
        "dosageInstruction 1.text: at bedtime",
        "dispenseRequest.numberOfRepeatsAllowed: 3",
        "AllergyIntolerance a1",
        "Patient.telecom: +41",
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("evening: 1.0000 mg, nearest multiple of 0.25 mg is 1 mg", "evening: 1 mg, nearest multiple of 0.25 mg is 1 mg"),
        ("12.5000 mg and 18.50 mg, 0.10 mg", "12.5 mg and 18.5 mg, 0.1 mg"),
        ("39.60 mg/g stays, 1.10 g/mL stays, 100 mg stays", "39.60 mg/g stays, 1.10 g/mL stays, 100 mg stays"),
        ("25 mg/m² per day × 0.741620 m²", "25 mg/m² per day × 0.741620 m²"),
        ("0.50 mg, 20.0 mg", "0.5 mg, 20 mg"),
    ],
)
def test_doses_are_shown_without_trailing_zeros(line: str, shown: str) -> None:
    assert without_trailing_zeros(line) == shown
    assert "<li>" + shown.replace("&", "&amp;") in arithmetic_html([line])


def status(state: str, **more: Any) -> CellStatus:
    return CellStatus.model_validate({"cell": "cell-1", "state": state, "batch": "B1", "run": "B1-R1", **more})


def test_how_far_a_batch_is_follows_from_the_trail_and_the_cell_alone() -> None:
    entered, order = {"status": "entered", "order": {}}, {"status": "confirmed", "order": {}, "mounted": ["A"]}
    running = {"status": "running", "run": "B1-R1"}
    closed_gate = [{"gate": "cleaning", "met": False, "reason": "dirty"}]
    cases: list[tuple[Any, Any, Any, tuple[Step, ...]]] = [
        (None, None, None, (Step.PRESCRIPTION,)),
        (entered, None, None, (Step.SECOND,)),
        ({"status": "confirmed", "order": {}}, None, None, (Step.CARTRIDGE,)),
        ({"status": "confirmed", "order": {"second": {}}, "mounted": ["A", ""]}, None, None, (Step.CARTRIDGE,)),
        (order, None, None, (Step.GATES,)),
        (order, {"status": "created"}, status("IDLE", batch=None, run=None), (Step.GATES,)),
        (order, running, status("PREFLIGHT"), (Step.GATES,)),
        (order, running, status("READY"), (Step.PREVIEW, Step.START)),
        (order, running, status("PRINTING"), ()),
        (order, running, status("AWAITING_REVIEW", gates=closed_gate, ended="ABORTED"), (Step.GATES,)),
        (order, running, status("AWAITING_REVIEW", ended="FINISHED"), ()),
        (order, running, status("PRINTING", batch="B2"), ()),
        (order, {"status": "awaiting review"}, None, ()),
        ({"status": "confirmed", "order": {}}, {"status": "created"}, None, (Step.CARTRIDGE,)),
        ({"status": "confirmed", "order": {}}, running, status("PRINTING"), ()),  # asked for over the interface
    ]
    for of_order, of_batch, of_cell, wanted in cases:
        scanned = of_order is not None and of_order.get("mounted") == ["A"]
        assert progress(of_order, of_batch, of_cell, "B1", scanned=scanned).open == wanted, (of_order, of_batch, of_cell)
    # a scan that does not stand any more is made again, before the gates and after they have refused
    assert progress(order, {"status": "created"}, None, "B1").open == (Step.CARTRIDGE,)
    assert progress(order, running, status("AWAITING_REVIEW", gates=closed_gate, ended="ABORTED"), "B1").open == (Step.CARTRIDGE,)
    assert progress(None, None, None, "", shown=True).open == (Step.PRESCRIPTION, Step.DOSE)
    for silent in (None, status("UNKNOWN", batch=None, run=None)):
        found = progress(order, running, silent, "B1")
        assert (found.open, found.started, found.unknown) == ((), False, True)
        assert [found.state(step) for step in (Step.CARTRIDGE, Step.GATES, Step.START)] == ["done", "unknown", "unknown"]
    assert not progress(order, running, status("PRINTING"), "B1").unknown


@pytest.mark.parametrize(
    ("error", "press"),
    [
        (None, Press.TAKEN),
        (CellRefused(blocked(Operation.START, RunState.PRINTING)), Press.TOO_LATE),
        (CellRefused(blocked(Operation.START, RunState.AWAITING_REVIEW)), Press.TOO_LATE),
        (CellRefused(blocked(Operation.START, RunState.PREFLIGHT)), Press.REFUSED),
        (CellRefused(blocked(Operation.START, RunState.READY, guard_open=True)), Press.REFUSED),
        (CellRefused(["the operator is not trained"]), Press.REFUSED),
        (CellUnreachable("no answer"), Press.UNANSWERED),
    ],
)
def test_another_person_has_started_it_only_where_the_cell_says_so(error: Any, press: Press) -> None:
    assert press_of(error) is press


def test_what_was_read_is_shown_before_the_signature_each_time_with_its_strength() -> None:
    dose: dict[str, Any] = {
        "strengths": [{"strength_mg": "10", "intakes": ["morning"]}, {"strength_mg": "5", "intakes": ["at 12:00", "<night>"]}]
    }
    assert "3 units a day: morning: 10 mg; at 12:00: 5 mg; &lt;night&gt;: 5 mg" in taken_html(dose)
    one = {"strengths": [{"strength_mg": "12.5", "intakes": ["morning"]}]}
    assert "1 unit a day: morning: 12.5 mg<" in taken_html(one)
    assert "1 unit a day: morning: 12.5 mg + 6.25 mg" in taken_html(
        {**one, "second": {"strengths": [{"strength_mg": "6.25", "intakes": []}]}}
    )
    assert taken_html(None) == ""


def test_a_schedule_that_may_be_several_times_is_refused_at_its_field(bench: Any) -> None:
    answer = orders.enter(bench, schedule="morning, evening")
    assert answer.status_code == 422 and "may be several times in one" in answer.json()["detail"]
    with words.speaking(words.languages()["de"]):
        assert words.told(answer.json()["reasons"][0]).endswith("zum Beispiel 'morgens; abends' oder 'um 08:00; um 20:00'")


def of_patients(bench: Any) -> Any:
    """Judges a run as on a site for patients."""
    services = bench.workstation
    parts = services.store, services.production, services.shelf, services.cells, RecallHolds(services.store)
    rules, session = ProductionRules(*parts, demonstration=False), services.sessions.find(bench.token("operator"))
    return lambda batch: [str(error) for error in rules.run(session, batch)]


def opened(bench: Any, patient: str, cartridge: str) -> tuple[str, str]:
    """An order of another prescription, confirmed, with its batch."""
    named = {"patient": patient, "number": f"RX-{patient}"}
    order = orders.enter(bench, **named, cartridge=cartridge).json()["order"]
    assert orders.confirm(bench, order, **named).status_code == 200
    return order, bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"}).json()["batch"]


def second_cartridge(bench: Any) -> None:
    _, _, cartridge = load_demonstration("cyclophosphamide", _TODAY.isoformat())
    bench.workstation.shelf.receive_cartridge(cartridge.model_copy(update={"serial": "CYC-DEMO-01-B"}), SYSTEM)


def test_a_scan_counts_while_no_other_cartridge_was_scanned_in_its_head(bench: Any) -> None:
    second_cartridge(bench)
    judge, scans = of_patients(bench), bench.workstation.scans
    (one, first), (other, second) = opened(bench, "a", "CYC-DEMO-01-A"), opened(bench, "b", "CYC-DEMO-01-B")
    assert scan(bench, one, "CYC-DEMO-01-A").status_code == 200 and judge(first) == []
    assert scan(bench, other, "CYC-DEMO-01-B").status_code == 200
    [refused] = judge(first)
    assert "another one was scanned in its head since" in refused and "scan it again" in refused
    assert judge(second) == [] and scans.mounted(one, 1) == ("",)
    # the cartridge of the order is put back in and scanned again, and the other one does not count any more
    assert scan(bench, one, "CYC-DEMO-01-A").status_code == 200
    assert judge(first) == [] and len(judge(second)) == 1
    # a scan that was refused says that something else was at hand
    assert scan(bench, one, "CYC-DEMO-01-B").status_code == 409
    assert len(judge(first)) == 1 and scan(bench, one, "CYC-DEMO-01-A").status_code == 200 and judge(first) == []


def test_two_orders_from_one_cartridge_do_not_end_each_other_s_scans(bench: Any) -> None:
    judge = of_patients(bench)
    (one, first), (other, second) = opened(bench, "a", "CYC-DEMO-01-A"), opened(bench, "b", "CYC-DEMO-01-A")
    for order in (one, other):
        assert scan(bench, order, "CYC-DEMO-01-A").status_code == 200
    assert judge(first) == judge(second) == []


def short(orders_: dict[str, list[tuple[str, int]]], batches: dict[str, tuple[str, str, int]]) -> InShort:
    """Orders with their scans, and batches of the same name with cell, status and the number of the scan that they were run with."""
    return InShort(
        9,
        {name: OrderInShort(name, "confirmed", "x", "p", tuple(Scan(*scan) for scan in scans)) for name, scans in orders_.items()},
        {f"B{name}": BatchInShort(f"B{name}", name, cell, status, None, (), None, None, n) for name, (cell, status, n) in batches.items()},
    )


def test_scans_of_two_cells_stand_beside_each_other_once_the_cells_are_known() -> None:
    scans, both = {"1": [("A", 3)], "2": [("B", 4)]}, ("cell-1", "cell-2")
    assert standing(short(scans, {}), "1", both) == ("A",)  # it is not known in which cell either of them is
    assert standing(short(scans, {}), "1", ("cell-1",)) == ("",)
    assert standing(short(scans, {"1": ("cell-1", "created", -1)}), "1", both) == ("",)  # the other may be in this one
    known = {"1": ("cell-1", "created", -1), "2": ("cell-2", "created", -1)}
    assert standing(short(scans, known), "1", both) == ("A",) and standing(short(scans, known), "2", both) == ("B",)


def test_a_run_that_was_closed_ends_its_scans_and_one_that_is_open_does_not() -> None:
    scans = {"1": [("A", 3), ("B", 4)]}
    assert standing(short(scans, {"1": ("cell-1", "running", 4)}), "1", ("cell-1",)) == ("A", "B")
    assert standing(short(scans, {"1": ("cell-1", "awaiting review", 4)}), "1", ("cell-1",)) == ("", "")
    assert standing(short({"1": [("A", 5), ("B", 4)]}, {"1": ("cell-1", "awaiting review", 4)}), "1", ("cell-1",)) == ("A", "")
    assert standing(short({}, {}), "1", ("cell-1",)) == ()


def test_who_the_patient_is_stays_with_the_request_and_the_order_that_came_from_it() -> None:
    stated = {"number": "RX-1", "prescribed": "25", "schedule": "once daily", "days": "14", "weight_kg": "18"}
    taken = TakenOver(FhirPrescription(fields=stated, identity={"name": "Anna A"}))
    order = OrderRequest.model_validate(orders.ORDER)
    assert taken.identity_of(order) == {}, "nothing was confirmed: the order was typed"
    taken.confirmed |= {"number": "RX-1", "prescribed": "25", "schedule": "once daily"}
    assert taken.identity_of(order) == {}
    taken.confirmed["days"] = "14"
    assert taken.identity_of(order) == {"name": "Anna A"}
    for changed in ({"number": "RX-2"}, {"days": "7"}, {"prescribed": "20"}, {"schedule": "morning"}):
        assert taken.identity_of(order.model_copy(update=changed)) == {}
    assert taken.outdated(lambda name, value: name != "days") == ["days"]
    assert TakenOver().identity_of(order) == {} == TakenOver(FhirPrescription(identity={"name": "Anna A"})).identity_of(order)
