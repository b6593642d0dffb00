"""What the gates read of a cell: its register, the last check and cleaning, what was printed since, its own date."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from audit.canonical import JsonObject, JsonValue
from audit.clock import UtcReading
from audit.events import Entry, EventKind
from audit.reader import TrailReader
from printer.equipment import LastCheck, LastCleaning, Product, Standing
from printer.errors import CellConfiguration
from printer.known_recipes import known_recipes


def check_zone(zone: str) -> None:
    """Refuse a zone of which the date cannot be told. Raises CellConfiguration."""
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CellConfiguration(f"zone: {zone!r} is no time zone.", remedy="Write for example UTC or Europe/Paris.") from error


def local_day(reading: UtcReading) -> str:
    """Return the date at a site: the UTC of a reading in the reading's own zone."""
    return datetime.fromisoformat(reading.at).astimezone(ZoneInfo(reading.zone)).date().isoformat()


def left_of_day_s(reading: UtcReading) -> int:
    """Return how many seconds of the day at a site are left; a day has 23 or 25 hours where its clocks are changed."""
    zone = ZoneInfo(reading.zone)
    here = datetime.fromisoformat(reading.at).astimezone(zone)
    midnight = datetime.combine(here.date() + timedelta(days=1), time(), zone)
    return int((midnight.astimezone(UTC) - here.astimezone(UTC)).total_seconds())


def gather_standing(store: TrailReader, register_file: str | None, cell: str, serial: str | None, reading: UtcReading) -> Standing:
    """Read the standing of a cell now; `register_file` is the register's text, `serial` names the balance whose last check counts."""
    today = local_day(reading)
    cleanings = store.search(kind=EventKind.CELL_CLEANING_COMPLETED.value, subject_id=cell, limit=1, newest_first=True)
    cleaned = cleanings[0] if cleanings else None
    state = None if serial is None else store.state("balance", serial)
    return Standing(
        today=today,
        register_file=register_file,
        last_check=None if state is None or serial is None else _check(serial, state),
        last_cleaning=None if cleaned is None else _cleaning(cleaned, today),
        printed=_printed(store, -1 if cleaned is None else cleaned.seq),
        left_of_day_s=left_of_day_s(reading),
        recipes=known_recipes(store),
    )


def _check(serial: str, state: JsonObject) -> LastCheck:
    return LastCheck(
        status="under way" if state.get("status") == "under way" else "closed",
        serial=serial,
        day=str(state["day"]),
        passed=state.get("passed") is True,
        by=str(state.get("by") or "nobody"),
        reasons=_texts(state.get("reasons")),
    )


def _cleaning(entry: Entry, today: str) -> LastCleaning:
    new = entry.new
    day = str(new["day"])
    ago = (date.fromisoformat(today) - date.fromisoformat(day)).days
    return LastCleaning(day=day, days_ago=ago, method=str(new["method"]), by=entry.actor.name)


def _printed(store: TrailReader, after: int) -> tuple[Product, ...]:
    """Return the products of the runs in which something moved since that entry."""
    moved = store.search(kind=EventKind.RUN_ACTION_INTENDED.value, after_seq=after, limit=100_000)
    products = []
    for run in dict.fromkeys(entry.subject.id for entry in moved):
        state = store.state("run", run) or {}
        products.append(Product(run=run, recipe=str(state.get("recipe")), ink_lot=lots_of(state)))
    return tuple(products)


def _texts(value: JsonValue) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, (list, tuple)) else ()


def lots_of(state: Mapping[str, JsonValue]) -> str:
    """Name the ink lots of a run, both where its units have two inks."""
    lots = [str(state.get("ink_lot"))]
    if state.get("second_ink_lot") is not None:
        lots.append(str(state["second_ink_lot"]))
    return " and ".join(lots)
