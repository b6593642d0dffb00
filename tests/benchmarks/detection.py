"""What a cell notices, how soon, and what it costs: each fault of the bench in several severities, measured on small batches.

    PYTHONPATH=tests/printer python -m tests.benchmarks.detection [HEALTHY]

writes docs/detection.md (about five minutes on two cores). HEALTHY: how many batches without a fault count the false alarms.
The faults act on the bench's public fields, as those of `hil_tests/faults.py` do, in severities that those do not have.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from simulated_cell import SimulatedCell
from simulation import CASES, Scenario, build, rate_and_bound, simulate, true_contents

from hil_tests.faults import PORTS, Devices
from printer.messages import Operation
from printer.run import Phase

PAGE = Path(__file__).resolve().parents[2] / "docs" / "detection.md"
HEALTHY = 750
UNITS = (1, 2)
SEEDS = (11, 12)
_DAYS = {"cyclophosphamide": 3, "hydrocortisone": 1, "minoxidil": 3, "sildenafil": 1}
_CLOGGED = 1e6
_LIMIT_US = 3_000_000_000

Act = Callable[[Devices, float], None]


@dataclass(frozen=True, slots=True)
class Severity:
    """A fault in one severity. `act`: what it does to the devices at each step, given its age in s."""

    fault: str
    severity: str
    act: Act


def _plant(**fields: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        for name, value in fields.items():
            setattr(devices.plant, name, value)

    return act


def _growing(doubling_s: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        devices.plant.resistance = min(2.0 ** (age_s / doubling_s), _CLOGGED)

    return act


def _bubble(part: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        if age_s == 0.0:
            devices.plant.air_uL, devices.plant.resistance = part * devices.plant.config.bubble_uL, 0.12

    return act


def _leak(part: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        devices.plant.leak_uL_per_s = part * devices.plant.config.nominal_flow

    return act


def _ink(density: float = 1.0, strength: float = 1.0) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        config = devices.plant.config
        devices.plant.density, devices.plant.strength = density * config.density, strength * config.strength

    return act


def _nozzle(name: str) -> Act:
    return lambda devices, age_s: setattr(devices.printer.nozzle, name, True)


def _hub(**fields: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        for name, value in fields.items():
            setattr(devices.hub, name, value)

    return act


def _pan(**fields: float) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        for name, value in fields.items():
            setattr(devices.cell, name, value)

    return act


def _once(call: Callable[[Devices], None]) -> Act:
    def act(devices: Devices, age_s: float) -> None:
        if age_s == 0.0:
            call(devices)

    return act


def _unplug(port: str) -> Act:
    return _once(lambda devices: devices.unplugged.add(port))


def _silent_balance(devices: Devices, age_s: float) -> None:
    devices.balance.silent = True


FAULTS: tuple[Severity, ...] = (
    *(Severity("clog, slow", f"resistance doubles every {s} s", _growing(s)) for s in (1, 2, 5, 10)),
    *(Severity("clog, partial", f"resistance x {r}", _plant(resistance=r)) for r in (1.1, 1.2, 1.5, 3.0)),
    Severity("clog, sudden", "nothing passes", _plant(resistance=_CLOGGED)),
    *(Severity("air bubble", f"{round(100 * p)} % of the case's bubble", _bubble(p)) for p in (0.1, 0.3, 1.0)),
    Severity("empty cartridge", "nothing is pushed", _plant(delivery=0.0)),
    *(Severity("drive slips", f"{100 - round(100 * d)} % lost", _plant(delivery=d)) for d in (0.98, 0.95, 0.9, 0.8, 0.6)),
    *(Severity("leak", f"{round(100 * p)} % of the flow", _leak(p)) for p in (0.05, 0.1, 0.2, 0.5)),
    *(Severity("lost steps", f"X {mm} mm beside", _plant(x_shift_mm=mm)) for mm in (0.5, 1.5, 5.0)),
    *(Severity("wrong density", f"{round(100 * (d - 1)):+d} %", _ink(density=d)) for d in (0.98, 0.95, 0.9, 1.1)),
    Severity("wrong strength", "+15 %, same mass and flow", _ink(strength=1.15)),
    Severity("wrong ink", "no drug, same mass and flow", _ink(strength=0.0)),
    Severity("heater", "element dead", _nozzle("element_dead")),
    Severity("heater", "runaway: element stuck on", _nozzle("stuck_on")),
    Severity("thermistor", "open", _nozzle("thermistor_open")),
    Severity("pressure sensor", "stuck", _hub(stuck=True)),
    Severity("pressure sensor", "silent", _hub(silent=True)),
    *(Severity("pressure sensor", f"offset {kpa} kPa", _hub(offset_kPa=kpa)) for kpa in (5, 20, 60, -60)),
    *(Severity("pressure sensor", f"noise {kpa} kPa", _hub(noise_kPa=kpa)) for kpa in (5, 20, 60)),
    *(Severity("balance", f"zero drifts {mg} mg/s", _pan(zero_drift=mg)) for mg in (0.02, 0.1, 1.0)),
    *(Severity("balance", f"touched: {mg} mg lean on it", _pan(extra_mg=mg)) for mg in (1, 5, 20, 250)),
    Severity("balance", "never stable", _pan(never_stable=True)),
    Severity("balance", "silent", _silent_balance),
    *(Severity("cable out", port, _unplug(port)) for port in PORTS),
    Severity("firmware", "reset in mid-print", _once(lambda devices: devices.printer.reset())),
    Severity("guard door", "opened: the firmware halts", _once(lambda devices: devices.printer.kill())),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Struck:
    """One run. `seconds`: from the onset to the first alarm, None without one; errors in percent of the label's content."""

    alarm: str | None
    seconds: float | None
    lost: int
    bad_accepted: int
    unit_error: Decimal | None
    accepted_error: Decimal | None


def strike(severity: Severity, case: str, unit: int, seed: int) -> Struck | None:
    """Run one batch of three units in which the fault begins inside `unit`; None where it never began."""
    cell = build(Scenario(seed, case, _DAYS[case], None, (), warm=True))
    onset = _run(cell, severity, unit)
    if onset is None:
        return None
    alarms = [alarm for alarm in cell.machine.alarms.alarms if alarm.raised_at >= onset]
    contents, verdicts = true_contents(cell), cell.verdicts()
    accepted = {n: contents[n] for n, verdict in verdicts.items() if verdict == "accepted" and n >= unit}
    return Struck(
        alarm=alarms[0].definition.name.value if alarms else None,
        seconds=(alarms[0].raised_at - onset) / 1e6 if alarms else None,
        lost=sum(verdict != "accepted" for verdict in verdicts.values()),
        bad_accepted=sum(abs(error) > allowed for error, allowed in accepted.values()),
        unit_error=contents[unit][0] if unit in contents else None,
        accepted_error=max((error for error, _ in accepted.values()), key=abs, default=None),
    )


def _run(cell: SimulatedCell, severity: Severity, unit: int) -> int | None:
    """Bring the run to its end; return when the fault began."""
    onset = None
    plant = cell.bench.plant
    cell.command(Operation.PREPARE)
    while cell.machine.phase is not Phase.DONE and cell.now < _LIMIT_US:
        if cell.machine.phase is Phase.START:
            cell.command(Operation.START)
        current = plant.current
        if onset is None and current is not None and current.index == unit and current.plunger_uL >= plant.config.onset_uL:
            onset = cell.now
        if onset is not None:
            severity.act(cell.bench.devices, (cell.now - onset) / 1e6)
        cell.step()
    return onset


def _job(index: int) -> list[Struck]:
    found = (strike(FAULTS[index], case, unit, seed) for case in CASES for unit in UNITS for seed in SEEDS)
    return [struck for struck in found if struck is not None]


def _row(severity: Severity, struck: Sequence[Struck]) -> str:
    times = sorted(run.seconds for run in struck if run.seconds is not None)
    alarms = Counter(run.alarm for run in struck if run.alarm is not None)
    errors = [run.unit_error for run in struck if run.unit_error is not None]
    kept = [run.accepted_error for run in struck if run.accepted_error is not None]
    cells = [
        severity.fault,
        severity.severity,
        f"{len(times)}/{len(struck)}",
        f"{statistics.median(times):.1f} / {times[-1]:.1f}" if times else "-",
        ", ".join(f"{name} {count}" for name, count in alarms.most_common()) or "none",
        f"{sum(run.lost for run in struck) / len(struck):.1f}",
        _worst(errors),
        _worst(kept),
        str(sum(run.bad_accepted for run in struck)),
    ]
    return f"| {' | '.join(cells)} |"


def _worst(errors: Iterable[Decimal]) -> str:
    worst = max(errors, key=abs, default=None)
    return "-" if worst is None else f"{worst:+.1f} %".replace("-", "\N{MINUS SIGN}")


def _healthy(seed: int) -> tuple[int, int]:
    """Simulate a batch in which nothing is wrong; return its good units and whether an alarm was raised."""
    drawn = Scenario.of(seed)
    outcome = simulate(Scenario(seed, drawn.case, drawn.days, None, (), warm=True))
    return outcome.watched, int(bool(outcome.alarms))


def page(healthy: int) -> str:
    """Measure everything and return docs/detection.md."""
    with multiprocessing.Pool(os.cpu_count() or 1) as pool:
        struck = pool.map(_job, range(len(FAULTS)), chunksize=1)
        calm = pool.map(_healthy, range(200_000, 200_000 + healthy), chunksize=4)
    units, alarms = sum(found[0] for found in calm), sum(found[1] for found in calm)
    rate, bound = rate_and_bound(alarms, units)
    rows = [_row(severity, runs) for severity, runs in zip(FAULTS, struck, strict=True)]
    return _TEXT.format(
        runs=len(CASES) * len(UNITS) * len(SEEDS), rows="\n".join(rows), batches=healthy, units=units, alarms=alarms, rate=rate, bound=bound
    )


_TEXT = """# What a cell notices

Measured on the virtual bench by `PYTHONPATH=tests/printer python -m tests.benchmarks.detection`, which writes this page. Each
fault in each severity strikes {runs} batches of three units (four medicines, in the first and in the second unit, two seeds
each), in the middle of a unit. *Alarm*: in how many of them one was raised. *Time*: from the onset to the first alarm, median
and worst, in seconds. *Lost*: units rejected or scrapped per batch. *Struck unit*: the worst true deviation of its active
content from the label when the run had ended, whatever the verdict on it (a unit that was stopped half-way is short).
*Accepted*: the worst true deviation among units accepted from the onset on; *bad*: how many of these were outside their
tolerance and the uncertainty of the certificate.

| fault | severity | alarm | time (s) | which | lost | struck unit | accepted | bad |
|---|---|---|---|---|---|---|---|---|
{rows}

## False alarms

{batches} batches in which nothing is wrong, {units} good units: {alarms} alarms, {rate:.2f} per 1,000 units; with 95 %
confidence below {bound:.2f} (Clopper and Pearson, one-sided).

## What cannot be noticed

No instrument of a cell measures strength. Ink of another strength, or another ink, of the same density and flow gives the same
pressure and the same mass: the content then rests on the certificate of the lot, the scan of the cartridge and the reference
assay. A change of density alone is seen by the balance only from the tolerance of the unit on. Small severities that raise no
alarm above leave units inside their tolerance: the balance is what decides, and the pressure only tells sooner. An axis that
has lost steps lays the right mass beside its place: the mass is right, the place is for the eye at the removal from the plate.
A sensor of pressure that is off by little, or noisy, changes no dose.
"""


if __name__ == "__main__":
    PAGE.write_text(page(int(sys.argv[1]) if len(sys.argv) > 1 else HEALTHY), encoding="utf-8")
