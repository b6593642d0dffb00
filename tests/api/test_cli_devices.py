"""`dosewright devices` says in words what is there, and opens nothing unless a person asks for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import Result
from typer.testing import CliRunner

from api import cli
from firmware_bridge import transport
from firmware_bridge.port_discovery import PortIdentity
from hil_tests.cases import bench_for
from hil_tests.serve import Server


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


@pytest.fixture
def bench() -> Iterator[Callable[[str], Server]]:
    """Virtual devices on pseudo-terminals, free running; the argument is the balance."""
    running: list[tuple[Server, threading.Thread]] = []

    def start(balance: str) -> Server:
        server = Server(bench_for("cyclophosphamide", balance=balance))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        running.append((server, thread))
        return server

    yield start
    for server, thread in running:
        server.stop()
        thread.join(5)


def asked(*arguments: str, answer: str = "y\n") -> Result:
    return CliRunner().invoke(cli.app, ["devices", "--ask", *arguments], input=answer)


@pytest.mark.parametrize("balance", ["mt-sics", "sartorius-sbi"])
def test_devices_are_asked_who_they_are(bench: Callable[[str], Server], balance: str) -> None:
    server = bench(balance)
    server.bench.printer.nozzle.target = 40.0
    addresses = {name: port.address for name, port in server.ports.items()}
    result = asked("--yes", *addresses.values())
    assert result.exit_code == 0, result.output
    assert "resets many printer boards" in result.output
    said = {line.partition(": ")[0]: line.partition(": ")[2] for line in result.output.splitlines()}
    assert said[addresses["printer"]].startswith("a printer: Marlin 2.1.2.5") and "Dosewright bench SSE" in said[addresses["printer"]]
    assert said[addresses["balance"]].startswith(f"a balance ({balance}): ") and "serial number B000000001" in said[addresses["balance"]]
    assert said[addresses["pressure"]].startswith("a pressure sensor hub: ")
    bench_now = server.bench
    assert not bench_now.plant.patches and not bench_now.printer.motions and bench_now.printer.nozzle.target == 40.0
    assert bench_now.cell.tare_mg == 0.0 and not bench_now.printer.killed


def test_no_port_is_opened_before_a_person_has_said_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "_open_serial", lambda *args: pytest.fail("a port was opened"))
    result = asked("/dev/ttyUSB0", answer="n\n")
    assert result.exit_code == 1 and "Opening a port resets" in result.output


def test_a_port_that_is_not_there_says_so_and_the_others_are_asked(bench: Callable[[str], Server]) -> None:
    server = bench("mt-sics")
    result = asked("--yes", "/dev/no-port", server.ports["pressure"].address)
    assert result.exit_code == 0 and "There is no port /dev/no-port" in result.output and "a pressure sensor hub" in result.output
    assert asked("--yes", "--line", "9600", "/dev/no-port").exit_code != 0
    assert CliRunner().invoke(cli.app, ["devices", "/dev/ttyUSB0"]).exit_code != 0
