"""Inks and cartridges: received, prepared on site, weighed, and what runs took from them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import cli_inks
from api.errors import InputInvalid
from audit.events import SYSTEM
from audit.quantities import GramPerMillilitre, Hour, Microlitre, Milligram
from audit.release.ink_usage import Usage, usage_of
from audit.release.trail_view import TrailView
from recipes.ink_account import SMALLEST_MASS, reconcile
from recipes.inks import cartridge_reasons
from recipes.library import load_demonstration, load_machine, load_recipe

TODAY = "2026-11-20"
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


def test_a_lot_and_its_cartridge_are_received_once(bench: Any) -> None:
    assert bench.ask("operator", "POST", "/inks", LOT).status_code == 201
    again = bench.ask("operator", "POST", "/inks", LOT)
    assert again.status_code == 409 and "There is a ink lot CYC-2 already" in again.json()["detail"]
    filled = CARTRIDGE.as_record() | {"serial": "C-9", "ink_lot": "CYC-2"}
    assert bench.ask("operator", "POST", "/cartridges", {**filled, "used": "5 uL"}).status_code == 422
    assert bench.ask("operator", "POST", "/cartridges", {**filled, "ink_lot": "none"}).status_code == 404
    assert bench.ask("operator", "POST", "/cartridges", filled).status_code == 201
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
    [reason] = cartridge_reasons(recipe, INK, cartridge, load_machine(recipe.machine), [], TODAY)
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
