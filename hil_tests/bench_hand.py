"""The bench's hand: a loopback socket by which somebody has a check weight moved on the virtual balance.

A person in front of a real balance does this with tweezers; no cell knows of it. One JSON line asks, one answers:

client → {"token": hex, "place": "centre", "mass_mg": 50000.0}      bench → {"placed": true}
"""

from __future__ import annotations

import hmac
import json
import math
import socket
from dataclasses import dataclass

_LONGEST_LINE = 1024
_MOST_CLIENTS = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Put the weight in this place of the pan; "empty" takes it off. `client` is whom to answer."""

    position: str
    mass_mg: float
    client: int


class HandPort:
    """The server side. Lifetime: until `close`. Concurrency: one owner; no call blocks."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._clients: dict[int, tuple[socket.socket, bytearray]] = {}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def descriptors(self) -> list[int]:
        return [self._listener.fileno(), *self._clients]

    def poll(self) -> list[Place]:
        """Return what was asked since the last call; a client that asks for something else is let go."""
        asked = []
        for number, (client, received) in list(self._clients.items()):
            try:
                data = client.recv(_LONGEST_LINE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            received += data
            line, found, _ = bytes(received).partition(b"\n")
            if not found:
                if not data or len(received) > _LONGEST_LINE:
                    self._drop(number)
                continue
            received.clear()
            place = self._read(line, number)
            if place is None:
                self._drop(number)
            else:
                asked.append(place)
        self._accept()
        return asked

    def answer(self, asked: Place, *, placed: bool) -> None:
        found = self._clients.get(asked.client)
        if found is not None:
            try:
                found[0].sendall(json.dumps({"placed": placed}).encode("ascii") + b"\n")
            except OSError:
                self._drop(asked.client)

    def close(self) -> None:
        for number in list(self._clients):
            self._drop(number)
        self._listener.close()

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except BlockingIOError:
            return
        client.setblocking(False)
        if len(self._clients) >= _MOST_CLIENTS:
            client.close()
            return
        self._clients[client.fileno()] = (client, bytearray())

    def _read(self, line: bytes, client: int) -> Place | None:
        try:
            body = json.loads(line)
        except ValueError:
            return None
        if not isinstance(body, dict):
            return None
        token, position, mass = body.get("token"), body.get("place"), body.get("mass_mg", 0.0)
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        if not isinstance(position, str) or isinstance(mass, bool) or not isinstance(mass, (int, float)) or not math.isfinite(mass):
            return None
        return Place(position, float(mass), client)

    def _drop(self, number: int) -> None:
        client, _ = self._clients.pop(number)
        client.close()
