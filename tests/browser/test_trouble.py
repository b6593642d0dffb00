"""Trouble around a page during a print: its workstation dies, its browser sleeps, its websocket stalls, two people press at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    """Prepare a batch of three units on the cell; return its number."""
    number = workplace.order(3)
    with workplace.desk("operator") as operator:
        batch = str(operator.post("/batches", {"order": number, "cell": "cell-1"})["batch"])
        operator.post(f"/batches/{batch}/run")
    workplace.until(lambda status: status.may("start").allowed)
    return batch


@contextmanager
def asleep(page: Page) -> Iterator[None]:
    """Stop every process that draws pages, as the sleep of a computer does; what arrives meanwhile waits or is lost."""
    browser = page.context.browser
    assert browser is not None
    session = browser.new_browser_cdp_session()
    found = session.send("SystemInfo.getProcessInfo")["processInfo"]
    renderers = [int(process["id"]) for process in found if process["type"] == "renderer"]
    assert renderers
    for pid in renderers:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in renderers:
            os.kill(pid, signal.SIGCONT)
    session.detach()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_the_page_comes_back_by_itself_when_the_workstation_is_killed_during_a_print(workplace: Any, visit: Visit) -> None:
    page, other = visit("operator"), visit("pharmacist")
    workplace.begin(days=8)
    workplace.until(lambda status: status.judged == 1)
    expect(page.locator(".dw-unit.dw-is-accepted")).to_have_count(1)
    other.goto(f"{workplace.base}/batches?batch=B00001")
    expect(other.locator(".dw-col")).to_contain_text(["Batch B00001", "Look for it"])
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
    # a page that shows more than the run shows nothing of it while it is locked, and comes back as it was
    expect(other.locator(".dw-locked")).to_be_visible()
    expect(other.locator(".dw-col")).to_have_count(0)
    expect(other.get_by_role("button", name=STOP)).to_be_visible()
    other.get_by_label("Password of pharmacist").fill(workplace.password("pharmacist"))
    other.get_by_role("button", name="Go on").click()
    other.wait_for_url(f"{workplace.base}/batches?batch=B00001")
    expect(other.locator(".dw-col")).to_contain_text(["Batch B00001", "Look for it"])
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
    # the page may be on its way there twice: loaded anew, and by its own script
    expect(page).to_have_url(f"{workplace.base}/login")
    expect(page.get_by_label("User name")).to_be_visible()


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_two_people_press_start_at_once_and_it_is_started_once(workplace: Any, visit: Visit) -> None:
    ready_to_start(workplace)
    pages = [visit("operator"), visit("operator")]
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
    assert "the run is PREPARING: a run starts from READY" in said[0], said
    workplace.stack.let_go()
    assert workplace.until(lambda status: status.ended).ended_as == "FINISHED"


@pytest.mark.parametrize("workplace", [{}], indirect=True)
def test_two_programs_that_start_at_once_get_one_yes_and_one_reason(workplace: Any) -> None:
    batch = ready_to_start(workplace)
    with workplace.desk("operator") as first, workplace.desk("operator") as second:
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
    page = visit("operator")
    workplace.begin(days=3)
    workplace.until(lambda status: status.state == "PRINTING")
    expect(page.locator(STATE)).to_have_text("Printing")
    assert page.locator(".dw-alarm").count() == 0
    with asleep(page):
        alarms = workplace.until(lambda status: status.ended).alarms
        assert all(alarm.is_open for alarm in alarms) and alarms
        with workplace.desk("pharmacist") as desk:
            desk.post("/cells/cell-1/alarms/acknowledge", {"alarm": alarms[0].alarm, "comment": "the cable was out"})
    expect(page.locator(STATE)).to_have_text("Awaiting review")
    expect(page.locator(".dw-alarm")).to_have_count(len(alarms))
    expect(page.locator(".dw-alarm", has_text="unacknowledged")).to_have_count(len(alarms) - 1)
    expect(page.locator(".dw-alarm", has_text=alarms[0].action).first).to_be_visible()


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
