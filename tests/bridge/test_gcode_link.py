"""The link's table, window, acknowledgement, resend, probe, stop and faults, one by one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1, ExpectedField, FirmwareProfile, Match, parse_identity
from firmware_bridge.gcode_lines import number_line
from firmware_bridge.gcode_link import (
    Drained,
    Fault,
    GcodeLink,
    Identified,
    IdentityRefused,
    LineAcknowledged,
    LinkEvent,
    LinkState,
    Notice,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
    transition_table_markdown,
)
from firmware_bridge.link_values import TRANSITIONS, LinkInput

SECOND = 1_000_000
NAME = "FIRMWARE_NAME:Marlin 2.0.5.3 (GitHub) SOURCE_CODE_URL:https://github.com/x PROTOCOL_VERSION:1.0 MACHINE_TYPE:3D Printer"
HELLO = f"{NAME}\nCap:EMERGENCY_PARSER:1\nCap:AUTOREPORT_TEMP:1\narea:{{full:{{}}}}\nok P15 B3\n".encode()
QUIET_HELLO = f"{NAME}\nCap:EMERGENCY_PARSER:1\nok P15 B3\n".encode()
# Read-back has its own suite (test_read_back); here lines are not echoed.
PLAIN = replace(MARLIN_2_1, read_back=False)
NO_REPORTS = replace(PLAIN, capabilities=(("EMERGENCY_PARSER", True),))


def events(link: GcodeLink) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def ready(profile: FirmwareProfile = NO_REPORTS, limit: int = 10_000, advanced: bool = True) -> GcodeLink:
    """A link that is READY at time 0 with the next line number 1."""
    link = GcodeLink(profile, exposure_limit_nl=limit)
    link.start(0)
    assert link.bytes_to_send() == b"\nM115\n"
    link.receive(QUIET_HELLO if advanced else f"{NAME}\nok\n".encode(), 0)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    link.receive(b"ok N0 P15 B3\n" if advanced else b"ok\n", 0)
    assert isinstance(events(link)[-1], Identified)
    assert link.state is LinkState.READY and link.next_deadline() is None
    return link


STRICT = replace(MARLIN_2_0, capabilities=(), read_back=False)


def strict() -> GcodeLink:
    return ready(STRICT, advanced=False)


def moves(count: int, exposure: int = 0) -> list[OutLine]:
    return [OutLine(b"G1 X%d" % i, f"m{i}", exposure) for i in range(count)]


def wire(*numbered: tuple[int, bytes]) -> bytes:
    return b"".join(number_line(number, command) for number, command in numbered)


def acks(found: list[LinkEvent]) -> list[int]:
    return [event.number for event in found if isinstance(event, LineAcknowledged)]


def test_identification_sets_numbering_and_reports() -> None:
    link = GcodeLink(PLAIN, exposure_limit_nl=1)
    link.start(0)
    link.bytes_to_send()
    link.receive(b'\x80rubbish\necho:Unknown command: "x"\nok P15 B3\n', 0)
    assert link.state is LinkState.IDENTIFYING
    link.receive(HELLO, 1)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    link.receive(b"ok N0 P15 B3\n", 2)
    assert link.bytes_to_send() == wire((1, b"M155 S1"))
    link.receive(b"ok N1 P15 B3\n", 3)
    found = events(link)
    assert isinstance(found[-1], Identified)
    assert dict(found[-1].firmware)["MACHINE_TYPE"] == "3D Printer"
    assert dict(found[-1].capabilities) == {"EMERGENCY_PARSER": True, "AUTOREPORT_TEMP": True}
    assert link.state is LinkState.READY and link.pending == 0 and link.window == 4


@pytest.mark.parametrize(
    ("hello", "said"),
    [
        (b"FIRMWARE_NAME:RepRapFirmware for Duet\nok\n", "FIRMWARE_NAME"),
        (b"ok FIRMWARE_NAME:Klipper FIRMWARE_VERSION:?\n", "FIRMWARE_NAME"),
        (b"FIRMWARE_NAME:Marlin 2.1\nCap:EMERGENCY_PARSER:0\nCap:AUTOREPORT_TEMP:1\nok\n", "EMERGENCY_PARSER: approved yes, found no"),
        (b"FIRMWARE_NAME:Marlin 2.1\nCap:EMERGENCY_PARSER:1\nok\n", "AUTOREPORT_TEMP: approved yes, found not reported"),
    ],
)
def test_another_firmware_is_refused_with_its_differences(hello: bytes, said: str) -> None:
    link = GcodeLink(PLAIN, exposure_limit_nl=1)
    link.start(0)
    link.bytes_to_send()
    link.receive(hello, 0)
    refused = next(event for event in events(link) if isinstance(event, IdentityRefused))
    assert any(said in difference for difference in refused.differences)
    assert link.state is LinkState.FAULTED and link.fault is not None and link.fault.code == "FB-104"
    assert link.bytes_to_send() == b""


def test_missing_advanced_ok_is_a_difference() -> None:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=1)
    link.start(0)
    link.receive(QUIET_HELLO, 0)
    link.receive(b"ok\n", 0)
    assert IdentityRefused(("ADVANCED_OK: approved yes, found no",)) in events(link)


def test_profile_differences_and_fields() -> None:
    pinned = (ExpectedField("FIRMWARE_NAME", "Marlin 2", Match.EXACT), ExpectedField("UUID", "1"))
    exact = FirmwareProfile("p", pinned, (("SDCARD", False),))
    found = exact.differences({"FIRMWARE_NAME": "Marlin 2.1"}, {"SDCARD": True})
    assert len(found) == 3 and "found 'Marlin 2.1'" in found[0] and "not reported" in found[1] and "approved no, found yes" in found[2]
    assert exact.differences({"FIRMWARE_NAME": "Marlin 2", "UUID": "1"}, {}) == ()
    assert parse_identity("FIRMWARE_NAME:A b:c (x) URL:https://h:1 M:2 TYPE:3D Printer") == {
        "FIRMWARE_NAME": "A b:c (x)", "URL": "https://h:1 M:2", "TYPE": "3D Printer",
    }  # fmt: skip


def test_hello_is_repeated_and_given_up() -> None:
    link = GcodeLink(PLAIN, exposure_limit_nl=1)
    link.start(0)
    now, hellos = 0, 0
    while link.state is LinkState.IDENTIFYING:
        hellos += link.bytes_to_send().count(b"M115")
        now = link.next_deadline() or 0
        link.tick(now)
    assert hellos == MARLIN_2_1.hello_tries
    assert link.fault is not None and link.fault.code == "FB-107" and link.next_deadline() is None


def test_a_late_second_answer_to_hello_is_waited_for() -> None:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=1)
    link.start(0)
    link.tick(2 * SECOND)
    assert link.bytes_to_send() == b"\nM115\n\nM115\n"
    link.receive(QUIET_HELLO, 2 * SECOND)
    assert link.state is LinkState.IDENTIFYING
    link.receive(QUIET_HELLO, 3 * SECOND)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    link.tick(5 * SECOND)
    link.receive(b"ok N0 P15 B3\n", 5 * SECOND)
    assert link.state is LinkState.SYNCHRONISING
    link.tick(7 * SECOND)
    assert link.state is LinkState.READY


def test_restart_during_handshake_begins_again() -> None:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=1)
    link.start(0)
    link.receive(QUIET_HELLO, 0)
    assert link.state is LinkState.SYNCHRONISING
    link.receive(b"start\nMarlin 2.1\n", 10)
    assert link.state is LinkState.IDENTIFYING
    link.bytes_to_send()
    link.tick(10 + NO_REPORTS.resend_settle_us)
    assert link.bytes_to_send() == b"\nM115\n"


def test_damaged_numbering_is_repeated() -> None:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=1)
    link.start(0)
    link.receive(QUIET_HELLO, 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\n", 1)
    assert link.bytes_to_send() == b"N0 M110 N0*125\n"
    assert link.state is LinkState.SYNCHRONISING
    link.receive(b"ok N0 P15 B3\n", 2)
    assert link.state is LinkState.READY


def test_temperature_answer_and_resend_in_handshake_decide_nothing() -> None:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=1)
    link.receive(b'ok\nstart\nError:Printer halted. kill() called!\necho:Unknown command: "x"\nResend: 4\nCap:A:1\n', 0)
    assert link.state is LinkState.NEW
    link.start(0)
    link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0\nok T:20.0 /0.0\nCap:A:1\nResend: 7\nok\n", 0)
    assert link.state is LinkState.IDENTIFYING
    link.receive(b"".join(b"Cap:C%d:1\n" % i for i in range(300)), 1)
    assert link.state is LinkState.FAULTED


def test_window_follows_slots_bytes_and_exposure() -> None:
    link = ready()
    link.submit(moves(10), 0)
    assert link.bytes_to_send() == wire(*((i + 1, b"G1 X%d" % i) for i in range(4)))
    assert link.pending == 10
    link.receive(b"ok N2 P15 B3\n", 1)
    assert link.bytes_to_send() == wire((5, b"G1 X4"), (6, b"G1 X5"))
    long = ready()
    long.submit([OutLine(b"G1 X" + b"1" * 50, "a"), OutLine(b"G1 X" + b"2" * 50, "b")], 0)
    assert long.bytes_to_send().count(b"\n") == 1 or len(long.bytes_to_send()) <= 127
    held = ready(limit=100)
    held.submit([OutLine(b"G1 E1", "a", 250), OutLine(b"G1 E2", "b", 60), OutLine(b"G1 E3", "c", 60)], 0)
    assert held.bytes_to_send() == wire((1, b"G1 E1"))
    assert held.exposure_nl == 250
    held.receive(b"ok N1 P15 B3\n", 0)
    assert held.bytes_to_send() == wire((2, b"G1 E2"))
    held.receive(b"ok N2 P15 B3\n", 0)
    assert held.bytes_to_send() == wire((3, b"G1 E3"))


def test_bytes_in_flight_stay_below_the_ring_unless_the_port_holds_back() -> None:
    lines = [OutLine(b"G1 X%s" % (b"1" * 60), str(i)) for i in range(4)]
    link = ready()
    link.submit(lines, 0)
    assert len(link.bytes_to_send()) <= 127
    free = ready(replace(NO_REPORTS, flow_control=True))
    free.submit(lines, 0)
    assert free.bytes_to_send().count(b"\n") == 4


def test_without_emergency_parser_one_line_is_in_flight() -> None:
    link = GcodeLink(replace(NO_REPORTS, capabilities=()), exposure_limit_nl=1)
    link.start(0)
    link.receive(f"{NAME}\nok P15 B3\n".encode(), 0)
    link.receive(b"ok N0 P15 B3\n", 0)
    assert link.window == 1


def test_strict_window_is_one_line() -> None:
    link = strict()
    link.submit(moves(3), 0)
    assert link.bytes_to_send() == wire((1, b"G1 X0"))
    link.receive(b"ok\n", 0)
    assert link.bytes_to_send() == wire((2, b"G1 X1"))
    link.receive(b"ok\n", 0)
    link.receive(b"ok\n", 0)
    found = events(link)
    assert acks(found) == [1, 2, 3] and isinstance(found[-1], Drained) and link.state is LinkState.READY


def test_acknowledged_by_number_and_drained_after_proof() -> None:
    link = ready()
    link.submit(moves(3), 0)
    link.bytes_to_send()
    link.receive(b"ok N1 P15 B3\nok N3 P15 B3\n", 0)
    # The number stepped over line 2: it may be a damaged 2, so the end is proved first.
    assert link.state is LinkState.PROBING and acks(events(link)) == [1, 2, 3]
    assert link.bytes_to_send() == b"\n" + wire((4, b"M105"))
    link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0 @:0 B@:0\n", 0)
    assert Drained() in events(link) and link.state is LinkState.READY


def test_the_ok_after_a_resend_acknowledges_nothing() -> None:
    link = strict()
    link.submit(moves(2), 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\n", 0)
    assert acks(events(link)) == [] and link.bytes_to_send() == b"\n" + wire((1, b"G1 X0"))
    link.receive(b"ok\n", 0)
    assert acks(events(link)) == [1] and link.resends == 1


def test_several_in_flight_one_damaged() -> None:
    link = ready()
    link.submit(moves(4), 0)
    link.bytes_to_send()
    link.receive(b"ok N1 P15 B3\nError:checksum mismatch, Last Line: 1\nResend: 2\nok\n", 0)
    assert link.bytes_to_send() == b"" and link.next_deadline() == NO_REPORTS.resend_settle_us
    repeat = b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n"
    link.receive(repeat, 10)
    assert link.bytes_to_send() == b""
    link.receive(repeat, 20)
    assert link.bytes_to_send() == b"\n" + wire((2, b"G1 X1"), (3, b"G1 X2"), (4, b"G1 X3"))
    link.receive(b"ok N2 P15 B3\nok N3 P15 B3\nok N4 P15 B3\n", 30)
    assert acks(events(link)) == [1, 2, 3, 4] and link.state is LinkState.READY


def test_an_ok_for_the_line_asked_for_ends_the_wait() -> None:
    link = ready()
    link.submit(moves(3), 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\nok N1 P15 B3\n", 0)
    link.tick(SECOND)
    assert link.bytes_to_send() == b"" and acks(events(link)) == [1]


def test_lost_port_is_a_fault_with_its_reason() -> None:
    link = ready()
    link.submit(moves(3), 0)
    link.lost("cable")
    link.lost("again")
    assert link.fault is not None and link.fault.code == "FB-109" and "cable" in link.fault.text and link.bytes_to_send() == b""


def test_flushed_lines_are_sent_again_after_the_line_is_quiet() -> None:
    link = ready()
    link.submit(moves(3), 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\n", 0)
    link.tick(NO_REPORTS.resend_settle_us)
    assert link.bytes_to_send() == b"\n" + wire((1, b"G1 X0"), (2, b"G1 X1"), (3, b"G1 X2"))


def test_resend_for_the_next_unsent_line_acknowledges_all() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.bytes_to_send()
    link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n", 0)
    # The ok of line 1 may still come: it must not be taken for the next line's.
    assert acks(events(link)) == [1] and link.state is LinkState.PROBING
    link.receive(b"ok\nok T:1.0 /0.0 B:1.0 /0.0\n", 0)
    assert link.state is LinkState.READY
    numbered = ready()
    numbered.submit(moves(1), 0)
    numbered.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n", 0)
    assert acks(events(numbered)) == [1] and numbered.state is LinkState.READY


def test_resend_with_one_witness_is_asked_again() -> None:
    link = ready()
    link.submit(moves(3), 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 1\nResend: 3\nok\n", 0)
    assert link.state is LinkState.PROBING and acks(events(link)) == []
    assert link.bytes_to_send() == b"\n" + wire((4, b"M105"))
    link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n", 0)
    assert acks(events(link)) == [1]
    link.tick(SECOND)
    assert link.bytes_to_send() == b"\n" + wire((2, b"G1 X1"), (3, b"G1 X2"))


def test_two_equal_resends_are_two_witnesses() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.receive(b"Resend:1\nok\n", 0)
    assert link.state is LinkState.PROBING
    link.bytes_to_send()
    link.receive(b"Error: Missing checksum\nResend:1\nok\n", 0)
    link.tick(SECOND)
    assert link.bytes_to_send() == b"\n" + wire((1, b"G1 X0"))


def test_resend_outside_the_window_is_a_fault() -> None:
    link = ready()
    link.submit(moves(6), 0)
    link.receive(b"ok N1 P15 B3\nok N2 P15 B3\n", 0)
    link.receive(b"Error:checksum mismatch, Last Line: 1\nResend: 2\n", 0)
    assert link.fault is not None and link.fault.code == "FB-103"


def test_resend_cap() -> None:
    link = strict()
    link.submit(moves(1), 0)
    for _ in range(STRICT.max_resends + 1):
        assert link.fault is None
        link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\n", 0)
    assert link.fault is not None and link.fault.code == "FB-102"


@pytest.mark.parametrize("text", [b"start\n", b"Error:checksum mismatch, Last Line: 0\nResend: 1\n", b"Marlin 2.1.2\n"])
def test_reset_in_mid_job_is_a_fault(text: bytes) -> None:
    link = ready()
    link.submit(moves(8), 0)
    link.receive(b"ok N1 P15 B3\nok N2 P15 B3\n", 0)
    link.receive(text, 0)
    assert link.state is LinkState.FAULTED and link.fault is not None and link.fault.code == "FB-114"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"Error:Thermal Runaway, system stopped! Heater_ID: E0", "FB-110"),
        (b"Error:Printer halted. kill() called!", "FB-111"),
        (b"Error:Printer stopped due to errors. Fix the error and use M999 to restart.", "FB-111"),
        (b"Error:0", "FB-112"),
        (b"!! Move out of range: 900.000", "FB-113"),
        (b'echo:Unknown command: "G20"', "FB-115"),
        (b"echo: cold extrusion prevented", "FB-115"),
        (b"ok P15 B3", "FB-106"),
    ],
)
def test_faults_keep_their_first_cause(text: bytes, code: str) -> None:
    link = ready()
    link.submit(moves(8), 0)
    link.bytes_to_send()
    link.receive(text + b"\nok N1 P15 B3\nError:Printer halted. kill() called!\nstart\n!! x\n", 0)
    assert link.state is LinkState.FAULTED and link.fault is not None and link.fault.code == code
    assert [event.cause for event in events(link) if isinstance(event, Fault)] == [link.fault]
    assert link.bytes_to_send() == b"" and link.pending == 0
    with pytest.raises(LocalProtocolError):
        link.submit(moves(1), 0)
    assert link.stop(StopStrength.KILL, 0) == b"\nM112\n"
    assert link.state is LinkState.FAULTED


def test_lost_ok_is_found_by_a_probe() -> None:
    link = strict()
    link.submit(moves(2), 0)
    link.bytes_to_send()
    deadline = link.next_deadline()
    assert deadline == STRICT.ack_timeout_us
    link.tick(deadline - 1)
    assert link.state is LinkState.STREAMING
    link.tick(deadline)
    assert link.state is LinkState.PROBING and link.bytes_to_send() == b"\n" + wire((2, b"M105"))
    link.receive(b"ok\n", deadline)
    assert acks(events(link)) == []
    link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0\n", deadline)
    assert acks(events(link)) == [1] and link.bytes_to_send() == wire((3, b"G1 X1"))


def test_lost_line_is_found_by_a_probe_and_its_number_used_again() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.bytes_to_send()
    link.tick(STRICT.ack_timeout_us)
    link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 0\nResend: 1\nok\n", 9 * SECOND)
    link.bytes_to_send()
    link.tick(10 * SECOND)
    assert link.bytes_to_send() == b"\n" + wire((1, b"G1 X0"))
    link.submit([OutLine(b"G1 X9", "z")], 10 * SECOND)
    link.receive(b"ok\n", 10 * SECOND)
    assert link.bytes_to_send() == wire((2, b"G1 X9"))


def test_silence_ends_in_a_fault() -> None:
    link = ready()
    link.submit(moves(1), 0)
    probes = 0
    while link.state is not LinkState.FAULTED:
        link.tick(link.next_deadline() or 0)
        probes += link.bytes_to_send().count(b"M105")
    assert probes == NO_REPORTS.max_probes and link.fault is not None and link.fault.code == "FB-101"


def test_an_answer_after_silent_probes_counts_for_the_newest() -> None:
    link = ready()
    link.submit(moves(1), 0)
    link.tick(8 * SECOND)
    link.tick(16 * SECOND)
    link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0\n", 17 * SECOND)
    assert link.state is LinkState.READY


def test_slow_lines_have_a_long_limit_and_busy_extends_it() -> None:
    link = ready()
    link.submit([OutLine(b"M400", "wait"), OutLine(b"G1 X1", "m")], 0)
    for second in range(2, 200, 2):
        link.receive(b"echo:busy: processing\n", second * SECOND)
        link.tick(second * SECOND)
    assert link.state is LinkState.STREAMING
    while link.probes < NO_REPORTS.max_probes:
        link.tick(link.next_deadline() or 0)
    link.tick(link.next_deadline() or 0)
    assert link.next_deadline() == 198 * SECOND + NO_REPORTS.slow_timeout_us
    link.receive(b"ok N1 P15 B3\nok N2 P15 B3\n", 300 * SECOND)
    link.receive(b"ok T:1.0 /0.0 B:1.0 /0.0\n" * 4, 300 * SECOND)
    assert link.state is LinkState.READY and acks(events(link)) == [1, 2]


def test_slow_line_without_keepalive_is_not_probed_early() -> None:
    link = ready(replace(NO_REPORTS, keepalive=False))
    link.submit([OutLine(b"G28", "home")], 0)
    assert link.next_deadline() == NO_REPORTS.slow_timeout_us
    link.submit([OutLine(b"G1 X1", "m", slow=True)], 0)


def test_slow_line_given_up() -> None:
    link = ready()
    link.submit([OutLine(b"M400", "w")], 0)
    while link.state is not LinkState.FAULTED:
        last = link.next_deadline() or 0
        link.tick(last)
    assert last >= NO_REPORTS.slow_timeout_us


def test_several_lines_submitted_at_once_wait_their_turn_while_probing() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.tick(8 * SECOND)
    link.submit(moves(2), 8 * SECOND)
    link.receive(b"ok T:1.0 /0.0 B:1.0 /0.0\n", 9 * SECOND)
    assert link.state is LinkState.STREAMING and link.bytes_to_send().endswith(wire((3, b"G1 X0")))


def test_busy_for_ever_is_a_fault() -> None:
    link = ready()
    link.submit(moves(1), 0)
    for second in range(0, 3604, 2):
        link.receive(b"echo:busy: paused for user\n", second * SECOND)
    assert link.fault is not None and link.fault.code == "FB-108"
    assert Notice("busy: paused for user") in events(link)


def test_second_wait_probes() -> None:
    link = strict()
    link.receive(b"wait\n", 0)
    link.submit(moves(1), 0)
    link.receive(b"wait\n", 0)
    assert link.state is LinkState.STREAMING
    link.receive(b"wait\n", SECOND)
    assert link.state is LinkState.PROBING


def test_ok_after_a_damaged_line_is_not_believed_without_a_number() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.receive(b"ErroNchecksum mism\nok\n", 0)
    assert link.state is LinkState.PROBING and acks(events(link)) == [] and link.unknown_lines == 1


def test_ok_after_a_damaged_echo_is_not_believed_without_a_number() -> None:
    link = strict()
    link.submit(moves(1), 0)
    link.receive(b'echo:Unknown co\xa5mmand: "F1 G1 X0"\nok\n', 0)
    assert link.state is LinkState.PROBING and acks(events(link)) == []


def test_ok_for_a_line_not_sent_is_damage() -> None:
    link = ready()
    link.submit(moves(1), 0)
    link.receive(b"ok N9 P15 B3\nok\n", 0)
    assert acks(events(link)) == [] and link.unknown_lines == 1
    link.receive(b"ok N1 P15 B3\nok N1 P15 B3\n", 0)
    assert link.state is LinkState.READY


def test_submitted_temperature_request_is_acknowledged_by_its_answer() -> None:
    link = ready()
    link.submit([OutLine(b"G1 X1", "a"), OutLine(b"M105", "t"), OutLine(b"M105", "u")], 0)
    link.receive(b"ok T:21.5 /60.0 B:40.0 /50.0 @:1 B@:2\n", 0)
    found = events(link)
    assert acks(found) == [1, 2] and TemperatureReport(D("21.5"), D("60.0"), D("40.0"), D("50.0")) in found
    link.receive(b"ok T:21.5\nok T:21.5\n", 0)
    assert acks(events(link)) == [3]


def test_position_report() -> None:
    link = strict()
    link.submit([OutLine(b"M114", "p")], 0)
    link.receive(b"ok X:1.00 Y:2.00 Z:-0.50 E:10.25 Count X:80 Y:160 Z:-200\n", 0)
    found = events(link)
    assert found[0] == PositionReport(D("1.00"), D("2.00"), D("-0.50"), D("10.25")) and acks(found) == [1]


def test_stray_ok_makes_the_next_one_doubtful() -> None:
    link = strict()
    link.receive(b"ok\n", 0)
    link.submit(moves(1), 0)
    link.receive(b"ok\n", 0)
    assert link.state is LinkState.PROBING
    link.submit(moves(1), 0)
    assert link.pending == 2


def test_unwitnessed_resend_while_ready_probes_and_gives_no_drained() -> None:
    link = ready()
    link.receive(b"Resend: 5\n", 0)
    assert link.state is LinkState.PROBING
    link.receive(b"ok T:1.0 /0.0 B:1.0 /0.0\n", 0)
    assert link.state is LinkState.READY and Drained() not in events(link)
    link.receive(b"Error:checksum mismatch, Last Line: 1\nResend: 2\nok\n", 0)
    assert link.state is LinkState.READY


@pytest.mark.parametrize(("strength", "data"), [(StopStrength.QUICKSTOP, b"\nM410\nM104 S0\nM140 S0\n"), (StopStrength.KILL, b"\nM112\n")])
def test_stop_is_terminal(strength: StopStrength, data: bytes) -> None:
    link = ready()
    link.submit(moves(9), 0)
    assert link.stop(strength, 5) == data
    assert link.bytes_to_send() == b"" and link.next_deadline() is None and link.pending == 0
    link.receive(b"ok N1 P15 B3\nResend: 2\nstart\nError:x\n T:1.0 /0.0 B:1.0 /0.0\nok T:1.0 /0.0\nwait\necho:busy: processing\nok\n", 9)
    link.tick(10**12)
    assert link.state is LinkState.STOPPED and link.bytes_to_send() == b"" and link.fault is None
    assert TemperatureReport(D("1.0"), D("0.0"), D("1.0"), D("0.0")) in events(link)
    with pytest.raises(LocalProtocolError):
        link.submit(moves(1), 11)
    with pytest.raises(LocalProtocolError):
        link.start(12)
    assert link.stop(StopStrength.KILL, 13) == b"\nM112\n"


def test_refused_submit_changes_nothing() -> None:
    link = ready()
    for bad in ([OutLine(b"G1 X1", "a"), OutLine(b"M112", "b")], [OutLine(b"G1 X1", "a", -1)]):
        with pytest.raises(LocalProtocolError):
            link.submit(bad, 0)
    link.submit([], 0)
    assert link.pending == 0 and link.bytes_to_send() == b"" and link.state is LinkState.READY
    with pytest.raises(LocalProtocolError):
        GcodeLink(PLAIN, exposure_limit_nl=0)
    with pytest.raises(LocalProtocolError):
        GcodeLink(PLAIN, exposure_limit_nl=1).submit(moves(1), 0)


def test_memory_is_bounded() -> None:
    link = ready()
    link.receive(b"x" * 5000, 0)
    link.receive(b"y" * 5000, 0)
    link.receive(b"z\n" + b"w" * 3000 + b"\nok\n", 0)
    assert len(link._reader.buffer) == 0 and link.unknown_lines == 2 and link._reader._skipping is False
    for _ in range(50):
        link.receive(b"junk\n" * 200, 0)
    assert link.dropped_events > 0 and len(events(link)) <= 4096


STATES: dict[LinkState, Callable[[], GcodeLink]] = {
    LinkState.NEW: lambda: GcodeLink(NO_REPORTS, exposure_limit_nl=9),
    LinkState.IDENTIFYING: lambda: _started(b""),
    LinkState.SYNCHRONISING: lambda: _started(QUIET_HELLO),
    LinkState.READY: ready,
    LinkState.STREAMING: lambda: _streaming(b""),
    LinkState.PROBING: lambda: _streaming(b"wait\nwait\n"),
    LinkState.STOPPED: lambda: _stopped(),
    LinkState.FAULTED: lambda: _streaming(b"!! x\n"),
}


def _started(data: bytes) -> GcodeLink:
    link = GcodeLink(NO_REPORTS, exposure_limit_nl=9)
    link.start(0)
    link.receive(data, 0)
    return link


def _streaming(data: bytes) -> GcodeLink:
    link = ready()
    link.submit(moves(6), 0)
    link.receive(b"ok N1 P15 B3\n" + data, 0)
    return link


def _stopped() -> GcodeLink:
    link = ready()
    link.stop(StopStrength.QUICKSTOP, 0)
    return link


INPUTS: dict[LinkInput, Callable[[GcodeLink], object]] = {
    LinkInput.START: lambda link: link.start(0),
    LinkInput.SUBMITTED: lambda link: link.submit(moves(1), 0),
    LinkInput.STOP: lambda link: link.stop(StopStrength.KILL, 0),
    LinkInput.PRINTER_RESTARTED: lambda link: link.receive(b"start\n", 0),
    LinkInput.FAULT: lambda link: link.lost("pulled"),
}
RAISING = (LinkInput.START, LinkInput.SUBMITTED)


@pytest.mark.parametrize("state", list(LinkState))
@pytest.mark.parametrize("given_input", list(INPUTS))
def test_every_state_and_outer_input_follows_the_table(state: LinkState, given_input: LinkInput) -> None:
    link = STATES[state]()
    assert link.state is state
    target = TRANSITIONS.get((state, given_input))
    if target is None and given_input in RAISING:
        with pytest.raises(LocalProtocolError):
            INPUTS[given_input](link)
    else:
        INPUTS[given_input](link)
    assert link.state is (target or state)


def test_terminal_states_have_no_way_out() -> None:
    for (state, _), target in TRANSITIONS.items():
        if state in (LinkState.STOPPED, LinkState.FAULTED):
            assert target is state


def test_the_document_shows_the_table() -> None:
    text = (Path(__file__).parents[2] / "docs" / "link.md").read_text(encoding="utf-8")
    assert transition_table_markdown() in text


CHATTER = st.sampled_from(
    [b"ok\n", b"ok N1 P15 B3\n", b"ok N2 P15 B3\n", b"Resend: 2\n", b"Error:checksum mismatch, Last Line: 1\n", b"Resend: 1\n",
     b"wait\n", b"start\n", b"ok T:1.0 /0.0 B:1.0 /0.0\n", b"echo:busy: processing\n", b"!! x\n", b"Error:", b"\n", b"N",
     b"ok P15 B3\n", HELLO, QUIET_HELLO, b"ok N0 P15 B3\n"]
)  # fmt: skip


@settings(max_examples=300)
@given(st.lists(st.one_of(CHATTER, st.binary(max_size=60), st.integers(0, 20 * SECOND)), max_size=40), st.booleans())
def test_any_input_is_read_or_faults_and_never_raises(steps: list[bytes | int], advanced: bool) -> None:
    link = GcodeLink(NO_REPORTS if advanced else STRICT, exposure_limit_nl=100)
    now = 0
    link.start(now)
    for action in steps:
        if isinstance(action, int):
            now += action
            link.tick(now)
        else:
            link.receive(action, now)
        if link.state is LinkState.READY:
            link.submit(moves(5, exposure=30), now)
        data = link.bytes_to_send()
        assert not data or link.state not in (LinkState.STOPPED, LinkState.FAULTED)
        assert (link.fault is not None) == (link.state is LinkState.FAULTED)
        assert len(link._reader.buffer) <= link.profile.max_reply
        assert link.exposure_nl <= 100
        if link.state in (LinkState.STREAMING, LinkState.PROBING):
            assert link.next_deadline() is not None


CONVERSATION = (
    QUIET_HELLO
    + b"ok N0 P15 B3\n T:20.0 /0.0 B:20.0 /0.0 @:0 B@:0\nok N1 P15 B3\r\n"
    + b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0\nok N2 P15 B3\n"
)


@pytest.mark.parametrize("cut", range(0, len(CONVERSATION), 3))
def test_conversation_cut_anywhere_gives_the_same(cut: int) -> None:
    assert _converse([CONVERSATION[:cut], CONVERSATION[cut:]]) == _converse([CONVERSATION])


def test_conversation_byte_by_byte_gives_the_same() -> None:
    assert _converse([bytes((byte,)) for byte in CONVERSATION]) == _converse([CONVERSATION])


def _converse(chunks: list[bytes]) -> tuple[list[LinkEvent], bytes, LinkState]:
    link = GcodeLink(replace(NO_REPORTS), exposure_limit_nl=9)
    link.start(0)
    sent = link.bytes_to_send()
    for chunk in chunks:
        link.receive(chunk, 0)
        sent += link.bytes_to_send()
    return events(link), sent, link.state
