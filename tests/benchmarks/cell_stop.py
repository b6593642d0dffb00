"""How soon a stop is on the wire, through a whole cell: its process, ports, threads, recorder and wire log, in real time.

The cell is no demonstration: no bench grants its time. It is brought to printing by signed jobs, one run a trial, of a recipe of
the benchmark's own (no delay on the pressure limit, short weighing); the far ends of its terminals are `cell_devices.py`. With
browsers, eight pages of the workstation show the run while it is stopped.

Browsers and workstation are kept off the first processor, as `docs/cell.md` advises for a computer that has to show pages and serve a
cell, or (`apart=False`) may use every one: then a line waits in the kernel, whose worker threads hand terminals over, behind them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from playwright.sync_api import sync_playwright
from pydantic import JsonValue
from simulated_cell import KEYS, ROLES, signature, signed_register

from api.demo_register import CLEANING_METHOD, demonstration_register
from api.processes import Children, free_port, start_cell, start_workstation, wait_for_file, wait_for_port
from api.site import CELL, EQUIPMENT, Bench, create_site, write_cell_configuration
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.store import TrailStore
from audit.version import SOFTWARE
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED
from printer.cell_client import CellClient
from recipes.effectivity import MEANING_EFFECTIVE, SignedStatement, demonstration_statement
from recipes.library import load_demonstration, load_recipe, recipe_bytes, recipe_ids
from recipes.model import parse_recipe
from recipes.order import DoseOrder
from recipes.store import MEANING_APPROVER, MEANING_AUTHOR, bundle_recipe
from tests.benchmarks.cell_devices import CASE
from tests.benchmarks.stop import Latency
from tests.cell_address import address_of

BROWSERS = 8
UNITS = 14
OPERATOR = {"username": "operator", "name": "Demo operator", "role": "operator"}
_SHORTER = {
    b'pressure_high_delay = "0.5 s"': b'pressure_high_delay = "0 s"',
    b'settle = "3 s"': b'settle = "0.02 s"',
    b'drift_window = "4 s"': b'drift_window = "0.02 s"',
}


def recipe_text() -> bytes:
    """Return the case's recipe with the benchmark's own times."""
    text = recipe_bytes(CASE)
    for old, new in _SHORTER.items():
        if text.count(old) != 1:
            raise RuntimeError(f"the recipe has no {old.decode()}")
        text = text.replace(old, new)
    return text


def job(n: int, text: bytes) -> dict[str, JsonValue]:
    """A job of fourteen units of a recipe, signed by the benchmark's people."""
    today, recipe = SystemClock().utc().at[:10], parse_recipe(text, "the benchmark's recipe")
    prescription, ink, cartridge = load_demonstration(CASE, today)
    prescription = prescription.model_copy(update={"days": UNITS})
    order = DoseOrder.create(f"O-{n}", recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
    author, approver = signature("engineer", MEANING_AUTHOR, recipe.digest), signature("quality", MEANING_APPROVER, recipe.digest)
    statement = demonstration_statement(recipe, today)
    effective = SignedStatement(statement=statement, signature=signature("quality", MEANING_EFFECTIVE, statement.digest))
    return {
        "batch": f"B-{n}",
        "order": order.as_record(),
        "entered": signature("pharmacist", MEANING_ENTERED, order.sha256).as_record(),
        "confirmed": signature("operator", MEANING_CONFIRMED, order.sha256).as_record(),
        "recipe_bundle": bundle_recipe(text, author, approver, effective=effective).as_record(),
        "ink_lot": ink.as_record(),
        "cartridge": cartridge.as_record(),
        "line_clearance": {"done_by": "Demo operator", "signature": None},
        "actor": dict[str, JsonValue](OPERATOR),
    }


def trust_benchmark(folder: Path) -> None:
    """Have the cell of a site believe the benchmark's people, and its equipment register, which asks for no daily check."""
    people = {KEYS[name].verifier_key: {"username": name, "roles": [role]} for name, role in ROLES.items()}
    (folder / CELL / "trusted" / "people.json").write_text(json.dumps(people), encoding="utf-8")
    recipes = [load_recipe(name).reference for name in recipe_ids()]
    today = SystemClock().utc().at[:10]
    register = demonstration_register(CELL, today=today, recipes=recipes, people=["operator"], daily_check=False)
    (folder / CELL / EQUIPMENT).write_text(signed_register(register), encoding="utf-8")


def lay_out(folder: Path, ports: dict[str, str]) -> dict[str, str]:
    """Make a site whose cell is a real one; return the passwords of its accounts."""
    _, ink, cartridge = load_demonstration(CASE, SystemClock().utc().at[:10])
    site = create_site(folder, inks=[(ink, cartridge)])
    key = SigningKey.load(folder / CELL / "cell.key")
    (folder / f"{CELL}.db").unlink()
    TrailStore.create(folder / f"{CELL}.db", origin=key.name, key=key, clock=SystemClock(), software=SOFTWARE, demonstration=False).close()
    trust_benchmark(folder)
    configuration = write_cell_configuration(folder, machine=load_recipe(CASE).machine, bench=Bench(ports, "", ""))
    text = configuration.read_text("utf-8")
    configuration.write_text(text[: text.index("[bench]")], encoding="utf-8")
    return dict(site.passwords)


def measure(trials: int, browsers: int = 0, *, apart: bool = True) -> Latency:
    """Measure the stop of that many runs. Raises RuntimeError where a run was not stopped, or not for its pressure.

    `apart`: workstation and browsers leave the first processor to the cell.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dosewright-stop-"))) / "site"
        devices = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.cell_devices"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        stack.callback(_end, devices)
        if devices.stdin is None or devices.stdout is None:
            raise RuntimeError("no pipe to the devices")
        passwords = lay_out(folder, json.loads(devices.stdout.readline()))
        children = stack.enter_context(Children(folder / "logs"))
        wait_for_file(folder / CELL / "address.json", start_cell(children, folder), 30.0)
        client = CellClient(address_of(folder, CELL), timeout_s=30.0)
        stack.callback(client.close)
        client.record_cleaning(OPERATOR, CLEANING_METHOD)
        if browsers:
            stack.enter_context(_watching(children, folder, passwords, browsers, apart=apart))
        times = sorted(_trial(client, n, devices.stdin.write, devices.stdout.readline) for n in range(1, trials + 1))
    return Latency(times[trials // 2] / 1e6, times[min(trials - 1, trials * 99 // 100)] / 1e6, times[-1] / 1e6)


def _trial(client: CellClient, n: int, write: Callable[[bytes], object], readline: Callable[[], bytes]) -> int:
    write(b"g\n")
    if readline() != b"fresh\n":
        raise RuntimeError("the devices have gone")
    run = str(client.create_run(job(n, recipe_text()))["run"])
    until(client, "READY")
    client.start(run, OPERATOR)
    latency = int(readline())
    status = until(client, "AWAITING_REVIEW")
    alarms = status["alarms"]
    if latency < 0 or not isinstance(alarms, list) or not alarms or alarms[0]["name"] != "pressure high":  # type: ignore[index, call-overload]
        raise RuntimeError(f"run {run} was not stopped for its pressure: {status['ended']}, {alarms}")
    return latency


def until(client: CellClient, state: str, seconds: float = 60.0) -> dict[str, JsonValue]:
    """Ask for the status until the run is in that state. Raises RuntimeError where it ends elsewhere or not in time."""
    limit = time.monotonic() + seconds
    while (status := client.status(1 << 60))["state"] != state:
        if time.monotonic() > limit or status["state"] == "AWAITING_REVIEW":
            raise RuntimeError(f"the run is {status['state']} and not {state}: {status['gates']} {status['alarms']}")
        time.sleep(0.02)
    return status


@contextmanager
def _watching(children: Children, folder: Path, passwords: dict[str, str], browsers: int, *, apart: bool) -> Iterator[None]:
    """Have that many people look at the workstation's page of the cell."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        raise FileNotFoundError("Chromium is missing")
    port = free_port()
    with ExitStack() as stack:
        with _without_the_first_processor() if apart else nullcontext():
            wait_for_port(port, start_workstation(children, folder, port, page=True), 60.0)
            playwright = stack.enter_context(sync_playwright())
            browser = playwright.chromium.launch(executable_path=found, args=["--headless", "--no-sandbox", "--disable-gpu"])
        for _ in range(browsers):
            page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            page.goto(f"http://127.0.0.1:{port}/login")
            page.get_by_label("User name").fill("operator")
            page.get_by_label("Password").fill(passwords["operator"])
            page.get_by_role("button", name="Log in").click()
            page.wait_for_url(f"http://127.0.0.1:{port}/today")
            page.goto(f"http://127.0.0.1:{port}/?cell={CELL}")
            page.locator(".dw-state h1").wait_for()
        yield
        browser.close()


@contextmanager
def _without_the_first_processor() -> Iterator[None]:
    """Start what is started here on all processors but the first, where there are several; it stays there."""
    every = os.sched_getaffinity(0)
    os.sched_setaffinity(0, every - {min(every)} or every)
    try:
        yield
    finally:
        os.sched_setaffinity(0, every)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
