"""The bench's hand: a loopback socket by which somebody has a check weight moved on the virtual balance, or time held.

A person in front of a real balance moves the weight with tweezers; no cell knows of it. Held time is for whoever has to look at
one moment of a run: nothing moves until it is let go. One JSON line asks, one answers:

client → {"token": hex, "place": "centre", "mass_mg": 50000.0}      bench → {"placed": true}
client → {"token": hex, "hold_after_us": 250000}                    bench → {"held_at_us": µs}, when that much time has gone by
client → {"token": hex, "hold_after_us": null}                      bench → {"held_at_us": null}, time goes on
"""

from __future__ import annotations

import hmac
import json
import math
import socket
from collections.abc import Mapping
from dataclasses import dataclass

_LONGEST_LINE = 1024
_MOST_CLIENTS = 8
_LONGEST_HOLD_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Place:
    """Put the weight in this place of the pan; "empty" takes it off. `client` is whom to answer."""

    position: str
    mass_mg: float
    client: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Let so much time go by (µs) and then hold it; None lets it go on. `client` is whom to answer."""

    after_us: int | None
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

    def poll(self) -> list[Place | Hold]:
        """Return what was asked since the last call; a client that asks for something else is let go."""
        asked: list[Place | Hold] = []
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
            request = self._read(line, number)
            if request is None:
                self._drop(number)
            else:
                asked.append(request)
        self._accept()
        return asked

    def answer(self, asked: Place | Hold, answer: Mapping[str, object]) -> None:
        found = self._clients.get(asked.client)
        if found is not None:
            try:
                found[0].sendall(json.dumps(answer).encode("ascii") + b"\n")
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

    def _read(self, line: bytes, client: int) -> Place | Hold | None:
        try:
            body = json.loads(line)
        except ValueError:
            return None
        if not isinstance(body, dict):
            return None
        token = body.get("token")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        return _hold(body["hold_after_us"], client) if "hold_after_us" in body else _place(body, client)

    def _drop(self, number: int) -> None:
        client, _ = self._clients.pop(number)
        client.close()


def _place(body: Mapping[str, object], client: int) -> Place | None:
    position, mass = body.get("place"), body.get("mass_mg", 0.0)
    if not isinstance(position, str) or isinstance(mass, bool) or not isinstance(mass, (int, float)) or not math.isfinite(mass):
        return None
    return Place(position, float(mass), client)


def _hold(after: object, client: int) -> Hold | None:
    if after is None:
        return Hold(None, client)
    if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after <= _LONGEST_HOLD_US:
        return None
    return Hold(after, client)
