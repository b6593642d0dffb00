"""Process watching: readings in, alarm conditions out, each with the delay its limit states.

The pressure may be low only where nothing is extruded: `extruding_since` says since when extrusion has run without a
pause, and the low limit applies once that has lasted its delay.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from printer.alarms import DEFINITIONS, AlarmName
from printer.flow_watch import FlowWatch
from printer.plan import Limits
from printer.snapshot import Reading, Snapshot

_BALANCE_REMEMBERED_US = 180_000_000
_LINK_SILENCE_US = 15_000_000
_HEARD = Decimal(0)
_BLIND_US = 60_000_000
_SHOWN, _SHOWN_EVERY_US = 600, 50_000
_THOUSANDTHS = tuple(f"{n:03d}" for n in range(1000))
_LOW_LASTS_US = DEFINITIONS[AlarmName.PRESSURE_LOW].setting.delay_us


@dataclass(frozen=True, slots=True)
class Condition:
    """An alarm condition that stands now."""

    name: AlarmName
    message: str


@dataclass(slots=True)
class Trace:
    """What is kept of one unit at the rate of the pressure sensor, written as CSV rows when it is sealed."""

    began: int
    rows: list[str] = field(default_factory=list)

    def add(self, values: Sequence[Decimal], times: Sequence[int], tail: str) -> None:
        """Keep readings that arrived together; `tail` is what their rows have in common."""
        began = self.began
        for value, at in zip(values, times, strict=True):
            since = (at - began) // 1000
            text = str(value)
            self.rows.append(f"{since // 1000}.{_THOUSANDTHS[since % 1000]},{text if 'E' not in text else format(value, 'f')},{tail}")

    def sealed(self) -> bytes:
        return ("t_s,pressure_kPa,nozzle_C,commanded_uL\n" + "".join(self.rows)).encode("ascii")


class Watch:
    """Holds the snapshot of a cell and judges it against the limits of a run.

    Concurrency: owned by the run machine.
    """

    def __init__(self, limits: Limits, second: Limits | None = None) -> None:
        """`limits` of the head that is in use first; `second` of the other one, where there are two."""
        self._heads = (limits,) if second is None else (limits, second)
        self._head = 0
        self._limits = limits
        self.pressure = Reading("kPa", limits.pressure_stale_us)
        self.nozzle = Reading("degC", limits.temperature_stale_us)
        self._plate = Reading("degC", limits.temperature_stale_us)
        self._balance = Reading("mg", _BALANCE_REMEMBERED_US)
        self._link = Reading("", _LINK_SILENCE_US)
        self.trace: Trace | None = None
        self.recent: deque[tuple[int, str]] = deque(maxlen=_SHOWN)
        self.pressure_max: Decimal | None = None
        self.nozzle_min: Decimal | None = None
        self.nozzle_max: Decimal | None = None
        self.plate_min: Decimal | None = None
        self.plate_max: Decimal | None = None
        self.extruding_since: int | None = None
        self._flows = tuple(FlowWatch(head.pressure_low.value, head.flow_nl_per_s) for head in self._heads)
        self.flow = self._flows[0]
        self._nozzles: tuple[Decimal, ...] = ()
        self._high_since: int | None = None
        self._low_since: int | None = None
        self._nozzle_since: list[int | None] = [None] * len(self._heads)
        self._plate_since: int | None = None
        self._watching_since = 0
        self._blind_at = -_BLIND_US

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot(self.pressure, self.nozzle, self._plate, self._balance, self._link)

    @property
    def limits(self) -> Limits:
        """The limits of the head in use."""
        return self._limits

    def nozzle_of(self, head: int) -> Reading:
        """Return the temperature of one head's nozzle, as old as the last report."""
        return self.nozzle._replace(value=self._nozzles[head]) if head < len(self._nozzles) else self.nozzle

    def use_head(self, head: int) -> None:
        """Watch the pressure of another head: its own limits, its own expectation. The temperatures of both are always watched."""
        self._head, self._limits, self.flow = head, self._heads[head], self._flows[head]
        self._high_since = self._low_since = None
        if head < len(self._nozzles):
            self.nozzle = self.nozzle._replace(value=self._nozzles[head])

    def begin_watching(self, now: int) -> None:
        """Start the ages of the sensors afresh: from now on silence counts."""
        self._watching_since = now

    def begin_unit(self, now: int) -> None:
        self.trace = Trace(now)
        self.pressure_max = None
        self.flow.begin_unit()
        nozzle = self.nozzle.value
        self.nozzle_min = self.nozzle_max = nozzle
        self.plate_min = self.plate_max = self._plate.value

    def end_unit(self) -> bytes:
        """Return the trace of the unit as CSV and stop keeping it."""
        trace, self.trace = self.trace, None
        self.extruding_since = None
        return trace.sealed() if trace is not None else b""

    def pressures(self, values: Sequence[Decimal], times: Sequence[int], commanded_nl: int) -> None:
        """Take readings (kPa) that arrived together, each with its own process time in µs, in order."""
        if not values:
            return
        largest, last = max(values), times[-1]
        high, low = self._limits.pressure_high.value, self._limits.pressure_low.value
        self._high_since = None if largest <= high else _beyond([value > high for value in values], times, self._high_since)
        if self.extruding_since is None:
            self._low_since = None
            self.flow.paused()
        else:
            self._low_since = None if min(values) >= low else _beyond([value < low for value in values], times, self._low_since)
            self.flow.readings(values, last - self.extruding_since, commanded_nl)
        recent = self.recent
        shown = recent[-1][0] + _SHOWN_EVERY_US if recent else times[0]
        while last >= shown:
            nth = bisect_left(times, shown)
            recent.append((times[nth], format(values[nth], "f")))
            shown = times[nth] + _SHOWN_EVERY_US
        if self.trace is not None:
            if self.pressure_max is None or largest > self.pressure_max:
                self.pressure_max = largest
            nozzle = "" if self.nozzle.value is None else format(self.nozzle.value, "f")
            self.trace.add(values, times, f"{nozzle},{commanded_nl // 1000}.{commanded_nl % 1000:03d}\n")
        self.pressure = self.pressure.taken(values[-1], last)

    def temperature(self, nozzles: tuple[Decimal, ...], plate: Decimal | None, now: int) -> None:
        """Take the temperature of each head's nozzle (of the one in use, where the printer names one) and of the plate."""
        if len(nozzles) < len(self._heads):
            return  # not both heads: nothing is known of one of them, and that goes stale
        self._nozzles, nozzle = nozzles, nozzles[self._head]
        self.nozzle = self.nozzle.taken(nozzle, now)
        if plate is not None:
            self._plate = self._plate.taken(plate, now)
            outside = not self._limits.plate_low.value <= plate <= self._limits.plate_high.value
            self._plate_since = _since(outside, self._plate_since, now)
        for head, limits in enumerate(self._heads):
            outside = not limits.nozzle_low.value <= nozzles[head] <= limits.nozzle_high.value
            self._nozzle_since[head] = _since(outside, self._nozzle_since[head], now)
        if self.trace is not None:
            self.nozzle_min, self.nozzle_max = _widened(self.nozzle_min, self.nozzle_max, nozzle)
            if plate is not None:
                self.plate_min, self.plate_max = _widened(self.plate_min, self.plate_max, plate)

    def weighed(self, value: Decimal, now: int) -> None:
        self._balance = self._balance.taken(value, now)

    def link_heard(self, now: int) -> None:
        self._link = self._link.taken(_HEARD, now)

    def at_temperature(self) -> bool:
        """Whether nozzle and plate are inside their ranges by fresh reports."""
        plate = self._plate.value
        if not self._nozzles or plate is None:
            return False
        heads = zip(self._heads, self._nozzles, strict=False)
        warm = all(limits.nozzle_low.value <= nozzle <= limits.nozzle_high.value for limits, nozzle in heads)
        return warm and self._limits.plate_low.value <= plate <= self._limits.plate_high.value

    def silent(self, now: int, *, blind: bool = False) -> list[Condition]:
        """Return the sensors that have been silent too long, while anything may move or heat.

        `blind`: the firmware has to be asked for its temperatures and is busy until a motion has ended; that may last a minute.
        """
        nozzle, plate = self.nozzle, self._plate
        if blind and now - (self._watching_since if nozzle.at is None else nozzle.at) <= _BLIND_US:
            self._blind_at = now
        found = []
        if self._stale(self.pressure, now):
            found.append(Condition(AlarmName.PRESSURE_STALE, "no pressure reading"))
        if self._stale(nozzle, now) and now - self._blind_at > nozzle.limit_us:
            found.append(Condition(AlarmName.TEMPERATURE_STALE, "no temperature report"))
        elif self._stale(plate, now) and now - self._blind_at > plate.limit_us:
            found.append(Condition(AlarmName.TEMPERATURE_STALE, "no temperature of the plate in the reports"))
        return found

    def process(self, now: int) -> list[Condition]:
        """Return the process conditions that have lasted their delay, those that are suppressed by design among them."""
        limits, found = self._limits, list[Condition]()
        if self._high_since is not None and now - self._high_since >= limits.pressure_high_delay_us:
            found.append(Condition(AlarmName.PRESSURE_HIGH, f"{self.pressure.value} kPa, limit {limits.pressure_high.text} kPa"))
        low_since = self._low_since
        if low_since is not None and now - low_since >= _LOW_LASTS_US:
            found.append(Condition(AlarmName.PRESSURE_LOW, f"{self.pressure.value} kPa, limit {limits.pressure_low.text} kPa"))
        if self.flow.deviation is not None:
            found.append(Condition(AlarmName.PRESSURE_DEVIATION, self.flow.deviation))
        if self.flow.stuck is not None:
            found.append(Condition(AlarmName.PRESSURE_STUCK, self.flow.stuck))
        for head, since in enumerate(self._nozzle_since):
            if since is not None and now - since >= self._heads[head].temperature_delay_us:
                found.append(Condition(AlarmName.NOZZLE_TEMPERATURE, self._nozzle_text(head)))
                break
        if self._plate_since is not None and now - self._plate_since >= limits.temperature_delay_us:
            text = f"{self._plate.value} degC, validated {limits.plate_low.text} to {limits.plate_high.text} degC"
            found.append(Condition(AlarmName.PLATE_TEMPERATURE, text))
        return found

    def _nozzle_text(self, head: int) -> str:
        limits, which = self._heads[head], "" if len(self._heads) == 1 else f"T{head}: "
        return f"{which}{self._nozzles[head]} degC, validated {limits.nozzle_low.text} to {limits.nozzle_high.text} degC"

    def _stale(self, reading: Reading, now: int) -> bool:
        at, limit = reading.at, reading.limit_us
        if at is not None and now - at <= limit:
            return False
        return now - self._watching_since > limit


def _beyond(stands: Sequence[bool], times: Sequence[int], since: int | None) -> int | None:
    """Return since when a condition has stood without a pause, by readings in order."""
    for stood, at in zip(stands, times, strict=True):
        since = (at if since is None else since) if stood else None
    return since


def _widened(low: Decimal | None, high: Decimal | None, value: Decimal) -> tuple[Decimal, Decimal]:
    """Return the range that holds a value as well."""
    return value if low is None else min(low, value), value if high is None else max(high, value)


def _since(stands: bool, since: int | None, now: int) -> int | None:
    if not stands:
        return None
    return now if since is None else since
