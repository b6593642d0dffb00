"""What a person sees of a demonstration while it prints: a live picture on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from api.status import STATE_WORDS, CellStatus, UnitStatus, deviation_percent

_VERDICTS = {"accepted": ("✓ accepted", "green"), "rejected": ("✕ rejected", "bold red"), "scrapped": ("⊘ scrapped", "bold red")}
_BARS = "▁▂▃▄▅▆▇█"
_SHOWN = 8


def duration(seconds: int | None) -> str:
    if seconds is None:
        return "–"
    return f"{seconds // 60} min {seconds % 60:02d} s" if seconds >= 60 else f"{seconds} s"


def sentence(text: object) -> str:
    """Return a text with one full stop at its end."""
    return f"{str(text).rstrip('. ')}."


def unit_line(unit: UnitStatus, total: int) -> str:
    """One unit in one line, for output that is not a terminal."""
    word = _VERDICTS.get(unit.verdict or "", (unit.verdict or unit.state, ""))[0]
    if unit.parts:
        masses = [f"{part.moiety} {part.mass_mg or 'no mass'} mg of {part.target_mass_mg}" for part in unit.parts]
        reasons = f": {'; '.join(unit.reasons)}" if unit.reasons else ""
        return f"  unit {unit.n:>2} of {total}  {unit.strength_mg} mg  {', '.join(masses)}  {word}{reasons}"
    mass = f"{unit.mass_mg} mg ({deviation_percent(unit.mass_mg, unit.target_mass_mg):+} %)" if unit.mass_mg else "no mass"
    reasons = f": {'; '.join(unit.reasons)}" if unit.reasons else ""
    return f"  unit {unit.n:>2} of {total}  {unit.strength_mg} mg  {mass}  {word}{reasons}"


def sparkline(values: list[float], top: float) -> str:
    return "".join(_BARS[min(len(_BARS) - 1, max(0, int(value / top * (len(_BARS) - 1) + 0.5)))] for value in values)


class Progress:
    """Shows a run. On a terminal the picture is redrawn in place; elsewhere every judged unit and alarm is one line.

    Lifetime: a `with` block. Concurrency: one caller.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None
        self._told: set[str] = set()
        self._state = ""

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: CellStatus, pressures: list[float]) -> None:
        """Show one status with the last pressures (kPa)."""
        if self._live is not None:
            self._live.update(picture(status, pressures))
        else:
            self._lines(status)

    def _lines(self, status: CellStatus) -> None:
        if status.state != self._state:
            self._state = status.state
            self._console.print(f"  {STATE_WORDS.get(status.state, (status.state, ''))[0].lower()}", markup=False)
        for alarm in status.alarms:
            if alarm.alarm not in self._told:
                self._told.add(alarm.alarm)
                self._console.print(
                    f"  ▲ alarm ({alarm.priority}): {alarm.name}: {sentence(alarm.message)} Do now: {alarm.action}", markup=False
                )
        for unit in status.units:
            if unit.verdict is not None and unit.unit not in self._told:
                self._told.add(unit.unit)
                left = f"   about {duration(status.time_left_s)} of process time left" if status.time_left_s else ""
                self._console.print(unit_line(unit, len(status.units)) + left, markup=False)


def picture(status: CellStatus, pressures: list[float]) -> Group:
    """Return the whole picture of a run."""
    word, _ = STATE_WORDS.get(status.state, (status.state, ""))
    total = len(status.units)
    head = Text.assemble((word, "bold"), f"   {status.judged} of {total} judged   process time {status.rate}×   ", style="")
    head.append(f"about {duration(status.time_left_s)} of process time left" if status.time_left_s else "", style="dim")
    bar = ProgressBar(total=max(total, 1), completed=status.judged, width=60)
    table = Table(box=None, pad_edge=False, padding=(0, 2), show_header=True, header_style="dim")
    for name, justify in (("unit", "right"), ("strength", "right"), ("mass", "right"), ("deviation", "right"), ("verdict", "left")):
        table.add_column(name, justify="right" if justify == "right" else "left")
    shown = [unit for unit in status.units if unit.verdict is not None or unit is status.current]
    for unit in shown[-_SHOWN:]:
        label, style = _VERDICTS.get(unit.verdict or "", (f"▸ {unit.state}", "cyan"))
        deviation = f"{deviation_percent(unit.mass_mg, unit.target_mass_mg):+} %" if unit.mass_mg else ""
        table.add_row(str(unit.n), f"{unit.strength_mg} mg", f"{unit.mass_mg} mg" if unit.mass_mg else "", deviation, Text(label, style))
    parts: list[Text | Table | ProgressBar] = [head, bar, table, _pressure(status, pressures)]
    for alarm in status.alarms:
        parts.append(Text(f"▲ {alarm.priority}: {alarm.name}: {alarm.message}", "bold red"))
        parts.append(Text(f"  {alarm.action}", "red"))
    return Group(*parts)


def _pressure(status: CellStatus, pressures: list[float]) -> Text:
    sensor = status.sensors.get("pressure")
    if sensor is None or sensor.value is None or sensor.quality != "good":
        return Text("pressure  unknown", "dim")
    top = float(sensor.high) if sensor.high else max([*pressures, 1.0])
    return Text.assemble(("pressure  ", "dim"), (sparkline(pressures[-50:], top), "cyan"), f"  {sensor.value} {sensor.unit}")
