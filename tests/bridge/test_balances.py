"""Balance drivers against tables of replies from the manuals, cut at every position, and against any bytes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Milligram
from firmware_bridge.balance import (
    BalanceAdjusted,
    BalanceCapabilities,
    BalanceDriver,
    BalanceEvent,
    BalanceFault,
    BalanceIdentified,
    StreamEnded,
    WeighFailed,
    WeighResult,
)
from firmware_bridge.errors import LocalProtocolError
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.sartorius_sbi import SartoriusSbi


def events(driver: BalanceDriver) -> list[BalanceEvent]:
    found: list[BalanceEvent] = []
    while (event := driver.next_event()) is not None:
        found.append(event)
    return found


def mt() -> MtSics:
    balance = MtSics()
    balance.identify(0)
    for asked, answer in [(b"I2\r\n", b'I2 A "XPE204 220.0090 g"'), (b"I3\r\n", b'I3 A "5.20 1.2.3.4"'), (b"I4\r\n", b'I4 A "B021002593"')]:
        assert balance.bytes_to_send() == asked and balance.busy
        balance.receive(answer + b"\r\n", 0)
    assert events(balance) == [BalanceIdentified("XPE204 220.0090 g", "B021002593", "5.20 1.2.3.4")]
    assert not balance.busy and balance.next_deadline() is None
    return balance


# (asked, reply, mg or reason code, stable): reference manual, commands S and SI.
MT_WEIGHTS = [
    ("S", b"S S     100.00 g", "100000.00", True),
    ("S", b"S S       0.4671 g", "467.1000", True),
    ("S", b"S S      -0.5 mg", "-0.5", True),
    ("S", b"S S   1.2 kg", "1200000.0", True),
    ("SI", b"S D     129.07 g", "129070.00", False),
    ("SI", b"S S     129.07 g", "129070.00", True),
    ("S", b"S I", "FB-210", None),
    ("SI", b"S I", "FB-211", None),
    ("SI", b"SI I", "FB-211", None),
    ("S", b"S +", "FB-212", None),
    ("S", b"S -", "FB-213", None),
    ("SI", b"S +", "FB-212", None),
    ("SI", b"S -", "FB-213", None),
    ("S", b"S L", "FB-215", None),
    ("S", b"ES", "FB-215", None),
    ("S", b"ET", "FB-215", None),
    ("S", b"EL", "FB-215", None),
    ("S", b"S D     129.07 g", "FB-210", None),
    ("S", b"S S    4.5 lb", "FB-216", None),
    ("S", b"S S Error 10b", "FB-217", None),
    ("SI", b"S S Error 4t", "FB-217", None),
    ("SI", b"SI +", "FB-212", None),
    ("SI", b"SI -", "FB-213", None),
    ("SI", b"SI L", "FB-215", None),
    ("SI", b"S L", "FB-215", None),
    ("SI", b"ES", "FB-215", None),
    ("SI", b"ET", "FB-215", None),
    ("SI", b"EL", "FB-215", None),
    ("SI", b"S D      -0.0001 g", "-0.1000", False),
    ("S", b"S S     100.00 mg ", "100.00", True),
]


@pytest.mark.parametrize(("command", "reply", "expected", "stable"), MT_WEIGHTS)
def test_mt_replies_cut_at_every_position(command: str, reply: bytes, expected: str, stable: bool | None) -> None:
    wire = reply + b"\r\n"
    for cut in range(len(wire) + 1):
        balance = mt()
        (balance.request_weight if command == "S" else balance.request_immediate)(5)
        assert balance.bytes_to_send() == command.encode() + b"\r\n"
        balance.receive(wire[:cut], 6)
        balance.receive(wire[cut:], 7)
        (event,) = events(balance)
        if isinstance(event, WeighResult):
            assert (event.value, event.stable, event.raw) == (Milligram(expected), stable, reply)
            assert event.value.text == expected and event.device == "XPE204 220.0090 g B021002593"
        else:
            assert isinstance(event, WeighFailed) and (event.reason, event.raw) == (expected, reply)
        assert not balance.busy


MT_ADJUSTMENTS = [
    ("Z", b"Z A", BalanceAdjusted("zero", b"Z A")),
    ("T", b"T S     100.00 g", BalanceAdjusted("tare", b"T S     100.00 g")),
    ("C3", b"C3 A", BalanceAdjusted("internal adjustment", b"C3 A")),
    ("T", b"T S     100.00 oz", "FB-216"),
    *((ask, b"%s %s" % (ask.encode(), letter), code) for ask in ("Z", "T", "C3") for letter, code in
      ((b"I", "FB-211"), (b"L", "FB-215"), (b"+", "FB-212"), (b"-", "FB-213"))),
    *((ask, letters, "FB-215") for ask in ("Z", "T", "C3") for letters in (b"ES", b"ET", b"EL")),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "reply", "expected"), MT_ADJUSTMENTS)
def test_mt_zero_tare_and_adjustment_cut_at_every_position(ask: str, reply: bytes, expected: BalanceAdjusted | str) -> None:
    wire = reply + b"\r\n"
    for cut in range(len(wire) + 1):
        balance = mt()
        {"Z": balance.request_zero, "T": balance.request_tare, "C3": balance.request_adjustment}[ask](0)
        assert balance.bytes_to_send() == ask.encode() + b"\r\n"
        balance.receive(wire[:cut], 0)
        balance.receive(wire[cut:], 0)
        (event,) = events(balance)
        assert event == expected if isinstance(expected, BalanceAdjusted) else isinstance(event, WeighFailed) and event.reason == expected
        assert not balance.busy


def test_mt_adjustment_says_first_that_it_has_begun() -> None:
    balance = mt()
    balance.request_adjustment(0)
    balance.receive(b"C3 B\r\n", 5_000_000)
    assert balance.busy and events(balance) == [] and balance.next_deadline() == 5_000_000 + balance.adjustment_timeout_us
    balance.receive(b"C3 A\r\n", 60_000_000)
    assert events(balance) == [BalanceAdjusted("internal adjustment", b"C3 A")]
    balance.request_zero(0)
    balance.receive(b"S S     100.00 g\r\n", 0)
    assert balance.bytes_to_send().endswith(b"I4\r\n") and events(balance) == []


# I0 as balances give it: every command a part with B, the last with A, which may name a command or nothing.
DISCOVERY = [
    (b'I0 B 0 "I0"\r\nI0 B 0 "S"\r\nI0 B 1 "T"\r\nI0 A 3 "SM4"\r\n', ((0, "I0"), (0, "S"), (1, "T"), (3, "SM4"))),
    (b'I0 B 0 "I0"\r\nI0 B 0 "@"\r\nI0 A\r\n', ((0, "I0"), (0, "@"))),
]


@pytest.mark.parametrize(("listed", "commands"), DISCOVERY)
def test_mt_discovery_cut_at_every_position(listed: bytes, commands: tuple[tuple[int, str], ...]) -> None:
    wire = listed + b'I1 A "0123" "2.00" "2.20" "1.00" "1.50"\r\nI2 A "XPE204"\r\nI3 A "5.20"\r\nI4 A "B021002593"\r\n'
    for cut in range(len(wire) + 1):
        balance = MtSics()
        balance.discover(0)
        balance.receive(wire[:cut], 0)
        balance.receive(wire[cut:], 0)
        assert balance.bytes_to_send() == b"I0\r\nI1\r\nI2\r\nI3\r\nI4\r\n"
        assert events(balance) == [
            BalanceCapabilities(commands, ("0123", "2.00", "2.20", "1.00", "1.50")),
            BalanceIdentified("XPE204", "B021002593", "5.20"),
        ]


@pytest.mark.parametrize("asked", [b"I0", b"I1", b"I2", b"I3", b"I4"])
@pytest.mark.parametrize("letters", [b"ES", b"ET", b"EL", b"%s I", b"%s L"])
def test_mt_every_error_letter_ends_discovery(asked: bytes, letters: bytes) -> None:
    balance = MtSics()
    balance.discover(0)
    answers = {b"I0": b"I0 A", b"I1": b'I1 A "0"', b"I2": b'I2 A "X"', b"I3": b'I3 A "1"'}
    while (now_asked := balance.bytes_to_send().strip()) != asked:
        balance.receive(answers[now_asked] + b"\r\n", 0)
    balance.receive((letters % asked if b"%" in letters else letters) + b"\r\n", 0)
    assert balance.fault is not None and balance.fault.code == "FB-211" and asked.decode() in balance.fault.text


def test_mt_a_list_without_end_is_bounded() -> None:
    balance = MtSics()
    balance.discover(0)
    for _ in range(5000):
        balance.receive(b'I0 B 0 "X"\r\n', 0)
    balance.receive(b'I0 A\r\nI1 A "0"\r\nnoise\r\n', 0)
    (found,) = events(balance)
    assert isinstance(found, BalanceCapabilities) and len(found.commands) == 512 and balance.unexpected_lines == 1


def streaming() -> MtSics:
    balance = mt()
    balance.request_stream(0)
    assert balance.bytes_to_send() == b"SIR\r\n" and balance.busy
    return balance


def test_mt_stream_gives_weights_until_it_is_stopped() -> None:
    wire = b"S D     129.07 g\r\nS S     129.08 g\r\nS I\r\nS +\r\nS -\r\nS S 1.0 lb\r\nS S Error 10b\r\nS Q 1\r\nS S     129.09 g\r\n"
    for cut in range(len(wire) + 1):
        balance = streaming()
        balance.receive(wire[:cut], 0)
        balance.receive(wire[cut:], 0)
        found = events(balance)
        assert [(e.value.text, e.stable) for e in found if isinstance(e, WeighResult)] == [
            ("129070.00", False), ("129080.00", True), ("129090.00", True),
        ]  # fmt: skip
        assert [e.reason for e in found if isinstance(e, WeighFailed)] == ["FB-211", "FB-212", "FB-213", "FB-216", "FB-217", "FB-214"]
        with pytest.raises(LocalProtocolError):
            balance.request_weight(0)
    balance.stop_stream(5)
    assert balance.bytes_to_send() == b"SI\r\n"
    balance.receive(b"S S     129.10 g\r\n", 6)
    assert balance.bytes_to_send() == b"I4\r\n"
    balance.receive(b'S S     129.11 g\r\nS D 5 g\r\nI4 A "B021002593"\r\n', 7)
    assert events(balance) == [StreamEnded()] and not balance.busy
    with pytest.raises(LocalProtocolError):
        balance.stop_stream(8)


@pytest.mark.parametrize("letters", [b"ES", b"ET", b"EL", b"SIR I", b"SIR L", b"S L"])
def test_mt_stream_refused(letters: bytes) -> None:
    balance = streaming()
    balance.receive(letters + b"\r\n", 0)
    (event,) = events(balance)
    assert isinstance(event, WeighFailed) and not balance.busy


def test_mt_stream_that_stops_by_itself_is_a_fault_and_a_fast_one_is_bounded() -> None:
    balance = streaming()
    for index in range(1000):
        balance.receive(b"S D %d g\r\n" % index, index)
    assert balance.dropped_events == 1000 - 256 and len(events(balance)) == 256
    balance.tick(999 + balance.answer_timeout_us)
    assert balance.fault is not None and balance.fault.code == "FB-201"


def test_mt_damaged_answer_is_resynchronised_and_a_late_weight_thrown_away() -> None:
    balance = mt()
    balance.request_weight(0)
    balance.bytes_to_send()
    balance.receive(b"S Q   1\x000.00 g\r\n", 0)
    assert balance.bytes_to_send() == b"I4\r\n" and balance.busy and events(balance) == []
    balance.receive(b'S S     100.00 g\r\nI4 A "B021002593"\r\n', 1)
    (event,) = events(balance)
    assert isinstance(event, WeighFailed) and event.reason == "FB-214" and event.raw == b"S Q   1\x000.00 g"
    balance.request_tare(2)
    balance.receive(b"S S     100.00 g\r\n", 2)
    assert balance.bytes_to_send().endswith(b"I4\r\n")


def test_mt_another_balance_answers_after_damage() -> None:
    balance = mt()
    balance.request_immediate(0)
    balance.receive(b"?\r\n", 0)
    balance.receive(b'I4 A "OTHER"\r\n', 1)
    (event,) = events(balance)
    assert isinstance(event, BalanceFault) and event.code == "FB-203"
    balance.identify(2)
    balance.receive(b'I2 A "X"\r\nI3 A "1"\r\nI4 A "OTHER"\r\n', 2)
    assert isinstance(balance.fault, BalanceFault) and balance.fault.code == "FB-203"


def test_mt_restart_is_a_fault() -> None:
    balance = mt()
    balance.receive(b'I4 A "B021002593"\r\n', 0)
    assert balance.fault is not None and balance.fault.code == "FB-202"
    with pytest.raises(LocalProtocolError):
        balance.request_weight(0)


def test_mt_silence_is_a_fault() -> None:
    balance = mt()
    balance.request_weight(0)
    balance.tick(balance.stable_timeout_us - 1)
    assert events(balance) == []
    balance.tick(balance.stable_timeout_us)
    (event,) = events(balance)
    assert isinstance(event, BalanceFault) and event.code == "FB-201"


@pytest.mark.parametrize("answer", [b"ES", b"EL", b"I2 I"])
def test_mt_identity_refused(answer: bytes) -> None:
    balance = MtSics()
    balance.identify(0)
    balance.receive(b"noise\r\n" + b'I4 A "x"\r\n' + answer + b"\r\n", 0)
    assert balance.fault is not None and balance.fault.code == "FB-211" and balance.unexpected_lines == 2
    empty = MtSics()
    empty.identify(0)
    empty.receive(b'I2 A "X"\r\nI3 A "1"\r\nI4 A ""\r\n', 0)
    assert empty.fault is not None and empty.fault.code == "FB-203"


def test_mt_one_command_at_a_time() -> None:
    balance = MtSics()
    with pytest.raises(LocalProtocolError):
        balance.request_weight(0)
    balance.identify(0)
    for ask in (balance.identify, balance.request_weight):
        with pytest.raises(LocalProtocolError):
            ask(0)
    ready = mt()
    ready.receive(b"\r\nS S 1.0 g\r\n", 0)
    assert ready.unexpected_lines == 1 and events(ready) == []


def test_mt_long_line_is_bounded() -> None:
    balance = mt()
    balance.request_weight(0)
    balance.receive(b"S S " + b" " * 5000, 0)
    assert balance._buffer == b""
    balance.receive(b"1.0 g\r\n", 0)
    balance.receive(b'I4 A "B021002593"\r\n', 0)
    assert [type(event) for event in events(balance)] == [WeighFailed]
    balance.receive(b"x" * 500 + b"\r\n", 0)
    balance.receive(b"x" * 500, 0)
    balance.receive(b"\r\n", 0)
    assert not balance.busy and balance.bytes_to_send() == b"S\r\nI4\r\n"
    for _ in range(600):
        balance.request_immediate(0)
        balance.receive(b"S S 1.0 g\r\n", 0)
    assert len(events(balance)) == 256


def sbi(**options: int) -> SartoriusSbi:
    balance = SartoriusSbi(**options)  # type: ignore[arg-type]
    balance.identify(0)
    for asked, answer in [(b"\x1bx1_\r\n", b"MSE1203S-000-D0"), (b"\x1bx2_\r\n", b"0029803512"), (b"\x1bx3_\r\n", b"00-40-04.21")]:
        assert balance.bytes_to_send() == asked
        balance.receive(answer + b"\r\n", 0)
    assert events(balance) == [BalanceIdentified("MSE1203S-000-D0", "0029803512", "00-40-04.21")]
    return balance


# Data output formats with 16 and 22 characters, with their special and error codes.
SBI_WEIGHTS = [
    (b"+   123.56 g  ", "123560", True),
    (b"-   123.56 g  ", "-123560", True),
    (b"+     0.467   ", "467", False),
    (b"N     +   123.56 g  ", "123560", True),
    (b"N     +   123.56    ", "123560", False),
    (b"+   123.5[6]g ", "123560", True),
    (b"+   123.[5] g ", "123500", True),
    (b"N     +   123.5[6]g ", "123560", True),
    (b"-    1234   g ", "-1234000", True),
    (b"Stat       Low      ", "FB-213", None),
    (b"Stat    Cal. Ext.   ", "FB-211", None),
    (b"Stat        --      ", "FB-211", None),
    (b"Stat     DIS.ER     ", "FB-217", None),
    (b"Stat     PRT.ER     ", "FB-217", None),
    (b"+   123.5[]g  ", "FB-214", None),
    (b"     High     ", "FB-212", None),
    (b"      Low     ", "FB-213", None),
    (b"       H      ", "FB-212", None),
    (b"      --      ", "FB-211", None),
    (b"   Cal. Ext.  ", "FB-211", None),
    (b"   Err 054    ", "FB-217", None),
    (b"Stat       High     ", "FB-212", None),
    (b"Stat     ERR 101    ", "FB-217", None),
    (b"Stat     APP.ER     ", "FB-217", None),
    (b"+   123.56 oz ", "FB-216", None),
]


@pytest.mark.parametrize(("reply", "expected", "stable"), SBI_WEIGHTS)
def test_sbi_replies_cut_at_every_position(reply: bytes, expected: str, stable: bool | None) -> None:
    wire = reply + b"\r\n"
    assert len(wire) in (16, 22)
    for cut in range(len(wire) + 1):
        balance = sbi()
        balance.request_immediate(0)
        assert balance.bytes_to_send() == b"\x1bP\r\n"
        balance.receive(wire[:cut], 1)
        balance.receive(wire[cut:], 2)
        balance.tick(2 + balance.quiet_us)
        (event,) = events(balance)
        if isinstance(event, WeighResult):
            assert (event.value, event.stable, event.raw) == (Milligram(expected), stable, reply)
        else:
            assert isinstance(event, WeighFailed) and (event.reason, event.raw) == (expected, reply)


def test_sbi_stable_weight_is_asked_for_again_until_the_unit_is_shown() -> None:
    balance = sbi()
    balance.request_weight(0)
    balance.bytes_to_send()
    balance.receive(b"+   123.50    \r\n", 10)
    assert balance.bytes_to_send() == b"" and balance.next_deadline() == 10 + balance.poll_us and balance.busy
    balance.tick(10)
    balance.tick(10 + balance.poll_us)
    assert balance.bytes_to_send() == b"\x1bP\r\n"
    balance.receive(b"+   123.56 g  \r\n", 300_000)
    (event,) = events(balance)
    assert isinstance(event, WeighResult) and event.stable and event.at == 300_000


def test_sbi_never_stable_gives_up() -> None:
    balance = sbi(stable_timeout_us=1_000_000)
    balance.request_weight(0)
    now = 0
    while balance.busy:
        balance.receive(b"+   123.50    \r\n", now)
        now = balance.next_deadline() or now
        balance.tick(now)
    (event,) = events(balance)
    assert isinstance(event, WeighFailed) and event.reason == "FB-210" and 1_000_000 <= now < 1_500_000


def test_sbi_damage_waits_for_a_quiet_line() -> None:
    balance = sbi()
    balance.request_immediate(0)
    balance.bytes_to_send()
    balance.receive(b"+  1#3.56 g  \r\n", 0)
    assert balance.busy
    balance.receive(b"+   123.56 g  \r\n", 100_000)
    balance.tick(balance.quiet_us)
    assert balance.busy
    balance.tick(100_000 + balance.quiet_us)
    (event,) = events(balance)
    assert isinstance(event, WeighFailed) and event.reason == "FB-214" and balance.bytes_to_send() == b""
    balance.request_weight(0)
    balance.bytes_to_send()
    balance.receive(b"+  1#34.56 g  \r\n", 0)
    balance.tick(balance.quiet_us)
    assert balance.bytes_to_send() == b"\x1bP\r\n"


def test_sbi_silence_other_balance_and_bad_identity() -> None:
    balance = sbi()
    balance.request_immediate(0)
    balance.tick(balance.answer_timeout_us)
    assert balance.fault is not None and balance.fault.code == "FB-201"
    with pytest.raises(LocalProtocolError):
        balance.request_weight(0)
    balance.identify(0)
    balance.receive(b"M\r\n1234\r\nS\r\n", 0)
    assert balance.fault is not None and balance.fault.code == "FB-203"
    balance.identify(0)
    with pytest.raises(LocalProtocolError):
        balance.identify(0)
    with pytest.raises(LocalProtocolError):
        balance.request_immediate(0)
    balance.receive(b"+   123.56 g  \r\n", 0)
    assert balance.fault is not None and balance.fault.code == "FB-214"
    with pytest.raises(LocalProtocolError):
        SartoriusSbi(unit="oz")


def test_sbi_is_bounded() -> None:
    balance = sbi()
    balance.receive(b"x" * 5000, 0)
    balance.receive(b"x\r\n", 0)
    assert balance._buffer == b"" and balance.unexpected_lines == 1
    for _ in range(600):
        balance.request_immediate(0)
        balance.receive(b"+     1.00 g  \r\n", 0)
    assert len(events(balance)) == 256


REPLIES = [reply for _, reply, _, _ in MT_WEIGHTS] + [reply for reply, _, _ in SBI_WEIGHTS] + [b'I4 A "B021002593"', b"Z A"]
STEPS = st.lists(
    st.one_of(st.sampled_from([reply + b"\r\n" for reply in REPLIES]), st.binary(max_size=30), st.integers(0, 3_000_000)), max_size=40
)


@pytest.mark.parametrize("make", [mt, sbi])
@given(steps=STEPS, stable=st.booleans())
def test_any_bytes_give_an_event_or_nothing_and_never_raise(make: type, steps: Iterable[bytes | int], stable: bool) -> None:
    balance = make()
    now = 0
    for action in steps:
        if not balance.busy and balance.fault is None:
            (balance.request_weight if stable else balance.request_immediate)(now)
        if isinstance(action, int):
            now += action
            balance.tick(now)
        else:
            balance.receive(action, now)
        assert balance.busy == (balance.next_deadline() is not None)
        assert len(balance._buffer) <= 120
        for event in events(balance):
            assert not isinstance(event, WeighResult) or event.raw
