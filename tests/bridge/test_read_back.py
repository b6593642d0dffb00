"""Every line is seen when it is carried out: lines that fool the checksum are caught, damaged echoes stop nothing."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1, FirmwareProfile, klipper_profile, reprap_profile
from firmware_bridge.gcode_lines import checksum, number_line
from firmware_bridge.gcode_link import Drained, GcodeLink, Identified, IdentityRefused, LinkEvent, LinkState, Notice, OutLine
from firmware_bridge.read_back import CarriedOutOther, CarriedOutTwice, Damaged, Fragment, ReadBack
from tests.bridge import test_link_noise as noise

HELLO = b"FIRMWARE_NAME:Marlin 2.0.5 (x)\nCap:EMERGENCY_PARSER:1\nok P15 B3\n"
ADVANCED = replace(MARLIN_2_1, capabilities=(("EMERGENCY_PARSER", True),))
STRICT = replace(MARLIN_2_0, capabilities=())
LINE = b"N3 G1 X10.00 Y20.50 E0.0412 F600"


def events(link: GcodeLink) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def answer(data: bytes, advanced: bool) -> bytes:
    """What Marlin says to these lines with the echo on."""
    said = b""
    for line in data.splitlines():
        if line:
            number = line[1:].split(b" ")[0]
            said += b"echo:" + line + b"\n" + (b"ok N%b P15 B3\n" % number if advanced else b"ok\n")
    return said


def started(profile: FirmwareProfile = ADVANCED) -> GcodeLink:
    link = GcodeLink(profile, exposure_limit_nl=10_000)
    link.start(0)
    link.receive(HELLO if profile.advanced_ok else HELLO.replace(b" P15 B3", b""), 0)
    assert link.bytes_to_send().endswith(b"N0 M110 N0*125\n")
    link.receive(b"ok N0 P15 B3\n" if profile.advanced_ok else b"ok\n", 0)
    return link


def ready(profile: FirmwareProfile = ADVANCED) -> GcodeLink:
    """A link whose next line is number 3."""
    link = started(profile)
    assert link.bytes_to_send() == number_line(1, b"M111 S1")
    link.receive(b"echo:DEBUG:ECHO\n" + (b"ok N1 P15 B3\n" if profile.advanced_ok else b"ok\n"), 0)
    second = link.bytes_to_send()
    assert second == number_line(2, b"M111 S1")
    link.receive(answer(second, profile.advanced_ok), 0)
    assert link.state is LinkState.READY and any(isinstance(event, Identified) for event in events(link))
    assert link.unproved_lines == link.doubtful_lines == 0
    return link


def submitted(*commands: bytes, profile: FirmwareProfile = ADVANCED) -> GcodeLink:
    link = ready(profile)
    link.submit([OutLine(command, str(n)) for n, command in enumerate(commands)], 0)
    return link


# ---- the introduction


def test_read_back_is_switched_on_and_seen_before_the_printer_counts_as_identified() -> None:
    link = ready(ADVANCED)
    assert link.next_number == 3 and link.fault is None


def test_a_damaged_echo_of_the_first_lines_is_asked_for_again() -> None:
    link = started()
    link.bytes_to_send()
    link.receive(b"echo:DEBUG:ECHO\nok N1 P15 B3\n", 0)
    link.bytes_to_send()
    link.receive(b"echo:N2 M1\xff1 S1*32\nok N2 P15 B3\n", 0)
    third = link.bytes_to_send()
    assert third == number_line(3, b"M111 S1") and link.state is LinkState.STREAMING
    link.receive(answer(third, True), 0)
    assert link.state is LinkState.READY and link.unproved_lines == 0


@pytest.mark.parametrize("profile", [ADVANCED, STRICT], ids=["numbered ok", "plain ok"])
def test_a_firmware_that_never_echoes_is_not_the_approved_one(profile: FirmwareProfile) -> None:
    link = started(profile)
    for _ in range(8):
        data = link.bytes_to_send()
        if link.state is LinkState.FAULTED:
            break
        assert b"M111 S1" in data
        number = int(data[1:].split(b" ")[0])
        link.receive(b"ok N%d P15 B3\n" % number if profile.advanced_ok else b"ok\n", 0)
    found = events(link)
    assert link.fault is not None and link.fault.code == "FB-104"
    assert IdentityRefused(("read-back: approved yes, found no",)) in found and not any(isinstance(e, Identified) for e in found)


def test_a_build_without_m111_is_refused_as_such() -> None:
    link = started()
    link.receive(b'echo:Unknown command: "M111 S1"\nok N1 P15 B3\n', 0)
    assert link.fault is not None and link.fault.code == "FB-104" and "M111 is unknown" in link.fault.text


def test_dialects_without_line_numbers_are_not_read_back() -> None:
    assert MARLIN_2_1.read_back and MARLIN_2_0.read_back
    assert not klipper_profile(firmware_version="x").read_back
    assert not reprap_profile(firmware_version="x", board="y").read_back


# ---- one line


@pytest.mark.parametrize("profile", [ADVANCED, STRICT], ids=["numbered ok", "plain ok"])
def test_lines_seen_as_sent_are_proved(profile: FirmwareProfile) -> None:
    link = submitted(*[b"G1 X%d" % n for n in range(20)], profile=profile)
    while link.state is LinkState.STREAMING:
        link.receive(answer(link.bytes_to_send(), profile.advanced_ok), 0)
    assert link.state is LinkState.READY and Drained() in events(link)
    assert link.unproved_lines == link.doubtful_lines == link.probes == 0


@pytest.mark.parametrize("profile", [ADVANCED, STRICT], ids=["numbered ok", "plain ok"])
def test_another_line_carried_out_is_a_fault_that_names_both(profile: FirmwareProfile) -> None:
    link = submitted(b"G1 X10 E1", profile=profile)
    sent = link.bytes_to_send()[:-1]
    fooled = sent.replace(b"X10", b"X01")
    assert checksum(fooled[: fooled.index(b"*")]) == checksum(sent[: sent.index(b"*")])
    link.receive(b"echo:" + fooled + b"\n", 0)
    assert link.state is LinkState.FAULTED and link.fault is not None and link.fault.code == "FB-117"
    assert sent.decode() in link.fault.text and fooled.decode() in link.fault.text and "Line 3" in link.fault.text


def test_a_damaged_echo_leaves_its_line_unproved_and_stops_nothing() -> None:
    link = submitted(b"G1 X10 E1")
    sent = link.bytes_to_send()[:-1]
    for at in range(len(sent)):
        copy = submitted(b"G1 X10 E1")
        copy.bytes_to_send()
        copy.receive(b"echo:" + sent[:at] + bytes((sent[at] ^ 4,)) + sent[at + 1 :] + b"\nok N3 P15 B3\n", 0)
        assert copy.state is LinkState.READY and (copy.unproved_lines, copy.doubtful_lines) == (1, 0), at
    link.receive(b"ok N3 P15 B3\n", 0)
    assert link.state is LinkState.READY and (link.unproved_lines, link.doubtful_lines) == (1, 1)


def test_damage_around_the_line_does_not_hide_it() -> None:
    sent = number_line(3, b"G1 X10 E1")[:-1]
    for said in (
        b"ecHo:" + sent, b"echo" + sent, b"eco:" + sent, b"ok N2 P15 B3echo:" + sent, b"echo:" + sent + b"ok N3 P15 B3", b"echo: " + sent,
    ):  # fmt: skip
        link = submitted(b"G1 X10 E1")
        link.receive(said + b"\nok N3 P15 B3\n", 0)
        assert link.fault is None and link.unproved_lines == 0, said


def test_bytes_that_a_host_would_drop_are_not_dropped_before_the_comparison() -> None:
    """Flow-control bytes and a zero byte within an echo: it stands as damaged, and two of them as doubtful."""
    sent = number_line(3, b"G1 X10 E1")[:-1]
    for between, doubtful in ((b"\x11", 0), (b"\0", 0), (b"\x13\x11", 1), (b"\0\0", 1)):
        link = submitted(b"G1 X10 E1")
        link.receive(b"echo:" + sent[:7] + between + sent[7:] + b"\nok N3 P15 B3\n", 0)
        assert link.state is LinkState.READY and (link.unproved_lines, link.doubtful_lines) == (1, doubtful)
    twice = submitted(b"G1 X10 E1")
    twice.receive(b"echo:" + sent[:7] + b"\x11\x11" + sent[7:] + b"\n", 0)
    assert twice.fault is not None and twice.fault.code == "FB-117"


def test_bytes_in_front_of_the_number_are_another_line() -> None:
    """Marlin takes such a line for one without a number; that its text holds the line proves nothing."""
    link = submitted(b"G1 X10 E1", profile=STRICT)
    link.receive(b"echo:x" + number_line(3, b"G1 X10 E1")[:-1] + b"\nok\n", 0)
    assert link.unproved_lines == 0 and link.state is LinkState.PROBING  # not acknowledged by that ok either


def test_a_plain_ok_counts_only_for_a_line_that_was_seen() -> None:
    link = submitted(b"G1 X10", profile=STRICT)
    link.bytes_to_send()
    link.receive(b"ok\n", 0)
    assert link.state is LinkState.PROBING and link.pending == 1
    link.receive(answer(number_line(3, b"G1 X10"), False) + b"echo:" + number_line(4, b"M105") + b"ok T:1.0 /0.0 B:1.0 /0.0\n", 0)
    assert link.state is LinkState.READY and link.unproved_lines == 0


def test_a_late_echo_still_proves_its_line() -> None:
    link = submitted(b"G1 X1", b"G1 X2")
    link.bytes_to_send()
    link.receive(b"ok N4 P15 B3\n", 0)
    assert link.unproved_lines == 2
    link.receive(b"echo:" + number_line(3, b"G1 X1") + b"echo:" + number_line(4, b"G1 X2"), 0)
    assert link.unproved_lines == 0


def test_other_words_of_the_firmware_are_no_echoes() -> None:
    link = submitted(b"G1 X10", profile=STRICT)
    sent = link.bytes_to_send()
    for text in (
        b"echo:busy: processing",
        b"echo:DEBUG:ECHO",
        b"echo:  M92 X80.00 Y80.00",
        b"echo:Homing",
        b'echo:enqueueing "M17"',
        b"//x",
    ):
        link.receive(text + b"\n", 0)
        assert link.state is LinkState.STREAMING, text
    link.receive(answer(sent, False), 0)
    assert link.state is LinkState.READY and link.unproved_lines == 0
    assert Notice("echo:Homing") in events(link)


# ---- what has no number, or comes twice


@pytest.mark.parametrize("body", [b"G1 X10.00 Y20.50*77", b" X10.00 Y20.50 E0.0412*77", b"M104 S20", b"G28", b"T1"])
def test_a_command_that_was_not_sent_as_a_line_is_a_fault(body: bytes) -> None:
    link = submitted(LINE[3:], profile=STRICT)
    link.receive(b"echo:" + body + b"\n", 0)
    assert link.fault is not None and link.fault.code == "FB-106"


def test_a_line_carried_out_twice_is_a_fault() -> None:
    link = submitted(b"G1 X1", b"G1 X2")
    link.receive(answer(link.bytes_to_send(), True), 0)
    assert link.state is LinkState.READY
    link.receive(b"echo:" + number_line(3, b"G1 X1"), 0)
    assert link.fault is not None and link.fault.code == "FB-117" and "more than once" in link.fault.text


def test_a_command_in_the_place_of_a_line_is_known_when_the_line_itself_is_seen() -> None:
    """`N` lost on the way out: the rest runs without a number. It looks like an echo damaged on the way back, until line 3 runs as well."""
    link = submitted(b"G1 X10", profile=STRICT)
    sent = link.bytes_to_send()
    link.receive(b"echo:" + sent[1:] + b"ok\n", 0)
    assert link.state is LinkState.PROBING
    link.receive(b"Error:Line Number is not Last Line Number+1, Last Line: 2\nResend: 3\nok\n", 0)
    link.receive(b"echo:" + sent, 0)
    assert link.fault is not None and link.fault.code == "FB-106" and "3 G1 X10" in link.fault.text


# ---- by force


def fooled(line: bytes, rng: random.Random) -> bytes:
    """Damage a line `N… …*cs` so that the checksum still holds: what a noisy wire does once in some hundred thousand lines."""
    body, _, digits = line.partition(b"*")
    data = bytearray(body)
    first = body.index(b" ") + 1
    places = range(first, len(data))
    while True:
        a, b = rng.sample(places, 2)
        match rng.randrange(6):
            case 0:  # two equal bytes lost
                equal = [(x, y) for x in places for y in places if x < y and data[x] == data[y]]
                x, y = rng.choice(equal or [(a, a)])
                changed = bytes(data[:x] + data[x + 1 : y] + data[y + 1 :])
            case 1:  # the same bit in two bytes
                bit = 1 << rng.randrange(7)
                copy = bytearray(data)
                copy[a] ^= bit
                copy[b] ^= bit
                changed = bytes(copy)
            case 2:  # two bytes changed places
                copy = bytearray(data)
                copy[a], copy[b] = copy[b], copy[a]
                changed = bytes(copy)
            case 3:  # the same byte put in twice
                byte = rng.randrange(33, 127)
                changed = bytes(data[:a]) + bytes((byte,)) + bytes(data[a:]) + bytes((byte,))
            case 4:  # flow-control bytes, which a host might drop
                changed = bytes(data[:a]) + b"\x11" + bytes(data[a:]) + b"\x11"
            case _:  # a byte and the checksum together
                copy = bytearray(data)
                copy[a] = rng.choice(b"0123456789.-XYEF")
                changed, digits = bytes(copy), b"%d" % checksum(bytes(copy))
        if changed != body and not set(changed) & set(b"\0\x08\n\r;\\*") and checksum(changed) == int(digits):
            return changed + b"*" + digits


def wrongs(count: int) -> Iterator[tuple[int, bytes, bytes]]:
    rng = random.Random(11)
    for n in range(count):
        command = noise.PROGRAM[rng.randrange(len(noise.PROGRAM))]
        sent = number_line(3, command)[:-1]
        yield n, command, fooled(sent, rng)


@pytest.mark.parametrize("advanced", [True, False])
def test_every_line_that_fools_the_checksum_is_caught(advanced: bool) -> None:
    for _, command, wrong in wrongs(4000):
        model = noise.Model(advanced=advanced, last=2, echo=True)
        for byte in wrong + b"\n":
            model.feed(byte)
        model.run(0, random.Random(0))
        model.run(10**6, random.Random(0))
        assert model.accepted_wire == [wrong] and model.executed, wrong  # the model was fooled, and has carried it out
        assert model.executed[0] != (3, command)
        echoes = ReadBack()
        echoes.sent(3, number_line(3, command))
        first = bytes(model.out).split(b"\n")[0]
        assert first not in echoes.expected
        assert isinstance(echoes.judge(first), CarriedOutOther), first


@pytest.mark.parametrize("profile", [ADVANCED, STRICT], ids=["numbered ok", "plain ok"])
def test_the_link_stops_at_every_one_of_them(profile: FirmwareProfile) -> None:
    for _, command, wrong in wrongs(1000):
        link = submitted(command, b"G1 X1", profile=profile)
        link.bytes_to_send()
        link.receive(b"echo:" + wrong + b"\n" + (b"ok N3 P15 B3\n" if profile.advanced_ok else b"ok\n"), 0)
        assert link.fault is not None and link.fault.code == "FB-117", wrong


@pytest.mark.parametrize(("advanced", "old"), noise.VARIANTS)
def test_one_of_them_in_a_print_stops_the_print(advanced: bool, old: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(60):
        draw = random.Random(seed)
        start = b"N%d " % draw.randrange(4, 28)
        done: list[bytes] = []

        def once(
            data: bytes, rate: float, rng: random.Random, start: bytes = start, done: list[bytes] = done, draw: random.Random = draw
        ) -> bytes:
            lines = data.split(b"\n")
            for at, line in enumerate(lines):
                if line.startswith(start) and not done:
                    lines[at] = fooled(line, draw)
                    done.append(lines[at])
            return b"\n".join(lines)

        monkeypatch.setattr(noise, "damage", once)
        outcome = noise.simulate(seed, 0.0, advanced=advanced, old=old, lines=24)
        assert outcome.model.accepted_wire.count(done[0]) == 1
        assert outcome.link.fault is not None and outcome.link.fault.code == "FB-117" and done[0][:4].decode() in outcome.link.fault.text
        assert noise.judge(outcome, 24) in ("fooled, caught by read-back", "faulted")


def test_a_line_that_fools_and_whose_echo_is_damaged_is_never_proved() -> None:
    """Three damages, two of them unseen: nothing says what was carried out, and the link does not say so either."""
    rng = random.Random(5)
    close = 0
    for _, command, wrong in wrongs(4000):
        echoes = ReadBack()
        echoes.sent(3, number_line(3, command))
        at = rng.randrange(len(wrong))
        echo = b"echo:" + wrong[:at] + bytes((wrong[at] ^ (1 << rng.randrange(7)),)) + wrong[at + 1 :]
        echoes.judge(echo)
        assert echoes.unproved(4) == 1, echo
        close += not echoes.doubtful(4)
    assert close < 40  # one byte off the right line by chance: those stand as unproved, for the totals


# ---- the pure part


def test_the_findings_one_by_one() -> None:
    echoes = ReadBack()
    echoes.sent(3, LINE + b"*%d\n" % checksum(LINE))
    assert echoes.judge(b"ok T:20.0 /0.0") is None and echoes.judge(b"echo:busy: processing") is None
    assert isinstance(echoes.judge(b"echo:N3 G1 X10.00 Y2*"), Damaged)
    assert isinstance(echoes.judge(b"echo:G1 X5 Y5*3"), Fragment)
    assert isinstance(echoes.judge(b"echo:N3 G1 X99*%d" % checksum(b"N3 G1 X99")), CarriedOutOther)
    assert isinstance(echoes.proved(b"echo:" + LINE + b"*%d" % checksum(LINE)), Fragment)
    assert isinstance(echoes.judge(b"echo:" + LINE + b"*%d" % checksum(LINE)), CarriedOutTwice)
    assert isinstance(echoes.judge(b"echo:N77 G1 X99*%d" % checksum(b"N77 G1 X99")), Damaged)  # it cannot have taken number 77


def test_digits_behind_the_checksum_and_blanks_change_nothing() -> None:
    echoes = ReadBack()
    echoes.sent(3, number_line(3, b"G1 X1"))
    assert echoes.judge(b"echo:" + number_line(3, b"G1 X1")[:-1] + b" x") is None and echoes.unproved(4) == 0


def test_memory_is_bounded() -> None:
    echoes = ReadBack()
    for number in range(1, 6001):
        echoes.sent(number, number_line(number, b"G1 X1"))
    assert len(echoes.expected) == 4096 and echoes.unproved(6001) == 6000


@settings(max_examples=400)
@given(
    st.lists(
        st.one_of(st.binary(max_size=120), st.sampled_from([b"echo:", b"echo:N3 G1", b"N3*", b"echo:*5", b"echo:N", b":N*"])), max_size=8
    )
)
def test_any_line_is_judged_and_none_raises(parts: list[bytes]) -> None:
    echoes = ReadBack()
    echoes.sent(3, number_line(3, b"G1 X1"))
    echoes.judge(b"".join(parts))
    assert 0 <= echoes.doubtful(9) <= echoes.unproved(9) <= 1
