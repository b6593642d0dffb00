"""Who is there: the link's first words, the identity that it takes or refuses, and its numbering."""

from __future__ import annotations

import pytest

from firmware_bridge.firmware_profile import MARLIN_2_1, ExpectedField, FirmwareProfile, Match, parse_identity
from firmware_bridge.gcode_link import (
    GcodeLink,
    Identified,
    IdentityRefused,
    LinkState,
)
from tests.bridge.links import HELLO, NO_REPORTS, PLAIN, QUIET_HELLO, SECOND, events, wire


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
