"""The link's window, acknowledgement, resend, probe, stop and faults, one by one."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.gcode_link import (
    Drained,
    Fault,
    GcodeLink,
    LinkState,
    Notice,
    OutLine,
    PositionReport,
    StopStrength,
    TemperatureReport,
)
from tests.bridge.links import NAME, NO_REPORTS, PLAIN, SECOND, STRICT, acks, events, moves, ready, strict, wire


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


def test_a_slow_line_that_a_resend_proves_taken_is_not_done_yet() -> None:
    """M400 runs, `busy` is lost, the probe that asks comes damaged: that it is asked for again says that M400 was read, no more."""
    link = ready()
    link.submit([OutLine(b"G1 X10", "move"), OutLine(b"M400", "end")], 0)
    link.bytes_to_send()
    link.receive(b"ok N1 P15 B3\n", 0)
    events(link)
    silence = link.next_deadline()
    assert silence is not None
    link.tick(silence)
    assert link.bytes_to_send() == b"\n" + wire((3, b"M105"))
    link.receive(b"Error:checksum mismatch, Last Line: 2\nResend: 3\nok\n", silence)
    assert link.state is LinkState.PROBING and Drained() not in events(link)
    assert link.bytes_to_send() == b"\n" + wire((3, b"M105"))
    link.receive(b"ok N2 P15 B3\n", silence + 1)
    assert Drained() not in events(link)
    link.receive(b"ok T:20.0 /0.0 B:20.0 /0.0 @:0 B@:0\n", silence + 2)
    assert Drained() in events(link) and link.state is LinkState.READY


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
