"""The link against a small Marlin-like model over a noisy wire, in virtual time: executed as sent, or FAULTED.

Where a line fooled the checksum, it is caught: by the read-back, by the totals, or its echo differs so much that the line stands
as doubtful. Every byte of what was carried out counts, `F` and `G` words too, from numbered lines and from fragments.
"""

from __future__ import annotations

import random
import re
from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal as D
from functools import reduce
from operator import xor

import pytest

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1
from firmware_bridge.gcode_link import Drained, GcodeLink, Identified, LineAcknowledged, LinkState, OutLine, PositionReport, StopStrength
from tests.bridge.dead_reckoning import differences, expected_totals

CAPS = ["Cap:AUTOREPORT_TEMP:1", "Cap:EMERGENCY_PARSER:1"]
OWN = re.compile(rb"(?:M105|M111 S1|M155 S1|M110 N0)\Z|M115(?![0-9])")


def strtol(text: bytes) -> int:
    """Read a number as C does: blanks and a sign before, anything behind, 0 where there is none."""
    found = re.match(rb"[ \t\v\f]*([-+]?[0-9]+)", text)
    return int(found.group(1)) if found else 0


@dataclass
class Model:
    """Marlin's queue as its source describes it (queue.cpp, parser.cpp, gcode.cpp, M111.cpp); written without looking at the link.

    Lines are C strings: a zero byte ends one. A backspace takes a byte back, a backslash escapes, a semicolon ends the line.
    """

    advanced: bool
    old: bool = False
    ring: int = 128
    slots: int = 4
    echo: bool = False
    rx: deque[int] = field(default_factory=deque)
    line: bytearray = field(default_factory=bytearray)
    rest_is_comment: bool = False
    escaped: bool = False
    queue: deque[tuple[int | None, bytes]] = field(default_factory=deque)
    last: int = 0
    ready_at: int | None = None
    executed: list[tuple[int | None, bytes]] = field(default_factory=list)
    accepted_wire: list[bytes] = field(default_factory=list)
    out: bytearray = field(default_factory=bytearray)
    killed: bool = False
    overflow: int = 0

    def say(self, text: str) -> None:
        self.out += text.encode("latin-1") + b"\n"

    def feed(self, byte: int) -> None:
        if len(self.rx) >= self.ring - 1:
            self.overflow += 1
        else:
            self.rx.append(byte)

    def run(self, now: int, rng: random.Random) -> None:
        if self.killed:
            return
        while self.rx and len(self.queue) < self.slots:
            byte = self.rx.popleft()
            if byte in (10, 13):
                raw, self.line = bytes(self.line), bytearray()
                self.rest_is_comment = self.escaped = False
                if raw:
                    self.take(raw.partition(b"\0")[0])
            else:
                self.keep(byte)
        if self.queue and self.ready_at is None:
            self.ready_at = now + rng.choice([50, 300, 2_000, 20_000])
        if self.queue and self.ready_at is not None and now >= self.ready_at:
            self.ready_at = None
            self.execute(*self.queue[0])
            self.queue.popleft()

    def keep(self, byte: int) -> None:
        """process_stream_char."""
        if self.rest_is_comment:
            return
        if self.escaped:
            self.escaped = False
        elif byte == 0x5C:
            self.escaped = True
            return
        elif byte == 0x3B:
            self.rest_is_comment = True
            return
        if byte == 8:
            del self.line[-1:]
            return
        self.line.append(byte)
        self.rest_is_comment = len(self.line) >= 95

    def error(self, text: str) -> None:
        self.rx.clear()
        self.say(f"Error:{text}, Last Line: {self.last}")
        self.say(f"Resend: {self.last + 1}")
        self.say("ok")

    def take(self, raw: bytes) -> None:
        """get_serial_commands, at the end of a line; the buffer keeps leading blanks."""
        text = raw.lstrip(b" ")
        if re.match(rb"(?:N[-0-9 ]*)?M(?:112|410)", text):  # the emergency parser has seen it
            self.killed = b"M112" in text
            self.queue.clear()
            return
        if text[:1] == b"N":
            setting = b"M110" in text
            second = text.find(b"N", 4) if setting else -1
            number = strtol(text[(second if second >= 0 else 0) + 1 :])
            star = text.rfind(b"*")
            if number != self.last + 1 and not setting:
                if not self.old and number in (self.last, self.last - 1):
                    return
                self.error("Line Number is not Last Line Number+1")
                return
            if star < 0:
                self.error("No Checksum with line number")
                return
            if reduce(xor, text[:star], 0) != strtol(text[star + 1 :]):
                self.error("checksum mismatch")
                return
            self.last = number
            self.accepted_wire.append(text)
        self.queue.append((self.last if text[:1] == b"N" else None, raw))

    def execute(self, number: int | None, raw: bytes) -> None:
        if self.echo:
            self.out += b"echo:" + raw + b"\n"
        command = raw.lstrip(b" ")
        if command[:1] == b"N" and command[1:2] in b"-0123456789" and command[1:2]:
            command = command[2:].lstrip(b"0123456789").lstrip(b" ")
        command = command.partition(b"*")[0].rstrip(b" ")
        self.executed.append((number, command))
        if re.match(rb"M105(?![0-9])", command):
            self.say("ok T:200.10 /200.00 B:60.00 /60.00 @:64 B@:0")
            return
        if re.match(rb"M111(?![0-9])", command):
            flags = strtol(command.partition(b"S")[2])
            self.echo = bool(flags & 1)
            self.say("echo:DEBUG:" + ("ECHO" if self.echo else "Off" if flags == 0 else "INFO"))
        elif re.match(rb"M115(?![0-9])", command):
            self.say("FIRMWARE_NAME:Marlin 2.0.5 (x) PROTOCOL_VERSION:1.0 MACHINE_TYPE:Model")
            for cap in CAPS:
                self.say(cap)
        elif not re.match(rb"[GMT][0-9]", command):
            self.out += b'echo:Unknown command: "' + command + b'"\n'
        shown = re.match(rb" *N[-0-9]+", raw) if raw[:1] == b"N" else None
        if self.advanced:
            self.say(f"ok{' ' + shown.group(0).decode() if shown else ''} P15 B{self.slots - len(self.queue)}")
        else:
            self.say("ok")


def damage(data: bytes, rate: float, rng: random.Random) -> bytes:
    if rate == 0 or not data:
        return data
    result = bytearray()
    for byte in data:
        if rng.random() >= rate:
            result.append(byte)
            continue
        kind = rng.randrange(3)
        if kind == 0:
            result.append(byte ^ (1 << rng.randrange(8)))
        elif kind == 1:
            result += bytes((byte, rng.randrange(256)))
    return bytes(result)


def move(i: int) -> bytes:
    return b"G1 X%d.%02d Y%d E0.0%02d" % (i % 90, i * 7 % 100, i % 50, i % 100) + (b" F%d" % (600 + i) if i % 3 == 0 else b"")


PROGRAM = (b"G90", b"M83", b"G92 E0", *map(move, range(37)))


@dataclass
class Outcome:
    link: GcodeLink
    model: Model
    drained: int = 0
    identified: bool = False
    acknowledged: list[int] = field(default_factory=list)
    wire: list[bytes] = field(default_factory=list)
    time: int = 0

    def job(self) -> list[bytes]:
        return [command for number, command in self.model.executed if number is not None and not OWN.match(command)]

    def carried_out(self) -> list[bytes]:
        """Everything that the firmware did, from numbered lines and from fragments of them, but for the link's own lines."""
        done = [command for _, command in self.model.executed if re.match(rb"[GMT][0-9]", command) and not OWN.match(command)]
        first = next((at for at, (number, _) in enumerate(self.model.executed) if number is not None), 0)
        # What an unnumbered M115 becomes when it is damaged: no number and no checksum are set yet, and nothing moves by an M.
        hello = [command for _, command in self.model.executed[:first] if command.startswith(b"M")]
        return [command for command in done if command not in hello]

    def fragments(self) -> list[bytes]:
        return [command for number, command in self.model.executed if number is None and command not in (b"M115",)]


def simulate(seed: int, rate: float, *, advanced: bool, old: bool, lines: int = 40, stop_at: int | None = None) -> Outcome:
    latency = 300
    rng = random.Random(seed)
    profile = MARLIN_2_1 if advanced else MARLIN_2_0
    link = GcodeLink(profile, exposure_limit_nl=600)
    model = Model(advanced=advanced, old=old)
    outcome = Outcome(link, model)
    to_model: deque[tuple[int, bytes]] = deque()
    to_link: deque[tuple[int, bytes]] = deque()
    now, submitted = 0, False
    link.start(now)
    while now < 400_000_000:
        while to_model and to_model[0][0] <= now:
            for byte in to_model.popleft()[1]:
                model.feed(byte)
        for _ in range(3):
            model.run(now, rng)
        if model.out:
            to_link.append((now + latency, damage(bytes(model.out), rate, rng)))
            model.out.clear()
        while to_link and to_link[0][0] <= now:
            link.receive(to_link.popleft()[1], now)
        link.tick(now)
        while (event := link.next_event()) is not None:
            outcome.identified |= isinstance(event, Identified)
            outcome.drained += isinstance(event, Drained)
            if isinstance(event, LineAcknowledged):
                outcome.acknowledged.append(int(event.tag))
        if link.state is LinkState.READY and outcome.identified and not submitted:
            submitted = True
            link.submit([OutLine(c, str(i), exposure_nl=100) for i, c in enumerate(PROGRAM[:lines])], now)
        if stop_at is not None and submitted and len(outcome.acknowledged) >= stop_at and link.state is not LinkState.STOPPED:
            to_model.append((now + latency, link.stop(StopStrength.KILL, now)))
            outcome.time = now
        data = link.bytes_to_send()
        if data:
            assert link.state not in (LinkState.STOPPED, LinkState.FAULTED)
            outcome.wire += data.split(b"\n")
            to_model.append((now + latency, damage(data, rate, rng)))
        if outcome.drained or link.state is LinkState.FAULTED:
            break
        if stop_at is not None and link.state is LinkState.STOPPED and now > outcome.time + 100_000:
            break
        now = step(now, link, model, to_model, to_link)
    outcome.time = now
    return outcome


def step(now: int, link: GcodeLink, model: Model, to_model: deque[tuple[int, bytes]], to_link: deque[tuple[int, bytes]]) -> int:
    due = [entry[0][0] for entry in (to_model, to_link) if entry]
    if model.rx and len(model.queue) < model.slots:
        due.append(now)
    if model.ready_at is not None:
        due.append(model.ready_at)
    elif model.queue:
        due.append(now)
    deadline = link.next_deadline()
    if deadline is not None:
        due.append(deadline)
    return max(now + 10, min(due, default=now + 1_000_000))


def position(commands: list[bytes]) -> PositionReport:
    """What M114 says after these commands, E being relative, as Marlin reads the words."""
    at = dict.fromkeys("XYZE", D(0))
    for command in commands:
        if re.match(rb"G[01](?![0-9])", command):
            for letter, digits in re.findall(rb"([XYZE]) *([-+]?[0-9]*\.?[0-9]*)", command.partition(b" ")[2]):
                value = D(digits.decode() if re.search(rb"[0-9]", digits) else "0")
                at[letter.decode()] = value + (at["E"] if letter == b"E" else 0)
        elif re.match(rb"G92(?![0-9])", command):
            at["E"] = D(0)
    return PositionReport(at["X"], at["Y"], at["Z"], at["E"])


def judge(outcome: Outcome, lines: int) -> str:
    """Name the outcome. Only those in KEPT keep the promise: what was carried out is what was sent, or it is known that it is not."""
    sent = list(PROGRAM[:lines])
    done, wire, link = outcome.carried_out(), set(outcome.wire), outcome.link
    fooled = any(raw not in wire for raw in outcome.model.accepted_wire)
    if link.state is LinkState.FAULTED:
        read_back = link.fault is not None and link.fault.code == "FB-117"
        if done == sent[: len(done)]:
            return "read-back stopped, nothing wrong" if read_back and not fooled else "faulted"
        return "fooled, caught by read-back" if read_back else "faulted too late"
    assert outcome.drained, f"neither drained nor faulted: {link.state}"
    if done == sent:
        return "exact"
    start = PositionReport(D(0), D(0), D(0), D(0))
    if differences(expected_totals(start, sent), position(done), D("0.0004")):
        return "fooled, caught by totals" if fooled else "not fooled, totals differ"
    if link.doubtful_lines:
        return "fooled, line doubtful" if fooled else "not fooled, line doubtful"
    return "fooled, not caught" if fooled else "fragment" if outcome.fragments() else "diverged"


VARIANTS = [(True, False), (True, True), (False, False), (False, True)]


@pytest.mark.parametrize(("advanced", "old"), VARIANTS)
def test_clean_wire_executes_exactly_and_never_resends(advanced: bool, old: bool) -> None:
    for seed in range(20):
        outcome = simulate(seed, 0.0, advanced=advanced, old=old)
        assert judge(outcome, 40) == "exact"
        assert outcome.acknowledged == list(range(40))
        assert outcome.link.resends == outcome.link.probes == outcome.link.unknown_lines == outcome.model.overflow == 0


KEPT = {
    "exact", "faulted", "faulted too late", "read-back stopped, nothing wrong",
    "fooled, caught by read-back", "fooled, caught by totals", "fooled, line doubtful",
}  # fmt: skip


def tally(advanced: bool, old: bool, rate: float, prints: int, base: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for seed in range(base, base + prints):
        verdict = judge(simulate(seed, rate, advanced=advanced, old=old, lines=24), 24)
        assert verdict in KEPT, f"{verdict}: seed {seed}, rate {rate}, advanced {advanced}, old {old}"
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def check_noise(advanced: bool, old: bool, rate: float, prints: int, base: int) -> None:
    counts = tally(advanced, old, rate, prints, base)
    # Eight bits: a damaged line passes about once in 256, and most damage meets no line that is accepted.
    assert sum(count for verdict, count in counts.items() if verdict.startswith("fooled")) <= max(3, prints // 200), counts
    # A stop for an echo whose own checksum was fooled on the way back is as rare as a line that fooled the firmware.
    assert counts.get("read-back stopped, nothing wrong", 0) <= max(2, prints // 1000), counts
    assert counts["exact"] >= prints * (0.98 if rate < 5e-4 else 0.88), counts


@pytest.mark.parametrize(("advanced", "old"), VARIANTS)
@pytest.mark.parametrize("rate", [1e-4, 1e-3])
def test_noisy_wire_executes_exactly_or_faults(advanced: bool, old: bool, rate: float) -> None:
    check_noise(advanced, old, rate, 640, base=1000)


@pytest.mark.deep
@pytest.mark.parametrize(("advanced", "old"), VARIANTS)
@pytest.mark.parametrize("rate", [1e-4, 1e-3])
@pytest.mark.parametrize("part", range(4))
def test_a_hundred_thousand_noisy_prints(advanced: bool, old: bool, rate: float, part: int) -> None:
    check_noise(advanced, old, rate, 3125, base=1_000_000 * (part + 1))


def test_the_judge_sees_a_fragment_and_a_repeated_line() -> None:
    outcome = simulate(1, 0.0, advanced=True, old=False)
    assert judge(outcome, 40) == "exact"
    outcome.model.executed.append((None, b"G1 X5"))
    assert judge(outcome, 40) == "not fooled, totals differ"
    outcome.model.executed[-1] = (None, b"G1 F600")
    assert judge(outcome, 40) == "fragment"
    outcome.model.executed[-1] = (40, b"G1 F600")
    outcome.model.executed.pop(0)
    assert judge(outcome, 40) == "diverged"
    outcome.model.accepted_wire.append(b"N9 G1 F600*9")
    assert judge(outcome, 40) == "fooled, not caught"


def test_very_noisy_wire_still_ends() -> None:
    for seed in range(60):
        judge(simulate(seed, 2e-2, advanced=seed % 2 == 0, old=False, lines=10), 10)


def test_nothing_is_executed_after_a_kill() -> None:
    for seed in range(40):
        outcome = simulate(seed, 0.0, advanced=True, old=False, stop_at=seed % 20)
        assert outcome.link.state is LinkState.STOPPED
        assert outcome.model.killed
        assert len(outcome.job()) <= len(outcome.acknowledged) + outcome.link.window
        assert outcome.link.bytes_to_send() == b""
