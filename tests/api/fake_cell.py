"""A cell that answers from values given to it, and keeps a real trail: what the workstation is tested against without a process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import JsonValue

from api.settings import CellEntry, Settings
from audit.checkpoint import SigningKey
from audit.clock import SystemClock
from audit.events import SYSTEM, Actor, EntryDraft, EventKind, Subject
from audit.store import TrailStore
from printer.errors import CellRefused
from recipes.library import load_machine

RUN = "B00001-R1"
_PROFILE = load_machine("sse-20g-10ml")
MACHINE: dict[str, JsonValue] = {"id": _PROFILE.id, "version": _PROFILE.version, "digest": _PROFILE.digest}


def unit(
    n: int, mass: str | None = None, verdict: str | None = None, state: str | None = None, reasons: tuple[str, ...] = ()
) -> dict[str, JsonValue]:
    return {
        "unit": f"{RUN}/{n:03d}",
        "n": n,
        "strength_mg": "18.5",
        "target_mass_mg": "467.17",
        "low_mg": "443.8",
        "high_mg": "490.5",
        "mass_mg": mass,
        "state": state or ("judged" if verdict else "planned"),
        "verdict": verdict,
        "reasons": list(reasons),
        "removed": False,
        "x": "20",
        "y": "20",
    }


def canned_status(state: str = "PRINTING") -> dict[str, JsonValue]:
    """A run of 14 units in its middle: five accepted, one rejected, one printing, one alarm."""
    masses = ["470.15", "468.24", "462.61", "465.03", "470.71"]
    units = [unit(n, mass, "accepted") for n, mass in enumerate(masses, 1)]
    units.append(unit(6, "431.20", "rejected", reasons=("431.20 mg is below 443.8 mg",)))
    units.append(unit(7, state="printing"))
    units += [unit(n) for n in range(8, 15)]
    trace: list[JsonValue] = [[t * 50_000, f"{(187 if t % 120 < 90 else 40) + (t * 7) % 5}.4"] for t in range(600)]
    shut: dict[str, JsonValue] = {"allowed": False, "reasons": ["the run is printing"]}
    return {
        "cell": "cell-1",
        "machine": MACHINE,
        "at_us": 30_000_000,
        "state": state,
        "run": RUN,
        "batch": "B00001",
        "demonstration": True,
        "rate": "60",
        "link": {"state": "STREAMING", "age_ms": 120, "quality": "good"},
        "sensors": {
            "pressure": {"value": "187.4", "unit": "kPa", "age_ms": 10, "quality": "good", "low": "0", "high": "400"},
            "nozzle": {"value": "40.1", "unit": "degC", "age_ms": 800, "quality": "good", "low": "38", "high": "42"},
            "plate": {"value": "20.3", "unit": "degC", "age_ms": 800, "quality": "good", "low": "15", "high": "25"},
            "balance": {"value": "87230.4", "unit": "mg", "age_ms": 9200, "quality": "stale", "low": None, "high": None},
        },
        "units": list(units),
        "alarms": [
            {
                "alarm": f"{RUN}/1",
                "name": "mass.low",
                "priority": "high",
                "message": "Unit 6 is lighter than its tolerance",
                "cause": "Less ink was deposited than commanded",
                "consequence": "The unit is rejected",
                "action": "Look at the nozzle before the run goes on",
                "unit_n": 6,
                "state": "unacknowledged",
            }
        ],
        "gates": [],
        "trace": trace,
        "time_left_s": 512,
        "allowed_actions": {
            "start": shut,
            "pause": {"allowed": True, "reasons": []},
            "resume": shut,
            "stop": {"allowed": True, "reasons": []},
        },
    }


class FakeCell:
    """Keeps what it is asked in `asked`; `status_now` is what it answers; its trail is a store of its own."""

    def __init__(self, folder: Path) -> None:
        self._key = SigningKey.load(folder / "cell-1" / "cell.key")
        self.store = TrailStore.open(folder / "cell-1.db", key=self._key, clock=SystemClock(), software="test")
        self.status_now: dict[str, JsonValue] = {**canned_status("IDLE"), "run": None, "batch": None, "units": [], "alarms": []}
        self.asked: list[tuple[str, str]] = []
        self.jobs: list[dict[str, JsonValue]] = []
        self.refusal: tuple[str, ...] = ()
        self.tamper = False
        self.drawings: dict[str, str] = {}
        self.gates_now: list[JsonValue] = []
        self.register_now: dict[str, JsonValue] | None = None
        self.today_now = ""
        self.barred: dict[str, tuple[str, ...]] = {}
        self.started_by: str | None = None
        (folder / "cell-1" / "address.json").write_text(json.dumps({"host": "127.0.0.1", "port": 1}), encoding="utf-8")

    def connect(self, entry: CellEntry, settings: Settings, host: str, port: int) -> FakeCell:
        return self

    def record(self, kind: EventKind, type_: str, id_: str, new: dict[str, JsonValue], actor: Actor = SYSTEM) -> None:
        self.store.append(EntryDraft(kind, Subject(type_, id_), new, actor, "cell-1"))

    def describe(self) -> dict[str, JsonValue]:
        key = self.store.verifier_key
        return {"cell": "cell-1", "origin": self.store.origin, "verifier_key": key, "machine": MACHINE, "demonstration": True, "rate": "60"}

    def create_run(self, job: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
        if self.refusal:
            raise CellRefused(self.refusal)
        self.jobs.append(dict(job))
        self.record(EventKind.RUN_RECORD_CREATED, "run", RUN, {"batch": str(job["batch"]), "state": "CREATED", "units": 14})
        return {"run": RUN, "state": "CREATED", "gates": []}

    def start(self, run: str, actor: Mapping[str, str]) -> None:
        self.asked.append(("start", actor["username"]))

    def pause(self, run: str, actor: Mapping[str, str], reason: str) -> None:
        self.asked.append(("pause", reason))

    def resume(self, run: str, actor: Mapping[str, str], reason: str) -> None:
        self.asked.append(("resume", reason))

    def stop(self, run: str, strength: str, actor: Mapping[str, str], reason: str) -> None:
        self.asked.append((f"stop.{strength}", actor["username"]))

    def alarm(self, operation: str, alarm: str, actor: Mapping[str, str], reason: str, minutes: int = 0) -> None:
        self.asked.append((operation, f"{alarm} {minutes}" if minutes else alarm))

    def alarm_figures(self, run: str | None = None) -> dict[str, JsonValue]:
        return {"run": run, "alarms": 0}

    def confirm_removal(self, unit: str, actor: Mapping[str, str], signature: Mapping[str, JsonValue]) -> None:
        self.asked.append(("removal", unit))

    def enter_weight(
        self,
        unit: str,
        *,
        entry: int,
        attempt: int,
        value_mg: str,
        balance_serial: str,
        actor: Mapping[str, str],
        signature: Mapping[str, JsonValue] | None,
    ) -> None:
        if self.refusal:
            raise CellRefused(self.refusal)
        signer = actor["username"] if signature is None else signature["signer"]
        self.asked.append(("weight", f"{unit} {entry} {attempt} {value_mg} {balance_serial} {signer}"))

    def begin_check(self, actor: Mapping[str, str]) -> dict[str, JsonValue]:
        return self._cared("check.begin", actor)

    def confirm_check(self, actor: Mapping[str, str], step: str) -> dict[str, JsonValue]:
        return self._cared(f"check.confirm {step}", actor)

    def abandon_check(self, actor: Mapping[str, str], reason: str) -> dict[str, JsonValue]:
        return self._cared(f"check.abandon {reason}", actor)

    def record_cleaning(self, actor: Mapping[str, str], method: str) -> dict[str, JsonValue]:
        return self._cared(f"cleaning {method}", actor)

    def recipe_effective(self, bundle: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None:
        self._cared("recipe.effective", actor)

    def recipe_withdrawn(self, withdrawal: Mapping[str, JsonValue], actor: Mapping[str, str]) -> None:
        self._cared("recipe.withdrawn", actor)

    def readiness(self) -> dict[str, JsonValue]:
        known: dict[str, JsonValue] = {"gates": list(self.gates_now), "register": self.register_now, "today": self.today_now}
        return {**known, "refusal": "", "cleaning_method": None, "check": None}

    def _cared(self, what: str, actor: Mapping[str, str]) -> dict[str, JsonValue]:
        if self.refusal:
            raise CellRefused(self.refusal)
        self.asked.append((what, actor["username"]))
        return {"asked": what}

    def status(self, trace_since_us: int = 0) -> dict[str, JsonValue]:
        return self.status_now

    def allowed(self, actor: Mapping[str, str] | None = None) -> dict[str, JsonValue]:
        """What a cell says of its status in this way; `barred` is what it has against a person."""
        status, acts = self.status_now, self.status_now["allowed_actions"]
        barred = list(self.barred.get(actor["username"], ())) if actor else []
        assert isinstance(acts, dict)
        of_run = {name: [*act["reasons"]] for name, act in acts.items()}
        of_run["start"] += barred
        alarms = {alarm["alarm"]: {act: [] for act in ("acknowledge", "reset", "shelve", "unshelve")} for alarm in status["alarms"]}
        care = {"check": barred, "check/confirm": [], "check/abandon": [], "cleaning": barred}
        return {
            "run": status["run"],
            "run_actions": of_run,
            "weight": barred,
            "started_by": self.started_by,
            "alarms": alarms,
            "care": care,
        }

    def trail(self, start: int, limit: int = 2000) -> list[str]:
        lines = [line.decode() for line in self.store.lines(start, start + limit)]
        return [line.replace("Dosewright", "Dosewrong", 1) for line in lines] if self.tamper else lines

    def checkpoint(self) -> str:
        return self.store.checkpoint()

    def pictures(self, run: str) -> dict[str, JsonValue]:
        return dict(self.drawings)

    def blob(self, sha256: str) -> bytes:
        return self.store.blob(sha256)

    def close(self) -> None:
        return
