"""A day at the demonstration site, request by request, from which the examples of the interface's description are taken.

`NOTE_EXAMPLES=yes python -m pytest tests/api/test_examples.py` writes them anew into `api/openapi_examples.json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from released import PRODUCTION, RUN, code_of, sign_record, unit
from test_models import NAME, data_set
from test_models import draft as draft_model
from test_models import step as model_step
from test_models import tried as model_tried
from test_packs import JANE
from test_recipes import CASE, version

from api import app as application
from audit.events import EventKind
from audit.second_factor import code_at

PLACE = Path(application.__file__).with_name("openapi_examples.json")
SECRETS: Mapping[str, str] = {
    "password": "a sentence that only I know",
    "new_password": "another sentence that only I know",
    "token": "Zt8yJ1o4dV…",
    "challenge": "Qm9uam91ciE…",
    "secret": "JBSWY3DPEHPK3PXP",
    "issued_password": "3f9a1c-77b2e0-51d4aa-90c3ff",
    "qr_svg": "<svg …>",
    "uri": "otpauth://totp/…",
}
LONGEST, MOST_ROWS, MOST_FIELDS = 120, 2, 40


class Day:
    """Asks, and keeps the first good answer of each operation with its request."""

    def __init__(self, bench: Any) -> None:
        self.bench = bench
        self._asked = bench.ask
        self.kept: dict[str, dict[str, Any]] = {}
        self.failed: dict[str, str] = {}
        document: Any = application.openapi_document()
        self.operations = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]

    def ask(self, who: str, method: str, path: str, body: Any = None) -> Any:
        answer = self._asked(who, method, path, body)
        self.keep(method, f"/api/v1{path}", body, answer)
        return answer

    def keep(self, method: str, path: str, body: Any, answer: Any) -> None:
        operation = self.operation(method, path.partition("?")[0])
        if answer.status_code >= 300:
            self.failed[operation] = f"{answer.status_code} {answer.text[:200]}"
            return
        found: dict[str, Any] = {}
        if body is not None:
            found["request"] = shortened(body)
        if answer.content and "json" in answer.headers.get("content-type", ""):
            found["answer"] = shortened(answer.json())
        if operation not in self.kept or not self.kept[operation].get("answer"):
            self.kept[operation] = found

    def operation(self, method: str, path: str) -> str:
        """The operation of a path: the one with the fewest names filled in."""
        fitting = [form for known, form in self.operations if known == method and _pattern(form).fullmatch(path)]
        assert fitting, f"{method} {path}"
        return f"{method} {min(fitting, key=lambda form: form.count('{'))}"


def _pattern(form: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\{[^}]+\}", "[^/]+", form.replace("/trail/objects/{type}/{id}", "/trail/objects/{type}/.+")))


def shortened(value: Any, name: str = "") -> Any:
    """A value as an example shows it: long lists and texts cut, secrets replaced."""
    if name in SECRETS and isinstance(value, str):
        return SECRETS[name]
    if isinstance(value, dict):
        kept = {key: item for key, item in value.items() if key != "scripted"}
        return {key: shortened(item, key) for key, item in list(kept.items())[:MOST_FIELDS]}
    if isinstance(value, list):
        return [shortened(item, name) for item in value[:MOST_ROWS]]
    return f"{value[: LONGEST - 1]}…" if isinstance(value, str) and len(value) > LONGEST else value


def spend(bench: Any) -> Day:
    """Go through the day."""
    day = Day(bench)
    for part in (people, recipes, orders, run, after_release, recall, models, rest):
        part(day)
    return day


def signed(day: Day, who: str, **more: Any) -> dict[str, Any]:
    return {"signature": day.bench.signature(who, **more)}


WHY = {"reason": "as agreed in the morning round"}


def people(day: Day) -> None:
    ask, bench = day.ask, day.bench
    log_in = {"username": "operator", "password": bench.site.passwords["operator"]}
    day.keep("POST", "/api/v1/session", log_in, bench.client.post("/api/v1/session", json=log_in))
    for path in ("/health", "/ready"):
        day.keep("GET", f"/api/v1{path}", None, bench.client.get(f"/api/v1{path}"))
    for path in ("/session", "/people", "/people/operator", "/access-policy", "/access-review", "/attention", "/session/factors"):
        ask("administrator", "GET", path)
    ask("administrator", "GET", "/people/operator/factors")
    ask("pharmacist", "POST", "/session/signing-challenge")
    ask("administrator", "POST", "/people", {"username": "mara", "full_name": "Demonstration trainee", "roles": ["operator"]})
    for act, body in (
        ("unlock", WHY),
        ("deputy", {"role": "quality_assurance", "until": bench.workstation.people._identity.today().isoformat(), **WHY}),
        ("password", WHY),
    ):
        ask("administrator", "POST", f"/people/mara/{act}", body)
    ask("administrator", "PUT", "/people/mara/roles", {"roles": ["operator", "pharmacist"], **WHY})
    ask("administrator", "POST", "/people/mara/deactivate", WHY)
    policy = ask("administrator", "GET", "/access-policy").json()["policy"]
    ask("administrator", "PUT", "/access-policy", {"policy": policy, **WHY})
    shown = ask("quality", "GET", "/access-review").json()["shown_sha256"]
    ask("quality", "POST", "/access-review", signed(day, "quality", digest=shown))
    bench.client.post("/api/v1/session", json={"username": "stranger", "password": "x"})
    second_factor(day)


def second_factor(day: Day) -> None:
    ask, password = day.ask, {"password": day.bench.site.passwords["engineer"]}
    begun = ask("engineer", "POST", "/session/factors/totp", password).json()
    moment = int(datetime.fromisoformat(day.bench.workstation.clock.utc().at).timestamp()) // 30
    if "secret" in begun:
        confirmed = ask("engineer", "POST", "/session/factors/totp/confirm", {"code": code_at(begun["secret"], moment)})
        factor = confirmed.json().get("id", "engineer/totp-1")
        ask("engineer", "POST", "/session/factors/revoke", {"factor": factor, **password, **WHY})
        begun = ask("engineer", "POST", "/session/factors/totp", password).json()
        confirmed = ask("engineer", "POST", "/session/factors/totp/confirm", {"code": code_at(begun["secret"], moment + 1)})
        ask("administrator", "POST", "/people/engineer/factors/revoke", {"factor": confirmed.json().get("id", ""), **WHY})


def recipes(day: Day) -> None:
    ask, reference = day.ask, f"{CASE}@2"
    ask("engineer", "POST", "/recipe-versions", {"recipe_toml": version(2), "reason": "melts better"})
    ask("engineer", "POST", f"/recipe-versions/{reference}/submit", signed(day, "engineer"))
    ask("quality", "POST", f"/recipe-versions/{reference}/return", {**WHY, **signed(day, "quality")})
    ask("engineer", "POST", f"/recipe-versions/{reference}/development", signed(day, "engineer"))
    ask("engineer", "POST", f"/recipe-versions/{reference}/submit", signed(day, "engineer"))
    ask("quality", "POST", f"/recipe-versions/{reference}/approve", signed(day, "quality"))
    ask("quality", "POST", f"/recipe-versions/{reference}/effective", {**WHY, **signed(day, "quality")})
    for path in ("/recipes", f"/recipes/{CASE}", f"/recipe-versions/{reference}", f"/recipe-versions/{reference}/difference"):
        ask("operator", "GET", path)
    ask("quality", "POST", f"/recipe-versions/{reference}/export")
    ask("quality", "POST", f"/recipe-versions/{reference}/retire", {**WHY, **signed(day, "quality")})


def orders(day: Day) -> None:
    ask = day.ask
    for path in ("/inks", "/inks/CYC-DEMO-01", "/cartridges", "/cartridges/CYC-DEMO-01-A"):
        ask("operator", "GET", path)
    ask("pharmacist", "POST", "/doses", PRODUCTION.ORDER)
    ask("pharmacist", "POST", "/orders", {"order": PRODUCTION.ORDER, **signed(day, "pharmacist")})
    ask("second", "POST", "/orders/O00001/confirm", {"entry": PRODUCTION.AGAIN, **signed(day, "second")})
    for path in ("/orders", "/orders/O00001", "/orders/O00001/cells"):
        ask("operator", "GET", path)
    ask("operator", "POST", "/batches", {"order": "O00001", "cell": "cell-1"})
    PRODUCTION.enter(day.bench, number="RX-2")
    PRODUCTION.confirm(day.bench, "O00002", number="RX-2")
    ask("operator", "POST", "/batches", {"order": "O00002", "cell": "cell-1"})
    ask("operator", "POST", "/batches/B00002/cancel", {"reason": "the prescription was withdrawn"})


def run(day: Day) -> None:
    ask, cell = day.ask, day.bench.cell
    for path in ("/cells", "/cells/cell-1", "/cells/cell-1/key", "/cells/cell-1/readiness", "/cells/cell-1/alarms/figures"):
        ask("operator", "GET", path)
    for path, body in (("check", None), ("check/confirm", {"step": "centre"}), ("check/abandon", WHY), ("cleaning", {"method": "CL-1"})):
        ask("operator", "POST", f"/cells/cell-1/{path}", body)
    cell.drawings = {"unit-18.5-mg.svg": "<svg/>"}
    ask("operator", "POST", "/batches/B00001/run", {"cartridges": ["CYC-DEMO-01-A"]})
    ask("operator", "POST", "/batches/B00001/start")
    units = [day.bench.canned_unit(6) | {"verdict": "rejected", "state": "judged"}, day.bench.canned_unit(7)]
    waiting = {"unit": f"{RUN}/007", "n": 7, "entry": 1, "attempt": 1, "first_by": None}
    alarm = {"alarm": f"{RUN}/A01", "name": "mass", "priority": "high", "message": "Unit 6 is light", "state": "unacknowledged"}
    purge = {**day.bench.canned_unit(1), "unit": f"{RUN}/P01", "verdict": "rejected"}
    live = {"run": RUN, "batch": "B00001", "state": "PRINTING", "units": units, "alarms": [alarm], "purge_units": [purge]}
    cell.status_now = {**cell.status_now, **live, "external_weighing": waiting}
    for path in ("/cells/cell-1/status", "/cells/cell-1/alarms", "/batches/B00001/units", "/batches/B00001/pictures"):
        ask("operator", "GET", path)
    ask("operator", "POST", "/batches/B00001/pause", WHY)
    ask("operator", "POST", "/batches/B00001/resume", WHY)
    read = {"value_mg": "467.1", "balance_serial": "EXT-1"}
    ask("operator", "POST", "/batches/B00001/units/7/weight", read)
    cell.status_now = {**cell.status_now, "external_weighing": {**waiting, "entry": 2, "first_by": "operator"}}
    ask("pharmacist", "POST", "/batches/B00001/units/7/weight/second", {"weight": read, **signed(day, "pharmacist")})
    ask("pharmacist", "POST", "/batches/B00001/units/6/removal", day.bench.signature("pharmacist"))
    ask("pharmacist", "POST", "/batches/B00001/purge-units/1/removal", day.bench.signature("pharmacist"))
    about = {"alarm": f"{RUN}/A01"}
    for act, body in (
        ("acknowledge", {**about, "comment": "looked at the nozzle"}),
        ("reset", about),
        ("shelve", {**about, "reason": "known draught", "minutes": 10}),
        ("unshelve", about),
    ):
        ask("operator", "POST", f"/cells/cell-1/alarms/{act}", body)
    ask("quality", "POST", "/cells/cell-1/stop", {"strength": "quickstop", "reason": "smoke"})


def after_release(day: Day) -> None:
    ask, cell = day.ask, day.bench.cell
    made = (unit(1), unit(2))
    for item in made:
        cell.record(EventKind.UNIT_PRINT_INTENDED, "unit", item["unit"], {"n": item["n"], "strength_mg": "18.5"})
        cell.record(EventKind.UNIT_WEIGHT_JUDGED, "unit", item["unit"], {"verdict": "accepted", "balance_serial": "BAL-7"})
    cell.record(EventKind.RUN_RECORD_CLOSED, "run", RUN, {"state": "AWAITING_REVIEW", "ended": "FINISHED"})
    cell.status_now = {**cell.status_now, "state": "AWAITING_REVIEW", "external_weighing": None}
    ask("qp", "POST", "/batches/B00001/close")
    for path in ("", "/review", "/to-sign", "/exceptions"):
        ask("qp", "GET", f"/batches/B00001{path}")
    weighed = {"gross_mg": "9000", "uncertainty_mg": "1", "balance": "BAL-7", "empty_mg": "5000"}
    ask("operator", "POST", "/batches/B00001/cartridge-returns", {"serial": "CYC-DEMO-01-A", **weighed})
    ask("operator", "POST", "/cartridges/CYC-DEMO-01-A/weight", {**weighed, "empty_mg": ""})
    for row in ask("qp", "GET", "/batches/B00001/exceptions").json()[:1]:
        cause = {"exception": row["exception"], "finding": row["finding"], "reason_code": "material", "cause": "air in the cartridge, seen"}
        ask("qp", "POST", "/batches/B00001/exceptions/resolution", {"cause": cause, **signed(day, "qp")})
    ask("qp", "POST", "/batches/B00001/predictions")
    sign_record(day.bench, "B00001", made, use_by="2099-12-31")
    ask("operator", "GET", "/batches")
    ask("quality", "POST", "/batches/B00001/holds/complaint", WHY)
    ask("quality", "GET", "/retention")
    ask("quality", "POST", "/batches/B00001/holds/complaint/lift", WHY)
    ask("pharmacist", "POST", "/patients/test-1/identity", JANE)
    pack = ask("operator", "POST", "/batches/B00001/packs", {"units": [1, 2]}).json()["packs"][0]
    ask("operator", "POST", f"/packs/{pack}/label", {"form": "zpl"})
    ask(
        "operator",
        "POST",
        f"/packs/{pack}/label",
        {"form": "zpl", **WHY, "approval": {**day.bench.signature("second"), "username": "second"}},
    )
    ask("operator", "POST", f"/packs/{pack}/labels/1", {"outcome": "spoiled", **WHY})
    code = code_of(day.bench, pack)
    ask("operator", "POST", f"/packs/{pack}/scan", {"scanned": code})
    ask("operator", "GET", f"/packs/{pack}")
    ask("operator", "POST", "/batches/B00001/packing/close")
    ask("operator", "GET", "/batches/B00001/packs")
    ask("pharmacist", "POST", f"/packs/{pack}/dispense", {"scanned": code, "to": "carer"})


def recall(day: Day) -> None:
    ask = day.ask
    ask("qp", "POST", "/recalls/search", {"ink_lot": "CYC-DEMO-01"})
    ask("qp", "POST", "/recalls", {"search": {"ink_lot": "CYC-DEMO-01"}, **WHY, **signed(day, "qp")})
    for path in ("/recalls", "/recalls/R00001"):
        ask("qp", "GET", path)
    ask("qp", "POST", "/recalls/R00001/patients/test-1/identity", WHY)
    ask(
        "pharmacist",
        "POST",
        "/recalls/R00001/patients/test-1/contacts",
        {"by": "telephone", "outcome": "reached", "note": "brings it back"},
    )
    ask("pharmacist", "POST", "/packs/B00001-P01/not-recovered", WHY)
    ask("pharmacist", "POST", "/packs/B00001-P01/return", WHY)
    ask("quality", "POST", "/packs/B00001-P01/destroy", WHY)
    ask("qp", "POST", "/recalls/R00001/close", {**WHY, **signed(day, "qp")})


def models(day: Day) -> None:
    day.bench.ask, plain = day.ask, day.bench.ask
    try:
        draft_model(day.bench)
        model_tried(day.bench)
        model_step(day.bench, "engineer", "submit")
        model_step(day.bench, "quality", "return", **WHY)
        model_step(day.bench, "engineer", "submit")
        model_step(day.bench, "quality", "approve")
        model_step(day.bench, "quality", "effective", **WHY)
        sample = data_set("nir-strength-test").samples[0]
        inputs = json.loads(json.dumps(sample.named_inputs))
        check = {"sample": sample.sample, "inputs": inputs, "reference": str(sample.reference), "method": "HPLC", "report": "R-1"}
        day.ask("engineer", "POST", f"/models/{NAME}/checks", check)
        day.ask("quality", "POST", f"/models/{NAME}/suspend", WHY)
        model_step(day.bench, "quality", "reinstate", **WHY)
        for path in ("/models", f"/models/{NAME}", f"/models/{NAME}/monitoring"):
            day.ask("engineer", "GET", path)
        model_step(day.bench, "quality", "retire", **WHY)
    finally:
        day.bench.ask = plain


def rest(day: Day) -> None:
    ask = day.ask
    for path in ("/trail?limit=2", "/trail/checkpoint", "/trail/objects/order/O00001", "/anchors", "/stores/restore-test"):
        ask("qp", "GET", path)
    ask("quality", "POST", "/trail/export", {"format": "json", "kinds": ["batch."], **WHY})
    ask("quality", "POST", "/anchors")
    notices = ask("quality", "GET", "/attention").json()
    if notices:
        ask("quality", "POST", f"/attention/{notices[0]['id']}/judge", {"outcome": "a wrong name typed at the ward"})
    ask(
        "engineer",
        "PUT",
        "/session/password",
        {"password": day.bench.site.passwords["engineer"], "new_password": "a new sentence, 47 words"},
    )
    ask("quality", "DELETE", "/session")
