"""The time port: JSON lines on a loopback socket, by which the bench grants time and a cell acknowledges it.

cell → {"hello": name, "token": hex}            bench → {"welcome": true, "rate": "60", "now": µs, "step_us": µs}
cell → {"ready": true}                          (its device ports are open)
bench → {"grant": µs, "sent": {port: n}, "closed": [port]}
cell → {"ack": µs, "queued": {port: n}}         and so on
    bench → {"welcome": false, "error": why}        and the end of the connection, for a client that does not keep to this
"""

from __future__ import annotations

import hmac
import json
import socket
from dataclasses import dataclass
from typing import assert_never

_LONGEST_LINE = 65536


@dataclass(frozen=True, slots=True)
class Hello:
    name: str


@dataclass(frozen=True, slots=True)
class Ready:
    pass


@dataclass(frozen=True, slots=True)
class Ack:
    at: int
    queued: dict[str, int]


@dataclass(frozen=True, slots=True)
class Gone:
    """The client is no longer there, or broke the protocol."""

    why: str


Message = Hello | Ready | Ack | Gone


class TimePort:
    """The server side. One client at a time. Lifetime: until `close`. Concurrency: one owner; no call blocks."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self._client: socket.socket | None = None
        self._in = bytearray()
        self._greeted = False

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def attached(self) -> bool:
        return self._greeted

    def descriptors(self) -> list[int]:
        return [self._listener.fileno()] + ([self._client.fileno()] if self._client is not None else [])

    def poll(self) -> list[Message]:
        """Return what has come since the last call: messages of the client, in order; accept a new client if there is none."""
        newcomer = self._newcomer()
        messages = self._read()  # after it has come: a cell that was started again finds the place of the one before it free
        if newcomer is not None:
            self._admit(newcomer)
        return messages

    def send(self, text: str) -> bool:
        """Send one line; False if the client is gone. The lines are short and awaited one by one: they always fit."""
        if self._client is None:
            return False
        try:
            self._client.sendall(text.encode("ascii") + b"\n")
        except OSError:
            self._drop()
            return False
        return True

    def close(self) -> None:
        self._drop()
        self._listener.close()

    def _newcomer(self) -> socket.socket | None:
        try:
            return self._listener.accept()[0]
        except BlockingIOError:
            return None

    def _admit(self, client: socket.socket) -> None:
        if self._client is not None:
            client.setblocking(False)
            refusal = json.dumps({"welcome": False, "error": "another cell is attached to this bench"}).encode("ascii") + b"\n"
            client.send(refusal)
            client.close()
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client

    def _read(self) -> list[Message]:
        if self._client is None:
            return []
        data, ended = self._received(self._client)
        if data:
            messages = self._messages(data)
            return messages + self._lost("closed the connection") if ended and self._client is not None else messages
        return self._lost("closed the connection") if ended else []

    @staticmethod
    def _received(client: socket.socket) -> tuple[bytes, bool]:
        """Return what has come, and whether it was the last."""
        data = b""
        try:
            while len(data) < _LONGEST_LINE and (more := client.recv(65536)):
                data += more
        except BlockingIOError:
            return data, False
        except OSError:
            return data, True
        return data, len(data) < _LONGEST_LINE

    def _messages(self, data: bytes) -> list[Message]:
        self._in += data
        messages: list[Message] = []
        while (end := self._in.find(b"\n")) >= 0:
            line = bytes(self._in[:end])
            del self._in[: end + 1]
            message = self._message(line)
            match message:
                case Gone():
                    self.send(json.dumps({"welcome": False, "error": message.why}))
                    return messages + self._lost(message.why)
                case Hello() | Ready() | Ack():
                    messages.append(message)
                case _:
                    assert_never(message)
        if len(self._in) > _LONGEST_LINE:
            return messages + self._lost("line too long")
        return messages

    def _message(self, line: bytes) -> Message:
        try:
            body = json.loads(line)
        except ValueError:
            return Gone("not JSON")
        if not isinstance(body, dict):
            return Gone("not an object")
        if not self._greeted:
            name, token = body.get("hello"), body.get("token")
            if not isinstance(name, str) or not isinstance(token, str):
                return Gone("say hello first")
            if not hmac.compare_digest(token.encode(), self._token.encode()):
                return Gone("wrong token")
            self._greeted = True
            return Hello(name)
        if body.get("ready") is True:
            return Ready()
        at, queued = body.get("ack"), body.get("queued", {})
        if isinstance(at, int) and isinstance(queued, dict) and all(isinstance(count, int) for count in queued.values()):
            return Ack(at, queued)
        return Gone("neither ready nor ack")

    def _lost(self, why: str) -> list[Message]:
        greeted = self._greeted
        self._drop()
        return [Gone(why)] if greeted else []

    def _drop(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._greeted = False
        self._in.clear()
