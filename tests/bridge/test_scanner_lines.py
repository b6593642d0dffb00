"""A scanner on a serial line: whole codes, however its bytes come, and none from noise."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from firmware_bridge.scanner_lines import LONGEST, PAUSE_US, ScannerLines

CODES = st.lists(st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40), min_size=1, max_size=6)


@given(CODES, st.sampled_from([b"\r", b"\n", b"\r\n", b"\x03"]), st.data())
def test_codes_come_out_whole_however_their_bytes_are_cut(codes: list[str], end: bytes, data: st.DataObject) -> None:
    stream = b"".join(b"\x02" + code.encode() + end for code in codes)
    lines, found, now = ScannerLines(), [], 0
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        now += 1000
        found += lines.feed(stream[:cut], now)
        stream = stream[cut:]
    assert [line.text for line in found] == codes


def test_a_code_without_an_end_is_ended_by_a_pause_and_not_before() -> None:
    lines = ScannerLines()
    assert lines.feed(b"ABC-1", 1_000) == () == lines.tick(1_000 + PAUSE_US - 1)
    (line,) = lines.tick(1_000 + PAUSE_US)
    assert (line.text, line.at_us) == ("ABC-1", 1_000)
    assert lines.tick(10**9) == (), "once"


def test_a_separator_inside_a_code_stays_in_it() -> None:
    (line,) = ScannerLines().feed(b"10ABCD1234\x1d2110\r", 5)
    assert line.text == "10ABCD1234\x1d2110"


def test_noise_and_an_endless_line_are_no_codes() -> None:
    lines = ScannerLines()
    assert lines.feed(b"\xff\xfe\x81\r", 1) == ()
    assert lines.feed(b"A" * (LONGEST + 1) + b"\r", 2) == ()
    (line,) = lines.feed(b"A" * LONGEST + b"\r", 3)
    assert len(line.text) == LONGEST
