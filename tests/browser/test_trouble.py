"""Trouble around a page during a print: its workstation dies, its browser sleeps, its websocket stalls, two people press at once."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier, Thread
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from api.demo_desk import Desk, Refused

pytestmark = [pytest.mark.browser, pytest.mark.stack]
Visit = Callable[..., Page]
STATE = ".dw-state h1"
STOP = "Stop the printer now"
START = "Start"


def ready_to_start(workplace: Any) -> str:
    """Prepare a batch of three units on the cell, and a second operator at the site; return the batch's number."""
    number = workplace.order(3)
    with workplace.desk("operator") as operator, workplace.desk("administrator") as administrator:
        roles = {"roles": ["operator"], "reason": "a second operator"}
        administrator.client.put("/people/second/roles", json=roles).raise_for_status()
        batch = str(operator.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
        operator.post(f"/batches/{batch}/run")
    workplace.until(lambda status: status.may("start").allowed)
    return batch


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_the_page_comes_back_by_itself_when_the_workstation_is_killed_during_a_print(workplace: Any, visit: Visit) -> None:
    page = visit("operator")
    workplace.begin(days=8)
    workplace.until(lambda status: status.judged == 1)
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(1)
    masses = [unit.mass_mg for unit in workplace.status().units[:1]]
    workplace.kill_workstation()
    expect(page.locator("#popup")).to_be_visible()
    expect(page.locator(".dw-col[inert]").first).to_be_attached()
    workplace.until(lambda status: status.judged == 2)
    workplace.restart_workstation()
    # nobody touches the page; it shows what became of the print meanwhile, locked, and is live
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(2)
    expect(page.locator(".dw-locked")).to_contain_text("the workstation started again")
    expect(page.locator(".dw-first")).to_have_count(0)
    expect(page.get_by_role("button", name=STOP)).to_be_visible()
    workplace.until(lambda status: status.judged == 3)
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(3)
    page.get_by_label("Password of operator").fill(workplace.password("operator"))
    page.get_by_role("button", name="Go on").click()
    expect(page.locator(".dw-locked")).to_have_count(0)
    expect(page.get_by_role("button", name="Pause after this unit")).to_be_enabled()
    status = workplace.status()
    assert status.state == "PRINTING" and status.alarms == () and [unit.mass_mg for unit in status.units[:1]] == masses
    page.get_by_role("button", name=STOP).click()
    assert workplace.until(lambda status: status.ended).ended_as == "ABORTED"


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_session_that_has_ended_leads_to_the_log_in_and_not_to_a_page_that_waits(workplace: Any, visit: Visit) -> None:
    page = visit("operator")
    expect(page.locator(STATE)).to_have_text("Idle")
    workplace.kill_workstation()
    (workplace.stack.folder / "sessions.db").unlink()
    for name in ("sessions.db-wal", "sessions.db-shm"):
        (workplace.stack.folder / name).unlink(missing_ok=True)
    workplace.restart_workstation()
    page.wait_for_url("**/login")


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_two_people_press_start_at_once_and_it_is_started_once(workplace: Any, visit: Visit) -> None:
    batch = ready_to_start(workplace)
    pages = [visit("operator"), visit("second")]
    for page in pages:
        expect(page.get_by_role("button", name=START, exact=True)).to_be_enabled()
        # by the clock of the machine that both browsers run on, at the same moment
        page.evaluate(
            "name => { const button = [...document.querySelectorAll('button')].find(item => item.textContent.trim() === name);"
            " setTimeout(() => button.click(), 2000 - Date.now() % 2000) }",
            START,
        )
    for page in pages:
        expect(page.locator(STATE)).to_have_text("Preparing")
    refused = [page.locator(".q-notification").all_inner_texts() for page in pages]
    said = [text for texts in refused for text in texts]
    assert len(said) == 1, f"one of two was to be told that it is started: {refused}"
    assert "start" in said[0] and batch in said[0], said
    workplace.stack.let_go()
    assert workplace.until(lambda status: status.ended).ended_as == "FINISHED"


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_two_programs_that_start_at_once_get_one_yes_and_one_reason(workplace: Any) -> None:
    batch = ready_to_start(workplace)
    with workplace.desk("operator") as first, workplace.desk("second") as second:
        barrier, done, refused = Barrier(2), [], []

        def start(desk: Desk) -> None:
            barrier.wait()
            try:
                done.append(desk.post(f"/batches/{batch}/start"))
            except Refused as error:
                refused.append(error)

        threads = [Thread(target=start, args=(desk,)) for desk in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(done) == 1 and len(refused) == 1
    assert "start" in str(refused[0])


@pytest.mark.parametrize("workplace", [{"fault": "balance_silent:1"}], indirect=True)
def test_a_browser_that_slept_through_an_alarm_shows_it_as_it_is_when_it_wakes(workplace: Any, visit: Visit) -> None:
    page, awake = visit("operator"), visit("pharmacist")
    workplace.begin(days=3)
    workplace.until(lambda status: status.state == "PRINTING")
    expect(page.locator(STATE)).to_have_text("Printing")
    assert page.locator(".dw-alarm").count() == 0
    browser = page.context.new_cdp_session(page)
    browser.send("Page.setWebLifecycleState", {"state": "frozen"})
    status = workplace.until(lambda status: status.ended)
    assert [alarm.name for alarm in status.alarms] != []
    alarms, waiting = len(status.alarms), sum(alarm.is_open for alarm in status.alarms)
    awake.get_by_role("button", name="Acknowledge").first.click()
    awake.get_by_label("What did you see, what did you do?").fill("cable was out")
    awake.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(awake.locator(".dw-alarm", has_text="unacknowledged")).to_have_count(waiting - 1)
    asleep = browser.send("Runtime.evaluate", {"expression": "document.querySelectorAll('.dw-alarm').length"})
    assert asleep["result"]["value"] == 0, "the page was not asleep"
    browser.send("Page.setWebLifecycleState", {"state": "active"})
    expect(page.locator(STATE)).to_have_text("Awaiting review")
    expect(page.locator(".dw-alarm")).to_have_count(alarms)
    expect(page.locator(".dw-alarm", has_text="unacknowledged")).to_have_count(waiting - 1)
    assert page.locator(".dw-alarm").all_inner_texts() == awake.locator(".dw-alarm").all_inner_texts()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_a_browser_without_network_says_so_and_catches_up_when_it_is_there_again(workplace: Any, visit: Visit) -> None:
    page = visit("operator")
    workplace.begin(days=6)
    workplace.until(lambda status: status.judged == 1)
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(1)
    page.context.set_offline(True)
    page.evaluate("window.socket.io.engine.close()")
    expect(page.locator("#popup")).to_be_visible()
    workplace.until(lambda status: status.judged == 2)
    page.context.set_offline(False)
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(2)
    expect(page.locator(".dw-locked")).to_have_count(0)


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_stop_works_on_a_page_whose_websocket_has_stalled(workplace: Any, visit: Visit) -> None:
    page = visit()
    stalled: list[bool] = []

    def opened(route: Any) -> None:
        server = route.connect_to_server()
        route.on_message(lambda message: None if stalled else server.send(message))
        server.on_message(lambda message: None if stalled else route.send(message))

    page.route_web_socket("**/_nicegui_ws/**", opened)
    workplace.log_in(page, "operator")
    workplace.begin(days=3)
    workplace.until(lambda status: status.state == "PRINTING")
    expect(page.locator(STATE)).to_have_text("Printing")
    stalled.append(True)
    page.get_by_role("button", name=STOP).click()
    status = workplace.until(lambda status: status.ended)
    assert status.ended_as == "ABORTED" and [alarm.name for alarm in status.alarms] == ["stopped by a person"]
