"""Inks and cartridges: received, prepared on site, weighed, and what runs took from them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cli_inks, ink_desk
from api.access import Credentials
from api.errors import InputInvalid, WrongState
from api.ink_desk import _shown_cartridge
from api.ink_forms import prepared_lot, received_cartridge, received_lot
from audit.events import SYSTEM
from audit.quantities import Day, GramPerMillilitre, Hour, Microlitre, Milligram
from audit.release.ink_usage import Usage, usage_of
from audit.release.trail_view import TrailView
from recipes.civil_days import added
from recipes.ink_account import SMALLEST_MASS, reconcile
from recipes.inks import cartridge_reasons
from recipes.library import load_demonstration, load_machine, load_recipe
from recipes.model import InkLot

TODAY = datetime.now(UTC).date().isoformat()
_, INK, CARTRIDGE = load_demonstration("cyclophosphamide", TODAY)
LOT = INK.as_record() | {"lot": "CYC-2"}


def component(name: str, mass: str, **more: str) -> dict[str, str]:
    return {
        "name": name, "lot": f"{name}-1", "expires": "2027-06-30", "mass": mass, "mass_uncertainty": "2 mg", "balance": "PB-2",
        "weighed_by": "operator", "checked_by": "second", **more,
    }  # fmt: skip


def prepared() -> dict[str, Any]:
    made = {
        "strength_basis": "theoretical strength",
        "procedure": "CYC-PASTE version 1",
        "prepared": TODAY,
        "components": [component("active", "4280 mg", content="93.46 %", content_uncertainty="0.5 %"), component("base", "95720 mg")],
        "mixing": {"method": "planetary mixer", "minutes": 10, "done_by": "operator", "checked_by": "second"},
    }
    record = {name: value for name, value in LOT.items() if name not in ("certificate", "concentration_rsd")}
    return record | {"lot": "CYC-SITE-1", "assay": "40.00 mg/g", "assay_uncertainty": "0.3 mg/g", "preparation": made}


def order() -> dict[str, str]:
    return {
        "recipe": "cyclophosphamide", "ink_lot": "CYC-DEMO-01", "cartridge": "CYC-DEMO-01-A", "patient": "test-1",
        "moiety": "cyclophosphamide", "basis": "anhydrous", "height_cm": "110", "weight_kg": "18", "age_years": "5",
        "measured": datetime.now(UTC).date().isoformat(), "prescriber": "test", "number": "RX-1", "prescribed": "25", "unit": "mg/m2",
        "per": "day", "schedule": "once daily", "days": "7",
    }  # fmt: skip


def prepare(bench: Any, record: dict[str, Any], checker: str = "second", who: str = "operator") -> Any:
    return bench.ask(who, "POST", "/inks/prepared", {"ink": record, "checker": {**bench.signature(checker), "username": checker}})


def test_a_lot_and_its_cartridge_are_received_once(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.ask("operator", "POST", "/inks", LOT).status_code == 201
    again = bench.ask("operator", "POST", "/inks", LOT)
    assert again.status_code == 409 and "There is a ink lot CYC-2 already" in again.json()["detail"]
    filled = CARTRIDGE.as_record() | {"serial": "C-9", "ink_lot": "CYC-2"}
    assert bench.ask("operator", "POST", "/cartridges", {**filled, "used": "5 uL"}).status_code == 422
    assert bench.ask("operator", "POST", "/cartridges", {**filled, "ink_lot": "none"}).status_code == 404
    assert bench.ask("operator", "POST", "/cartridges", filled).status_code == 201
    with monkeypatch.context() as patch:  # what concerns one cartridge is looked up: the trail of years is not read for it
        patch.setattr(bench.workstation.store, "lines", None)
        shown = bench.ask("administrator", "GET", "/cartridges/C-9").json()
    assert shown["remaining"] == "9500 uL" and [entry["kind"] for entry in shown["history"]] == ["ink.cartridge.received"]
    assert shown["strength"] == "39.6 mg/g (assay of ink lot CYC-2)"
    assert bench.ask("administrator", "POST", "/inks", LOT).status_code == 403


def test_an_ink_prepared_on_site_is_signed_by_who_checked_it(bench: Any) -> None:
    refused = bench.ask("operator", "POST", "/inks", prepared())
    assert refused.status_code == 422 and "preparation record" in refused.json()["detail"]
    assert "names second as who checked" in prepare(bench, prepared(), checker="pharmacist").json()["detail"]
    assert prepare(bench, prepared(), who="second").status_code == 409
    answer = prepare(bench, prepared())
    assert answer.status_code == 201, answer.text
    assert (answer.json()["strength"], answer.json()["strength_basis"]) == ("40.00 mg/g", "theoretical strength")
    state = bench.workstation.store.state("ink_lot", "CYC-SITE-1")
    ink = bench.workstation.shelf.ink("CYC-SITE-1")
    assert state["checked"]["meaning"] == "preparation checked" and state["checked"]["digest"] == ink.digest
    # the demonstration recipe does not permit it
    answer = bench.ask("pharmacist", "POST", "/doses", {**order(), "ink_lot": "CYC-SITE-1"})
    assert answer.status_code == 422 and "its strength is theoretical" in answer.json()["detail"]


def weigh(bench: Any, gross: str) -> Any:
    return bench.ask("operator", "POST", "/cartridges/CYC-DEMO-01-A/weight", {"gross_mg": gross, "uncertainty_mg": "2", "balance": "PB-2"})


def usage(run: str = "B00001-R1", **more: str) -> Usage:
    figures = {"primed": "120", "purged": "0", "printed": "5450.3", "wasted": "389.3", "warm": "0.8"} | more
    return Usage(run, **{name: Decimal(value) for name, value in figures.items()})


def test_what_runs_took_is_counted_once_and_reconciled_with_the_balance(bench: Any) -> None:
    desk, shelf = bench.workstation.inks, bench.workstation.shelf
    assert weigh(bench, "25000").status_code == 200
    for _ in range(2):
        desk._count("CYC-DEMO-01-A", usage(), SYSTEM)
    cartridge = shelf.cartridge("CYC-DEMO-01-A")
    assert cartridge.used == Microlitre("5959.6") and cartridge.warm == Hour("0.8000")
    # 5570.3 to 5959.6 uL at 1.20 g/mL are 6684.36 to 7151.52 mg
    agreed = weigh(bench, "18100").json()
    assert agreed["reconciled"] is True and "held" not in agreed and "runs took 6684.4 mg to 7151.5 mg" in agreed["reconciliation"]
    lost = weigh(bench, "17000").json()
    assert lost["reconciled"] is False and "1100.0 mg outside" in lost["held"]
    refused = bench.ask("pharmacist", "POST", "/orders", {"order": order(), "signature": bench.signature("pharmacist")})
    assert refused.status_code == 422 and "cartridge CYC-DEMO-01-A is held" in refused.json()["detail"]
    kinds = [entry["kind"] for entry in bench.ask("qp", "GET", "/cartridges/CYC-DEMO-01-A").json()["history"]]
    assert kinds == ["ink.cartridge.received", *["ink.cartridge.weighed"], "ink.cartridge.used", *["ink.cartridge.weighed"] * 2]


def test_hours_at_temperature_end_a_cartridge(bench: Any) -> None:
    bench.workstation.inks._count("CYC-DEMO-01-A", usage(warm="6.0", printed="10"), SYSTEM)
    recipe = load_recipe("cyclophosphamide")
    cartridge = bench.workstation.shelf.cartridge("CYC-DEMO-01-A")
    [reason] = cartridge_reasons(recipe, INK, cartridge, load_machine(recipe.machine), [], datetime.now(UTC).date().isoformat())
    assert "was at temperature for 6.00 h, 6 h are allowed" in reason


def entry(kind: str, type_: str, id_: str, at: str, new: dict[str, Any]) -> bytes:
    return json.dumps({"kind": kind, "subject": {"type": type_, "id": id_}, "at": at, "new": new}).encode()


def test_the_trail_of_a_run_says_what_it_took() -> None:
    run = "B1-R1"
    lines = [
        entry("run.record.created", "run", run, "2026-11-20T09:00:00.000000Z", {"rate": "2"}),
        entry("run.action.intended", "run", run, "2026-11-20T09:10:00.000000Z", {"action": "heat"}),
        entry("run.action.intended", "run", run, "2026-11-20T09:12:00.000000Z", {"action": "prime"}),
        entry("unit.print.intended", "unit", f"{run}/001", "2026-11-20T09:13:00.000000Z", {"n": 1, "target_volume_uL": "389.31"}),
        entry("unit.weight.judged", "unit", f"{run}/001", "2026-11-20T09:14:00.000000Z", {"verdict": "rejected", "commanded_uL": "389.4"}),
        entry("unit.print.intended", "unit", f"{run}/002", "2026-11-20T09:15:00.000000Z", {"n": 2, "target_volume_uL": "389.31"}),
        entry("unit.print.scrapped", "unit", f"{run}/002", "2026-11-20T09:16:00.000000Z", {"verdict": "scrapped"}),
        entry("run.record.closed", "run", run, "2026-11-20T09:40:00.000000Z", {"ended": "ABORTED"}),
    ]
    found = usage_of(TrailView(lines), run, head=0, heads=1, prime=Decimal(120))
    assert (found.primed, found.printed, found.wasted, found.warm) == (120, Decimal("389.4"), Decimal("389.31"), 1)
    assert (found.least, found.most) == (Decimal("509.4"), Decimal("898.71"))
    never = usage_of(TrailView(lines[:1]), run, head=0, heads=1, prime=Decimal(120))
    assert never.most == 0 and never.warm == 0


@given(st.integers(min_value=0, max_value=9000), st.integers(min_value=0, max_value=2000), st.decimals(min_value=-1, max_value=2, places=3))
def test_what_lies_between_least_and_most_agrees_and_what_is_far_outside_does_not(least: int, more: int, share: Decimal) -> None:
    density, most = GramPerMillilitre("1.2"), least + more
    lost = (Decimal(least) + share * more) * density.value
    found = reconcile(Milligram(20000), Milligram(20000 - lost), Microlitre(least), Microlitre(most), density, Milligram(2))
    assert found.agrees or not 0 <= share <= 1
    far = found.limit.value + 1
    for gone in (Decimal(least) * density.value - far, Decimal(most) * density.value + far):
        assert not reconcile(Milligram(20000), Milligram(20000 - gone), Microlitre(least), Microlitre(most), density, Milligram(2)).agrees
    assert found.limit >= SMALLEST_MASS


def test_a_file_of_an_ink_is_read_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, posted = tmp_path / "lot.toml", []
    monkeypatch.setattr(cli_inks, "_post", lambda path, body, url, user: posted.append((path, body)))
    file.write_text('lot = "A"\nassay = "39.6 mg/g"\n')
    cli_inks.receive(file)
    cli_inks.receive_cartridge(file)
    assert posted == [("/inks", {"lot": "A", "assay": "39.6 mg/g"}), ("/cartridges", {"lot": "A", "assay": "39.6 mg/g"})]
    file.write_text("expires = 2026-11-20\n")
    with pytest.raises(InputInvalid, match="date without quotes"):
        cli_inks.receive(file)
    with pytest.raises(InputInvalid, match="cannot be read"):
        cli_inks.receive(tmp_path / "none.toml")


def test_the_page_is_told_what_is_left_until_when_and_what_is_held(bench: Any) -> None:
    desk = bench.workstation.inks
    found = desk.overview()
    [lot], [cartridge] = found["inks"], found["cartridges"]
    assert lot["strength"] == "39.6 mg/g ± 0.4 mg/g" and lot["expired"] is (found["today"] > lot["expires"])
    # 9500 uL at 1.20 g/mL
    assert (cartridge["remaining"], cartridge["remaining_mass"], cartridge["warm"]) == ("9500.0 of 9500 µL", "11400.0 mg", None)
    desk._count("CYC-DEMO-01-A", usage(), SYSTEM)
    [cartridge] = desk.overview()["cartridges"]
    assert (cartridge["remaining_mass"], cartridge["warm"]) == ("4248.5 mg", "0.80 h")
    for gross in ("25000", "20000"):
        weigh(bench, gross)
    [cartridge] = desk.overview()["cartridges"]
    assert (cartridge["state"], cartridge["usable"]) == ("held", False)


@pytest.mark.parametrize(
    ("left", "clock", "state"),
    [(0, "1 day left, today included", "in use"), (5, "6 days left", "in use"), (-1, "its in-use life is over", "in-use life over")],
)
def test_the_in_use_clock_counts_today_as_usable(left: int, clock: str, state: str) -> None:
    cartridge = CARTRIDGE.model_copy(update={"in_use_until": added(TODAY, Day(left))})
    shown = _shown_cartridge(cartridge, INK.model_copy(update={"expires": added(TODAY, Day(400))}), False, TODAY)
    assert str(shown["clock"]).startswith(clock) and shown["state"] == state and shown["usable"] is (left >= 0)
    expired = _shown_cartridge(cartridge, INK.model_copy(update={"expires": added(TODAY, Day(-1))}), False, TODAY)
    assert expired["usable"] is False


LOT_FIELDS = {
    "lot": "CYC-9", "ink": "cyclophosphamide-40", "moiety": "cyclophosphamide", "basis": "anhydrous", "expires": "2027-06-30",
    "assay": "39.60", "assay_uncertainty": "0.2", "density": "1.20", "density_uncertainty": "0.01", "concentration_rsd": "",
    "certificate": "COA-9",
}  # fmt: skip


def test_what_is_typed_of_a_lot_is_the_lot_with_its_decimals() -> None:
    record = received_lot(LOT_FIELDS)
    assert record["assay"] == "39.60 mg/g" and "concentration_rsd" not in record
    assert InkLot.model_validate(record).certificate == "COA-9"


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("assay", "39,6", "Assay, mg/g: '39,6' has a comma"),
        ("assay", "4e1", "Assay, mg/g: '4e1' is not a number"),
        ("density", " ", "Density, g/mL: nothing is entered"),
        ("expires", "2027-02-30", "Expires: '2027-02-30' is not a date"),
        ("expires", "20270630", "Expires: '20270630' is not a date"),
        ("concentration_rsd", "x", "RSD, % (if stated): 'x' is not a number"),
        ("certificate", "", "Certificate of analysis: nothing is entered"),
    ],
)
def test_what_cannot_be_read_is_named_as_its_field_is(name: str, typed: str, words: str) -> None:
    with pytest.raises(InputInvalid, match=re.escape(words)):
        received_lot({**LOT_FIELDS, name: typed})


def test_everything_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(InputInvalid) as refused:
        received_cartridge({"serial": "", "filled": "much", "opened": "today", "in_use_until": "2026-11-27", "ink_lot": "CYC-1"})
    assert all(label in str(refused.value) for label in ("Serial number", "Filled, µL", "Opened on", "Correct these fields"))
    assert "In use until" not in str(refused.value)


def test_a_preparation_has_the_strength_of_its_weighings() -> None:
    top = {**LOT_FIELDS, "procedure": "P-1", "method": "mixer", "minutes": "10", "weighed_by": "operator"}
    row = {"lot": "L-1", "expires": "2027-06-30", "mass_uncertainty": "2", "balance": "PB-2"}
    active = {**row, "name": "active", "mass": "4280", "content": "93.46", "content_uncertainty": "0.5"}
    record = prepared_lot(top, [active, {**row, "name": "base", "mass": "95720"}], day=TODAY, checker="second")
    lot = InkLot.model_validate(record)  # refuses a strength that the weighings do not give, and too small an uncertainty
    assert lot.preparation is not None and str(lot.assay) == "40.00 mg/g"
    with pytest.raises(InputInvalid, match="operator weighed active and cannot check it"):
        prepared_lot(top, [active, {**row, "name": "base", "mass": "95720"}], day=TODAY, checker="operator")
    with pytest.raises(
        InputInvalid, match=r"Mixing time, minutes: 'ten' is not a whole number; .*component 2, Mass, mg: nothing is entered"
    ):
        prepared_lot({**top, "minutes": "ten"}, [active, {**row, "name": "base", "mass": ""}], day=TODAY, checker="second")


class Queue:
    """A lock that says when somebody comes to wait for it."""

    def __init__(self, waits: threading.Event) -> None:
        self._lock = threading.Lock()
        self._waits = waits

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._waits.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def at_once(desk: Any, monkeypatch: Any, place: tuple[Any, str], first: Callable[[], object], second: Callable[[], object]) -> list[str]:
    """Have a second person act while the first is at a place; return the errors. The first goes on when the second waits, or is done."""
    moved, errors = threading.Event(), list[str]()
    desk._lock = Queue(moved)

    def act(what: Callable[[], object]) -> None:
        try:
            what()
        except WrongState as error:
            errors.append(error.message)

    def other() -> None:
        act(second)
        moved.set()

    thread = threading.Thread(target=other)
    reached = getattr(*place)

    def meanwhile(*arguments: Any) -> Any:
        found = reached(*arguments)
        if thread.ident is None:
            thread.start()
            assert moved.wait(30)
        return found

    monkeypatch.setattr(*place, meanwhile)
    act(first)
    thread.join(30)
    return errors


@pytest.mark.parametrize("what", ["lot", "prepared", "cartridge"])
def test_of_two_who_enter_the_same_at_once_the_second_is_told(bench: Any, monkeypatch: Any, what: str) -> None:
    desk, store = bench.workstation.inks, bench.workstation.store
    operator, quality = (
        bench.workstation.sessions.find(bench.workstation.people.log_in(username, bench.site.passwords[username])[0])
        for username in ("operator", "quality")
    )
    record = prepared() if what == "prepared" else {**LOT, "lot": "NEW"}
    checker = Credentials.model_validate({**bench.signature("second"), "username": "second"})
    if what == "cartridge":
        record = CARTRIDGE.as_record() | {"serial": "NEW"}
    enter: dict[str, Callable[[Any], object]] = {
        "lot": lambda session: desk.receive_ink(session, record),
        "prepared": lambda session: desk.prepare_ink(session, record, checker),
        "cartridge": lambda session: desk.receive_cartridge(session, record),
    }
    errors = at_once(desk, monkeypatch, (desk, "_unknown"), lambda: enter[what](operator), lambda: enter[what](quality))
    assert len(errors) == 1 and "already" in errors[0]
    kind = {"lot": "ink.lot.received", "prepared": "ink.lot.prepared", "cartridge": "ink.cartridge.received"}[what]
    name = "CYC-SITE-1" if what == "prepared" else "NEW"
    assert [entry.actor.username for entry in store.search(kind=kind, subject_id=name)] == ["operator"]


def test_what_two_runs_took_at_once_is_counted_for_both(bench: Any, monkeypatch: Any) -> None:
    desk, recipe = bench.workstation.inks, load_recipe("cyclophosphamide")
    monkeypatch.setattr(ink_desk, "usage_of", lambda trail, run, **_: usage(run))
    ordered = SimpleNamespace(cartridges=("CYC-DEMO-01-A",))
    runs = [partial(desk.note_usage, ordered, recipe, run, TrailView([]), SYSTEM) for run in ("B00001-R1", "B00001-R2")]
    assert at_once(desk, monkeypatch, (ink_desk, "_microlitre"), *runs) == []
    assert bench.workstation.shelf.cartridge("CYC-DEMO-01-A").warm == Hour("1.6000")
