"""The sensor hub's lines: sequence, gaps, damage, range, age."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit.quantities import Kilopascal
from firmware_bridge.pressure import PressureHub, PressureQuality, PressureReading


def readings(hub: PressureHub) -> list[PressureReading]:
    found = []
    while (reading := hub.next_event()) is not None:
        found.append(reading)
    return found


def test_a_line_cut_at_every_position() -> None:
    wire = b"12345,187.4\n12346,-0.25\r\n"
    for cut in range(len(wire) + 1):
        hub = PressureHub()
        hub.receive(wire[:cut], 5)
        hub.receive(wire[cut:], 5)
        first, second = readings(hub)
        assert first == PressureReading(12345, Kilopascal("187.4"), first.at, PressureQuality.GOOD)
        assert second == PressureReading(12346, Kilopascal("-0.25"), 5, PressureQuality.GOOD)


def test_lines_that_come_together_were_taken_one_after_another() -> None:
    hub = PressureHub(period_us=10_000)
    hub.receive(b"1,1.0\n2,1.0\n3,1", 100_000)
    hub.receive(b".0\n", 110_000)
    assert [reading.at for reading in readings(hub)] == [90_000, 100_000, 110_000]
    hub.receive(b"4,1.0\n5,1.0\n6,1.0\n7,1.0\n", 120_000)
    assert [reading.at for reading in readings(hub)] == [110_000, 110_000, 110_000, 120_000], "never older than the one before"


class LineByLine(PressureHub):
    def _all_follow(self, lines: list[bytes], at: int) -> bool:
        return False


_NUMBERS = st.sampled_from([b"%d", b"%d", b"%d", b"%d", b"0%d", b"-%d", b"%d,1"])
_VALUES = st.sampled_from([b"1.0", b"1.0", b"187.4", b"-0.0", b"1", b"2000.1", b"1e5", b"", b"5,6", b"2.5\r", b"\r3.0"])
_ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\n", b"\r\n", b"", b"\n\n", b","])
_GOOD = st.tuples(st.just(1), st.just(b"%d"), st.sampled_from([b"1.0", b"187.4"]), st.just(b"\n"))
_ANY = st.tuples(st.sampled_from([0, 1, 1, 1, 1, 1, 1, 2]), _NUMBERS, _VALUES, _ENDS)


@given(
    st.lists(st.one_of(st.lists(_GOOD, min_size=1, max_size=6), st.lists(_ANY, max_size=6)), max_size=8),
    st.integers(0, 30_000),
    st.sampled_from([2**32, 20]),
)
def test_lines_read_together_are_the_lines_read_one_by_one(
    crowds: list[list[tuple[int, bytes, bytes, bytes]]], apart_us: int, wrap: int
) -> None:
    together, single, number = PressureHub(wrap=wrap), LineByLine(wrap=wrap), 9
    for nth, crowd in enumerate(crowds):
        data = b""
        for step, form, value, end in crowd:
            number += step
            data += form % number + b"," + value + end
        for hub in (together, single):
            hub.receive(data, 100_000 + nth * apart_us)
        assert together.last == single.last
    assert readings(together) == readings(single)
    for name in ("lines", "gaps", "missed", "damaged", "restarts", "overrun"):
        assert getattr(together, name) == getattr(single, name)


def test_values_are_taken_with_their_times() -> None:
    hub = PressureHub()
    hub.receive(b"1,1.0\n2,2.5\n3,2000.1\n", 100_000)
    assert hub.take_values() == ([Decimal("1.0"), Decimal("2.5"), Decimal("2000.1")], [80_000, 90_000, 100_000])
    assert hub.take_values() == ([], []) and hub.next_event() is None


@pytest.mark.parametrize(
    ("second", "quality", "missed"),
    [
        (b"11,1.0", PressureQuality.GOOD, 0),
        (b"14,1.0", PressureQuality.AFTER_GAP, 3),
        (b"10,1.0", PressureQuality.RESTARTED, 0),
        (b"1,1.0", PressureQuality.RESTARTED, 0),
        (b"11,2000.1", PressureQuality.OUT_OF_RANGE, 0),
        (b"11,-20.1", PressureQuality.OUT_OF_RANGE, 0),
        (b"12,9999", PressureQuality.OUT_OF_RANGE, 1),
    ],
)
def test_sequence_and_range(second: bytes, quality: PressureQuality, missed: int) -> None:
    hub = PressureHub()
    hub.receive(b"10,1.0\n" + second + b"\n", 0)
    last = readings(hub)[-1]
    assert (last.quality, last.missed) == (quality, missed) and hub.last == last
    assert hub.missed == missed and hub.gaps == (missed > 0) and hub.restarts == (quality is PressureQuality.RESTARTED)


def test_wrap_is_no_gap() -> None:
    hub = PressureHub(wrap=65536)
    hub.receive(b"65535,1.0\n0,1.0\n1,1.0\n", 0)
    assert [reading.quality for reading in readings(hub)] == [PressureQuality.GOOD] * 3 and hub.gaps == 0


@pytest.mark.parametrize(
    "line", [b"", b"1", b"1,", b",1.0", b"1,1,0", b"a,1.0", b"1,1.0x", b"1,nan", b"1,1e5", b"65536,1.0", b"1, 1.0", b"1" * 30]
)
def test_damaged_lines_are_counted_and_give_no_reading(line: bytes) -> None:
    hub = PressureHub(wrap=65536)
    hub.receive(line + b"\n7,1.0\n", 0)
    assert hub.damaged == 1 and [reading.seq for reading in readings(hub)] == [7]


def test_age_and_quality() -> None:
    hub = PressureHub(stale_after_us=100)
    assert hub.age(5) is None and hub.quality(5) is PressureQuality.NONE
    hub.receive(b"1,1.0\n", 10)
    assert hub.age(110) == 100 and hub.quality(110) is PressureQuality.GOOD and hub.quality(111) is PressureQuality.STALE


def test_memory_is_bounded() -> None:
    hub = PressureHub()
    hub.receive(b"9" * 10_000, 0)
    hub.receive(b"9" * 10_000, 0)
    assert hub.damaged == 1 and len(hub._buffer) == 0
    hub.receive(b",1.0\n1,1.0\n", 0)
    assert [reading.seq for reading in readings(hub)] == [1]
    for seq in range(5000):
        hub.receive(b"%d,1.0\n" % seq, 0)
    assert hub.overrun == 5000 - 4096 and len(readings(hub)) == 4096


@given(st.lists(st.binary(max_size=80), max_size=30))
def test_any_bytes(chunks: list[bytes]) -> None:
    hub = PressureHub()
    for chunk in chunks:
        hub.receive(chunk, 0)
        assert len(hub._buffer) <= 64
    assert hub.lines == len(readings(hub))
