"""The cell's door under people who only push at it: STOP comes through all the same."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from api.certificates import make_certificates
from printer.cell_client import CellAddress, CellClient

_FILES = 96
_DOOR = f"""
import resource, sys
from pathlib import Path
from printer.frames import server_context
from printer.server import CellServer

resource.setrlimit(resource.RLIMIT_NOFILE, ({_FILES}, {_FILES}))
folder = Path(sys.argv[1])
context = server_context(folder / "ca.pem", folder / "cell-1.pem", folder / "cell-1.key")
server = CellServer(cell="cell-1", host="127.0.0.1", port=0, context=context, handlers={{"command": lambda body: None}})
server.start()
print(*server.address, flush=True)
sys.stdin.read()
server.close()
"""


@pytest.fixture
def door(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A door in a process that may open few files."""
    make_certificates(tmp_path, site="x", workstation="workstation", cells=("cell-1",))
    with subprocess.Popen(
        [sys.executable, "-c", _DOOR, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stdin is not None
        host, port = process.stdout.readline().split()
        yield host, int(port)
        process.stdin.close()
        assert process.wait(30) == 0, "the door closes in order"


def client(address: tuple[str, int], folder: Path) -> CellClient:
    host, port = address
    return CellClient(
        CellAddress(
            host=host,
            port=port,
            name="cell-1",
            ca=folder / "ca.pem",
            certificate=folder / "workstation.pem",
            key=folder / "workstation.key",
        )
    )


OPERATOR = {"username": "olga", "name": "Olga Demonstration", "role": "operator"}


def stop(address: tuple[str, int], folder: Path) -> None:
    asking = client(address, folder)
    try:
        asking.stop("B00001-R1", "quickstop", OPERATOR, "STOP")
    finally:
        asking.close()


def test_stop_comes_through_while_others_hold_connections_and_say_nothing(door: tuple[str, int], tmp_path: Path) -> None:
    crowd = [socket.create_connection(door, timeout=5) for _ in range(3 * _FILES)]
    try:
        stop(door, tmp_path)
    finally:
        for each in crowd:
            each.close()
    stop(door, tmp_path)


def test_a_connection_that_is_known_stays_while_others_push(door: tuple[str, int], tmp_path: Path) -> None:
    known = client(door, tmp_path)
    known.stop("B00001-R1", "quickstop", OPERATOR, "STOP")
    crowd = [socket.create_connection(door, timeout=5) for _ in range(2 * _FILES)]
    known.stop("B00001-R1", "kill", OPERATOR, "STOP")
    for each in crowd:
        each.close()
    known.close()


def test_who_shows_no_certificate_is_turned_away(door: tuple[str, int]) -> None:
    with socket.create_connection(door, timeout=30) as stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        answer = b""
        with suppress(ConnectionResetError):
            while said := stranger.recv(4096):
                answer += said
    assert len(answer) <= 7, "no more than one alert of TLS"
