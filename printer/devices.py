"""The three devices of a cell, seen from its run: bytes in, what they mean out, bytes to send.

What a device says of itself (who it is, temperatures, weights, pressure) is kept here and in the watch; what the run has to
decide about is handed on as an event.
"""

from __future__ import annotations

from firmware_bridge.balance import BalanceEvent, BalanceIdentified, WeighResult
from firmware_bridge.gcode_link import GcodeLink
from firmware_bridge.link_values import (
    Identified,
    IdentityRefused,
    LinkEvent,
    LinkState,
    OutLine,
    StopStrength,
    TemperatureReport,
    ToolReport,
)
from printer.instruments import balance_driver, pressure_driver
from printer.messages import EmergencySend, Port, Send
from printer.plan import RunPlan
from printer.readiness import DeviceFindings
from printer.sent_program import SentProgram
from printer.watch import Watch

_TOTAL = OutLine(command=b"M114", tag="total")


class Devices:
    """Printer, balance and pressure sensor of one run, and what has been found of them.

    `tool` is the head that the printer said was in use, None since it was last asked to take one.

    Lifetime: one run; opened ports. Concurrency: owned by the run machine.
    """

    def __init__(self, plan: RunPlan, watch: Watch) -> None:
        self.link = GcodeLink(plan.firmware, exposure_limit_nl=plan.exposure_limit_nl)
        self.balance = balance_driver(plan.balance_driver, plan.limits.weighing_timeout_us)
        self.pressure = pressure_driver(plan.pressure)
        self.sent = SentProgram(plan.header)
        self.lost: set[Port] = set()
        self.printer_name: str | None = None
        self.printer_refusal: str | None = None
        self.balance_name: str | None = None
        self.balance_serial: str | None = None
        self.tool: int | None = None
        self._registered_balance = plan.balance_serial
        self._watch = watch

    def identify(self, now: int) -> None:
        """Ask every device who it is, before anything else is said to it."""
        self.link.start(now)
        self.balance.identify(now)
        self.pressure.start(now)

    @property
    def ready(self) -> bool:
        """Whether the printer takes lines."""
        return self.link.state is LinkState.READY

    @property
    def blind(self) -> bool:
        """Whether the printer cannot tell its temperatures now: it has to be asked, and it is busy until a motion has ended."""
        return self.link.profile.poll_temperature_us is not None and self.link.waiting

    def findings(self, now: int) -> DeviceFindings:
        pressure = self._watch.snapshot.pressure.quality(now)
        return DeviceFindings(
            self.printer_name,
            self.printer_refusal,
            self.balance_name if self.balance.fault is None else None,
            pressure,
            balance_serial=self.balance_serial,
            expected_serial=self._registered_balance,
        )

    def receive(self, port: Port, data: bytes, now: int, commanded_nl: int) -> None:
        """Take what a device has sent. `commanded_nl`: net volume of the unit that the printer has taken so far."""
        match port:
            case Port.PRINTER:
                self._watch.link_heard(now)
                self.link.receive(data, now)
            case Port.BALANCE:
                self.balance.receive(data, now)
            case Port.PRESSURE:
                self.pressure.receive(data, now)
                self._pressures(commanded_nl)

    def tick(self, now: int) -> None:
        self.link.tick(now)
        self.balance.tick(now)
        self.pressure.tick(now)

    def next_event(self, now: int) -> LinkEvent | BalanceEvent | None:
        """Return the oldest event not yet taken, the printer's first; what it says of the device is noted already."""
        said = self.link.next_event()
        if said is not None:
            self._printer_said(said, now)
            return said
        weighed = self.balance.next_event()
        if weighed is not None:
            self._balance_said(weighed, now)
        return weighed

    def bytes_to_send(self) -> list[Send]:
        """Return what is to be written now; what goes to the printer is kept as sent."""
        out = []
        if (data := self.link.bytes_to_send()) and Port.PRINTER not in self.lost:
            self.sent.sent(data)
            out.append(Send(Port.PRINTER, data))
        if (data := self.balance.bytes_to_send()) and Port.BALANCE not in self.lost:
            out.append(Send(Port.BALANCE, data))
        if (data := self.pressure.bytes_to_send()) and Port.PRESSURE not in self.lost:
            out.append(Send(Port.PRESSURE, data))
        return out

    def submit(self, lines: tuple[OutLine, ...], title: str | None, now: int) -> None:
        """Send lines; `title` names the block that they begin, empty for none; None: they go on with the one that is open."""
        if title is not None:
            self.sent.begin(title)
        self.link.submit(lines, now)

    def ask_total(self, now: int) -> None:
        """Ask the printer for its extruder total; the answer is a PositionReport."""
        self.submit((_TOTAL,), "", now)

    def stop(self, strength: StopStrength, now: int) -> EmergencySend | None:
        """End the link for good; return the bytes that stop the printer, None where it cannot be reached."""
        data = self.link.stop(strength, now)
        return None if Port.PRINTER in self.lost else EmergencySend(Port.PRINTER, data)

    def _pressures(self, commanded_nl: int) -> None:
        values, times = self.pressure.take_values()
        self._watch.pressures(values, times, commanded_nl)

    def _printer_said(self, event: LinkEvent, now: int) -> None:
        match event:
            case Identified():
                self.printer_name = next((value for name, value in event.firmware if name == "FIRMWARE_NAME"), "printer")
            case IdentityRefused():
                self.printer_refusal = "; ".join(event.differences)
            case TemperatureReport():
                self._watch.temperature(event.hotends or (event.hotend,), event.bed, now)
            case ToolReport(number):
                self.tool = number
            case _:
                pass

    def _balance_said(self, event: BalanceEvent, now: int) -> None:
        match event:
            case BalanceIdentified():
                self.balance_serial = event.serial
                self.balance_name = f"{event.model}, serial number {event.serial}"
            case WeighResult():
                self._watch.weighed(event.value.value, now)
            case _:
                pass
