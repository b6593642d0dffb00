"""Several cells as the workstation sees them: which can take an order, and one that hangs beside one that answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from api.cell_feed import CellFeed, CellFeeds, CellView
from api.cells import CellDirectory
from api.cli_serve import _inks, _places, _site
from api.errors import InputInvalid, NotFound, SettingsInvalid
from api.machine_fit import machine_of, machine_reasons
from api.production import SecondEntry
from api.settings import FILE_NAME, CellEntry, Settings, load_settings
from api.site import Bench, Site, cell_names, create_site, write_cell_configuration
from api.status import CellStatus, MachineStatus
from api.workstation import panels
from audit.checkpoint import SigningKey
from printer.wiring_cell import read_settings
from recipes.library import load_machine, load_recipe
from tests.audit.conftest import CHEAP


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return create_site(tmp_path_factory.mktemp("three") / "site", cells=3, cost=CHEAP)


def test_every_cell_has_all_of_its_own(three: Site) -> None:
    """Key, store, certificate, folder, trusted people: nothing is shared, and a key signs for its own cell alone."""
    bench = Bench({"printer": "/dev/a", "balance": "/dev/b", "pressure": "/dev/c"}, "127.0.0.1:9", "00")
    settings = [read_settings(write_cell_configuration(three.folder, machine="fdm-0.4", bench=bench, cell=name)) for name in cell_names(3)]
    for field in ("name", "origin", "store", "signing_key", "certificate", "key", "trusted_people", "address_file", "data_dir"):
        values = [getattr(item, field) for item in settings]
        assert len(set(values)) == 3, field
    keys = [SigningKey.load(item.signing_key) for item in settings]
    assert [key.name for key in keys] == [item.origin for item in settings] == [f"cell-{n}.demonstration" for n in (1, 2, 3)]
    assert three.verifier_keys[1:] == tuple(key.verifier_key for key in keys)
    assert (three.folder / "site.vkey").read_text().splitlines() == list(three.verifier_keys)
    assert [cell.name for cell in load_settings(three.folder).cells] == ["cell-1", "cell-2", "cell-3"]


def test_two_cells_of_one_name_are_an_error(three: Site, tmp_path: Path) -> None:
    text = (three.folder / FILE_NAME).read_text()
    (tmp_path / FILE_NAME).write_text(text.replace('name = "cell-2"', 'name = "cell-1"'))
    with pytest.raises(SettingsInvalid, match="each cell has its own"):
        load_settings(tmp_path)


@pytest.mark.parametrize("count", [0, -1, 17])
def test_a_site_has_one_to_sixteen_cells(count: int) -> None:
    with pytest.raises(InputInvalid, match="not between 1 and 16"):
        cell_names(count)


def test_cells_take_the_cases_in_turn_and_each_gets_a_cartridge(three: Site) -> None:
    places = _places(["minoxidil", "hydrocortisone"], 3)
    assert [(place.cell, place.case) for place in places] == [
        ("cell-1", "minoxidil"),
        ("cell-2", "hydrocortisone"),
        ("cell-3", "minoxidil"),
    ]
    inks = _inks(places)
    serials = [cartridge.serial for _, cartridge in inks]
    assert len(set(serials)) == 3 and serials[2] == f"{serials[0]}-2" and inks[0][0] == inks[2][0]
    assert [place.cell for place in _places(["minoxidil", "sildenafil"], 1)] == ["cell-1", "cell-2"]
    with pytest.raises(InputInvalid, match=r"laid out with 3 .*no cell-4"):
        _site(three.folder, _places(["minoxidil"], 4), empty=False)


def machine(name: str) -> MachineStatus:
    profile = load_machine(name)
    return MachineStatus(id=profile.id, version=profile.version, digest=profile.digest)


def test_why_a_machine_cannot_print_a_recipe() -> None:
    recipe = load_recipe("minoxidil")
    own = machine(recipe.machine)
    assert machine_reasons(recipe, own) == ()
    assert machine_reasons(recipe, machine("fdm-0.4")) == ("it has machine fdm-0.4, and recipe minoxidil@1 needs sse-18g-3ml",)
    (changed,) = machine_reasons(recipe, own.model_copy(update={"digest": "0" * 64}))
    assert "is not the one that recipe minoxidil@1 was signed for" in changed
    assert machine_reasons(recipe, None) == ("it does not say which machine it has",)
    assert machine_of({}) is None and machine_of({"machine": "x"}) is None


class Hanging:
    """A cell that takes a question and does not answer until it is let."""

    def __init__(self) -> None:
        self.let = threading.Event()
        self.begun = threading.Event()
        self.asked = 0

    def status(self, trace_since_us: int = 0) -> dict[str, JsonValue]:
        self.asked += 1
        self.begun.set()
        self.let.wait(20)
        return {"cell": "cell-1", "state": "IDLE"}


class Directory:
    names = ("cell-1", "cell-2")

    def __init__(self, clients: Mapping[str, Any]) -> None:
        self._clients = clients

    def client(self, name: str, *, urgent: bool = False, watching: bool = False) -> Any:
        assert watching, "pages ask over a connection of their own"
        return self._clients[name]


def test_a_cell_that_hangs_keeps_one_thread_and_is_shown_as_unknown() -> None:
    hanging, well = Hanging(), Hanging()
    well.let.set()
    feeds = CellFeeds(Directory({"cell-1": hanging, "cell-2": well}))  # type: ignore[arg-type]
    first = threading.Thread(target=feeds.of("cell-1").view)
    first.start()
    assert hanging.begun.wait(20)
    began = time.monotonic()
    views = [feeds.of("cell-1").view() for _ in range(5)]
    assert time.monotonic() - began < 3.0
    assert {view.status.state for view in views} == {"UNKNOWN"} and hanging.asked == 1
    assert all("has not answered yet" in view.problem for view in views)
    assert feeds.of("cell-2").view().status.state == "IDLE"
    hanging.let.set()
    first.join(5)
    assert feeds.of("cell-1").view() == CellView(CellStatus(cell="cell-1", state="IDLE"))
    assert isinstance(feeds.of("cell-1"), CellFeed)


def test_turns_of_two_cells_do_not_wait_for_each_other(three: Site) -> None:
    directory = CellDirectory(load_settings(three.folder))
    done = threading.Event()
    with directory.turn("cell-1"):

        def other() -> None:
            with directory.turn("cell-2"):
                done.set()

        threading.Thread(target=other).start()
        assert done.wait(5)
        assert directory.turn("cell-1") is not directory.turn("cell-2")
    with pytest.raises(NotFound, match="no cell 'cell-9'"):
        directory.turn("cell-9")


class Closing:
    def __init__(self) -> None:
        self.closed = threading.Event()

    def close(self) -> None:
        self.closed.set()


def test_the_old_connection_to_a_cell_that_came_back_is_closed(three: Site) -> None:
    made: list[Any] = []

    def connect(entry: CellEntry, settings: Settings, host: str, port: int) -> Any:
        made.append(Closing())
        return made[-1]

    directory = CellDirectory(load_settings(three.folder), connect)
    address = three.folder / "cell-3" / "address.json"
    for port in (1, 1, 2):
        address.write_text(f'{{"host": "127.0.0.1", "port": {port}}}')
        directory.client("cell-3")
    assert len(made) == 2 and made[0].closed.wait(5) and not made[1].closed.is_set()
    assert directory.client("cell-3", urgent=True) is not directory.client("cell-3") is not directory.client("cell-3", watching=True)


def test_the_workstation_says_which_cell_can_take_an_order(bench: Any) -> None:
    figures = {"height_cm": "110", "weight_kg": "18", "prescribed": "25", "age_years": "5"}
    form = {
        "recipe": "cyclophosphamide", "ink_lot": "CYC-DEMO-01", "cartridge": "CYC-DEMO-01-A", "patient": "test-1", "unit": "mg/m2",
        "moiety": "cyclophosphamide", "basis": "anhydrous", "per": "day", "schedule": "once daily", "days": "14", **figures,
        "measured": datetime.now(UTC).date().isoformat(), "prescriber": "test prescriber", "number": "RX-1",
    }  # fmt: skip
    again = {name: form[name] for name in SecondEntry.model_fields if name in form}
    order = bench.ask("pharmacist", "POST", "/orders", {"order": form, "signature": bench.signature("pharmacist")}).json()["order"]
    assert bench.ask("second", "POST", f"/orders/{order}/confirm", {"entry": again, "signature": bench.signature("second")}).is_success
    assert bench.ask("operator", "GET", f"/orders/{order}/cells").json() == [{"cell": "cell-1", "reasons": []}]
    bench.cell.status_now = {**bench.cell.status_now, "run": "B-R1", "state": "PRINTING"}
    limit = time.monotonic() + 10
    while bench.ask("operator", "GET", f"/orders/{order}/cells").json() != [{"cell": "cell-1", "reasons": ["run B-R1 is on it"]}]:
        assert time.monotonic() < limit, "a view may be kept for a moment, not longer"
    described = bench.cell.describe()
    bench.cell.describe = lambda: {**described, "machine": {**described["machine"], "id": "fdm-0.4"}}
    refused = bench.ask("operator", "POST", "/batches", {"order": order, "cell": "cell-1"})
    assert refused.status_code >= 400 and refused.json()["code"] == "AP-042" and "needs sse-20g-10ml" in refused.json()["detail"]


def test_the_strip_names_every_cell_and_stops_those_that_may_move() -> None:
    moving = CellStatus(cell="cell-2", state="PRINTING", run="B-R1", batch="<B>")
    cells = {
        "cell-1": CellStatus(cell="cell-1", state="PRINTING", run="A-R1"), "cell-2": moving, "cell-3": CellStatus(cell="cell-3"),
        "cell-4": CellStatus(cell="cell-4", state="UNKNOWN"), "cell-5": CellStatus(cell="cell-5", state="AWAITING_REVIEW", run="C-R1"),
    }  # fmt: skip
    text = panels.cell_strip("cell-1", cells)
    for name in cells:
        assert f'href="/?cell={name}"' in text and f"<b>{name}</b>" in text
    assert text.count("aria-current") == 1 and "&lt;B&gt;" in text and "<B>" not in text
    stops = [name for name in cells if f"/api/v1/cells/{name}/stop" in text]
    assert stops == ["cell-2", "cell-4"], "the cell of the page has the large one; what is not known may move"
    assert 'aria-label="Stop the printer of cell-4 now"' in text
    assert "cell-1" in panels.stop_form("cell-1", several=True) and "<small>" not in panels.stop_form("cell-1")
