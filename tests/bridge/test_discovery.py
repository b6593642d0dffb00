"""Ports by USB identity, what `devices` says of them, and a reconnect that asks who is there before anything else."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from audit.clock import SystemClock
from firmware_bridge import transport as transport_module
from firmware_bridge.errors import LinkLost, OtherDevice, PortAddressWrong, PortAmbiguous, PortMissing
from firmware_bridge.firmware_profile import MARLIN_2_0, MARLIN_2_1
from firmware_bridge.mt_sics import MtSics
from firmware_bridge.port_discovery import PortIdentity, UsbAddress, find_port, in_words
from firmware_bridge.reconnect import BalanceQuestion, PrinterQuestion, Question, reconnect
from firmware_bridge.transport import MemoryPair, Transport, open_transport

PRINTER = PortIdentity("/dev/ttyACM0", "Original Prusa i3", "2c99:0002", "CZPX0000", "Prusa Research", "1-1.2")
MOVED = PortIdentity("/dev/ttyACM3", "Original Prusa i3", "2c99:0002", "CZPX0000", "Prusa Research", "1-1.4")
SECOND_PRINTER = PortIdentity("/dev/ttyACM1", "Original Prusa i3", "2c99:0002", "CZPX1111", "Prusa Research", "1-1.3")
CHEAP = PortIdentity("/dev/ttyUSB0", "USB Serial", "1a86:7523", "", "", "1-1.1")
CHEAP_TOO = PortIdentity("/dev/ttyUSB1", "USB Serial", "1a86:7523", "", "", "1-1.5")
BUILT_IN = PortIdentity("/dev/ttyS0", "n/a", "", "", "", "")
BARE = PortIdentity("/dev/ttyUSB7", "", "0403:6001", "", "", "")


def test_a_device_is_found_by_its_serial_number_whatever_its_name() -> None:
    assert find_port("usb:2c99:0002:CZPX0000", [SECOND_PRINTER, PRINTER, CHEAP]) is PRINTER
    assert find_port("usb:2C99:0002:CZPX0000", [SECOND_PRINTER, MOVED]) is MOVED
    assert find_port("usb:1a86:7523@1-1.5", [CHEAP, CHEAP_TOO]) is CHEAP_TOO


def test_nothing_is_guessed() -> None:
    with pytest.raises(PortMissing) as missing:
        find_port("usb:2c99:0002:OTHER", [PRINTER, CHEAP])
    assert "usb:2c99:0002:CZPX0000" in str(missing.value) and "usb:1a86:7523@1-1.1" in str(missing.value)
    with pytest.raises(PortAmbiguous, match="ttyACM0, /dev/ttyACM3"):
        find_port("usb:2c99:0002:CZPX0000", [PRINTER, MOVED])
    for wrong in ("usb:", "usb:2c99:0002", "usb:2c99:2:X", "usb:2c99:0002:", "usb:2c99:0002: X", "usb:zzzz:0002:X", "usb:1a86:7523@"):
        with pytest.raises(PortAddressWrong):
            find_port(wrong, [PRINTER])


@pytest.mark.parametrize("port", [PRINTER, SECOND_PRINTER, CHEAP, CHEAP_TOO])
def test_the_address_that_is_shown_finds_the_port(port: PortIdentity) -> None:
    assert find_port(port.address, [PRINTER, SECOND_PRINTER, CHEAP, CHEAP_TOO, BUILT_IN]) is port
    assert UsbAddress.parse(port.address).fits(port)


def test_a_serial_number_with_blanks_is_not_offered_as_an_address() -> None:
    odd = PortIdentity("/dev/ttyUSB0", "x", "1a86:7523", "A B", "", "1-2")
    assert odd.address == "usb:1a86:7523@1-2"


@pytest.mark.parametrize(
    ("port", "words"),
    [
        (PRINTER, "Prusa i3, USB 2c99:0002, serial number CZPX0000, in USB socket 1-1.2. Name it as usb:2c99:0002:CZPX0000 (stays"),
        (CHEAP, "no serial number of its own, in USB socket 1-1.1. Name it as usb:1a86:7523@1-1.1 (holds while it stays in this socket)"),
        (BUILT_IN, "/dev/ttyS0: a serial port without a description. Not a USB device. Name it as /dev/ttyS0"),
        (BARE, "Name it as /dev/ttyUSB7 (changes with the plug)"),
    ],
)  # fmt: skip
def test_ports_in_words(port: PortIdentity, words: str) -> None:
    assert words in in_words(port) and in_words(port).startswith(port.path)


def test_opening_looks_the_identity_up_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    ports = [PRINTER]
    pair = MemoryPair()

    def open_serial(path: str, baud: int, framing: str, timeout: float) -> Transport:
        opened.append(path)
        return pair.ours

    monkeypatch.setattr(transport_module, "list_ports", lambda: list(ports))
    monkeypatch.setattr(transport_module, "_open_serial", open_serial)
    open_transport("usb:2c99:0002:CZPX0000")
    ports[:] = [MOVED]
    open_transport("usb:2c99:0002:CZPX0000")
    ports.clear()
    with pytest.raises(PortMissing):
        open_transport("usb:2c99:0002:CZPX0000")
    assert opened == ["/dev/ttyACM0", "/dev/ttyACM3"]
    pair.close()


class Device:
    """A device at the far end of a memory pair that answers complete lines by a rule, on its own thread, until the pair is closed."""

    def __init__(self, answer: Callable[[bytes], bytes], greeting: bytes = b"") -> None:
        self.pair, self.heard, self._answer = MemoryPair(), b"", answer
        if greeting:
            self.pair.theirs.write(greeting)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def open(self, address: str, baud: int, framing: str) -> Transport:
        return self.pair.ours

    def _serve(self) -> None:
        descriptor = os.dup(self.pair.theirs.fileno())
        os.set_blocking(descriptor, True)
        pending = b""
        try:
            while data := os.read(descriptor, 4096):
                self.heard += data
                pending += data
                *lines, pending = pending.split(b"\n")
                for line in lines:
                    os.write(descriptor, self._answer(line.strip()))
        except OSError:
            pass
        finally:
            os.close(descriptor)

    def join(self) -> None:
        self.pair.ours.close()
        self.pair.theirs.close()
        self._thread.join(5)
        assert not self._thread.is_alive()


BALANCE = {b"I2": b'I2 A "XPE204"\r\n', b"I3": b'I3 A "1.0"\r\n', b"I4": b'I4 A "B1"\r\n'}
MARLIN = b"FIRMWARE_NAME:Marlin 2.0.5.3 (x)\nCap:AUTOREPORT_TEMP:1\nok\n"


def attempt(device: Device, question: Question, limit_us: int = 5_000_000) -> Transport:
    try:
        return reconnect("usb:x", question, clock=SystemClock().now, opener=device.open, limit_us=limit_us)
    finally:
        device.join()


def test_reconnect_hands_the_port_on_only_to_the_same_balance() -> None:
    driver = MtSics()
    attempt(Device(lambda line: BALANCE.get(line, b"ES\r\n")), BalanceQuestion(driver, "B1"))
    assert driver.serial == "B1" and not driver.busy
    with pytest.raises(OtherDevice, match="serial number B1, expected B2"):
        attempt(Device(lambda line: BALANCE.get(line, b"ES\r\n")), BalanceQuestion(MtSics(), "B2"))
    with pytest.raises(OtherDevice, match="refused"):
        attempt(Device(lambda line: b"ES\r\n"), BalanceQuestion(MtSics(), "B1"))


def test_reconnect_asks_a_printer_nothing_but_its_name() -> None:
    device = Device(lambda line: MARLIN if line == b"M115" else b"", greeting=b"start\n")
    attempt(device, PrinterQuestion(MARLIN_2_0))
    assert device.heard.replace(b"\nM115\n", b"") == b""
    with pytest.raises(OtherDevice, match="EMERGENCY_PARSER: approved yes, found not reported"):
        attempt(Device(lambda line: MARLIN if line == b"M115" else b""), PrinterQuestion(MARLIN_2_1))
    with pytest.raises(OtherDevice, match="kill"):
        attempt(Device(lambda line: b"Error:Printer halted. kill() called!\n"), PrinterQuestion(MARLIN_2_0))


def test_reconnect_gives_up_on_a_silent_device_and_reports_a_lost_one() -> None:
    with pytest.raises(LinkLost, match="does not say who it is"):
        attempt(Device(lambda line: b""), PrinterQuestion(MARLIN_2_0), limit_us=30_000)
    gone = MemoryPair()
    gone.theirs.close()
    with pytest.raises(LinkLost):
        reconnect("usb:x", PrinterQuestion(MARLIN_2_0), clock=SystemClock().now, opener=lambda address, baud, framing: gone.ours)
    mute = BalanceQuestion(MtSics(), "B1")
    mute.begin(0)
    mute.tick(mute.next_deadline() or 0)
    assert mute.answer is not None and "did not answer" in mute.answer
    silent = PrinterQuestion(MARLIN_2_0)
    silent.begin(0)
    while silent.answer is None:
        silent.tick(silent.next_deadline() or 0)
    assert "No usable answer" in silent.answer and silent.next_deadline() is None
