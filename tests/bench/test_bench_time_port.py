"""The time port takes one cell at a time, and the next one as soon as the former has gone."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from hil_tests.timekeeper import Ack, Gone, Hello, TimePort

TOKEN = "a1"


@pytest.fixture
def port() -> Iterator[TimePort]:
    made = TimePort(TOKEN)
    yield made
    made.close()


def say(client: socket.socket, **body: object) -> None:
    client.sendall(json.dumps(body).encode() + b"\n")


def attach(port: TimePort, name: str) -> socket.socket:
    host, number = port.address.split(":")
    client = socket.create_connection((host, int(number)), timeout=10)
    say(client, hello=name, token=TOKEN)
    return client


def test_a_second_cell_is_refused_while_the_first_is_there(port: TimePort) -> None:
    with attach(port, "first"):
        assert port.poll() == [] and port.poll() == [Hello("first")]
        with attach(port, "second") as second:
            assert port.poll() == []
            assert b"another cell is attached" in second.recv(1000)
        assert port.attached


def test_a_cell_that_follows_one_which_has_gone_is_taken_at_once(port: TimePort) -> None:
    with attach(port, "first") as first:
        assert port.poll() == [] and port.poll() == [Hello("first")]
        say(first, ack=5, queued={})
    with attach(port, "second") as second:
        assert port.poll() == [Ack(5, {}), Gone("closed the connection")]
        assert port.poll() == [Hello("second")]
        assert port.send("{}") and second.recv(10) == b"{}\n"


@pytest.mark.parametrize("line", [b"\xff\n", b"[]\n", b'{"ready": 1}\n', b"x" * 70_000])
def test_a_client_that_does_not_keep_to_the_protocol_is_let_go_once(port: TimePort, line: bytes) -> None:
    with attach(port, "first") as first:
        assert port.poll() == [] and port.poll() == [Hello("first")]
        first.sendall(line)
    found = [message for _ in range(4) for message in port.poll()]
    assert len(found) == 1 and isinstance(found[0], Gone) and not port.attached
