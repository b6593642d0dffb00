"""What real firmware does on the wire, fact by fact: docs/serial-facts.md names a test for each, and each named test exists."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1, FirmwareProfile, parse_identity
from firmware_bridge.gcode_lines import Fatal, Information, LineError, Ok, Restarted, Unknown, check_command, number_line, parse_reply
from firmware_bridge.gcode_link import (
    Drained,
    Fault,
    GcodeLink,
    LineAcknowledged,
    LinkEvent,
    LinkState,
    Notice,
    OutLine,
    StopStrength,
    TemperatureReport,
)
from firmware_bridge.link_values import STOP_BYTES

SECOND = 1_000_000
ROOT = Path(__file__).parents[2]
TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
STRICT = replace(MARLIN_2_0, capabilities=(), read_back=False)
ADVANCED = replace(MARLIN_2_1, capabilities=(("EMERGENCY_PARSER", True),), read_back=False)
NAME = b"FIRMWARE_NAME:Marlin 2.0.5.3 (GitHub) PROTOCOL_VERSION:1.0\n"


def events(link: GcodeLink) -> list[LinkEvent]:
    found = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def ready(profile: FirmwareProfile = STRICT) -> GcodeLink:
    link = GcodeLink(profile, exposure_limit_nl=10_000)
    link.start(0)
    tail = b" P15 B3" if profile.advanced_ok else b""
    link.receive(NAME + b"Cap:EMERGENCY_PARSER:%d\nok%b\n" % (profile.advanced_ok, tail), 0)
    link.receive(b"ok N0 P15 B3\n" if profile.advanced_ok else b"ok\n", 0)
    assert link.state is LinkState.READY
    link.bytes_to_send()
    events(link)
    return link


def lines(*commands: bytes) -> list[OutLine]:
    return [OutLine(command, command.decode()) for command in commands]


def acknowledged(link: GcodeLink) -> list[int]:
    return [event.number for event in events(link) if isinstance(event, LineAcknowledged)]


TABLE_ROW = re.compile(r"\| ([0-9]) \| (.+?) \| (.+?) \|\Z")


def facts() -> list[tuple[str, str, str]]:
    """The rows of the table: section, fact, test or reason."""
    text = (ROOT / "docs" / "serial-facts.md").read_text(encoding="utf-8")
    return [match.groups() for line in text.splitlines() if (match := TABLE_ROW.match(line))]  # type: ignore[misc]


def test_every_named_test_exists_and_every_fact_has_a_test_or_a_reason() -> None:
    defined = {
        f"{path.stem}.{name}"
        for path in [*(ROOT / "tests" / "bridge").glob("test_*.py"), *(ROOT / "tests" / "printer").glob("test_*.py")]
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    rows = facts()
    assert len(rows) >= 90 and {section for section, _, _ in rows} == set("123456789")
    for _, fact, proof in rows:
        named = re.findall(r"`(test_\w+\.test_\w+)`", proof)
        assert named or proof.startswith("No test: "), fact
        assert set(named) <= defined, f"{fact}: {sorted(set(named) - defined)}"


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_every_recorded_reply_is_of_a_known_kind(path: Path) -> None:
    replies = [line[12:] for line in path.read_text(encoding="utf-8").splitlines() if line[8:11] == "<<<"]
    assert len(replies) > 40
    for text in replies:
        reply = parse_reply(text.encode())
        assert not isinstance(reply, Unknown), text
        assert isinstance(reply, Restarted) == (text == "// Klipper state: Ready"), text


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_checksums_that_real_firmware_refused_are_not_ours(path: Path) -> None:
    """A numbered line was accepted if and only if it is what number_line makes of it, wherever checksums are looked at."""
    rows = [(line[8:11], line[12:]) for line in path.read_text(encoding="utf-8").splitlines()]
    for (kind, text), (_, answer) in pairwise(rows):
        match = re.match(r"N([0-9]+) ([^*]+)(\*[0-9]+)?\Z", text)
        if kind == ">>>" and match and "checksum" in answer.lower():
            assert number_line(int(match.group(1)), match.group(2).encode()).decode().strip() != text


@pytest.mark.parametrize("error", [b"checksum mismatch", b"Line Number is not Last Line Number+1", b"No Checksum with line number"])
def test_each_line_error_is_followed_by_resend_and_an_ok_that_counts_for_nothing(error: bytes) -> None:
    link = ready()
    link.submit(lines(b"G1 X1", b"G1 X2"), 0)
    link.bytes_to_send()
    link.receive(b"Error:%b, Last Line: 0\nResend: 1\nok\n" % error, 0)
    assert acknowledged(link) == [] and link.bytes_to_send() == b"\n" + number_line(1, b"G1 X1")


def test_resend_without_its_ok_leads_on_too() -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\n", 0)
    link.bytes_to_send()
    link.receive(b"ok\n", 1)
    # Whether this ok is the missing one or the line's cannot be told: it is not believed, and a probe settles it.
    assert acknowledged(link) == []
    link.tick(link.next_deadline() or 0)
    link.receive(b"ok T:1.0 /0.0 B:1.0 /0.0\n", 9 * SECOND)
    assert acknowledged(link) == [1]


@pytest.mark.parametrize("advanced", [True, False])
def test_a_repeated_line_leads_on_whether_it_is_silent_or_an_error(advanced: bool) -> None:
    """The link sends a line twice (its ok and then a Resend were lost): Marlin 2.1 says nothing, Marlin 2.0.5 reports an error."""
    for silent in (True, False):
        link = ready(ADVANCED if advanced else STRICT)
        link.submit(lines(b"G1 X1"), 0)
        link.receive(b"Error:checksum mismatch, Last Line: 0\nResend: 1\nok\n", 0)
        now = link.next_deadline() or 0
        if not silent:
            link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n", 1)
            now = 1
        while link.state is LinkState.STREAMING:
            now = link.next_deadline() or now
            link.tick(now)
        if link.state is LinkState.PROBING:
            link.receive(b"ok T:1.0 /0.0 B:1.0 /0.0\n", now)
        assert acknowledged(link) == [1] and link.state is LinkState.READY


def test_a_printer_that_lost_everything_in_silence_is_found_out_by_time() -> None:
    """Overflow, or a bad checksum in RepRapFirmware: no ok, no Error, no Resend until the next line comes."""
    link = ready(ADVANCED)
    link.submit(lines(b"G1 X1", b"G1 X2", b"G1 X3"), 0)
    link.bytes_to_send()
    link.receive(b"ok N1 P15 B3\n", 0)
    now = link.next_deadline() or 0
    assert now == ADVANCED.ack_timeout_us
    link.tick(now)
    assert link.bytes_to_send() == b"\n" + number_line(4, b"M105")
    link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 1\nResend: 2\nok\n", now)
    link.tick(now + SECOND)
    assert link.bytes_to_send() == b"\n" + number_line(2, b"G1 X2") + number_line(3, b"G1 X3")


@pytest.mark.parametrize("damaged", [b"Resend: 034", b"Resend: 3", b"ErroNchecksum mism\nResend: 12", b"Resend: 9"])
def test_a_damaged_number_in_a_resend_is_never_followed(damaged: bytes) -> None:
    link = ready(ADVANCED)
    link.submit(lines(b"G1 X1", b"G1 X2", b"G1 X3"), 0)
    link.bytes_to_send()
    link.receive(b"Error:checksum mismatch, Last Line: 0\n" + damaged + b"\nok\n", 0)
    sent = link.bytes_to_send()
    assert acknowledged(link) == []
    assert b"G1 X2" not in sent and b"G1 X3" not in sent


@pytest.mark.parametrize("command", [b"M109 S60", b"M190 S60", b"M191 S60"])
@pytest.mark.parametrize("chatter", [b"", b" T:22.0 /60.0 B:22.0 /0.0 @:127 B@:0 W:?\n", b"echo:busy: processing\n"])
def test_heating_without_end_has_a_limit_of_its_own(command: bytes, chatter: bytes) -> None:
    link = ready()
    link.submit(lines(command), 0)
    now = 0
    while link.fault is None:
        now = min(now + SECOND, link.next_deadline() or now)
        if chatter:
            link.receive(chatter, now)
        link.tick(now)
        link.bytes_to_send()
    assert link.fault.code == "FB-116" and now == STRICT.heating_timeout_us


def test_heating_that_ends_in_time_is_no_fault() -> None:
    link = ready()
    link.submit(lines(b"M109 S60", b"G1 X1"), 0)
    link.receive(b"ok\n", STRICT.heating_timeout_us - 1)
    link.tick(STRICT.heating_timeout_us + 1)
    assert link.fault is None and link.next_deadline() == STRICT.heating_timeout_us - 1 + STRICT.ack_timeout_us


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"Error:Heating failed, system stopped! Heater_ID: E0", "FB-110"),
        (b"Error:Thermal Runaway, system stopped! Heater_ID: 0", "FB-110"),
        (b"Error:MAXTEMP triggered, system stopped! Heater_ID: bed", "FB-110"),
        (b"Error:MINTEMP triggered, system stopped! Heater_ID: E0 (temp: -15.0)", "FB-110"),
        (b"Error:Thermal Malfunction, system stopped! Heater_ID: bed", "FB-110"),
        (b"echo:THERMAL RUNAWAY", "FB-110"),
        (b"Error:!! KILL caused by KILL button/pin", "FB-111"),
        (b"Error:Printer stopped due to errors. Fix the error and use M999 to restart. (Temperature is reset.)", "FB-111"),
        (b"echo:Homing Failed", "FB-115"),
        (b"Error:EEPROM data is invalid", "FB-112"),
        (b"fatal:heater", "FB-113"),
        (b"!! Shutdown due to M112 command", "FB-113"),
    ],
)
def test_faults_in_every_form(text: bytes, code: str) -> None:
    link = ready()
    link.submit(lines(b"G1 X1", b"G1 X2"), 0)
    link.bytes_to_send()
    link.receive(text + b"\nok\n//action:poweroff\n", 0)
    assert link.fault is not None and link.fault.code == code and acknowledged(link) == [] and link.bytes_to_send() == b""


def test_an_error_in_two_lines_is_a_fault_by_its_first() -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    link.receive(b"Error:0\n: Extruder switched off. MAXTEMP triggered !\nok\n", 0)
    assert link.fault is not None and link.fault.code == "FB-112"
    assert isinstance(parse_reply(b": Extruder switched off. MAXTEMP triggered !"), Unknown)


def test_flow_control_bytes_are_not_part_of_a_reply() -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    link.receive(b"\x13o\x11k\x13\r\n\x11", 0)
    assert acknowledged(link) == [1] and link.unknown_lines == 0


@pytest.mark.parametrize(
    "action",
    [
        b"pause", b"paused", b"resume", b"resumed", b"cancel", b"start", b"notification Sleep...", b"prompt_begin Hello there",
        b"prompt_button Continue", b"prompt_choice x", b"prompt_show", b"prompt_end", b"sd_inserted", b"out_of_filament T0",
    ],
)  # fmt: skip
def test_host_actions_are_shown_and_decide_nothing(action: bytes) -> None:
    """Any job file can make the printer say them, so no motion and no stop depends on them."""
    for form in (b"//action:", b"// action:"):
        link = ready()
        link.submit(lines(b"G1 X1", b"G1 X2"), 0)
        link.bytes_to_send()
        link.receive(form + action + b"\n", 0)
        assert Notice((form + action).decode()) in events(link) and link.fault is None and link.bytes_to_send() == b""
        link.receive(b"ok\n", 0)
        assert acknowledged(link) == [1]


@pytest.mark.parametrize("action", [b"poweroff", b"shutdown", b"disconnect"])
def test_host_actions_that_end_the_printer_are_faults_and_nothing_is_shut_down(action: bytes) -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    link.receive(b"//action:" + action + b"\n", 0)
    assert link.fault is not None and link.fault.code == "FB-111" and link.bytes_to_send() == b""


def test_a_host_action_between_the_lines_of_another_answer_disturbs_nothing() -> None:
    link = GcodeLink(STRICT, exposure_limit_nl=1)
    link.start(0)
    link.receive(NAME + b"//action:notification hi\nCap:EEPROM:1\n// action:pause\narea:{full:{min:{x:0.00}}}\nok\nok\n", 0)
    assert link.state is LinkState.READY


def test_one_wait_may_cross_a_line_and_the_second_says_that_it_is_lost() -> None:
    link = ready()
    link.submit(lines(b"G20"), 0)
    link.receive(b"wait\nok\n", 0)
    assert acknowledged(link) == [1] and link.probes == 0
    link.submit(lines(b"G1 X1"), 0)
    link.receive(b"wait\n", 0)
    link.receive(b"wait\n", SECOND)
    assert link.probes == 1


def test_busy_keeps_a_line_alive_and_acknowledges_nothing() -> None:
    for text in (b"echo:busy: processing", b"busy:processing", b"echo:busy: paused for user", b"echo:busy: paused for input"):
        link = ready()
        link.submit(lines(b"G1 X1"), 0)
        for second in range(2, 60, 2):
            link.receive(text + b"\n", second * SECOND)
            link.tick(second * SECOND)
        assert link.probes == 0 and acknowledged(link) == []


def test_a_first_line_lost_in_rubbish_costs_one_unknown_command() -> None:
    link = GcodeLink(STRICT, exposure_limit_nl=1)
    link.start(0)
    assert link.bytes_to_send().startswith(b"\n")
    link.receive(b'\xff\x00\x80x\necho:Unknown command: "\x80G1"\nok\n' + NAME + b"ok\nok\n", 0)
    assert link.state is LinkState.READY


def test_no_start_means_only_that_it_did_not_reset() -> None:
    assert ready().state is LinkState.READY


def test_the_stop_begins_and_ends_a_line_and_passes_every_window() -> None:
    for strength in StopStrength:
        assert STOP_BYTES[strength].startswith(b"\n") and STOP_BYTES[strength].endswith(b"\n")
    link = ready(ADVANCED)
    link.submit(lines(*[b"G1 X%d" % i for i in range(50)]), 0)
    assert link.pending == 50 and link.stop(StopStrength.KILL, 0) == b"\nM112\n" and link.pending == 0


@pytest.mark.parametrize("silence", [b"", b"Error:Printer halted. kill() called!\n"])
def test_a_killed_printer_answers_nothing_and_is_never_ready_again(silence: bytes) -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    link.receive(silence, 0)
    while link.fault is None:
        link.tick(link.next_deadline() or 0)
        link.bytes_to_send()
    with pytest.raises(LocalProtocolError):
        link.submit(lines(b"M999"), 0)


def test_m115_values_hold_blanks_and_colons() -> None:
    text = next(line[12:] for line in TRANSCRIPTS[2].read_text(encoding="utf-8").splitlines() if "FIRMWARE_NAME" in line)
    fields = parse_identity(text)
    assert fields["FIRMWARE_NAME"] == "Marlin bugfix-2.1.x (Nov 20 2026 13:25:57)" and fields["MACHINE_TYPE"] == "SimRap 1.4"
    assert fields["UUID"] == "cede2a2f-41a2-4748-9b12-c55c62f367ff" and fields["KINEMATICS"] == "Cartesian"


def test_temperatures_while_heating_are_reports_and_no_ok() -> None:
    link = ready()
    link.submit(lines(b"M109 S60"), 0)
    link.receive(b" T:19.38 /60.00 B:19.38 /0.00 @:127 B@:0 W:?\n T:60.0 /60.00 B:19.38 /0.00 @:9 B@:0 W:9\n", 0)
    found = events(link)
    assert sum(isinstance(event, TemperatureReport) for event in found) == 2 and Drained() not in found
    assert not any(isinstance(event, Fault) for event in found)


def test_multi_line_replies_end_with_their_ok() -> None:
    link = ready()
    link.submit(lines(b"M503 S0"), 0)
    link.receive(b"  G21    ; Units in mm (mm)\n\n  M200 D3.00\n  M92 X80.00 Y80.00 Z4000.00 E500.00\nok\n", 0)
    assert acknowledged(link) == [1] and link.unknown_lines == 0


def test_messages_of_m117_and_comments_are_never_sent() -> None:
    for command in (b"M117 50% * done", b"M117 \xc3\xa9", b"G1 X1 ; c", b"", b" ", b"G1 X1\\", b"M118 A1 action:cancel*"):
        with pytest.raises(LocalProtocolError):
            check_command(command)


def test_an_ok_damaged_in_a_known_way_is_unknown_and_a_later_number_covers_it() -> None:
    for damaged in (b"o3 N1 P63 B7", b"1k", b"3k"):
        assert isinstance(parse_reply(damaged), Unknown)
    link = ready(ADVANCED)
    link.submit(lines(b"G1 X1", b"G1 X2"), 0)
    link.receive(b"o3 N1 P63 B7\nok N2 P15 B3\n", 0)
    assert acknowledged(link) == [1, 2]


def test_ok_forms_of_all_dialects() -> None:
    assert parse_reply(b"ok") == Ok() and parse_reply(b"ok P15 B3") == Ok(None, 15, 3) and parse_reply(b"ok N12 P15 B3") == Ok(12, 15, 3)
    assert isinstance(parse_reply(b"Line: 200"), Information) and isinstance(parse_reply(b"// Klipper state: Shutdown"), Fatal)


def test_an_error_line_is_never_read_as_progress() -> None:
    link = ready()
    link.submit(lines(b"G1 X1"), 0)
    deadline = link.next_deadline()
    link.receive(b" T:19.38 /0.00 B:19.38 /0.00 @:0 B@:0\n", 5 * SECOND)
    assert link.next_deadline() == deadline


@pytest.mark.parametrize("change", [str, str.lower, str.upper, str.title])
@pytest.mark.parametrize(
    "words",
    ["checksum mismatch, Last Line: 0", "Line Number is not Last Line Number+1, Last Line: 0", "No Checksum with line number, Last Line: 0",
     "No Line Number with checksum, Last Line: 0", "expected line 1 got 2", "Missing checksum", "Checksum mismatch"],
)  # fmt: skip
@pytest.mark.parametrize("profile", [STRICT, ADVANCED])
def test_line_errors_in_any_capitals_lead_to_a_resend_and_no_fault(
    profile: FirmwareProfile, words: str, change: Callable[[str], str]
) -> None:
    link = ready(profile)
    link.submit(lines(b"G1 X1"), 0)
    link.bytes_to_send()
    for word in ("Error:", "error:"):
        reply = parse_reply((word + change(words)).encode())
        assert isinstance(reply, LineError) and reply.last in (0, None)
    said = ("Error:" + change(words)).encode() + b"\nResend: 1\nok\n"
    link.receive(said, 0)
    link.receive(said, 0)  # where the error names no last line, the second request is the second witness
    link.tick(SECOND)
    assert link.fault is None and number_line(1, b"G1 X1") in link.bytes_to_send()


def test_the_echo_of_a_line_begins_what_it_answers_and_its_own_answer_is_no_echo() -> None:
    """Marlin's M111 says which flags are set; the line itself comes before that, once the echo is on."""
    assert parse_reply(b"echo:DEBUG:ECHO") == Information("echo:DEBUG:ECHO")
    link = ready()
    link.submit(lines(b"M111 S1"), 0)
    link.receive(b"echo:DEBUG:ECHO\nok\n", 0)
    assert acknowledged(link) == [1] and link.probes == 0
