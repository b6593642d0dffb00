"""Where the cells of a site are, and the checks of their ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from api.doctor.finding import Finding, failed, not_checked, passed
from api.doctor.gather_ports import cell_process, port
from api.doctor.ports import judge_port
from api.settings import Settings
from audit.errors import DosewrightError
from audit.signer import TokenEntry
from firmware_bridge.transport import list_ports
from printer.wiring_cell import CellSettings, read_settings


@dataclass(frozen=True, slots=True)
class CellPlace:
    """What is known of one cell: where its folder and store are, and its own settings where they can be read."""

    name: str
    folder: Path
    settings: CellSettings | None
    store: Path | None
    key_file: Path | None
    token: TokenEntry | None
    process: int


def cell_places(settings: Settings) -> Iterator[tuple[CellPlace, Finding]]:
    """Give each cell of a site with the finding on its settings."""
    for entry in settings.cells:
        name, folder = entry.name, settings.folder / entry.name
        file, process = folder / "cell.toml", cell_process(settings.path(entry.address_file))
        usual = settings.folder / f"{name}.db"
        bare = CellPlace(name, folder, None, usual if usual.is_file() else None, None, None, process)
        if not file.exists():
            why = f"there is no {file}: the cell was not started here yet, or is on another machine"
            yield bare, not_checked("site.cell", why, name)
            continue
        try:
            found = read_settings(file)
        except DosewrightError as error:
            text = " ".join(error.message.split())
            yield bare, failed("site.cell", text, error.remedy, name)
            continue
        kind = "demonstration" if found.bench is not None else f"machine {found.machine}"
        runs = f"process {process} runs it" if process else "it does not run"
        yield (
            CellPlace(name, folder, found, found.store, found.signing_key, found.signing_token, process),
            passed("site.cell", f"{file}: {kind}; {runs}", name),
        )


def judge_ports_of(place: CellPlace) -> Iterator[Finding]:
    """Give the findings on the three ports of a cell; a cell whose settings cannot be read has none that are known."""
    if place.settings is None:
        yield not_checked("ports.present", "the cell's settings are not here, or cannot be read", place.name)
        return
    found = list_ports()
    bench = place.settings.bench is not None
    for name, address in place.settings.ports.model_dump(include={"printer", "balance", "pressure"}).items():
        yield from judge_port(port(f"{place.name} {name}", str(address), found, is_bench=bench, own=place.process))
