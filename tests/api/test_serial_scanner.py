"""The scanner on the workstation's own port, on a virtual serial line: what it reads reaches one page, once."""

from __future__ import annotations

import os
import pty
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from api import scanner as scanner_module
from api.scanner import Scanner

PATIENCE_S = 10.0


class Line:
    """Both ends of a pseudo-terminal: the scanner's end is written to, the workstation's is opened by its path."""

    def __init__(self) -> None:
        self.end, self._other = pty.openpty()
        self.path = os.ttyname(self._other)

    def scan(self, data: bytes) -> None:
        os.write(self.end, data)

    def close(self) -> None:
        for descriptor in (self.end, self._other):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def scanner(line: Line) -> Iterator[Scanner]:
    made = Scanner(line.path, 9600)
    made.start()
    until(lambda: made.problem == "")
    yield made
    made.close()


def until(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends, "it did not come"
        time.sleep(0.01)


def taken(scanner: Scanner, page: str) -> list[str]:
    found: list[str] = []

    def more() -> bool:
        found.extend(scanner.take(page))
        return bool(found)

    until(more)
    return found


def test_a_scan_goes_to_the_page_that_was_used_last_and_to_it_once(line: Line, scanner: Scanner) -> None:
    scanner.used("first")
    scanner.used("second")
    line.scan(b"]d2010950110102091710ABCD1234\x1d2110\r\n")
    assert taken(scanner, "second") == ["]d2010950110102091710ABCD1234\x1d2110"]
    assert scanner.take("first") == scanner.take("second") == ()
    scanner.used("first")
    line.scan(b"CYC-DEMO-01-A\r")
    assert taken(scanner, "first") == ["CYC-DEMO-01-A"]


def test_a_page_that_is_gone_or_was_never_used_gets_nothing_and_keeps_nothing_from_another(line: Line, scanner: Scanner) -> None:
    scanner.used("open")
    scanner.used("closed")
    scanner.gone("closed")
    line.scan(b"A-1\r")
    assert scanner.take("closed") == scanner.take("stranger") == ()
    assert taken(scanner, "open") == ["A-1"]


def test_an_old_scan_is_never_handed_over_late(line: Line, scanner: Scanner, monkeypatch: pytest.MonkeyPatch) -> None:
    line.scan(b"OLD-1\r")
    until(lambda: scanner._waiting)
    monkeypatch.setattr(scanner_module, "KEPT_S", 0.0)
    scanner.used("page")
    assert scanner.take("page") == () and not scanner._waiting


def test_a_port_that_is_not_there_is_said_and_one_that_comes_is_opened(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanner_module, "_AGAIN_S", 0.05)
    made = Scanner(f"{line.path}-away", 9600)
    made.start()
    until(lambda: "away" in made.problem)
    made._port = line.path
    until(lambda: made.problem == "")
    made.close()
    assert not made._thread.is_alive()


def test_without_a_port_there_is_no_thread_and_no_problem() -> None:
    made = Scanner(None, 9600)
    made.start()
    made.close()
    assert made.problem == "" and made.take("page") == () and not made._thread.is_alive()
