"""Klipper's dialect against what a real one answered, RepRapFirmware against a small model of its parser."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import xor
from pathlib import Path

import pytest

from firmware_bridge.firmware_profile import MARLIN_2_1, FirmwareProfile, Match, klipper_profile, reprap_profile
from firmware_bridge.gcode_lines import Fatal, Refused, Unknown, number_line, parse_reply
from firmware_bridge.gcode_link import (
    Drained,
    GcodeLink,
    Identified,
    IdentityRefused,
    LineAcknowledged,
    LinkEvent,
    LinkState,
    OutLine,
    StopStrength,
    TemperatureReport,
)
from firmware_bridge.link_values import STOP_BYTES

SECOND = 1_000_000
KLIPPER = klipper_profile(firmware_version="?")
REPRAP = reprap_profile(firmware_version="3.5", board="Duet 3", match=Match.PREFIX)
QUIET = replace(KLIPPER, poll_temperature_us=None)
HELLO = b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:?\n"
REPRAP_HELLO = b"FIRMWARE_NAME: RepRapFirmware for Duet 3 FIRMWARE_VERSION: 3.5.4 ELECTRONICS: Duet 3 MB6HC FIRMWARE_DATE: 2025-01-01\nok\n"
TRANSCRIPTS = Path(__file__).parent / "transcripts"


def recorded(name: str) -> list[tuple[float, str, bytes]]:
    """The lines of a recorded conversation: seconds, direction, bytes."""
    lines = (TRANSCRIPTS / name).read_text(encoding="utf-8").splitlines()
    return [(float(line[:7]), line[8:11], line[12:].encode()) for line in lines]


def exchanges(name: str) -> dict[bytes, bytes]:
    """What was answered to each line that was sent, the last time it was."""
    found: dict[bytes, bytes] = {}
    asked = b""
    for _, direction, text in recorded(name):
        if direction == ">>>":
            asked = text
            found[asked] = b""
        elif asked:
            found[asked] += text + b"\n"
    return found


REAL = exchanges("klipper-host.txt")


def events(link: GcodeLink) -> list[LinkEvent]:
    found = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def ready(profile: FirmwareProfile = QUIET, hello: bytes = HELLO) -> GcodeLink:
    link = GcodeLink(profile, exposure_limit_nl=100)
    link.start(0)
    link.bytes_to_send()
    link.receive(hello, 0)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    link.receive(b"ok\n", 0)
    assert link.bytes_to_send() == number_line(1, b"M400") and link.state is LinkState.STREAMING
    link.receive(b"ok\n", 0)
    assert any(isinstance(event, Identified) for event in events(link)) and link.window == 1
    return link


def lines(count: int) -> list[OutLine]:
    return [OutLine(b"G1 X%d" % i, str(i)) for i in range(count)]


def test_klipper_conversation_leads_to_the_same_end() -> None:
    link = ready()
    for command in (b"G28", b"M104 S60", b"G1 X100 Y100 F6000", b"M400", b"M83"):
        link.submit([OutLine(command, command.decode())], 0)
        assert link.bytes_to_send().endswith(b"*%d\n" % reduce(xor, b"N%d " % (link.next_number - 1) + command, 0))
        link.receive(REAL[command], 0)
        assert events(link)[-1] == Drained()
    link.submit([OutLine(b"M109 S60", "heat")], 0)
    link.receive(REAL[b"M109 S60"], 0)
    found = events(link)
    assert sum(isinstance(event, TemperatureReport) for event in found) == 11 and found[-1] == Drained()


@pytest.mark.parametrize(("command", "code"), [(b"G1 X900", "FB-113"), (b"G1 E5", "FB-113"), (b"G1 X1", "FB-113"), (b"M155 S1", "FB-115")])
def test_klipper_acknowledges_failures_and_the_link_does_not(command: bytes, code: str) -> None:
    link = ready()
    link.submit([OutLine(command, "a"), *lines(3)], 0)
    link.bytes_to_send()
    link.receive(REAL[command], 0)
    assert link.fault is not None and link.fault.code == code and link.bytes_to_send() == b""
    assert not any(isinstance(event, LineAcknowledged) for event in events(link))


def test_klipper_in_shutdown_is_not_ready_although_it_answers_m115() -> None:
    link = GcodeLink(KLIPPER, exposure_limit_nl=1)
    link.start(0)
    link.receive(HELLO + b"ok\n", 0)
    link.receive(REAL[b"G1 X1"], 0)
    assert link.fault is not None and link.fault.code == "FB-113" and not any(isinstance(e, Identified) for e in events(link))


@pytest.mark.parametrize("state", ["Shutdown", "Disconnect"])
def test_klipper_going_down_is_a_fault(state: str) -> None:
    link = ready()
    link.submit(lines(2), 0)
    link.receive(b"// Klipper state: %s\nok\n" % state.encode(), 0)
    assert link.fault is not None and link.fault.code == "FB-113"


def test_klipper_restarted_is_a_fault() -> None:
    link = ready()
    link.receive(b"// Klipper state: Ready\n", 0)
    assert link.fault is not None and link.fault.code == "FB-114"


def test_klipper_long_silence_in_homing_is_allowed() -> None:
    link = ready()
    link.submit([OutLine(b"G28", "home")], 0)
    assert link.next_deadline() == KLIPPER.slow_timeout_us > 12 * SECOND


def test_window_is_one_line() -> None:
    link = ready()
    link.submit(lines(4), 0)
    assert link.bytes_to_send().count(b"\n") == 1
    link.receive(b"ok\n", 0)
    assert link.bytes_to_send().count(b"\n") == 1


def test_a_late_ok_before_the_answer_of_the_probe_resolves() -> None:
    link = ready()
    link.submit(lines(1), 0)
    link.bytes_to_send()
    link.tick(KLIPPER.ack_timeout_us)
    assert link.state is LinkState.PROBING and link.bytes_to_send().endswith(number_line(3, b"M105"))
    link.receive(b"ok\nok B:22.0 /0.0 T0:22.0 /0.0\n", KLIPPER.ack_timeout_us + 1)
    assert link.state is LinkState.READY and Drained() in events(link)


@pytest.mark.parametrize(("profile", "hello"), [(KLIPPER, HELLO), (REPRAP, REPRAP_HELLO)])
def test_a_probe_answered_alone_does_not_prove_the_line_before_it(profile: FirmwareProfile, hello: bytes) -> None:
    link = ready(replace(profile, poll_temperature_us=None), hello)
    link.submit(lines(1), 0)
    link.tick(profile.ack_timeout_us)
    link.receive(b"ok T:22.0 /0.0 B:22.0 /0.0\n", profile.ack_timeout_us + 1)
    assert link.fault is not None and link.fault.code == "FB-105" and "G1 X0" in link.fault.text


def test_a_silent_printer_is_probed_and_given_up() -> None:
    link = ready()
    link.submit(lines(1), 0)
    probes = 0
    while link.fault is None:
        link.tick(link.next_deadline() or 0)
        probes += link.bytes_to_send().count(b"M105")
    assert link.fault.code == "FB-101" and probes == KLIPPER.max_probes


def test_an_unreadable_line_before_an_ok_is_a_fault() -> None:
    link = ready()
    link.submit(lines(2), 0)
    link.receive(b"! Must home axis first\nok\n", 0)
    assert link.fault is not None and link.fault.code == "FB-105"


def test_after_a_stray_ok_no_ok_is_believed() -> None:
    link = ready()
    link.receive(b"ok\n", 0)
    link.submit(lines(1), 0)
    link.receive(b"ok\n", 0)
    assert link.fault is not None and link.fault.code == "FB-105"


def test_temperatures_are_asked_for_where_they_are_not_reported() -> None:
    link = ready(KLIPPER)
    link.tick(0)
    assert link.bytes_to_send() == number_line(2, b"M105")
    link.receive(b"ok B:22.0 /0.0 T0:22.0 /60.0\n", 10)
    assert link.state is LinkState.READY and link.next_deadline() == SECOND
    link.tick(SECOND)
    link.submit(lines(2), SECOND)
    assert link.bytes_to_send() == number_line(3, b"M105")
    link.receive(b"ok B:22.0 /0.0 T0:22.0 /60.0\n", SECOND + 10)
    assert link.bytes_to_send() == number_line(4, b"G1 X0")
    link.receive(b"ok\n", 3 * SECOND)
    assert link.bytes_to_send() == number_line(5, b"M105")
    link.receive(b"ok B:22.0 /0.0 T0:22.0 /60.0\n", 3 * SECOND)
    assert link.bytes_to_send() == number_line(6, b"G1 X1")
    link.receive(b"ok\n", 3 * SECOND)
    found = events(link)
    assert [event.tag for event in found if isinstance(event, LineAcknowledged)] == ["0", "1"] and found[-1] == Drained()


@pytest.mark.parametrize(
    ("profile", "hello", "said"),
    [
        (KLIPPER, b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:v0.13\n", "FIRMWARE_VERSION: approved '?', found 'v0.13'"),
        (KLIPPER, b"ok FIRMWARE_NAME:Kalico FIRMWARE_VERSION:?\n", "FIRMWARE_NAME: approved 'Klipper', found 'Kalico'"),
        (KLIPPER, b"FIRMWARE_NAME:Marlin 2.1\nok\n", "FIRMWARE_VERSION: approved '?', not reported"),
        (REPRAP, REPRAP_HELLO.replace(b"3.5.4", b"3.6.0"), "FIRMWARE_VERSION: approved '3.5' …, found '3.6.0'"),
        (REPRAP, REPRAP_HELLO.replace(b"for Duet 3 ", b"for Duet 2 WiFi/Ethernet "), "found 'RepRapFirmware for Duet 2 WiFi/Ethernet'"),
    ],
)
def test_other_firmware_is_refused_with_the_difference(profile: FirmwareProfile, hello: bytes, said: str) -> None:
    link = GcodeLink(profile, exposure_limit_nl=1)
    link.start(0)
    link.bytes_to_send()
    link.receive(hello, 0)
    (refused,) = [event for event in events(link) if isinstance(event, IdentityRefused)]
    assert any(said in difference for difference in refused.differences) and link.bytes_to_send() == b""


def test_reprap_messages() -> None:
    assert parse_reply(b"Error: G0/G1: insufficient axes homed") == Fatal("FB-112", "Error: G0/G1: insufficient axes homed")
    assert not isinstance(parse_reply(b"Warning: M109: no tool"), (Unknown, Refused))


@dataclass
class Dropping:
    """A firmware that looks at the checksum alone and says nothing about a bad one; numbers are not compared."""

    executed: list[bytes] = field(default_factory=list)
    _line: bytes = b""

    def feed(self, data: bytes) -> bytes:
        said = b""
        *complete, self._line = (self._line + data).split(b"\n")
        for line in complete:
            body, star, wanted = line.partition(b"*")
            if not line or (star and (not wanted.isdigit() or reduce(xor, body, 0) != int(wanted))):
                continue
            command = body.split(b" ", 1)[1] if body[:1] == b"N" and b" " in body else body
            if command == b"M115":
                said += REPRAP_HELLO
                continue
            if command[:1] == b"G":
                self.executed.append(command)
            said += b"ok T:20.0 /0.0 T0:20.0 /0.0 B:20.0 /0.0\n" if command == b"M105" else b"ok\n"
        return said


def flip(data: bytes, rate: float, rng: random.Random) -> bytes:
    return bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < rate else byte for byte in data)


@pytest.mark.parametrize(
    ("said", "code"),
    [
        # GCodes::DoEmergencyStop and Event::GetTextDescription in RepRapFirmware 3.5; before 3.4 the heater's text came without "Error: ".
        ("Emergency Stop! Reset the controller to continue.", "FB-111"),
        ("Error: Heater 1 fault: temperature excursion exceeded 15.0C, reading 60.1C", "FB-110"),
        ("Heater 0 fault: temperature rising much more slowly than the expected 0.5C/sec", "FB-110"),
    ],
)
def test_reprap_that_has_halted_is_a_fault_at_once(said: str, code: str) -> None:
    assert parse_reply(said.encode()) == Fatal(code, said)


@pytest.mark.parametrize("rate", [0.0, 1e-3, 1e-2])
def test_reprap_lines_dropped_in_silence_end_in_a_fault_never_in_a_gap(rate: float) -> None:
    """Bytes are flipped on the way to the firmware; what it carried out is always a beginning of what was sent, or all of it."""
    sent = [line.command for line in lines(30)]
    ends = {"exact": 0, "faulted": 0, "fooled": 0}
    for seed in range(300):
        rng, model, now = random.Random(seed), Dropping(), 0
        link = GcodeLink(REPRAP, exposure_limit_nl=100)
        link.start(0)
        wire: set[bytes] = set()
        done = submitted = False
        while link.fault is None and not done:
            if link.state is LinkState.READY and not submitted:
                link.submit(lines(30), now)
                submitted = True
            data = link.bytes_to_send()
            wire |= set(data.split(b"\n"))
            if data:
                link.receive(model.feed(flip(data, rate, rng)), now)
            else:
                now = link.next_deadline() or now
                link.tick(now)
            done = any(isinstance(event, Drained) for event in events(link))
        if model.executed == sent[: len(model.executed)] and (link.fault is not None or model.executed == sent):
            ends["faulted" if link.fault is not None else "exact"] += 1
        else:
            ends["fooled"] += 1
    assert ends["exact"] == 300 if rate == 0 else ends["faulted"] > 0
    # A flip that takes the `*` or the `N` away leaves a line without a checksum, which this firmware carries out: the profile says so.
    assert ends["fooled"] <= (0 if rate == 0 else 30)


@pytest.mark.parametrize("strength", list(StopStrength))
@pytest.mark.parametrize(("profile", "hello"), [(QUIET, HELLO), (replace(REPRAP, poll_temperature_us=None), REPRAP_HELLO)])
def test_where_there_is_no_quick_stop_each_stop_is_the_one_that_works(
    profile: FirmwareProfile, hello: bytes, strength: StopStrength
) -> None:
    """To Klipper and RepRapFirmware `M410` is unknown: it would change nothing, and the moves would run on."""
    link = ready(profile, hello)
    link.submit(lines(3), 0)
    assert link.stop(strength, 0) == b"\nM112\n" and link.bytes_to_send() == b""
    assert link.state is LinkState.STOPPED and b"M410" not in profile.quickstop


def test_marlin_has_both_stops() -> None:
    assert MARLIN_2_1.stop_bytes(StopStrength.QUICKSTOP) == b"\nM410\nM104 S0\nM140 S0\n"
    assert MARLIN_2_1.stop_bytes(StopStrength.KILL) == STOP_BYTES[StopStrength.KILL] == b"\nM112\n"
