"""Hostile text in fields that take text comes out as text, on pages, in tables and in the trail; and no name leaves its folder."""

from __future__ import annotations

import csv
import html
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from released import PRODUCTION, release
from test_packs import pack_all

from api.app import guards
from api.demo_desk import Desk
from api.errors import InputInvalid
from api.label_files import print_labels
from api.status import CellStatus
from api.trail_question import read_filter
from api.workstation import models as models_page
from api.workstation import panels, trail_tables
from api.workstation import recipes as recipes_page
from api.workstation.cards import steps_html
from api.workstation.exceptions import exception_html
from api.workstation.inks import cartridges_html, lots_html
from api.workstation.login import login_page
from api.workstation.packing import pack_html
from api.workstation.people import accounts_html
from api.workstation.refusal import refusal_page
from audit.object_history import changes_of
from audit.trail_export import _FORMULA
from audit.verify import verify_store

PAYLOADS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; DROP TABLE entries; --",
    '#read("/etc/passwd") #eval("1") $ \\ `raw`',
    "^FD^XZ~JA^XA ~HS",
    '=HYPERLINK("http://evil.example","x")',
    "@SUM(A1)",
    "+1-cmd|' /C calc'!A0",
    'line one\nline two\r\n{"seq": 99}',
    "\u202eevil\u2066",
    "{{7*7}} ${7*7} %s %n",
)


class Tags(HTMLParser):
    """Every element and attribute that a browser would make of a text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.found += [name for name, _ in attrs if name.startswith("on")]


def inert(page: str) -> None:
    tags = Tags()
    tags.feed(page)
    assert "img" not in tags.found and not [name for name in tags.found if name.startswith("on")], page[:500]
    assert "<script>alert" not in page


def hostile(bench: Any, payload: str) -> None:
    """Enter a payload wherever a person may enter free text."""
    ask = bench.ask
    ask("administrator", "POST", "/people", {"username": f"mallory{PAYLOADS.index(payload)}", "full_name": payload, "roles": ["operator"]})
    ask("administrator", "POST", "/people/operator/unlock", {"reason": payload})
    ask("operator", "POST", "/cells/cell-1/cleaning", {"method": payload})
    ask("qp", "POST", "/batches/B00001/holds/why", {"reason": payload})
    ask("engineer", "POST", "/recipe-versions", {"recipe_toml": payload, "reason": payload})
    ask("quality", "POST", "/trail/export", {"format": "csv", "reason": payload})
    ask("operator", "POST", "/packs/B00001-P01/scan", {"scanned": payload})
    ask("pharmacist", "POST", "/packs/B00001-P01/destroy", {"reason": payload})
    order = {**PRODUCTION.ORDER, "number": payload[:64], "prescriber": payload, "patient": payload[:64]}
    ask("pharmacist", "POST", "/orders", {"order": order, "signature": bench.signature("pharmacist")})


def test_what_is_entered_is_kept_as_it_is_and_comes_out_as_text(bench: Any) -> None:
    batch = release(bench)
    pack_all(bench, batch)
    for payload in PAYLOADS:
        hostile(bench, payload)
    entries = list(bench.workstation.store.entries())
    kept = {entry.reason for entry in entries}
    assert {payload.strip() for payload in PAYLOADS} <= {reason.strip() for reason in kept if reason is not None}, "each is on record"
    for entry in entries:
        assert b"\n" not in entry.canonical and b"\r" not in entry.canonical, "one entry is one line"
    assert verify_store(bench.workstation.settings.path(bench.workstation.settings.store)).findings == ()

    table = bench.ask("quality", "POST", "/trail/export", {"format": "csv", "reason": "to look"}).content.decode()
    for row in csv.reader(io.StringIO(table)):
        assert not [cell for cell in row if cell.startswith(_FORMULA)], row
    answer = bench.ask("qp", "GET", "/trail?limit=500&order=newest")
    assert answer.headers["content-type"] == "application/json" and answer.headers["x-content-type-options"] == "nosniff"
    found = bench.workstation.trail.page("workstation", read_filter({}), limit=500)
    inert(trail_tables.entries_html(found, QUERY))
    for entry in found.entries:
        inert(trail_tables.changes_html(changes_of(entry)))
    inert(accounts_html(list(bench.workstation.people.people()), PAYLOADS[0]))


QUERY = {"trail": "workstation", "order": "newest"}


def cell_that_says(payload: str) -> CellStatus:
    """A cell all of whose words are hostile."""
    unit = {"unit": payload, "n": 1, "strength_mg": "18.5", "target_mass_mg": "467", "verdict": "rejected", "reasons": [payload]}
    alarm = dict.fromkeys(("alarm", "name", "message", "cause", "consequence", "action", "shelved_by", "shelf_reason"), payload)
    tree = {
        "cell": payload, "run": payload, "batch": payload, "purpose": payload, "notices": [payload], "ports": {"printer": payload},
        "sensors": {"pressure": {"value": payload, "unit": payload}, payload: {"value": payload, "unit": payload}},
        "units": [unit], "alarms": [{**alarm, "state": "unacknowledged"}, {**alarm, "state": "shelved"}],
        "gates": [{"gate": payload, "met": False, "reason": payload}], "resting": {"pressure": payload}, "state": payload,
    }  # fmt: skip
    return CellStatus.model_validate(tree)


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_a_cell_or_the_record_says_is_text_on_every_page(payload: str) -> None:
    status = cell_that_says(payload)
    row: dict[str, Any] = dict.fromkeys(ROW, payload)
    shown = [
        panels.header(payload, payload, payload, payload, title=payload), panels.attention_banner([payload]), panels.stop_form(payload),
        panels.cell_stop(payload), panels.cell_tile(payload, status, here=False), panels.state_panel(status, payload),
        panels.first_view(status, payload, payload, "", ""), panels.unit_grid(status.units),
        panels.alarm_text(status.alarms[0]), panels.alarm_text(status.alarms[1]),
        panels.development_banner(payload), panels.demonstration_banner(payload), exception_html(payload, payload),
        pack_html({**row, "units": [1], "strengths": [payload], "labels": [{**row, "copy": 1}]}),
        lots_html([{**row, "expired": False}]), cartridges_html([{**row, "usable": True}], payload),
        recipes_page.list_html([row], payload), recipes_page.difference_html({"difference": [row], "compared_with": payload}),
        models_page.list_html([row], payload), models_page.plan_html({"definition": {"plan": row}}),
        steps_html({"status": "draft", "allowed_actions": {"submit": {"allowed": False, "reasons": [payload]}}}),
        refusal_page("AP-020", payload, payload, stop=True), login_page(demonstration=True, message=payload, code=True, passkeys=True),
    ]  # fmt: skip
    for page in shown:
        inert(page)
    assert sum(payload.split("\n")[0][:12] in html.unescape(page) for page in shown) > len(shown) / 2, "and it is there to be read"


ROW = (
    "pack", "state", "patient", "use_by", "code", "label", "outcome", "form", "lot", "ink", "strength", "known_by", "expires", "serial",
    "ink_lot", "remaining", "remaining_mass", "opened", "in_use_until", "clock", "warm", "id", "version", "status", "title", "review_by",
    "path", "old", "new", "change", "model", "impact", "intended_use", "decision", "justification",
)  # fmt: skip


# -- names of files --------------------------------------------------------------------------------------------------

CLIMBING = (
    "..%2f..%2fworkstation.toml", "..%2Fkeys%2Fworkstation.key", "%2e%2e%2fworkstation.toml", "%2fetc%2fpasswd", "..", "%2e%2e",
    "..%5c..%5cworkstation.toml", "workstation.toml%00.svg", "....%2f%2fworkstation.toml", "file:%2f%2f%2fetc%2fpasswd",
)  # fmt: skip
INSIDE = ("site = ", "root:", "PRIVATE KEY", "[[cells]]")


def test_no_name_in_a_path_leads_out_of_what_is_served(bench: Any) -> None:
    batch = release(bench)
    for name in CLIMBING:
        climb(bench, batch, name)


def climb(bench: Any, batch: str, name: str) -> None:
    for method, path, _ in routes_with_names(bench):
        known = path.replace("{batch}", batch)
        if "{" not in known:
            continue  # nothing else is named
        asked = re.sub(r"\{[^}]+\}", name, known)
        answer = bench.ask("pharmacist", method, asked.removeprefix("/api/v1"), {"reason": "x"} if method == "POST" else None)
        assert not any(word in answer.text for word in INSIDE), f"{method} {asked}"
        described = answer.status_code in (400, 401, 403, 404, 405, 409, 422, 503)
        assert described or answer.headers["content-type"].startswith("application/json"), f"{method} {asked}: {answer.status_code}"
    for path in (f"/_nicegui/{name}", f"/_nicegui/auto/static/{name}", f"/{name}", f"/api/v1/{name}"):
        answer = bench.client.get(path, headers={"Authorization": f"Bearer {bench.token('operator')}"}, follow_redirects=False)
        assert not any(word in answer.text for word in INSIDE), path


def routes_with_names(bench: Any) -> list[tuple[str, str, Any]]:
    app = bench.client.app.app if hasattr(bench.client.app, "app") else bench.client.app
    found = [(method, route.path, guard) for route, guard in guards(app) for method in sorted(route.methods or ()) if "{" in route.path]
    assert len(found) > 60
    return [item for item in found if item[0] in ("GET", "POST")]


UNHEARD = ("%00", "a%00b", "%ED%A0%80", "x" * 3000, "%E2%80%AE", "null", "'--", "a%2Fb", "%C3%A9" * 300)


@pytest.mark.parametrize("who", ["pharmacist", "engineer"])
def test_a_name_that_nothing_has_is_refused_and_never_a_fault_of_the_site(bench: Any, who: str) -> None:
    refused = 0
    for method, path, _ in routes_with_names(bench):
        for name in UNHEARD:
            asked = re.sub(r"\{[^}]+\}", name, path)
            answer = bench.ask(who, method, asked.removeprefix("/api/v1"), {} if method == "POST" else None)
            assert answer.status_code < 500, f"{method} {asked[:120]}: {answer.text[:200]}"
            refused += answer.status_code >= 400
    assert refused > 500


def test_every_download_is_named_by_us_with_plain_letters(bench: Any) -> None:
    batch = release(bench)
    (pack,) = pack_all(bench, batch)
    answers = (
        bench.ask("pharmacist", "POST", "/trail/export", {"format": "csv", "reason": "to look"}),
        bench.ask("operator", "POST", f"/packs/{pack}/label", {"form": "zpl"}),
        bench.ask("quality", "POST", "/recipe-versions/hydrocortisone@1/export"),
    )
    for answer in answers:
        assert answer.status_code == 200, answer.text
        assert re.fullmatch(r'attachment; filename="[A-Za-z0-9][A-Za-z0-9._@-]*"', answer.headers["content-disposition"])


@pytest.mark.parametrize("pack", ["../../evil", "/etc/passwd", "B1-P01/../../x", "B00001-P01\x00", ""])
def test_the_command_line_writes_no_file_where_a_workstation_tells_it_to(tmp_path: Path, pack: str) -> None:
    class Lying(Desk):
        def get(self, path: str) -> Any:
            return {"unpacked": [], "packs": [{"pack": pack}]}

        def download(self, path: str, body: Any = None) -> bytes:
            raise AssertionError("nothing is asked for under such a name")

    desk = Lying("operator", "", None)  # type: ignore[arg-type]
    with pytest.raises(InputInvalid, match="no number of a pack"):
        print_labels(desk, "B00001", {"form": "pdf"}, tmp_path)
    assert list(tmp_path.iterdir()) == []
