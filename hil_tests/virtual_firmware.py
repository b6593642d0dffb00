"""The firmware core of the virtual printer: serial lines, command queue, keep-alives, kill, thermal protection.

What it imitates is written in the Marlin sources (queue, e_parser, planner) and was seen in recorded conversations:
numbered lines with checksums, Resend, ADVANCED_OK, EMERGENCY_PARSER, a bounded command queue and planner, keep-alives,
automatic temperature reports, kill that answers nothing any more. Motion runs at constant feed; acceleration is left out.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from functools import reduce
from operator import xor

from hil_tests.plant import Heater, Motion
from hil_tests.virtual_motion import AXES, Mover

NEVER = 1 << 62
_BUSY_US = 2_000_000
_REPORT_US = 1_000_000
_PROTECT_US = 500_000
_HEAT_US = 100_000
_MAX_CMD = 96
# Marlin's e_parser: only at the start of a line, an N<number> in front allowed; acts when the line ends.
_EMERGENCY = re.compile(rb"[ ]*(?:N[-0-9 ]*)?M(112|108|410|876)")
_NUMBER = re.compile(r"\s*([-+]?\d+)")
_WORD = re.compile(r"([A-Z]) ?([-+]?[0-9]*\.?[0-9]*)")

Waiting = Generator[int, None, None]


@dataclass(frozen=True, slots=True)
class PrinterConfig:
    """The firmware build. `bufsize` command slots, `planner` blocks of which one is always kept free, as in Marlin.

    `second_e_steps_per_mm` above 0: there is a second head (`T1`), docked at power-on, whose nozzle really stands `second_offset_*_mm`
    beside the first one's; a change of head takes `tool_change_s`.
    """

    machine_type: str
    e_steps_per_mm: float
    e_max_feed: float
    extrude_min_c: float
    nozzle_max_c: float
    bed_max_c: float
    firmware_name: str = "Marlin 2.1.2.5 (Dosewright virtual bench)"
    uuid: str = "cede2a2f-41a2-4748-9b12-c55c62f367ff"
    bufsize: int = 8
    planner: int = 16
    rx_buffer: int = 0
    xy_steps_per_mm: float = 80.0
    z_steps_per_mm: float = 400.0
    xy_max_feed: float = 300.0
    z_max_feed: float = 25.0
    size_xy_mm: float = 200.0
    size_z_mm: float = 200.0
    second_e_steps_per_mm: float = 0.0
    second_offset_x_mm: float = 0.0
    second_offset_y_mm: float = 0.0
    second_offset_z_mm: float = 0.0
    tool_change_s: float = 6.0
    dialect: str = "marlin-2.1"


class FirmwareCore(ABC):
    """The machine. Time is an int of µs that only `advance` moves. Concurrency: one owner.

    Fault scripts change `held_until`, `refused_lines` and `resend_offset`.
    """

    def __init__(self, config: PrinterConfig, nozzle: Heater, bed: Heater, start_us: int = 0, second: Heater | None = None) -> None:
        self.config = config
        self.nozzles = [nozzle] if second is None else [nozzle, second]
        self.bed = bed
        self.now = start_us
        self._out = bytearray()
        self.motions: list[Motion] = []
        self._running: Waiting | None = None
        self._heated_to = start_us
        self._power_on()

    @property
    def nozzle(self) -> Heater:
        """The heater of the head in use."""
        return self.nozzles[self.mover.tool]

    # -- the wire -----------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes from the host. Emergency commands act here, before the queue; the rest waits for a slot."""
        if self.killed:
            return
        self._watch_emergency(data)
        if self.killed:
            return
        limit = self.config.rx_buffer
        # A hardware UART drops what does not fit, without a word; native USB (0) holds the host back instead.
        self._rx += data if not limit else data[: max(0, limit - len(self._rx))]
        self._work()

    def output(self) -> bytes:
        """Return and clear what the machine has sent."""
        if not self._out:
            return b""
        data = bytes(self._out)
        self._out.clear()
        return data

    def say(self, text: str) -> None:
        self._out += text.encode("ascii", "replace") + b"\n"

    def reset(self, *causes: str) -> None:
        """Reset as DTR or a brown-out does: the job, the line number and the heater targets are gone."""
        self._power_on()
        for line in ("start", *causes):
            self.say(line)
        self.say(self.config.firmware_name.split(" (")[0])
        self.say("echo: Last Updated: 2025-04-02 | Author: (none, default config)")
        self.say("echo: PlannerBufferBytes: 1344")

    def kill(self, *lines: str) -> None:
        """Halt for good: say why, drop motion and heat, answer nothing until a reset."""
        for line in lines:
            self.say(line)
        self.say("Error:Printer halted. kill() called!")
        self.say("//action:poweroff")
        self.power_off()

    def power_off(self) -> None:
        """Take motion, heat and queue away and answer nothing until a reset, without a word."""
        self.killed = True
        self._cool()
        self.mover.drop()
        self._queue.clear()
        self._rx.clear()
        self._running = None
        self._wake = self._busy_at = self._report_at = NEVER

    def _power_on(self) -> None:
        self.killed = False
        self.mover = Mover(self.config.planner - 1, self._axis_steps(), self._axis_feeds(), self._sizes())
        self._rx = bytearray()
        self._tail = bytearray()
        self._queue: deque[tuple[str, int | None, str]] = deque()
        self.debug_echo = False
        self._running = None
        self._wake = NEVER
        self._busy_at = NEVER
        self._report_at = NEVER
        self._protect_at = self.now + _PROTECT_US
        self._heat_at = self.now - self.now % _HEAT_US + _HEAT_US
        self.last_line = 0
        self.break_heating = False
        self.busy_interval = _BUSY_US
        self.extrude_min_c = self.config.extrude_min_c
        self.cleaning_until = 0
        self.held_until = 0
        self.refused_lines = 0
        self.resend_offset = 0
        self._below_since: dict[str, int] = {}
        self._reached: dict[str, bool] = {}
        self.offset = (0.0, 0.0, 0.0)
        self._cool()

    def _cool(self) -> None:
        for heater in (*self.nozzles, self.bed):
            heater.target = 0.0

    def _axis_steps(self) -> tuple[float, float, float, float]:
        config = self.config
        return (config.xy_steps_per_mm, config.xy_steps_per_mm, config.z_steps_per_mm, config.e_steps_per_mm)

    def _axis_feeds(self) -> tuple[float, float, float, float]:
        config = self.config
        return (config.xy_max_feed, config.xy_max_feed, config.z_max_feed, config.e_max_feed)

    def _sizes(self) -> tuple[float, float, float]:
        return (self.config.size_xy_mm, self.config.size_xy_mm, self.config.size_z_mm)

    def _watch_emergency(self, data: bytes) -> None:
        self._tail += data.replace(b"\r", b"\n")
        *lines, rest = self._tail.split(b"\n")
        self._tail = bytearray(rest[-_MAX_CMD:])
        for line in lines:
            found = _EMERGENCY.match(line)
            if found is None:
                continue
            code = found.group(1)
            if code == b"112":
                self.kill("echo:M112 Shutdown")
                return
            if code == b"410":
                self.quickstop()
            elif code == b"108":
                self.break_heating = True

    def quickstop(self) -> None:
        """Drop the planned moves where the head is; for one second more, moves are taken and thrown away."""
        self.mover.drop()
        self.cleaning_until = self.now + 1_000_000

    # -- lines --------------------------------------------------------------------------------------------------

    def _take_lines(self) -> None:
        """Move complete lines from the receive buffer to the command queue while it has room."""
        received, queue, size = self._rx, self._queue, self.config.bufsize
        while received and len(queue) < size and not self.killed:
            end = received.find(b"\n")
            carriage = received.find(b"\r", 0, end if end >= 0 else len(received))
            end = carriage if carriage >= 0 else end
            if end < 0:
                if len(received) > 65536:
                    received.clear()
                return
            raw = received[: min(end, _MAX_CMD - 1)]
            del received[: end + 1]
            line = raw.partition(b";")[0].decode("latin-1").lstrip(" ")
            if line:
                self._take_line(line)

    def _take_line(self, line: str) -> None:
        if not line.startswith("N"):
            self._queue.append((_command_of(line), None, line))
            return
        m110 = "M110" in line
        at = line.find("N", 4) if m110 else -1
        number = _leading_int(line[at + 1 :] if at > 0 else line[1:])
        if number != self.last_line + 1 and not m110:
            if self.last_line - 1 <= number <= self.last_line:
                return  # Marlin 2.1 drops a repeated line without a word
            self._refuse("Line Number is not Last Line Number+1")
            return
        star = line.rfind("*")
        if star < 0:
            self._refuse("No Checksum with line number")
            return
        checksum = reduce(xor, line[:star].encode("latin-1"), 0)
        if _leading_int(line[star + 1 :]) != checksum:
            self._refuse("checksum mismatch")
            return
        if self.refused_lines and not m110:
            self.refused_lines -= 1
            self._refuse("checksum mismatch", self.resend_offset)
            return
        self.last_line = number
        self._queue.append((_command_of(line), number, line))

    def _refuse(self, why: str, offset: int = 0) -> None:
        self.say(f"Error:{why}, Last Line: {self.last_line}")
        self._rx.clear()
        self.say(f"Resend: {self.last_line + 1 + offset}")
        self.say("ok")

    # -- time ---------------------------------------------------------------------------------------------------

    def advance(self, to_us: int) -> None:
        """Let time pass up to `to_us`: moves, dwells, heating, reports, in their order."""
        if self._running is None:
            self._work()
        while self.now < to_us:
            event = self._next_event()
            if event > to_us:
                self._pass(to_us)
                return
            looks = event >= self._wake or event >= self.mover.block_end
            self._pass(event)
            self._timers()
            if looks:
                self._work()

    @property
    def idle(self) -> bool:
        """Whether nothing is planned, queued or running."""
        return self._running is None and not self._queue and not self.mover.blocks

    def _next_event(self) -> int:
        return min(self._wake, self._busy_at, self._report_at, self._protect_at, self._heat_at, self.mover.block_end)

    def _pass(self, to_us: int) -> None:
        if self.mover.blocks and to_us > self.now:
            self.mover.run(self.now, to_us, self.motions)
        self.now = to_us

    def _timers(self) -> None:
        now = self.now
        if now >= self._heat_at:
            # Ten times a second, as the firmware sets the power: in between the temperature is the last one taken.
            seconds = (now - self._heated_to) / 1e6
            for heater in (*self.nozzles, self.bed):
                heater.advance(seconds)
            self._heated_to = now
            self._heat_at = now + _HEAT_US
        if now >= self._report_at:
            self.say(" " + self.temperatures())
            self._report_at += _REPORT_US
        if now >= self._busy_at:
            self.say("echo:busy: processing")
            self._busy_at += self.busy_interval
        if now >= self._protect_at:
            self._protect_at += _PROTECT_US
            for number, nozzle in enumerate(self.nozzles):
                self._protect(nozzle, f"E{number}", self.config.nozzle_max_c)
            self._protect(self.bed, "bed", self.config.bed_max_c)

    def _work(self) -> None:
        """Run what can run at this instant: the command at the head of the queue, then the next."""
        while not self.killed:
            self._take_lines()
            if self._running is not None:
                if not self._resume(self._running):
                    return
                continue
            if not self._queue:
                return
            command, _, line = self._queue[0]
            if self.debug_echo:
                # M111 S1: the whole line as it stands in the queue, when its turn has come.
                self._out += b"echo:" + line.encode("latin-1") + b"\n"
            waiting = self.execute(command) if self.now >= self.held_until else self._held(command)
            if waiting is None:
                self._finish()
            else:
                self._running = waiting
                self._busy_at = self.now + self.busy_interval if self.busy_interval else NEVER

    def _held(self, command: str) -> Waiting:
        """Keep a command waiting until `held_until`, as a firmware does that is occupied with itself; then run it."""
        while self.now < self.held_until:
            yield self.held_until
        inner = self.execute(command)
        if inner is not None:
            yield from inner

    def _resume(self, waiting: Waiting) -> bool:
        try:
            self._wake = max(next(waiting), self.now + 1)
        except StopIteration:
            self._running, self._wake, self._busy_at = None, NEVER, NEVER
            self._finish()
            return True
        return False

    def _finish(self) -> None:
        """Send the ok of the command at the head of the queue and drop it. Its slot still counts as taken in B, as in Marlin."""
        if self.killed or not self._queue:
            return
        command, number, _ = self._queue[0]
        if not command.startswith("M105"):
            room = self.config.planner - 1 - len(self.mover.blocks)
            text = f" P{room} B{self.config.bufsize - len(self._queue)}"
            self.say("ok" + (f" N{number}" if number is not None else "") + text)
        self._queue.popleft()

    # -- heat ---------------------------------------------------------------------------------------------------

    def temperatures(self, wait: str | None = None) -> str:
        nozzle, bed = self.nozzle, self.bed
        text = f"T:{nozzle.reading():.2f} /{nozzle.target:.2f} B:{bed.reading():.2f} /{bed.target:.2f}"
        several = list(enumerate(self.nozzles)) if len(self.nozzles) > 1 else []
        text += "".join(f" T{number}:{heater.reading():.2f} /{heater.target:.2f}" for number, heater in several)
        text += f" @:{round(nozzle.power * 127)} B@:{round(bed.power * 127)}"
        text += "".join(f" @{number}:{round(heater.power * 127)}" for number, heater in several)
        return text if wait is None else f"{text} W:{wait}"

    def report_temperatures(self, seconds: int) -> None:
        self._report_at = self.now + _REPORT_US if seconds else NEVER

    def _protect(self, heater: Heater, name: str, maximum: float) -> None:
        """Marlin's thermal protection: MAXTEMP, MINTEMP, and runaway once the target had been reached (4 °C for 20 s)."""
        if self.killed:
            return
        reading = heater.reading()
        if reading > maximum:
            self.kill(f"Error:MAXTEMP triggered, system stopped! Heater_ID: {name}")
            return
        if heater.target <= 0.0:
            self._reached.pop(name, None)
            self._below_since.pop(name, None)
            return
        if reading < -10.0:
            self.kill(f"Error:MINTEMP triggered, system stopped! Heater_ID: {name}")
            return
        if reading >= heater.target - 1.0:
            self._reached[name] = True
        if not self._reached.get(name) or reading >= heater.target - 4.0:
            self._below_since.pop(name, None)
            return
        if self.now - self._below_since.setdefault(name, self.now) >= 20_000_000:
            self.kill(f"Error:Thermal Runaway, system stopped! Heater_ID: {name}", "echo:THERMAL RUNAWAY")

    # -- commands -----------------------------------------------------------------------------------------------

    @abstractmethod
    def execute(self, command: str) -> Waiting | None:
        """Start one command. None: done at once; else a generator that yields the time at which to look again."""

    def linear(self, command: str) -> Waiting | None:
        words = words_of(command)
        if "E" in words and self.nozzle.temperature < self.extrude_min_c and self.mover.extrusion(words["E"]) != 0.0:
            self.say("echo: cold extrusion prevented")
            self.mover.skip_extrusion(words.pop("E"))
        if self.now < self.cleaning_until:
            return None
        if self.mover.has_room:
            self.mover.plan(words, self.now)
            return None
        return self._wait_and_plan(words)

    def _wait_and_plan(self, words: dict[str, float]) -> Waiting:
        while not self.mover.has_room:
            yield self.mover.block_end
        if self.now >= self.cleaning_until:
            self.mover.plan(words, self.now)

    def position_line(self) -> str:
        x, y, z, e = self.mover.planned
        steps = self.mover.planned_steps()
        return f"X:{x:.2f} Y:{y:.2f} Z:{z:.2f} E:{e:.2f} Count X:{steps[0]} Y:{steps[1]} Z:{steps[2]}"


def words_of(command: str) -> dict[str, float]:
    """Return the parameters of a command: letter → number (0 where a letter stands alone)."""
    found = _WORD.findall(command)[1:]
    try:
        return {letter: float(number) for letter, number in found}
    except ValueError:
        return {letter: _number(number) for letter, number in found}


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def axis_words(words: dict[str, float]) -> list[str]:
    return [axis for axis in AXES if axis in words]


def _command_of(line: str) -> str:
    """Return the command of a line: without number, checksum and trailing spaces."""
    text = line
    if text.startswith("N"):
        text = text[1:].lstrip("-0123456789").lstrip(" ")
    return text.partition("*")[0].strip(" ")


def _leading_int(text: str) -> int:
    found = _NUMBER.match(text)
    return int(found.group(1)) if found else 0
