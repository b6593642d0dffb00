"""A demonstration site with its bench and its cell as real processes, over real ports, asked through a cell client.

Time on the bench goes on only while a test waits for something (`until`): whatever it does next happens at that very moment of
the run, however slow the machine is. `let_go` lets time run by itself, for what waits on its own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import select
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from clockwork import Clockwork
from forked import ForkedChildren
from pace import Pace
from pydantic import JsonValue

from api.demo_register import CLEANING_METHOD
from api.processes import Child, Children, read_bench, start_bench, start_cell, wait_for_file
from api.site import CELL, create_site, write_cell_configuration
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import Subject
from audit.identity import Identity
from audit.signatures import sign
from audit.store import TrailStore
from printer.admission import MEANING_CONFIRMED, MEANING_ENTERED
from printer.cell_client import CellClient
from recipes.library import load_demonstration, load_recipe, load_second
from recipes.order import DoseOrder
from tests.audit.conftest import CHEAP
from tests.cell_address import address_of

OPERATOR = {"username": "operator", "name": "Demonstration operator", "role": "operator"}


_STEP_US = 250_000


@dataclass(slots=True)
class Stack:
    """One site folder with its children.

    Lifetime: `close` ends every child.
    """

    folder: Path
    case: str
    rate: str
    faults: str | None
    children: Children
    client: CellClient | None = None
    cell_pid: int = 0
    passwords: dict[str, str] | None = None
    supervisor_child: Child | None = None
    # cells besides the first: what each is asked through, and its processes
    others: dict[str, CellClient] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)
    # the time of each cell's bench
    times: dict[str, Clockwork] = field(default_factory=dict)
    paces: list[Pace] = field(default_factory=list)

    @classmethod
    def start(
        cls,
        folder: Path,
        case: str = "minoxidil",
        *,
        rate: str = "400",
        fault: str | None = None,
        others: tuple[str, ...] = (),
        daily_check: bool = False,
        plant: str = "",
    ) -> Stack:
        """Start a site whose first cell has the machine of `case`, and one more cell for each case of `others`; clean them.

        `daily_check`: the signed register requires one, and it is not done yet. `plant`: figures of the first bench's plant to
        change, as lines of TOML.
        """
        stack = cls(folder, case, rate, fault, ForkedChildren(folder / "logs"))
        template, stack.passwords = _template(case, others, daily_check)
        shutil.copytree(template, folder, dirs_exist_ok=True)
        ready, truth = folder / "bench.json", folder / "truth.json"
        if plant:
            (folder / "bench.toml").write_text(f'case = "{case}"\nrate = "{rate}"\n[plant]\n{plant}\n')
            arguments = (str(folder / "bench.toml"), "--ready", str(ready), "--truth", str(truth))
            child = stack.children.start("bench", "hil_tests.serve", *arguments)
        else:
            child, ready = start_bench(stack.children, ready, case=case, fault=fault, rate=rate, seed=1, truth=truth)
        bench = read_bench(child, ready)
        stack._follow(CELL, ready)
        write_cell_configuration(folder, machine=load_recipe(case).machine, bench=bench)
        stack.start_cell()
        stack.ask().record_cleaning(OPERATOR, CLEANING_METHOD)
        for number, other in enumerate(others, 2):
            stack.start_other(f"cell-{number}", other)
            stack.ask(f"cell-{number}").record_cleaning(OPERATOR, CLEANING_METHOD)
        for cell in stack.times:
            stack.hold(cell)
        return stack

    def start_other(self, cell: str, case: str) -> None:
        """Start another cell with a bench of its own."""
        ready, truth = self.folder / f"bench-{cell}.json", self.folder / f"truth-{cell}.json"
        child, ready = start_bench(self.children, ready, case=case, fault=None, rate=self.rate, seed=2, truth=truth, name=f"bench-{cell}")
        self.pids[f"bench-{cell}"] = child.pid
        write_cell_configuration(self.folder, machine=load_recipe(case).machine, bench=read_bench(child, ready), cell=cell)
        self._follow(cell, ready)
        self.restart_other(cell)

    def _follow(self, cell: str, ready: Path) -> None:
        found = json.loads(ready.read_text())
        if (before := self.times.pop(cell, None)) is not None:
            before.close()
        self.times[cell] = Clockwork(found["hand"], found["token"])

    def let_go(self) -> None:
        """Let the time of every bench run by itself at its rate."""
        for clockwork in self.times.values():
            clockwork.advance(None)

    def slow_at_rest(self) -> None:
        """From now on, time that was let go goes slower while its cell rests."""
        for cell, clockwork in self.times.items():
            self.paces.append(Pace(clockwork, self.folder, cell))

    def hold(self, cell: str = CELL) -> None:
        """Hold the time of a cell's bench where it is."""
        self.times[cell].advance(0)

    def restart_other(self, cell: str) -> None:
        self.times[cell].advance(None)
        process = start_cell(self.children, self.folder, cell)
        wait_for_file(self.folder / cell / "address.json", process, 30.0)
        self.pids[cell] = process.pid
        if (before := self.others.pop(cell, None)) is not None:
            before.close()
        self.others[cell] = self._client(cell)

    def start_cell(self) -> None:
        self.times[CELL].advance(None)
        address_file = self.folder / CELL / "address.json"
        address_file.unlink(missing_ok=True)
        child = self.children.start("cell", "printer.wiring_cell", "--config", str(self.folder / CELL / "cell.toml"))
        self.connect(wait_for_file(address_file, child, 30.0))

    def supervise_cell(self) -> None:
        """Start the cell by its supervisor, once the one before has let go of its store."""
        self.times[CELL].advance(None)
        (self.folder / CELL / "address.json").unlink(missing_ok=True)
        self.supervisor_child = self.children.start("supervisor", "printer.supervisor", "--config", str(self.folder / CELL / "cell.toml"))
        self.connect(wait_for_file(self.folder / CELL / "address.json", self.supervisor_child, 30.0))

    def supervisor(self) -> Child:
        assert self.supervisor_child is not None
        return self.supervisor_child

    def connect(self, found: Mapping[str, object]) -> None:
        """Ask the cell at the address that it has written."""
        self.cell_pid = int(str(found["process"]))
        self.client = self._client(CELL)

    def _client(self, cell: str) -> CellClient:
        return CellClient(address_of(self.folder, cell), timeout_s=30.0)

    def kill_cell(self) -> None:
        """Kill the cell's process, and return when it is no more."""
        kill(self.cell_pid)
        if self.client is not None:
            self.client.close()

    def end_cell(self) -> None:
        """Ask the cell's process to end, and return when it is no more."""
        end(self.cell_pid, signal.SIGTERM)
        if self.client is not None:
            self.client.close()

    def job(self, *, days: int = 3, order: str = "O-1", batch: str = "B-1") -> dict[str, JsonValue]:
        """A job for a few days, signed by two people of the site."""
        prescription, ink, cartridge = load_demonstration(self.case, today())
        prescription = prescription.model_copy(update={"days": days})
        recipe = load_recipe(self.case)
        dose_order = DoseOrder.create(order, recipe=recipe, ink=ink, cartridge=cartridge, prescription=prescription)
        store = TrailStore.open(
            self.folder / "workstation.db",
            key=SigningKey.load(self.folder / "keys" / "workstation.key"),
            clock=SystemClock(),
            software="test",
        )
        try:
            identity = Identity(store, SystemClock())
            signatures = [
                sign(
                    identity,
                    username,
                    (self.passwords or {})[username],
                    meaning=meaning,
                    digest=dose_order.sha256,
                    role="pharmacist",
                    subject=Subject("order", order),
                    scripted=True,
                ).as_record()
                for username, meaning in (("pharmacist", MEANING_ENTERED), ("second", MEANING_CONFIRMED))
            ]
            bundle = json.loads(store.blob(str((store.state("recipe", recipe.reference) or {})["bundle_sha256"])))
        finally:
            store.close()
        return {
            "batch": batch,
            "order": dose_order.as_record(),
            "entered": signatures[0],
            "confirmed": signatures[1],
            "recipe_bundle": bundle,
            "ink_lot": ink.as_record(),
            "cartridge": cartridge.as_record(),
            "line_clearance": {"done_by": "Demonstration operator", "signature": None},
            "actor": dict(OPERATOR),
        }  # type: ignore[dict-item]

    def ask(self, cell: str = CELL) -> CellClient:
        if cell != CELL:
            return self.others[cell]
        assert self.client is not None
        return self.client

    def until(self, condition: Callable[[dict[str, JsonValue]], bool], seconds: float = 60.0, cell: str = CELL) -> dict[str, JsonValue]:
        """Let time go by until the status is as wanted, and hold it there; the limit is of real time."""
        limit = time.monotonic() + seconds
        while time.monotonic() < limit:
            status = self.ask(cell).status()
            if condition(status):
                return status
            with contextlib.suppress(ConnectionError):  # a bench that is gone: what it leaves behind is what is waited for
                self.times[cell].advance(_STEP_US)
        shown = {name: status[name] for name in ("state", "ended", "run", "units", "alarms")}
        raise AssertionError(f"not reached within {seconds:g} s: {json.dumps(shown, indent=1)}")

    def begin(self, job: dict[str, JsonValue] | None = None) -> str:
        """Create a run and start it; return its id."""
        run = str(self.ask().create_run(job or self.job())["run"])
        self.until(lambda status: status["state"] == "READY")
        self.ask().start(run, OPERATOR)
        return run

    def close(self) -> None:
        for pace in self.paces:
            pace.close()
        for client in (self.client, *self.others.values()):
            if client is not None:
                client.close()
        for clockwork in self.times.values():
            clockwork.close()
        self.children.close()


def kill(pid: int) -> None:
    """Kill a process and wait until it is no more, and everything that it had open is closed."""
    end(pid, signal.SIGKILL)


def end(pid: int, number: signal.Signals) -> None:
    """Send a signal that ends a process, and wait until it is no more."""
    watched = os.pidfd_open(pid)
    try:
        os.kill(pid, number)
        select.select([watched], [], [])
    finally:
        os.close(watched)


@functools.cache
def _template(case: str, others: tuple[str, ...], daily_check: bool) -> tuple[Path, dict[str, str]]:
    """Lay a site out once for all tests of this process; making its accounts takes seconds. Each cell has its own cartridge."""
    keeper = tempfile.TemporaryDirectory(prefix="dosewright-site-")
    atexit.register(keeper.cleanup)
    folder = Path(keeper.name) / "site"
    inks = []
    for number, name in enumerate((case, *others), 1):
        _, ink, cartridge = load_demonstration(name, today())
        second = load_second(name, today())
        for lot, filled in ((ink, cartridge), *([second] if second is not None else [])):
            inks.append((lot, filled if number == 1 else filled.model_copy(update={"serial": f"{filled.serial}-{number}"})))
    return folder, dict(create_site(folder, inks=inks, cells=1 + len(others), daily_check=daily_check, cost=CHEAP).passwords)


def today() -> str:
    return datetime.now(UTC).date().isoformat()
