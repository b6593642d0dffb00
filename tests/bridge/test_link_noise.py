"""The link against a small Marlin-like model over a noisy wire, in virtual time: executed as sent, or FAULTED."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from functools import reduce
from operator import xor

import pytest

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1
from firmware_bridge.gcode_link import Drained, GcodeLink, Identified, LineAcknowledged, LinkState, OutLine, StopStrength

CAPS = ["Cap:AUTOREPORT_TEMP:1", "Cap:EMERGENCY_PARSER:1"]


@dataclass
class Model:
    """Marlin's queue as its source describes it; written without looking at the link."""

    advanced: bool
    old: bool = False
    ring: int = 128
    slots: int = 4
    rx: deque[int] = field(default_factory=deque)
    line: bytearray = field(default_factory=bytearray)
    queue: deque[tuple[int | None, bytes]] = field(default_factory=deque)
    last: int = 0
    ready_at: int | None = None
    executed: list[tuple[int | None, bytes]] = field(default_factory=list)
    accepted_wire: list[bytes] = field(default_factory=list)
    out: bytearray = field(default_factory=bytearray)
    killed: bool = False
    overflow: int = 0

    def say(self, text: str) -> None:
        self.out += text.encode() + b"\n"

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
                if raw.strip():
                    self.take(raw)
            elif len(self.line) < 95:
                self.line.append(byte)
        if self.queue and self.ready_at is None:
            self.ready_at = now + rng.choice([50, 300, 2_000, 20_000])
        if self.queue and self.ready_at is not None and now >= self.ready_at:
            self.ready_at = None
            self.execute(*self.queue[0])
            self.queue.popleft()

    def error(self, text: str) -> None:
        self.rx.clear()
        self.say(f"Error:{text}, Last Line: {self.last}")
        self.say(f"Resend: {self.last + 1}")
        self.say("ok")

    def take(self, raw: bytes) -> None:
        text = raw.lstrip(b" ")
        number: int | None = None
        if text[:1] == b"N":
            digits = bytes(text[1:]).split(b" ")[0]
            try:
                number = int(digits)
            except ValueError:
                number = -7
            star = text.rfind(b"*")
            setting = b"M110" in text
            if number != self.last + 1 and not setting:
                if not self.old and number in (self.last, self.last - 1):
                    return
                self.error("Line Number is not Last Line Number+1")
                return
            if star < 0:
                self.error("No Checksum with line number")
                return
            try:
                wanted = int(text[star + 1 :])
            except ValueError:
                wanted = -1
            if reduce(xor, text[:star], 0) != wanted:
                self.error("checksum mismatch")
                return
            self.last = number
            self.accepted_wire.append(bytes(text))
            text = text[:star].split(b" ", 1)[-1]
        else:
            text = text.partition(b"*")[0]
        if text.startswith((b"M112", b"M410")):
            self.killed = text.startswith(b"M112")
            self.queue.clear()
            return
        self.queue.append((number, bytes(text)))

    def execute(self, number: int | None, command: bytes) -> None:
        self.executed.append((number, command))
        if command.startswith(b"M105"):
            self.say("ok T:200.10 /200.00 B:60.00 /60.00 @:64 B@:0")
            return
        if command.startswith(b"M115"):
            self.say("FIRMWARE_NAME:Marlin 2.0.5 (x) PROTOCOL_VERSION:1.0 MACHINE_TYPE:Model")
            for cap in CAPS:
                self.say(cap)
        elif command[:1] not in b"GMT":
            self.say(f'echo:Unknown command: "{command.decode("latin-1")}"')
        if self.advanced:
            tail = f" P15 B{self.slots - len(self.queue)}"
            self.say(("ok" if number is None else f"ok N{number}") + tail)
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


PROGRAM = tuple(b"G1 X%d.%02d Y%d E0.0%02d" % (i % 90, i * 7 % 100, i % 50, i % 100) for i in range(40))


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
        return [command for number, command in self.model.executed if number is not None and command[:1] == b"G"]

    def carried_out(self) -> list[bytes]:
        """Every motion that the firmware made, from numbered lines and from fragments of them."""
        return [command for _, command in self.model.executed if command[:1] in b"GT" and command[:1]]

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


def totals(commands: list[bytes]) -> tuple[str, str, int]:
    """What M114 says after these commands: the last X and Y, the sum of E (relative) in thousandths."""
    x = y = ""
    e = 0
    for command in commands:
        for word in command.split()[1:]:
            letter, value = word[:1], word[1:].decode("latin-1")
            try:
                number = float(value)
            except ValueError:
                continue
            if letter == b"X":
                x = f"{number:.3f}"
            elif letter == b"Y":
                y = f"{number:.3f}"
            elif letter == b"E":
                e += round(number * 1000)
    return x, y, e


def judge(outcome: Outcome, lines: int) -> str:
    """Name the outcome. Only `diverged` and `fragment` break the promise: motion that differs, in silence, with the checksum intact."""
    sent = list(PROGRAM[:lines])
    done, wire = outcome.carried_out(), set(outcome.wire)
    fooled = any(raw not in wire for raw in outcome.model.accepted_wire)
    if outcome.link.state is LinkState.FAULTED:
        return "faulted" if done == sent[: len(done)] else "faulted too late"
    assert outcome.drained, f"neither drained nor faulted: {outcome.link.state}"
    if done == sent:
        return "exact"
    if fooled:
        return "fooled, reconciled" if totals(done) != totals(sent) else "fooled, position the same"
    return "fragment" if outcome.fragments() else "diverged"


VARIANTS = [(True, False), (True, True), (False, False), (False, True)]


@pytest.mark.parametrize(("advanced", "old"), VARIANTS)
def test_clean_wire_executes_exactly_and_never_resends(advanced: bool, old: bool) -> None:
    for seed in range(20):
        outcome = simulate(seed, 0.0, advanced=advanced, old=old)
        assert judge(outcome, 40) == "exact"
        assert outcome.acknowledged == list(range(40))
        assert outcome.link.resends == outcome.link.probes == outcome.link.unknown_lines == outcome.model.overflow == 0


KEPT = {"exact", "faulted", "faulted too late", "fooled, reconciled", "fooled, position the same"}


def tally(advanced: bool, old: bool, rate: float, prints: int, base: int) -> dict[str, int]:
    counts: dict[str, int] = {}
    for seed in range(base, base + prints):
        verdict = judge(simulate(seed, rate, advanced=advanced, old=old, lines=24), 24)
        assert verdict in KEPT, f"{verdict}: seed {seed}, rate {rate}, advanced {advanced}, old {old}"
        counts[verdict] = counts.get(verdict, 0) + 1
    return counts


def check_noise(advanced: bool, old: bool, rate: float, prints: int, base: int) -> None:
    counts = tally(advanced, old, rate, prints, base)
    fooled = sum(count for verdict, count in counts.items() if verdict.startswith("fooled"))
    # Eight bits: a damaged line passes about once in 256, and most damage meets no line that is accepted.
    assert fooled <= max(3, prints // 200), counts
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
    assert judge(outcome, 40) == "fragment"
    outcome.model.executed[-1] = (40, PROGRAM[39])
    assert judge(outcome, 40) == "diverged"
    outcome.model.accepted_wire.append(b"N9 G1 X9*9")
    assert judge(outcome, 40) == "fooled, reconciled"


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
