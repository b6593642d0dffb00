"""`dosewright devices` says in words what is there, and opens nothing."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from api import cli
from firmware_bridge import transport
from firmware_bridge.port_discovery import PortIdentity


def listing(monkeypatch: pytest.MonkeyPatch, ports: list[PortIdentity]) -> str:
    monkeypatch.setattr(transport, "list_ports", lambda: ports)
    monkeypatch.setattr(transport, "_open_serial", lambda *args: pytest.fail("a port was opened"))
    result = CliRunner().invoke(cli.app, ["devices"])
    assert result.exit_code == 0
    return result.output


def test_devices_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    text = listing(
        monkeypatch,
        [
            PortIdentity("/dev/ttyACM0", "Original Prusa i3", "2c99:0002", "CZPX0000", "Prusa Research", "1-1.2"),
            PortIdentity("/dev/ttyUSB0", "USB Serial [x]", "1a86:7523", "", "", "1-1.1"),
        ],
    )
    first, second = text.splitlines()
    assert "Prusa Research Original Prusa i3" in first and "usb:2c99:0002:CZPX0000" in first
    assert "USB Serial [x]" in second and "usb:1a86:7523@1-1.1 (holds while it stays in this socket)" in second


def test_no_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "demonstration bench" in listing(monkeypatch, [])
