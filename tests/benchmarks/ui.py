"""The workstation under load: eight browsers that look at a cell which prints, and eight programs that ask beside them, on this machine.

Everything runs on the same processors: devices, cell, workstation, Chromium with its eight pages, and what measures. The slowest browser is
the figure, never the mean.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
from playwright.sync_api import BrowserContext, Page

from api.demo_desk import Desk
from printer.cell_client import CellClient
from tests.benchmarks import Row
from tests.benchmarks.cell_stop import BROWSERS, until
from tests.benchmarks.watched_site import WatchedSite, chromium, load_text, logged_in, look_at_cell, printing_site

SPAN_S = 10.0
REPEATS = 3
CLIENTS, EVERY_S = 8, 0.25
QUESTIONS = ("/cells/cell-1/status", "/batches?limit=50", "/orders?limit=50", "/trail?limit=100", "/trail?text=PRINTING&limit=20")
FLOOR = "/health"
FIRST_PAGES, STOPS, RESTARTS = 7, 5, 3
_SETTLE_S = 2.0


def under_load() -> list[Row]:
    """Updates of eight pages, then the answers to eight programs beside them, then STOP pressed on one of the pages."""
    try:
        with printing_site() as site, chromium() as browser:
            site.begin_run()
            pages = [look_at_cell(logged_in(browser, site), site) for _ in range(BROWSERS)]
            time.sleep(_SETTLE_S)
            return [_updates(site, pages), *_answers(site, pages), *_stops(site, pages)]
    except FileNotFoundError as error:
        return [Row(name, "not run", "", str(error), None, None) for name in ("ui.updates_per_s_8_browsers", "api.p95_ms")]


def _shown(pages: Sequence[Page]) -> list[int]:
    return [int(page.evaluate("window.dwSeen.shown.length")) for page in pages]


def _rates(pages: Sequence[Page], seconds: float) -> list[float]:
    """Return for each page how often a second its chart or readings became others."""
    before, began = _shown(pages), time.monotonic()
    time.sleep(seconds)
    span, after = time.monotonic() - began, _shown(pages)
    return [(now - then) / span for then, now in zip(before, after, strict=True)]


def _updates(site: WatchedSite, pages: Sequence[Page]) -> Row:
    """The peer: how many views a second the cell itself gives to one program that does nothing but ask, during the same seconds."""
    slowest: list[float] = []
    said: list[float] = []
    began = time.monotonic()
    for _ in range(REPEATS):
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(_views, site, SPAN_S)
            slowest.append(min(_rates(pages, SPAN_S)))
            said.append(asked.result())
    value, peer = max(slowest), max(said)
    each = ", ".join(f"{rate:.1f}" for rate in slowest)
    text = (
        f"views the cell gives to a program that only asks; slowest browser of {BROWSERS} in each span: {each}; "
        f"{load_text(began)}; target 5"
    )
    return Row("ui.updates_per_s_8_browsers", f"{value:.1f}", "1/s", text, f"{peer:.0f}", f"{value / peer:.2f}")


def _views(site: WatchedSite, seconds: float) -> float:
    client = CellClient(site.address, timeout_s=30.0)
    moments, began = set(), time.monotonic()
    while time.monotonic() - began < seconds:
        moments.add(client.status(1 << 60)["at_us"])
    span = time.monotonic() - began
    client.close()
    return len(moments) / span


def _answers(site: WatchedSite, pages: Sequence[Page]) -> list[Row]:
    """Eight programs, each asking one question every quarter of a second, in turn; the peer is `/health` among them."""
    began, best = time.monotonic(), (float("inf"), float("inf"), 0.0, 0.0)
    desks = [site.desk("quality") for _ in range(CLIENTS)]
    for _ in range(REPEATS):
        stop, asked = threading.Event(), time.monotonic()
        with ThreadPoolExecutor(CLIENTS) as pool:
            asking = [pool.submit(_ask, desk, number, stop) for number, desk in enumerate(desks)]
            rates = _rates(pages, SPAN_S)
            stop.set()
            found = [answer for client in asking for answer in client.result()]
        rate = len(found) / (time.monotonic() - asked)
        work = [ms for path, ms in found if path != FLOOR]
        best = min(best, (_p95(work), _p95([ms for path, ms in found if path == FLOOR]), rate, min(rates)))
    for desk in desks:
        desk.close()
    value, peer, rate, slowest = best
    text = (
        f"{FLOOR} among the same requests; {CLIENTS} programs, {rate:.0f} requests a second of status, lists and trail beside {BROWSERS} "
        f"browsers (slowest {slowest:.1f} updates/s meanwhile); best of {REPEATS}; {load_text(began)}; target 100"
    )
    return [Row("api.p95_ms", f"{value:.0f}", "ms", text, f"{peer:.0f}", f"{value / peer:.1f}")]


def _p95(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=20)[-1]


def _ask(desk: Desk, number: int, stop: threading.Event) -> list[tuple[str, float]]:
    """Ask at fixed moments; a late answer delays the next question of this program, and counts for all it took."""
    found = []
    due = time.monotonic() + number * EVERY_S / CLIENTS
    turn = number
    paths = (*QUESTIONS, FLOOR)
    while not stop.wait(max(0.0, due - time.monotonic())):
        path = paths[turn % len(paths)]
        asked = time.perf_counter()
        answer = desk.client.get(path)
        found.append((path, (time.perf_counter() - asked) * 1000))
        answer.raise_for_status()
        turn, due = turn + 1, max(due + EVERY_S, time.monotonic())
    return found


def _stops(site: WatchedSite, pages: Sequence[Page]) -> list[Row]:
    """From the form's POST leaving a program that does what the page's STOP does, to the stop's bytes at the printer's terminal.

    First with the pages, then with all but one of them closed.
    """
    rows = []
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=site.base, timeout=30.0))
        form = {"username": "operator", "password": site.passwords["operator"]}
        client.post("/api/v1/session", data=form, headers={"Origin": site.base})
        for name, text in (("ui.stop_8_browsers_ms", f"with {BROWSERS} browsers"), ("ui.stop_1_browser_ms", "with one browser")):
            began, found = time.monotonic(), []
            for _ in range(STOPS):
                found.append(_stop(site, client))
                until(site.client, "AWAITING_REVIEW")  # its record is closed
                site.begin_run()
            rows.append((name, statistics.median(found), max(found), text, load_text(began)))
            for page in pages[1:]:
                page.context.close()
    idle = rows[1][1]
    return [
        Row(
            name,
            f"{median:.1f}",
            "ms",
            f"the same {'with one browser' if at == 0 else 'figure'}; median of {STOPS} {text}, worst {worst:.1f}, from the POST to the "
            f"printer's terminal; {load}",
            f"{idle:.1f}",
            f"{median / idle:.1f}",
        )
        for at, (name, median, worst, text, load) in enumerate(rows)
    ]


def _stop(site: WatchedSite, client: httpx.Client) -> float:
    form = {"strength": "quickstop", "reason": "STOP pressed on the page"}
    asked = time.monotonic_ns()
    answer = client.post("/api/v1/cells/cell-1/stop", data=form, headers={"Origin": site.base})
    if answer.status_code >= 400:
        raise RuntimeError(f"the stop was refused: {answer.text}")
    return (site.stop_heard_ns() - asked) / 1e6


def first_page() -> list[Row]:
    """From asking for the page to its state, its chart and a live connection, with an empty cache; the peer is the log-in page."""
    try:
        with printing_site() as site, chromium() as browser:
            site.begin_run()
            began = time.monotonic()
            ours = [_timed(logged_in(browser, site), lambda context: look_at_cell(context, site)) for _ in range(FIRST_PAGES)]
            bare = [
                _timed(browser.new_context(), lambda context: context.new_page().goto(f"{site.base}/login")) for _ in range(FIRST_PAGES)
            ]
    except FileNotFoundError as error:
        return [Row("ui.first_page_s", "not run", "", str(error), None, None)]
    value, peer = min(ours), min(bare)
    text = f"the log-in page, which has no script; best of {FIRST_PAGES} (median {statistics.median(ours):.2f}); {load_text(began)}"
    return [Row("ui.first_page_s", f"{value:.2f}", "s", text, f"{peer:.2f}", f"{value / peer:.0f}")]


def _timed(context: BrowserContext, look: Callable[[BrowserContext], object]) -> float:
    began = time.perf_counter()
    look(context)
    span = time.perf_counter() - began
    context.close()
    return span


def restart() -> list[Row]:
    """The web process is killed during a print, and the one that waits takes its place; every browser finds it by itself.

    From the kill to the first new view on the slowest of eight pages. The peer: the part until the new process answers, which no page can
    shorten.
    """
    try:
        with printing_site() as site, chromium() as browser:
            site.begin_run()
            pages = [look_at_cell(logged_in(browser, site), site) for _ in range(BROWSERS)]
            time.sleep(_SETTLE_S)
            began = time.monotonic()
            found = sorted(_restarted(site, pages) for _ in range(RESTARTS))
    except FileNotFoundError as error:
        return [Row("ui.restart_to_right_view_s", "not run", "", str(error), None, None)]
    value, up, quickest = found[0]
    each = ", ".join(f"{span:.1f}" for span, *_ in found)
    text = (
        f"of it, until the new process answers; slowest of {BROWSERS} browsers, best of {RESTARTS} ({each}); "
        f"quickest browser {quickest:.2f}; {load_text(began)}; target 3"
    )
    return [Row("ui.restart_to_right_view_s", f"{value:.2f}", "s", text, f"{up:.2f}", f"{value / up:.1f}")]


def _restarted(site: WatchedSite, pages: Sequence[Page]) -> tuple[float, float, float]:
    """Return the seconds from the kill to the right view on the slowest page, the first answer, and the right view on the quickest."""
    before, former = site.client.status(1 << 60), site.process()
    site.kill_workstation()
    killed = time.time() * 1000
    if site.process() == former:
        raise RuntimeError("the web process was not killed")
    up = time.time() - killed / 1000
    shown = []
    for page in pages:
        page.wait_for_function("since => window.dwSeen && window.dwSeen.shown.some(at => at > since)", arg=killed + 1)
        page.wait_for_function("window.did_handshake")
        shown.append(float(page.evaluate("since => window.dwSeen.shown.find(at => at > since)", killed + 1) - killed) / 1000)
    after = site.client.status(1 << 60)
    if after["state"] != "PRINTING" or after["run"] != before["run"] or after["alarms"]:
        raise RuntimeError(f"the print did not go on: {after['state']} {after['alarms']}")
    return max(shown), up, min(shown)
