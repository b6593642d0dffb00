"""Balance and pressure hub against the manuals' formats."""

from __future__ import annotations

import re

import pytest

from hil_tests.virtual_instruments import BalanceConfig, LoadCell, MtSicsBalance, PressureConfig, PressureHub, SbiBalance

QUIET = BalanceConfig(noise_mg=0.0)


def sics(config: BalanceConfig = QUIET) -> tuple[LoadCell, MtSicsBalance]:
    cell = LoadCell(config, 1)
    return cell, MtSicsBalance(config, cell)


def ask(balance: MtSicsBalance | SbiBalance, command: bytes) -> bytes:
    balance.receive(command)
    return balance.output()


def settle(cell: LoadCell, mass_mg: float, seconds: float = 10.0) -> None:
    cell.advance(cell.now + round(seconds * 1e6), mass_mg, cell.now - 60_000_000)


def test_weight_value_has_ten_characters_right_justified() -> None:
    cell, balance = sics()
    settle(cell, 467.17)
    assert ask(balance, b"S\r\n") == b"S S     0.4672 g\r\n"
    settle(cell, -500.0)
    assert ask(balance, b"SI\r\n") == b"S S    -0.5000 g\r\n"


def test_a_moving_load_is_dynamic_and_s_waits_for_stillness() -> None:
    cell, balance = sics()
    cell.advance(1_000_000, 467.17, 1_000_000)
    assert re.fullmatch(rb"S D {4,5}-?\d\.\d{4} g\r\n", ask(balance, b"SI\r\n"))
    assert ask(balance, b"S\r\n") == b""
    cell.advance(2_000_000, 467.17, 1_000_000)
    balance.advance(2_000_000)
    assert balance.output() == b""
    cell.advance(5_000_000, 467.17, 1_000_000)
    balance.advance(5_000_000)
    assert balance.output() == b"S S     0.4672 g\r\n"


def test_s_gives_up_with_i_and_a_second_s_is_busy() -> None:
    cell, balance = sics()
    cell.never_stable = True
    settle(cell, 100.0)
    assert ask(balance, b"S\r\n") == b""
    assert ask(balance, b"S\r\n") == b"S I\r\n"
    cell.advance(cell.now + 31_000_000, 100.0, 0)
    balance.advance(cell.now)
    assert balance.output() == b"S I\r\n"


def test_zero_tare_and_cancel() -> None:
    cell, balance = sics()
    settle(cell, 1000.0)
    assert ask(balance, b"Z\r\n") == b"Z A\r\n"
    assert ask(balance, b"S\r\n") == b"S S     0.0000 g\r\n"
    settle(cell, 1500.0)
    assert ask(balance, b"T\r\n") == b"T S     0.5000 g\r\n"
    assert ask(balance, b"TA\r\n") == b"TA A     0.5000 g\r\n"
    settle(cell, 1750.0)
    assert ask(balance, b"S\r\n") == b"S S     0.2500 g\r\n"
    assert ask(balance, b"@\r\n") == b'I4 A "B000000001"\r\n'
    assert ask(balance, b"S\r\n") == b"S S     0.7500 g\r\n"


def test_identity_and_errors() -> None:
    _, balance = sics()
    assert ask(balance, b"I2\r\n") == b'I2 A "XPR204 Standard 220.0000 g"\r\n'
    assert ask(balance, b"I3\r\n") == b'I3 A "1.10 12.28.0.493.142"\r\n'
    assert ask(balance, b"I4\r\n") == b'I4 A "B000000001"\r\n'
    listed = ask(balance, b"I0\r\n").splitlines()
    assert listed[0] == b'I0 B 0 "I0"' and listed[-1].startswith(b"I0 A ")
    assert ask(balance, b"QX\r\n") == b"ES\r\n"
    assert ask(balance, b"S 5\r\n") == b"S L\r\n"


def test_overload_and_underload() -> None:
    cell, balance = sics()
    cell.extra_mg = 1e6
    settle(cell, 0.0)
    assert ask(balance, b"S\r\n") == b"S +\r\n"
    cell.extra_mg = -50_000.0
    settle(cell, 0.0)
    assert ask(balance, b"SI\r\n") == b"S -\r\n"


def test_repeat_ends_with_the_next_command() -> None:
    cell, balance = sics()
    settle(cell, 10.0)
    assert ask(balance, b"SIR\r\n") == b"S S     0.0100 g\r\n"
    cell.advance(cell.now + 100_000, 10.0, 0)
    balance.advance(cell.now)
    assert balance.output() == b"S S     0.0100 g\r\n"
    ask(balance, b"SI\r\n")
    cell.advance(cell.now + 100_000, 10.0, 0)
    balance.advance(cell.now)
    assert balance.output() == b""


def test_noise_is_below_the_readability_and_drift_shows() -> None:
    config = BalanceConfig()
    cell = LoadCell(config, 7)
    settle(cell, 500.0)
    values = [cell.net_mg() for _ in range(2000)]
    mean = sum(values) / len(values)
    assert mean == pytest.approx(500.0, abs=0.01)
    assert max(abs(value - mean) for value in values) < config.readability_mg
    cell.zero_drift = 1.0
    settle(cell, 500.0, seconds=20.0)
    assert cell.net_mg() == pytest.approx(520.0, abs=0.2)


def test_sartorius_prints_sixteen_characters_with_a_blank_unit_while_unstable() -> None:
    config = BalanceConfig(driver="sartorius-sbi", readability_mg=1.0, noise_mg=0.0, model="SECURA224", serial="0036000001")
    cell = LoadCell(config, 1)
    balance = SbiBalance(config, cell)
    settle(cell, 1467.2)
    assert ask(balance, b"\x1bP\r\n") == b"+    1.467 g  \r\n"
    cell.advance(cell.now + 1, 1467.2, cell.now)
    assert re.fullmatch(rb"\+    1\.\d{3}    \r\n", ask(balance, b"\x1bP\r\n"))
    settle(cell, -250.0)
    assert ask(balance, b"\x1bP\r\n") == b"-    0.250 g  \r\n"
    assert ask(balance, b"\x1bV\r\n\x1bP\r\n") == b"+    0.000 g  \r\n"
    assert ask(balance, b"\x1bx2_\r\n") == b"    0036000001\r\n"
    cell.extra_mg = 1e6
    settle(cell, 0.0)
    assert ask(balance, b"\x1bP\r\n").strip() == b"High"


def test_pressure_lines() -> None:
    hub = PressureHub(PressureConfig(noise_kPa=0.0), 1)
    assert hub.lines([187.44, -3.0, 2000.0]) == b"1,187.4\n2,0.0\n3,1000.0\n"
    hub.stuck = True
    assert hub.lines([5.0]) == b"4,1000.0\n"
    hub.silent = True
    assert hub.lines([5.0]) == b""
    hub.silent = hub.stuck = False
    assert hub.lines([5.0]) == b"6,5.0\n"
