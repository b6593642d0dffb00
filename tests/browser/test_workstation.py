"""The workstation as its users meet it, in a real browser over real processes."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from api import cli
from api.demo_desk import Refused
from audit.checkpoint import VerifierKey
from audit.release.package_check import verify_package
from audit.report import VerificationStatus

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]

STATE = ".dw-state h1"


def fill(page: Page, **values: str) -> None:
    for label, value in values.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()


def passwords_are_in_forms(page: Page) -> bool:
    return bool(
        page.evaluate(
            "() => { const found = [...document.querySelectorAll('input[type=password]')];"
            " return found.length > 0 && found.every(item => item.form && item.autocomplete === 'current-password') }"
        )
    )


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_from_prescription_to_package(workplace: Any, visit: Visit, watch: Any, tmp_path: Path) -> None:
    pharmacist = visit("pharmacist", watch=watch)
    expect(pharmacist.locator(STATE)).to_have_text("Idle")
    pharmacist.get_by_role("link", name="New prescription").click()
    expect(pharmacist.locator(".dw-col[inert]")).to_have_count(0)
    fill(pharmacist, **{"Patient (pseudonym)": "demonstration-004", "Prescribed amount": "1", "Times of day": "evening 1", "Days": "4"})
    press(pharmacist, "Show the dose")
    expect(pharmacist.locator(".dw-arith")).to_contain_text("1 mg")
    assert passwords_are_in_forms(pharmacist)
    fill(pharmacist, Your_password="not the password")
    press(pharmacist, "Sign the entry")
    expect(pharmacist.get_by_text("password is wrong")).to_be_visible()
    fill(pharmacist, Your_password=workplace.password("pharmacist"))
    press(pharmacist, "Sign the entry")
    expect(pharmacist.locator("#step-3")).to_contain_text("another person confirms it")

    second = visit("second", watch=watch)
    expect(second.locator(".dw-waiting")).to_contain_text("O00001")
    second.locator(".dw-waiting a").click()
    confirmation = second.locator("form", has=second.get_by_role("button", name="Sign the confirmation"))
    expect(confirmation).to_be_visible()
    # blind: nothing of the first entry reaches the browser of the second person
    assert "demonstration-004" not in second.content()
    amount, password = confirmation.get_by_label("Prescribed amount"), confirmation.get_by_label("Your password")
    for label, option in (("Unit", "mg"), ("Per", "dose")):
        confirmation.get_by_label(label, exact=True).click()
        second.get_by_role("option", name=option, exact=True).click()
    for label, value in (("Patient (pseudonym)", "demonstration-004"), ("Times of day", "evening"), ("Days", "4")):
        confirmation.get_by_label(label, exact=True).fill(value)
    amount.fill("1.25")
    password.fill(workplace.password("second"))
    press(second, "Sign the confirmation")
    expect(second.get_by_text("The two entries differ in: prescribed")).to_be_visible()
    amount.fill("1")
    password.fill(workplace.password("second"))
    password.press("Enter")
    expect(second.locator("#step-4")).to_have_class(re.compile("dw-open"))

    operator = visit("operator", watch=watch)
    operator.goto(f"{workplace.base}/new?order=O00001")
    operator.get_by_label("Scan the cartridge", exact=True).fill("MIN-DEMO-01-A")
    press(operator, "Check")
    press(operator, "Plate, purge tray and cell are empty and clean: go through the gates")
    start = operator.get_by_role("button", name="Start batch B00001")
    expect(start).to_be_enabled()
    workplace.stack.hold()
    start.click()
    press(operator, "Go to cell-1")
    workplace.until(lambda status: status.judged == 1)
    expect(operator.locator(STATE)).to_have_text("Printing")
    expect(operator.locator(".dw-unit")).to_have_count(4)
    expect(operator.locator(".dw-unit.dw-is-accepted")).not_to_have_count(0)
    accepted = operator.locator('.dw-unit[data-unit="1"]')
    expect(accepted).to_contain_text(re.compile(r"accepted.*\d+\.\d\d mg.*[+−]\d+\.\d\d %", re.DOTALL))
    expect(accepted.locator(".dw-marker")).to_have_attribute("style", re.compile(r"left:[2-7]\d"))
    expect(operator.locator(".dw-chart")).to_have_attribute("aria-label", re.compile(r"last [0-9.]+ kPa"))
    assert len(operator.locator(".dw-chart polyline").get_attribute("points") or "") > 200
    balance = operator.locator(".dw-sensor", has_text="Balance")
    expect(balance.locator("b")).to_have_text(re.compile(r"^-?\d+\.\d$"))
    workplace.stack.let_go()
    expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(4)
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    # after a clean run nothing looks like a fault, and no old reading is shown
    expect(operator.locator(".dw-sensor b")).to_have_text(["not in use"] * 5)
    expect(balance).to_contain_text(re.compile(r"since the run ended at .* UTC; last identified as .*serial number"))
    operator.screenshot(path=tmp_path / "after-the-run.png", full_page=True)

    qp = visit("qp", watch=watch)
    press(qp, "Close the run and review it")
    press(qp, "Show the review")
    expect(qp.locator(".dw-verdict-big")).to_have_text("Proposed: released")
    assert passwords_are_in_forms(qp)
    sign = qp.get_by_role("button", name="Sign", exact=True)
    sign.click()
    expect(qp.get_by_text("Choose a disposition")).to_be_visible()
    qp.get_by_label("Disposition").click()
    qp.get_by_role("option", name="released", exact=True).click()
    fill(qp, Your_password=workplace.password("qp"))
    sign.click()
    expect(qp.get_by_text("Signed: released.")).to_be_visible()
    press(qp, "Show the review")
    expect(qp.locator(".dw-verdict-big")).to_have_text("Signed: released")
    with qp.expect_download() as download:
        press(qp, "Download the review package")
    package = tmp_path / "review-package.zip"
    download.value.save_as(package)
    keys = [VerifierKey.parse(line) for line in (workplace.stack.folder / "site.vkey").read_text().splitlines()]
    report = verify_package(package, keys)
    assert (report.status, report.findings) == (VerificationStatus.VERIFIED, ())
    record = json.loads(zipfile.ZipFile(package).read("record.json"))
    assert record["disposition"] == "released"
    shown = [text.split(" mg")[0] for text in operator.locator(".dw-mass").all_inner_texts()]
    assert shown == [unit["mass_mg"] for unit in record["units"]]

    press(qp, "Log out")
    qp.wait_for_url("**/login")
    qp.goto(workplace.base)
    qp.wait_for_url("**/login")
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    watch.assert_quiet()


@pytest.mark.deep
@pytest.mark.parametrize("workplace", [{"fault": "balance_silent:1"}], indirect=True)
def test_a_warning_is_put_on_the_shelf_with_a_reason(workplace: Any, visit: Visit, watch: Any) -> None:
    operator = visit("operator", watch=watch)
    workplace.begin(days=4)
    workplace.until(lambda status: bool(status.alarms))
    warning = operator.locator(".dw-alarm").filter(has_text="Balance settles slowly")
    expect(warning).to_contain_text("medium")
    press(operator, "Shelve")
    dialog = operator.get_by_role("dialog")
    dialog.get_by_label("Why is it put away?").fill("door of the cell stood open, closed now")
    dialog.get_by_role("button", name="Shelve").click()
    expect(warning).to_contain_text("by operator, for 15 min 00 s more at most: door of the cell stood open, closed now")
    expect(operator.get_by_role("button", name="Show again now")).to_be_visible()
    workplace.stack.let_go()
    critical = operator.locator(".dw-alarm").filter(has_text="critical")
    expect(critical).to_contain_text("unit 1 · first")
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    expect(warning.locator(".dw-alarm-top")).to_contain_text("unacknowledged")
    expect(operator.get_by_role("button", name="Shelve")).to_have_count(0)


@pytest.mark.parametrize("workplace", [{"fault": "clog:2"}], indirect=True)
def test_fault_is_shown_acknowledged_and_blocks_release(workplace: Any, visit: Visit, watch: Any) -> None:
    operator = visit("operator", watch=watch)
    batch = workplace.begin(days=4)
    workplace.stack.let_go()
    alarm = operator.locator(".dw-alarm")
    expect(alarm).to_contain_text("critical · unit 2")
    expect(alarm).to_contain_text("Do now")
    expect(alarm).not_to_contain_text("..")
    expect(operator.locator('.dw-unit[data-unit="2"]')).to_contain_text("take it off the plate")
    press(operator, "Acknowledge")
    fill(operator, **{"What did you see, what did you do?": "nozzle looks blocked, plate left as it is"})
    # STOP stays above an open dialog
    box = operator.get_by_role("button", name="Stop the printer now").bounding_box()
    assert box is not None
    top = "([x, y]) => document.elementFromPoint(x, y).closest('.dw-stop') !== null"
    assert operator.evaluate(top, [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2])
    operator.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(alarm.locator(".dw-alarm-top")).to_contain_text("acknowledged")
    expect(alarm.locator(".dw-alarm-top")).not_to_contain_text("unacknowledged")

    qp = visit("qp", watch=watch)
    press(qp, "Close the run and review it")
    press(qp, "Show the review")
    expect(qp.locator(".dw-verdict-big")).to_have_text("Proposed: held")
    expect(qp.locator(".dw-list").first).to_contain_text("its removal is not confirmed")
    with workplace.desk("qp") as desk, pytest.raises(Refused, match="removal is not confirmed"):
        desk.post(f"/batches/{batch}/disposition", {"disposition": "released", "signature": desk.signature})
    second = visit("second", watch=watch)
    fill(second, User_name="second", Password=workplace.password("second"))
    press(second, "Unit 2 is off the plate")
    expect(second.locator('.dw-unit[data-unit="2"]')).to_contain_text("removal confirmed")
    # what was fetched before the removal is no longer shown
    expect(qp.locator(".dw-verdict-big")).to_have_count(0)
    press(qp, "Show the review")
    expect(qp.locator(".dw-verdict-big")).to_be_visible()
    expect(qp.locator(".dw-list").first).not_to_contain_text("removal")
    fill(qp, Your_password=workplace.password("qp"))
    qp.get_by_label("Disposition").click()
    expect(qp.get_by_role("option")).to_have_text(["rejected"])
    qp.get_by_role("option").click()
    qp.get_by_role("button", name="Sign", exact=True).click()
    expect(qp.get_by_text("Signed: rejected.")).to_be_visible()
    with workplace.desk("qp") as desk:
        assert desk.get(f"/batches/{batch}/review")["disposition"] == "rejected"
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_stop_without_script_and_a_silent_cell(workplace: Any, visit: Visit, watch: Any) -> None:
    stranger = visit(watch=watch)
    stranger.goto(workplace.base)
    stranger.wait_for_url("**/login")
    text = stranger.locator("body").inner_text()
    assert "Demonstration, not for patients" in text
    assert not re.search(r"cell-1|batch|cyclophosphamide|minoxidil|pharmacist", text, re.IGNORECASE)

    bare = visit("operator", watch=watch, java_script_enabled=False)
    press(bare, "Stop the printer now")
    expect(bare.get_by_text("There is nothing to stop")).to_be_visible()
    bare.get_by_role("link", name="Back").click()
    watching = visit("pharmacist", watch=watch)
    workplace.begin(days=6)
    workplace.until(lambda status: status.judged >= 1)
    bare.reload()
    expect(bare.locator(STATE)).to_have_text("Printing")
    press(bare, "Stop the printer now")
    status = workplace.until(lambda status: status.ended)
    assert status.ended_as == "ABORTED"
    assert [alarm.name for alarm in status.alarms] == ["stopped by a person"]
    expect(watching.locator(".dw-alarm")).to_contain_text("stopped by a person", ignore_case=True)
    bare.reload()
    expect(bare.locator(".dw-alarm")).to_contain_text("stopped by a person", ignore_case=True)

    workplace.stack.kill_cell()
    expect(watching.locator(STATE)).to_have_text("Unknown")
    expect(watching.get_by_role("alert")).to_contain_text("does not answer")
    expect(watching.locator(".dw-sensor b").first).to_have_text("unknown")
    assert "No alarm" not in watching.locator("body").inner_text()
    expect(watching.locator(".dw-unit")).to_have_count(0)
    expect(watching.get_by_role("button", name="Stop the printer now")).to_be_visible()
    press(watching, "Stop the printer now")
    expect(watching.get_by_text("The printer was not told to stop")).to_be_visible()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_print_outlives_the_web_process(workplace: Any, visit: Visit) -> None:
    operator = visit("operator")
    workplace.begin(days=8)
    workplace.until(lambda status: status.judged == 1)
    expect(operator.locator(".dw-unit.dw-is-accepted")).not_to_have_count(0)
    workplace.kill_workstation()
    expect(operator.locator("#popup")).to_be_visible()
    judged = workplace.status().judged
    workplace.until(lambda status: status.judged > judged)
    workplace.restart_workstation()
    expect(operator.locator(".dw-locked")).to_be_visible()
    expect(operator.locator(STATE)).to_have_text("Printing")
    status = workplace.status()
    assert status.state == "PRINTING" and status.judged > judged
    workplace.stack.let_go()
    expect(operator.locator(".dw-unit.dw-is-accepted")).to_have_count(8)
    assert workplace.until(lambda status: status.ended).ended_as == "FINISHED"
    expect(operator.locator(STATE)).to_have_text("Awaiting review")


@pytest.mark.parametrize("workplace", [{"others": ("minoxidil", "hydrocortisone")}], indirect=True)
def test_two_cells_print_and_each_is_stopped_by_itself(workplace: Any, visit: Visit, watch: Any) -> None:
    workplace.begin(30)
    workplace.until(lambda status: status.judged == 1)
    order = workplace.order(30, cartridge_number=2)
    operator = visit("operator", watch=watch)
    here, second, third = (operator.locator(f'[data-cell="cell-{number}"]') for number in (1, 2, 3))
    expect(here).to_contain_text(re.compile(r"B00001 · \d+ of 30 judged"))
    expect(second).to_contain_text("Idle")
    expect(here.get_by_role("button")).to_have_count(0)
    expect(third.get_by_role("button")).to_have_count(0)
    second.get_by_role("link").click()
    expect(operator).to_have_title("cell-2: Dosewright")
    operator.locator(".dw-waiting a", has_text=order).click()
    operator.get_by_label("Scan the cartridge", exact=True).fill("MIN-DEMO-01-A-2")
    press(operator, "Check")
    expect(operator.get_by_text("cell-1 cannot take it: run B00001-R1 is on it")).to_be_visible()
    expect(operator.get_by_text("cell-3 cannot take it: it has machine fdm-0.4, and recipe minoxidil@1 needs sse-18g-3ml")).to_be_visible()
    expect(operator.get_by_role("button", name="cell-2 is chosen")).to_be_visible()  # the only one that can take it
    press(operator, "Plate, purge tray and cell are empty and clean: go through the gates")
    start = operator.get_by_role("button", name="Start batch B00002 on cell-2")
    expect(start).to_be_enabled()
    workplace.stack.hold("cell-2")
    start.click()
    press(operator, "Go to cell-2")
    workplace.until(lambda status: status.state == "PRINTING", "cell-2")
    expect(operator.locator(STATE)).to_have_text("Printing")
    expect(here).to_contain_text("Printing")
    # STOP of the other cell leads to its page; the cell of this page prints on
    press(operator, "Stop the printer of cell-1 now")
    operator.wait_for_url(f"{workplace.base}/?cell=cell-1")
    workplace.until(lambda status: status.ended)
    expect(operator.locator(STATE)).to_have_text("Awaiting review")
    expect(operator.locator('[data-cell="cell-2"]')).to_contain_text("Printing")
    plain = visit("operator", java_script_enabled=False)
    expect(plain.locator('[data-cell="cell-2"]')).to_contain_text("Printing")
    press(plain, "Stop the printer of cell-2 now")
    plain.wait_for_url(f"{workplace.base}/?cell=cell-2")
    workplace.until(lambda status: status.ended, "cell-2")
    operator.goto(f"{workplace.base}/?cell=cell-9")
    operator.wait_for_url(f"{workplace.base}/")
    expect(operator.locator(".dw-head")).to_contain_text("cell-1")
    watch.assert_quiet()


@pytest.mark.parametrize("workplace", [{"daily_check": True}], indirect=True)
def test_the_daily_check_is_done_on_the_page_and_at_the_command_line(
    workplace: Any, visit: Visit, watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = visit("operator", watch=watch)
    panel = page.locator("section.dw-card", has=page.get_by_role("heading", name="Before a print"))
    expect(panel.locator("li.unmet")).to_contain_text("no check of the balance B000000001 is on record")
    press(page, "Begin the daily check")
    expect(panel).to_contain_text("Step 1 of 7.")
    for number in range(1, 8):
        expect(panel).to_contain_text(f"Step {number} of 7.")
        press(page, "Demonstration: let the bench do it")
        expect(page.get_by_text("The bench has done it.").last).to_be_visible()
        if number == 4:
            page.screenshot(path=tmp_path / "daily-check.png")
        press(page, "Done: read the balance")
    expect(panel).to_contain_text("The daily check passed.")
    expect(panel.locator("li.unmet")).to_have_count(0)
    page.get_by_label("Cell cleaned, by").fill("wiped with 70 % ethanol")
    press(page, "Record the cleaning")
    expect(panel.locator("li.met").last).to_contain_text("wiped with 70 % ethanol")
    page.screenshot(path=tmp_path / "before-a-print.png")
    watch.assert_quiet()

    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", workplace.password("operator"))
    where = ["--url", workplace.base]
    assert cli.run(["check", "readiness", *where]) == 0
    assert cli.run(["check", "balance", *where, "--demonstration", str(workplace.stack.folder), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out.split("\n{", 1)[1].join(["{", ""]))
    assert printed["passed"] is True and len(printed["readings"]) == 7
    assert cli.run(["check", "cleaning", "CL-1", *where]) == 0
    monkeypatch.setenv("DOSEWRIGHT_PASSWORD", "wrong")
    assert cli.run(["check", "balance", *where]) == 2
